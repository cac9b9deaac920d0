package proxy

import (
	"net/http"
	"net/netip"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/waitpage"
)

// question asks the gate as a front does for a visitor at 192.0.2.7.
func (g *gateway) question(c *http.Client, front, method, uri string, lines ...string) (*http.Response, string) {
	g.t.Helper()
	lines = append(lines, "X-Forwarded-For: 192.0.2.7", "X-Forwarded-Proto: http")
	switch front {
	case "envoy":
		return g.ask(c, method, "/_ropeline/auth/envoy"+uri, "", append(lines, "Host: shop.example")...)
	case "nginx":
		lines = append(lines, "X-Original-Method: "+method, "X-Original-Uri: "+uri)
	default:
		lines = append(lines, "X-Forwarded-Method: "+method, "X-Forwarded-Uri: "+uri)
	}
	path := "/_ropeline/auth/" + front
	if _, query, ok := strings.Cut(uri, "?"); ok && front == "caddy" {
		path += "?" + query
	}
	return g.ask(c, "GET", path, "", append(lines, "X-Forwarded-Host: shop.example")...)
}

func behindFronts(s *setup) { s.proxies = []string{"127.0.0.0/8"} }

// full runs a gateway with fronts whose one seat is taken.
func full(t *testing.T, change ...func(*setup)) (*gateway, *shop) {
	t.Helper()
	shop := openShop(t, nil)
	g := open(t, shop.URL, append([]func(*setup){behindFronts}, change...)...)
	if res, body := g.question(browser(t), "caddy", "GET", "/drop", navigation); res.StatusCode != 200 {
		t.Fatalf("the first visitor got %d %s", res.StatusCode, body)
	}
	return g, shop
}

var allFronts = []string{"nginx", "traefik", "caddy", "envoy"}

func TestForward_AdmittedPassesWithCookieAndFacts(t *testing.T) {
	for _, front := range allFronts {
		t.Run(front, func(t *testing.T) {
			shop := openShop(t, nil)
			g, visitor := open(t, shop.URL, behindFronts), browser(t)
			res, body := g.question(visitor, front, "GET", "/drop?size=M", navigation)
			if res.StatusCode != 200 || res.Header.Get("Ropeline-Activity") != "123" || res.Header.Get("Ropeline-Number") != "1" || res.Header.Get("Ropeline-Tenant") != "demo" {
				t.Fatalf("got %d %v %s", res.StatusCode, res.Header, body)
			}
			cookies := res.Header["Set-Cookie"]
			if !slices.ContainsFunc(cookies, func(c string) bool { return strings.HasPrefix(c, "ropeline-admission-123=") }) {
				t.Errorf("the visitor keeps %q, want an admission", cookies)
			}
			for i, c := range cookies {
				if got := res.Header.Get("Ropeline-Set-Cookie-" + string(rune('1'+i))); got != c {
					t.Errorf("cookie %d is repeated as %q, want %q", i+1, got, c)
				}
			}
			if res, _ := g.question(visitor, front, "POST", "/drop/buy"); res.StatusCode != 200 {
				t.Errorf("the next request got %d", res.StatusCode)
			}
			if n := shop.hits(); n != 0 {
				t.Errorf("the gate itself asked the shop %d times", n)
			}
		})
	}
}

func TestForward_HeldInTheFormThatTheFrontKnows(t *testing.T) {
	g, shop := full(t)
	const wait = "/_ropeline/wait?to=%2Fdrop%3Fsize%3DM"
	for _, c := range []struct {
		front, location string
		page, program   int
	}{
		{"nginx", "", 401, 401},
		{"traefik", "http://shop.example" + wait, 303, 503},
		{"caddy", wait, 303, 503},
		{"envoy", wait, 303, 429},
	} {
		t.Run(c.front, func(t *testing.T) {
			visitor := browser(t)
			res, _ := g.question(visitor, c.front, "GET", "/drop?size=M", navigation)
			if res.StatusCode != c.page || res.Header.Get("Location") != c.location {
				t.Errorf("a navigation got %d to %q, want %d to %q", res.StatusCode, res.Header.Get("Location"), c.page, c.location)
			}
			if c.front == "nginx" && (res.Header.Get("Ropeline-Location") != wait || !strings.HasPrefix(res.Header.Get("Ropeline-Set-Cookie-1"), "ropeline-queue-123=")) {
				t.Errorf("nginx is told %v", res.Header)
			}
			if len(res.Header["Set-Cookie"]) == 0 {
				t.Error("the visitor got no ticket")
			}
			res, body := g.question(visitor, c.front, "POST", "/drop/buy")
			if res.StatusCode != c.program {
				t.Errorf("a program got %d %s, want %d", res.StatusCode, body, c.program)
			}
			if c.front != "nginx" && (res.Header.Get("Retry-After") == "" || !strings.Contains(body, `"code":"WAITING"`)) {
				t.Errorf("a program got %v %s", res.Header, body)
			}
		})
	}
	if n := shop.hits(); n != 0 {
		t.Errorf("the shop was asked %d times", n)
	}
}

