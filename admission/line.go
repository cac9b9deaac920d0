package admission

import (
	"math/bits"
	"slices"
	"sort"
	"time"
)

// creditUnit is the credit that one release costs. Credit is an integer of
// elapsed microseconds × releases per hour, so that no rate is rounded.
const creditUnit = int64(time.Hour / time.Microsecond)

// line is the state of one line in the memory store: a state machine whose
// every method is one step at an instant it is given. It knows no clock, lock
// or file. Where a comment names a failure, the suite in admissiontest has the
// case.
type line struct {
	Floor // epoch, and highest number given
	born  Instant
	at    Instant // of the last step; the line's time never runs back

	// The line's time is the store's clock plus behind: a store that comes
	// back on a machine whose clock is behind goes on where gateways knew it.
	clock, behind Instant

	released int64
	turned   int64
	admitted int64
	credit   int64
	version  int64 // counts steps

	limited  bool   // whether limits were ever told
	limits   Limits // in force
	told     Limits // the strictest that gateways told lately
	gateways map[string]gatewayLimits

	overrides Overrides

	// Presence: a number is present if it was heard in this window or the
	// last. waiting = (heard ∪ heardBefore) \ off, kept so at every change.
	window             Instant // when this window began
	heard, heardBefore marks
	waiting, off, done marks

	// Turns end by a clock of their own, which stands still while no turn can
	// be used: a pause costs no one the claim.
	claimClock Instant
	turns      deadlines[int64]

	sessions   map[string]*Admission
	sessionEnd deadlines[string]
	ended      map[string]Instant
	endedLog   []endedAt // in the order of their versions

	// steps tell when released was what, at most mostSteps of them; lost is
	// the highest released older than hold_place.
	steps []step
	lost  int64

	// Until listening no place is lost: nobody could be heard of late, so
	// nobody counts as absent.
	listening Instant

	batches  map[string][]span // the numbers of each batch of joins
	batchEnd deadlines[string]

	identities  map[string]identity
	identityEnd deadlines[string]

	// throttles are when each network has used up what it may: the theoretical
	// arrival time of the generic cell rate algorithm (ITU-T I.371).
	throttles deadlines[string]

	settling *settling // nil: whole

	// A healed line knows some seats only by their count. They stand until
	// idle has passed, and each session that comes back takes one.
	nameless      int64
	namelessUntil Instant
	blindUntil    Instant // no turn before: nobody could say who is present
	reentry       Instant // until then a session from before born may enter again

	unwritten unwritten // what the file does not know of the line yet
	still     []byte    // the state that was last written, without what moves with time
}

type gatewayLimits struct {
	limits Limits
	at     Instant
}

type endedAt struct {
	Ended
	version int64
}

type step struct {
	At       Instant
	Released int64
}

// mostSteps bounds steps: they are taken a 60th of hold_place apart.
const mostSteps = 64

// settling is what a line has heard so far of what it lost.
type settling struct {
	until    Instant
	floor    Floor
	released int64
	seats    int64
	maps     bool // whether anyone told who was present
}

func newLine(now Instant) *line {
	return &line{
		Floor: Floor{Epoch: 1}, born: now, at: now, clock: now, window: now,
		version:    1, // 0 is before everything
		gateways:   map[string]gatewayLimits{},
		turns:      newDeadlines[int64](),
		sessions:   map[string]*Admission{},
		sessionEnd: newDeadlines[string](),
		ended:      map[string]Instant{},
		batches:    map[string][]span{},
		batchEnd:   newDeadlines[string](),
		identities: map[string]identity{}, identityEnd: newDeadlines[string](),
		throttles: newDeadlines[string](),
		unwritten: newUnwritten(),
	}
}

