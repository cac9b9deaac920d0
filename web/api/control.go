package api

import (
	"context"
	"strings"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
)

// patienceOfStore is how long a change of a line may take.
const patienceOfStore = 3 * time.Second

// overrides are an operator's decisions; null leaves a thing to the file, or
// to the activity as it was made.
type overrides struct {
	Mode        *admission.Mode `json:"mode"`
	Capacity    *int64          `json:"capacity"`
	RatePerHour *int64          `json:"rate_per_hour"`
	StartAt     *time.Time      `json:"start_at"`
	EndAt       *time.Time      `json:"end_at"`
	Message     *string         `json:"message"`
	Left        *int64          `json:"left"`
}

func overridesOf(o admission.Overrides) overrides {
	all := overrides{nil, o.Capacity, o.RatePerHour, o.StartAt, o.EndAt, o.Message, o.Left}
	if o.Mode != "" {
		all.Mode = &o.Mode
	}
	return all
}

// decided is what was decided for one activity, as it will stand on every
// gateway with its next tick.
type decided struct {
	ActivityID int64     `json:"activity_id"`
	Overrides  overrides `json:"overrides"`
}

// decide has an operator's decisions changed.
func (a *AdminAPI) decide(c *call, o Offered, action string, change func(*admission.Overrides)) (any, error) {
	ctx, cancel := context.WithTimeout(c.Context(), patienceOfStore)
	defer cancel()
	var before, after overrides
	if err := o.Room.Override(ctx, func(all *admission.Overrides) {
		before = overridesOf(*all)
		change(all)
		after = overridesOf(*all)
	}); err != nil {
		return nil, lined(err)
	}
	a.changed(c, action, o.TenantID, o.ID, before, after)
	return decided{o.ID, after}, nil
}

// pause holds the line: visitors join, and none is let in.
func (a *AdminAPI) pause(c *call, o Offered) (any, error) {
	return a.decide(c, o, "activity.pause", func(all *admission.Overrides) { all.Mode = admission.ModeHold })
}

// resume takes a pause back, also one that the activity's own status says.
func (a *AdminAPI) resume(c *call, o Offered) (any, error) {
	if o.Source == FromAPI && o.Status == catalog.Paused {
		next := o.Activity
		next.Status = catalog.Active
		kept, err := a.Activities.Update(c.Context(), next)
		if err != nil {
			return nil, stored(err)
		}
		a.changed(c, "activity.update", o.TenantID, o.ID, o.Activity, kept)
	}
	return a.decide(c, o, "activity.resume", func(all *admission.Overrides) { all.Mode = "" })
}

