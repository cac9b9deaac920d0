package api_test

import (
	"context"
	"crypto/sha256"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/web/api"
)

const (
	enter  = "/api/v1/queue/enter"
	status = "/api/v1/queue/status"
)

// come enters as a user, and returns the answer.
func (c client) come(user string, lines ...string) answer {
	c.t.Helper()
	return c.ask("POST", enter, fmt.Sprintf(`{"activity_id":123,"user_hash":%q,"fingerprint":"fp"}`, user), lines...)
}

func (a answer) session(t testing.TB) string {
	t.Helper()
	session := a.text1("data.session_id")
	if session == "" {
		t.Fatalf("got %d %s, want a place", a.status, a.text)
	}
	return session
}

func statusOf(session string) string {
	return status + "?activity_id=123&session_id=" + url.QueryEscape(session)
}

func ready(a answer) bool { return a.at("data.status") == "ready" }

func TestQueue_WaitsItsTurnAndIsGivenTheAdmission(t *testing.T) {
	q := openQueue(t)
	first := q.come("u1")
	if first.status != http.StatusOK || first.number("data.seq") != 1 || first.number("data.polling_interval") <= 0 {
		t.Fatalf("got %d %s, want place 1", first.status, first.text)
	}
	in := q.ask("GET", statusOf(first.session(t)), "")
	if in.at("data.status") != "ready" || in.text1("data.admission_token") == "" || in.number("data.seq") != 1 || in.number("data.polling_interval") != 0 {
		t.Fatalf("got %s, want the admission", in.text)
	}
	again := q.ask("GET", statusOf(first.session(t)), "")
	if !ready(again) {
		t.Errorf("asked again: got %s, want the admission again", again.text)
	}
	// The gate takes it, as a cookie or a bearer.
	visit := admission.Visit{AdmissionTokens: []string{in.text1("data.admission_token")}}
	if v := q.room.Arrive(t.Context(), visit); !v.Pass || v.Reason != admission.PassAdmitted {
		t.Errorf("the admission token got %+v, want to pass", v)
	}

	second := q.come("u2")
	place := statusOf(second.session(t))
	waits := q.ask("GET", place+"&seq=2", "")
	if waits.at("data.status") != "waiting" || waits.number("data.position") != 1 || waits.number("data.seq") != 2 || waits.at("data.admission_token") != nil {
		t.Fatalf("got %s, want to wait", waits.text)
	}
	q.room.Leave(t.Context(), visit)
	if got := q.until("ready", ready, "GET", place); got.text1("data.admission_token") == "" {
		t.Errorf("got %s, want the admission", got.text)
	}
	// By bearer, in place of the query.
	if got := q.as(second.session(t)).ask("GET", status+"?activity_id=123", ""); !ready(got) {
		t.Errorf("by bearer: got %s, want the admission", got.text)
	}
	// The first one's session is over.
	if got := q.ask("GET", statusOf(first.session(t)), ""); got.at("data.status") != "expired" || got.number("data.polling_interval") < 1000 {
		t.Errorf("after leaving: got %s, want expired", got.text)
	}
}

func TestQueue_TheSameUserHasItsPlaceOnAnyGateway(t *testing.T) {
	store := openStore(t)
	on := func(gateway string) func(*queueSetup) {
		return func(s *queueSetup) { s.store, s.gateway = store, gateway }
	}
	a, b := openQueue(t, on("g1")), openQueue(t, on("g2"))
	a.come("inside")
	first := a.come("u")
	for name, q := range map[string]*queue{"same": a, "other": b} {
		got := q.come("u")
		if got.status != http.StatusConflict || got.code() != "USER_ALREADY_IN_QUEUE" || got.number("details.seq") != first.number("data.seq") {
			t.Errorf("%s gateway: got %d %s, want the place %v", name, got.status, got.text, first.number("data.seq"))
		}
		if s := q.ask("GET", statusOf(got.text1("details.session_id")), ""); s.at("data.status") != "waiting" || s.number("data.seq") != first.number("data.seq") {
			t.Errorf("%s gateway: status by that place: %s", name, s.text)
		}
	}
}

