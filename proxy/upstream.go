package proxy

import (
	"context"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/visitor"
)

// UpstreamSettings say where a shop lives and how long it may take. What of
// them stays the same over a reload stays as it is: connections, and all that
// is known of a server.
type UpstreamSettings struct {
	Name    string // labels metrics and log lines
	Servers []UpstreamServer
	Policy  Policy
	Health  Health
	Breaker Breaker

	MaxConns int64 // most requests under way; 0: no limit
	Retries  int64 // most further servers asked for one request

	Dial   time.Duration // to connect, or to wait for one of MaxConns; 0: 5s
	TLS    time.Duration // for the TLS handshake; 0: 5s
	Header time.Duration // from the request's end to the answer's headers; 0: 30s
	Body   time.Duration // between two pieces of an answer, event streams excepted; 0: for ever
	Idle   time.Duration // to keep an unused connection; 0: 90s

	Slow time.Duration // what more than one answer in twenty should not take; 0: not looked at

	// HTTP2 has requests travel by HTTP/2: over TLS where the server offers it,
	// and in any case (h2c) over plain connections.
	HTTP2 bool
	// ProxyProtocol is the version, 1 or 2, of the PROXY protocol in which each
	// connection begins by telling whose request it is made for. Not with HTTP2.
	// 0: it tells nothing, and is used for one request after the other.
	ProxyProtocol byte
	Trust         UpstreamTLS
}

// UpstreamServer is one server of a shop.
type UpstreamServer struct {
	URL    url.URL // http or https, a host, and nothing else; or unix:/path of a socket
	Weight int64   // its share of the requests; 0: 1
}

func (s UpstreamSettings) check() error {
	if len(s.Servers) == 0 {
		return fmt.Errorf("upstream %s has no servers", s.Name)
	}
	if s.HTTP2 && s.ProxyProtocol != 0 {
		return fmt.Errorf("upstream %s: a connection of HTTP/2 is not one client's, so PROXY protocol cannot tell whose it is", s.Name)
	}
	seen := map[string]bool{}
	for _, server := range s.Servers {
		u := server.URL
		plain := u.User == nil && u.RawQuery == "" && u.Fragment == "" && u.Opaque == ""
		remote := (u.Scheme == "http" || u.Scheme == "https") && u.Host != "" && (u.Path == "" || u.Path == "/")
		local := u.Scheme == schemeUnix && u.Host == "" && strings.HasPrefix(u.Path, "/")
		if !plain || !remote && !local {
			return fmt.Errorf("upstream %s: %s is not a URL of scheme and host only", s.Name, u.Redacted())
		}
		key := newMember(server).url
		if seen[key] {
			return fmt.Errorf("upstream %s has %s twice", s.Name, key)
		}
		seen[key] = true
	}
	return nil
}

const (
	// idleConns is how many unused connections to a shop are kept: as many
	// as answer at once on a busy day, so that none is dialled per request.
	idleConns = 1024

	// maxAnswerHeader bounds the headers of an answer, in bytes. Shops that
	// set dozens of cookies stay below 64 KiB.
	maxAnswerHeader = 256 << 10

	// commandHeader is what the shop tells the gateway by.
	commandHeader = "Ropeline-Command"

	// copySize is the piece in which answers are copied, in bytes.
	copySize = 32 << 10
)

// Upstream passes requests to one shop, whichever of its servers. It is one
// generation of its settings: the targets outlive it, and their connections do
// as long as the next one makes them in the same way.
type Upstream struct {
	settings UpstreamSettings
	gateway  *Gateway
	members  []*member
	proxy    httputil.ReverseProxy
	duration prometheus.Observer

	wheel   wheel         // of RoundRobin
	turn    atomic.Uint64 // of LeastConn
	slots   *slots        // shared with other generations, as is the breaker
	gauge   *gauge        // shared, too
	breaker *breaker
	retries budget
	pulse   pulse

	stop context.CancelFunc // ends what it does by itself
}

