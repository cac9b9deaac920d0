package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
	"github.com/ropeline/ropeline/visitor"
	"github.com/ropeline/ropeline/waitpage"
)

const navigation = "Accept: text/html"

// shop is an upstream that remembers what reached it.
type shop struct {
	*httptest.Server
	mu   sync.Mutex // guards seen
	seen []*http.Request
}

// openShop runs a shop until the test ends. A nil handler says "the shop".
func openShop(t testing.TB, h http.HandlerFunc) *shop {
	t.Helper()
	s := &shop{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Clone(context.Background()))
		s.mu.Unlock()
		if h == nil {
			io.WriteString(w, "the shop")
			return
		}
		h(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

func (s *shop) hits() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.seen)
}

func (s *shop) last(t testing.TB) *http.Request {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.seen) == 0 {
		t.Fatal("the shop was not asked")
	}
	return s.seen[len(s.seen)-1]
}

// gateway is a Gateway on a port of its own.
type gateway struct {
	*Gateway
	t       testing.TB
	url     string
	addr    string
	secure  string // the address of the HTTPS listener, if there is one
	quic    string // the address of HTTP/3, if it is there
	metrics *prometheus.Registry
	stop    func() error // drains; the test's end does too
	room    *admission.Room
}

type setup struct {
	options Options
	server  ServerOptions
	limits  admission.Limits
	room    *admission.Room // nil: one of its own
	table   func(*Settings)
	shop    func(*UpstreamSettings)
	follow  time.Duration // how often addresses are looked up; 0: as seldom as in life
	proxies []string
}

// oneInside lets one visitor in at a time.
func oneInside() admission.Limits {
	return admission.Limits{
		Mode: admission.ModeAuto, Capacity: 1, RatePerHour: 12 * 60, Burst: 1,
		Claim: 90 * time.Second, Absence: 30 * time.Second, HoldPlace: 15 * time.Minute,
		Idle: 30 * time.Second, Max: 2 * time.Minute,
	}
}

// open runs a gateway whose /drop is gated by activity 123 and whose other
// paths are open, all leading to the upstream.
func open(t testing.TB, upstream string, change ...func(*setup)) *gateway {
	t.Helper()
	s := setup{
		options: Options{Log: zap.NewNop(), BodyIdle: time.Minute},
		limits:  oneInside(),
		table:   func(*Settings) {},
		shop:    func(*UpstreamSettings) {},
	}
	for _, c := range change {
		c(&s)
	}
	registry := prometheus.NewRegistry()
	s.options.Metrics = registry
	g := &gateway{Gateway: NewGateway(s.options), t: t, metrics: registry}
	t.Cleanup(g.Close)
	g.followEvery = cmp.Or(s.follow, g.followEvery)
	if g.room = s.room; g.room == nil {
		g.room = openRoom(t, 123, s.limits)
	}
	shop := shopAt(t, upstream)
	s.shop(&shop)
	up := g.upstream(shop)
	settings := g.settings(
		Route{Host: "*", Path: "/", Upstream: up},
		Route{Host: "*", Path: "/drop", Upstream: up, Activity: g.activity()},
	)
	settings.Proxies = trusted(t, s.proxies...)
	s.table(&settings)
	g.swap(settings)
	g.listen(s.server)
	return g
}

func (g *gateway) activity() *Activity {
	return &Activity{ID: 123, Tenant: "demo", Room: g.room, Idle: 30 * time.Second}
}

func (g *gateway) upstream(s UpstreamSettings) *Upstream {
	g.t.Helper()
	u, err := g.Upstream(s)
	if err != nil {
		g.t.Fatal(err)
	}
	return u
}

func (g *gateway) settings(routes ...Route) Settings {
	page := waitpage.New("/_ropeline", func(id int64) (waitpage.Activity, bool) {
		return waitpage.Activity{Name: "Spring drop", Room: g.room}, id == 123
	})
	return Settings{Reserved: map[string]http.Handler{"/_ropeline": page}, Prefix: "/_ropeline", Holder: page, Routes: routes}
}

func (g *gateway) swap(s Settings) {
	g.t.Helper()
	table, err := NewTable(s)
	if err != nil {
		g.t.Fatal(err)
	}
	g.Swap(table)
}

