package admissiontest

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// rig drives one line as gateways do in life: it ticks, polls for the visitors
// that stay, and brings a settling line what each gateway remembers. A record
// checks every answer.
type rig struct {
	reporter
	bench  Bench
	line   admission.LineID
	step   time.Duration // of pass; a tick unless a case says otherwise
	passed time.Duration
	polled time.Duration // when the visitors were last polled for
	gates  []*gateway
	stay   map[int64]bool // numbers whose visitors keep polling
	named  int            // visitors made so far
	record *record
	said   func(format string, args ...any) // hears every answer; nil: nobody does
}

// gateway is what one gateway knows of the line.
type gateway struct {
	*rig
	name    string
	limits  admission.Limits
	floor   admission.Floor
	off     bool // makes no calls of its own
	mute    bool // brings a settling line nothing
	read    reading
	whole   reading // the last before the line settled: what it says since is no memory of it
	settles bool
	inside  map[string]admission.Admission // sessions it has seen
	ended   map[string]admission.Instant
	spent   map[string]admission.Spent
}

// reading is a gateway's picture of the line.
type reading struct {
	admission.Line
	maps [3]map[int64]uint64 // by Map: words by number/64
}

// ticket is what a visitor holds.
type ticket struct {
	visitor       string
	number, epoch int64 // while indexed, number is the index plus one
	indexed       bool
	pass          admission.Pass // in place of a number
	session       admission.Admission
	signed        admission.Instant // of the admission token
}

func newRig(t reporter, bench Bench, limits admission.Limits) *rig {
	t.Helper()
	r := &rig{
		reporter: t, bench: bench, line: admission.LineID{Tenant: "test", Activity: 1},
		step: admission.Tick, stay: map[int64]bool{}, record: newRecord(t),
	}
	r.gateway(limits)
	return r
}

// gateway adds a gateway; the first is gates[0].
func (r *rig) gateway(limits admission.Limits) *gateway {
	g := &gateway{
		rig: r, name: fmt.Sprintf("g%d", len(r.gates)+1), limits: limits,
		inside: map[string]admission.Admission{}, ended: map[string]admission.Instant{},
		spent: map[string]admission.Spent{},
	}
	r.gates = append(r.gates, g)
	return g
}

// openRig returns a rig whose line is ready to give numbers, and its gateway.
func openRig(t reporter, bench Bench, limits admission.Limits) (*rig, *gateway) {
	t.Helper()
	r := newRig(t, bench, limits)
	r.settle()
	return r, r.gates[0]
}

// settle ticks until the line is whole.
func (r *rig) settle() admission.Head {
	r.Helper()
	var head admission.Head
	for range 5 * time.Second / admission.Tick {
		head = r.tick()
		if !head.Settling {
			return head
		}
		r.advance(admission.Tick)
	}
	r.Fatalf("the line still settles after 5 s")
	return head
}

func (r *rig) advance(d time.Duration) {
	r.bench.Advance(d)
	r.passed += d
}

// tick lets each gateway release once, and returns what the last one read.
func (r *rig) tick() (head admission.Head) {
	r.Helper()
	for _, g := range r.gates {
		if !g.off {
			head = g.release().Head
		}
	}
	return head
}

// pass lets time pass in steps of r.step, with all that gateways and the
// visitors who stay do meanwhile.
func (r *rig) pass(d time.Duration) (head admission.Head) {
	r.Helper()
	for end := r.passed + d; r.passed < end; {
		r.advance(min(r.step, end-r.passed))
		if r.passed-r.polled >= min(2*time.Second, r.gates[0].limits.Absence/4) {
			r.polled = r.passed
			r.poll()
		}
		head = r.tick()
	}
	return head
}

// poll marks the visitors who stay as heard from.
func (r *rig) poll() {
	r.Helper()
	for _, g := range r.gates {
		if !g.off {
			g.present(keys(r.stay)...)
			return
		}
	}
}

