package proxy

import (
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
)

// outcome is what became of a request. It labels metrics and log lines.
type outcome uint8

const (
	outcomeRefused    outcome = iota // not a request that is answered here
	outcomeOpen                      // passed: the route is open
	outcomeAdmitted                  // passed: the visitor has a session
	outcomeBypass                    // passed: the gate lets it by
	outcomeHeld                      // answered with the page or its JSON
	outcomePreflight                 // answered for the shop
	outcomeReserved                  // one of Ropeline's own paths
	outcomeFault                     // should have passed, and was answered with an error
	outcomeGone                      // the visitor left first
	outcomeTunnel                    // was a WebSocket, or a stream of Ropeline's own
	outcomeRedirected                // sent from plain HTTP to HTTPS, or on from the link of a pass
	outcomes
)

var outcomeNames = [outcomes]string{
	"refused", "open", "admitted", "bypass", "held", "preflight", "reserved", "fault", "gone", "tunnel", "redirected",
}

func (o outcome) String() string { return outcomeNames[o] }

type metrics struct {
	requests         [outcomes]prometheus.Observer
	denials          *prometheus.CounterVec
	bypass           *prometheus.CounterVec
	upstreamDuration *prometheus.HistogramVec
	upstreamErrors   *prometheus.CounterVec
	connsRefused     prometheus.Counter
	handshakeErrors  prometheus.Counter
	linesLeftOut     prometheus.Counter
	http2Errors      *prometheus.CounterVec

	proxyProtocolErrors *prometheus.CounterVec
}

// newMetrics registers with reg; a nil reg leaves them unregistered.
func newMetrics(reg prometheus.Registerer, g *Gateway) *metrics {
	auto := promauto.With(reg)
	buckets := []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	m := &metrics{
		denials: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ropeline_denials_total",
			Help: "Requests held, by activity and reason.",
		}, []string{"activity", "reason"}),
		bypass: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ropeline_bypass_total",
			Help: "Requests that passed the gate of an activity without admission, by the rule that let them.",
		}, []string{"activity", "rule"}),
		upstreamDuration: auto.NewHistogramVec(prometheus.HistogramOpts{
			Name:    "ropeline_upstream_duration_seconds",
			Help:    "Time from asking an upstream until the headers of its answer.",
			Buckets: buckets,
		}, []string{"upstream"}),
		upstreamErrors: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ropeline_upstream_errors_total",
			Help: "Requests that an upstream did not answer as it should, by reason.",
		}, []string{"upstream", "reason"}),
		connsRefused: auto.NewCounter(prometheus.CounterOpts{
			Name: "ropeline_connections_refused_total",
			Help: "Connections closed at once: their network had as many as it may have, or few descriptors were left.",
		}),
		linesLeftOut: auto.NewCounter(prometheus.CounterOpts{
			Name: "ropeline_access_log_left_out_total",
			Help: "Lines of requests that were not written, for log.access_limit.",
		}),
		handshakeErrors: auto.NewCounter(prometheus.CounterOpts{
			Name: "ropeline_tls_handshake_errors_total",
			Help: "Connections to the HTTPS listener that never got to speak HTTP.",
		}),
		http2Errors: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ropeline_http2_errors_total",
			Help: "Streams and connections of HTTP/2 that were ended for an error, by the error.",
		}, []string{"error"}),
	}
	m.proxyProtocolErrors = auto.NewCounterVec(prometheus.CounterOpts{
		Name: "ropeline_proxy_protocol_errors_total",
		Help: "Connections of trusted proxies closed for their PROXY protocol header, by what was wrong with it.",
	}, []string{"reason"})
	if reg != nil {
		reg.MustRegister(upstreamStates{g})
	}
	requests := auto.NewHistogramVec(prometheus.HistogramOpts{
		Name:    "ropeline_request_duration_seconds",
		Help:    "Time from the headers of a request until its answer was written, by outcome.",
		Buckets: buckets,
	}, []string{"outcome"})
	for o := range outcomes {
		m.requests[o] = requests.WithLabelValues(o.String())
	}
	return m
}

// end notes what became of the request. It runs also where the handler
// panicked, which is how ReverseProxy breaks off an answer.
func (x *exchange) end(r *http.Request) {
	a := &x.answer
	switch {
	case a.hijacked, x.outcome == outcomeReserved && isEventStream(a.Header()):
		x.outcome = outcomeTunnel
	case x.finished, x.outcome == outcomeGone:
	case a.err != nil || x.Context.Err() != nil:
		x.outcome, x.reason = outcomeGone, "reader left"
	default:
		x.outcome, x.reason = outcomeFault, "broken off"
		if x.upstream > 0 {
			x.route.Upstream.cut(x)
			x.reason = reasonCut
		}
	}
	took := time.Since(x.began)
	x.gateway.metrics.requests[x.outcome].Observe(took.Seconds())
	x.traced(r)
	if x.gateway.accessLog && x.gateway.spare(x.failed(), x.began.Add(took)) {
		x.log(r, took)
	}
}

// failed reports whether an answer that should have been the shop's was none, or
// said that something is wrong.
func (x *exchange) failed() bool {
	return x.answer.status >= http.StatusInternalServerError && x.outcome != outcomeHeld && x.outcome != outcomeReserved
}

// log writes the access log's line. Its field names are promised to operators.
func (x *exchange) log(r *http.Request, took time.Duration) {
	line := x.gateway.log.Check(zap.InfoLevel, "request")
	if line == nil {
		return
	}
	fields := make([]zap.Field, 0, 20)
	if x.subject != nil {
		r = x.subject
	}
	fields = append(fields,
		zap.String("method", clip(r.Method, 32)),
		zap.String("host", clip(r.Host, 256)),
		zap.String("path", clip(r.URL.EscapedPath(), 1024)),
		zap.Int("status", x.answer.status),
		zap.Int64("bytes", x.answer.bytes),
		zap.Float64("duration_ms", milliseconds(took)),
		zap.Stringer("decision", x.outcome),
	)
	if x.reason != "" {
		fields = append(fields, zap.String("reason", x.reason))
	}
	if x.route != nil && x.route.Activity != nil {
		fields = append(fields, zap.Int64("activity", x.route.Activity.ID))
		if n := max(x.verdict.Session.Number, x.verdict.Status.Number); n > 0 {
			fields = append(fields, zap.Int64("number", n))
		}
		if x.verdict.Reason == admission.PassEntered {
			fields = append(fields, zap.Float64("waited_ms", milliseconds(x.verdict.Waited)))
		}
	}
	if x.who.Client.IsValid() {
		fields = append(fields, zap.String("client", x.who.Client.String()))
	}
	if x.who.Peer != x.who.Client {
		fields = append(fields, zap.String("peer", x.who.Peer.String()))
	}
	if x.front != nil {
		fields = append(fields, zap.String("front", x.front.name))
	}
	fields = append(fields, zap.String("request_id", x.who.RequestID))
	if x.upstream > 0 {
		fields = append(fields,
			zap.String("upstream", x.route.Upstream.settings.Name),
			zap.Float64("upstream_ms", milliseconds(x.upstream)))
		if len(x.route.Upstream.members) > 1 {
			fields = append(fields, zap.String("server", x.member.url))
		}
	}
	line.Write(fields...)
}

// clip keeps what a client wrote from filling the log.
func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
