package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/crowd"
)

func loadtestCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "loadtest URL",
		Short: "Bring a crowd to a protected page",
		Long: `Bring a crowd to a protected page: visitors who come whether those before them
were served or not, keep cookies, wait as they are told, enter, look around and
leave, and a few who do otherwise. At the end a report tells what became of
them, and whether the line kept its promises. With --history every request is
kept, for loadtest check.

A target that is not this machine must allow it: its operator sets
loadtest.token, and gives it to you.

Give a token of the admin API (role viewer) to have capacity, rate and the like
told by the gateway, or say them.

Exit status: 0 nothing that was promised was broken, 1 something was, or the
target is refused, 2 not called as it should be, 3 the target does not answer.`,
		Example: `  ropeline loadtest http://127.0.0.1:8080/drop
  ropeline loadtest http://127.0.0.1:8080/drop --visitors 20000 --profile spike --over 5m --history drop.gz --html drop.html
  ropeline loadtest https://shop.example.com/drop --visitors 500 --allowed "$LOADTEST_TOKEN"`,
		Args: cobra.ExactArgs(1),
	}
	f := newLoadtestFlags(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error { return f.run(cmd, args[0]) }
	cmd.AddCommand(loadtestCheck())
	return cmd
}

// loadtestFlags are those of the command loadtest.
type loadtestFlags struct {
	environ []string

	visitors int
	over     time.Duration
	profile  string
	arrivals string
	plan     crowd.Plan
	target   crowd.TargetOptions
	duration time.Duration
	gateway  remote
	limits   limitsFlags
	head     crowd.Head
	history  string
	html     string
	json     bool
	shares   map[string]*float64
}

func newLoadtestFlags(cmd *cobra.Command, environ []string) *loadtestFlags {
	f := &loadtestFlags{environ: environ}
	flags := cmd.Flags()
	flags.IntVar(&f.visitors, "visitors", 1000, "how `many` come")
	flags.DurationVar(&f.over, "over", time.Minute, "the `time` in which they come")
	flags.StringVar(&f.profile, "profile", string(crowd.Constant), "how they come: constant, spike (most at the beginning) or ramp (ever more)")
	flags.StringVar(&f.arrivals, "arrivals", "", "a `file` of when they come, in place of the three above: seconds, and how many if more than one, a line each")
	flags.Uint64Var(&f.plan.Seed, "seed", 1, "the same `number` makes the same crowd")

	flags.TextVar(&f.plan.Patience, "patience", crowd.Spread{}, "how `long` they wait before they give up: 10m, 5m-20m or ~10m (the mean); 0s: for ever")
	flags.TextVar(&f.plan.Pages, "pages", crowd.Span{From: 1, To: 5}, "`how many` pages they look at inside: 3, or 1-5")
	think := crowd.Spread{}
	_ = think.UnmarshalText([]byte("1s-5s"))
	flags.TextVar(&f.plan.Think, "think", think, "the `time` between two pages")
	f.shares = map[string]*float64{"no-show": &f.plan.NoShow, "late": &f.plan.Late, "leave": &f.plan.Leave, "bots": &f.plan.Bots, "forgers": &f.plan.Forgers}
	flags.Float64Var(&f.plan.NoShow, "no-show", 0.05, "the `share` that is away when its turn comes")
	flags.Float64Var(&f.plan.Late, "late", 0, "the `share` that lets its turn lapse, and comes in then")
	flags.Float64Var(&f.plan.Leave, "leave", 0.5, "the `share` that says it leaves; the others are just gone")
	flags.Float64Var(&f.plan.Bots, "bots", 0.02, "the `share` that keeps no cookies and asks again and again")
	flags.Float64Var(&f.plan.Forgers, "forgers", 0.01, "the `share` that tries worthless tickets now and then")

	flags.IntVar(&f.target.Networks, "networks", 0, "how `many` addresses they come from; 0: one for each 50 visitors where they are told, or over 127.0.0.1 on Linux, else 1")
	flags.BoolVar(&f.target.Forwarded, "forwarded", false, "tell those addresses by X-Forwarded-For; the gateway must trust this machine as a proxy")
	flags.IntVar(&f.target.Connections, "connections", 256, "requests under way at once, at most")
	flags.DurationVar(&f.target.Timeout, "timeout", 30*time.Second, "how `long` an answer may take")
	flags.StringVar(&f.target.Prefix, "prefix", "/_ropeline", "the gateway's own `path`")
	flags.StringVar(&f.target.Token, "allowed", "", "the `token` by which the target's operator allows it; better in $ROPELINE_LOADTEST_TOKEN")
	flags.DurationVar(&f.duration, "for", 0, "end after this `time`; 0s: when all have gone")

	flags.StringVar(&f.gateway.address, "admin", variable(environ, "ROPELINE_ADMIN_URL", "http://127.0.0.1:8081"),
		"the admin listener's `URL`, asked where there is a token; also $ROPELINE_ADMIN_URL")
	flags.StringVar(&f.gateway.token, "token", "", "a `token` of the admin API; better in $ROPELINE_ADMIN_TOKEN")
	f.limits.add(cmd)
	flags.BoolVar(&f.head.Guests, "guests", false, "some may pass without an admission: a bypass rule lets them, or mode open")
	flags.BoolVar(&f.head.ShopEnds, "shop-ends", false, "the shop ends sessions by itself, with Ropeline-Command: end")

	flags.StringVar(&f.history, "history", "", "a `file` to keep every request in; compressed where its name ends in .gz")
	flags.StringVar(&f.html, "html", "", "a `file` for the report with charts, as HTML")
	flags.BoolVar(&f.json, "json", false, "print the report as JSON")
	return f
}