func TestForward_PassesWhatIsNotGated(t *testing.T) {
	g, _ := full(t, func(s *setup) {
		s.table = func(s *Settings) {
			s.Routes[0].Path = "/about" // so that "/" has no route
			s.Routes[1].Activity.Bypass = []Rule{{Path: "/drop/hook", Network: netip.MustParsePrefix("192.0.2.0/24")}}
		}
	})
	for _, front := range allFronts {
		for _, uri := range []string{"/about", "/nowhere", "/dropped", "/robots.txt", "/drop/hook", "/_ropeline/status?activity=123"} {
			if res, body := g.question(browser(t), front, "GET", uri, navigation); res.StatusCode != 200 || len(res.Header["Set-Cookie"]) > 0 {
				t.Errorf("%s: %s got %d %v %s", front, uri, res.StatusCode, res.Header, body)
			}
		}
	}
}

// TestForward_KeepsOutInDoubt asks what must never be answered with a success.
func TestForward_KeepsOutInDoubt(t *testing.T) {
	g, _ := full(t, func(s *setup) {
		s.table = func(s *Settings) { s.Routes[1].Activity.PassAssets = true }
	})
	never := func(what string, res *http.Response) {
		t.Helper()
		if res.StatusCode < 300 {
			t.Errorf("%s got %d", what, res.StatusCode)
		}
	}
	for _, front := range allFronts {
		for _, uri := range append([]string{"/drop", "//drop", "/%64rop", "/x/../drop", "/DROP/", "/drop;a=b", "/x%2f..%2fdrop", `/x\..\drop`}, "/drop?/_ropeline/status") {
			res, _ := g.question(browser(t), front, "GET", uri, navigation)
			never(front+" "+uri, res)
		}
		for _, method := range []string{"CONNECT", "TRACE", "trace"} {
			if front != "envoy" { // Go's client sends no such request
				res, _ := g.question(browser(t), front, method, "/other")
				never(front+" "+method, res)
			}
		}
		res, body := g.question(browser(t), front, "OPTIONS", "/drop/buy", "Origin: https://other.example", "Access-Control-Request-Method: POST")
		if never(front+" preflight", res); !strings.Contains(body, "OPTIONS") {
			t.Errorf("%s: a preflight is told %s", front, body)
		}
		res, _ = g.question(browser(t), front, "GET", "/drop/a.css", "Sec-Fetch-Dest: style", "Sec-Fetch-Mode: no-cors")
		never(front+" part of a page", res)
	}
	for _, lines := range [][]string{
		{"X-Forwarded-Method: GET", "X-Forwarded-Host: shop.example", "X-Forwarded-For: 192.0.2.7"},
		{"X-Forwarded-Method: GET", "X-Forwarded-Host: shop.example", "X-Forwarded-Uri: /other"},
		{"X-Forwarded-Method: GET", "X-Forwarded-Uri: /other", "X-Forwarded-For: 192.0.2.7"},
		{"X-Forwarded-Host: shop.example", "X-Forwarded-Uri: /other", "X-Forwarded-For: 192.0.2.7"},
		{"X-Forwarded-Method: GET", "X-Forwarded-Host: shop.example", "X-Forwarded-Uri: /other", "X-Forwarded-Uri: /drop", "X-Forwarded-For: 192.0.2.7"},
		{"X-Forwarded-Method: GET", "X-Forwarded-Host: shop:80:evil", "X-Forwarded-Uri: /other", "X-Forwarded-For: 192.0.2.7"},
		{"X-Forwarded-Method: GET", "X-Forwarded-Host: shop.example", "X-Forwarded-Uri: http://shop.example/other", "X-Forwarded-For: 192.0.2.7"},
	} {
		for _, front := range []string{"traefik", "caddy"} {
			res, _ := g.ask(browser(t), "GET", "/_ropeline/auth/"+front, "", lines...)
			never(front+" "+strings.Join(lines, ", "), res)
		}
	}
	for _, path := range []string{"/_ropeline/auth", "/_ropeline/auth/", "/_ropeline/auth/nginx/", "/_ropeline/auth/other", "/_ropeline/auth/envoy"} {
		res, _ := g.ask(browser(t), "GET", path, "", "X-Original-Method: GET", "X-Original-Uri: /other", "X-Forwarded-Host: shop.example", "X-Forwarded-For: 192.0.2.7")
		never(path, res)
	}
}

