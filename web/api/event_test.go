package api_test

import (
	"encoding/csv"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/web/api"
)

func TestReport_TellsWaitsAndWhatOperatorsDid(t *testing.T) {
	a := openAdmin(t)
	at := time.Date(2026, 11, 27, 10, 0, 0, 0, time.UTC)
	a.record.told = admission.Analytics{
		Entries: 900, Visitors: 890, Admissions: 700, Releases: 720, NoShows: 20, OutOfOrder: 3, Left: 40, Converted: 350,
		WaitMedian: 90 * time.Second, WaitP95: 4 * time.Minute,
		Timeline: []admission.Moment{{At: at, Entries: 900, Admissions: 700, Releases: 720, Waiting: 160, Sessions: 50}},
	}
	for i, c := range []admission.Change{
		{Action: "activity.pause", Activity: 123, Actor: "mei", Role: "operator"},
		{Action: "activity.override", Activity: 123, Actor: "=HYPERLINK(1)", Role: "operator", After: []byte(`{"rate_per_hour":3600}`)},
		{Action: "activity.pause", Activity: 7, Actor: "of another", Role: "operator"},
	} {
		c.At, c.Tenant = at.Add(time.Duration(i)*time.Minute), map[int64]string{123: "demo", 7: "other"}[c.Activity]
		a.record.Audit(c)
	}
	const span = "?from=2026-11-27T10:00:00Z&to=2026-11-27T11:00:00Z"
	got := a.as(pass(t, api.Viewer, "demo")).ask("GET", activities+"/123/report"+span, "")
	if got.number("data.analytics.out_of_order") != 3 || got.number("data.analytics.wait.p95_s") != 240 || got.number("data.analytics.no_shows") != 20 ||
		got.text1("data.analytics.from") != "2026-11-27T10:00:00Z" || got.at("data.analytics.period") != nil {
		t.Errorf("got %s", got.text)
	}
	if changes := got.at("data.changes").([]any); len(changes) != 2 || changes[1].(object)["actor"] != "mei" {
		t.Errorf("the changes are %v", changes)
	}
	tables := map[string][]string{
		"summary":  {"name,value", "no_shows,20", "wait_median_s,90.000", "changes,2"},
		"timeline": {"at,entries,admissions,releases,waiting,sessions", "2026-11-27T10:00:00Z,900,700,720,160,50"},
		"changes":  {`2026-11-27T10:00:00Z,mei,operator,activity.pause,,,,`, `'=HYPERLINK(1)`, `"{""rate_per_hour"":3600}"`},
	}
	for part, want := range tables {
		got := a.ask("GET", activities+"/123/report"+span+"&format=csv&part="+part, "")
		if _, err := csv.NewReader(strings.NewReader(got.text)).ReadAll(); err != nil {
			t.Errorf("%s: %v", part, err)
		}
		if kind := got.header.Get("Content-Type"); kind != "text/csv; charset=utf-8" || !strings.Contains(got.header.Get("Content-Disposition"), "activity-123-"+part) {
			t.Errorf("%s: comes as %q, %q", part, kind, got.header.Get("Content-Disposition"))
		}
		for _, text := range want {
			if !strings.Contains(got.text, text) {
				t.Errorf("%s has no %q: %s", part, text, got.text)
			}
		}
	}
}

func TestReport_IsOfTheActivitysOwnScheduleWhereNoSpanIsNamed(t *testing.T) {
	a := openAdmin(t)
	span := func() (from, to time.Time) {
		t.Helper()
		got := a.ask("GET", activities+"/123/report", "")
		from, err := time.Parse(time.RFC3339, got.text1("data.analytics.from"))
		if err != nil {
			t.Fatalf("got %s", got.text)
		}
		to, err = time.Parse(time.RFC3339, got.text1("data.analytics.to"))
		if err != nil {
			t.Fatal(err)
		}
		return from, to
	}
	if from, to := span(); to.Sub(from) != 24*time.Hour || time.Since(to) > time.Minute {
		t.Errorf("without a start: from %v to %v", from, to)
	}
	start, end := time.Now().Add(-3*time.Hour).UTC().Truncate(time.Second), time.Now().Add(-time.Hour).UTC().Truncate(time.Second)
	if err := a.activities.room(t, 123).Override(t.Context(), func(o *admission.Overrides) { o.StartAt, o.EndAt = &start, &end }); err != nil {
		t.Fatal(err)
	}
	a.until("the schedule is in force", func(g answer) bool { return g.at("data.line.end_at") != nil }, "GET", activities+"/123/status")
	if from, to := span(); !from.Equal(start) || !to.Equal(end) {
		t.Errorf("of the schedule: from %v to %v, want %v to %v", from, to, start, end)
	}
}

func TestReport_NamesTheParameterThatIsWrong(t *testing.T) {
	a := openAdmin(t)
	for query, field := range map[string]string{
		"from=yesterday": "from", "to=2026-11-27": "to", "from=2026-11-27T10:00:00Z&to=2026-11-27T10:00:00Z": "to",
		"from=2020-01-01T00:00:00Z&to=2026-01-01T00:00:00Z": "from", "format=pdf": "format", "format=csv": "part",
		"format=csv&part=all": "part", "part=summary": "part", "from=2026-01-01T00:00:00Z&from=2026-01-01T00:00:00Z": "from",
	} {
		if got := a.ask("GET", activities+"/123/report?"+query, ""); got.status != 400 || got.field() != field {
			t.Errorf("%s: got %d %s, want field %s", query, got.status, got.text, field)
		}
	}
	none := openAdmin(t, func(o *api.AdminOptions) { o.Record = nil })
	if got := none.ask("GET", activities+"/123/report", ""); got.status != 503 || got.code() != "DATABASE_UNAVAILABLE" {
		t.Errorf("without a database: %d %s", got.status, got.text)
	}
}
