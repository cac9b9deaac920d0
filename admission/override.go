package admission

import (
	"context"
	"fmt"
	"time"
)

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
	Left        *int64 // of the stock, which is then counted
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
	if o.Left != nil {
		l.Stock = Stock{Counted: true, Left: *o.Left}
	}
	return l
}

// Override has an operator's decisions changed: change is given those that the
// line has as far as this gateway knows, at most a tick ago, and the result
// reaches every gateway with its next tick. What is nil is the files' again.
func (r *Room) Override(ctx context.Context, change func(*Overrides)) error {
	decided := r.view.Load().Overrides
	change(&decided)
	if decided.Mode != "" {
		if _, known := strictness[decided.Mode]; !known {
			return fmt.Errorf("mode %q is unknown", decided.Mode)
		}
	}
	if n := decided.Capacity; n != nil && *n < 0 {
		return fmt.Errorf("capacity %d is negative", *n)
	}
	if n := decided.RatePerHour; n != nil && (*n < 0 || *n > MaxRatePerHour) {
		return fmt.Errorf("rate %d/h is not within 0 and %d/h", *n, int64(MaxRatePerHour))
	}
	if n := decided.Left; n != nil && (*n < 0 || *n > MaxStock) {
		return fmt.Errorf("a stock of %d is not within 0 and %d", *n, int64(MaxStock))
	}
	if _, err := r.store.Override(ctx, r.call(), decided); err != nil {
		return fmt.Errorf("override line %s: %w", r.id, err)
	}
	return nil
}

// Reset ends every place and turn of the epoch that the line has as far as this
// gateway knows, and begins the next. Who is inside stays inside.
func (r *Room) Reset(ctx context.Context) error {
	head, err := r.store.Reset(ctx, r.call(), max(r.view.Load().Epoch, r.floor.Load().Epoch))
	if err != nil {
		return fmt.Errorf("reset line %s: %w", r.id, err)
	}
	r.lift(head.Floor)
	return nil
}
