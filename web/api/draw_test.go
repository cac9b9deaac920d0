package api_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/web/api"
)

func TestDraw_IsToldWithItsCommitmentAndWaitsForTheValue(t *testing.T) {
	t.Parallel()
	a := openAdmin(t)
	draw, enter := activities+"/123/draw", activities+"/123/draw/beacon"
	if got := a.ask("GET", draw, ""); got.status != http.StatusOK || got.at("data.draw") != nil {
		t.Fatalf("without a draw: %d %s", got.status, got.text)
	}
	if got := a.ask("POST", enter, `{"value":"1"}`); got.status != http.StatusConflict || got.code() != "CONFLICT" {
		t.Errorf("a value without a draw: %d %s", got.status, got.text)
	}
	limits := demoLimits()
	limits.Draw, limits.Prequeue, limits.StartAt = true, time.Hour, time.Now().Add(time.Hour)
	room := a.activities.room(t, 123)
	room.Configure(admission.Settings{Limits: limits, Beacon: "the lottery", Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute}})

	got := a.until("committed", func(got answer) bool { return got.at("data.draw") != nil }, "GET", draw)
	commitment := got.text1("data.draw.commitment")
	if got.at("data.draw.seed") != nil || got.at("data.draw.n") != nil || got.at("data.draw.beacon.source") != "the lottery" || got.at("data.draw.beacon.value") != nil {
		t.Errorf("before the start: %s", got.text)
	}
	if got := a.ask("POST", enter, `{"value":"1"}`); got.status != http.StatusConflict {
		t.Errorf("a value before the start: %d %s", got.status, got.text)
	}
	for _, wrong := range []string{`{}`, `{"value":""}`, `{"value":5}`, `{"value":"a\nb"}`, `{"value":"1","n":2}`, `{"value":"` + strings.Repeat("x", 257) + `"}`} {
		if got := a.ask("POST", enter, wrong); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, got.status, got.text)
		}
	}
	a.ask("PUT", activities+"/123/overrides", `{"start_at":"2026-01-01T00:00:00Z"}`)
	a.until("closed", func(got answer) bool { return got.number("data.draw.n") == 64 }, "GET", draw)
	if got := a.as(pass(t, api.Viewer, "")).ask("POST", enter, `{"value":"4 8 15"}`); got.status != http.StatusForbidden {
		t.Errorf("a viewer's value: %d %s", got.status, got.text)
	}
	for range 2 {
		if got := a.as(pass(t, api.Operator, "")).ask("POST", enter, `{"value":"4 8 15"}`); got.status != http.StatusOK || got.at("data.value") != "4 8 15" {
			t.Fatalf("the value: %d %s", got.status, got.text)
		}
	}
	if c := a.record.last(t); c.Action != "activity.draw" || !strings.Contains(string(c.After), "4 8 15") {
		t.Errorf("recorded %+v", c)
	}
	if got := a.ask("POST", enter, `{"value":"16"}`); got.status != http.StatusConflict {
		t.Errorf("another value: %d %s", got.status, got.text)
	}
	got = a.until("drawn", func(got answer) bool { return got.at("data.draw.seed") != nil }, "GET", draw)
	seed, err := admission.ParseSeed(got.text1("data.draw.seed"))
	if err != nil || seed.Commitment() != commitment || got.at("data.draw.beacon.value") != "4 8 15" {
		t.Errorf("after the draw: %s, %v", got.text, err)
	}
}
