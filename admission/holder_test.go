package admission_test

import (
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
)

// passOf makes one pass of a room, good for a day.
func passOf(t *testing.T, room *admission.Room, uses int64, early bool) string {
	t.Helper()
	made, err := room.MakePasses(1, admission.Pass{Uses: uses, Until: admission.InstantOf(time.Now().Add(24 * time.Hour)), Early: early})
	if err != nil {
		t.Fatal(err)
	}
	return made[0].Token
}

func TestHolder_WaitsBeforeTheLineAndEntersByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		first, other, holder := &browser{room: room}, &browser{room: room}, &browser{room: room}
		first.settleIn()
		other.arrive()
		if told := holder.open(passOf(t, room, 1, false)); told != admission.PassIsHeld {
			t.Fatalf("a good pass is %q", told)
		}
		time.Sleep(time.Second)
		v := holder.arrive()
		if s := v.Status; v.Pass || s.State != admission.StateWaiting || s.Position != 1 || s.Number != 0 || s.Pass != admission.PassIsHeld {
			t.Fatalf("a holder who finds no seat: %+v", v)
		}
		if s := v.Status; s.PollAfter > 3*time.Second || s.PollMax > demoLimits().Claim/3 {
			t.Fatalf("a holder is to ask again in %v, %v at most; it is awaited for %v", s.PollAfter, s.PollMax, demoLimits().Claim)
		}
		time.Sleep(time.Second)
		if s := other.peek().Status; s.Position != 2 || s.QueueLength != 2 {
			t.Fatalf("who waits behind a holder is told %+v, want position 2 of 2", s)
		}
		first.leave()
		if s := holder.poll(20 * time.Second); s.State != admission.StateReady {
			t.Fatalf("the seat is free and the holder is told %+v", s)
		}
		if s := other.peek().Status; s.State != admission.StateWaiting {
			t.Fatalf("who waits is told %+v while a holder is before", s)
		}
		if v := holder.arrive(); !v.Pass || v.Reason != admission.PassEntered {
			t.Fatalf("a holder whose seat is free: %+v", v)
		}
		if v := holder.arrive(); !v.Pass || v.Reason != admission.PassAdmitted || holder.pass != "" {
			t.Fatalf("a holder inside: %+v, and the pass %q is kept", v, holder.pass)
		}
		if f := room.Figures(); f.Passes != (admission.PassFigures{Admitted: 1}) || f.Admissions != 2 {
			t.Fatalf("counted %+v of %d admissions", f.Passes, f.Admissions)
		}
	})
}

func TestHolder_NoLostAnswerCostsAUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Capacity, limits.Burst = 10, 10
		room := openRoom(t, limits)
		pass := passOf(t, room, 1, false)
		holder := &browser{room: room}
		room.TakePass(holder.visit(), pass) // the answer is lost
		room.TakePass(admission.Visit{}, pass)
		holder.open(pass)
		lost := room.Arrive(t.Context(), holder.visit())
		time.Sleep(3 * time.Second)
		if s := holder.peek().Status; s.State != admission.StateReady {
			t.Fatalf("a holder whose admission was lost is told %+v", s)
		}
		if told := holder.open(pass); told != admission.PassIsHeld {
			t.Fatalf("a holder who opens the link again is told %q", told)
		}
		v := holder.arrive()
		if !v.Pass || v.Session.Visitor != lost.Session.Visitor || !v.Session.Until.Equal(lost.Session.Until) {
			t.Fatalf("asked again a holder got %+v, first %+v", v.Session, lost.Session)
		}

		other := &browser{room: room}
		other.open(pass)
		if v := other.arrive(); !v.Pass || room.Figures().Passes != (admission.PassFigures{Admitted: 1, Spent: 1}) {
			t.Fatalf("a second visitor by a pass of one use, in a quiet room: %+v, %+v", v, room.Figures().Passes)
		}
	})
}

