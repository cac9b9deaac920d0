package admission

import (
	"container/list"
	"sort"
)

// A pass lets who holds it in before everybody who waits: within capacity and
// rate, and without a number. It is a signed token with so many uses, of which a
// session that it begins takes one. A holder who finds no seat is awaited: the
// line leaves a seat for each holder, and they enter in the order in which they
// came. What of its passes is used a line keeps apart from its epochs: a reset
// gives no use back.

const (
	// MaxPassUses is the most uses of one pass.
	MaxPassUses = 1_000_000

	// allUses is what a pass that was revoked has taken: more than it can have.
	allUses = int64(1) << 40
)

// Pass is what a holder shows. The zero Pass is none.
type Pass struct {
	ID    string
	Uses  int64
	Until Instant // it begins no session from then on
	Early bool    // it does before the start, too
}

// Spent is what of a pass is used: so many sessions began by it. None begins
// once the pass has ended, at Until, and it need not be remembered longer.
type Spent struct {
	Pass  string
	Uses  int64
	Until Instant
}

// spentAt is a Spent with the version of its last change.
type spentAt struct {
	Spent
	version int64
}

// spendings are the passes of which uses are taken. See newSpendings.
type spendings struct {
	byPass map[string]*list.Element // of *spentAt
	log    *list.List               // in the order of their versions
	end    deadlines[string]
}

func newSpendings() spendings {
	return spendings{byPass: map[string]*list.Element{}, log: list.New(), end: newDeadlines[string]()}
}

// of returns what of a pass is used.
func (s *spendings) of(pass string) Spent {
	if e := s.byPass[pass]; e != nil {
		return e.Value.(*spentAt).Spent
	}
	return Spent{Pass: pass}
}

// raise takes in what is used of a pass; it never becomes less. It reports
// whether that is more than was known.
func (s *spendings) raise(spent Spent, version int64) bool {
	known := s.of(spent.Pass)
	if spent.Uses <= known.Uses && spent.Until <= known.Until {
		return false
	}
	spent.Uses, spent.Until = max(spent.Uses, known.Uses), max(spent.Until, known.Until)
	if e := s.byPass[spent.Pass]; e != nil {
		s.log.Remove(e)
	}
	s.byPass[spent.Pass] = s.log.PushBack(&spentAt{spent, version})
	s.end.set(spent.Pass, spent.Until)
	return true
}

// since returns what changed after a version.
func (s *spendings) since(version int64) (changed []Spent) {
	for e := s.log.Back(); e != nil && e.Value.(*spentAt).version > version; e = e.Prev() {
		changed = append(changed, e.Value.(*spentAt).Spent)
	}
	return changed
}

// due forgets and returns a pass that has ended by now, while there is one.
func (s *spendings) due(now Instant) (pass string, ok bool) {
	if pass, ok = s.end.due(now); ok {
		s.log.Remove(s.byPass[pass])
		delete(s.byPass, pass)
	}
	return pass, ok
}

// awaited are the holders of passes who found no seat, in the order in which
// they came. See newAwaited.
type awaited struct {
	holders map[string]holder
	order   []int64          // their came, ascending
	uses    map[string]int64 // how many hold a use of each pass
	came    int64            // of the last
	end     deadlines[string]
}

type holder struct {
	pass string
	came int64
}

func newAwaited() awaited {
	return awaited{holders: map[string]holder{}, uses: map[string]int64{}, end: newDeadlines[string]()}
}

func (a *awaited) len() int64 { return int64(len(a.order)) }

func (a *awaited) has(visitor, pass string) bool { return a.holders[visitor].pass == pass }

// add has a visitor awaited until an instant, behind those who are.
func (a *awaited) add(visitor, pass string, until Instant) {
	if !a.has(visitor, pass) {
		a.remove(visitor)
		a.came++
		a.holders[visitor] = holder{pass, a.came}
		a.order = append(a.order, a.came)
		a.uses[pass]++
	}
	a.end.set(visitor, until)
}

// before counts those who came before an awaited visitor.
func (a *awaited) before(visitor string) int64 {
	came := a.holders[visitor].came
	return int64(sort.Search(len(a.order), func(i int) bool { return a.order[i] >= came }))
}

func (a *awaited) remove(visitor string) {
	h, ok := a.holders[visitor]
	if !ok {
		return
	}
	i := int(a.before(visitor))
	a.order = append(a.order[:i], a.order[i+1:]...)
	delete(a.holders, visitor)
	if a.uses[h.pass]--; a.uses[h.pass] == 0 {
		delete(a.uses, h.pass)
	}
	a.end.remove(visitor)
}

// expire has those awaited no more who were last heard from too long ago.
func (a *awaited) expire(now Instant) {
	for visitor, ok := a.end.due(now); ok; visitor, ok = a.end.due(now) {
		a.remove(visitor)
	}
}

// show answers a holder of a pass who asks to enter.
func (l *line) show(k Knock) Entry {
	p := k.Pass
	known := l.spent.of(p.ID)
	if l.at >= p.Until || known.Uses >= p.Uses ||
		!l.awaited.has(k.Visitor, p.ID) && known.Uses+l.awaited.uses[p.ID] >= p.Uses {
		l.awaited.remove(k.Visitor)
		return Entry{Outcome: EntrySpent, Spent: known}
	}
	if !l.limited || l.limits.over(l.at) || l.limits.Mode == ModeClosed || !l.limits.begun(l.at) && !p.Early {
		l.awaited.remove(k.Visitor)
		return Entry{Outcome: EntryWaiting}
	}
	l.awaited.add(k.Visitor, p.ID, l.at.Add(l.limits.Claim))
	before := l.awaited.before(k.Visitor)
	if called := before < l.room(); !called || k.Waits {
		return Entry{Outcome: EntryWaiting, Position: before + 1, Called: called}
	}
	l.awaited.remove(k.Visitor)
	known.Uses, known.Until = known.Uses+1, max(known.Until, p.Until)
	l.spend(known)
	l.charge()
	l.passed++
	l.admitted++
	until := l.at.Add(l.limits.Max)
	return Entry{Outcome: EntryAdmitted, Spent: known, Admission: l.setSession(Admission{
		Visitor: k.Visitor, Until: min(l.at.Add(l.limits.Idle), until), Max: until,
	})}
}

// spend takes in what is used of a pass.
func (l *line) spend(s Spent) {
	if s.Until > l.at && l.spent.raise(s, l.version) {
		l.unwritten.spent.add(s.Pass)
	}
}
