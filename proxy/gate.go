// Package proxy is the data plane: it takes the requests of the public
// listener and passes each to its upstream, holds it, or refuses it.
//
// A request walks Gateway.ServeHTTP from top to bottom: its sender is read
// (package visitor), its Host and path are looked up in the Table of routes,
// the room of a gated route is asked, and Upstream passes it on. What a reload
// may change is all in the Table, which is swapped whole; what must outlive a
// reload, the connections to upstreams above all, is the Gateway's. Server puts
// a Gateway on a listener, with every timeout, and drains it.
package proxy

import (
	"cmp"
	"context"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"
	"golang.org/x/net/http/httpguts"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/visitor"
)

// Room is the line of one activity, as the gate asks it. Implementations are
// safe for concurrent use; Arrive answers most requests from memory.
type Room interface {
	// Arrive answers a request that wants in.
	Arrive(ctx context.Context, v admission.Visit) admission.Verdict
	// TakePass makes the pass of a token out to a visitor, who is to keep what the
	// verdict has. It never waits, and takes no use.
	TakePass(v admission.Visit, token string) admission.Verdict
	// Stay tells of a session that it is still in use, and returns when it now
	// ends; ok is false where it has ended.
	Stay(ctx context.Context, s admission.Session) (until time.Time, ok bool)
	// Shut has the room let no one in for as long as what it leads to does not
	// answer. It never waits.
	Shut(shut bool)
	// Measured tells the room, once a second, how the upstreams did that it leads
	// to. One goroutine calls it.
	Measured(measures []admission.Measure)
	// Converted notes that the shop counts a session as a success, End ends it,
	// and Extend has it last as if it were used now. None of them waits.
	Converted(s admission.Session)
	End(s admission.Session)
	Extend(s admission.Session)
}

// Holder answers who is held, with a page or with JSON. v.Status is what the
// visitor may be told; the cookies of v are in w's headers already. What the
// request says about its sender is at hand by visitor.From; its body has not
// been read.
type Holder interface {
	Hold(w http.ResponseWriter, r *http.Request, v admission.Verdict)
}

// Options are the Gateway's own, which no reload changes.
type Options struct {
	Log     *zap.Logger           // nil: nothing is logged
	Metrics prometheus.Registerer // nil: nothing is registered

	// Failed is told the code of each fault that is answered; nil: nobody is.
	Failed func(code string)

	// Tracer makes a span of each request; nil: there are none.
	Tracer trace.Tracer

	// AccessLog has one line logged for each request.
	AccessLog bool

	// AccessLimit is the most such lines a second, but for those of requests that
	// failed; 0: no limit.
	AccessLimit int64

	// BodyIdle is how long the sender of a body, and the reader of an answer,
	// may pause; 0: for ever.
	BodyIdle time.Duration

	// Secret is shared by the gateways of one installation, which know by it
	// what comes back to them; empty: this one knows what comes back to itself.
	Secret []byte

	// Resolver finds the addresses of upstreams; nil: the system's.
	Resolver *net.Resolver
}

// Gateway answers the public listener: each request is passed to the upstream
// of its route, held by its activity's room, or refused. It is safe for
// concurrent use, and takes no lock on the way of a request.
type Gateway struct {
	table     atomic.Pointer[Table]
	log       *zap.Logger
	failed    func(code string)
	tracer    trace.Tracer
	accessLog bool
	ration    ration // of its lines
	bodyIdle  time.Duration
	metrics   *metrics
	mark      string // in the trail of requests

	draining atomic.Bool
	tunnels  atomic.Int64 // WebSockets open, which the server does not count

	resolver    *net.Resolver
	followEvery time.Duration // how often addresses of upstreams are looked up

	started  time.Time      // where clock begins
	watching sync.WaitGroup // what upstreams do by themselves

	mu        sync.Mutex  // guards the rest
	upstreams []*Upstream // in use
	closed    bool
	stop      context.CancelFunc // ends keepRooms; nil: it does not run yet
}

// NewGateway returns a Gateway without a table: until the first Swap it
// answers 503.
func NewGateway(o Options) *Gateway {
	if o.Log == nil {
		o.Log = zap.NewNop()
	}
	if o.Failed == nil {
		o.Failed = func(string) {}
	}
	g := &Gateway{
		failed: o.Failed,
		log:    o.Log.Named("proxy"),
		tracer: o.Tracer, accessLog: o.AccessLog, ration: ration{most: o.AccessLimit},
		bodyIdle: o.BodyIdle,
		started:  time.Now(),
		mark:     newMark(o.Secret),
		resolver: cmp.Or(o.Resolver, net.DefaultResolver), followEvery: followEvery,
	}
	g.metrics = newMetrics(o.Metrics, g)
	return g
}

