package proxy

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

func TestGate_FirstVisitorEntersWithoutAPage(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	b := browser(t)

	res, body := g.ask(b, "GET", "/drop", "", navigation)
	if res.StatusCode != 200 || body != "the shop" {
		t.Fatalf("got %d %q, want the shop", res.StatusCode, body)
	}
	if got, want := res.Header.Get("Cache-Control"), "private, no-store"; got != want {
		t.Errorf("the answer with the ticket has Cache-Control %q, want %q", got, want)
	}
	last := shop.last(t)
	for name, want := range map[string]string{"Ropeline-Activity": "123", "Ropeline-Number": "1", "Ropeline-Tenant": "demo"} {
		if got := last.Header.Get(name); got != want {
			t.Errorf("the shop is told %s %q, want %q", name, got, want)
		}
	}

	// Inside: no further ticket, and none of ours for the shop.
	res, _ = g.ask(b, "GET", "/drop/x", "", navigation)
	if res.StatusCode != 200 {
		t.Fatalf("the second request got %d, want 200", res.StatusCode)
	}
	if got := res.Cookies(); len(got) != 0 {
		t.Errorf("the second answer sets %v, want no cookie", got)
	}
	if got, want := res.Header.Get("Cache-Control"), "private"; got != want {
		t.Errorf("the second answer has Cache-Control %q, want %q", got, want)
	}
	if got := shop.last(t).Header["Cookie"]; got != nil {
		t.Errorf("the shop gets the cookies %q, want none", got)
	}
}

func TestGate_NextVisitorIsHeld(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	admitted(t, g)
	inside := shop.hits()

	b := browser(t)
	res, body := g.ask(b, "GET", "/drop", "", navigation)
	if res.StatusCode != 200 || !strings.Contains(body, "<!doctype html>") && !strings.Contains(body, "<html") {
		t.Errorf("a navigation got %d %.80q, want the page", res.StatusCode, body)
	}
	if got, want := res.Header.Get("Cache-Control"), "no-store"; got != want {
		t.Errorf("the page has Cache-Control %q, want %q", got, want)
	}

	// The same visitor's script: the same place, as JSON.
	res, body = g.ask(b, "GET", "/drop/api", "", "Sec-Fetch-Mode: cors")
	var status struct {
		State  string
		Number int64
		Code   string
	}
	if err := json.Unmarshal([]byte(body), &status); err != nil {
		t.Fatalf("%v in %q", err, body)
	}
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || status.State != "waiting" || status.Number != 2 || status.Code != "WAITING" {
		t.Errorf("a call got %d, Retry-After %q, %+v; want 503 with the place of number 2", res.StatusCode, res.Header.Get("Retry-After"), status)
	}
	if got := shop.hits(); got != inside {
		t.Errorf("the shop was asked %d times for held visitors", got-inside)
	}
	if got := g.count("ropeline_denials_total", "123", "waiting"); got != 2 {
		t.Errorf("%v denials are counted, want 2", got)
	}
}

func TestGate_PostWhileHeldGetsJSON(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	admitted(t, g)
	res, body := g.ask(browser(t), "POST", "/drop/buy", `{"n":1}`, "Content-Type: application/json")
	if res.StatusCode != 503 || !json.Valid([]byte(body)) {
		t.Errorf("got %d %.80q, want 503 and JSON", res.StatusCode, body)
	}
}

func TestGate_FormWhileHeldIsGivenToThePage(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	admitted(t, g)
	res, body := g.ask(browser(t), "POST", "/drop/buy", "colour=midnight-blue", navigation,
		"Content-Type: application/x-www-form-urlencoded", "Origin: "+g.url, "Sec-Fetch-Site: same-origin", "Sec-Fetch-Mode: navigate")
	if res.StatusCode != 200 || !strings.Contains(body, "midnight-blue") {
		t.Errorf("got %d and a page without the form's field, want it offered again", res.StatusCode)
	}
	if got := shop.hits(); got != 1 {
		t.Errorf("the shop was asked %d times, want once", got)
	}
}

