package waitpage_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
)

// told is what the tests read of a status.
type told struct {
	State       string
	Number      *int64
	Position    *int64
	QueueLength int64  `json:"queue_length"`
	SessionS    *int64 `json:"session_s"`
	PollAfter   *int64 `json:"poll_after_ms"`
	Code        string
	Words       *struct{ Title, Detail string }
}

func (s told) number() int64 {
	if s.Number == nil {
		return 0
	}
	return *s.Number
}

func tell(t *testing.T, body string) told {
	t.Helper()
	var s told
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Fatalf("%v in %s", err, body)
	}
	return s
}

// heldBrowser is a visitor in line: someone else is inside.
func heldBrowser(t *testing.T) (server *httptest.Server, c *http.Client, number int64) {
	t.Helper()
	server, _ = gateway(t, oneInside())
	if _, body := ask(t, browser(t), "GET", server.URL+"/drop", ""); body != "the shop" {
		t.Fatalf("the first visitor got %q, want the shop", body)
	}
	c = browser(t)
	_, body := ask(t, c, "GET", server.URL+"/drop", "")
	return server, c, tell(t, body).number()
}

func TestStatus_FollowsTheLineAndTakesNoPlace(t *testing.T) {
	server, c, number := heldBrowser(t)
	if number == 0 {
		t.Fatal("the second visitor got no number")
	}
	for range 3 {
		r, body := ask(t, c, "GET", server.URL+prefix+"/status?activity=123", "")
		s := tell(t, body)
		if r.StatusCode != 200 || s.State != "waiting" || s.number() != number || s.Code != "" || s.Words != nil {
			t.Errorf("got %d %s, want 200, waiting as number %d", r.StatusCode, body, number)
		}
		if got := r.Header.Get("Cache-Control"); got != "no-store" {
			t.Errorf("got Cache-Control %q, want no-store", got)
		}
	}
	stranger := browser(t)
	r, body := ask(t, stranger, "GET", server.URL+prefix+"/status?activity=123", "")
	if s := tell(t, body); r.StatusCode != 200 || s.State != "new" || s.Number != nil || len(r.Cookies()) > 0 {
		t.Errorf("a stranger got %d %s and cookies %v, want state new and no place", r.StatusCode, body, r.Cookies())
	}
	_, body = ask(t, stranger, "GET", server.URL+"/drop", "")
	if got := tell(t, body).number(); got != number+1 {
		t.Errorf("the next to join got number %d, want %d: the polls took one", got, number+1)
	}
}

func TestStatus_ComesInWordsWhereAsked(t *testing.T) {
	server, c, _ := heldBrowser(t)
	_, body := ask(t, c, "GET", server.URL+prefix+"/status?activity=123&words=en", "")
	if s := tell(t, body); s.Words == nil || !strings.HasSuffix(s.Words.Title, " · Spring drop") {
		t.Errorf("got %s, want words", body)
	}
}

func TestStatus_SpeaksTheLanguageOfThePage(t *testing.T) {
	server, c, _ := heldBrowser(t)
	for query, want := range map[string]string{
		"words=de": "Sie sind als Nächstes an der Reihe.", "words=zh-Hant": "下一位就是您。", "words=he": "אתם הבאים בתור.",
		"words=xx": "You are next.", "words=": "You are next.", "words=de&shown=1.1.": "Sie sind als Nächstes an der Reihe.",
	} {
		_, body := ask(t, c, "GET", server.URL+prefix+"/status?activity=123&"+query, "", "Accept-Language: fr")
		if s := tell(t, body); s.Words == nil || s.Words.Detail != want {
			t.Errorf("%s: got %s, want %q", query, body, want)
		}
	}
}