// clock is the time since the gateway was made, in nanoseconds.
func (g *Gateway) clock() int64 { return int64(time.Since(g.started)) }

// Swap has all further requests answered by t. Those under way finish by the
// table they met. Servers that t does not use are drained: their connections
// are closed as they fall idle.
func (g *Gateway) Swap(t *Table) {
	g.table.Store(t)
	g.use(t.upstreams)
}

// ServeHTTP answers one request.
func (g *Gateway) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	x := &exchange{Context: r.Context(), gateway: g, table: g.table.Load(), began: time.Now()}
	// The server set the write deadline when it had read the headers.
	x.answer = answer{ResponseWriter: w, idle: writeIdle(g.bodyIdle), armed: x.began}
	defer x.end(r)
	x.serve(r)
	x.finished = true
	x.answer.rearm() // the end of a stream is written after this
}

// serve is the ladder: each step answers the request or leaves it to the next.
// A question about a request (forward.go) climbs it as that request would.
func (x *exchange) serve(r *http.Request) {
	w, t := &x.answer, x.table
	if t == nil {
		x.fail(r, faultStarting)
		return
	}
	x.who = t.proxies.Read(r)
	x.trace(r)
	r = x.adopt(r)

	if x.gateway.draining.Load() && !x.who.WebSocket {
		w.Header().Set("Connection", "close")
	}
	if r, ok := x.about(r); ok {
		x.walk(r)
	}
}

// walk is the rest of the ladder, for r or for the request that r asks about.
func (x *exchange) walk(r *http.Request) {
	w, t := &x.answer, x.table
	if refusedMethod(r.Method) {
		w.Header().Set("Allow", "GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS")
		x.refuse(r, faultMethod)
		return
	}
	name, ok := hostName(r.Host)
	if !ok || r.URL.Opaque != "" || r.URL.User != nil || strings.IndexByte(r.URL.RawQuery, ' ') >= 0 { // as HTTP/2 lets it come
		x.refuse(r, faultRequest)
		return
	}
	x.host = name
	if !t.knows(name) {
		x.refuse(r, faultHost)
		return
	}
	if t.bodyBytes > 0 && r.ContentLength > t.bodyBytes {
		x.refuse(r, faultTooLarge)
		return
	}
	if own := t.own(r); own != nil {
		x.outcome = outcomeReserved
		if x.asked() {
			x.forward(r)
			return
		}
		own.ServeHTTP(w, r)
		return
	}
	if x.cameBack(r) {
		x.refuse(r, faultLoop)
		return
	}
	route, plain, ok := t.find(name, r.URL)
	if !ok {
		x.refuse(r, faultPath)
		return
	}
	if route == nil && x.front != nil {
		x.outcome = outcomeOpen
		x.forward(r)
		return
	}
	if route == nil {
		x.refuse(r, faultNoRoute)
		return
	}
	x.route = route
	if route.Activity == nil {
		x.outcome = outcomeOpen
		x.forward(r)
		return
	}
	if plain && passesByDefault(r, route) {
		x.shared = true
		x.pass(r, outcomeBypass, "default")
		return
	}
	if rule := x.bypass(r, plain); rule != nil {
		x.shared = rule.shared
		x.pass(r, outcomeBypass, rule.name)
		return
	}
	if x.who.Kind == visitor.Preflight && x.front != nil {
		x.refuse(r, faultPreflight)
		return
	}
	if x.who.Kind == visitor.Preflight {
		x.outcome = outcomePreflight
		answerPreflight(w, r)
		return
	}
	if visitor.TooMany(r.Header) {
		x.refuse(r, faultCookies)
		return
	}
	if x.takePass(r) {
		return
	}
	x.arrive(r, plain)
}

// arrive asks the room, and does as it says. plain reports whether the path has
// but one reading.
func (x *exchange) arrive(r *http.Request, plain bool) {
	activity := x.route.Activity
	visit := x.who.Visit(r, activity.ID)
	visit.Identity = x.who.Identity(r, activity.Identity)
	x.verdict = activity.Room.Arrive(r.Context(), visit)
	x.reason = string(x.verdict.Reason)
	switch {
	case !x.verdict.Pass && activity.PassAssets && plain && !x.asked() && asksForAsset(r):
		x.asset, x.shared = true, true
		x.pass(r, outcomeBypass, "assets")
	case !x.verdict.Pass:
		x.hold(r)
	case x.verdict.Session.Visitor == "":
		x.pass(r, outcomeBypass, x.reason)
	default:
		x.pass(r, outcomeAdmitted, "")
	}
}