// Every way to ask without admission, over one closed room.
func TestGate_NoMethodReachesTheShopUnadmitted(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) { s.limits.Mode = admission.ModeClosed })
	for _, method := range []string{"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "PROPFIND", "get", "QUERY"} {
		for _, lines := range [][]string{nil, {navigation}, {"Connection: Upgrade", "Upgrade: websocket"},
			{"Origin: https://a.test", "Access-Control-Request-Method: PUT"},
			{"Ropeline-Number: 1", "Ropeline-Activity: 123"},
			{"X-Original-Url: /about", "X-Rewrite-Url: /about", "X-Http-Method-Override: GET"},
			{"Cookie: ropeline-admission-123=eyJhbGciOiJub25lIn0.e30."},
			{"Authorization: Bearer eyJhbGciOiJub25lIn0.e30."}} {
			g.ask(browser(t), method, "/drop", "", lines...)
		}
	}
	if got := shop.hits(); got != 0 {
		t.Errorf("the shop was asked %d times, the last time by %s %v", got, shop.last(t).Method, shop.last(t).Header)
	}
}

func TestGate_PrefetchAndImageTakeNoPlace(t *testing.T) {
	g := open(t, openShop(t, nil).URL)
	for _, line := range []string{"Sec-Purpose: prefetch", "Sec-Fetch-Dest: image"} {
		res, _ := g.ask(browser(t), "GET", "/drop", "", line, "Sec-Fetch-Mode: no-cors", navigation)
		if res.StatusCode != 503 || len(res.Cookies()) != 0 {
			t.Errorf("%s: got %d with %d cookies, want 503 without any", line, res.StatusCode, len(res.Cookies()))
		}
	}
	res, _ := g.ask(browser(t), "GET", "/drop", "", navigation)
	if res.StatusCode != 200 || len(res.Cookies()) == 0 {
		t.Errorf("the first to come got %d, want to enter: nobody was before", res.StatusCode)
	}
}

func TestGate_MachinesPathsPass(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) {
		s.limits.Mode = admission.ModeClosed
		s.table = func(s *Settings) { s.Routes[0].Activity = s.Routes[1].Activity }
	})
	for path, want := range map[string]int{
		"/robots.txt": 200, "/sitemap.xml": 200, "/favicon.ico": 200, "/.well-known/security.txt": 200, "/.well-known": 200,
		"/": 503, "/robots.txtx": 503, "/robots.txt/x": 503, "/Robots.txt": 503, "/.well-knownx": 503,
		"/.well-known/../checkout": 503, "/.well-known/..%2fcheckout": 503, "/robots.txt;x": 503, "/robots.txt%3f": 503, "/x/robots.txt": 503,
	} {
		res, _ := g.send("GET " + path + " HTTP/1.1\nHost: shop.test\n\n")
		if res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", path, res.StatusCode, want)
		}
	}
	if res, _ := g.ask(browser(t), "POST", "/.well-known/x", ""); res.StatusCode != 503 {
		t.Errorf("POST got %d, want it held", res.StatusCode)
	}
	if got := g.count("ropeline_bypass_total", "123", "default"); got != 5 {
		t.Errorf("%v are counted, want 5", got)
	}
}

func TestGate_MachinesPathsAreHeldWhereTheAdminSaysSo(t *testing.T) {
	g := open(t, openShop(t, nil).URL, func(s *setup) {
		s.limits.Mode = admission.ModeClosed
		s.table = func(s *Settings) { s.Routes[1].Path = "/sitemap.xml" }
	})
	if res, _ := g.ask(browser(t), "GET", "/sitemap.xml", ""); res.StatusCode != 503 {
		t.Errorf("got %d, want it held", res.StatusCode)
	}
}

func TestGate_OpenActivityPassesAllAndCounts(t *testing.T) {
	g := open(t, openShop(t, nil).URL, func(s *setup) { s.limits.Mode = admission.ModeOpen })
	for range 3 {
		if res, _ := g.ask(browser(t), "GET", "/drop", "", navigation); res.StatusCode != 200 || res.Header.Get("Cache-Control") != "private" {
			t.Errorf("got %d, %q; want 200, private", res.StatusCode, res.Header.Get("Cache-Control"))
		}
	}
	if got := g.count("ropeline_bypass_total", "123", "open"); got != 3 {
		t.Errorf("%v are counted, want 3", got)
	}
}

func TestGate_TheLongestReservedPathAnswers(t *testing.T) {
	shop := openShop(t, nil)
	says := func(words string) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, words) })
	}
	g := open(t, shop.URL, func(s *setup) {
		s.table = func(settings *Settings) {
			settings.Reserved = map[string]http.Handler{"/own": says("own"), "/own/api": says("api"), "/api/v1/queue": says("queue")}
		}
	})
	for path, want := range map[string]string{
		"/own": "own", "/own/apis": "own", "/own/api": "api", "/own/api/x": "api", "/api/v1/queue/enter": "queue",
		"/api/v1/queues": "the shop", "/api/v1": "the shop", "/api/v1//queue/enter": "the shop", "/api/v1/%71ueue/enter": "the shop",
	} {
		if _, body := g.ask(browser(t), "GET", path, ""); body != want {
			t.Errorf("%s is answered %q, want %q", path, body, want)
		}
	}
}

