package proxy

import (
	"bufio"
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"

	"github.com/ropeline/ropeline/proxy/certs"
)

// secured has a gateway listen for HTTPS too, with certificates that the
// returned roots vouch for.
func secured(t testing.TB, change ...func(*HTTPS)) (func(*setup), *x509.CertPool) {
	t.Helper()
	dir := t.TempDir()
	ca, err := certs.OpenInternal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ropeline-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	h := &HTTPS{Listener: l, Config: certs.Config(ca), Redirect: func(string) bool { return true }}
	for _, c := range change {
		c(h)
	}
	return func(s *setup) { s.server.HTTPS = h }, roots
}

// safeBrowser is a client with a cookie jar that trusts roots and finds every
// host at g.
func (g *gateway) safeBrowser(roots *x509.CertPool) *http.Client {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	transport := &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableCompression: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, g.secure)
		},
	}
	g.t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport}
}

func (g *gateway) get(c *http.Client, url string) (*http.Response, string) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), "GET", url, nil)
	if err != nil {
		g.t.Fatal(err)
	}
	r.Header.Set("Accept", "text/html")
	res, err := c.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res, string(body)
}

func TestHTTPS_CookiesAreSecureAndBoundToTheHost(t *testing.T) {
	shop := openShop(t, nil)
	https, roots := secured(t)
	g := open(t, shop.URL, https)
	b := g.safeBrowser(roots)
	res, body := g.get(b, "https://shop.test/drop")
	if body != "the shop" || res.ProtoMajor != 2 {
		t.Fatalf("got %q by %s, want the shop by HTTP/2", body, res.Proto)
	}
	cookie := res.Header.Get("Set-Cookie")
	if !strings.HasPrefix(cookie, "__Host-ropeline-admission-123=") || !strings.HasSuffix(cookie, "; Secure") || strings.Contains(cookie, "Domain") {
		t.Errorf("the cookie is %q, want __Host- and Secure", cookie)
	}
	if got := shop.last(t).Header.Get("X-Forwarded-Proto"); got != "https" {
		t.Errorf("the shop is told %q, want https", got)
	}
	if _, body := g.get(b, "https://shop.test/drop"); body != "the shop" || shop.hits() != 2 {
		t.Errorf("with the cookie got %q, want the shop", body)
	}
	if _, body := g.get(g.safeBrowser(roots), "https://shop.test/drop"); body == "the shop" {
		t.Error("a second visitor passed: the first's cookie admits no one")
	}
	for _, c := range shop.last(t).Cookies() {
		t.Errorf("the shop sees the cookie %s", c.Name)
	}
}

func TestHTTPS_SpeaksTLS12And13(t *testing.T) {
	https, roots := secured(t)
	g := open(t, openShop(t, nil).URL, https)
	for _, tt := range []struct {
		name     string
		version  uint16
		offered  []string
		protocol string
		refused  bool
	}{
		{"1.3 with HTTP/2", tls.VersionTLS13, []string{"h2", "http/1.1"}, "h2", false},
		{"1.2 with HTTP/2", tls.VersionTLS12, []string{"h2"}, "h2", false},
		{"1.2 with HTTP/1.1", tls.VersionTLS12, []string{"http/1.1"}, "http/1.1", false},
		{"1.3 without ALPN", tls.VersionTLS13, nil, "", false},
		{"1.1", tls.VersionTLS11, nil, "", true},
		{"an unknown protocol", tls.VersionTLS13, []string{"spdy/3"}, "", true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			conn, err := tls.Dial("tcp", g.secure, &tls.Config{
				RootCAs: roots, ServerName: "shop.test", NextProtos: tt.offered, MinVersion: tt.version, MaxVersion: tt.version,
			})
			if (err != nil) != tt.refused {
				t.Fatalf("got error %v, want one: %v", err, tt.refused)
			}
			if err == nil {
				defer conn.Close()
				if got := conn.ConnectionState().NegotiatedProtocol; got != tt.protocol {
					t.Errorf("spoke %q, want %q", got, tt.protocol)
				}
			}
		})
	}
}

