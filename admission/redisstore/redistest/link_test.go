//go:build linux

package redistest

import (
	"context"
	"errors"
	"io"
	"net"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/goleak"
)

// short returns a context that ends soon.
func short(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	t.Cleanup(cancel)
	return ctx
}

func happened(t *testing.T, done <-chan struct{}) {
	t.Helper()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("no answer was lost")
	}
}

func TestLink_LatencyDelaysAnswersAndKeepsTheirOrder(t *testing.T) {
	t.Parallel()
	s := Single(t)
	l := NewLink(t, s.Addr)
	client := dial(t, l.Addr)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	const d, jitter = 60 * time.Millisecond, 20 * time.Millisecond
	l.Latency(d, jitter)
	for want := int64(1); want <= 5; want++ {
		began := time.Now()
		if got, err := client.Incr(t.Context(), "n").Result(); got != want || err != nil {
			t.Fatalf("got %d, %v; want %d", got, err, want)
		}
		if took := time.Since(began); took < d-jitter {
			t.Errorf("answer after %v, want no sooner than %v", took, d-jitter)
		}
	}
}

func TestLink_BandwidthIsSharedByAllConnections(t *testing.T) {
	t.Parallel()
	s := Single(t)
	l := NewLink(t, s.Addr)
	one, other := dial(t, l.Addr), dial(t, l.Addr)
	if err := one.Set(t.Context(), "long", strings.Repeat("x", 2000), 0).Err(); err != nil {
		t.Fatal(err)
	}
	if err := other.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	l.Bandwidth(20_000)
	began := time.Now()
	for _, client := range []*redis.Client{one, other, one} {
		if got, err := client.Get(t.Context(), "long").Result(); len(got) != 2000 || err != nil {
			t.Fatalf("got %d bytes, %v; want 2000", len(got), err)
		}
	}
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("6000 bytes at 20,000 a second took %v, want no less than 300 ms", took)
	}
}

func TestLink_BlackHoleHangsAndDeliversWhenHealed(t *testing.T) {
	t.Parallel()
	s := Single(t)
	l := NewLink(t, s.Addr)
	client, late := dial(t, l.Addr), dial(t, l.Addr)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	l.BlackHole()
	for _, c := range []struct {
		name string
		err  error
	}{{"known connection", client.Incr(short(t), "n").Err()}, {"new connection", late.Incr(short(t), "n").Err()}} {
		if err, ok := errors.AsType[net.Error](c.err); !ok || !err.Timeout() {
			t.Errorf("%s in the hole: got %v, want a timeout", c.name, c.err)
		}
	}
	if got := s.Do(t.Context(), "get", "n"); got != nil {
		t.Fatalf("in the hole: got %v, want nil", got)
	}
	l.Heal()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("healed: %v", err)
	}
	// The request whose client has long given up arrives late.
	if !poll(patience, func() bool { return s.Do(t.Context(), "get", "n") == "1" }) {
		t.Errorf("healed: got %v, want 1", s.Do(t.Context(), "get", "n"))
	}
}

func TestLink_LostAnswerWasExecuted(t *testing.T) {
	t.Parallel()
	s := Single(t)
	l := NewLink(t, s.Addr)
	client := dial(t, l.Addr)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	lost := l.LoseAnswer("{line}")
	if err := client.Incr(t.Context(), "other").Err(); err != nil {
		t.Errorf("another request: %v", err)
	}
	if err := client.Incr(t.Context(), "{line}").Err(); err == nil {
		t.Error("the answer came")
	}
	happened(t, lost)
	if got := s.Do(t.Context(), "get", "{line}"); got != "1" {
		t.Errorf("got %v, want 1", got)
	}
	if got, err := client.Incr(t.Context(), "{line}").Result(); got != 2 || err != nil {
		t.Errorf("asked again: got %d, %v; want 2", got, err)
	}
}

func TestLink_CutsTheAnswerWhereTold(t *testing.T) {
	t.Parallel()
	s := Single(t)
	l := NewLink(t, s.Addr)
	conn, err := net.Dial("tcp", l.Addr)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	cut := l.CutAfter(4 + 2)
	if _, err := io.WriteString(conn, "INCR n\r\n"); err != nil {
		t.Fatal(err)
	}
	whole := make([]byte, len(":1\r\n"))
	if _, err := io.ReadFull(conn, whole); err != nil || string(whole) != ":1\r\n" {
		t.Fatalf("first answer: got %q, %v", whole, err)
	}
	if _, err := io.WriteString(conn, "INCR n\r\n"); err != nil {
		t.Fatal(err)
	}
	happened(t, cut)
	// The two bytes may be overtaken by the RST; the rest never comes.
	if rest, err := io.ReadAll(conn); !errors.Is(err, syscall.ECONNRESET) || !strings.HasPrefix(":2", string(rest)) {
		t.Errorf("second answer: got %q, %v; want at most :2, and a reset", rest, err)
	}
	if got := s.Do(t.Context(), "get", "n"); got != "2" {
		t.Errorf("got %v, want 2", got)
	}
	if err := dial(t, l.Addr).Ping(t.Context()).Err(); err != nil {
		t.Errorf("after the cut: %v", err)
	}
}

func TestLink_ResetBreaksAllAndShutRefuses(t *testing.T) {
	t.Parallel()
	s := Single(t)
	l := NewLink(t, s.Addr)
	var conns []net.Conn
	for range 3 {
		conn, err := net.Dial("tcp", l.Addr)
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, err := io.WriteString(conn, "PING\r\n"); err != nil {
			t.Fatal(err)
		}
		if _, err := io.ReadFull(conn, make([]byte, len("+PONG\r\n"))); err != nil {
			t.Fatal(err)
		}
		conns = append(conns, conn)
	}
	l.Reset()
	for _, conn := range conns {
		if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, syscall.ECONNRESET) {
			t.Errorf("got %v, want a reset", err)
		}
	}
	client := dial(t, l.Addr)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("after the reset: %v", err)
	}
	l.Shut()
	if _, err := net.Dial("tcp", l.Addr); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("shut: got %v, want refused", err)
	}
	l.Heal()
	if err := dial(t, l.Addr).Ping(t.Context()).Err(); err != nil {
		t.Errorf("healed: %v", err)
	}
}

func TestLink_AltersTheVersion(t *testing.T) {
	t.Parallel()
	s := Single(t)
	l := NewLink(t, s.Addr)
	version := s.Info("server")["redis_version"]
	old := "6.2" + strings.Repeat("9", len(version)-3)
	l.Alter("redis_version:"+version, "redis_version:"+old)
	info, err := dial(t, l.Addr).Info(t.Context(), "server").Result()
	if err != nil || !strings.Contains(info, "redis_version:"+old+"\r\n") {
		t.Errorf("got %v, %s; want version %s", err, info, old)
	}
}

func TestLink_LeavesNothingBehind(t *testing.T) {
	ignore := goleak.IgnoreCurrent()
	t.Run("links", func(t *testing.T) {
		l := NewLink(t, "127.0.0.1:1") // nobody there
		held := NewLink(t, l.Addr)
		held.BlackHole()
		for _, addr := range []string{l.Addr, held.Addr} {
			// Where nobody is behind the link, the reset may be faster than Dial.
			if conn, err := net.Dial("tcp", addr); err == nil {
				defer conn.Close()
			}
		}
	})
	goleak.VerifyNone(t, ignore)
}
