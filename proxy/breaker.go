package proxy

import (
	"errors"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
)

// Breaker is when an upstream that fails is asked no more: after ten seconds in
// which at least so many requests were answered or failed, and at least such a
// share failed. The status of an answer is no failure: a visitor who asks for
// what the shop refuses would bring it about.
type Breaker struct {
	Requests int64         // 0: it is always asked
	Failures float64       // between 0 and 1
	Pause    time.Duration // until a few requests try again

	// RetryAfter is the longest that no one new is sent where the upstream asks
	// for time by 503 with Retry-After; 0: it is not obeyed.
	RetryAfter time.Duration
}

const (
	breakerSeconds = 10 // the window

	// breakerTries is how many requests must be answered, one failure less than
	// which opens the breaker again.
	breakerTries = 3
)

var (
	errFailed = errors.New("the upstream failed")

	// errSender is the result of a request that says nothing of the upstream:
	// its sender left or sent nonsense, or it never got there.
	errSender = errors.New("the sender failed")
)

// breaker keeps requests from an upstream that fails. A nil breaker keeps none.
//
// While it is closed, which is nearly always, a request that is answered takes
// no lock: answers are counted by the second, and only failures, which are few,
// are brought to the state machine.
type breaker struct {
	settings Breaker
	two      *gobreaker.TwoStepCircuitBreaker[struct{}]
	started  time.Time
	open     atomic.Bool // or half open

	answered tally
	respite  respite
}

// tally counts by the second, over the breaker's window. Each of its buckets has
// the second in the upper half and the count in the lower.
type tally [breakerSeconds]atomic.Uint64

func newBreaker(upstream string, s Breaker, log *zap.Logger) *breaker {
	if s.Requests <= 0 {
		return nil
	}
	b := &breaker{settings: s, started: time.Now()}
	b.two = gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        upstream,
		MaxRequests: breakerTries,
		Interval:    breakerSeconds * time.Second, BucketPeriod: time.Second,
		Timeout: s.Pause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			failed := float64(c.TotalFailures)
			all := failed + float64(b.answered.sum(b.second()))
			return all >= float64(s.Requests) && failed >= all*s.Failures
		},
		IsExcluded: func(err error) bool { return err == errSender },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			if to == gobreaker.StateClosed {
				for i := range b.answered {
					b.answered[i].Store(0) // of before
				}
			}
			b.open.Store(to != gobreaker.StateClosed)
			log.Warn("breaker moved", zap.String("upstream", upstream), zap.Stringer("from", from), zap.Stringer("to", to))
		},
	})
	return b
}

// second is the one that the breaker is in. It begins at 1: a bucket of zeros
// is of no second.
func (b *breaker) second() uint64 { return uint64(time.Since(b.started)/time.Second) + 1 }

// add counts one more.
func (t *tally) add(now uint64) {
	bucket := &t[now%breakerSeconds]
	for {
		was := bucket.Load()
		next := was + 1
		if was>>32 != now {
			next = now<<32 | 1
		}
		if bucket.CompareAndSwap(was, next) {
			return
		}
	}
}

// sum counts those of the window.
func (t *tally) sum(now uint64) (n uint64) {
	for i := range t {
		if v := t[i].Load(); v>>32+breakerSeconds > now {
			n += v & (1<<32 - 1)
		}
	}
	return n
}

// failed notes a failure.
func (b *breaker) failed() {
	if b == nil {
		return
	}
	if report, err := b.two.Allow(); err == nil {
		report(errFailed)
	}
}

// enter asks the breaker whether a request may be sent. Its outcome is to be
// reported: nil, errFailed or errSender.
func (x *exchange) enter(b *breaker) (err error) {
	if b == nil {
		return nil
	}
	if b.open.Load() {
		x.judge, err = b.two.Allow()
		return err
	}
	x.breaker = b
	return nil
}

// report tells the breaker how the request ended, once.
func (x *exchange) report(outcome error) {
	if x.judge != nil {
		x.judge(outcome)
		x.judge = nil
	}
	b := x.breaker
	if b == nil {
		return
	}
	x.breaker = nil
	switch {
	case b.open.Load(): // it was closed when the request was sent: that says nothing of now
	case outcome == nil:
		b.answered.add(b.second())
	case outcome == errFailed:
		b.failed()
	}
}

// state is 0 closed, 1 half-open, 2 open.
func (b *breaker) state() int {
	if b == nil {
		return 0
	}
	switch b.two.State() {
	case gobreaker.StateHalfOpen:
		return 1
	case gobreaker.StateOpen:
		return 2
	}
	return 0
}

func isOpen(err error) bool {
	return errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests)
}

// upstreamStates are what is known of the upstreams in use, read when
// Prometheus asks.
type upstreamStates struct{ gateway *Gateway }

var (
	breakerState = prometheus.NewDesc("ropeline_breaker_state", "0 closed, 1 half-open, 2 open.", []string{"name"}, nil)
	serverUp     = prometheus.NewDesc("ropeline_upstream_server_up", "1 where requests are sent to a server, 0 where it is left out.",
		[]string{"upstream", "server"}, nil)
)

// Describe implements prometheus.Collector. It tells of nothing: there are other
// breakers, whose metric has the same name, and its own description.
func (s upstreamStates) Describe(chan<- *prometheus.Desc) {}

// Collect implements prometheus.Collector.
func (s upstreamStates) Collect(to chan<- prometheus.Metric) {
	s.gateway.mu.Lock()
	defer s.gateway.mu.Unlock()
	now := s.gateway.clock()
	for _, u := range s.gateway.upstreams {
		if u.breaker != nil {
			to <- prometheus.MustNewConstMetric(breakerState, prometheus.GaugeValue, float64(u.breaker.state()), "upstream:"+u.settings.Name)
		}
		for _, m := range u.members {
			up := 0.
			if m.share(now) > 0 {
				up = 1
			}
			to <- prometheus.MustNewConstMetric(serverUp, prometheus.GaugeValue, up, u.settings.Name, m.url)
		}
	}
}
