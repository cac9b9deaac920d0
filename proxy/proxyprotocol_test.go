package proxy

import (
	"bufio"
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"runtime"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"github.com/pires/go-proxyproto"
)

// told has the gateway behind a trusted proxy that tells whose connections are.
func told(mode ProxyProtocol) func(*setup) {
	return func(s *setup) {
		s.server.ProxyProtocol, s.proxies = mode, []string{"127.0.0.1/32"}
		s.server.HeaderTimeout = time.Minute
	}
}

// from is a header that says that a client comes from there.
func from(t *testing.T, version byte, client string) string {
	t.Helper()
	source, err := net.ResolveTCPAddr("tcp", client)
	if err != nil {
		t.Fatal(err)
	}
	text, err := proxyproto.HeaderProxyFromAddrs(version, source, &net.TCPAddr{IP: net.IPv4(203, 0, 113, 1), Port: 80}).Format()
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

const getAbout = "GET /about HTTP/1.1\r\nHost: s\r\nX-Forwarded-For: 198.51.100.99\r\n\r\n"

// sees tells which client the shop is told of when a connection from an address
// of this machine begins with said; "" where the shop does not answer.
func sees(t *testing.T, g *gateway, shop *shop, local, said string) string {
	t.Helper()
	dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(local)}}
	conn, err := dialer.DialContext(t.Context(), "tcp", g.addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	io.WriteString(conn, said)
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		return ""
	}
	res.Body.Close()
	if res.StatusCode != 200 {
		return "" // it is not even HTTP
	}
	return shop.last(t).Header.Get("X-Forwarded-For")
}

func TestProxyProtocol_TrustedProxiesTellWhoTheClientIs(t *testing.T) {
	shop := openShop(t, nil)
	accepts, requires := open(t, shop.URL, told(ProxyProtocolAccept)), open(t, shop.URL, told(ProxyProtocolRequire))
	off := open(t, shop.URL, told(ProxyProtocolOff))
	v1, v2 := from(t, 1, "192.0.2.7:4711"), from(t, 2, "192.0.2.7:4711")
	local, err := proxyproto.HeaderProxyFromAddrs(2, nil, nil).Format()
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		story, peer, said       string
		accept, require, turned string // what the shop is told where the header is accepted, required, and off
	}{
		{"version 1", "127.0.0.1", v1 + getAbout, "192.0.2.7", "192.0.2.7", ""},
		{"version 2", "127.0.0.1", v2 + getAbout, "192.0.2.7", "192.0.2.7", ""},
		{"IPv6", "127.0.0.1", from(t, 2, "[2001:db8::7]:4711") + getAbout, "2001:db8::7", "2001:db8::7", ""},
		// A balancer before the one that speaks to us: its own word counts.
		{"of a trusted proxy", "127.0.0.1", from(t, 2, "127.0.0.1:4711") + getAbout, "198.51.100.99", "198.51.100.99", ""},
		{"the proxy's own, version 1", "127.0.0.1", "PROXY UNKNOWN\r\n" + getAbout, "198.51.100.99", "198.51.100.99", ""},
		{"the proxy's own, version 2", "127.0.0.1", string(local) + getAbout, "198.51.100.99", "198.51.100.99", ""},
		{"none", "127.0.0.1", getAbout, "198.51.100.99", "", "198.51.100.99"},
		{"none, of a stranger", "127.0.0.2", getAbout, "127.0.0.2", "127.0.0.2", "127.0.0.2"},
		{"version 1, of a stranger", "127.0.0.2", v1 + getAbout, "", "", ""},
		{"version 2, of a stranger", "127.0.0.2", v2 + getAbout, "", "", ""},
		{"twice", "127.0.0.1", v1 + v1 + getAbout, "", "", ""},
		{"no address", "127.0.0.1", "PROXY TCP4 nobody 203.0.113.1 1 2\r\n" + getAbout, "", "", ""},
		{"an address of another family", "127.0.0.1", "PROXY TCP4 2001:db8::1 203.0.113.1 1 2\r\n" + getAbout, "", "", ""},
		{"no port", "127.0.0.1", "PROXY TCP4 192.0.2.7 203.0.113.1 1 99999\r\n" + getAbout, "", "", ""},
		{"no end", "127.0.0.1", "PROXY TCP4 192.0.2.7 " + strings.Repeat("x", 200) + "\r\n\r\n", "", "", ""},
		{"version 3", "127.0.0.1", v2[:12] + "\x31" + v2[13:] + getAbout, "", "", ""},
		{"too short", "127.0.0.1", v2[:15] + "\x04" + v2[16:] + getAbout, "", "", ""},
		{"of a socket file", "127.0.0.1", v2[:13] + "\x31\x00\xd8" + strings.Repeat("x", 216) + getAbout, "", "", ""},
	} {
		t.Run(c.story, func(t *testing.T) {
			for g, want := range map[*gateway]string{accepts: c.accept, requires: c.require, off: c.turned} {
				before := shop.hits()
				if got := sees(t, g, shop, c.peer, c.said); got != want {
					t.Errorf("it comes to %q, want %q", got, want)
				}
				if want == "" && shop.hits() != before {
					t.Error("the shop was asked")
				}
			}
		})
	}
	if got := requires.count("ropeline_proxy_protocol_errors_total", "missing"); got != 1 {
		t.Errorf("%v missing headers are counted, want 1", got)
	}
	if got := requires.count("ropeline_proxy_protocol_errors_total", "malformed"); got != 7 {
		t.Errorf("%v malformed headers are counted, want 7", got)
	}
}