func TestQueue_ARefusalSaysWhyAndWhen(t *testing.T) {
	start := time.Now().Add(time.Hour).Truncate(time.Second)
	for reason, change := range map[string]func(*admission.Limits){
		"before": func(l *admission.Limits) { l.StartAt = start },
		"ended":  func(l *admission.Limits) { l.EndAt = time.Now().Add(-time.Hour) },
		"closed": func(l *admission.Limits) { l.Mode = admission.ModeClosed },
	} {
		q := openQueue(t, func(s *queueSetup) { change(&s.limits) })
		got := q.come("u")
		if got.status != http.StatusConflict || got.code() != "ACTIVITY_NOT_ACTIVE" || got.at("details.reason") != reason {
			t.Errorf("got %d %s, want %s", got.status, got.text, reason)
		}
		if starts := got.text1("details.starts_at"); reason == "before" && starts != start.UTC().Format(time.RFC3339) {
			t.Errorf("starts at %q, want %s", starts, start.UTC())
		}
	}
}

func TestQueue_WhereEveryonePassesSoDoAppsWithoutSpecialCases(t *testing.T) {
	q := openQueue(t)
	waiting := make([]string, 2)
	for i := range waiting {
		waiting[i] = statusOf(q.come("u" + strconv.Itoa(i)).session(t))
	}
	if err := q.room.Override(t.Context(), func(o *admission.Overrides) { o.Mode = admission.ModeOpen }); err != nil {
		t.Fatal(err)
	}
	got := q.until("ready", ready, "GET", waiting[1])
	if got.number("data.polling_interval") != 0 {
		t.Errorf("who waited: got %s, want to stop asking", got.text)
	}
	in := q.come("new")
	if in.status != http.StatusOK || in.number("data.seq") != 0 {
		t.Fatalf("got %d %s, want to pass", in.status, in.text)
	}
	place := statusOf(in.session(t))
	if got := q.ask("GET", place+"&seq=0", ""); !ready(got) {
		t.Errorf("got %s, want ready", got.text)
	}
	if err := q.room.Override(t.Context(), func(o *admission.Overrides) { o.Mode = "" }); err != nil {
		t.Fatal(err)
	}
	q.until("expired", func(a answer) bool { return a.at("data.status") == "expired" }, "GET", place)
}

func TestQueue_AnOutageKeepsPlacesAndGivesNone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := makeQueue(t, func(s *queueSetup) { s.store = admission.NewMemory(nil) })
		q.client = inside(t, q.handler)
		time.Sleep(time.Second)
		q.come("inside")
		time.Sleep(time.Second)
		place := statusOf(q.come("u").session(t))
		time.Sleep(time.Second)
		q.stop() // nothing is heard of the line any more
		time.Sleep(10 * time.Second)
		if got := q.come("new"); got.status != http.StatusServiceUnavailable || got.code() != "STORE_UNAVAILABLE" || got.header.Get("Retry-After") == "" {
			t.Errorf("a newcomer got %d %s, want 503", got.status, got.text)
		}
		if got := q.ask("GET", place, ""); got.status != http.StatusOK || got.at("data.status") != "waiting" || got.at("data.paused") != true {
			t.Errorf("who waits got %d %s, want the place, paused", got.status, got.text)
		}
	})
}

func TestQueue_TheEndEndsTheWait(t *testing.T) {
	q := openQueue(t)
	q.come("inside")
	place := statusOf(q.come("u").session(t))
	over := time.Now().Add(-time.Minute)
	if err := q.room.Override(t.Context(), func(o *admission.Overrides) { o.EndAt = &over }); err != nil {
		t.Fatal(err)
	}
	got := q.until("expired", func(a answer) bool { return a.at("data.status") == "expired" }, "GET", place)
	if got.at("data.reason") != "ended" {
		t.Errorf("got %s, want the reason", got.text)
	}
}