func TestHolder_WhosePassIsWorthNothingHasAnOrdinaryPlaceAndIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ring := newRing(t, admission.NewKey())
		room := runRoom(t, admission.NewMemory(nil), ring, demoLimits())
		stranger := runRoom(t, admission.NewMemory(nil), newRing(t, admission.NewKey()), demoLimits())
		elsewhere, err := admission.OpenRoom(t.Context(), admission.NewMemory(nil), admission.LineID{Tenant: "demo", Activity: 124},
			"g", admission.Secret("secret"), ring, settings(demoLimits()), zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		first := &browser{room: room}
		first.settleIn()

		used := passOf(t, room, 1, false)
		(&browser{room: room}).open(used) // made out, and never used
		short, err := room.MakePasses(1, admission.Pass{Uses: 1, Until: admission.InstantOf(time.Now().Add(10 * time.Second))})
		if err != nil {
			t.Fatal(err)
		}
		early := &browser{room: room}
		early.open(short[0].Token)
		time.Sleep(11 * time.Second)

		for _, c := range []struct {
			name  string
			token string
			told  admission.PassState
		}{
			{"forged", passOf(t, stranger, 1, false), admission.PassIsUnknown},
			{"of another activity", passOf(t, elsewhere, 1, false), admission.PassIsUnknown},
			{"no token", "staff", admission.PassIsUnknown},
			{"another kind of token", first.admission, admission.PassIsUnknown},
			{"ended", short[0].Token, admission.PassIsExpired},
		} {
			b := &browser{room: room}
			b.arrive()
			number := b.peek().Status.Number
			if told := b.open(c.token); told != c.told {
				t.Errorf("%s: told %q, want %q", c.name, told, c.told)
			}
			if s := b.arrive().Status; s.State != admission.StateWaiting || s.Number != number || s.Pass != c.told {
				t.Errorf("%s: number %d is told %+v after the pass", c.name, number, s)
			}
			if s := b.peek().Status; s.Pass != c.told {
				t.Errorf("%s: a poll tells %+v", c.name, s)
			}
			newcomer := &browser{room: room}
			newcomer.open(c.token)
			if s := newcomer.arrive().Status; s.Number == 0 || s.Pass != c.told {
				t.Errorf("%s: a newcomer is told %+v", c.name, s)
			}
		}
		if s := early.arrive().Status; s.Pass != admission.PassIsExpired || s.Number == 0 {
			t.Errorf("a pass that ended after it was taken: %+v", s)
		}

		good := &browser{room: room}
		good.open(used)
		kept := good.pass
		good.open(passOf(t, stranger, 1, false))
		good.open(short[0].Token)
		good.open(used)
		if good.pass != kept {
			t.Error("a good pass was lost by opening others")
		}
		good.arrive()
		second := &browser{room: room}
		second.open(used)
		if s := second.arrive().Status; s.Pass != admission.PassIsSpent || s.Number == 0 {
			t.Errorf("the only use is held, and another is told %+v", s)
		}
	})
}

func TestHolder_EntersBeforeTheStartIfThePassSaysSo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.StartAt = time.Now().Add(time.Hour)
		room := openRoom(t, limits)
		late := &browser{room: room}
		late.open(passOf(t, room, 1, false))
		if s := late.arrive().Status; s.State != admission.StateBefore || s.Pass != admission.PassIsHeld {
			t.Fatalf("a holder before the start is told %+v", s)
		}
		presale := &browser{room: room}
		presale.open(passOf(t, room, 1, true))
		if v := presale.arrive(); !v.Pass {
			t.Fatalf("a holder of a presale is told %+v", v.Status)
		}
		time.Sleep(time.Hour + time.Second)
		if v := late.arrive(); !v.Pass {
			t.Fatalf("a holder after the start is told %+v", v.Status)
		}
	})
}

func TestHolder_OfARevokedPassHasAnOrdinaryPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.Capacity, limits.Burst = 10, 10
		room := openRoom(t, limits)
		made, err := room.MakePasses(2, admission.Pass{Uses: 5, Until: admission.InstantOf(time.Now().Add(time.Hour))})
		if err != nil {
			t.Fatal(err)
		}
		if err := room.RevokePass(t.Context(), made[0].ID); err != nil {
			t.Fatal(err)
		}
		for i, want := range []admission.PassFigures{{Spent: 1}, {Spent: 1, Admitted: 1}} {
			b := &browser{room: room}
			b.open(made[i].Token)
			b.arrive()
			if got := room.Figures().Passes; got != want {
				t.Fatalf("after pass %d of two, the first revoked: %+v, want %+v", i+1, got, want)
			}
		}
	})
}

func TestMakePasses_RefusesWhatNoPassCanBe(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		day := admission.InstantOf(time.Now().Add(24 * time.Hour))
		for _, of := range []admission.Pass{
			{Uses: 0, Until: day}, {Uses: -1, Until: day}, {Uses: admission.MaxPassUses + 1, Until: day},
			{Uses: 1}, {Uses: 1, Until: admission.InstantOf(time.Now())}, {Uses: 1, Until: day.Add(366 * 24 * time.Hour)},
		} {
			if made, err := room.MakePasses(1, of); !errors.Is(err, admission.ErrPass) {
				t.Errorf("pass %+v: made %v, %v", of, made, err)
			}
		}
	})
}
