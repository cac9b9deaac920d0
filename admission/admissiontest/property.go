package admissiontest

import (
	"fmt"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/ropeline/ropeline/admission"
)

// Property runs random lives of a line against a model that is simple enough
// to be believed, and holds every answer to the invariants.
// -rapid.checks=N makes it longer.
func Property(t *testing.T, open Opener) {
	bench := open(t)
	activity := int64(0)
	rapid.Check(t, func(t *rapid.T) {
		activity++
		l := newLife(t, bench, activity)
		l.model = newModel(l.rig, l.rig.gates[0].read.Head)
		l.model.gateways[l.gates[0]] = told{l.gates[0].limits, l.record.now}
		all := deeds()
		if bench.Crash != nil {
			all = deeds("crash")
		}
		for range rapid.IntRange(1, longestLife).Draw(t, "length") {
			l.do(all.Draw(t, "deed"))
		}
	})
}

// Differential runs the same random lives on two stores, which must give the
// same answers, times counted from their first. To what Property does come
// identities, networks, an operator's decisions, draws and passes. Crashes are left out: what
// may be late in a file is different.
func Differential(t *testing.T, openA, openB Opener) {
	a, b := openA(t), openB(t)
	activity := int64(1 << 20)
	rapid.Check(t, func(t *rapid.T) {
		activity++
		script := make([]deed, rapid.IntRange(1, longestLife).Draw(t, "length"))
		for i := range script {
			script[i] = deeds("join known", "join known", "join known", "override", "crowd", "draw", "draw", "draw", "shut", "shut", "holder", "holder", "holder", "holder").Draw(t, "deed")
		}
		var transcripts [2][]string
		for i, bench := range []Bench{a, b} {
			l := newLife(t, bench, activity)
			l.said = func(format string, args ...any) {
				transcripts[i] = append(transcripts[i], fmt.Sprintf(format, args...))
			}
			for _, d := range script {
				l.do(d)
			}
		}
		for i, line := range transcripts[0] {
			if i >= len(transcripts[1]) || transcripts[1][i] != line {
				t.Fatalf("answer %d: one store says\n%s, the other\n%s", i, line, append(transcripts[1], "nothing")[min(i, len(transcripts[1]))])
			}
		}
		if len(transcripts[0]) != len(transcripts[1]) {
			t.Fatalf("one store gave %d answers, the other %d", len(transcripts[0]), len(transcripts[1]))
		}
	})
}

// longestLife is the most deeds of a life. A life takes some, before the rarer
// rules meet.
const longestLife = 150

// deed is one thing that happens in the life of a line.
type deed struct {
	Verb    string
	Gateway int
	Count   int
	Which   int // of the tickets there are, from the newest
	Wait    time.Duration
	Limits  admission.Limits
	Decides admission.Overrides
}

// GoString tells a deed in a line, for the report of a life that failed.
func (d deed) GoString() string {
	text := fmt.Sprintf("g%d %s", d.Gateway+1, d.Verb)
	switch d.Verb {
	case "join":
		return fmt.Sprintf("%s %d", text, d.Count)
	case "tick", "pass", "long pass", "outage":
		return fmt.Sprintf("%s %v", text, d.Wait)
	case "limits":
		return fmt.Sprintf("%s %s, capacity %d, rate %d/h", text, d.Limits.Mode, d.Limits.Capacity, d.Limits.RatePerHour)
	}
	if d.Verb == "draw" {
		return fmt.Sprintf("%s %d, in %v", text, d.Which, d.Wait)
	}
	if d.Verb == "crowd" {
		return fmt.Sprintf("%s: max queue %d, stop at %d times %+v", text, d.Limits.MaxQueue, d.Limits.StopAt, d.Limits.Stock)
	}
	if d.Verb == "shut" {
		return fmt.Sprintf("%s %v", text, d.Limits.Shut)
	}
	if d.Verb == "holder" {
		return fmt.Sprintf("%s %d, count %d", text, d.Which, d.Count)
	}
	if d.Verb == "override" {
		return fmt.Sprintf("%s %s", text, plainly(d.Decides))
	}
	return fmt.Sprintf("%s %d of %d", text, d.Which, d.Count)
}

