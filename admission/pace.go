package admission

import (
	"math"
	"math/rand/v2"
	"time"
)

// pace is how fast a line moves, measured over the last minutes in which it
// had to. It never changes; each tick makes the next one. The zero pace has
// measured nothing.
type pace struct {
	buckets [paceBuckets]paceBucket // a ring; each holds paceGrain of busy time
	at      int                     // the bucket being filled
	last    Head
	rate    int64 // per hour, that was in force when the buckets were empty
}

type paceBucket struct {
	busy   time.Duration // time in which someone waited and releases were on
	turns  int64
	gone   int64   // who left the line without a turn, less who came back to it
	waited float64 // seconds that all who waited did so, together
}

// Ten minutes: long enough that chance hardly moves what is measured, short
// enough to follow a shop that slows down.
const (
	paceBuckets = 60
	paceGrain   = 10 * time.Second
)

// observe returns the pace after another reading of the line.
func (p pace) observe(h Head) pace {
	last := p.last
	p.last = h
	if last.Now == 0 || h.Epoch != last.Epoch || h.Born != last.Born || h.Settling { // what a line counts that lost data is less
		return p
	}
	if another(h.Limits.RatePerHour, p.rate) || h.Limits.Capacity != last.Limits.Capacity {
		p.buckets = [paceBuckets]paceBucket{} // what was measured was another line
		p.rate = h.Limits.RatePerHour
		return p
	}
	if last.Waiting == 0 || last.Paused() {
		return p
	}
	b := &p.buckets[p.at]
	if b.busy >= paceGrain {
		p.at = (p.at + 1) % paceBuckets
		b = &p.buckets[p.at]
		*b = paceBucket{}
	}
	passed := max(0, min(h.Now.Sub(last.Now), mostCatchUp)) // below 0 where another server took over
	b.busy += passed
	turns := h.Turned - last.Turned - (h.Passed - last.Passed) // who waits is no nearer for those by passes
	b.turns += turns
	b.gone += h.Issued - last.Issued - turns - (h.Waiting - last.Waiting)
	b.waited += float64(last.Waiting) * passed.Seconds()
	return p
}

// another reports whether a rate is not the one that was measured. One that
// follows the shop moves a little all the time.
func another(rate, measured int64) bool {
	if (rate == 0) != (measured == 0) {
		return true
	}
	return 4*rate > 5*measured || 5*rate < 4*measured
}

// deviations is how wide a band is each way: 90 % of a normal distribution.
const deviations = 1.645

// wait estimates the time until the turn of the position-th in line.
//
// Turns come as a Poisson process of unknown rate: n more of them take n/rate,
// with a relative spread of 1/√n from their own chance and 1/√k from having
// measured the rate over only k. Those ahead who leave on the way cost no turn:
// where each does with the same probability in each second, l, the line ahead
// melts by rate + l·n, which takes ln(1 + l·n/rate)/l. Where the rate limit alone
// holds the line back, the rate is known. seats are those taken now.
func (p pace) wait(position, seats int64) Wait {
	if position < 1 || p.last.Paused() || p.last.Now == 0 {
		return Wait{}
	}
	sum := p.sum()
	limits := p.last.Limits
	n := float64(position)
	var rate, spread float64 // turns per second, and the band's share of the wait
	switch {
	case sum.turns < 10 && limits.RatePerHour > 0 && (limits.Capacity == 0 || seats < limits.Capacity):
		rate, spread = float64(limits.RatePerHour)/3600, 0.1
	case sum.turns > 0 && sum.busy > 0:
		rate = float64(sum.turns) / sum.busy.Seconds()
		spread = deviations * math.Sqrt(1/n+1/float64(sum.turns))
	default:
		return Wait{}
	}
	if limits.RatePerHour > 0 {
		rate = min(rate, float64(limits.RatePerHour)/3600)
	}
	// Who closed the tab is missed only once the window has turned, twice: in a
	// line that grows up to twice as many leave as are missed by now.
	leaving := sum.leaving()
	least, most := melts(n/rate, 2*leaving), melts(n/rate, leaving)
	return Wait{Known: true, Low: lasting(least / (1 + spread)), High: lasting(most*(1+spread)) + Tick}
}

// sum is all that was measured.
func (p *pace) sum() (sum paceBucket) {
	for i := range p.buckets {
		b := &p.buckets[i]
		sum.busy += b.busy
		sum.turns += b.turns
		sum.gone += b.gone
		sum.waited += b.waited
	}
	return sum
}

// leaving is the probability with which each who waits leaves, in a second.
func (b paceBucket) leaving() float64 { return max(0, float64(b.gone)/max(b.waited, 1)) }

// melts is how many of so many seconds pass where those ahead leave at a rate.
func melts(seconds, leaving float64) float64 {
	if leaving*seconds < 1e-6 {
		return seconds
	}
	return math.Log1p(leaving*seconds) / leaving
}

// Poll is how often visitors may ask for their status.
type Poll struct {
	Min, Max time.Duration
	Budget   float64 // polls per second, of all visitors of this gateway together
}

// least is the shortest interval at which a crowd stays within the budget.
func (p Poll) least(crowd int64) time.Duration {
	if p.Budget <= 0 {
		return p.Min
	}
	return max(p.Min, time.Duration(float64(crowd)/p.Budget*float64(time.Second)))
}

// absence returns how long a number may be silent: what the admin set, or
// longer where the budget makes visitors ask more seldom than a third of it.
// The window grows; presence is never given up.
func (p Poll) absence(set time.Duration, crowd int64) time.Duration {
	return max(set, 3*p.least(crowd))
}

// after returns when to ask again: soon near the front, seldom far back, a
// tenth of the wait between; and the longest that keeps presence.
func (p Poll) after(w Wait, position, crowd int64, absence time.Duration) (after, most time.Duration) {
	least := p.least(crowd)
	most = max(least, min(p.Max, absence/3))
	if w.Known {
		after = w.Low / 10
	} else {
		after = time.Duration(position) * p.Min / 10
	}
	return jitter(min(max(after, least), most)), most
}

// jitter spreads d over ±10 %, so that a crowd does not ask in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.9 + 0.2*rand.Float64()))
}
