package e2e

import (
	"context"
	"flag"
	"testing"
	"time"

	loadtest "github.com/ropeline/ropeline/crowd"
)

// soak is how long TestSoak looks at a gateway. Slopes mean something only over
// minutes: without it they are told and not judged.
var soak = flag.Duration("soak", 0, "how long a gateway is to serve a crowd, as 30m")

// measures of a gateway that must stay where they are, however long it serves,
// and by how much they may grow in any case.
var measures = []struct {
	metric string
	name   string
	grows  float64
}{
	// The collector lets the heap grow to five times what lives. Verified tokens
	// are remembered, up to 65,536 of them: in the first hour they grow more.
	{"go_memstats_next_gc_bytes", "heap, bytes", 5 * 48 << 20},
	{"process_resident_memory_bytes", "memory, bytes", 5 * 48 << 20},
	{"go_goroutines", "goroutines", 20},
	{"process_open_fds", "descriptors", 20},
}

// A gateway that serves a crowd for long, as many coming as go, needs no more
// at the end than at the beginning.
func TestSoak_NothingGrows(t *testing.T) {
	t.Parallel()
	during := max(*soak, 20*time.Second)
	g := start(t, settings(openShop(t), "capacity: 60, rate: 20/s, absence: 20s, claim: 5s, session: {idle: 10s, max: 30s}", "log: {access: false}"))

	// Fewer than get through, or the line itself would grow.
	arrivals, err := loadtest.NewArrivals(loadtest.Constant, int(6*during.Seconds()), during)
	if err != nil {
		t.Fatal(err)
	}
	target, err := loadtest.OpenTarget(t.Context(), g.Public+"/drop", loadtest.TargetOptions{Timeout: patience, Connections: 64})
	if err != nil {
		t.Fatal(err)
	}
	plan := loadtest.Plan{Arrivals: arrivals, Seed: 1, NoShow: 0.05, Pages: loadtest.Span{From: 1, To: 5}, Leave: 0.7, Bots: 0.02, Forgers: 0.05}
	for text, spread := range map[string]*loadtest.Spread{"200ms-2s": &plan.Think, "~2m": &plan.Patience} {
		if err := spread.UnmarshalText([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	tally := loadtest.NewTally(loadtest.Head{Limits: loadtest.Limits{Capacity: 60, RatePerHour: 72_000, Burst: 10, Absence: 20_000, HoldPlace: 900_000}})

	looking, end := context.WithCancel(t.Context())
	seen := make(chan map[string][]point, 1)
	go func() { seen <- look(looking, g, during/200) }()
	run := loadtest.Run{Target: target, Plan: plan, Connections: 64, For: during, Seen: func(e loadtest.Event) error { tally.See(e); return nil }}
	standing, err := run.Go(t.Context())
	end()
	points := <-seen
	if err != nil {
		t.Fatal(err)
	}
	report := tally.Report()
	for _, j := range report.Invariants {
		if j.Outcome == loadtest.Broken {
			t.Errorf("%s is broken: %s", j.Invariant, j.First.What)
		}
	}
	for fault, n := range report.Errors {
		if fault != "no answer: ended" {
			t.Errorf("%d requests: %s", n, fault)
		}
	}
	t.Logf("%d visitors, %d requests, %d entered in %v", standing.Came, report.Requests, report.Entered, during)
	for _, m := range measures {
		// The first third warms up: caches fill, and windows of presence.
		all := points[m.metric]
		if len(all) < 9 {
			t.Fatalf("%s was read %d times", m.metric, len(all))
		}
		all = all[len(all)/3:]
		mean, slope := line(all)
		grown := slope * (all[len(all)-1].at - all[0].at)
		t.Logf("%-18s %14.0f on the average, %+.3g a minute", m.name, mean, slope*60)
		if *soak > 0 && grown > max(m.grows, mean/10) {
			t.Errorf("%s grew by %.0f, of %.0f on the average, in %v", m.name, grown, mean, during*2/3)
		}
	}
}

// point is a value at a time in seconds.
type point struct{ at, value float64 }

// look reads the measures of a gateway again and again until ctx ends.
func look(ctx context.Context, g *gateway, every time.Duration) map[string][]point {
	points := map[string][]point{}
	tick := time.NewTicker(every)
	defer tick.Stop()
	for began := time.Now(); ; {
		select {
		case <-ctx.Done():
			return points
		case <-tick.C:
		}
		for _, m := range measures {
			if value, err := g.metric(m.metric); err == nil && value > 0 {
				points[m.metric] = append(points[m.metric], point{time.Since(began).Seconds(), value})
			}
		}
	}
}

// line returns the mean of points, and the slope of the straight line that is
// nearest to them.
func line(points []point) (mean, slope float64) {
	var at float64
	for _, p := range points {
		at += p.at / float64(len(points))
		mean += p.value / float64(len(points))
	}
	var up, along float64
	for _, p := range points {
		up += (p.at - at) * (p.value - mean)
		along += (p.at - at) * (p.at - at)
	}
	return mean, up / along
}

func TestSoak_SeesASlope(t *testing.T) {
	t.Parallel()
	mean, slope := line([]point{{0, 10}, {1, 13}, {2, 15}, {3, 18}})
	if mean != 14 || slope < 2.59 || slope > 2.61 {
		t.Errorf("the mean is %v and the slope %v, want 14 and 2.6", mean, slope)
	}
}
