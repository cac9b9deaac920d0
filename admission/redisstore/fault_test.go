package redisstore_test

import (
	"context"
	"runtime"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// crowdSize is 20 inside and as many again and more in line.
const crowdSize = 50

// onSingle opens two gateways on one Redis behind a link, and a crowd.
func onSingle(t *testing.T, options ...string) (*crowd, *redistest.Server, *redistest.Link) {
	t.Helper()
	server := redistest.Single(t, options...)
	link := redistest.NewLink(t, server.Addr)
	o := defaults(redisstore.Single, link.Addr)
	return gather(t, crowdSize, openGateways(t, zap.NewNop(), crowdSettings(), connect(t, o), connect(t, o))...), server, link
}

// bounded returns a context for what takes seconds.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

// checkClients holds two gateways to their pools.
func checkClients(t *testing.T, server *redistest.Server) {
	t.Helper()
	// One more is the harness itself.
	if got, err := strconv.Atoi(server.Info("clients")["connected_clients"]); got > 2*10+1 || err != nil {
		t.Errorf("%d connections to Redis, %v; want at most 21", got, err)
	}
}

func TestFault_KilledGatewayLosesNobody(t *testing.T) {
	t.Parallel()
	c, server, _ := onSingle(t)
	at := c.mark("a gateway was killed")
	c.gateways[0].stop()
	c.recovers(at)
	c.linger(3 * time.Second)
	checkClients(t, server)
	c.check()
}

func TestFault_KilledRedisComesBackWithItsFile(t *testing.T) {
	t.Parallel()
	c, server, _ := onSingle(t)
	c.mark("Redis was killed")
	server.Kill()
	c.linger(time.Second)
	server.Restart()
	c.recovers(c.mark("Redis was started again"))
	c.linger(2 * time.Second)
	checkClients(t, server)
	c.check()
}

func TestFault_RedisComesBackEmpty(t *testing.T) {
	t.Parallel()
	c, server, _ := onSingle(t)
	c.mark("Redis was killed")
	server.Kill()
	server.Wipe()
	server.Restart()
	c.recovers(c.mark("Redis was started empty"))
	c.linger(3 * time.Second)
	checkClients(t, server)
	c.check()
}

func TestFault_Flushall(t *testing.T) {
	t.Parallel()
	c, server, _ := onSingle(t)
	at := c.mark("FLUSHALL")
	server.Do(t.Context(), "flushall")
	c.recovers(at)
	c.linger(3 * time.Second)
	at = c.mark("the second FLUSHALL")
	server.Do(t.Context(), "flushall")
	c.recovers(at)
	c.linger(2 * time.Second)
	c.check()
}

// What passes without any loss needs no healing.
func TestFault_PassingTroubles(t *testing.T) {
	t.Parallel()
	c, server, link := onSingle(t)
	for _, trouble := range []struct {
		name  string
		make  func()
		lasts time.Duration
		end   func()
	}{
		{"SCRIPT FLUSH", func() { server.Do(t.Context(), "script", "flush") }, 0, nil},
		{
			"READONLY", func() { server.Do(t.Context(), "replicaof", "127.0.0.1", "1") }, time.Second,
			func() { server.Do(t.Context(), "replicaof", "no", "one") },
		},
		{
			"out of memory", func() { server.Config("maxmemory", "1mb") }, time.Second,
			func() { server.Config("maxmemory", "0") },
		},
		{
			"latency of 300 ms", func() { link.Latency(300*time.Millisecond, 50*time.Millisecond) }, 3 * time.Second,
			func() { link.Heal() },
		},
		{"connections reset", func() { link.Reset() }, 0, nil},
		{"LOADING", func() { server.RestartLoading(2 * time.Second) }, 2 * time.Second, nil},
	} {
		t.Run(trouble.name, func(t *testing.T) {
			at := c.mark(trouble.name)
			trouble.make()
			c.linger(trouble.lasts)
			if trouble.end != nil {
				at = c.mark("the end of " + trouble.name)
				trouble.end()
			}
			c.recovers(at)
			c.linger(500 * time.Millisecond)
		})
	}
	checkClients(t, server)
	c.check()
}

// The store has done what was asked, and nobody heard of it: the number is
// given, and the same one again.
func TestFault_LostAnswer(t *testing.T) {
	t.Parallel()
	c, server, link := onSingle(t)
	join, admit := redisstore.Hashes()
	at := time.Now()
	for range 10 {
		for _, script := range []string{join, admit} {
			at = c.mark("an answer was lost")
			select {
			case <-link.LoseAnswer(script):
			case <-time.After(patience):
				t.Fatal("no answer was lost")
			}
		}
	}
	c.recovers(at)
	c.linger(time.Second)
	checkClients(t, server)
	c.check()
	told := map[int64]bool{}
	for _, v := range c.people {
		told[v.number()] = true
	}
	delete(told, 0)
	issued := func() int { return int(c.gateways[0].room.Figures().Issued) }
	c.await("a tick to tell of the last join", func() bool { return issued() >= len(told) })
	if got := issued(); got != len(told) {
		t.Errorf("%d numbers were given, want the %d that visitors have", got, len(told))
	}
}

// It is not parallel to others: it counts goroutines.
func TestFault_BlackHole(t *testing.T) {
	c, server, link := onSingle(t)
	before := runtime.NumGoroutine()
	c.mark("Redis became a black hole")
	link.BlackHole()
	most := 0
	for end := time.Now().Add(5 * time.Second); time.Now().Before(end); c.linger(100 * time.Millisecond) {
		most = max(most, runtime.NumGoroutine())
	}
	link.Heal()
	c.recovers(c.mark("the hole was healed"))
	c.linger(2 * time.Second)
	t.Logf("%d goroutines before the hole, at most %d in it, %d after", before, most, runtime.NumGoroutine())
	// Each connection costs the link five, and the test's own visitors may all ask at once.
	if bound := before + 2*10*5 + crowdSize; most > bound {
		t.Errorf("%d goroutines in the hole, want at most %d", most, bound)
	}
	checkClients(t, server)
	c.check()
}
