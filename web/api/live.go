package api

import (
	"time"

	"github.com/ropeline/ropeline/admission"
)

// lineStatus is how a line stands.
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
		StartAt     *time.Time     `json:"start_at"`
		EndAt       *time.Time     `json:"end_at"`
		Message     string         `json:"message"`
		Waiting     int64          `json:"waiting"`
		Absent      int64          `json:"absent"`
		Turns       int64          `json:"turns"`
		Released    int64          `json:"released"` // turns given in all
		Admitted    int64          `json:"admitted"` // in all
		Left        *int64         `json:"left"`     // of the stock; null: not counted
		Wait        wait           `json:"wait"`     // of who would join now
		Stale       bool           `json:"stale"`    // the store has not answered lately
	} `json:"line"`
}

// status tells how the line of an activity stands.
func (a *AdminAPI) status(o Offered, f admission.Figures) lineStatus {
	answer := lineStatus{Activity: activityOf(o, f)}
	answer.Queue.QueueSeq, answer.Queue.ReleaseSeq = f.Issued, f.Released
	answer.Queue.QueueLength, answer.Queue.ActiveUsers = f.Waiting+f.Turns+f.Awaited, f.Sessions
	answer.Realtime.EnterTotal = f.Issued
	answer.Realtime.EnterRate, answer.Realtime.ReleaseRate = a.pulse.rates(o.ID, f.Head)
	answer.Realtime.LastUpdated = instant(f.Now.Time())
	l := &answer.Line
	l.Mode, l.Paused, l.Capacity, l.RatePerHour = f.Limits.Mode, f.Paused(), f.Limits.Capacity, f.Limits.RatePerHour
	l.Burst, l.Absence, l.HoldPlace = f.Limits.Burst, f.Limits.Absence.Milliseconds(), f.Limits.HoldPlace.Milliseconds()
	l.StartAt, l.EndAt, l.Message = instant(f.Limits.StartAt), instant(f.Limits.EndAt), f.Message
	l.Waiting, l.Absent, l.Turns, l.Released, l.Admitted = f.Waiting, f.Absent, f.Turns, f.Turned, f.Admitted
	l.Wait, l.Stale = waitOf(f.Newcomer), f.Stale
	if l.Left = f.Overrides.Left; l.Left == nil {
		l.Left = o.InitialStock
	}
	return answer
}

// stands answers with how the line of an activity stands.
func (a *AdminAPI) stands(_ *call, o Offered) (any, error) { return a.status(o, o.Room.Figures()), nil }

// glimpse is a line among all: how it stands, and how many waited lately.
type glimpse struct {
	lineStatus
	Trail []int64 `json:"trail"` // every few seconds, oldest first
}

// trailStep is how many beats apart the points of a glimpse's trail are.
const trailStep = 5

// glance answers with how all lines stand that the bearer may know of.
func (a *AdminAPI) glance(c *call) (any, error) {
	answer := struct {
		Lines []glimpse `json:"lines"`
	}{[]glimpse{}}
	for _, o := range a.Activities.All() {
		if !c.sees(o.TenantID) {
			continue
		}
		beats := a.pulse.since(o.ID, 0)
		trail := make([]int64, 0, len(beats)/trailStep+1)
		for i := (len(beats) + trailStep - 1) % trailStep; i < len(beats); i += trailStep {
			trail = append(trail, beats[i].waiting+beats[i].turns)
		}
		answer.Lines = append(answer.Lines, glimpse{a.status(o, o.Room.Figures()), trail})
	}
	return answer, nil
}

// second is how a line stood at an instant. Counts are since the line began, or
// was reset; those of the upstream since the second before.
type second struct {
	At       int64   `json:"at"` // microseconds since the Unix epoch
	Waiting  int64   `json:"waiting"`
	Turns    int64   `json:"turns"`
	Sessions int64   `json:"sessions"`
	Joined   int64   `json:"joined"`
	Released int64   `json:"released"`
	Admitted int64   `json:"admitted"`
	Wait     wait    `json:"wait"`
	Requests uint64  `json:"requests"`
	Failures uint64  `json:"failures"`
	P95      float64 `json:"p95_ms"`
}

// upstreamStatus is how an upstream does, as this gateway sees it.
type upstreamStatus struct {
	Name     string  `json:"name"`
	Servers  int     `json:"servers"`
	Up       int     `json:"up"`
	Open     bool    `json:"breaker_open"`
	Requests uint64  `json:"requests"` // in the last second
	Failures uint64  `json:"failures"`
	P95      float64 `json:"p95_ms"`
}

// live answers with how a line stands, what was decided for it, and how it came
// there: a beat for each second, those after the one that the caller has.
func (a *AdminAPI) live(c *call, o Offered) (any, error) {
	query, err := c.query()
	if err != nil {
		return nil, err
	}
	after, err := query.number("after", 0, 1<<62)
	if err != nil {
		return nil, err
	}
	f := o.Room.Figures()
	answer := struct {
		lineStatus
		Overrides overrides        `json:"overrides"`
		Upstreams []upstreamStatus `json:"upstreams"`
		Seconds   []second         `json:"seconds"`
	}{a.status(o, f), overridesOf(f.Overrides), []upstreamStatus{}, []second{}}
	for _, u := range a.Upstreams() {
		for _, name := range o.Upstreams {
			if u.Name == name {
				did := a.pulse.shop(name)
				answer.Upstreams = append(answer.Upstreams, upstreamStatus{name, u.Servers, u.Up, u.Open, did.requests, did.failures, milliseconds(did.p95)})
			}
		}
	}
	for _, b := range a.pulse.since(o.ID, admission.Instant(after)) {
		answer.Seconds = append(answer.Seconds, second{
			int64(b.at), b.waiting, b.turns, b.sessions, b.issued, b.turned, b.admitted, waitOf(b.wait),
			b.shop.requests, b.shop.failures, milliseconds(b.shop.p95),
		})
	}
	return answer, nil
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
