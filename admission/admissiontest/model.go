package admissiontest

import (
	"time"

	"github.com/ropeline/ropeline/admission"
)

// model is a line in the plainest words: maps, and a walk over all of them for
// every question. It is told each step that a store was told, and fails the
// test where the answer is not what the rules allow.
//
// Where the rules leave a store free, when exactly a silent number becomes
// absent and when exactly a place is lost, the model knows the bounds and
// follows the store within them. Everything else is exact.
type model struct {
	*rig
	now      admission.Instant
	gateways map[*gateway]told
	limits   admission.Limits // in force; the zero Limits before any were told

	epoch, issued, released, lost int64
	turned, admitted              int64

	// Credit in releases × an hour in microseconds; after a restart it is
	// only known to lie between the two.
	creditLeast, creditMost int64

	sure, maybe map[int64]admission.Instant // last heard: at least, and at most
	off, done   map[int64]bool
	turns       map[int64]admission.Instant // by the claim clock
	claims      admission.Instant           // the claim clock: time in which turns could be used
	usable      bool                        // whether it runs

	inside map[string]admission.Admission
	end    map[string]admission.Instant
	ended  map[string]bool

	passed   []passedAt        // what released was, and when
	patience admission.Instant // no place need be lost before
}

type told struct {
	limits admission.Limits
	at     admission.Instant
}

type passedAt struct {
	at, noted admission.Instant // when it was so, and a later step: a store may note it then
	released  int64
}

// gap is the most time between two steps in life.
const gap = 10 * time.Second

func newModel(r *rig, head admission.Head) *model {
	return &model{
		rig: r, now: head.Now, limits: head.Limits, epoch: head.Epoch,
		creditLeast: head.Limits.Burst * hour, creditMost: head.Limits.Burst * hour,
		gateways: map[*gateway]told{},
		sure:     map[int64]admission.Instant{}, maybe: map[int64]admission.Instant{},
		off: map[int64]bool{}, done: map[int64]bool{}, turns: map[int64]admission.Instant{},
		inside: map[string]admission.Admission{}, end: map[string]admission.Instant{}, ended: map[string]bool{},
		usable: true,
	}
}

// step brings the model to the time of a step.
func (m *model) step(now admission.Instant) {
	elapsed := now - m.now
	worked := min(elapsed, admission.Instant(gap.Microseconds()))
	if m.usable {
		m.claims += worked
	}
	if m.limits.RatePerHour > 0 && m.limits.Mode != admission.ModeHold {
		m.creditLeast = min(m.creditLeast+int64(worked)*m.limits.RatePerHour, m.limits.Burst*hour)
		m.creditMost = min(m.creditMost+int64(worked)*m.limits.RatePerHour, m.limits.Burst*hour)
	}
	if elapsed > worked {
		m.forgive(now)
	}
	m.now = now
	for visitor, end := range m.end {
		if end <= now {
			delete(m.end, visitor)
			delete(m.inside, visitor)
		}
	}
	for n, until := range m.turns {
		if until <= m.claims {
			delete(m.turns, n)
		}
	}
}

// forgive makes everyone who was present count as heard now.
func (m *model) forgive(now admission.Instant) {
	for n := int64(1); n <= m.issued; n++ {
		if m.mustBePresent(n) {
			m.sure[n] = now
		}
		if m.mayBePresent(n) {
			m.maybe[n] = now
		}
	}
	m.patience = now.Add(m.limits.Absence + 3*gap)
}

func (m *model) mustBePresent(n int64) bool {
	at, heard := m.sure[n]
	return heard && !m.off[n] && m.now.Sub(at) < m.limits.Absence
}

func (m *model) mayBePresent(n int64) bool {
	at, heard := m.maybe[n]
	return heard && !m.off[n] && m.now.Sub(at) <= 2*(m.limits.Absence+gap)
}