// Upstream returns the upstream of these settings: the one in use, if there is
// one, else a new one, which takes over what it can of the one in use by that
// name. It opens no connection, and changes nothing before a table has it.
func (g *Gateway) Upstream(s UpstreamSettings) (*Upstream, error) {
	if err := s.check(); err != nil {
		return nil, err
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	var was []*Upstream
	for _, u := range g.upstreams {
		if reflect.DeepEqual(u.settings, s) {
			return u, nil
		}
		if u.settings.Name == s.Name {
			was = append(was, u)
		}
	}
	return newUpstream(g, s, was)
}

// meets reports whether a request to u may reach a server of another upstream:
// one shop may stand under two names, with other timeouts in each.
func (u *Upstream) meets(other *Upstream) bool {
	return u == other || slices.ContainsFunc(u.members, func(m *member) bool {
		return slices.ContainsFunc(other.members, func(o *member) bool { return o.url == m.url })
	})
}

// newUpstream makes an upstream of the members that are in use under its name,
// and of new ones.
func newUpstream(g *Gateway, s UpstreamSettings, was []*Upstream) (*Upstream, error) {
	u := &Upstream{
		settings: s, gateway: g, slots: &slots{}, gauge: &gauge{},
		duration: g.metrics.upstreamDuration.WithLabelValues(s.Name),
	}
	var known []*member
	for _, other := range was {
		u.slots, u.gauge = other.slots, other.gauge
		if other.settings.Breaker == s.Breaker {
			u.breaker = other.breaker
		}
		known = append(known, other.members...)
	}
	for _, server := range s.Servers {
		m := newMember(server)
		m.late = len(known) > 0
		way := s.link(server)
		for _, k := range known {
			if k.url != m.url {
				continue
			}
			m.target, m.late = k.target, false
			if k.link.settings == way {
				m.link = k.link
			}
		}
		if m.link == nil {
			var err error
			if m.link, err = newLink(way, g.resolver); err != nil {
				return nil, fmt.Errorf("upstream %s: %w", s.Name, err)
			}
		}
		u.members = append(u.members, m)
	}
	if u.breaker == nil {
		u.breaker = newBreaker(s.Name, s.Breaker, g.log)
	}
	u.proxy = httputil.ReverseProxy{
		Rewrite:        u.rewrite,
		Transport:      roundTrip(u.ask),
		ModifyResponse: u.answered,
		ErrorHandler:   u.fault,
		BufferPool:     &copyBuffers{},
		// FlushInterval stays 0: an answer of unknown length, as streams and
		// events are, is flushed at each piece by ReverseProxy itself.
		// What it would log is told by the access log.
		ErrorLog: log.New(io.Discard, "", 0),
	}
	return u, nil
}

// use puts the upstreams of a table in use, and lets go of all others.
func (g *Gateway) use(upstreams []*Upstream) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed {
		return
	}
	kept := map[*link]bool{}
	for _, u := range upstreams {
		for _, m := range u.members {
			kept[m.link] = true
			m.link.retired.Store(false)
		}
		if !slices.Contains(g.upstreams, u) {
			u.start()
		}
	}
	for _, u := range g.upstreams {
		if !slices.Contains(upstreams, u) {
			u.stop()
		}
		for _, m := range u.members {
			if !kept[m.link] {
				m.link.retire()
			}
		}
	}
	g.upstreams = slices.Clone(upstreams)
	if g.stop == nil && upstreams != nil {
		ctx, stop := context.WithCancel(context.Background())
		g.stop = stop
		g.watching.Go(func() { g.keepRooms(ctx) })
	}
}

// Close ends what the gateway does by itself, and closes the connections to
// upstreams as they fall idle. It is called when requests are served no more.
func (g *Gateway) Close() {
	g.use(nil)
	g.mu.Lock()
	g.closed = true
	if g.stop != nil {
		g.stop()
	}
	g.mu.Unlock()
	g.watching.Wait()
}

// start has the upstream's servers watched until stop is called.
func (u *Upstream) start() {
	ctx, stop := context.WithCancel(context.Background())
	u.stop = stop
	u.slots.bound(u.settings.MaxConns)
	for _, m := range u.members {
		if m.late {
			m.back.Store(max(u.gateway.clock(), 1))
		}
		u.gateway.watching.Go(func() { u.watch(ctx, m) })
		u.gateway.watching.Go(func() { m.link.follow(ctx, m.address(), u.gateway.followEvery) })
	}
	if u.breaker != nil {
		u.gateway.watching.Go(func() { u.tryAgain(ctx) })
	}
}

