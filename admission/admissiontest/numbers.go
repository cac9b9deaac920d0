package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// leap is the least by which a healed line begins past every floor it heard.
const leap = 1 << 20

// numbers holds a store to N: numbers of an epoch are given once each,
// ascending, whatever crashes or fails over. That no number repeats is checked
// by the record in every case of the suite.
func numbers(t *testing.T, open Opener) {
	t.Run("AscendOverTwoGatewaysInOrderOfArrival", func(t *testing.T) {
		r, g1 := openRig(t, open(t), full())
		g2 := r.gateway(full())
		g1.fill(1)
		for want := int64(2); want < 40; {
			for _, g := range []*gateway{g1, g2} {
				for _, k := range g.wait(3) {
					if k.number != want {
						t.Fatalf("number %d given, want %d", k.number, want)
					}
					want++
				}
			}
		}
	})

	t.Run("ABatchSentAgainWithinAMinuteGetsTheSameAnswer", func(t *testing.T) {
		r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 2 }))
		g2 := r.gateway(g1.limits)
		newcomers := r.visitors(4)
		first := g1.joinBatch("batch", newcomers)
		issued := g1.floor.Issued
		for range 2 {
			for _, g := range []*gateway{g1, g2} { // sent again by whom it may
				again := g.joinBatch("batch", newcomers)
				for i, k := range again {
					if k.number != first[i].number || k.session != first[i].session {
						t.Fatalf("newcomer %d got %+v, and when the batch came again %+v", i, *first[i], *k)
					}
				}
			}
			r.pass(59 * time.Second)
		}
		if got := r.tick().Issued; got != issued {
			t.Fatalf("%d numbers are issued after a batch came again, want %d", got, issued)
		}
		if other := g1.joinBatch("another", r.visitors(1)); other[0].number != issued+1 {
			t.Fatalf("another batch got number %d, want %d", other[0].number, issued+1)
		}
	})

	t.Run("ResetBeginsTheNextEpochAtOne", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		g.fill(1)
		before := g.wait(5)
		head := g.reset()
		if head.Epoch != before[0].epoch+1 || head.Issued != 0 || head.Waiting != 0 || head.Turns != 0 {
			t.Fatalf("after a reset: %+v", head)
		}
		if k := g.wait(1)[0]; k.number != 1 || k.epoch != before[0].epoch+1 {
			t.Fatalf("first place after a reset: number %d of epoch %d", k.number, k.epoch)
		}
		r.pass(time.Second)
	})

	t.Run("ResetTwiceIsResetOnce", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		g.fill(1)
		epoch := g.wait(2)[0].epoch
		g.reset()
		r.stay = map[int64]bool{}
		line := g.wait(3)
		if head := g.endEpoch(epoch); head.Epoch != epoch+1 || head.Waiting != 3 {
			t.Fatalf("the end of epoch %d, told again: %+v", epoch, head)
		}
		g.wantKnock(line[0], admission.EntryWaiting)
	})

	t.Run("FloorsAreComparedAsPairs", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		g.fill(1)
		g.wait(3)
		head := g.reset()
		old := r.gateway(full())
		old.floor = admission.Floor{Epoch: head.Epoch - 1, Issued: 1_000_000}
		if line := old.release(); line.Settling || line.Issued != 0 {
			t.Fatalf("a floor of an epoch that is over opened a settling: %+v", line.Head)
		}
		if k := g.wait(1)[0]; k.number != 1 {
			t.Fatalf("number %d given, want 1", k.number)
		}
	})

	t.Run("AFloorAboveTheLineLeapsOnce", func(t *testing.T) {
		r, g1 := openRig(t, open(t), full())
		g1.fill(1)
		g1.wait(3)
		g2 := r.gateway(full()) // was cut off with a store that went on
		g2.floor = admission.Floor{Epoch: 1, Issued: 500}
		if line := g2.release(); !line.Settling {
			t.Fatalf("a floor of 500 over a line at %d opened no settling", line.Issued)
		}
		if head := r.settle(); head.Issued < 500+leap {
			t.Fatalf("the line stands at %d after healing, want at least %d", head.Issued, 500+leap)
		}
		first := g1.wait(1)[0].number
		r.pass(10 * time.Second)
		if next := g2.wait(1)[0].number; next != first+1 {
			t.Fatalf("numbers %d and %d given after healing, want no second leap", first, next)
		}
	})

	t.Run("NoneRepeatsAfterACrash", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil {
			return
		}
		r, g := openRig(t, bench, full())
		g.fill(1)
		for range 5 {
			g.wait(3)
			r.crash()
			r.settle()
		}
		g.wait(3) // the record compares
		if g.read.Waiting < 15 {
			t.Fatalf("%d wait after five crashes, want all", g.read.Waiting)
		}
	})

	t.Run("NoneRepeatsAfterTheStoreLostAll", func(t *testing.T) {
		bench := open(t)
		if bench.Lose == nil {
			return
		}
		r, g1 := openRig(t, bench, full())
		g2 := r.gateway(full())
		g1.fill(1)
		g1.wait(3)
		g2.wait(7)
		highest := g2.floor.Issued
		for range 3 {
			r.lose()
			if given := g1.join(1); given != nil { // the very first step after
				t.Fatalf("a line that lost all gave number %d", given[0].number)
			}
			head := r.settle()
			if head.Issued < highest+leap {
				t.Fatalf("the line stands at %d after healing, want at least %d", head.Issued, highest+leap)
			}
			highest = g2.wait(1)[0].number
		}
	})

	t.Run("NoneRepeatsWhereOneGatewayKnewLessThanAnother", func(t *testing.T) {
		bench := open(t)
		if bench.Lose == nil {
			return
		}
		r, g1 := openRig(t, bench, full())
		g2 := r.gateway(full())
		g1.fill(1)
		g1.wait(1)
		g1.off = true
		g2.wait(50)
		r.pass(time.Second)
		r.lose()
		g1.off = false
		g1.release() // opens the settling with the lower floor
		r.advance(time.Second)
		g2.release()
		if head := r.settle(); head.Issued < g2.floor.Issued {
			t.Fatalf("the line stands at %d, and %d were issued", head.Issued, g2.floor.Issued)
		}
		g1.wait(3)
	})

	t.Run("NoneRepeatsAfterAFailOverToACopyThatIsBehind", func(t *testing.T) {
		bench := open(t)
		if bench.Keep == nil {
			return
		}
		r, g := openRig(t, bench, full())
		g.fill(1)
		g.wait(3)
		r.pass(time.Second)
		restore := bench.Keep()
		late := g.wait(4)
		r.pass(time.Second)
		restore()
		r.record.lost()
		r.settle()
		g.wait(2)
		for _, k := range late {
			g.wantKnock(k, admission.EntryWaiting)
		}
	})

	t.Run("AGatewayWithoutAFloorDoesNotStartALostLineAnew", func(t *testing.T) {
		bench := open(t)
		if bench.Lose == nil || !bench.Shared {
			return
		}
		r, g1 := openRig(t, bench, full())
		g1.fill(1)
		g1.wait(9)
		r.lose()
		g2 := r.gateway(full()) // started in this very moment
		g2.release()
		if given := g2.join(1); given != nil {
			t.Fatalf("a line that was not found gave number %d at once", given[0].number)
		}
		g1.release()
		r.settle()
		g2.wait(2)
	})
}
