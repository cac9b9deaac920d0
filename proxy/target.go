package proxy

import (
	"hash/fnv"
	"net/http"
	"net/url"
	"sync/atomic"
	"time"
)

const (
	// slowStart is how long a server that comes back takes to its full share:
	// caches are cold, and one that still fails should fail few.
	slowStart = 10 * time.Second

	// leastShare is the share with which it begins.
	leastShare = .1

	// shortestRest and longestRest are how long a server that failed is left
	// alone, twice as long with each further failure.
	shortestRest = time.Second
	longestRest  = 30 * time.Second
)

// target is one server of an upstream, as this gateway sees it. It is known by
// its upstream's name and its URL, and outlives every reload that keeps both.
// Instants are by the gateway's clock.
type target struct {
	url  string
	hash uint64 // of url, the same in every gateway

	active atomic.Int64 // requests under way, answers being copied included

	// unwell: its health checks fail. refused: no connection could be made; no
	// visitor can bring that about, so one failure is enough, and only a new
	// connection ends it.
	unwell, refused atomic.Bool
	woken           chan struct{} // of one: it was just refused

	fails atomic.Int64 // failures since it last answered
	rest  atomic.Int64 // the instant until which it is left alone, if there is another
	back  atomic.Int64 // when it came back; 0: it has its full share
}

func newTarget(u url.URL) *target {
	h := fnv.New64a()
	h.Write([]byte(u.String())) // it never fails
	return &target{url: u.String(), hash: h.Sum64(), woken: make(chan struct{}, 1)}
}

// answered notes that the target gave an answer, whatever it was.
func (t *target) answered() {
	if t.fails.Load() != 0 {
		t.fails.Store(0)
		t.rest.Store(0)
	}
}

// failed notes that it gave none. unsent: no connection could be made.
func (t *target) failed(now int64, unsent bool) {
	n := min(t.fails.Add(1), 10)
	t.rest.Store(now + int64(min(shortestRest<<(n-1), longestRest)))
	if !unsent {
		return
	}
	t.refused.Store(true)
	select {
	case t.woken <- struct{}{}:
	default: // it is being looked at
	}
}

// recover has the target asked again, a little at first.
func (t *target) recover(now int64) {
	t.unwell.Store(false)
	t.refused.Store(false)
	t.answered()
	t.back.Store(max(now, 1))
}

// share is how much of its weight the target should get; 0: none.
func (t *target) share(now int64) float64 {
	if t.unwell.Load() || t.refused.Load() || now < t.rest.Load() {
		return 0
	}
	back := t.back.Load()
	if back == 0 {
		return 1
	}
	if now-back >= int64(slowStart) {
		t.back.CompareAndSwap(back, 0)
		return 1
	}
	return max(leastShare, float64(now-back)/float64(slowStart))
}

// tries reports whether a request may go to a target that rested: one at a time
// finds out whether it answers again.
func (t *target) tries(now int64) bool {
	rested := t.rest.Load()
	return rested == 0 || t.rest.CompareAndSwap(rested, now+int64(shortestRest))
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
	late   bool // it joins servers that are in use already
}