// keep lets the visitors of tickets poll from now on; closeTab ends that.
func (r *rig) keep(tickets ...*ticket) {
	for _, k := range tickets {
		r.stay[k.number] = true
	}
}

func (r *rig) closeTab(tickets ...*ticket) {
	for _, k := range tickets {
		delete(r.stay, k.number)
	}
}

func (r *rig) visitors(n int) []admission.Newcomer {
	newcomers := make([]admission.Newcomer, n)
	for i := range newcomers {
		r.named++
		newcomers[i].Visitor = fmt.Sprintf("v%d", r.named)
	}
	return newcomers
}

// crash kills the store and opens it again. A store of one process takes its
// gateway along; what that knew of sessions comes back with their tokens.
func (r *rig) crash() {
	r.Helper()
	r.bench.Crash()
	r.record.restarted()
	for _, g := range r.gates {
		if !r.bench.Shared {
			g.read = reading{}
		}
	}
}

// lose makes the store forget; the gateways live on.
func (r *rig) lose() {
	r.Helper()
	r.bench.Lose()
	r.record.lost()
}

func (g *gateway) call() admission.Call {
	return admission.Call{Line: g.line, Gateway: g.name, Floor: g.floor, Mapped: g.read.Draw.Mapped && g.read.Epoch == g.floor.Epoch}
}

func (g *gateway) lift(head admission.Head) {
	drawn := head.Drawn
	if head.Epoch == g.floor.Epoch {
		drawn = max(drawn, g.floor.Drawn)
	}
	if head.Floor.Above(g.floor) {
		g.floor = head.Floor
	}
	if head.Epoch == g.floor.Epoch {
		g.floor.Drawn = drawn
	}
}

// must fails the test on an error, and takes in the head.
func (g *gateway) must(verb string, head admission.Head, err error) {
	g.Helper()
	if err != nil {
		g.Fatalf("%s: %s after %v: %v", g.name, verb, g.passed, err)
	}
	g.lift(head)
	g.record.head(head)
	if g.said != nil {
		g.said("%s %s: %s", g.name, verb, g.record.plain(head))
	}
}

// join lets n new visitors join in one batch. It returns nil where the line
// took no one.
func (g *gateway) join(n int) []*ticket {
	g.Helper()
	return g.joinBatch(fmt.Sprintf("%s-%d", g.name, g.named), g.visitors(n))
}

func (g *gateway) joinBatch(batch string, newcomers []admission.Newcomer) []*ticket {
	g.Helper()
	head, given, err := g.bench.Store().Join(context.Background(), g.call(), batch, newcomers)
	g.must("join", head, err)
	if given == nil {
		return nil
	}
	if len(given) != len(newcomers) {
		g.Fatalf("join of %d visitors: %d places", len(newcomers), len(given))
	}
	g.record.joined(head, batch, newcomers, given)
	if g.said != nil {
		for i, p := range given {
			g.said("  %s is %s with number %d, an index %v, at position %d, %s, to come again in %v, full %v, spent %v",
				newcomers[i].Visitor, p.Visitor, p.Number, p.Indexed, p.Position, g.record.session(p.Admission), p.RetryAfter, p.Full, p.Spent)
		}
	}
	tickets := make([]*ticket, len(given))
	for i, p := range given {
		tickets[i] = &ticket{visitor: p.Visitor, number: p.Number, epoch: head.Epoch, indexed: p.Indexed}
		if p.Admission.Visitor != "" {
			tickets[i].number, tickets[i].indexed = p.Admission.Number, false
			g.admitted(tickets[i], head, p.Admission)
		}
	}
	return tickets
}

// wait lets n visitors join, who must all be held, and keeps them present.
func (g *gateway) wait(n int) []*ticket {
	g.Helper()
	tickets := g.join(n)
	if len(tickets) != n {
		g.Fatalf("join of %d visitors: %d places", n, len(tickets))
	}
	for _, k := range tickets {
		if k.inside() {
			g.Fatalf("number %d was admitted at once, want to wait", k.number)
		}
	}
	g.keep(tickets...)
	return tickets
}

