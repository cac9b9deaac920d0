package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"syscall"
	"time"

	"github.com/ropeline/ropeline/config"
)

// listeners are what a gateway serves on. All but public may be nil.
type listeners struct {
	public, secure, admin, queue net.Listener
	quic                         net.PacketConn
}

// open opens those that the file names, or takes what the service manager
// opened for them. On an error some are open. guarded reports whether operators
// need a token: the file has answered for the address that it names, but a socket
// that is passed may have another.
func (on *listeners) open(c config.Listen, guarded bool) error {
	passed, err := passedSockets()
	if err != nil {
		return err
	}
	for _, l := range []struct {
		name, address string
		to            *net.Listener
	}{{"http", c.HTTP, &on.public}, {"https", c.HTTPS, &on.secure}, {"admin", c.Admin, &on.admin}, {"api", c.API, &on.queue}} {
		if l.address == "" {
			continue
		}
		if *l.to, err = passed.listen(l.name, l.address); err != nil {
			return err
		}
	}
	if err := passed.rest(); err != nil {
		return err
	}
	if on.admin != nil && !guarded && !local(on.admin.Addr()) {
		return fmt.Errorf("listen.admin: %s can be reached from other machines; set admin.jwt.secret or admin.jwt.jwks_file, or have the socket on 127.0.0.1", on.admin.Addr())
	}
	if c.HTTP3 {
		on.quic, err = listenPackets(on.secure.Addr())
	}
	return err
}

// local reports whether only this machine reaches an address.
func local(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return !ok || tcp.IP.IsLoopback() // else it is a Unix socket
}

func (on *listeners) close() {
	for _, l := range []io.Closer{on.quic, on.queue, on.admin, on.secure, on.public} {
		if l != nil {
			_ = l.Close() // mostly done: who serves on it closes it
		}
	}
}

func listen(key, address string) (net.Listener, error) {
	l, err := net.Listen("tcp", address)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s: %s is in use by another process", key, address)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

// listenPackets listens on the UDP port of the HTTPS listener.
func listenPackets(https net.Addr) (net.PacketConn, error) {
	conn, err := net.ListenPacket("udp", https.String())
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("listen.http3: UDP %s is in use by another process", https)
	}
	if err != nil {
		return nil, fmt.Errorf("listen.http3: %w", err)
	}
	return conn, nil
}

// drainTime is how long a listener beside the public one may go on answering
// when it is to end.
const drainTime = 2 * time.Second

// serveUntil serves a listener until ctx ends, and what is under way a little
// longer.
func serveUntil(ctx context.Context, name string, server *http.Server, l net.Listener) error {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), drainTime)
		defer cancel()
		if server.Shutdown(ending) != nil {
			_ = server.Close() // what is left is cut
		}
	})
	err := server.Serve(l)
	if stop() { // it failed by itself
		return fmt.Errorf("%s listener: %w", name, err)
	}
	<-ended
	return nil
}
