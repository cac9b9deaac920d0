package crowd

import (
	"cmp"
	"fmt"
	"slices"
	"time"
)

// Invariant is a promise of the line, by its letter.
type Invariant string

// The invariants, in the order in which they are judged.
const (
	Numbers    Invariant = "N" // a number is given once, and later ones are higher
	Order      Invariant = "O" // nobody present is overtaken
	Capacity   Invariant = "C" // never more inside than the capacity
	Rate       Invariant = "R" // never more let in than the rate, over any span
	Admissions Invariant = "A" // who asks again gets the same session
	Places     Invariant = "P" // a place is kept
	Forgeries  Invariant = "F" // a worthless ticket is worth nothing, and no error
	Doubt      Invariant = "H" // nobody passes without an admission
)

// Outcome is what a history shows of an invariant.
type Outcome string

// The outcomes. A history can refute; that nothing is refuted proves an
// invariant of this history, and of no other.
const (
	Held     Outcome = "held"
	Broken   Outcome = "broken"
	Unjudged Outcome = "unjudged" // it has nothing to judge by
)

// Violation is what refutes an invariant.
type Violation struct {
	At       Micros  `json:"t"`
	Visitors []int64 `json:"visitors"`
	What     string  `json:"what"`
}

// Judgement is what a history shows of one invariant.
type Judgement struct {
	Invariant Invariant  `json:"invariant"`
	Promise   string     `json:"promise"`
	Outcome   Outcome    `json:"outcome"`
	Cases     int64      `json:"cases"`         // that could have refuted it
	Why       string     `json:"why,omitempty"` // Unjudged
	Found     int64      `json:"violations"`
	First     *Violation `json:"first,omitempty"`
}

const (
	// stale is how old what a gateway says of the line may be without its saying
	// so: admission's own bound.
	stale = Micros(3_000_000)

	// heardWithin is how long it may take until the line knows of a poll: a flush,
	// a tick, and what a busy machine adds to both.
	heardWithin = Micros(5_000_000)

	// patience is how long a gateway may wait for its store, and so how much
	// earlier than the store it may take a session for ended.
	patience = Micros(2_000_000)

	// tokenGrain is the resolution of the times in a token.
	tokenGrain = Micros(1_000_000)
)

// fast is how much slower d may be by another clock: two clocks drift apart by
// far less than a thousandth, and are never compared with each other.
func fast(d Micros) Micros { return d - d/1000 }

// slow is how much longer d may be by another clock.
func slow(d Micros) Micros { return d + d/1000 + 1 }

// rule judges one invariant. It is shown every event together with the life of
// its visitor up to then, in the order of each visitor's events.
type rule interface {
	see(l *life, e *Event)
	judge(limits Limits) Judgement
}

// Checker holds a history against the invariants of the line. Its findings are
// sound whatever the delays of the network and the clocks of the gateways: it
// knows of each request only that it was dealt with between sent and answered,
// and compares no clocks but the line's own with itself. It relies on no clock of
// a store being set during the run, on limits that were told, and on turns that
// stand no shorter than they did.
//
// It is not safe for concurrent use.
type Checker struct {
	limits   Limits
	lives    map[int64]*life
	rules    []rule
	sessions *capacity // one of rules
	faults   *faults
}

// NewChecker returns a checker of a history.
func NewChecker(head Head) *Checker {
	turns, faults := &turns{}, &faults{capacity: head.Limits.Capacity}
	sessions := &capacity{faults: faults, shopEnds: head.ShopEnds, sessions: map[string]*stay{}}
	return &Checker{
		limits: head.Limits, lives: map[int64]*life{}, sessions: sessions, faults: faults,
		rules: []rule{
			&numbers{owners: map[place]int64{}, unsure: map[int64]Micros{}}, &order{turns: turns, faults: faults}, sessions,
			&rate{turns: turns}, &admissions{shopEnds: head.ShopEnds, sessions: map[place]given{}},
			&places{limits: head.Limits}, &forgeries{}, &doubt{guests: head.Guests},
		},
	}
}

// See takes the next event.
func (c *Checker) See(e Event) {
	if e.Kind == Told {
		c.limits = c.limits.widest(*e.Limits)
		c.faults.tell(e.Sent, e.Limits.Capacity)
		return
	}
	c.faults.see(&e)
	l := c.lives[e.Visitor]
	if l == nil {
		l = newLife(e.Visitor)
		c.lives[e.Visitor] = l
	}
	for _, r := range c.rules {
		r.see(l, &e)
	}
	l.advance(&e, c.limits)
}

// Judge returns a judgement of each invariant. No event may be seen after it.
func (c *Checker) Judge() []Judgement {
	c.faults.sort()
	all := make([]Judgement, len(c.rules))
	for i, r := range c.rules {
		all[i] = r.judge(c.limits)
	}
	return all
}

// widest are the limits under which all passes that passes under l or m: while
// an operator changes a limit nobody knows when it counts.
func (l Limits) widest(m Limits) Limits {
	return Limits{
		Capacity: wider(l.Capacity, m.Capacity), RatePerHour: wider(l.RatePerHour, m.RatePerHour), Burst: max(l.Burst, m.Burst),
		Absence: shorter(l.Absence, m.Absence), HoldPlace: shorter(l.HoldPlace, m.HoldPlace),
	}
}

func wider(a, b int64) int64 {
	if a == 0 || b == 0 {
		return 0 // no limit
	}
	return max(a, b)
}

func shorter(a, b int64) int64 {
	if a == Unknown || b == Unknown {
		return max(a, b)
	}
	return min(a, b)
}

// findings gather the violations of one invariant.
type findings struct {
	cases int64
	found int64
	first *Violation
}

func (f *findings) add(at Micros, visitors []int64, format string, args ...any) {
	f.found++
	if f.first == nil || at < f.first.At {
		f.first = &Violation{at, visitors, fmt.Sprintf(format, args...)}
	}
}

// judgement is what the findings come to; none says what there was no case of.
func (f *findings) judgement(i Invariant, promise, none string) Judgement {
	j := Judgement{Invariant: i, Promise: promise, Cases: f.cases, Found: f.found, First: f.first}
	switch {
	case f.found > 0:
		j.Outcome = Broken
	case f.cases == 0:
		j.Outcome, j.Why = Unjudged, none
	default:
		j.Outcome = Held
	}
	return j
}

// First returns the earliest violation of all and its invariant, or nil.
func First(all []Judgement) (Invariant, *Violation) {
	broken := slices.DeleteFunc(slices.Clone(all), func(j Judgement) bool { return j.Outcome != Broken })
	if len(broken) == 0 {
		return "", nil
	}
	first := slices.MinFunc(broken, func(a, b Judgement) int { return cmp.Compare(a.First.At, b.First.At) })
	return first.Invariant, first.First
}

// at tells an instant to people.
func at(m Micros) string { return fmt.Sprintf("%.3f s", time.Duration(m*1000).Seconds()) }
