package admission_test

import (
	"context"
	"crypto/rand"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
)

// app is a visitor who comes by the queue API: it holds one ticket.
type app struct {
	room  *admission.Room
	who   string
	place string
}

func (a *app) enter() admission.Entered {
	e := a.room.Enter(context.Background(), admission.Visit{Identity: a.who})
	if e.Queue.Token != "" {
		a.place = e.Queue.Token
	}
	return e
}

func (a *app) claim() admission.Verdict {
	return a.room.Claim(context.Background(), admission.Visit{QueueTokens: []string{a.place}})
}

func TestEnter_AQuietRoomGivesATicketAndTheFirstClaimTheAdmission(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a := &app{room: openRoom(t, demoLimits()), who: "u1"}
		e := a.enter()
		if e.Reason != "" || e.Again || e.Queue.Token == "" || e.Status.Number != 1 || e.Status.State != admission.StateReady || e.Status.PollAfter <= 0 {
			t.Fatalf("got %+v, want the ready place 1", e)
		}
		v := a.claim()
		if !v.Pass || v.Admission.Token == "" || v.Session.Number != 1 {
			t.Fatalf("the claim got %+v, want admission", v)
		}
		// The answer was lost: the same session again.
		if again := a.claim(); !again.Pass || again.Session != v.Session {
			t.Errorf("the second claim got %+v, want the session %+v again", again, v.Session)
		}
		b := &browser{room: a.room, admission: v.Admission.Token}
		if got := b.arrive(); !got.Pass || got.Reason != admission.PassAdmitted {
			t.Errorf("the admission token got %+v, want to pass", got)
		}
	})
}

func TestEnter_ClaimTakesTheTurnAsSoonAsThereIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		first := &browser{room: room}
		first.settleIn()
		a := &app{room: room, who: "u2"}
		if e := a.enter(); e.Status.State != admission.StateWaiting || e.Status.Position != 1 || e.Status.Number != 2 {
			t.Fatalf("got %+v, want place 2, first in line", e)
		}
		time.Sleep(time.Second)
		if v := a.claim(); v.Pass || v.Status.State != admission.StateWaiting || v.Status.Position != 1 {
			t.Fatalf("got %+v, want to wait", v)
		}
		first.leave()
		time.Sleep(10 * time.Second)
		if v := a.claim(); !v.Pass || v.Session.Number != 2 {
			t.Errorf("after the seat is free: got %+v, want admission", v)
		}
	})
}

func TestEnter_TheSameIdentityGetsTheSamePlaceAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		(&browser{room: room}).settleIn()
		a, b, other := &app{room: room, who: "u"}, &app{room: room, who: "u"}, &app{room: room, who: "v"}
		first, second := a.enter(), b.enter()
		if first.Again || !second.Again || first.Status.Number != second.Status.Number {
			t.Errorf("got %+v, then %+v; want the second to be the first again", first, second)
		}
		if e := other.enter(); e.Again || e.Status.Number == first.Status.Number {
			t.Errorf("someone else got %+v, want a place of its own", e)
		}
	})
}

func TestEnter_ARefusalSaysWhy(t *testing.T) {
	hour := time.Hour
	for name, c := range map[string]struct {
		change func(*admission.Limits)
		want   admission.Reason
		state  admission.State
	}{
		"before": {func(l *admission.Limits) { l.StartAt = time.Now().Add(hour) }, admission.HoldBefore, admission.StateBefore},
		"ended":  {func(l *admission.Limits) { l.EndAt = time.Now().Add(-hour) }, admission.HoldEnded, admission.StateEnded},
		"closed": {func(l *admission.Limits) { l.Mode = admission.ModeClosed }, admission.HoldClosed, admission.StateClosed},
		"open":   {func(l *admission.Limits) { l.Mode = admission.ModeOpen }, admission.PassOpen, admission.StateNew},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				limits := demoLimits()
				c.change(&limits)
				a := &app{room: openRoom(t, limits), who: "u"}
				if e := a.enter(); e.Reason != c.want || e.Status.State != c.state || e.Queue.Token != "" {
					t.Errorf("got %+v, want %s and no ticket", e, c.want)
				}
			})
		})
	}
}

