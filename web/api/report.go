package api

import (
	"encoding/json"
	"time"

	"github.com/ropeline/ropeline/admission"
)

var periods = map[string]time.Duration{
	"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour,
}

type analytics struct {
	ActivityID     int64     `json:"activity_id"`
	Period         string    `json:"period,omitempty"`
	From           time.Time `json:"from"`
	To             time.Time `json:"to"`
	Entries        int64     `json:"entries"`
	UniqueVisitors int64     `json:"unique_visitors"`
	Admissions     int64     `json:"admissions"`
	Releases       int64     `json:"releases"`
	NoShows        int64     `json:"no_shows"`
	OutOfOrder     int64     `json:"out_of_order"` // admitted after a higher number
	Left           int64     `json:"left"`
	Converted      int64     `json:"converted"`
	ConversionRate float64   `json:"conversion_rate"` // of those admitted, 0 to 1
	Wait           struct {
		Average float64 `json:"average_s"`
		Median  float64 `json:"median_s"`
		P95     float64 `json:"p95_s"`
		Longest float64 `json:"longest_s"`
	} `json:"wait"`
	Timeline []moment `json:"timeline"`
}

type moment struct {
	At         time.Time `json:"at"`
	Entries    int64     `json:"entries"`
	Admissions int64     `json:"admissions"`
	Releases   int64     `json:"releases"`
	Waiting    int64     `json:"waiting"`
	Sessions   int64     `json:"sessions"`
}

// analytics tells what happened in a period that ends now.
func (a *AdminAPI) analytics(c *call, o Offered) (any, error) {
	query, err := c.query()
	if err != nil {
		return nil, err
	}
	period := query.get("period")
	if period == "" {
		period = "24h"
	}
	span, ok := periods[period]
	if !ok {
		return nil, wrong("period", sayOneOf, "1h, 24h, 7d, 30d")
	}
	if a.Record == nil {
		return nil, refused(DatabaseUnavailable, sayNoDatabase)
	}
	to := time.Now().UTC()
	answer, err := a.analyse(c, o, to.Add(-span), to)
	if err != nil {
		return nil, err
	}
	answer.Period = period
	return answer, nil
}

// analyse reads what happened in a span from the record.
func (a *AdminAPI) analyse(c *call, o Offered, from, to time.Time) (analytics, error) {
	told, err := a.Record.Analytics(c.Context(), admission.LineID{Tenant: o.TenantID, Activity: o.ID}, from, to)
	if err != nil {
		return analytics{}, failed(DatabaseUnavailable, err)
	}
	answer := analytics{
		ActivityID: o.ID, From: told.From.UTC(), To: told.To.UTC(),
		Entries: told.Entries, UniqueVisitors: told.Visitors, Admissions: told.Admissions,
		Releases: told.Releases, NoShows: told.NoShows, OutOfOrder: told.OutOfOrder, Left: told.Left, Converted: told.Converted,
		Timeline: make([]moment, len(told.Timeline)),
	}
	if told.Admissions > 0 {
		answer.ConversionRate = float64(told.Converted) / float64(told.Admissions)
	}
	answer.Wait.Average, answer.Wait.Median = told.WaitAverage.Seconds(), told.WaitMedian.Seconds()
	answer.Wait.P95, answer.Wait.Longest = told.WaitP95.Seconds(), told.WaitLongest.Seconds()
	for i, m := range told.Timeline {
		answer.Timeline[i] = moment{m.At.UTC(), m.Entries, m.Admissions, m.Releases, m.Waiting, m.Sessions}
	}
	return answer, nil
}

type change struct {
	At         time.Time       `json:"at"`
	Actor      string          `json:"actor"`
	Role       string          `json:"role"`
	TenantID   string          `json:"tenant_id"`
	Action     string          `json:"action"`
	ActivityID int64           `json:"activity_id"` // 0: none
	Before     json.RawMessage `json:"before"`
	After      json.RawMessage `json:"after"`
	RequestID  string          `json:"request_id"`
	Gateway    string          `json:"gateway"`
}

type changeList struct {
	Changes    []change   `json:"changes"`
	Pagination pagination `json:"pagination"`
}

// audit answers with what operators changed, latest first.
func (a *AdminAPI) audit(c *call) (any, error) {
	query, err := c.query()
	if err != nil {
		return nil, err
	}
	asked, err := query.page()
	if err != nil {
		return nil, err
	}
	filter := admission.ChangeFilter{Tenant: query.get("tenant_id"), Actor: query.get("actor"), Action: query.get("action")}
	if filter.Activity, err = query.number("activity_id", 0, largestActivity); err != nil {
		return nil, err
	}
	if filter.From, err = query.time("from"); err != nil {
		return nil, err
	}
	if filter.To, err = query.time("to"); err != nil {
		return nil, err
	}
	for _, text := range []struct{ field, is string }{{"tenant_id", filter.Tenant}, {"actor", filter.Actor}, {"action", filter.Action}} {
		if err := line(text.field, text.is, 0, 256); err != nil { // a database takes no NUL
			return nil, err
		}
	}
	if own := c.bearer.TenantID; own != "" {
		if filter.Tenant != "" && filter.Tenant != own {
			return nil, refused(Forbidden, sayOtherTenant).with("field", "tenant_id")
		}
		filter.Tenant = own
	}
	if a.Record == nil {
		return nil, refused(DatabaseUnavailable, sayNoDatabase)
	}
	told, total, err := a.Record.Changes(c.Context(), filter, int(asked.Page), int(asked.Limit))
	if err != nil {
		return nil, failed(DatabaseUnavailable, err)
	}
	return changeList{changesOf(told), asked.of(total)}, nil
}

func changesOf(told []admission.Change) []change {
	all := make([]change, len(told))
	for i, t := range told {
		all[i] = change{t.At.UTC(), t.Actor, t.Role, t.Tenant, t.Action, t.Activity, t.Before, t.After, t.RequestID, t.Gateway}
	}
	return all
}
