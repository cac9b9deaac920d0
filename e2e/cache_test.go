package e2e

import (
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// Caches that were forced: they look up what comes with cookies, overrule what
// answers say of how long they are good, and keep those that set a cookie.
const (
	nginxCache = `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    proxy_cache_path cache keys_zone=all:1m;
    server {
        listen %s;
        location / {
            proxy_cache all;
            proxy_cache_key $host$uri$is_args$args;
            proxy_cache_valid any 10m;
            proxy_cache_methods GET HEAD POST;
            proxy_ignore_headers %s;
            proxy_set_header Host $http_host;
            proxy_pass http://%s;
            add_header X-Cache $upstream_cache_status always;
        }
    }
}
`
	varnishCache = `vcl 4.1;
backend default { .host = "%s"; .port = "%s"; }
sub vcl_recv {
    if (req.method == "GET" || req.method == "HEAD") { return (hash); }
}
sub vcl_backend_response {
    set beresp.ttl = 10m;
    set beresp.grace = 10m;
}
sub vcl_deliver {
    if (obj.hits > 0) { set resp.http.X-Cache = "HIT"; } else { set resp.http.X-Cache = "MISS"; }
}
`
)

// TestCache_NeverHandsOnWhatIsAnothers has visitors of one address after the
// other come through a cache that keeps all it can.
func TestCache_NeverHandsOnWhatIsAnothers(t *testing.T) {
	t.Parallel()
	nginx := func(ignored string) func(*testing.T, string, string) {
		return func(t *testing.T, at, gateway string) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(nginxCache, at, ignored, gateway))
			runOther(t, "nginx", "nginx-light", dir, at, "-e", "stderr", "-p", ".", "-c", "nginx.conf")
		}
	}
	for name, run := range map[string]func(t *testing.T, at, gateway string){
		"nginx that obeys Cache-Control":   nginx("Expires Set-Cookie Vary"),
		"nginx that obeys X-Accel-Expires": nginx("Cache-Control Expires Set-Cookie Vary"),
		"varnish": func(t *testing.T, at, gateway string) {
			dir := t.TempDir()
			host, port, err := net.SplitHostPort(gateway)
			if err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(dir, "cache.vcl"), fmt.Sprintf(varnishCache, host, port))
			runOther(t, "varnishd", "varnish", dir, at, "-F", "-j", "none", "-a", at, "-f", filepath.Join(dir, "cache.vcl"),
				"-n", filepath.Join(dir, "varnish"), "-s", "malloc,16m")
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			shop := openShop(t)
			g := start(t, settings(shop, "capacity: 2", "api: {enabled: true, enter_limit: ''}"))
			at := freeAddress(t)
			run(t, at, strings.TrimPrefix(g.Public, "http://"))
			edge := &gateway{Public: "http://" + at, t: t}

			// It is a cache: what is open and may be kept, is.
			reader := newVisitor(t, edge)
			eventually(t, "the cache keeps what it may", func() bool { return reader.Open(t, "/kept").Header.Get("X-Cache") == "HIT" })

			// Two are inside, and each sees what is its own, again and again.
			inside := []*visitor{newVisitor(t, edge), newVisitor(t, edge)}
			for _, v := range inside {
				v.Enter(t)
			}
			for range 3 {
				for i, v := range inside {
					for _, path := range []string{"/drop/kept", "/drop/kept?cookie", "/drop"} {
						a := v.Open(t, path)
						own := fmt.Sprintf("the cart of %d", i+1)
						if path == "/drop" {
							own = fmt.Sprintf(`<b id="number">%d</b>`, i+1)
						}
						if a.Code != http.StatusOK || !strings.Contains(a.Body, own) || a.Header.Get("X-Cache") == "HIT" {
							t.Errorf("visitor %d got %d %.200q of %s (%s)", i+1, a.Code, a.Body, path, a.Header.Get("X-Cache"))
						}
					}
					if got, want := v.Cookie("cart"), fmt.Sprintf("of-%d", i+1); got != want {
						t.Errorf("visitor %d has the cart %q, want %q", i+1, got, want)
					}
				}
			}

			// Who waits gets a page, an answer and a status of their own, and
			// nothing of those inside, as a page or as a program.
			queues := map[string]bool{}
			for i := range 3 {
				v := newVisitor(t, edge)
				for _, path := range []string{"/drop/kept", "/drop/kept?cookie", "/drop"} {
					a := v.Open(t, path)
					if a.Code != http.StatusOK || strings.Contains(a.Body, "the cart of") || strings.Contains(a.Body, `id="inside"`) || a.Header.Get("X-Cache") == "HIT" {
						t.Errorf("who waits got %d %.200q of %s (%s)", a.Code, a.Body, path, a.Header.Get("X-Cache"))
					}
				}
				if s := v.Join(t); s.Number != int64(i+3) {
					t.Errorf("who came %d. has number %d", i+3, s.Number)
				}
				if s := v.Status(t); s.Number != int64(i+3) {
					t.Errorf("who came %d. is told number %d", i+3, s.Number)
				}
				queue := v.Cookie("ropeline-queue-7")
				if queue == "" || queues[queue] || v.Cookie("ropeline-admission-7") != "" || v.Cookie("cart") != "" {
					t.Errorf("who came %d. has cookies of another: queue %v, admission %v, cart %q", i+3, queues[queue], v.Cookie("ropeline-admission-7") != "", v.Cookie("cart"))
				}
				queues[queue] = true
			}

			// The API's places are as little anyone else's.
			sessions := map[string]bool{}
			for i := range 2 {
				c := caller{base: edge.Public + "/_ropeline"}
				var place struct {
					SessionID string `json:"session_id"`
					Seq       int64  `json:"seq"`
				}
				c.must(t, &place, http.MethodPost, "/api/v1/queue/enter", fmt.Sprintf(`{"activity_id":7,"user_hash":"u%d"}`, i))
				c.token = place.SessionID
				var now struct {
					Seq int64 `json:"seq"`
				}
				c.must(t, &now, http.MethodGet, "/api/v1/queue/status?activity_id=7", "")
				if sessions[place.SessionID] || now.Seq != place.Seq {
					t.Errorf("caller %d has the place of another, %d beside %d", i, now.Seq, place.Seq)
				}
				sessions[place.SessionID] = true
			}
			if a := inside[0].Open(t, "/drop"); !strings.Contains(a.Body, `<b id="number">1</b>`) {
				t.Errorf("after all that, the first got %.200q", a.Body)
			}
		})
	}
}
