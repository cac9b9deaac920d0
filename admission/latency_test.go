package admission

import (
	"math"
	"testing"
	"time"
)

func TestLatencies_BucketsAreAnEighthWide(t *testing.T) {
	t.Parallel()
	last := 0
	for d := 600 * time.Microsecond; d < 30*time.Second; d += d / 50 {
		b := LatencyBucket(d)
		if b < last || b >= LatencyBuckets {
			t.Fatalf("%v is in bucket %d, after %d", d, b, last)
		}
		last = b
		if low, next := latencyBound(b), latencyBound(b+1); b > 0 && (d < low || d >= next || next > low+low/7) {
			t.Fatalf("%v is in the bucket of %v to %v", d, low, next)
		}
	}
	for _, d := range []time.Duration{-1, 0, 1, time.Hour, math.MaxInt64} {
		if b := LatencyBucket(d); b < 0 || b >= LatencyBuckets {
			t.Errorf("%v is in bucket %d", d, b)
		}
	}
}

func TestLatencies_TellHowManyAreLonger(t *testing.T) {
	t.Parallel()
	var l Latencies
	if l.quantile(.95) != 0 {
		t.Error("nothing has a quantile")
	}
	for i := range 1000 {
		l[LatencyBucket(time.Duration(i+1)*time.Millisecond)]++
	}
	if p := l.quantile(.95); p < 850*time.Millisecond || p > 960*time.Millisecond {
		t.Errorf("95 %% of 1 to 1000 ms are within %v", p)
	}
	if n := l.above(500 * time.Millisecond); n < 430 || n > 500 {
		t.Errorf("%d of 1 to 1000 ms are above 500 ms", n)
	}
}
