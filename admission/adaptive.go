package admission

import (
	"math"
	"time"

	"go.uber.org/zap"
)

// Adaptive is how the rate of a line follows what its shop can take. The zero
// Adaptive is a rate that stays.
type Adaptive struct {
	P95        time.Duration // 95 % of answers are to be faster; 0: not looked at
	Errors     float64       // the share of requests that may fail; 0: not looked at
	MinPerHour int64         // the lowest rate; the highest is Limits.RatePerHour
}

// On reports whether the rate follows anything.
func (a Adaptive) On() bool { return a.P95 > 0 || a.Errors > 0 }

// Measure is how an upstream did in the second before, as one gateway saw it.
type Measure struct {
	Upstream   string
	Asked      int64     // requests that were sent, or refused by the gateway itself
	Failed     int64     // of which the answer was 5xx, or none came
	Answers    Latencies // of those that did not fail, to the answer's headers
	Unanswered int64     // requests under way now
}

// The controller's constants. docs/adaptive.md argues them from simulation.
const (
	// judged is over how many measures the shop is judged, at most: since the
	// last cut, so that it is judged by what the cut did.
	judged = 5

	// loadSpan is over how many seconds the load is smoothed.
	loadSpan = 6

	// The strain of a shop that does not feel its load lies between these, as
	// operators are told to allow two to four times what answers take then. It is
	// the least that was seen, over idleSpan seconds.
	mostIdle  = .5
	leastIdle = .25
	idleSpan  = 8.

	// growth is by how much the limit of the load grows in a second where the shop
	// does not feel it, and ebb by how much it falls where the shop is at what the
	// operator allows. Between, both go with the square of the distance from where
	// the strain is to be, so that the load, which is seen seconds late, slows down
	// before it is there.
	growth = .04
	ebb    = .01

	// patience is by how much growth is slower for each second for which the
	// shop was past its limit, and forgotten how many seconds it takes to forget
	// most of them: who pays for a look with a minute looks seldom, who pays with
	// a second often.
	patience  = 2.
	forgotten = 480.

	backOff    = .95  // of the load that was too much
	cut        = .5   // of the rate, each second while the shop is past its limit
	collapsed  = 10   // seconds after which the shop was asked for far too much
	backFar    = .9   // of the limit, then
	gain       = 4.   // of the rate, by how far the load is from its limit
	steady     = 60.  // seconds over which the rate is averaged that holds the load
	settled    = 10   // seconds after which a gateway that starts knows its load
	shifted    = 1.15 // of the limit, a load that another gateway had before, if the shop is well
	mostRaise  = 1.5  // of the rate in force, in a second
	mostBeyond = 1.1  // the same, beyond the rate that holds the load: what it brings is seen late
	leastLoad  = 5.   // requests per second, the limit while nothing is known
	leastLimit = .5   // and when it is
	doubts     = 2.6  // deviations by which a share, or a load, must be exceeded
	leastOpen  = 10.  // requests under way that may tell of a shop that hangs
)

// controller finds the rate at which a shop is as busy as it can well be, from
// what one gateway measures of it each second.
//
// What the shop does follows the rate late: visitors stay for minutes. But it
// follows its load, the requests per second, at once. So the controller limits
// the load: the limit goes to where the shop has some headroom left, and falls
// below where it was not well. And it steers the load to the limit by the rate,
// around the one at which the load stands still there, found by integration.
type controller struct {
	least, most float64 // rates, per second
	target      Adaptive

	recent  []Measure
	load    float64 // requests per second, smoothed
	limit   float64 // of the load
	each    float64 // visitors to let in for each request that the load is to have; 0: not begun
	strain  float64 // smoothed; 1 at what the operator allows, and beyond
	idle    float64 // strain where the load is not felt
	past    int     // seconds for which the shop is past its limit
	reached float64 // the load when it went past it
	debt    float64 // seconds for which it was, not forgotten yet
	age     int     // seconds

	p95    time.Duration // as judged last
	failed float64
}

