package api_test

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/web/api"
)

const activities = "/api/v1/admin/activities"

func (c client) make(t testing.TB, body string) answer {
	t.Helper()
	got := c.ask("POST", activities, body)
	if got.status != http.StatusCreated {
		t.Fatalf("got %d %s, want it made", got.status, got.text)
	}
	return got
}

func (a answer) path() string {
	return activities + "/" + strconv.Itoa(int(a.number("data.id")))
}

func TestAdmin_EachRoleMayDoItsOwnAndWhatTheLowerMay(t *testing.T) {
	a := openAdmin(t)
	made := a.make(t, `{"tenant_id":"demo","name":"Made"}`).path()
	for _, c := range []struct {
		method, path, body string
		least              api.Role
	}{
		{"GET", activities, "", api.Viewer},
		{"GET", activities + "/123", "", api.Viewer},
		{"GET", activities + "/123/status", "", api.Viewer},
		{"GET", activities + "/123/live", "", api.Viewer},
		{"GET", activities + "/123/analytics", "", api.Viewer},
		{"GET", activities + "/123/report", "", api.Viewer},
		{"GET", activities + "/123/overrides", "", api.Viewer},
		{"GET", activities + "/123/draw", "", api.Viewer},
		{"GET", "/api/v1/admin/audit", "", api.Viewer},
		{"GET", "/api/v1/admin/live", "", api.Viewer},
		{"GET", "/api/v1/admin/whoami", "", api.Viewer},
		{"GET", "/api/v1/system/config", "", api.Viewer},
		{"POST", activities + "/123/pause", "", api.Operator},
		{"POST", activities + "/123/resume", "", api.Operator},
		{"POST", activities + "/123/stock", `{"left":5}`, api.Operator},
		{"PUT", activities + "/123/overrides", `{"left":null}`, api.Operator},
		{"POST", activities + "/123/passes", `{"until":"` + time.Now().Add(time.Hour).UTC().Format(time.RFC3339) + `"}`, api.Operator},
		{"POST", activities + "/123/passes/revoke", `{"id":"MOWQSRJ3NEDNRZU3J23ZX5AVJH"}`, api.Operator},
		{"POST", activities + "/123/overrides/preview", `{"mode":"hold"}`, api.Operator},
		{"POST", activities + "/123/find", `{"number":1}`, api.Viewer},
		{"POST", activities + "/123/reset", "", api.Admin},
		{"POST", activities, `{"tenant_id":"demo","name":"New"}`, api.Admin},
		{"PUT", made, `{"name":"Changed"}`, api.Admin},
		{"PUT", "/api/v1/system/config", `{"max_release_rate":500}`, api.Admin},
		{"POST", "/api/v1/admin/reload", "", api.Admin},
		{"POST", "/api/v1/admin/erase", `{"identity":"u1"}`, api.Admin},
		{"DELETE", made, "", api.Admin},
	} {
		for _, role := range []api.Role{"", "root", api.Viewer, api.Operator, api.Admin} {
			rank := map[api.Role]int{api.Viewer: 1, api.Operator: 2, api.Admin: 3}
			got := a.as(pass(t, role, "")).ask(c.method, c.path, c.body)
			switch allowed := rank[role] >= rank[c.least]; {
			case allowed && got.status >= 300:
				t.Errorf("%s %s as %q: got %d %s", c.method, c.path, role, got.status, got.text)
			case !allowed && (got.status != http.StatusForbidden || got.code() != "FORBIDDEN"):
				t.Errorf("%s %s as %q: got %d %s, want 403", c.method, c.path, role, got.status, got.text)
			}
		}
		if got := a.as("").ask(c.method, c.path, c.body); got.status != http.StatusUnauthorized || got.header.Get("WWW-Authenticate") != "Bearer" {
			t.Errorf("%s %s without a token: got %d %s, want 401", c.method, c.path, got.status, got.text)
		}
	}
	// Every route that asks for a token is in the table.
	if got := len(a.Paths()); got != 24 {
		t.Errorf("%d paths are served: is each in the table, or a test of its own?", got)
	}
}

func TestAdmin_WithoutAKeyNobodyMayAndTheAnswerNamesTheKey(t *testing.T) {
	a := openAdmin(t, func(o *api.AdminOptions) { o.Bearer = func() *api.Verifier { return nil } })
	for _, token := range []string{"", pass(t, api.Admin, "")} {
		if got := a.as(token).ask("GET", activities, ""); got.status != http.StatusForbidden || !strings.Contains(got.text1("message"), "admin.jwt.secret") {
			t.Errorf("got %d %s, want 403 that names admin.jwt.secret", got.status, got.text)
		}
	}
}