func (g *gateway) listen(o ServerOptions) {
	g.t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		g.t.Fatal(err)
	}
	g.addr = l.Addr().String()
	if o.HTTPS != nil {
		g.secure = o.HTTPS.Listener.Addr().String()
		if o.HTTPS.QUIC != nil {
			g.quic = o.HTTPS.QUIC.LocalAddr().String()
		}
	}
	g.url = "http://" + g.addr
	ctx, cancel := context.WithCancel(context.Background())
	served := make(chan error, 1)
	go func() { served <- NewServer(g.Gateway, o).Serve(ctx, l) }()
	g.stop = sync.OnceValue(func() error { cancel(); return <-served })
	g.t.Cleanup(func() { g.stop() })
}

func openRoom(t testing.TB, id int64, limits admission.Limits) *admission.Room {
	t.Helper()
	return openRoomOver(t, admission.NewMemory(nil), admissiontest.NewRing(t), "g1", id, limits)
}

// openRoomOver runs a room of a line that others may have rooms of.
func openRoomOver(t testing.TB, store admission.Store, ring *admission.Keyring, name string, id int64, limits admission.Limits) *admission.Room {
	t.Helper()
	room, _ := admissiontest.RunRoom(t, store, admission.LineID{Tenant: "demo", Activity: id}, name, ring,
		admission.Settings{Limits: limits, Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}})
	return room
}

// shopAt are the settings of an upstream with servers at these URLs.
func shopAt(t testing.TB, servers ...string) UpstreamSettings {
	t.Helper()
	s := UpstreamSettings{Name: "shop", Breaker: Breaker{Requests: 20, Failures: .5, Pause: 5 * time.Second}}
	for _, server := range servers {
		s.Servers = append(s.Servers, UpstreamServer{URL: mustURL(t, server)})
	}
	return s
}

func mustURL(t testing.TB, s string) url.URL {
	t.Helper()
	u, err := url.Parse(s)
	if err != nil {
		t.Fatal(err)
	}
	return *u
}

func trusted(t testing.TB, networks ...string) visitor.Proxies {
	t.Helper()
	var prefixes []netip.Prefix
	for _, n := range networks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			t.Fatal(err)
		}
		prefixes = append(prefixes, p)
	}
	return visitor.Trust(prefixes...)
}

// browser is a client with a cookie jar that follows no redirect.
func browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{DisableCompression: true}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Jar: jar, Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask sends a request with header lines such as "Accept: text/html", and
// returns the answer with its body read.
func (g *gateway) ask(c *http.Client, method, path, body string, lines ...string) (*http.Response, string) {
	g.t.Helper()
	r, err := http.NewRequestWithContext(g.t.Context(), method, g.url+path, strings.NewReader(body))
	if err != nil {
		g.t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if name == "Host" {
			r.Host = value
			continue
		}
		r.Header[name] = append(r.Header[name], value)
	}
	res, err := c.Do(r)
	if err != nil {
		g.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		g.t.Fatal(err)
	}
	return res, string(got)
}

// send writes raw bytes on a connection of its own and reads one answer. Lines
// end in "\n" in raw, for reading's sake, and in CRLF on the wire.
func (g *gateway) send(raw string) (*http.Response, string) {
	g.t.Helper()
	conn := g.dial()
	defer conn.Close()
	fmt.Fprint(conn, crlf(raw))
	return readAnswer(g.t, bufio.NewReader(conn))
}

func (g *gateway) dial() net.Conn {
	g.t.Helper()
	conn, err := net.Dial("tcp", g.addr)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { conn.Close() })
	return conn
}

func crlf(s string) string { return strings.ReplaceAll(s, "\n", "\r\n") }

func readAnswer(t testing.TB, r *bufio.Reader) (*http.Response, string) {
	t.Helper()
	res, err := http.ReadResponse(r, nil)
	if err != nil {
		t.Fatal(err)
	}
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return res, string(body)
}

// count returns the value of a counter or gauge, or of the number of observations of a
// histogram, with the given label values in the order of their names.
func (g *gateway) count(name string, labels ...string) float64 {
	g.t.Helper()
	families, err := g.metrics.Gather()
	if err != nil {
		g.t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() != name {
			continue
		}
		for _, m := range f.GetMetric() {
			var got []string
			for _, l := range m.GetLabel() {
				got = append(got, l.GetValue())
			}
			if slices.Equal(got, labels) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue() + float64(m.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}

// lines reads a file of testdata without its comments.
func lines(t testing.TB, name string) []string {
	t.Helper()
	data, err := os.ReadFile("testdata/" + name)
	if err != nil {
		t.Fatal(err)
	}
	var all []string
	for line := range bytes.Lines(data) {
		if s := strings.TrimSuffix(string(line), "\n"); s != "" && s[0] != '#' {
			all = append(all, s)
		}
	}
	return all
}
