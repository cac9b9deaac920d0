package proxy

import (
	"bufio"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/coder/websocket"
	"golang.org/x/net/dns/dnsmessage"
)

// openSecure runs a shop over TLS that tells how it was asked.
func openSecure(t *testing.T, change func(*httptest.Server)) *httptest.Server {
	t.Helper()
	s := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		who := "nobody"
		if len(r.TLS.PeerCertificates) > 0 {
			who = r.TLS.PeerCertificates[0].Subject.CommonName
		}
		fmt.Fprint(w, r.Proto, " ", who)
	}))
	s.Config.ErrorLog = log.New(io.Discard, "", 0)
	if change != nil {
		change(s)
	}
	s.StartTLS()
	t.Cleanup(s.Close)
	return s
}

func inPEM(kind string, der []byte) string {
	return string(pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}))
}

// ownCertificate is one that signs itself, and its key.
func ownCertificate(t *testing.T, name string) (cert, key string) {
	t.Helper()
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: name}, NotAfter: time.Now().Add(time.Hour)}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &private.PublicKey, private)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return inPEM("CERTIFICATE", der), inPEM("PRIVATE KEY", secret)
}

func TestLink_TLS(t *testing.T) {
	shop := openSecure(t, nil) // its certificate is for example.com and 127.0.0.1
	asks := openSecure(t, func(s *httptest.Server) { s.TLS = &tls.Config{ClientAuth: tls.RequireAnyClientCert} })
	two := openSecure(t, func(s *httptest.Server) { s.EnableHTTP2 = true })
	ca := inPEM("CERTIFICATE", shop.Certificate().Raw)
	cert, key := ownCertificate(t, "gateway 7")
	for _, c := range []struct {
		story  string
		url    string
		trust  UpstreamTLS
		http2  bool
		status int
		body   string
	}{
		{"unknown CA", shop.URL, UpstreamTLS{}, false, 502, ""},
		{"CA", shop.URL, UpstreamTLS{CA: ca}, false, 200, "HTTP/1.1 nobody"},
		{"another name", shop.URL, UpstreamTLS{CA: ca, ServerName: "example.com"}, false, 200, "HTTP/1.1 nobody"},
		{"not its name", shop.URL, UpstreamTLS{CA: ca, ServerName: "shop.test"}, false, 502, ""},
		{"another's CA", shop.URL, UpstreamTLS{CA: cert}, false, 502, ""},
		{"anyone", shop.URL, UpstreamTLS{SkipVerify: true}, false, 200, "HTTP/1.1 nobody"},
		{"who asks for a certificate", asks.URL, UpstreamTLS{CA: ca}, false, 502, ""},
		{"and gets one", asks.URL, UpstreamTLS{CA: ca, Cert: cert, Key: key}, false, 200, "HTTP/1.1 gateway 7"},
		{"HTTP/2 is offered, not wished for", two.URL, UpstreamTLS{CA: ca}, false, 200, "HTTP/1.1 nobody"},
		{"HTTP/2 is offered", two.URL, UpstreamTLS{CA: ca}, true, 200, "HTTP/2.0 nobody"},
		{"HTTP/2 is not offered", shop.URL, UpstreamTLS{CA: ca}, true, 200, "HTTP/1.1 nobody"},
	} {
		t.Run(c.story, func(t *testing.T) {
			g := open(t, "", pool(t, func(s *UpstreamSettings) { s.Trust, s.HTTP2 = c.trust, c.http2 }, c.url))
			res, body := g.ask(browser(t), "POST", "/about", "order")
			if res.StatusCode != c.status || c.status == 200 && body != c.body {
				t.Errorf("got %d %q, want %d %q", res.StatusCode, body, c.status, c.body)
			}
		})
	}
	g := NewGateway(Options{})
	for _, trust := range []UpstreamTLS{{CA: "nonsense"}, {Cert: cert}, {Cert: key, Key: cert}} {
		s := shopAt(t, shop.URL)
		s.Trust = trust
		if _, err := g.Upstream(s); err == nil {
			t.Errorf("%+v is taken", trust)
		}
	}
}

