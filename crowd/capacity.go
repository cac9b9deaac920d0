package crowd

import (
	"cmp"
	"slices"
)

// capacity judges C: at no instant do more sessions surely stand than there is
// capacity for.
type capacity struct {
	findings
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
		r.sessions[e.Session.ID] = &stay{Session: *e.Session, visitor: l.visitor, sent: e.Sent, began: e.Got(), used: e.Sent}
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

// step is someone coming in or going out.
type step struct {
	at      Micros
	by      int64
	visitor int64
}

// steps are those of all sessions, in order; who goes out goes first.
func (r *capacity) steps() []step {
	var all []step
	for _, s := range r.sessions {
		if in := r.inside(s); in.from < in.to {
			all = append(all, step{in.from, 1, s.visitor}, step{in.to, -1, s.visitor})
		}
	}
	slices.SortFunc(all, func(a, b step) int {
		return cmp.Or(cmp.Compare(a.at, b.at), cmp.Compare(a.by, b.by), cmp.Compare(a.visitor, b.visitor))
	})
	return all
}

func (r *capacity) judge(limits Limits) Judgement {
	const promise = "never more sessions than the capacity"
	if limits.Capacity <= 0 {
		why := "there is no limit"
		if limits.Capacity == Unknown {
			why = "the capacity is not known"
		}
		return Judgement{Invariant: Capacity, Promise: promise, Outcome: Unjudged, Cases: r.cases, Why: why}
	}
	inside, over := int64(0), false
	steps := r.steps()
	for i, s := range steps {
		inside += s.by
		if inside > limits.Capacity && !over {
			r.add(s.at, present(steps[:i+1]), "%d sessions stood at once, of a capacity of %d", inside, limits.Capacity)
		}
		over = inside > limits.Capacity
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