var verbs = []string{
	// As often as in life: mostly time passes.
	"tick", "tick", "tick", "tick", "pass", "pass", "pass", "long pass", "outage",
	"join", "join", "join", "again", "poll", "poll", "poll", "knock", "knock", "knock", "enter", "enter", "enter",
	"show", "renew", "leave", "leave", "limits", "reset",
}

// deeds are of all verbs, and more.
func deeds(more ...string) *rapid.Generator[deed] {
	all := slices.Concat(verbs, more)
	return rapid.Custom(func(t *rapid.T) deed {
		d := deed{Verb: rapid.SampledFrom(all).Draw(t, "verb"), Gateway: rapid.IntRange(0, 2).Draw(t, "gateway")}
		switch d.Verb {
		case "join":
			d.Count = rapid.IntRange(1, 12).Draw(t, "count")
		case "tick", "pass":
			d.Wait = time.Duration(rapid.Int64Range(0, 9_000_000).Draw(t, "wait")) * time.Microsecond
		case "long pass":
			d.Wait = rapid.SampledFrom([]time.Duration{30 * time.Second, 70 * time.Second, 5 * time.Minute}).Draw(t, "wait")
		case "outage":
			d.Wait = rapid.SampledFrom([]time.Duration{11 * time.Second, time.Minute, 20 * time.Minute}).Draw(t, "wait")
		case "join known":
			d.Count, d.Which = rapid.IntRange(1, 4).Draw(t, "count"), rapid.IntRange(0, 30).Draw(t, "which")
		case "draw":
			d.Which = rapid.IntRange(0, 7).Draw(t, "which")
			d.Wait = time.Duration(rapid.Int64Range(1, 30_000_000).Draw(t, "wait")) * time.Microsecond
		case "override":
			if rapid.Bool().Draw(t, "decides") {
				d.Decides.Mode = rapid.SampledFrom([]admission.Mode{"", "", admission.ModeAuto, admission.ModeHold, admission.ModeClosed, admission.ModeOpen}).Draw(t, "mode")
				d.Decides.Capacity = rapid.Ptr(rapid.Int64Range(0, 8), true).Draw(t, "capacity")
				d.Decides.RatePerHour = rapid.Ptr(rapid.SampledFrom([]int64{0, 360, 7001, 360_000}), true).Draw(t, "rate")
				d.Decides.Left = rapid.Ptr(rapid.Int64Range(0, 6), true).Draw(t, "left")
				d.Decides.Message = rapid.Ptr(rapid.SampledFrom([]string{"", "soon"}), true).Draw(t, "message")
			}
		case "crowd":
			d.Limits.MaxQueue, d.Limits.StopAt = rapid.Int64Range(0, 9).Draw(t, "max queue"), rapid.Int64Range(0, 3).Draw(t, "stop at")
			if d.Limits.Stock.Counted = rapid.Bool().Draw(t, "counted"); d.Limits.Stock.Counted {
				d.Limits.Stock.Left = rapid.Int64Range(0, 6).Draw(t, "stock")
			}
		case "holder":
			d.Which, d.Count = rapid.IntRange(0, 29).Draw(t, "which"), rapid.IntRange(0, 9).Draw(t, "count")
		case "shut":
			d.Limits.Shut = rapid.Bool().Draw(t, "shut")
		case "poll":
			d.Count, d.Which = rapid.IntRange(1, 30).Draw(t, "count"), rapid.IntRange(0, 40).Draw(t, "which")
		case "limits":
			d.Limits = lifeLimits()
			d.Limits.Capacity = rapid.Int64Range(0, 8).Draw(t, "capacity")
			d.Limits.RatePerHour = rapid.SampledFrom([]int64{0, 360, 3600, 7001, 36000}).Draw(t, "rate")
			d.Limits.Mode = rapid.SampledFrom([]admission.Mode{admission.ModeAuto, admission.ModeAuto, admission.ModeHold, admission.ModeClosed}).Draw(t, "mode")
		default:
			d.Which = rapid.IntRange(0, 60).Draw(t, "which")
		}
		return d
	})
}

