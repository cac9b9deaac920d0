package admission_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// drawSettings are those of a draw a minute from now, which visitors join in
// the half minute before it; everyone is let in at once who has a turn.
func drawSettings(beacon string) admission.Settings {
	limits := demoLimits()
	limits.Capacity, limits.RatePerHour, limits.Burst = 1, 0, 1
	limits.Draw, limits.Prequeue, limits.StartAt = true, 30*time.Second, time.Now().Add(time.Minute)
	s := settings(limits)
	s.Beacon = beacon
	return s
}

// wantNumber checks a number against what anyone can find by the proof.
func wantNumber(t *testing.T, s admission.Status) {
	t.Helper()
	seed, err := admission.ParseSeed(s.Draw.Seed)
	if err != nil || seed.Commitment() != s.Draw.Commitment {
		t.Fatalf("seed %q of the commitment %q: %v", s.Draw.Seed, s.Draw.Commitment, err)
	}
	lots, err := admission.NewLots(seed, s.Draw.Beacon, s.Draw.N)
	if err != nil {
		t.Fatal(err)
	}
	if want := lots.Number(s.Draw.Index); s.Number != want || !s.Draw.Indexed {
		t.Fatalf("number %d, and by %+v it is %d", s.Number, s.Draw, want)
	}
}

func TestRoom_DrawsWhoCameBeforeTheStart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, drawSettings("").Limits)
		early := &browser{room: room}
		if v := early.arrive(); v.Reason != admission.HoldBefore || v.Queue.Token != "" || v.Status.PollAfter > 32*time.Second {
			t.Fatalf("before the prequeue: %+v, want no ticket", v)
		}
		time.Sleep(time.Second)
		commitment := room.Proof().Commitment
		if len(commitment) != 64 || room.Proof().Seed != "" {
			t.Fatalf("before the prequeue the proof is %+v", room.Proof())
		}
		time.Sleep(31 * time.Second)
		if v := (&browser{room: room}).peek(); v.Status.State != admission.StateNew {
			t.Fatalf("in the prequeue who has no ticket is %q, want to be told to come", v.Status.State)
		}
		crowd := make([]*browser, 70)
		for i := range crowd {
			crowd[i] = &browser{room: room}
			s := crowd[i].arrive().Status
			if s.State != admission.StateBefore || s.Number != 0 || s.Position != 0 || !s.Draw.Indexed || s.Draw.Index != int64(i) {
				t.Fatalf("newcomer %d before the start: %+v", i, s)
			}
			if s.Draw.Commitment != commitment || s.Draw.Seed != "" || s.Draw.N != 0 {
				t.Fatalf("before the start the proof is %+v", s.Draw)
			}
		}
		crowd[7].leave()
		time.Sleep(25 * time.Second)
		for _, b := range crowd {
			b.peek()
		}
		time.Sleep(4*time.Second + time.Millisecond)
		if v := crowd[0].peek(); v.Status.State != admission.StateDrawing || v.Reason != admission.HoldDrawing {
			t.Fatalf("in the second of the start: %+v", v)
		}
		if v := (&browser{room: room}).arrive(); v.Pass || v.Queue.Token != "" {
			t.Fatalf("a newcomer while the indexes are closed: %+v", v)
		}
		time.Sleep(4 * time.Second)
		late := &browser{room: room}
		if s := late.arrive().Status; s.Number != 129 || s.Draw.Indexed || s.Position != 69 {
			t.Fatalf("who came after the start: %+v, want number 129 behind 68 who wait", s)
		}
		first := 0
		seen := map[int64]bool{}
		for i, b := range crowd {
			s := b.peek().Status
			if i == 7 {
				if s.State != admission.StateNew {
					t.Fatalf("who left before the draw: %+v", s)
				}
				continue
			}
			wantNumber(t, s)
			if seen[s.Number] || s.Draw.Index != int64(i) || s.Draw.Commitment != commitment {
				t.Fatalf("index %d: %+v", i, s)
			}
			seen[s.Number] = true
			switch {
			case s.State == admission.StateReady:
				first++
			case s.State != admission.StateWaiting || s.Position < 1 || s.Position > 69:
				t.Fatalf("index %d: %+v", i, s)
			}
		}
		if first != 1 {
			t.Fatalf("%d are ready, with one seat", first)
		}
		for _, b := range crowd {
			if b.peek().Status.State == admission.StateReady {
				if v := b.arrive(); !v.Pass {
					t.Fatalf("the first of the draw: %+v", v)
				}
			}
		}
	})
}

