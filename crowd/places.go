package crowd

// places judges P: who holds a place is told of that place, until it ends as it
// should.
type places struct {
	findings
	limits Limits
}

func (r *places) see(l *life, e *Event) {
	if e.Kind == Told || !l.placed || l.over || !e.answered() || e.Unavailable || e.Kind == Leave || e.Kind == Join || e.Kind == Forge {
		return
	}
	if r.limits.HoldPlace == Unknown || r.limits.Absence == Unknown || e.Epoch > l.place.epoch || e.State == "ended" || e.Got() >= l.kept(r.limits) {
		return
	}
	r.cases++
	now := e.Number
	if e.Session != nil {
		now = e.Session.Number
	}
	switch {
	case now == l.place.number:
		if e.State != New {
			return
		}
	case l.place.number == 0 && (now != 0 || e.Index != nil): // drawn since
		return
	case e.State == Passed && e.Session == nil: // H's
		return
	}
	r.add(e.Got(), []int64{l.visitor}, "visitor %d had number %d, and was told %s at %s: number %d", l.visitor, l.place.number, e.State, at(e.Got()), now)
}

func (r *places) judge(Limits) Judgement {
	j := r.judgement(Places, "a place, once given, is kept", "nobody with a place asked again")
	if (r.limits.HoldPlace == Unknown || r.limits.Absence == Unknown) && j.Outcome == Unjudged {
		j.Why = "it is not known for how long a place is held (hold_place, absence)"
	}
	return j
}
