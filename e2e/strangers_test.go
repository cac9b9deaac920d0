package e2e

import (
	"fmt"
	"net"
	"strings"
	"testing"
)

// strangers are connections to a gateway that are none of its visitors'.
type strangers []net.Conn

// say is what a stranger sends, and then no more: it may be the beginning of a
// request.
func (s *strangers) come(t *testing.T, g *gateway, n int, say string) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.Public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		*s = append(*s, conn)
		if _, err := fmt.Fprint(conn, say); err != nil {
			t.Fatal(err)
		}
	}
}

// drip has each send a little more. Who was sent away meanwhile cannot.
func (s strangers) drip(more string) {
	for _, conn := range s {
		_, _ = fmt.Fprint(conn, more)
	}
}

// vanish ends all connections, by RST.
func (s *strangers) vanish() {
	for _, conn := range *s {
		_ = conn.(*net.TCPConn).SetLinger(0)
		_ = conn.Close()
	}
	*s = nil
}
