package admission_test

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
)

// demoLimits are those of the demo: one visitor at a time.
func demoLimits() admission.Limits {
	return admission.Limits{
		Mode: admission.ModeAuto, Capacity: 1, RatePerHour: 12 * 60, Burst: 1,
		Claim: 90 * time.Second, Absence: 30 * time.Second, HoldPlace: 15 * time.Minute,
		Idle: 30 * time.Second, Max: 2 * time.Minute,
	}
}

// openRoom runs a room over a store of its own until the test ends.
func openRoom(t *testing.T, limits admission.Limits) *admission.Room {
	t.Helper()
	return runRoom(t, admission.NewMemory(nil), newRing(t, admission.NewKey()), limits)
}

func newRing(t *testing.T, keys ...admission.Key) *admission.Keyring {
	t.Helper()
	ring, err := admission.NewKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func settings(limits admission.Limits) admission.Settings {
	return admission.Settings{
		Limits: limits,
		Poll:   admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000},
	}
}

func runRoom(t *testing.T, store admission.Store, ring *admission.Keyring, limits admission.Limits) *admission.Room {
	t.Helper()
	return runRoomWith(t, store, ring, settings(limits))
}

func runRoomWith(t *testing.T, store admission.Store, ring *admission.Keyring, s admission.Settings) *admission.Room {
	t.Helper()
	room, _ := admissiontest.RunRoom(t, store, admission.LineID{Tenant: "demo", Activity: 123}, rand.Text(), ring, s)
	return room
}

// browser is a visitor with a cookie jar for one room.
type browser struct {
	room                   *admission.Room
	queue, admission, pass string
}

func (b *browser) visit() admission.Visit {
	var v admission.Visit
	if b.queue != "" {
		v.QueueTokens = []string{b.queue}
	}
	if b.admission != "" {
		v.AdmissionTokens = []string{b.admission}
	}
	if b.pass != "" {
		v.PassTokens = []string{b.pass}
	}
	return v
}

func (b *browser) keep(v admission.Verdict) admission.Verdict {
	if v.DropQueue {
		b.queue = ""
	}
	if v.DropAdmission {
		b.admission = ""
	}
	if v.DropPass {
		b.pass = ""
	}
	if v.HeldPass.Token != "" {
		b.pass = v.HeldPass.Token
	}
	if v.Queue.Token != "" {
		b.queue = v.Queue.Token
	}
	if v.Admission.Token != "" {
		b.admission = v.Admission.Token
	}
	return v
}

func (b *browser) arrive() admission.Verdict {
	return b.keep(b.room.Arrive(context.Background(), b.visit()))
}
func (b *browser) peek() admission.Verdict {
	return b.keep(b.room.Peek(context.Background(), b.visit()))
}
func (b *browser) leave() admission.Verdict {
	return b.keep(b.room.Leave(context.Background(), b.visit()))
}

// open opens the link of a pass.
func (b *browser) open(token string) admission.PassState {
	return b.keep(b.room.TakePass(b.visit(), token)).Status.Pass
}

// settleIn enters and brings the token back, which makes the session one of
// the whole idle time.
func (b *browser) settleIn() {
	b.arrive()
	b.arrive()
	time.Sleep(time.Second)
	b.arrive()
}

// poll peeks as told until the state is no longer waiting, or d has passed.
func (b *browser) poll(d time.Duration) admission.Status {
	for end := time.Now().Add(d); ; {
		s := b.peek().Status
		if s.State != admission.StateWaiting || time.Now().After(end) {
			return s
		}
		time.Sleep(s.PollAfter)
	}
}

func TestRoom_SecondVisitorWaitsAndEntersByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		first, second := &browser{room: room}, &browser{room: room}
		if v := first.arrive(); !v.Pass || v.Reason != admission.PassEntered {
			t.Fatalf("first arrival in a quiet room: %+v, want to pass", v)
		}
		if v := first.arrive(); !v.Pass || v.Reason != admission.PassAdmitted {
			t.Fatalf("second request of the first visitor: %+v, want to pass", v)
		}
		v := second.arrive()
		if v.Pass || v.Status.State != admission.StateWaiting || v.Status.Number != 2 || v.Status.Position != 1 {
			t.Fatalf("arrival in a full room: %+v, want number 2 at position 1", v)
		}
		joined := time.Now()
		if s := second.poll(time.Minute); s.State != admission.StateReady {
			t.Fatalf("after the first visitor's idle time: %+v, want ready", s)
		}
		waited := time.Since(joined)
		if v := second.arrive(); !v.Pass || v.Session.Number != 2 || (v.Waited-waited).Abs() > time.Second {
			t.Fatalf("arrival with a turn: %+v, want to pass as number 2 after %v", v, waited)
		}
		if v := first.arrive(); v.Pass || v.Status.Number != 3 {
			t.Fatalf("arrival after the session ended: %+v, want a new place", v)
		}
	})
}

func TestRoom_LostAnswerCostsNoTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		first, second := &browser{room: room}, &browser{room: room}
		first.arrive()
		second.arrive()
		if s := second.poll(time.Minute); s.State != admission.StateReady {
			t.Fatalf("got %+v, want ready", s)
		}
		queue := second.queue
		lost := room.Arrive(t.Context(), second.visit()) // its cookies never come home
		if !lost.Pass {
			t.Fatalf("arrival with a turn: %+v, want to pass", lost)
		}
		time.Sleep(5 * time.Second)
		second.queue = queue
		again := second.arrive()
		if !again.Pass || again.Session.Visitor != lost.Session.Visitor || !again.Session.Until.Equal(lost.Session.Until) {
			t.Fatalf("asked again: %+v, want the session of the first answer: %+v", again.Session, lost.Session)
		}
		second.leave()
		second.queue, second.admission = queue, ""
		if v := second.arrive(); v.Pass && v.Session.Visitor == lost.Session.Visitor {
			t.Error("a used ticket bought the same session again after it had ended")
		}
	})
}

