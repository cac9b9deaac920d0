package admission

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// mostPatience is how long a request waits for the store. Who gets no
	// answer by then is told that the place is kept, and asks again.
	mostPatience = 2 * time.Second

	// flushEvery is how often presence goes to the store.
	flushEvery = 2 * time.Second

	// resignAfter is how much of a queue ticket's life may be gone before a
	// poll renews it.
	resignAfter = 24 * time.Hour
)

// Settings are what an admin may change of a room while it runs.
type Settings struct {
	Limits  Limits
	Poll    Poll
	Message string
}

// Room is the line of one activity, in one gateway. All methods are safe for
// concurrent use.
//
// A visitor who has a session, and one who waits, are answered from memory; no
// request of theirs asks the store. The store is asked to join, to admit, and
// once in a while to renew, and those questions travel together.
type Room struct {
	id      LineID
	gateway string
	store   Store
	log     *zap.Logger

	ring     atomic.Pointer[Keyring]
	settings atomic.Pointer[Settings]
	view     atomic.Pointer[view]
	floor    atomic.Pointer[Floor] // the highest seen, of any source
	joined   atomic.Pointer[Head]  // the line after the latest join of this gateway
	heard    heard
	sessions sync.Map // visitor → *stay: every session this gateway has seen

	joins  *commit[Newcomer, Place]
	knocks *commit[Knock, Entry]
	renews chan string // visitors whose session was used; never waited for

	counts counts
}

// OpenRoom opens the room of a line. It makes the line if the store has none,
// so that a line is lost only if it was there. Run must be called for the
// room to work.
func OpenRoom(ctx context.Context, store Store, id LineID, gateway string, ring *Keyring, settings Settings, log *zap.Logger) (*Room, error) {
	r := &Room{
		id: id, gateway: gateway, store: store,
		log:    log.Named("admission").With(zap.Int64("activity", id.Activity), zap.String("tenant", id.Tenant)),
		renews: make(chan string, 1024),
	}
	r.ring.Store(ring)
	r.settings.Store(&settings)
	r.floor.Store(&Floor{})
	r.joined.Store(&Head{})
	r.joins = newCommit(r.join)
	r.knocks = newCommit(r.knock)
	if _, err := r.tick(ctx); err != nil {
		return nil, fmt.Errorf("open line %s: %w", id, err)
	}
	return r, nil
}

// ID returns the room's line.
func (r *Room) ID() LineID { return r.id }

// Configure puts new settings in force. No one in the line loses anything.
func (r *Room) Configure(settings Settings) { r.settings.Store(&settings) }

// Rotate puts another keyring in force. Tickets signed with a key that is no
// longer in it are void.
func (r *Room) Rotate(ring *Keyring) { r.ring.Store(ring) }

// Run paces the line and answers joins and admissions, until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { r.joins.run(ctx) })
	work.Go(func() { r.knocks.run(ctx) })
	work.Go(func() { r.renew(ctx) })
	work.Go(func() { r.keepTime(ctx) })
	work.Wait()
	return nil
}

// stay is a session as this gateway knows it.
type stay struct {
	number  int64
	until   atomic.Int64           // Instant at which its newest token dies
	max     Instant                //
	born    atomic.Int64           // the birth of the line that was asked for it last
	asked   atomic.Int64           // Instant of the last question to renew it
	gone    atomic.Bool            // ended, for every token of its visitor
	renewed atomic.Pointer[Ticket] // the token of the last renewal
}

// Arrive answers a request that wants in.
func (r *Room) Arrive(ctx context.Context, visit Visit) Verdict {
	v := r.view.Load()
	now := v.now()
	if verdict, ok := r.inside(ctx, v, visit, now); ok {
		return verdict
	}
	limits := r.settings.Load().Limits
	if !v.stale() {
		limits = v.Limits
	}
	if limits.Mode == ModeOpen {
		return Verdict{Pass: true, Reason: PassOpen}
	}
	if t := r.ticket(visit.QueueTokens, v, now); t != nil {
		if verdict, ok := r.returning(ctx, v, t, now); ok {
			return verdict
		}
	}
	return r.newcomer(ctx, v, visit, limits, now)
}

