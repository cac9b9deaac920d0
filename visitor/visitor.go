// Package visitor reads from an HTTP request what it says about who sent it,
// and writes into an answer what the visitor must keep. It is the HTTP side of
// admission.Visit and admission.Verdict, and decides nothing itself.
package visitor

import (
	"context"
	"net/http"
	"net/netip"

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
	Trusted bool       // Peer is a trusted proxy
	Secure  bool       // the sender speaks HTTPS, to us or to a trusted proxy
	Kind    Kind       // what the sender can show
	Looking bool       // the request must not take a place of its own

	// WebSocket is set where the request asks for a WebSocket.
	WebSocket bool

	// The tokens of the last Visit live here, so that reading them costs an
	// admitted visitor's request no allocation.
	queue, admission [maxTokens]string
}

// Read tells what r says about its sender, believing X-Forwarded-* only where
// the peer is one of p.
func (p Proxies) Read(r *http.Request) Visitor {
	var v Visitor
	v.Peer = peer(r.RemoteAddr)
	v.Trusted = p.trust(v.Peer)
	v.Client = v.Peer
	v.Secure = r.TLS != nil
	if v.Trusted {
		v.Client = p.client(v.Peer, r.Header["X-Forwarded-For"])
		v.Secure = v.Secure || forwardedSecure(r.Header["X-Forwarded-Proto"])
	}
	v.WebSocket = wantsWebSocket(r)
	v.Kind = kind(r)
	v.Looking = v.WebSocket || looking(r, v.Kind)
	return v
}

// Visit gathers the tokens of r for an activity into what a room is asked
// with. The result is good until the next Visit of the same Visitor.
func (v *Visitor) Visit(r *http.Request, activity int64) admission.Visit {
	queue, admitted := v.queue[:0], v.admission[:0]
	// The prefixed name goes first: only this host, over HTTPS, can have set
	// it, whereas the plain one may come from a neighbouring subdomain.
	for _, prefix := range [...]string{hostPrefix, ""} {
		for _, line := range r.Header["Cookie"] {
			queue, admitted = gather(queue, admitted, line, prefix, activity)
		}
	}
	// A bearer token does not say which of the two it is before it is
	// verified, and may be the shop's own: it counts for clients without our
	// cookies only.
	if token := bearer(r.Header); token != "" && len(queue)+len(admitted) == 0 {
		queue = add(queue, token)
		admitted = add(admitted, token)
	}
	return admission.Visit{
		QueueTokens:     queue,
		AdmissionTokens: admitted,
		Network:         v.Client,
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