func TestRoom_ADrawWithASourceWaitsForItsValue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, key := admission.NewMemory(nil), admission.NewKey()
		s := drawSettings("the lottery of tomorrow")
		room := runRoomWith(t, store, newRing(t, key), s)
		time.Sleep(31 * time.Second)
		b := &browser{room: room}
		if d := b.arrive().Status.Draw; d.Source != s.Beacon || d.Commitment == "" {
			t.Fatalf("the source is not told with the commitment: %+v", d)
		}
		if err := room.EnterBeacon(t.Context(), "1 2 3"); err != admission.ErrTooEarly {
			t.Fatalf("a value before the start: %v", err)
		}
		time.Sleep(20 * time.Second)
		b.peek()
		time.Sleep(20 * time.Second)
		if s := b.peek().Status; s.State != admission.StateDrawing || s.Draw.Seed != "" || s.Draw.N != 64 {
			t.Fatalf("without the value: %+v", s)
		}
		if err := room.EnterBeacon(t.Context(), " 4 8 15 "); err != nil {
			t.Fatal(err)
		}
		if err := room.EnterBeacon(t.Context(), "4 8 15"); err != nil {
			t.Fatalf("the same value again: %v", err)
		}
		if err := room.EnterBeacon(t.Context(), "16"); err != admission.ErrOtherBeacon {
			t.Fatalf("another value: %v", err)
		}
		time.Sleep(time.Second)
		wantNumber(t, b.peek().Status)
		if b.peek().Status.Draw.Beacon != "4 8 15" {
			t.Fatalf("the proof is %+v", b.peek().Status.Draw)
		}
	})
}

func TestRoom_ADrawIsTheSameInEveryGatewayAndAfterARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, old, fresh := admission.NewMemory(nil), admission.NewKey(), admission.NewKey()
		s := drawSettings("")
		first := runRoomWith(t, store, newRing(t, old), s)
		time.Sleep(31 * time.Second)
		crowd := make([]*browser, 10)
		for i := range crowd {
			crowd[i] = &browser{room: first}
			crowd[i].arrive()
		}
		commitment := first.Proof().Commitment
		first.Rotate(newRing(t, fresh, old)) // the draw keeps the key that it was committed with
		time.Sleep(35 * time.Second)
		other := runRoomWith(t, store, newRing(t, fresh, old), s)
		time.Sleep(time.Second)
		for _, b := range crowd {
			one := b.peek().Status
			b.room = other
			two := b.peek().Status
			if wantNumber(t, one); one.Number != two.Number || one.Draw != two.Draw || two.Draw.Commitment != commitment {
				t.Fatalf("one gateway says %d by %+v, another %d by %+v", one.Number, one.Draw, two.Number, two.Draw)
			}
		}
	})
}

func TestRoom_ADrawWithoutItsKeyHolds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, s := admission.NewMemory(nil), drawSettings("")
		call := admission.Call{Line: admission.LineID{Tenant: "demo", Activity: 123}, Gateway: "gone"}
		if _, err := store.Release(t.Context(), call, s.Limits, 0); err != nil {
			t.Fatal(err)
		}
		if _, err := store.Draw(t.Context(), call, admission.Drawing{Key: "gone"}); err != nil {
			t.Fatal(err)
		}
		room := runRoomWith(t, store, newRing(t, admission.NewKey()), s)
		time.Sleep(70 * time.Second)
		b := &browser{room: room}
		if v := b.arrive(); v.Pass || v.Status.State != admission.StateWaiting {
			t.Fatalf("a line that cannot be drawn: %+v, want to hold", v)
		}
	})
}

func TestRoom_AnIdentityThatWasDrawnIsNewWhenItsStayIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, drawSettings("").Limits)
		time.Sleep(31 * time.Second)
		known := func() admission.Verdict {
			return room.Arrive(t.Context(), admission.Visit{Identity: "alice"})
		}
		before := known()
		time.Sleep(35 * time.Second)
		room.Peek(t.Context(), admission.Visit{QueueTokens: []string{before.Queue.Token}})
		time.Sleep(3 * time.Second)
		b := &browser{room: room, queue: before.Queue.Token}
		if v := b.arrive(); !v.Pass {
			t.Fatalf("alone in the draw: %+v", v)
		}
		b.leave()
		time.Sleep(3 * time.Second)
		v := known()
		if !v.Pass || v.Session.Number <= 64 {
			t.Fatalf("whose stay is over came again: %+v", v)
		}
	})
}

