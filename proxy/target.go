package proxy

import (
	"hash/fnv"
	"net"
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

func newTarget(url string) *target {
	h := fnv.New64a()
	h.Write([]byte(url)) // it never fails
	return &target{url: url, hash: h.Sum64(), woken: make(chan struct{}, 1)}
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

// member is a target in one generation of its upstream.
type member struct {
	*target
	link   *link
	scheme string
	host   string // as in a URL; of a socket file it says nothing
	weight float64
	late   bool // it joins servers that are in use already
}

func newMember(s UpstreamServer) *member {
	m := &member{scheme: s.URL.Scheme, host: s.URL.Host, weight: float64(max(1, s.Weight))}
	if m.scheme == schemeUnix {
		m.scheme, m.host = "http", "localhost"
		m.target = newTarget(schemeUnix + ":" + s.URL.Path)
		return m
	}
	m.target = newTarget(m.scheme + "://" + m.host)
	return m
}

// address is where the member is dialled.
func (m *member) address() string {
	u := url.URL{Host: m.host}
	port := u.Port()
	if port == "" && m.scheme == "https" {
		port = "443"
	} else if port == "" {
		port = "80"
	}
	return net.JoinHostPort(u.Hostname(), port)
}
