package proxy

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/quic-go/qpack"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
	"github.com/quic-go/quic-go/quicvarint"

	"github.com/ropeline/ropeline/admission"
)

// overHTTP3 has HTTP/3 beside HTTPS.
func overHTTP3(t testing.TB) func(*HTTPS) {
	t.Helper()
	socket, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return func(h *HTTPS) { h.QUIC = socket }
}

// quicBrowser is a client with a cookie jar that speaks HTTP/3 and nothing else.
func (g *gateway) quicBrowser(roots *x509.CertPool) *http.Client {
	g.t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		g.t.Fatal(err)
	}
	transport := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, DisableCompression: true,
		Dial: func(ctx context.Context, _ string, t *tls.Config, c *quic.Config) (*quic.Conn, error) {
			return quic.DialAddr(ctx, g.quic, t, c)
		},
	}
	g.t.Cleanup(func() { transport.Close() })
	return &http.Client{Jar: jar, Transport: transport}
}

func TestHTTP3_AVisitorsWayIsTheSame(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		fmt.Fprintf(w, "%s %d %v", r.Method, len(body), r.TransferEncoding)
	})
	https, roots := secured(t, overHTTP3(t), func(h *HTTPS) { h.HSTS = "max-age=60" })
	g := open(t, shop.URL, https)
	b := g.quicBrowser(roots)
	res, body := g.get(b, "https://shop.test/drop")
	if res.ProtoMajor != 3 || body != "GET 0 []" {
		t.Fatalf("got %q by %s, want the shop by HTTP/3", body, res.Proto)
	}
	if cookie := res.Header.Get("Set-Cookie"); !strings.HasPrefix(cookie, "__Host-ropeline-admission-123=") {
		t.Errorf("the cookie is %q", cookie)
	}
	if got := res.Header.Get("Strict-Transport-Security"); got != "max-age=60" {
		t.Errorf("got Strict-Transport-Security %q", got)
	}
	seen := shop.last(t).Header
	if seen.Get("X-Forwarded-Proto") != "https" || seen.Get("X-Forwarded-For") != "127.0.0.1" || seen.Get("X-Forwarded-Host") != "shop.test" {
		t.Errorf("the shop is told %v", seen)
	}

	// A second visitor waits, as a person and as a program.
	second := g.quicBrowser(roots)
	res, body = g.get(second, "https://shop.test/drop")
	if res.StatusCode != 200 || !strings.Contains(body, "Spring drop") || shop.hits() != 1 {
		t.Errorf("the second visitor got %d %.200q", res.StatusCode, body)
	}
	if res, body := g.get(second, "https://shop.test/_ropeline/status?activity=123"); res.StatusCode != 200 || !strings.Contains(body, `"number":2`) {
		t.Errorf("its status is %d %s", res.StatusCode, body)
	}

	// Bodies of a length and of none arrive whole, and no GET looks as if it had one.
	for _, c := range []struct {
		method, path string
		body         io.Reader
		want         string
	}{
		{"POST", "/drop/buy", bytes.NewReader(make([]byte, 3<<20)), "POST 3145728 []"},
		{"POST", "/drop/buy", io.MultiReader(bytes.NewReader(make([]byte, 1<<20))), "POST 1048576 [chunked]"},
		{"POST", "/drop/buy", http.NoBody, "POST 0 []"},
		{"GET", "/drop/buy", nil, "GET 0 []"},
		{"DELETE", "/drop/buy", nil, "DELETE 0 []"},
	} {
		r, err := http.NewRequestWithContext(t.Context(), c.method, "https://shop.test"+c.path, c.body)
		if err != nil {
			t.Fatal(err)
		}
		res, err := b.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(res.Body)
		if err != nil || string(body) != c.want {
			t.Errorf("%s got %q, %v; want %q", c.method, body, err, c.want)
		}
	}
}

