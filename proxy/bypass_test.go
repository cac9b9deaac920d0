package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/ropeline/ropeline/admission"
)

// closedBut runs a gateway whose /drop takes no one, but by these rules.
func closedBut(t testing.TB, upstream string, rules ...Rule) *gateway {
	t.Helper()
	return open(t, upstream, func(s *setup) {
		s.limits.Mode = admission.ModeClosed
		s.proxies = []string{"127.0.0.0/8"}
		s.table = func(s *Settings) { s.Routes[1].Activity.Bypass = rules }
	})
}

const secret = "a secret of the webhook"

func TestBypass_AllKeysOfOneRuleAndAnyRule(t *testing.T) {
	shop := openShop(t, nil)
	g := closedBut(t, shop.URL,
		Rule{Path: "/drop/hook", Method: "POST", Network: netip.MustParsePrefix("192.0.2.0/24"), Header: "X-Hook-Secret", Value: secret},
		Rule{Path: "/drop/feed", Method: "GET"},
		Rule{Network: netip.MustParsePrefix("2001:db8::/32")},
	)
	const from, known = "X-Forwarded-For: 192.0.2.7", "X-Hook-Secret: " + secret
	for _, c := range []struct {
		method, path string
		lines        []string
		rule         string // empty: held
	}{
		{"POST", "/drop/hook", []string{from, known}, "bypass[0]"},
		{"POST", "/drop/hook/paid?id=1", []string{from, known}, "bypass[0]"},
		{"POST", "/drop/hook", []string{known}, ""},
		{"POST", "/drop/hook", []string{from}, ""},
		{"POST", "/drop/hook", []string{from, known + "x"}, ""},
		{"POST", "/drop/hook", []string{from, "X-Hook-Secret: "}, ""},
		{"POST", "/drop/hook", []string{from, known, "X-Hook-Secret: other"}, ""},
		{"POST", "/drop/hook", []string{"X-Forwarded-For: 192.0.2.7, 198.51.100.1", known}, ""}, // the first is anyone's word
		{"GET", "/drop/hook", []string{from, known}, ""},
		{"POST", "/drop/hooks", []string{from, known}, ""},
		{"POST", "/drop", []string{from, known}, ""},
		{"GET", "/drop/feed", nil, "bypass[1]"},
		{"HEAD", "/drop/feed", nil, "bypass[1]"},
		{"POST", "/drop/feed", nil, ""},
		{"GET", "/drop/feed", []string{"X-Http-Method-Override: DELETE"}, ""},
		{"GET", "/drop/FEED", nil, ""},
		{"DELETE", "/drop/anything", []string{"X-Forwarded-For: 2001:db8::1"}, "bypass[2]"},
	} {
		before, counted := shop.hits(), g.count("ropeline_bypass_total", "123", c.rule)
		res, _ := g.ask(browser(t), c.method, c.path, "", c.lines...)
		want, asked := 503, 0
		if c.rule != "" {
			want, asked = 200, 1
			counted++
		}
		if res.StatusCode != want || shop.hits()-before != asked {
			t.Errorf("%s %s %q: got %d and %d requests at the shop, want %d", c.method, c.path, c.lines, res.StatusCode, shop.hits()-before, want)
		}
		if got := g.count("ropeline_bypass_total", "123", c.rule); got != counted {
			t.Errorf("%s %s %q: %v pass by %q, want %v", c.method, c.path, c.lines, got, c.rule, counted)
		}
		if len(res.Cookies()) > 0 {
			t.Errorf("%s %s %q: the answer sets %v, want uncounted", c.method, c.path, c.lines, res.Cookies())
		}
	}
}

// Whoever sends it, and wherever: the shop's log is no place for it.
func TestBypass_NoShopIsSentTheSecret(t *testing.T) {
	shop := openShop(t, nil)
	g := closedBut(t, shop.URL, Rule{Header: "x-hook-secret", Value: secret})
	for _, path := range []string{"/drop", "/about"} {
		for _, name := range []string{"X-Hook-Secret", "X_Hook_Secret"} {
			lines := []string{"X-Hook-Secret: " + secret, "X-Other: stays"}
			if name != "X-Hook-Secret" {
				lines = append(lines, name+": "+secret)
			}
			if res, _ := g.ask(browser(t), "GET", path, "", lines...); res.StatusCode != 200 {
				t.Fatalf("%s: got %d, want 200", path, res.StatusCode)
			}
			h := shop.last(t).Header
			for name, values := range h {
				if strings.Contains(strings.Join(values, ""), secret) {
					t.Errorf("%s: the shop gets %s", path, name)
				}
			}
			if h.Get("X-Other") != "stays" {
				t.Errorf("%s: another header was lost", path)
			}
		}
	}
}

// A cache in front may keep what anyone may have, and nothing else.
func TestBypass_AnswersForSomeAreNotForCaches(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Cache-Control", "public, max-age=60")
		io.WriteString(w, "the shop")
	})
	g := closedBut(t, shop.URL, Rule{Path: "/drop/feed"}, Rule{Network: netip.MustParsePrefix("192.0.2.0/24")})
	for _, c := range []struct{ path, client, want string }{
		{"/drop/feed", "203.0.113.1", "public, max-age=60"},
		{"/drop", "192.0.2.1", "private, max-age=60"},
	} {
		res, _ := g.ask(browser(t), "GET", c.path, "", "X-Forwarded-For: "+c.client)
		if got := res.Header.Get("Cache-Control"); res.StatusCode != 200 || got != c.want {
			t.Errorf("%s: got %d, Cache-Control %q, want 200, %q", c.path, res.StatusCode, got, c.want)
		}
	}
}