func TestLink_HTTP2WithoutTLS(t *testing.T) {
	shop := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") != "" {
			if c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true}); err == nil {
				c.Write(r.Context(), websocket.MessageText, []byte(r.Proto))
				c.CloseNow()
			}
			return
		}
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%s %s %s %s", r.Proto, r.Host, r.Header.Get("X-Forwarded-For"), body)
	}))
	shop.Config.Protocols = new(http.Protocols)
	shop.Config.Protocols.SetHTTP1(true)
	shop.Config.Protocols.SetUnencryptedHTTP2(true)
	shop.Start()
	t.Cleanup(shop.Close)
	g := open(t, "", pool(t, func(s *UpstreamSettings) { s.HTTP2 = true }, shop.URL))
	if _, body := g.ask(browser(t), "POST", "/about", "order", "Host: shop.test"); body != "HTTP/2.0 shop.test 127.0.0.1 order" {
		t.Errorf("the shop was asked %q", body)
	}
	c, _, err := websocket.Dial(t.Context(), g.url+"/about", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	if _, got, err := c.Read(t.Context()); err != nil || string(got) != "HTTP/1.1" {
		t.Errorf("a WebSocket got %q, %v; want it by HTTP/1.1", got, err)
	}
}

func TestLink_Socket(t *testing.T) {
	path := filepath.Join(t.TempDir(), "shop.sock")
	serve := func() func() {
		l, err := net.Listen("unix", path)
		if err != nil {
			t.Fatal(err)
		}
		s := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.Host) })}
		go s.Serve(l)
		return func() { s.Close() }
	}
	stop := serve()
	g := open(t, "", func(s *setup) {
		pool(t, nil)(s)
		s.shop = func(u *UpstreamSettings) {
			*u = shopAt(t)
			u.Servers = []UpstreamServer{{URL: url.URL{Scheme: "unix", Path: path}}}
			u.Health = Health{Path: "/up", Interval: 5 * time.Millisecond}
		}
	})
	if _, body := g.ask(browser(t), "GET", "/about", "", "Host: shop.test"); body != "shop.test" {
		t.Errorf("got %q, want the visitor's host", body)
	}
	stop()
	eventually(t, "it is known to be away", func() bool {
		res, _ := g.ask(browser(t), "GET", "/about", "")
		return res.StatusCode == 503
	})
	defer serve()()
	eventually(t, "it is there again", func() bool {
		res, _ := g.ask(browser(t), "GET", "/about", "")
		return res.StatusCode == 200
	})
}

// names is a name server of one name, whose address changes; empty: it fails.
type names struct {
	addr    net.Addr
	address atomic.Pointer[string]
	asked   atomic.Int64
}

func openNames(t *testing.T, address string) *names {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	n := &names{addr: conn.LocalAddr()}
	n.address.Store(&address)
	done := make(chan struct{})
	t.Cleanup(func() { conn.Close(); <-done })
	go func() {
		defer close(done)
		b := make([]byte, 1500)
		for {
			size, from, err := conn.ReadFrom(b)
			if err != nil {
				return
			}
			var m dnsmessage.Message
			if m.Unpack(b[:size]) != nil || len(m.Questions) == 0 {
				continue
			}
			n.asked.Add(1)
			m.Response, m.Additionals = true, nil
			q := m.Questions[0]
			switch address := *n.address.Load(); {
			case address == "":
				m.RCode = dnsmessage.RCodeServerFailure
			case q.Type == dnsmessage.TypeA:
				m.Answers = []dnsmessage.Resource{{
					Header: dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class},
					Body:   &dnsmessage.AResource{A: [4]byte(net.ParseIP(address).To4())},
				}}
			}
			if packed, err := m.Pack(); err == nil {
				conn.WriteTo(packed, from)
			}
		}
	}()
	return n
}

func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "udp", n.addr.String())
	}}
}