func TestRoom_AbsentVisitorIsSkippedAndKeepsThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		inside, gone, next := &browser{room: room}, &browser{room: room}, &browser{room: room}
		inside.arrive()
		gone.arrive()
		next.arrive()
		stay := time.Now().Add(75 * time.Second) // longer than two windows of absence
		for time.Now().Before(stay) {
			inside.arrive()
			next.peek()
			time.Sleep(4 * time.Second)
		}
		if s := next.peek().Status; s.Position != 1 || s.QueueLength != 1 {
			t.Errorf("with one visitor gone: %+v, want position 1 of 1: people are counted, not numbers", s)
		}
		inside.leave()
		if s := next.poll(20 * time.Second); s.State != admission.StateReady {
			t.Fatalf("the seat is free: %+v, want the present visitor to be ready", s)
		}
		if v := next.arrive(); !v.Pass {
			t.Fatalf("got %+v, want to pass", v)
		}
		s := gone.peek().Status
		if s.State != admission.StateWaiting || s.Number != 2 || s.Position != 1 {
			t.Fatalf("the visitor who was away: %+v, want number 2 at the very front", s)
		}
		next.leave()
		if s := gone.poll(20 * time.Second); s.State != admission.StateReady {
			t.Errorf("got %+v, want ready: the place was held", s)
		}
	})
}

func TestRoom_LapsedTurnComesBackByAskingNotByPolling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Claim, limits.RatePerHour = 20*time.Second, 0
		room := openRoom(t, limits)
		inside, sleeper := &browser{room: room}, &browser{room: room}
		inside.arrive()
		sleeper.arrive()
		inside.leave()
		if s := sleeper.poll(10 * time.Second); s.State != admission.StateReady || s.Claim <= 15*time.Second || s.Claim > 20*time.Second {
			t.Fatalf("got %+v, want ready with nearly all of the claim", s)
		}
		time.Sleep(21 * time.Second)
		for range 5 {
			if s := sleeper.peek().Status; s.State != admission.StateWaiting || !s.Lapsed || s.Position != 1 {
				t.Fatalf("after the claim: %+v, want a lapsed visitor at the front", s)
			}
			time.Sleep(2 * time.Second)
		}
		if v := sleeper.arrive(); !v.Pass || v.Session.Number != 2 {
			t.Errorf("asked to enter with the seat free: %+v, want to pass as number 2", v)
		}
	})
}

func TestRoom_LeavingEndsTheTokenAtOnceAndFreesTheSeatTwoTicksLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.RatePerHour = 0
		room := openRoom(t, limits)
		inside, next := &browser{room: room}, &browser{room: room}
		inside.arrive()
		next.arrive()
		token := inside.admission
		if v := inside.leave(); !v.DropAdmission || !v.DropQueue {
			t.Fatalf("got %+v, want both tickets dropped", v)
		}
		copied := &browser{room: room, admission: token}
		if v := copied.arrive(); v.Pass {
			t.Error("a token passes after its visitor left")
		}
		time.Sleep(4 * admission.Tick)
		if s := next.peek().Status; s.State != admission.StateReady {
			t.Errorf("four ticks after the seat was left: %+v, want ready", s)
		}
	})
}

func TestRoom_SessionInUseLivesUntilItsMaximumAndNoLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		b := &browser{room: room}
		began := time.Now()
		b.arrive()
		for time.Since(began) < 118*time.Second {
			time.Sleep(3 * time.Second)
			if v := b.arrive(); !v.Pass && time.Since(began) < 118*time.Second {
				t.Fatalf("held after %s of use: %+v", time.Since(began), v)
			}
		}
		time.Sleep(5 * time.Second)
		if v := b.arrive(); v.Reason == admission.PassAdmitted {
			t.Errorf("passes %s after it began, beyond the maximum of 2m", time.Since(began))
		}
	})
}

func TestRoom_ReadsNeverSetCookiesYetTheSessionLives(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		b := &browser{room: room}
		b.arrive()
		// A single-page shop fetches and never navigates: no answer may set a
		// cookie, so the token in the jar grows old while the session is used.
		for range 20 {
			time.Sleep(5 * time.Second)
			if v := room.Arrive(t.Context(), b.visit()); !v.Pass {
				t.Fatalf("held while in use: %+v", v)
			}
		}
	})
}

func TestRoom_ModesAndSchedule(t *testing.T) {
	now := time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC) // where synctest begins
	for _, c := range []struct {
		name   string
		change func(*admission.Limits)
		want   admission.Reason
		state  admission.State
	}{
		{"open", func(l *admission.Limits) { l.Mode = admission.ModeOpen }, admission.PassOpen, ""},
		{"hold", func(l *admission.Limits) { l.Mode = admission.ModeHold }, admission.HoldPaused, admission.StateWaiting},
		{"closed", func(l *admission.Limits) { l.Mode = admission.ModeClosed }, admission.HoldClosed, admission.StateClosed},
		{"before", func(l *admission.Limits) { l.StartAt = now.Add(time.Hour) }, admission.HoldBefore, admission.StateBefore},
		{"ended", func(l *admission.Limits) { l.EndAt = now.Add(-time.Hour) }, admission.HoldEnded, admission.StateEnded},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limits := demoLimits()
				c.change(&limits)
				room := openRoom(t, limits)
				v := (&browser{room: room}).arrive()
				if v.Reason != c.want || v.Status.State != c.state {
					t.Errorf("got %s and state %q, want %s and %q", v.Reason, v.Status.State, c.want, c.state)
				}
			})
		})
	}
}