// fill lets n visitors join, who must all be admitted at once, and uses their
// sessions so that they last the whole idle time.
func (g *gateway) fill(n int) []*ticket {
	g.Helper()
	tickets := g.join(n)
	if len(tickets) != n {
		g.Fatalf("join of %d visitors: %d places", n, len(tickets))
	}
	for _, k := range tickets {
		if !k.inside() {
			g.Fatalf("number %d was held, want to be admitted at once", k.number)
		}
		g.renew(k)
	}
	return tickets
}

func (k *ticket) inside() bool { return k.session.Visitor != "" }

func (g *gateway) admitted(k *ticket, head admission.Head, a admission.Admission) {
	if k.signed == 0 || a.Until != k.session.Until {
		k.signed = head.Now
	}
	k.session = a
	g.inside[k.visitor] = a
}

// release is one tick of this gateway, as it is in life.
func (g *gateway) release() admission.Line {
	g.Helper()
	was := g.read
	line := g.releaseSince(was.Version)
	if was.Version > 0 && (line.Epoch != was.Epoch || line.Born != was.Born || line.Version < was.Version) {
		line = g.releaseSince(0)
	}
	if !line.Settling || line.Closing {
		g.settles = false
	} else if !g.mute {
		if !g.settles {
			g.settles, g.whole = true, was
		}
		g.heal(g.memory(g.whole))
	}
	g.record.read(&g.read)
	if g.said != nil {
		g.said("  %s", g.record.lines(&g.read))
	}
	return line
}

// releaseSince reads what changed since a version.
func (g *gateway) releaseSince(since int64) admission.Line {
	g.Helper()
	line, err := g.bench.Store().Release(context.Background(), g.call(), g.limits, since)
	g.must("release", line.Head, err)
	if line.Settling || line.Version < since {
		for kind := range g.read.maps { // what was read before is still to be told
			g.read.maps[kind] = maps.Clone(g.read.maps[kind])
		}
	}
	g.read.update(line, since == 0)
	for _, e := range line.Ended {
		g.ended[e.Visitor] = e.Until
	}
	for _, s := range line.Spent {
		g.spends(s)
	}
	return line
}

func (v *reading) update(line admission.Line, all bool) {
	if all {
		v.maps = [3]map[int64]uint64{{}, {}, {}}
	}
	for _, p := range line.Pieces {
		for i, word := range p.Bits {
			v.maps[p.Map][p.From/64+int64(i)] = word
		}
	}
	v.Line = line
}

func (v *reading) has(kind admission.Map, n int64) bool {
	return n >= v.First && v.maps[kind][n/64]&(1<<(n%64)) != 0
}

// numbers returns the numbers of a map in order.
func (v *reading) numbers(kind admission.Map) (all []int64) {
	for w, word := range v.maps[kind] {
		for bit := range int64(64) {
			if word&(1<<bit) != 0 && w*64+bit >= v.First {
				all = append(all, w*64+bit)
			}
		}
	}
	slices.Sort(all)
	return all
}

// claim returns a number's turn.
func (v *reading) claim(n int64) (admission.Instant, bool) {
	for _, c := range v.Claims {
		if c.Number == n {
			return c.Until, true
		}
	}
	return 0, false
}

// memory is what this gateway remembers by an earlier reading.
func (g *gateway) memory(was reading) admission.Memory {
	m := admission.Memory{Now: was.Now, First: was.First, Released: was.Released, Seats: was.Seats(), Pieces: pieces(was), Overrides: was.Overrides, Draw: was.Draw}
	for _, visitor := range keys(g.inside) {
		a := g.inside[visitor]
		if until, gone := g.ended[visitor]; gone {
			m.Ended = append(m.Ended, admission.Ended{Visitor: visitor, Until: until})
		} else if a.Until > g.record.now {
			m.Sessions = append(m.Sessions, a)
		}
	}
	for _, pass := range keys(g.spent) {
		m.Spent = append(m.Spent, g.spent[pass])
	}
	return m
}