func TestHTTP3_IsToldOfOverHTTPSAlone(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Alt-Svc", `h3=":9999"`) // of the shop's own server
	})
	https, roots := secured(t, overHTTP3(t), func(h *HTTPS) { h.Redirect = nil })
	g := open(t, shop.URL, https)
	for url, want := range map[string]string{
		"https://shop.test/about":                           `h3=":443"; ma=86400`,
		"https://shop.test:8443/about":                      `h3=":8443"; ma=86400`,
		"https://shop.test/_ropeline/status?activity=123":   `h3=":443"; ma=86400`,
		"https://shop.test:443443/about":                    "",
		"https://[::1]/about":                               `h3=":443"; ma=86400`,
		"https://shop.test:8443/drop/nothing/of/this/shop/": `h3=":8443"; ma=86400`,
	} {
		c := g.safeBrowser(roots)
		c.Transport.(*http.Transport).TLSClientConfig.InsecureSkipVerify = true // of ::1 too
		res, _ := g.get(c, url)
		if got := res.Header.Get("Alt-Svc"); got != want && want != "" || strings.Contains(got, "443443") {
			t.Errorf("%s: Alt-Svc is %q, want %q", url, got, want)
		}
	}
	if res, _ := g.ask(browser(t), "GET", "/drop", "", navigation); strings.Contains(res.Header.Get("Alt-Svc"), "86400") {
		t.Error("it is told of over plain HTTP")
	}
	if res, _ := g.get(g.quicBrowser(roots), "https://shop.test/_ropeline/status?activity=123"); res.Header.Get("Alt-Svc") != "" {
		t.Error("it is told of over HTTP/3 itself")
	}
}

// quicWire is a bare QUIC connection that speaks HTTP/3 by hand.
type quicWire struct {
	*quic.Conn
	t testing.TB
}

func (g *gateway) quicWire(roots *x509.CertPool) quicWire {
	g.t.Helper()
	conn, err := g.quicDial(roots)
	if err != nil {
		g.t.Fatal(err)
	}
	return quicWire{conn, g.t}
}

func (g *gateway) quicDial(roots *x509.CertPool) (*quic.Conn, error) {
	ctx, cancel := context.WithTimeout(g.t.Context(), time.Minute)
	defer cancel()
	conn, err := quic.DialAddr(ctx, g.quic, &tls.Config{RootCAs: roots, ServerName: "shop.test", NextProtos: []string{"h3"}}, nil)
	if err == nil {
		g.t.Cleanup(func() { conn.CloseWithError(0x100, "") })
	}
	return conn, err
}

type field [2]string

func frame(kind uint64, payload []byte) []byte {
	return append(quicvarint.Append(quicvarint.Append(nil, kind), uint64(len(payload))), payload...)
}

func headersFrame(fields ...field) []byte {
	var block bytes.Buffer
	encoder := qpack.NewEncoder(&block)
	for _, f := range fields {
		encoder.WriteField(qpack.HeaderField{Name: f[0], Value: f[1]}) // into memory
	}
	return frame(1, block.Bytes())
}

// request is a request for shop.test, and more.
func request(method, path string, more ...field) []field {
	return append([]field{{":method", method}, {":scheme", "https"}, {":authority", "shop.test"}, {":path", path}}, more...)
}

// ask sends frames as one request, and returns the status of the answer; 0: the
// stream was reset instead.
func (w quicWire) ask(frames ...[]byte) int {
	w.t.Helper()
	stream, err := w.OpenStreamSync(w.t.Context())
	if err != nil {
		w.t.Fatal(err)
	}
	stream.SetDeadline(time.Now().Add(time.Minute))
	for _, f := range frames {
		stream.Write(f) // a reset shows when the answer is read
	}
	stream.Close()
	status, err := readStatus(stream)
	var reset *quic.StreamError
	if err != nil && !errors.As(err, &reset) {
		w.t.Fatalf("the connection ended: %v", err)
	}
	return status
}

func readStatus(from io.Reader) (int, error) {
	r := quicvarint.NewReader(from)
	kind, err := quicvarint.Read(r)
	if err != nil {
		return 0, err
	}
	size, err := quicvarint.Read(r)
	if err != nil || kind != 1 {
		return 0, fmt.Errorf("frame %d: %w", kind, err)
	}
	block := make([]byte, size)
	if _, err := io.ReadFull(r, block); err != nil {
		return 0, err
	}
	next := qpack.NewDecoder().Decode(block)
	status := 0
	for {
		f, err := next()
		if err == io.EOF {
			return status, nil
		}
		if err != nil {
			return 0, err
		}
		if f.Name == ":status" {
			fmt.Sscan(f.Value, &status)
		}
		if f.Name == "connection" {
			return 0, errors.New("the answer speaks of the connection")
		}
	}
}

