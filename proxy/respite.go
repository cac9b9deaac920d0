package proxy

import (
	"errors"
	"net/http"
	"net/netip"
	"strconv"
	"sync"
	"sync/atomic"
	"time"
)

// respite is the time that a shop asked for, by answers of 503 with Retry-After:
// until then no one new should be sent to it. Two clients must have been told
// so, and such a share of all answers have said so as would open the breaker:
// a shop may mean one visitor, or one of its paths, that never answers else.
type respite struct {
	asked tally        // the answers that said so
	until atomic.Int64 // nanoseconds since the breaker was made

	mu     sync.Mutex // guards the rest
	client netip.Prefix
	at     time.Duration // since the breaker was made
}

// asksForTime notes an answer of 503 to a client. It returns how long no one new
// should come, where that was not known.
func (b *breaker) asksForTime(client netip.Addr, h http.Header) time.Duration {
	if b == nil || b.settings.RetryAfter <= 0 {
		return 0
	}
	after := min(retryAfter(h, time.Now()), b.settings.RetryAfter)
	if after <= 0 {
		return 0
	}
	r, now := &b.respite, time.Since(b.started)
	r.asked.add(b.second())
	r.mu.Lock()
	defer r.mu.Unlock()
	network := networkOf(client)
	another := r.client.IsValid() && r.client != network && now-r.at < breakerSeconds*time.Second
	r.client, r.at = network, now
	if asked := r.asked.sum(b.second()); !another || float64(asked) < b.settings.Failures*float64(max(asked, b.answered.sum(b.second()))) {
		return 0
	}
	was := r.until.Load()
	r.until.Store(max(was, int64(now+after)))
	if was > int64(now) {
		return 0
	}
	return after
}

// resting reports whether the shop asked for time that is not over.
func (b *breaker) resting() bool {
	return b != nil && int64(time.Since(b.started)) < b.respite.until.Load()
}

// retryAfter is how long a shop asks to be left alone; 0 where it does not say
// so, or not in a way that is understood.
func retryAfter(h http.Header, now time.Time) time.Duration {
	said := h.Get("Retry-After")
	if seconds, err := strconv.ParseUint(said, 10, 64); err == nil || errors.Is(err, strconv.ErrRange) {
		return time.Duration(min(seconds, 1<<31)) * time.Second
	}
	at, err := http.ParseTime(said)
	if err != nil {
		return 0
	}
	return max(0, at.Sub(now))
}
