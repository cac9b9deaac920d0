package admission

import "time"

type endedAt struct {
	Ended
	version int64
}

// turn takes the credit and the waiting of a number that gets its turn.
func (l *line) turn(n int64) {
	l.waiting.clear(n, l.version)
	l.off.set(n, l.version)
	l.released = max(l.released, n)
	l.charge()
}

// charge takes the credit that one who may enter costs.
func (l *line) charge() {
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
	l.unwritten.turns.add(n)
}

func (l *line) dropTurn(n int64) bool {
	if !l.turns.remove(n) {
		return false
	}
	l.unwritten.turns.add(n)
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
	})
}

func (l *line) setSession(a Admission) Admission {
	l.sessions[a.Visitor] = &a
	l.sessionEnd.set(a.Visitor, a.Until.Add(SessionGrace))
	l.unwritten.sessions.add(a.Visitor)
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

// knock answers one visitor who asks to enter.
func (l *line) knock(k Knock) Entry {
	if s := l.sessions[k.Visitor]; s != nil && l.ended[k.Visitor] == 0 {
		return Entry{Outcome: EntryAdmitted, Admission: *s}
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
	if k.Pass.ID != "" {
		return l.show(k)
	}
	n := k.Number
	if k.Epoch == l.Epoch && l.unnumbered(n) {
		return Entry{Outcome: EntryWaiting}
	}
	if n == 0 || k.Epoch != l.Epoch || n > l.Issued || n>>blockShift < l.off.first || l.done.has(n) {
		return Entry{Outcome: EntryGone}
	}
	if _, ok := l.turns.get(n); ok {
		if !l.claimable() {
			return Entry{Outcome: EntryWaiting}
		}
		l.dropTurn(n)
		return Entry{Outcome: EntryAdmitted, Admission: l.enter(k.Visitor, n, l.limits.Idle)}
	}
	if n <= l.lost && !l.waiting.has(n) || l.limits.ended(l.at) {
		return Entry{Outcome: EntryGone}
	}
	l.off.clear(n, l.version) // a lapsed number waits again, at the very front
	l.hearOne(n)
	if admission, ok := l.quiet(k.Visitor, n, l.limits.Idle); ok {
		return Entry{Outcome: EntryAdmitted, Admission: admission}
	}
	return Entry{Outcome: EntryWaiting}
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
	l.unwritten.sessions.add(visitor)
	return Entry{Outcome: EntryAdmitted, Admission: *s}
}

// leave ends a session, or gives up a place. The seat of a session is free two
// ticks later, when every gateway has heard that its token passes no more.
func (l *line) leave(call Call, d Departure) {
	l.awaited.remove(d.Visitor)
	if s := l.sessions[d.Visitor]; s != nil {
		l.end(Ended{d.Visitor, s.Max.Add(SessionGrace)})
	} else if l.mayReenter() {
		l.end(Ended{d.Visitor, l.at.Add(l.longest() + SessionGrace)})
	}
	if d.Number == 0 || d.Epoch != l.Epoch || d.Number > l.Issued || !l.means(call.Mapped, d.Number) {
		return
	}
	l.stirred = l.version
	l.dropTurn(d.Number)
	l.waiting.clear(d.Number, l.version)
	l.off.set(d.Number, l.version)
	l.done.set(d.Number, l.version)
}

// end makes sure that no token of a visitor passes any more, and that the seat
// is free when every gateway has heard of it.
func (l *line) end(e Ended) {
	if l.ended[e.Visitor] != 0 {
		return
	}
	if until, ok := l.sessionEnd.get(e.Visitor); ok {
		l.sessionEnd.set(e.Visitor, min(until, l.at.Add(2*Tick)))
		l.unwritten.sessions.add(e.Visitor)
	}
	l.ended[e.Visitor] = e.Until
	l.endedLog = append(l.endedLog, endedAt{e, l.version})
	l.unwritten.ended.add(e.Visitor)
}