func TestHTTP3_NoVariantReachesTheShop(t *testing.T) {
	shop := openShop(t, nil)
	https, roots := secured(t, overHTTP3(t))
	g := open(t, shop.URL, https, func(s *setup) {
		s.limits.Mode = admission.ModeClosed
		s.table = func(s *Settings) {
			s.Routes = append(s.Routes, Route{Host: "*", Path: "/a/sale", Upstream: s.Routes[0].Upstream, Activity: s.Routes[1].Activity})
		}
	})
	w := g.quicWire(roots)
	refused := []int{0, 400, 405, 421, 431, 503}
	for _, v := range lines(t, "bypass.txt") {
		if got := w.ask(headersFrame(request("GET", v)...)); !slices.Contains(refused, got) {
			t.Errorf("%s: got %d, want it refused or held", v, got)
		}
	}
	data := frame(0, []byte("GET /drop HTTP/1.1\r\nHost: s\r\n\r\n"))
	for name, frames := range map[string][][]byte{
		"CONNECT":                   {headersFrame(field{":method", "CONNECT"}, field{":authority", "shop.test"})},
		"a WebSocket":               {headersFrame(append(request("CONNECT", "/drop"), field{":protocol", "websocket"})...)},
		"TRACE":                     {headersFrame(request("TRACE", "/drop")...)},
		"a method in small letters": {headersFrame(request("get", "/drop")...)},
		"two paths":                 {headersFrame(append(request("GET", "/drop"), field{":path", "/about"})...)},
		"a path after the headers":  {headersFrame(field{":method", "GET"}, field{":scheme", "https"}, field{":authority", "shop.test"}, field{"accept", "*/*"}, field{":path", "/drop"})},
		"two hosts":                 {headersFrame(request("GET", "/drop", field{"host", "other.test"})...)},
		"user and host":             {headersFrame(field{":method", "GET"}, field{":scheme", "https"}, field{":authority", "u@shop.test"}, field{":path", "/drop"})},
		"no host":                   {headersFrame(field{":method", "GET"}, field{":scheme", "https"}, field{":path", "/drop"})},
		"another scheme":            {headersFrame(field{":method", "GET"}, field{":scheme", "http"}, field{":authority", "shop.test"}, field{":path", "/drop"})},
		"an absolute path":          {headersFrame(request("GET", "https://shop.test/drop")...)},
		"no path":                   {headersFrame(request("GET", "")...)},
		"*":                         {headersFrame(request("OPTIONS", "*")...)},
		"an upgrade":                {headersFrame(request("GET", "/drop", field{"upgrade", "h2c"})...)},
		"a connection":              {headersFrame(request("GET", "/drop", field{"connection", "cookie"})...)},
		"transfer-encoding":         {headersFrame(request("POST", "/drop", field{"transfer-encoding", "chunked"})...), data},
		"large letters":             {headersFrame(request("GET", "/drop", field{"X-Large", "1"})...)},
		"a line break":              {headersFrame(request("GET", "/drop", field{"x-break", "a\r\nb: c"})...)},
		"more body than said":       {headersFrame(request("POST", "/drop", field{"content-length", "1"})...), data},
		"less body than said":       {headersFrame(request("POST", "/drop", field{"content-length", "1000"})...), data},
		"two lengths":               {headersFrame(request("POST", "/drop", field{"content-length", "1"}, field{"content-length", "2"})...), data},
		"a body of a GET":           {headersFrame(request("GET", "/drop")...), data},
		"trailers":                  {headersFrame(request("POST", "/drop", field{"trailer", "cookie"})...), data, headersFrame(field{"cookie", "ropeline-admission-123=x"})},
		"two requests":              {headersFrame(request("GET", "/drop")...), headersFrame(request("GET", "/about")...)},
		"cookies in pieces":         {headersFrame(request("GET", "/drop", field{"cookie", "ropeline-admission-123=x"}, field{"cookie", "ropeline-admission-123=y"})...)},
		"our own headers":           {headersFrame(request("GET", "/drop", field{"ropeline-number", "1"}, field{"x-forwarded-for", "192.0.2.1"})...)},
		"large headers":             {headersFrame(request("GET", "/drop", field{"x-large", strings.Repeat("x", 64<<10)})...)},
	} {
		if got := w.ask(frames...); !slices.Contains(refused, got) {
			t.Errorf("%s: got %d, want it refused or held", name, got)
		}
	}
	if got := shop.hits(); got != 0 {
		t.Errorf("the shop was asked %d times, the last time for %s", got, shop.last(t).RequestURI)
	}
	for name, broken := range map[string][]byte{
		"data first": data, "a settings frame": frame(4, nil), "a frame of HTTP/2": frame(2, []byte{0}),
	} {
		w := g.quicWire(roots)
		stream, err := w.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(broken)
		<-w.Context().Done() // or the test never ends
		var ended *quic.ApplicationError
		if !errors.As(context.Cause(w.Context()), &ended) || !ended.Remote {
			t.Errorf("%s: the connection ends with %v", name, context.Cause(w.Context()))
		}
	}
}

