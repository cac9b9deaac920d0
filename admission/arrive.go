package admission

import (
	"context"

	"go.uber.org/zap"
)

// Arrive answers a request that wants in.
func (r *Room) Arrive(ctx context.Context, visit Visit) Verdict {
	verdict := r.arrive(ctx, visit)
	if verdict.Reason == PassEntered {
		r.usedFirst(verdict.Session.Visitor, visit)
	}
	// The one place where a store that is away may let someone pass. Who has a
	// place keeps the ticket, and waits by it again when the store is back.
	if verdict.Reason == HoldUnavailable && r.settings.Load().OpenOnFailure {
		if v := r.view.Load(); v.stale() && r.outage.pass(r.limits(v), v.now()) {
			return Verdict{Pass: true, Reason: PassOutage}
		}
	}
	return verdict
}

func (r *Room) arrive(ctx context.Context, visit Visit) Verdict {
	v := r.view.Load()
	now := v.now()
	if verdict, ok := r.inside(ctx, v, visit, now); ok {
		return verdict
	}
	limits := r.limits(v)
	if reason, open := r.everyone(limits, now); open {
		return Verdict{Pass: true, Reason: reason}
	}
	held, pass := r.holder(visit, now)
	if held != nil {
		var verdict Verdict
		var ok bool
		if verdict, pass, ok = r.redeem(ctx, v, held, limits, now); ok {
			return verdict
		}
	}
	verdict := r.inLine(ctx, v, visit, limits, now)
	verdict.Status.Pass = pass
	verdict.DropPass = held != nil && pass == ""
	return verdict
}

// inLine answers a visitor by the line of numbers.
func (r *Room) inLine(ctx context.Context, v *view, visit Visit, limits Limits, now Instant) Verdict {
	if t := r.ticket(visit, v, now); t != nil {
		if verdict, ok := r.returning(ctx, v, t, now); ok {
			return verdict
		}
	}
	verdict := r.newcomer(ctx, v, visit, limits, now)
	// Work is kept while it may still buy a place.
	verdict.DropWork = visit.Work != "" && (verdict.Pass || verdict.Queue.Token != "" || verdict.Reason == HoldWork)
	return verdict
}

// returning answers a visitor with a place; false where the place is over and
// its holder is new.
func (r *Room) returning(ctx context.Context, v *view, t *ticket, now Instant) (Verdict, bool) {
	if r.isGone(t.visitor) {
		return Verdict{}, false
	}
	if t.number == 0 {
		return r.undrawn(v, t, now)
	}
	stands := v.standing(t.number)
	if v.stale() || t.epoch > v.Epoch {
		return r.hold(v, t, now, HoldUnavailable), true
	}
	if !v.Limits.begun(now) {
		r.heard.mark(t.number)
		return r.hold(v, t, now, HoldBefore), true
	}
	if stands == standsWaiting {
		r.heard.mark(t.number)
		if v.Limits.over(now) {
			return r.hold(v, t, now, HoldEnded), true
		}
		return r.hold(v, t, now, HoldWaiting), true
	}
	if r.shut.Load() && stands != standsDone && stands != standsLost {
		r.heard.mark(t.number)
		return r.hold(v, t, now, HoldWaiting), true
	}
	entry, err := r.ask(ctx, Knock{Visitor: t.visitor, Number: t.number, Epoch: t.epoch})
	switch {
	case err != nil:
		return r.hold(v, t, now, HoldUnavailable), true
	case entry.Outcome == EntryAdmitted && entry.Admission.Until > now:
		return r.entered(entry.Admission, t, now), true
	case entry.Outcome != EntryWaiting: // gone, or a session whose last token is dead
		return Verdict{}, false
	}
	return r.hold(r.view.Load(), t, now, HoldWaiting), true
}

// newcomer answers a visitor without a place.
func (r *Room) newcomer(ctx context.Context, v *view, visit Visit, limits Limits, now Instant) Verdict {
	if reason, refused := refuses(v, limits, now); refused {
		return r.hold(v, nil, now, reason)
	}
	if visit.Looking {
		return r.hold(v, nil, now, HoldWaiting)
	}
	challenge, ok := r.worked(v, visit, now)
	if !ok {
		return r.demand(v, visit, now)
	}
	place, t, err := r.take(ctx, newVisitor(), visit, challenge, limits, now)
	if err != nil {
		return r.hold(v, nil, now, HoldUnavailable)
	}
	if t == nil {
		return r.placeless(place, visit, now)
	}
	t.binding = r.binding(visit)
	switch a := place.Admission; {
	case a.Visitor != "" && (a.Until <= now || r.isGone(a.Visitor)): // an identity whose session ends in these seconds: it is new after them
		return r.hold(r.view.Load(), nil, now, HoldWaiting)
	case a.Visitor != "":
		return r.entered(place.Admission, t, now)
	}
	v = r.view.Load()
	if t.number == 0 {
		verdict, _ := r.undrawn(v, t, now)
		verdict.Queue = r.signQueue(*t)
		return verdict
	}
	verdict := r.hold(v, t, now, HoldWaiting)
	verdict.Status.stand(v, *r.joined.Load(), max(1, place.Position))
	verdict.Queue = r.signQueue(*t)
	return verdict
}

