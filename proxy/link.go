package proxy

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/netip"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// schemeUnix is the scheme of a server on a socket of this machine.
const schemeUnix = "unix"

const (
	// followEvery is how often the addresses of a server are looked up, and
	// nameTime how long what was found is dialled without asking again.
	followEvery = 30 * time.Second
	nameTime    = 5 * time.Second

	// pingAfter is how long an HTTP/2 connection may be silent before the other
	// side is asked whether it is there.
	pingAfter = 15 * time.Second
)

// UpstreamTLS says how the servers of an upstream are spoken to over TLS. All
// texts are PEM. The zero UpstreamTLS trusts whom the system trusts.
type UpstreamTLS struct {
	CA         string // who must have signed the servers' certificates; "": the system's
	ServerName string // that they must be for, and are asked by; "": the URL's host
	Cert, Key  string // this gateway's own
	SkipVerify bool   // any certificate will do
}

// linkSettings are those of an upstream that its connections depend on. Two
// links of equal settings are one.
type linkSettings struct {
	dial, tls, header, idle time.Duration
	socket                  string // "": a network connection
	plain                   bool   // without TLS
	http2                   bool
	proxyProtocol           byte // the version; 0: none
	trust                   UpstreamTLS
}

func (s UpstreamSettings) link(server UpstreamServer) linkSettings {
	l := linkSettings{
		dial: cmp.Or(s.Dial, 5*time.Second), tls: cmp.Or(s.TLS, 5*time.Second),
		header: cmp.Or(s.Header, 30*time.Second), idle: cmp.Or(s.Idle, 90*time.Second),
		plain: server.URL.Scheme != "https", http2: s.HTTP2, proxyProtocol: s.ProxyProtocol, trust: s.Trust,
	}
	if server.URL.Scheme == schemeUnix {
		l.socket = server.URL.Path
	}
	return l
}

// link is the way to a target: the connections to it, and how they are made.
type link struct {
	settings linkSettings
	trust    *tls.Config // nil: the system's
	resolver *net.Resolver
	retired  atomic.Bool

	direct  *direct // for what needs no more; nil: nothing does
	current atomic.Pointer[http.Transport]
	upgrade *http.Transport // for what HTTP/2 over plain connections cannot; nil: current can

	mu        sync.Mutex // guards the rest
	addresses []netip.Addr
	found     time.Time // when they were looked up
}

func newLink(s linkSettings, resolver *net.Resolver) (*link, error) {
	l := &link{settings: s, resolver: resolver}
	if s.trust != (UpstreamTLS{}) && !s.plain {
		var err error
		if l.trust, err = s.trust.config(); err != nil {
			return nil, err
		}
	}
	l.current.Store(l.transport(s.http2))
	switch {
	case s.http2 && s.plain:
		l.upgrade = l.transport(false)
	case s.plain && s.proxyProtocol == 0 && canAsk: // which has a connection for each request
		l.direct = &direct{dial: l.dial, wait: s.header, keep: s.idle}
	}
	return l, nil
}

func (t UpstreamTLS) config() (*tls.Config, error) {
	c := &tls.Config{ServerName: t.ServerName, InsecureSkipVerify: t.SkipVerify, MinVersion: tls.VersionTLS12}
	if t.CA != "" {
		c.RootCAs = x509.NewCertPool()
		if !c.RootCAs.AppendCertsFromPEM([]byte(t.CA)) {
			return nil, errors.New("the CA is no certificate in PEM")
		}
	}
	if t.Cert != "" || t.Key != "" {
		own, err := tls.X509KeyPair([]byte(t.Cert), []byte(t.Key))
		if err != nil {
			return nil, fmt.Errorf("the gateway's own certificate: %w", err)
		}
		c.Certificates = []tls.Certificate{own}
	}
	return c, nil
}

func (l *link) transport(http2 bool) *http.Transport {
	var protocols http.Protocols
	protocols.SetHTTP1(!http2 || !l.settings.plain) // over TLS the server chooses
	protocols.SetHTTP2(http2 && !l.settings.plain)
	protocols.SetUnencryptedHTTP2(http2 && l.settings.plain)
	return &http.Transport{
		// Proxy stays nil: HTTP_PROXY in our environment is not meant for
		// the way to the shop.
		DialContext:           l.dial,
		TLSClientConfig:       l.trust.Clone(),
		TLSHandshakeTimeout:   l.settings.tls,
		ResponseHeaderTimeout: l.settings.header,
		IdleConnTimeout:       l.settings.idle,
		MaxIdleConnsPerHost:   idleConns,
		// A connection that was made for one client is no other's.
		DisableKeepAlives:      l.settings.proxyProtocol != 0,
		MaxResponseHeaderBytes: maxAnswerHeader,
		Protocols:              &protocols,
		HTTP2:                  &http.HTTP2Config{SendPingTimeout: pingAfter, PingTimeout: pingAfter},
		// Answers pass as they are: left to itself, the transport asks for
		// gzip and unpacks it, a thousandfold if the shop is made to.
		DisableCompression: true,
	}
}

