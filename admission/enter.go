package admission

import "context"

// Entered is the answer to a visitor who takes a place by the queue API.
type Entered struct {
	// Reason is why there is no place; empty: there is one. PassOpen: there is
	// no line, and everyone passes.
	Reason Reason

	// Again is set where the identity had a place before: this is it.
	Again bool

	// Queue is the ticket of the place, and Status where it stands: without
	// one, what a newcomer is told.
	Queue  Ticket
	Status Status
}

// Enter takes a place for a visitor who will ask for its turn by Claim. Unlike
// Arrive it always gives a ticket, and never the admission itself: where the
// room is quiet the next Claim has it.
func (r *Room) Enter(ctx context.Context, visit Visit) Entered {
	v := r.view.Load()
	now := v.now()
	limits := r.limits(v)
	refused := func(verdict Verdict) Entered { return Entered{Reason: verdict.Reason, Status: verdict.Status} }
	if _, open := r.everyone(limits, now); open {
		return Entered{Reason: PassOpen, Status: r.hold(v, nil, now, HoldWaiting).Status}
	}
	if reason, no := refuses(v, limits, now); no {
		return refused(r.hold(v, nil, now, reason))
	}
	challenge, ok := r.worked(v, visit, now)
	if !ok {
		return refused(r.demand(v, visit, now))
	}
	visitor := newVisitor()
	place, t, err := r.take(ctx, visitor, visit, challenge, limits, now)
	if err != nil {
		return refused(r.hold(v, nil, now, HoldUnavailable))
	}
	if t == nil {
		return refused(r.placeless(place, visit, now))
	}
	t.binding = r.binding(visit)
	v = r.view.Load()
	status := r.hold(v, t, now, HoldWaiting).Status
	if t.number == 0 {
		verdict, _ := r.undrawn(v, t, now)
		status = verdict.Status
	}
	if a := place.Admission; a.Visitor != "" {
		r.known(a.Visitor, a.Number, t.epoch, a.Until, a.Max) // Claim comes before the view tells of it
		status.State, status.Position, status.Behind, status.Wait = StateReady, 0, 0, Wait{Known: true}
		status.PollAfter = r.settings.Load().Poll.Min
	} else if t.number > 0 {
		status.stand(v, *r.joined.Load(), max(1, place.Position))
	}
	return Entered{Again: t.visitor != visitor, Queue: r.signQueue(*t), Status: status}
}

// Claim tells a visitor who holds a place where it stands, marks it present,
// and takes its turn as soon as there is one: then the verdict passes, with the
// admission token. Asked again while that session lasts, it gives it again.
func (r *Room) Claim(ctx context.Context, visit Visit) Verdict {
	r.counts.polls.Add(1)
	v := r.view.Load()
	now := v.now()
	t := r.ticket(visit, v, now)
	if t == nil {
		return r.hold(v, nil, now, r.reason(v, now))
	}
	switch s := r.session(t.visitor); {
	case s == nil:
	case s.gone.Load():
		return r.hold(v, nil, now, r.reason(v, now))
	case now < s.ends():
		return r.entered(Admission{t.visitor, t.number, s.ends(), s.max}, t, now)
	}
	verdict, ok := r.returning(ctx, v, t, now)
	switch {
	case !ok: // the place is over, and so is the session that came of it
		return r.hold(v, nil, now, r.reason(v, now))
	case !verdict.Pass:
		verdict.Queue = r.resigned(t, v, now)
	}
	return verdict
}