// advance brings the line to now. It begins every step.
func (l *line) advance(call Call, now Instant) {
	l.version++
	l.clock = now
	now = max(now+l.behind, l.at)
	elapsed := now - l.at
	worked := min(elapsed, Instant(mostCatchUp.Microseconds()))

	if l.claimable() {
		l.claimClock += worked
	}
	if l.limits.RatePerHour > 0 && l.limits.Mode != ModeHold && l.settling == nil {
		l.credit += int64(worked) * l.limits.RatePerHour
		l.credit = min(l.credit, l.limits.Burst*creditUnit)
	}
	if elapsed > worked {
		l.listenAnew(now) // no gateway came: it was not the visitors who were away
	}
	l.at = now

	for visitor, ok := l.sessionEnd.due(now); ok; visitor, ok = l.sessionEnd.due(now) {
		delete(l.sessions, visitor)
		l.unwritten.sessions[visitor] = struct{}{}
	}
	for n, ok := l.turns.due(l.claimClock); ok; n, ok = l.turns.due(l.claimClock) {
		l.unwritten.turns[n] = struct{}{} // lapsed: off, without turn, not done
	}
	for batch, ok := l.batchEnd.due(now); ok; batch, ok = l.batchEnd.due(now) {
		delete(l.batches, batch)
	}
	for id, ok := l.identityEnd.due(now); ok; id, ok = l.identityEnd.due(now) {
		delete(l.identities, id)
		l.unwritten.identities[id] = struct{}{}
	}
	for _, ok := l.throttles.due(now); ok; _, ok = l.throttles.due(now) {
	}
	for len(l.endedLog) > 0 && l.endedLog[0].Until <= now {
		delete(l.ended, l.endedLog[0].Visitor)
		l.unwritten.ended[l.endedLog[0].Visitor] = struct{}{}
		l.endedLog = l.endedLog[1:]
	}
	if now >= l.namelessUntil {
		l.nameless = 0
	}
	l.keepSteps(now)
	if l.limited && now-l.window >= Instant(l.limits.Absence.Microseconds()) {
		l.turnWindow(now)
	}
	l.settle(call, now)
}

// claimable reports whether a turn could be used at the last step.
func (l *line) claimable() bool {
	return l.limited && l.settling == nil && l.limits.Mode != ModeHold &&
		(l.limits.Capacity == 0 || l.inside() < l.limits.Capacity)
}

// inside counts the sessions, nameless ones included.
func (l *line) inside() int64 { return int64(len(l.sessions)) + l.nameless }

// free is how many turns may be given now.
func (l *line) free() int64 {
	if !l.limited || l.settling != nil || l.limits.Mode == ModeHold || l.at < l.blindUntil ||
		!l.limits.begun(l.at) || l.limits.over(l.at) {
		return 0
	}
	free := int64(mostReleases)
	if l.limits.Capacity > 0 {
		free = min(free, l.limits.Capacity-l.inside()-int64(l.turns.len()))
	}
	if l.limits.RatePerHour > 0 {
		free = min(free, l.credit/creditUnit)
	}
	return max(free, 0)
}

// keepSteps notes what released is, and moves lost. A step is noted late, never
// early: a place is lost no sooner than hold_place after it was passed.
func (l *line) keepSteps(now Instant) {
	if !l.limited {
		return
	}
	hold := Instant(l.limits.HoldPlace.Microseconds())
	for len(l.steps) > 0 && now-l.steps[0].At >= hold && now >= l.listening {
		l.lost = max(l.lost, l.steps[0].Released)
		l.steps = l.steps[1:]
	}
	last := step{Released: l.lost}
	if len(l.steps) > 0 {
		last = l.steps[len(l.steps)-1]
	}
	if l.released > last.Released && now-last.At >= hold/60 && len(l.steps) < mostSteps {
		l.steps = append(l.steps, step{now, l.released})
	}
}

// turnWindow begins the next window: who was heard in neither of the last two
// is absent from now on.
func (l *line) turnWindow(now Instant) {
	l.unwritten.windows = l.unwritten.windows || len(l.heard.blocks)+len(l.heardBefore.blocks) > 0
	l.heardBefore, l.heard = l.heard, marks{first: l.heard.first}
	l.window = now
	for i, b := range l.waiting.blocks {
		if b == nil || b.count == 0 {
			continue
		}
		base := (l.waiting.first + int64(i)) << blockShift
		before := l.heardBefore.at(base)
		for w, word := range b.words {
			if gone := word; gone != 0 {
				if before != nil {
					gone &^= before.words[w]
				}
				l.waiting.word(base>>6+int64(w), 0, gone, l.version)
			}
		}
	}
	l.dropPassed()
}