func TestAdmin_ATokenThatTheAuditCouldNotNameIsRefused(t *testing.T) {
	a := openAdmin(t)
	for _, subject := range []string{"", "a\x00b", "a\nb", strings.Repeat("a", 257)} {
		token := sign(t, jwt.SigningMethodHS256, adminSecret, nil, claims(object{"sub": subject}))
		if got := a.as(token).ask("GET", activities, ""); got.status != http.StatusUnauthorized {
			t.Errorf("%.20q: got %d %s, want 401", subject, got.status, got.text)
		}
	}
}

func TestAdmin_AnotherTenantsActivitiesAreNotThere(t *testing.T) {
	a := openAdmin(t)
	others := a.make(t, `{"tenant_id":"other","name":"Theirs"}`).path()
	before := a.record.len()
	own := a.as(pass(t, api.Admin, "demo"))
	for _, c := range []struct {
		method, path, body string
		status             int
	}{
		{"GET", activities + "/7", "", 404},
		{"GET", activities + "/7/status", "", 404},
		{"GET", activities + "/7/live", "", 404},
		{"GET", activities + "/7/analytics", "", 404},
		{"GET", activities + "/7/report", "", 404},
		{"GET", activities + "/7/overrides", "", 404},
		{"PUT", activities + "/7/overrides", `{"mode":"open"}`, 404},
		{"POST", activities + "/7/overrides/preview", `{"mode":"open"}`, 404},
		{"POST", activities + "/7/find", `{"number":1}`, 404},
		{"GET", activities + "/7/draw", "", 404},
		{"POST", activities + "/7/draw/beacon", `{"value":"1"}`, 404},
		{"POST", activities + "/7/passes", `{"until":"2030-01-01T00:00:00Z"}`, 404},
		{"POST", activities + "/7/passes/revoke", `{"id":"MOWQSRJ3NEDNRZU3J23ZX5AVJH"}`, 404},
		{"POST", activities + "/7/pause", "", 404},
		{"POST", activities + "/7/resume", "", 404},
		{"POST", activities + "/7/reset", "", 404},
		{"POST", activities + "/7/stock", `{"left":0}`, 404},
		{"PUT", others, `{"name":"Mine"}`, 404},
		{"DELETE", others, "", 404},
		{"POST", activities, `{"tenant_id":"other","name":"x"}`, 403},
		{"POST", activities, `{"id":55,"name":"x"}`, 400},
		{"GET", "/api/v1/system/config", "", 403},
		{"PUT", "/api/v1/system/config", `{"max_release_rate":1}`, 403},
		{"POST", "/api/v1/admin/reload", "", 403},
		{"GET", "/api/v1/admin/audit?tenant_id=other", "", 403},
	} {
		if got := own.ask(c.method, c.path, c.body); got.status != c.status {
			t.Errorf("%s %s: got %d %s, want %d", c.method, c.path, got.status, got.text, c.status)
		}
	}
	if n := a.record.len(); n != before {
		t.Errorf("%d changes were made", n-before)
	}
	if got := own.ask("GET", activities, ""); got.number("data.pagination.total") != 1 || strings.Contains(got.text, "other") {
		t.Errorf("the list is %s, want its own alone", got.text)
	}
	if got := own.ask("GET", activities+"?tenant_id=other", ""); got.number("data.pagination.total") != 0 {
		t.Errorf("the list of others is %s, want none", got.text)
	}
	made := own.make(t, `{"name":"Ours"}`)
	if made.at("data.tenant_id") != "demo" {
		t.Errorf("got %s, want the token's tenant", made.text)
	}
	if got := own.ask("PUT", made.path(), `{"tenant_id":"other"}`); got.status != http.StatusBadRequest || got.field() != "tenant_id" {
		t.Errorf("given away: got %d %s", got.status, got.text)
	}
	if got := own.ask("GET", "/api/v1/admin/audit", ""); got.number("data.pagination.total") != 1 || strings.Contains(got.text, "Theirs") {
		t.Errorf("the audit is %s, want its own alone", got.text)
	}
}