// inside answers a visitor who has a session.
func (r *Room) inside(ctx context.Context, v *view, visit Visit, now Instant) (Verdict, bool) {
	for _, token := range visit.AdmissionTokens {
		t, err := r.ring.Load().verify(token, forAdmission)
		if err != nil || t.line != r.id {
			continue
		}
		s := r.stay(ctx, v, t, now)
		if s == nil {
			continue
		}
		r.use(s, t.visitor, now)
		verdict := Verdict{
			Pass: true, Reason: PassAdmitted,
			Session: Session{Visitor: t.visitor, Number: t.number, Until: Instant(s.until.Load()).Time()},
			// The ticket has done its work once this token came back.
			DropQueue: len(visit.QueueTokens) > 0,
		}
		if s.until.Load() >= int64(t.expires.Add(time.Second)) {
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
	s := r.known(t.visitor, t.number, t.expires, t.max)
	if s.gone.Load() {
		return nil
	}
	alive := now < Instant(s.until.Load())
	healed := t.signed < v.Born && s.born.Load() != int64(v.Born) && !v.stale()
	switch {
	case alive && !healed:
		return s
	case now >= t.max:
		return nil
	}
	entry, err := r.ask(ctx, Knock{Visitor: t.visitor, Number: t.number, Epoch: t.epoch, Signed: t.signed, Max: t.max})
	if err != nil {
		if alive { // the store is away: a visitor inside goes on to the token's end
			return s
		}
		return nil
	}
	switch entry.Outcome {
	case EntryAdmitted:
		s.born.Store(int64(v.Born))
		return s
	case EntryGone:
		s.gone.Store(true)
	}
	return nil
}

// known returns what this gateway keeps of a session, made if need be from a
// token, which is the truth of it.
func (r *Room) known(visitor string, number int64, until, most Instant) *stay {
	if s, ok := r.sessions.Load(visitor); ok {
		s := s.(*stay)
		raise(&s.until, int64(until))
		return s
	}
	s := &stay{number: number, max: most}
	s.until.Store(int64(until))
	kept, _ := r.sessions.LoadOrStore(visitor, s)
	return kept.(*stay)
}

func raise(a *atomic.Int64, to int64) {
	for {
		is := a.Load()
		if is >= to || a.CompareAndSwap(is, to) {
			return
		}
	}
}

// use notes that a session was used, and asks for its renewal at most once a
// quarter of idle, or once a second where that fails. It never waits.
func (r *Room) use(s *stay, visitor string, now Instant) {
	idle := r.settings.Load().Limits.Idle
	until := Instant(s.until.Load())
	if until.Sub(now) > idle-idle/4 || until >= s.max {
		return
	}
	asked := s.asked.Load()
	if now.Sub(Instant(asked)) < time.Second || !s.asked.CompareAndSwap(asked, int64(now)) {
		return
	}
	select {
	case r.renews <- visitor:
	default: // full: the next second's request asks again
	}
}

// renewedTicket returns the token of a session that was renewed since t was
// signed. It is signed once for each renewal.
func (r *Room) renewedTicket(s *stay, t *ticket, now Instant) Ticket {
	until := Instant(s.until.Load())
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

// ticket returns the first queue token that is valid here and now, or nil.
func (r *Room) ticket(tokens []string, v *view, now Instant) *ticket {
	for _, token := range tokens {
		t, err := r.ring.Load().verify(token, forQueue)
		if err != nil || t.line != r.id || now >= t.expires {
			continue
		}
		r.lift(Floor{t.epoch, t.number})
		if t.epoch >= v.Epoch {
			return t
		}
	}
	return nil
}

// lift raises the floor that this gateway tells the store.
func (r *Room) lift(f Floor) {
	for {
		known := r.floor.Load()
		if !f.Above(*known) || r.floor.CompareAndSwap(known, &f) {
			return
		}
	}
}

// returning answers a visitor with a place; false where the place is over and
// its holder is new.
func (r *Room) returning(ctx context.Context, v *view, t *ticket, now Instant) (Verdict, bool) {
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
	entry, err := r.ask(ctx, Knock{Visitor: t.visitor, Number: t.number, Epoch: t.epoch})
	switch {
	case err != nil:
		return r.hold(v, t, now, HoldUnavailable), true
	case entry.Outcome == EntryAdmitted:
		return r.entered(entry.Admission, t, now), true
	case entry.Outcome == EntryGone:
		return Verdict{}, false
	}
	return r.hold(r.view.Load(), t, now, HoldWaiting), true
}

// newcomer answers a visitor without a place.
func (r *Room) newcomer(ctx context.Context, v *view, visit Visit, limits Limits, now Instant) Verdict {
	switch {
	case v.stale() || v.Settling:
		return r.hold(v, nil, now, HoldUnavailable)
	case limits.over(now):
		return r.hold(v, nil, now, HoldEnded)
	case !limits.begun(now):
		return r.hold(v, nil, now, HoldBefore)
	case limits.Mode == ModeClosed:
		return r.hold(v, nil, now, HoldClosed)
	case visit.Looking:
		return r.hold(v, nil, now, HoldWaiting)
	}
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	visitor := newVisitor()
	place, err := r.joins.ask(ctx, Newcomer{visitor})
	if err != nil {
		return r.hold(v, nil, now, HoldUnavailable)
	}
	r.counts.joins.Add(1)
	t := &ticket{line: r.id, visitor: visitor, number: place.Number, epoch: r.floor.Load().Epoch, signed: now, kid: r.ring.Load().keys[0].id}
	if place.Admission.Visitor != "" {
		return r.entered(place.Admission, t, now)
	}
	t.expires = r.queueTicketEnd(limits, now)
	v = r.view.Load()
	verdict := r.hold(v, t, now, HoldWaiting)
	verdict.Status.stand(v, *r.joined.Load(), place.Position)
	verdict.Queue = r.signQueue(*t)
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
	s := r.known(a.Visitor, a.Number, a.Until, a.Max)
	s.born.Store(int64(r.view.Load().Born))
	token, err := r.ring.Load().sign(ticket{
		line: r.id, visitor: a.Visitor, number: a.Number, epoch: t.epoch,
		signed: now, expires: a.Until, max: a.Max,
	}, forAdmission)
	if err != nil {
		// Without a token the session would be lost at the next request.
		r.log.Error("admission token not signed", zap.Error(err))
		return r.hold(r.view.Load(), t, now, HoldUnavailable)
	}
	r.counts.entered(now.Sub(t.signed))
	return Verdict{
		Pass: true, Reason: PassEntered, Admission: token,
		Session: Session{Visitor: a.Visitor, Number: a.Number, Until: a.Until.Time()},
	}
}

// Peek tells a visitor's status and marks presence. It never joins, admits or
// renews, and never asks the store.
func (r *Room) Peek(_ context.Context, visit Visit) Verdict {
	r.counts.polls.Add(1)
	v := r.view.Load()
	now := v.now()
	for _, token := range visit.AdmissionTokens {
		t, err := r.ring.Load().verify(token, forAdmission)
		if err != nil || t.line != r.id {
			continue
		}
		if s := r.known(t.visitor, t.number, t.expires, t.max); !s.gone.Load() && now < Instant(s.until.Load()) {
			verdict := r.hold(v, &ticket{number: t.number}, now, HoldWaiting)
			verdict.Status.State = StateAdmitted
			verdict.Status.Position, verdict.Status.Behind, verdict.Status.Wait = 0, 0, Wait{}
			verdict.Status.Session = Instant(s.until.Load()).Sub(now)
			verdict.Status.PollAfter, verdict.Status.PollMax = 0, 0
			return verdict
		}
	}
	t := r.ticket(visit.QueueTokens, v, now)
	if t == nil {
		return r.hold(v, nil, now, r.reason(v, now))
	}
	switch v.standing(t.number) {
	case standsDone, standsLost:
		return r.hold(v, nil, now, r.reason(v, now))
	case standsWaiting:
		r.heard.mark(t.number)
	}
	verdict := r.hold(v, t, now, r.reason(v, now))
	if end := r.queueTicketEnd(v.Limits, now); end.Sub(t.expires) > resignAfter || t.kid != r.ring.Load().keys[0].id {
		renewed := *t
		renewed.expires = end
		verdict.Queue = r.signQueue(renewed)
	}
	return verdict
}

// reason says why a visitor without a session is held.
func (r *Room) reason(v *view, now Instant) Reason {
	switch {
	case v.stale() || v.Settling:
		return HoldUnavailable
	case v.Limits.over(now):
		return HoldEnded
	case !v.Limits.begun(now):
		return HoldBefore
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
		QueueLength: v.waiting.count + int64(len(v.claims)),
		Paused:      v.Paused(), Unavailable: reason == HoldUnavailable,
		Message:  settings.Message,
		StartsAt: v.Limits.StartAt, EndsAt: v.Limits.EndAt, UpdatedAt: v.Now.Time(),
	}
	absence := settings.Poll.absence(v.Limits.Absence, v.waiting.count)
	if t != nil {
		status.Number = t.number
		r.place(&status, v, t, now)
	}
	status.PollAfter, status.PollMax = settings.Poll.after(status.Wait, status.Position, v.waiting.count, absence)
	switch {
	case status.State == StateReady:
		// A turn is not taken back by the end, nor shown later than it must.
	case reason == HoldEnded:
		status.State, status.PollAfter, status.PollMax = StateEnded, 0, 0
	case reason == HoldBefore:
		status.State = StateBefore
		if until := InstantOf(v.Limits.StartAt).Sub(now); until < status.PollMax {
			// Not all at the very instant: the start is a stampede as it is.
			status.PollAfter = until + time.Duration(float64(settings.Poll.Min)*float64(now%1000)/1000)
		} else {
			status.PollAfter = jitter(status.PollMax)
		}
	case reason == HoldClosed && t == nil:
		status.State, status.PollAfter = StateClosed, jitter(status.PollMax)
	case reason == HoldWaiting && status.Paused:
		reason = HoldPaused
	}
	return Verdict{Reason: reason, Status: status}
}

// place tells where a ticket stands in line.
func (r *Room) place(status *Status, v *view, t *ticket, now Instant) {
	joined := *r.joined.Load()
	status.State = StateWaiting
	switch v.standing(t.number) {
	case standsTurned:
		if v.Claimable() {
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

// stand tells a waiting visitor's position, and what follows from it. joined is
// the line after the latest join, which may be newer than the view.
func (s *Status) stand(v *view, joined Head, position int64) {
	seats := v.Seats()
	if joined.Now > v.Now {
		seats = joined.Seats()
	}
	s.Position = position
	s.Behind = max(0, v.waiting.count-position)
	s.QueueLength = max(s.QueueLength, position)
	s.Wait = v.pace.wait(position, seats)
}

// Leave gives up a visitor's place, session, or both.
func (r *Room) Leave(ctx context.Context, visit Visit) Verdict {
	v := r.view.Load()
	now := v.now()
	var departures []Departure
	for _, token := range visit.AdmissionTokens {
		if t, err := r.ring.Load().verify(token, forAdmission); err == nil && t.line == r.id && now < t.max {
			departures = append(departures, Departure{t.visitor, t.number, t.epoch})
		}
	}
	if t := r.ticket(visit.QueueTokens, v, now); t != nil {
		departures = append(departures, Departure{t.visitor, t.number, t.epoch})
	}
	if len(departures) > 0 {
		ctx, cancel := context.WithTimeout(ctx, mostPatience)
		defer cancel()
		if _, err := r.store.Leave(ctx, r.call(), departures); err != nil {
			r.log.Warn("leave not stored", zap.Error(err))
			return r.hold(v, nil, now, HoldUnavailable)
		}
		for _, d := range departures {
			if s, ok := r.sessions.Load(d.Visitor); ok {
				s.(*stay).gone.Store(true)
			}
		}
	}
	verdict := r.hold(v, nil, now, r.reason(v, now))
	verdict.DropQueue, verdict.DropAdmission = true, true
	return verdict
}

// Stay counts an open connection as use of its session, and tells until when
// it may go on. false: the session has ended.
func (r *Room) Stay(ctx context.Context, session Session) (until time.Time, ok bool) {
	kept, ok := r.sessions.Load(session.Visitor)
	if !ok {
		return time.Time{}, false
	}
	s := kept.(*stay)
	now := r.view.Load().now()
	if s.gone.Load() {
		return time.Time{}, false
	}
	if idle := r.settings.Load().Limits.Idle; Instant(s.until.Load()).Sub(now) <= idle-idle/4 && Instant(s.until.Load()) < s.max {
		ctx, cancel := context.WithTimeout(ctx, mostPatience)
		defer cancel()
		if err := r.renewTogether(ctx, []string{session.Visitor}); err != nil {
			r.log.Debug("session not renewed", zap.Error(err))
		}
	}
	until = Instant(s.until.Load()).Time()
	return until, !s.gone.Load() && now < Instant(s.until.Load())
}

// ask puts a knock to the store, together with others.
func (r *Room) ask(ctx context.Context, k Knock) (Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	entry, err := r.knocks.ask(ctx, k)
	if err == nil && entry.Outcome == EntryAdmitted {
		a := entry.Admission
		raise(&r.known(a.Visitor, a.Number, a.Until, a.Max).until, int64(a.Until))
	}
	return entry, err
}

func (r *Room) call() Call { return Call{Line: r.id, Gateway: r.gateway, Floor: *r.floor.Load()} }

// join, knock and renew are the store's verbs, as the commits ask them.
func (r *Room) join(ctx context.Context, newcomers []Newcomer) ([]Place, error) {
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	head, places, err := r.store.Join(ctx, r.call(), rand.Text(), newcomers)
	if err != nil {
		return nil, err
	}
	r.lift(head.Floor)
	r.joined.Store(&head)
	return places, nil
}

func (r *Room) knock(ctx context.Context, knocks []Knock) ([]Entry, error) {
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	head, entries, err := r.store.Admit(ctx, r.call(), knocks)
	if err != nil {
		return nil, err
	}
	r.lift(head.Floor)
	return entries, nil
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
		kept, ok := r.sessions.Load(visitors[i])
		if !ok {
			continue
		}
		s := kept.(*stay)
		switch entry.Outcome {
		case EntryAdmitted:
			raise(&s.until, int64(entry.Admission.Until))
		case EntryGone:
			s.gone.Store(true)
		}
	}
	return nil
}