// limitsFlags are what the operator has set, as a person tells it.
type limitsFlags struct {
	cmd       *cobra.Command
	capacity  int64
	rate      config.Rate
	burst     int64
	absence   time.Duration
	holdPlace time.Duration
}

func (f *limitsFlags) add(cmd *cobra.Command) {
	f.cmd = cmd
	cmd.Flags().Int64Var(&f.capacity, "capacity", 0, "the activity's capacity; 0: no limit")
	cmd.Flags().TextVar(&f.rate, "rate", config.Rate{}, `the activity's `+"`rate`"+`, as 120/m; "": no limit`)
	cmd.Flags().Int64Var(&f.burst, "burst", 0, "the activity's burst; 0: what the rate makes it")
	cmd.Flags().DurationVar(&f.absence, "absence", 0, "the activity's absence")
	cmd.Flags().DurationVar(&f.holdPlace, "hold-place", 0, "the activity's hold_place")
}

// over puts what was said over what is known.
func (f *limitsFlags) over(l crowd.Limits) crowd.Limits {
	said := f.cmd.Flags().Changed
	if said("capacity") {
		l.Capacity = f.capacity
	}
	if said("rate") {
		l.RatePerHour = f.rate.PerHour()
	}
	if said("burst") {
		l.Burst = f.burst
	}
	if said("absence") {
		l.Absence = f.absence.Milliseconds()
	}
	if said("hold-place") {
		l.HoldPlace = f.holdPlace.Milliseconds()
	}
	return l
}