// listenAnew restarts the window with everyone who was present: after an
// outage or a heal no number counts as absent until one full window passed.
func (l *line) listenAnew(now Instant) {
	for i, b := range l.heard.blocks {
		if b == nil {
			continue
		}
		base := (l.heard.first + int64(i)) << blockShift
		for w, word := range b.words {
			l.heardBefore.word(base>>6+int64(w), word, 0, l.version)
		}
	}
	l.heard = marks{first: l.heardBefore.first}
	l.window = now
	l.listening = now.Add(l.limits.Absence)
	l.unwritten.windows = true
}

// dropPassed forgets the blocks of numbers all of which have entered, left or
// lost their place.
func (l *line) dropPassed() {
	for index := l.off.first; (index+1)<<blockShift <= l.lost+1; index++ {
		if b := l.waiting.at(index << blockShift); b != nil && b.count > 0 {
			return
		}
		for n := range l.turns.items {
			if n>>blockShift == index {
				return
			}
		}
		for _, m := range l.maps() {
			m.drop(index + 1)
		}
		l.unwritten.dropped = append(l.unwritten.dropped, index)
	}
}

func (l *line) maps() []*marks {
	return []*marks{&l.waiting, &l.off, &l.done, &l.heard, &l.heardBefore}
}

// setLimits takes what a gateway allows, and puts the strictest of what was
// heard lately in force: a cut counts at once, a raise when all have it.
func (l *line) setLimits(gateway string, limits Limits) {
	l.gateways[gateway] = gatewayLimits{limits, l.at}
	l.told = limits
	for name, other := range l.gateways {
		if l.at-other.at > Instant(limitsTime.Microseconds()) {
			delete(l.gateways, name)
			continue
		}
		l.told = strictest(l.told, other.limits)
	}
	l.enforce()
}

// override puts an operator's decisions in force. A line that lost what was
// decided before goes on from what the caller knew of it, else the memory of
// a gateway would undo the newer decision.
func (l *line) override(o Overrides) {
	o.Version = max(l.overrides.Version, o.Version) + 1
	l.overrides = o
	if l.limited {
		l.enforce()
	}
}

// enforce puts in force what gateways told and the operator decided.
func (l *line) enforce() {
	was := l.limits
	l.limits = l.overrides.apply(l.told)
	if !l.limited {
		l.limited = true
		l.credit = l.limits.Burst * creditUnit // a healed line loses it when it is whole
		return
	}
	if was.Mode == ModeHold && l.limits.Mode != ModeHold {
		l.credit = 0
	}
	l.credit = min(l.credit, l.limits.Burst*creditUnit)
}

// hear marks 64 numbers from 64×w on as heard from. Numbers that are off are
// never marked, else admitted ones come back as ghosts; nor those never given;
// nor those whose place is lost.
func (l *line) hear(w int64, bits uint64) {
	base := w << 6
	if base > l.Issued {
		return
	}
	if w == 0 {
		bits &^= 1 // there is no number 0
	}
	if over := base + 63 - l.Issued; over > 0 {
		bits &= ^uint64(0) >> over
	}
	if b := l.off.at(base); b != nil {
		bits &^= b.words[w&(blockWords-1)]
	}
	if base <= l.lost {
		kept := uint64(0)
		if b := l.waiting.at(base); b != nil {
			kept = b.words[w&(blockWords-1)]
		}
		if under := l.lost - base + 1; under < 64 {
			kept |= ^uint64(0) << under
		}
		bits &= kept
	}
	if bits == 0 || w/blockWords < l.off.first {
		return
	}
	l.heard.word(w, bits, 0, l.version)
	l.waiting.word(w, bits, 0, l.version)
}

// hearOne marks one number.
func (l *line) hearOne(n int64) { l.hear(n>>6, 1<<(n&63)) }

// turn takes the credit and the waiting of a number that gets its turn.
func (l *line) turn(n int64) {
	l.waiting.clear(n, l.version)
	l.off.set(n, l.version)
	l.released = max(l.released, n)
	l.turned++
	if l.limits.RatePerHour > 0 {
		l.credit -= creditUnit
	}
}

// release gives turns to the lowest numbers present and waiting. Absent ones
// are passed only when a present one behind them gets its turn in this step.
func (l *line) release() {
	for free := l.free(); free > 0; free-- {
		n := l.waiting.next()
		if n == 0 {
			return
		}
		l.turn(n)
		l.setTurn(n)
	}
}

func (l *line) setTurn(n int64) {
	l.turns.set(n, l.claimClock.Add(l.limits.Claim))
	l.unwritten.turns[n] = struct{}{}
}