func TestQueue_SoldOutIsToldAndThePlaceIsFoundAgain(t *testing.T) {
	q := openQueue(t)
	q.come("inside")
	first := q.come("u")
	place := statusOf(first.session(t))
	left := func(n int64) {
		t.Helper()
		if err := q.room.Override(t.Context(), func(o *admission.Overrides) { o.Left = &n }); err != nil {
			t.Fatal(err)
		}
	}
	left(0)
	got := q.until("expired", func(a answer) bool { return a.at("data.status") == "expired" }, "GET", place)
	if got.at("data.reason") != "sold_out" || got.number("data.stock.left") != 0 {
		t.Errorf("got %s, want that all is sold", got.text)
	}
	if got := q.come("v"); got.code() != "ACTIVITY_NOT_ACTIVE" || got.at("details.reason") != "sold_out" {
		t.Errorf("a newcomer got %s, want that all is sold", got.text)
	}
	left(1)
	q.until("waiting", func(a answer) bool { return a.at("data.status") == "waiting" }, "GET", place)
	if got := q.come("u"); got.code() != "USER_ALREADY_IN_QUEUE" || got.number("details.seq") != first.number("data.seq") {
		t.Errorf("who comes again got %s, want the place of before", got.text)
	}
}

func TestQueue_LimitsEntriesOfOneNetworkAndSaysHowLong(t *testing.T) {
	now := time.Unix(1_700_000_000, 0)
	perHour := int64(600)
	q := openQueue(t, func(s *queueSetup) {
		s.proxies = []string{"127.0.0.0/8"}
		s.options.EnterLimit = func() (int64, int64) { return perHour, 10 }
		s.options.Now = func() time.Time { return now }
	})
	from := func(n int, address string) answer {
		return q.come("u"+address+strconv.Itoa(n), "X-Forwarded-For: "+address)
	}
	for i := range 10 {
		if got := from(i, "203.0.113.7"); got.status != http.StatusOK {
			t.Fatalf("entry %d: got %d %s", i, got.status, got.text)
		}
	}
	got := from(10, "203.0.113.7")
	if got.status != http.StatusTooManyRequests || got.code() != "RATE_LIMIT_EXCEEDED" || got.header.Get("Retry-After") != "6" ||
		got.number("retry_after") != 6 || got.number("details.retry_after") != 6 {
		t.Errorf("got %d %s %s, want 429 and 6 s", got.status, got.header.Get("Retry-After"), got.text)
	}
	if got := from(11, "203.0.113.8"); got.status != http.StatusOK {
		t.Errorf("another address: got %d %s", got.status, got.text)
	}
	now = now.Add(6 * time.Second)
	if got := from(12, "203.0.113.7"); got.status != http.StatusOK {
		t.Errorf("after 6 s: got %d %s", got.status, got.text)
	}
	perHour = 0 // a reload
	if got := from(13, "203.0.113.7"); got.status != http.StatusOK {
		t.Errorf("without a limit: got %d %s", got.status, got.text)
	}
	// The line's own limit tells in the same way.
	q = openQueue(t, func(s *queueSetup) { s.limits.JoinsPerHour, s.limits.JoinBurst = 60, 1 })
	q.room.Configure(admission.Settings{
		Limits: q.room.Figures().Limits, Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000},
		Networks: admission.Networks{IPv4: 32, IPv6: 64},
	})
	q.come("a")
	if got := q.come("b"); got.status != http.StatusTooManyRequests || got.number("retry_after") < 1 {
		t.Errorf("by the line: got %d %s, want 429", got.status, got.text)
	}
}

