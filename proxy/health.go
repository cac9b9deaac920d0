package proxy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"go.uber.org/zap"
)

// Health is how the servers of an upstream are asked whether they are well. An
// answer of a status below 400 says so; a redirect is not followed.
type Health struct {
	Path     string        // empty: they are not asked
	Interval time.Duration // between two questions; 0: 10s
}

const (
	// turns is how many questions in a row change what is thought of a server.
	turns = 2

	// longestCheck bounds one question.
	longestCheck = 5 * time.Second

	// A server that could be connected to no more is looked at this often, half
	// as often with each time.
	shortestLook = 250 * time.Millisecond
	longestLook  = 5 * time.Second

	// tryEvery is how often an upstream is asked whose breaker is half open, and
	// lookEvery how often rooms are shut and opened: a room ticks as often.
	tryEvery  = 500 * time.Millisecond
	lookEvery = 250 * time.Millisecond

	// checkBody is how much of an answer's body is read, so that its connection
	// can be used again.
	checkBody = 64 << 10
)

// watch keeps an eye on a member until ctx ends: it asks after its health, if
// that was wished for, and looks again and again whether one that refused a
// connection takes them.
func (u *Upstream) watch(ctx context.Context, m *member) {
	interval := cmp.Or(u.settings.Health.Interval, 10*time.Second)
	next := time.NewTimer(time.Duration(rand.Float64() * float64(interval) / 10))
	defer next.Stop()
	if u.settings.Health.Path == "" {
		next.Stop()
	}
	if m.refused.Load() {
		next.Reset(0)
	}
	good, bad, look := 0, 0, shortestLook
	for {
		select {
		case <-ctx.Done():
			return
		case <-m.woken:
			u.tell(m, "connect", nil)
			look = shortestLook
			next.Reset(jitter(look)) // it has just been found away
			continue
		case <-next.C:
		}
		err := u.check(ctx, m, min(interval, longestCheck))
		if ctx.Err() != nil {
			return
		}
		good, bad = good+1, bad+1
		if err == nil {
			bad = 0
		} else {
			good = 0
		}
		switch {
		case err == nil && (m.refused.Load() || m.unwell.Load() && good >= turns):
			m.recover(u.gateway.clock())
			u.gateway.log.Info("server is back", zap.String("upstream", u.settings.Name), zap.String("server", m.url))
		case err != nil && u.settings.Health.Path != "" && bad >= turns && !m.unwell.Swap(true):
			u.tell(m, "health", err)
		}
		switch {
		case m.refused.Load():
			wait := look
			if u.settings.Health.Path != "" {
				wait = min(look, interval)
			}
			next.Reset(jitter(wait))
			look = min(2*look, longestLook)
		case u.settings.Health.Path != "":
			next.Reset(jitter(interval))
		}
	}
}

// down reports whether visitors should not be sent to the upstream, as far as
// this gateway knows: it failed too often, asked for time, or none of its servers is there. What
// rests after a failure of its own is not down: a visitor may have caused that.
func (u *Upstream) down() bool {
	if u.breaker.state() != 0 || u.breaker.resting() {
		return true
	}
	for _, m := range u.members {
		if !m.unwell.Load() && !m.refused.Load() {
			return false
		}
	}
	return true
}

// tryAgain asks the upstream now and then while its breaker is half open, until
// ctx ends: where the rooms are shut there may be no visitor who does.
func (u *Upstream) tryAgain(ctx context.Context) {
	next := time.NewTimer(jitter(tryEvery))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		next.Reset(jitter(tryEvery))
		if u.breaker.state() != 1 {
			continue
		}
		report, err := u.breaker.two.Allow()
		if err != nil {
			continue // visitors try
		}
		outcome := errSender
		if m := u.choose(netip.Addr{}, nil); m != nil {
			method, path := http.MethodHead, "/"
			if u.settings.Health.Path != "" {
				method, path = http.MethodGet, u.settings.Health.Path
			}
			if _, err := m.get(ctx, method, path, m.link.settings.header); err == nil {
				m.answered()
				outcome = nil
			} else if ctx.Err() == nil {
				outcome = errFailed
			}
		}
		report(outcome)
	}
}

// keepRooms shuts the rooms of activities whose upstream is down, and opens
// them again, until ctx ends.
func (g *Gateway) keepRooms(ctx context.Context) {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	feel := time.NewTicker(feelEvery)
	defer feel.Stop()
	gauge := time.NewTicker(gaugeEvery)
	defer gauge.Stop()
	shut := map[int64]bool{}
	for {
		select {
		case <-ctx.Done():
			return
		case <-feel.C:
			g.feel()
			continue
		case <-gauge.C:
			g.measure()
			continue
		case <-look.C:
		}
		down := map[*Activity]bool{}
		for _, way := range g.table.Load().ways {
			down[way.Activity] = down[way.Activity] || way.Upstream.down()
		}
		for activity, is := range down {
			activity.Room.Shut(is)
			if shut[activity.ID] == is {
				continue
			}
			if shut[activity.ID] = is; is {
				g.log.Warn("room shut, its upstream is down", zap.Int64("activity", activity.ID))
			} else {
				g.log.Info("room open again", zap.Int64("activity", activity.ID))
			}
		}
	}
}

// tell says that a server is left out, and why.
func (u *Upstream) tell(m *member, reason string, err error) {
	u.gateway.log.Warn("server left out", zap.String("upstream", u.settings.Name), zap.String("server", m.url),
		zap.String("reason", reason), zap.Error(err))
}

// check asks a server after its health, or, where that was not wished for,
// whether it takes a connection.
func (u *Upstream) check(ctx context.Context, m *member, longest time.Duration) error {
	if u.settings.Health.Path == "" {
		ctx, cancel := context.WithTimeout(ctx, longest)
		defer cancel()
		conn, err := m.link.dial(ctx, "tcp", m.address())
		if err != nil {
			return err
		}
		return conn.Close()
	}
	status, err := m.get(ctx, http.MethodGet, u.settings.Health.Path, longest)
	if err == nil && status >= 400 {
		return fmt.Errorf("status %d", status)
	}
	return err
}

// get asks a server for a path, by no visitor's wish, and returns the status of
// its answer.
func (m *member) get(ctx context.Context, method, path string, longest time.Duration) (status int, err error) {
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	where := url.URL{Scheme: m.scheme, Host: m.host, Path: path}
	r, err := http.NewRequestWithContext(ctx, method, where.String(), nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("User-Agent", "ropeline-health")
	res, err := m.link.RoundTrip(r)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, checkBody); err != nil && err != io.EOF {
		return 0, err
	}
	return res.StatusCode, nil
}

// jitter spreads d over ±10 %, so that gateways do not ask in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (.9 + .2*rand.Float64()))
}