// after ends a step: what a store answered must be what the model expects.
func (m *model) after(verb string, h admission.Head) {
	m.Helper()
	m.usable = m.limits.Mode != admission.ModeHold && (m.limits.Capacity == 0 || int64(len(m.inside)) < m.limits.Capacity)
	for i := range m.passed {
		if p := &m.passed[i]; p.noted == 0 && m.now.Sub(p.at) >= m.limits.HoldPlace/32 {
			p.noted = m.now
		}
	}
	m.passed = append(m.passed, passedAt{at: m.now, released: m.released})
	most, least := int64(0), int64(0)
	for _, p := range m.passed {
		if m.now.Sub(p.at) >= m.limits.HoldPlace {
			most = max(most, p.released)
		}
		if p.noted > 0 && m.now.Sub(p.noted) >= m.limits.HoldPlace+m.limits.HoldPlace/16+3*gap {
			least = max(least, p.released)
		}
	}
	if m.now < m.patience {
		least = 0
	}
	if h.Lost > most || h.Lost < least {
		m.Fatalf("P: after %s numbers to %d are lost, want between %d and %d", verb, h.Lost, least, most)
	}
	m.lost = h.Lost
	for _, c := range []struct {
		what      string
		got, want int64
	}{
		{"epoch", h.Epoch, m.epoch}, {"issued", h.Issued, m.issued}, {"released", h.Released, m.released},
		{"turned", h.Turned, m.turned}, {"admitted", h.Admitted, m.admitted},
		{"turns", h.Turns, int64(len(m.turns))}, {"sessions", h.Sessions, int64(len(m.inside))},
	} {
		if c.got != c.want {
			m.Fatalf("after %s %s is %d, the model says %d", verb, c.what, c.got, c.want)
		}
	}
	if h.Limits != m.limits {
		m.Fatalf("after %s these limits are in force:\n%+v, the model says\n%+v", verb, h.Limits, m.limits)
	}
	least, most = 0, 0
	for n := range m.issued + 1 {
		if m.mustBePresent(n) {
			least++
		}
		if m.mayBePresent(n) {
			most++
		}
	}
	if h.Waiting < least || h.Waiting > most {
		m.Fatalf("after %s %d wait, the model says %d to %d", verb, h.Waiting, least, most)
	}
}

// free is how many turns may be given, at least and at most.
func (m *model) free() (least, most int64) {
	if m.limits.Mode == admission.ModeHold {
		return 0, 0
	}
	least, most = 1000, 1000
	if m.limits.Capacity > 0 {
		seats := max(0, m.limits.Capacity-int64(len(m.inside))-int64(len(m.turns)))
		least, most = min(least, seats), min(most, seats)
	}
	if m.limits.RatePerHour > 0 {
		least, most = min(least, m.creditLeast/hour), min(most, m.creditMost/hour)
	}
	return least, most
}

func (m *model) hear(n int64) { m.sure[n], m.maybe[n] = m.now, m.now }

func (m *model) charge(n int64) {
	m.off[n] = true
	m.turned++
	m.released = max(m.released, n)
	if m.limits.RatePerHour > 0 {
		m.creditLeast = max(0, m.creditLeast-hour)
		m.creditMost -= hour
	}
}

// admit checks the session that a number was given.
func (m *model) admit(visitor string, n int64, idle time.Duration, got admission.Admission) {
	m.Helper()
	most := m.now.Add(m.limits.Max)
	want := admission.Admission{Visitor: visitor, Number: n, Until: min(m.now.Add(idle), most), Max: most}
	if got != want {
		m.Fatalf("A: number %d got the session\n%+v, the model says\n%+v", n, got, want)
	}
	m.off[n], m.done[n] = true, true
	m.admitted++
	m.inside[visitor], m.end[visitor] = got, got.Until.Add(admission.SessionGrace)
}

// quiet checks whether a number may, or must, be admitted without a turn.
func (m *model) quiet(visitor string, n int64, idle time.Duration, got admission.Admission) {
	m.Helper()
	must, may := true, true // nobody stands before it
	for other := int64(1); other < n; other++ {
		may = may && !m.mustBePresent(other)
		must = must && !m.mayBePresent(other)
	}
	least, most := m.free()
	admitted := got.Visitor != ""
	switch {
	case admitted && (!may || most < 1):
		m.Fatalf("O: number %d was admitted at once, with at most %d free", n, most)
	case !admitted && must && least >= 1:
		m.Fatalf("number %d was held, though nobody stands before it and %d are free", n, least)
	case admitted:
		m.charge(n)
		m.admit(visitor, n, idle, got)
	}
}