func TestAdmin_AnActivitysLifeIsRecordedWithWhatWasAndIs(t *testing.T) {
	a := openAdmin(t)
	start := time.Now().Add(time.Hour).UTC().Truncate(time.Second)
	made := a.make(t, fmt.Sprintf(`{"tenant_id":"demo","name":"Drop","sku":"SKU-1","initial_stock":100,"start_at":%q,"end_at":%q,
		"status":"active","config":{"release_rate":2.5,"poll_interval":3000,"max_queue_size":1000,"capacity":50,"burst":5,"session":{"idle":60,"max":600}}}`,
		start.Format(time.RFC3339), start.Add(time.Hour).Format(time.RFC3339)))
	if made.header.Get("Location") != made.path() || made.header.Get("ETag") != `"1"` || made.at("data.source") != "api" {
		t.Errorf("got %v %s", made.header, made.text)
	}
	change := a.record.last(t)
	if change.Action != "activity.create" || change.Actor != "admin-1" || change.Role != "admin" || change.Tenant != "demo" || change.Gateway != "g1" ||
		change.Before != nil || change.RequestID != made.at("request_id") || !strings.Contains(string(change.After), "SKU-1") {
		t.Errorf("recorded %+v", change)
	}
	if got := a.ask("GET", made.path(), ""); got.number("data.config.release_rate") != 2.5 || got.number("data.config.session.idle") != 60 || got.number("data.initial_stock") != 100 {
		t.Errorf("read %s", got.text)
	}
	if got := a.ask("POST", activities, `{"tenant_id":"demo","name":"Again","sku":"SKU-1"}`); got.status != http.StatusConflict || got.at("details.reason") != "taken" {
		t.Errorf("the sku again: got %d %s", got.status, got.text)
	}

	// What is left out stays, null clears, and an answer may be sent back.
	got := a.ask("PUT", made.path(), `{"config":{"release_rate":4},"initial_stock":null}`)
	if got.status != http.StatusOK || got.number("data.config.release_rate") != 4 || got.number("data.config.capacity") != 50 ||
		got.at("data.initial_stock") != nil || got.at("data.name") != "Drop" || got.header.Get("ETag") != `"2"` {
		t.Errorf("changed: %d %s", got.status, got.text)
	}
	change = a.record.last(t)
	var was, is catalog.Activity
	if json.Unmarshal(change.Before, &was) != nil || json.Unmarshal(change.After, &is) != nil || was.Config.ReleaseRate != 2.5 || is.Config.ReleaseRate != 4 {
		t.Errorf("recorded %s, then %s", change.Before, change.After)
	}
	whole, err := json.Marshal(a.ask("GET", made.path(), "").at("data"))
	if err != nil {
		t.Fatal(err)
	}
	if got := a.ask("PUT", made.path(), string(whole)); got.status != http.StatusOK {
		t.Errorf("its own answer sent back: got %d %s", got.status, got.text)
	}

	if got := a.ask("DELETE", made.path(), ""); got.status != http.StatusOK {
		t.Errorf("deleted: %d %s", got.status, got.text)
	}
	if change := a.record.last(t); change.Action != "activity.delete" || change.After != nil || change.Before == nil {
		t.Errorf("recorded %+v", change)
	}
	if got := a.ask("GET", made.path(), ""); got.status != http.StatusNotFound || got.code() != "ACTIVITY_NOT_FOUND" {
		t.Errorf("after it is gone: %d %s", got.status, got.text)
	}
}

func TestAdmin_OfTwoChangesAtOnceOneIsTold(t *testing.T) {
	a := openAdmin(t)
	path := a.make(t, `{"tenant_id":"demo","name":"v1"}`).path()
	for _, c := range []struct {
		method, path, body, match string
		status                    int
		field                     string
	}{
		{"PUT", path, `{"name":"v2","version":1}`, "", 200, ""},
		{"PUT", path, `{"name":"v3","version":1}`, "", 409, ""},
		{"PUT", path, `{"name":"v3"}`, `"1"`, 409, ""},
		{"PUT", path, `{"name":"v3"}`, `"x"`, 409, ""},
		{"PUT", path, `{"name":"v3","version":2}`, `"1"`, 400, "version"},
		{"PUT", path, `{"name":"v3","version":2}`, `"2"`, 200, ""},
		{"PUT", path, `{"name":"v4"}`, "", 200, ""}, // the last to write wins
		{"PUT", path, `{"name":"v5"}`, "*", 200, ""},
		{"DELETE", path + "?version=4", "", "", 409, ""},
		{"DELETE", path, "", `"4"`, 409, ""},
		{"DELETE", path + "?version=x", "", "", 400, "version"},
		{"DELETE", path + "?version=5", "", "", 200, ""},
	} {
		var lines []string
		if c.match != "" {
			lines = append(lines, "If-Match: "+c.match)
		}
		if got := a.ask(c.method, c.path, c.body, lines...); got.status != c.status || got.field() != c.field {
			t.Errorf("%s %s %s If-Match %s: got %d %s, want %d", c.method, c.path, c.body, c.match, got.status, got.text, c.status)
		}
	}
}

func TestAdmin_ActivitiesOfTheFileAreChangedInTheFile(t *testing.T) {
	a := openAdmin(t)
	for _, method := range []string{"PUT", "DELETE"} {
		got := a.ask(method, activities+"/123", `{"name":"x"}`)
		if got.status != http.StatusConflict || got.code() != "CONFLICT" || !strings.Contains(got.text1("message"), "made in the YAML file") {
			t.Errorf("%s: got %d %s", method, got.status, got.text)
		}
	}
}

