package crowd

import (
	"cmp"
	"fmt"
	"io"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what became of a crowd. Durations are in milliseconds.
type Report struct {
	Target   string    `json:"target"`
	Activity int64     `json:"activity"`
	Began    time.Time `json:"began"`
	Lasted   int64     `json:"lasted_ms"`
	Limits   Limits    `json:"limits"`

	Requests int64            `json:"requests"`
	Numbers  int64            `json:"numbers"`  // given
	Entered  int64            `json:"entered"`  // sessions
	Ends     map[string]int64 `json:"visitors"` // how their visits ended; empty where a history is read

	Waits     Percentiles `json:"waits"` // from joining to being inside, of those who came inside
	MeanRate  float64     `json:"admissions_per_hour"`
	PeakRate  float64     `json:"peak_admissions_per_hour"` // of any whole minute
	PeakInner int64       `json:"peak_inside"`              // surely at once

	Inversions int64            `json:"inversions"`
	LostPlaces int64            `json:"lost_places"`
	Errors     map[string]int64 `json:"errors"`

	// Latency is from when a request was meant to be sent, so that an answer that
	// holds up the crowd counts for all whom it held up; Service from when it was.
	// Late is the difference: what the crowd itself could not keep up with.
	Latency map[Kind]Percentiles `json:"latency"`
	Service map[Kind]Percentiles `json:"service"`
	Late    Percentiles          `json:"late"`

	Invariants []Judgement `json:"invariants"`
	Seconds    []Second    `json:"seconds"`
}

// Percentiles are of durations in milliseconds.
type Percentiles struct {
	Count int64   `json:"count"`
	P50   float64 `json:"p50"`
	P90   float64 `json:"p90"`
	P95   float64 `json:"p95"`
	P99   float64 `json:"p99"`
	P999  float64 `json:"p99_9"`
	Max   float64 `json:"max"`
}

// Second is one second of a run.
type Second struct {
	Joins    int64   `json:"joins"`
	Entries  int64   `json:"entries"`
	Requests int64   `json:"requests"`
	Errors   int64   `json:"errors"`
	Waiting  int64   `json:"waiting"` // with a place and not inside, at its end; bots never go
	Inside   int64   `json:"inside"`  // the most that surely were at once
	P50      float64 `json:"p50"`     // latency, all kinds
	P99      float64 `json:"p99"`
}

// Tally counts what becomes of a crowd, event by event, as it happens or from a
// history. It is not safe for concurrent use.
type Tally struct {
	head    Head
	checker *Checker

	last                       Micros
	requests, numbers, entered int64
	errors                     map[string]int64
	latency, service           map[Kind]*hdrhistogram.Histogram
	late, waits                *hdrhistogram.Histogram

	seconds []Second
	current *hdrhistogram.Histogram // of the last of seconds
	waiting map[int64]Micros        // since when, by visitor
}

// longest is the longest duration that is told apart: an hour.
const longest = int64(time.Hour / time.Microsecond)

func newDurations() *hdrhistogram.Histogram { return hdrhistogram.New(1, longest, 3) }

// NewTally returns the tally of a history that begins with head.
func NewTally(head Head) *Tally {
	return &Tally{
		head: head, checker: NewChecker(head), errors: map[string]int64{},
		latency: map[Kind]*hdrhistogram.Histogram{}, service: map[Kind]*hdrhistogram.Histogram{},
		late: newDurations(), waits: hdrhistogram.New(1, 24*longest, 3), current: newDurations(), waiting: map[int64]Micros{},
	}
}

// See takes the next event.
func (t *Tally) See(e Event) {
	t.checker.See(e)
	if e.Kind == Told {
		return
	}
	t.last = max(t.last, e.Got())
	for len(t.seconds) <= int(t.last/1_000_000) {
		t.closeSecond()
		t.seconds = append(t.seconds, Second{})
		t.current.Reset()
	}
	now := &t.seconds[len(t.seconds)-1]
	now.Requests++
	t.requests++
	if fault := failure(e); fault != "" {
		t.errors[fault]++
		now.Errors++
	}
	if t.latency[e.Kind] == nil {
		t.latency[e.Kind], t.service[e.Kind] = newDurations(), newDurations()
	}
	record(t.latency[e.Kind], e.Late+e.Took)
	record(t.service[e.Kind], e.Took)
	record(t.current, e.Late+e.Took)
	record(t.late, e.Late)
	if e.Kind == Forge || !e.answered() {
		return
	}
	t.place(e, now)
}

// Last returns the last whole second, or zero where there was none yet.
func (t *Tally) Last() Second {
	if len(t.seconds) < 2 {
		return Second{}
	}
	return t.seconds[len(t.seconds)-2]
}

// place follows visitors from joining to being inside.
func (t *Tally) place(e Event, now *Second) {
	since, waits := t.waiting[e.Visitor]
	switch {
	case e.Kind == Join && (e.Number > 0 || e.Index != nil):
		t.numbers++
		now.Joins++
		since, waits = e.Sent, true
		t.waiting[e.Visitor] = since
	case e.Kind == Leave, e.State == New, e.State == "ended":
		delete(t.waiting, e.Visitor)
	}
	if e.State == Passed {
		if e.Session != nil && e.Kind != Browse {
			t.entered++
			now.Entries++
			if waits {
				record(t.waits, e.Got()-since)
			}
		}
		delete(t.waiting, e.Visitor)
	}
	now.Waiting = int64(len(t.waiting))
}

func (t *Tally) closeSecond() {
	if n := len(t.seconds); n > 0 {
		s := &t.seconds[n-1]
		s.Waiting = int64(len(t.waiting))
		s.P50, s.P99 = millis(t.current.ValueAtPercentile(50)), millis(t.current.ValueAtPercentile(99))
	}
}

// failure tells in few words what went wrong with a request, if anything did.
func failure(e Event) string {
	switch {
	case e.Code == 0:
		return "no answer: " + cmp.Or(e.Fault, "unknown")
	case e.State == Refused && e.Fault != "":
		return e.Fault
	case e.State == Refused, e.State == Passed && e.Code >= 500:
		return fmt.Sprintf("status %d", e.Code)
	}
	return ""
}

func record(h *hdrhistogram.Histogram, m Micros) {
	_ = h.RecordValue(min(int64(m), h.HighestTrackableValue())) // it is within
}

func millis(micros int64) float64 { return float64(micros) / 1000 }

func percentiles(h *hdrhistogram.Histogram) Percentiles {
	at := func(p float64) float64 { return millis(h.ValueAtPercentile(p)) }
	return Percentiles{h.TotalCount(), at(50), at(90), at(95), at(99), at(99.9), millis(h.Max())}
}

// Report returns the report. No event may be seen after it.
func (t *Tally) Report() Report {
	t.closeSecond()
	limits := t.checker.limits
	r := Report{
		Target: t.head.Target, Activity: t.head.Activity, Began: t.head.Began, Lasted: int64(t.last / 1000), Limits: limits,
		Requests: t.requests, Numbers: t.numbers, Entered: t.entered,
		Waits: percentiles(t.waits), Errors: t.errors, Late: percentiles(t.late),
		Latency: map[Kind]Percentiles{}, Service: map[Kind]Percentiles{},
		Invariants: t.checker.Judge(), Seconds: t.seconds,
	}
	for kind := range t.latency {
		r.Latency[kind], r.Service[kind] = percentiles(t.latency[kind]), percentiles(t.service[kind])
	}
	for _, j := range r.Invariants {
		switch j.Invariant {
		case Order:
			r.Inversions = j.Found
		case Places:
			r.LostPlaces = j.Found
		}
	}
	r.MeanRate, r.PeakRate = rates(t.seconds)
	r.PeakInner = t.inside()
	return r
}

// rates are admissions per hour: over the time in which someone waited, and in
// the busiest whole minute.
func rates(seconds []Second) (mean, peak float64) {
	var busy, entries, minute int64
	for i, s := range seconds {
		if s.Waiting > 0 {
			busy++
			entries += s.Entries
		}
		minute += s.Entries
		if i >= 60 {
			minute -= seconds[i-60].Entries
		}
		if i >= 59 {
			peak = max(peak, float64(minute)*60)
		}
	}
	if busy > 0 {
		mean = float64(entries) * 3600 / float64(busy)
	}
	return mean, peak
}

// inside tells each second how many surely were inside, and returns the most.
func (t *Tally) inside() (most int64) {
	now, second := int64(0), 0
	for _, s := range t.checker.sessions.steps(t.checker.sessions.inside) {
		for ; second < len(t.seconds) && Micros(second+1)*1_000_000 <= s.at; second++ {
			t.seconds[second].Inside = max(t.seconds[second].Inside, now)
		}
		now += s.by
		most = max(most, now)
		if second < len(t.seconds) {
			t.seconds[second].Inside = max(t.seconds[second].Inside, now)
		}
	}
	return most
}

// facts are the report in a few lines.
func (r Report) facts() [][2]string {
	all := [][2]string{
		{"lasted", (time.Duration(r.Lasted) * time.Millisecond).String()},
		{"requests", fmt.Sprintf("%d, errors: %s", r.Requests, cmp.Or(counted(r.Errors), "none"))},
		{"numbers given", fmt.Sprint(r.Numbers)},
		{"admitted", fmt.Sprint(r.Entered)},
		{"wait", r.Waits.seconds()},
		{"admission rate", fmt.Sprintf("%.0f an hour while someone waited, %.0f in the busiest minute, of %s", r.MeanRate, r.PeakRate, limit(r.Limits.RatePerHour))},
		{"inside at once", fmt.Sprintf("%d surely, of %s", r.PeakInner, limit(r.Limits.Capacity))},
		{"inversions", fmt.Sprint(r.Inversions)},
		{"lost places", fmt.Sprint(r.LostPlaces)},
	}
	if r.Late.P99 > 1000 {
		all = append(all, [2]string{"the crowd", fmt.Sprintf("did not keep up: one request in a hundred was sent more than %.1f s late, which the waits and latencies contain", r.Late.P99/1000)})
	}
	if len(r.Ends) > 0 {
		all = slices.Insert(all, 1, [2]string{"visitors", counted(r.Ends)})
	}
	return all
}

// Text writes the report for people to read.
func (r Report) Text(to io.Writer) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	fmt.Fprintf(w, "target\t%s, activity %d\n", r.Target, r.Activity)
	for _, fact := range r.facts() {
		fmt.Fprintf(w, "%s\t%s\n", fact[0], fact[1])
	}
	fmt.Fprintln(w)
	fmt.Fprintln(w, "latency in ms\tcount\tp50\tp90\tp95\tp99\tp99.9\tmax")
	for _, kind := range slices.Sorted(maps.Keys(r.Latency)) {
		r.Latency[kind].row(w, string(kind))
	}
	r.Late.row(w, "sent late")
	if err := w.Flush(); err != nil {
		return err
	}
	fmt.Fprintln(to)
	return Verdict(to, r.Invariants)
}