func TestRoom_StartOpensToWhoComesAndPauseKeepsEveryPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.StartAt = time.Now().Add(30 * time.Second)
		room := openRoom(t, limits)
		b, c := &browser{room: room}, &browser{room: room}
		s := b.arrive().Status
		if s.State != admission.StateBefore || s.PollAfter <= 0 {
			t.Fatalf("got %+v, want before, and when to ask again", s)
		}
		time.Sleep(31 * time.Second)
		if s := b.peek().Status; s.State != admission.StateNew {
			t.Fatalf("after the start: %+v, want new: who asks now joins", s)
		}
		if v := b.arrive(); !v.Pass {
			t.Fatalf("first to come after the start: %+v, want to pass", v)
		}
		c.arrive()
		held := limits
		held.Mode = admission.ModeHold
		room.Configure(settings(held))
		b.leave()
		for range 10 {
			time.Sleep(3 * time.Second)
			if s := c.peek().Status; s.State != admission.StateWaiting || !s.Paused || s.Number != 2 || s.Wait.Known {
				t.Fatalf("paused: %+v, want to wait with number 2 and no estimate", s)
			}
		}
		room.Configure(settings(limits))
		if s := c.poll(20 * time.Second); s.State != admission.StateReady {
			t.Errorf("resumed: %+v, want ready", s)
		}
	})
}

func TestRoom_KeyRotationKeepsPlacesAndSessions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		old, fresh := admission.NewKey(), admission.NewKey()
		ring := newRing(t, old)
		room := runRoom(t, admission.NewMemory(nil), ring, demoLimits())
		inside, waiting := &browser{room: room}, &browser{room: room}
		inside.arrive()
		waiting.arrive()
		room.Rotate(newRing(t, fresh, old))
		if v := inside.arrive(); !v.Pass {
			t.Errorf("inside after the rotation: %+v, want to pass", v)
		}
		v := waiting.peek()
		if v.Status.Number != 2 || v.Queue.Token == "" {
			t.Fatalf("waiting after the rotation: %+v, want number 2 and a ticket of the new key", v)
		}
		room.Rotate(newRing(t, fresh))
		if s := waiting.peek().Status; s.Number != 2 {
			t.Errorf("the old key is gone, the ticket was renewed: %+v, want number 2", s)
		}
	})
}

func TestRoom_TwoGatewaysPaceOneLine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Capacity, limits.RatePerHour, limits.Burst = 0, 3600, 1 // one a second
		store := admission.NewMemory(nil)
		ring := newRing(t, admission.NewKey())
		rooms := []*admission.Room{runRoom(t, store, ring, limits), runRoom(t, store, ring, limits)}
		var crowd []*browser
		seen := map[int64]bool{}
		for i := range 40 {
			b := &browser{room: rooms[i%2]}
			v := b.arrive()
			n := v.Status.Number + v.Session.Number
			if seen[n] {
				t.Fatalf("number %d was given twice", n)
			}
			seen[n] = true
			if !v.Pass {
				crowd = append(crowd, b)
			}
		}
		began := time.Now()
		var order []int64
		for len(order) < 30 {
			time.Sleep(admission.Tick)
			for _, b := range crowd {
				b.room = rooms[len(order)%2] // a balancer sends a visitor anywhere
				if b.admission == "" && b.peek().Status.State == admission.StateReady {
					if v := b.arrive(); v.Pass {
						order = append(order, v.Session.Number)
					}
				}
			}
			if time.Since(began) > time.Minute {
				t.Fatalf("only %d of 30 were released in a minute", len(order))
			}
		}
		if took := time.Since(began); took < 28*time.Second || took > 33*time.Second {
			t.Errorf("30 releases at one a second took %s", took)
		}
		for i := 1; i < len(order); i++ {
			if order[i] < order[i-1] {
				t.Fatalf("number %d entered before %d", order[i-1], order[i])
			}
		}
	})
}

func TestRoom_WhatAnOperatorDecidesReachesEveryGatewayWithinASecond(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ring := admission.NewMemory(nil), newRing(t, admission.NewKey())
		here, there := runRoom(t, store, ring, demoLimits()), runRoom(t, store, ring, demoLimits())
		(&browser{room: here}).arrive()
		b := &browser{room: there}
		b.arrive()
		decide := func(change func(*admission.Overrides)) admission.Status {
			t.Helper()
			if err := here.Override(t.Context(), change); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
			return b.peek().Status
		}
		words, none := "We are restocking.", int64(-1)
		if s := decide(func(o *admission.Overrides) { o.Mode, o.Message = admission.ModeHold, &words }); !s.Paused || s.Message != words {
			t.Errorf("paused with a message: %+v", s)
		}
		seats := int64(2)
		s := decide(func(o *admission.Overrides) { o.Mode, o.Message, o.Capacity = "", nil, &seats })
		if s.Paused || s.Message != "" {
			t.Errorf("resumed without the message: %+v", s)
		}
		if s := b.poll(10 * time.Second); s.State != admission.StateReady {
			t.Errorf("a second seat was decided on: %+v, want ready", s)
		}
		for _, change := range []func(*admission.Overrides){
			func(o *admission.Overrides) { o.Mode = "ajar" },
			func(o *admission.Overrides) { o.Capacity = &none },
			func(o *admission.Overrides) { o.RatePerHour = &none },
		} {
			if err := here.Override(t.Context(), change); err == nil {
				t.Error("a decision that makes no sense was taken")
			}
		}
	})
}