func TestLink_FollowsItsServersAddress(t *testing.T) {
	// Two machines that listen on one port.
	var first, second *shop
	for first == nil {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		_, port, _ := net.SplitHostPort(l.Addr().String())
		other, err := net.Listen("tcp", "127.0.0.2:"+port)
		l.Close()
		if err != nil {
			continue
		}
		other.Close()
		tell := func(w http.ResponseWriter, r *http.Request) {
			io.WriteString(w, r.Context().Value(http.LocalAddrContextKey).(net.Addr).String())
		}
		first, second = openAt(t, "127.0.0.1:"+port, tell), openAt(t, "127.0.0.2:"+port, tell)
	}
	at := func(s *shop) string { return strings.TrimPrefix(s.URL, "http://") }
	_, port, _ := net.SplitHostPort(at(first))
	server := openNames(t, "127.0.0.1")
	g := open(t, "", func(s *setup) {
		pool(t, nil, "http://shop.test:"+port)(s)
		s.options.Resolver, s.follow = server.resolver(), 20*time.Millisecond
	})
	ask := func() string { _, body := g.ask(browser(t), "GET", "/about", ""); return body }
	if got := ask(); got != at(first) {
		t.Fatalf("got %q, want %q", got, at(first))
	}
	moved := "127.0.0.2"
	server.address.Store(&moved)
	eventually(t, "requests go to the new address, busy as the connection is", func() bool { return ask() == at(second) })

	away := ""
	server.address.Store(&away)
	before := server.asked.Load()
	eventually(t, "the name server was asked in vain", func() bool { return server.asked.Load() > before+4 })
	g.upstreams[0].members[0].link.renew() // so that new connections are made
	if got := ask(); got != at(second) {
		t.Errorf("without a name server got %q, want %q", got, at(second))
	}
}

func TestTimeout_OfAnAnswerThatStops(t *testing.T) {
	release := make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/events" {
			w.Header().Set("Content-Type", "text/event-stream")
		}
		io.WriteString(w, "half")
		http.NewResponseController(w).Flush()
		select {
		case <-release:
		case <-r.Context().Done():
		}
	})
	g := open(t, "", pool(t, func(s *UpstreamSettings) { s.Body = 50 * time.Millisecond }, shop.URL))
	events, err := http.Get(g.url + "/events")
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()
	res, err := http.Get(g.url + "/about")
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if body, err := io.ReadAll(res.Body); err == nil || string(body) != "half" {
		t.Errorf("got %q, %v; want half of it to be seen as such", body, err)
	}
	close(release)
	if body, err := io.ReadAll(events.Body); err != nil || string(body) != "half" {
		t.Errorf("a stream that paused got %q, %v; want it to go on", body, err)
	}
	_ = g.stop()
	if got := g.count("ropeline_upstream_errors_total", reasonCut, "shop"); got != 1 {
		t.Errorf("%v answers are counted as cut, want 1", got)
	}
}

func TestTimeout_OfAShopThatTakesNoBody(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	hold := make(chan struct{})
	t.Cleanup(func() { close(hold); l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				http.ReadRequest(bufio.NewReaderSize(conn, 16)) // its headers, and then nothing
				<-hold
			}()
		}
	}()
	g := open(t, "", pool(t, func(s *UpstreamSettings) { s.Header = 100 * time.Millisecond }, "http://"+l.Addr().String()))
	conn := g.dial()
	fmt.Fprint(conn, "POST /about HTTP/1.1\r\nHost: s\r\nContent-Length: 100000000\r\n\r\n")
	go func() {
		piece := make([]byte, 1<<16)
		for {
			if _, err := conn.Write(piece); err != nil {
				return
			}
		}
	}()
	res, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil || res.StatusCode != 504 {
		t.Fatalf("got %v, %v; want 504", res, err)
	}
	if f := g.upstreams[0].members[0].fails.Load(); f != 1 {
		t.Errorf("the server is said to have failed %d times, want once", f)
	}
}
