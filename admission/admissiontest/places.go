package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// places holds a store to P: a place, once given, ends only by entering,
// leaving, hold_place or reset.
func places(t *testing.T, open Opener) {
	short := with(full(), func(l *admission.Limits) { l.Absence, l.HoldPlace = 20*time.Second, 5*time.Minute })

	t.Run("AbsentAfterOneWindowAtTheEarliestAndTwoAtTheLatest", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		r.pass(7 * time.Second) // somewhere in a window
		k := g.join(1)[0]
		r.pass(short.Absence)
		if !g.read.has(admission.MapWaiting, k.number) {
			t.Fatalf("number %d is absent %v after it was heard", k.number, short.Absence)
		}
		r.pass(short.Absence)
		if g.read.has(admission.MapWaiting, k.number) || g.read.Waiting != 0 {
			t.Fatalf("number %d is present %v after it was last heard", k.number, 2*short.Absence)
		}
		g.present(k.number)
		r.tick()
		if !g.read.has(admission.MapWaiting, k.number) || g.read.Waiting != 1 {
			t.Fatalf("number %d is absent after it was heard again", k.number)
		}
	})

	t.Run("WhoIsHeardInEachWindowStaysPresent", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		k := g.join(1)[0]
		for range 20 {
			r.pass(short.Absence - time.Second)
			if g.read.Waiting != 1 {
				t.Fatalf("absent after %v, though heard every %v", r.passed, short.Absence-time.Second)
			}
			g.present(k.number)
		}
	})

	t.Run("TheWindowGrowsWhereVisitorsAreToldToAskSeldom", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		g.join(3)
		r.pass(time.Second)
		g.limits.Absence = 5 * short.Absence
		r.pass(5*short.Absence - 2*time.Second)
		if g.read.Waiting != 3 {
			t.Fatalf("%d of 3 are present within a window that grew", g.read.Waiting)
		}
		r.pass(6 * short.Absence)
		if g.read.Waiting != 0 {
			t.Fatalf("%d of 3 are present two windows later", g.read.Waiting)
		}
	})

	t.Run("PresenceNeverMarksWhoIsNotWaiting", func(t *testing.T) {
		r, g := openRig(t, open(t), with(short, func(l *admission.Limits) { l.Capacity, l.Claim = 3, 30*time.Second }))
		inside := g.fill(3) // 1 to 3
		line := g.wait(4)   // 4 to 7
		g.leave(inside[0])
		g.leave(inside[1])
		r.pass(2 * time.Second) // 4 and 5 have turns
		g.enter(line[0])        // 4 is inside, 5 has a turn
		g.leave(line[2])        // 6 left
		g.present(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 100, 5000)
		r.tick()
		if got := g.read.numbers(admission.MapWaiting); len(got) != 1 || got[0] != line[3].number {
			t.Fatalf("%v wait after all numbers were told as heard, want %d alone", got, line[3].number)
		}
		r.pass(40 * time.Second) // 5 lapses, polling on
		g.present(line[1].number)
		r.pass(2 * time.Second)
		if g.read.has(admission.MapWaiting, line[1].number) {
			t.Fatal("a poll brought a lapsed number back: clients that never enter would hold seats for ever")
		}
		g.wantKnock(line[1], admission.EntryWaiting)
		r.tick()
		if !g.read.has(admission.MapWaiting, line[1].number) {
			t.Fatal("a protected request did not bring a lapsed number back")
		}
	})

	t.Run("PositionsCountThePresent", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		line := g.wait(50)
		g.closeTab(line[:30]...)
		r.pass(45 * time.Second)
		head, given, err := g.bench.Store().Join(t.Context(), g.call(), "positions", r.visitors(2))
		if err != nil || len(given) != 2 {
			t.Fatalf("join: %v, %v", given, err)
		}
		if given[0].Position != 21 || given[1].Position != 22 || head.Waiting != 22 {
			t.Fatalf("positions %d and %d of %d, want 21 and 22 of 22", given[0].Position, given[1].Position, head.Waiting)
		}
	})

	t.Run("AnAbsentPlaceIsLostHoldPlaceAfterItWasPassed", func(t *testing.T) {
		r, g := openRig(t, open(t), with(short, func(l *admission.Limits) { l.RatePerHour = 0 }))
		inside := g.fill(1)
		line := g.wait(10)
		g.closeTab(line[:5]...)
		r.pass(45 * time.Second)
		g.wantKnock(line[3], admission.EntryWaiting) // absent, and not passed yet
		r.pass(10 * time.Minute)
		g.wantKnock(line[4], admission.EntryWaiting) // however long
		r.pass(45 * time.Second)
		g.leave(inside[0])
		passed := r.passed
		for range 10 {
			r.pass(time.Second)
			if _, ok := g.read.claim(line[5].number); ok {
				break
			}
			passed = r.passed
		}
		r.pass(short.HoldPlace - (r.passed - passed) - time.Second)
		if g.read.Lost >= line[0].number {
			t.Fatalf("numbers to %d are lost before hold_place has passed", g.read.Lost)
		}
		g.wantKnock(line[0], admission.EntryWaiting) // back in time
		g.keep(line[0])
		r.pass(short.HoldPlace/10 + 2*time.Second)
		if g.read.Lost < line[4].number || g.read.Lost > line[5].number {
			t.Fatalf("numbers to %d are lost after hold_place, want %d or %d", g.read.Lost, line[4].number, line[5].number)
		}
		g.wantKnock(line[0], admission.EntryWaiting) // present, below lost
		g.wantKnock(line[1], admission.EntryGone)
		g.present(line[1].number, line[2].number) // nor does a poll bring it back
		r.tick()
		if g.read.has(admission.MapWaiting, line[1].number) {
			t.Fatal("a lost number waits again after a poll")
		}
		g.wantKnock(line[6], admission.EntryWaiting)
	})

	t.Run("WhoStaysKeepsThePlaceHoweverLongItWasPassed", func(t *testing.T) {
		r, g := openRig(t, open(t), with(short, func(l *admission.Limits) { l.Claim, l.RatePerHour = 10*time.Minute, 0 }))
		inside := g.fill(1)
		line := g.wait(5)
		g.closeTab(line[0], line[1])
		r.pass(45 * time.Second)
		g.leave(inside[0])
		r.pass(time.Second)
		g.enter(line[2]) // 2 and 3 are passed
		g.present(line[0].number)
		g.keep(line[0])
		r.step = time.Second
		r.pass(3 * short.HoldPlace)
		if g.read.Lost < line[1].number {
			t.Fatalf("numbers to %d are lost, want to %d at least", g.read.Lost, line[1].number)
		}
		g.wantKnock(line[1], admission.EntryGone)
		g.wantKnock(line[0], admission.EntryWaiting)
		g.leave(line[2])
		r.pass(2 * time.Second)
		g.wantTurns(line[0])
	})

	t.Run("ALapsedPlaceIsHeldAsLong", func(t *testing.T) {
		r, g := openRig(t, open(t), with(short, func(l *admission.Limits) { l.Claim, l.RatePerHour = 10*time.Second, 0 }))
		inside := g.fill(1)
		line := g.wait(3)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		r.pass(11 * time.Second)
		g.wantTurns(line[1])
		g.enter(line[1])
		r.pass(short.HoldPlace - 20*time.Second)
		g.wantKnock(line[0], admission.EntryWaiting)
		g.closeTab(line[0])
		r.pass(2*short.Absence + short.HoldPlace)
		g.wantKnock(line[0], admission.EntryGone)
	})

	t.Run("ALongPauseCostsNoOneThePlaceOrTheClaim", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		inside := g.fill(1)
		line := g.wait(3)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		g.limits.Mode = admission.ModeHold
		r.step = time.Second
		r.pass(2 * short.HoldPlace)
		g.wantTurns(line[0])
		g.wantKnock(line[0], admission.EntryWaiting)
		g.limits.Mode = admission.ModeAuto
		r.tick()
		g.enter(line[0])
		g.wantKnock(line[1], admission.EntryWaiting)
	})

	t.Run("AnOutageMakesNoOneAbsent", func(t *testing.T) {
		for _, away := range []time.Duration{11 * time.Second, time.Minute, time.Hour} {
			r, g := openRig(t, open(t), short)
			g.fill(1)
			line := g.wait(8)
			r.pass(30 * time.Second)
			g.closeTab(line...)
			r.pass(short.Absence / 2)
			r.advance(away) // no gateway came: nobody could be heard
			r.tick()
			r.pass(short.Absence - 2*time.Second) // visitors come back as their pages ask again
			if g.read.Waiting != 8 {
				t.Fatalf("%d of 8 are present within a window after an outage of %v", g.read.Waiting, away)
			}
			g.present(line[0].number)
			r.pass(short.Absence - time.Second)
			if g.read.Waiting != 1 {
				t.Fatalf("%d are present a window later, want the one that was heard", g.read.Waiting)
			}
		}
	})

	t.Run("AnOutageCostsNoOneThePlace", func(t *testing.T) {
		r, g := openRig(t, open(t), with(short, func(l *admission.Limits) { l.RatePerHour = 0 }))
		inside := g.fill(1)
		line := g.wait(3)
		g.closeTab(line[0])
		r.pass(45 * time.Second)
		g.leave(inside[0])
		r.pass(time.Second)
		g.enter(line[1])
		r.pass(time.Minute)
		r.advance(2 * short.HoldPlace) // the first was passed a minute ago, and cannot come back now
		r.tick()
		r.pass(short.Absence / 2)
		g.wantKnock(line[0], admission.EntryWaiting)
	})

	t.Run("LeavingGivesUpThePlaceAtOnce", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		line := g.wait(3)
		if head := g.leave(line[0]); head.Waiting != 2 {
			t.Fatalf("%d wait after one of three left", head.Waiting)
		}
		g.wantKnock(line[0], admission.EntryGone)
		g.leave(line[0])
		g.present(line[0].number)
		r.pass(time.Second)
		if g.read.Waiting != 2 {
			t.Fatalf("%d wait after one of three left twice", g.read.Waiting)
		}
	})

	t.Run("LeavingOfAnotherEpochOrOfNothingLeavesTheLineAlone", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		line := g.wait(3)
		for _, k := range []*ticket{
			{visitor: "a", number: line[0].number, epoch: line[0].epoch - 1},
			{visitor: "b", number: line[0].number, epoch: line[0].epoch + 1},
			{visitor: "c"}, {visitor: "d", number: 1000, epoch: line[0].epoch},
		} {
			if head := g.leave(k); head.Waiting != 3 || head.Sessions != 1 {
				t.Fatalf("departure %+v left %d waiting and %d inside", *k, head.Waiting, head.Sessions)
			}
		}
		g.keep(line...)
		r.pass(time.Second)
		if head, next := r.tick(), g.wait(1)[0].number; next != line[2].number+1 || head.Waiting != 3 {
			t.Fatalf("number %d given with %d waiting", next, head.Waiting)
		}
	})

	t.Run("ResetEndsEveryPlace", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		inside := g.fill(1)
		line := g.wait(5)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		g.reset()
		r.stay = map[int64]bool{}
		for _, k := range line {
			g.wantKnock(k, admission.EntryGone)
		}
		r.tick()
		g.wantTurns()
		g.fill(1) // the seat of the turn is free
		g.wait(2)
		for _, k := range line[:2] {
			g.wantKnock(k, admission.EntryGone) // the number is another visitor's now
		}
	})

	t.Run("NumbersFarBelowLostAreGone", func(t *testing.T) {
		r, g := openRig(t, open(t), with(short, func(l *admission.Limits) { l.RatePerHour, l.HoldPlace = 0, time.Minute }))
		inside := g.fill(1)
		var old []*ticket
		for range 30 {
			old = append(old, g.join(500)...)
		}
		r.step = time.Second
		r.pass(2*short.Absence + 2*time.Second)
		g.leave(inside[0])
		last := g.wait(1)[0]
		r.pass(3 * time.Second)
		g.enter(last)
		r.pass(5 * time.Minute)
		if g.read.Lost < old[len(old)-1].number {
			t.Fatalf("numbers to %d are lost, want to %d", g.read.Lost, old[len(old)-1].number)
		}
		for _, i := range []int{0, 1, 63, 64, 4000, len(old) - 1} {
			g.wantKnock(old[i], admission.EntryGone)
			g.present(old[i].number)
			g.leave(old[i])
		}
		r.tick()
		if g.read.Waiting != 0 {
			t.Fatalf("%d wait, want none", g.read.Waiting)
		}
		if fresh := r.gateway(g.limits).release(); fresh.First > fresh.Lost+1 {
			t.Fatalf("numbers below %d are forgotten, lost are those to %d", fresh.First, fresh.Lost)
		}
	})

	t.Run("WhatChangedSinceAReadingIsAllThatChanged", func(t *testing.T) {
		r, g := openRig(t, open(t), with(short, func(l *admission.Limits) { l.Capacity, l.RatePerHour = 3, 0 }))
		inside := g.fill(3)
		for i := range 40 {
			line := g.wait(7)
			g.leave(line[3])
			if i%5 == 0 {
				g.closeTab(line...)
			}
			if i < 3 {
				g.leave(inside[i])
			}
			r.pass(3 * time.Second)
			for _, c := range g.read.Claims {
				if c.Number%2 == 0 {
					g.knock(&ticket{visitor: "late", number: c.Number, epoch: g.read.Epoch})
				}
			}
		}
		r.tick()
		whole := r.gateway(g.limits)
		whole.release()
		for kind := range whole.read.maps {
			got, want := g.read.numbers(admission.Map(kind)), whole.read.numbers(admission.Map(kind))
			if len(got) != len(want) {
				t.Fatalf("map %d read change by change has %d numbers, read at once %d", kind, len(got), len(want))
			}
			for i := range got {
				if got[i] != want[i] {
					t.Fatalf("map %d read change by change has number %d, read at once %d", kind, got[i], want[i])
				}
			}
		}
	})

	t.Run("ACrashCostsNothing", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil {
			return
		}
		limits := with(short, func(l *admission.Limits) { l.Capacity = 4 })
		r, g := openRig(t, bench, limits)
		inside := g.fill(4)
		line := g.wait(10)
		g.leave(inside[0])
		g.leave(line[2])
		g.leave(inside[1])
		r.pass(2 * time.Second)
		g.wantTurns(line[0], line[1])
		entered := g.enter(line[0])
		g.closeTab(line[9])
		r.pass(5 * time.Second)

		r.crash()
		r.settle()
		r.tick()
		head := g.read.Head
		if head.Sessions != 3 || head.Waiting != 7 {
			t.Fatalf("after a crash %d sessions and %d waiting, want 3 and 7", head.Sessions, head.Waiting)
		}
		for _, n := range []*ticket{line[3], line[8], line[9]} {
			if !g.read.has(admission.MapWaiting, n.number) {
				t.Fatalf("number %d no longer waits after a crash", n.number)
			}
		}
		if again := g.enter(line[0]); again.Max != entered.Max || again.Until < entered.Until {
			t.Fatalf("the session was %+v, and after a crash %+v", entered, again)
		}
		g.wantKnock(line[2], admission.EntryGone)    // left
		g.wantKnock(inside[0], admission.EntryGone)  // left
		g.wantKnock(line[3], admission.EntryWaiting) // in line
		if k := g.join(1)[0]; k.inside() || k.number <= line[9].number {
			t.Fatalf("after a crash number %d was given, inside: %v", k.number, k.inside())
		}
		whole := r.gateway(limits) // started with it, and knows nothing
		whole.release()
		if _, gone := whole.ended[inside[0].visitor]; !gone {
			t.Fatal("after a crash a gateway does not hear of a session that was left: its token would pass")
		}
		if got := int64(len(whole.read.numbers(admission.MapWaiting))); got != head.Waiting+1 {
			t.Fatalf("after a crash a gateway reads %d waiting, the head counts %d", got, head.Waiting+1)
		}
		if !whole.read.has(admission.MapDone, line[2].number) {
			t.Fatal("after a crash a gateway does not hear which numbers are done")
		}
	})

	t.Run("ATurnOutlivesACrash", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil {
			return
		}
		r, g := openRig(t, bench, short)
		inside := g.fill(1)
		line := g.wait(2)
		g.leave(inside[0])
		for len(g.read.Claims) == 0 {
			r.advance(admission.Tick)
			r.tick()
		}
		released := g.read.Released
		r.crash() // in the moment in which it was answered
		r.settle()
		if g.read.Released < released {
			t.Fatalf("released was %d, and is %d after a crash", released, g.read.Released)
		}
		g.wantKnock(line[1], admission.EntryWaiting)
		r.pass(5 * time.Second)
		g.enter(line[0])
	})

	t.Run("ACrashMakesNoGhosts", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil {
			return
		}
		r, g := openRig(t, bench, short)
		inside := g.fill(1)
		line := g.wait(20)
		r.pass(10 * time.Second)
		g.closeTab(line[:19]...)
		r.pass(4 * short.Absence)
		if g.read.Waiting != 1 {
			t.Fatalf("%d wait, want one", g.read.Waiting)
		}
		g.leave(&ticket{visitor: "nobody"}) // what must last takes along what may be late
		r.crash()
		if head := r.settle(); head.Waiting != 1 {
			t.Fatalf("%d wait after a crash, want the one that was present before", head.Waiting)
		}
		g.leave(inside[0])
		r.pass(2 * time.Second)
		g.wantTurns(line[19])

		// Present at a crash, absent since, and another crash.
		late := g.wait(5)
		r.crash()
		r.settle()
		g.closeTab(late...)
		g.closeTab(line...)
		r.pass(4 * short.Absence)
		g.leave(&ticket{visitor: "nobody"})
		r.crash()
		if head := r.settle(); head.Waiting != 0 {
			t.Fatalf("%d wait after a second crash, and nobody was present before it", head.Waiting)
		}
	})

	t.Run("ASessionOutlivesACrashByItsIdleTime", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil || bench.Shared { // other gateways went on serving
			return
		}
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity, l.Idle, l.Max = 3, 5*time.Minute, 20*time.Minute }))
		inside := g.fill(2)
		r.pass(4 * time.Minute)
		g.renew(inside[1])
		r.advance(30 * time.Second)
		r.crash()
		r.settle()
		for _, k := range inside {
			e := g.show(k)
			g.want(k, e, admission.EntryAdmitted)
			if left := e.Admission.Until.Sub(r.record.now); left < g.limits.Idle-5*time.Second || e.Admission.Max != inside[0].session.Max {
				t.Fatalf("after a crash a session lasts %v, want its idle time anew: %+v", left, e.Admission)
			}
		}
		r.pass(14 * time.Minute)
		for _, k := range inside {
			g.renew(k)
		}
		r.pass(2*time.Minute + admission.SessionGrace)
		if g.read.Sessions != 0 {
			t.Fatalf("%d sessions live beyond their maximum after a crash", g.read.Sessions)
		}
	})
}