func (f *loadtestFlags) run(cmd *cobra.Command, address string) error {
	ctx, stop := signal.NotifyContext(cmd.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := f.complete(address); err != nil {
		return exit{exitUsage, err}
	}
	target, err := crowd.OpenTarget(ctx, address, f.target)
	switch {
	case errors.Is(err, crowd.ErrUnreachable):
		return exit{exitUnreachable, err}
	case err != nil:
		return err
	}
	limits, err := f.asked(ctx, target.Activity())
	if err != nil {
		return err
	}
	f.head.Began, f.head.Target, f.head.Activity, f.head.Limits = time.Now().UTC(), address, target.Activity(), limits
	var kept *crowd.Writer
	if f.history != "" {
		if kept, err = crowd.Create(f.history, f.head); err != nil {
			return err
		}
	}
	tally := crowd.NewTally(f.head)
	run := crowd.Run{
		Target: target, Plan: f.plan, Connections: f.target.Connections, For: f.duration,
		Seen: func(e crowd.Event) error {
			tally.See(e)
			if kept == nil {
				return nil
			}
			return kept.Write(e)
		},
		Beat: progress(cmd.ErrOrStderr(), tally.Last),
	}
	if f.gateway.token != "" {
		run.Limits = func(ctx context.Context) (crowd.Limits, error) { return f.asked(ctx, target.Activity()) }
	}
	standing, err := run.Go(ctx)
	if kept != nil {
		err = errors.Join(err, kept.Close())
	}
	if err != nil {
		return err
	}
	report := tally.Report()
	report.Ends = standing.Ends
	return f.tell(cmd.OutOrStdout(), report)
}

// complete makes the plan of what the flags say.
func (f *loadtestFlags) complete(address string) (err error) {
	for name, share := range f.shares {
		if *share < 0 || *share > 1 {
			return fmt.Errorf("--%s: a share is from 0 to 1", name)
		}
	}
	if f.duration < 0 || f.target.Timeout < 0 {
		return errors.New("--for, --timeout: a time is not below 0")
	}
	if f.target.Connections < 1 || f.target.Connections > 50_000 {
		return errors.New("--connections: from 1 to 50000")
	}
	if f.target.Networks < 0 || f.target.Networks > 1<<17 {
		return errors.New("--networks: from 0 to 131072")
	}
	if f.arrivals != "" {
		file, err := os.Open(f.arrivals)
		if err != nil {
			return fmt.Errorf("--arrivals: %w", err)
		}
		defer file.Close()
		if f.plan.Arrivals, err = crowd.ReadArrivals(file); err != nil {
			return fmt.Errorf("--arrivals: %s: %w", f.arrivals, err)
		}
	} else if f.plan.Arrivals, err = crowd.NewArrivals(crowd.Profile(f.profile), f.visitors, f.over); err != nil {
		return err
	}
	if f.target.Networks == 0 {
		f.target.Networks = 1
		if f.target.Forwarded || runtime.GOOS == "linux" && strings.HasPrefix(address, "http://127.0.0.1:") {
			f.target.Networks = min(4096, 1+f.plan.Arrivals.Count()/50)
		}
	}
	if f.target.Token == "" {
		f.target.Token = variable(f.environ, "ROPELINE_LOADTEST_TOKEN", "")
	}
	if f.gateway.token == "" {
		f.gateway.token = variable(f.environ, "ROPELINE_ADMIN_TOKEN", "")
	}
	return nil
}

// asked are the limits that the gateway tells, where there is a token to ask
// with, under those that were said.
func (f *loadtestFlags) asked(ctx context.Context, activity int64) (crowd.Limits, error) {
	limits := crowd.NoLimits()
	if f.gateway.token != "" {
		var told struct {
			Line struct {
				Capacity    int64 `json:"capacity"`
				RatePerHour int64 `json:"rate_per_hour"`
				Burst       int64 `json:"burst"`
				Absence     int64 `json:"absence_ms"`
				HoldPlace   int64 `json:"hold_place_ms"`
			} `json:"line"`
		}
		path, err := activityPath(fmt.Sprint(activity))
		if err != nil {
			return limits, err
		}
		if err := f.gateway.ask(ctx, http.MethodGet, path+"/status", &told); err != nil {
			return limits, err
		}
		limits = crowd.Limits(told.Line)
	}
	return f.limits.over(limits), nil
}

// tell writes the report, and returns an error where a promise was broken.
func (f *loadtestFlags) tell(out io.Writer, r crowd.Report) error {
	if err := draw(f.html, r); err != nil {
		return err
	}
	if f.json {
		if err := json.NewEncoder(out).Encode(r); err != nil {
			return err
		}
	} else if err := r.Text(out); err != nil {
		return err
	}
	if answered := r.Requests - sum(r.Errors); answered == 0 && r.Requests > 0 {
		return exit{exitUnreachable, errors.New("no request was answered")}
	}
	return refuted(r.Invariants, false)
}

// draw writes a report with charts to a file; "": to none.
func draw(path string, r crowd.Report) error {
	if path == "" {
		return nil
	}
	file, err := os.Create(path)
	if err != nil {
		return err
	}
	return errors.Join(r.HTML(file), file.Close())
}

func sum(counts map[string]int64) (all int64) {
	for _, n := range counts {
		all += n
	}
	return all
}

// refuted is an error where an invariant is broken, or could not be judged
// where every one must be.
func refuted(all []crowd.Judgement, every bool) error {
	if invariant, first := crowd.First(all); first != nil {
		return fmt.Errorf("invariant %s is broken: %s", invariant, first.What)
	}
	if i := slices.IndexFunc(all, func(j crowd.Judgement) bool { return j.Outcome == crowd.Unjudged }); every && i >= 0 {
		return fmt.Errorf("invariant %s is not judged: %s", all[i].Invariant, all[i].Why)
	}
	return nil
}

// progress shows how a run stands: each second in place on a terminal, else
// every ten seconds on a line. last tells of the last second.
func progress(to io.Writer, last func() crowd.Second) func(crowd.Standing) {
	inPlace, beats := isTerminal(to), 0
	return func(s crowd.Standing) {
		second := last()
		told := []string{
			fmt.Sprintf("%.0f s", s.At.Duration().Seconds()),
			fmt.Sprintf("came %d of %d", s.Came, s.Planned), fmt.Sprintf("in line %d", s.Lining),
			fmt.Sprintf("inside %d", s.Inside), fmt.Sprintf("gone %d", s.Gone),
			fmt.Sprintf("%d requests/s, p50 %.0f ms, p99 %.0f ms, errors %d", second.Requests, second.P50, second.P99, second.Errors),
		}
		if s.Behind > 0 {
			told = append(told, fmt.Sprintf("%d requests wait for a connection", s.Behind))
		}
		beats++
		switch {
		case inPlace:
			fmt.Fprint(to, clearTerminal, strings.Join(told, "\n"), "\n")
		case beats%10 == 0:
			fmt.Fprintln(to, strings.Join(told, "  "))
		}
	}
}

func loadtestCheck() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Hold the history of a load test against the promises of the line",
		Long: `Hold the history of a load test against the invariants of the line, and tell of
each whether the history refutes it, with the first violation and what its
visitors saw. Nobody is asked. What the history does not know of the limits may
be said; what is said counts.

A history that is cut short is checked as far as it goes.

Exit status: 0 no invariant is broken, 1 one is, or the file is no history, 2
not called as it should be.`,
		Example: `  ropeline loadtest check drop.gz
  ropeline loadtest check drop.gz --capacity 500 --rate 120/m --html drop.html`,
		Args: cobra.ExactArgs(1),
	}
	var limits limitsFlags
	limits.add(cmd)
	asJSON := cmd.Flags().Bool("json", false, "print the judgements as JSON")
	every := cmd.Flags().Bool("every", false, "refuse what leaves an invariant unjudged, too")
	html := cmd.Flags().String("html", "", "a `file` for the report of the load test, with charts, as HTML")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		report, err := check(cmd.ErrOrStderr(), args[0], limits)
		if err != nil {
			return err
		}
		if err := draw(*html, report); err != nil {
			return err
		}
		all := report.Invariants
		if *asJSON {
			if err := json.NewEncoder(cmd.OutOrStdout()).Encode(all); err != nil {
				return err
			}
			return refuted(all, *every)
		}
		if err := crowd.Verdict(cmd.OutOrStdout(), all); err != nil {
			return err
		}
		if _, first := crowd.First(all); first != nil {
			if err := stories(cmd.OutOrStdout(), args[0], first.Visitors); err != nil {
				return err
			}
		}
		return refuted(all, *every)
	}
	return cmd
}

