package admission

import (
	"context"

	"go.uber.org/zap"
)

// Leave gives up a visitor's place, session, or both.
func (r *Room) Leave(ctx context.Context, visit Visit) Verdict {
	v := r.view.Load()
	now := v.now()
	var departures []Departure
	for _, token := range visit.AdmissionTokens {
		if t, err := r.ring.Load().verify(token, forAdmission); err == nil && t.line == r.id && now < t.max && r.bound(t, visit) && !r.others(r.known(t.visitor, t.number, t.epoch, t.expires, t.max), visit, now) {
			departures = append(departures, Departure{t.visitor, t.number, t.epoch})
		}
	}
	if held, _ := r.holder(visit, now); held != nil {
		departures = append(departures, Departure{Visitor: held.visitor})
	}
	if t := r.ticket(visit, v, now); t != nil {
		d := Departure{t.visitor, t.number, t.epoch}
		if d.Number == 0 {
			d.Number = t.index + 1
		}
		departures = append(departures, d)
	}
	if len(departures) > 0 {
		ctx, cancel := context.WithTimeout(ctx, mostPatience)
		defer cancel()
		call := r.call()
		call.Mapped = v.lots != nil && v.Epoch == call.Floor.Epoch
		if _, err := r.store.Leave(ctx, call, departures); err != nil {
			r.log.Warn("leave not stored", zap.Error(err))
			return r.hold(v, nil, now, HoldUnavailable)
		}
		for _, d := range departures {
			r.note(Event{Kind: EventLeft, At: now, Epoch: d.Epoch, Number: d.Number, Visitor: d.Visitor})
			if s := r.session(d.Visitor); s != nil {
				s.gone.Store(true)
			}
		}
	}
	verdict := r.hold(v, nil, now, r.reason(v, now))
	verdict.DropQueue, verdict.DropAdmission, verdict.DropPass = true, true, len(visit.PassTokens) > 0
	return verdict
}
