package redisstore_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// The tests here are not parallel to others: they count goroutines.

// onUnfit opens two gateways that write a log, and a crowd.
func onUnfit(t *testing.T, o redisstore.Options) (*crowd, *observer.ObservedLogs) {
	t.Helper()
	core, log := observer.New(zap.InfoLevel)
	return gather(t, crowdSize, openGateways(t, zap.New(core), crowdSettings(), connect(t, o), connect(t, o))...), log
}

// endures has the crowd live through a time in which Redis answers, but not
// what a line needs, and says so. The log must have what Redis says; connections
// counts those of the gateways afterwards.
func (c *crowd) endures(fault string, log *observer.ObservedLogs, begin, end func(), says string, connections func() int) {
	c.t.Helper()
	before := runtime.NumGoroutine()
	c.mark(fault)
	begin()
	c.await("the gateways to say that the line is away", func() bool {
		return c.gateways[0].room.Figures().Stale && c.gateways[1].room.Figures().Stale
	})
	from := c.mark(fault + " and was noticed")
	for _, g := range c.gateways {
		if got := g.room.Arrive(c.t.Context(), admission.Visit{}); got.Pass || got.Reason != admission.HoldUnavailable {
			c.t.Errorf("a newcomer got %+v by %s, want to be held as unavailable", got, g.name)
		}
	}
	most := 0
	for until := from.Add(3 * time.Second); time.Now().Before(until); c.linger(100 * time.Millisecond) {
		most = max(most, runtime.NumGoroutine())
	}
	to := c.mark("the end of it")
	end()
	c.recovers(to)
	c.linger(2 * time.Second)
	open := connections()
	c.check()
	c.checkPaused(from, to)

	t := c.t
	t.Logf("%d goroutines before, at most %d in it, %d after", before, most, runtime.NumGoroutine())
	// As for a black hole.
	if bound := before + 2*10*5 + crowdSize; most > bound {
		t.Errorf("%d goroutines, want at most %d", most, bound)
	}
	if open > 2*10 {
		t.Errorf("%d connections to Redis, want at most 20", open)
	}
	c.await("the goroutines to end", func() bool { return runtime.NumGoroutine() <= before })

	for message, want := range map[string]string{
		"line not read, waiting visitors are told that it is paused": says,
		"line read again": "",
	} {
		said := log.FilterMessage(message).All()
		if len(said) != len(c.gateways) {
			t.Errorf("the log has %d times %q, want once for each gateway", len(said), message)
		}
		for _, line := range said {
			if got := fmt.Sprint(line.ContextMap()["error"]); want != "" && !strings.Contains(got, want) {
				t.Errorf("the log says of the line not read: %q, want %q in it", got, want)
			}
		}
	}
}

// checkPaused: between two times in which the line was away, who waits was told
// so, and nobody was given anything.
func (c *crowd) checkPaused(from, to time.Time) {
	c.t.Helper()
	handed, refused := c.handedOut(from, to)
	c.complain("handed out while the line was away", handed)
	var wrong []string
	waiting := 0
	for _, v := range c.people {
		for _, a := range v.answers {
			if a.verb != peek || !a.placed || a.asked.Before(from) || a.answered.After(to) {
				continue
			}
			waiting++
			if !a.Status.Unavailable {
				wrong = append(wrong, fmt.Sprintf("%d by %s, %s", a.number(), a.gateway.name, c.when(a.answered)))
			}
		}
	}
	c.complain("not told that the line is paused", wrong)
	c.t.Logf("while the line was away %d polls were told so, and %d requests to enter", waiting, refused)
	// That a newcomer is refused is checked by itself: none of the crowd need come
	// in so short a time.
	if waiting == 0 {
		c.t.Error("nobody who waits asked while the line was away")
	}
}

// The sentinels know the master by another name now. Connections that stand are
// good; each new one asks the sentinels, and finds no master.
func TestUnfit_SentinelsForgetTheMaster(t *testing.T) {
	set := redistest.Sentinel(t, 1)
	o := defaults(redisstore.Sentinel, set.SentinelAddrs...)
	o.MasterName = set.MasterName
	c, log := onUnfit(t, o)
	master := set.Master()
	var recall func()
	c.endures("the sentinels forgot the master", log, func() {
		recall = set.Forget()
		master.Link().Reset()
	}, func() { recall() }, "sentinel", func() int { return clients(master) })
}

// Before 5.0 Redis ran no write in a script that had asked for the time, as
// each step of a line does first. A server whose user may write nothing stands
// for it: it refuses the same steps, at the same place.
func TestUnfit_OlderRedisTakesTheAddress(t *testing.T) {
	server := redistest.Single(t)
	older := redistest.Single(t, "user default on nopass ~* &* +@all -@write")
	link := redistest.NewLink(t, server.Addr)
	c, log := onUnfit(t, defaults(redisstore.Single, link.Addr))
	c.endures("the address became an older Redis's", log, func() {
		link.Aim(older.Addr)
		link.Reset()
	}, func() {
		link.Aim(server.Addr)
		link.Reset()
	}, "can't run this command", func() int { return clients(server) })
	if got := older.Do(t.Context(), "dbsize"); got != int64(0) {
		t.Errorf("the older Redis has %v keys, want none", got)
	}
}

func TestUnfit_ClusterLosesASlot(t *testing.T) {
	nodes := redistest.Cluster(t)
	c, log := onUnfit(t, defaults(redisstore.Cluster, nodes.Addrs...))
	node := nodes.NodeOf(lineKey)
	var restore func()
	c.endures("the line's slot was dropped", log,
		func() { restore = nodes.DropSlot(lineKey) }, func() { restore() }, "CLUSTERDOWN", func() int { return clients(node) })
}

// clients counts the connections of gateways to a server: whoever else connects
// is another user.
func clients(s *redistest.Server) int {
	return strings.Count(fmt.Sprint(s.Do(context.Background(), "client", "list", "type", "normal")), " user=default ")
}
