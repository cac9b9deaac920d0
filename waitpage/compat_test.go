package waitpage_test

import (
	"encoding/json"
	"net/http/httptest"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/waitpage"
)

// held asks a page with a compat for JSON.
func held(t *testing.T, compat waitpage.Compat, s admission.Status, lines ...string) (code int, document map[string]json.RawMessage) {
	t.Helper()
	page := waitpage.New(prefix, func(int64) (waitpage.Activity, bool) { return waitpage.Activity{Compat: compat}, true })
	r := httptest.NewRequest("GET", "/drop", nil)
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	res := hold(page, r, s)
	body := read(t, res)
	if err := json.Unmarshal([]byte(body), &document); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	if res.Header.Get("Retry-After") == "" || res.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("the answer has Retry-After %q, Cache-Control %q", res.Header.Get("Retry-After"), res.Header.Get("Cache-Control"))
	}
	return res.StatusCode, document
}

const asks = "Accept: application/json"

// The names are those of its documentation, to the letter.
func TestCompat_HasTheNamesThatAppsKnowBesideOurs(t *testing.T) {
	s := waiting()
	code, document := held(t, waitpage.CompatCloudflare, s, asks)
	if code != 200 || string(document["state"]) != `"waiting"` || string(document["code"]) != `"WAITING"` {
		t.Errorf("got %d, state %s, code %s; want our own names, too, with the page's status", code, document["state"], document["code"])
	}
	var got map[string]any
	if err := json.Unmarshal(document["cfWaitingRoom"], &got); err != nil {
		t.Fatal(err)
	}
	want := map[string]any{
		"inWaitingRoom": true, "waitTimeKnown": true, "waitTime": 6.0, "waitTime25Percentile": 0.0, "waitTime50Percentile": 0.0,
		"waitTime75Percentile": 0.0, "waitTimeFormatted": "6 minutes", "queueIsFull": false, "queueAll": false,
		"lastUpdated": "2026-11-22T10:00:00.000Z", "refreshIntervalSeconds": 8.0, "queueingMethod": "fifo", "isFIFOQueue": true,
		"isRandomQueue": false, "isPassthroughQueue": false, "isRejectQueue": false, "isEventActive": false, "isEventPrequeueing": false,
		"timeUntilEventStart": 0.0, "timeUntilEventStartFormatted": "unavailable", "timeUntilEventEnd": 0.0,
		"timeUntilEventEndFormatted": "unavailable", "shuffleAtEventStart": false, "turnstile": "", "infiniteQueue": false,
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

func TestCompat_TellsEachState(t *testing.T) {
	at := waiting().UpdatedAt
	for name, c := range map[string]struct {
		change func(*admission.Status)
		want   string // what stands in it
		code   int
	}{
		"before": {func(s *admission.Status) {
			s.State, s.Wait, s.StartsAt = admission.StateBefore, admission.Wait{}, at.Add(61*time.Second)
		},
			`"isEventPrequeueing":true,"timeUntilEventStart":2,"timeUntilEventStartFormatted":"2 minutes"`, 200},
		"before a draw": {func(s *admission.Status) {
			s.State, s.Draw = admission.StateBefore, admission.Proof{Commitment: "c", Indexed: true}
		}, `"shuffleAtEventStart":true`, 200},
		"a draw that waits for its value": {func(s *admission.Status) {
			s.State, s.Draw = admission.StateDrawing, admission.Proof{Commitment: "c", N: 64, Source: "the lottery"}
		}, `"shuffleAtEventStart":true`, 200},
		"drawn":       {func(s *admission.Status) { s.Draw = admission.Proof{Commitment: "c", N: 64, Seed: "s"} }, `"shuffleAtEventStart":false`, 200},
		"ending":      {func(s *admission.Status) { s.EndsAt = at.Add(time.Minute) }, `"timeUntilEventEnd":1,"timeUntilEventEndFormatted":"1 minute"`, 200},
		"not known":   {func(s *admission.Status) { s.Wait = admission.Wait{} }, `"waitTimeKnown":false,"waitTime":0`, 200},
		"full":        {func(s *admission.Status) { s.State = admission.StateFull }, `"queueIsFull":true`, 503},
		"paused":      {func(s *admission.Status) { s.Paused = true }, `"queueAll":true`, 200},
		"unavailable": {func(s *admission.Status) { s.Unavailable = true }, `"queueAll":true`, 503},
		"ended":       {func(s *admission.Status) { s.State, s.PollAfter = admission.StateEnded, 0 }, `"refreshIntervalSeconds":0,"queueingMethod":"reject"`, 410},
	} {
		s := waiting()
		c.change(&s)
		if code, document := held(t, waitpage.CompatCloudflare, s, asks); code != c.code || !strings.Contains(string(document["cfWaitingRoom"]), c.want) {
			t.Errorf("%s: got %d %s, want %d and %s", name, code, document["cfWaitingRoom"], c.code, c.want)
		}
	}
}

func TestCompat_OnlyWhereItIsAskedFor(t *testing.T) {
	for _, c := range []struct {
		compat waitpage.Compat
		lines  []string
	}{
		{waitpage.CompatNone, []string{asks}},
		{"", []string{asks}},
		{waitpage.CompatCloudflare, nil},
		{waitpage.CompatCloudflare, []string{"Accept: application/json, text/plain, */*"}},
		{waitpage.CompatCloudflare, []string{"Accept: */*"}},
	} {
		code, document := held(t, c.compat, waiting(), c.lines...)
		if code != 503 || document["cfWaitingRoom"] != nil || string(document["code"]) != `"WAITING"` {
			t.Errorf("%s %q: got %d %v, want 503 and our own names", c.compat, slices.Concat(c.lines), code, document)
		}
	}
}
