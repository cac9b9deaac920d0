package proxy

import (
	"errors"
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
}

const (
	breakerWindow = 10 * time.Second
	breakerGrain  = time.Second

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
type breaker struct {
	settings Breaker
	two      *gobreaker.TwoStepCircuitBreaker[struct{}]
}

func newBreaker(upstream string, s Breaker, log *zap.Logger) *breaker {
	if s.Requests <= 0 {
		return nil
	}
	return &breaker{s, gobreaker.NewTwoStepCircuitBreaker[struct{}](gobreaker.Settings{
		Name:        upstream,
		MaxRequests: breakerTries,
		Interval:    breakerWindow, BucketPeriod: breakerGrain,
		Timeout: s.Pause,
		ReadyToTrip: func(c gobreaker.Counts) bool {
			failed, all := float64(c.TotalFailures), float64(c.TotalFailures+c.TotalSuccesses)
			return all >= float64(s.Requests) && failed >= all*s.Failures
		},
		IsExcluded: func(err error) bool { return err == errSender },
		OnStateChange: func(_ string, from, to gobreaker.State) {
			log.Warn("breaker moved", zap.String("upstream", upstream), zap.Stringer("from", from), zap.Stringer("to", to))
		},
	})}
}

// allow asks whether a request may be sent. Its outcome is to be reported: nil,
// errFailed or errSender.
func (b *breaker) allow() (report func(error), err error) {
	if b == nil {
		return func(error) {}, nil
	}
	return b.two.Allow()
}

// broke notes that an answer, which was reported already, was broken off.
func (b *breaker) broke() {
	if report, err := b.allow(); err == nil {
		report(errFailed)
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

// report tells the breaker how the request ended, once.
func (x *exchange) report(outcome error) {
	if x.judge != nil {
		x.judge(outcome)
		x.judge = nil
	}
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
