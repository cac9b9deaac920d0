package crowd

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"iter"
	"math"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Arrivals are when visitors come, whether those before them were served or not.
type Arrivals struct {
	count   int
	over    time.Duration
	profile Profile
	times   []time.Duration // FromFile
}

// Profile is how arrivals are spread over a time.
type Profile string

// The profiles. All but FromFile are by chance.
const (
	Constant Profile = "constant" // as many in each second
	Spike    Profile = "spike"    // nearly all at the beginning, ever fewer after it
	Ramp     Profile = "ramp"     // ever more up to the end
	FromFile Profile = "file"
)

// NewArrivals returns as many arrivals over a time.
func NewArrivals(p Profile, count int, over time.Duration) (Arrivals, error) {
	switch {
	case p != Constant && p != Spike && p != Ramp:
		return Arrivals{}, fmt.Errorf("there is no profile %q; there are constant, spike and ramp", p)
	case count < 1 || count > 10_000_000:
		return Arrivals{}, errors.New("visitors: from 1 to 10000000")
	case over < 0:
		return Arrivals{}, errors.New("over: a time is not below 0")
	}
	return Arrivals{count: count, over: over, profile: p}, nil
}

// ReadArrivals reads a line for each arrival, or for several at once: seconds
// since the beginning, and how many come, 1 where that is left out. What follows
// a # is passed over.
func ReadArrivals(from io.Reader) (Arrivals, error) {
	a := Arrivals{profile: FromFile}
	lines := bufio.NewScanner(from)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		seconds, err := strconv.ParseFloat(words[0], 64)
		if err != nil || seconds < 0 || seconds > 1e6 {
			return Arrivals{}, fmt.Errorf("line %d: %q is no time in seconds", n, words[0])
		}
		come := 1
		if len(words) > 1 {
			if come, err = strconv.Atoi(words[1]); err != nil || come < 0 || come > 10_000_000 {
				return Arrivals{}, fmt.Errorf("line %d: %q is no number of visitors", n, words[1])
			}
		}
		if len(words) > 2 || len(a.times)+come > 10_000_000 {
			return Arrivals{}, fmt.Errorf("line %d: a line has a time and a number, and all lines together at most 10000000 visitors", n)
		}
		for range come {
			a.times = append(a.times, time.Duration(seconds*float64(time.Second)))
		}
	}
	if err := lines.Err(); err != nil {
		return Arrivals{}, err
	}
	if len(a.times) == 0 {
		return Arrivals{}, errors.New("nobody comes")
	}
	slices.Sort(a.times)
	a.count, a.over = len(a.times), a.times[len(a.times)-1]
	return a, nil
}

// Count is how many come.
func (a Arrivals) Count() int { return a.count }

// decay is how much thinner a spike is at its end than at its beginning, as a
// power of e.
const decay = 5

// all are the arrivals in order. They are made one at a time: a crowd need not be
// held in memory before it comes.
func (a Arrivals) all(chance *rand.Rand) iter.Seq[time.Duration] {
	if a.profile == FromFile {
		return slices.Values(a.times)
	}
	return func(yield func(time.Duration) bool) {
		rest := 1.0 // of the unit interval, above the last of its points in order
		for left := a.count; left > 0; left-- {
			rest *= math.Pow(chance.Float64(), 1/float64(left))
			if !yield(time.Duration(a.quantile(1-rest) * float64(a.over))) {
				return
			}
		}
	}
}

// quantile is the part of the time in which that share of the visitors comes.
func (a Arrivals) quantile(share float64) float64 {
	switch a.profile {
	case Spike:
		return -math.Log1p(-share*(1-math.Exp(-decay))) / decay
	case Ramp:
		return math.Sqrt(share)
	}
	return share
}
