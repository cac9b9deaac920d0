package admission

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"
	"time"
)

// scoreStep is the grain of a simulated sale: coarser than a tick, and finer than
// any wait that a page shows.
const scoreStep = time.Second

// sale is a simulated one: how its visitors come and behave.
type sale struct {
	name   string
	limits Limits
	long   time.Duration
	come   func(at time.Duration) float64 // visitors per second
	stay   func(chance *rand.Rand) time.Duration
	noShow float64 // of those whose turn comes
	leaves float64 // of those who join, who close the tab on the way
	decide map[time.Duration]Overrides
}

// person is one visitor of a sale.
type person struct {
	number int64
	leaves Instant // closes the tab then, unless the turn came; 0: stays
	shows  bool
	turn   Instant // 0: not yet
	bands  []shown
}

// shown is a band that a page showed.
type shown struct {
	at   Instant
	band Wait
}

// score runs a sale on a memory store and virtual time, through the view and the
// pace of one gateway, and returns how many bands were shown to those whose turn
// came, and how many of them held the true wait.
func (s sale) score(t *testing.T, seed uint64) (polls, held int) {
	t.Helper()
	ctx := t.Context()
	start := time.Now()
	clock := InstantOf(start)
	store := NewMemory(func() time.Time { return start.Add(clock.Sub(InstantOf(start))) })
	chance := rand.New(rand.NewPCG(seed, 1))
	call := Call{Line: LineID{Tenant: "t", Activity: 1}, Gateway: "g"}
	began := clock
	v, since := &view{}, int64(0)
	waiting := map[int64]*person{} // by number, until the turn came
	var all []*person
	ends := map[Instant][]string{} // sessions that end by leaving, by tick
	visitor := func(n int64) string { return fmt.Sprint(n) }
	for clock.Sub(began) < s.long {
		clock = clock.Add(scoreStep)
		at := clock.Sub(began)
		if o, ok := s.decide[at]; ok {
			o.Version = v.Overrides.Version
			if _, err := store.Override(ctx, call, o); err != nil {
				t.Fatal(err)
			}
		}
		// Departures of this tick.
		if gone := ends[clock]; gone != nil {
			var all []Departure
			for _, name := range gone {
				all = append(all, Departure{Visitor: name})
			}
			if _, err := store.Leave(ctx, call, all); err != nil {
				t.Fatal(err)
			}
			delete(ends, clock)
		}
		// Arrivals: a Poisson process.
		var newcomers []Newcomer
		issued := v.Issued
		for n := poisson(chance, s.come(at)*scoreStep.Seconds()); n > 0; n-- {
			issued++
			newcomers = append(newcomers, Newcomer{Visitor: visitor(issued)})
		}
		enter := func(n int64) {
			until := clock.Add(max(scoreStep, s.stay(chance).Truncate(scoreStep)))
			ends[until] = append(ends[until], visitor(n))
		}
		if len(newcomers) > 0 && !v.Settling && v.Version > 0 {
			_, places, err := store.Join(ctx, call, fmt.Sprint(at), newcomers)
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range places {
				if p.Admission.Visitor != "" {
					enter(p.Number)
					continue
				}
				who := &person{number: p.Number, shows: chance.Float64() >= s.noShow}
				if chance.Float64() < s.leaves {
					who.leaves = clock.Add(time.Duration(chance.ExpFloat64() * float64(5*time.Minute)))
				}
				waiting[p.Number] = who
				all = append(all, who)
			}
		}
		// Presence, every two seconds, of who has not closed the tab.
		if at%(2*time.Second) == 0 && len(waiting) > 0 {
			var heard heard
			for n, who := range waiting {
				if who.leaves == 0 || clock < who.leaves {
					heard.mark(n)
				}
			}
			if _, err := store.Present(ctx, call, heard.take()); err != nil {
				t.Fatal(err)
			}
		}
		read, err := store.Release(ctx, call, s.limits, since)
		if err != nil {
			t.Fatal(err)
		}
		next := v.update(read, time.Now(), since == 0)
		next.pace = v.pace.observe(read.Head)
		v, since = next, read.Version
		var knocks []Knock
		for n := range v.claims {
			who := waiting[n]
			if who == nil {
				continue
			}
			delete(waiting, n)
			if who.leaves != 0 && clock >= who.leaves {
				continue
			}
			who.turn = clock
			if who.shows {
				knocks = append(knocks, Knock{Visitor: visitor(n), Number: n, Epoch: v.Epoch})
			}
		}
		if len(knocks) > 0 {
			if _, _, err := store.Admit(ctx, call, knocks); err != nil {
				t.Fatal(err)
			}
			for _, k := range knocks {
				enter(k.Number)
			}
		}
		// Polls: each visitor every ten seconds, spread by number.
		for n, who := range waiting {
			if (at+time.Duration(n)*scoreStep)%(10*time.Second) != 0 || who.leaves != 0 && clock >= who.leaves {
				continue
			}
			if band := v.pace.wait(v.position(n, v.Head), v.Seats()); band.Known {
				who.bands = append(who.bands, shown{clock, band})
			}
		}
	}
	for _, who := range all {
		if who.turn == 0 {
			continue
		}
		for _, b := range who.bands {
			polls++
			if wait := who.turn.Sub(b.at); wait >= b.band.Low-scoreStep && wait <= b.band.High+scoreStep {
				held++
			}
		}
	}
	return polls, held
}