func TestQueue_WorkIsAskedForAndTakenOnce(t *testing.T) {
	verifier, err := api.NewVerifier(api.VerifierOptions{Alg: "HS256", Secret: shopSecret})
	if err != nil {
		t.Fatal(err)
	}
	q := openQueue(t, func(s *queueSetup) { s.options.Bearer = func() (*api.Verifier, bool) { return verifier, false } })
	settings := admission.Settings{Limits: q.room.Figures().Limits, Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}}
	settings.Work = admission.Work{Bits: 6, Max: 6}
	q.room.Configure(settings)
	body := func(user, work string) string {
		return fmt.Sprintf(`{"activity_id":123,"user_hash":%q,"work":%q}`, user, work)
	}
	for _, work := range []string{"", "x", strings.Repeat("x", 128)} {
		got := q.ask("POST", enter, body("ann", work))
		if got.status != http.StatusPreconditionRequired || got.code() != "WORK_REQUIRED" || got.number("details.bits") != 6 || len(got.text1("details.challenge")) != 42 {
			t.Fatalf("with the work %q: got %d %s, want 428 with a challenge", work, got.status, got.text)
		}
	}
	if got := q.ask("POST", enter, body("ann", strings.Repeat("x", 129))); got.status != http.StatusBadRequest || got.field() != "work" {
		t.Errorf("very long work: got %d %s", got.status, got.text)
	}
	challenge := q.ask("POST", enter, body("ann", "")).text1("details.challenge")
	solution := ""
	for n := 0; solution == ""; n++ {
		text := fmt.Sprintf("%s.%d", challenge, n)
		if sum := sha256.Sum256([]byte(text)); sum[0]>>2 == 0 {
			solution = text
		}
	}
	if got := q.ask("POST", enter, body("bob", solution)); got.code() != "WORK_REQUIRED" {
		t.Errorf("another user's work: got %d %s", got.status, got.text)
	}
	first := q.ask("POST", enter, body("ann", solution))
	if first.status != http.StatusOK {
		t.Fatalf("who worked got %d %s", first.status, first.text)
	}
	again := q.ask("POST", enter, body("ann", solution))
	if again.code() != "USER_ALREADY_IN_QUEUE" || again.number("details.seq") != first.number("data.seq") {
		t.Errorf("the same work again: got %d %s", again.status, again.text)
	}
	if got := q.as(shopToken(t, "eve", "")).ask("POST", enter, `{"activity_id":123}`); got.status != http.StatusOK {
		t.Errorf("whom the shop vouches for: got %d %s", got.status, got.text)
	}
}

var shopSecret = []byte("the shop's own secret of 32 bytes and more")

