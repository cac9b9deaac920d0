package admission

import (
	"context"
	"crypto/rand"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// mostPatience is how long a request waits for the store. Who gets no
	// answer by then is told that the place is kept, and asks again.
	mostPatience = 2 * time.Second

	// firstPause is the pause before a batch of joins is tried again; each
	// further one is twice as long.
	firstPause = 50 * time.Millisecond

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

	// Networks say how much of an address is one network to Limits.JoinsPerHour.
	Networks Networks

	// ShowStock has visitors told what is left. That nothing is, all are told.
	ShowStock bool

	// Beacon names where a public value will come from that the draw is mixed
	// with; empty: none is. A draw that has begun keeps its own.
	Beacon string

	// Adaptive has the rate follow what the shop can take, up to Limits.RatePerHour.
	Adaptive Adaptive

	// OpenOnFailure lets visitors pass, at the rate, while the store is away.
	OpenOnFailure bool

	// Bind is what tickets are bound to.
	Bind Bind

	// Sharing is when a session is used by too many.
	Sharing Sharing

	// Work is what a newcomer's device must do first.
	Work Work

	// OpenAfterEnd lets everyone pass once Limits.EndAt has come, where the mode
	// is ModeAuto: there is nothing left to line up for.
	OpenAfterEnd bool
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
	whole    *view                 // the last of a line that did not settle; the tick's own
	floor    atomic.Pointer[Floor] // the highest seen, of any source
	joined   atomic.Pointer[Head]  // the line after the latest join of this gateway
	heard    heard                 // numbers
	entries  heard                 // indexes plus one
	indexed  atomic.Int64          // the latest epoch of which an index was seen before N was
	lottery  *lottery              // a draw that is being made; the tick's own
	sessions sync.Map              // visitor → *stay: every session this gateway has seen
	agents   maphash.Seed          // of hashes that stay in this process

	joins    *commit[Newcomer, Place]
	knocks   *commit[Knock, Entry]
	renews   chan string // visitors whose session was used; never waited for
	endings  *endings
	outage   outage
	hashes   *hashes
	pressure func() *pressure // made when it is first needed
	shut     atomic.Bool
	spent    spentPasses

	governor governor     // of Measured alone
	adapted  atomic.Int64 // the rate per hour that follows the shop; 0: none does

	journal Journal // nil: none; set before Run
	sampled Sample  // the last that was told; the tick's own

	counts counts
}

// OpenRoom opens the room of a line. It makes the line if the store has none,
// so that a line is lost only if it was there. Run must be called for the
// room to work.
//
// gateway is this process's own name among all, and secret the same in all.
func OpenRoom(ctx context.Context, store Store, id LineID, gateway string, secret Secret, ring *Keyring, settings Settings, log *zap.Logger) (*Room, error) {
	r := &Room{
		id: id, gateway: gateway, hashes: secret.hashes(id), store: store,
		log:    log.Named("admission").With(zap.Int64("activity", id.Activity), zap.String("tenant", id.Tenant)),
		renews: make(chan string, 1024), endings: newEndings(), pressure: sync.OnceValue(newPressure), agents: maphash.MakeSeed(),
	}
	r.ring.Store(ring)
	r.settings.Store(&settings)
	r.floor.Store(&Floor{})
	r.joined.Store(&Head{})
	r.joins = newCommit(r.join)
	r.knocks = newCommit(r.knock)
	more, err := r.tick(ctx)
	if err == nil && more { // a draw that was just pinned is told from the first visitor on
		_, err = r.tick(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open line %s: %w", id, err)
	}
	return r, nil
}

// ID returns the room's line.
func (r *Room) ID() LineID { return r.id }

// Configure puts new settings in force. No one in the line loses anything.
func (r *Room) Configure(settings Settings) { r.settings.Store(&settings) }

// Shut has the room let no one in, as long as what it leads to does not answer,
// as this gateway sees it. Visitors take places and keep them, and are told that
// the line is paused; who is inside goes on. The line itself is paused when the
// rooms of all gateways are shut, and goes on with no credit saved up.
func (r *Room) Shut(shut bool) { r.shut.Store(shut) }

// Rotate puts another keyring in force. Tickets signed with a key that is no
// longer in it are void.
func (r *Room) Rotate(ring *Keyring) { r.ring.Store(ring) }

// Run paces the line and answers joins and admissions, until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { r.joins.run(ctx) })
	work.Go(func() { r.knocks.run(ctx) })
	work.Go(func() { r.renew(ctx) })
	work.Go(func() { r.bringEndings(ctx) })
	work.Go(func() { r.keepTime(ctx) })
	work.Wait()
	return nil
}