func TestRoom_TwoWhoDecideAtOnceUndoNothingOfEachOther(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ring := admission.NewMemory(nil), newRing(t, admission.NewKey())
		here, there := runRoom(t, store, ring, demoLimits()), runRoom(t, store, ring, demoLimits())
		time.Sleep(time.Second)
		left, seats, words := int64(7), int64(2), "soon"
		var all sync.WaitGroup
		for _, decide := range []struct {
			room   *admission.Room
			change func(*admission.Overrides)
		}{
			{here, func(o *admission.Overrides) { o.Mode = admission.ModeHold }},
			{there, func(o *admission.Overrides) { o.Left = &left }},
			{here, func(o *admission.Overrides) { o.Capacity = &seats }},
			{there, func(o *admission.Overrides) { o.Message = &words }},
		} {
			all.Go(func() {
				if err := decide.room.Override(t.Context(), decide.change); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		time.Sleep(time.Second)
		for _, room := range []*admission.Room{here, there} {
			o := room.Figures().Overrides
			if o.Mode != admission.ModeHold || o.Left == nil || *o.Left != 7 || o.Capacity == nil || *o.Capacity != 2 || o.Message == nil || *o.Message != "soon" {
				t.Errorf("of four decisions the line has %+v", o)
			}
		}
	})
}

func TestRoom_AFullLineSaysSoAndTakesWhoComesLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.MaxQueue = 1
		room := openRoom(t, limits)
		inside, waiting, late := &browser{room: room}, &browser{room: room}, &browser{room: room}
		inside.settleIn()
		waiting.arrive()
		if v := late.arrive(); v.Pass || v.Reason != admission.HoldFull || v.Status.State != admission.StateFull || v.Status.Number != 0 || v.Queue.Token != "" {
			t.Fatalf("arrival at a full line: %+v, want full and no place", v)
		}
		time.Sleep(time.Second)
		if s := late.peek().Status; s.State != admission.StateFull || s.PollAfter < 5*time.Second {
			t.Errorf("a poll at a full line: %+v, want full and to come again by and by", s)
		}
		if s := waiting.peek().Status; s.State != admission.StateWaiting || s.Position != 1 {
			t.Errorf("who has a place in a full line is told %+v, want position 1", s)
		}
		waiting.leave()
		time.Sleep(time.Second)
		if s := late.peek().Status; s.State != admission.StateNew {
			t.Errorf("a poll when there is room again: %+v, want to be new", s)
		}
		if s := late.arrive().Status; s.State != admission.StateWaiting || s.Number != 3 {
			t.Errorf("arrival when there is room again: %+v, want number 3", s)
		}
	})
}

func TestRoom_AnEndThatIsPutOffCostsNoOneThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.EndAt, limits.RatePerHour = time.Now().Add(time.Hour), 1
		limits.Idle, limits.Max = 3*time.Hour, 3*time.Hour
		room := openRoom(t, limits)
		inside, waiting := &browser{room: room}, &browser{room: room}
		inside.settleIn()
		place := waiting.arrive().Status.Number
		time.Sleep(50 * time.Minute)
		later := limits.EndAt.Add(2 * time.Hour)
		if err := room.Override(t.Context(), func(o *admission.Overrides) { o.EndAt = &later }); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if v := waiting.peek(); v.Queue.Token == "" || v.Queue.Expires.Before(later) {
			t.Errorf("the end was put off: %+v, want a ticket that is good until then", v.Queue)
		}
		if v := waiting.peek(); v.Queue.Token != "" {
			t.Error("a ticket was signed anew though nothing changed since")
		}
		time.Sleep(time.Hour)
		if s := waiting.peek().Status; s.Number != place || place == 0 {
			t.Errorf("past the first end: %+v, want number %d", s, place)
		}
	})
}

func TestRoom_SoldOutIsToldToAllWhoWaitAndMayBeTakenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Stock = admission.Stock{Counted: true, Left: 5}
		room := openRoom(t, limits)
		inside, newcomer := &browser{room: room}, &browser{room: room}
		inside.settleIn()
		line := []*browser{{room: room}, {room: room}}
		for _, b := range line {
			if s := b.arrive().Status; s.Stock.Counted {
				t.Errorf("told of a stock that is not to be shown: %+v", s)
			}
		}
		left := func(n int64) {
			t.Helper()
			if err := room.Override(t.Context(), func(o *admission.Overrides) { o.Left = &n }); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Second)
		}
		left(0)
		for i, b := range line {
			if s := b.peek().Status; s.State != admission.StateEnded || !s.Stock.SoldOut() || s.PollAfter == 0 || s.Number != int64(i+2) {
				t.Errorf("who waits is told %+v, want that all is sold and to ask again", s)
			}
			if v := b.arrive(); v.Pass || v.Reason != admission.HoldEnded || v.DropQueue {
				t.Errorf("who waits and asks gets %+v, want to be held and keep the place", v)
			}
		}
		if v := newcomer.arrive(); v.Pass || v.Reason != admission.HoldEnded || v.Queue.Token != "" {
			t.Errorf("a newcomer gets %+v, want no place", v)
		}
		if v := inside.arrive(); !v.Pass {
			t.Errorf("who is inside gets %+v, want to pass", v)
		}
		left(1)
		for i, b := range line {
			if s := b.peek().Status; s.State != admission.StateWaiting || s.Position != int64(i+1) {
				t.Errorf("when one is given back, who waits is told %+v, want position %d", s, i+1)
			}
		}
		none := int64(-1)
		if err := room.Override(t.Context(), func(o *admission.Overrides) { o.Left = &none }); err == nil {
			t.Error("a stock below none was taken")
		}
	})
}

