package admission

import (
	"math/bits"
	"time"
)

// LatencyBuckets is how many buckets a Latencies has.
const LatencyBuckets = 128

// Latencies count times by their size, in buckets that are an eighth of a power
// of two wide: from below a millisecond to above half a minute. The zero
// Latencies have counted nothing.
type Latencies [LatencyBuckets]uint32

// latencyShift makes the first bucket that is not of everything below end at
// 2^9 µs, half a millisecond.
const latencyShift = 9

// LatencyBucket returns the bucket that a time is counted in.
func LatencyBucket(d time.Duration) int {
	us := uint64(max(d.Microseconds(), 1))
	octave := bits.Len64(us) - 1
	if octave < latencyShift {
		return 0
	}
	return min((octave-latencyShift)*8+int(us>>(octave-3)&7), LatencyBuckets-1)
}

// latencyBound is the least time that is counted in a bucket.
func latencyBound(bucket int) time.Duration {
	if bucket == 0 {
		return 0
	}
	return time.Duration((8+bucket%8)<<(latencyShift+bucket/8)>>3) * time.Microsecond
}

// Count returns how many times there are.
func (l *Latencies) Count() (n int64) {
	for _, c := range l {
		n += int64(c)
	}
	return n
}

// add counts what another has counted.
func (l *Latencies) add(other *Latencies) {
	for i, c := range other {
		l[i] += c
	}
}

// above returns how many times are longer than d, as far as buckets tell.
func (l *Latencies) above(d time.Duration) (n int64) {
	for i := LatencyBucket(d) + 1; i < LatencyBuckets; i++ {
		n += int64(l[i])
	}
	return n
}

// quantile returns the time that a share of all do not exceed, to a bucket; 0
// where there are none.
func (l *Latencies) quantile(share float64) time.Duration {
	left := int64((1 - share) * float64(l.Count())) // that may be longer
	for i := LatencyBuckets - 1; i >= 0; i-- {
		if left -= int64(l[i]); left < 0 {
			return latencyBound(i)
		}
	}
	return 0
}