func TestClaim_WithoutAPlaceIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		for _, token := range []string{"", "x", "a.b.c"} {
			a := &app{room: room, place: token}
			if v := a.claim(); v.Pass || v.Status.State != admission.StateNew || v.Status.Number != 0 {
				t.Errorf("token %q: got %+v, want to be new", token, v)
			}
		}
		// A session that ended: its ticket is worth nothing.
		a := &app{room: room, who: "u"}
		a.enter()
		pass := a.claim()
		if !pass.Pass {
			t.Fatalf("got %+v, want admission", pass)
		}
		b := &browser{room: room, queue: a.place, admission: pass.Admission.Token}
		b.leave()
		if v := a.claim(); v.Pass || v.Status.State != admission.StateNew {
			t.Errorf("after leaving: got %+v, want to be new", v)
		}
	})
}

// notes is a journal that keeps what it is told.
type notes struct {
	mu      sync.Mutex
	events  []admission.Event
	samples []admission.Sample
}

func (n *notes) Note(events ...admission.Event) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.events = append(n.events, events...)
}

func (n *notes) Sample(s admission.Sample) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.samples = append(n.samples, s)
}

func (n *notes) kinds() (kinds []admission.EventKind) {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, e := range n.events {
		kinds = append(kinds, e.Kind)
	}
	return kinds
}

func TestJournal_IsToldWhatBecameOfAVisitor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &notes{}
		room := journaledRoom(t, journal)
		first := &browser{room: room}
		first.settleIn()
		a, again := &app{room: room, who: "u"}, &app{room: room, who: "u"}
		a.enter()
		again.enter() // the same person: no second entry
		time.Sleep(10 * time.Second)
		first.leave()
		time.Sleep(2 * time.Second)
		v := a.claim()
		if !v.Pass {
			t.Fatalf("got %+v, want admission", v)
		}
		room.Converted(v.Session)
		want := []admission.EventKind{
			admission.EventJoined, admission.EventAdmitted, admission.EventJoined,
			admission.EventLeft, admission.EventAdmitted, admission.EventConverted,
		}
		if got := journal.kinds(); !slices.Equal(got, want) {
			t.Fatalf("told %v, want %v", got, want)
		}
		joined, admitted, converted := journal.events[2], journal.events[4], journal.events[5]
		if joined.UserHash == "" || joined.UserHash == "u" {
			t.Errorf("the identity is %q, want a hash of it", joined.UserHash)
		}
		if joined.Visitor != admitted.Visitor || joined.Visitor != converted.Visitor || joined.Number != 2 || admitted.Number != 2 {
			t.Errorf("joined %+v, admitted %+v, converted %+v: want one visitor, number 2", joined, admitted, converted)
		}
		// A ticket tells whole seconds of when it was signed.
		if w := admitted.Wait; w < 12*time.Second || w > 14*time.Second {
			t.Errorf("waited %v, want 12 s", w)
		}
		for _, e := range journal.events {
			if e.Line != room.ID() || e.Epoch != 1 || e.At == 0 {
				t.Errorf("event %+v does not tell its line, epoch and time", e)
			}
		}
	})
}

func TestJournal_SamplesALineThatMovesAndNotOneThatStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		journal := &notes{}
		room := journaledRoom(t, journal)
		time.Sleep(time.Hour)
		synctest.Wait()
		if n := len(journal.samples); n != 1 {
			t.Fatalf("%d samples of a line where nothing happened, want 1", n)
		}
		(&browser{room: room}).arrive()
		time.Sleep(11 * time.Second)
		synctest.Wait()
		last := journal.samples[len(journal.samples)-1]
		if last.Turned != 1 || last.Admitted != 1 || last.Sessions != 1 {
			t.Errorf("the last sample is %+v, want one turn, one admission, one session", last)
		}
	})
}

// journaledRoom opens the only room of a gateway that keeps a journal.
func journaledRoom(t *testing.T, journal admission.Journal) *admission.Room {
	t.Helper()
	rooms := admission.NewRooms(admission.NewMemory(nil), rand.Text(), admission.Secret("secret"), zap.NewNop())
	rooms.Record(journal)
	line := admission.LineID{Tenant: "demo", Activity: 123}
	opened, err := rooms.Open(t.Context(), newRing(t, admission.NewKey()), []admission.Activity{{Line: line, Settings: settings(demoLimits())}})
	if err != nil {
		t.Fatal(err)
	}
	opened.Apply()
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); rooms.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	room, _ := rooms.Room(123)
	return room
}