func TestHTTPS_PlainRequestsAreRedirected(t *testing.T) {
	shop := openShop(t, nil)
	https, _ := secured(t, func(h *HTTPS) {
		h.Redirect = func(host string) bool { return host != "new.test" }
		h.Challenge = func(w http.ResponseWriter, r *http.Request) bool {
			if !strings.HasSuffix(r.URL.Path, "/ours") {
				return false
			}
			io.WriteString(w, "proof")
			return true
		}
	})
	g := open(t, shop.URL, https, func(s *setup) {
		s.proxies = []string{"127.0.0.1/32"}
		s.table = func(s *Settings) {
			for i := range s.Routes {
				s.Routes[i].Host = "shop.test"
			}
			s.Routes = append(s.Routes, Route{Host: "new.test", Path: "/", Upstream: s.Routes[0].Upstream})
		}
	})
	_, port, _ := net.SplitHostPort(g.secure)
	for _, tt := range []struct{ name, request, location, body string }{
		{"navigation", "GET /drop?a=1;b=2&c=%2f HTTP/1.1\nHost: shop.test\n\n", "https://shop.test/drop?a=1;b=2&c=%2f", ""},
		{"form", "POST /about HTTP/1.1\nHost: shop.test\nContent-Length: 1\n\nx", "https://shop.test/about", ""},
		{"named port", "GET / HTTP/1.1\nHost: shop.test:8080\n\n", "https://shop.test:" + port + "/", ""},
		{"two slashes", "GET //evil.test/x HTTP/1.1\nHost: shop.test\n\n", "https://shop.test//evil.test/x", ""},
		{"unknown host", "GET / HTTP/1.1\nHost: evil.test\nAccept: text/plain\n\n", "", `"UNKNOWN_HOST"`},
		{"host without a certificate", "GET /about HTTP/1.1\nHost: new.test\n\n", "", "the shop"},
		{"behind a proxy that speaks HTTPS", "GET /about HTTP/1.1\nHost: shop.test\nX-Forwarded-Proto: https\n\n", "", "the shop"},
		{"challenge of the gateway", "GET /.well-known/acme-challenge/ours HTTP/1.1\nHost: shop.test\n\n", "", "proof"},
		{"challenge of the shop", "GET /.well-known/acme-challenge/theirs HTTP/1.1\nHost: shop.test\n\n", "", "the shop"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			before := shop.hits()
			res, body := g.send(tt.request)
			if got := res.Header.Get("Location"); got != tt.location {
				t.Errorf("sent to %q, want %q", got, tt.location)
			}
			if !strings.Contains(body, tt.body) {
				t.Errorf("got %q, want %q", body, tt.body)
			}
			if tt.location == "" {
				return
			}
			if res.StatusCode != http.StatusTemporaryRedirect || len(res.Cookies()) > 0 || shop.hits() != before {
				t.Errorf("got %d with cookies %v, shop asked %d times; want 307 and nothing else", res.StatusCode, res.Cookies(), shop.hits()-before)
			}
		})
	}
	if got := g.count("ropeline_request_duration_seconds", "redirected"); got != 4 {
		t.Errorf("%v redirects are counted, want 4", got)
	}
}

func TestHTTPS_TellsToStayUnlessTheShopDoes(t *testing.T) {
	const ours, theirs = "max-age=60", "max-age=1; includeSubDomains"
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hints":
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(http.StatusEarlyHints)
		case "/theirs":
			w.Header().Set("Strict-Transport-Security", theirs)
		}
		io.WriteString(w, "the shop")
	})
	https, roots := secured(t, func(h *HTTPS) { h.HSTS, h.Redirect = ours, nil })
	g := open(t, shop.URL, https)
	b := g.safeBrowser(roots)
	for path, want := range map[string]string{"/about": ours, "/hints": ours, "/theirs": theirs, "/_ropeline/status?activity=123": ours} {
		res, _ := g.get(b, "https://shop.test"+path)
		if got := res.Header["Strict-Transport-Security"]; len(got) != 1 || got[0] != want {
			t.Errorf("%s: told %q, want %q once", path, got, want)
		}
	}
	if res, _ := g.send("GET /about HTTP/1.1\nHost: s\n\n"); res.Header["Strict-Transport-Security"] != nil {
		t.Error("told over plain HTTP, where it means nothing")
	}
}

