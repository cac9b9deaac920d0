package admissiontest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// forgeries holds a store to its part of F: what was never given is worth
// nothing, and is no error. (Signatures are verified before a store is asked.)
func forgeries(t *testing.T, open Opener) {
	t.Run("NumbersThatWereNeverGivenAreNew", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		g.fill(2)
		epoch := g.read.Epoch
		for _, k := range []*ticket{
			{visitor: "none"},
			{visitor: "zero", epoch: epoch},
			{visitor: "negative", number: -5, epoch: epoch},
			{visitor: "above", number: 3, epoch: epoch},
			{visitor: "far above", number: 1 << 62, epoch: epoch},
			{visitor: "epoch before", number: 1, epoch: epoch - 1},
			{visitor: "epoch to come", number: 1, epoch: epoch + 1},
		} {
			g.wantKnock(k, admission.EntryGone)
		}
		if head := r.tick(); head.Sessions != 2 || head.Waiting != 0 || head.Issued != 2 || head.Turns != 0 {
			t.Fatalf("forged knocks left a trace: %+v", head)
		}
	})

	t.Run("AnAdmissionTokenOfThisLineThatIsNotKnownHasEnded", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		g.fill(1)
		r.pass(time.Minute)
		k := &ticket{visitor: "stranger", number: 1, epoch: g.read.Epoch, signed: r.record.now, session: admission.Admission{Max: r.record.now.Add(time.Hour)}}
		g.want(k, g.show(k), admission.EntryGone)
		k.number = 0
		g.want(k, g.show(k), admission.EntryGone)
	})

	t.Run("LinesAreApart", func(t *testing.T) {
		bench := open(t)
		r1, g1 := openRig(t, bench, full())
		r2 := newRig(t, bench, full())
		r2.line = admission.LineID{Tenant: "test", Activity: 11}
		r3 := newRig(t, bench, full())
		r3.line = admission.LineID{Tenant: "other", Activity: 1}
		for _, r := range []*rig{r2, r3} {
			r.named = 100
			r.settle()
		}
		g1.fill(1)
		line := g1.wait(3)
		for _, r := range []*rig{r2, r3} {
			if k := r.gates[0].fill(1)[0]; k.number != 1 {
				t.Fatalf("the first number of line %s is %d", r.line, k.number)
			}
			r.gates[0].wantKnock(&ticket{visitor: line[1].visitor, number: line[1].number, epoch: 1}, admission.EntryGone)
			r.gates[0].reset()
		}
		r1.pass(time.Second)
		if g1.read.Waiting != 3 || g1.read.Sessions != 1 || g1.read.Epoch != line[0].epoch {
			t.Fatalf("what happened to other lines changed this one: %+v", g1.read.Head)
		}
	})

	t.Run("KeysAreMadeOnce", func(t *testing.T) {
		bench := open(t)
		first := admission.NewKey()
		for range 2 {
			kept, err := bench.Store().Keys(t.Context(), first)
			if err != nil || len(kept) == 0 || kept[0].ID != first.ID || string(kept[0].Secret) != string(first.Secret) || kept[0].Alg != first.Alg {
				t.Fatalf("keys are %v, %v; want the first that was brought", kept, err)
			}
			again, err := bench.Store().Keys(t.Context(), admission.NewKey())
			if err != nil || len(again) != 1 || again[0].ID != first.ID {
				t.Fatalf("keys are %v, %v, when another gateway brings its own", again, err)
			}
			if bench.Crash == nil {
				return
			}
			bench.Crash()
		}
	})

	t.Run("ACallThatIsOverIsNotAnswered", func(t *testing.T) {
		_, g := openRig(t, open(t), usual())
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, _, err := g.bench.Store().Join(ctx, g.call(), "over", []admission.Newcomer{{Visitor: "v"}}); err == nil {
			t.Fatal("a join whose caller is gone was answered")
		} else if !errors.Is(err, context.Canceled) && !errors.Is(err, admission.ErrUnavailable) {
			t.Fatalf("a join whose caller is gone: %v", err)
		}
	})

	t.Run("LimitsUnderWhichALineCannotKeepItsPromisesAreRefused", func(t *testing.T) {
		_, g := openRig(t, open(t), usual())
		for name, change := range map[string]func(*admission.Limits){
			"capacity": func(l *admission.Limits) { l.Capacity = -1 },
			"rate":     func(l *admission.Limits) { l.RatePerHour = admission.MaxRatePerHour + 1 },
			"no burst": func(l *admission.Limits) { l.Burst = 0 },
			"burst":    func(l *admission.Limits) { l.Burst = admission.MaxBurst + 1 },
			"idle":     func(l *admission.Limits) { l.Idle = 0 },
			"mode":     func(l *admission.Limits) { l.Mode = "ajar" },
		} {
			if _, err := g.bench.Store().Release(t.Context(), g.call(), with(usual(), change), 0); err == nil {
				t.Errorf("%s: limits were taken, want an error", name)
			}
		}
		if head := g.release().Head; head.Limits != usual() {
			t.Fatalf("refused limits are in force: %+v", head.Limits)
		}
	})
}
