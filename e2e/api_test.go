package e2e

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"testing"
)

// caller is a program that asks one of a gateway's APIs. It keeps no cookies.
type caller struct {
	base  string
	token string      // sent as a bearer; empty: none
	extra http.Header // sent with each request; nil: nothing
}

// said is an answer in the API's envelope.
type said struct {
	Status  int             `json:"-"`
	Success bool            `json:"success"`
	Data    json.RawMessage `json:"data"`
	Error   string          `json:"error"`
	Message string          `json:"message"`
	Details json.RawMessage `json:"details"`
}

// ask sends a request; a body is JSON, empty for none.
func (c caller) ask(ctx context.Context, method, path, body string) (said, error) {
	r, err := http.NewRequestWithContext(ctx, method, c.base+path, strings.NewReader(body))
	if err != nil {
		return said{}, err
	}
	for name, values := range c.extra {
		r.Header[name] = values
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return said{}, err
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		return said{}, err
	}
	s := said{Status: answer.StatusCode}
	if err := json.Unmarshal(text, &s); err != nil {
		return s, fmt.Errorf("%s %s got %d %.300q: %w", method, path, answer.StatusCode, text, err)
	}
	return s, nil
}

// read reads the data of an answer that succeeded.
func (s said) read(data any) error {
	if !s.Success {
		return fmt.Errorf("%d %s: %s", s.Status, s.Error, s.Message)
	}
	return json.Unmarshal(s.Data, data)
}

// must is ask for what has to succeed: it reads the data into data, unless that
// is nil.
func (c caller) must(t *testing.T, data any, method, path, body string) {
	t.Helper()
	if data == nil {
		data = new(json.RawMessage)
	}
	s, err := c.ask(t.Context(), method, path, body)
	if err == nil {
		err = s.read(data)
	}
	if err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
}

// place is what the queue API tells of a place in line.
type place struct {
	Seq             int64  `json:"seq"`
	SessionID       string `json:"session_id"`
	Position        int64  `json:"position"`
	PollingInterval int64  `json:"polling_interval"`
	Status          string `json:"status"`
	Reason          string `json:"reason"`
	Paused          bool   `json:"paused"`
	AdmissionToken  string `json:"admission_token"`
}

func enterBody(activity int64, user string) string {
	return fmt.Sprintf(`{"activity_id":%d,"user_hash":%q,"fingerprint":"fp"}`, activity, user)
}

func statusPath(activity int64, p place) string {
	return fmt.Sprintf("/api/v1/queue/status?activity_id=%d&session_id=%s&seq=%d", activity, p.SessionID, p.Seq)
}

// visit asks the shop as an app does: with the admission token as a bearer.
func (c caller) visit(t *testing.T, path, token string) (status int, body string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+token)
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var text bytes.Buffer
	if _, err := text.ReadFrom(answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, text.String()
}

// operators is the admin section of a file, and the keys of tests: no one else
// knows them.
const (
	adminSecret = "an admin secret that only tests know"
	operators   = `admin: {jwt: {secret: "` + adminSecret + `"}}`
)

// operatorToken makes a token by the command that operators use.
func operatorToken(t *testing.T, g *gateway, role string, more ...string) string {
	t.Helper()
	args := append([]string{"token", "--config", g.config, "--role", role, "--subject", role + "@shop"}, more...)
	status, out := ropeline(t, g.dir, args...)
	if status != 0 {
		t.Fatalf("ropeline token: status %d, %s", status, out)
	}
	return strings.TrimSpace(out)
}

