package admission

import (
	"context"
	"errors"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// stay is a session as this gateway knows it.
type stay struct {
	number  int64                  // by which it was entered; 0: none, or not known
	epoch   int64                  // of number
	until   atomic.Int64           // Instant at which its newest token dies
	max     Instant                // no renewal goes beyond
	born    atomic.Int64           // the birth of the line that was asked for it last
	asked   atomic.Int64           // Instant of the last question to renew it
	gone    atomic.Bool            // ended, for every token of its visitor
	entered atomic.Bool            // counted as an admission of this gateway
	renewed atomic.Pointer[Ticket] // the token of the last renewal
	uses    uses                   // where it was used lately
}

func (s *stay) ends() Instant { return Instant(s.until.Load()) }

func (s *stay) lasts(now Instant) bool { return !s.gone.Load() && now < s.ends() }

// mayAsk reports whether a second has passed since the store was asked to renew
// it, and notes that it is asked now.
func (s *stay) mayAsk(now Instant) bool {
	asked := s.asked.Load()
	return now.Sub(Instant(asked)) >= time.Second && s.asked.CompareAndSwap(asked, int64(now))
}

// session returns a session that this gateway has seen, or nil.
func (r *Room) session(visitor string) *stay {
	if kept, ok := r.sessions.Load(visitor); ok {
		return kept.(*stay)
	}
	return nil
}

// inside answers a visitor who has a session.
func (r *Room) inside(ctx context.Context, v *view, visit Visit, now Instant) (Verdict, bool) {
	for _, token := range visit.AdmissionTokens {
		t, err := r.ring.Load().verify(token, forAdmission)
		if err != nil || t.line != r.id || !r.bound(t, visit) {
			continue
		}
		s := r.stay(ctx, v, t, now)
		if s == nil {
			continue
		}
		switch is, wait := r.shared(s, t, visit, now); is {
		case notShared:
		case SharedRequests:
			verdict := r.hold(v, nil, now, HoldLimited)
			verdict.Status.PollAfter = jitter(max(wait, verdict.Status.PollAfter))
			return verdict, true
		default:
			continue // as if it were not this visitor's
		}
		r.use(s, t.visitor, now)
		verdict := Verdict{
			Pass: true, Reason: PassAdmitted,
			Session: Session{Visitor: t.visitor, Number: t.number, Until: s.ends().Time()},
			// The ticket has done its work once this token came back.
			DropQueue: len(visit.QueueTokens) > 0, DropPass: len(visit.PassTokens) > 0,
		}
		if s.ends() >= t.expires.Add(time.Second) {
			verdict.Admission = r.renewedTicket(s, t, now)
		}
		return verdict, true
	}
	return Verdict{}, false
}

// stay returns the session of a verified admission token, or nil where it has
// none any more. It asks the store only where memory cannot tell: for a token
// past its end, which may have been renewed by a request that could set no
// cookie, and once for one that was signed before the line was healed.
func (r *Room) stay(ctx context.Context, v *view, t *ticket, now Instant) *stay {
	s := r.known(t.visitor, t.number, t.epoch, t.expires, t.max)
	if s.gone.Load() {
		return nil
	}
	alive := now < s.ends()
	healed := t.signedBy() < v.Born && s.born.Load() != int64(v.Born) && !v.stale()
	switch {
	case alive && !healed:
		return s
	case now >= t.max:
		return nil
	}
	entry, err := r.ask(ctx, Knock{Visitor: t.visitor, Number: t.number, Epoch: t.epoch, Signed: t.signedBy(), Max: t.max})
	if err != nil {
		if alive { // the store is away: a visitor inside goes on to the token's end
			return s
		}
		return nil
	}
	switch entry.Outcome {
	case EntryAdmitted:
		until := entry.Admission.Until
		switch {
		case alive && until < t.expires: // who renewed it is gone, and the line has not heard
			r.askToRenew(t.visitor)
			return s
		case until <= now: // in its last seconds, without a token
			return nil
		}
		s.born.Store(int64(v.Born))
		return s
	case EntryGone:
		s.gone.Store(true)
	case EntryWaiting:
		if alive && entry.settling { // asked again once the line has settled
			return s
		}
	}
	return nil
}

// known returns what this gateway keeps of a session, made if need be from a
// token, which is the truth of it.
func (r *Room) known(visitor string, number, epoch int64, until, most Instant) *stay {
	if s := r.session(visitor); s != nil {
		raise(&s.until, int64(until))
		return s
	}
	s := &stay{number: number, epoch: epoch, max: most}
	s.until.Store(int64(until))
	kept, _ := r.sessions.LoadOrStore(visitor, s)
	return kept.(*stay)
}

// used returns the numbers of an epoch by which sessions began that this gateway
// saw. A map that it read does not tell of the last of them yet.
func (r *Room) used(epoch int64) []Piece {
	var numbers marks
	r.sessions.Range(func(_, kept any) bool {
		if s := kept.(*stay); s.number > 0 && s.epoch == epoch {
			numbers.set(s.number, 1)
		}
		return true
	})
	return numbers.since(MapDone, 0)
}

func raise(a *atomic.Int64, to int64) {
	for {
		is := a.Load()
		if is >= to || a.CompareAndSwap(is, to) {
			return
		}
	}
}

// use notes that a session was used, and asks for its renewal once a quarter of
// idle is gone. It never waits.
func (r *Room) use(s *stay, visitor string, now Instant) {
	idle := r.settings.Load().Limits.Idle
	if until := s.ends(); until.Sub(now) <= idle-idle/4 && until < s.max && s.mayAsk(now) {
		r.askToRenew(visitor)
	}
}

// askToRenew has a session renewed that is in use. It never waits; where it is
// lost, a later request asks again.
func (r *Room) askToRenew(visitor string) {
	select {
	case r.renews <- visitor:
	default: // full
	}
}

// renewedTicket returns the token of a session that was renewed since t was
// signed. It is signed once for each renewal.
func (r *Room) renewedTicket(s *stay, t *ticket, now Instant) Ticket {
	until := s.ends()
	if kept := s.renewed.Load(); kept != nil && !kept.Expires.Before(until.Time().Truncate(time.Second)) {
		return *kept
	}
	fresh := *t
	fresh.signed, fresh.expires = now, until
	signed, err := r.ring.Load().sign(fresh, forAdmission)
	if err != nil {
		r.log.Error("admission token not signed", zap.Error(err))
		return Ticket{}
	}
	s.renewed.Store(&signed)
	return signed
}

// Stay counts an open connection as use of its session, and tells until when
// it may go on. false: the session has ended.
func (r *Room) Stay(ctx context.Context, session Session) (until time.Time, ok bool) {
	s := r.session(session.Visitor)
	if s == nil || s.gone.Load() {
		return time.Time{}, false
	}
	now := r.view.Load().now()
	if idle := r.settings.Load().Limits.Idle; s.ends().Sub(now) <= idle-idle/4 && s.ends() < s.max {
		ctx, cancel := context.WithTimeout(ctx, mostPatience)
		defer cancel()
		if err := r.renewTogether(ctx, []string{session.Visitor}); err != nil {
			r.log.Debug("session not renewed", zap.Error(err))
		}
	}
	return s.ends().Time(), s.lasts(now)
}

func (r *Room) renew(ctx context.Context) {
	for {
		var visitors []string
		select {
		case visitor := <-r.renews:
			visitors = append(visitors, visitor)
		case <-ctx.Done():
			return
		}
		for len(r.renews) > 0 && len(visitors) < mostTogether {
			visitors = append(visitors, <-r.renews)
		}
		ctx, cancel := context.WithTimeout(ctx, mostPatience)
		if err := r.renewTogether(ctx, visitors); err != nil {
			r.log.Debug("sessions not renewed", zap.Int("sessions", len(visitors)), zap.Error(err))
		}
		cancel()
	}
}

func (r *Room) renewTogether(ctx context.Context, visitors []string) error {
	_, entries, err := r.store.Renew(ctx, r.call(), visitors)
	if err != nil {
		return err
	}
	if len(entries) != len(visitors) {
		return errors.New("the store answered for other sessions")
	}
	for i, entry := range entries {
		s := r.session(visitors[i])
		switch {
		case s == nil:
		case entry.Outcome == EntryAdmitted:
			raise(&s.until, int64(entry.Admission.Until))
		case entry.Outcome == EntryGone:
			s.gone.Store(true)
		}
	}
	return nil
}
