package admission

import (
	"fmt"
	"time"
)

// Tick is how often a gateway asks the store to release, and reads the line.
const Tick = 250 * time.Millisecond

// Instant is a time in microseconds since the Unix epoch, by the clock of the
// store. The zero Instant is "none".
type Instant int64

// InstantOf converts t; the zero time becomes the zero Instant.
func InstantOf(t time.Time) Instant {
	if t.IsZero() {
		return 0
	}
	return Instant(t.UnixMicro())
}

// Add returns the instant d later.
func (i Instant) Add(d time.Duration) Instant { return i + Instant(d.Microseconds()) }

// Sub returns how much later i is than j.
func (i Instant) Sub(j Instant) time.Duration { return time.Duration(i-j) * time.Microsecond }

// Time converts i to UTC; the zero Instant becomes the zero time.
func (i Instant) Time() time.Time {
	if i == 0 {
		return time.Time{}
	}
	return time.UnixMicro(int64(i)).UTC()
}

// Mode is how an activity treats its visitors.
type Mode string

// The modes, from the most open to the strictest.
const (
	ModeOpen   Mode = "open"   // all pass
	ModeAuto   Mode = "auto"   // a line when needed
	ModeHold   Mode = "hold"   // visitors join, none is released
	ModeClosed Mode = "closed" // none joins; who waits is still served
)

var strictness = map[Mode]int{ModeOpen: 0, ModeAuto: 1, ModeHold: 2, ModeClosed: 3}

// The greatest rate and burst that can be kept exactly. Credit is an integer
// of microseconds × releases per hour, at most ten seconds of the one and all
// of the other at once; in a store that counts in doubles, as a Lua script
// does, it must stay below 2^53: 10^7 µs × 7.2×10^8/h + 4×10^5 × 3.6×10^9 is
// 8.7×10^15, and 2^53 is 9.0×10^15.
const (
	MaxRatePerHour = 200_000 * 3600
	MaxBurst       = 400_000
)

// The greatest capacity and stock that can be decided, far below 2^53.
const (
	MaxCapacity = 1_000_000_000
	MaxStock    = 1_000_000_000
)

// Limits are what an activity allows. Each gateway tells the store its own
// with every tick; where they differ, the strictest counts, but for Shut.
type Limits struct {
	Mode        Mode
	Capacity    int64 // most seats at once; 0: no limit
	RatePerHour int64 // most releases per hour; 0: no limit
	Burst       int64 // most credit saved up, in releases; at least 1

	Claim     time.Duration // how long a turn waits for its visitor
	Absence   time.Duration // unheard for this long (up to twice), a number is absent
	HoldPlace time.Duration // how long the place of an absent visitor is held once passed
	Idle      time.Duration // a session ends this long after its last use
	Max       time.Duration // and this long after it began, whatever its use

	JoinsPerHour int64 // most joins of one network per hour; 0: no limit
	JoinBurst    int64 // most of them at one instant

	StartAt time.Time // no one joins before, but for a draw; zero: no start
	EndAt   time.Time // no one joins or is released after; zero: no end

	// Draw has those who join in the Prequeue before the start stand in the order
	// of a draw, before all who come later.
	Draw     bool
	Prequeue time.Duration

	// MaxQueue is the most that may wait; 0: no limit. StopAt is the same as a
	// multiple of the stock that is left, where that is counted.
	MaxQueue int64
	StopAt   int64
	Stock    Stock

	// Shut is told by a gateway that can take no one, as what it leads to does
	// not answer. The line is paused while all gateways are shut.
	Shut bool
}

// Stock is how much there is left to sell. The zero Stock is not counted.
type Stock struct {
	Counted bool
	Left    int64
}

// SoldOut reports whether nothing is left.
func (s Stock) SoldOut() bool { return s.Counted && s.Left == 0 }

// Burst returns the default burst for a rate: two ticks of it, at least 2. Turns
// are whole, and given at ticks: with 1, what a tick comes too late for one is
// lost, which at 2/s is a quarter of the rate.
func Burst(ratePerHour int64) int64 {
	return max(2, ceilDiv(2*ratePerHour*Tick.Microseconds(), time.Hour.Microseconds()))
}

// LeastBurst returns the smallest burst that does not throttle a rate: one
// tick of it, at least 1.
func LeastBurst(ratePerHour int64) int64 {
	return max(1, ceilDiv(ratePerHour*Tick.Microseconds(), time.Hour.Microseconds()))
}

func ceilDiv(a, b int64) int64 { return (a + b - 1) / b }