func TestGate_ReservedPathsAreAnswered(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	res, body := g.ask(browser(t), "GET", "/_ropeline/status?activity=123", "")
	if res.StatusCode != 200 || !strings.Contains(body, `"state":"new"`) {
		t.Errorf("got %d %q, want the status of someone new", res.StatusCode, body)
	}
	g.ask(browser(t), "GET", "/_ropelined", "")
	if got := shop.last(t).URL.Path; got != "/_ropelined" {
		t.Errorf("the shop got %q, want what only begins like the prefix", got)
	}
}

func TestGate_PreflightIsAnsweredForTheShop(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	for _, c := range []struct{ site, origin, credentials string }{
		{"cross-site", "*", ""},
		{"same-site", "https://www.shop.test", "true"},
		{"", "*", ""},
	} {
		lines := []string{"Origin: https://www.shop.test", "Access-Control-Request-Method: PUT", "Access-Control-Request-Headers: x-cart"}
		if c.site != "" {
			lines = append(lines, "Sec-Fetch-Site: "+c.site)
		}
		res, _ := g.ask(browser(t), "OPTIONS", "/drop", "", lines...)
		h := res.Header
		if res.StatusCode != 204 || h.Get("Access-Control-Allow-Methods") != "PUT" || h.Get("Access-Control-Allow-Headers") != "x-cart" {
			t.Errorf("%s: got %d %v, want the request allowed", c.site, res.StatusCode, h)
		}
		if got := h.Get("Access-Control-Allow-Origin"); got != c.origin || h.Get("Access-Control-Allow-Credentials") != c.credentials {
			t.Errorf("%s: allowed are %q with credentials %q, want %q, %q", c.site, got, h.Get("Access-Control-Allow-Credentials"), c.origin, c.credentials)
		}
	}
	if got := shop.hits(); got != 0 {
		t.Errorf("the shop was asked %d times, want never", got)
	}
	g.ask(browser(t), "OPTIONS", "/about", "", "Origin: https://a.test", "Access-Control-Request-Method: PUT")
	if got := shop.hits(); got != 1 {
		t.Errorf("on an open route the shop was asked %d times, want to answer itself", got)
	}
}

