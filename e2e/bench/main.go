// Command bench measures the gateway on the machine it runs on, side by side
// with the least that could do the same: a bare httputil.ReverseProxy, a
// constant JSON answer. It prints a table in Markdown; docs/benchmarks.md
// explains it and keeps the figures of one machine.
//
// Load comes from wrk, over loopback. The two sides of a ratio take turns,
// round by round, and the ratio is the median of the rounds' ratios, so that a
// machine whose speed drifts still measures the same.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"time"
)

func main() {
	if len(os.Args) > 1 {
		if role, ok := roles[os.Args[1]]; ok { // one of the servers that bench starts
			if err := role(os.Args[2:]); err != nil {
				fmt.Fprintln(os.Stderr, "bench:", err)
				os.Exit(1)
			}
			return
		}
	}
	rounds := flag.Int("rounds", 5, "rounds of each comparison")
	seconds := flag.Int("seconds", 4, "seconds of load in a round, for each side")
	binary := flag.String("gateway", "bin/ropeline", "the gateway to measure")
	only := flag.String("only", "", "measure one part alone: wire, edges, api, redis, console, process or million")
	caddy := flag.String("caddy", "caddy", "the Caddy to measure against")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := run(ctx, *only, *binary, *caddy, *rounds, time.Duration(*seconds)*time.Second); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// run measures each part in turn, or the one that only names.
func run(ctx context.Context, only, binary, caddy string, rounds int, each time.Duration) error {
	parts := []struct {
		name    string
		measure func() error
	}{
		{"wire", func() error { return overWire(ctx, binary, rounds, each) }},
		{"edges", func() error { return overEdges(ctx, binary, caddy, rounds, each) }},
		{"api", func() error { return overAPI(ctx, binary, rounds, each) }},
		{"redis", func() error { return overRedis(ctx, binary, rounds, each) }},
		{"console", func() error { return overConsole(ctx, binary, rounds, each) }},
		{"process", func() error { return inProcess(ctx) }},
		{"million", func() error { return overMillion(ctx, binary, min(rounds, 3)) }},
	}
	fmt.Printf("%s, %d cores, %s, %d rounds of %s\n\n", cpu(), runtime.NumCPU(), runtime.Version(), rounds, each)
	measured := false
	for _, part := range parts {
		if only != "" && only != part.name {
			continue
		}
		if err := part.measure(); err != nil {
			return err
		}
		measured = true
	}
	if !measured {
		return fmt.Errorf("no part is named %q", only)
	}
	return nil
}

// cpu names the processor, where the system tells.
func cpu() string {
	text, err := os.ReadFile("/proc/cpuinfo")
	if err != nil {
		return runtime.GOARCH
	}
	return field(string(text), "model name")
}