func TestAdmin_WrongFieldsAreNamed(t *testing.T) {
	a := openAdmin(t)
	if got := a.ask("PUT", "/api/v1/system/config", `{"max_release_rate":100}`); got.status != http.StatusOK {
		t.Fatalf("got %d %s", got.status, got.text)
	}
	before := a.record.len()
	const good = `"tenant_id":"demo","name":"n"`
	for _, c := range []struct{ method, path, body, field string }{
		{"POST", activities, `{"name":"n"}`, "tenant_id"},
		{"POST", activities, `{"tenant_id":"","name":"n"}`, "tenant_id"},
		{"POST", activities, `{"tenant_id":"Demo","name":"n"}`, "tenant_id"},
		{"POST", activities, `{"tenant_id":"a:b","name":"n"}`, "tenant_id"},
		{"POST", activities, `{"tenant_id":"d'; DROP TABLE activities;--","name":"n"}`, "tenant_id"},
		{"POST", activities, `{"tenant_id":"` + strings.Repeat("a", 51) + `","name":"n"}`, "tenant_id"},
		{"POST", activities, `{"tenant_id":1,"name":"n"}`, "tenant_id"},
		{"POST", activities, `{"tenant_id":"demo"}`, "name"},
		{"POST", activities, `{"tenant_id":"demo","name":null}`, "name"},
		{"POST", activities, `{"tenant_id":"demo","name":"a\nb"}`, "name"},
		{"POST", activities, `{"tenant_id":"demo","name":"` + strings.Repeat("n", 101) + `"}`, "name"},
		{"POST", activities, `{` + good + `,"sku":"` + strings.Repeat("n", 65) + `"}`, "sku"},
		{"POST", activities, `{` + good + `,"sku":"\u0000"}`, "sku"},
		{"POST", activities, `{` + good + `,"initial_stock":-1}`, "initial_stock"},
		{"POST", activities, `{` + good + `,"initial_stock":1.5}`, "initial_stock"},
		{"POST", activities, `{` + good + `,"start_at":"tomorrow"}`, "start_at"},
		{"POST", activities, `{` + good + `,"start_at":"2026-11-22T10:00:00"}`, "start_at"},
		{"POST", activities, `{` + good + `,"start_at":1700000000}`, "start_at"},
		{"POST", activities, `{` + good + `,"start_at":"2026-11-22T10:00:00Z","end_at":"2026-11-22T10:00:00Z"}`, "end_at"},
		{"POST", activities, `{` + good + `,"status":"running"}`, "status"},
		{"POST", activities, `{` + good + `,"status":""}`, "status"},
		{"POST", activities, `{` + good + `,"config":[]}`, "config"},
		{"POST", activities, `{` + good + `,"config":null}`, "config"},
		{"POST", activities, `{` + good + `,"config":{"release_rate":-1}}`, "config.release_rate"},
		{"POST", activities, `{` + good + `,"config":{"release_rate":101}}`, "config.release_rate"},
		{"POST", activities, `{` + good + `,"config":{"release_rate":0.0001}}`, "config.release_rate"},
		{"POST", activities, `{` + good + `,"config":{"release_rate":"5"}}`, "config.release_rate"},
		{"POST", activities, `{` + good + `,"config":{"release_rate":1e999}}`, "config.release_rate"},
		{"POST", activities, `{` + good + `,"config":{"poll_interval":99}}`, "config.poll_interval"},
		{"POST", activities, `{` + good + `,"config":{"max_queue_size":-1}}`, "config.max_queue_size"},
		{"POST", activities, `{` + good + `,"config":{"capacity":1000000001}}`, "config.capacity"},
		{"POST", activities, `{` + good + `,"config":{"burst":400001}}`, "config.burst"},
		{"POST", activities, `{` + good + `,"config":{"session":{"idle":9}}}`, "config.session.idle"},
		{"POST", activities, `{` + good + `,"config":{"session":{"idle":60,"max":30}}}`, "config.session.idle"},
		{"POST", activities, `{` + good + `,"config":{"session":{"ttl":60}}}`, "config.session.ttl"},
		{"POST", activities, `{` + good + `,"config":{"speed":1}}`, "config.speed"},
		{"POST", activities, `{` + good + `,"version":9}`, "version"},
		{"POST", activities, `{` + good + `,"source":"file"}`, "source"},
		{"POST", activities, `{` + good + `,"created_at":"2020-01-01T00:00:00Z"}`, "created_at"},
		{"POST", activities, `{` + good + `,"role":"admin"}`, "role"},
		{"POST", activities, `{"id":-1,` + good + `}`, "id"},
		{"POST", activities, `{"id":9007199254740992,` + good + `}`, "id"},
		{"POST", activities + "/123/stock", `{}`, "left"},
		{"POST", activities + "/123/stock", `{"left":null}`, "left"},
		{"POST", activities + "/123/stock", `{"left":-1}`, "left"},
		{"POST", activities + "/123/stock", `{"left":"5"}`, "left"},
		{"POST", activities + "/123/stock", `{"left":5,"right":5}`, "right"},
		{"PUT", activities + "/123/overrides", `{"mode":"paused"}`, "mode"},
		{"PUT", activities + "/123/overrides", `{"mode":""}`, "mode"},
		{"POST", activities + "/123/overrides/preview", `{"mode":"paused"}`, "mode"},
		{"POST", activities + "/123/overrides/preview", `{"rate_per_hour":720000001}`, "rate_per_hour"},
		{"POST", activities + "/123/find", `{}`, "number"},
		{"POST", activities + "/123/find", `{"number":0}`, "number"},
		{"POST", activities + "/123/find", `{"number":-3}`, "number"},
		{"POST", activities + "/123/find", `{"number":"3"}`, "number"},
		{"POST", activities + "/123/find", `{"number":3,"token":"eyJ"}`, "token"},
		{"POST", activities + "/123/find", `{"token":"eyJhbGciOiJub25lIn0.e30."}`, "token"},
		{"POST", activities + "/123/find", `{"name":"Mei"}`, "name"},
		{"PUT", activities + "/123/overrides", `{"capacity":-1}`, "capacity"},
		{"PUT", activities + "/123/overrides", `{"rate_per_hour":720000001}`, "rate_per_hour"},
		{"PUT", activities + "/123/overrides", `{"message":"a\u0007"}`, "message"},
		{"PUT", activities + "/123/overrides", `{"message":"` + strings.Repeat("m", 501) + `"}`, "message"},
		{"PUT", activities + "/123/overrides", `{"version":3}`, "version"},
		{"PUT", activities + "/123/overrides", `{"start_at":"2026-11-22T10:00:00Z","end_at":"2026-11-22T09:00:00Z"}`, "end_at"},
		{"PUT", "/api/v1/system/config", `{"default_queue_ttl":-1}`, "default_queue_ttl"},
		{"PUT", "/api/v1/system/config", `{"max_release_rate":0}`, "max_release_rate"},
		{"PUT", "/api/v1/system/config", `{"max_release_rate":200001}`, "max_release_rate"},
		{"PUT", "/api/v1/system/config", `{"default_poll_interval":0}`, "default_poll_interval"},
		{"PUT", "/api/v1/system/config", `{"other":0}`, "other"},
		{"GET", activities + "?page=0", "", "page"},
		{"GET", activities + "?page=-1", "", "page"},
		{"GET", activities + "?page=9223372036854775807", "", "page"},
		{"GET", activities + "?limit=101", "", "limit"},
		{"GET", activities + "?limit=x", "", "limit"},
		{"GET", activities + "?limit=1&limit=2", "", "limit"},
		{"GET", activities + "?status=running", "", "status"},
		{"GET", activities + "/123/analytics?period=2h", "", "period"},
		{"GET", "/api/v1/admin/audit?from=yesterday", "", "from"},
		{"GET", "/api/v1/admin/audit?activity_id=x", "", "activity_id"},
		{"GET", "/api/v1/admin/audit?actor=%00", "", "actor"},
	} {
		got := a.ask(c.method, c.path, c.body)
		if got.status != http.StatusBadRequest || got.code() != "INVALID_REQUEST" || got.field() != c.field || !strings.Contains(got.text1("message"), c.field) {
			t.Errorf("%s %s %.120s: got %d %s, want 400 of %s", c.method, c.path, c.body, got.status, got.text, c.field)
		}
	}
	for _, c := range []struct {
		method, path, body, line string
		status                   int
	}{
		{"POST", activities, `{` + good + `}`, "Content-Type: text/plain", 415},
		{"POST", activities, `{` + good + `}`, "Content-Type: ", 415},
		{"POST", activities, `{"name":"` + strings.Repeat("x", 70_000) + `"}`, "", 413},
		{"POST", activities, ``, "Content-Type: application/json", 400},
		{"GET", activities + "/0", "", "", 404},
		{"GET", activities + "/0123", "", "", 404},
		{"GET", activities + "/99999999999999999999", "", "", 404},
		{"GET", activities + "/123%2fstatus", "", "", 404},
		{"GET", activities + "/", "", "", 404},
		{"GET", activities + "/1 OR 1=1", "", "", 404},
		{"PATCH", activities + "/123", `{}`, "", 405},
	} {
		var lines []string
		if c.line != "" {
			lines = append(lines, c.line)
		}
		if got := a.ask(c.method, strings.ReplaceAll(c.path, " ", "%20"), c.body, lines...); got.status != c.status {
			t.Errorf("%s %s %.80s %s: got %d %s, want %d", c.method, c.path, c.body, c.line, got.status, got.text, c.status)
		}
	}
	if n := a.record.len(); n != before {
		t.Errorf("%d changes were made: %+v", n-before, a.record.last(t))
	}
}