func TestHTTPS_DrainsWithThePlainListener(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-release
		io.WriteString(w, "done")
	})
	https, roots := secured(t)
	g := open(t, shop.URL, https)
	got := make(chan string)
	go func() {
		res, err := g.safeBrowser(roots).Get("https://shop.test/slow")
		if err != nil {
			got <- err.Error()
			return
		}
		defer res.Body.Close()
		body, _ := io.ReadAll(res.Body)
		got <- string(body)
	}()
	<-asked
	stopped := make(chan error)
	go func() { stopped <- g.stop() }()
	for g.Ready() {
		runtime.Gosched()
	}
	close(release)
	if body := <-got; body != "done" {
		t.Errorf("the request under way got %q", body)
	}
	if err := <-stopped; err != nil {
		t.Errorf("drain: %v", err)
	}
	for _, addr := range []string{g.addr, g.secure} {
		if _, err := net.Dial("tcp", addr); err == nil {
			t.Errorf("%s still listens", addr)
		}
	}
}

func TestHTTPS_HandshakeThatStallsIsClosed(t *testing.T) {
	https, _ := secured(t)
	g := open(t, openShop(t, nil).URL, https, func(s *setup) { s.server.HeaderTimeout = 50 * time.Millisecond })
	conn, err := net.Dial("tcp", g.secure)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	conn.Write([]byte{22, 3, 1, 1}) // the begin of a ClientHello
	io.Copy(io.Discard, conn)       // or the test never ends
}

func TestHTTPS_WhatScannersDoIsCountedAndNotWarnedOf(t *testing.T) {
	j := &journal{}
	https, roots := secured(t)
	g := open(t, openShop(t, nil).URL, https, func(s *setup) { s.options.Log = j.logger() })
	conn, err := net.Dial("tcp", g.secure)
	if err != nil {
		t.Fatal(err)
	}
	io.WriteString(conn, "GET / HTTP/1.1\r\nHost: s\r\n\r\n")
	io.Copy(io.Discard, conn) // until it is closed, or the test never ends
	conn.Close()
	c := g.http2(roots)
	c.WriteData(1, true, nil) // of a stream that was never opened
	if err := c.await(func(f http2.Frame) bool { return f.Header().Type == http2.FrameGoAway }); err != nil {
		t.Fatal(err)
	}
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	if got := g.count("ropeline_tls_handshake_errors_total"); got != 1 {
		t.Errorf("%v failed handshakes are counted, want 1", got)
	}
	if got := g.count("ropeline_http2_errors_total", "conn_PROTOCOL_ERROR_data_on_idle"); got != 1 {
		t.Errorf("%v broken connections are counted, want 1", got)
	}
	for _, line := range j.lines(t) {
		if line["level"] == "warn" || line["level"] == "error" {
			t.Errorf("the log warns: %v", line["msg"])
		}
	}
}

// wire is a bare HTTP/2 connection.
type wire struct {
	*http2.Framer
	conn    *tls.Conn
	out     *bufio.Writer // what is written is sent by Flush, or when it is full
	headers *hpack.Encoder
	block   strings.Builder
}

func (g *gateway) http2(roots *x509.CertPool, settings ...http2.Setting) *wire {
	g.t.Helper()
	conn, err := tls.Dial("tcp", g.secure, &tls.Config{RootCAs: roots, ServerName: "shop.test", NextProtos: []string{"h2"}})
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	w := &wire{conn: conn, out: bufio.NewWriterSize(conn, 64<<10)}
	w.Framer = http2.NewFramer(w.out, bufio.NewReader(conn))
	w.headers = hpack.NewEncoder(&w.block)
	io.WriteString(w.out, http2.ClientPreface)
	if err := w.WriteSettings(settings...); err != nil {
		g.t.Fatal(err)
	}
	return w
}

// ask opens a stream with a request.
func (w *wire) ask(id uint32, method, path string, end bool) error {
	w.block.Reset()
	for _, f := range [][2]string{{":method", method}, {":scheme", "https"}, {":authority", "shop.test"}, {":path", path}} {
		w.headers.WriteField(hpack.HeaderField{Name: f[0], Value: f[1]})
	}
	return w.WriteHeaders(http2.HeadersFrameParam{StreamID: id, BlockFragment: []byte(w.block.String()), EndHeaders: true, EndStream: end})
}