func (l *line) dropTurn(n int64) bool {
	if !l.turns.remove(n) {
		return false
	}
	l.unwritten.turns[n] = struct{}{}
	return true
}

// enter makes the session of a number that has its turn; the seat is the
// turn's own.
func (l *line) enter(visitor string, n int64, idle time.Duration) Admission {
	l.off.set(n, l.version)
	l.done.set(n, l.version)
	l.admitted++
	until := l.at.Add(l.limits.Max)
	return l.setSession(Admission{
		Visitor: visitor, Number: n,
		Until: min(l.at.Add(idle), until), Max: until,
	}, SessionGrace)
}

func (l *line) setSession(a Admission, grace time.Duration) Admission {
	l.sessions[a.Visitor] = &a
	l.sessionEnd.set(a.Visitor, a.Until.Add(grace))
	l.unwritten.sessions[a.Visitor] = struct{}{}
	return a
}

// quiet admits a number at once where its turn has come: no lower number is
// present and waiting, and credit and a seat are free.
func (l *line) quiet(visitor string, n int64, idle time.Duration) (Admission, bool) {
	if l.free() < 1 || l.waiting.next() != n {
		return Admission{}, false
	}
	l.turn(n)
	return l.enter(visitor, n, idle), true
}

// span is a run of numbers that follow each other; a newcomer who got none is
// a span of one 0.
type span struct{ first, count int64 }

func follow(given []span, n int64) []span {
	if last := len(given) - 1; last >= 0 && given[last].first > 0 && n == given[last].first+given[last].count {
		given[last].count++
		return given
	}
	return append(given, span{n, 1})
}

func numbersOf(given []span) (numbers []int64) {
	for _, s := range given {
		for i := range s.count {
			numbers = append(numbers, s.first+i)
		}
	}
	return numbers
}

// identity is the ticket of a visitor whom the shop knows.
type identity struct {
	Visitor string
	Number  int64
	Epoch   int64
}

// identityTime is how long an identity's ticket is remembered: as long as a
// queue token lives.
const identityTime = queueTicketLife

// join gives newcomers their numbers. nil: the line takes no one now.
func (l *line) join(batch string, newcomers []Newcomer) []Place {
	if given, ok := l.batches[batch]; ok {
		return l.joined(numbersOf(given), newcomers)
	}
	if l.settling != nil || !l.limited || l.limits.Mode == ModeClosed || !l.limits.begun(l.at) || l.limits.over(l.at) {
		return nil
	}
	var given []span
	places := make([]Place, len(newcomers))
	for i, newcomer := range newcomers {
		places[i] = l.joinOne(newcomer)
		given = follow(given, places[i].Number)
	}
	l.batches[batch] = given
	l.batchEnd.set(batch, l.at.Add(batchMemory))
	return places
}

func (l *line) joinOne(newcomer Newcomer) Place {
	if id, ok := l.identities[newcomer.Identity]; ok && newcomer.Identity != "" {
		if place, ok := l.placeOf(id); ok {
			return place
		}
	}
	if wait := l.throttle(newcomer.Network); wait > 0 {
		return Place{RetryAfter: wait}
	}
	l.Issued++
	n := l.Issued
	l.hearOne(n)
	if newcomer.Identity != "" {
		l.identities[newcomer.Identity] = identity{newcomer.Visitor, n, l.Epoch}
		l.identityEnd.set(newcomer.Identity, l.at.Add(identityTime))
		l.unwritten.identities[newcomer.Identity] = struct{}{}
	}
	// No token came back from this visitor yet: a bot, a prefetch or a curl
	// must not hold a seat for the whole idle time.
	idle := min(l.limits.Idle, 2*l.limits.Claim)
	if admission, ok := l.quiet(newcomer.Visitor, n, idle); ok {
		return Place{Number: n, Visitor: newcomer.Visitor, Admission: admission}
	}
	return Place{Number: n, Visitor: newcomer.Visitor, Position: l.waiting.count} // all others have lower numbers
}

// throttle counts a join of a network, or tells how long it must wait.
func (l *line) throttle(network string) time.Duration {
	if network == "" || l.limits.JoinsPerHour == 0 {
		return 0
	}
	each := Instant(creditUnit / l.limits.JoinsPerHour)
	used, _ := l.throttles.get(network)
	used = max(used, l.at) + each
	if open := used - each*Instant(l.limits.JoinBurst); open > l.at {
		return open.Sub(l.at)
	}
	l.throttles.set(network, used)
	return 0
}

