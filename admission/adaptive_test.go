package admission

import (
	"flag"
	"fmt"
	"math"
	"slices"
	"testing"
	"time"
)

// thorough has the best fixed rate searched for in small steps, and the adaptive
// one tried with several seeds, for every way to visit: half a minute of a
// processor, and several under the race detector.
var thorough = flag.Bool("thorough", false, "hold the adaptive rate against the best fixed one as docs/adaptive.md does")

// following lets a controller follow a shop.
func following(c *controller) func(Measure, float64) float64 {
	return func(m Measure, inForce float64) float64 {
		rate, _ := c.observe(m, inForce, true)
		return rate
	}
}

func controllerOf(m shopModel, most float64) *controller {
	return &controller{least: most / 20, most: most, target: Adaptive{P95: m.p95, Errors: .02}}
}

// A shop of unknown size does nearly as well as at the best rate there is, and
// never collapses: whatever its knee, however long visitors stay, and however far
// the operator's rate is above what the shop takes.
func TestController_DoesNearlyAsWellAsTheBestFixedRate(t *testing.T) {
	t.Parallel()
	const long = 30 * time.Minute
	stays, step, seeds := []visits{{8, 5}}, 1.3, uint64(1)
	if *thorough {
		stays, step, seeds = []visits{{1, 1}, {8, 5}, {20, 15}}, 1.12, 5
	}
	models := shopModels
	if testing.Short() {
		models = models[:1]
	}
	for _, m := range models {
		for _, v := range stays {
			t.Run(fmt.Sprintf("%s, %.0f requests", m.name, v.requests), func(t *testing.T) {
				t.Parallel()
				best, good := bestFixed(m, v, long, step)
				most := 6 * best
				least, sum, late := math.Inf(1), 0., 0
				for seed := range seeds {
					r := newShop(m, v, 2+seed).rush(long, most/20, following(controllerOf(m, most)))
					least, sum, late = min(least, r.good/good), sum+r.good/good, late+r.late
				}
				t.Logf("best fixed %.2f/s gives %.1f a second; of up to six times that %d seeds give %.2f of it at least, %.2f on average, late for %d s of %v",
					best, good, seeds, least, sum/float64(seeds), late/int(seeds), long)
				if least < .9 {
					t.Errorf("goodput is %.2f of the best fixed rate's", least)
				}
			})
		}
	}
}

// swings counts how often rates go from below a third of the highest to above two
// thirds of it.
func swings(rates []float64) (n int) {
	most, low := slices.Max(rates), false
	for _, r := range rates {
		switch {
		case r < most/3:
			low = true
		case r > 2*most/3 && low:
			low = false
			n++
		}
	}
	return n
}

// A shop that flaps is let have what it takes when it is at its worst, and the
// rate does not flap with it.
func TestController_DoesNotSwingWithAShopThatFlaps(t *testing.T) {
	t.Parallel()
	for _, m := range shopModels {
		t.Run(m.name, func(t *testing.T) {
			t.Parallel()
			const most = 100.
			s := newShop(m, visits{8, 5}, 2)
			c := controllerOf(m, most)
			c.least = 1
			seconds := 0
			r := s.rush(30*time.Minute, c.least, func(m Measure, inForce float64) float64 {
				if seconds++; seconds%20 == 0 {
					s.power = 1.2 - s.power // a fifth of it, or all
				}
				rate, _ := c.observe(m, inForce, true)
				return rate
			})
			last := r.rates[len(r.rates)/2:]
			t.Logf("in the last quarter of an hour, in which the shop flaps %d times, the rate swings %d times, up to %.1f/s", len(last)/40, swings(last), slices.Max(last))
			if n := swings(last); n > len(last)/80 {
				t.Errorf("the rate swings %d times", n)
			}
		})
	}
}