// serve passes one request on and its answer back.
func (u *Upstream) serve(x *exchange, r *http.Request) {
	x.gauge = u.gauge
	u.gauge.begin()
	defer x.settle((*gauge).left) // unless it is known better
	err := x.enter(u.breaker)
	if err != nil {
		u.fault(&x.answer, r, err)
		return
	}
	defer x.report(errSender) // unless it knows better
	if u.settings.MaxConns > 0 {
		if err = u.slots.take(x, u.members[0].link.settings.dial); err != nil {
			u.fault(&x.answer, r, err)
			return
		}
		defer u.slots.give()
	}
	defer x.leave()
	if r.Body == &x.body {
		ctx, cut := context.WithCancelCause(x)
		defer cut(nil)
		r = r.WithContext(ctx)
		x.body.expect(u.members[0].link.settings.header, func() { cut(errStalled) })
		defer x.body.taken()
	}
	if x.who.WebSocket {
		ctx, cut := context.WithCancel(x)
		defer cut()
		x.cut, r = cut, r.WithContext(ctx)
		u.gateway.tunnels.Add(1)
		defer u.gateway.tunnels.Add(-1)
	}
	u.proxy.ServeHTTP(&x.answer, r)
	// Trailers are written after this.
	h := x.answer.Header()
	delete(h, commandHeader)
	delete(h, http.TrailerPrefix+commandHeader)
}

type roundTrip func(*http.Request) (*http.Response, error)

// RoundTrip makes it the transport of a ReverseProxy.
func (f roundTrip) RoundTrip(out *http.Request) (*http.Response, error) { return f(out) }

// ask sends a request to one of the servers, and to another one where the first
// cannot have got it.
func (u *Upstream) ask(out *http.Request) (*http.Response, error) {
	x := exchangeOf(out)
	u.retries.earn()
	if out.Body != nil && len(u.members) > 1 {
		out.Body = unread{out.Body, &x.body}
	}
	var tried []*member
	err := errDown
	for {
		m := u.choose(x.who.Client, tried)
		if m == nil {
			return nil, err
		}
		x.join(m)
		out.URL.Scheme, out.URL.Host = m.scheme, m.host
		var res *http.Response
		res, err = m.link.RoundTrip(out)
		if err == nil && res.StatusCode < 100 { // which net/http reads and would panic to write
			res.Body.Close()
			err = fmt.Errorf("%03d is no status", res.StatusCode)
		}
		if err == nil {
			x.body.taken()
			m.answered()
			return res, nil
		}
		if context.Cause(out.Context()) == errStalled {
			err = errStalled
		}
		if x.blames(err) {
			m.failed(u.gateway.clock(), isUnsent(err))
		}
		if int64(len(tried)) >= u.settings.Retries || !x.mayAskAgain(out, err) || !u.retries.spend() {
			return nil, err
		}
		x.leave()
		tried = append(tried, m)
		out = out.Clone(out.Context()) // the transport may still look at the first
	}
}

// join counts the exchange among those of a member; leave ends that.
func (x *exchange) join(m *member) {
	x.member, x.counted = m, true
	m.active.Add(1)
}

func (x *exchange) leave() {
	if !x.counted {
		return
	}
	m := x.member
	x.counted = false
	m.active.Add(-1)
	if m.link.retired.Load() {
		// The table was swapped under this request. Its connection would stay
		// idle for long, with no one to use it.
		m.link.closeIdle()
	}
}