// await sends what was written and reads frames until one is what is sought, or the connection ends.
func (w *wire) await(sought func(http2.Frame) bool) error {
	if err := w.out.Flush(); err != nil {
		return err
	}
	for {
		f, err := w.ReadFrame()
		if err != nil || sought(f) {
			return err
		}
	}
}

// A method or a query with a space in it would write a request line of its own
// for the shop, past the gate that read another.
func TestHTTP2_WhatNoRequestLineHoldsIsRefused(t *testing.T) {
	https, roots := secured(t)
	g := open(t, openShop(t, nil).URL, https)
	c := g.http2(roots)
	fields := hpack.NewDecoder(4096, nil)
	for i, tt := range []struct{ method, path, status string }{
		{"GET", "/about", "200"},
		{"GET /drop HTTP/1.1", "/about", "405"},
		{"GET ", "/about", "405"},
		{"GÉT", "/about", "405"},
		{"GET", "/about?a HTTP/1.0", "400"},
	} {
		id := uint32(2*i + 1)
		if err := c.ask(id, tt.method, tt.path, true); err != nil {
			t.Fatal(err)
		}
		var status string
		if err := c.await(func(f http2.Frame) bool {
			h, ok := f.(*http2.HeadersFrame)
			if !ok || h.StreamID != id {
				return false
			}
			all, err := fields.DecodeFull(h.HeaderBlockFragment())
			if err != nil {
				t.Fatal(err)
			}
			status = all[0].Value
			return true
		}); err != nil {
			t.Fatal(err)
		}
		if status != tt.status {
			t.Errorf("%q %q: got %s, want %s", tt.method, tt.path, status, tt.status)
		}
	}
	if asked := g.count("ropeline_upstream_duration_seconds", "shop"); asked != 1 {
		t.Errorf("the shop was asked %v times, want once", asked)
	}
}

func TestHTTP2_ReaderWhoTakesNothingIsLeft(t *testing.T) {
	ended := make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for piece := make([]byte, 1<<20); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	https, roots := secured(t)
	g := open(t, shop.URL, https, func(s *setup) { s.options.BodyIdle = 50 * time.Millisecond })
	c := g.http2(roots, http2.Setting{ID: http2.SettingInitialWindowSize, Val: 1})
	if err := c.ask(1, "GET", "/about", true); err != nil {
		t.Fatal(err)
	}
	c.out.Flush()
	<-ended // or the test never ends
	if err := c.await(func(f http2.Frame) bool { _, reset := f.(*http2.RSTStreamFrame); return reset }); err != nil {
		t.Errorf("the connection ended with %v, want the stream alone to be reset", err)
	}
}

func TestHTTP2_BodyThatStallsIsAnswered(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	https, roots := secured(t)
	g := open(t, shop.URL, https, func(s *setup) { s.options.BodyIdle = 50 * time.Millisecond })
	c := g.http2(roots)
	if err := c.ask(1, "POST", "/about", false); err != nil {
		t.Fatal(err)
	}
	if err := c.await(func(f http2.Frame) bool { return f.Header().StreamID == 1 }); err != nil {
		t.Errorf("the connection ended with %v, want the stream to be answered", err)
	}
}

// TestHTTP2_StreamsOpenedAndResetAreBounded floods the gateway with streams that
// are reset at once, by a client that heeds no limit.
func TestHTTP2_StreamsOpenedAndResetAreBounded(t *testing.T) {
	const flood, batch = 100_000, 1000
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	https, roots := secured(t)
	g := open(t, shop.URL, https)
	before, memory := runtime.NumGoroutine(), heap()

	most, stop, watched := 0, make(chan struct{}), make(chan struct{})
	go func() {
		defer close(watched)
		look := time.NewTicker(5 * time.Millisecond)
		defer look.Stop()
		for {
			select {
			case <-stop:
				return
			case <-look.C:
				most = max(most, runtime.NumGoroutine())
			}
		}
	}()
	sent := 0
	for sent < flood {
		c := g.http2(roots)
		go io.Copy(io.Discard, c.conn)
		var err error
		for id := uint32(1); err == nil && sent < flood; id += 2 * batch {
			for i := range uint32(batch) {
				err = cmp.Or(err, c.ask(id+2*i, "GET", "/about", true))
			}
			for i := range uint32(batch) {
				err = cmp.Or(err, c.WriteRSTStream(id+2*i, http2.ErrCodeCancel))
			}
			sent += batch
		}
		c.conn.Close()
	}
	close(stop)
	<-watched
	// Of each connection 128 streams may be under way. One costs a handful of
	// goroutines in the gateway, and a few in the shop here.
	if bound := before + 20*128; most > bound {
		t.Errorf("%d goroutines at most, %d before; want at most %d", most, before, bound)
	}
	// What is left is connections to the shop that were made for streams which
	// had gone: they are kept for others for a while, three goroutines each.
	for runtime.NumGoroutine() > before+3*128 { // or the test never ends
		runtime.Gosched()
	}
	if now := heap(); now > memory+16<<20 {
		t.Errorf("%d bytes are kept after the flood, %d before", now, memory)
	}
	if res, body := g.get(g.safeBrowser(roots), "https://shop.test/_ropeline/status?activity=123"); res.StatusCode != 200 {
		t.Errorf("after the flood a visitor gets %d %q", res.StatusCode, body)
	}
}

