package proxy

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"sync"
	"time"

	"github.com/pires/go-proxyproto"
	"go.uber.org/zap"
)

// ProxyProtocol is whether trusted proxies begin a connection by telling whose
// it is, in the PROXY protocol, version 1 or 2.
type ProxyProtocol int

const (
	ProxyProtocolOff     ProxyProtocol = iota
	ProxyProtocolAccept                // where they tell nothing the connection is their own
	ProxyProtocolRequire               // where they tell nothing it is closed
)

// foretold takes from a listener connections of which trusted proxies tell
// first whose they are. What others send is read as a request, which it is not.
type foretold struct {
	net.Listener
	require bool
	longest time.Duration // for the header to come
	conns   *conns
}

// foretold returns l as mode says. l counts the connections of strangers, and
// what is returned those of whom proxies tell.
func (c *conns) foretold(l net.Listener, mode ProxyProtocol, longest time.Duration) net.Listener {
	if mode == ProxyProtocolOff {
		return l
	}
	return foretold{l, mode == ProxyProtocolRequire, longest, c}
}

// Accept reads nothing: the header is waited for where the connection is served.
func (l foretold) Accept() (net.Conn, error) {
	conn, err := l.Listener.Accept()
	if err != nil || !l.conns.trusts(conn.RemoteAddr()) {
		return conn, err
	}
	tcp, ok := conn.(*net.TCPConn)
	if !ok {
		return conn, nil
	}
	c := &foretoldConn{tcp: tcp, conns: l.conns}
	policy := proxyproto.USE
	if l.require {
		policy = proxyproto.REQUIRE
	}
	c.Conn = proxyproto.NewConn(tcp, proxyproto.WithPolicy(policy), proxyproto.SetReadHeaderTimeout(l.longest), proxyproto.ValidateHeader(c.count))
	return c, nil
}

// foretoldConn is a connection that speaks for the client that it is told of.
type foretoldConn struct {
	*proxyproto.Conn
	tcp   *net.TCPConn
	conns *conns
	met   sync.Once

	mu       sync.Mutex // guards the rest
	closed   bool
	giveBack func() // nil: it is not counted
}

var (
	errNoClient = errors.New("the header names no address of TCP")
	errTooMany  = errors.New("the client's network has as many connections as it may")
)

// RemoteAddr is the client's. The server asks for it before all else; that is
// when the header is waited for.
func (c *foretoldConn) RemoteAddr() net.Addr {
	c.met.Do(c.meet)
	return c.Conn.RemoteAddr()
}

// meet waits for the header and notes what is wrong with it: the connection
// then gives nothing to read, and is closed.
func (c *foretoldConn) meet() {
	_, err := c.Conn.Read(nil)
	if err == nil || errors.Is(err, errTooMany) {
		return
	}
	g := c.conns.gateway
	log, reason := g.log.Warn, "malformed"
	if errors.Is(err, proxyproto.ErrNoProxyProtocol) {
		log, reason = g.log.Debug, "missing" // balancers connect and say nothing, to see who is there
	}
	g.metrics.proxyProtocolErrors.WithLabelValues(reason).Inc()
	log("connection closed, its PROXY protocol header is "+reason, zap.Stringer("peer", c.tcp.RemoteAddr()), zap.Error(err))
}

// count takes the connection as one of the client's network, as long as it
// lasts.
func (c *foretoldConn) count(h *proxyproto.Header) error {
	if h.Command.IsLocal() || h.SourceAddr == nil {
		return nil // the proxy's own
	}
	if _, ok := h.SourceAddr.(*net.TCPAddr); !ok {
		return errNoClient
	}
	network := c.conns.network(h.SourceAddr)
	if !network.IsValid() || c.conns.most <= 0 {
		return nil
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return net.ErrClosed
	}
	if !c.conns.take(network) {
		c.conns.gateway.metrics.connsRefused.Inc()
		return errTooMany
	}
	c.giveBack = func() { c.conns.giveBack(network) }
	return nil
}

func (c *foretoldConn) Close() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	if c.giveBack != nil {
		c.giveBack()
		c.giveBack = nil
	}
	return c.tcp.Close()
}

// CloseWrite lets the server say its last words before the connection goes.
func (c *foretoldConn) CloseWrite() error { return c.tcp.CloseWrite() }

// announce tells a server, as the first words of a connection, for whom it was
// made: for the client of the exchange that ctx is, or for nobody.
func announce(ctx context.Context, conn net.Conn, version byte, longest time.Duration) error {
	header := proxyproto.HeaderProxyFromAddrs(version, nil, nil)
	if x, ok := ctx.Value(exchangeKey{}).(*exchange); ok {
		to, _ := x.Value(http.LocalAddrContextKey).(net.Addr)
		header = proxyproto.HeaderProxyFromAddrs(version, x.source(), to)
	}
	if err := conn.SetWriteDeadline(time.Now().Add(longest)); err != nil {
		return err
	}
	if _, err := header.WriteTo(conn); err != nil {
		return fmt.Errorf("announce the client: %w", err)
	}
	return conn.SetWriteDeadline(time.Time{})
}

// source is where the client's connection comes from; its port is 0 where a
// proxy has told of the client by its address alone. It is nil where nothing is
// known.
func (x *exchange) source() net.Addr {
	if !x.who.Client.IsValid() {
		return nil
	}
	if x.who.Client != x.who.Peer {
		return net.TCPAddrFromAddrPort(netip.AddrPortFrom(x.who.Client, 0))
	}
	return net.TCPAddrFromAddrPort(netip.AddrPortFrom(x.who.Client, x.who.Port))
}
