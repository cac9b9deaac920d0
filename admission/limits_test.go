package admission

import (
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

func TestBurst_IsTwoTicksOfTheRateAtLeastTwo(t *testing.T) {
	for _, c := range []struct{ perHour, burst, least int64 }{
		{0, 2, 1},
		{1, 2, 1},
		{60, 2, 1},
		{7200, 2, 1},  // 2/s: one in two ticks
		{14400, 2, 1}, // 4/s: one in a tick
		{14401, 3, 2},
		{150 * 3600, 75, 38},
		{MaxRatePerHour, 100_000, 50_000},
	} {
		if got := Burst(c.perHour); got != c.burst {
			t.Errorf("burst of %d/h is %d, want %d", c.perHour, got, c.burst)
		}
		if got := LeastBurst(c.perHour); got != c.least {
			t.Errorf("least burst of %d/h is %d, want %d", c.perHour, got, c.least)
		}
		if Burst(c.perHour) > MaxBurst {
			t.Errorf("burst of %d/h is above the greatest", c.perHour)
		}
	}
}

// Ticks come late by chance, and a turn that is due between two of them waits
// for the second.
func TestBurst_OfTheDefaultGivesAllOfASmallRate(t *testing.T) {
	for _, perSecond := range []int64{1, 2, 3, 4, 5, 7} {
		synctest.Test(t, func(t *testing.T) {
			store, chance := NewMemory(nil), rand.New(rand.NewPCG(1, uint64(perSecond)))
			call := Call{Line: LineID{Tenant: "demo", Activity: 1}, Gateway: "g1"}
			limits := sound()
			limits.Absence, limits.RatePerHour, limits.Burst = time.Hour, perSecond*3600, Burst(perSecond*3600)
			tick := func() Line {
				time.Sleep(Tick + time.Duration(chance.Int64N(int64(Tick/10))))
				line, err := store.Release(t.Context(), call, limits, 0)
				if err != nil {
					t.Fatal(err)
				}
				return line
			}
			for tick().Settling {
			}
			if _, _, err := store.Join(t.Context(), call, "all", slices.Repeat([]Newcomer{{}}, 1000)); err != nil {
				t.Fatal(err)
			}
			const span = 2 * time.Minute
			from, began := tick().Released, time.Now()
			var given int64
			for time.Since(began) < span {
				given = tick().Released - from
			}
			if want := perSecond * int64(span/time.Second); given < want*99/100 || given > want+limits.Burst {
				t.Errorf("at %d/s %d turns were given in %v, want %d", perSecond, given, span, want)
			}
		})
	}
}

func TestBurst_OfTheGreatestRateCountsExactlyInADouble(t *testing.T) {
	most := mostCatchUp.Microseconds()*MaxRatePerHour + MaxBurst*creditUnit
	if int64(float64(most)) != most || most >= 1<<53 {
		t.Fatalf("credit may reach %d, doubles are exact to %d", most, int64(1)<<53)
	}
}

func sound() Limits {
	return Limits{
		Mode: ModeAuto, Burst: 1, Claim: time.Second, Absence: time.Second,
		HoldPlace: time.Second, Idle: time.Second, Max: time.Second,
	}
}

func TestLimits_CheckRefusesWhatBreaksPromises(t *testing.T) {
	for _, c := range []struct {
		change func(*Limits)
		want   string // empty: none
	}{
		{func(l *Limits) {}, ""},
		{func(l *Limits) { l.Mode = ModeOpen }, ""},
		{func(l *Limits) { l.Mode = ModeHold }, ""},
		{func(l *Limits) { l.Mode = ModeClosed }, ""},
		{func(l *Limits) { l.Mode = "ajar" }, `mode "ajar" is unknown`},
		{func(l *Limits) { l.Capacity = -1 }, "capacity"},
		{func(l *Limits) { l.RatePerHour = -1 }, "rate"},
		{func(l *Limits) { l.RatePerHour = MaxRatePerHour }, ""},
		{func(l *Limits) { l.RatePerHour = MaxRatePerHour + 1 }, "rate"},
		{func(l *Limits) { l.Burst = 0 }, "burst"},
		{func(l *Limits) { l.Burst = MaxBurst }, ""},
		{func(l *Limits) { l.Burst = MaxBurst + 1 }, "burst"},
		{func(l *Limits) { l.Claim = 0 }, "above zero"},
		{func(l *Limits) { l.Absence = 0 }, "above zero"},
		{func(l *Limits) { l.HoldPlace = -time.Second }, "above zero"},
		{func(l *Limits) { l.Idle = 0 }, "above zero"},
		{func(l *Limits) { l.Max = 0 }, "above zero"},
	} {
		l := sound()
		c.change(&l)
		err := l.Check()
		if c.want == "" && err != nil || c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)) {
			t.Errorf("check of %+v: %v, want %q", l, err, c.want)
		}
	}
}