// Arrive answers a request that wants in.
func (r *Room) Arrive(ctx context.Context, visit Visit) Verdict {
	verdict := r.arrive(ctx, visit)
	if verdict.Reason == PassEntered {
		r.usedFirst(verdict.Session.Visitor, visit)
	}
	// The one place where a store that is away may let someone pass. Who has a
	// place keeps the ticket, and waits by it again when the store is back.
	if settings := r.settings.Load(); verdict.Reason == HoldUnavailable && settings.OpenOnFailure && r.view.Load().stale() &&
		settings.Limits.Mode != ModeHold && settings.Limits.Mode != ModeClosed && r.outage.pass(settings.Limits) {
		return Verdict{Pass: true, Reason: PassOutage}
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

// limits are those in force, as far as this gateway can know.
func (r *Room) limits(v *view) Limits {
	if v.stale() {
		return r.settings.Load().Limits
	}
	return v.Limits
}

// everyone tells why everyone passes without a place, if everyone does.
func (r *Room) everyone(limits Limits, now Instant) (Reason, bool) {
	switch {
	case limits.Mode == ModeOpen:
		return PassOpen, true
	case limits.Mode == ModeAuto && limits.ended(now) && r.settings.Load().OpenAfterEnd:
		return PassEnded, true
	}
	return "", false
}

// ticket returns the first queue token that is valid here and now, and this
// visitor's, or nil.
func (r *Room) ticket(visit Visit, v *view, now Instant) *ticket {
	for _, token := range visit.QueueTokens {
		t, err := r.ring.Load().verify(token, forQueue)
		if err != nil || t.line != r.id || now >= t.expires || !r.bound(t, visit) {
			continue
		}
		r.lift(Floor{Epoch: t.epoch, Issued: t.number})
		if t.epoch >= v.Epoch {
			if t = r.drawn(v, t); t != nil {
				return t
			}
		}
	}
	return nil
}

// lift raises the floor that this gateway tells the store.
func (r *Room) lift(f Floor) {
	for {
		known := r.floor.Load()
		next := known.raised(f)
		if next == *known {
			return
		}
		if kept := next; r.floor.CompareAndSwap(known, &kept) { // a copy: next stays on the stack
			return
		}
	}
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
			line: r.id, visitor: place.Visitor, number: place.Number, epoch: r.floor.Load().Epoch,
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
	s := r.known(a.Visitor, a.Number, a.Until, a.Max)
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
		if s := r.known(t.visitor, t.number, t.expires, t.max); s.lasts(now) && !r.others(s, visit, now) {
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

// Leave gives up a visitor's place, session, or both.
func (r *Room) Leave(ctx context.Context, visit Visit) Verdict {
	v := r.view.Load()
	now := v.now()
	var departures []Departure
	for _, token := range visit.AdmissionTokens {
		if t, err := r.ring.Load().verify(token, forAdmission); err == nil && t.line == r.id && now < t.max && r.bound(t, visit) && !r.others(r.known(t.visitor, t.number, t.expires, t.max), visit, now) {
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

// ask puts a knock to the store, together with others.
func (r *Room) ask(ctx context.Context, k Knock) (Entry, error) {
	entry, err := r.knocks.ask(ctx, k)
	if err == nil && entry.Outcome == EntryAdmitted {
		a := entry.Admission
		r.known(a.Visitor, a.Number, a.Until, a.Max)
	}
	return entry, err
}

func (r *Room) call() Call {
	call := Call{Line: r.id, Gateway: r.gateway, Floor: *r.floor.Load()}
	if v := r.view.Load(); v != nil {
		call.Mapped = v.lots != nil && v.Epoch == call.Floor.Epoch
	}
	return call
}

// join, knock and renew are the store's verbs, as the commits ask them.
func (r *Room) join(ctx context.Context, newcomers []Newcomer) ([]Place, error) {
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	batch := rand.Text()
	head, places, err := r.store.Join(ctx, r.call(), batch, newcomers)
	for pause := firstPause; err != nil && ctx.Err() == nil; pause *= 2 {
		// It may have happened: the same batch gets the same numbers.
		select {
		case <-time.After(jitter(pause)):
			head, places, err = r.store.Join(ctx, r.call(), batch, newcomers)
		case <-ctx.Done():
		}
	}
	if err != nil {
		return nil, err
	}
	r.lift(head.Floor)
	r.joined.Store(&head)
	r.noteJoins(head, newcomers, places)
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
	for i := range entries {
		entries[i].settling = head.Settling
		if entries[i].Spent.Uses > 0 {
			r.spent.raise(entries[i].Spent)
		}
	}
	return entries, nil
}