// refuses tells why a line takes no newcomers, if it takes none.
func refuses(v *view, limits Limits, now Instant) (Reason, bool) {
	switch {
	case v.stale() || v.Settling && !v.Closing:
		return HoldUnavailable, true
	case limits.over(now):
		return HoldEnded, true
	case !limits.begun(now) && !v.indexing(now):
		return HoldBefore, true
	case v.Closing:
		return HoldDrawing, true
	case limits.Mode == ModeClosed:
		return HoldClosed, true
	}
	return "", false
}

// take takes a place in line for a visitor of a new id. The ticket has the id
// of an earlier one where the identity has a place already. For who has none it
// is the challenge that was solved, which gets one place and no other. Without a
// ticket the place tells why.
func (r *Room) take(ctx context.Context, visitor string, visit Visit, challenge string, limits Limits, now Instant) (Place, *ticket, error) {
	newcomer := Newcomer{
		Visitor:  visitor,
		Identity: r.hashes.identity(visit.Identity),
		Waits:    r.shut.Load(),
	}
	if newcomer.Identity == "" && challenge != "" {
		newcomer.Identity, newcomer.Once = r.hashes.of("work", challenge), true
	}
	if limits.JoinsPerHour > 0 {
		newcomer.Network = r.hashes.network(visit.Network, r.settings.Load().Networks)
	}
	for {
		place, err := r.joins.ask(ctx, newcomer)
		if err != nil || place.Number == 0 {
			return place, nil, err
		}
		t := &ticket{
			line: r.id, visitor: place.Visitor, number: place.Number, epoch: place.epoch,
			signed: now, expires: r.queueTicketEnd(limits, now), kid: r.ring.Load().keys[0].id,
		}
		if place.Indexed {
			v := r.view.Load()
			t.number, t.indexed, t.index, t.drawn = 0, true, place.Number-1, v.Drawn
			if t = r.drawn(v, t); t == nil {
				return Place{}, nil, errHeld // the view is behind
			}
			if t.number > 0 && newcomer.Over == 0 && place.Admission.Visitor == "" {
				place.Position = v.position(t.number, *r.joined.Load())
				if s := v.standing(t.number); s == standsDone || s == standsLost {
					if newcomer.Once {
						return Place{Spent: true}, nil, nil
					}
					newcomer.Over = place.Number // the identity's place is over, which the store cannot know
					continue
				}
			}
		}
		r.counts.joins.Add(1)
		return place, t, nil
	}
}

// placeless is the verdict on a visitor whom the line gave no number.
func (r *Room) placeless(place Place, visit Visit, now Instant) Verdict {
	switch {
	case place.Full:
		return r.hold(r.view.Load(), nil, now, HoldFull)
	case place.Spent:
		return r.demand(r.view.Load(), visit, now)
	}
	verdict := r.hold(r.view.Load(), nil, now, HoldLimited)
	verdict.Status.PollAfter = jitter(max(place.RetryAfter, verdict.Status.PollAfter))
	return verdict
}

// queueTicketEnd is when a queue ticket dies: when the place would be lost
// after the end, or after a week.
func (r *Room) queueTicketEnd(limits Limits, now Instant) Instant {
	if limits.EndAt.IsZero() {
		return now.Add(queueTicketLife)
	}
	return InstantOf(limits.EndAt).Add(limits.HoldPlace)
}

func (r *Room) signQueue(t ticket) Ticket {
	signed, err := r.ring.Load().sign(t, forQueue)
	if err != nil {
		r.log.Error("queue token not signed", zap.Error(err))
	}
	return signed
}

// entered passes a visitor whose session began, or who asked again for it.
func (r *Room) entered(a Admission, t *ticket, now Instant) Verdict {
	s := r.known(a.Visitor, a.Number, t.epoch, a.Until, a.Max)
	s.born.Store(int64(r.view.Load().Born))
	token, err := r.ring.Load().sign(ticket{
		line: r.id, visitor: a.Visitor, number: a.Number, epoch: t.epoch,
		signed: now, expires: a.Until, max: a.Max, binding: t.binding,
	}, forAdmission)
	if err != nil {
		// Without a token the session would be lost at the next request.
		r.log.Error("admission token not signed", zap.Error(err))
		return r.hold(r.view.Load(), t, now, HoldUnavailable)
	}
	waited := max(0, now.Sub(t.signed))
	if s.entered.CompareAndSwap(false, true) { // not where it only asked again
		r.counts.entered(waited)
		if t.pass.ID != "" {
			r.counts.passes.admitted.Add(1)
		}
		r.note(Event{Kind: EventAdmitted, At: now, Epoch: t.epoch, Number: a.Number, Visitor: a.Visitor, Wait: waited})
	}
	return Verdict{
		Pass: true, Reason: PassEntered, Admission: token, Waited: waited,
		Session: Session{Visitor: a.Visitor, Number: a.Number, Until: a.Until.Time()},
	}
}
