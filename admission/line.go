package admission

import (
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
	passed   int64 // of turned, by passes
	admitted int64
	credit   int64
	version  int64 // counts steps

	limited  bool   // whether limits were ever told
	limits   Limits // in force
	told     Limits // the strictest that gateways told lately
	gateways map[string]gatewayLimits

	overrides Overrides

	draw    Draw
	stirred int64 // the version at which, other than by joining, it changed who waits

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

	identities identities

	// throttles are when each network has used up what it may: the theoretical
	// arrival time of the generic cell rate algorithm (ITU-T I.371).
	throttles deadlines[string]

	spent   spendings
	awaited awaited

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
		throttles:  newDeadlines[string](),
		spent:      newSpendings(), awaited: newAwaited(),
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
	if l.limits.RatePerHour > 0 && !l.limits.halted() && l.settling == nil {
		l.credit += int64(worked) * l.limits.RatePerHour
		l.credit = min(l.credit, l.limits.Burst*creditUnit)
	}
	if elapsed > worked {
		l.listenAnew(now) // no gateway came: it was not the visitors who were away
	}
	l.at = now

	for visitor, ok := l.sessionEnd.due(now); ok; visitor, ok = l.sessionEnd.due(now) {
		delete(l.sessions, visitor)
		l.unwritten.sessions.add(visitor)
	}
	for n, ok := l.turns.due(l.claimClock); ok; n, ok = l.turns.due(l.claimClock) {
		l.unwritten.turns.add(n) // lapsed: off, without turn, not done
	}
	for batch, ok := l.batchEnd.due(now); ok; batch, ok = l.batchEnd.due(now) {
		delete(l.batches, batch)
	}
	for id := l.identities.due(now); id != nil; id = l.identities.due(now) {
		l.unwritten.forgotten = append(l.unwritten.forgotten, id.Number)
	}
	for _, ok := l.throttles.due(now); ok; _, ok = l.throttles.due(now) {
	}
	for len(l.endedLog) > 0 && l.endedLog[0].Until <= now {
		delete(l.ended, l.endedLog[0].Visitor)
		l.unwritten.ended.add(l.endedLog[0].Visitor)
		l.endedLog = l.endedLog[1:]
	}
	for pass, ok := l.spent.due(now); ok; pass, ok = l.spent.due(now) {
		l.unwritten.spent.add(pass)
	}
	l.awaited.expire(now)
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
	return l.limited && l.settling == nil && !l.limits.halted() &&
		(l.limits.Capacity == 0 || l.inside() < l.limits.Capacity)
}

// inside counts the sessions, nameless ones included.
func (l *line) inside() int64 { return int64(len(l.sessions)) + l.nameless }

// free is how many turns may be given now. A holder of a pass comes before.
func (l *line) free() int64 {
	if l.at < l.blindUntil || !l.limits.begun(l.at) || l.limits.over(l.at) || l.drawing() {
		return 0
	}
	return max(0, l.room()-l.awaited.len())
}

// room is how many may enter now, as far as seats and credit go.
func (l *line) room() int64 {
	if !l.limited || l.settling != nil || l.limits.halted() {
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

// override puts an operator's decisions in force, unless their maker did not
// know what was decided last. A line that lost what was decided before goes on
// from what the maker knew of it, else the memory of a gateway would undo the
// newer decision.
func (l *line) override(o Overrides) {
	if o.Version < l.overrides.Version {
		return
	}
	o.Version++
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
	if was.halted() && !l.limits.halted() {
		l.credit = 0
	}
	l.credit = min(l.credit, l.limits.Burst*creditUnit)
}

func (l *line) head() Head {
	return Head{
		Now: l.at, Floor: l.Floor, Released: l.released, Lost: l.lost, Born: l.born,
		Settling: l.settling != nil, Closing: l.settling != nil && l.settling.closing,
		Limits: l.limits, Overrides: l.overrides, Draw: l.draw,
		Waiting: l.waiting.count, Turns: int64(l.turns.len()), Sessions: l.inside(),
		Turned: l.turned, Passed: l.passed, Admitted: l.admitted, Awaited: l.awaited.len(),
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
	r.Spent = l.spent.since(since)
	from := sort.Search(len(l.endedLog), func(i int) bool { return l.endedLog[i].version > since })
	for _, e := range l.endedLog[from:] {
		r.Ended = append(r.Ended, e.Ended)
	}
	return r
}
