package main

import (
	"bufio"
	"context"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/simulate"
	"github.com/ropeline/ropeline/config"
)

func simulateCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "simulate PLAN",
		Short: "Play an event before it happens, with several settings",
		Long: `Play an event before it happens: who comes, how long they stay, and what
several settings of capacity, rate, stock and order would make of it, side by
side. It is the line's own code that plays, under virtual time; no gateway is
asked. The plan is a YAML file, described in docs/simulate.md. With --from the
visitors of a recorded event come again, in place of the plan's demand.

Exit status: 0 simulated, 1 the plan or the record is not right, or it was
stopped, 2 not called as it should be.`,
		Example: `  ropeline simulate plan.yaml
  ropeline simulate plan.yaml --html plan.html
  ropeline simulate plan.yaml --from arrivals.csv`,
		Args: cobra.ExactArgs(1),
	}
	var from, html, svg string
	cmd.Flags().StringVar(&from, "from", "", "replay the visitors of a CSV `file`: the first column is when each came, as a time or in seconds")
	cmd.Flags().StringVar(&html, "html", "", "write table and charts to a `file`, as a page")
	cmd.Flags().StringVar(&svg, "svg", "", "write the charts to a `file`, as an image")
	asJSON := cmd.Flags().Bool("json", false, "print all figures as JSON")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		plan, err := config.LoadPlan(args[0], environ)
		if err != nil {
			return err
		}
		event := eventOf(plan)
		if from != "" {
			if event.Recorded, err = recorded(from); err != nil {
				return err
			}
		} else if len(event.Demand) == 0 {
			return config.Problems{plan.Problem("demand", "is missing; say how visitors come, or replay a recorded event by --from")}
		}
		ctx, stop := signal.NotifyContext(cmd.Context(), syscall.SIGTERM, syscall.SIGINT)
		defer stop()
		results, err := simulate.Run(ctx, event, settingsOf(plan), int(plan.Runs), uint64(plan.Seed))
		switch {
		case errors.Is(err, context.Canceled):
			return errors.New("stopped before the end")
		case err != nil:
			return err
		}
		report := simulate.Report{Name: plan.Name, Results: results}
		for path, write := range map[string]func(io.Writer) error{html: report.HTML, svg: report.SVG} {
			if path == "" {
				continue
			}
			if err := writeTo(path, write); err != nil {
				return err
			}
		}
		if *asJSON {
			return report.JSON(cmd.OutOrStdout())
		}
		return report.Text(cmd.OutOrStdout())
	}
	return cmd
}

func writeTo(path string, write func(io.Writer) error) error {
	f, err := os.Create(path)
	if err != nil {
		return err
	}
	w := bufio.NewWriter(f)
	return errors.Join(write(w), w.Flush(), f.Close())
}

func eventOf(p *config.Plan) simulate.Event {
	v := p.Visitors
	event := simulate.Event{
		Start: p.Start, End: p.End, For: p.For,
		Crowd: simulate.Crowd{
			Stay: v.Stay, Spread: simulate.Spread(v.Spread), Ends: v.Ends, NoShow: v.NoShow,
			Patience: v.Patience, Buys: v.Buys, Comes: v.Comes,
		},
	}
	for _, d := range p.Demand {
		event.Demand = append(event.Demand, simulate.Stretch{For: d.For, Visitors: d.Visitors, Shape: simulate.Shape(d.Shape)})
	}
	return event
}

func settingsOf(p *config.Plan) []simulate.Setting {
	settings := make([]simulate.Setting, len(p.Settings))
	for i, s := range p.Settings {
		settings[i] = simulate.Setting{Name: s.Name, Limits: admission.Limits{
			Capacity: s.Capacity, RatePerHour: s.Rate.PerHour(), Burst: s.Burst, MaxQueue: s.MaxQueue,
			Claim: s.Claim, Absence: s.Absence, HoldPlace: s.HoldPlace, Idle: s.Session.Idle, Max: s.Session.Max,
			Draw: s.Order == "draw", StopAt: s.Stock.StopAt,
		}}
		if s.Stock.Initial >= 0 {
			settings[i].Limits.Stock = admission.Stock{Counted: true, Left: s.Stock.Initial}
		}
	}
	return settings
}

// mostRecorded is the most visitors of a record that are replayed.
const mostRecorded = 10_000_000

// recorded reads when the visitors of an event came, from the first on.
func recorded(path string) ([]time.Duration, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	rows := csv.NewReader(bufio.NewReader(f))
	rows.FieldsPerRecord, rows.ReuseRecord, rows.Comment = -1, true, '#'
	var all []time.Duration
	for first := true; ; first = false {
		row, err := rows.Read()
		if err == io.EOF {
			break
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		at, err := instant(strings.TrimSpace(row[0]))
		if err != nil && first {
			continue // the columns' names
		}
		line, column := rows.FieldPos(0)
		if err != nil {
			return nil, fmt.Errorf("%s:%d:%d: %w", path, line, column, err)
		}
		if all = append(all, at); len(all) > mostRecorded {
			return nil, fmt.Errorf("%s:%d: more than %d visitors", path, line, mostRecorded)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("%s: no visitor came", path)
	}
	slices.Sort(all)
	for i := len(all) - 1; i >= 0; i-- {
		all[i] -= all[0]
	}
	return all, nil
}

// instantLayouts are how databases and programs write a time.
var instantLayouts = []string{time.RFC3339Nano, "2006-01-02 15:04:05.999999999Z07:00", "2006-01-02 15:04:05.999999999Z07"}

// instant reads a time, or seconds, as a duration since some instant.
func instant(text string) (time.Duration, error) {
	if seconds, err := strconv.ParseFloat(text, 64); err == nil && seconds > -1e9 && seconds < 1e10 {
		return time.Duration(seconds * float64(time.Second)), nil
	}
	for _, layout := range instantLayouts {
		if at, err := time.Parse(layout, text); err == nil {
			return time.Duration(at.UnixNano()), nil
		}
	}
	return 0, fmt.Errorf("%q is neither a time, like 2026-11-22T10:00:00+01:00, nor a number of seconds", text)
}
