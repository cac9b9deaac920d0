package crowd

import (
	"cmp"
	"slices"
)

// numbers judges N: a number of an epoch is given once, and who joined after
// another's number was known has a higher one.
type numbers struct {
	findings
	owners map[place]int64 // the visitor of each number; below 0: of an index of the draw
	joins  []joined
	unsure map[int64]Micros // by visitor: its first request to join that may have got it what a later one tells of
}

type joined struct {
	place
	visitor   int64
	sent, got Micros // the first request by which the place may have been taken; the answer that told of it
}

func (r *numbers) see(l *life, e *Event) {
	if e.Kind == Join && (!e.answered() || e.Unavailable) {
		if _, known := r.unsure[l.visitor]; !known {
			r.unsure[l.visitor] = e.Sent
		}
	}
	if !e.answered() || e.Kind == Forge {
		return
	}
	p := place{e.Epoch, e.Number}
	if e.Session != nil {
		p = place{e.Session.Epoch, e.Session.Number}
	}
	if e.Index != nil && e.Epoch > 0 {
		p := place{e.Epoch, -1 - *e.Index}
		if owner, known := r.owners[p]; known && owner != l.visitor {
			r.add(e.Got(), []int64{owner, l.visitor}, "index %d of the draw of epoch %d was given to visitor %d and to visitor %d", *e.Index, p.epoch, owner, l.visitor)
		}
		r.owners[p] = l.visitor
	}
	if p.number == 0 || p.epoch == 0 {
		return
	}
	owner, known := r.owners[p]
	switch {
	case known && owner != l.visitor:
		r.add(e.Got(), []int64{owner, l.visitor}, "number %d of epoch %d was given to visitor %d and to visitor %d", p.number, p.epoch, owner, l.visitor)
	case !known:
		r.cases++
		r.owners[p] = l.visitor
		if e.Kind == Join && e.Index == nil {
			sent := e.Sent
			if first, ok := r.unsure[l.visitor]; ok {
				sent = first // the same work, or identity, has the same place again
			}
			r.joins = append(r.joins, joined{p, l.visitor, sent, e.Got()})
		}
		delete(r.unsure, l.visitor)
	}
}

func (r *numbers) judge(Limits) Judgement {
	// The highest number known so far of each epoch, as answers come in, is held
	// against each request sent after that.
	bySent := slices.SortedFunc(slices.Values(r.joins), func(a, b joined) int { return cmp.Compare(a.sent, b.sent) })
	byGot := slices.SortedFunc(slices.Values(r.joins), func(a, b joined) int { return cmp.Compare(a.got, b.got) })
	highest := map[int64]joined{}
	for _, j := range bySent {
		for len(byGot) > 0 && byGot[0].got < j.sent {
			if known := byGot[0]; known.number > highest[known.epoch].number {
				highest[known.epoch] = known
			}
			byGot = byGot[1:]
		}
		if h, ok := highest[j.epoch]; ok && j.number < h.number {
			r.add(j.got, []int64{h.visitor, j.visitor}, "visitor %d joined after visitor %d had number %d, and got number %d", j.visitor, h.visitor, h.number, j.number)
		}
	}
	return r.judgement(Numbers, "numbers are given once each, ascending", "nobody got a number")
}
