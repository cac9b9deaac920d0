package crowd

// admissions judges A: all admissions of a place are one session with one end,
// and who is inside is not held.
type admissions struct {
	findings
	shopEnds bool
	sessions map[place]given
}

// given is what the first admission of a place was.
type given struct {
	id      string
	max     int64
	visitor int64
}

func (r *admissions) see(l *life, e *Event) {
	if !e.answered() || e.Kind == Forge || e.Kind == Leave {
		return
	}
	if e.Session != nil {
		r.cases++
		now := given{e.Session.ID, e.Session.Max, l.visitor}
		p := place{e.Session.Epoch, e.Session.Number}
		first, known := r.sessions[p]
		switch {
		case p.number == 0: // it came of a pass
		case !known:
			r.sessions[p] = now
		case first.id != now.id || first.max != now.max:
			r.add(e.Got(), distinct(first.visitor, l.visitor), "number %d of epoch %d was admitted to a second session, with another end: %s until %d, and then %s until %d",
				p.number, p.epoch, first.id, first.max, now.id, now.max)
		}
		if s := l.session; s != nil && s.left == 0 && s.ID != now.id && !r.shopEnds && e.Got() < s.stands()-patience {
			r.add(e.Got(), []int64{l.visitor}, "visitor %d, inside with number %d, was admitted anew with number %d", l.visitor, s.Number, p.number)
		}
		return
	}
	if s := l.session; s != nil && s.left == 0 && (e.Kind == Browse || e.Kind == Enter) && e.State != Passed && !r.shopEnds && e.Got() < s.stands()-patience {
		r.add(e.Got(), []int64{l.visitor}, "visitor %d, inside with number %d until %s at least, was held at %s: %s", l.visitor, s.Number, at(s.stands()), at(e.Got()), e.State)
	}
}

func (r *admissions) judge(Limits) Judgement {
	return r.judgement(Admissions, "who asks again gets the same session with the same end", "nobody was admitted")
}

func distinct(a, b int64) []int64 {
	if a == b {
		return []int64{a}
	}
	return []int64{a, b}
}
