package crowd

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"
)

func TestArrivals_FollowTheirProfile(t *testing.T) {
	const count, over = 20_000, 100 * time.Second
	for _, c := range []struct {
		profile Profile
		first   float64 // the share that comes in the first half
	}{{Constant, 0.5}, {Spike, 0.924}, {Ramp, 0.25}} {
		a, err := NewArrivals(c.profile, count, over)
		if err != nil {
			t.Fatal(err)
		}
		all := slices.Collect(a.all(rand.New(rand.NewPCG(1, 1))))
		if len(all) != count || !slices.IsSorted(all) || all[0] < 0 || all[count-1] > over {
			t.Fatalf("%s: %d come from %v to %v, in order %v", c.profile, len(all), all[0], all[len(all)-1], slices.IsSorted(all))
		}
		half, _ := slices.BinarySearch(all, over/2)
		if share := float64(half) / count; share < c.first-0.02 || share > c.first+0.02 {
			t.Errorf("%s: %.3f come in the first half, want %.3f", c.profile, share, c.first)
		}
	}
}

func TestArrivals_ReadFromAFile(t *testing.T) {
	a, err := ReadArrivals(strings.NewReader("# the doors open\n0.5 2\n\n3 # one more\n0\n"))
	if err != nil {
		t.Fatal(err)
	}
	want := []time.Duration{0, 500 * time.Millisecond, 500 * time.Millisecond, 3 * time.Second}
	if got := slices.Collect(a.all(nil)); !slices.Equal(got, want) || a.Count() != 4 {
		t.Errorf("%d come at %v, want %v", a.Count(), got, want)
	}
	for text, want := range map[string]string{
		"": "nobody", "x": "line 1", "1\n-1": "line 2", "1 x": "line 1", "1 2 3": "line 1", "1 99999999": "line 1",
	} {
		if _, err := ReadArrivals(strings.NewReader(text)); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%q: the error is %v, want %q", text, err, want)
		}
	}
}

func TestSpread_DrawsWhatItSays(t *testing.T) {
	chance := rand.New(rand.NewPCG(1, 2))
	for _, c := range []struct {
		text              string
		least, most, mean time.Duration
	}{
		{"30s", 30 * time.Second, 30 * time.Second, 30 * time.Second},
		{"10s-20s", 10 * time.Second, 20 * time.Second, 15 * time.Second},
		{"~1m0s", 0, time.Hour, time.Minute},
	} {
		var s Spread
		if err := s.UnmarshalText([]byte(c.text)); err != nil {
			t.Fatal(err)
		}
		if text, _ := s.MarshalText(); string(text) != c.text {
			t.Errorf("%s is written %s", c.text, text)
		}
		var sum time.Duration
		for range 10_000 {
			d := s.draw(chance)
			if d < c.least || d > c.most {
				t.Fatalf("%s draws %v", c.text, d)
			}
			sum += d
		}
		if mean := sum / 10_000; mean < c.mean*95/100 || mean > c.mean*105/100 {
			t.Errorf("%s draws %v on the average, want %v", c.text, mean, c.mean)
		}
	}
	for _, bad := range []string{"", "x", "-5s", "5s-1s", "~x", "~-1s", "1s-2s-3s"} {
		if err := new(Spread).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a spread", bad)
		}
	}
	for _, bad := range []string{"", "x", "5-1", "-1", "1-2-3"} {
		if err := new(Span).UnmarshalText([]byte(bad)); err == nil {
			t.Errorf("%q is taken for a span", bad)
		}
	}
}
