package admission_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropeline/ropeline/admission"
)

func openAfter(limits admission.Limits) admission.Settings {
	s := settings(limits)
	s.OpenAfterEnd = true
	return s
}

// The rule opens what is over, and nothing else.
func TestRoom_OpensAfterTheEndWhereTheAdminSaysSo(t *testing.T) {
	for name, c := range map[string]struct {
		change func(*admission.Limits)
		want   admission.Reason
	}{
		"over":             {func(l *admission.Limits) { l.EndAt = time.Now().Add(-time.Hour) }, admission.PassEnded},
		"over, and held":   {func(l *admission.Limits) { l.EndAt, l.Mode = time.Now().Add(-time.Hour), admission.ModeHold }, admission.HoldEnded},
		"over, and closed": {func(l *admission.Limits) { l.EndAt, l.Mode = time.Now().Add(-time.Hour), admission.ModeClosed }, admission.HoldEnded},
		"sold out":         {func(l *admission.Limits) { l.Stock.Counted = true }, admission.HoldEnded},
		"not over":         {func(l *admission.Limits) { l.EndAt = time.Now().Add(time.Hour) }, admission.PassEntered},
		"without an end":   {func(*admission.Limits) {}, admission.PassEntered},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limits := demoLimits()
				c.change(&limits)
				room := openRoom(t, limits)
				room.Configure(openAfter(limits))
				if v := (&browser{room: room}).arrive(); v.Reason != c.want || v.Pass != (c.want == admission.PassEnded || c.want == admission.PassEntered) {
					t.Errorf("got %+v, want %s", v, c.want)
				}
				a := &app{room: room, who: "u"}
				if e := a.enter(); (e.Reason == admission.PassOpen) != (c.want == admission.PassEnded) {
					t.Errorf("the queue API says %+v", e)
				}
			})
		})
	}
}

func TestRoom_WhoWaitedAtTheEndIsToldToGoIn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		limits := demoLimits()
		limits.EndAt = time.Now().Add(20 * time.Second)
		room := openRoom(t, limits)
		room.Configure(openAfter(limits))
		inside, b, before := &browser{room: room}, &browser{room: room}, room.Figures().Polls
		inside.settleIn()
		b.arrive()
		if s := b.peek().Status; s.State != admission.StateWaiting {
			t.Fatalf("got %+v, want to wait", s)
		}
		time.Sleep(20 * time.Second)
		if s := b.peek().Status; s.State != admission.StateReady || s.PollAfter <= 0 {
			t.Errorf("after the end: %+v, want ready", s)
		}
		if v := b.arrive(); !v.Pass || v.Reason != admission.PassEnded || v.Session.Visitor != "" {
			t.Errorf("after the end: %+v, want to pass uncounted", v)
		}
		if v := inside.arrive(); !v.Pass || v.Reason != admission.PassAdmitted {
			t.Errorf("who is inside got %+v, want its session", v)
		}
		room.Look(t.Context(), b.visit())
		if got := room.Figures().Polls - before; got != 2 {
			t.Errorf("%d polls are counted, want 2: a look is none", got)
		}
		room.Configure(settings(limits))
		time.Sleep(time.Second)
		if v := b.arrive(); v.Pass || v.Reason != admission.HoldEnded {
			t.Errorf("once the admin takes it back: %+v, want held", v)
		}
	})
}