// placeOf returns the place of an identity that still has one.
func (l *line) placeOf(id identity) (Place, bool) {
	place := Place{Number: id.Number, Visitor: id.Visitor}
	if s := l.sessions[id.Visitor]; s != nil && l.ended[id.Visitor] == 0 {
		place.Admission = *s
		return place, true
	}
	n := id.Number
	_, turned := l.turns.get(n)
	if id.Epoch != l.Epoch || n>>blockShift < l.off.first || l.done.has(n) || n <= l.lost && !l.waiting.has(n) && !turned {
		return Place{}, false
	}
	l.hearOne(n)
	place.Position = 1
	if l.waiting.has(n) {
		place.Position = l.waiting.below(n) + 1
	}
	return place, true
}

// joined answers a batch again: the same numbers, and the sessions that were
// begun with them.
func (l *line) joined(numbers []int64, newcomers []Newcomer) []Place {
	places := make([]Place, min(len(numbers), len(newcomers)))
	for i, newcomer := range newcomers[:len(places)] {
		n, visitor := numbers[i], newcomer.Visitor
		if id, ok := l.identities[newcomer.Identity]; ok && id.Number == n {
			visitor = id.Visitor
		}
		places[i] = Place{Number: n, Visitor: visitor}
		switch {
		case n == 0:
			places[i] = Place{RetryAfter: max(Tick, l.throttleLeft(newcomer.Network))}
		case l.sessions[visitor] != nil && l.ended[visitor] == 0:
			places[i].Admission = *l.sessions[visitor]
		case l.waiting.has(n):
			places[i].Position = l.waiting.below(n) + 1
		}
	}
	return places
}

// throttleLeft tells how long a network must wait, without counting a join.
func (l *line) throttleLeft(network string) time.Duration {
	used, ok := l.throttles.get(network)
	if !ok || l.limits.JoinsPerHour == 0 {
		return 0
	}
	each := Instant(creditUnit / l.limits.JoinsPerHour)
	return (used + each - each*Instant(l.limits.JoinBurst)).Sub(l.at)
}

// knock answers one visitor who asks to enter.
func (l *line) knock(k Knock) Entry {
	if s := l.sessions[k.Visitor]; s != nil && l.ended[k.Visitor] == 0 {
		return Entry{EntryAdmitted, *s}
	}
	if l.ended[k.Visitor] != 0 {
		return Entry{Outcome: EntryGone}
	}
	if l.settling != nil {
		return Entry{Outcome: EntryWaiting}
	}
	if k.Max > l.at && k.Signed < l.born {
		return l.reenter(k)
	}
	n := k.Number
	if n == 0 || k.Epoch != l.Epoch || n > l.Issued || n>>blockShift < l.off.first || l.done.has(n) {
		return Entry{Outcome: EntryGone}
	}
	if _, ok := l.turns.get(n); ok {
		if !l.claimable() {
			return Entry{Outcome: EntryWaiting}
		}
		l.dropTurn(n)
		return Entry{EntryAdmitted, l.enter(k.Visitor, n, l.limits.Idle)}
	}
	if n <= l.lost && !l.waiting.has(n) || l.limits.over(l.at) {
		return Entry{Outcome: EntryGone}
	}
	l.off.clear(n, l.version) // a lapsed number waits again, at the very front
	l.hearOne(n)
	if admission, ok := l.quiet(k.Visitor, n, l.limits.Idle); ok {
		return Entry{EntryAdmitted, admission}
	}
	return Entry{Outcome: EntryWaiting}
}

// reenter lets in a session that the line lost: only on a token signed before
// the line's data began. A later one that is not known has ended.
func (l *line) reenter(k Knock) Entry {
	known := k.Epoch == l.Epoch && k.Number > 0 && k.Number <= l.Issued
	switch {
	case known && l.dropTurn(k.Number): // entered after what is left of the line was written; the seat is the same
	case l.nameless > 0:
		l.nameless--
	case l.limits.Capacity > 0 && l.inside()+int64(l.turns.len()) >= l.limits.Capacity:
		return Entry{Outcome: EntryWaiting}
	}
	if known {
		l.waiting.clear(k.Number, l.version)
		l.off.set(k.Number, l.version)
		l.done.set(k.Number, l.version)
	}
	return Entry{EntryAdmitted, l.setSession(Admission{
		Visitor: k.Visitor, Number: k.Number,
		Until: min(l.at.Add(l.limits.Idle), k.Max), Max: k.Max,
	}, SessionGrace)}
}

