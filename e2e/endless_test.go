package e2e

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
)

// endless are requests to a gateway that do not end by themselves, or not soon.
type endless struct {
	downloads []func() (string, error) // how each goes on
	streams   []io.Reader              // events of the line
	sockets   []net.Conn
}

// begin begins n of each kind.
func (l *endless) begin(t *testing.T, g *gateway, n int) {
	t.Helper()
	for range n {
		l.downloads = append(l.downloads, newVisitor(t, g).download(t, "/download"))
		l.streams = append(l.streams, newVisitor(t, g).listen(t))
		l.sockets = append(l.sockets, openSocket(t, g))
	}
}

// ended holds how all of them ended: each download whole, each stream in an
// orderly way, and each socket cut.
func (l *endless) ended(t *testing.T) {
	t.Helper()
	for _, rest := range l.downloads {
		if got, err := rest(); err != nil || got != downloadEnd {
			t.Errorf("a download ends with %q, %v, want %q", got, err, downloadEnd)
		}
	}
	for _, stream := range l.streams {
		if _, err := io.Copy(io.Discard, stream); err != nil {
			t.Errorf("a stream of events breaks off: %v", err)
		}
	}
	for _, socket := range l.sockets {
		if n, err := socket.Read(make([]byte, 1)); err == nil {
			t.Errorf("a socket says %d bytes, want its end", n)
		}
	}
}

// listen opens a stream of the line's events.
func (v *visitor) listen(t *testing.T) io.Reader {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.base+"/_ropeline/events?activity=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Body.Close() })
	if got.StatusCode != http.StatusOK {
		t.Fatalf("a stream got status %d", got.StatusCode)
	}
	return got.Body
}

// openSocket opens a WebSocket to the shop, which says back what it is told.
func openSocket(t *testing.T, g *gateway) net.Conn {
	t.Helper()
	conn, err := net.Dial("tcp", strings.TrimPrefix(g.Public, "http://"))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close() })
	fmt.Fprint(conn, "GET /socket HTTP/1.1\r\nHost: shop\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"+
		"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n")
	answers := bufio.NewReader(conn)
	got, err := http.ReadResponse(answers, nil)
	if err != nil || got.StatusCode != http.StatusSwitchingProtocols {
		t.Fatalf("a socket got %v, %v", got, err)
	}
	fmt.Fprint(conn, "hello")
	if _, err := io.ReadFull(answers, make([]byte, len("hello"))); err != nil {
		t.Fatalf("a socket does not answer: %v", err)
	}
	return conn
}