func pieces(was reading) (all []admission.Piece) {
	for kind, words := range was.maps {
		of := map[int64][]uint64{}
		for w, word := range words {
			grain := w * 64 / admission.PieceNumbers
			if of[grain] == nil {
				of[grain] = make([]uint64, admission.PieceNumbers/64)
			}
			of[grain][w%(admission.PieceNumbers/64)] = word
		}
		for _, grain := range keys(of) {
			all = append(all, admission.Piece{Map: admission.Map(kind), From: grain * admission.PieceNumbers, Bits: of[grain]})
		}
	}
	return all
}

func (g *gateway) heal(m admission.Memory) admission.Head {
	g.Helper()
	head, err := g.bench.Store().Heal(context.Background(), g.call(), m)
	g.must("heal", head, err)
	return head
}

// present marks numbers as heard from.
func (g *gateway) present(numbers ...int64) admission.Head {
	g.Helper()
	of := map[int64][]uint64{}
	for _, n := range numbers {
		grain := n / admission.PieceNumbers
		if of[grain] == nil {
			of[grain] = make([]uint64, admission.PieceNumbers/64)
		}
		of[grain][n%admission.PieceNumbers/64] |= 1 << (n % 64)
	}
	var heard []admission.Piece
	for _, grain := range keys(of) {
		heard = append(heard, admission.Piece{Map: admission.MapWaiting, From: grain * admission.PieceNumbers, Bits: of[grain]})
	}
	head, err := g.bench.Store().Present(context.Background(), g.call(), heard)
	g.must("present", head, err)
	return head
}

// knock asks to enter with a queue token.
func (g *gateway) knock(k *ticket) admission.Entry {
	g.Helper()
	return g.ask(k, admission.Knock{Visitor: k.visitor, Number: k.number, Epoch: k.epoch})
}

// show asks with an admission token.
func (g *gateway) show(k *ticket) admission.Entry {
	g.Helper()
	return g.ask(k, admission.Knock{Visitor: k.visitor, Number: k.number, Epoch: k.epoch, Signed: k.signed, Max: k.session.Max})
}

func (g *gateway) ask(k *ticket, knock admission.Knock) admission.Entry {
	g.Helper()
	head, entries, err := g.bench.Store().Admit(context.Background(), g.call(), []admission.Knock{knock})
	g.must("admit", head, err)
	if len(entries) != 1 {
		g.Fatalf("one knock: %d entries", len(entries))
	}
	g.record.entered(head, knock, entries[0])
	if g.said != nil {
		g.said("  %s is %s, %s", knock.Visitor, outcomes[entries[0].Outcome], g.record.session(entries[0].Admission))
		g.said("  holder %d, called %v, %d uses taken", entries[0].Position, entries[0].Called, entries[0].Spent.Uses)
	}
	if entries[0].Outcome == admission.EntryAdmitted {
		g.admitted(k, head, entries[0].Admission)
	}
	if entries[0].Spent.Uses > 0 {
		g.spends(entries[0].Spent)
	}
	return entries[0]
}

// spends takes in what a gateway is told of the uses of a pass.
func (g *gateway) spends(s admission.Spent) {
	known := g.spent[s.Pass]
	s.Uses, s.Until = max(s.Uses, known.Uses), max(s.Until, known.Until)
	g.spent[s.Pass] = s
}

// holder is a new visitor with a pass.
func (r *rig) holder(pass admission.Pass) *ticket {
	return &ticket{visitor: r.visitors(1)[0].Visitor, pass: pass}
}