func poisson(chance *rand.Rand, mean float64) (n int) {
	for p, limit := chance.Float64(), math.Exp(-mean); p > limit; n++ {
		p *= chance.Float64()
	}
	return n
}

// sales are those that the estimate is scored by: eighty inside for two minutes
// each on average, and three come where two go.
func sales() []sale {
	const long, open = 60 * time.Minute, 30 * time.Minute // until all are in, and for newcomers
	limits := Limits{
		Mode: ModeAuto, Capacity: 80, Burst: 4, Claim: 90 * time.Second, Absence: 3 * time.Minute,
		HoldPlace: 15 * time.Minute, Idle: 10 * time.Minute, Max: time.Hour,
	}
	byRate := limits
	byRate.Capacity, byRate.RatePerHour = 0, 2400
	stay := func(chance *rand.Rand) time.Duration {
		return time.Duration(chance.ExpFloat64() * float64(2*time.Minute))
	}
	steady := func(time.Duration) float64 { return 1 }
	rush := func(at time.Duration) float64 {
		if at < time.Minute {
			return 12
		}
		return 0.3
	}
	ramp := func(at time.Duration) float64 { return 1.6 * at.Minutes() / open.Minutes() }
	pause := map[time.Duration]Overrides{15 * time.Minute: {Mode: ModeHold}, 20 * time.Minute: {}}
	all := []sale{
		{name: "steady, by capacity", limits: limits, come: steady},
		{name: "steady, by rate", limits: byRate, come: steady},
		{name: "a rush, then few", limits: limits, come: rush},
		{name: "ramping up", limits: limits, come: ramp},
		{name: "two in five do not enter", limits: limits, come: steady, noShow: 0.4},
		{name: "one in three closes the tab", limits: limits, come: steady, leaves: 1.0 / 3},
		{name: "paused for five minutes", limits: limits, come: steady, decide: pause},
	}
	for i := range all {
		come := all[i].come
		all[i].long, all[i].stay = long, stay
		all[i].come = func(at time.Duration) float64 {
			if at > open {
				return 0
			}
			return come(at)
		}
	}
	return all
}

// The bands that pages show hold the true wait for four polls in five at least,
// in every kind of sale. Polls of one run share one measurement, so that one run
// says little: each sale is held several times.
func TestWait_TheBandHoldsTheTrueWait(t *testing.T) {
	for _, s := range sales() {
		polls, held := 0, 0
		for seed := range uint64(6) {
			p, h := s.score(t, seed+1)
			polls, held = polls+p, held+h
		}
		share := float64(held) / float64(max(polls, 1))
		t.Logf("%-28s %7d polls, the band held the true wait of %.1f %%", s.name, polls, 100*share)
		if share < 0.8 {
			t.Errorf("%s: the band held the true wait of %.1f %% of polls, want at least 80 %%", s.name, 100*share)
		}
	}
}
