package admission

import (
	"math"
	"testing"
	"time"
)

// lineOf is a view of a line in which n wait and so many are inside.
func lineOf(limits Limits, waiting, sessions int64) *view {
	at := InstantOf(time.Unix(1_700_000_000, 0))
	v := &view{sent: time.Now()}
	v.Head = Head{Now: at, Limits: limits, Waiting: waiting, Sessions: sessions}
	v.waiting.count = waiting
	return v
}

// stays has a line's turnover measure that each seat is taken so long.
func (v *view) stays(mean time.Duration) *view {
	v.turnover = turnover{taken: 1000 * mean.Seconds(), freed: 1000}
	return v
}

func within(t *testing.T, story string, got Wait, low, high time.Duration) {
	t.Helper()
	if middle := (got.Low + got.High) / 2; !got.Known || middle < low || middle > high {
		t.Errorf("%s: the last waits %v, want %v to %v", story, got, low, high)
	}
}

func TestOutlook_HalfTheRateIsTwiceTheWait(t *testing.T) {
	limits := Limits{Mode: ModeAuto, RatePerHour: 120 * 60}
	within(t, "at 120 a minute", lineOf(limits, 812, 10).outlook("").Last, 390*time.Second, 420*time.Second)
	limits.RatePerHour = 60 * 60
	within(t, "at 60 a minute", lineOf(limits, 812, 10).outlook("").Last, 790*time.Second, 840*time.Second)
}

func TestOutlook_WhereSeatsHoldTheLineBackAHigherRateChangesNothing(t *testing.T) {
	// 500 seats of ten minutes each: one falls free in 1.2 s.
	limits := Limits{Mode: ModeAuto, Capacity: 500, RatePerHour: 120 * 60}
	slow := lineOf(limits, 500, 500).stays(10 * time.Minute).outlook("").Last
	within(t, "at 120 a minute", slow, 580*time.Second, 640*time.Second)
	limits.RatePerHour *= 10
	if fast := lineOf(limits, 500, 500).stays(10 * time.Minute).outlook("").Last; fast != slow {
		t.Errorf("ten times the rate: the last waits %v, want %v as before", fast, slow)
	}
	limits.Capacity = 1000
	within(t, "with twice the seats, of which 500 are free", lineOf(limits, 500, 500).stays(10*time.Minute).outlook("").Last, 20*time.Second, 32*time.Second)
}

func TestOutlook_FewerSeatsThanAreTakenFirstDrain(t *testing.T) {
	limits := Limits{Mode: ModeAuto, Capacity: 250, RatePerHour: 120 * 60}
	o := lineOf(limits, 100, 500).stays(10 * time.Minute).outlook("")
	want := time.Duration(math.Log(2) * float64(10*time.Minute))
	if d := o.Drain - want; d < -time.Second || d > time.Second {
		t.Errorf("it takes %v to drain, want %v", o.Drain, want)
	}
	within(t, "then a seat falls free in 2.4 s", o.Last, want+220*time.Second, want+270*time.Second)
}

func TestOutlook_WhatIsNotMeasuredIsNotTold(t *testing.T) {
	limits := Limits{Mode: ModeAuto, Capacity: 500, RatePerHour: 120 * 60}
	if o := lineOf(limits, 100, 450).outlook(""); o.Last.Known {
		t.Errorf("no seat fell free yet: told %v", o.Last)
	}
	within(t, "but who find a seat are told", lineOf(limits, 50, 450).outlook("").Last, 20*time.Second, 32*time.Second)
}

func TestOutlook_ModesAndTheEnd(t *testing.T) {
	limits := Limits{Mode: ModeHold, RatePerHour: 3600}
	if o := lineOf(limits, 100, 5).outlook(""); o.Last.Known || o.Served != 0 {
		t.Errorf("paused: %+v", o)
	}
	limits.Mode = ModeOpen
	if o := lineOf(limits, 100, 5).outlook(""); !o.Last.Known || o.Last.High != 0 || o.Served != 100 {
		t.Errorf("open: %+v", o)
	}
	limits.Mode = ModeAuto
	v := lineOf(limits, 100, 5)
	v.Limits.EndAt = v.Now.Add(60 * time.Second).Time()
	if o := v.outlook(""); o.Served < 59 || o.Served > 60 {
		t.Errorf("one a second and the end in a minute: %d of 100 are served", o.Served)
	}
	v.Limits.EndAt, v.Limits.StartAt = time.Time{}, v.Now.Add(time.Hour).Time()
	within(t, "the start in an hour", v.outlook("").Last, time.Hour+90*time.Second, time.Hour+9*time.Minute)
}

func TestTurnover_MeasuresHowLongASeatIsTaken(t *testing.T) {
	h := Head{Now: 1, Sessions: 100}
	var m turnover
	if _, known := m.stay(); known {
		t.Error("nothing was measured, and it is told")
	}
	for range 4 * 60 * 20 { // twenty minutes, in which one in a second leaves, and one comes
		h.Now, m = h.Now.Add(Tick), m.observe(h)
		if h.Now%1_000_000 < Instant(Tick.Microseconds()) {
			h.Turned++
		}
	}
	if stay, known := m.stay(); !known || stay < 95 || stay > 105 {
		t.Errorf("a hundred seats, of which one a second falls free: %v s, want 100", stay)
	}
	born := h
	born.Born, born.Turned = 9, 1
	if again := m.observe(born); again.freed != m.freed {
		t.Errorf("a line that lost its data freed %v seats", again.freed-m.freed)
	}
}

func TestRoom_ForeseesWithoutDeciding(t *testing.T) {
	v := lineOf(Limits{Mode: ModeAuto, RatePerHour: 60 * 60}, 60, 0)
	v.Overrides.RatePerHour = new(int64)
	*v.Overrides.RatePerHour = 60 * 60
	r := &Room{}
	r.view.Store(v)
	r.settings.Store(&Settings{Limits: Limits{Mode: ModeAuto, RatePerHour: 120 * 60, Burst: 1}, Message: "of the file"})
	f, err := r.Foresee(func(o *Overrides) { o.RatePerHour = nil })
	if err != nil {
		t.Fatal(err)
	}
	within(t, "now", f.Now.Last, 55*time.Second, 65*time.Second)
	within(t, "by the file", f.Then.Last, 27*time.Second, 33*time.Second)
	if f.Then.Message != "of the file" || *v.Overrides.RatePerHour != 60*60 {
		t.Errorf("message %q, decided %d an hour", f.Then.Message, *v.Overrides.RatePerHour)
	}
	if _, err := r.Foresee(func(o *Overrides) { o.Mode = "ajar" }); err == nil {
		t.Error("a mode that there is not was foreseen")
	}
}
