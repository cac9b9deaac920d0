package proxy

import (
	"bytes"
	"crypto/tls"
	"net"
	"net/http"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"
)

// HTTPS is a listener for HTTPS beside the plain one, with every limit that
// the plain one has.
type HTTPS struct {
	Listener net.Listener // of plain TCP; the server speaks TLS on it, and closes it
	Config   *tls.Config  // offers h2 for HTTP/2 to be spoken; not changed but for the keys of tickets

	// QUIC is the UDP socket of the same port, which the server speaks HTTP/3 on,
	// and closes; nil: none.
	QUIC net.PacketConn

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

// secure adds to answers over HTTPS what browsers are to keep of them.
type secure struct {
	gateway *Gateway
	hsts    string // Strict-Transport-Security, where the shop says nothing; empty: none
	http3   bool   // it is there too
}

// newSecure returns the gateway as it answers over HTTPS.
func newSecure(g *Gateway, hsts string, http3 bool) http.Handler {
	if hsts == "" && !http3 {
		return g
	}
	return secure{g, hsts, http3}
}

func (s secure) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a := &secureAnswer{ResponseWriter: w, hsts: s.hsts}
	if s.http3 && !s.gateway.draining.Load() {
		a.service = alternative(r.Host)
	}
	s.gateway.ServeHTTP(a, r)
}

// alternative is the Alt-Svc of a request for host: HTTP/3, on the port that was
// asked, which may be mapped to the one listened on.
func alternative(host string) string {
	const (
		before, after = `h3=":`, `"; ma=86400`
		usual         = before + "443" + after
	)
	named := strings.LastIndexByte(host, ':')
	if named < 0 || strings.HasSuffix(host, "]") {
		return usual
	}
	port := host[named+1:]
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return "" // no such host is answered
	}
	return before + port + after
}

type secureAnswer struct {
	http.ResponseWriter
	hsts    string
	service string
	told    bool
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (a *secureAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *secureAnswer) tell() {
	if a.told {
		return
	}
	a.told = true
	const strict = "Strict-Transport-Security"
	h := a.Header()
	if a.hsts != "" && h[strict] == nil {
		h[strict] = []string{a.hsts}
	}
	if a.service != "" {
		h["Alt-Svc"] = []string{a.service}
	}
}

func (a *secureAnswer) WriteHeader(status int) {
	if status >= 200 {
		a.tell()
	}
	a.ResponseWriter.WriteHeader(status)
}

func (a *secureAnswer) Write(p []byte) (int, error) {
	a.tell()
	return a.ResponseWriter.Write(p)
}