func TestAdmin_PauseHoldsTheLineAndResumeLetsItGo(t *testing.T) {
	a := openAdmin(t)
	mode := func(want string) func(answer) bool {
		return func(got answer) bool { return got.at("data.mode") == want }
	}
	if got := a.ask("POST", activities+"/123/pause", ""); got.status != http.StatusOK || got.at("data.overrides.mode") != "hold" {
		t.Fatalf("got %d %s", got.status, got.text)
	}
	if c := a.record.last(t); c.Action != "activity.pause" || !strings.Contains(string(c.Before), `"mode":null`) || !strings.Contains(string(c.After), `"mode":"hold"`) {
		t.Errorf("recorded %+v", c)
	}
	a.until("paused", mode("hold"), "GET", activities+"/123")
	if got := a.ask("GET", activities+"/123/status", ""); got.at("data.line.paused") != true {
		t.Errorf("status is %s, want it paused", got.text)
	}
	a.ask("POST", activities+"/123/resume", "")
	a.until("resumed", mode("auto"), "GET", activities+"/123")
}

func TestAdmin_ResumeAlsoTakesBackAPauseInTheStatus(t *testing.T) {
	a := openAdmin(t)
	path := a.make(t, `{"tenant_id":"demo","name":"n","status":"paused"}`).path()
	if got := a.as(pass(t, api.Operator, "demo")).ask("POST", path+"/resume", ""); got.status != http.StatusOK {
		t.Fatalf("got %d %s", got.status, got.text)
	}
	if got := a.ask("GET", path, ""); got.at("data.status") != "active" {
		t.Errorf("got %s, want it active", got.text)
	}
}

