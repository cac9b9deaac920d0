package crowd

import (
	"cmp"
	"slices"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// capacity judges C: at no instant are more seats surely taken than there is
// capacity for.
type capacity struct {
	findings
	*faults
	shopEnds bool
	sessions map[string]*stay
}

func (r *capacity) see(l *life, e *Event) {
	// The life holds the session from the next event on; it is taken then, and
	// the last at the end.
	if l.session != nil {
		r.sessions[l.session.ID] = l.session
	}
	if e.Session != nil && e.State == Passed && e.Kind != Forge && r.sessions[e.Session.ID] == nil {
		r.cases++
		r.sessions[e.Session.ID] = l.begin(e)
	}
}

// inside is the span in which a session surely stands.
func (r *capacity) inside(s *stay) span {
	until := s.used
	switch {
	case r.shopEnds:
	case s.left != 0:
		until = max(until, min(s.left, s.stands()))
	default:
		until = max(until, s.stands())
	}
	return span{s.began, until}
}

const (
	// grace is how long a seat is taken after the end of its session's token, and
	// leaving after its visitor left: until every gateway must have heard of it.
	grace   = Micros(admission.SessionGrace / time.Microsecond)
	parting = Micros(2 * admission.Tick / time.Microsecond)
)

// seat is the span in which the seat of a session is surely taken: already by
// the turn that it came of, and for a while after its end. A line that lost what
// it had counts such seats no more, or not as theirs.
func (r *capacity) seat(s *stay) span {
	in := r.inside(s)
	if s.turn.from != 0 && !r.lost(s.turn.asked-stale, s.began) {
		in.from = s.turn.from
	}
	if r.shopEnds {
		return in
	}
	until := s.stands() + fast(grace)
	if s.left != 0 {
		until = min(until, s.left+fast(parting))
	}
	if until > in.to && !r.lost(s.sent-stale, until) {
		in.to = until
	}
	return in
}

// step is someone coming in or going out.
type step struct {
	at      Micros
	by      int64
	visitor int64
}

// steps are those of all sessions within their spans, in order; who goes out
// goes first.
func (r *capacity) steps(within func(*stay) span) []step {
	var all []step
	for _, s := range r.sessions {
		if in := within(s); in.from < in.to {
			all = append(all, step{in.from, 1, s.visitor}, step{in.to, -1, s.visitor})
		}
	}
	slices.SortFunc(all, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by), cmp.Compare(a.visitor, b.visitor))
	})
	return all
}

func (r *capacity) judge(limits Limits) Judgement {
	const promise = "never more seats taken than the capacity"
	if limits.Capacity <= 0 {
		why := "there is no limit"
		if limits.Capacity == Unknown {
			why = "the capacity is not known"
		}
		return Judgement{Invariant: Capacity, Promise: promise, Outcome: Unjudged, Cases: r.cases, Why: why}
	}
	taken, over := int64(0), false
	steps := r.steps(r.seat)
	for i, s := range steps {
		taken += s.by
		if taken > limits.Capacity && !over {
			r.add(s.at, present(steps[:i+1]), "%d seats were taken at once, of a capacity of %d", taken, limits.Capacity)
		}
		over = taken > limits.Capacity
	}
	return r.judgement(Capacity, promise, "nobody was admitted")
}

// present are the visitors who came in and did not go out.
func present(steps []step) []int64 {
	inside := map[int64]int64{}
	for _, s := range steps {
		if inside[s.visitor] += s.by; inside[s.visitor] == 0 {
			delete(inside, s.visitor)
		}
	}
	var all []int64
	for v := range inside {
		all = append(all, v)
	}
	slices.Sort(all)
	return all
}
