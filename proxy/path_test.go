package proxy

import (
	"bufio"
	"fmt"
	"net/http"
	"net/url"
	"path"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// gatedTable has /drop and /a/sale gated and all else open, without anything
// behind it.
func gatedTable(t testing.TB, more ...Route) *Table {
	t.Helper()
	up, activity := &Upstream{}, &Activity{ID: 1, Room: noRoom{}}
	table, err := NewTable(Settings{
		Reserved: map[string]http.Handler{"/_ropeline": http.NotFoundHandler()}, Holder: noHolder{},
		Routes: append([]Route{
			{Host: "*", Path: "/", Upstream: up},
			{Host: "*", Path: "/drop", Upstream: up, Activity: activity},
			{Host: "*", Path: "/a/sale", Upstream: up, Activity: activity},
		}, more...),
	})
	if err != nil {
		t.Fatal(err)
	}
	return table
}

// gates reports whether target is held or refused, and whether net/http would
// have let it come so far.
func (t *Table) gates(target string) (gated, valid bool) {
	u, err := url.ParseRequestURI(target)
	if err != nil {
		return false, false
	}
	r, _, ok := t.find("shop.test", u)
	return !ok || r != nil && r.Activity != nil, true
}

func TestFind_NoVariantIsAWayAround(t *testing.T) {
	table := gatedTable(t)
	variants := lines(t, "bypass.txt")
	if got, want := len(variants), 200; got < want {
		t.Fatalf("the corpus has %d variants, want at least %d", got, want)
	}
	for _, v := range variants {
		if gated, valid := table.gates(v); valid && !gated {
			t.Errorf("%s is open", v)
		}
	}
}

func TestFind_InnocentPathsStayOpen(t *testing.T) {
	table := gatedTable(t)
	for _, p := range lines(t, "open.txt") {
		if gated, valid := table.gates(p); gated || !valid {
			t.Errorf("%s is gated or refused", p)
		}
	}
}

// Over a socket, so that what net/http itself makes of the variants counts too.
func TestGate_NoVariantReachesTheShop(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) {
		s.limits.Mode = "closed"
		s.table = func(s *Settings) {
			s.Routes = append(s.Routes, Route{Host: "*", Path: "/a/sale", Upstream: s.Routes[0].Upstream, Activity: s.Routes[1].Activity})
		}
	})
	conn := g.dial()
	answers := bufio.NewReader(conn)
	for _, v := range lines(t, "bypass.txt") {
		if strings.Contains(v, "\\") && len(v) < 2 {
			continue
		}
		fmt.Fprintf(conn, "GET %s HTTP/1.1\r\nHost: shop.test\r\n\r\n", v)
		res, _ := readAnswer(t, answers)
		if res.StatusCode != 400 && res.StatusCode != 503 {
			t.Errorf("%s: got %d, want it refused or held", v, res.StatusCode)
		}
		if res.Close {
			conn = g.dial()
			answers = bufio.NewReader(conn)
		}
	}
	if got := shop.hits(); got != 0 {
		t.Errorf("the shop was asked %d times, the last time for %s", got, shop.last(t).RequestURI)
	}
}

func TestGate_InnocentPathsReachTheShopAsSent(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	for _, p := range lines(t, "open.txt") {
		if res, _ := g.send("GET " + p + " HTTP/1.1\nHost: shop.test\nConnection: close\n\n"); res.StatusCode != 200 {
			t.Errorf("%s: got %d, want 200", p, res.StatusCode)
			continue
		}
		if got := shop.last(t).RequestURI; got != p {
			t.Errorf("the shop got %s, want %s", got, p)
		}
	}
}

// The readings of this property are written apart from those of the code:
// as an upstream would do them.
var upstreamReadings = []func(string) string{
	func(p string) string {
		if q, err := url.PathUnescape(p); err == nil {
			return q
		}
		return p
	},
	func(p string) string { return path.Clean(p) },
	func(p string) string {
		for strings.Contains(p, "//") {
			p = strings.ReplaceAll(p, "//", "/")
		}
		return p
	},
	func(p string) string { return strings.ReplaceAll(p, `\`, "/") },
	func(p string) string {
		parts := strings.Split(p, "/")
		for i := range parts {
			parts[i], _, _ = strings.Cut(parts[i], ";")
		}
		return strings.Join(parts, "/")
	},
	strings.ToLower,
	strings.ToUpper,
	func(p string) string { p, _, _ = strings.Cut(p, "?"); return p },
	func(p string) string {
		parts := strings.Split(p, "/")
		for i, part := range parts {
			if strings.Trim(part, ".") != "" {
				parts[i] = strings.TrimRight(part, ". ")
			}
		}
		return strings.Join(parts, "/")
	},
	func(p string) string { // dot segments as RFC 3986 has them, empty segments kept
		u := url.URL{Path: p}
		return u.ResolveReference(&url.URL{Path: p}).Path
	},
}

// leadsToDrop is a shop's own idea of its page, blind to case.
func leadsToDrop(p string) bool {
	p = strings.ToLower(p)
	return p == "/drop" || strings.HasPrefix(p, "/drop/")
}

func checkOpen(t interface {
	Fatalf(string, ...any)
}, table *Table, target string, steps []int) {
	gated, valid := table.gates(target)
	if !valid || gated {
		return
	}
	// What the shop is sent: net/url writes a path anew that holds characters
	// no path may.
	u, _ := url.ParseRequestURI(target)
	p := u.EscapedPath()
	for _, step := range steps {
		p = upstreamReadings[step%len(upstreamReadings)](p)
		if leadsToDrop(p) {
			t.Fatalf("%q is open, and reads as %q", target, p)
		}
	}
}

func TestFind_WhatIsOpenIsOpenInEveryReading(t *testing.T) {
	table := gatedTable(t)
	piece := rapid.SampledFrom([]string{
		"/", "/", "//", "drop", "drop", "dr", "op", "x", "..", ".", "%2e", "%2E%2e", "%252e", ";", ";a", "%3b", "%2f", "%2F", "%252f",
		`\`, "%5c", "%255c", "DROP", "%64", "%2564", "%20", "%3f", "%23", "%25", " ", "a/sale", "sale",
	})
	rapid.Check(t, func(t *rapid.T) {
		target := "/" + strings.Join(rapid.SliceOfN(piece, 0, 10).Draw(t, "pieces"), "")
		steps := rapid.SliceOfN(rapid.IntRange(0, len(upstreamReadings)-1), 1, 8).Draw(t, "steps")
		checkOpen(t, table, target, steps)
	})
}

func FuzzFind_WhatIsOpenIsOpenInEveryReading(f *testing.F) {
	for _, v := range append(lines(f, "bypass.txt"), lines(f, "open.txt")...) {
		f.Add(v, []byte{0, 4, 1, 0})
	}
	table := gatedTable(f)
	f.Fuzz(func(t *testing.T, target string, steps []byte) {
		ints := make([]int, 0, 16)
		for _, s := range steps[:min(len(steps), 16)] {
			ints = append(ints, int(s))
		}
		checkOpen(t, table, target, ints)
	})
}

func TestReadings_BoundedWork(t *testing.T) {
	for _, p := range []string{
		"/" + strings.Repeat("%25", 2000),
		"/" + strings.Repeat(`..%2f;\`, 500),
		"/" + strings.Repeat("%252525252525252e", 200),
	} {
		u, err := url.ParseRequestURI(p)
		if err != nil {
			t.Fatal(err)
		}
		if all, ok := readings(u); ok && len(all) > maxReadings {
			t.Errorf("%.20s… has %d readings, want at most %d", p, len(all), maxReadings)
		}
	}
}
