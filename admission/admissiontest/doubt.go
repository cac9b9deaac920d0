package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// doubt holds a store to H: when in doubt, hold.
func doubt(t *testing.T, open Opener) {
	t.Run("WithoutLimitsNothingIsGiven", func(t *testing.T) {
		r := newRig(t, open(t), usual())
		g := r.gates[0]
		for range 40 {
			if given := g.join(1); given != nil {
				t.Fatalf("number %d given by a line whose limits nobody told", given[0].number)
			}
			k := &ticket{visitor: "v", number: 1, epoch: 1}
			if e := g.knock(k); e.Outcome == admission.EntryAdmitted {
				t.Fatal("admitted by a line whose limits nobody told")
			}
			r.advance(admission.Tick)
		}
	})

	t.Run("Held", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Mode = admission.ModeHold }))
		line := g.wait(5)
		head := r.pass(10 * time.Second)
		if head.Turned != 0 || !head.Paused() || head.Claimable() {
			t.Fatalf("a held line: %+v", head)
		}
		g.wantKnock(line[0], admission.EntryWaiting)
		g.limits.Mode = admission.ModeAuto
		r.pass(6 * time.Second)
		g.wantTurns(line...)
	})

	t.Run("HeldWithTurnsOutstanding", func(t *testing.T) {
		r, g1 := openRig(t, open(t), full())
		g2 := r.gateway(full())
		inside := g1.fill(1)
		k := g1.wait(1)[0]
		g1.leave(inside[0])
		r.pass(30 * time.Second)
		until, _ := g1.read.claim(k.number)
		left := until.Sub(g1.read.Now)
		g2.limits.Mode = admission.ModeHold // by one of two
		r.pass(5 * time.Minute)
		g1.wantKnock(k, admission.EntryWaiting)
		until, _ = g1.read.claim(k.number)
		if got := until.Sub(g1.read.Now); got < left-2*admission.Tick || got > left+2*admission.Tick {
			t.Fatalf("the claim had %v left at the pause, and %v five minutes into it", left, got)
		}
		g2.limits.Mode = admission.ModeAuto
		r.pass(left - time.Second)
		g1.enter(k)
	})

	t.Run("ShutByAll", func(t *testing.T) {
		r, g1 := openRig(t, open(t), full())
		g2 := r.gateway(full())
		inside := g1.fill(1)
		line := g1.wait(3)
		g1.leave(inside[0])
		r.pass(2 * time.Second)
		g1.wantTurns(line[0])
		until, _ := g1.read.claim(line[0].number)
		left := until.Sub(g1.read.Now)
		g1.limits.Shut, g2.limits.Shut = true, true
		head := r.pass(5 * time.Minute)
		if !head.Paused() || head.Claimable() || head.Turned != 2 {
			t.Fatalf("a line that all gateways shut: %+v", head)
		}
		g1.wantKnock(line[0], admission.EntryWaiting)
		until, _ = g1.read.claim(line[0].number)
		if got := until.Sub(g1.read.Now); got < left-3*admission.Tick || got > left+3*admission.Tick {
			t.Fatalf("the claim had %v left when the line was shut, and %v five minutes later", left, got)
		}
		g2.limits.Shut = false
		r.tick()
		g1.enter(line[0])
	})

	t.Run("ShutByOneOfTwo", func(t *testing.T) {
		r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 0 }))
		g2 := r.gateway(g1.limits)
		r.tick()
		g1.limits.Shut = true
		r.tick()
		g2.fill(10)
		g2.wait(5)
		if head := r.pass(5 * time.Second); head.Paused() || head.Turned != 15 {
			t.Fatalf("a line that one of two gateways shut: %+v", head)
		}
		g2.off = true // now it is the only one
		r.pass(4 * time.Second)
		if head := g1.release().Head; !head.Paused() {
			t.Fatalf("a line that the only gateway shut: %+v", head)
		}
	})

	t.Run("ALineThatWasShutSavesNoCredit", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.Burst = 0, 10 }))
		g.fill(10)
		g.wait(20)
		before := r.tick().Turned
		g.limits.Shut = true
		r.pass(time.Minute)
		g.limits.Shut = false
		if head := r.tick(); head.Turned != before {
			t.Fatalf("%d turns in the instant in which the line was open again", head.Turned-before)
		}
		if head := r.pass(3 * time.Second); head.Turned != before+3 {
			t.Fatalf("%d turns in the three seconds after, at 1/s", head.Turned-before)
		}
	})

	t.Run("ANewcomerWhoIsToWaitWaits", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		people := g.people("")
		people[0].Waits = true
		k := g.joinBatch("waits", people)[0]
		if k.number == 0 || k.inside() {
			t.Fatalf("the newcomer has %+v, want a place in line and no session", k)
		}
		g.keep(k)
		if again := g.joinBatch("waits", people)[0]; again.number != k.number || again.inside() {
			t.Fatalf("asked again, the newcomer has %+v", again)
		}
		r.tick()
		g.wantTurns(k)
		g.enter(k)
	})

	t.Run("Closed", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 1 }))
		inside := g.fill(1)
		line := g.wait(2)
		g.limits.Mode = admission.ModeClosed
		r.tick()
		if given := g.join(2); given != nil {
			t.Fatalf("a closed line gave number %d", given[0].number)
		}
		g.leave(inside[0])
		r.pass(2 * time.Second)
		g.wantTurns(line[0]) // who waits is still served
		g.enter(line[0])
		g.wantKnock(line[1], admission.EntryWaiting)
	})

	t.Run("BeforeTheStart", func(t *testing.T) {
		bench := open(t)
		_, probe := openRig(t, bench, usual())
		start := probe.read.Now.Add(time.Minute)
		r := newRig(t, bench, with(usual(), func(l *admission.Limits) { l.StartAt = start.Time() }))
		r.line.Activity = 2
		g := r.gates[0]
		r.settle()
		for r.record.now < start-1 {
			if given := g.join(1); given != nil {
				t.Fatalf("number %d given %v before the start", given[0].number, start.Sub(r.record.now))
			}
			r.pass(min(10*time.Second, (start - 1).Sub(r.record.now)))
		}
		if given := g.join(1); given != nil {
			t.Fatal("a number was given a microsecond before the start")
		}
		r.advance(time.Microsecond)
		if given := g.join(1); given == nil || !given[0].inside() {
			t.Fatal("nobody was let in at the start")
		}
	})

	t.Run("AStartThatIsPutOff", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		line := g.wait(2)
		g.limits.StartAt = r.record.now.Add(time.Minute).Time()
		r.tick()
		g.leave(inside[0])
		r.pass(50 * time.Second)
		g.wantTurns()
		g.wantKnock(line[0], admission.EntryWaiting)
		r.pass(12 * time.Second)
		g.wantTurns(line[0])
	})

	t.Run("AfterTheEnd", func(t *testing.T) {
		bench := open(t)
		_, probe := openRig(t, bench, usual())
		end := probe.read.Now.Add(time.Minute)
		r := newRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity, l.EndAt = 2, end.Time() }))
		r.line.Activity = 2
		g := r.gates[0]
		r.settle()
		inside := g.fill(2)
		line := g.wait(3)
		r.pass((end - 2_000_000).Sub(r.record.now))
		g.leave(inside[0])
		r.pass((end - 1).Sub(r.record.now))
		g.wantTurns(line[0])
		r.pass(time.Microsecond)
		if given := g.join(1); given != nil {
			t.Fatalf("number %d given at the end", given[0].number)
		}
		g.leave(inside[1])
		r.pass(5 * time.Second)
		g.wantTurns(line[0])
		g.enter(line[0]) // a turn given before the end is not taken back
		if e := g.knock(line[1]); e.Outcome == admission.EntryAdmitted {
			t.Fatal("admitted after the end without a turn")
		}
	})

	t.Run("ALateReadingIsNotATurn", func(t *testing.T) {
		// A turn that lapsed is worth nothing, though a gateway that has not
		// read the line since still shows it.
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.Claim = 3 * time.Second }))
		inside := g.fill(1)
		line := g.wait(2)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		r.advance(3 * time.Second)
		g.wantKnock(line[0], admission.EntryAdmitted) // lapsed, and first in line with a free seat: admitted again
		r.tick()
		g.wantTurns()
	})
}
