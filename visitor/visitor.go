// Package visitor reads from an HTTP request what it says about who sent it,
// and writes into an answer what the visitor must keep. It is the HTTP side of
// admission.Visit and admission.Verdict, and decides nothing itself.
package visitor

import (
	"context"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"strconv"

	"github.com/ropeline/ropeline/admission"
)

// Visitor is what one request says about its sender. The zero Visitor is
// someone of unknown address, over plain HTTP, whose request takes a place and
// is answered with JSON.
//
// A Visitor belongs to one request and is not safe for concurrent use.
type Visitor struct {
	Client  netip.Addr // the sender, after trusted proxies were taken off; invalid if unknown
	Peer    netip.Addr // the other end of the connection
	Port    uint16     // Peer's
	Trusted bool       // Peer is a trusted proxy
	Secure  bool       // the sender speaks HTTPS, to us or to a trusted proxy
	Kind    Kind       // what the sender can show
	Looking bool       // the request must not take a place of its own

	// RequestID names the request to the shop, in logs and in answers: the
	// X-Request-Id of a trusted proxy, else one of its own.
	RequestID string

	// WebSocket is set where the request asks for a WebSocket.
	WebSocket bool

	// The tokens of the last Visit live here, so that reading them costs an
	// admitted visitor's request no allocation.
	queue, admission, pass [maxTokens]string
}

// Read tells what r says about its sender, believing X-Forwarded-* only where
// the peer is one of p.
func (p Proxies) Read(r *http.Request) Visitor {
	var v Visitor
	v.Peer, v.Port = peer(r.RemoteAddr)
	v.Trusted = p.trust(v.Peer)
	v.Client = v.Peer
	v.Secure = r.TLS != nil
	if v.Trusted {
		v.Client = p.client(v.Peer, r.Header["X-Forwarded-For"])
		v.Secure = v.Secure || forwardedSecure(r.Header["X-Forwarded-Proto"])
	}
	v.RequestID = requestID(r, v.Trusted)
	v.WebSocket = wantsWebSocket(r)
	v.Kind = kind(r)
	v.Looking = v.WebSocket || looking(r, v.Kind)
	return v
}

// Visit gathers the tokens of r for an activity into what a room is asked
// with. The result is good until the next Visit of the same Visitor.
func (v *Visitor) Visit(r *http.Request, activity int64) admission.Visit {
	t := tokens{queue: v.queue[:0], admitted: v.admission[:0], passes: v.pass[:0]}
	// The prefixed name goes first: only this host, over HTTPS, can have set
	// it, whereas the plain one may come from a neighbouring subdomain.
	for _, prefix := range [...]string{hostPrefix, ""} {
		for _, line := range r.Header["Cookie"] {
			t.gather(line, prefix, activity)
		}
	}
	// A bearer token does not say which of the two it is before it is
	// verified, and may be the shop's own: it counts for clients without our
	// cookies only.
	if token := bearer(r.Header); token != "" && len(t.queue)+len(t.admitted) == 0 {
		t.queue = add(t.queue, token)
		t.admitted = add(t.admitted, token)
	}
	if t.work == "" { // of a client without cookies
		t.work = first(r.Header, "Ropeline-Work")
	}
	return admission.Visit{
		QueueTokens:     t.queue,
		AdmissionTokens: t.admitted,
		PassTokens:      t.passes,
		Work:            t.work,
		Network:         v.Client,
		Agent:           first(r.Header, "User-Agent"),
		Looking:         v.Looking,
	}
}

type contextKey struct{}

// Key is the context key under which a *Visitor is found by From. A context
// type of its own may answer to it and save a layer.
var Key any = contextKey{}

// NewContext returns ctx with v.
func NewContext(ctx context.Context, v *Visitor) context.Context {
	return context.WithValue(ctx, Key, v)
}

// From returns the visitor that the gateway read from r. Without one it is
// read anew, with no proxy trusted. It is never nil.
func From(r *http.Request) *Visitor {
	if v, ok := r.Context().Value(Key).(*Visitor); ok {
		return v
	}
	v := Proxies{}.Read(r)
	return &v
}

// Handler has next find by From what each request says about its sender, as
// proxies, which are asked for anew each time, let it be believed.
func Handler(proxies func() Proxies, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := proxies().Read(r)
		next.ServeHTTP(w, r.WithContext(NewContext(r.Context(), &v)))
	})
}

// requestID returns the id that a trusted proxy gave the request, or a new one.
func requestID(r *http.Request, trusted bool) string {
	if trusted {
		if ids := r.Header["X-Request-Id"]; len(ids) == 1 && isRequestID(ids[0]) {
			return ids[0]
		}
	}
	return strconv.FormatUint(rand.Uint64(), 36) // to be told apart, not to be kept secret
}

// isRequestID reports whether s may stand in a log and a header as it is.
func isRequestID(s string) bool {
	if s == "" || len(s) > 64 {
		return false
	}
	for _, c := range []byte(s) {
		if c != '-' && (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') {
			return false
		}
	}
	return true
}
