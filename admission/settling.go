package admission

import (
	"math/bits"
	"slices"
	"time"
)

// settling is what a line has heard so far of what it lost.
type settling struct {
	until    Instant
	closing  bool // for the indexes of the draw alone: nothing is known to be lost
	floor    Floor
	released int64
	seats    int64
	maps     bool // whether anyone told who was present
}

// reenter lets in a session that the line lost: only on a token signed before
// the line's data began. A later one that is not known has ended.
func (l *line) reenter(k Knock) Entry {
	known := k.Epoch == l.Epoch && k.Number > 0 && k.Number <= l.Issued && !l.unnumbered(k.Number)
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
	return Entry{Outcome: EntryAdmitted, Admission: l.setSession(Admission{
		Visitor: k.Visitor, Number: k.Number,
		Until: min(l.at.Add(l.limits.Idle), k.Max), Max: k.Max,
	})}
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

// settle opens a settling where a floor shows that the line lost data, or the
// start closes the indexes of a draw, and closes it in time.
func (l *line) settle(call Call, now Instant) {
	lost := call.Floor.Above(l.Floor) || call.Floor.Epoch == l.Epoch &&
		(call.Floor.Drawn > 0 && l.Drawn == 0 || call.Mapped && !l.draw.Mapped)
	if l.settling == nil {
		if !lost && !l.closes(now) {
			return
		}
		l.settling = &settling{until: now.Add(settleTime), closing: true, floor: l.Floor, released: l.released}
	}
	s := l.settling
	if lost {
		s.closing = false
	}
	s.floor = s.floor.raised(call.Floor)
	if now < s.until || !l.limited { // without limits nobody can say how many seats there are
		return
	}
	if s.floor.Epoch > l.Epoch { // what was kept here is of an epoch that is over
		l.newEpoch(s.floor.Epoch)
	}
	if s.floor.Epoch == l.Epoch {
		l.raise(s.floor)
	}
	closes := l.closes(now)
	if closes {
		l.closeIndexes()
	}
	if s.closing {
		l.settling = nil
		return
	}
	l.released = min(max(l.released, s.released), l.Issued)
	l.Issued += leap
	if closes { // who comes with an index that nobody told of has a number below the leap
		l.draw.Later = l.Issued
	}
	l.stirred = l.version
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
	if s == nil || s.closing {
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
		l.raise(call.Floor)
		s.released = max(s.released, m.Released)
		l.dropBelow(m.First)
		l.recallDraw(m.Draw)
		l.recall(m.Pieces, m.Draw.Mapped)
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
	for _, spent := range m.Spent {
		l.spend(spent)
	}
	for _, a := range m.Sessions {
		s := l.sessions[a.Visitor]
		later := s == nil || a.Until > s.Until // another gateway may have renewed it since
		if later && l.ended[a.Visitor] == 0 && a.Until.Add(SessionGrace) > l.at {
			l.setSession(a)
		}
	}
}

// raise lifts the line to a floor of its epoch. N is written once.
func (l *line) raise(f Floor) {
	drawn := l.Drawn
	l.Floor = l.Floor.raised(f)
	if drawn > 0 {
		l.Drawn = drawn
	}
}

// recall merges remembered maps: first who is off, so that no one who entered
// is marked as waiting.
func (l *line) recall(pieces []Piece, mapped bool) {
	slices.SortStableFunc(pieces, func(a, b Piece) int { return int(b.Map) - int(a.Map) })
	for _, p := range pieces {
		for i, word := range p.Bits {
			w := p.From>>6 + int64(i)
			word = l.meant(mapped, w, word)
			switch p.Map {
			case MapDone:
				l.done.word(w, word, 0, l.version)
				for left := word; left != 0; left &= left - 1 { // what is left of the line may be from before
					l.dropTurn(w<<6 + int64(bits.TrailingZeros64(left)))
				}
				fallthrough
			case MapOff:
				l.off.word(w, word, 0, l.version)
				l.waiting.word(w, 0, word, l.version)
			case MapWaiting:
				l.hear(w, word)
			}
		}
	}
}

// reset ends every place and turn of an epoch, if it is not over: one that a
// settling line has only heard of included.
func (l *line) reset(epoch int64) {
	if epoch < l.Epoch || l.settling != nil && epoch < l.settling.floor.Epoch {
		return
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
	l.draw = Draw{}
	for n := range l.turns.items {
		l.unwritten.turns.add(n)
	}
	l.turns = newDeadlines[int64]()
	l.heard, l.heardBefore, l.waiting, l.off, l.done = marks{}, marks{}, marks{}, marks{}, marks{}
	clear(l.batches)
	l.batchEnd = newDeadlines[string]()
	l.identities = identities{}
	l.unwritten.all = true
}
