package e2e

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
)

// waits are what half and nine in ten of those who entered waited at most.
type waits struct{ P50, P90 float64 }

// The same visitors, at the same times, through a gateway and through the
// simulator: it foretells what they waited.
func TestSimulate_ForetellsALoadTest(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	const activity = "capacity: 10, rate: 10/s, absence: 20s, claim: 20s, session: {idle: 1m, max: 10m}"
	g := start(t, settings(shop, activity, "log: {access: false}"))
	var arrivals strings.Builder
	const visitors = 150
	for i := range visitors {
		fmt.Fprintf(&arrivals, "%.2f\n", 40*float64(i)/visitors)
	}
	times := filepath.Join(g.dir, "arrivals")
	write(t, times, arrivals.String())

	status, said := ropeline(t, g.dir, "loadtest", g.Public+"/drop", "--arrivals", times,
		"--pages", "2", "--think", "3s", "--leave", "1", "--no-show", "0", "--bots", "0", "--forgers", "0", "--json")
	var real struct {
		Entered int64 `json:"entered"`
		Waits   waits `json:"waits"`
	}
	if err := json.Unmarshal([]byte(said[max(0, strings.Index(said, "{")):]), &real); err != nil || status != 0 {
		t.Fatalf("the load test ends with %d, %v:\n%s", status, err, said)
	}

	real.Waits = waits{real.Waits.P50 / 1000, real.Waits.P90 / 1000} // from milliseconds

	plan := filepath.Join(g.dir, "plan.yaml")
	write(t, plan, `runs: 1
demand: [{for: 1m, visitors: 1}]
visitors: {stay: 3s, spread: fixed, ends: 1, no_show: 0, comes: 1s}
settings: {it: {capacity: 10, rate: 10/s, absence: 20s, claim: 20s, session: {idle: 1m, max: 10m}}}
`)
	status, said = ropeline(t, g.dir, "simulate", plan, "--from", times, "--json")
	var foretold struct {
		Results []struct {
			Entered float64 `json:"entered"`
			Waits   waits   `json:"wait_s"`
		} `json:"results"`
	}
	if err := json.Unmarshal([]byte(said[max(0, strings.Index(said, "{")):]), &foretold); err != nil || status != 0 || len(foretold.Results) != 1 {
		t.Fatalf("the simulation ends with %d, %v:\n%s", status, err, said)
	}
	simulated := foretold.Results[0]
	t.Logf("%d entered and waited %.1f s (half) and %.1f s (nine in ten) at most; simulated: %.0f, %.1f s and %.1f s",
		real.Entered, real.Waits.P50, real.Waits.P90, simulated.Entered, simulated.Waits.P50, simulated.Waits.P90)
	if real.Entered != visitors || simulated.Entered != visitors {
		t.Errorf("%d of %d entered, simulated %.0f", real.Entered, visitors, simulated.Entered)
	}
	// A busy machine makes each of ten visits at once longer, and all waits with
	// them.
	for _, c := range [][2]float64{{real.Waits.P50, simulated.Waits.P50}, {real.Waits.P90, simulated.Waits.P90}} {
		if c[1] < .6*c[0] || c[1] > 1.4*c[0] {
			t.Errorf("a wait of %.1f s was simulated as %.1f s", c[0], c[1])
		}
	}
}