func lifeLimits() admission.Limits {
	return admission.Limits{
		Mode: admission.ModeAuto, Capacity: 4, RatePerHour: 3600, Burst: 3,
		Claim: 15 * time.Second, Absence: 20 * time.Second, HoldPlace: 2 * time.Minute,
		Idle: 40 * time.Second, Max: 3 * time.Minute,
		JoinsPerHour: 720, JoinBurst: 4,
	}
}

// life is the life of one line: its visitors, and the model where there is one.
type life struct {
	*rig
	model   *model
	tickets []*ticket
	batches []batch
	holders []*ticket
}

type batch struct {
	id        string
	newcomers []admission.Newcomer
	given     []*ticket
	at        time.Duration
	epoch     int64
}

func newLife(t reporter, bench Bench, activity int64) *life {
	t.Helper()
	r := newRig(t, bench, lifeLimits())
	r.line.Activity = activity
	r.settle()
	r.pass(5*time.Second - r.passed) // a line that settles first is no younger than another
	r.gateway(lifeLimits())
	r.gateway(lifeLimits())
	return &life{rig: r}
}

// do does one deed and holds the answer against the model.
func (l *life) do(d deed) {
	l.Helper()
	g := l.gates[d.Gateway]
	var k *ticket
	if len(l.tickets) > 0 {
		k = l.tickets[max(0, len(l.tickets)-1-d.Which)]
	}
	switch d.Verb {
	case "tick":
		l.advance(d.Wait)
		l.release(g)
	case "pass":
		l.advance(d.Wait)
	case "long pass":
		for end := l.passed + d.Wait; l.passed < end; {
			l.advance(2 * time.Second)
			l.release(l.gates[0])
		}
	case "outage":
		l.advance(d.Wait)
		l.release(g)
	case "limits":
		g.limits = d.Limits
		l.release(g)
	case "crowd":
		g.limits.MaxQueue, g.limits.StopAt, g.limits.Stock = d.Limits.MaxQueue, d.Limits.StopAt, d.Limits.Stock
		l.release(g)
	case "shut":
		g.limits.Shut = d.Limits.Shut
		l.release(g)
	case "join":
		b := batch{id: fmt.Sprintf("%s-%d", g.name, l.named), newcomers: l.visitors(d.Count), at: l.passed}
		b.given = g.joinBatch(b.id, b.newcomers)
		if l.model != nil {
			l.model.join(l.record.last, b.newcomers, b.given)
		}
		if b.given != nil {
			b.epoch = b.given[0].epoch
			l.batches = append(l.batches, b)
			for _, k := range b.given {
				if k.number > 0 {
					l.tickets = append(l.tickets, k)
				}
			}
		}
	case "join known": // each of one of five people, from one of two networks or from nowhere
		b := batch{id: fmt.Sprintf("%s-%d", g.name, l.named), newcomers: l.visitors(d.Count), at: l.passed}
		for i := range b.newcomers {
			b.newcomers[i].Identity = []string{"", "a", "b", "c", "d", "e"}[(d.Which+i)%6]
			b.newcomers[i].Once = b.newcomers[i].Identity == "e"
			b.newcomers[i].Network = []string{"n", "m", ""}[(d.Which/6+i)%3]
		}
		if b.given = g.joinBatch(b.id, b.newcomers); b.given != nil {
			b.epoch = l.record.last.Epoch
			l.batches = append(l.batches, b)
		}
		for _, k := range b.given {
			if k.number > 0 {
				l.tickets = append(l.tickets, k)
			}
		}
	case "override":
		g.override(d.Decides)
	case "draw":
		l.draw(g, d)
	case "holder":
		l.passHolder(g, d)
	case "again":
		if len(l.batches) == 0 {
			return
		}
		b := l.batches[max(0, len(l.batches)-1-d.Which%3)]
		if l.passed-b.at >= time.Minute || b.epoch != l.record.last.Epoch {
			return
		}
		g.joinBatch(b.id, b.newcomers) // the record compares
		if l.model != nil {
			l.model.step(l.record.last.Now)
			l.model.after("join again", l.record.last)
		}
	case "poll":
		var numbers []int64
		for i := range d.Count {
			if at := len(l.tickets) - 1 - d.Which - i; at >= 0 {
				numbers = append(numbers, l.tickets[at].number)
			}
		}
		h := g.present(numbers...)
		if l.model != nil {
			l.model.present(h, numbers)
		}
	case "reset":
		if d.Which > 5 {
			return // seldom
		}
		h := g.reset()
		if l.model != nil {
			l.model.reset(h)
		}
	case "crash":
		l.crash(g)
	case "enter":
		l.release(g)
		claims := slices.SortedFunc(slices.Values(g.read.Claims), func(a, b admission.Claim) int { return int(a.Number - b.Number) })
		if len(claims) == 0 {
			return
		}
		for _, other := range l.tickets {
			if other.epoch == g.read.Epoch && other.number == claims[d.Which%len(claims)].Number {
				l.knock(g, other)
			}
		}
	}
	if k == nil {
		return
	}
	switch d.Verb {
	case "knock":
		l.knock(g, k)
	case "show":
		if k.inside() {
			e := g.show(k)
			if l.model != nil {
				l.model.knock(l.record.last, k, e)
			}
		}
	case "renew":
		e := g.renew(k)
		if l.model != nil {
			l.model.renew(l.record.last, k, e)
		}
	case "leave":
		h := g.leave(k)
		if l.model != nil {
			l.model.leave(h, k)
		}
	}
}

