package crowd

import (
	"cmp"
	"slices"
)

// turns are when visitors had their turn, as closely as the history tells. O
// and R both judge by them; O is shown the events, and keeps them.
type turns struct{ all []turn }

// turn was given between from and to.
type turn struct {
	place
	visitor  int64
	from, to Micros
}

// see notes the first turn of each place.
func (t *turns) see(l *life, e *Event) {
	if !e.answered() || e.Kind == Forge || e.Kind == Leave {
		return
	}
	p := place{e.Epoch, e.Number}
	if e.Session != nil {
		p = place{e.Session.Epoch, e.Session.Number}
	}
	if p.number == 0 || e.State != Passed && e.State != Ready && !e.Lapsed || e.State == Passed && e.Session == nil {
		return
	}
	same := l.placed && (l.place == p || l.place.number == 0 && l.place.epoch == p.epoch)
	if same && l.turned {
		return
	}
	from := e.Sent
	if same {
		from = max(l.joined, l.waited-stale)
	}
	t.all = append(t.all, turn{p, l.visitor, from, e.Got()})
}

// order judges O: while one waits whom the line must know of, nobody with a
// higher number gets a turn.
type order struct {
	findings
	*turns
	waits map[int64][]wait // by epoch
}

// wait is a visitor who was told to wait while present.
type wait struct {
	place
	visitor int64
	*presence
}

// within is the span in which it was surely present and had surely no turn.
func (w wait) within() span { return span{w.from, min(w.to, w.told-stale)} }

func (r *order) see(l *life, e *Event) {
	r.turns.see(l, e)
	if e.Kind != Poll || !e.answered() || e.State != Waiting || e.Lapsed || e.Paused || e.Unavailable ||
		!l.placed || l.over || l.turned || l.place != (place{e.Epoch, e.Number}) {
		return
	}
	if r.waits == nil {
		r.waits = map[int64][]wait{}
	}
	for _, p := range l.present {
		if p.told == 0 {
			r.waits[l.place.epoch] = append(r.waits[l.place.epoch], wait{l.place, l.visitor, p})
		}
		p.told = e.Sent
	}
}

func (r *order) judge(limits Limits) Judgement {
	for epoch, waits := range r.waits {
		r.cases += int64(len(waits))
		r.overtaken(epoch, waits)
	}
	j := r.judgement(Order, "nobody present is overtaken", "nobody was seen to wait while others might have had a turn")
	if limits.Absence == Unknown && j.Outcome == Unjudged {
		j.Why = "it is not known for how long a silent visitor counts as present (absence)"
	}
	return j
}

// overtaken finds the waits within which a higher number had its turn: those of
// falling number are held against all turns of higher numbers, kept by their
// end with the latest beginning up to each.
func (r *order) overtaken(epoch int64, waits []wait) {
	turns := slices.DeleteFunc(slices.Clone(r.all), func(t turn) bool { return t.epoch != epoch })
	ends := make([]Micros, len(turns))
	for i, t := range turns {
		ends[i] = t.to
	}
	slices.Sort(ends)
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(b.number, a.number) })
	slices.SortFunc(waits, func(a, b wait) int { return cmp.Compare(b.number, a.number) })

	latest := make([]*turn, len(ends)+1) // a Fenwick tree of maxima
	next := 0
	for _, w := range waits {
		for ; next < len(turns) && turns[next].number > w.number; next++ {
			t := &turns[next]
			at, _ := slices.BinarySearch(ends, t.to)
			for i := at + 1; i < len(latest); i += i & -i {
				if latest[i] == nil || latest[i].from < t.from {
					latest[i] = t
				}
			}
		}
		within := w.within()
		upTo, _ := slices.BinarySearch(ends, within.to+1)
		var t *turn
		for i := upTo; i > 0; i -= i & -i {
			if c := latest[i]; c != nil && (t == nil || t.from < c.from) {
				t = c
			}
		}
		if t == nil || t.from < within.from || t.visitor == w.visitor {
			continue
		}
		r.add(t.to, []int64{w.visitor, t.visitor},
			"visitor %d with number %d was present from %s to %s and told to wait at %s, while visitor %d with number %d had a turn between %s and %s",
			w.visitor, w.number, at(within.from), at(within.to), at(w.told), t.visitor, t.number, at(t.from), at(t.to))
	}
}
