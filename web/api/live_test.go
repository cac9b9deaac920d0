package api_test

import (
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/web/api"
)

// run follows the lines until the test ends.
func (a *admin) run(t *testing.T) {
	t.Helper()
	done := make(chan error, 1)
	ctx := t.Context()
	go func() { done <- a.Run(ctx) }()
	t.Cleanup(func() { <-done })
}

// come has visitors join a line.
func come(t *testing.T, room *admission.Room, n int) (tokens []string) {
	t.Helper()
	for range n {
		v := room.Arrive(t.Context(), admission.Visit{})
		if v.Pass {
			tokens = append(tokens, v.Admission.Token)
		} else {
			tokens = append(tokens, v.Queue.Token)
		}
	}
	return tokens
}

func TestLive_TellsTheLineAndEachSecondThatTheCallerHasNot(t *testing.T) {
	var looks atomic.Uint64
	a := openAdmin(t, func(o *api.AdminOptions) {
		o.Upstreams = func() []api.Upstream {
			answered := 10 * looks.Add(1)
			return []api.Upstream{{Name: "shop", Servers: 2, Up: 1, Requests: answered, Failures: answered / 10,
				Bounds: []time.Duration{10 * time.Millisecond, 100 * time.Millisecond}, Within: []uint64{0, answered}}}
		}
	})
	come(t, a.activities.room(t, 123), 4)
	a.run(t)
	live := a.until("two seconds on", func(g answer) bool {
		all, _ := g.at("data.seconds").([]any)
		return len(all) >= 2 && g.number("data.line.waiting") == 3
	}, "GET", activities+"/123/live")
	for path, want := range map[string]float64{
		"data.queue_metrics.queue_length": 3, "data.queue_metrics.active_users": 1, "data.queue_metrics.queue_seq": 4,
		"data.line.admitted": 1, "data.line.released": 1, "data.line.capacity": 1,
	} {
		if got := live.number(path); got != want {
			t.Errorf("%s is %v, want %v", path, got, want)
		}
	}
	seconds := live.at("data.seconds").([]any)
	last := seconds[len(seconds)-1].(object)
	if last["joined"] != 4. || last["waiting"] != 3. || last["sessions"] != 1. {
		t.Errorf("the last second is %v", last)
	}
	for i, s := range seconds[1:] {
		if s.(object)["at"].(float64) <= seconds[i].(object)["at"].(float64) {
			t.Errorf("second %d is not after the one before", i+1)
		}
	}
	after := a.ask("GET", activities+"/123/live?after="+strconv.FormatInt(int64(last["at"].(float64)), 10), "")
	for _, s := range after.at("data.seconds").([]any) {
		if s.(object)["at"].(float64) <= last["at"].(float64) {
			t.Errorf("told again: %v", s)
		}
	}
	shops := live.at("data.upstreams").([]any)
	if shop := shops[0].(object); len(shops) != 1 || shop["servers"] != 2. || shop["up"] != 1. || shop["failures"] == 0. || shop["p95_ms"].(float64) <= 10 || shop["p95_ms"].(float64) > 100 {
		t.Errorf("the shop is %v", shops)
	}
	if got := a.ask("GET", activities+"/123/live?after=now", ""); got.status != 400 || got.field() != "after" {
		t.Errorf("got %d %s", got.status, got.text)
	}
}

func TestLive_AGlanceHasTheBearersLinesAlone(t *testing.T) {
	a := openAdmin(t)
	a.run(t)
	all := a.ask("GET", "/api/v1/admin/live", "")
	if lines := all.at("data.lines").([]any); len(lines) != 2 {
		t.Errorf("%d lines, want 2: %s", len(lines), all.text)
	}
	own := a.as(pass(t, api.Viewer, "demo")).ask("GET", "/api/v1/admin/live", "")
	if lines := own.at("data.lines").([]any); len(lines) != 1 || strings.Contains(own.text, "other") || strings.Contains(own.text, "Winter") {
		t.Errorf("a tenant's own is %s", own.text)
	}
}

func TestPreview_TellsAndDecidesNothing(t *testing.T) {
	a := openAdmin(t)
	room := a.activities.room(t, 123)
	come(t, room, 4)
	a.until("three wait", func(g answer) bool { return g.number("data.line.waiting") == 3 }, "GET", activities+"/123/status")
	before := a.record.len()
	got := a.ask("POST", activities+"/123/overrides/preview", `{"mode":"hold","rate_per_hour":60}`)
	if got.number("data.waiting") != 3 || got.number("data.sessions") != 1 || got.text1("data.now.mode") != "auto" ||
		got.text1("data.then.mode") != "hold" || got.number("data.then.rate_per_hour") != 60 || got.number("data.then.served") != 0 {
		t.Errorf("got %s", got.text)
	}
	if o := room.Figures().Overrides; o.Mode != "" || o.RatePerHour != nil || a.record.len() != before {
		t.Errorf("the preview decided %+v", o)
	}
	// One visitor in an hour: the last of three goes in after about three.
	slow := a.ask("POST", activities+"/123/overrides/preview", `{"capacity":0,"rate_per_hour":1}`)
	if low := slow.number("data.then.last.low_s"); low < 2.5*3600 || low > 3*3600 {
		t.Errorf("at one an hour the last of three waits %v s: %s", low, slow.text)
	}
}

func TestFind_ByNumberAndByToken(t *testing.T) {
	a := openAdmin(t)
	tokens := come(t, a.activities.room(t, 123), 3)
	a.until("two wait", func(g answer) bool { return g.number("data.line.waiting") == 2 }, "GET", activities+"/123/status")
	find := func(body string) answer { return a.ask("POST", activities+"/123/find", body) }
	if got := find(`{"number":1}`); got.text1("data.at") != "inside" || got.number("data.session_s") <= 0 || got.at("data.token") != nil {
		t.Errorf("number 1: %s", got.text)
	}
	if got := find(`{"token":"` + tokens[2] + `"}`); got.text1("data.at") != "waiting" || got.number("data.position") != 2 || got.number("data.number") != 3 || got.at("data.token.expired") != false {
		t.Errorf("the third: %s", got.text)
	}
	if got := find(`{"number":9}`); got.text1("data.at") != "nowhere" {
		t.Errorf("number 9: %s", got.text)
	}
	// A token of another line says nothing here.
	if got := a.ask("POST", activities+"/7/find", `{"token":"`+tokens[2]+`"}`); got.status != 400 || got.field() != "token" {
		t.Errorf("at another line: %d %s", got.status, got.text)
	}
}

func TestWhoami_TellsWhatTheTokenSays(t *testing.T) {
	a := openAdmin(t)
	got := a.as(pass(t, api.Operator, "demo")).ask("GET", "/api/v1/admin/whoami", "")
	until, err := time.Parse(time.RFC3339, got.text1("data.expires_at"))
	if left := time.Until(until); got.text1("data.subject") != "operator-1" || got.text1("data.role") != "operator" ||
		got.text1("data.tenant_id") != "demo" || got.text1("data.gateway") != "g1" || err != nil || left < 50*time.Minute || left > time.Hour {
		t.Errorf("got %s", got.text)
	}
}