// answered looks at the headers of the shop's answer before they go out.
func (u *Upstream) answered(res *http.Response) error {
	x := exchangeOf(res.Request)
	x.report(nil)
	x.upstream = time.Since(x.sent)
	u.duration.Observe(x.upstream.Seconds())
	if res.StatusCode >= http.StatusInternalServerError {
		x.settle((*gauge).failed)
	} else {
		x.settle(func(g *gauge) { g.answered(x.upstream) })
	}
	if u.settings.Slow > 0 {
		u.pulse.beat(x.upstream > u.settings.Slow)
	}
	if res.StatusCode == http.StatusServiceUnavailable {
		if after := u.breaker.asksForTime(x.who.Client, res.Header); after > 0 {
			u.gateway.log.Warn("upstream asks for time", zap.String("upstream", u.settings.Name), zap.String("server", x.member.url), zap.Duration("after", after))
		}
	}
	x.obey(res.Header)
	delete(res.Trailer, commandHeader) // it would be announced
	if x.asset && !isAsset(res) {
		return errNotAsset
	}
	if u.settings.Body > 0 && res.StatusCode != http.StatusSwitchingProtocols && !isEventStream(res.Header) {
		res.Body = newPaced(res.Body, u.settings.Body)
	}
	if x.route.Activity == nil || x.shared {
		return nil
	}
	if res.StatusCode == http.StatusSwitchingProtocols {
		if x.cut != nil { // else ReverseProxy refuses what was not asked for
			x.stay(x.cut)
		}
		return nil
	}
	private(res.Header)
	visitor.NotShared(res.Header)
	if visitor.Keeps(x.verdict) && x.mayKeep(res.Request.Method) {
		visitor.Keep(res.Header, x.route.Activity.ID, x.verdict, x.who.Secure)
		res.Header["Cache-Control"] = []string{"private, no-store"}
	}
	if isEventStream(res.Header) {
		s := &stream{ReadCloser: res.Body}
		res.Body = s
		x.stay(s.cut)
	}
	return nil
}

// obey takes the shop's words to the gateway out of its answer's headers: no
// visitor sees them. One for a visitor without a session says nothing.
func (x *exchange) obey(h http.Header) {
	commands := h[commandHeader]
	if commands == nil {
		return
	}
	delete(h, commandHeader)
	session := x.verdict.Session
	if session.Visitor == "" {
		return
	}
	room := x.route.Activity.Room
	for _, line := range commands {
		for command := range strings.SplitSeq(line, ",") {
			switch strings.TrimSpace(command) {
			case "converted":
				room.Converted(session)
			case "extend":
				room.Extend(session)
			case "end":
				room.End(session)
				// What this very request may have brought is of no more use.
				x.verdict.Queue, x.verdict.Admission = admission.Ticket{}, admission.Ticket{}
				x.verdict.DropQueue, x.verdict.DropAdmission = true, true
			}
		}
	}
}

// mayKeep reports whether the visitor's tickets may go with the shop's answer.
// They make it unfit for any cache, so they do not go with the pieces of a
// page; nor need they, as the next navigation brings them. A session that this
// very request began is told of in any case but an onlooker's: a script that
// got no ticket would begin another with each call.
func (x *exchange) mayKeep(method string) bool {
	if x.who.Kind == visitor.Navigation || method != http.MethodGet && method != http.MethodHead {
		return true
	}
	return x.verdict.Reason == admission.PassEntered && !x.who.Looking
}

// fault answers for a shop that did not.
func (u *Upstream) fault(_ http.ResponseWriter, r *http.Request, err error) {
	x := exchangeOf(r)
	if err == errNotAsset {
		x.hold(r)
		return
	}
	f := x.diagnose(err)
	x.outcome = outcomeRefused
	if f.upstream {
		x.outcome = outcomeFault
		x.settle((*gauge).failed)
		u.failed(f.reason)
	}
	if f.upstream && x.member != nil {
		if x.blames(err) {
			x.report(errFailed)
		}
		u.gateway.log.Warn("upstream did not answer",
			zap.String("upstream", u.settings.Name),
			zap.String("server", x.member.url),
			zap.String("reason", f.reason),
			zap.String("request_id", x.who.RequestID),
			zap.Error(err))
	}
	x.fail(r, f)
}

// failed counts a failure that is the upstream's. reason is one of the closed
// set in fault.go.
func (u *Upstream) failed(reason string) {
	u.gateway.metrics.upstreamErrors.WithLabelValues(u.settings.Name, reason).Inc()
}

// cut notes that the upstream broke an answer off.
func (u *Upstream) cut(x *exchange) {
	u.failed(reasonCut)
	if x.body.begun.Load() == x.body.whole.Load() {
		u.breaker.failed()
		x.member.failed(u.gateway.clock(), false)
	}
}

// copyBuffers lends ReverseProxy the buffers that answers are copied through.
type copyBuffers struct{ pool sync.Pool }

func (c *copyBuffers) Get() []byte {
	if b, ok := c.pool.Get().(*[copySize]byte); ok {
		return b[:]
	}
	return make([]byte, copySize)
}

func (c *copyBuffers) Put(b []byte) { c.pool.Put((*[copySize]byte)(b)) }