// TestAPI_AnAppStandsInLineWithEveryoneElse takes places by API and by browser
// in one line, and goes in with the admission token that the API gave.
func TestAPI_AnAppStandsInLineWithEveryoneElse(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ name, api, at string }{
		{"at the root, as the paths stand in the contract", `api: {enabled: true, prefix: "", enter_limit: ""}`, ""},
		{"below the gateway's own prefix", `api: {enabled: true, enter_limit: ""}`, "/_ropeline"},
	} {
		t.Run(c.name, func(t *testing.T) {
			t.Parallel()
			shop := openShop(t)
			g := start(t, settings(shop, "capacity: 1, session: {idle: 1m, max: 5m}", c.api))
			app, other := caller{base: g.Public + c.at}, caller{base: g.Public + c.at}
			var first, third place
			app.must(t, &first, "POST", "/api/v1/queue/enter", enterBody(7, "u1"))
			second := newVisitor(t, g)
			if s := second.Join(t); s.Number != 2 {
				t.Fatalf("the browser got %+v, want number 2", s)
			}
			other.must(t, &third, "POST", "/api/v1/queue/enter", enterBody(7, "u3"))
			if first.Seq != 1 || third.Seq != 3 {
				t.Fatalf("the apps got numbers %d and %d, want 1 and 3", first.Seq, third.Seq)
			}

			app.must(t, &first, "GET", statusPath(7, first), "")
			if first.Status != "ready" || first.AdmissionToken == "" {
				t.Fatalf("the first is told %+v, want to be ready", first)
			}
			gate := caller{base: g.Public}
			if code, body := gate.visit(t, "/drop", first.AdmissionToken); code != http.StatusOK || !strings.Contains(body, `<b id="number">1</b>`) {
				t.Errorf("with its admission the app got %d %.200s, want the shop", code, body)
			}
			if code, _ := gate.visit(t, "/drop", third.SessionID); code != http.StatusServiceUnavailable {
				t.Errorf("with a place only the app got %d, want 503", code)
			}
			if again, err := app.ask(t.Context(), "POST", "/api/v1/queue/enter", enterBody(7, "u1")); err != nil || again.Error != "USER_ALREADY_IN_QUEUE" {
				t.Errorf("the same user again got %+v, %v; want USER_ALREADY_IN_QUEUE", again, err)
			}
			other.must(t, &third, "GET", statusPath(7, third), "")
			if third.Status != "waiting" || third.Position != 2 {
				t.Errorf("the third is told %+v, want position 2", third)
			}

			left := caller{base: g.Public, token: first.AdmissionToken}
			r, err := http.NewRequestWithContext(t.Context(), "POST", g.Public+"/_ropeline/leave?activity=7", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Authorization", "Bearer "+left.token)
			answer, err := http.DefaultClient.Do(r)
			if err != nil || answer.StatusCode != http.StatusOK {
				t.Fatalf("leaving got %v, %v", answer, err)
			}
			answer.Body.Close()
			second.Enter(t)
			second.Leave(t)
			eventually(t, "the third is ready", func() bool {
				other.must(t, &third, "GET", statusPath(7, third), "")
				return third.Status == "ready"
			})
			if got := shop.Hits(); len(got) != 2 {
				t.Errorf("%d requests reached the shop, want the two of who was in", len(got))
			}
		})
	}
}

// TestAPI_AnOperatorActsOnTheDay pauses, resumes, resets and reads by the
// commands, on a gateway without a database.
func TestAPI_AnOperatorActsOnTheDay(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, "capacity: 1, session: {idle: 1m, max: 5m}", operators))
	first, second := newVisitor(t, g), newVisitor(t, g)
	first.Enter(t)
	second.Join(t)
	operator := operatorToken(t, g, "operator")
	act := func(token string, args ...string) (int, string) {
		t.Helper()
		return ropeline(t, g.dir, append(args, "--admin", g.Admin, "--token", token)...)
	}
	if status, said := act(operator, "pause", "7"); status != 0 {
		t.Fatalf("pause: status %d, %s", status, said)
	}
	first.Leave(t)
	eventually(t, "the line is paused", func() bool { return strings.Contains(second.Open(t, "/drop").Body, `"paused":true`) })
	if status, said := act(operator, "status"); status != 0 || !strings.Contains(said, "Spring drop") {
		t.Errorf("status: %d, %s; want the activity", status, said)
	}
	if status, said := act(operator, "resume", "7"); status != 0 {
		t.Fatalf("resume: status %d, %s", status, said)
	}
	second.Enter(t)
	if status, said := act(operator, "reset", "7"); status != 1 {
		t.Errorf("an operator resets: status %d, %s; want to be refused", status, said)
	}
	if status, said := act(operatorToken(t, g, "admin"), "reset", "7"); status != 0 {
		t.Errorf("an admin resets: status %d, %s", status, said)
	}
	if status, _ := act("not a token", "status"); status != 1 {
		t.Errorf("a wrong token: status %d, want 1", status)
	}

	admin := caller{base: g.Admin, token: operatorToken(t, g, "admin")}
	s, err := admin.ask(t.Context(), "POST", "/api/v1/admin/activities", `{"tenant_id":"acme","name":"Made","sku":"S"}`)
	if err != nil || s.Status != http.StatusServiceUnavailable || s.Error != "DATABASE_UNAVAILABLE" {
		t.Errorf("making an activity without a database got %+v, %v; want DATABASE_UNAVAILABLE", s, err)
	}
	write(t, g.config, "listen: {http: 1}\n")
	if s, err := admin.ask(t.Context(), "POST", "/api/v1/admin/reload", ""); err != nil || s.Success || !strings.Contains(string(s.Details), "ropeline.yaml:1:1: routes: is missing") {
		t.Errorf("reloading a bad file got %d %s %s, %v; want to be told what is wrong with it", s.Status, s.Error, s.Details, err)
	}
}