// renew moves the end of a session that is in use. It never comes earlier.
func (l *line) renew(visitor string) Entry {
	s := l.sessions[visitor]
	switch {
	case l.ended[visitor] != 0, s == nil && !l.mayReenter():
		return Entry{Outcome: EntryGone}
	case s == nil: // not known any more is not ended: its token may bring it back
		return Entry{Outcome: EntryWaiting}
	}
	s.Until = max(s.Until, min(l.at.Add(l.limits.Idle), s.Max))
	l.sessionEnd.set(visitor, s.Until.Add(SessionGrace))
	l.unwritten.sessions[visitor] = struct{}{}
	return Entry{EntryAdmitted, *s}
}

// leave ends a session, or gives up a place. The seat of a session is free two
// ticks later, when every gateway has heard that its token passes no more.
func (l *line) leave(d Departure) {
	if s := l.sessions[d.Visitor]; s != nil {
		l.end(Ended{d.Visitor, s.Max.Add(SessionGrace)})
	} else if l.mayReenter() {
		l.end(Ended{d.Visitor, l.at.Add(l.longest() + SessionGrace)})
	}
	if d.Number == 0 || d.Epoch != l.Epoch || d.Number > l.Issued {
		return
	}
	l.dropTurn(d.Number)
	l.waiting.clear(d.Number, l.version)
	l.off.set(d.Number, l.version)
	l.done.set(d.Number, l.version)
}

// mayReenter reports whether there may be sessions that the line lost.
func (l *line) mayReenter() bool { return l.settling != nil || l.at < l.reentry }

// longest is how long a session may last that the line lost.
func (l *line) longest() time.Duration {
	if !l.limited {
		return 7 * 24 * time.Hour // nobody has told yet
	}
	return l.limits.Max
}

// end makes sure that no token of a visitor passes any more, and that the seat
// is free when every gateway has heard of it.
func (l *line) end(e Ended) {
	if l.ended[e.Visitor] != 0 {
		return
	}
	if until, ok := l.sessionEnd.get(e.Visitor); ok {
		l.sessionEnd.set(e.Visitor, min(until, l.at.Add(2*Tick)))
		l.unwritten.sessions[e.Visitor] = struct{}{}
	}
	l.ended[e.Visitor] = e.Until
	l.endedLog = append(l.endedLog, endedAt{e, l.version})
	l.unwritten.ended[e.Visitor] = struct{}{}
}

// settle opens a settling where a floor shows that the line lost data, and
// closes it in time.
func (l *line) settle(call Call, now Instant) {
	if l.settling == nil {
		if !call.Floor.Above(l.Floor) {
			return
		}
		l.settling = &settling{until: now.Add(settleTime), floor: l.Floor, released: l.released}
	}
	s := l.settling
	if call.Floor.Above(s.floor) {
		s.floor = call.Floor
	}
	if now < s.until || !l.limited { // without limits nobody can say how many seats there are
		return
	}
	if s.floor.Epoch > l.Epoch { // what was kept here is of an epoch that is over
		l.newEpoch(s.floor.Epoch)
	}
	if s.floor.Epoch == l.Epoch {
		l.Issued = max(l.Issued, s.floor.Issued)
	}
	l.released = min(max(l.released, s.released), l.Issued)
	l.Issued += leap
	l.born, l.reentry = now, now.Add(l.limits.Max)
	l.credit = 0
	if missing := s.seats - l.inside() - int64(l.turns.len()); missing > 0 {
		l.nameless += missing
		l.namelessUntil = now.Add(l.limits.Idle + SessionGrace)
	}
	if !s.maps {
		l.blindUntil = now.Add(l.limits.Absence)
	}
	l.settling = nil
	l.listenAnew(now)
	l.unwritten.all = true
}

