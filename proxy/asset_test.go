package proxy

import (
	"encoding/json"
	"net/http"
	"path"
	"testing"

	"github.com/ropeline/ropeline/admission"
)

// openPictureShop answers everything; what by its name's end is no page, so.
func openPictureShop(t *testing.T) *shop {
	return openShop(t, func(w http.ResponseWriter, r *http.Request) {
		kind := map[string]string{".png": "image/png", ".js": "text/javascript; charset=utf-8", ".css": "Text/CSS", ".woff2": "font/woff2"}[path.Ext(r.URL.Path)]
		if kind == "" || r.URL.Query().Has("page") {
			kind = "text/html"
		}
		w.Header().Set("Content-Type", kind)
		w.Header().Set("Cache-Control", "public, max-age=60")
		if to := r.URL.Query().Get("to"); to != "" {
			w.Header().Set("Location", to)
			w.WriteHeader(302)
			return
		}
		if r.Header.Get("If-None-Match") != "" {
			w.WriteHeader(304)
			return
		}
		w.Write([]byte("the shop"))
	})
}

// code is the code of a held program's JSON.
func code(t *testing.T, body string) string {
	t.Helper()
	var s struct{ Code string }
	if err := json.Unmarshal([]byte(body), &s); err != nil {
		t.Errorf("%v in %.80q", err, body)
	}
	return s.Code
}

func passAssets(s *setup) {
	s.limits.Mode = admission.ModeClosed
	s.table = func(s *Settings) { s.Routes[1].Activity.PassAssets = true }
}

func TestAsset_PartsOfOtherPagesPass(t *testing.T) {
	g := open(t, openPictureShop(t).URL, passAssets)
	for dest, name := range map[string]string{"image": "/drop/teaser.png", "script": "/drop/a.js", "style": "/drop/b.css?v=1", "font": "/drop/c.woff2"} {
		res, body := g.ask(browser(t), "GET", name, "", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: "+dest)
		if res.StatusCode != 200 || body != "the shop" || res.Header.Get("Cache-Control") != "public, max-age=60" || len(res.Cookies()) > 0 {
			t.Errorf("%s: got %d %.20q, Cache-Control %q, want the shop's own", name, res.StatusCode, body, res.Header.Get("Cache-Control"))
		}
	}
	if res, _ := g.ask(browser(t), "GET", "/drop/teaser.png", "", "Sec-Fetch-Dest: image", "If-None-Match: x"); res.StatusCode != 304 {
		t.Errorf("asked again: got %d, want 304", res.StatusCode)
	}
	if got := g.count("ropeline_bypass_total", "123", "assets"); got != 5 {
		t.Errorf("%v are counted, want 5", got)
	}
}

// Whatever the request says of itself: no page, no data, no way to write.
func TestAsset_NothingElsePassesForOne(t *testing.T) {
	shop := openPictureShop(t)
	g := open(t, shop.URL, passAssets)
	for _, c := range []struct{ method, path, dest string }{
		{"GET", "/drop", "image"}, {"GET", "/drop/buy", "image"}, {"GET", "/drop/x.html", "image"}, {"GET", "/drop/x.json", "script"},
		{"GET", "/drop/x.png", "document"}, {"GET", "/drop/x.png", "empty"}, {"GET", "/drop/x.png", "iframe"}, {"GET", "/drop/x.png", ""},
		{"POST", "/drop/x.png", "image"}, {"DELETE", "/drop/x.png", "image"},
		{"GET", "/drop/buy;x.png", "image"}, {"GET", "/drop/buy%2fx.png", "image"}, {"GET", "/drop/x.png/..%2fbuy.png", "image"}, {"GET", "/drop/buy%3fx.png", "image"},
	} {
		res, body := g.ask(browser(t), c.method, c.path, "", "Sec-Fetch-Mode: no-cors", "Sec-Fetch-Dest: "+c.dest)
		if res.StatusCode != 503 || body == "the shop" {
			t.Errorf("%s %s as %q: got %d %.20q, want it held", c.method, c.path, c.dest, res.StatusCode, body)
		}
	}
	if got := shop.hits(); got != 0 {
		t.Errorf("the shop was asked %d times, the last time for %s", got, shop.last(t).RequestURI)
	}
	// Asked for like a picture, answered with a page: what the shop said is not told.
	for _, p := range []string{"/drop/x.png?page", "/drop/x.png?to=/drop/secret", "/drop/x.ico"} {
		res, body := g.ask(browser(t), "GET", p, "", "Sec-Fetch-Dest: image")
		if res.StatusCode != 503 || body == "the shop" || res.Header.Get("Location") != "" || res.Header.Get("Cache-Control") != "no-store" || code(t, body) != "CLOSED" {
			t.Errorf("%s: got %d %v %.60q, want it held", p, res.StatusCode, res.Header, body)
		}
	}
}

func TestAsset_AreHeldWhereTheAdminSaysSo(t *testing.T) {
	shop := openPictureShop(t)
	g := open(t, shop.URL, func(s *setup) { s.limits.Mode = admission.ModeClosed })
	if res, _ := g.ask(browser(t), "GET", "/drop/teaser.png", "", "Sec-Fetch-Dest: image"); res.StatusCode != 503 || shop.hits() != 0 {
		t.Errorf("got %d, %d requests at the shop; want it held", res.StatusCode, shop.hits())
	}
}

// Someone inside has a session, which the picture is use of, and no cache is
// given what only they may have.
func TestAsset_OfSomeoneInsideIsTheirs(t *testing.T) {
	g := open(t, openPictureShop(t).URL, func(s *setup) {
		s.table = func(s *Settings) { s.Routes[1].Activity.PassAssets = true }
	})
	b := browser(t)
	g.ask(b, "GET", "/drop", "", navigation)
	res, _ := g.ask(b, "GET", "/drop/teaser.png", "", "Sec-Fetch-Dest: image")
	if got := res.Header.Get("Cache-Control"); res.StatusCode != 200 || got != "private, max-age=60" {
		t.Errorf("got %d, Cache-Control %q, want 200, private, max-age=60", res.StatusCode, got)
	}
	if got := g.count("ropeline_bypass_total", "123", "assets"); got != 0 {
		t.Errorf("%v are counted as bypass, want none", got)
	}
}

func TestGate_CrawlersNeverGetThePage(t *testing.T) {
	g := open(t, openShop(t, nil).URL)
	crawler := "User-Agent: " + googlebot
	if res, body := g.ask(browser(t), "GET", "/drop", "", navigation, crawler); res.StatusCode != 200 || body != "the shop" {
		t.Errorf("in a quiet room: got %d %.40q, want the product", res.StatusCode, body)
	}
	for _, method := range []string{"GET", "HEAD"} {
		res, body := g.ask(browser(t), method, "/drop", "", navigation, crawler)
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || res.Header.Get("Content-Type") != "application/json" || method == "HEAD" && body != "" {
			t.Errorf("%s in a busy one: got %d %q %.40q, want 503 and when to come again", method, res.StatusCode, res.Header.Get("Content-Type"), body)
		}
	}
}
