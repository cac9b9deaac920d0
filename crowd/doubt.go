package crowd

// doubt judges H: nobody passes without an admission.
type doubt struct {
	findings
	guests bool
}

func (r *doubt) see(l *life, e *Event) {
	if e.State != Passed || e.Kind == Forge {
		return
	}
	r.cases++
	switch s := l.session; {
	case e.Session != nil:
	case e.Kind != Browse:
		r.add(e.Got(), []int64{l.visitor}, "visitor %d passed at %s without an admission", l.visitor, at(e.Got()))
	case s != nil && e.Sent > s.dies():
		r.add(e.Got(), []int64{l.visitor}, "visitor %d passed at %s by an admission that was over at %s", l.visitor, at(e.Got()), at(s.dies()))
	}
}

func (r *doubt) judge(Limits) Judgement {
	const promise = "nobody passes without an admission"
	if r.guests {
		return Judgement{Invariant: Doubt, Promise: promise, Outcome: Unjudged, Cases: r.cases, Why: "some may pass without one, as the history says"}
	}
	return r.judgement(Doubt, promise, "nobody passed")
}