func TestRoom_ResetMakesEveryoneNewButWhoIsInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		inside, waiting := &browser{room: room}, &browser{room: room}
		inside.settleIn()
		if s := waiting.arrive().Status; s.Number != 2 {
			t.Fatalf("arrival in a full room: %+v, want number 2", s)
		}
		if err := room.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		if v := inside.arrive(); !v.Pass {
			t.Errorf("after a reset, who was inside gets %+v, want to pass", v)
		}
		if s := waiting.peek().Status; s.State != admission.StateNew {
			t.Errorf("after a reset, who waited is told %+v, want to be new", s)
		}
		if s := waiting.arrive().Status; s.Number != 1 || s.State != admission.StateWaiting {
			t.Errorf("after a reset, who waited joins with %+v, want number 1", s)
		}
	})
}

// lateAnswers has something happen between a join and its answer.
type lateAnswers struct {
	admission.Store
	meanwhile func() // nil: nothing
}

func (l *lateAnswers) Join(ctx context.Context, call admission.Call, batch string, n []admission.Newcomer) (admission.Head, []admission.Place, error) {
	head, places, err := l.Store.Join(ctx, call, batch, n)
	if l.meanwhile != nil {
		l.meanwhile()
	}
	return head, places, err
}

func TestRoom_AResetDuringAJoinGivesNoNumberTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.RatePerHour = 1
		store := &lateAnswers{Store: admission.NewMemory(nil)}
		room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
		(&browser{room: room}).arrive()
		store.meanwhile = func() {
			if err := room.Reset(t.Context()); err != nil {
				t.Error(err)
			}
		}
		early := &browser{room: room}
		early.arrive()
		store.meanwhile = nil
		for range 2 {
			(&browser{room: room}).arrive()
		}
		time.Sleep(time.Second)
		if s := early.peek().Status; s.State != admission.StateNew {
			t.Errorf("a number of before the reset is told as %+v, want to be new", s)
		}
	})
}

// away is a store that can be cut off, or put in the place of another that
// lost everything.
type away struct {
	mu sync.Mutex // protects Store
	admission.Store
	hung  atomic.Bool
	calls atomic.Int64
}

func (a *away) reach(ctx context.Context) (admission.Store, error) {
	a.calls.Add(1)
	if a.hung.Load() {
		<-ctx.Done()
		return nil, fmt.Errorf("%w: %w", admission.ErrUnavailable, ctx.Err())
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.Store, nil
}

func (a *away) replace(by admission.Store) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.Store = by
}

func (a *away) Join(ctx context.Context, call admission.Call, batch string, n []admission.Newcomer) (admission.Head, []admission.Place, error) {
	s, err := a.reach(ctx)
	if err != nil {
		return admission.Head{}, nil, err
	}
	return s.Join(ctx, call, batch, n)
}

func (a *away) Release(ctx context.Context, call admission.Call, l admission.Limits, since int64) (admission.Line, error) {
	s, err := a.reach(ctx)
	if err != nil {
		return admission.Line{}, err
	}
	a.calls.Add(-1) // the tick comes whatever visitors do
	return s.Release(ctx, call, l, since)
}

func (a *away) Admit(ctx context.Context, call admission.Call, k []admission.Knock) (admission.Head, []admission.Entry, error) {
	s, err := a.reach(ctx)
	if err != nil {
		return admission.Head{}, nil, err
	}
	return s.Admit(ctx, call, k)
}

func (a *away) Leave(ctx context.Context, call admission.Call, d []admission.Departure) (admission.Head, error) {
	s, err := a.reach(ctx)
	if err != nil {
		return admission.Head{}, err
	}
	return s.Leave(ctx, call, d)
}

func (a *away) Renew(ctx context.Context, call admission.Call, v []string) (admission.Head, []admission.Entry, error) {
	s, err := a.reach(ctx)
	if err != nil {
		return admission.Head{}, nil, err
	}
	return s.Renew(ctx, call, v)
}

func (a *away) Present(ctx context.Context, call admission.Call, p []admission.Piece) (admission.Head, error) {
	s, err := a.reach(ctx)
	if err != nil {
		return admission.Head{}, err
	}
	a.calls.Add(-1) // nor does presence ask once per visitor
	return s.Present(ctx, call, p)
}

func (a *away) Heal(ctx context.Context, call admission.Call, m admission.Memory) (admission.Head, error) {
	s, err := a.reach(ctx)
	if err != nil {
		return admission.Head{}, err
	}
	return s.Heal(ctx, call, m)
}