// check judges the history in a file.
func check(errs io.Writer, path string, limits limitsFlags) (crowd.Report, error) {
	history, err := crowd.Open(path)
	if err != nil {
		return crowd.Report{}, err
	}
	defer history.Close()
	history.Limits = limits.over(history.Limits)
	tally := crowd.NewTally(history.Head)
	for e, err := range history.Events() {
		if errors.Is(err, crowd.ErrCut) {
			fmt.Fprintln(errs, "ropeline:", err)
			break
		}
		if err != nil {
			return crowd.Report{}, err
		}
		if e.Kind == crowd.Told {
			said := limits.over(*e.Limits)
			e.Limits = &said
		}
		tally.See(e)
	}
	return tally.Report(), nil
}

const (
	mostStories = 8  // visitors that are told of
	longestTale = 40 // lines of each
)

// stories prints what visitors saw.
func stories(out io.Writer, path string, visitors []int64) error {
	history, err := crowd.Open(path)
	if err != nil {
		return err
	}
	defer history.Close()
	told := visitors[:min(mostStories, len(visitors))]
	lines := map[int64][]string{}
	for e, err := range history.Events() {
		if errors.Is(err, crowd.ErrCut) {
			break
		}
		if err != nil {
			return err
		}
		if slices.Contains(told, e.Visitor) {
			lines[e.Visitor] = append(lines[e.Visitor], e.String())
		}
	}
	for _, v := range told {
		fmt.Fprintf(out, "\nvisitor %d\n", v)
		tale := lines[v]
		if cut := len(tale) - longestTale; cut > 0 {
			tale = slices.Concat(tale[:longestTale/2], []string{fmt.Sprintf("… %d more", cut)}, tale[len(tale)-longestTale/2:])
		}
		for _, line := range tale {
			fmt.Fprintln(out, " ", line)
		}
	}
	if more := len(visitors) - len(told); more > 0 {
		fmt.Fprintf(out, "\nand %d visitors more\n", more)
	}
	return nil
}
