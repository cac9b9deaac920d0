package proxy

import (
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
)

// openLoop runs a gateway whose upstream is a proxy that leads back to it, and
// returns how often the proxy was asked.
func openLoop(t *testing.T, change ...func(*setup)) (g *gateway, turns func() int) {
	t.Helper()
	var back *httputil.ReverseProxy
	around := openShop(t, func(w http.ResponseWriter, r *http.Request) { back.ServeHTTP(w, r) })
	g = open(t, around.URL, change...)
	to := mustURL(t, g.url)
	back = httputil.NewSingleHostReverseProxy(&to)
	return g, around.hits
}

func TestTrail_ALoopEndsByItself(t *testing.T) {
	j := &journal{}
	g, turns := openLoop(t, func(s *setup) { s.options.Log = j.logger() })
	res, body := g.ask(browser(t), "GET", "/about", "")
	if res.StatusCode != 508 || !strings.Contains(body, `"LOOP"`) {
		t.Errorf("a loop is answered %d %s, want 508", res.StatusCode, body)
	}
	if got := turns(); got != mostPasses {
		t.Errorf("one request went round %d times, want %d", got, mostPasses)
	}
	said := 0
	for _, line := range j.lines(t) {
		if line["msg"] == "request came back, an upstream leads to this gateway" && line["path"] == "/about" && line["host"] == g.addr {
			said++
		}
	}
	if said != 1 {
		t.Errorf("the loop is told %d times in the log, want once", said)
	}
}

func TestTrail_ALoopThroughAnotherInstallationEndsByItself(t *testing.T) {
	var second *gateway
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		to, _ := url.Parse(second.url)
		httputil.NewSingleHostReverseProxy(to).ServeHTTP(w, r)
	})
	first := open(t, shop.URL, func(s *setup) { s.options.Secret = []byte("the first") })
	second = open(t, first.url, func(s *setup) { s.options.Secret = []byte("the second") })
	if res, body := first.ask(browser(t), "GET", "/about", ""); res.StatusCode != 508 {
		t.Errorf("a loop is answered %d %s, want 508", res.StatusCode, body)
	}
	if got := shop.hits(); got > mostPasses {
		t.Errorf("one request went round %d times, want %d at most", got, mostPasses)
	}
}

// A shop may ask itself, by its public address, with what it was asked with.
func TestTrail_AShopMayAskItself(t *testing.T) {
	var g *gateway
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/part" {
			io.WriteString(w, "the part")
			return
		}
		inner, err := http.NewRequestWithContext(r.Context(), "GET", g.url+"/part", nil)
		if err != nil {
			t.Error(err)
			return
		}
		inner.Header = r.Header.Clone()
		res, err := http.DefaultClient.Do(inner)
		if err != nil {
			t.Error(err)
			return
		}
		defer res.Body.Close()
		io.Copy(w, res.Body)
	})
	g = open(t, shop.URL)
	if res, body := g.ask(browser(t), "GET", "/about", ""); res.StatusCode != 200 || body != "the part" {
		t.Errorf("it gets %d %s", res.StatusCode, body)
	}
}

func TestTrail_NoClientCanMakeOne(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) { s.options.Secret = []byte("secret") })
	foreign := strings.Repeat("0123456789ab", 2)
	for _, c := range []struct{ story, sent, want string }{
		{"junk", "junk, \"x\"; y, 12345, " + strings.Repeat("f", 4000), g.mark},
		{"marks of others", strings.Repeat(foreign+",", 100), strings.Repeat(foreign+", ", mostMarks-1) + g.mark},
	} {
		res, _ := g.ask(browser(t), "GET", "/about", "", "Ropeline-Via: "+c.sent)
		if got := shop.last(t).Header.Values("Ropeline-Via"); res.StatusCode != 200 || len(got) != 1 || got[0] != c.want {
			t.Errorf("with %s it gets %d and the shop is told %.200q, want %q", c.story, res.StatusCode, got, c.want)
		}
	}
	one, two := newMark(nil), newMark(nil) // of no secret each is its own
	if other := newMark([]byte("another")); other == g.mark || !isMark(other) || one == two {
		t.Error("marks are not told apart by their secrets")
	}
}