func TestLanguage_IsRememberedAndLeadsBack(t *testing.T) {
	server, c, number := heldBrowser(t)
	choose := func(body string, lines ...string) *http.Response {
		r, _ := ask(t, c, "POST", server.URL+prefix+"/language", body, append(lines, "Content-Type: application/x-www-form-urlencoded")...)
		return r
	}
	const own = "Sec-Fetch-Site: same-origin"
	r := choose("lang=de&to=/drop?size=M", own)
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/drop?size=M" || r.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("got %d %q %q, want 303 back", r.StatusCode, r.Header.Get("Location"), r.Header.Get("Cache-Control"))
	}
	if got := r.Header.Get("Set-Cookie"); got != "ropeline-language=de; Path=/; Max-Age=31536000; SameSite=Lax" {
		t.Errorf("got the cookie %q", got)
	}
	r, body := ask(t, c, "GET", server.URL+"/drop", "", "Accept: text/html", "Accept-Language: fr")
	if got := r.Header.Get("Content-Language"); got != "de" || !strings.Contains(body, `<html lang="de" dir="ltr">`) {
		t.Errorf("the page is in %q, want German", got)
	}
	if _, body := ask(t, c, "GET", server.URL+"/drop", ""); tell(t, body).number() != number {
		t.Errorf("the choice cost the place: got %s, want number %d", body, number)
	}
	for want, r := range map[int]*http.Response{
		303: choose("lang=ja&to=//evil.test", own), 403: choose("lang=ja", "Sec-Fetch-Site: cross-site"), 400: choose("lang=%0d%0a", own),
		405: func() *http.Response { r, _ := ask(t, c, "GET", server.URL+prefix+"/language?lang=de", ""); return r }(),
	} {
		if r.StatusCode != want || strings.Contains(r.Header.Get("Location"), "evil") {
			t.Errorf("got %d, leading to %q, want %d", r.StatusCode, r.Header.Get("Location"), want)
		}
	}
}

func TestStatus_AsksForOneKnownActivity(t *testing.T) {
	server, _ := gateway(t, oneInside())
	for query, want := range map[string]int{
		"?activity=123":                          200,
		"?words=&activity=123":                   200,
		"?activity=124":                          404,
		"?activity=9223372036854775807":          404,
		"":                                       400,
		"?activity=":                             400,
		"?activity=0":                            400,
		"?activity=-123":                         400,
		"?activity=+123":                         400,
		"?activity=12x":                          400,
		"?activity=9223372036854775808":          400,
		"?activity=123&activity=123":             400,
		"?activity=" + strings.Repeat("1", 5000): 400,
	} {
		for _, name := range []string{"status", "session"} {
			r, body := ask(t, browser(t), "GET", server.URL+prefix+"/"+name+query, "")
			if r.StatusCode != want {
				t.Errorf("%s%.40s: got %d %s, want %d", name, query, r.StatusCode, body, want)
			}
			if r.StatusCode != 200 && tell(t, body).Code == "" {
				t.Errorf("%s%.40s: the refusal %s has no code", name, query, body)
			}
		}
	}
}

func TestEndpoints_PathsAndMethodsAreExact(t *testing.T) {
	server, _ := gateway(t, oneInside())
	for _, tt := range []struct {
		method, path string
		want         int
		allow        string
	}{
		{"POST", "/status?activity=123", 405, "GET, HEAD"},
		{"DELETE", "/session?activity=123", 405, "GET, HEAD"},
		{"GET", "/leave?activity=123", 405, "POST"},
		{"HEAD", "/leave?activity=123", 405, "POST"},
		{"PUT", "/client.js", 405, "GET, HEAD"},
		{"HEAD", "/status?activity=123", 200, ""},
		{"GET", "/status/?activity=123", 404, ""},
		{"GET", "/Status?activity=123", 404, ""},
		{"GET", "/", 404, ""},
		{"GET", "/assets/", 404, ""},
		{"GET", "/assets/client.js", 404, ""},
		{"POST", "/events?activity=123", 405, "GET, HEAD"},
		{"GET", "/events", 400, ""},
		{"GET", "/events?activity=124", 404, ""},
	} {
		r, _ := ask(t, browser(t), tt.method, server.URL+prefix+tt.path, "")
		if r.StatusCode != tt.want || r.Header.Get("Allow") != tt.allow {
			t.Errorf("%s %s: got %d Allow %q, want %d %q", tt.method, tt.path, r.StatusCode, r.Header.Get("Allow"), tt.want, tt.allow)
		}
	}
	// Without the mux, which cleans paths.
	w := httptest.NewRecorder()
	named("", 0).ServeHTTP(w, httptest.NewRequest("GET", "/status?activity=123", nil))
	if w.Code != 404 {
		t.Errorf("a path beside the prefix: got %d, want 404", w.Code)
	}
}