func TestForward_AStrangerIsNotAnswered(t *testing.T) {
	g := open(t, openShop(t, nil).URL, func(s *setup) { s.proxies = []string{"192.0.2.0/24"} })
	for _, front := range allFronts {
		res, body := g.question(browser(t), front, "GET", "/other")
		if res.StatusCode != http.StatusForbidden || !strings.Contains(body, "trusted_proxies") {
			t.Errorf("%s: got %d %s", front, res.StatusCode, body)
		}
	}
}

// TestForward_AProgramOfAnotherServiceIsHeld has the held answer be a success,
// as that service gives it.
func TestForward_AProgramOfAnotherServiceIsHeld(t *testing.T) {
	g, _ := full(t, func(s *setup) {
		s.table = func(settings *Settings) {
			settings.Holder = waitpage.New("/_ropeline", func(int64) (waitpage.Activity, bool) {
				return waitpage.Activity{Compat: waitpage.CompatCloudflare}, true
			})
		}
	})
	if res, _ := g.ask(browser(t), "GET", "/drop", "", "Accept: application/json"); res.StatusCode != 200 {
		t.Fatalf("it got %d by itself: this test shows nothing", res.StatusCode)
	}
	for _, front := range allFronts {
		res, body := g.question(browser(t), front, "GET", "/drop", "Accept: application/json")
		if res.StatusCode < 300 {
			t.Errorf("%s: got %d %s", front, res.StatusCode, body)
		}
	}
}

func TestForward_TheWaitingPageLeadsBack(t *testing.T) {
	g, shop := full(t)
	visitor := browser(t)
	g.question(visitor, "caddy", "GET", "/drop?size=M", navigation)
	res, body := g.ask(visitor, "GET", "/_ropeline/wait?to=%2Fdrop%3Fsize%3DM", "", navigation)
	if res.StatusCode != 200 || !strings.Contains(body, "Spring drop") {
		t.Fatalf("a visitor who waits got %d %.200s", res.StatusCode, body)
	}
	res, body = g.ask(visitor, "GET", "/_ropeline/wait?to=%2Fdrop", "")
	if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, `"number":2`) {
		t.Errorf("a program that waits got %d %s", res.StatusCode, body)
	}
	for to, want := range map[string]string{
		"/other?a=1&b=%2f": "/other?a=1&b=%2f", "/": "/", "": "/", "other": "/", "//evil.example": "/", `/\evil.example`: "/",
		"/\t/evil.example": "/", "https://evil.example/": "/", "javascript:alert(1)": "/", "/_ropeline/wait?to=/": "/_ropeline/wait?to=/",
	} {
		res, _ := g.ask(visitor, "GET", "/_ropeline/wait?to="+url.QueryEscape(to), "", navigation)
		if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != want {
			t.Errorf("%q leads to %d %q, want %q", to, res.StatusCode, res.Header.Get("Location"), want)
		}
	}
	if n := shop.hits(); n != 0 {
		t.Errorf("the shop was asked %d times", n)
	}
}

func TestForward_TheTurnIsTakenOnTheWaitingPage(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, behindFronts)
	visitor := browser(t)
	res, _ := g.ask(visitor, "GET", "/_ropeline/wait?to=%2Fdrop", "", navigation)
	if res.StatusCode != http.StatusSeeOther || res.Header.Get("Location") != "/drop" || len(res.Header["Set-Cookie"]) == 0 {
		t.Fatalf("got %d %v", res.StatusCode, res.Header)
	}
	if res, _ := g.question(visitor, "traefik", "GET", "/drop", navigation); res.StatusCode != 200 || res.Header.Get("Ropeline-Number") != "1" {
		t.Errorf("with that admission the front is told %d %v", res.StatusCode, res.Header)
	}
}
