package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// sessions holds a store to A: admitting again, before the session ends, gives
// the same session with the same end, and a used number buys nothing.
func sessions(t *testing.T, open Opener) {
	t.Run("AskedAgainTheSameSessionWithTheSameEnd", func(t *testing.T) {
		r, g1 := openRig(t, open(t), full())
		g2 := r.gateway(full())
		inside := g1.fill(1)
		k := g1.wait(1)[0]
		g1.leave(inside[0])
		r.pass(time.Second)
		first := g1.enter(k)
		for _, g := range []*gateway{g1, g2, g1} { // the answer was lost on its way
			r.pass(7 * time.Second)
			if again := g.enter(k); again != first {
				t.Fatalf("the session was %+v, and asked again %+v", first, again)
			}
		}
		if head := r.tick(); head.Sessions != 1 || head.Admitted != 2 {
			t.Fatalf("asking again made %d sessions of %d admissions", head.Sessions, head.Admitted)
		}
	})

	t.Run("TheSessionOfAJoinIsGivenAgainToo", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		k := g.join(1)[0]
		first := k.session
		r.pass(20 * time.Second)
		if again := g.enter(k); again != first {
			t.Fatalf("the session was %+v, and asked again %+v", first, again)
		}
	})

	t.Run("ASessionLastsItsIdleTimeAndNoLongerThanItsMaximum", func(t *testing.T) {
		for _, c := range []struct{ idle, most time.Duration }{{10 * time.Minute, time.Hour}, {time.Hour, 10 * time.Minute}} {
			r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) {
				l.Capacity, l.Idle, l.Max, l.Claim = 1, c.idle, c.most, time.Minute
			}))
			inside := g.fill(1)
			k := g.wait(1)[0]
			g.leave(inside[0])
			r.pass(time.Second)
			a := g.enter(k)
			if got, want := a.Until.Sub(r.record.now), min(c.idle, c.most); got != want {
				t.Fatalf("idle %v, max %v: the session lasts %v", c.idle, c.most, got)
			}
			if got := a.Max.Sub(r.record.now); got != c.most {
				t.Fatalf("idle %v, max %v: the session lasts %v at most", c.idle, c.most, got)
			}
		}
	})

	t.Run("AUsedNumberBuysNoSecondSession", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Idle, l.Max = 30*time.Second, time.Minute }))
		k := g.fill(1)[0]
		r.pass(40 * time.Second)
		g.wantKnock(k, admission.EntryGone)
		g.present(k.number)
		r.pass(5 * time.Second)
		g.wantKnock(k, admission.EntryGone)
		g.want(k, g.show(k), admission.EntryGone) // nor does its admission token
	})

	t.Run("TwoHoldersOfANumberNeverShareASession", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		k := g.wait(1)[0]
		other := &ticket{visitor: "other", number: k.number, epoch: k.epoch}
		g.leave(inside[0])
		r.pass(time.Second)
		g.enter(k)
		g.wantKnock(other, admission.EntryGone)
		g.enter(k)
	})

	t.Run("WithoutATurnNoOneEnters", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		line := g.wait(3)
		for _, k := range line {
			g.wantKnock(k, admission.EntryWaiting)
		}
		g.leave(inside[0])
		r.pass(time.Second)
		for i := len(line) - 1; i > 0; i-- {
			g.wantKnock(line[i], admission.EntryWaiting)
		}
		g.enter(line[0])
	})

	t.Run("RenewalMovesTheEndWithinTheMaximumAndNeverBack", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		k := g.fill(1)[0]
		most := k.session.Max
		r.step = 2 * time.Second
		for range 11 {
			r.pass(5 * time.Minute)
			e := g.renew(k)
			g.want(k, e, admission.EntryAdmitted)
			if want := min(r.record.now.Add(10*time.Minute), most); e.Admission.Until != want || e.Admission.Max != most {
				t.Fatalf("renewed to %+v, want the end at %d and at most %d", e.Admission, want, most)
			}
		}
		g.limits.Idle = time.Second // a shorter idle time ends no session sooner
		r.tick()
		if e := g.renew(k); e.Admission.Until != most {
			t.Fatalf("a renewal moved the end from %d back to %d", most, e.Admission.Until)
		}
		r.pass(6 * time.Minute)
		g.want(k, g.renew(k), admission.EntryGone)
		g.wantKnock(k, admission.EntryGone)
	})

	t.Run("OnlyASessionIsRenewed", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		k := g.wait(1)[0]
		g.want(k, g.renew(k), admission.EntryGone)
		g.leave(inside[0])
		g.want(inside[0], g.renew(inside[0]), admission.EntryGone)
		r.pass(time.Second)
		g.want(k, g.renew(k), admission.EntryGone) // a turn is no session yet
	})

	t.Run("LeavingEndsTheSessionForEveryGateway", func(t *testing.T) {
		r, g1 := openRig(t, open(t), usual())
		g2 := r.gateway(usual())
		inside := g1.fill(3)
		r.tick()
		g1.leave(inside[1])
		r.tick()
		for _, g := range []*gateway{g1, g2} {
			until, gone := g.ended[inside[1].visitor]
			if !gone || len(g.ended) != 1 {
				t.Fatalf("%s heard that %v ended, want %s", g.name, g.ended, inside[1].visitor)
			}
			if until < inside[1].session.Max {
				t.Fatalf("%s may forget the session at %d, its last token can live until %d", g.name, until, inside[1].session.Max)
			}
		}
		late := r.gateway(usual()) // starts after, and reads everything
		r.pass(time.Second)
		if _, gone := late.ended[inside[1].visitor]; !gone {
			t.Fatal("a gateway that started later does not hear which sessions ended")
		}
		g2.want(inside[1], g2.show(inside[1]), admission.EntryGone)
	})

	t.Run("LeavingTwiceIsLeavingOnce", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 2 }))
		inside := g.fill(2)
		g.leave(inside[0])
		r.advance(admission.Tick)
		g.leave(inside[0])
		r.advance(admission.Tick)
		if line := g.release(); line.Sessions != 1 {
			t.Fatalf("%d sessions two ticks after one of two was left, and left again", line.Sessions)
		}
		g.leave(inside[0])
		r.pass(time.Second)
		if line := g.release(); line.Sessions != 1 || line.Issued != 2 {
			t.Fatalf("leaving again changed the line: %+v", line.Head)
		}
	})

	t.Run("AClaimLastsItsTimeAndLapses", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		line := g.wait(2)
		g.leave(inside[0])
		r.pass(500 * time.Millisecond)
		until, ok := g.read.claim(line[0].number)
		if got := until.Sub(g.read.Now); !ok || got != g.limits.Claim {
			t.Fatalf("a turn just given may be claimed for %v, want %v", got, g.limits.Claim)
		}
		r.pass(g.limits.Claim - admission.Tick)
		g.wantTurns(line[0])
		r.pass(admission.Tick)
		g.wantTurns(line[1])
		g.wantKnock(line[0], admission.EntryWaiting)
	})

	t.Run("ManyKnocksAreAnsweredInTheirOrder", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		line := g.wait(2)
		g.leave(inside[0])
		r.pass(time.Second)
		var knocks []admission.Knock
		asked := []*ticket{line[1], inside[0], line[0], {visitor: "nobody", number: 99, epoch: 1}}
		for _, k := range asked {
			knocks = append(knocks, admission.Knock{Visitor: k.visitor, Number: k.number, Epoch: k.epoch})
		}
		_, entries, err := g.bench.Store().Admit(t.Context(), g.call(), knocks)
		if err != nil {
			t.Fatal(err)
		}
		want := []admission.Outcome{admission.EntryWaiting, admission.EntryGone, admission.EntryAdmitted, admission.EntryGone}
		for i, e := range entries {
			g.want(asked[i], e, want[i])
		}
	})

	t.Run("ResetLeavesSessionsAndTheirSeats", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 2 }))
		inside := g.fill(2)
		g.wait(2)
		if head := g.reset(); head.Sessions != 2 {
			t.Fatalf("%d of two sessions are left after a reset", head.Sessions)
		}
		k := g.wait(1)[0] // number 1 of the new epoch, though the shop holds a number 1 of the old
		r.pass(5 * time.Second)
		g.wantTurns()
		first := inside[0].session
		if again := g.enter(inside[0]); again != first {
			t.Fatalf("the session was %+v, and after a reset %+v", first, again)
		}
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(k)
		g.enter(k)
	})
}
