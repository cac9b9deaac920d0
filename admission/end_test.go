package admission_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
)

func TestEnd_EveryTokenIsDeadAtOnceAndTheSeatIsTheNexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ring := admission.NewMemory(nil), newRing(t, admission.NewKey())
		one, two := runRoom(t, store, ring, demoLimits()), runRoom(t, store, ring, demoLimits())
		b := &browser{room: one}
		entered := b.arrive()
		next := &browser{room: two}
		next.arrive()

		one.End(entered.Session)
		one.End(entered.Session) // twice is once
		copied := *b
		if v := copied.arrive(); v.Pass || v.Status.Number != 3 {
			t.Errorf("in the same instant the visitor got %+v, want to be new", v)
		}
		if s := b.peek().Status; s.State == admission.StateAdmitted || s.State == admission.StateReady {
			t.Errorf("the visitor is told %+v", s)
		}
		time.Sleep(2 * admission.Tick)
		elsewhere := *b
		elsewhere.room = two
		if v := elsewhere.arrive(); v.Pass {
			t.Errorf("another gateway let the visitor in: %+v", v)
		}
		time.Sleep(5 * time.Second)
		if v := next.arrive(); !v.Pass {
			t.Errorf("the next got %+v, want the seat", v)
		}
		if got := one.Figures().Sessions; got > 1 {
			t.Errorf("%d sessions hold the one seat", got)
		}
	})
}

func TestEnd_AStoreThatIsAwayHearsOfItLater(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: admission.NewMemory(nil)}
		limits := demoLimits()
		limits.Capacity, limits.RatePerHour, limits.Burst = 0, 0, 1
		room := runRoom(t, store, newRing(t, admission.NewKey()), limits)
		crowd := make([]*browser, 600) // more than travel together
		sessions := make([]admission.Session, len(crowd))
		for i := range crowd {
			crowd[i] = &browser{room: room}
			sessions[i] = crowd[i].arrive().Session
		}
		time.Sleep(time.Second)
		store.hung.Store(true)
		began := time.Now()
		for _, s := range sessions {
			room.End(s)
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("ending waited for a store that hangs, %v", took)
		}
		if v := crowd[0].arrive(); v.Pass {
			t.Error("an ended session passes while the store is away")
		}
		time.Sleep(5 * time.Second)
		store.hung.Store(false)
		time.Sleep(6 * time.Second)
		if got := room.Figures().Sessions; got != 0 {
			t.Errorf("%d sessions are known to the store, want all ended", got)
		}
	})
}

func TestEnd_AGatewayThatStopsTellsWhatItKnows(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &away{Store: admission.NewMemory(nil)}
		ring := newRing(t, admission.NewKey())
		room, err := admission.OpenRoom(t.Context(), store, admission.LineID{Tenant: "demo", Activity: 123}, "g9",
			admission.Secret("secret"), ring, settings(demoLimits()), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		ctx, stop := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); room.Run(ctx) }()
		b := &browser{room: room}
		entered := b.arrive()
		store.hung.Store(true)
		room.End(entered.Session)
		time.Sleep(time.Second) // it is being told, in vain
		stop()
		store.hung.Store(false)
		<-done
		b.room = runRoom(t, store, ring, demoLimits())
		if v := b.arrive(); v.Pass {
			t.Errorf("at a gateway that knows nothing of it, the ended visitor got %+v", v)
		}
	})
}

func TestExtend_ProlongsWithinTheMaximum(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits()) // idle 30 s, at most 2 min
		b := &browser{room: room}
		b.settleIn()
		remains := func() time.Duration { return b.peek().Status.Session }
		session := func() admission.Session { return b.arrive().Session }

		s := session()
		time.Sleep(5 * time.Second) // a request would not renew it yet
		before := remains()
		room.Extend(s)
		time.Sleep(100 * time.Millisecond)
		if got := remains(); got <= before || got > 30*time.Second {
			t.Errorf("what is left went from %v to %v, want about 30 s", before, got)
		}
		for range 40 {
			time.Sleep(5 * time.Second)
			room.Extend(s)
		}
		if got := room.Figures().Sessions; got != 0 {
			t.Errorf("%d sessions go on beyond their maximum", got)
		}
		if v := b.arrive(); v.Pass && v.Session.Number == 1 {
			t.Errorf("the session goes on: %+v", v)
		}
		room.Extend(admission.Session{Visitor: "nobody"})
		ended := &browser{room: room}
		ended.settleIn()
		e := ended.arrive().Session
		room.End(e)
		room.Extend(e)
		time.Sleep(2 * time.Second)
		if v := ended.arrive(); v.Pass && v.Session.Visitor == e.Visitor {
			t.Error("an ended session was prolonged")
		}
	})
}