func TestBypass_PreflightsOfAnOpenPathAreTheShops(t *testing.T) {
	shop := openShop(t, nil)
	g := closedBut(t, shop.URL, Rule{Path: "/drop/api"})
	g.ask(browser(t), "OPTIONS", "/drop/api/x", "", "Origin: https://a.test", "Access-Control-Request-Method: PUT")
	if got := shop.last(t).Method; got != "OPTIONS" {
		t.Errorf("the shop got %s, want the preflight", got)
	}
	g.ask(browser(t), "OPTIONS", "/drop/x", "", "Origin: https://a.test", "Access-Control-Request-Method: PUT")
	if got := shop.hits(); got != 1 {
		t.Errorf("the shop got %d preflights, want one", got)
	}
}

// Over a socket: every way to write a path that might be read as one below the
// open path, and as one that is not.
func TestBypass_NoVariantIsAWayAround(t *testing.T) {
	shop := openShop(t, nil)
	g := closedBut(t, shop.URL, Rule{Path: "/drop/hook"})
	for _, v := range []string{
		"/drop/hook/../buy", "/drop/hook/%2e%2e/buy", "/drop/hook/..%2fbuy", "/drop/hook/..;/buy", "/drop/hook/..;x/buy", "/drop/hook/.%2e/buy",
		"/drop/hook%2f..%2fbuy", "/drop/hook/%252e%252e/buy", `/drop/hook/..\buy`, "/drop/hook/..%5cbuy", "/drop/hook/..%255cbuy", "/drop/buy;/../hook",
		"/drop/buy/%2e%2e/hook", "/drop/hook/..", "/drop/hook/../", "/drop/hook/.../../..", "//drop/hook/..//buy", "/drop/hook;/../../buy",
		"/drop/hook%3f/../../buy", "/drop/buy%3f/../hook", "/drop/buy%23/../hook", "/drop/hook%00/../buy", "/DROP/HOOK", "/drop/hook./../buy",
	} {
		if res, _ := g.send("GET " + v + " HTTP/1.1\nHost: shop.test\nConnection: close\n\n"); res.StatusCode == 200 {
			t.Errorf("%s passes", v)
		}
	}
	if got := shop.hits(); got != 0 {
		t.Errorf("the shop was asked %d times, the last time for %s", got, shop.last(t).RequestURI)
	}
	for _, v := range []string{"/drop/hook", "/drop/hook/", "/drop/hook/%E2%82%AC", "/drop//hook", "/drop/./hook/a%20b"} {
		want := 200
		if v == "/drop//hook" || v == "/drop/./hook/a%20b" {
			want = 503 // to a shop that merges nothing it is another page
		}
		if res, _ := g.send("GET " + v + " HTTP/1.1\nHost: shop.test\nConnection: close\n\n"); res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", v, res.StatusCode, want)
		}
	}
}

func TestBypass_WhatPassesLiesBelowThePathInEveryReading(t *testing.T) {
	hook := rule{Rule: Rule{Path: "/drop/hook"}}
	piece := rapid.SampledFrom([]string{
		"/", "/", "//", "drop", "drop", "hook", "hook", "buy", "..", ".", "%2e", "%2E%2e", "%252e", ";", ";a", "%3b", "%2f", "%2F", "%252f",
		`\`, "%5c", "%255c", "DROP", "%64", "%20", "%3f", "%23", "%25", " ", "drop/hook", "drop/hook/",
	})
	rapid.Check(t, func(t *rapid.T) {
		target := "/drop/hook" + strings.Join(rapid.SliceOfN(piece, 0, 8).Draw(t, "pieces"), "")
		if rapid.Bool().Draw(t, "elsewhere") {
			target = "/" + strings.Join(rapid.SliceOfN(piece, 0, 10).Draw(t, "pieces"), "")
		}
		u, err := url.ParseRequestURI(target)
		if err != nil || !hook.path(u, u.RawPath == "" && plainPath(u.Path)) {
			return
		}
		p := u.EscapedPath()
		for _, step := range rapid.SliceOfN(rapid.IntRange(0, len(upstreamReadings)-1), 1, 8).Draw(t, "steps") {
			p = upstreamReadings[step](p)
			if low := strings.ToLower(p); low != "/drop/hook" && !strings.HasPrefix(low, "/drop/hook/") {
				t.Fatalf("%q passes, and reads as %q", target, p)
			}
		}
	})
}

func TestNewTable_RefusesRulesThatNobodyMeant(t *testing.T) {
	for want, r := range map[string]Rule{
		"names nothing":           {},
		"not in canonical form":   {Path: "/drop/"},
		"needs a name and a":      {Header: "X-Secret"},
		"needs a name and":        {Value: "secret"},
		"is the gateway's own":    {Header: "ropeline-number", Value: secret},
		`"/drop/%2e" is not in c`: {Path: "/drop/%2e"},
	} {
		up := &Upstream{}
		_, err := NewTable(Settings{Holder: noHolder{}, Routes: []Route{{Host: "*", Path: "/", Upstream: up, Activity: &Activity{ID: 1, Room: noRoom{}, Bypass: []Rule{r}}}}})
		if err == nil || !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("%+v: got %v, want an error with %q", r, err, want)
		}
	}
}