// Why the rate is what it is.
const (
	paceSlow    = "the shop answers too slowly"
	paceFailing = "too many requests fail"
	paceHanging = "requests stay unanswered"
	paceFree    = "the shop takes more"
	paceLimit   = "the load is near what the shop takes"
)

// observe takes a measure and the rate in force, per second, and returns the
// rate to be told and why. held: the rate alone holds visitors back.
func (c *controller) observe(m Measure, inForce float64, held bool) (rate float64, why string) {
	if c.recent = append(c.recent, m); len(c.recent) > judged {
		c.recent = c.recent[1:]
	}
	if c.each == 0 {
		c.limit, c.each, c.idle = leastLoad, inForce/leastLoad, mostIdle
	}
	asked := float64(m.Asked - m.Failed)
	c.load += (asked - c.load) / loadSpan
	if why = c.judge(m.Unanswered); why != "" {
		return c.retreat(inForce), why
	}
	c.past = 0
	c.debt -= c.debt / forgotten
	c.explore(held)
	why = paceFree
	if c.load > .9*c.limit {
		why = paceLimit
	}
	if c.age++; c.age <= settled {
		c.limit = max(c.limit, c.load) // what other gateways found out
		c.each = inForce / c.limit
		return c.within(inForce), why
	}
	return c.steer(asked, inForce, held), why
}

// retreat returns the rate while the shop is past its limit. The first second
// may be chance: it is answered and not remembered.
func (c *controller) retreat(inForce float64) float64 {
	switch c.past++; c.past {
	case 1:
		c.reached = c.load
		return c.within(inForce * cut)
	case 2:
		c.limit = max(leastLimit, min(c.limit, backOff*c.reached))
	case collapsed:
		c.limit = max(leastLimit, backFar*c.limit)
	}
	c.debt++
	c.recent = nil
	if c.past > collapsed { // what comes at the lowest rate may be all that keeps it down
		return c.least / 10
	}
	return c.within(inForce * cut)
}

// explore moves the limit of the load to where half of the way is gone from the
// idle strain to what the operator allows.
func (c *controller) explore(held bool) {
	near := c.load / c.limit
	looks := near > .8 && held
	if looks && c.strain < c.idle {
		c.idle = max(leastIdle, c.idle+(c.strain-c.idle)/idleSpan)
	}
	aim := (c.idle + 1) / 2
	room := min(1, (aim-c.strain)/(aim-c.idle))
	pace := growth
	switch {
	case room < 0:
		pace = ebb
	case near <= shifted:
		pace /= 1 + patience*c.debt
	}
	if room < 0 || looks || near > shifted {
		c.limit = max(leastLimit, c.limit*(1+pace*room*math.Abs(room)))
	}
}

// steer returns the rate that brings the load to its limit.
func (c *controller) steer(asked, inForce float64, held bool) float64 {
	load := max(c.load, asked-doubts*math.Sqrt(max(0, asked))) // a leap is seen at once
	holds := c.each * c.limit
	rate := holds * max(0, 1+gain*(1-load/c.limit))
	if !held {
		rate = min(rate, holds)
	}
	rate = min(rate, max(holds, mostBeyond*inForce), mostRaise*max(inForce, c.least))
	rate = c.within(rate)
	if held || rate < holds {
		c.each += (rate/c.limit - c.each) / steady
	}
	return rate
}

// judge tells what is wrong with the shop, by the recent measures; empty:
// nothing, or it cannot be told.
func (c *controller) judge(unanswered int64) string {
	var all Latencies
	var failed int64
	for i := range c.recent {
		all.add(&c.recent[i].Answers)
		failed += c.recent[i].Failed
	}
	answers := float64(all.Count())
	n := answers + float64(failed)
	strain := 0.
	c.p95, c.failed = 0, 0
	if n > 0 {
		c.p95, c.failed = all.quantile(.95), float64(failed)/n
		if c.target.P95 > 0 {
			strain = c.p95.Seconds() / c.target.P95.Seconds()
		}
		if c.target.Errors > 0 {
			strain = max(strain, c.failed/c.target.Errors)
		}
	}
	strain = min(strain, 1)
	if len(c.recent) == 1 { // what came before the cut is over
		c.strain = strain
	}
	c.strain += (strain - c.strain) / 3
	switch {
	case c.target.P95 > 0 && exceeds(float64(all.above(c.target.P95)), .05, answers):
		return paceSlow
	case c.target.Errors > 0 && exceeds(float64(failed), c.target.Errors, n):
		return paceFailing
	case float64(unanswered) >= leastOpen && c.target.P95 > 0 &&
		float64(unanswered) > c.target.P95.Seconds()*n/float64(len(c.recent)):
		return paceHanging // by Little's law they wait longer on average than 95 % may
	}
	return ""
}