func shopToken(t testing.TB, user, tenant string) string {
	t.Helper()
	token, err := api.SignToken(shopSecret, "", "", api.Claims{Subject: user, TenantID: tenant}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func TestQueue_TheShopsTokenSaysWhoComes(t *testing.T) {
	verifier, err := api.NewVerifier(api.VerifierOptions{Alg: "HS256", Secret: shopSecret})
	if err != nil {
		t.Fatal(err)
	}
	required := false
	q := openQueue(t, func(s *queueSetup) {
		s.options.Bearer = func() (*api.Verifier, bool) { return verifier, required }
	})
	body := func(user string) string {
		if user == "" {
			return `{"activity_id":123}`
		}
		return fmt.Sprintf(`{"activity_id":123,"user_hash":%q}`, user)
	}
	for _, c := range []struct {
		story, token, user string
		required           bool
		want               int
		code               string
	}{
		{"none", "", "a", false, 200, ""},
		{"none, required", "", "b", true, 401, "UNAUTHORIZED"},
		{"gives the user", shopToken(t, "c", ""), "", true, 200, ""},
		{"the same user", shopToken(t, "d", ""), "d", true, 200, ""},
		{"another user", shopToken(t, "e", ""), "f", false, 403, "FORBIDDEN"},
		{"the tenant", shopToken(t, "g", "demo"), "g", false, 200, ""},
		{"another tenant", shopToken(t, "h", "other"), "h", false, 403, "FORBIDDEN"},
		{"nobody's", shopToken(t, "", ""), "i", false, 401, "UNAUTHORIZED"},
		{"not one", "x.y.z", "j", false, 401, "UNAUTHORIZED"},
		{"the admin's", pass(t, api.Admin, ""), "k", false, 401, "UNAUTHORIZED"},
	} {
		required = c.required
		if got := q.as(c.token).ask("POST", enter, body(c.user)); got.status != c.want || got.code() != c.code {
			t.Errorf("%s: got %d %s, want %d %s", c.story, got.status, got.text, c.want, c.code)
		}
	}
	// Its identity is that of the token, by whichever way it is given.
	required = false
	if got := q.as("").come("c"); got.code() != "USER_ALREADY_IN_QUEUE" {
		t.Errorf("the same user by user_hash: got %s", got.text)
	}

	session := q.as("").come("status").session(t)
	for _, c := range []struct {
		story, token, query string
		required            bool
		want                int
		code                string
	}{
		{"place by query", "", "&session_id=" + session, false, 200, ""},
		{"place by bearer", session, "", false, 200, ""},
		{"shop's token and place", shopToken(t, "u", ""), "&session_id=" + session, true, 200, ""},
		{"shop's token alone", shopToken(t, "u", ""), "", false, 400, "INVALID_REQUEST"},
		{"shop's token alone, required", shopToken(t, "u", ""), "", true, 400, "INVALID_REQUEST"},
		{"place by bearer, required", session, "", true, 401, "UNAUTHORIZED"},
		{"place by query, required", "", "&session_id=" + session, true, 401, "UNAUTHORIZED"},
		{"another tenant", shopToken(t, "u", "other"), "&session_id=" + session, false, 403, "FORBIDDEN"},
	} {
		required = c.required
		if got := q.as(c.token).ask("GET", status+"?activity_id=123"+c.query, ""); got.status != c.want || got.code() != c.code {
			t.Errorf("status, %s: got %d %s, want %d %s", c.story, got.status, got.text, c.want, c.code)
		}
	}
}

func TestQueue_BadRequestsGetTheirExactAnswer(t *testing.T) {
	q := openQueue(t)
	session := q.come("u1").session(t)
	long := strings.Repeat("長", 65)
	for _, c := range []struct {
		method, path, body string
		lines              string
		status             int
		code, field        string
	}{
		{"POST", enter, ``, "", 400, "INVALID_REQUEST", ""},
		{"POST", enter, `{`, "", 400, "INVALID_REQUEST", ""},
		{"POST", enter, `[]`, "", 400, "INVALID_REQUEST", ""},
		{"POST", enter, `null`, "", 400, "INVALID_REQUEST", ""},
		{"POST", enter, `"x"`, "", 400, "INVALID_REQUEST", ""},
		{"POST", enter, `{} {}`, "", 400, "INVALID_REQUEST", ""},
		{"POST", enter, "{\"activity_id\":123,\"user_hash\":\"\xff\"}", "", 400, "INVALID_REQUEST", ""},
		{"POST", enter, `{}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":0,"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":-1,"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":"123","user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":1.5,"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":1e2,"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":null,"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":[123],"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":true,"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":99999999999999999999,"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"ACTIVITY_ID":123,"user_hash":"u"}`, "", 400, "INVALID_REQUEST", "activity_id"},
		{"POST", enter, `{"activity_id":124,"user_hash":"u"}`, "", 404, "ACTIVITY_NOT_FOUND", ""},
		{"POST", enter, `{"activity_id":123}`, "", 400, "INVALID_REQUEST", "user_hash"},
		{"POST", enter, `{"activity_id":123,"user_hash":""}`, "", 400, "INVALID_REQUEST", "user_hash"},
		{"POST", enter, `{"activity_id":123,"user_hash":5}`, "", 400, "INVALID_REQUEST", "user_hash"},
		{"POST", enter, `{"activity_id":123,"user_hash":null}`, "", 400, "INVALID_REQUEST", "user_hash"},
		{"POST", enter, `{"activity_id":123,"user_hash":{"$ne":""}}`, "", 400, "INVALID_REQUEST", "user_hash"},
		{"POST", enter, `{"activity_id":123,"user_hash":"` + long + `"}`, "", 400, "INVALID_REQUEST", "user_hash"},
		{"POST", enter, `{"activity_id":123,"user_hash":"a\u0000b"}`, "", 400, "INVALID_REQUEST", "user_hash"},
		{"POST", enter, `{"activity_id":123,"user_hash":"\ud800"}`, "", 400, "INVALID_REQUEST", "user_hash"},
		{"POST", enter, `{"activity_id":123,"user_hash":"u","fingerprint":7}`, "", 400, "INVALID_REQUEST", "fingerprint"},
		{"POST", enter, `{"activity_id":123,"user_hash":"u","fingerprint":"` + long + long + `"}`, "", 400, "INVALID_REQUEST", "fingerprint"},
		{"POST", enter, `{"activity_id":123,"user_hash":"` + strings.Repeat("x", 9000) + `"}`, "", 413, "INVALID_REQUEST", ""},
		{"POST", enter, `{"activity_id":123,"user_hash":"u"}`, "Content-Type: text/plain", 415, "INVALID_REQUEST", ""},
		{"POST", enter, `activity_id=123`, "Content-Type: application/x-www-form-urlencoded", 415, "INVALID_REQUEST", ""},
		{"POST", enter, `{"activity_id":123,"user_hash":"u"}`, "Content-Type: ;", 415, "INVALID_REQUEST", ""},
		{"GET", enter, ``, "", 405, "METHOD_NOT_ALLOWED", ""},
		{"PUT", enter, `{}`, "", 405, "METHOD_NOT_ALLOWED", ""},
		{"OPTIONS", enter, ``, "", 405, "METHOD_NOT_ALLOWED", ""},
		{"POST", status, `{}`, "", 405, "METHOD_NOT_ALLOWED", ""},
		{"POST", enter + "/", `{}`, "", 404, "NOT_FOUND", ""},
		{"POST", "/api/v1/queue/%65nter", `{}`, "", 404, "NOT_FOUND", ""},
		{"POST", "/api/v1/queue//enter", `{}`, "", 404, "NOT_FOUND", ""},
		{"POST", "/api/v1/queue/../queue/enter", `{}`, "", 404, "NOT_FOUND", ""},
		{"GET", "/api/v1/queue/", ``, "", 404, "NOT_FOUND", ""},
		{"GET", status, ``, "", 400, "INVALID_REQUEST", "activity_id"},
		{"GET", status + "?activity_id=", ``, "", 400, "INVALID_REQUEST", "activity_id"},
		{"GET", status + "?activity_id=x", ``, "", 400, "INVALID_REQUEST", "activity_id"},
		{"GET", status + "?activity_id=0123&session_id=x", ``, "", 400, "INVALID_REQUEST", "activity_id"},
		{"GET", status + "?activity_id=%2B123&session_id=x", ``, "", 400, "INVALID_REQUEST", "activity_id"},
		{"GET", status + "?activity_id=123", ``, "", 400, "INVALID_REQUEST", "session_id"},
		{"GET", status + "?activity_id=123&activity_id=124&session_id=x", ``, "", 400, "INVALID_REQUEST", "activity_id"},
		{"GET", status + "?activity_id=123&session_id=x&session_id=" + session, ``, "", 400, "INVALID_REQUEST", "session_id"},
		{"GET", status + "?activity_id=123&session_id=%zz", ``, "", 400, "INVALID_REQUEST", ""},
		{"GET", status + "?activity_id=124&session_id=x", ``, "", 404, "ACTIVITY_NOT_FOUND", ""},
		{"GET", statusOf(session) + "&seq=2", ``, "", 400, "INVALID_SEQUENCE", "seq"},
		{"GET", statusOf(session) + "&seq=x", ``, "", 400, "INVALID_SEQUENCE", "seq"},
		{"GET", statusOf(session) + "&seq=01", ``, "", 400, "INVALID_SEQUENCE", "seq"},
		{"GET", status + "?activity_id=123", ``, "Authorization: Basic eDp5", 401, "UNAUTHORIZED", ""},
	} {
		var lines []string
		if c.lines != "" {
			lines = append(lines, c.lines)
		}
		got := q.ask(c.method, c.path, c.body, lines...)
		if got.status != c.status || got.code() != c.code || got.field() != c.field || c.field != "" && !strings.Contains(got.text1("message"), c.field) {
			t.Errorf("%s %s %.80s %s: got %d %s, want %d %s of %q", c.method, c.path, c.body, c.lines, got.status, got.text, c.status, c.code, c.field)
		}
	}
	if n := q.room.Figures().Issued; n > 1 {
		t.Errorf("bad requests took %d places", n-1)
	}
	for _, unknown := range []string{"x", "a.b.c", "open", strings.Repeat("x", 5000)} {
		if got := q.ask("GET", statusOf(unknown), ""); got.at("data.status") != "expired" || got.number("data.seq") != 0 {
			t.Errorf("session %.20s: got %d %s, want expired", unknown, got.status, got.text)
		}
	}
	// Fields that nobody knows do no harm.
	if got := q.ask("POST", enter, `{"activity_id":123,"user_hash":"u2","seq":1,"tenant":"x"}`); got.status != http.StatusOK {
		t.Errorf("with more fields: got %d %s", got.status, got.text)
	}
	if got := q.ask("POST", enter, `{"activity_id":123,"user_hash":"u3"}`, "Content-Type: application/json; charset=utf-8"); got.status != http.StatusOK {
		t.Errorf("with a charset: got %d %s", got.status, got.text)
	}
}

func TestQueue_OnlyPagesOfConfiguredOriginsRead(t *testing.T) {
	var origins []string
	q := openQueue(t, func(s *queueSetup) { s.options.Origins = func() []string { return origins } })
	preflight := func(origin string) answer {
		return q.ask("OPTIONS", enter, "", "Origin: "+origin, "Access-Control-Request-Method: POST", "Access-Control-Request-Headers: content-type")
	}
	for _, c := range []struct {
		origins      []string
		origin       string
		preflight    int
		allows, vary string
	}{
		{nil, "https://shop.example", 405, "", ""},
		{[]string{"https://shop.example"}, "https://shop.example", 204, "https://shop.example", "Origin"},
		{[]string{"https://shop.example"}, "https://shop.example.evil", 403, "", "Origin"},
		{[]string{"https://shop.example"}, "http://shop.example", 403, "", "Origin"},
		{[]string{"https://shop.example"}, "null", 403, "", "Origin"},
		{[]string{"*"}, "https://any.example", 204, "*", "Origin"},
		{[]string{"*", "https://shop.example"}, "https://shop.example", 204, "https://shop.example", "Origin"},
	} {
		origins = c.origins
		got := preflight(c.origin)
		if got.status != c.preflight || got.header.Get("Access-Control-Allow-Origin") != c.allows {
			t.Errorf("%v, preflight of %s: got %d, allows %q", c.origins, c.origin, got.status, got.header.Get("Access-Control-Allow-Origin"))
		}
		if c.preflight == 204 && (!strings.Contains(got.header.Get("Access-Control-Allow-Headers"), "Content-Type") || !strings.Contains(got.header.Get("Access-Control-Allow-Methods"), "POST")) {
			t.Errorf("%v: the preflight allows %v", c.origins, got.header)
		}
		got = q.ask("GET", status+"?activity_id=123&session_id=x", "", "Origin: "+c.origin)
		if got.header.Get("Access-Control-Allow-Origin") != c.allows || got.header.Get("Access-Control-Allow-Credentials") != "" {
			t.Errorf("%v, answer to %s: %v", c.origins, c.origin, got.header)
		}
		if c.vary != "" && !strings.Contains(strings.Join(got.header["Vary"], ", "), c.vary) {
			t.Errorf("%v: varies by %q", c.origins, got.header["Vary"])
		}
	}
}

func TestQueue_RequestIDsAreATrustedProxysOrNew(t *testing.T) {
	stranger, trusted := openQueue(t), openQueue(t, func(s *queueSetup) { s.proxies = []string{"127.0.0.0/8"} })
	ask := func(q *queue, id string) string {
		return q.ask("GET", status, "", "X-Request-Id: "+id).header.Get("X-Request-Id")
	}
	if got := ask(trusted, "abc-1"); got != "abc-1" {
		t.Errorf("of a trusted proxy: got %q", got)
	}
	if got := ask(stranger, "abc-1"); got == "abc-1" || got == "" {
		t.Errorf("of a stranger: got %q", got)
	}
	if got := ask(trusted, "a b"); got == "a b" || got == "" {
		t.Errorf("not one: got %q", got)
	}
	in := trusted.come("u", "X-Request-Id: abc-2")
	if in.at("data.request_id") != "abc-2" || in.at("request_id") != "abc-2" {
		t.Errorf("got %s, want the id", in.text)
	}
}

func TestQueue_MessagesAreInTheCallersLanguage(t *testing.T) {
	q := openQueue(t)
	const en, zh = "There is no such activity.", "沒有這個活動。"
	for languages, want := range map[string]string{
		"": en, "en": en, "de": en, "zh-TW": zh, "zh-Hant-HK;q=0.9, en;q=0.1": zh, "zh": zh, "fr, zh-TW;q=0.5": zh, "en-GB, zh-TW;q=0.5": en,
		"zh-TW;q=": en, "*": en, "zh-TW" + strings.Repeat(",de", 500): en,
	} {
		got := q.ask("GET", status+"?activity_id=124&session_id=x", "", "Accept-Language: "+languages)
		if got.text1("message") != want {
			t.Errorf("%.40q: got %s, want %s", languages, got.text1("message"), want)
		}
	}
	got := q.ask("GET", status+"?activity_id=123", "", "Accept-Language: zh-TW")
	if got.text1("message") != "缺少欄位 session_id。" || got.header.Get("Content-Language") != "zh-Hant" {
		t.Errorf("got %s %s", got.text, got.header.Get("Content-Language"))
	}
}

// failing is a room in which everything goes wrong.
type failing struct{ api.QueueRoom }

func (failing) Enter(context.Context, admission.Visit) admission.Entered { panic("secret cause") }

func TestQueue_APanicIsAnErrorWhoseCauseOnlyTheLogHas(t *testing.T) {
	log, logged := observed()
	q := api.NewQueue(api.QueueOptions{
		Lines:      func(int64) (api.Line, bool) { return api.Line{ID: 123, Room: failing{}}, true },
		EnterLimit: func() (int64, int64) { return 0, 0 }, Log: log,
	})
	got := dial(t, q).come("u")
	if got.status != http.StatusInternalServerError || got.code() != "INTERNAL_ERROR" || strings.Contains(got.text, "secret") {
		t.Errorf("got %d %s, want 500 without its cause", got.status, got.text)
	}
	if !logged("secret cause", got.text1("request_id")) {
		t.Error("the log has not the cause by the request's id")
	}
}

func FuzzQueue_EnterBody(f *testing.F) {
	for _, seed := range []string{`{"activity_id":123,"user_hash":"u","fingerprint":"f"}`, `{"activity_id":1e3}`, `[]`, `null`, `{"user_hash":"\ud800"}`, "\xff", `{"activity_id":123,"user_hash":{}}`} {
		f.Add([]byte(seed))
	}
	q := makeQueue(f)
	c := inside(f, q.handler)
	f.Fuzz(func(t *testing.T, body []byte) {
		c.t, c.http.Transport = t, documented{t, direct{q.handler}}
		switch got := c.ask("POST", enter, string(body)); got.status {
		case 200, 400, 404, 409, 413:
		default:
			t.Errorf("got %d %s", got.status, got.text)
		}
	})
}

func TestQueue_WhoEntersADrawWaitsForItsNumber(t *testing.T) {
	t.Parallel()
	q := openQueue(t, func(s *queueSetup) {
		s.limits.Draw, s.limits.Prequeue, s.limits.StartAt = true, time.Hour, time.Now().Add(2*time.Second)
	})
	var got answer
	for got = q.come("a"); got.status == http.StatusConflict; got = q.come("a") { // not committed yet
	}
	session := got.text1("data.session_id")
	if got.status != http.StatusOK || got.number("data.seq") != 0 || session == "" {
		t.Fatalf("entered: %d %s", got.status, got.text)
	}
	if got := q.ask("GET", statusOf(session)+"&seq=0", ""); got.at("data.status") != "waiting" || got.number("data.polling_interval") == 0 {
		t.Fatalf("before the start: %d %s", got.status, got.text)
	}
	got = q.until("drawn", func(got answer) bool { return got.number("data.seq") > 0 }, "GET", statusOf(session)+"&seq=0")
	if got.at("data.status") != "ready" || got.number("data.seq") > 64 || got.text1("data.admission_token") == "" {
		t.Errorf("drawn: %s", got.text)
	}
}