func TestHTTP3_InnocentPathsReachTheShopAsSent(t *testing.T) {
	shop := openShop(t, nil)
	https, roots := secured(t, overHTTP3(t))
	g := open(t, shop.URL, https)
	w := g.quicWire(roots)
	for _, p := range lines(t, "open.txt") {
		before := shop.hits()
		if got := w.ask(headersFrame(request("GET", p)...)); got != 200 {
			t.Errorf("%s: got %d, want 200", p, got)
			continue
		}
		if got := shop.last(t).RequestURI; got != p || shop.hits() != before+1 {
			t.Errorf("the shop got %s by %d requests, want %s by one", got, shop.hits()-before, p)
		}
	}
}

func TestHTTP3_WhoIsTooSlowIsLeft(t *testing.T) {
	ended := make(chan struct{}, 10)
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		defer func() { ended <- struct{}{} }()
		if r.URL.Path != "/stream" {
			io.Copy(io.Discard, r.Body)
			return
		}
		for piece := make([]byte, 1<<20); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	https, roots := secured(t, overHTTP3(t))
	g := open(t, shop.URL, https, func(s *setup) {
		s.server.HeaderTimeout = 200 * time.Millisecond
		s.options.BodyIdle = 100 * time.Millisecond
	})
	for name, sent := range map[string][]byte{
		"nothing":         {1},
		"half of headers": headersFrame(request("GET", "/about")...)[:20],
	} {
		w := g.quicWire(roots)
		stream, err := w.OpenStream()
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(sent)
		var reset *quic.StreamError
		if _, err := readStatus(stream); !errors.As(err, &reset) {
			t.Errorf("%s: ends with %v, want the stream reset", name, err)
		}
	}
	// A body that stalls is answered, without waiting for the rest of it.
	w := g.quicWire(roots)
	stream, err := w.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	stream.Write(headersFrame(request("POST", "/about", field{"content-length", "1000"})...))
	if status, err := readStatus(stream); status != 408 {
		t.Errorf("a body that stalls got %d, %v; want 408", status, err)
	}
	// A reader who takes nothing is left: the shop is not held up.
	stream, err = w.OpenStream()
	if err != nil {
		t.Fatal(err)
	}
	stream.Write(headersFrame(request("GET", "/stream")...))
	stream.Close()
	for range 2 {
		<-ended // or the test never ends
	}
	if got := w.ask(headersFrame(request("GET", "/_ropeline/status?activity=123")...)); got != 200 {
		t.Errorf("on the same connection a request got %d", got)
	}
}