// pass sends the request on. rule is why no admission was asked for, if so.
func (x *exchange) pass(r *http.Request, o outcome, rule string) {
	x.outcome = o
	if rule != "" {
		x.reason = rule
		x.gateway.metrics.bypass.WithLabelValues(x.route.id, rule).Inc()
	}
	x.forward(r)
}

func (x *exchange) hold(r *http.Request) {
	x.outcome, x.reason = outcomeHeld, string(x.verdict.Reason)
	x.gateway.metrics.denials.WithLabelValues(x.route.id, x.reason).Inc()
	h := x.answer.Header()
	visitor.Keep(h, x.route.Activity.ID, x.verdict, x.who.Secure)
	allowOrigin(h, r)
	if x.verdict.Status.Activity == 0 {
		x.verdict.Status.Activity = x.route.Activity.ID
	}
	if x.lead(r) {
		return
	}
	x.table.holder.Hold(&x.answer, r, x.verdict)
}

// refuse answers a request that no route is asked for.
func (x *exchange) refuse(r *http.Request, f *fault) {
	x.outcome = outcomeRefused
	x.fail(r, f)
}

// adopt returns r with the exchange as its context and around its body.
func (x *exchange) adopt(r *http.Request) *http.Request {
	r = r.WithContext(x)
	if r.Body == nil || r.Body == http.NoBody {
		return r
	}
	x.body = body{ReadCloser: r.Body, writer: x.answer.ResponseWriter, idle: x.gateway.bodyIdle, left: -1}
	if x.table.bodyBytes > 0 {
		x.body.left = x.table.bodyBytes
	}
	// Also where no one will read it: the server then does, to use the
	// connection again.
	x.body.rearm()
	r.Body = &x.body
	return r
}

// own returns who answers r, where it is for one of Ropeline's own paths.
// Another spelling of one is the shop's.
func (t *Table) own(r *http.Request) http.Handler {
	for i := range t.reserved {
		rest, ok := strings.CutPrefix(r.URL.Path, t.reserved[i].path)
		if ok && (rest == "" || rest[0] == '/') && r.URL.RawPath == "" && plainPath(r.URL.Path) {
			return t.reserved[i].answer
		}
	}
	return nil
}

// refusedMethod reports whether a method is one that no shop needs: CONNECT
// would make a tunnel of us, and TRACE shows our headers to its sender.
// Methods are compared as the most careless server would. HTTP/2 has room for
// what is none at all, such as "GET /drop HTTP/1.1", which would be read as a
// request line of its own where the method stands.
func refusedMethod(m string) bool {
	return !httpguts.ValidHeaderFieldName(m) || strings.EqualFold(m, "CONNECT") || strings.EqualFold(m, "TRACE") || strings.EqualFold(m, "TRACK")
}

// defaultPaths pass the gate: what machines ask for on a visitor's or an
// operator's behalf, and what browsers fetch by themselves.
var defaultPaths = [...]string{"/robots.txt", "/sitemap.xml", "/favicon.ico", "/.well-known"}

// passesByDefault reports whether r, of a plain path, is a fetch of one of
// defaultPaths that the route did not name itself.
func passesByDefault(r *http.Request, route *route) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	for _, p := range defaultPaths {
		rest, ok := strings.CutPrefix(r.URL.Path, p)
		if !ok || len(route.Path) >= len(p) {
			continue
		}
		if rest == "" || p == "/.well-known" && rest[0] == '/' {
			return true
		}
	}
	return false
}

// answerPreflight lets the real request come, and have its own answer: a
// preflight carries no ticket, so the gate cannot tell who asks, and the shop
// must not be asked by everyone.
func answerPreflight(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	allowOrigin(h, r)
	h.Set("Access-Control-Allow-Methods", r.Header.Get("Access-Control-Request-Method"))
	if names := r.Header.Get("Access-Control-Request-Headers"); names != "" {
		h.Set("Access-Control-Allow-Headers", names)
	}
	h.Add("Vary", "Access-Control-Request-Method, Access-Control-Request-Headers")
	h.Set("Cache-Control", "no-store")
	w.WriteHeader(http.StatusNoContent)
}

// allowOrigin lets a script of another origin read the gateway's answer. Only
// pages of the same site may send their cookies along, as the browser tells us
// and no script can: any other site would then be able to act for the visitor.
func allowOrigin(h http.Header, r *http.Request) {
	origin := r.Header.Get("Origin")
	if origin == "" {
		return
	}
	h.Add("Vary", "Origin, Sec-Fetch-Site")
	h.Set("Access-Control-Expose-Headers", "Retry-After")
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-site", "same-origin":
		h.Set("Access-Control-Allow-Origin", origin)
		h.Set("Access-Control-Allow-Credentials", "true")
	default:
		h.Set("Access-Control-Allow-Origin", "*")
	}
}
