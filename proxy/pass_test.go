package proxy

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// pass makes a pass of so many uses, good for an hour, and returns its token.
func (g *gateway) pass(uses int64) string {
	g.t.Helper()
	made, err := g.room.MakePasses(1, admission.Pass{Uses: uses, Until: admission.InstantOf(time.Now().Add(time.Hour))})
	if err != nil {
		g.t.Fatal(err)
	}
	return made[0].Token
}

func TestPass_ALinkIsTakenAndLeadsOnWithoutIt(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) { s.limits.Capacity, s.limits.Burst = 9, 9 })
	token := g.pass(1)
	for _, c := range []struct{ asked, led string }{
		{"/drop?ropeline-pass=" + token, "/drop"},
		{"/drop?a=1&ropeline-pass=" + token + "&b=%20x&b=2", "/drop?a=1&b=%20x&b=2"},
		{"/drop/a%20b?ropeline-pass=" + token + "&ropeline-pass=x", "/drop/a%20b"},
		{"/drop?ropeline-pass", "/drop"},
		// Not to another site, however a browser reads it.
		{"//drop?ropeline-pass=" + token, "/"},
		{"/drop/%5cevil.test?ropeline-pass=" + token, "/drop/%5cevil.test"},
	} {
		res, _ := g.ask(browser(t), "GET", c.asked, "", navigation)
		if res.StatusCode != 303 || res.Header.Get("Location") != c.led || res.Header.Get("Cache-Control") != "no-store" {
			t.Errorf("%s got %d to %q, want 303 to %q", c.asked, res.StatusCode, res.Header.Get("Location"), c.led)
		}
		if cookies := res.Cookies(); len(cookies) != 1 || cookies[0].Name != "ropeline-pass-123" || !cookies[0].HttpOnly {
			t.Errorf("%s sets %v, want the pass", c.asked, cookies)
		}
	}
	if n := shop.hits(); n != 0 {
		t.Errorf("the shop was asked %d times", n)
	}

	b := browser(t)
	g.ask(b, "GET", "/drop?ropeline-pass="+token, "", navigation)
	res, body := g.ask(b, "GET", "/drop", "", navigation)
	if res.StatusCode != 200 || body != "the shop" {
		t.Fatalf("a holder got %d %.80q, want the shop", res.StatusCode, body)
	}
	if last := shop.last(t); last.Header.Get("Cookie") != "" || last.URL.RawQuery != "" || last.Header.Get("Ropeline-Number") != "" {
		t.Errorf("the shop is told %q with %q and number %q", last.URL, last.Header.Get("Cookie"), last.Header.Get("Ropeline-Number"))
	}
	res, _ = g.ask(b, "GET", "/drop", "", navigation)
	if u, _ := url.Parse(g.url); res.StatusCode != 200 || strings.Contains(cookieNames(b.Jar.Cookies(u)), "ropeline-pass") {
		t.Errorf("inside, a holder got %d and keeps %s", res.StatusCode, cookieNames(b.Jar.Cookies(u)))
	}
	for path, want := range map[string]int{"/about?ropeline-pass=" + token: 200, "/drop?xropeline-pass=1": 200} {
		if res, _ := g.ask(browser(t), "GET", path, "", navigation); res.StatusCode != want {
			t.Errorf("%s got %d, want %d", path, res.StatusCode, want)
		}
	}
}

func TestPass_WorthNothingIsTold(t *testing.T) {
	g := open(t, openShop(t, nil).URL)
	admitted(t, g)
	used := g.pass(1)
	holder := browser(t)
	g.ask(holder, "GET", "/drop?ropeline-pass="+used, "", navigation)
	if _, body := g.ask(holder, "GET", "/drop", "", navigation); !strings.Contains(body, "You hold a pass") || !strings.Contains(body, "You are next") {
		t.Errorf("a holder is shown %q", body)
	}
	for _, c := range []struct{ token, sentence, told string }{
		{"forged", "This pass is not valid here", `"pass":"unknown"`},
		{used, "Your pass has been used up", `"pass":"spent"`},
	} {
		b := browser(t)
		g.ask(b, "GET", "/drop?ropeline-pass="+c.token, "", navigation)
		_, body := g.ask(b, "GET", "/drop", "", navigation)
		if !strings.Contains(body, c.sentence) || !strings.Contains(body, "Ticket ") {
			t.Errorf("pass %.10s: the page has no sentence %q, or no ticket", c.token, c.sentence)
		}
		if _, body := g.ask(b, "GET", "/_ropeline/status?activity=123", ""); !strings.Contains(body, c.told) || !strings.Contains(body, `"state":"waiting"`) {
			t.Errorf("pass %.10s: the status is %s", c.token, body)
		}
	}
}

func TestPass_BehindAFrontIsTakenWhereTheVisitorWaits(t *testing.T) {
	for _, front := range allFronts {
		t.Run(front, func(t *testing.T) {
			g, _ := full(t)
			b := browser(t)
			res, _ := g.question(b, front, "GET", "/drop?size=M&ropeline-pass="+g.pass(1), navigation)
			to := res.Header.Get("Location")
			if front == "nginx" {
				to = res.Header.Get("Ropeline-Location")
			}
			u, err := url.Parse(to)
			if err != nil || u.Path != "/_ropeline/wait" || len(res.Header["Set-Cookie"]) > 0 {
				t.Fatalf("the front is told %d and leads to %q, %v", res.StatusCode, to, err)
			}
			res, _ = g.ask(b, "GET", u.RequestURI(), "", navigation, "Host: shop.example")
			if res.StatusCode != 303 || res.Header.Get("Location") != "/drop?size=M" || len(res.Cookies()) != 1 {
				t.Errorf("the visitor got %d to %q with %v", res.StatusCode, res.Header.Get("Location"), res.Cookies())
			}
		})
	}
}

func cookieNames(cookies []*http.Cookie) string {
	var names []string
	for _, c := range cookies {
		names = append(names, c.Name)
	}
	return strings.Join(names, " ")
}