func TestProxyProtocol_AProxyThatSaysNothingIsLeft(t *testing.T) {
	g := open(t, openShop(t, nil).URL, told(ProxyProtocolRequire), func(s *setup) { s.server.HeaderTimeout = 50 * time.Millisecond })
	for _, said := range []string{"", "PRO", "\r\n\r\n\x00", from(t, 2, "192.0.2.7:1")[:20]} {
		conn := g.dial()
		io.WriteString(conn, said)
		if got, err := io.ReadAll(conn); err != nil && !strings.Contains(err.Error(), "reset") || len(got) > 0 {
			t.Errorf("after %q it is answered %q, %v; want the connection closed", said, got, err)
		}
	}
}

func TestProxyProtocol_BeforeTLS(t *testing.T) {
	shop := openShop(t, nil)
	https, roots := secured(t)
	g := open(t, shop.URL, https, told(ProxyProtocolRequire))
	client := &http.Client{Transport: &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		DialContext: func(context.Context, string, string) (net.Conn, error) {
			conn, err := net.Dial("tcp", g.secure)
			if err == nil {
				_, err = io.WriteString(conn, from(t, 2, "192.0.2.7:4711"))
			}
			return conn, err
		},
	}}
	defer client.CloseIdleConnections()
	res, err := client.Get("https://shop.test/about")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := shop.last(t).Header.Get("X-Forwarded-For"); res.ProtoMajor != 2 || got != "192.0.2.7" {
		t.Errorf("by HTTP/%d the shop is told of %q, want 192.0.2.7 by HTTP/2", res.ProtoMajor, got)
	}
}

func TestProxyProtocol_ConnectionsCountForTheClient(t *testing.T) {
	g := open(t, openShop(t, nil).URL, told(ProxyProtocolRequire), func(s *setup) { s.server.ConnsPerNetwork = 2 })
	connect := func(client string) (net.Conn, bool) {
		conn := g.dial()
		io.WriteString(conn, from(t, 2, client)+getAbout)
		_, err := http.ReadResponse(bufio.NewReader(conn), nil)
		return conn, err == nil
	}
	first, ok := connect("192.0.2.7:1")
	_, too := connect("192.0.2.7:2")
	if !ok || !too {
		t.Fatal("a connection within the limit is not answered")
	}
	if _, ok := connect("192.0.2.7:3"); ok {
		t.Error("a third connection of a client is answered")
	}
	if _, ok := connect("192.0.2.8:1"); !ok {
		t.Error("another client is not answered")
	}
	if got := g.count("ropeline_connections_refused_total"); got != 1 {
		t.Errorf("%v refusals are counted, want 1", got)
	}
	first.Close()
	for { // once the server has seen it, or the test never ends
		if _, ok := connect("192.0.2.7:4"); ok {
			break
		}
		runtime.Gosched()
	}
}

// announced is a shop whose connections begin with a PROXY protocol header.
type announced struct {
	*httptest.Server
	mu   sync.Mutex // guards said
	said []string
}

