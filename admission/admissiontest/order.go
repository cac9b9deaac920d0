package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// order holds a store to O: of two present visitors the lower number gets its
// turn no later, and is never refused while the higher is admitted.
func order(t *testing.T, open Opener) {
	t.Run("NewcomersArePresentBeforeAnyGatewayToldOfThem", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 2 }))
		inside := g.fill(2)
		first := g.join(1)[0]
		r.advance(admission.Tick)
		r.tick()
		second := g.join(1)[0]
		if first.inside() || second.inside() {
			t.Fatal("admitted into a shop that is full")
		}
		for _, k := range []*ticket{inside[0], inside[1]} {
			g.leave(k)
		}
		r.pass(time.Second)
		g.wantTurns(first, second)
	})

	t.Run("AQuietRoomAdmitsAtOnce", func(t *testing.T) {
		_, g := openRig(t, open(t), usual())
		for range 10 {
			if k := g.join(1)[0]; !k.inside() {
				t.Fatalf("number %d was held by a quiet room", k.number)
			}
		}
		line := g.release()
		if line.Released != 10 || line.Turned != 10 || line.Admitted != 10 || line.Sessions != 10 || line.Waiting != 0 {
			t.Fatalf("after ten were admitted at once: %+v", line.Head)
		}
	})

	t.Run("ANewcomerDoesNotPassWhoWaits", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 1 }))
		inside := g.fill(1)
		waiting := g.wait(2)
		g.leave(inside[0])
		r.advance(2 * time.Second) // a seat and credit are free; no gateway has released yet
		if k := g.join(1)[0]; k.inside() {
			t.Fatalf("number %d was admitted while %d waits", k.number, waiting[0].number)
		}
		r.tick()
		g.wantTurns(waiting[0])
	})

	t.Run("WithinABatchTheFirstToComeIsTheFirstIn", func(t *testing.T) {
		_, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 3 }))
		for i, k := range g.join(6) {
			if k.inside() != (i < 3) {
				t.Fatalf("number %d admitted: %v", k.number, k.inside())
			}
		}
	})

	t.Run("TurnsGoToTheLowestPresentNumbers", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.RatePerHour = 0 }))
		inside := g.fill(1)
		line := g.wait(10)
		g.leave(inside[0])
		for _, k := range line {
			r.pass(time.Second)
			g.wantTurns(k)
			g.leave(k)
		}
	})

	t.Run("AnEmptyMapReleasesNoOne", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.Absence = 10 * time.Second }))
		inside := g.fill(1)
		absent := g.wait(20)
		g.closeTab(absent...)
		r.pass(25 * time.Second)
		g.leave(inside[0])
		head := r.pass(time.Minute)
		if head.Waiting != 0 || head.Released != inside[0].number || head.Turned != 1 {
			t.Fatalf("all are absent, and the line moved: %+v", head)
		}
		g.wantTurns()
		g.present(absent[7].number) // the first to come back is the next
		r.pass(time.Second)
		g.wantTurns(absent[7])
	})

	t.Run("WhoIsAbsentIsSkippedAndCostsNoTurn", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.Absence = 10 * time.Second }))
		inside := g.fill(1)
		line := g.wait(30)
		g.closeTab(line[:20]...)
		r.pass(25 * time.Second)
		if g.read.Waiting != 10 {
			t.Fatalf("%d count as waiting, want the ten that are present", g.read.Waiting)
		}
		g.leave(inside[0])
		head := r.pass(time.Second)
		g.wantTurns(line[20])
		if head.Turned != 2 || head.Released != line[20].number {
			t.Fatalf("twenty absent numbers were passed at a cost: %+v", head)
		}
	})

	t.Run("WhoComesBackIsNext", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.Absence, l.Capacity, l.Burst = 10*time.Second, 2, 1 }))
		r.pass(time.Second)
		inside := g.fill(1)
		r.pass(time.Second)
		inside = append(inside, g.fill(1)...)
		line := g.wait(10)
		g.closeTab(line[0], line[1])
		r.pass(25 * time.Second)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[2])
		g.present(line[1].number)
		g.keep(line[1])
		r.pass(time.Second)
		g.leave(inside[1])
		r.pass(2 * time.Second)
		g.wantTurns(line[1], line[2])
		g.wantKnock(line[0], admission.EntryWaiting) // a protected request marks it present as well
		g.leave(line[1])
		r.pass(2 * time.Second)
		g.wantTurns(line[0], line[2])
	})

	t.Run("WhoKnocksWithoutATurnAtTheFrontIsAdmittedAtOnce", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.Absence = 10 * time.Second }))
		inside := g.fill(1)
		k := g.join(1)[0]
		r.pass(25 * time.Second)
		g.leave(inside[0])
		r.pass(5 * time.Second)
		g.enter(k) // nobody else waits, a seat and credit are free
	})

	t.Run("ALapsedTurnComesBackAtTheVeryFront", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.Claim = 5 * time.Second }))
		inside := g.fill(1)
		line := g.wait(3)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		r.pass(5 * time.Second)
		g.wantTurns(line[1]) // the first has lapsed, the seat went on
		g.wantKnock(line[0], admission.EntryWaiting)
		r.pass(time.Second)
		g.wantTurns(line[1])
		r.pass(5 * time.Second)
		g.wantTurns(line[0]) // before the third, who never had a turn
	})

	t.Run("AtMostAThousandTurnsAStep", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) {
			l.Mode, l.Capacity, l.RatePerHour, l.Absence = admission.ModeHold, 0, 0, time.Hour
		}))
		for range 5 {
			g.join(500)
		}
		g.limits.Mode = admission.ModeAuto
		r.advance(admission.Tick)
		for _, want := range []int64{1000, 2000, 2500, 2500} {
			if line := g.release(); line.Turned != want || line.Released != want {
				t.Fatalf("%d turns given up to %d, want %d", line.Turned, line.Released, want)
			}
		}
	})
}