func TestRoom_AdmittedRequestsAndPollsAskTheStoreNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Idle, limits.Max = 10*time.Minute, time.Hour
		store := &away{Store: admission.NewMemory(nil)}
		room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
		inside, waiting := &browser{room: room}, &browser{room: room}
		inside.settleIn()
		waiting.arrive()
		before := store.calls.Load()
		for range 1000 {
			inside.arrive()
			waiting.peek()
			waiting.arrive()
		}
		if asked := store.calls.Load() - before; asked != 0 {
			t.Errorf("3,000 requests of visitors with tickets asked the store %d times, want 0", asked)
		}
		// An hour of steady use is renewed once a quarter of idle, no more.
		before = store.calls.Load()
		for range 50 * 60 {
			inside.arrive()
			time.Sleep(time.Second)
		}
		if asked := store.calls.Load() - before; asked < 15 || asked > 20 {
			t.Errorf("50 minutes of use asked the store %d times, want once each 2m30s", asked)
		}
	})
}

func TestRoom_StoreThatHangsDelaysNoOneInsideAndLosesNoPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Idle, limits.Max = 10*time.Minute, time.Hour
		store := &away{Store: admission.NewMemory(nil)}
		room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
		inside, waiting, newcomer := &browser{room: room}, &browser{room: room}, &browser{room: room}
		inside.settleIn()
		waiting.arrive()
		store.hung.Store(true)
		for range 60 {
			time.Sleep(5 * time.Second)
			asked := time.Now()
			if v := inside.arrive(); !v.Pass {
				t.Fatalf("inside, the store hangs: %+v, want to pass", v)
			}
			if v := waiting.peek(); v.Status.State != admission.StateWaiting || v.Status.Number != 2 || !v.Status.Unavailable {
				t.Fatalf("waiting, the store hangs: %+v, want number 2 and to be told", v.Status)
			}
			if v := waiting.arrive(); v.Pass || v.Status.Number != 2 {
				t.Fatalf("waiting, the store hangs: %+v, want to be held", v.Status)
			}
			if took := time.Since(asked); took > 0 {
				t.Fatalf("visitors with tickets waited %s for a store that hangs", took)
			}
			if v := newcomer.arrive(); v.Pass || !v.Status.Unavailable {
				t.Fatalf("newcomer, the store hangs: %+v, want to be held and told", v)
			}
		}
		store.hung.Store(false)
		time.Sleep(5 * time.Second)
		if v := inside.arrive(); !v.Pass {
			t.Errorf("inside, the store is back: %+v, want to pass", v)
		}
		if s := waiting.peek().Status; s.Number != 2 || s.Unavailable {
			t.Errorf("waiting, the store is back: %+v, want number 2", s)
		}
		if s := newcomer.arrive().Status; s.Number != 3 {
			t.Errorf("newcomer, the store is back: %+v, want number 3", s)
		}
	})
}

func TestRoom_OutageLetsPassAtTheRateWhereTheAdminChoseSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.RatePerHour, limits.Burst = 7200, 1 // two a second
		store := &away{Store: admission.NewMemory(nil)}
		room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
		open := settings(limits)
		open.OpenOnFailure = true
		room.Configure(open)
		inside, waiting := &browser{room: room}, &browser{room: room}
		inside.settleIn()
		waiting.arrive()
		store.hung.Store(true)
		if v := waiting.arrive(); v.Pass {
			t.Fatalf("the store was just there: %+v, want to wait", v)
		}
		time.Sleep(5 * time.Second)
		passed := 0
		for range 40 { // ten seconds
			if v := (&browser{room: room}).arrive(); v.Pass {
				if v.Reason != admission.PassOutage {
					t.Fatalf("passes for %s, want %s", v.Reason, admission.PassOutage)
				}
				passed++
			}
			time.Sleep(250 * time.Millisecond)
		}
		if passed < 19 || passed > 21 {
			t.Errorf("%d passed in ten seconds at two a second", passed)
		}
		store.hung.Store(false)
		time.Sleep(3 * time.Second)
		if v := (&browser{room: room}).arrive(); v.Pass {
			t.Errorf("the store is back: %+v, want to wait", v)
		}
		if s := waiting.peek().Status; s.Number != 2 {
			t.Errorf("the store is back: %+v, want the place of before", s)
		}
	})
}

func TestRoom_OutageOpensNothingThatWasNotOpen(t *testing.T) {
	hour, none := time.Hour, int64(0)
	for name, c := range map[string]struct {
		change func(*admission.Limits)
		decide func(*admission.Overrides)
		pass   bool
	}{
		"open for all":          {change: func(l *admission.Limits) { l.Mode = admission.ModeOpen }, pass: true},
		"on":                    {pass: true},
		"held":                  {change: func(l *admission.Limits) { l.Mode = admission.ModeHold }},
		"closed":                {change: func(l *admission.Limits) { l.Mode = admission.ModeClosed }},
		"not begun":             {change: func(l *admission.Limits) { l.StartAt = time.Now().Add(hour) }},
		"over":                  {change: func(l *admission.Limits) { l.EndAt = time.Now().Add(-hour) }},
		"sold out":              {change: func(l *admission.Limits) { l.Stock.Counted = true }},
		"paused":                {decide: func(o *admission.Overrides) { o.Mode = admission.ModeHold }},
		"open for all, paused":  {change: func(l *admission.Limits) { l.Mode = admission.ModeOpen }, decide: func(o *admission.Overrides) { o.Mode = admission.ModeHold }},
		"said to be sold out":   {decide: func(o *admission.Overrides) { o.Left = &none }},
		"put off":               {decide: func(o *admission.Overrides) { later := time.Now().Add(hour); o.StartAt = &later }},
		"held, and then opened": {change: func(l *admission.Limits) { l.Mode = admission.ModeHold }, decide: func(o *admission.Overrides) { o.Mode = admission.ModeAuto }, pass: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limits := demoLimits()
				if c.change != nil {
					c.change(&limits)
				}
				open := settings(limits)
				open.OpenOnFailure = true
				store := &away{Store: admission.NewMemory(nil)}
				room := runRoomWith(t, store, newRing(t, admission.NewKey()), open)
				if c.decide != nil {
					if err := room.Override(t.Context(), c.decide); err != nil {
						t.Fatal(err)
					}
				}
				time.Sleep(time.Second)
				store.hung.Store(true)
				time.Sleep(10 * time.Second)
				if v := (&browser{room: room}).arrive(); v.Pass != c.pass {
					t.Errorf("the store is away: %+v, want to pass: %v", v, c.pass)
				}
			})
		})
	}
}