func TestStrictest_TakesFromEachWhatLetsInFewer(t *testing.T) {
	early, late := time.Unix(1000, 0).UTC(), time.Unix(2000, 0).UTC()
	for _, c := range []struct {
		name       string
		a, b, want func(*Limits)
	}{
		{"mode open and auto", func(l *Limits) { l.Mode = ModeOpen }, func(l *Limits) { l.Mode = ModeAuto }, func(l *Limits) { l.Mode = ModeAuto }},
		{"mode auto and hold", func(l *Limits) { l.Mode = ModeAuto }, func(l *Limits) { l.Mode = ModeHold }, func(l *Limits) { l.Mode = ModeHold }},
		{"mode hold and closed", func(l *Limits) { l.Mode = ModeHold }, func(l *Limits) { l.Mode = ModeClosed }, func(l *Limits) { l.Mode = ModeClosed }},
		{"capacity", func(l *Limits) { l.Capacity = 5 }, func(l *Limits) { l.Capacity = 7 }, func(l *Limits) { l.Capacity = 5 }},
		{"capacity and none", func(l *Limits) { l.Capacity = 0 }, func(l *Limits) { l.Capacity = 7 }, func(l *Limits) { l.Capacity = 7 }},
		{"rate", func(l *Limits) { l.RatePerHour = 5 }, func(l *Limits) { l.RatePerHour = 7 }, func(l *Limits) { l.RatePerHour = 5 }},
		{"rate and none", func(l *Limits) { l.RatePerHour = 9 }, func(l *Limits) { l.RatePerHour = 0 }, func(l *Limits) { l.RatePerHour = 9 }},
		{"burst", func(l *Limits) { l.Burst = 9 }, func(l *Limits) { l.Burst = 4 }, func(l *Limits) { l.Burst = 4 }},
		{"claim is the kinder", func(l *Limits) { l.Claim = time.Minute }, func(l *Limits) {}, func(l *Limits) { l.Claim = time.Minute }},
		{"absence is the kinder", func(l *Limits) { l.Absence = time.Minute }, func(l *Limits) {}, func(l *Limits) { l.Absence = time.Minute }},
		{"hold_place is the kinder", func(l *Limits) { l.HoldPlace = time.Minute }, func(l *Limits) {}, func(l *Limits) { l.HoldPlace = time.Minute }},
		{"idle", func(l *Limits) { l.Idle = time.Minute }, func(l *Limits) { l.Idle = time.Hour }, func(l *Limits) { l.Idle = time.Minute }},
		{"max", func(l *Limits) { l.Max = time.Minute }, func(l *Limits) { l.Max = time.Hour }, func(l *Limits) { l.Max = time.Minute }},
		{"start", func(l *Limits) { l.StartAt = early }, func(l *Limits) { l.StartAt = late }, func(l *Limits) { l.StartAt = late }},
		{"start and none", func(l *Limits) { l.StartAt = early }, func(l *Limits) {}, func(l *Limits) { l.StartAt = early }},
		{"end", func(l *Limits) { l.EndAt = early }, func(l *Limits) { l.EndAt = late }, func(l *Limits) { l.EndAt = early }},
		{"end and none", func(l *Limits) {}, func(l *Limits) { l.EndAt = late }, func(l *Limits) { l.EndAt = late }},
	} {
		a, b, want := sound(), sound(), sound()
		c.a(&a)
		c.b(&b)
		c.want(&want)
		if got := strictest(a, b); got != want {
			t.Errorf("%s:\n%+v, want\n%+v", c.name, got, want)
		}
		if got := strictest(b, a); got != want {
			t.Errorf("%s, the other way round:\n%+v, want\n%+v", c.name, got, want)
		}
	}
}

func TestStrictest_DoesNotDependOnWhoComesFirst(t *testing.T) {
	span := rapid.Map(rapid.Int64Range(1, 5), func(i int64) time.Duration { return time.Duration(i) * time.Minute })
	at := rapid.Map(rapid.Int64Range(0, 3), func(i int64) time.Time {
		if i == 0 {
			return time.Time{}
		}
		return time.Unix(i, 0).UTC()
	})
	limits := rapid.Custom(func(t *rapid.T) Limits {
		return Limits{
			Mode:     rapid.SampledFrom([]Mode{ModeOpen, ModeAuto, ModeHold, ModeClosed}).Draw(t, "mode"),
			Capacity: rapid.Int64Range(0, 3).Draw(t, "capacity"), RatePerHour: rapid.Int64Range(0, 3).Draw(t, "rate"),
			Burst: rapid.Int64Range(1, 3).Draw(t, "burst"),
			Claim: span.Draw(t, "claim"), Absence: span.Draw(t, "absence"), HoldPlace: span.Draw(t, "hold"),
			Idle: span.Draw(t, "idle"), Max: span.Draw(t, "max"), StartAt: at.Draw(t, "start"), EndAt: at.Draw(t, "end"),
		}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b, c := limits.Draw(t, "a"), limits.Draw(t, "b"), limits.Draw(t, "c")
		if strictest(a, b) != strictest(b, a) {
			t.Fatalf("%+v and %+v", strictest(a, b), strictest(b, a))
		}
		if strictest(strictest(a, b), c) != strictest(a, strictest(b, c)) {
			t.Fatal("three gateways agree on other limits, depending on their order")
		}
		if strictest(a, a) != a {
			t.Fatal("a gateway's limits twice are not those limits")
		}
	})
}

func TestInstant_ConvertsBothWays(t *testing.T) {
	if InstantOf(time.Time{}) != 0 || !Instant(0).Time().IsZero() {
		t.Error("no time and no instant are not the same")
	}
	at := time.Date(2026, 11, 22, 10, 0, 0, 123456000, time.UTC)
	i := InstantOf(at)
	if !i.Time().Equal(at) || i.Add(time.Minute).Sub(i) != time.Minute {
		t.Errorf("%v came back as %v", at, i.Time())
	}
}