func openAnnounced(t *testing.T, h http.HandlerFunc) *announced {
	t.Helper()
	a := &announced{}
	a.Server = httptest.NewUnstartedServer(h)
	a.Listener = &proxyproto.Listener{Listener: a.Listener, ValidateHeader: func(h *proxyproto.Header) error {
		a.mu.Lock()
		defer a.mu.Unlock()
		if h.Command.IsLocal() || h.TransportProtocol == proxyproto.UNSPEC {
			a.said = append(a.said, fmt.Sprintf("v%d nobody", h.Version))
			return nil
		}
		a.said = append(a.said, fmt.Sprintf("v%d %v", h.Version, h.SourceAddr))
		return nil
	}}
	a.Start()
	t.Cleanup(a.Close)
	return a
}

func (a *announced) heard() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.said)
}

func TestProxyProtocol_TheShopIsToldWhoseConnectionItIs(t *testing.T) {
	shop := openAnnounced(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/socket" {
			conn, err := websocket.Accept(w, r, nil)
			if err == nil {
				conn.Close(websocket.StatusNormalClosure, r.RemoteAddr)
			}
			return
		}
		io.WriteString(w, r.RemoteAddr)
	})
	for _, version := range []byte{1, 2} {
		g := open(t, shop.URL, func(s *setup) {
			s.shop = func(u *UpstreamSettings) { u.ProxyProtocol = version }
			s.proxies = []string{"127.0.0.1/32"}
		})
		// One connection of a client, and one of a proxy for many.
		dialer := net.Dialer{LocalAddr: &net.TCPAddr{IP: net.IPv4(127, 0, 0, 2)}}
		conn, err := dialer.DialContext(t.Context(), "tcp", g.addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		client, proxied := bufio.NewReader(conn), browser(t)
		for i := range 3 {
			io.WriteString(conn, "GET /about HTTP/1.1\r\nHost: s\r\n\r\n")
			if _, got := readAnswer(t, client); got != conn.LocalAddr().String() {
				t.Errorf("version %d: the shop sees %s, want %s", version, got, conn.LocalAddr())
			}
			address := fmt.Sprintf("192.0.2.%d", i)
			if _, got := g.ask(proxied, "GET", "/about", "", "X-Forwarded-For: "+address); got != address+":0" {
				t.Errorf("version %d: the shop sees %s, want %s:0", version, got, address)
			}
		}
		socket, _, err := websocket.Dial(t.Context(), g.url+"/socket", &websocket.DialOptions{HTTPHeader: http.Header{"X-Forwarded-For": {"192.0.2.9"}}})
		if err != nil {
			t.Fatal(err)
		}
		if _, _, err = socket.Read(t.Context()); websocket.CloseStatus(err) != websocket.StatusNormalClosure || !strings.Contains(err.Error(), "192.0.2.9:0") {
			t.Errorf("version %d: a WebSocket ends with %v, want the client's address", version, err)
		}
	}
	// Each request had a connection, and none was another's.
	if got := len(shop.heard()); got != 14 {
		t.Errorf("%d connections were made for 14 requests: %q", got, shop.heard())
	}
}

func TestProxyProtocol_HealthChecksAreNobodys(t *testing.T) {
	asked := make(chan string, 1)
	shop := openAnnounced(t, func(w http.ResponseWriter, r *http.Request) {
		select {
		case asked <- r.URL.Path:
		default:
		}
	})
	open(t, shop.URL, func(s *setup) {
		s.shop = func(u *UpstreamSettings) {
			u.ProxyProtocol, u.Health = 2, Health{Path: "/up", Interval: 100 * time.Millisecond}
		}
	})
	if path := <-asked; path != "/up" || shop.heard()[0] != "v2 nobody" {
		t.Errorf("%s was asked for %q, want /up for nobody", path, shop.heard())
	}
}

func TestProxyProtocol_NotByHTTP2(t *testing.T) {
	g := NewGateway(Options{})
	s := shopAt(t, "http://127.0.0.1:9000")
	s.HTTP2, s.ProxyProtocol = true, 2
	if _, err := g.Upstream(s); err == nil {
		t.Error("connections of many clients are to tell of one, which is not refused")
	}
}