// heal takes what a gateway remembers.
func (l *line) heal(call Call, m Memory) {
	s := l.settling
	if s == nil {
		return
	}
	if ahead := m.Now - l.clock - l.behind; ahead > 0 {
		l.behind += ahead
		s.until += ahead
	}
	if call.Floor.Epoch > l.Epoch {
		l.newEpoch(call.Floor.Epoch)
	}
	if call.Floor.Epoch == l.Epoch {
		l.Issued = max(l.Issued, call.Floor.Issued)
		s.released = max(s.released, m.Released)
		l.recall(m.Pieces)
		s.maps = s.maps || len(m.Pieces) > 0
	}
	s.seats = max(s.seats, m.Seats)
	if m.Overrides.Version > l.overrides.Version {
		l.overrides = m.Overrides
		if l.limited {
			l.enforce()
		}
	}
	for _, e := range m.Ended {
		l.end(e)
	}
	for _, a := range m.Sessions {
		if l.sessions[a.Visitor] == nil && l.ended[a.Visitor] == 0 && a.Until.Add(SessionGrace) > l.at {
			l.setSession(a, SessionGrace)
		}
	}
}

// recall merges remembered maps: first who is off, so that no one who entered
// is marked as waiting.
func (l *line) recall(pieces []Piece) {
	slices.SortStableFunc(pieces, func(a, b Piece) int { return int(b.Map) - int(a.Map) })
	for _, p := range pieces {
		for i, word := range p.Bits {
			w := p.From>>6 + int64(i)
			switch p.Map {
			case MapDone:
				l.done.word(w, word, 0, l.version)
				for ; word != 0; word &= word - 1 { // what is left of the line may be from before
					l.dropTurn(w<<6 + int64(bits.TrailingZeros64(word)))
				}
				fallthrough
			case MapOff:
				l.off.word(w, p.Bits[i], 0, l.version)
				l.waiting.word(w, 0, p.Bits[i], l.version)
			case MapWaiting:
				l.hear(w, word)
			}
		}
	}
}

// reset ends every place and turn, those that a settling line has only heard of
// included.
func (l *line) reset() {
	epoch := l.Epoch
	if l.settling != nil {
		epoch = max(epoch, l.settling.floor.Epoch)
	}
	l.newEpoch(epoch + 1)
}

// newEpoch begins an epoch, without any of what was of the last.
func (l *line) newEpoch(epoch int64) {
	l.Floor = Floor{Epoch: epoch}
	if s := l.settling; s != nil {
		s.released, s.maps = 0, false // that was of another epoch
	}
	l.released, l.lost, l.steps = 0, 0, nil
	for n := range l.turns.items {
		l.unwritten.turns[n] = struct{}{}
	}
	l.turns = newDeadlines[int64]()
	l.heard, l.heardBefore, l.waiting, l.off, l.done = marks{}, marks{}, marks{}, marks{}, marks{}
	clear(l.batches)
	l.batchEnd = newDeadlines[string]()
	for id := range l.identities {
		l.unwritten.identities[id] = struct{}{}
	}
	clear(l.identities)
	l.identityEnd = newDeadlines[string]()
	l.unwritten.all = true
}

func (l *line) head() Head {
	return Head{
		Now: l.at, Floor: l.Floor, Released: l.released, Lost: l.lost, Born: l.born,
		Settling: l.settling != nil, Limits: l.limits, Overrides: l.overrides,
		Waiting: l.waiting.count, Turns: int64(l.turns.len()), Sessions: l.inside(),
		Turned: l.turned, Admitted: l.admitted,
	}
}

// read returns the line with what changed after a version.
func (l *line) read(since int64) Line {
	if since > l.version {
		since = 0
	}
	r := Line{Head: l.head(), Version: l.version, First: max(1, l.off.first<<blockShift)}
	r.Pieces = append(r.Pieces, l.waiting.since(MapWaiting, since)...)
	r.Pieces = append(r.Pieces, l.off.since(MapOff, since)...)
	r.Pieces = append(r.Pieces, l.done.since(MapDone, since)...)
	for n, item := range l.turns.items {
		r.Claims = append(r.Claims, Claim{n, l.at + item.at - l.claimClock})
	}
	from := sort.Search(len(l.endedLog), func(i int) bool { return l.endedLog[i].version > since })
	for _, e := range l.endedLog[from:] {
		r.Ended = append(r.Ended, e.Ended)
	}
	return r
}