func TestRoom_TellsNoNumberOfAnIndexThatNobodyKnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		key := admission.NewKey()
		s := drawSettings("")
		stray := runRoomWith(t, admission.NewMemory(nil), newRing(t, key), s) // a side that was cut off
		room := runRoomWith(t, admission.NewMemory(nil), newRing(t, key), s)
		time.Sleep(31 * time.Second)
		var last *browser
		for range 70 {
			last = &browser{room: stray}
			last.arrive()
		}
		time.Sleep(35 * time.Second)
		last.room = room
		if v := last.peek(); v.Status.State != admission.StateNew {
			t.Fatalf("an index above N: %+v, want to be new", v.Status)
		}
	})
}

// BenchmarkLottery_AMillionPlaces is what a gateway does once in a draw.
func BenchmarkLottery_AMillionPlaces(b *testing.B) {
	lots, err := admission.NewLots(admission.Seed{1}, "", 1_000_000)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		for i := range int64(1_000_000) {
			lots.Number(i)
		}
	}
}

func TestRoom_WhoPollsIsPresentBeforeTheDrawAndAfterIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := drawSettings("")
		s.Limits.Mode, s.Limits.Prequeue = admission.ModeHold, time.Hour
		s.Limits.StartAt = time.Now().Add(3 * time.Minute)
		room := runRoomWith(t, admission.NewMemory(nil), newRing(t, admission.NewKey()), s)
		crowd := make([]*browser, 12)
		for i := range crowd {
			crowd[i] = &browser{room: room}
			crowd[i].arrive()
		}
		crowd[5].queue = "" // closed the tab
		for begin := time.Now(); time.Since(begin) < 6*time.Minute; time.Sleep(8 * time.Second) {
			for i, b := range crowd {
				if i == 5 {
					continue
				}
				if s := b.peek().Status; time.Since(begin) > 100*time.Second && s.QueueLength != 11 {
					t.Fatalf("after %v %d of eleven who poll are present", time.Since(begin), s.QueueLength)
				}
			}
		}
		positions := map[int64]bool{}
		for i, b := range crowd {
			if i == 5 {
				continue
			}
			s := b.peek().Status
			if s.State != admission.StateWaiting || s.Number == 0 || s.QueueLength != 11 || s.Position < 1 || s.Position > 11 || positions[s.Position] {
				t.Fatalf("index %d of eleven who poll: %+v", i, s)
			}
			positions[s.Position] = true
		}
	})
}

// Store and gateways are lost together, and nothing is left but what the
// visitors hold.
func TestRoom_TicketsBringADrawBackWhenAllElseIsLost(t *testing.T) {
	for _, lost := range []time.Duration{40 * time.Second, 61 * time.Second, 70 * time.Second} { // before the start, at it, and after the draw
		synctest.Test(t, func(t *testing.T) {
			key, s := admission.NewKey(), drawSettings("")
			first := runRoomWith(t, admission.NewMemory(nil), newRing(t, key), s)
			time.Sleep(31 * time.Second)
			crowd := make([]*browser, 70)
			for i := range crowd {
				crowd[i] = &browser{room: first}
				crowd[i].arrive()
			}
			time.Sleep(lost - 31*time.Second)
			before := make([]admission.Status, len(crowd))
			for i, b := range crowd {
				before[i] = b.peek().Status
			}
			room := runRoomWith(t, admission.NewMemory(nil), newRing(t, key), s)
			seen := map[int64]bool{}
			for _, b := range crowd {
				b.room = room
				b.peek()
			}
			newcomer := &browser{room: room}
			for newcomer.queue == "" { // the line settles, and may have to close the indexes
				time.Sleep(5 * time.Second)
				if v := newcomer.arrive(); v.Pass {
					t.Fatalf("lost after %v, a newcomer gets %+v", lost, v)
				}
			}
			time.Sleep(time.Until(s.Limits.StartAt) + 15*time.Second)
			for i, b := range append(crowd, newcomer) {
				after := b.peek().Status
				if after.Number == 0 || seen[after.Number] {
					t.Fatalf("lost after %v, index %d: %+v", lost, i, after)
				}
				seen[after.Number] = true
				if i < len(crowd) {
					wantNumber(t, after)
					if after.Draw.Commitment != before[i].Draw.Commitment || before[i].Number != 0 && before[i].Number != after.Number {
						t.Fatalf("lost after %v, index %d was %+v and is %+v", lost, i, before[i], after)
					}
				}
			}
		})
	}
}
