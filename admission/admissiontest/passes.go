package admissiontest

import (
	"context"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// passes holds a store to what is promised of passes: who holds one enters
// before all who wait, within capacity and rate, and it begins no more sessions
// than it has uses. That no pass is overspent the record checks in every case.
func passes(t *testing.T, open Opener) {
	pass := func(r *rig, id string, uses int64) admission.Pass {
		return admission.Pass{ID: id, Uses: uses, Until: r.record.now.Add(24 * time.Hour)}
	}
	early := func(p admission.Pass) admission.Pass {
		p.Early = true
		return p
	}

	t.Run("AHolderEntersAtOnceWhereASeatIsFree", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		before := g.release()
		e := g.wantRedeem(r.holder(pass(r, "staff", 5)), admission.EntryAdmitted)
		if e.Admission.Number != 0 || e.Spent.Uses != 1 {
			t.Fatalf("a holder entered by %+v, want no number and one use taken", e)
		}
		if after := g.release(); after.Sessions != 1 || after.Passed != 1 || after.Admitted != 1 || after.Issued != before.Issued {
			t.Fatalf("a holder who entered left the line at %+v, before %+v: want one session and no number", after.Head, before.Head)
		}
	})

	t.Run("AHolderEntersBeforeEverybodyWhoWaits", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.RatePerHour = 0 }))
		inside := g.fill(1)
		line := g.wait(5)
		r.pass(time.Second)
		k := r.holder(pass(r, "staff", 1))
		if e := g.wantRedeem(k, admission.EntryWaiting); e.Position != 1 || e.Called {
			t.Fatalf("a holder found no seat and is told %+v", e)
		}
		g.leave(inside[0])
		r.pass(5 * time.Second)
		g.wantTurns() // the seat is the holder's
		if newcomer := g.join(1)[0]; newcomer.inside() {
			t.Fatal("a newcomer was let in while a holder is awaited")
		}
		if e := g.awaited(k); !e.Called {
			t.Fatalf("a seat is free and a holder is told %+v", e)
		}
		g.wantRedeem(k, admission.EntryAdmitted)
		g.leave(k)
		r.pass(time.Second)
		g.wantTurns(line[0])
	})

	t.Run("HoldersEnterInTheOrderInWhichTheyCame", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.RatePerHour = 0 }))
		inside := g.fill(1)
		p := pass(r, "presale", 10)
		holders := []*ticket{r.holder(p), r.holder(p), r.holder(p)}
		for i, k := range holders {
			if e := g.wantRedeem(k, admission.EntryWaiting); e.Position != int64(i+1) {
				t.Fatalf("holder %d is told position %d", i+1, e.Position)
			}
		}
		for _, k := range holders {
			g.leave(inside[0])
			r.pass(time.Second)
			for _, later := range holders {
				if later != k && !later.inside() {
					g.wantRedeem(later, admission.EntryWaiting)
				}
			}
			g.wantRedeem(k, admission.EntryAdmitted)
			inside[0] = k
		}
	})

	t.Run("HoldersTakeOfCapacityAndRateLikeOthers", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Burst = 3 }))
		p := pass(r, "presale", 100)
		let := func() (inside int) {
			for range 20 {
				if g.redeem(r.holder(p)).Outcome == admission.EntryAdmitted {
					inside++
				}
			}
			return inside
		}
		if n := let(); n != 3 {
			t.Fatalf("%d of 20 holders entered at once, the burst is 3", n)
		}
		g.wait(1)      // no credit is left for the line
		for range 30 { // at a release a second the seats run out first
			r.pass(time.Second)
			for _, k := range []*ticket{r.holder(p), r.holder(p)} {
				g.redeem(k)
			}
		}
		if head := g.release().Head; head.Seats() > 10 {
			t.Fatalf("%d seats are taken of 10", head.Seats())
		}
	})

	t.Run("APassHasAsManyUsesAsItSays", func(t *testing.T) {
		for _, uses := range []int64{1, 4} {
			r, g := openRig(t, open(t), usual())
			p := pass(r, "code", uses)
			for range uses {
				g.wantRedeem(r.holder(p), admission.EntryAdmitted)
			}
			e := g.wantRedeem(r.holder(p), admission.EntrySpent)
			if e.Spent.Uses != uses {
				t.Fatalf("of a pass of %d uses %d are taken", uses, e.Spent.Uses)
			}
			g.wantRedeem(r.holder(pass(r, "another", 1)), admission.EntryAdmitted)
		}
	})

	t.Run("AskingAgainGivesTheSameSessionAndTakesNoOtherUse", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		k := r.holder(pass(r, "code", 1))
		first := g.wantRedeem(k, admission.EntryAdmitted).Admission
		r.pass(3 * time.Second)
		for range 3 { // the answers were lost
			if again := g.wantRedeem(k, admission.EntryAdmitted).Admission; again != first {
				t.Fatalf("a holder asked again and got %+v, first %+v", again, first)
			}
		}
		if head := g.release().Head; head.Sessions != 1 || head.Passed != 1 {
			t.Fatalf("a holder who asked four times left %+v", head)
		}
	})

	t.Run("AVisitorWhoLeftIsGone", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		k := r.holder(pass(r, "code", 5))
		g.wantRedeem(k, admission.EntryAdmitted)
		g.leave(k)
		g.wantRedeem(k, admission.EntryGone)
		if n := g.wantRedeem(r.holder(k.pass), admission.EntryAdmitted).Spent.Uses; n != 2 {
			t.Fatalf("%d uses are taken by two visitors", n)
		}
	})

	t.Run("AHolderWhoGoesAwayTakesNoUseAndHoldsTheLineUpForAClaim", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.RatePerHour = 0 }))
		inside := g.fill(1)
		line := g.wait(3)
		p := pass(r, "code", 1)
		g.wantRedeem(r.holder(p), admission.EntryWaiting)
		other := r.holder(p)
		g.wantRedeem(other, admission.EntrySpent) // the only use is held
		g.leave(inside[0])
		r.pass(g.limits.Claim - time.Second)
		g.wantTurns()
		r.pass(2 * time.Second)
		g.wantTurns(line[0])
		g.wantRedeem(other, admission.EntryWaiting) // the use is free again
	})

	t.Run("AHolderWhoKeepsAskingKeepsThePlace", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		g.fill(1)
		p := pass(r, "code", 2)
		first, second := r.holder(p), r.holder(p)
		g.awaited(first)
		g.awaited(second)
		for range 10 {
			r.pass(g.limits.Claim / 2)
			if e := g.awaited(second); e.Position != 2 {
				t.Fatalf("the second holder is told %+v", e)
			}
			if e := g.awaited(first); e.Position != 1 {
				t.Fatalf("the first holder is told %+v", e)
			}
		}
		g.leave(first)
		if e := g.awaited(second); e.Position != 1 {
			t.Fatalf("the first holder left, and the second is told %+v", e)
		}
	})

	t.Run("WhoOnlyAsksIsNotLetIn", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		k := r.holder(pass(r, "code", 1))
		e := g.awaited(k)
		g.want(k, e, admission.EntryWaiting)
		if !e.Called || e.Position != 1 || g.release().Passed != 0 {
			t.Fatalf("a holder who asks whether it may enter is told %+v", e)
		}
	})

	t.Run("BeforeTheStartOnlyByAPassThatSaysSo", func(t *testing.T) {
		bench := open(t)
		r := newRig(t, bench, usual())
		g := r.gates[0]
		r.settle()
		g.limits.StartAt = r.record.now.Add(time.Minute).Time()
		r.tick()
		p := pass(r, "code", 5)
		k := r.holder(p)
		if e := g.wantRedeem(k, admission.EntryWaiting); e.Position != 0 {
			t.Fatalf("before the start a holder is awaited: %+v", e)
		}
		g.wantRedeem(r.holder(early(p)), admission.EntryAdmitted)
		if given := g.join(1); given != nil {
			t.Fatal("a newcomer took a place before the start")
		}
		r.pass(time.Minute)
		g.wantRedeem(k, admission.EntryAdmitted)
	})

	t.Run("AnEarlyHolderLeavesTheIndexesOfADrawAlone", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		g.limits.Draw, g.limits.Prequeue, g.limits.StartAt = true, time.Minute, r.record.now.Add(time.Minute).Time()
		r.tick()
		g.pin("k1", "")
		joined := g.join(3)
		g.wantRedeem(r.holder(early(pass(r, "code", 1))), admission.EntryAdmitted)
		if next := g.join(1)[0]; next.number != joined[2].number+1 || !next.indexed {
			t.Fatalf("after three indexes and a holder %+v joined", next)
		}
	})

	t.Run("NoneEntersWhereTheLineLetsNoneIn", func(t *testing.T) {
		for _, c := range []struct {
			name   string
			change func(*admission.Limits)
		}{
			{"paused", func(l *admission.Limits) { l.Mode = admission.ModeHold }},
			{"closed", func(l *admission.Limits) { l.Mode = admission.ModeClosed }},
			{"shut", func(l *admission.Limits) { l.Shut = true }},
			{"sold out", func(l *admission.Limits) { l.Stock = admission.Stock{Counted: true} }},
			{"over", func(l *admission.Limits) { l.EndAt = time.Unix(1, 0).UTC() }},
		} {
			r, g := openRig(t, open(t), usual())
			g.limits = with(g.limits, c.change)
			r.tick()
			k := r.holder(early(pass(r, "code", 1)))
			if e := g.redeem(k); e.Outcome != admission.EntryWaiting || e.Called {
				t.Fatalf("%s: a holder is told %+v", c.name, e)
			}
			g.limits = usual()
			r.pass(4 * time.Second)
			g.wantRedeem(k, admission.EntryAdmitted)
		}
	})

	t.Run("APassThatHasEndedIsWorthNothing", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		p := admission.Pass{ID: "code", Uses: 9, Until: r.record.now.Add(time.Minute)}
		k := r.holder(p)
		session := g.wantRedeem(k, admission.EntryAdmitted).Admission
		r.pass(time.Minute)
		g.wantRedeem(r.holder(p), admission.EntrySpent)
		if again := g.wantRedeem(k, admission.EntryAdmitted).Admission; again != session {
			t.Fatalf("a session ended with its pass: %+v, before %+v", again, session)
		}
	})

	t.Run("APassThatWasRevokedIsWorthNothing", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.RatePerHour = 0 }))
		inside := g.fill(1)
		line := g.wait(1)
		p := pass(r, "code", 9)
		k := r.holder(p)
		g.wantRedeem(k, admission.EntryWaiting)
		head, err := g.bench.Store().Spend(context.Background(), g.call(), []admission.Spent{{Pass: "code", Uses: 9, Until: p.Until}})
		g.must("spend", head, err)
		g.leave(inside[0])
		g.wantRedeem(k, admission.EntrySpent)
		r.pass(time.Second)
		g.wantTurns(line[0])
		if g.spent["code"].Uses != 9 {
			t.Fatalf("a gateway read that %+v is used", g.spent["code"])
		}
		head, err = g.bench.Store().Spend(context.Background(), g.call(), []admission.Spent{{Pass: "code", Uses: 1, Until: p.Until}})
		g.must("spend", head, err)
		g.wantRedeem(r.holder(p), admission.EntrySpent) // it never becomes less
	})

	t.Run("AResetGivesNoUseBack", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		p := pass(r, "code", 1)
		g.wantRedeem(r.holder(p), admission.EntryAdmitted)
		g.reset()
		r.tick()
		g.wantRedeem(r.holder(p), admission.EntrySpent)
	})

	t.Run("UsesSurviveACrash", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil {
			return
		}
		r, g := openRig(t, bench, usual())
		p := pass(r, "code", 2)
		k := r.holder(p)
		session := g.wantRedeem(k, admission.EntryAdmitted).Admission
		r.crash()
		r.settle()
		if again := g.wantRedeem(k, admission.EntryAdmitted).Admission; again.Max != session.Max {
			t.Fatalf("after a crash a holder got another session: %+v, before %+v", again, session)
		}
		r.pass(5 * time.Second)
		g.wantRedeem(r.holder(p), admission.EntryAdmitted)
		g.wantRedeem(r.holder(p), admission.EntrySpent)
	})

	t.Run("UsesSurviveALossByWhatGatewaysRemember", func(t *testing.T) {
		bench := open(t)
		if bench.Lose == nil {
			return
		}
		r, g1 := openRig(t, bench, usual())
		g2 := r.gateway(g1.limits)
		g1.fill(1)
		p, other := pass(r, "code", 2), pass(r, "another", 1)
		k := r.holder(p)
		session := g1.wantRedeem(k, admission.EntryAdmitted).Admission
		r.tick() // both have read it
		g2.wantRedeem(r.holder(other), admission.EntryAdmitted)
		r.lose() // that one no tick has told of
		r.settle()
		r.pass(5 * time.Second)
		g1.wantRedeem(r.holder(other), admission.EntrySpent)
		if again := g2.wantRedeem(k, admission.EntryAdmitted).Admission; again.Max != session.Max {
			t.Fatalf("after a loss a holder got another session: %+v, before %+v", again, session)
		}
		g1.off = true // who let it in is gone at the next loss
		g2.wantRedeem(r.holder(p), admission.EntryAdmitted)
		r.lose()
		r.settle()
		r.pass(5 * time.Second)
		g2.wantRedeem(r.holder(p), admission.EntrySpent)
	})

	t.Run("UsesBeforeTheFirstNumberSurviveALoss", func(t *testing.T) {
		bench := open(t)
		if bench.Lose == nil || !bench.Shared { // a store of one process is lost with all that knew of it
			return
		}
		r, g := openRig(t, bench, usual())
		p := pass(r, "code", 1)
		g.wantRedeem(r.holder(p), admission.EntryAdmitted)
		r.pass(g.limits.Max + time.Minute) // no session is left to tell of it
		r.lose()
		r.settle()
		g.wantRedeem(r.holder(p), admission.EntrySpent)
	})

	t.Run("NoneEntersWhileTheLineSettles", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		g.fill(1)
		k := r.holder(pass(r, "code", 1))
		g.floor.Issued = 100
		if e := g.redeem(k); e.Outcome != admission.EntryWaiting || e.Position != 0 {
			t.Fatalf("a settling line tells a holder %+v", e)
		}
		r.settle()
		r.pass(5 * time.Second)
		g.wantRedeem(k, admission.EntryAdmitted)
	})

	t.Run("WhatIsUsedIsReadOnceAndForgottenAtTheEnd", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		p := admission.Pass{ID: "code", Uses: 9, Until: r.record.now.Add(time.Hour)}
		g.wantRedeem(r.holder(p), admission.EntryAdmitted)
		if line := g.release(); len(line.Spent) != 1 || line.Spent[0] != (admission.Spent{Pass: "code", Uses: 1, Until: p.Until}) {
			t.Fatalf("a gateway read that %+v is used", line.Spent)
		}
		if line := g.release(); len(line.Spent) != 0 {
			t.Fatalf("a gateway read again that %+v is used", line.Spent)
		}
		r.step = time.Second
		r.pass(time.Hour + 2*time.Minute)
		if line := g.releaseSince(0); len(line.Spent) != 0 {
			t.Fatalf("after the end %+v is kept", line.Spent)
		}
	})
}