// draw does something of a draw: plans one in a new epoch, or adds to the one
// there is.
func (l *life) draw(g *gateway, d deed) {
	l.Helper()
	sources := []string{"", "the lottery"}
	switch d.Which {
	case 0, 1:
		for _, g := range l.gates {
			g.limits.Draw, g.limits.Prequeue, g.limits.StartAt = true, 10*time.Second, l.record.now.Add(d.Wait).Time()
			l.release(g)
		}
		g.reset()
		g.pin("k1", sources[d.Which])
	case 2:
		g.pin("k2", sources[1])
	case 3:
		seen := slices.ContainsFunc(l.tickets, func(k *ticket) bool { return k.indexed && k.epoch == l.record.last.Epoch })
		g.add(admission.Drawing{Key: "k3", Indexed: seen})
	case 4:
		g.add(admission.Drawing{Beacon: "4 8 15"})
	case 5: // by what was read before
		g.add(numbered(lotsOf(l, max(1, g.read.Drawn)), g.read))
	default:
		l.release(g)
		lots := lotsOf(l, max(1, g.read.Drawn))
		if head := g.add(numbered(lots, g.read)); head.Draw.Mapped && !g.read.Draw.Mapped {
			var now []*ticket
			for _, k := range l.tickets {
				if k.epoch == head.Epoch {
					now = append(now, k)
				}
			}
			l.drawn(lots, now...)
			l.release(g)
		}
	}
}

// passHolder has a holder of one of three passes do something; Which tells who,
// a new one if it is low, and Count what.
func (l *life) passHolder(g *gateway, d deed) {
	l.Helper()
	if d.Which < 9 || len(l.holders) == 0 {
		l.holders = append(l.holders, l.holder(admission.Pass{
			ID: []string{"one", "few", "many"}[d.Which%3], Uses: []int64{1, 3, 40}[d.Which%3],
			Until: l.record.first.Add(24 * time.Hour), Early: d.Which%2 == 0,
		}))
	}
	k := l.holders[max(0, len(l.holders)-1-d.Which/2)]
	switch d.Count {
	case 0:
		g.leave(k)
	case 1, 2, 3:
		g.awaited(k)
	default:
		g.redeem(k)
	}
}

func (l *life) release(g *gateway) {
	l.Helper()
	g.release()
	if l.model != nil {
		l.model.release(g)
	}
}

func (l *life) knock(g *gateway, k *ticket) {
	l.Helper()
	e := g.knock(k)
	if l.model != nil {
		l.model.knock(l.record.last, k, e)
	}
}

// crash kills the store when all that may be late is written. It is the
// model's alone: a store that heals after a crash begins another line.
func (l *life) crash(g *gateway) {
	l.Helper()
	l.release(g)
	nobody := &ticket{visitor: "nobody"}
	l.model.leave(g.leave(nobody), nobody)
	born := l.record.last.Born
	l.rig.crash()
	l.batches = nil
	g.release()
	if l.record.last.Born != born || l.record.last.Settling {
		l.settle()
		return
	}
	l.model.crashed(g)
}
