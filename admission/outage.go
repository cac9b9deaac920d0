package admission

import (
	"sync"
	"time"
)

// outage lets visitors pass while the store is away, where the admin chose
// that over holding them. Each gateway keeps to the activity's rate by itself,
// since it can ask no one what the others do: with n gateways up to n times
// the rate passes. The zero outage is ready.
type outage struct {
	mu     sync.Mutex // protects credit and at
	credit int64      // as a line's
	at     time.Time
}

// pass takes one visitor's share of the budget, and reports whether there was
// one. Without a rate there is no budget to keep to. Whom mode, schedule or stock
// keep out the outage does not let in.
func (o *outage) pass(l Limits, at Instant) bool {
	switch {
	case l.Mode == ModeHold, l.Mode == ModeClosed, !l.begun(at), l.over(at):
		return false
	case l.RatePerHour == 0:
		return true
	}
	o.mu.Lock()
	defer o.mu.Unlock()
	now := time.Now()
	worked := min(now.Sub(o.at), mostCatchUp)
	o.at = now
	o.credit = min(o.credit+worked.Microseconds()*l.RatePerHour, l.Burst*creditUnit)
	if o.credit < creditUnit {
		return false
	}
	o.credit -= creditUnit
	return true
}
