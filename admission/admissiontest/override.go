package admissiontest

import (
	"context"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// overrides holds a store to what an operator decides on the day: it wins over
// the files of all gateways at once, until it is taken back.
func overrides(t *testing.T, open Opener) {
	start, end := time.Date(2029, 1, 2, 3, 4, 5, 6000, time.UTC), time.Date(2040, 5, 6, 7, 8, 9, 0, time.UTC)

	t.Run("EachFieldWinsOverTheFilesOfAllGatewaysAtOnce", func(t *testing.T) {
		for name, c := range map[string]struct {
			decide admission.Overrides
			change func(*admission.Limits) // what it makes of the limits of the files
		}{
			"hold":         {admission.Overrides{Mode: admission.ModeHold}, func(l *admission.Limits) { l.Mode = admission.ModeHold }},
			"closed":       {admission.Overrides{Mode: admission.ModeClosed}, func(l *admission.Limits) { l.Mode = admission.ModeClosed }},
			"open":         {admission.Overrides{Mode: admission.ModeOpen}, func(l *admission.Limits) { l.Mode = admission.ModeOpen }},
			"auto":         {admission.Overrides{Mode: admission.ModeAuto}, func(l *admission.Limits) {}},
			"less room":    {admission.Overrides{Capacity: ptr[int64](2)}, func(l *admission.Limits) { l.Capacity = 2 }},
			"more room":    {admission.Overrides{Capacity: ptr[int64](1000)}, func(l *admission.Limits) { l.Capacity = 1000 }},
			"no capacity":  {admission.Overrides{Capacity: ptr[int64](0)}, func(l *admission.Limits) { l.Capacity = 0 }},
			"slower":       {admission.Overrides{RatePerHour: ptr[int64](60)}, func(l *admission.Limits) { l.RatePerHour = 60 }},
			"no rate":      {admission.Overrides{RatePerHour: ptr[int64](0)}, func(l *admission.Limits) { l.RatePerHour = 0 }},
			"faster":       {admission.Overrides{RatePerHour: ptr[int64](3600 * 100)}, func(l *admission.Limits) { l.RatePerHour, l.Burst = 3600*100, 50 }},
			"another date": {admission.Overrides{StartAt: &start, EndAt: &end}, func(l *admission.Limits) { l.StartAt, l.EndAt = start, end }},
			"no date":      {admission.Overrides{StartAt: ptr(time.Time{}), EndAt: ptr(time.Time{})}, func(l *admission.Limits) { l.StartAt, l.EndAt = time.Time{}, time.Time{} }},
			"less left":    {admission.Overrides{Left: ptr[int64](7)}, func(l *admission.Limits) { l.Stock = admission.Stock{Counted: true, Left: 7} }},
			"sold out":     {admission.Overrides{Left: ptr[int64](0)}, func(l *admission.Limits) { l.Stock = admission.Stock{Counted: true} }},
			"a message":    {admission.Overrides{Message: ptr("Zurück um 10 Uhr – «bald»")}, func(l *admission.Limits) {}},
			"no message":   {admission.Overrides{Message: ptr("")}, func(l *admission.Limits) {}},
		} {
			r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.StartAt, l.EndAt = start.Add(time.Hour), end.Add(-time.Hour) }))
			g2 := r.gateway(with(g1.limits, func(l *admission.Limits) { l.Capacity, l.RatePerHour = 15, 7200 }))
			files := r.tick().Limits
			want := with(files, c.change)
			for _, head := range []admission.Head{g1.override(c.decide), g2.release().Head, g1.release().Head, g2.present(), r.pass(5 * time.Second)} {
				if head.Limits != want {
					t.Fatalf("%s: limits in force:\n%+v, want\n%+v", name, head.Limits, want)
				}
				if got, want := plainly(head.Overrides), plainly(c.decide); got != want {
					t.Fatalf("%s: the decision is told as\n%s, want\n%s", name, got, want)
				}
			}
			head := g2.override(admission.Overrides{})
			if head.Limits != files || plainly(head.Overrides) != plainly(admission.Overrides{}) {
				t.Fatalf("%s: taken back, these limits are in force:\n%+v, want\n%+v", name, head.Limits, files)
			}
		}
	})

	t.Run("ADecisionIsWholeAndItsVersionGrows", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		version := r.tick().Overrides.Version
		for _, o := range []admission.Overrides{
			{Mode: admission.ModeHold, Capacity: ptr[int64](3), Message: ptr("soon")},
			{Capacity: ptr[int64](3)}, // what it leaves out is the files' again
			{Capacity: ptr[int64](3)}, // and once more
			{RatePerHour: ptr[int64](60)},
			{},
		} {
			head := g.override(o)
			if plainly(head.Overrides) != plainly(o) || head.Overrides.Version <= version {
				t.Fatalf("decided %s with version %d after %d, want %s", plainly(head.Overrides), head.Overrides.Version, version, plainly(o))
			}
			version = head.Overrides.Version
			if got := r.pass(time.Second).Overrides.Version; got != version {
				t.Fatalf("version %d a second after decision %d", got, version)
			}
		}
	})

	t.Run("ADecisionThatDidNotKnowTheLastChangesNothing", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		known := r.tick().Overrides
		first := admission.Overrides{Version: known.Version, Mode: admission.ModeHold}
		head := g.decide(first)
		for range 2 { // the second as one whose answer was lost
			late := g.decide(admission.Overrides{Version: known.Version, Left: ptr[int64](5)})
			if plainly(late.Overrides) != plainly(first) || late.Overrides.Version != head.Overrides.Version || late.Limits != head.Limits {
				t.Fatalf("a decision that did not know of %s made it %s", plainly(first), plainly(late.Overrides))
			}
		}
		both := admission.Overrides{Version: head.Overrides.Version, Mode: admission.ModeHold, Left: ptr[int64](5)}
		if got := g.decide(both); plainly(got.Overrides) != plainly(both) {
			t.Fatalf("decided %s, want %s", plainly(got.Overrides), plainly(both))
		}
	})

	t.Run("FilesThatChangeMeanwhileCountWhenItIsTakenBack", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		g.override(admission.Overrides{Capacity: ptr[int64](2)})
		g.limits.Capacity, g.limits.RatePerHour = 20, 60
		if l := r.tick().Limits; l.Capacity != 2 || l.RatePerHour != 60 {
			t.Fatalf("limits in force: %+v", l)
		}
		if l := g.override(admission.Overrides{}).Limits; l.Capacity != 20 || l.RatePerHour != 60 {
			t.Fatalf("limits in force when it was taken back: %+v", l)
		}
	})

	t.Run("HeldGivesNothingAndResumesAtZero", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.RatePerHour, l.Burst = 0, 36000, 10 }))
		g.fill(10)
		line := g.wait(100)
		g.override(admission.Overrides{Mode: admission.ModeHold})
		if head := r.pass(time.Minute); head.Turned != 10 || !head.Paused() {
			t.Fatalf("a held line: %+v", head)
		}
		g.wantKnock(line[0], admission.EntryWaiting)
		g.override(admission.Overrides{})
		if got := g.release().Turned; got != 10 {
			t.Fatalf("%d turns in the step that resumed", got-10)
		}
		if got := r.pass(time.Second).Turned; got != 20 {
			t.Fatalf("%d turns a second after, at 10/s", got-10)
		}
	})

	t.Run("ClosedTakesNoOneAndServesWhoWaits", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		line := g.wait(1)
		g.override(admission.Overrides{Mode: admission.ModeClosed})
		if given := g.join(1); given != nil {
			t.Fatalf("a closed line gave number %d", given[0].number)
		}
		g.leave(inside[0])
		r.pass(time.Second)
		g.enter(line[0])
		g.override(admission.Overrides{Mode: admission.ModeAuto})
		g.wait(1)
	})

	t.Run("ARateAboveTheBurstOfTheFilesIsReached", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.Burst, l.Absence = 0, 1, time.Hour }))
		g.override(admission.Overrides{Mode: admission.ModeHold})
		g.join(1500)
		r.tick()
		g.override(admission.Overrides{RatePerHour: ptr[int64](3600 * 100)})
		if got := r.pass(10 * time.Second).Turned; got != 1000 {
			t.Fatalf("%d turns in ten seconds at 100/s", got)
		}
		g.override(admission.Overrides{}) // and what was saved up under it is not kept
		before := r.tick().Turned
		if got := r.pass(5*time.Second).Turned - before; got > 6 {
			t.Fatalf("%d turns in five seconds at 1/s", got)
		}
	})

	t.Run("ADecidedRateHasTheBurstOfSuchARate", func(t *testing.T) {
		_, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Burst = 1 }))
		for _, rate := range []int64{0, 1, 60, 7200, 7201, 14400, 14401, admission.MaxRatePerHour} {
			if got, want := g.override(admission.Overrides{RatePerHour: &rate}).Limits.Burst, admission.Burst(rate); got != want {
				t.Errorf("the burst of a decided rate of %d/h is %d, want %d", rate, got, want)
			}
		}
	})

	t.Run("ALoweredCapacityEvictsNoOne", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Burst = 100 }))
		inside := g.fill(10)
		line := g.wait(3)
		head := g.override(admission.Overrides{Capacity: ptr[int64](1)})
		if head.Sessions != 10 {
			t.Fatalf("%d of ten are inside after capacity was lowered", head.Sessions)
		}
		for i, k := range inside {
			g.want(k, g.renew(k), admission.EntryAdmitted)
			if i > 0 {
				g.leave(k)
			}
		}
		r.pass(5 * time.Second)
		g.wantTurns()
		g.leave(inside[0])
		r.pass(5 * time.Second)
		g.wantTurns(line[0])
	})

	t.Run("StartAndEndMove", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		line := g.wait(2)
		soon := r.record.now.Add(time.Minute).Time()
		g.override(admission.Overrides{StartAt: &soon})
		if given := g.join(1); given != nil {
			t.Fatalf("number %d given before the start", given[0].number)
		}
		g.leave(inside[0])
		r.pass(50 * time.Second)
		g.wantTurns()
		r.pass(12 * time.Second)
		g.wantTurns(line[0])
		g.enter(line[0])
		g.override(admission.Overrides{EndAt: &soon})
		if given := g.join(1); given != nil {
			t.Fatalf("number %d given after the end", given[0].number)
		}
		g.leave(line[0])
		r.pass(5 * time.Second)
		g.wantTurns()
		g.override(admission.Overrides{})
		r.pass(time.Second)
		g.wantTurns(line[1])
	})

	decision := admission.Overrides{
		Mode: admission.ModeHold, Capacity: ptr[int64](3), RatePerHour: ptr[int64](60), StartAt: &start, EndAt: &end, Message: ptr("soon"), Left: ptr[int64](12),
	}

	t.Run("AResetLeavesWhatWasDecided", func(t *testing.T) {
		_, g := openRig(t, open(t), usual())
		before := g.override(decision)
		if head := g.reset(); head.Limits != before.Limits || plainly(head.Overrides) != plainly(decision) {
			t.Fatalf("after a reset: %s, want %s", plainly(head.Overrides), plainly(decision))
		}
	})

	t.Run("ACrashLosesNoDecision", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil {
			return
		}
		r, g := openRig(t, bench, usual())
		before := g.override(decision)
		r.crash() // in the moment in which it was answered
		head := g.release().Head
		if head.Limits != before.Limits || plainly(head.Overrides) != plainly(decision) || head.Overrides.Version != before.Overrides.Version {
			t.Fatalf("after a crash: %s with version %d, want %s with %d",
				plainly(head.Overrides), head.Overrides.Version, plainly(decision), before.Overrides.Version)
		}
		if head = g.override(admission.Overrides{}); head.Overrides.Version <= before.Overrides.Version || head.Limits.Capacity != usual().Capacity {
			t.Fatalf("taken back after a crash: %+v with version %d", head.Limits, head.Overrides.Version)
		}
		r.crash()
		if head := r.settle(); head.Limits != usual() {
			t.Fatalf("taken back and after a crash: %+v", head.Limits)
		}
	})

	t.Run("ALossIsHealedByAGatewayThatRemembers", func(t *testing.T) {
		for _, newestFirst := range []bool{true, false} {
			bench := open(t)
			if bench.Lose == nil {
				return
			}
			r, g1 := openRig(t, bench, usual())
			g2 := r.gateway(usual())
			g1.fill(1)
			g1.override(admission.Overrides{Mode: admission.ModeClosed, Message: ptr("old")})
			r.tick()
			g2.off = true // and hears no more
			before := g1.override(decision)
			g1.release()
			r.lose()
			order := []*gateway{g1, g2}
			if !newestFirst {
				order = []*gateway{g2, g1}
			}
			g2.off = false
			for range 2 {
				for _, g := range order {
					g.release()
				}
			}
			head := r.settle()
			if head.Limits != before.Limits || plainly(head.Overrides) != plainly(decision) || head.Overrides.Version != before.Overrides.Version {
				t.Fatalf("after a loss, the newest told first: %v: %s with version %d, want %s with %d", newestFirst,
					plainly(head.Overrides), head.Overrides.Version, plainly(decision), before.Overrides.Version)
			}
		}
	})

	t.Run("WhatIsDecidedAfterALossIsNotUndoneByMemories", func(t *testing.T) {
		bench := open(t)
		if bench.Lose == nil {
			return
		}
		r, g1 := openRig(t, bench, usual())
		g2 := r.gateway(usual())
		g1.fill(1)
		for range 3 {
			g1.override(admission.Overrides{Capacity: ptr[int64](5)})
		}
		r.tick()
		r.lose()
		g1.override(decision) // before anyone could bring what was decided before
		g2.release()
		g1.release()
		if head := r.settle(); plainly(head.Overrides) != plainly(decision) {
			t.Fatalf("decided %s, and a memory made it %s", plainly(decision), plainly(head.Overrides))
		}
	})

	t.Run("AMemoryOfAnEarlierDecisionUndoesNothing", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		g.fill(1)
		g.override(admission.Overrides{Capacity: ptr[int64](5)})
		old := g.release().Overrides
		g.override(decision)
		g.mute = true
		g.floor.Issued = 100 // a settling, without a loss
		g.release()
		g.heal(admission.Memory{Now: r.record.now, Overrides: old})
		if head := r.settle(); plainly(head.Overrides) != plainly(decision) {
			t.Fatalf("decided %s, and a memory made it %s", plainly(decision), plainly(head.Overrides))
		}
	})
}

// override decides as an operator does through a gateway, which tells the
// version that it knew.
func (g *gateway) override(o admission.Overrides) admission.Head {
	g.Helper()
	o.Version = g.record.last.Overrides.Version
	return g.decide(o)
}

func (g *gateway) decide(o admission.Overrides) admission.Head {
	g.Helper()
	head, err := g.bench.Store().Override(context.Background(), g.call(), o)
	g.must("override", head, err)
	return head
}

func ptr[T any](v T) *T { return &v }
