package simulate

import (
	"math"
	"math/rand/v2"
	"time"
)

// arrivals are the instants at which visitors come, ascending.
func (e Event) arrivals(chance *rand.Rand) []time.Duration {
	if e.Recorded != nil {
		return e.Recorded
	}
	var all []time.Duration
	var begin time.Duration
	for _, s := range e.Demand {
		if s.Visitors > 0 {
			// Exponential gaps in a time in which the stretch is even.
			for come := chance.ExpFloat64(); come < float64(s.Visitors); come += chance.ExpFloat64() {
				all = append(all, begin+time.Duration(float64(s.For)*s.Shape.when(come/float64(s.Visitors))))
			}
		}
		begin += s.For
	}
	return all
}

// when is the share of a stretch in which the given share of its visitors come.
func (s Shape) when(share float64) float64 {
	switch s {
	case Rising:
		return math.Sqrt(share)
	case Falling:
		return 1 - math.Sqrt(1-share)
	}
	return share
}

// stay is how long a visitor uses the shop.
func (c Crowd) stay(chance *rand.Rand) time.Duration {
	switch c.Spread {
	case Exponential:
		return time.Duration(chance.ExpFloat64() * float64(c.Stay))
	case Heavy:
		return time.Duration(math.Exp(chance.NormFloat64()-.5) * float64(c.Stay))
	}
	return c.Stay
}

// person is a visitor of a run.
type person struct {
	came   time.Duration // when it joined
	stay   time.Duration
	number int64 // or the index plus one, before the draw
	state  state
	had    bool // a turn
	shows  bool // enters when the turn comes
	ends   bool // the shop ends its session
	buys   bool
}

type state uint8

const (
	away   state = iota // has not joined, or was turned away
	waits               // in line, with the page open
	turned              // had its turn, and is to enter
	inside              // uses the shop
	left                // is done, gave up, or did not come
)

func (c Crowd) person(chance *rand.Rand) person {
	return person{
		stay:  c.stay(chance),
		shows: chance.Float64() >= c.NoShow,
		ends:  chance.Float64() < c.Ends,
		buys:  chance.Float64() < c.Buys,
	}
}
