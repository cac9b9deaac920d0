package crowd

import (
	"fmt"
	"math"
	"math/rand/v2"
	"strconv"
	"strings"
	"time"
)

// Spread is a distribution of durations. The zero Spread is always 0.
type Spread struct {
	from, to time.Duration // uniform between them
	mean     time.Duration // exponential, where it is above 0
}

// UnmarshalText reads one duration for all (30s), a span of which each is as
// likely (10s-1m), or the mean of an exponential distribution (~30s).
func (s *Spread) UnmarshalText(text []byte) error {
	bad := fmt.Errorf("%q is no duration (30s), span (10s-1m) or mean (~30s)", text)
	if mean, ok := strings.CutPrefix(string(text), "~"); ok {
		d, err := time.ParseDuration(mean)
		if err != nil || d < 0 {
			return bad
		}
		*s = Spread{mean: d}
		return nil
	}
	from, to, spans := strings.Cut(string(text), "-")
	if !spans {
		to = from
	}
	a, err := time.ParseDuration(from)
	if err != nil {
		return bad
	}
	b, err := time.ParseDuration(to)
	if err != nil || a < 0 || b < a {
		return bad
	}
	*s = Spread{from: a, to: b}
	return nil
}

// MarshalText is the text that UnmarshalText reads.
func (s Spread) MarshalText() ([]byte, error) {
	switch {
	case s.mean > 0:
		return []byte("~" + s.mean.String()), nil
	case s.from != s.to:
		return []byte(s.from.String() + "-" + s.to.String()), nil
	}
	return []byte(s.from.String()), nil
}

// draw takes one.
func (s Spread) draw(chance *rand.Rand) time.Duration {
	switch {
	case s.mean > 0:
		return time.Duration(min(chance.ExpFloat64()*float64(s.mean), math.MaxInt64/2))
	case s.to > s.from:
		return s.from + time.Duration(chance.Int64N(int64(s.to-s.from)+1))
	}
	return s.from
}

// Span is a number of things, each of a span as likely. The zero Span is always
// 0.
type Span struct{ From, To int }

// UnmarshalText reads a number (3) or a span (1-5).
func (s *Span) UnmarshalText(text []byte) error {
	from, to, spans := strings.Cut(string(text), "-")
	if !spans {
		to = from
	}
	a, err := strconv.Atoi(from)
	b, wrong := strconv.Atoi(to)
	if err != nil || wrong != nil || a < 0 || b < a || b > 1_000_000 {
		return fmt.Errorf("%q is no number (3) or span (1-5)", text)
	}
	*s = Span{a, b}
	return nil
}

// MarshalText is the text that UnmarshalText reads.
func (s Span) MarshalText() ([]byte, error) {
	if s.From == s.To {
		return []byte(strconv.Itoa(s.From)), nil
	}
	return []byte(strconv.Itoa(s.From) + "-" + strconv.Itoa(s.To)), nil
}

// draw takes one.
func (s Span) draw(chance *rand.Rand) int { return s.From + chance.IntN(s.To-s.From+1) }
