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
}

type paceBucket struct {
	busy  time.Duration // time in which someone waited and releases were on
	turns int64
}

const (
	paceBuckets = 30
	paceGrain   = 10 * time.Second
)

// observe returns the pace after another reading of the line.
func (p pace) observe(h Head) pace {
	last := p.last
	p.last = h
	if last.Now == 0 || h.Epoch != last.Epoch {
		return p
	}
	if h.Limits.RatePerHour != last.Limits.RatePerHour || h.Limits.Capacity != last.Limits.Capacity {
		p.buckets = [paceBuckets]paceBucket{} // what was measured was another line
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
	b.busy += min(h.Now.Sub(last.Now), mostCatchUp)
	b.turns += h.Turned - last.Turned
	return p
}

// wait estimates the time until the turn of the position-th in line.
//
// Turns come as a Poisson process of unknown rate: n more of them take n/rate,
// with a relative spread of 1/√n from their own chance and 1/√k from having
// measured the rate over only k. The band is 80 % wide (1.28 deviations each
// way). Where the rate limit alone holds the line back, it is the rate. seats
// are those taken now.
func (p pace) wait(position, seats int64) Wait {
	if position < 1 || p.last.Paused() || p.last.Now == 0 {
		return Wait{}
	}
	var busy time.Duration
	var turns int64
	for _, b := range p.buckets {
		busy += b.busy
		turns += b.turns
	}
	limits := p.last.Limits
	n := float64(position)
	var perTurn time.Duration
	var spread float64
	switch {
	case turns >= 10:
		perTurn = busy / time.Duration(turns)
		spread = 1.28 * math.Sqrt(1/n+1/float64(turns))
	case limits.RatePerHour > 0 && (limits.Capacity == 0 || seats < limits.Capacity):
		perTurn = time.Hour / time.Duration(limits.RatePerHour)
		spread = 0.1
	case turns > 0:
		perTurn = busy / time.Duration(turns)
		spread = 1.28 * math.Sqrt(1/n+1/float64(turns))
	default:
		return Wait{}
	}
	if limits.RatePerHour > 0 {
		perTurn = max(perTurn, time.Hour/time.Duration(limits.RatePerHour))
	}
	mean := n * float64(perTurn)
	return Wait{Known: true, Low: time.Duration(mean / (1 + spread)), High: time.Duration(mean*(1+spread)) + Tick}
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
