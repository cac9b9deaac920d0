package admission

import "time"

// Overrides are what an operator decided on the day. Nil, and the empty Mode,
// leave a thing to the gateways' files; zero values are decisions.
type Overrides struct {
	// Version counts the decisions of a line. The store chooses it, above the
	// one that is brought: the latest that the caller knew.
	Version int64

	Mode        Mode
	Capacity    *int64
	RatePerHour *int64
	StartAt     *time.Time
	EndAt       *time.Time
	Message     *string
}

// apply returns limits with the decisions in place.
func (o Overrides) apply(l Limits) Limits {
	if o.Mode != "" {
		l.Mode = o.Mode
	}
	if o.Capacity != nil {
		l.Capacity = *o.Capacity
	}
	if o.RatePerHour != nil {
		l.RatePerHour = *o.RatePerHour
		l.Burst = max(l.Burst, Burst(l.RatePerHour)) // else the rate could not be reached
	}
	if o.StartAt != nil {
		l.StartAt = *o.StartAt
	}
	if o.EndAt != nil {
		l.EndAt = *o.EndAt
	}
	return l
}
