package proxy

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
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
			next.Reset(jitter(look))
			look = min(2*look, longestLook)
		case u.settings.Health.Path != "":
			next.Reset(jitter(interval))
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
	ctx, cancel := context.WithTimeout(ctx, longest)
	defer cancel()
	if u.settings.Health.Path == "" {
		conn, err := m.link.DialContext(ctx, "tcp", m.address())
		if err != nil {
			return err
		}
		return conn.Close()
	}
	where := url.URL{Scheme: m.scheme, Host: m.host, Path: u.settings.Health.Path}
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, where.String(), nil)
	if err != nil {
		return err
	}
	r.Header.Set("User-Agent", "ropeline-health")
	res, err := m.link.RoundTrip(r)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if _, err := io.CopyN(io.Discard, res.Body, checkBody); err != nil && err != io.EOF {
		return err
	}
	if res.StatusCode >= 400 {
		return fmt.Errorf("status %d", res.StatusCode)
	}
	return nil
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

// jitter spreads d over ±10 %, so that gateways do not ask in step.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (.9 + .2*rand.Float64()))
}