// RoundTrip implements http.RoundTripper.
func (l *link) RoundTrip(out *http.Request) (*http.Response, error) {
	if l.direct != nil && l.direct.takes(out) {
		return l.direct.RoundTrip(out)
	}
	if l.upgrade != nil && out.Header["Upgrade"] != nil {
		return l.upgrade.RoundTrip(out)
	}
	return l.current.Load().RoundTrip(out)
}

// closeIdle closes the connections that are not used.
func (l *link) closeIdle() {
	if l.direct != nil {
		l.direct.closeUnused()
	}
	l.current.Load().CloseIdleConnections()
	if l.upgrade != nil {
		l.upgrade.CloseIdleConnections()
	}
}

// retire closes the connections that are not used, and each of the others when
// its request has ended.
func (l *link) retire() {
	l.retired.Store(true)
	l.closeIdle()
}

// dial makes a connection, and says for whom where that is wished for. In this
// case it is the connection of one request only.
func (l *link) dial(ctx context.Context, network, address string) (net.Conn, error) {
	conn, err := l.connect(ctx, network, address)
	if err != nil || l.settings.proxyProtocol == 0 {
		return conn, err
	}
	if err := announce(ctx, conn, l.settings.proxyProtocol, l.settings.dial); err != nil {
		conn.Close()
		return nil, &net.OpError{Op: "dial", Net: network, Err: err} // nothing of a request was sent
	}
	return conn, nil
}

func (l *link) connect(ctx context.Context, network, address string) (net.Conn, error) {
	dialer := net.Dialer{Timeout: l.settings.dial, KeepAlive: 30 * time.Second}
	if l.settings.socket != "" {
		return dialer.DialContext(ctx, "unix", l.settings.socket)
	}
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	if _, err := netip.ParseAddr(host); err == nil {
		return dialer.DialContext(ctx, network, address)
	}
	ctx, cancel := context.WithTimeout(ctx, l.settings.dial)
	defer cancel()
	addresses, err := l.lookUp(ctx, host, nameTime)
	if err != nil {
		return nil, &net.OpError{Op: "dial", Net: network, Err: err}
	}
	// One that does not answer leaves the others their time.
	dialer.Timeout = l.settings.dial / time.Duration(len(addresses))
	first := rand.IntN(len(addresses))
	for i := range addresses {
		to := addresses[(first+i)%len(addresses)]
		var conn net.Conn
		if conn, err = dialer.DialContext(ctx, network, net.JoinHostPort(to.String(), port)); err == nil {
			return conn, nil
		}
	}
	return nil, err
}

// lookUp returns the addresses of a host, if need be those that were found
// before: an address seldom goes when its name server does.
func (l *link) lookUp(ctx context.Context, host string, young time.Duration) ([]netip.Addr, error) {
	l.mu.Lock()
	known, age := l.addresses, time.Since(l.found)
	l.mu.Unlock()
	if len(known) > 0 && age < young {
		return known, nil
	}
	found, err := l.resolver.LookupNetIP(ctx, "ip", host)
	if err != nil || len(found) == 0 {
		if len(known) > 0 {
			return known, nil
		}
		return nil, cmp.Or(err, error(&net.DNSError{Err: "no addresses", Name: host, IsNotFound: true}))
	}
	for i := range found {
		found[i] = found[i].Unmap()
	}
	slices.SortFunc(found, netip.Addr.Compare)
	l.mu.Lock()
	defer l.mu.Unlock()
	l.addresses, l.found = found, time.Now()
	return found, nil
}

// follow looks up a server's addresses again and again until ctx ends. Where
// one is gone, new requests travel by new connections; a busy one would else be
// used for ever.
func (l *link) follow(ctx context.Context, address string, every time.Duration) {
	host, _, err := net.SplitHostPort(address)
	if _, numeric := netip.ParseAddr(host); err != nil || numeric == nil || l.settings.socket != "" {
		return
	}
	next := time.NewTimer(jitter(every))
	defer next.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-next.C:
		}
		next.Reset(jitter(every))
		l.mu.Lock()
		known := l.addresses
		l.mu.Unlock()
		looking, cancel := context.WithTimeout(ctx, l.settings.dial)
		found, err := l.lookUp(looking, host, 0)
		cancel()
		gone := func(a netip.Addr) bool { return !slices.Contains(found, a) }
		if err == nil && slices.ContainsFunc(known, gone) {
			l.renew()
		}
	}
}

// renew has all further requests travel by new connections. What is under way
// ends on the old ones, which are closed when they were idle for long.
func (l *link) renew() {
	if l.direct != nil {
		l.direct.renew()
	}
	l.current.Swap(l.transport(l.settings.http2)).CloseIdleConnections()
}