func (m *model) join(h admission.Head, newcomers []admission.Newcomer, tickets []*ticket) {
	m.Helper()
	m.step(h.Now)
	if takes := m.limits.Mode != admission.ModeClosed; takes != (tickets != nil) {
		m.Fatalf("H: a line in mode %s gave %d places", m.limits.Mode, len(tickets))
	}
	for i, k := range tickets {
		m.issued++
		if k.number != m.issued || k.visitor != newcomers[i].Visitor {
			m.Fatalf("N: newcomer %d got number %d, the model says %d", i, k.number, m.issued)
		}
		m.hear(m.issued)
		m.quiet(k.visitor, k.number, min(m.limits.Idle, 2*m.limits.Claim), k.session)
	}
	m.after("join", h)
}

func (m *model) release(g *gateway) {
	m.Helper()
	m.step(g.read.Now)
	m.gateways[g] = told{g.limits, m.now}
	was := m.limits.Mode
	m.limits = g.limits
	for other, t := range m.gateways {
		if m.now.Sub(t.at) > 3*time.Second {
			delete(m.gateways, other)
			continue
		}
		m.limits.Capacity = lower(m.limits.Capacity, t.limits.Capacity)
		m.limits.RatePerHour = lower(m.limits.RatePerHour, t.limits.RatePerHour)
		if rank[t.limits.Mode] > rank[m.limits.Mode] {
			m.limits.Mode = t.limits.Mode
		}
	}
	if was == admission.ModeHold && m.limits.Mode != admission.ModeHold {
		m.creditLeast, m.creditMost = 0, 0
	}

	// Who waited when turns were given are those who wait now and those who
	// have got their turn.
	waited := map[int64]bool{}
	for _, n := range g.read.numbers(admission.MapWaiting) {
		waited[n] = true
	}
	fresh := int64(0)
	for _, c := range g.read.Claims {
		if _, known := m.turns[c.Number]; !known {
			fresh++
			waited[c.Number] = true
		}
	}
	for n := range max(m.issued, g.read.Issued) + 1 {
		switch {
		case m.mustBePresent(n) && !waited[n]:
			m.Fatalf("P: number %d was heard %v ago and does not wait", n, m.now.Sub(m.sure[n]))
		case waited[n] && !m.mayBePresent(n):
			m.Fatalf("P: number %d waits; off %v, last heard %v ago", n, m.off[n], m.now.Sub(m.maybe[n]))
		}
	}
	least, most := m.free()
	if all := int64(len(waited)); fresh < min(least, all) || fresh > min(most, all) {
		m.Fatalf("R: %d turns given of %d who waited, the model says %d to %d", fresh, all, min(least, all), min(most, all))
	}
	for _, c := range g.read.Claims { // that these are the lowest, the record has checked
		if _, known := m.turns[c.Number]; !known {
			m.charge(c.Number)
			m.turns[c.Number] = m.claims.Add(m.limits.Claim)
		}
		if want := m.now + m.turns[c.Number] - m.claims; c.Until != want {
			m.Fatalf("the claim of number %d ends in %v, the model says %v", c.Number, c.Until.Sub(m.now), want.Sub(m.now))
		}
	}
	m.after("release", g.read.Head)
}

var rank = map[admission.Mode]int{admission.ModeOpen: 0, admission.ModeAuto: 1, admission.ModeHold: 2, admission.ModeClosed: 3}

