package crowd

import (
	"cmp"
	"slices"
)

// turns are when visitors had their turns, as closely as the history tells. O
// and R both judge by them; O is shown the events, and keeps them.
type turns struct{ all []turn }

// turn was given between from and to, and before the line's time was line; 0:
// that is not known.
type turn struct {
	place
	visitor  int64
	from, to Micros
	line     int64
}

// see notes the first turn of each place, and further ones where those before
// surely lapsed.
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
	given := turn{place: p, visitor: l.visitor, from: cmp.Or(l.asked, e.Sent), to: e.Got()}
	switch same := l.placed && (l.place == p || l.place.number == 0 && l.place.epoch == p.epoch); {
	case !same:
	case l.lapse.told:
		if e.Lapsed || !l.lapse.ends(e) {
			return
		}
		given.from = max(cmp.Or(l.lapse.again, e.Sent), l.waited-stale)
	case l.turned:
		return
	default:
		given.from = max(l.joined, l.waited-stale)
	}
	if e.Kind == Poll && e.Line > 0 {
		given.line = e.Line + 1
	}
	t.all = append(t.all, given)
}

// order judges O: while one waits whom the line must know of, nobody with a
// higher number gets a turn, and so nobody is told to wait after somebody with a
// higher number was let in.
type order struct {
	findings
	*turns
	*faults
	waits map[int64][]wait // by epoch
}

// wait is a visitor who was told to wait while present.
type wait struct {
	place
	visitor int64
	*presence
}

func (r *order) see(l *life, e *Event) {
	r.turns.see(l, e)
	if !l.waits(e) {
		return
	}
	if r.waits == nil {
		r.waits = map[int64][]wait{}
	}
	for i, p := range l.present {
		if p.told != 0 && p.era != len(r.outages) { // what was sure before an outage is kept as it is
			p = &presence{span: p.span}
			l.present[i] = p
		}
		if p.told == 0 {
			p.era = len(r.outages)
			r.waits[l.place.epoch] = append(r.waits[l.place.epoch], wait{l.place, l.visitor, p})
		}
		p.told, p.line = e.Sent, max(p.line, e.Line)
	}
}

func (r *order) judge(limits Limits) Judgement {
	for epoch, waits := range r.waits {
		waits = slices.DeleteFunc(waits, func(w wait) bool { return r.tight(w.told) })
		r.cases += int64(len(waits))
		r.overtaken(epoch, waits)
	}
	j := r.judgement(Order, "nobody present is overtaken, or waits while a higher number is let in", "nobody was seen to wait while others might have had a turn")
	if limits.Absence == Unknown && j.Outcome == Unjudged {
		j.Why = "it is not known for how long a silent visitor counts as present (absence)"
	}
	return j
}

// overtaken finds the waits within which a higher number had its turn. That it
// was given before an answer told of waiting is sure by either of two clocks: the
// crowd's, less what an answer may be behind the line; and the line's own, to
// the second.
func (r *order) overtaken(epoch int64, waits []wait) {
	given := slices.DeleteFunc(slices.Clone(r.all), func(t turn) bool { return t.epoch != epoch })
	slices.SortFunc(given, func(a, b turn) int { return cmp.Compare(b.number, a.number) })
	slices.SortFunc(waits, func(a, b wait) int { return cmp.Compare(b.number, a.number) })

	byCrowd := passing(given, waits,
		func(t *turn) int64 { return int64(t.to) },
		func(w *wait) int64 { return int64(min(w.to, w.told-stale)) })
	byLine := passing(slices.DeleteFunc(slices.Clone(given), func(t turn) bool { return t.line == 0 }), waits,
		func(t *turn) int64 { return t.line },
		func(w *wait) int64 { return w.line })
	for i, w := range waits {
		for _, t := range []*turn{byCrowd[i], byLine[i]} {
			// A line that lost what it had may have forgotten a turn that was before.
			if t == nil || t.from < w.from || t.to > w.to || t.visitor == w.visitor || r.lost(t.from-stale, w.told) {
				continue
			}
			r.add(t.to, []int64{w.visitor, t.visitor},
				"visitor %d with number %d was present from %s on and told to wait at %s, while visitor %d with number %d had a turn between %s and %s",
				w.visitor, w.number, at(w.from), at(w.told), t.visitor, t.number, at(t.from), at(t.to))
			break
		}
	}
}

// passing returns for each wait the turn of a higher number that was given last
// of those that had surely been given by its end; nil: none. Turns and waits are
// of falling number. The turns of higher numbers are kept by when they had
// surely been given, with the latest beginning up to each.
func passing(given []turn, waits []wait, by func(*turn) int64, end func(*wait) int64) []*turn {
	ends := make([]int64, len(given))
	for i := range given {
		ends[i] = by(&given[i])
	}
	slices.Sort(ends)
	latest := make([]*turn, len(ends)+1) // a Fenwick tree of maxima
	last := make([]*turn, len(waits))
	next := 0
	for i := range waits {
		w := &waits[i]
		for ; next < len(given) && given[next].number > w.number; next++ {
			t := &given[next]
			at, _ := slices.BinarySearch(ends, by(t))
			for j := at + 1; j < len(latest); j += j & -j {
				if latest[j] == nil || latest[j].from < t.from {
					latest[j] = t
				}
			}
		}
		upTo, _ := slices.BinarySearch(ends, end(w)+1)
		for j := upTo; j > 0; j -= j & -j {
			if t := latest[j]; t != nil && (last[i] == nil || last[i].from < t.from) {
				last[i] = t
			}
		}
	}
	return last
}