// Verdict writes the judgements for people to read.
func Verdict(to io.Writer, all []Judgement) error {
	w := tabwriter.NewWriter(to, 0, 0, 2, ' ', 0)
	for _, j := range all {
		told := fmt.Sprintf("%d cases", j.Cases)
		switch j.Outcome {
		case Unjudged:
			told = j.Why
		case Broken:
			told = fmt.Sprintf("%d times in %s; first at %s: %s", j.Found, told, at(j.First.At), j.First.What)
		}
		fmt.Fprintf(w, "%s\t%s\t%s\t%s\n", j.Invariant, j.Outcome, j.Promise, told)
	}
	return w.Flush()
}

func (p Percentiles) row(w io.Writer, name string) {
	fmt.Fprintf(w, "%s\t%d\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\t%.1f\n", name, p.Count, p.P50, p.P90, p.P95, p.P99, p.P999, p.Max)
}

func (p Percentiles) seconds() string {
	if p.Count == 0 {
		return "nobody waited and was admitted"
	}
	return fmt.Sprintf("p50 %.1f s, p90 %.1f s, p95 %.1f s, p99 %.1f s, longest %.1f s", p.P50/1000, p.P90/1000, p.P95/1000, p.P99/1000, p.Max/1000)
}

func limit(n int64) string {
	switch n {
	case Unknown:
		return "a limit that is not known"
	case 0:
		return "no limit"
	}
	return fmt.Sprint(n)
}

// counted are counts by name, the highest first.
func counted(counts map[string]int64) string {
	names := slices.SortedFunc(maps.Keys(counts), func(a, b string) int {
		return cmp.Or(cmp.Compare(counts[b], counts[a]), cmp.Compare(a, b))
	})
	var all []string
	for _, name := range names {
		if counts[name] > 0 {
			all = append(all, fmt.Sprintf("%d %s", counts[name], name))
		}
	}
	return strings.Join(all, ", ")
}
