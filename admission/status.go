package admission

import (
	"time"
)

// reason says why a visitor without a session is held.
func (r *Room) reason(v *view, now Instant) Reason {
	switch {
	case v.stale() || v.Settling && !v.Closing:
		return HoldUnavailable
	case v.Limits.over(now):
		return HoldEnded
	case !v.Limits.begun(now) && !v.indexing(now):
		return HoldBefore
	case v.Closing:
		return HoldDrawing
	case v.Limits.Mode == ModeClosed:
		return HoldClosed
	}
	return HoldWaiting
}

// hold is the verdict on a visitor who may not pass, with all that may be
// told. A nil ticket is a visitor without a place.
func (r *Room) hold(v *view, t *ticket, now Instant, reason Reason) Verdict {
	settings := r.settings.Load()
	status := Status{
		Activity: r.id.Activity, State: StateNew,
		QueueLength: v.waiting.count + int64(len(v.claims)) + v.Awaited,
		Paused:      v.Paused() && !v.Closing || r.shut.Load(), Away: r.shut.Load(), Unavailable: reason == HoldUnavailable,
		Message: v.message(settings.Message), Draw: v.proof(t),
		StartsAt: v.Limits.StartAt, EndsAt: v.Limits.EndAt, UpdatedAt: v.Now.Time(),
	}
	if v.Limits.Stock.SoldOut() || settings.ShowStock {
		status.Stock = v.Limits.Stock
	}
	absence := settings.Poll.absence(v.Limits.Absence, v.waiting.count)
	if t != nil {
		status.Number, status.State = t.number, StateWaiting
		if t.number > 0 {
			r.place(&status, v, t, now)
		}
	}
	status.PollAfter, status.PollMax = settings.Poll.after(status.Wait, status.Position, v.waiting.count, absence)
	switch {
	case status.State == StateReady:
		// A turn is not taken back by the end, nor shown later than it must.
	case reason == HoldEnded && !v.Limits.ended(now): // sold out, and some may come back
		status.State, status.PollAfter = StateEnded, jitter(status.PollMax)
	case reason == HoldEnded:
		status.State, status.PollAfter, status.PollMax = StateEnded, 0, 0
	case reason == HoldBefore:
		status.State = StateBefore
		if until := v.opens(t, now).Sub(now); until < status.PollMax {
			// Not all at the very instant: the start is a stampede as it is.
			status.PollAfter = until + time.Duration(float64(settings.Poll.Min)*float64(now%1000)/1000)
		} else {
			status.PollAfter = jitter(status.PollMax)
		}
	case reason == HoldDrawing && t != nil:
		status.State = StateDrawing
	case t == nil && (reason == HoldFull || reason == HoldWaiting && v.Limits.full(v.waiting.count)):
		reason, status.State, status.PollAfter = HoldFull, StateFull, jitter(status.PollMax)
	case reason == HoldClosed && t == nil:
		status.State, status.PollAfter = StateClosed, jitter(status.PollMax)
	case reason == HoldWaiting && status.Paused:
		reason = HoldPaused
	}
	return Verdict{Reason: reason, Status: status}
}

// opens tells when something changes for a visitor who comes before the start.
func (v *view) opens(t *ticket, now Instant) Instant {
	start := InstantOf(v.Limits.StartAt)
	if join := start.Add(-v.Limits.Prequeue); t == nil && v.Limits.Draw && join > now {
		return join
	}
	return start
}

// place tells where a ticket stands in line.
func (r *Room) place(status *Status, v *view, t *ticket, now Instant) {
	joined := *r.joined.Load()
	status.State = StateWaiting
	switch v.standing(t.number) {
	case standsTurned:
		if v.Claimable() && !status.Away {
			status.State = StateReady
			status.Claim = max(0, v.claims[t.number].Sub(now))
			return
		}
		status.stand(v, joined, 1)
	case standsOff:
		// It lapsed: at the very front again as soon as it asks to enter.
		status.Lapsed = true
		status.stand(v, joined, 1)
	default:
		status.stand(v, joined, v.position(t.number, joined))
	}
}

// stand tells a waiting visitor's position, and what follows from it: position is
// that among those who wait, and holders of passes are before them. joined is the
// line after the latest join, which may be newer than the view.
func (s *Status) stand(v *view, joined Head, position int64) {
	seats := v.Seats()
	if joined.Now > v.Now {
		seats = joined.Seats()
	}
	s.Behind = max(0, v.waiting.count-position)
	position += v.Awaited
	s.Position = position
	s.QueueLength = max(s.QueueLength, position)
	if !s.Away {
		s.Wait = v.pace.wait(position, seats)
	}
}