// TestHTTP3_StreamsOpenedAndResetAreBounded has a client give requests up as
// soon as it made them, for as long as it is let.
func TestHTTP3_StreamsOpenedAndResetAreBounded(t *testing.T) {
	const flood = 10_000
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done() })
	https, roots := secured(t, overHTTP3(t))
	g := open(t, shop.URL, https)
	before, memory := runtime.NumGoroutine(), heap()
	w := g.quicWire(roots)
	most := 0
	ask := headersFrame(request("GET", "/about")...)
	for range flood {
		stream, err := w.OpenStreamSync(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		stream.Write(ask)
		stream.CancelWrite(0x10c)
		stream.CancelRead(0x10c)
		most = max(most, runtime.NumGoroutine())
	}
	if bound := before + 20*maxStreams; most > bound {
		t.Errorf("%d goroutines at most, %d before; want at most %d", most, before, bound)
	}
	w.CloseWithError(0x100, "")
	for runtime.NumGoroutine() > before+3*maxStreams { // or the test never ends
		runtime.Gosched()
	}
	if now := heap(); now > memory+16<<20 {
		t.Errorf("%d bytes are kept after the flood, %d before", now, memory)
	}
	if res, _ := g.get(g.quicBrowser(roots), "https://shop.test/_ropeline/status?activity=123"); res.StatusCode != 200 {
		t.Errorf("after the flood a visitor gets %d", res.StatusCode)
	}
}

func TestHTTP3_OneNetworkHasSoManyConnectionsAtMost(t *testing.T) {
	https, roots := secured(t, overHTTP3(t))
	g := open(t, openShop(t, nil).URL, https, func(s *setup) { s.server.ConnsPerNetwork = 2 })
	first, second := g.quicWire(roots), g.dial() // over both
	if got := first.ask(headersFrame(request("GET", "/about")...)); got != 200 {
		t.Fatalf("got %d", got)
	}
	fmt.Fprint(second, "GET /about HTTP/1.1\r\nHost: s\r\n\r\n")
	second.Read(make([]byte, 1))
	if _, err := g.quicDial(roots); err == nil {
		t.Error("a third connection is taken")
	}
	if got := g.count("ropeline_connections_refused_total"); got < 1 {
		t.Errorf("%v refusals are counted", got)
	}
	first.CloseWithError(0x100, "")
	for { // once the server has seen it, or the test never ends
		if _, err := g.quicDial(roots); err == nil {
			break
		}
	}
}

func TestHTTP3_TakesNothingOfTheFirstFlight(t *testing.T) {
	https, roots := secured(t, overHTTP3(t))
	g := open(t, openShop(t, nil).URL, https)
	config := &tls.Config{RootCAs: roots, ServerName: "shop.test", NextProtos: []string{"h3"}, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
	for i := range 2 {
		conn, err := quic.DialAddrEarly(t.Context(), g.quic, config, nil)
		if err != nil {
			t.Fatal(err)
		}
		w := quicWire{conn, t}
		if got := w.ask(headersFrame(request("GET", "/about")...)); got != 200 {
			t.Errorf("got %d", got)
		}
		<-conn.HandshakeComplete()
		if s := conn.ConnectionState(); s.Used0RTT || i == 1 && !s.TLS.DidResume {
			t.Errorf("connection %d: 0-RTT %v, resumed %v; want it resumed without", i, s.Used0RTT, s.TLS.DidResume)
		}
		conn.CloseWithError(0x100, "")
	}
}

func TestHTTP3_DrainsWithTheOthers(t *testing.T) {
	asked, answer := make(chan struct{}), make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(asked)
			<-answer
		}
		w.Write(make([]byte, 1<<20))
	})
	https, roots := secured(t, overHTTP3(t))
	g := open(t, shop.URL, https)
	b := g.quicBrowser(roots)
	g.get(b, "https://shop.test/about")
	type result struct {
		status, size int
		err          error
	}
	slow := make(chan result, 1)
	go func() {
		res, err := b.Get("https://shop.test/slow")
		if err != nil {
			slow <- result{err: err}
			return
		}
		body, err := io.ReadAll(res.Body)
		slow <- result{res.StatusCode, len(body), err}
	}()
	<-asked
	stopped := make(chan error, 1)
	go func() { stopped <- g.stop() }()
	eventually(t, "a request during the drain is told to go elsewhere", func() bool {
		_, err := b.Get("https://shop.test/about")
		return err != nil
	})
	close(answer)
	if got := <-slow; got.err != nil || got.status != 200 || got.size != 1<<20 {
		t.Errorf("the request that was under way got %+v", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("the drain ends with %v", err)
	}
	if _, err := g.quicDial(roots); err == nil {
		t.Error("after the drain a connection is taken")
	}
}