func TestRoom_StoreThatLostEverythingIsLiftedByWhatVisitorsHold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Capacity, limits.Idle, limits.Max = 2, 5*time.Minute, time.Hour
		limits.RatePerHour = 0
		store := &away{Store: admission.NewMemory(nil)}
		room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
		var inside, waiting []*browser
		for range 2 {
			b := &browser{room: room}
			b.arrive()
			inside = append(inside, b)
		}
		for range 10 {
			b := &browser{room: room}
			b.arrive()
			waiting = append(waiting, b)
		}
		time.Sleep(3 * time.Second) // a tick and a flush have passed

		store.replace(admission.NewMemory(nil))
		for range 12 { // settling, as seen by those who are there
			time.Sleep(500 * time.Millisecond)
			for _, b := range inside {
				if v := b.arrive(); !v.Pass {
					t.Fatalf("inside, the store lost its data: %+v, want to pass", v)
				}
			}
			for i, b := range waiting {
				if s := b.peek().Status; s.Number != int64(3+i) || s.State != admission.StateWaiting {
					t.Fatalf("waiting, the store lost its data: %+v, want number %d", s, 3+i)
				}
			}
		}
		late := &browser{room: room}
		if s := late.arrive().Status; s.Number < 1<<20 || s.Position != 11 {
			t.Errorf("newcomer after the heal: %+v, want a number beyond the leap and position 11", s)
		}
		if f := room.Figures(); f.Sessions != 2 {
			t.Errorf("after the heal: %d sessions, want the 2 that stood", f.Sessions)
		}
		inside[0].leave()
		time.Sleep(time.Second)
		if s := waiting[0].peek().Status; s.State != admission.StateReady {
			t.Errorf("a seat is free: %+v, want the first in line to be ready", s)
		}
		if s := waiting[1].peek().Status; s.State != admission.StateWaiting || s.Position != 1 {
			t.Errorf("one seat was free: %+v, want the second in line to be the next", s)
		}
	})
}

// memories counts what is brought to a line at once.
type memories struct {
	*away
	most atomic.Int64
}

func (m *memories) Heal(ctx context.Context, call admission.Call, memory admission.Memory) (admission.Head, error) {
	m.most.Store(max(m.most.Load(), int64(len(memory.Sessions)+len(memory.Ended))))
	return m.away.Heal(ctx, call, memory)
}

func TestRoom_ManySessionsAreBroughtInManySteps(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const inside = 10_000
		limits := demoLimits()
		limits.Capacity, limits.RatePerHour, limits.Idle, limits.Max = 0, 0, time.Hour, 2*time.Hour
		store := &memories{away: &away{Store: admission.NewMemory(nil)}}
		room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
		for range inside {
			if v := (&browser{room: room}).arrive(); !v.Pass {
				t.Fatalf("got %+v, want to pass", v)
			}
		}
		time.Sleep(time.Second)
		store.replace(admission.NewMemory(nil))
		time.Sleep(4 * time.Second)
		if got := room.Figures().Sessions; got != inside {
			t.Errorf("after a loss %d are inside, want %d", got, inside)
		}
		if most := store.most.Load(); most == 0 || most > inside/2 {
			t.Errorf("%d sessions were brought in one step", most)
		}
	})
}

// Admitted and lost between two ticks: no map has it, only the session.
func TestRoom_ATicketUsedJustBeforeALossBuysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.RatePerHour, limits.Idle = 0, 10*time.Second
		store := &away{Store: admission.NewMemory(nil)}
		room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
		first, b := &browser{room: room}, &browser{room: room}
		first.settleIn()
		b.arrive()
		ticket := b.queue
		first.leave()
		if s := b.poll(10 * time.Second); s.State != admission.StateReady {
			t.Fatalf("a seat is free: %+v, want ready", s)
		}
		if v := b.arrive(); !v.Pass {
			t.Fatalf("with a turn: %+v, want to pass", v)
		}
		store.replace(admission.NewMemory(nil))
		time.Sleep(4 * time.Second) // the line has settled
		if v := b.arrive(); !v.Pass {
			t.Fatalf("inside, the store lost its data: %+v, want to pass", v)
		}
		time.Sleep(2 * limits.Idle) // the session is over
		again := &browser{room: room, queue: ticket}
		if s := again.peek().Status; s.State != admission.StateNew {
			t.Errorf("a used ticket is told %+v, want to be new", s)
		}
		if v := again.arrive(); v.Session.Number == 2 || v.Status.Number == 2 {
			t.Errorf("a used ticket got its number again: %+v", v)
		}
	})
}