func TestAdmin_DecisionsReplaceTheFilesUntilTheyAreTakenBack(t *testing.T) {
	a := openAdmin(t)
	path := activities + "/123/overrides"
	if got := a.ask("POST", activities+"/123/stock", `{"left":40}`); got.status != http.StatusOK || got.number("data.overrides.left") != 40 {
		t.Fatalf("got %d %s", got.status, got.text)
	}
	a.until("left", func(got answer) bool { return got.number("data.line.left") == 40 }, "GET", activities+"/123/status")
	got := a.ask("PUT", path, `{"mode":"closed","capacity":9,"rate_per_hour":3600,"message":"Soon.\nReally."}`)
	if got.status != http.StatusOK || got.number("data.overrides.left") != 40 || got.number("data.overrides.capacity") != 9 {
		t.Fatalf("got %d %s", got.status, got.text)
	}
	a.until("decided", func(got answer) bool {
		return got.number("data.line.capacity") == 9 && got.number("data.line.rate_per_hour") == 3600 && got.at("data.line.mode") == "closed"
	}, "GET", activities+"/123/status")
	a.ask("PUT", path, `{"mode":null,"capacity":null,"left":null}`)
	got = a.until("taken back", func(got answer) bool { return got.at("data.overrides.capacity") == nil }, "GET", path)
	if got.at("data.overrides.left") != nil || got.at("data.overrides.mode") != nil || got.number("data.overrides.rate_per_hour") != 3600 {
		t.Errorf("got %s", got.text)
	}
	if c := a.record.last(t); c.Action != "activity.override" || !strings.Contains(string(c.Before), `"capacity":9`) || !strings.Contains(string(c.After), `"capacity":null`) {
		t.Errorf("recorded %+v", c)
	}
}

func TestAdmin_ResetEmptiesTheLine(t *testing.T) {
	a := openAdmin(t)
	line := a.activities.room(t, 123)
	for i := range 3 {
		line.Enter(t.Context(), admission.Visit{Identity: strconv.Itoa(i)})
	}
	a.until("three", func(got answer) bool { return got.number("data.queue_metrics.queue_seq") == 3 }, "GET", activities+"/123/status")
	if got := a.ask("POST", activities+"/123/reset", ""); got.status != http.StatusOK {
		t.Fatalf("got %d %s", got.status, got.text)
	}
	if c := a.record.last(t); c.Action != "activity.reset" || !strings.Contains(string(c.Before), `"queue_seq":3`) {
		t.Errorf("recorded %+v", c)
	}
	a.until("empty", func(got answer) bool { return got.number("data.queue_metrics.queue_seq") == 0 }, "GET", activities+"/123/status")
}

