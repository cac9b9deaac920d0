package admission_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropeline/ropeline/admission"
)

func TestRoom_ShutLetsNoOneInAndKeepsEveryPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Capacity, limits.RatePerHour, limits.Burst, limits.Max = 0, 3600, 5, time.Hour
		room := openRoom(t, limits)
		inside := &browser{room: room}
		inside.settleIn()
		room.Shut(true)
		time.Sleep(time.Second)

		line := make([]*browser, 5)
		for i := range line {
			line[i] = &browser{room: room}
			v := line[i].arrive()
			if v.Pass || v.Reason != admission.HoldPaused || !v.Status.Paused || !v.Status.Away || v.Status.Number != int64(i+2) || v.Status.Wait.Known {
				t.Fatalf("newcomer %d got %+v, want a place in a line that is paused", i, v)
			}
		}
		for range 60 { // well beyond a claim
			time.Sleep(5 * time.Second)
			for i, b := range line {
				if s := b.peek().Status; s.State != admission.StateWaiting || s.Position != int64(i+1) || !s.Paused || s.Lapsed {
					t.Fatalf("while it is shut, newcomer %d is told %+v", i, s)
				}
			}
			if v := line[0].arrive(); v.Pass {
				t.Fatal("the first was let in while the room was shut")
			}
			if v := inside.arrive(); !v.Pass {
				t.Fatalf("who is inside got %+v", v)
			}
		}
		if f := room.Figures(); f.Turned != 1 || !f.Paused() {
			t.Fatalf("while it was shut: %+v", f.Head)
		}
		room.Shut(false)
		time.Sleep(2 * admission.Tick)
		if f := room.Figures(); f.Turned > 1 || f.Paused() {
			t.Fatalf("in the instant in which it was open again %d turns were given", f.Turned-1)
		}
		for i, b := range line {
			b.poll(time.Minute)
			if v := b.arrive(); !v.Pass || v.Session.Number != int64(i+2) {
				t.Fatalf("newcomer %d got %+v, want to be let in", i, v)
			}
		}
	})
}

func TestRoom_TheLineGoesOnByAnotherGateway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Capacity, limits.RatePerHour, limits.Burst = 0, 3600, 1
		store, ring := admission.NewMemory(nil), newRing(t, admission.NewKey())
		one, two := runRoom(t, store, ring, limits), runRoom(t, store, ring, limits)
		(&browser{room: two}).arrive()
		one.Shut(true)
		time.Sleep(time.Second)

		b := &browser{room: one}
		if v := b.arrive(); v.Pass || v.Queue.Token == "" {
			t.Fatalf("the gateway that is shut gave %+v, want a place and no admission, quiet as it is", v)
		}
		time.Sleep(2 * time.Second)
		if s := b.peek().Status; s.State != admission.StateWaiting || !s.Paused || s.Position != 1 {
			t.Fatalf("with a turn, at the gateway that is shut: %+v, want it paused", s)
		}
		if v := b.arrive(); v.Pass {
			t.Fatal("the gateway that is shut let the turn in")
		}
		b.room = two
		if s := b.peek().Status; s.State != admission.StateReady || s.Paused {
			t.Fatalf("with a turn, at the gateway that is open: %+v, want it ready", s)
		}
		if v := b.arrive(); !v.Pass || v.Session.Number != 2 {
			t.Fatalf("the gateway that is open gave %+v, want admission", v)
		}

		two.Shut(true)
		time.Sleep(time.Second)
		before := two.Figures().Turned
		last := &browser{room: two}
		last.arrive()
		time.Sleep(10 * time.Second)
		if f := one.Figures(); f.Turned != before || !f.Paused() {
			t.Fatalf("with both shut: %+v, want it paused", f.Head)
		}
	})
}
