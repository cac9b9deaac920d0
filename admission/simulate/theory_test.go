package simulate

import (
	"math"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// limits are those of an activity that says nothing but capacity and rate.
func limits(capacity, perHour int64) admission.Limits {
	return admission.Limits{
		Capacity: capacity, RatePerHour: perHour, Burst: admission.Burst(perHour), Claim: 90 * time.Second,
		Absence: 3 * time.Minute, HoldPlace: 15 * time.Minute, Idle: 10 * time.Minute, Max: time.Hour,
	}
}

// one plays an event with one setting.
func one(t *testing.T, event Event, l admission.Limits, runs int) Result {
	t.Helper()
	results, err := Run(t.Context(), event, []Setting{{"one", l}}, runs, 1)
	if err != nil {
		t.Fatal(err)
	}
	return results[0]
}

// near holds a figure against what theory says of it.
func near(t *testing.T, what string, got, want, within float64) {
	t.Helper()
	off := got/want - 1
	t.Logf("%-44s simulated %9.3f, theory %9.3f: %+.1f %%", what, got, want, 100*off)
	if math.Abs(off) > within {
		t.Errorf("%s: simulated %.3f, want %.3f within %.0f %%", what, got, want, 100*within)
	}
}

// erlangC is the chance that all of c servers are busy, offered load a.
func erlangC(c int, a float64) float64 {
	sum, term := 0., 1.
	for k := range c {
		sum += term
		term *= a / float64(k+1)
	}
	top := term * float64(c) / (float64(c) - a)
	return top / (sum + top)
}

// Capacity alone, stays that are exponential, and visitors who come by chance
// are M/M/c. Theory is given the load that there was: a seat is taken for a
// little longer than the stay, until all gateways know that it is free.
func TestRun_WaitsAsMMcWhereCapacityAloneHolds(t *testing.T) {
	t.Parallel()
	const (
		seats = 20
		stay  = 20 * time.Second
		hours = 15
	)
	for _, load := range []float64{.6, .7} {
		event := Event{
			Demand: []Stretch{{hours * time.Hour, int64(load * seats / stay.Seconds() * hours * 3600), Even}}, For: (hours + 10) * time.Hour,
			Crowd: Crowd{Stay: stay, Spread: Exponential, Ends: 1},
		}
		l := limits(seats, 0)
		l.Burst = 1
		r := one(t, event, l, 3)
		inside := 0.
		for _, p := range r.Points {
			inside += p.Inside / float64(len(r.Points))
		}
		held := inside * r.Over / r.Entered
		near(t, "M/M/20, time that a seat is held", held, stay.Seconds(), .05)
		near(t, "M/M/20, mean wait in seconds", r.Waits.Mean, erlangC(seats, inside)*held/(seats-inside), .12)
		near(t, "M/M/20, mean line (Little's law)", r.MeanLine, r.Visitors/r.Over*r.Waits.Mean, .02)
	}
}

// A rate alone is a server that needs as long for everyone: M/D/1.
func TestRun_WaitsAsMD1WhereTheRateAloneHolds(t *testing.T) {
	t.Parallel()
	const hours = 10
	for _, load := range []float64{.5, .8} {
		const perSecond = .4 // of the server; its time is ten whole ticks
		event := Event{
			Demand: []Stretch{{hours * time.Hour, int64(load * perSecond * hours * 3600), Even}}, For: (hours + 10) * time.Hour,
			Crowd: Crowd{Stay: time.Minute, Spread: Fixed, Ends: 1},
		}
		l := limits(0, perSecond*3600)
		l.Burst = 1
		r := one(t, event, l, 2)
		near(t, "M/D/1, mean wait in seconds", r.Waits.Mean, load/(2*perSecond*(1-load)), .08)
		near(t, "M/D/1, mean line (Little's law)", r.MeanLine, r.Visitors/r.Over*r.Waits.Mean, .02)
	}
}