// A shop that has just come back from the worst gets all it takes again.
func TestController_RecoversWithTheShop(t *testing.T) {
	t.Parallel()
	m := shopModels[0]
	const most = 60.
	s := newShop(m, visits{8, 5}, 2)
	c := controllerOf(m, most)
	seconds := 0
	r := s.rush(time.Hour, most/20, func(m Measure, inForce float64) float64 {
		switch seconds++; seconds {
		case 900:
			s.power = .1
		case 1200:
			s.power = 1
		}
		rate, _ := c.observe(m, inForce, true)
		return rate
	})
	mean := func(from, to int) (sum float64) {
		for _, rate := range r.rates[from:to] {
			sum += rate / float64(to-from)
		}
		return sum
	}
	well, ill, again := mean(600, 900), mean(1000, 1200), mean(3000, 3600)
	t.Logf("%.2f/s while it is well, %.2f/s while it does a tenth, %.2f/s when it is well again", well, ill, again)
	if !(ill < .3*well && again > .7*well) {
		t.Errorf("%.2f/s while it is well, %.2f/s while it does a tenth, %.2f/s when it is well again", well, ill, again)
	}
}

// Where the line is empty or the shop is full, nothing is learned of how many more
// it could take.
func TestController_RaisesNothingWhereTheRateHoldsNobody(t *testing.T) {
	t.Parallel()
	c := controllerOf(shopModels[0], 100)
	rate := 5.
	for range 600 {
		var m Measure
		m.Asked, m.Answers[LatencyBucket(40*time.Millisecond)] = 20, 20
		rate, _ = c.observe(m, rate, false)
	}
	if rate > 10 {
		t.Errorf("%.1f/s after ten minutes in which nobody was held, from 5/s", rate)
	}
}

// A gateway that starts beside others knows nothing of its load yet: it goes on at
// the rate in force, and does not leap when it knows.
func TestController_GoesOnAtTheRateInForce(t *testing.T) {
	t.Parallel()
	c := controllerOf(shopModels[0], 1000)
	c.least = 1
	rate, load := 25., 200.
	for second := range 60 {
		load += (8*rate - load) / 40 // eight requests each, within forty seconds
		m := Measure{Asked: int64(load)}
		m.Answers[LatencyBucket(250*time.Millisecond)] = uint32(load)
		rate, _ = c.observe(m, rate, true)
		if rate < 15 || rate > 35 {
			t.Fatalf("%.1f/s after %d s, from 25/s", rate, second+1)
		}
	}
}

// A shop that takes half of what the operator allows for an answer even while it is
// idle is still let have most of what it can do.
func TestController_FillsAShopWhoseLimitIsTight(t *testing.T) {
	t.Parallel()
	m, v := shopModels[2], visits{8, 5}
	m.p95 = m.p95 * 2 / 3 // twice what it is with few visitors
	const long, knee = 15 * time.Minute, 200.
	most := 6 * knee / v.requests
	r := newShop(m, v, 2).rush(long, most/20, following(controllerOf(m, most)))
	t.Logf("%.1f a second of some %.0f", r.good, knee)
	if r.good < .75*knee {
		t.Errorf("%.1f a second of some %.0f", r.good, knee)
	}
}

// A shop that hangs answers nothing that could be late.
func TestController_SeesAShopThatHangs(t *testing.T) {
	t.Parallel()
	c := controllerOf(shopModels[0], 100)
	why := ""
	for i := range 5 {
		_, why = c.observe(Measure{Asked: 10, Unanswered: int64(10 + 10*i)}, 5, true)
	}
	if why != paceHanging {
		t.Errorf("of a shop that hangs it says %q", why)
	}
}

// When another gateway goes, its visitors come by this one: that is no more than
// the shop had before.
func TestController_TakesOverTheLoadOfAnother(t *testing.T) {
	t.Parallel()
	c := controllerOf(shopModels[0], 100)
	rate := 5.
	second := func(load int64) {
		m := Measure{Asked: load}
		m.Answers[LatencyBucket(40*time.Millisecond)] = uint32(load)
		rate, _ = c.observe(m, rate, true)
	}
	for range 60 {
		second(40)
	}
	for range 60 {
		second(80)
	}
	if rate < 20 {
		t.Errorf("%.1f/s a minute after it took over as much again, with a shop that is well", rate)
	}
}
