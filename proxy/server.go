package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	stdlog "log"
	"net"
	"net/http"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"
)

// ServerOptions are the listener's limits. A zero value takes the default.
type ServerOptions struct {
	HeaderBytes   int           // largest request header; 16 KiB
	HeaderTimeout time.Duration // for a request's headers to arrive; 10s
	IdleTimeout   time.Duration // for the next request of a connection; 75s

	// ConnsPerNetwork is how many connections one network may have open, see
	// conns; 0: no limit.
	ConnsPerNetwork int

	// ProxyProtocol is how connections of trusted proxies begin, on both
	// listeners; the header has HeaderTimeout to come.
	ProxyProtocol ProxyProtocol

	HTTPS *HTTPS // the listener beside the plain one; nil: none

	// DrainDelay is how long the server goes on taking connections when it was
	// told to stop, so that whoever spreads the load sees /readyz turn first.
	// Zero is no delay.
	DrainDelay time.Duration
	// DrainGrace is how long requests may then take to finish; 30s. What is
	// open after it, WebSockets and streams above all, is cut.
	DrainGrace time.Duration
}

// errStopped is why requests end that outlast the grace of a drain.
var errStopped = errors.New("server stopped")

// tunnelGrace is how long the server waits for cut WebSockets to be logged.
const tunnelGrace = time.Second

// Server is a Gateway on a listener. Its methods are safe for concurrent use.
type Server struct {
	gateway *Gateway
	options ServerOptions
}

// NewServer returns a Server for g. It serves when Serve is called.
func NewServer(g *Gateway, o ServerOptions) *Server {
	o.HeaderBytes = cmp.Or(o.HeaderBytes, 16<<10)
	o.HeaderTimeout = cmp.Or(o.HeaderTimeout, 10*time.Second)
	o.IdleTimeout = cmp.Or(o.IdleTimeout, 75*time.Second)
	o.DrainGrace = cmp.Or(o.DrainGrace, 30*time.Second)
	return &Server{gateway: g, options: o}
}

// Ready reports whether new visitors are welcome: a table is in place, and the
// server has not been told to stop.
func (g *Gateway) Ready() bool { return g.table.Load() != nil && !g.draining.Load() }

// Serve answers the connections of l, and of the HTTPS listener, which it
// closes, until ctx ends; then it drains: Ready turns false first, requests are
// answered for DrainDelay with Connection: close, what is under way has
// DrainGrace to finish, and what is left is cut. Its error is nil where all
// requests finished in time; WebSockets are cut without one.
func (s *Server) Serve(ctx context.Context, l net.Listener) error {
	base, cut := context.WithCancelCause(context.WithoutCancel(ctx))
	defer cut(errStopped)
	log := s.gateway.log

	limit := newConns(s.options.ConnsPerNetwork, s.gateway)
	take := func(l net.Listener) net.Listener {
		return limit.foretold(limit.listener(sparing{l, s.gateway, new(atomic.Int64)}), s.options.ProxyProtocol, s.options.HeaderTimeout)
	}
	var parts []part
	add := func(server *http.Server, l net.Listener) {
		parts = append(parts, part{server, l.Addr(), func() error { return server.Serve(l) }})
	}
	add(s.server(base, nil), take(l))
	if h := s.options.HTTPS; h != nil {
		// Not ServeTLS: it copies the configuration, and keys of session
		// tickets that are set later would not count.
		add(s.server(base, h), tls.NewListener(take(h.Listener), h.Config))
		if h.QUIC != nil {
			q, err := s.newQUIC(base, h, limit)
			if err != nil {
				return err
			}
			parts = append(parts, part{q, h.QUIC.LocalAddr(), q.Serve})
		}
	}
	served := make(chan error, len(parts))
	for _, p := range parts {
		go func() { served <- fmt.Errorf("serve %s: %w", p.address, p.serve()) }()
	}
	closeAll := func() {
		for _, p := range parts {
			p.Close()
		}
	}

	select {
	case err := <-served:
		closeAll()
		return err
	case <-ctx.Done():
	}
	s.gateway.draining.Store(true)
	log.Info("draining", zap.Duration("delay", s.options.DrainDelay), zap.Duration("grace", s.options.DrainGrace))
	select {
	case err := <-served:
		closeAll()
		return err
	case <-time.After(s.options.DrainDelay):
	}

	grace, done := context.WithTimeout(base, s.options.DrainGrace)
	defer done()
	var ending errgroup.Group // together: each takes connections until its own Shutdown
	for _, p := range parts {
		ending.Go(func() error {
			if err := p.Shutdown(grace); err != nil {
				return fmt.Errorf("drain %s: requests were cut after %s: %w", p.address, s.options.DrainGrace, err)
			}
			return nil
		})
	}
	err := ending.Wait()
	// A WebSocket ends when one side wants it to: it is cut when all that
	// finishes by itself has.
	cut(errStopped)
	s.gateway.waitTunnels()
	if err != nil {
		closeAll()
	}
	return err
}

// drainable is what http.Server can, and the server of HTTP/3 too.
type drainable interface {
	Shutdown(context.Context) error
	Close() error
}

// part is a server on one of the listeners.
type part struct {
	drainable
	address net.Addr
	serve   func() error
}

// server makes the server of the plain listener, or of h.
func (s *Server) server(base context.Context, h *HTTPS) *http.Server {
	var protocols http.Protocols
	protocols.SetHTTP1(true) // over plain TCP, HTTP/2 would be h2c: its preface knows no header timeout
	server := &http.Server{
		Handler:           s.gateway,
		Protocols:         &protocols,
		MaxHeaderBytes:    s.options.HeaderBytes,
		ReadHeaderTimeout: s.options.HeaderTimeout, // for the handshake of TLS too
		IdleTimeout:       s.options.IdleTimeout,
		// The time for the first piece of an answer is the upstream's to use;
		// answer.Write then grants as much again for each further one.
		WriteTimeout: writeIdle(s.gateway.bodyIdle),
		BaseContext:  func(net.Listener) context.Context { return base },
		ErrorLog:     serverLog(s.gateway.log),
	}
	switch {
	case h != nil:
		protocols.SetHTTP2(true)
		server.TLSConfig = h.Config.Clone() // net/http writes into it
		server.HTTP2 = s.http2()
		server.ErrorLog = stdlog.New(remarks{s.gateway}, "", 0)
		server.Handler = newSecure(s.gateway, h.HSTS, h.QUIC != nil)
	case s.options.HTTPS != nil:
		server.Handler = newPlain(s.gateway, s.options.HTTPS)
	}
	return server
}

// waitTunnels gives cut WebSockets a moment to be logged. Like the server's
// own Shutdown, which does not see them, it looks now and then.
func (g *Gateway) waitTunnels() {
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(tunnelGrace); g.tunnels.Load() > 0 && time.Now().Before(deadline); {
		<-tick.C
	}
}

// serverLog has the server's own remarks, the stack of a panic above all, in
// the log.
func serverLog(l *zap.Logger) *stdlog.Logger {
	std, err := zap.NewStdLogAt(l.Named("http"), zap.WarnLevel)
	if err != nil {
		panic(err) // only for a level that zap does not know
	}
	return std
}
