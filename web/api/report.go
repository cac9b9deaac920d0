package api

import (
	"context"
	"encoding/json"
	"sync"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// pulse measures how fast lines move: it looks at each every few seconds and
// remembers the last minute.
type pulse struct {
	mu    sync.Mutex // protects lines
	lines map[int64][]beat
}

// beat is how a line stood at an instant of its own.
type beat struct {
	at             admission.Instant
	epoch          int64
	born           admission.Instant
	issued, turned int64
}

const (
	beatEvery = 5 * time.Second
	beatsKept = int(time.Minute/beatEvery) + 1
)

func beatOf(h admission.Head) beat { return beat{h.Now, h.Epoch, h.Born, h.Issued, h.Turned} }

func (p *pulse) run(ctx context.Context, all func() []Offered) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		p.look(all())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *pulse) look(all []Offered) {
	p.mu.Lock()
	defer p.mu.Unlock()
	next := make(map[int64][]beat, len(all))
	for _, o := range all {
		now := beatOf(o.Room.Figures().Head)
		kept := p.lines[o.ID]
		// Counts of another epoch, or of a line that lost its data, say nothing
		// of this one: its numbers leap.
		if n := len(kept); n > 0 && (kept[n-1].epoch != now.epoch || kept[n-1].born != now.born) {
			kept = nil
		}
		if n := len(kept); n >= beatsKept {
			kept = kept[n-beatsKept+1:]
		}
		next[o.ID] = append(kept[:len(kept):len(kept)], now)
	}
	p.lines = next
}

// rates are how many joined and how many had their turn, per second, over the
// last minute, or as much of it as is known.
func (p *pulse) rates(id int64, h admission.Head) (enter, release float64) {
	p.mu.Lock()
	kept := p.lines[id]
	p.mu.Unlock()
	now := beatOf(h)
	for _, then := range kept {
		span := now.at.Sub(then.at)
		if then.epoch != now.epoch || then.born != now.born || span < time.Second || span > time.Minute+beatEvery {
			continue
		}
		return perSecond(now.issued-then.issued, span), perSecond(now.turned-then.turned, span)
	}
	return 0, 0
}

// perSecond is a rate, to the thousandth.
func perSecond(n int64, span time.Duration) float64 {
	return float64(int64(max(0, float64(n)/span.Seconds())*1000+0.5)) / 1000
}

type lineStatus struct {
	Activity activity `json:"activity"`
	Queue    struct {
		QueueSeq    int64 `json:"queue_seq"`
		ReleaseSeq  int64 `json:"release_seq"`
		QueueLength int64 `json:"queue_length"`
		ActiveUsers int64 `json:"active_users"`
	} `json:"queue_metrics"`
	Realtime struct {
		EnterTotal  int64      `json:"enter_total"`
		EnterRate   float64    `json:"enter_rate"`
		ReleaseRate float64    `json:"release_rate"`
		LastUpdated *time.Time `json:"last_updated"`
	} `json:"realtime_stats"`
	Line struct {
		Mode        admission.Mode `json:"mode"`
		Paused      bool           `json:"paused"`
		Capacity    int64          `json:"capacity"`      // 0: no limit
		RatePerHour int64          `json:"rate_per_hour"` // 0: no limit
		Burst       int64          `json:"burst"`
		Absence     int64          `json:"absence_ms"`
		HoldPlace   int64          `json:"hold_place_ms"`
		Absent      int64          `json:"absent"`
		Turns       int64          `json:"turns"`
		Left        *int64         `json:"left"`  // of the stock; null: not counted
		Stale       bool           `json:"stale"` // the store has not answered lately
	} `json:"line"`
}

// stands tells how the line of an activity stands.
func (a *AdminAPI) stands(_ *call, o Offered) (any, error) {
	f := o.Room.Figures()
	answer := lineStatus{Activity: activityOf(o, f)}
	answer.Queue.QueueSeq, answer.Queue.ReleaseSeq = f.Issued, f.Released
	answer.Queue.QueueLength, answer.Queue.ActiveUsers = f.Waiting+f.Turns+f.Awaited, f.Sessions
	answer.Realtime.EnterTotal = f.Issued
	answer.Realtime.EnterRate, answer.Realtime.ReleaseRate = a.pulse.rates(o.ID, f.Head)
	answer.Realtime.LastUpdated = instant(f.Now.Time())
	l := &answer.Line
	l.Mode, l.Paused, l.Capacity, l.RatePerHour = f.Limits.Mode, f.Paused(), f.Limits.Capacity, f.Limits.RatePerHour
	l.Burst, l.Absence, l.HoldPlace = f.Limits.Burst, f.Limits.Absence.Milliseconds(), f.Limits.HoldPlace.Milliseconds()
	l.Absent, l.Turns, l.Stale = f.Absent, f.Turns, f.Stale
	if l.Left = f.Overrides.Left; l.Left == nil {
		l.Left = o.InitialStock
	}
	return answer, nil
}

var periods = map[string]time.Duration{
	"1h": time.Hour, "24h": 24 * time.Hour, "7d": 7 * 24 * time.Hour, "30d": 30 * 24 * time.Hour,
}

type analytics struct {
	ActivityID     int64     `json:"activity_id"`
	Period         string    `json:"period"`
	From           time.Time `json:"from"`
	To             time.Time `json:"to"`
	Entries        int64     `json:"entries"`
	UniqueVisitors int64     `json:"unique_visitors"`
	Admissions     int64     `json:"admissions"`
	Releases       int64     `json:"releases"`
	NoShows        int64     `json:"no_shows"`
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
	told, err := a.Record.Analytics(c.Context(), admission.LineID{Tenant: o.TenantID, Activity: o.ID}, to.Add(-span), to)
	if err != nil {
		return nil, failed(DatabaseUnavailable, err)
	}
	answer := analytics{
		ActivityID: o.ID, Period: period, From: told.From.UTC(), To: told.To.UTC(),
		Entries: told.Entries, UniqueVisitors: told.Visitors, Admissions: told.Admissions,
		Releases: told.Releases, NoShows: told.NoShows, Left: told.Left, Converted: told.Converted,
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
	answer := changeList{Changes: make([]change, len(told)), Pagination: asked.of(total)}
	for i, t := range told {
		answer.Changes[i] = change{t.At.UTC(), t.Actor, t.Role, t.Tenant, t.Action, t.Activity, t.Before, t.After, t.RequestID, t.Gateway}
	}
	return answer, nil
}