func TestSession_TellsTheTimeThatRemains(t *testing.T) {
	server, _ := gateway(t, oneInside())
	c := browser(t)
	ask(t, c, "GET", server.URL+"/drop", "")
	_, body := ask(t, c, "GET", server.URL+prefix+"/session?activity=123", "")
	if s := tell(t, body); s.State != "admitted" || s.SessionS == nil || *s.SessionS <= 0 || *s.SessionS > 180 {
		t.Errorf("got %s, want what is left of a session", body)
	}
	_, body = ask(t, browser(t), "GET", server.URL+prefix+"/session?activity=123", "")
	if s := tell(t, body); s.State != "new" || s.SessionS != nil {
		t.Errorf("a stranger got %s, want no session", body)
	}
}

func TestSession_ComesInWordsWhereAsked(t *testing.T) {
	server, _ := gateway(t, oneInside())
	c := browser(t)
	ask(t, c, "GET", server.URL+"/drop", "")
	for query, want := range map[string]string{"": "", "&words=de": "de", "&words=de-AT": "de", "&words=": "fr", "&words=sw": "en", "&words=" + strings.Repeat("x-", 500): "en"} {
		_, body := ask(t, c, "GET", server.URL+prefix+"/session?activity=123"+query, "", "Accept-Language: fr")
		var s struct {
			State string
			Words struct{ Lang, Direction, Ends, Last, Stay, Over string }
		}
		if err := json.Unmarshal([]byte(body), &s); err != nil {
			t.Fatalf("%v in %s", err, body)
		}
		if s.State != "admitted" || s.Words.Lang != want || want != "" && (!strings.Contains(s.Words.Ends, "{clock}") || !strings.Contains(s.Words.Last, "{clock}") || s.Words.Stay == "" || s.Words.Over == "") {
			t.Errorf("%.20s: got %s, want it in %q", query, body, want)
		}
	}
}

func TestLeave_GivesUpThePlace(t *testing.T) {
	server, c, number := heldBrowser(t)
	r, body := ask(t, c, "POST", server.URL+prefix+"/leave?activity=123", "", "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: cors")
	if s := tell(t, body); r.StatusCode != 200 || s.State != "new" || s.Number != nil {
		t.Errorf("got %d %s, want 200 and state new", r.StatusCode, body)
	}
	u, _ := url.Parse(server.URL)
	if left := c.Jar.Cookies(u); len(left) > 0 {
		t.Errorf("cookies left: %v", left)
	}
	_, body = ask(t, c, "GET", server.URL+"/drop", "")
	if got := tell(t, body).number(); got <= number {
		t.Errorf("on coming back: got number %d, want a new one above %d", got, number)
	}
}

func TestLeave_LeadsAPersonOnWithinTheSite(t *testing.T) {
	server, _ := gateway(t, oneInside())
	for to, want := range map[string]string{
		"":                              "/",
		"/":                             "/",
		"/home?a=b#c":                   "/home?a=b#c",
		"/a//b":                         "/a//b",
		"//evil.test":                   "/",
		"///evil.test":                  "/",
		`/\evil.test`:                   "/",
		`\\evil.test`:                   "/",
		`/a\..\..\evil.test`:            "/",
		"/\t/evil.test":                 "/",
		"/\n/evil.test":                 "/",
		"\t//evil.test":                 "/",
		" //evil.test":                  "/",
		"/ /evil.test":                  "/",
		"/%09/evil.test":                "/%09/evil.test", // a path as it stands
		"https://evil.test/":            "/",
		"https:/evil.test":              "/",
		"javascript:alert(1)":           "/",
		"data:text/html,x":              "/",
		"evil.test":                     "/",
		".evil.test":                    "/",
		"@evil.test":                    "/",
		"/\u2028/evil.test":             "/",
		"/ü":                            "/",
		"/\x00":                         "/",
		"/a\r\nSet-Cookie: x=y":         "/",
		"/" + strings.Repeat("a", 5000): "/",
	} {
		r, _ := ask(t, browser(t), "POST", server.URL+prefix+"/leave?activity=123", url.Values{"to": {to}}.Encode(),
			"Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate", "Content-Type: application/x-www-form-urlencoded")
		location := r.Header.Get("Location")
		if r.StatusCode != http.StatusSeeOther || location != want {
			t.Errorf("to %.40q: got %d %.40q, want 303 %q", to, r.StatusCode, location, want)
		}
		base, _ := url.Parse("http://shop.test" + prefix + "/leave")
		if u, err := base.Parse(location); err != nil || u.Host != "shop.test" || u.Scheme != "http" {
			t.Errorf("to %.40q: %q leads away", to, location)
		}
	}
}

