package webhook

import (
	"slices"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

// script is a line that changes, and what is told of it.
type script struct {
	line  Line
	told  states
	watch watch
	now   time.Time
}

func newScript() *script {
	s := &script{watch: watch{}, now: noon}
	s.line.Activity = Activity{ID: 7, Tenant: "demo", Name: "Spring drop"}
	s.line.Head.Limits.Mode = admission.ModeAuto
	return s
}

// after lets time pass, and returns what is told then.
func (s *script) after(d time.Duration) (kinds []Kind) {
	s.now = s.now.Add(d)
	s.line.Head.Now = admission.InstantOf(s.now)
	var events []Event
	s.told, events = s.watch.observe(s.told, s.line, s.now)
	for _, e := range events {
		kinds = append(kinds, e.Type)
	}
	return kinds
}

func (s *script) want(t *testing.T, d time.Duration, want ...Kind) {
	t.Helper()
	if got := s.after(d); !slices.Equal(got, want) {
		t.Errorf("after %v told %v, want %v", d, got, want)
	}
}

func TestWatch_ALineThatWasThereAlreadyIsNoNews(t *testing.T) {
	s := newScript()
	s.line.Head.Waiting, s.line.Head.Limits.Mode = 40, admission.ModeHold
	s.want(t, 0)
	s.want(t, time.Hour)
}

func TestWatch_TellsOfALineThatStays(t *testing.T) {
	s := newScript()
	s.want(t, 0)
	s.line.Head.Waiting = 1
	s.want(t, time.Second)
	s.line.Head.Waiting = 0
	s.want(t, time.Second) // it was gone again
	s.line.Head.Waiting = 5
	s.want(t, time.Second)
	s.want(t, 2*time.Second)
	s.want(t, time.Second, LineBegan)
	s.want(t, time.Hour)
	s.line.Head.Waiting = 0
	s.want(t, time.Second)
	s.want(t, 59*time.Second)
	s.want(t, time.Second, LineCleared)
}

func TestWatch_TellsOfEachChange(t *testing.T) {
	s := newScript()
	s.line.Head.Limits.StartAt, s.line.Head.Limits.EndAt = noon.Add(time.Minute), noon.Add(time.Hour)
	s.line.Head.Limits.Stock = admission.Stock{Counted: true, Left: 3}
	s.want(t, 0)
	s.want(t, time.Minute, ActivityStarted)
	s.line.Head.Limits.Mode = admission.ModeHold
	s.want(t, time.Second, LinePaused)
	s.line.Head.Limits.Mode = admission.ModeAuto
	s.want(t, time.Second, LineResumed)
	s.line.Head.Limits.Shut = true
	s.want(t, time.Second, ShopShut)
	s.line.Head.Limits.Shut = false
	s.want(t, time.Second)
	s.want(t, 10*time.Second, ShopWell)
	s.line.Slow = true
	s.want(t, time.Second)
	s.want(t, 10*time.Second, ShopSlow)
	s.line.Slow = false
	s.want(t, time.Second)
	s.want(t, 10*time.Second, ShopWell)
	s.line.Head.Limits.Stock.Left = 0
	s.want(t, time.Second, StockSoldOut)
	s.line.Head.Limits.Stock.Left = 2
	s.want(t, time.Second, StockBack)
	s.want(t, time.Hour, ActivityEnded)
}

func TestWatch_TellsHowTheLineStood(t *testing.T) {
	s := newScript()
	s.want(t, 0)
	s.line.Head.Limits = admission.Limits{Mode: admission.ModeHold, Capacity: 500, RatePerHour: 7200, Stock: admission.Stock{Counted: true, Left: 9}}
	s.line.Head.Waiting, s.line.Head.Turns, s.line.Head.Sessions, s.line.Head.Released = 812, 3, 497, 4000
	s.line.Head.Floor.Issued = 5310
	s.line.Head.Now = admission.InstantOf(noon)
	_, events := s.watch.observe(s.told, s.line, noon)
	if len(events) != 1 {
		t.Fatalf("got %v, want one event", events)
	}
	e, left := events[0], *events[0].Line.Left
	e.Line.Left = nil
	want := Standing{Waiting: 812, Turns: 3, Sessions: 497, Issued: 5310, Released: 4000, Capacity: 500, Rate: 7200}
	if e.Line != want || left != 9 || e.Activity != s.line.Activity || !e.At.Equal(noon) || e.ID == "" {
		t.Errorf("got %+v, left %d, want %+v, left 9", e, left, want)
	}
}