func TestGate_TicketsNeverGoWithWhatACacheMayKeep(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=3600")
		w.Header().Set("CDN-Cache-Control", "max-age=3600")
	})
	g := open(t, shop.URL, func(s *setup) { s.limits.Capacity, s.limits.Burst = 10, 10 })

	// A script's first call begins a session, and is told so.
	b := browser(t)
	res, _ := g.ask(b, "GET", "/drop/stock", "", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty")
	if res.Header.Get("Cache-Control") != "private, no-store" || len(res.Cookies()) == 0 {
		t.Errorf("the call got %q and %d cookies, want its ticket, stored by no one", res.Header.Get("Cache-Control"), len(res.Cookies()))
	}
	// Here the room drops the place that was used up: not with an image.
	u := mustURL(t, g.url)
	b.Jar.SetCookies(&u, []*http.Cookie{{Name: "ropeline-queue-123", Value: "old"}})
	res, _ = g.ask(b, "GET", "/drop/logo.png", "", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: image")
	if got, want := res.Header.Get("Cache-Control"), "private, max-age=3600"; res.StatusCode != 200 || got != want || len(res.Cookies()) != 0 {
		t.Errorf("the image got %d, %q and %d cookies, want %q and none", res.StatusCode, got, len(res.Cookies()), want)
	}
	if got := res.Header.Get("Cdn-Cache-Control"); got != "" {
		t.Errorf("a CDN is told %q, want nothing", got)
	}
	if got := res.Header.Get("X-Accel-Expires"); got != "0" {
		t.Errorf("nginx that overrules Cache-Control is told %q, want 0", got)
	}
	res, _ = g.ask(b, "POST", "/drop/cart", "", "Sec-Fetch-Mode: cors", "Sec-Fetch-Dest: empty")
	if res.Header.Get("Cache-Control") != "private, no-store" || len(res.Cookies()) == 0 {
		t.Errorf("the POST got %q and %d cookies, want the old place dropped", res.Header.Get("Cache-Control"), len(res.Cookies()))
	}
	res, _ = g.ask(b, "GET", "/about", "")
	if got, want := res.Header.Get("Cache-Control"), "public, max-age=3600"; got != want {
		t.Errorf("on an open route: %q, want it left at %q", got, want)
	}
}

func TestPrivate_UnlessStricter(t *testing.T) {
	for _, c := range []struct{ lines, want []string }{
		{nil, []string{"private"}},
		{[]string{"public, max-age=60"}, []string{"private, max-age=60"}},
		{[]string{"Public", "s-maxage=60,max-age=5"}, []string{"private, max-age=5"}},
		{[]string{"no-cache"}, []string{"private, no-cache"}},
		{[]string{`private="set-cookie", max-age=5`}, []string{"private, max-age=5"}},
		{[]string{"private, max-age=5"}, []string{"private, max-age=5"}},
		{[]string{"public, No-Store"}, []string{"public, No-Store"}},
		{[]string{"max-age=0", "no-store"}, []string{"max-age=0", "no-store"}},
	} {
		h := http.Header{"Surrogate-Control": {"max-age=60"}, "Cloudflare-Cdn-Cache-Control": {"x"}, "X-Accel-Expires": {"60"}}
		if c.lines != nil {
			h["Cache-Control"] = c.lines
		}
		private(h)
		if got := h["Cache-Control"]; !slices.Equal(got, c.want) || len(h) != 1 {
			t.Errorf("%q: got %q, want %q alone", c.lines, h, c.want)
		}
	}
}

func TestGate_ThreeThousandCookiesAreRefusedAndTakeNoPlace(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	res, body := g.ask(browser(t), "GET", "/drop", "", "Cookie: "+strings.Repeat("a=;", 3000)+"a=")
	if res.StatusCode != 431 || !strings.Contains(body, "TOO_MANY_COOKIES") {
		t.Errorf("got %d %q, want 431", res.StatusCode, body)
	}
	if res, _ := g.ask(browser(t), "GET", "/drop", "", navigation); res.StatusCode != 200 || shop.hits() != 1 {
		t.Errorf("the next visitor got %d, want to enter", res.StatusCode)
	}
}

func TestGate_WithoutATableIsNotReady(t *testing.T) {
	g := &gateway{t: t, Gateway: NewGateway(Options{})}
	g.listen(ServerOptions{})
	if res, _ := g.ask(browser(t), "GET", "/", ""); res.StatusCode != 503 || g.Ready() {
		t.Errorf("got %d, ready %v; want 503 and not ready", res.StatusCode, g.Ready())
	}
}

func TestGate_ScriptsOfTheSiteMayReadWhyTheyAreHeld(t *testing.T) {
	g := open(t, openShop(t, nil).URL, func(s *setup) { s.limits.Mode = admission.ModeClosed })
	res, _ := g.ask(browser(t), "GET", "/drop", "", "Origin: https://www.shop.test", "Sec-Fetch-Site: same-site", "Sec-Fetch-Mode: cors")
	if got := res.Header.Get("Access-Control-Allow-Origin"); res.StatusCode != 503 || got != "https://www.shop.test" {
		t.Errorf("got %d for origin %q, want the script to read it", res.StatusCode, got)
	}
	res, _ = g.ask(browser(t), "GET", "/drop", "", "Origin: https://evil.test", "Sec-Fetch-Site: cross-site", "Sec-Fetch-Mode: cors")
	if h := res.Header; h.Get("Access-Control-Allow-Origin") != "*" || h.Get("Access-Control-Allow-Credentials") != "" {
		t.Errorf("another site may read %q with credentials %q, want * without", h.Get("Access-Control-Allow-Origin"), h.Get("Access-Control-Allow-Credentials"))
	}
}

func TestGate_BehindTLSCookiesAreBoundToTheHost(t *testing.T) {
	g := open(t, openShop(t, nil).URL, func(s *setup) { s.proxies = []string{"127.0.0.0/8"} })
	res, _ := g.ask(browser(t), "GET", "/drop", "", navigation, "X-Forwarded-Proto: https")
	cookies := res.Header.Values("Set-Cookie")
	if len(cookies) == 0 {
		t.Fatal("no cookie is set")
	}
	for _, c := range cookies {
		if !strings.HasPrefix(c, "__Host-ropeline-admission-123=") || !strings.HasSuffix(c, "; HttpOnly; SameSite=Lax; Secure") {
			t.Errorf("got %q, want it host-bound and secure", c)
		}
	}
}

func TestGate_ReloadKeepsConnectionsAndRequestsUnderWay(t *testing.T) {
	inShop, release := make(chan struct{}), make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(inShop)
			<-release
		}
		io.WriteString(w, r.RemoteAddr)
	})
	other := openShop(t, nil)
	g := open(t, shop.URL)
	_, before := g.ask(browser(t), "GET", "/", "")

	// The same settings: the same upstream, with its connections.
	same := shopAt(t, shop.URL)
	up := g.upstream(same)
	g.swap(g.settings(Route{Host: "*", Path: "/", Upstream: up}))
	if _, after := g.ask(browser(t), "GET", "/", ""); after != before {
		t.Errorf("after a reload the shop is asked from %s, want the connection from %s kept", after, before)
	}

	slow := make(chan string)
	go func() {
		_, body := g.ask(browser(t), "GET", "/slow", "")
		slow <- body
	}()
	<-inShop
	g.swap(g.settings(Route{Host: "*", Path: "/", Upstream: g.upstream(shopAt(t, other.URL))}))
	if _, body := g.ask(browser(t), "GET", "/", ""); body != "the shop" || other.hits() != 1 {
		t.Errorf("a new request got %q, want the new shop's answer", body)
	}
	close(release)
	if got := <-slow; got == "" {
		t.Error("the request under way got nothing, want the old shop's answer")
	}
	if up == g.upstream(same) {
		t.Error("an upstream that no route used is still there")
	}
}