// The second gateway has not seen the visitor, so that it asks for the session:
// a line that the first one has not told of it yet.
func TestRoom_ASecondLossHoldsNoOneInside(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Idle, limits.Max = 5*time.Minute, time.Hour
		store := &away{Store: admission.NewMemory(nil)}
		ring := newRing(t, admission.NewKey())
		first, second := runRoom(t, store, ring, limits), runRoom(t, store, ring, limits)
		b := &browser{room: first}
		b.settleIn()
		time.Sleep(3 * time.Second) // a tick and a flush have passed

		store.replace(admission.NewMemory(nil))
		time.Sleep(10 * time.Second)
		store.replace(admission.NewMemory(nil))
		b.room = second
		for range 20 {
			if v := b.arrive(); !v.Pass {
				t.Fatalf("inside, the store lost its data twice: %+v, want to pass", v)
			}
			time.Sleep(500 * time.Millisecond)
		}
		if f := second.Figures(); f.Sessions != 1 {
			t.Errorf("%d sessions after it, want the one that stood", f.Sessions)
		}
	})
}

// The gateway that renewed the session is gone with what it knew, and what the
// other one remembers ends before the token does.
func TestRoom_ALossHoldsNoOneInsideWhoseGatewayIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Max = time.Hour
		shared := admission.NewMemory(nil)
		gone, store := &away{Store: shared}, &away{Store: shared}
		ring := newRing(t, admission.NewKey())
		first, second := runRoom(t, gone, ring, limits), runRoom(t, store, ring, limits)
		b := &browser{room: second}
		b.settleIn()
		time.Sleep(20 * time.Second)
		b.room = first
		b.settleIn()

		store.replace(admission.NewMemory(nil))
		gone.hung.Store(true)
		b.room = second
		time.Sleep(10*time.Second + admission.SessionGrace/2)
		for range 30 {
			if v := b.arrive(); !v.Pass {
				t.Fatalf("inside, the store and a gateway lost their data: %+v, want to pass", v)
			}
			if f := second.Figures(); f.Sessions != 1 {
				t.Fatalf("%d sessions after it, want the one that stood", f.Sessions)
			}
			time.Sleep(time.Second)
		}
	})
}

// Nobody renews a session while the store is away: once idle has passed nobody
// is inside, and no seat is kept for those who were.
func TestRoom_NoSeatStandsForASessionThatTheOutageOutlasted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, c := range []struct {
			name string
			away time.Duration
			want admission.State
		}{
			{"longer than idle", 5*time.Minute + 10*time.Second, admission.StateReady},
			{"shorter", 4 * time.Minute, admission.StateWaiting},
		} {
			limits := demoLimits()
			limits.Idle, limits.Max = 5*time.Minute, time.Hour
			store := &away{Store: admission.NewMemory(nil)}
			room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
			(&browser{room: room}).settleIn()
			waiting := &browser{room: room}
			waiting.arrive()
			time.Sleep(3 * time.Second) // a tick and a flush have passed

			store.hung.Store(true)
			for range int(c.away / (10 * time.Second)) {
				time.Sleep(10 * time.Second)
				waiting.peek()
			}
			store.replace(admission.NewMemory(nil))
			store.hung.Store(false)
			for range 10 {
				time.Sleep(time.Second)
				waiting.peek()
			}
			if s := waiting.peek().Status; s.State != c.want {
				t.Errorf("ten seconds after an outage %s: %+v, want %s", c.name, s, c.want)
			}
		}
	})
}

func TestRooms_ReloadKeepsRoomsAndAnErrorChangesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: admission.NewMemory(nil)}
		ring := newRing(t, admission.NewKey())
		rooms := admission.NewRooms(store, "g1", nil, zap.NewNop())
		ctx, stop := context.WithCancel(t.Context())
		done := make(chan struct{})
		go func() { defer close(done); rooms.Run(ctx) }()
		defer func() { stop(); <-done }()
		apply := func(activities ...admission.Activity) error {
			opened, err := rooms.Open(t.Context(), ring, activities)
			if err == nil {
				opened.Apply()
			}
			return err
		}
		activity := func(id, capacity int64) admission.Activity {
			limits := demoLimits()
			limits.Capacity, limits.RatePerHour = capacity, 0
			return admission.Activity{Line: admission.LineID{Tenant: "demo", Activity: id}, Settings: settings(limits)}
		}
		if err := apply(activity(1, 1), activity(2, 1)); err != nil {
			t.Fatal(err)
		}
		room, _ := rooms.Room(1)
		first, second := &browser{room: room}, &browser{room: room}
		first.arrive()
		second.arrive()

		if err := apply(activity(1, 2)); err != nil {
			t.Fatal(err)
		}
		if kept, _ := rooms.Room(1); kept != room {
			t.Error("the reload made another room of the same activity")
		}
		if _, there := rooms.Room(2); there {
			t.Error("the room of an activity that is gone is still there")
		}
		time.Sleep(time.Second)
		if s := second.peek().Status; s.State != admission.StateReady {
			t.Errorf("capacity raised to 2: %+v, want ready", s)
		}

		store.hung.Store(true)
		if err := apply(activity(1, 2), activity(3, 1)); !errors.Is(err, admission.ErrUnavailable) {
			t.Errorf("a room that cannot be opened: %v, want %v", err, admission.ErrUnavailable)
		}
		if _, there := rooms.Room(3); there {
			t.Error("a room is there though it could not be opened")
		}
		if _, there := rooms.Room(1); !there {
			t.Error("the failed reload took away a room")
		}
		store.hung.Store(false)
	})
}
