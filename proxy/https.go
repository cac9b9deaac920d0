package proxy

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"strings"
	"time"

	"go.uber.org/zap"
)

// HTTPS is a listener for HTTPS beside the plain one, with every limit that
// the plain one has.
type HTTPS struct {
	Listener net.Listener // of plain TCP; the server speaks TLS on it, and closes it
	Config   *tls.Config  // offers h2 for HTTP/2 to be spoken; not changed but for the keys of tickets

	// HSTS is the Strict-Transport-Security of answers that have none of the
	// shop's; empty: none.
	HSTS string

	// Redirect reports whether requests for a host that come over plain HTTP are
	// sent to HTTPS; nil: none are.
	Redirect func(host string) bool

	// Challenge answers a CA's question over plain HTTP, where it is one that
	// this gateway or another has caused; nil: none has.
	Challenge func(http.ResponseWriter, *http.Request) bool
}

// Bounds of one HTTP/2 connection. A page of a shop opens some dozens of streams
// at once; what a client opens and resets beyond its bound is answered with
// ENHANCE_YOUR_CALM by the server itself.
const (
	maxStreams    = 128
	maxFrame      = 16 << 10  // bytes; the least that may be asked for, and below every buffer
	connBuffer    = 1 << 20   // bytes of bodies that nobody has read yet, over all streams
	streamBuffer  = 256 << 10 // the same of one stream
	silenceBefore = 15 * time.Second
	pingAnswer    = 15 * time.Second
)

func (s *Server) http2() *http.HTTP2Config {
	return &http.HTTP2Config{
		MaxConcurrentStreams:          maxStreams,
		MaxReadFrameSize:              maxFrame,
		MaxReceiveBufferPerConnection: connBuffer,
		MaxReceiveBufferPerStream:     streamBuffer,
		SendPingTimeout:               silenceBefore,
		PingTimeout:                   pingAnswer,
		WriteByteTimeout:              writeIdle(s.gateway.bodyIdle),
		CountError:                    func(kind string) { s.gateway.metrics.http2Errors.WithLabelValues(kind).Inc() },
	}
}

// remarks is where the server's own remarks go on the HTTPS listener. Scanners
// fail to shake hands, or to speak HTTP/2, all day: that is counted, and told at
// debug.
type remarks struct{ gateway *Gateway }

func (r remarks) Write(p []byte) (int, error) {
	level := zap.WarnLevel
	switch {
	case bytes.HasPrefix(p, []byte("http: TLS handshake error")):
		level = zap.DebugLevel
		r.gateway.metrics.handshakeErrors.Inc()
	case bytes.HasPrefix(p, []byte("http2: server connection error")): // CountError has counted it
		level = zap.DebugLevel
	}
	r.gateway.log.Named("http").Log(level, string(bytes.TrimSpace(p)))
	return len(p), nil
}

const challenges = "/.well-known/acme-challenge/"

// plain answers what comes over plain HTTP where there is HTTPS.
type plain struct {
	gateway *Gateway
	https   *HTTPS
	port    string // of the HTTPS listener
}

func newPlain(g *Gateway, h *HTTPS) plain {
	_, port, _ := net.SplitHostPort(h.Listener.Addr().String())
	return plain{g, h, port}
}

func (p plain) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	// A CA asks over plain HTTP, and may be asking the shop.
	asked := strings.HasPrefix(r.URL.Path, challenges)
	if asked && p.https.Challenge != nil && p.https.Challenge(w, r) {
		return
	}
	t := p.gateway.table.Load()
	if asked || p.https.Redirect == nil || t == nil {
		p.gateway.ServeHTTP(w, r)
		return
	}
	name, ok := hostName(r.Host)
	who := t.proxies.Read(r)
	if !ok || !t.knows(name) || r.URL.Opaque != "" || r.URL.User != nil || refusedMethod(r.Method) || who.Secure || !p.https.Redirect(name) {
		p.gateway.ServeHTTP(w, r)
		return
	}
	x := &exchange{Context: r.Context(), gateway: p.gateway, table: t, who: who, host: name, outcome: outcomeRedirected, began: time.Now()}
	x.answer = answer{ResponseWriter: w, idle: writeIdle(p.gateway.bodyIdle), armed: x.began}
	defer x.end(r)
	if p.gateway.draining.Load() {
		w.Header().Set("Connection", "close")
	}
	w.Header().Set("Location", "https://"+p.address(r.Host)+r.URL.RequestURI())
	// Not to be kept: an operator may turn HTTPS off again. HSTS is what lasts.
	w.Header().Set("Cache-Control", "no-store")
	x.answer.WriteHeader(http.StatusTemporaryRedirect)
	x.finished = true
}

// address is where a visitor of host is sent. Who named no port came to 80,
// which may be mapped to the port that the gateway listens on, and finds 443;
// who named one gets that of the HTTPS listener.
func (p plain) address(host string) string {
	named := strings.LastIndexByte(host, ':')
	if named < 0 || strings.HasSuffix(host, "]") {
		return host
	}
	if p.port == "443" {
		return host[:named]
	}
	return host[:named+1] + p.port
}

// strictly adds Strict-Transport-Security to answers without one.
type strictly struct {
	next  http.Handler
	value string
}

func (s strictly) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.next.ServeHTTP(&strictAnswer{w, s.value}, r)
}

type strictAnswer struct {
	http.ResponseWriter
	value string // empty once it is told
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (a *strictAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *strictAnswer) tell() {
	const name = "Strict-Transport-Security"
	if h := a.Header(); a.value != "" && h[name] == nil {
		h[name] = []string{a.value}
	}
	a.value = ""
}

func (a *strictAnswer) WriteHeader(status int) {
	if status >= 200 {
		a.tell()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *strictAnswer) Write(p []byte) (int, error) {
	a.tell()
	return a.ResponseWriter.Write(p)
}
