package proxy

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

const (
	// maxSideStreams is how many streams a client may open that carry no request:
	// HTTP/3 needs three.
	maxSideStreams = 8

	// calmHandshakes is how many handshakes may be under way before a client must
	// show that it is at the address it writes from, which costs a round trip.
	calmHandshakes = 64

	// lastWords is how long a connection is kept when its last request was
	// answered in a drain, so that the answer arrives.
	lastWords = time.Second
)

var errNetworkFull = errors.New("the network has as many connections as it may")

// quicServer serves HTTP/3 beside the HTTPS listener, by the same handler and
// within the same bounds as HTTP/2. Requests of the first flight, which an
// attacker could send again, are never taken (0-RTT).
type quicServer struct {
	transport *quic.Transport
	listener  *quic.Listener
	http3     *http3.Server
	socket    net.PacketConn
	conns     *conns
	headers   time.Duration // for a handshake, and for the headers of each request

	handshakes atomic.Int64
	serving    sync.WaitGroup // connections

	draining context.Context // no further requests are taken
	drain    context.CancelFunc
}

// newQUIC returns the server of HTTP/3 on h.QUIC. What base is the end of ends
// its requests too.
func (s *Server) newQUIC(base context.Context, h *HTTPS, limit *conns) (*quicServer, error) {
	q := &quicServer{conns: limit, headers: s.options.HeaderTimeout, socket: h.QUIC}
	q.draining, q.drain = context.WithCancel(context.Background())
	q.http3 = &http3.Server{
		Handler:        overQUIC{newSecure(s.gateway, h.HSTS, false), writeIdle(s.gateway.bodyIdle)},
		MaxHeaderBytes: s.options.HeaderBytes,
		IdleTimeout:    s.options.IdleTimeout,
		ConnContext: func(ctx context.Context, _ *quic.Conn) context.Context {
			ctx, cancel := context.WithCancelCause(ctx)
			stop := context.AfterFunc(base, func() { cancel(context.Cause(base)) })
			context.AfterFunc(ctx, func() { stop() })
			return ctx
		},
	}
	q.transport = &quic.Transport{
		Conn:        h.QUIC,
		ConnContext: q.meet,
		VerifySourceAddress: func(net.Addr) bool {
			// Else whoever writes from the addresses of others fills their bounds.
			return limit.most > 0 || q.handshakes.Load() >= calmHandshakes
		},
	}
	var err error
	q.listener, err = q.transport.Listen(&tls.Config{
		MinVersion: tls.VersionTLS13,
		// Cloned for each handshake: the keys of tickets change.
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			c := h.Config.Clone()
			c.MinVersion, c.NextProtos = tls.VersionTLS13, []string{http3.NextProtoH3}
			return c, nil
		},
		NextProtos: []string{http3.NextProtoH3},
	}, &quic.Config{
		HandshakeIdleTimeout:       s.options.HeaderTimeout / 2, // twice as long in all
		MaxIdleTimeout:             s.options.IdleTimeout,
		MaxIncomingStreams:         maxStreams,
		MaxIncomingUniStreams:      maxSideStreams,
		InitialStreamReceiveWindow: streamBuffer, MaxStreamReceiveWindow: streamBuffer,
		InitialConnectionReceiveWindow: connBuffer, MaxConnectionReceiveWindow: connBuffer,
	})
	if err != nil {
		return nil, fmt.Errorf("http/3 on %s: %w", h.QUIC.LocalAddr(), err)
	}
	return q, nil
}

type handshakeKey struct{}

// meet counts a connection as one of its network and its handshake as under way,
// or refuses it.
func (q *quicServer) meet(ctx context.Context, info *quic.ClientInfo) (context.Context, error) {
	if network := q.conns.network(info.RemoteAddr); q.conns.most > 0 && network.IsValid() {
		if !q.conns.take(network) {
			q.conns.gateway.metrics.connsRefused.Inc()
			return nil, errNetworkFull
		}
		context.AfterFunc(ctx, func() { q.conns.giveBack(network) })
	}
	q.handshakes.Add(1)
	var over sync.Once
	done := func(failed bool) {
		over.Do(func() {
			q.handshakes.Add(-1)
			if failed {
				q.conns.gateway.metrics.handshakeErrors.Inc()
			}
		})
	}
	context.AfterFunc(ctx, func() { done(true) })
	return context.WithValue(ctx, handshakeKey{}, done), nil
}

