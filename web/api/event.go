package api

import (
	"bytes"
	"encoding/csv"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/ropeline/ropeline/admission"
)

const (
	// longestEvent bounds what is reported of, and standardEvent is what is
	// where the activity has no start.
	longestEvent  = 366 * 24 * time.Hour
	standardEvent = 24 * time.Hour

	// mostChanges is how many changes a report has at most, the latest.
	mostChanges = 1000
)

// eventReport is what an event came to: what visitors went through, and what
// operators did.
type eventReport struct {
	Activity  activity  `json:"activity"`
	Analytics analytics `json:"analytics"`
	Changes   []change  `json:"changes"` // latest first
}

// The parts of a report that are tables.
var eventParts = []string{"summary", "timeline", "changes"}

// event answers with a report, or as CSV with one of its tables.
func (a *AdminAPI) event(c *call, o Offered) (any, error) {
	query, err := c.query()
	if err != nil {
		return nil, err
	}
	from, to, err := a.eventSpan(query, o)
	if err != nil {
		return nil, err
	}
	format, part := query.get("format"), query.get("part")
	switch {
	case format != "" && format != "json" && format != "csv":
		return nil, wrong("format", sayOneOf, "json, csv")
	case format == "csv" && part != "summary" && part != "timeline" && part != "changes":
		return nil, wrong("part", sayOneOf, strings.Join(eventParts, ", "))
	case format != "csv" && part != "":
		return nil, wrong("part", sayUnknown)
	}
	if a.Record == nil {
		return nil, refused(DatabaseUnavailable, sayNoDatabase)
	}
	r := eventReport{Activity: activityOf(o, o.Room.Figures())}
	if r.Analytics, err = a.analyse(c, o, from, to); err != nil {
		return nil, err
	}
	told, _, err := a.Record.Changes(c.Context(), admission.ChangeFilter{Tenant: o.TenantID, Activity: o.ID, From: from, To: to}, 1, mostChanges)
	if err != nil {
		return nil, failed(DatabaseUnavailable, err)
	}
	r.Changes = changesOf(told)
	if format != "csv" {
		return r, nil
	}
	name := fmt.Sprintf("activity-%d-%s-%s.csv", o.ID, part, from.Format("20060102T150405Z"))
	c.answer.Set("Content-Disposition", `attachment; filename="`+name+`"`)
	return document{"text/csv; charset=utf-8", table(r.rows(part))}, nil
}

// eventSpan is the span that a request names, or else that of the activity's
// own schedule, until now.
func (a *AdminAPI) eventSpan(query query, o Offered) (from, to time.Time, err error) {
	if from, err = query.time("from"); err != nil {
		return from, to, err
	}
	if to, err = query.time("to"); err != nil {
		return from, to, err
	}
	limits, now := o.Room.Figures().Limits, time.Now()
	if to.IsZero() {
		to = now
		if end := limits.EndAt; !end.IsZero() && end.Before(now) && end.After(from) {
			to = end
		}
	}
	if from.IsZero() {
		from = to.Add(-standardEvent)
		if start := limits.StartAt; !start.IsZero() && start.Before(to) && to.Sub(start) <= longestEvent {
			from = start.Add(-limits.Prequeue)
		}
	}
	from, to = from.UTC(), to.UTC()
	switch {
	case !from.Before(to):
		return from, to, wrong("to", sayAfter, "from")
	case to.Sub(from) > longestEvent:
		return from, to, wrong("from", sayWithin, "366 d", "to")
	}
	return from, to, nil
}

// rows are a part of the report as a table, its names first.
func (r eventReport) rows(part string) [][]string {
	n := func(n int64) string { return strconv.FormatInt(n, 10) }
	at := func(t time.Time) string { return t.Format(time.RFC3339Nano) }
	a := r.Analytics
	switch part {
	case "timeline":
		rows := [][]string{{"at", "entries", "admissions", "releases", "waiting", "sessions"}}
		for _, m := range a.Timeline {
			rows = append(rows, []string{at(m.At), n(m.Entries), n(m.Admissions), n(m.Releases), n(m.Waiting), n(m.Sessions)})
		}
		return rows
	case "changes":
		rows := [][]string{{"at", "actor", "role", "action", "before", "after", "request_id", "gateway"}}
		for _, c := range r.Changes {
			rows = append(rows, []string{at(c.At), c.Actor, c.Role, c.Action, string(c.Before), string(c.After), c.RequestID, c.Gateway})
		}
		return rows
	}
	seconds := func(s float64) string { return strconv.FormatFloat(s, 'f', 3, 64) }
	return [][]string{
		{"name", "value"},
		{"activity_id", n(a.ActivityID)}, {"tenant_id", r.Activity.TenantID}, {"activity", r.Activity.Name}, {"from", at(a.From)}, {"to", at(a.To)},
		{"entries", n(a.Entries)}, {"unique_visitors", n(a.UniqueVisitors)}, {"releases", n(a.Releases)}, {"admissions", n(a.Admissions)},
		{"no_shows", n(a.NoShows)}, {"out_of_order", n(a.OutOfOrder)}, {"left", n(a.Left)}, {"converted", n(a.Converted)},
		{"wait_average_s", seconds(a.Wait.Average)}, {"wait_median_s", seconds(a.Wait.Median)}, {"wait_p95_s", seconds(a.Wait.P95)}, {"wait_longest_s", seconds(a.Wait.Longest)},
		{"changes", strconv.Itoa(len(r.Changes))},
	}
}

// table writes rows as CSV. What a spreadsheet would take for a formula is made
// a text.
func table(rows [][]string) []byte {
	var to bytes.Buffer
	w := csv.NewWriter(&to)
	for _, row := range rows {
		for i, cell := range row {
			if strings.IndexAny(cell, "=+-@\t\r") == 0 {
				row[i] = "'" + cell
			}
		}
		_ = w.Write(row) // a buffer takes all
	}
	w.Flush()
	return to.Bytes()
}
