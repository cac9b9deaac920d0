package proxy

import (
	"net"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// sparing takes connections only while the process has file descriptors left for
// what they lead to: connections to shops and to the store, files, and the admin
// listener, by which whoever runs the gateway asks whether it lives.
type sparing struct {
	net.Listener
	gateway *Gateway
	said    *atomic.Int64 // when the log was last told, in nanoseconds; it is told once a minute
}

// Accept closes the connections for which there is no room.
func (l sparing) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil || roomy(conn) {
			return conn, err
		}
		conn.Close()
		l.gateway.metrics.connsRefused.Inc()
		if now, said := time.Now().UnixNano(), l.said.Load(); now-said > int64(time.Minute) && l.said.CompareAndSwap(said, now) {
			l.gateway.log.Warn("connections refused, too few file descriptors are left", zap.Stringer("listener", l.Addr()))
		}
	}
}
