package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// stocks holds a store to how long a line may become: so many at most, or so
// many times what is left to sell. Who has a place keeps it.
func stocks(t *testing.T, open Opener) {
	counted := func(left int64) admission.Stock { return admission.Stock{Counted: true, Left: left} }
	short := with(full(), func(l *admission.Limits) { l.MaxQueue = 3 })

	t.Run("AFullLineTakesNoOneNew", func(t *testing.T) {
		r, g1 := openRig(t, open(t), short)
		g2 := r.gateway(short)
		inside := g1.fill(1)
		line := g1.wait(2)
		g2.wantFull(g2.join(3), false, true, true) // the last place, in the middle of a batch
		g1.wantFull(g1.join(1), true)
		g1.leave(line[0])
		g2.wantFull(g2.join(2), false, true)
		g1.leave(inside[0])
		r.pass(time.Second)
		g1.wantTurns(line[1]) // and one in front has a turn
		g1.wantFull(g1.join(2), false, true)
	})

	t.Run("WhoFindsItFullTakesNoNumberAndCountsForNoNetwork", func(t *testing.T) {
		r, g := openRig(t, open(t), with(short, func(l *admission.Limits) { l.JoinsPerHour, l.JoinBurst = 3600, 2 }))
		g.fill(1)
		line := g.wait(3)
		for range 5 {
			g.wantFull(g.joinFrom("n"), true)
		}
		g.leave(line[0])
		g.leave(line[1])
		tickets := g.joinFrom("n", "n")
		g.wantFull(tickets, false, false)
		if tickets[0].number != line[2].number+1 {
			t.Fatalf("number %d follows %d", tickets[0].number, line[2].number)
		}
		r.pass(time.Second)
	})

	t.Run("ABatchThatComesAgainIsAnsweredAlike", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		newcomers := r.visitors(5)
		first := g.joinBatch("crossing", newcomers)
		g.wantFull(first, false, false, false, true, true)
		g.leave(first[0])
		g.wantFull(g.joinBatch("crossing", newcomers), false, false, false, true, true)
	})

	t.Run("AQuietRoomIsNeverFull", func(t *testing.T) {
		_, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.MaxQueue, l.Burst = 1, 10 }))
		g.fill(10) // all at once: none of them ever waits
		g.wantFull(g.join(2), false, true)
	})

	t.Run("AnIdentityFindsItsPlaceInAFullLine", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		known := r.visitors(1)
		known[0].Identity = "a"
		place := g.joinBatch("first", known)[0]
		g.wait(2)
		again := r.visitors(2)
		again[0].Identity = "a"
		tickets := g.joinBatch("second", again)
		g.wantFull(tickets, false, true)
		if tickets[0].number != place.number || tickets[0].visitor != place.visitor {
			t.Fatalf("number %d of %s, and before %d of %s", tickets[0].number, tickets[0].visitor, place.number, place.visitor)
		}
	})

	t.Run("JoiningStopsAtAMultipleOfTheStock", func(t *testing.T) {
		_, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.StopAt, l.Stock = 2, counted(3) }))
		g.fill(1)
		g.wantFull(g.join(7), false, false, false, false, false, false, true)
		g.override(admission.Overrides{Left: ptr[int64](4)})
		g.wantFull(g.join(3), false, false, true)
		g.override(admission.Overrides{Left: ptr[int64](2)}) // who waits keeps the place
		if g.record.last.Waiting != 8 {
			t.Fatalf("%d of eight wait when less is left", g.record.last.Waiting)
		}
		g.wantFull(g.join(1), true)
	})

	t.Run("AStockThatIsNotCountedStopsNothing", func(t *testing.T) {
		_, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.StopAt = 1 }))
		g.fill(1)
		g.wait(5)
	})

	t.Run("SoldOutGivesNothingAndTakesNothing", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		line := g.wait(3)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		g.override(admission.Overrides{Left: ptr[int64](0)})
		if given := g.join(1); given != nil {
			t.Fatalf("number %d given when all was sold", given[0].number)
		}
		g.enter(line[0]) // a turn is not taken back
		g.leave(line[0])
		r.pass(5 * time.Second)
		g.wantTurns()
		g.wantKnock(line[1], admission.EntryWaiting)
		g.override(admission.Overrides{Left: ptr[int64](1)}) // one was given back
		r.pass(time.Second)
		g.wantTurns(line[1])
		g.wait(1)
	})
}

// wantFull checks who found the line full.
func (g *gateway) wantFull(tickets []*ticket, want ...bool) {
	g.Helper()
	if len(tickets) != len(want) {
		g.Fatalf("%d tickets, want %d", len(tickets), len(want))
	}
	for i, k := range tickets {
		if got := g.record.places[i].Full; got != want[i] || got != (k.number == 0) {
			g.Fatalf("newcomer %d: full is %v and the number %d, want full to be %v", i, got, k.number, want[i])
		}
		if k.number > 0 && !k.inside() {
			g.keep(k)
		}
	}
}