func TestLeave_NoOtherSiteCanMakeAVisitorLeave(t *testing.T) {
	server, c, number := heldBrowser(t)
	for _, lines := range [][]string{
		{"Sec-Fetch-Site: cross-site"},
		{"Sec-Fetch-Site: same-site"},
		{"Sec-Fetch-Site: none"},
		{"Sec-Fetch-Site: cross-site", "Origin: " + server.URL},
		{"Origin: http://evil.test"},
		{"Origin: null"},
		{"Origin: " + server.URL + ".evil.test"},
		{"Authorization: Basic dTpw", "Origin: http://evil.test"}, // browsers send this one by themselves
		{},
	} {
		r, body := ask(t, c, "POST", server.URL+prefix+"/leave?activity=123", "to=%2F",
			append(lines, "Accept: text/html", "Content-Type: application/x-www-form-urlencoded")...)
		if r.StatusCode != 403 {
			t.Errorf("%q: got %d %s, want 403", lines, r.StatusCode, body)
		}
	}
	_, body := ask(t, c, "GET", server.URL+prefix+"/status?activity=123", "")
	if got := tell(t, body).number(); got != number {
		t.Errorf("the place is gone: got number %d, want %d", got, number)
	}
	r, _ := ask(t, c, "POST", server.URL+prefix+"/leave?activity=123", "", "Origin: "+server.URL)
	if r.StatusCode != 200 {
		t.Errorf("own origin of an old browser: got %d, want 200", r.StatusCode)
	}
}

func TestLeave_AnAppLeavesByItsToken(t *testing.T) {
	server, c, _ := heldBrowser(t)
	u, _ := url.Parse(server.URL)
	token := c.Jar.Cookies(u)[0].Value
	app := &http.Client{}
	_, body := ask(t, app, "GET", server.URL+prefix+"/status?activity=123", "", "Authorization: Bearer "+token)
	if s := tell(t, body); s.State != "waiting" {
		t.Fatalf("got %s, want waiting", body)
	}
	r, body := ask(t, app, "POST", server.URL+prefix+"/leave?activity=123", "", "Authorization: Bearer "+token)
	if r.StatusCode != 200 {
		t.Errorf("got %d %s, want 200", r.StatusCode, body)
	}
}

func TestClient_IsFoundByAStableNameAndKeptForEver(t *testing.T) {
	server, _ := gateway(t, oneInside())
	r, _ := ask(t, browser(t), "GET", server.URL+prefix+"/client.js", "")
	if r.StatusCode != http.StatusFound || !strings.HasPrefix(r.Header.Get("Location"), prefix+"/assets/client.") {
		t.Fatalf("got %d %q, want a redirect to the client", r.StatusCode, r.Header.Get("Location"))
	}
	r, body := ask(t, browser(t), "GET", server.URL+r.Header.Get("Location"), "")
	if r.StatusCode != 200 || !strings.Contains(body, "window.ropeline") {
		t.Errorf("got %d with %d bytes, want the client", r.StatusCode, len(body))
	}
	for name, want := range map[string]string{
		"Content-Type":           "text/javascript; charset=utf-8",
		"Cache-Control":          "public, max-age=31536000, immutable",
		"X-Content-Type-Options": "nosniff",
	} {
		if got := r.Header.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
	if len(r.Cookies()) > 0 {
		t.Error("an asset that caches keep sets a cookie")
	}
}