func TestAdmin_StatusTellsTheRatesOfTheLastMinute(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := admission.NewMemory(nil)
		limits := demoLimits()
		limits.Capacity, limits.RatePerHour, limits.Burst = 0, 3600, 1
		line, _ := openRoom(t, store, admission.LineID{Tenant: "demo", Activity: 123}, "g1", limits)
		shelf := &shelf{t: t, store: store, all: []api.Offered{{Activity: catalog.Activity{ID: 123, TenantID: "demo", Name: "n", Status: catalog.Active}, Source: api.FromFile, Room: line}}}
		verifier := adminVerifier(t)
		a := api.NewAdmin(api.AdminOptions{Activities: shelf, Bearer: func() *api.Verifier { return verifier }, Log: zap.NewNop()})
		done := make(chan struct{})
		go func() { defer close(done); _ = a.Run(t.Context()) }()
		t.Cleanup(func() { <-done })
		c := inside(t, a).as(pass(t, api.Viewer, ""))
		rates := func() (enter, release float64) {
			got := c.ask("GET", activities+"/123/status", "")
			return got.number("data.realtime_stats.enter_rate"), got.number("data.realtime_stats.release_rate")
		}
		for i := range 300 { // two a second join, one a second is let in
			line.Enter(t.Context(), admission.Visit{Identity: strconv.Itoa(i)})
			time.Sleep(500 * time.Millisecond)
		}
		if enter, release := rates(); enter < 1.9 || enter > 2.1 || release <= 0 || release > 1.1 {
			t.Errorf("enter %v/s, release %v/s; want 2 and up to 1", enter, release)
		}
		time.Sleep(2 * time.Minute)
		if enter, _ := rates(); enter != 0 {
			t.Errorf("two quiet minutes later: enter %v/s, want 0", enter)
		}
		for i := range 60 {
			line.Enter(t.Context(), admission.Visit{Identity: "b" + strconv.Itoa(i)})
		}
		if err := line.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(20 * time.Second)
		if enter, release := rates(); enter != 0 || release != 0 {
			t.Errorf("after a reset: enter %v/s, release %v/s; want none of the line before", enter, release)
		}
	})
}

func TestAdmin_ListsAreFilteredAndPaged(t *testing.T) {
	a := openAdmin(t)
	for i := range 5 {
		a.make(t, fmt.Sprintf(`{"tenant_id":"demo","name":"n%d","status":"%s"}`, i, []string{"draft", "active"}[i%2]))
	}
	for query, want := range map[string]struct {
		total, pages, shown int
		first               float64
	}{
		"":                                  {7, 1, 7, 7},
		"?tenant_id=demo":                   {6, 1, 6, 123},
		"?tenant_id=demo&status=draft":      {3, 1, 3, 1001},
		"?status=ended":                     {0, 0, 0, 0},
		"?tenant_id=nobody":                 {0, 0, 0, 0},
		"?limit=3":                          {7, 3, 3, 7},
		"?limit=3&page=2":                   {7, 3, 3, 1002},
		"?limit=3&page=3":                   {7, 3, 1, 1005},
		"?limit=3&page=4":                   {7, 3, 0, 0},
		"?limit=100&page=1000000":           {7, 1, 0, 0},
		"?tenant_id=demo' OR '1'='1&page=1": {0, 0, 0, 0},
	} {
		got := a.ask("GET", activities+strings.ReplaceAll(query, " ", "%20"), "")
		shown, _ := got.at("data.activities").([]any)
		first := 0.0
		if len(shown) > 0 {
			first = shown[0].(object)["id"].(float64)
		}
		if int(got.number("data.pagination.total")) != want.total || int(got.number("data.pagination.pages")) != want.pages || len(shown) != want.shown || first != want.first {
			t.Errorf("%s: got %d %s, want %+v", query, got.status, got.text, want)
		}
	}
}

func TestAdmin_TheAuditTellsWhoDidWhat(t *testing.T) {
	a := openAdmin(t)
	a.as(pass(t, api.Operator, "demo")).ask("POST", activities+"/123/pause", "")
	a.as(pass(t, api.Operator, "other")).ask("POST", activities+"/7/pause", "")
	a.ask("PUT", "/api/v1/system/config", `{"default_poll_interval":5000}`)
	a.ask("POST", "/api/v1/admin/reload", "")
	for query, want := range map[string]int{
		"": 4, "?activity_id=123": 1, "?tenant_id=other": 1, "?actor=operator-1": 2, "?action=system.config": 1,
		"?action=activity.pause&tenant_id=demo": 1, "?from=2100-01-01T00:00:00Z": 0, "?to=2100-01-01T00:00:00Z": 4,
	} {
		if got := a.ask("GET", "/api/v1/admin/audit"+query, ""); int(got.number("data.pagination.total")) != want {
			t.Errorf("%s: got %d %s, want %d", query, got.status, got.text, want)
		}
	}
	got := a.ask("GET", "/api/v1/admin/audit?limit=2", "")
	changes, _ := got.at("data.changes").([]any)
	if len(changes) != 2 || changes[0].(object)["action"] != "config.reload" || changes[1].(object)["after"].(object)["default_poll_interval"] != 5000.0 {
		t.Errorf("got %s, want the latest first", got.text)
	}
	a.record.away = true
	if got := a.ask("GET", "/api/v1/admin/audit", ""); got.status != http.StatusServiceUnavailable || got.code() != "DATABASE_UNAVAILABLE" || strings.Contains(got.text, "db.internal") {
		t.Errorf("database away: got %d %s", got.status, got.text)
	}
}

