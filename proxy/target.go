package proxy

import (
	"hash/fnv"
	"net/http"
	"net/url"
	"sync/atomic"
)

// target is one server of an upstream, as this gateway sees it. It is known by
// its upstream's name and its URL, and outlives every reload that keeps both.
type target struct {
	url  string
	hash uint64 // of url, the same in every gateway

	active atomic.Int64 // requests under way, answers being copied included
}

func newTarget(u url.URL) *target {
	h := fnv.New64a()
	h.Write([]byte(u.String())) // it never fails
	return &target{url: u.String(), hash: h.Sum64()}
}

// link is the way to a target: the connections to it, and how they are made.
type link struct {
	*http.Transport
	settings linkSettings
	retired  atomic.Bool
}

// retire closes the connections that are not used, and each of the others when
// its request has ended.
func (l *link) retire() {
	l.retired.Store(true)
	l.CloseIdleConnections()
}

// member is a target in one generation of its upstream.
type member struct {
	*target
	link   *link
	scheme string
	host   string
	weight float64
}
