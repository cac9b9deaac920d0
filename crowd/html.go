package crowd

import (
	_ "embed"
	"fmt"
	"html/template"
	"io"
	"maps"
	"slices"
	"time"
)

//go:embed report.html
var reportHTML string

var reportPage = template.Must(template.New("report").Parse(reportHTML))

// HTML writes the report as a page of its own, with charts.
func (r Report) HTML(to io.Writer) error {
	view := struct {
		Report
		Lasted  string
		Facts   [][2]string
		Charts  []template.HTML
		Latency []latencyRow
		Broken  bool
	}{Report: r, Lasted: (time.Duration(r.Lasted) * time.Millisecond).Round(time.Second).String(), Facts: r.facts(), Charts: r.charts()}
	for _, kind := range slices.Sorted(maps.Keys(r.Latency)) {
		view.Latency = append(view.Latency, latencyRow{string(kind), r.Latency[kind]})
	}
	view.Latency = append(view.Latency, latencyRow{"sent late", r.Late})
	for _, j := range r.Invariants {
		view.Broken = view.Broken || j.Outcome == Broken
	}
	if err := reportPage.Execute(to, view); err != nil {
		return fmt.Errorf("write report: %w", err)
	}
	return nil
}

type latencyRow struct {
	Name string
	Percentiles
}

// charts are how the run went, second by second.
func (r Report) charts() []template.HTML {
	values := func(of func(Second) float64) []float64 {
		all := make([]float64, len(r.Seconds))
		for i, s := range r.Seconds {
			all[i] = of(s)
		}
		return all
	}
	charts := []chart{
		{title: "In line", lines: []chartLine{{"with a place, and not inside yet", values(func(s Second) float64 { return float64(s.Waiting) }), true}}},
		{title: "Inside", lines: []chartLine{{"surely inside", values(func(s Second) float64 { return float64(s.Inside) }), true}}, bound: max(0, float64(r.Limits.Capacity)), named: "capacity"},
		{title: "Each second", lines: []chartLine{
			{"joined", values(func(s Second) float64 { return float64(s.Joins) }), false},
			{"admitted", values(func(s Second) float64 { return float64(s.Entries) }), false},
		}, bound: max(0, float64(r.Limits.RatePerHour)/3600), named: "rate"},
		{title: "Latency, ms", lines: []chartLine{
			{"half of all", values(func(s Second) float64 { return s.P50 }), true},
			{"99 of 100", values(func(s Second) float64 { return s.P99 }), true},
		}},
		{title: "Requests each second", lines: []chartLine{
			{"requests", values(func(s Second) float64 { return float64(s.Requests) }), false},
			{"errors", values(func(s Second) float64 { return float64(s.Errors) }), true},
		}},
	}
	drawn := make([]template.HTML, len(charts))
	for i, c := range charts {
		drawn[i] = template.HTML("<h2>"+template.HTMLEscapeString(c.title)+"</h2>") + c.svg()
	}
	return drawn
}