func TestGate_AnActivityThatIsNotThereHoldsEveryone(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) {
		s.table = func(settings *Settings) { settings.Routes[1].Activity = Missing("acme") }
	})
	res, body := g.ask(browser(t), "GET", "/drop", "", navigation)
	if res.StatusCode != 503 || !strings.Contains(body, `<noscript><meta http-equiv="refresh"`) || res.Header.Get("Refresh") != "" {
		t.Errorf("a navigation got %d %s, want 503 and to come again by itself, without scripts only", res.StatusCode, body)
	}
	res, body = g.ask(browser(t), "GET", "/drop", "")
	if res.StatusCode != 503 || !strings.Contains(body, `"code":"CLOSED"`) {
		t.Errorf("a program got %d %s, want 503 CLOSED", res.StatusCode, body)
	}
	if n := shop.hits(); n != 0 {
		t.Errorf("%d requests reached the shop, want none", n)
	}
}

func TestGate_EndedActivityPassesAllWhereTheAdminSaysSo(t *testing.T) {
	shop := openShop(t, nil)
	limits := oneInside()
	limits.EndAt = time.Now().Add(-time.Hour)
	g := open(t, shop.URL, func(s *setup) { s.limits = limits })
	if res, _ := g.ask(browser(t), "GET", "/drop", "", navigation); res.StatusCode != 410 {
		t.Errorf("got %d, want 410", res.StatusCode)
	}
	g.room.Configure(admission.Settings{Limits: limits, Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}, OpenAfterEnd: true})
	for range 3 {
		res, _ := g.ask(browser(t), "GET", "/drop", "", navigation)
		if res.StatusCode != 200 || len(res.Cookies()) > 0 || res.Header.Get("Cache-Control") != "private" {
			t.Errorf("got %d, cookies %v, Cache-Control %q; want 200, none, private", res.StatusCode, res.Cookies(), res.Header.Get("Cache-Control"))
		}
	}
	if got := g.count("ropeline_bypass_total", "123", "after_end"); got != 3 {
		t.Errorf("%v are counted, want 3", got)
	}
}

func TestGate_ABoundCookieIsWorthNothingToAnother(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	g.room.Configure(admission.Settings{Limits: oneInside(), Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}, Bind: admission.Bind{UserAgent: true}})
	b := browser(t)
	if res, _ := g.ask(b, "GET", "/drop", "", navigation, "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/143.0"); res.StatusCode != 200 {
		t.Fatalf("got %d, want 200", res.StatusCode)
	}
	for range 2 {
		res, body := g.ask(b, "GET", "/drop", "", navigation, "User-Agent: Mozilla/5.0 (Windows NT 10.0) Firefox/143.0")
		if res.StatusCode != 200 || body == "the shop" {
			t.Errorf("another browser with its cookies got %d %.40q, want a place in line", res.StatusCode, body)
		}
	}
	if _, body := g.ask(b, "GET", "/drop", "", navigation, "User-Agent: Mozilla/5.0 (X11; Linux x86_64) Firefox/144.0"); body != "the shop" {
		t.Errorf("the one it was given to got %.40q, want the shop", body)
	}
}