// Check refuses limits under which a line could not keep its promises. It
// guards the store against its caller; the words for admins are config's.
func (l Limits) Check() error {
	switch {
	case l.Capacity < 0:
		return fmt.Errorf("capacity %d is negative", l.Capacity)
	case l.RatePerHour < 0 || l.RatePerHour > MaxRatePerHour:
		return fmt.Errorf("rate %d/h is not within 0 and %d/h", l.RatePerHour, int64(MaxRatePerHour))
	case l.Burst < 1 || l.Burst > MaxBurst:
		return fmt.Errorf("burst %d is not within 1 and %d", l.Burst, int64(MaxBurst))
	case l.JoinsPerHour < 0 || l.JoinsPerHour > MaxRatePerHour || l.JoinsPerHour > 0 && l.JoinBurst < 1:
		return fmt.Errorf("join limit %d/h with a burst of %d cannot be kept", l.JoinsPerHour, l.JoinBurst)
	case l.MaxQueue < 0 || l.StopAt < 0:
		return fmt.Errorf("max_queue %d or stock.stop_at %d is negative", l.MaxQueue, l.StopAt)
	case l.Stock.Left < 0 || l.Stock.Left > MaxStock || l.Stock.Left > 0 && !l.Stock.Counted:
		return fmt.Errorf("a stock of %d, counted: %v, makes no sense", l.Stock.Left, l.Stock.Counted)
	case l.Prequeue < 0:
		return fmt.Errorf("prequeue %v is negative", l.Prequeue)
	case l.Claim <= 0 || l.Absence <= 0 || l.HoldPlace < 0 || l.Idle <= 0 || l.Max <= 0:
		return fmt.Errorf("claim, absence, session.idle and session.max must be above zero, hold_place not below")
	}
	if _, ok := strictness[l.Mode]; !ok {
		return fmt.Errorf("mode %q is unknown", l.Mode)
	}
	return nil
}

// strictest joins the limits of two gateways: of each the one that lets in
// fewer, and of the times for the visitor the one that is kinder, since a
// place or a turn shown by one gateway must not be taken by another.
func strictest(a, b Limits) Limits {
	if strictness[b.Mode] > strictness[a.Mode] {
		a.Mode = b.Mode
	}
	a.Capacity = lesserLimit(a.Capacity, b.Capacity)
	a.RatePerHour = lesserLimit(a.RatePerHour, b.RatePerHour)
	a.Burst = min(a.Burst, b.Burst)
	a.Claim = max(a.Claim, b.Claim)
	a.Absence = max(a.Absence, b.Absence)
	a.HoldPlace = max(a.HoldPlace, b.HoldPlace)
	a.Idle = min(a.Idle, b.Idle)
	a.Max = min(a.Max, b.Max)
	if b.JoinsPerHour > 0 && (a.JoinsPerHour == 0 || b.JoinsPerHour < a.JoinsPerHour) {
		a.JoinsPerHour, a.JoinBurst = b.JoinsPerHour, b.JoinBurst
	}
	if b.StartAt.After(a.StartAt) {
		a.StartAt = b.StartAt
	}
	if !b.EndAt.IsZero() && (a.EndAt.IsZero() || b.EndAt.Before(a.EndAt)) {
		a.EndAt = b.EndAt
	}
	a.Draw, a.Prequeue = a.Draw && b.Draw, min(a.Prequeue, b.Prequeue)
	a.MaxQueue = lesserLimit(a.MaxQueue, b.MaxQueue)
	a.StopAt = lesserLimit(a.StopAt, b.StopAt)
	a.Shut = a.Shut && b.Shut
	if b.Stock.Counted && (!a.Stock.Counted || b.Stock.Left < a.Stock.Left) {
		a.Stock = b.Stock
	}
	return a
}

// lesserLimit is min where 0 means no limit.
func lesserLimit(a, b int64) int64 {
	if a == 0 || b == 0 {
		return max(a, b)
	}
	return min(a, b)
}

// halted reports whether no turns are given, and none can be used.
func (l Limits) halted() bool { return l.Mode == ModeHold || l.Shut }

// begun and ended tell an activity's schedule at an instant.
func (l Limits) begun(now Instant) bool { return l.StartAt.IsZero() || now >= InstantOf(l.StartAt) }
func (l Limits) ended(now Instant) bool { return !l.EndAt.IsZero() && now >= InstantOf(l.EndAt) }

// early reports whether it is the time before the start in which visitors join
// for the draw.
func (l Limits) early(now Instant) bool {
	return l.Draw && !l.begun(now) && now >= InstantOf(l.StartAt).Add(-l.Prequeue)
}

// over reports whether no one joins or is released any more. What is sold out
// may come back: until the end, who waits keeps the place.
func (l Limits) over(now Instant) bool { return l.ended(now) || l.Stock.SoldOut() }

// full reports whether no one new may join while so many wait.
func (l Limits) full(waiting int64) bool {
	return l.MaxQueue > 0 && waiting >= l.MaxQueue ||
		l.StopAt > 0 && l.Stock.Counted && waiting >= l.StopAt*l.Stock.Left
}
