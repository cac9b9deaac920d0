package proxy

import (
	"context"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// noRoom and noHolder stand in tables that are only looked up.
type noRoom struct{}

func (noRoom) Arrive(context.Context, admission.Visit) admission.Verdict { return admission.Verdict{} }
func (noRoom) Stay(context.Context, admission.Session) (time.Time, bool) { return time.Time{}, false }
func (noRoom) End(admission.Session)                                     {}
func (noRoom) Extend(admission.Session)                                  {}
func (noRoom) Shut(bool)                                                 {}
func (noRoom) Measured([]admission.Measure)                              {}
func (noRoom) Converted(admission.Session)                               {}
func (noRoom) TakePass(admission.Visit, string) admission.Verdict        { return admission.Verdict{} }

type noHolder struct{}

func (noHolder) Hold(http.ResponseWriter, *http.Request, admission.Verdict) {}

// tableOf builds a table from lines such as "shop.test /drop #1 a": host,
// path, activity if any, and the name of the upstream, whose server has the same
// name, or that behind an "@".
func tableOf(t testing.TB, lines ...string) (*Table, error) {
	t.Helper()
	upstreams, activities := map[string]*Upstream{}, map[string]*Activity{}
	s := Settings{Reserved: map[string]http.Handler{"/_ropeline": http.NotFoundHandler()}, Holder: noHolder{}}
	for _, line := range lines {
		words := strings.Fields(line)
		r := Route{Host: words[0], Path: words[1]}
		for _, w := range words[2:] {
			if strings.HasPrefix(w, "#") {
				if activities[w] == nil {
					activities[w] = &Activity{ID: int64(w[1] - '0'), Room: noRoom{}}
				}
				r.Activity = activities[w]
			} else {
				if upstreams[w] == nil {
					name, server, other := strings.Cut(w, "@")
					if !other {
						server = name
					}
					m := newMember(UpstreamServer{URL: url.URL{Scheme: "http", Host: server}})
					upstreams[w] = &Upstream{settings: UpstreamSettings{Name: name}, members: []*member{m}}
				}
				r.Upstream = upstreams[w]
			}
		}
		s.Routes = append(s.Routes, r)
	}
	return NewTable(s)
}

// describe says what a table does with a URL such as shop.test/drop.
func (t *Table) describe(test testing.TB, target string) string {
	test.Helper()
	host, path, _ := strings.Cut(target, "/")
	u, err := url.ParseRequestURI("/" + path)
	if err != nil {
		test.Fatal(err)
	}
	name, ok := hostName(host)
	if !ok {
		return "junk"
	}
	if !t.knows(name) {
		return "unknown"
	}
	r, _, ok := t.find(name, u)
	switch {
	case !ok:
		return "refused"
	case r == nil:
		return "none"
	}
	said := r.Path + " " + r.Upstream.settings.Name
	if r.Activity != nil {
		said += " #" + r.id
	}
	return said
}

func TestTable_Find(t *testing.T) {
	for _, c := range []struct {
		story  string
		routes []string
		want   map[string]string
	}{
		{"the most specific wins", []string{
			"* / any", "*.shop.test / sub", "shop.test / shop", "shop.test /drop #1 shop", "shop.test /drop/info shop", "shop.test /api api",
		}, map[string]string{
			"shop.test/":                   "/ shop",
			"shop.test/drop":               "/drop shop #1",
			"shop.test/drop/x":             "/drop shop #1",
			"shop.test/dropped":            "/ shop",
			"shop.test/drop/info":          "/drop/info shop",
			"shop.test/drop/info/x":        "/drop/info shop",
			"shop.test/drop/infos":         "/drop shop #1",
			"shop.test/api/v1":             "/api api",
			"www.shop.test/":               "/ sub",
			"a.www.shop.test/drop":         "/ sub",
			"other.test/drop":              "/ any",
			"[2001:db8::1]:8080/":          "/ any",
			"SHOP.test:8443/drop":          "/drop shop #1",
			"shop.test./drop":              "/drop shop #1",
			"shop.test.:80/drop":           "/drop shop #1",
			"shop.test:80:evil/drop":       "junk",
			"shop.test:/drop":              "/drop shop #1",
			"shop..test/":                  "junk",
			"a@shop.test/":                 "junk",
			"shop.test%00/":                "junk",
			"[::1/":                        "junk",
			"[::1]x/":                      "junk",
			"shop.test:123456/":            "junk",
			strings.Repeat("a", 254) + "/": "junk",
		}},
		{"unknown hosts and paths", []string{"shop.test /drop #1 shop", "*.b.test / b"}, map[string]string{
			"shop.test/":      "none",
			"other.test/drop": "unknown",
			"b.test/":         "unknown",
			"a.b.test/":       "/ b",
		}},
		{"a host without a route for a path falls back", []string{"shop.test /drop #1 shop", "* / shop"}, map[string]string{
			"shop.test/about": "/ shop",
			"shop.test/drop":  "/drop shop #1",
		}},
		{"case does not lead around a gate", []string{"* / shop", "* /drop #1 shop", "* /Open shop", "* /drop/Info shop"}, map[string]string{
			"shop.test/DROP":      "/drop shop #1",
			"shop.test/open":      "/ shop",
			"shop.test/Open":      "/Open shop",
			"shop.test/drop/Info": "/drop/Info shop",
			"shop.test/drop/info": "/drop shop #1",
			"shop.test/Drop/Info": "/drop shop #1",
		}},
		{"an open path within a gate is no way out of it", []string{"* / #1 shop", "* /public shop"}, map[string]string{
			"shop.test/public/x":             "/public shop",
			"shop.test/public/../checkout":   "/ shop #1",
			"shop.test/public/..%2fcheckout": "/ shop #1",
			"shop.test/public%2f../checkout": "/ shop #1",
			"shop.test/public;x":             "/ shop #1",
			"shop.test/public/%C3%BC":        "/public shop",
		}},
		{"another host name is no way around", []string{"shop.test / shop", "shop.test /drop #1 shop", "* / shop"}, map[string]string{
			"else.test/drop":  "/drop shop #1",
			"else.test/about": "/ shop",
		}},
		{"a host of its own is no way around", []string{"shop.test / shop", "* /drop #1 shop", "* / shop"}, map[string]string{
			"shop.test/drop": "/drop shop #1",
		}},
		{"nor is another name of the same server", []string{"shop.test /drop #1 shop", "* / api@shop"}, map[string]string{
			"else.test/drop":  "/drop shop #1",
			"else.test/about": "/ api",
		}},
		{"unless it is written so", []string{"staff.test /drop shop", "* /drop #1 shop", "* / shop"}, map[string]string{
			"staff.test/drop/x": "/drop shop",
		}},
		{"nor is it another shop's matter", []string{"shop.test / shop", "shop.test /drop #1 shop", "* / blog", "b.test / shop"}, map[string]string{
			"else.test/drop": "/ blog",
			"b.test/drop":    "/ shop",
		}},
		{"the inner gate stays the inner one", []string{"shop.test /drop #1 shop", "shop.test /drop/vip #2 shop", "* / shop"}, map[string]string{
			"else.test/drop/vip": "/drop/vip shop #2",
			"else.test/drop":     "/drop shop #1",
		}},
		{"between two gates no reading is right", []string{"* / shop", "* /one #1 shop", "* /two #2 shop", "* /three #3 other"}, map[string]string{
			"shop.test/one/..%2ftwo":    "refused",
			"shop.test/x/..%2fone":      "/one shop #1",
			"shop.test/x/..%2fthree":    "refused",
			"shop.test/one/..%2fthree":  "refused",
			"shop.test/one/..%2fone/x":  "/one shop #1",
			"shop.test/one/x%2f..%2f..": "/one shop #1",
		}},
		{"letters beyond ASCII", []string{"* / shop", "* /größe #1 shop"}, map[string]string{
			"shop.test/gr%C3%B6%C3%9Fe":   "/größe shop #1",
			"shop.test/GR%C3%96%C3%9FE/x": "/größe shop #1",
			"shop.test/gro%CC%88%C3%9Fe":  "/größe shop #1",
			"shop.test/grosse":            "/ shop",
		}},
	} {
		t.Run(c.story, func(t *testing.T) {
			table, err := tableOf(t, c.routes...)
			if err != nil {
				t.Fatal(err)
			}
			for target, want := range c.want {
				if got := table.describe(t, target); got != want {
					t.Errorf("%s: got %q, want %q", target, got, want)
				}
			}
		})
	}
}

func TestNewTable_Refuses(t *testing.T) {
	for _, c := range []struct{ route, want string }{
		{"Shop.test / a", `host "Shop.test" is neither`},
		{"shop.test:80 / a", `host "shop.test:80" is neither`},
		{"*shop.test / a", `host "*shop.test" is neither`},
		{"*.* / a", `host "*.*" is neither`},
		{"* drop a", `path "drop" is not in canonical form`},
		{"* /drop/ a", `path "/drop/" is not`},
		{"* //drop a", `path "//drop" is not`},
		{"* /a/../drop a", `path "/a/../drop" is not`},
		{"* /%64rop a", `path "/%64rop" is not`},
		{"* /drop;x a", `path "/drop;x" is not`},
		{"* /drop. a", `path "/drop." is not`},
		{"* /drop #1", "no upstream"},
	} {
		if _, err := tableOf(t, c.route); err == nil || !strings.Contains(err.Error(), "routes[0]: "+c.want) {
			t.Errorf("%q: got %v, want %q", c.route, err, c.want)
		}
	}
	if _, err := tableOf(t, "* /drop a", "* /drop a", "* /Drop #1 a", "x y z"); err == nil || strings.Count(err.Error(), "\n") != 1 {
		t.Errorf("got %v, want two problems: the second route and the last", err)
	}
	if _, err := tableOf(t, "* /drop #1 a", "* /DROP #2 a"); err == nil {
		t.Error("two gates that differ in case only are accepted")
	}
}

func TestTable_FindCostsNothing(t *testing.T) {
	table, err := tableOf(t, "* / shop", "*.shop.test /drop #1 shop", "shop.test /drop/info shop")
	if err != nil {
		t.Fatal(err)
	}
	u := &url.URL{Path: "/drop/item/42"}
	got := testing.AllocsPerRun(100, func() {
		if name, ok := hostName("www.shop.test:8080"); ok {
			table.find(name, u)
		}
	})
	if got != 0 {
		t.Errorf("a look-up allocates %v times, want 0", got)
	}
}
