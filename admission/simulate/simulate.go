// Package simulate plays an event against the line's own code under virtual
// time: the memory store joins, releases and admits a crowd that comes and
// behaves as it is told to. What a plan shows is therefore what a gateway would
// do, by the same rules, and not a formula for it.
//
// One gateway is simulated. It ticks as a real one does, and joins travel
// together until the next tick, so that nothing is finer than admission.Tick.
package simulate

import (
	"context"
	"fmt"
	"math"
	"runtime"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/ropeline/ropeline/admission"
)

// Event is who comes, and how they behave. Times count from the beginning of
// the demand.
type Event struct {
	Demand []Stretch
	// Recorded are the instants at which visitors came, ascending, in place of
	// Demand; nil: none were recorded.
	Recorded []time.Duration

	Start time.Duration // when the activity opens
	End   time.Duration // when it is over; 0: never
	For   time.Duration // the longest that is simulated, above 0
	Crowd Crowd
}

// Shape is how the number of visitors changes within a stretch.
type Shape string

// The shapes.
const (
	Even    Shape = "even"
	Rising  Shape = "rising"  // from none to twice as many as on average
	Falling Shape = "falling" // the other way round
)

// Stretch is a time in which visitors come as a Poisson process.
type Stretch struct {
	For      time.Duration
	Visitors int64 // on average
	Shape    Shape
}

// Spread is how much stays differ.
type Spread string

// The spreads.
const (
	Fixed       Spread = "fixed"
	Exponential Spread = "exponential"
	Heavy       Spread = "heavy" // log-normal with a deviation of 1
)

// Crowd is how visitors behave. Shares are between 0 and 1.
type Crowd struct {
	Stay     time.Duration // inside, on average
	Spread   Spread
	Ends     float64       // of those inside, whose session the shop ends
	NoShow   float64       // of those in line, who do not enter at their turn
	Patience time.Duration // until they close the page, on average; 0: none does
	Buys     float64       // of those inside, who buy one of the stock
	Comes    time.Duration // from the turn to entering, at most
}

// Setting is one of the settings that are compared. Of Limits, the start, the
// end, the prequeue, the mode and what is left of the stock are the event's.
type Setting struct {
	Name   string
	Limits admission.Limits
}

// Result is what an event came to with one setting: of several runs the mean,
// where nothing else is said.
type Result struct {
	Setting string `json:"setting"`
	Runs    int    `json:"runs"`

	Visitors float64 `json:"visitors"` // who came
	Entered  float64 `json:"entered"`
	Full     float64 `json:"full"`     // turned away, since too many waited
	SoldOut  float64 `json:"sold_out"` // turned away, or waiting, when nothing was left
	Ended    float64 `json:"ended"`    // the same, when the activity was over
	GaveUp   float64 `json:"gave_up"`
	NoShow   float64 `json:"no_show"` // had a turn and did not enter
	Waiting  float64 `json:"waiting"` // still, when the simulation ended

	// TurnedAway is the chance of a visitor to be turned away: full, sold out or
	// over. TurnedAwayRuns are the runs in which anyone was.
	TurnedAway     float64 `json:"turned_away"`
	TurnedAwayRuns int     `json:"turned_away_runs"`

	// Waits are from joining to the turn, in seconds, of all who had one in any
	// run, those let in at once included.
	Waits Waits `json:"wait_s"`

	Longest   float64 `json:"longest_line"`
	LongestAt float64 `json:"longest_line_at_s"`
	MeanLine  float64 `json:"mean_line"`
	Inside    float64 `json:"most_inside"`
	SeatsUsed float64 `json:"seats_used"` // the share of capacity that was inside while someone waited; 0 without

	// SoldOutRuns are the runs in which all was sold, and SoldOutAfter how long
	// that took from the start, in seconds.
	SoldOutRuns  int     `json:"sold_out_runs"`
	SoldOutAfter float64 `json:"sold_out_after_s"`
	Over         float64 `json:"over_s"` // when the last of those who came first had entered or left

	Step   float64 `json:"step_s"` // between points
	Points []Point `json:"points"`
}

// Waits are percentiles, in seconds.
type Waits struct {
	Mean float64 `json:"mean"`
	P50  float64 `json:"p50"`
	P90  float64 `json:"p90"`
	P99  float64 `json:"p99"`
	Max  float64 `json:"max"`
}

// Point is how it stood at one step of time.
type Point struct {
	Line    float64 `json:"line"`
	Inside  float64 `json:"inside"`
	Entered float64 `json:"entered_per_s"`
	Wait    float64 `json:"wait_s"` // of who came in this step; negative: nobody did who had a turn
	Left    float64 `json:"left"`   // of the stock
}

// mostPoints bounds Result.Points.
const mostPoints = 360

