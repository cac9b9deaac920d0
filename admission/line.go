package admission

import (
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

	released int64
	turned   int64
	admitted int64
	credit   int64
	version  int64 // counts steps

	limited  bool // whether limits were ever told
	limits   Limits
	gateways map[string]gatewayLimits

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

	batches  map[string]int64 // the first number of each batch of joins
	batchEnd deadlines[string]

	settling *settling // nil: whole

	// A healed line knows some seats only by their count. They stand until
	// idle has passed, and each session that comes back takes one.
	nameless      int64
	namelessUntil Instant
	blindUntil    Instant // no turn before: nobody could say who is present

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
		Floor: Floor{Epoch: 1}, born: now, at: now, window: now,
		gateways:   map[string]gatewayLimits{},
		turns:      newDeadlines[int64](),
		sessions:   map[string]*Admission{},
		sessionEnd: newDeadlines[string](),
		ended:      map[string]Instant{},
		batches:    map[string]int64{},
		batchEnd:   newDeadlines[string](),
		unwritten:  newUnwritten(),
	}
}

// advance brings the line to now. It begins every step.
func (l *line) advance(call Call, now Instant) {
	l.version++
	now = max(now, l.at)
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
	for len(l.steps) > 0 && now-l.steps[0].At >= hold {
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
	}
}

func (l *line) maps() []*marks {
	return []*marks{&l.waiting, &l.off, &l.done, &l.heard, &l.heardBefore}
}

// setLimits takes what a gateway allows, and puts the strictest of what was
// heard lately in force: a cut counts at once, a raise when all have it.
func (l *line) setLimits(gateway string, limits Limits) {
	l.gateways[gateway] = gatewayLimits{limits, l.at}
	was := l.limits
	l.limits = limits
	for name, other := range l.gateways {
		if l.at-other.at > Instant(limitsTime.Microseconds()) {
			delete(l.gateways, name)
			continue
		}
		l.limits = strictest(l.limits, other.limits)
	}
	if !l.limited {
		l.limited = true
		l.credit = l.limits.Burst * creditUnit
		if l.born != l.at { // healed, or restarted: idle time is not saved up
			l.credit = 0
		}
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

// join gives newcomers their numbers. nil: the line takes no one now.
func (l *line) join(batch string, newcomers []Newcomer) []Place {
	if first, ok := l.batches[batch]; ok {
		return l.joined(first, newcomers)
	}
	if l.settling != nil || !l.limited || l.limits.Mode == ModeClosed || !l.limits.begun(l.at) || l.limits.over(l.at) {
		return nil
	}
	l.batches[batch] = l.Issued + 1
	l.batchEnd.set(batch, l.at.Add(batchMemory))
	places := make([]Place, len(newcomers))
	for i, newcomer := range newcomers {
		l.Issued++
		l.hearOne(l.Issued)
		places[i].Number = l.Issued
		// No token came back from this visitor yet: a bot, a prefetch or a
		// curl must not hold a seat for the whole idle time.
		idle := min(l.limits.Idle, 2*l.limits.Claim)
		if admission, ok := l.quiet(newcomer.Visitor, l.Issued, idle); ok {
			places[i].Admission = admission
			continue
		}
		places[i].Position = l.waiting.count // all others have lower numbers
	}
	return places
}

// joined answers a batch again: the same numbers, and the sessions that were
// begun with them.
func (l *line) joined(first int64, newcomers []Newcomer) []Place {
	places := make([]Place, len(newcomers))
	for i, newcomer := range newcomers {
		n := first + int64(i)
		places[i].Number = n
		if s := l.sessions[newcomer.Visitor]; s != nil {
			places[i].Admission = *s
		} else if l.waiting.has(n) {
			places[i].Position = l.waiting.below(n) + 1
		}
	}
	return places
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
	if l.nameless > 0 {
		l.nameless--
	} else if l.limits.Capacity > 0 && l.inside()+int64(l.turns.len()) >= l.limits.Capacity {
		return Entry{Outcome: EntryWaiting}
	}
	if k.Epoch == l.Epoch && k.Number > 0 && k.Number <= l.Issued {
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
	if s == nil || l.ended[visitor] != 0 {
		return Entry{Outcome: EntryGone}
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
		end, _ := l.sessionEnd.get(d.Visitor)
		l.sessionEnd.set(d.Visitor, min(end, l.at.Add(2*Tick)))
		l.unwritten.sessions[d.Visitor] = struct{}{}
		return
	}
	if d.Number == 0 || d.Epoch != l.Epoch || d.Number > l.Issued {
		return
	}
	l.dropTurn(d.Number)
	l.waiting.clear(d.Number, l.version)
	l.off.set(d.Number, l.version)
	l.done.set(d.Number, l.version)
}

// end makes sure that no token of a visitor passes any more.
func (l *line) end(e Ended) {
	if l.ended[e.Visitor] != 0 {
		return
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
	if now < s.until {
		return
	}
	if s.floor.Epoch > l.Epoch { // what was kept here is of an epoch that is over
		l.newEpoch(s.floor.Epoch)
	}
	l.Issued = max(l.Issued, s.floor.Issued)
	l.released = min(max(l.released, s.released), l.Issued)
	l.Issued += leap
	l.born = now
	l.credit = 0
	if missing := s.seats - l.inside(); missing > 0 {
		l.nameless, l.namelessUntil = missing, now.Add(l.limits.Idle+SessionGrace)
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
	for _, e := range m.Ended {
		l.end(e)
	}
	for _, a := range m.Sessions {
		if l.sessions[a.Visitor] == nil && a.Until.Add(SessionGrace) > l.at {
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
				l.off.word(w, word, 0, l.version)
			case MapOff:
				l.off.word(w, word, 0, l.version)
			case MapWaiting:
				l.hear(w, word)
			}
		}
	}
}

// newEpoch ends every place and turn.
func (l *line) newEpoch(epoch int64) {
	l.Floor = Floor{Epoch: epoch}
	l.released, l.lost, l.steps = 0, 0, nil
	for n := range l.turns.items {
		l.unwritten.turns[n] = struct{}{}
	}
	l.turns = newDeadlines[int64]()
	l.heard, l.heardBefore, l.waiting, l.off, l.done = marks{}, marks{}, marks{}, marks{}, marks{}
	clear(l.batches)
	l.batchEnd = newDeadlines[string]()
	l.unwritten.all = true
}

func (l *line) head() Head {
	return Head{
		Now: l.at, Floor: l.Floor, Released: l.released, Lost: l.lost, Born: l.born,
		Settling: l.settling != nil, Limits: l.limits,
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