func lower(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

func (m *model) knock(h admission.Head, k *ticket, e admission.Entry) {
	m.Helper()
	m.step(h.Now)
	want := admission.EntryWaiting
	session, inside := m.inside[k.visitor]
	_, turn := m.turns[k.number]
	switch usable := m.limits.Mode != admission.ModeHold && (m.limits.Capacity == 0 || int64(len(m.inside)) < m.limits.Capacity); {
	case m.ended[k.visitor]:
		want = admission.EntryGone
	case inside:
		want = admission.EntryAdmitted
		if e.Admission != session {
			m.Fatalf("A: %s has the session\n%+v, the model says\n%+v", k.visitor, e.Admission, session)
		}
	case k.number == 0 || k.epoch != m.epoch || k.number > m.issued || m.done[k.number]:
		want = admission.EntryGone
	case turn && usable:
		want = admission.EntryAdmitted
		if e.Outcome == want {
			delete(m.turns, k.number)
			m.admit(k.visitor, k.number, m.limits.Idle, e.Admission)
		}
	case turn:
	case k.number <= h.Lost && !m.mustBePresent(k.number) && (!m.mayBePresent(k.number) || e.Outcome == admission.EntryGone):
		want = admission.EntryGone
	default:
		delete(m.off, k.number)
		m.hear(k.number)
		m.quiet(k.visitor, k.number, m.limits.Idle, e.Admission)
		want = e.Outcome
		if want == admission.EntryGone {
			want = admission.EntryWaiting
		}
	}
	m.want(k, e, want)
	m.after("knock", h)
}

// want is the gateways' own, for any of them.
func (m *model) want(k *ticket, e admission.Entry, want admission.Outcome) {
	m.Helper()
	m.gates[0].want(k, e, want)
}

func (m *model) renew(h admission.Head, k *ticket, e admission.Entry) {
	m.Helper()
	m.step(h.Now)
	session, inside := m.inside[k.visitor]
	if !inside || m.ended[k.visitor] {
		m.want(k, e, admission.EntryGone)
		m.after("renew", h)
		return
	}
	session.Until = max(session.Until, min(m.now.Add(m.limits.Idle), session.Max))
	if e.Outcome != admission.EntryAdmitted || e.Admission != session {
		m.Fatalf("A: renewed to\n%+v, the model says\n%+v", e, session)
	}
	m.inside[k.visitor], m.end[k.visitor] = session, session.Until.Add(admission.SessionGrace)
	m.after("renew", h)
}

func (m *model) leave(h admission.Head, k *ticket) {
	m.Helper()
	m.step(h.Now)
	if _, inside := m.inside[k.visitor]; inside {
		m.ended[k.visitor] = true
		m.end[k.visitor] = min(m.end[k.visitor], m.now.Add(2*admission.Tick))
	}
	if k.epoch == m.epoch && k.number > 0 && k.number <= m.issued {
		delete(m.turns, k.number)
		m.off[k.number], m.done[k.number] = true, true
	}
	m.after("leave", h)
}

func (m *model) present(h admission.Head, numbers []int64) {
	m.Helper()
	m.step(h.Now)
	for _, n := range numbers {
		switch {
		case n < 1 || n > m.issued || m.off[n]:
		case n > h.Lost || m.mustBePresent(n):
			m.hear(n)
		case m.mayBePresent(n):
			m.maybe[n] = m.now
		}
	}
	m.after("present", h)
}

func (m *model) reset(h admission.Head) {
	m.Helper()
	m.step(h.Now)
	m.epoch++
	m.issued, m.released, m.lost = 0, 0, 0
	m.passed = nil
	m.sure, m.maybe = map[int64]admission.Instant{}, map[int64]admission.Instant{}
	m.off, m.done, m.turns = map[int64]bool{}, map[int64]bool{}, map[int64]admission.Instant{}
	m.after("reset", h)
}

// crashed takes in what a store kept over a crash: all there was, but for
// credit, and with sessions that last their idle time anew.
func (m *model) crashed(g *gateway) {
	m.Helper()
	m.forgive(m.now)
	m.creditLeast = 0
	for visitor, a := range m.inside {
		if !m.ended[visitor] {
			a.Until = max(a.Until, min(m.now.Add(m.limits.Idle), a.Max))
			m.inside[visitor], m.end[visitor] = a, a.Until.Add(admission.SessionGrace)
		}
	}
	m.gateways = map[*gateway]told{}
	for _, c := range g.read.Claims { // the claim clock may have been kept a little earlier
		if until, known := m.turns[c.Number]; known {
			if left := c.Until - m.now; left < until-m.claims || left > admission.Instant(m.limits.Claim.Microseconds()) {
				m.Fatalf("the claim of number %d had %v left, and has %v after a crash", c.Number, (until - m.claims).Sub(0), left.Sub(0))
			}
			m.turns[c.Number] = m.claims + c.Until - m.now
		}
	}
	m.release(g)
}
