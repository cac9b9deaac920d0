package e2e

import (
	"context"
	"fmt"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
)

// haproxyBalancer passes connections on and says whose they are; haproxyShop
// and nginxShop are told by the gateway, and tell the shop.
const (
	haproxyDefaults = `global
  maxconn 1000
defaults
  timeout connect 10s
  timeout client 60s
  timeout server 60s
`
	haproxyBalancer = haproxyDefaults + `listen balancer
  mode tcp
  bind %s
  server gateway %s %s
`
	haproxyShop = haproxyDefaults + `listen shop
  mode http
  bind %s accept-proxy
  http-request set-header X-Seen %%[src]:%%[src_port]
  server shop %s
`
	nginxShop = `daemon off;
worker_processes 1;
pid nginx.pid;
error_log stderr;
events { worker_connections 256; }
http {
    access_log off;
    client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path f; uwsgi_temp_path u; scgi_temp_path s;
    server {
        listen %s proxy_protocol;
        location / {
            proxy_set_header X-Seen $proxy_protocol_addr:$proxy_protocol_port;
            proxy_pass http://%s;
        }
    }
}
`
)

// TestProxyProtocol_RealBalancers has the client's address travel from a
// balancer through the gateway to a shop, by nothing but the PROXY protocol.
func TestProxyProtocol_RealBalancers(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ behind, version, send string }{
		{"haproxy", "v1", "send-proxy"}, {"haproxy", "v2", "send-proxy-v2"}, {"nginx", "v1", "send-proxy"}, {"nginx", "v2", "send-proxy-v2"},
	} {
		t.Run(c.behind+" "+c.version, func(t *testing.T) {
			t.Parallel()
			shop := openShop(t)
			host := strings.TrimPrefix(shop.URL, "http://")
			dir, behind := t.TempDir(), freeAddress(t)
			if c.behind == "nginx" {
				write(t, filepath.Join(dir, "nginx.conf"), fmt.Sprintf(nginxShop, behind, host))
				runOther(t, "nginx", "nginx-light", dir, behind, "-e", "stderr", "-p", ".", "-c", "nginx.conf")
			} else {
				write(t, filepath.Join(dir, "shop.cfg"), fmt.Sprintf(haproxyShop, behind, host))
				runOther(t, "haproxy", "haproxy", dir, behind, "-db", "-f", "shop.cfg")
			}
			g := start(t, fmt.Sprintf(`listen: {proxy_protocol: require}
trusted_proxies: [127.0.0.1/32]
drain: {delay: 0s}
upstreams: {shop: {servers: [{url: "http://%s"}], proxy_protocol: %s}}
activities: [{id: 7, name: Spring drop, capacity: 5}]
routes: [{path: /drop, activity: 7, upstream: shop}, {upstream: shop}]
`, behind, c.version))
			balancer := freeAddress(t)
			write(t, filepath.Join(dir, "balancer.cfg"), fmt.Sprintf(haproxyBalancer, balancer, strings.TrimPrefix(g.Public, "http://"), c.send))
			runOther(t, "haproxy", "haproxy", dir, balancer, "-db", "-f", "balancer.cfg")

			// Two clients, whose requests take turns on connections that last.
			edge := &gateway{Public: "http://" + balancer, t: t}
			var visitors [2]*visitor
			ports := [2]chan string{make(chan string, 10), make(chan string, 10)}
			addresses := [2]string{"127.0.0.2", "127.0.0.3"}
			for i := range visitors {
				visitors[i] = newVisitor(t, edge)
				visitors[i].client.Transport.(*http.Transport).DialContext = func(_ context.Context, _, address string) (net.Conn, error) {
					conn, err := (&net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(addresses[i])}}).Dial("tcp", address)
					if err == nil {
						ports[i] <- conn.LocalAddr().String()
					}
					return conn, err
				}
				visitors[i].Enter(t)
			}
			var own [2]string
			for i := range own {
				own[i] = <-ports[i]
			}
			for range 3 {
				for i, v := range visitors {
					if a := v.Open(t, "/drop"); a.Code != http.StatusOK {
						t.Fatalf("client %d got %d %.200s", i, a.Code, a.Body)
					}
					hits := shop.Hits()
					h := hits[len(hits)-1].Header
					if h.Get("X-Seen") != own[i] || h.Get("X-Forwarded-For") != addresses[i] {
						t.Errorf("what stands behind sees %s, and is told %s; want %s", h.Get("X-Seen"), h.Get("X-Forwarded-For"), own[i])
					}
				}
			}

			// Whoever comes past the balancer and is trusted must say who comes.
			if a, err := newVisitor(t, g).do(t.Context(), http.MethodGet, "/drop", true); err == nil {
				t.Errorf("without a header a trusted proxy got %d", a.Code)
			}
			if got := g.Metric(`ropeline_proxy_protocol_errors_total{reason="missing"}`); got < 1 {
				t.Errorf("%v missing headers are counted", got)
			}
		})
	}
}
