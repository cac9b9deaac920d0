package admission

import (
	"context"
	"time"
)

// resignAfter is how much of a queue ticket's life may be gone before a poll
// renews it.
const resignAfter = 24 * time.Hour

// Peek tells a visitor's status and marks presence. It never joins, admits or
// renews, and asks the store only where the holder of a pass waits.
func (r *Room) Peek(ctx context.Context, visit Visit) Verdict {
	r.counts.polls.Add(1)
	return r.Look(ctx, visit)
}

// Look is Peek where nobody asked: it counts as no poll, and its Queue ticket
// may be left away.
func (r *Room) Look(ctx context.Context, visit Visit) Verdict {
	v := r.view.Load()
	now := v.now()
	for _, token := range visit.AdmissionTokens {
		t, err := r.ring.Load().verify(token, forAdmission)
		if err != nil || t.line != r.id || !r.bound(t, visit) {
			continue
		}
		if s := r.known(t.visitor, t.number, t.epoch, t.expires, t.max); s.lasts(now) && !r.others(s, visit, now) {
			verdict := r.hold(v, &ticket{number: t.number}, now, HoldWaiting)
			verdict.Status.State = StateAdmitted
			verdict.Status.Position, verdict.Status.Behind, verdict.Status.Wait = 0, 0, Wait{}
			verdict.Status.Session = s.ends().Sub(now)
			verdict.Status.PollAfter, verdict.Status.PollMax = 0, 0
			return verdict
		}
	}
	if _, open := r.everyone(r.limits(v), now); open {
		// Who came before it was so is let in by asking again.
		verdict := r.hold(v, nil, now, HoldWaiting)
		verdict.Status.State, verdict.Status.PollAfter = StateReady, r.settings.Load().Poll.Min
		return verdict
	}
	held, pass := r.holder(visit, now)
	if held != nil {
		var verdict Verdict
		var ok bool
		if verdict, pass, ok = r.await(ctx, v, held, now); ok {
			return verdict
		}
	}
	verdict := r.lookInLine(v, visit, now)
	verdict.Status.Pass = pass
	return verdict
}

// lookInLine is Look for a visitor in the line of numbers.
func (r *Room) lookInLine(v *view, visit Visit, now Instant) Verdict {
	t := r.ticket(visit, v, now)
	if t == nil {
		return r.hold(v, nil, now, r.reason(v, now))
	}
	if t.number == 0 {
		verdict, ok := r.undrawn(v, t, now)
		if !ok {
			return r.hold(v, nil, now, r.reason(v, now))
		}
		verdict.Queue = r.resigned(t, v, now)
		return verdict
	}
	switch v.standing(t.number) {
	case standsDone, standsLost:
		verdict := r.hold(v, nil, now, r.reason(v, now))
		if s := r.session(t.visitor); s != nil && s.lasts(now) {
			// It entered, and the answer was lost: to ask again is to be in.
			verdict.Status.State, verdict.Status.Number = StateReady, t.number
		}
		return verdict
	case standsWaiting:
		r.heard.mark(t.number)
	}
	verdict := r.hold(v, t, now, r.reason(v, now))
	verdict.Queue = r.resigned(t, v, now)
	return verdict
}

// resigned is a queue ticket anew, where much of its life is gone, the end was
// put off, or its key is to go; else none.
func (r *Room) resigned(t *ticket, v *view, now Instant) Ticket {
	end, late := r.queueTicketEnd(v.Limits, now), resignAfter
	if !v.Limits.EndAt.IsZero() { // it does not move by itself
		late = time.Second
	}
	known := !t.indexed || t.drawn == v.Drawn || t.epoch != v.Epoch // what a store may lose, the ticket tells
	if known && end.Sub(t.expires) < late && t.kid == r.ring.Load().keys[0].id {
		return Ticket{}
	}
	renewed := *t
	renewed.expires = end
	if t.indexed && t.epoch == v.Epoch {
		renewed.drawn = v.Drawn
	}
	return r.signQueue(renewed)
}
