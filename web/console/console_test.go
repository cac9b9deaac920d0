package console

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/web/api"
)

var secret = []byte("the admin's secret of thirty-two bytes")

// none are no activities.
type none struct{ api.Activities }

func (none) All() []api.Offered     { return nil }
func (none) System() catalog.System { return catalog.Defaults() }

// page is a browser that has the console open.
type page struct {
	t       *testing.T
	url     string
	cookies []*http.Cookie
	csrf    string
}

func open(t *testing.T) *page {
	t.Helper()
	verifier, err := api.NewVerifier(api.VerifierOptions{Alg: "HS256", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	operators := api.NewAdmin(api.AdminOptions{
		Activities: none{}, Log: zap.NewNop(), Gateway: "g1",
		Bearer: func() *api.Verifier { return verifier },
		Reload: func(context.Context) ([]string, error) { return nil, nil },
	})
	server := httptest.NewServer(New(operators))
	t.Cleanup(server.Close)
	return &page{t: t, url: server.URL}
}

func token(t *testing.T, role api.Role, ttl time.Duration) string {
	t.Helper()
	signed, err := api.SignToken(secret, "", "", api.Claims{Subject: "mei", Role: role}, time.Now().Add(ttl))
	if err != nil {
		t.Fatal(err)
	}
	return signed
}

// ask sends a request as the page's own script does; lines change its headers,
// and an empty value takes one away.
func (p *page) ask(method, path, body string, lines ...string) (*http.Response, string) {
	p.t.Helper()
	r, err := http.NewRequest(method, p.url+path, strings.NewReader(body))
	if err != nil {
		p.t.Fatal(err)
	}
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set("Origin", p.url)
	r.Header.Set(csrfHeader, p.csrf)
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	for _, k := range p.cookies {
		r.AddCookie(k)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
		if value == "" {
			r.Header.Del(name)
		}
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		p.t.Fatal(err)
	}
	defer answer.Body.Close()
	text, err := io.ReadAll(answer.Body)
	if err != nil {
		p.t.Fatal(err)
	}
	return answer, string(text)
}

// logIn logs in, and keeps what the browser and the page keep.
func (p *page) logIn(token string, lines ...string) (*http.Response, string) {
	p.t.Helper()
	answer, text := p.ask("POST", "/console/login", `{"token":"`+token+`"}`, lines...)
	if answer.StatusCode == http.StatusOK {
		p.cookies, p.csrf = answer.Cookies(), answer.Header.Get(csrfHeader)
	}
	return answer, text
}

func TestConsole_ALoginIsACookieThatNoScriptSees(t *testing.T) {
	p := open(t)
	if answer, _ := p.ask("GET", "/console/login", ""); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("before: %s", answer.Status)
	}
	secretToken := token(t, api.Operator, time.Hour)
	answer, text := p.logIn(" " + secretToken + " ")
	if answer.StatusCode != http.StatusOK || !strings.Contains(text, `"subject":"mei"`) || !strings.Contains(text, `"role":"operator"`) {
		t.Fatalf("got %s %s", answer.Status, text)
	}
	if strings.Contains(text, secretToken) || p.csrf == "" {
		t.Errorf("the answer is %s, csrf %q", text, p.csrf)
	}
	k := p.cookies[0]
	if len(p.cookies) != 1 || !k.HttpOnly || k.SameSite != http.SameSiteStrictMode || k.Path != "/console/" || k.Secure || k.MaxAge != 0 || !k.Expires.IsZero() {
		t.Errorf("the cookie is %+v", k)
	}
	for _, path := range []string{"/console/login", "/console/api/v1/admin/whoami", "/console/api/v1/admin/activities"} {
		if answer, text := p.ask("GET", path, ""); answer.StatusCode != http.StatusOK {
			t.Errorf("%s: %s %s", path, answer.Status, text)
		}
	}
	answer, _ = p.ask("DELETE", "/console/login", "")
	if answer.StatusCode != http.StatusNoContent || len(answer.Cookies()) != 1 || answer.Cookies()[0].MaxAge >= 0 {
		t.Errorf("logged out: %s %v", answer.Status, answer.Cookies())
	}
	// A front that ends HTTPS is told by the page's own origin.
	https := "Origin: " + strings.Replace(p.url, "http://", "https://", 1)
	if answer, _ := p.logIn(secretToken, https); len(answer.Cookies()) != 1 || !answer.Cookies()[0].Secure {
		t.Errorf("by HTTPS: %s %v", answer.Status, answer.Cookies())
	}
}

func TestConsole_ATokenThatTheAPIDoesNotBelieveLeavesNoCookie(t *testing.T) {
	p := open(t)
	other, err := api.SignToken([]byte("another secret of at least 32 bytes!"), "", "", api.Claims{Subject: "mei", Role: api.Admin}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	for story, c := range map[string]struct {
		token  string
		status int
	}{
		"expired":        {token(t, api.Admin, -time.Second), 401},
		"of another key": {other, 401},
		"of no role":     {token(t, "root", time.Hour), 403},
		"none":           {"", 401},
		"no token":       {"abc; Domain=example.com", 401},
		"too long":       {strings.Repeat("a", longestToken+1), 400},
	} {
		answer, text := p.logIn(c.token)
		if answer.StatusCode != c.status || len(answer.Cookies()) != 0 || answer.Header.Get(csrfHeader) != "" {
			t.Errorf("%s: %s %s, cookies %v", story, answer.Status, text, answer.Cookies())
		}
	}
	for story, c := range map[string]struct{ body, kind string }{
		"a form":       {"token=" + token(t, api.Admin, time.Hour), "application/x-www-form-urlencoded"},
		"plain text":   {`{"token":"` + token(t, api.Admin, time.Hour) + `"}`, "text/plain"},
		"no JSON":      {`token`, "application/json"},
		"a large body": {`{"token":"` + strings.Repeat(" ", 4*longestToken) + `"}`, "application/json"},
	} {
		if answer, text := p.ask("POST", "/console/login", c.body, "Content-Type: "+c.kind); answer.StatusCode < 400 || len(answer.Cookies()) != 0 {
			t.Errorf("%s: %s %s", story, answer.Status, text)
		}
	}
}

func TestConsole_AnotherSiteCanDoNothingWithTheLogin(t *testing.T) {
	p := open(t)
	p.logIn(token(t, api.Admin, time.Hour))
	const reload = "/console/api/v1/admin/reload"
	if answer, text := p.ask("POST", reload, ""); answer.StatusCode != http.StatusOK {
		t.Fatalf("the page's own: %s %s", answer.Status, text)
	}
	for story, lines := range map[string][]string{
		"another site":                   {"Sec-Fetch-Site: cross-site", "Origin: https://evil.example"},
		"another port of this host":      {"Sec-Fetch-Site: same-site", "Origin: http://127.0.0.1:9"},
		"an old browser's other origin":  {"Sec-Fetch-Site: ", "Origin: https://evil.example"},
		"an origin that is not told":     {"Sec-Fetch-Site: ", "Origin: null"},
		"no token of the page":           {csrfHeader + ": "},
		"another login's token":          {csrfHeader + ": " + csrf("another")},
		"no header that tells a browser": {"Sec-Fetch-Site: ", "Origin: ", csrfHeader + ": "},
		"no cookie":                      {"Cookie: "},
	} {
		for _, request := range [][2]string{{"POST", reload}, {"DELETE", "/console/login"}} {
			answer, text := p.ask(request[0], request[1], "", lines...)
			if answer.StatusCode != http.StatusForbidden && answer.StatusCode != http.StatusUnauthorized || len(answer.Cookies()) != 0 {
				t.Errorf("%s: %s %s: %s %s", story, request[0], request[1], answer.Status, text)
			}
		}
	}
	if answer, text := p.ask("GET", "/console/api/v1/admin/activities", "", "Sec-Fetch-Site: cross-site"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a read from elsewhere: %s %s", answer.Status, text)
	}
	if answer, text := p.logIn(token(t, api.Admin, time.Hour), "Sec-Fetch-Site: cross-site", "Origin: https://evil.example"); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a login from elsewhere: %s %s", answer.Status, text)
	}
}

func TestConsole_AHeaderOrASpellingGetsByNothing(t *testing.T) {
	p := open(t)
	p.logIn(token(t, api.Viewer, time.Hour))
	admins := "Authorization: Bearer " + token(t, api.Admin, time.Hour)
	if answer, text := p.ask("POST", "/console/api/v1/admin/reload", "", admins); answer.StatusCode != http.StatusForbidden {
		t.Errorf("a viewer with another's bearer: %s %s", answer.Status, text)
	}
	if answer, text := p.ask("GET", "/console/api/v1/admin/activities", "", admins, "Cookie: "); answer.StatusCode != http.StatusUnauthorized {
		t.Errorf("a bearer without a login: %s %s", answer.Status, text)
	}
	for _, path := range []string{
		"/console/api", "/console/api/v1/admin/%61ctivities", "/console/api/../login", "/console/api//v1/admin/activities",
		"/console/index.html", "/console/", "/console/login/", "/console/console.go", "/index.html", "/nothing",
	} {
		if answer, text := p.ask("GET", path, ""); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %s %.100s", path, answer.Status, text)
		}
	}
}

