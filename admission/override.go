package admission

import (
	"context"
	"fmt"
	"time"
)

// Overrides are what an operator decided on the day. Nil, and the empty Mode,
// leave a thing to the gateways' files; zero values are decisions.
type Overrides struct {
	// Version counts the decisions of a line. One that is made brings the latest
	// that its maker knew, and gets the next.
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

// check refuses what no line can do.
func (o Overrides) check() error {
	if o.Mode != "" {
		if _, known := strictness[o.Mode]; !known {
			return fmt.Errorf("mode %q is unknown", o.Mode)
		}
	}
	for _, n := range []struct {
		what  string
		value *int64
		most  int64
	}{
		{"capacity", o.Capacity, MaxCapacity}, {"rate per hour", o.RatePerHour, MaxRatePerHour}, {"stock", o.Left, MaxStock},
	} {
		if n.value != nil && (*n.value < 0 || *n.value > n.most) {
			return fmt.Errorf("%s %d is not within 0 and %d", n.what, *n.value, n.most)
		}
	}
	return nil
}

// made reports whether o is what the line now has, by the next decision after
// the one that o's maker knew.
func (o Overrides) made(now Overrides) bool {
	instants := func(a, b *time.Time) bool {
		return (a == nil) == (b == nil) && (a == nil || InstantOf(*a) == InstantOf(*b))
	}
	return now.Version == o.Version+1 && now.Mode == o.Mode &&
		same(now.Capacity, o.Capacity) && same(now.RatePerHour, o.RatePerHour) && same(now.Left, o.Left) && same(now.Message, o.Message) &&
		instants(now.StartAt, o.StartAt) && instants(now.EndAt, o.EndAt)
}

func same[T comparable](a, b *T) bool { return (a == nil) == (b == nil) && (a == nil || *a == *b) }

// mostDeciders is how often a decision is made anew because another came
// between: more than there are operators in a quarter of a second.
const mostDeciders = 16

// Override has an operator's decisions changed: change is given those that the
// line has, and the result reaches every gateway with its next tick. What is nil
// is the files' again. Where two decide at once, by any gateways, each changes
// what the other left: change may be called more than once.
func (r *Room) Override(ctx context.Context, change func(*Overrides)) error {
	known := r.view.Load().Overrides
	for range mostDeciders {
		decided := known
		change(&decided)
		decided.Version = known.Version
		if err := decided.check(); err != nil {
			return err
		}
		head, err := r.store.Override(ctx, r.call(), decided)
		if err != nil {
			return fmt.Errorf("override line %s: %w", r.id, err)
		}
		if decided.made(head.Overrides) {
			return nil
		}
		known = head.Overrides
	}
	return fmt.Errorf("override line %s: too many decide at once", r.id)
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