func TestAdmin_AnalyticsAreOfThePeriodAskedFor(t *testing.T) {
	a := openAdmin(t)
	a.record.told = admission.Analytics{
		Entries: 10, Visitors: 8, Admissions: 4, Left: 1, Converted: 2, Releases: 5, NoShows: 1,
		WaitAverage: 1500 * time.Millisecond, WaitMedian: time.Second, WaitP95: 3 * time.Second, WaitLongest: 4 * time.Second,
		Timeline: []admission.Moment{{At: time.Now(), Entries: 10, Waiting: 3}},
	}
	for period, span := range map[string]time.Duration{"": 24 * time.Hour, "1h": time.Hour, "24h": 24 * time.Hour, "7d": 168 * time.Hour, "30d": 720 * time.Hour} {
		query := ""
		if period != "" {
			query = "?period=" + period
		}
		got := a.ask("GET", activities+"/123/analytics"+query, "")
		from, _ := time.Parse(time.RFC3339, got.text1("data.from"))
		to, _ := time.Parse(time.RFC3339, got.text1("data.to"))
		if got.status != http.StatusOK || to.Sub(from) != span || got.number("data.unique_visitors") != 8 || got.number("data.conversion_rate") != 0.5 || got.number("data.wait.average_s") != 1.5 {
			t.Errorf("%q: got %d %s", period, got.status, got.text)
		}
	}
	if line := a.record.asked[0]; line != (admission.LineID{Tenant: "demo", Activity: 123}) {
		t.Errorf("asked for %v", line)
	}
}

func TestAdmin_WithoutADatabaseTheLogHasTheChanges(t *testing.T) {
	log, logged := observed()
	a := openAdmin(t, func(o *api.AdminOptions) { o.Record, o.Log = nil, log })
	got := a.ask("POST", activities+"/123/pause", "")
	if got.status != http.StatusOK || !logged("activity.pause", "admin-1", got.text1("request_id"), `"mode":"hold"`) {
		t.Errorf("got %d %s, and the log has it not", got.status, got.text)
	}
	for _, path := range []string{"/api/v1/admin/audit", activities + "/123/analytics"} {
		if got := a.ask("GET", path, ""); got.status != http.StatusServiceUnavailable || got.code() != "DATABASE_UNAVAILABLE" || !strings.Contains(got.text1("message"), "database.url") {
			t.Errorf("%s: got %d %s, want 503 that names the key", path, got.status, got.text)
		}
	}
}

func TestAdmin_ASystemCauseIsForTheLogAlone(t *testing.T) {
	log, logged := observed()
	a := openAdmin(t, func(o *api.AdminOptions) { o.Log = log })
	a.activities.away = fmt.Errorf("%w: dial db.internal", catalog.ErrUnavailable)
	got := a.ask("POST", activities, `{"tenant_id":"demo","name":"n"}`)
	if got.status != http.StatusServiceUnavailable || got.code() != "DATABASE_UNAVAILABLE" || strings.Contains(got.text, "db.internal") {
		t.Errorf("got %d %s, want 503 without the cause", got.status, got.text)
	}
	if !logged("db.internal", got.text1("request_id")) {
		t.Error("the log has not the cause by the request's id")
	}
	if n := a.record.len(); n != 0 {
		t.Errorf("%d changes are recorded of what did not happen", n)
	}
	a.activities.away = catalog.ErrNoDatabase
	if got := a.ask("PUT", "/api/v1/system/config", `{"max_release_rate":10}`); got.status != http.StatusServiceUnavailable || !strings.Contains(got.text, "database.url") {
		t.Errorf("without a database: got %d %s, want to be told which key is missing", got.status, got.text)
	}
	a.activities.away = errors.New("a bug at db.internal")
	if got := a.ask("PUT", "/api/v1/system/config", `{"max_release_rate":10}`); got.status != http.StatusInternalServerError || strings.Contains(got.text, "db.internal") {
		t.Errorf("got %d %s, want 500 without the cause", got.status, got.text)
	}
}

func TestAdmin_AReloadThatIsRefusedSaysWhatIsWrong(t *testing.T) {
	a := openAdmin(t)
	if got := a.ask("POST", "/api/v1/admin/reload", ""); got.status != http.StatusOK || a.reloads != 1 || !strings.Contains(got.text, `"restart":[]`) {
		t.Fatalf("got %d %s", got.status, got.text)
	}
	a.restart = []string{"listen.http"}
	if got := a.ask("POST", "/api/v1/admin/reload", ""); !strings.Contains(got.text, `"restart":["listen.http"]`) {
		t.Errorf("what waits for a restart is not told: %s", got.text)
	}
	a.broken = errors.New("ropeline.yaml:3:1: lisen: unknown key")
	got := a.ask("POST", "/api/v1/admin/reload", "")
	if got.status != http.StatusUnprocessableEntity || got.code() != "CONFIG_REFUSED" || got.at("details.problem") != a.broken.Error() {
		t.Errorf("got %d %s", got.status, got.text)
	}
	if n := a.record.len(); n != 2 {
		t.Errorf("%d reloads are recorded, want the two that were", n)
	}
}
