package proxy

import (
	"net"
	"net/netip"
	"sync"
)

// conns counts the open connections of each network, and takes no more than it
// may have: of an IPv4 address, or of an IPv6 /64, which is what one customer of
// a provider gets. It remembers no network that has none open, so its memory is
// bounded by the connections themselves. Proxies that are trusted are not
// counted: all visitors come from them.
type conns struct {
	most    int // 0: no limit
	gateway *Gateway

	mu   sync.Mutex // guards open
	open map[netip.Prefix]int
}

func newConns(most int, g *Gateway) *conns {
	return &conns{most: most, gateway: g, open: map[netip.Prefix]int{}}
}

// listener returns l without the connections that are too many.
func (c *conns) listener(l net.Listener) net.Listener {
	if c.most <= 0 {
		return l
	}
	return countedListener{l, c}
}

// network returns the network that an address counts for. It is not valid
// where there is none, as on a Unix socket, and for trusted proxies.
func (c *conns) network(a net.Addr) netip.Prefix {
	addr, ok := addressOf(a)
	if !ok || c.trusts(a) {
		return netip.Prefix{}
	}
	return networkOf(addr)
}

// networkOf is the network that an address stands for: itself, or its /64.
func networkOf(addr netip.Addr) netip.Prefix {
	addr = addr.Unmap().WithZone("")
	bits := 32
	if addr.Is6() {
		bits = 64
	}
	network, err := addr.Prefix(bits)
	if err != nil {
		return netip.Prefix{}
	}
	return network
}

// trusts reports whether a is the address of a trusted proxy.
func (c *conns) trusts(a net.Addr) bool {
	addr, ok := addressOf(a)
	t := c.gateway.table.Load()
	return ok && t != nil && t.proxies.Trusts(addr)
}

// addressOf is the address of the other end of a connection, if it has one.
func addressOf(a net.Addr) (netip.Addr, bool) {
	switch a := a.(type) {
	case *net.TCPAddr:
		return a.AddrPort().Addr(), true
	case *net.UDPAddr:
		return a.AddrPort().Addr(), true
	}
	return netip.Addr{}, false
}

func (c *conns) take(network netip.Prefix) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[network] >= c.most {
		return false
	}
	c.open[network]++
	return true
}

func (c *conns) giveBack(network netip.Prefix) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.open[network]--; c.open[network] == 0 {
		delete(c.open, network)
	}
}

type countedListener struct {
	net.Listener
	conns *conns
}

// Accept closes what is too many before anything is read of it: a client that
// only holds connections costs no more than the kernel's part of them.
func (l countedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		network := l.conns.network(conn.RemoteAddr())
		if !network.IsValid() {
			return conn, nil
		}
		tcp, ok := conn.(*net.TCPConn)
		if ok && l.conns.take(network) {
			return &countedConn{TCPConn: tcp, giveBack: sync.OnceFunc(func() { l.conns.giveBack(network) })}, nil
		}
		l.conns.gateway.metrics.connsRefused.Inc()
		conn.Close()
	}
}

// countedConn is a TCPConn, with all that servers look for in one.
type countedConn struct {
	*net.TCPConn
	giveBack func()
}

func (c *countedConn) Close() error {
	defer c.giveBack()
	return c.TCPConn.Close()
}