// redeem asks to enter by a pass.
func (g *gateway) redeem(k *ticket) admission.Entry {
	g.Helper()
	return g.ask(k, admission.Knock{Visitor: k.visitor, Pass: k.pass})
}

// awaited asks whether a holder may enter, and does not.
func (g *gateway) awaited(k *ticket) admission.Entry {
	g.Helper()
	return g.ask(k, admission.Knock{Visitor: k.visitor, Pass: k.pass, Waits: true})
}

// wantRedeem redeems, and checks what became of it.
func (g *gateway) wantRedeem(k *ticket, want admission.Outcome) admission.Entry {
	g.Helper()
	e := g.redeem(k)
	g.want(k, e, want)
	return e
}

// enter knocks, and must be admitted.
func (g *gateway) enter(k *ticket) admission.Admission {
	g.Helper()
	e := g.knock(k)
	g.want(k, e, admission.EntryAdmitted)
	return e.Admission
}

var outcomes = [...]string{"waiting", "admitted", "gone", "spent"}

func (g *gateway) want(k *ticket, e admission.Entry, want admission.Outcome) {
	g.Helper()
	if e.Outcome != want {
		g.Fatalf("after %v: number %d of %s is %s, want %s", g.passed, k.number, k.visitor, outcomes[e.Outcome], outcomes[want])
	}
}

// wantKnock knocks, and checks what became of it.
func (g *gateway) wantKnock(k *ticket, want admission.Outcome) {
	g.Helper()
	g.want(k, g.knock(k), want)
}

func (g *gateway) renew(k *ticket) admission.Entry {
	g.Helper()
	head, entries, err := g.bench.Store().Renew(context.Background(), g.call(), []string{k.visitor})
	g.must("renew", head, err)
	if len(entries) != 1 {
		g.Fatalf("renewal of one session: %d entries", len(entries))
	}
	g.record.renewed(head, k.visitor, entries[0])
	if g.said != nil {
		g.said("  %s is %s, %s", k.visitor, outcomes[entries[0].Outcome], g.record.session(entries[0].Admission))
	}
	switch entries[0].Outcome {
	case admission.EntryAdmitted:
		g.admitted(k, head, entries[0].Admission)
	case admission.EntryGone: // as a gateway in life does: no token of it passes
		g.ended[k.visitor] = k.session.Max
	}
	return entries[0]
}

// leave gives up session and place.
func (g *gateway) leave(k *ticket) admission.Head {
	g.Helper()
	departure := admission.Departure{Visitor: k.visitor, Number: k.number, Epoch: k.epoch}
	head, err := g.bench.Store().Leave(context.Background(), g.call(), []admission.Departure{departure})
	g.must("leave", head, err)
	g.record.left(k.visitor)
	if k.inside() {
		g.ended[k.visitor] = k.session.Max
	}
	g.closeTab(k)
	return head
}

// reset ends the epoch that the line has.
func (g *gateway) reset() admission.Head {
	g.Helper()
	return g.endEpoch(max(g.record.last.Epoch, g.floor.Epoch))
}

func (g *gateway) endEpoch(epoch int64) admission.Head {
	g.Helper()
	head, err := g.bench.Store().Reset(context.Background(), g.call(), epoch)
	g.must("reset", head, err)
	return head
}

// wantTurns checks that exactly these tickets have a turn.
func (g *gateway) wantTurns(tickets ...*ticket) {
	g.Helper()
	var got, want []int64
	for _, c := range g.read.Claims {
		got = append(got, c.Number)
	}
	for _, k := range tickets {
		want = append(want, k.number)
	}
	slices.Sort(got)
	slices.Sort(want)
	if !slices.Equal(got, want) {
		g.Fatalf("after %v: turns of %v, want %v", g.passed, got, want)
	}
}

func keys[K int64 | string, V any](m map[K]V) []K {
	all := make([]K, 0, len(m))
	for k := range m {
		all = append(all, k)
	}
	slices.Sort(all)
	return all
}