func TestConsole_AnExpiredLoginIsOver(t *testing.T) {
	p := open(t)
	old := token(t, api.Admin, -time.Second)
	p.cookies, p.csrf = []*http.Cookie{{Name: cookie, Value: old}}, csrf(old)
	for _, request := range [][2]string{{"GET", "/console/login"}, {"GET", "/console/api/v1/admin/activities"}, {"POST", "/console/api/v1/admin/reload"}} {
		if answer, text := p.ask(request[0], request[1], ""); answer.StatusCode != http.StatusUnauthorized {
			t.Errorf("%s %s: %s %s", request[0], request[1], answer.Status, text)
		}
	}
}

func TestConsole_ThePageAsksNowhereElseAndIsReadAnewWhenItChanged(t *testing.T) {
	p := open(t)
	answer, text := p.ask("GET", "/", "")
	if answer.StatusCode != http.StatusOK || !strings.HasPrefix(answer.Header.Get("Content-Type"), "text/html") {
		t.Fatalf("got %s %s", answer.Status, text)
	}
	policy := answer.Header.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'", "script-src 'self'", "frame-ancestors 'none'", "require-trusted-types-for 'script'"} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy is %q, without %q", policy, part)
		}
	}
	if strings.Contains(policy, "unsafe") || answer.Header.Get("X-Frame-Options") != "DENY" || answer.Header.Get("Referrer-Policy") != "no-referrer" {
		t.Errorf("the headers are %v", answer.Header)
	}
	if again, _ := p.ask("GET", "/", "", "If-None-Match: "+answer.Header.Get("ETag")); again.StatusCode != http.StatusNotModified {
		t.Errorf("unchanged: %s", again.Status)
	}
	for _, name := range []string{"console.css", "console.js", "icon.svg"} {
		got, text := p.ask("GET", "/console/"+name, "")
		if kind := got.Header.Get("Content-Type"); got.StatusCode != http.StatusOK || text == "" || kind == "" || strings.HasPrefix(kind, "text/plain") {
			t.Errorf("%s: %s %s", name, got.Status, kind)
		}
	}
	if got, _ := p.ask("POST", "/", ""); got.StatusCode != http.StatusMethodNotAllowed {
		t.Errorf("a POST of the page: %s", got.Status)
	}
}