// Serve answers connections until Shutdown or Close.
func (q *quicServer) Serve() error {
	for {
		conn, err := q.listener.Accept(q.draining)
		if q.draining.Err() != nil {
			return http.ErrServerClosed
		}
		if err != nil {
			return err
		}
		conn.Context().Value(handshakeKey{}).(func(bool))(false)
		q.serving.Go(func() { q.serve(conn) })
	}
}

// serve answers the requests of one connection: no more at once than it may have
// streams, however soon it gives them up.
func (q *quicServer) serve(conn *quic.Conn) {
	h, err := q.http3.NewRawServerConn(conn)
	if err != nil {
		conn.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeInternalError), "")
		return
	}
	var requests sync.WaitGroup
	defer requests.Wait()
	requests.Go(func() {
		for {
			side, err := conn.AcceptUniStream(conn.Context())
			if err != nil {
				return
			}
			requests.Go(func() { h.HandleUnidirectionalStream(side) })
		}
	})
	var answering sync.WaitGroup
	room := make(chan struct{}, maxStreams)
	for {
		stream, err := conn.AcceptStream(q.draining)
		if err != nil {
			break
		}
		stream.SetReadDeadline(time.Now().Add(q.headers))
		room <- struct{}{}
		answering.Go(func() {
			defer func() { <-room }()
			h.HandleRequestStream(stream)
		})
	}
	requests.Go(func() { refuseStreams(conn) })
	answering.Wait()
	last := time.NewTimer(lastWords)
	defer last.Stop()
	select {
	case <-conn.Context().Done():
	case <-last.C:
	}
	h.CloseWithError(quic.ApplicationErrorCode(http3.ErrCodeNoError), "")
}

// refuseStreams tells who opens more of them to ask again elsewhere.
func refuseStreams(conn *quic.Conn) {
	const rejected = quic.StreamErrorCode(http3.ErrCodeRequestRejected)
	for {
		stream, err := conn.AcceptStream(conn.Context())
		if err != nil {
			return
		}
		stream.CancelRead(rejected)
		stream.CancelWrite(rejected)
	}
}

// Shutdown takes no more connections and requests, and returns when all that
// are under way were answered, or, where ctx ends before, were cut.
func (q *quicServer) Shutdown(ctx context.Context) error {
	q.drain()
	q.listener.Close()
	over := make(chan struct{})
	go func() { defer close(over); q.serving.Wait() }()
	defer func() { <-over }()
	defer q.Close()
	select {
	case <-over:
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Close cuts all connections.
func (q *quicServer) Close() error {
	q.drain()
	return errors.Join(q.transport.Close(), q.socket.Close())
}

// overQUIC makes of a request that came by HTTP/3 what the others are.
type overQUIC struct {
	next http.Handler
	idle time.Duration // for the reader to take the first piece of the answer; 0: for ever
}

func (o overQUIC) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	stream := http.NewResponseController(w)
	stream.SetReadDeadline(time.Time{}) // that of the headers
	if o.idle > 0 {
		stream.SetWriteDeadline(time.Now().Add(o.idle))
	}
	delete(r.Header, "Host")
	// That there is no body shows only when it is read. A GET says by a length
	// that it has one; else none would ever be sent to a second server.
	if r.ContentLength < 0 && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		r.Body, r.ContentLength = http.NoBody, 0
	}
	o.next.ServeHTTP(&quicAnswer{ResponseWriter: w}, r)
}

// quicAnswer says nothing of the connection, which HTTP/3 forbids.
type quicAnswer struct{ http.ResponseWriter }

// Unwrap lets http.ResponseController reach the server's own writer.
func (a *quicAnswer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *quicAnswer) WriteHeader(status int) {
	delete(a.Header(), "Connection")
	a.ResponseWriter.WriteHeader(status)
}

func (a *quicAnswer) Write(p []byte) (int, error) {
	delete(a.Header(), "Connection")
	return a.ResponseWriter.Write(p)
}