// exceeds reports whether so many of n are more than a share, by more than
// chance makes them.
func exceeds(many, share, n float64) bool {
	return many > share*n+doubts*math.Sqrt(share*(1-share)*n)+.5
}

func (c *controller) within(rate float64) float64 { return min(max(rate, c.least), c.most) }

// governor are the controllers of a room, one for each upstream that it leads
// to: the strictest counts, as it does among gateways.
type governor struct {
	of   map[string]*controller
	told float64 // the rate that was logged last
	past bool    // and whether a shop was past its limit then
}

// Measured tells the room, once a second, how the upstreams did that it leads
// to. Where the activity's rate is adaptive, the room tells the store a rate that
// follows. It is called by one goroutine.
func (r *Room) Measured(measures []Measure) {
	settings := r.settings.Load()
	v := r.view.Load()
	a, most := settings.Adaptive, float64(settings.Limits.RatePerHour)/3600
	if !a.On() || most == 0 {
		r.governor = governor{}
		r.adapted.Store(0)
		return
	}
	if v.stale() || v.Overrides.RatePerHour != nil {
		return // an operator's rate stands
	}
	inForce := float64(v.Limits.RatePerHour) / 3600
	held := v.Waiting > 0 && !v.Paused() && (v.Limits.Capacity == 0 || v.Seats() < v.Limits.Capacity)
	of := make(map[string]*controller, len(measures))
	rate, why := most, ""
	var strictest *controller
	var measure Measure
	for _, m := range measures {
		c := r.governor.of[m.Upstream]
		if c == nil || c.target != a || c.most != most {
			c = &controller{least: min(float64(a.MinPerHour)/3600, most), most: most, target: a}
		}
		of[m.Upstream] = c
		if told, reason := c.observe(m, inForce, held); strictest == nil || told < rate {
			rate, why, strictest, measure = told, reason, c, m
		}
	}
	g := &r.governor
	g.of = of
	if strictest == nil {
		return
	}
	r.adapted.Store(max(1, int64(rate*3600)))
	if past := strictest.past > 1; past != g.past || rate > 1.25*g.told || rate < .8*g.told {
		r.log.Info("rate follows the shop",
			zap.String("upstream", measure.Upstream), zap.String("why", why),
			zap.Float64("rate_per_minute", 60*rate), zap.Float64("in_force", 60*inForce),
			zap.Float64("load_per_second", strictest.load), zap.Float64("load_limit", strictest.limit),
			zap.Duration("p95", strictest.p95), zap.Float64("failed", strictest.failed), zap.Int64("unanswered", measure.Unanswered))
		g.told, g.past = rate, past
	}
}

// beginAdapting has the line begin at the lowest rate, where no other gateway
// has found out what the shop takes. Another's rate is gone on from.
func (r *Room) beginAdapting(settings *Settings, read Line) {
	if settings.Adaptive.On() && read.Limits.RatePerHour >= settings.Limits.RatePerHour {
		r.adapted.Store(max(1, settings.Adaptive.MinPerHour))
	}
}

// adapt puts the rate that follows the shop into limits.
func (r *Room) adapt(limits Limits) Limits {
	rate := r.adapted.Load()
	if rate == 0 || rate >= limits.RatePerHour {
		return limits
	}
	limits.Burst = max(LeastBurst(rate), limits.Burst*rate/limits.RatePerHour)
	limits.RatePerHour = rate
	return limits
}