// Run plays an event with each setting, runs times each, and returns a result
// for each setting in order. The same seed gives the same results. It uses all
// processors, and stops where ctx does.
func Run(ctx context.Context, event Event, settings []Setting, runs int, seed uint64) ([]Result, error) {
	outcomes := make([][]*outcome, len(settings))
	work, ctx := errgroup.WithContext(ctx)
	work.SetLimit(runtime.GOMAXPROCS(0))
	for i, setting := range settings {
		outcomes[i] = make([]*outcome, runs)
		for run := range runs {
			work.Go(func() (err error) {
				// The same visitors come whatever the setting, so that settings
				// differ by themselves alone.
				outcomes[i][run], err = play(ctx, event, setting, seed+uint64(run))
				if err != nil {
					return fmt.Errorf("setting %q: %w", setting.Name, err)
				}
				return nil
			})
		}
	}
	if err := work.Wait(); err != nil {
		return nil, err
	}
	longest := 1
	for _, runs := range outcomes {
		for _, o := range runs {
			longest = max(longest, len(o.seconds))
		}
	}
	step := (longest + mostPoints - 1) / mostPoints
	results := make([]Result, len(settings))
	for i, setting := range settings {
		results[i] = sum(setting.Name, outcomes[i], step)
	}
	return results, nil
}

// outcome is what one run came to.
type outcome struct {
	visitors, entered, full, soldOut, ended, gaveUp, noShow, waiting int

	waits    []float32
	seconds  []second
	soldAt   time.Duration // from the start; 0: it was not
	over     time.Duration
	seatTime float64 // seconds of sessions while someone waited
	busy     float64 // seconds in which someone waited, times the capacity
}

// second is how it stood in one second.
type second struct {
	line, inside, left float64
	entered            int
	waited             float64 // of who came in it and had a turn
	turned             int
}

// sum makes the result of runs.
func sum(name string, runs []*outcome, step int) Result {
	r := Result{Setting: name, Runs: len(runs), Step: float64(step)}
	n := float64(len(runs))
	var waits []float32
	var seats, busy, away float64
	for _, o := range runs {
		for _, f := range []struct {
			to *float64
			of int
		}{
			{&r.Visitors, o.visitors}, {&r.Entered, o.entered}, {&r.Full, o.full}, {&r.SoldOut, o.soldOut},
			{&r.Ended, o.ended}, {&r.GaveUp, o.gaveUp}, {&r.NoShow, o.noShow}, {&r.Waiting, o.waiting},
		} {
			*f.to += float64(f.of) / n
		}
		if turned := o.full + o.soldOut + o.ended; turned > 0 {
			r.TurnedAwayRuns++
			away += float64(turned)
		}
		waits = append(waits, o.waits...)
		longest, at, inside, line := 0., 0, 0., 0.
		for i, s := range o.seconds {
			if s.line > longest {
				longest, at = s.line, i
			}
			inside = max(inside, s.inside)
			line += s.line
		}
		r.Longest += longest / n
		r.LongestAt += float64(at) / n
		r.Inside += inside / n
		r.MeanLine += line / float64(max(len(o.seconds), 1)) / n
		r.Over += o.over.Seconds() / n
		if o.soldAt > 0 {
			r.SoldOutRuns++
			r.SoldOutAfter += o.soldAt.Seconds()
		}
		seats, busy = seats+o.seatTime, busy+o.busy
	}
	if r.Visitors > 0 {
		r.TurnedAway = away / n / r.Visitors
	}
	if r.SoldOutRuns > 0 {
		r.SoldOutAfter /= float64(r.SoldOutRuns)
	}
	if busy > 0 {
		r.SeatsUsed = seats / busy
	}
	r.Waits = waitsOf(waits)
	r.Points = points(runs, step)
	return r
}

func waitsOf(all []float32) (w Waits) {
	if len(all) == 0 {
		return w
	}
	slices.Sort(all)
	total := 0.
	for _, v := range all {
		total += float64(v)
	}
	// The nearest rank: a wait that someone had.
	at := func(share float64) float64 {
		return float64(all[max(0, int(math.Ceil(share*float64(len(all))))-1)])
	}
	return Waits{Mean: total / float64(len(all)), P50: at(.5), P90: at(.9), P99: at(.99), Max: at(1)}
}

// points are the means of runs, step seconds each. A run that ended before
// another is empty from then on.
func points(runs []*outcome, step int) []Point {
	longest := 0
	for _, o := range runs {
		longest = max(longest, len(o.seconds))
	}
	all := make([]Point, (longest+step-1)/step)
	n := float64(len(runs))
	for i := range all {
		waited, turned := 0., 0
		for _, o := range runs {
			from, to := min(i*step, len(o.seconds)), min((i+1)*step, len(o.seconds))
			for _, s := range o.seconds[from:to] {
				all[i].Line += s.line / n / float64(to-from)
				all[i].Inside += s.inside / n / float64(to-from)
				all[i].Left += s.left / n / float64(to-from)
				all[i].Entered += float64(s.entered) / n / float64(step)
				waited, turned = waited+s.waited, turned+s.turned
			}
		}
		all[i].Wait = -1
		if turned > 0 {
			all[i].Wait = waited / float64(turned)
		}
	}
	return all
}
