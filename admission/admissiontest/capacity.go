package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// capacity holds a store to C: active sessions never exceed capacity, over all
// gateways; lowering it evicts no one. The record checks every answer of every
// case; here stand the cases that have broken it.
func capacity(t *testing.T, open Opener) {
	t.Run("ATurnIsASeat", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.Burst = 3, 100 }))
		inside := g.fill(3)
		line := g.wait(10)
		g.leave(inside[0])
		g.leave(inside[1])
		head := r.pass(5 * time.Second)
		if head.Turns != 2 || head.Sessions != 1 || head.Seats() != 3 {
			t.Fatalf("two of three seats came free: %+v", head)
		}
		g.enter(line[0])
		head = r.pass(5 * time.Second)
		if head.Turns != 1 || head.Sessions != 2 {
			t.Fatalf("one of two turns was taken: %+v", head)
		}
		if k := g.join(1)[0]; k.inside() {
			t.Fatal("a newcomer took the seat of a turn")
		}
	})

	t.Run("AReadyVisitorNeverFindsTheRoomFull", func(t *testing.T) {
		r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.Burst = 5, 100 }))
		g2 := r.gateway(g1.limits)
		inside := g1.fill(5)
		line := g2.wait(20)
		for _, k := range inside {
			g1.leave(k)
		}
		r.pass(5 * time.Second)
		g1.wantTurns(line[:5]...)
		for range 10 {
			g1.join(3) // a crowd at the door takes nothing from who is ready
			g2.release()
		}
		for _, k := range line[:5] {
			g1.enter(k)
		}
	})

	t.Run("NoLimitWhereCapacityIsZero", func(t *testing.T) {
		_, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.RatePerHour = 0, 0 }))
		g.fill(300)
	})

	t.Run("LoweringEvictsNoOneAndTurnsWait", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.Burst = 6, 100 }))
		inside := g.fill(6)
		line := g.wait(10)
		g.leave(inside[0])
		g.leave(inside[1])
		r.pass(2 * time.Second)
		g.wantTurns(line[0], line[1])
		g.limits.Capacity = 2
		r.tick()
		until, _ := g.read.claim(line[0].number)
		left := until.Sub(g.read.Now)
		g.keep(line...)
		head := r.pass(2 * g.limits.Claim) // longer than the claim: it stands still
		if head.Sessions != 4 || head.Turns != 2 || head.Claimable() {
			t.Fatalf("lowering capacity to 2 left %+v, want four sessions and two turns that wait", head)
		}
		g.wantKnock(line[0], admission.EntryWaiting)
		for _, k := range inside[2:] {
			if e := g.renew(k); e.Outcome != admission.EntryAdmitted {
				t.Fatalf("the session of number %d ended when capacity was lowered", k.number)
			}
		}
		g.limits.Capacity = 6
		r.tick()
		until, _ = g.read.claim(line[0].number)
		if got := until.Sub(g.read.Now); got < left-2*admission.Tick || got > left+2*admission.Tick {
			t.Fatalf("the claim had %v left when capacity was lowered, and %v when it was raised again", left, got)
		}
		g.enter(line[0])
		g.enter(line[1])
	})

	t.Run("ALoweredCapacityIsReachedBySessionsThatEnd", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Burst = 100 }))
		inside := g.fill(10)
		g.wait(10)
		g.limits.Capacity = 3
		for i, k := range inside[:8] {
			head := r.pass(2 * time.Second)
			if want := int64(max(10-i, 3)); head.Seats() != want {
				t.Fatalf("%d seats are taken after %d left, want %d", head.Seats(), i, want)
			}
			g.leave(k)
		}
	})

	t.Run("OfTwoGatewaysTheLowestCountsAtOnceAndARaiseWhenAllHaveIt", func(t *testing.T) {
		r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 6 }))
		g2 := r.gateway(g1.limits)
		r.pass(time.Second)
		g2.limits.Capacity = 2
		if line := g2.release(); line.Limits.Capacity != 2 {
			t.Fatalf("capacity %d in force after a cut to 2 by one gateway", line.Limits.Capacity)
		}
		if got := g1.release().Limits.Capacity; got != 2 {
			t.Fatalf("capacity %d in force for the other gateway after a cut to 2", got)
		}
		g1.limits.Capacity, g2.limits.Capacity = 8, 2
		if got := r.pass(5 * time.Second).Limits.Capacity; got != 2 {
			t.Fatalf("capacity %d in force after a raise by one of two gateways", got)
		}
		g2.limits.Capacity = 8
		if got := r.tick().Limits.Capacity; got != 8 {
			t.Fatalf("capacity %d in force after both gateways raised it to 8", got)
		}
	})

	t.Run("TheLimitsOfAGatewayThatIsGoneCountForThreeSeconds", func(t *testing.T) {
		r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 6 }))
		g2 := r.gateway(with(g1.limits, func(l *admission.Limits) { l.Capacity = 2 }))
		r.tick()
		g2.off = true
		if got := r.pass(2750 * time.Millisecond).Limits.Capacity; got != 2 {
			t.Fatalf("capacity %d in force 2.75 s after the last tick of the gateway that has 2", got)
		}
		if got := r.pass(time.Second).Limits.Capacity; got != 6 {
			t.Fatalf("capacity %d in force 3.75 s after the last tick of the gateway that had 2", got)
		}
	})

	t.Run("EveryLimitIsTheStricterOfTwo", func(t *testing.T) {
		later := time.Date(2040, 1, 2, 3, 4, 5, 0, time.UTC)
		r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) {
			l.MaxQueue, l.StopAt, l.Stock = 50, 0, admission.Stock{Counted: true, Left: 9}
		}))
		g2 := r.gateway(with(usual(), func(l *admission.Limits) {
			l.MaxQueue, l.StopAt, l.Stock = 40, 2, admission.Stock{Counted: true, Left: 8}
			l.Mode, l.Capacity, l.RatePerHour, l.Burst = admission.ModeHold, 3, 60, 2
			l.Claim, l.Absence, l.HoldPlace = time.Hour, time.Hour, time.Hour // kinder: a place shown is not taken
			l.Idle, l.Max, l.EndAt = time.Minute, 2*time.Minute, later
		}))
		r.tick()
		want := g2.limits
		if got := g1.release().Limits; got != want {
			t.Fatalf("limits in force:\n%+v, want\n%+v", got, want)
		}
	})

	t.Run("ALeftSessionFreesItsSeatTwoTicksLater", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 1 }))
		inside := g.fill(1)
		g.wait(1)
		g.leave(inside[0])
		g.wantKnock(inside[0], admission.EntryGone) // at once
		r.advance(2*admission.Tick - time.Millisecond)
		if line := g.release(); line.Sessions != 1 || line.Turns != 0 {
			t.Fatalf("the seat is free before every gateway can have heard: %+v", line.Head)
		}
		r.advance(time.Millisecond)
		if line := g.release(); line.Sessions != 0 || line.Turns != 1 {
			t.Fatalf("the seat is not free two ticks after: %+v", line.Head)
		}
	})

	t.Run("ASeatOutlivesItsTokenByFiveSeconds", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 1 }))
		k := g.fill(1)[0]
		g.wait(1)
		r.pass(k.session.Until.Sub(r.record.now) + admission.SessionGrace - time.Millisecond)
		if g.read.Sessions != 1 || g.read.Turns != 0 {
			t.Fatalf("the seat is free before its token can be dead everywhere: %+v", g.read.Head)
		}
		r.pass(time.Millisecond)
		if g.read.Sessions != 0 || g.read.Turns != 1 {
			t.Fatalf("the seat is not free five seconds after its token died: %+v", g.read.Head)
		}
	})

	t.Run("ASessionWhoseTokenNeverCameBackIsBrief", func(t *testing.T) {
		for _, c := range []struct{ idle, claim, want time.Duration }{
			{10 * time.Minute, 90 * time.Second, 3 * time.Minute},
			{time.Minute, 90 * time.Second, time.Minute},
		} {
			r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Idle, l.Claim = c.idle, c.claim }))
			k := g.join(1)[0]
			if got := k.session.Until.Sub(r.record.now); got != c.want {
				t.Fatalf("idle %v, claim %v: a session admitted at once lasts %v, want %v", c.idle, c.claim, got, c.want)
			}
			r.step = time.Second
			r.pass(c.want + admission.SessionGrace - time.Millisecond)
			if g.read.Sessions != 1 {
				t.Fatal("its seat came free before its token can be dead everywhere")
			}
			r.pass(time.Millisecond)
			if g.read.Sessions != 0 {
				t.Fatal("its seat is not free five seconds after its token died")
			}
		}
	})

	t.Run("AGivenUpTurnFreesItsSeat", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.RatePerHour = 0 }))
		inside := g.fill(1)
		line := g.wait(2)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		g.leave(line[0])
		r.pass(time.Second)
		g.wantTurns(line[1])
	})
}