// heap returns how many bytes are in use.
func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func TestConns_OneNetworkHasSoManyAtMost(t *testing.T) {
	https, roots := secured(t)
	g := open(t, openShop(t, nil).URL, https, func(s *setup) { s.server.ConnsPerNetwork = 3; s.server.HTTPS.Redirect = nil })
	answers := func(conn net.Conn) bool {
		fmt.Fprint(conn, "GET /about HTTP/1.1\r\nHost: s\r\n\r\n")
		_, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return err == nil
	}
	first, second := g.dial(), g.dial()
	third, err := tls.Dial("tcp", g.secure, &tls.Config{RootCAs: roots, ServerName: "shop.test"})
	if err != nil {
		t.Fatal(err)
	}
	for _, conn := range []net.Conn{first, second, third} {
		if !answers(conn) {
			t.Fatal("a connection within the limit is not answered")
		}
	}
	if answers(g.dial()) {
		t.Error("a fourth connection is answered")
	}
	if _, err := tls.Dial("tcp", g.secure, &tls.Config{RootCAs: roots, ServerName: "shop.test"}); err == nil {
		t.Error("over HTTPS a fourth connection is answered")
	}
	if got := g.count("ropeline_connections_refused_total"); got != 2 {
		t.Errorf("%v refusals are counted, want 2", got)
	}
	third.Close()
	for !answers(g.dial()) { // once the server has seen it, or the test never ends
		runtime.Gosched()
	}
}

func TestConns_TrustedProxiesAreNotCounted(t *testing.T) {
	g := open(t, openShop(t, nil).URL, func(s *setup) { s.server.ConnsPerNetwork = 1; s.proxies = []string{"127.0.0.0/8"} })
	for range 3 {
		conn := g.dial()
		fmt.Fprint(conn, "GET /about HTTP/1.1\r\nHost: s\r\n\r\n")
		if _, err := http.ReadResponse(bufio.NewReader(conn), nil); err != nil {
			t.Fatal(err)
		}
	}
}

func TestConns_NetworksWithoutConnectionsAreForgotten(t *testing.T) {
	c := newConns(2, NewGateway(Options{}))
	network := func(text string) string {
		addr, err := net.ResolveTCPAddr("tcp", text)
		if err != nil {
			t.Fatal(err)
		}
		return c.network(addr).String()
	}
	for _, tt := range [][2]string{
		{"192.0.2.7:1", "192.0.2.7/32"}, {"[::ffff:192.0.2.7]:1", "192.0.2.7/32"},
		{"[2001:db8::1]:1", "2001:db8::/64"}, {"[2001:db8::ffff]:2", "2001:db8::/64"}, {"[2001:db8:0:1::1]:1", "2001:db8:0:1::/64"},
	} {
		if got := network(tt[0]); got != tt[1] {
			t.Errorf("%s counts for %s, want %s", tt[0], got, tt[1])
		}
	}
	n := c.network(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 7)})
	if first, second, third := c.take(n), c.take(n), c.take(n); !first || !second || third {
		t.Error("two are not what fits")
	}
	c.giveBack(n)
	if !c.take(n) {
		t.Error("a place that was given back is not free")
	}
	c.giveBack(n)
	c.giveBack(n)
	if len(c.open) != 0 {
		t.Errorf("%d networks are remembered, want none", len(c.open))
	}
}