// stock says what is left to sell.
func (a *AdminAPI) stock(c *call, o Offered) (any, error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	var left *int64
	if err := body.read("left", &left, anInteger); err != nil {
		return nil, err
	}
	switch {
	case left == nil:
		return nil, wrong("left", sayMissing)
	case *left < 0 || *left > mostVisitors:
		return nil, wrong("left", sayRange, 0, mostVisitors)
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	return a.decide(c, o, "activity.stock", func(all *admission.Overrides) { all.Left = left })
}

// overrides answers with an operator's decisions.
func (a *AdminAPI) overrides(_ *call, o Offered) (any, error) {
	return decided{o.ID, overridesOf(o.Room.Figures().Overrides)}, nil
}

// modes are those that an operator may choose, from the most open on.
var modes = []string{string(admission.ModeOpen), string(admission.ModeAuto), string(admission.ModeHold), string(admission.ModeClosed)}

// override changes the decisions that the request names; null takes one back.
func (a *AdminAPI) override(c *call, o Offered) (any, error) {
	change, err := a.decision(c, o)
	if err != nil {
		return nil, err
	}
	return a.decide(c, o, "activity.override", change)
}

// decision reads what an operator would have changed.
func (a *AdminAPI) decision(c *call, o Offered) (func(*admission.Overrides), error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	var next struct {
		mode, message        *string
		capacity, rate, left *int64
		start, end           *time.Time
	}
	named := map[string]bool{}
	for _, f := range []struct {
		name string
		into any
		kind sentence
	}{
		{"mode", &next.mode, aText}, {"capacity", &next.capacity, anInteger}, {"rate_per_hour", &next.rate, anInteger},
		{"start_at", &next.start, aTime}, {"end_at", &next.end, aTime}, {"message", &next.message, aText}, {"left", &next.left, anInteger},
	} {
		_, named[f.name] = body.members[f.name]
		if err := body.read(f.name, f.into, f.kind); err != nil {
			return nil, err
		}
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	if m := next.mode; m != nil {
		switch admission.Mode(*m) {
		case admission.ModeOpen, admission.ModeAuto, admission.ModeHold, admission.ModeClosed:
		default:
			return nil, wrong("mode", sayOneOf, strings.Join(modes, ", "))
		}
	}
	for _, n := range []struct {
		field string
		is    *int64
		most  int64
	}{
		{"capacity", next.capacity, mostVisitors}, {"rate_per_hour", next.rate, a.mostRate(o)}, {"left", next.left, mostVisitors},
	} {
		if n.is != nil && (*n.is < 0 || *n.is > n.most) {
			return nil, wrong(n.field, sayRange, 0, n.most)
		}
	}
	if m := next.message; m != nil {
		for part := range strings.SplitSeq(*m, "\n") {
			if !plain(part) {
				return nil, wrong("message", sayText)
			}
		}
		if err := line("message", strings.ReplaceAll(*m, "\n", " "), 0, 500); err != nil {
			return nil, err
		}
	}
	if next.start != nil && next.end != nil && !next.start.Before(*next.end) {
		return nil, wrong("end_at", sayAfter, "start_at")
	}
	return func(all *admission.Overrides) {
		if named["mode"] {
			all.Mode = ""
			if next.mode != nil {
				all.Mode = admission.Mode(*next.mode)
			}
		}
		set(named["capacity"], &all.Capacity, next.capacity)
		set(named["rate_per_hour"], &all.RatePerHour, next.rate)
		set(named["start_at"], &all.StartAt, next.start)
		set(named["end_at"], &all.EndAt, next.end)
		set(named["message"], &all.Message, next.message)
		set(named["left"], &all.Left, next.left)
	}, nil
}

func set[T any](named bool, field **T, to *T) {
	if named {
		*field = to
	}
}

// mostRate is the highest rate that an operator may choose, per hour: of an
// activity made by the API what the system allows.
func (a *AdminAPI) mostRate(o Offered) int64 {
	if o.Source == FromFile {
		return admission.MaxRatePerHour
	}
	return int64(min(a.Activities.System().MaxReleaseRate*3600, admission.MaxRatePerHour))
}

// reset ends every place and turn of a line.
func (a *AdminAPI) reset(c *call, o Offered) (any, error) {
	ctx, cancel := context.WithTimeout(c.Context(), patienceOfStore)
	defer cancel()
	was := o.Room.Figures()
	if err := o.Room.Reset(ctx); err != nil {
		return nil, lined(err)
	}
	a.changed(c, "activity.reset", o.TenantID, o.ID, struct {
		Epoch    int64 `json:"epoch"`
		QueueSeq int64 `json:"queue_seq"`
		Waiting  int64 `json:"waiting"`
	}{was.Epoch, was.Issued, was.Waiting}, nil)
	return struct {
		ActivityID int64 `json:"activity_id"`
	}{o.ID}, nil
}

// reload loads the configuration again. What is wrong with it is the caller's
// to mend, so it is told.
func (a *AdminAPI) reload(c *call) (any, error) {
	restart, err := a.Reload(c.Context())
	if err != nil {
		return nil, refused(ConfigRefused, sayNoReload).with("problem", err.Error())
	}
	a.changed(c, "config.reload", "", 0, nil, nil)
	return struct {
		Loaded  bool     `json:"loaded"`
		Restart []string `json:"restart"`
	}{true, append([]string{}, restart...)}, nil
}
