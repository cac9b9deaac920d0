package admission

import (
	"math"
	"time"
)

// Outlook is what limits lead to, for those who wait now.
type Outlook struct {
	Limits  Limits
	Message string
	Last    Wait          // until the turn of the last who waits
	Served  int64         // of those who wait, before EndAt; all where that is not known
	Drain   time.Duration // until so many have left that one may be let in; 0: one may be now
}

// Foresight compares what a line leads to with what it would lead to.
type Foresight struct {
	Head
	Now, Then Outlook
}

// Foresee tells what an operator's decisions would change for those who wait.
// Nothing is decided by it, and the store is not asked.
func (r *Room) Foresee(change func(*Overrides)) (Foresight, error) {
	v, settings := r.view.Load(), r.settings.Load()
	next := v.Overrides
	change(&next)
	if err := next.check(); err != nil {
		return Foresight{}, err
	}
	then := *v
	then.Overrides = next
	then.Limits = next.apply(v.Overrides.lifted(v.Limits, settings.Limits))
	return Foresight{v.Head, v.outlook(settings.Message), then.outlook(settings.Message)}, nil
}

// lifted returns limits without the decisions, as far as a gateway's own file
// tells.
func (o Overrides) lifted(l, file Limits) Limits {
	if o.Mode != "" {
		l.Mode = file.Mode
	}
	if o.Capacity != nil {
		l.Capacity = file.Capacity
	}
	if o.RatePerHour != nil {
		l.RatePerHour, l.Burst = file.RatePerHour, file.Burst
	}
	if o.StartAt != nil {
		l.StartAt = file.StartAt
	}
	if o.EndAt != nil {
		l.EndAt = file.EndAt
	}
	if o.Left != nil {
		l.Stock = file.Stock
	}
	return l
}

// outlook tells what the view's limits lead to.
func (v *view) outlook(message string) Outlook {
	now, waiting := v.now(), v.waiting.count
	o := Outlook{Limits: v.Limits, Message: v.message(message), Served: waiting}
	switch {
	case v.Limits.Mode == ModeOpen:
		o.Last = Wait{Known: true}
		return o
	case v.Limits.halted() || v.Settling || v.Limits.over(now):
		o.Served = 0
		return o
	}
	f, known := v.flow(now)
	o.Drain = lasting(f.drain)
	if !known || waiting == 0 {
		return o
	}
	leaving := v.pace.sum().leaving()
	after := f.start + f.drain
	least, most := melts(f.after(waiting)-after, 2*leaving)+after, melts(f.after(waiting)-after, leaving)+after
	o.Last = Wait{Known: true, Low: lasting(least / (1 + f.spread)), High: lasting(most*(1+f.spread)) + Tick}
	if !v.Limits.EndAt.IsZero() {
		o.Served = min(waiting, f.within(InstantOf(v.Limits.EndAt).Sub(now).Seconds()))
	}
	return o
}

// flow is how fast turns come from now on: none until the start, and until so
// many have left as are too many; at the rate while seats are filled; and then
// as fast as seats fall free, or at the rate where that is slower.
type flow struct {
	start, drain float64 // seconds without a turn
	fill         float64 // seconds at the first pace
	first, then  float64 // turns per second
	spread       float64 // each way, as a share
}

// flow is that of the view's limits; false where nothing was measured that
// would tell. All that is inside leaves with the same probability in each
// second: of s seats s/stay fall free.
func (v *view) flow(now Instant) (flow, bool) {
	limits := v.Limits
	f := flow{first: math.Inf(1), spread: 0.1}
	if limits.RatePerHour > 0 {
		f.first = float64(limits.RatePerHour) / 3600
	}
	if !limits.begun(now) {
		f.start = InstantOf(limits.StartAt).Sub(now).Seconds()
	}
	f.then = f.first
	if limits.Capacity == 0 {
		return f, true
	}
	stay, known := v.turnover.stay()
	seats, most := float64(v.Seats()), float64(limits.Capacity)
	if !known {
		// Seats that are free now are filled, and more is not known.
		return f, seats+float64(v.waiting.count) <= most
	}
	free := most / stay // seats per second, once all are taken
	if seats > most {
		f.drain = stay * math.Log(seats/most)
	}
	if free >= f.first {
		return f, true
	}
	f.then = free
	f.spread = max(f.spread, deviations/math.Sqrt(v.turnover.freed))
	switch inflow := f.first * stay; {
	case seats >= most:
	case math.IsInf(f.first, 1): // all at once
		f.first, f.fill = (most-seats)/Tick.Seconds(), Tick.Seconds()
	default:
		f.fill = stay * math.Log((inflow-seats)/(inflow-most))
	}
	return f, true
}

// after is how many seconds pass until n turns were given.
func (f flow) after(n int64) float64 {
	left := float64(n)
	if math.IsInf(f.first, 1) && f.then == f.first {
		return f.start + f.drain
	}
	if f.fill > 0 && left <= f.fill*f.first {
		return f.start + f.drain + left/f.first
	}
	return f.start + f.drain + f.fill + (left-f.fill*f.first)/f.then
}

// within is how many turns are given in so many seconds.
func (f flow) within(s float64) int64 {
	s -= f.start + f.drain
	switch {
	case s <= 0:
		return 0
	case math.IsInf(f.then, 1):
		return math.MaxInt64
	case s < f.fill:
		return int64(s * f.first)
	}
	n := (s - f.fill) * f.then
	if f.fill > 0 {
		n += f.fill * f.first
	}
	return int64(min(n, 1<<53))
}

// lasting is so many seconds; a line that stands still lasts decades, not for ever.
func lasting(s float64) time.Duration { return time.Duration(min(s, 1e9) * float64(time.Second)) }
