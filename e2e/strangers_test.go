package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// strangers are connections to a gateway that are none of its visitors'.
type strangers []net.Conn

// come has n more come, and each say something: the beginning of a request, or
// nothing.
func (s *strangers) come(t *testing.T, g *gateway, n int, say string) {
	t.Helper()
	for range n {
		conn, err := net.Dial("tcp", strings.TrimPrefix(g.Public, "http://"))
		if err != nil {
			t.Fatal(err)
		}
		*s = append(*s, conn)
		_, _ = fmt.Fprint(conn, say) // who is sent away at once cannot
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

// Whoever is inside goes on, and whoever asks whether the gateway lives is
// answered, though strangers take all connections that they can.
func TestStrangers_LeaveDescriptorsForTheRest(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	inside := newVisitor(t, g)
	inside.Enter(t)
	shop.Close() // so that the gateway has no connection to it
	shop.Open()
	more := g.Limit(unix.RLIMIT_NOFILE, 80)
	var silent strangers
	silent.come(t, g, 200, "GET /drop HTTP/1.1\r\nHost: shop\r\nA: ")
	eventually(t, "no more are taken", func() bool { return g.Metric("ropeline_connections_refused_total") > 100 })
	if got := inside.Open(t, drop); got.Code != http.StatusOK {
		t.Errorf("who is inside got %d %.200s", got.Code, got.Body)
	}
	if got := g.Ready(); got != http.StatusOK {
		t.Errorf("/readyz says %d, want 200", got)
	}
	g.Log.Await(t, 0, "that connections are refused", func(l entry) bool {
		return l["message"] == "connections refused, too few file descriptors are left"
	})
	silent.vanish()
	eventually(t, "newcomers are served again", func() bool {
		a, err := newVisitor(t, g).do(t.Context(), http.MethodGet, drop, true)
		return err == nil && a.Code == http.StatusOK
	})
	more()
}
