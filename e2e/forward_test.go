package e2e

import (
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// front is a program of the operator's that stands before the shop and asks a
// gateway whom to let pass.
type front struct {
	name, install string
	file          string // of its folder in examples/forward-auth
	args          []string
}

var fronts = []front{
	{"nginx", "nginx-light", "nginx.conf", []string{"-e", "stderr", "-p", ".", "-c", "nginx.conf"}},
	{"caddy", "caddy", "Caddyfile", []string{"run", "--config", "Caddyfile", "--adapter", "caddyfile"}},
}

// run runs the front on its example, between a gateway and its shop, until the
// test ends, and returns its URL.
func (f front) run(t *testing.T, g *gateway, shop *shop) string {
	t.Helper()
	address := freeAddress(t)
	host, port, _ := net.SplitHostPort(address)
	dir := t.TempDir()
	write(t, filepath.Join(dir, f.file), strings.NewReplacer(
		"http://127.0.0.1:8000", "http://"+net.JoinHostPort(host, port), "127.0.0.1:8000", address,
		"127.0.0.1:8080", strings.TrimPrefix(g.Public, "http://"), "127.0.0.1:9000", strings.TrimPrefix(shop.URL, "http://"),
	).Replace(example(t, "forward-auth", f.name, f.file)))
	runOther(t, f.name, f.install, dir, address, f.args...)
	return "http://" + address
}

// TestForward_Fronts has real ones, on their examples, let in only who is
// admitted.
func TestForward_Fronts(t *testing.T) {
	t.Parallel()
	for _, f := range fronts {
		t.Run(f.name, func(t *testing.T) {
			t.Parallel()
			shop := openShop(t)
			g := start(t, strings.ReplaceAll(example(t, "forward-auth", f.name, "ropeline.yaml"), "http://127.0.0.1:9000", shop.URL)+
				"poll: {min: 200ms, max: 1s}\ndrain: {delay: 0s}\n")
			edge := &gateway{Public: f.run(t, g, shop), t: t}

			first := newVisitor(t, edge)
			eventually(t, "the first is inside", func() bool {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, edge.Public+"/drop", nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Accept", "text/html")
				r.Header.Set("Ropeline-Number", "99")
				r.Header.Set("Ropeline-Tenant", "forged")
				a, err := first.send(r)
				return err == nil && a.Code == http.StatusOK && strings.Contains(a.Body, `id="inside"`)
			})
			hits := shop.Hits()
			if h := hits[len(hits)-1]; h.Number != 1 || h.Header.Get("Ropeline-Activity") != "123" || h.Header.Get("Ropeline-Tenant") != "demo" {
				t.Errorf("the shop was told %v", h.Header)
			}
			if first.Cookie("ropeline-admission-123") == "" {
				t.Fatal("the first keeps no admission")
			}
			inside := len(hits)

			// Whatever is tried without admission, the shop does not hear of it.
			stranger := newVisitor(t, edge)
			for _, path := range []string{"/drop", "//drop", "/%64rop", "/x/../drop", "/drop/", "/drop/buy", "/drop?to=/_ropeline/status"} {
				for _, method := range []string{http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodOptions} {
					for _, navigation := range []bool{true, false} {
						a, err := stranger.do(t.Context(), method, path, navigation)
						if err != nil {
							t.Fatal(err)
						}
						if a.Code < 300 {
							t.Errorf("%s %s got %d %.200s", method, path, a.Code, a.Body)
						}
					}
				}
			}
			if a := stranger.Open(t, "/_ropeline/auth/"+f.name); a.Code != http.StatusNotFound {
				t.Errorf("a visitor's own question got %d", a.Code)
			}
			if n := len(shop.Hits()); n != inside {
				t.Errorf("the shop heard of %d requests without admission: %v", n-inside, shop.Hits()[inside:])
			}

			// A real browser is led to the line, and in.
			person := openBrowser(t).Person(t, edge)
			person.Open("/drop/?size=M")
			person.Wait("the person waits", `location.pathname === "/_ropeline/wait" && document.body.innerText.includes("Spring drop")`)
			if n := len(shop.Hits()); n != inside {
				t.Errorf("the shop heard of who waits: %v", shop.Hits()[inside:])
			}
			for _, v := range []*visitor{stranger, first} {
				a, err := v.do(t.Context(), http.MethodPost, "/_ropeline/leave?activity=123", false)
				if err != nil || a.Code != http.StatusOK {
					t.Fatalf("leave got %d %s, %v", a.Code, a.Body, err)
				}
			}
			person.Wait("the person is inside", `document.getElementById("inside") && location.pathname + location.search === "/drop/?size=M"`)

			// Without the gateway no one passes.
			g.Kill()
			before := len(shop.Hits())
			if a := newVisitor(t, edge).Open(t, "/drop"); a.Code < 500 {
				t.Errorf("without the gateway a visitor got %d", a.Code)
			}
			if n := len(shop.Hits()); n != before {
				t.Error("without the gateway the shop was asked")
			}
		})
	}
}
