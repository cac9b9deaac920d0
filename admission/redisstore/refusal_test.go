package redisstore_test

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

func TestConnect_RefusesWhatCannotKeepALine(t *testing.T) {
	t.Parallel()
	single := redistest.Single(t)
	locked := redistest.Single(t, "requirepass secret")
	old := redistest.NewLink(t, single.Addr)
	version := single.Info("server")["redis_version"]
	old.Alter("redis_version:"+version, "redis_version:6"+version[1:])
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	nobody := l.Addr().String()
	l.Close()
	set := redistest.Sentinel(t, 1)
	nodes := redistest.Cluster(t)
	restore := nodes.DropSlot(lineKey)
	defer restore()

	for _, c := range []struct {
		name    string
		options redisstore.Options
		want    string
	}{
		{"wrong address", defaults(redisstore.Single, nobody), "store.redis.addresses: "},
		{"missing password", defaults(redisstore.Single, locked.Addr), "store.redis.password: "},
		{"wrong password", func() redisstore.Options {
			o := defaults(redisstore.Single, locked.Addr)
			o.Password = "wrong"
			return o
		}(), "store.redis.password: "},
		{"wrong master name", func() redisstore.Options {
			o := defaults(redisstore.Sentinel, set.SentinelAddrs...)
			o.MasterName = "another"
			return o
		}(), "store.redis.master_name: "},
		{"no sentinel", func() redisstore.Options {
			o := defaults(redisstore.Sentinel, nobody)
			o.MasterName = set.MasterName
			return o
		}(), "store.redis.addresses: "},
		{"older Redis", defaults(redisstore.Single, old.Addr), "store.redis.addresses: "},
		{"slots missing", defaults(redisstore.Cluster, nodes.Addrs...), "store.redis.addresses: "},
		{"no cluster", defaults(redisstore.Cluster, single.Addr), "store.redis.mode: "},
		{"no such database", func() redisstore.Options {
			o := defaults(redisstore.Single, single.Addr)
			o.DB = 99
			return o
		}(), "store.redis.db: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			store, err := redisstore.Connect(t.Context(), c.options)
			if err == nil {
				store.Close()
				t.Fatal("it was taken")
			}
			if !strings.HasPrefix(err.Error(), c.want) {
				t.Errorf("got %q, want it to begin with %q", err, c.want)
			}
		})
	}
}

func TestConnect_TakesEachMode(t *testing.T) {
	t.Parallel()
	set := redistest.Sentinel(t, 1)
	sentinel := defaults(redisstore.Sentinel, set.SentinelAddrs...)
	sentinel.MasterName = set.MasterName
	for _, o := range []redisstore.Options{
		defaults(redisstore.Single, redistest.Single(t).Addr), sentinel,
		defaults(redisstore.Cluster, redistest.Cluster(t).Addrs...),
	} {
		store := connect(t, o)
		if version, err := store.Check(t.Context()); err != nil || version == "" {
			t.Errorf("%s: %v", o.Mode, err)
		}
	}
}

func TestWarnings_TellHowALineMayBeLost(t *testing.T) {
	t.Parallel()
	set := redistest.Sentinel(t, 1)
	sentinel := defaults(redisstore.Sentinel, set.SentinelAddrs...)
	sentinel.MasterName = set.MasterName
	for _, c := range []struct {
		name    string
		options redisstore.Options
		want    string
	}{
		{"evicts", defaults(redisstore.Single, redistest.Single(t, "maxmemory 100mb", "maxmemory-policy allkeys-lru").Addr), "maxmemory-policy allkeys-lru"},
		{"no file", defaults(redisstore.Single, redistest.Single(t, "appendonly no").Addr), "appendonly no"},
		{"lone master", sentinel, "min-replicas-to-write 0"},
		{"well kept", defaults(redisstore.Single, redistest.Single(t).Addr), ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			got := connect(t, c.options).Warnings(t.Context(), c.options.Mode)
			if c.want == "" && len(got) > 0 || c.want != "" && (len(got) != 1 || !strings.Contains(got[0], c.want)) {
				t.Errorf("got %q, want one with %q", got, c.want)
			}
		})
	}
}

// The password is changed while the gateways run: whoever is inside goes on,
// whoever waits is told, the log says why, and when it is changed back all is
// as it was.
func TestRefusal_WrongPasswordWhileRunning(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t)
	link := redistest.NewLink(t, server.Addr)
	core, log := observer.New(zap.WarnLevel)
	o := defaults(redisstore.Single, link.Addr)
	c := gather(t, crowdSize, openGateways(t, zap.New(core), crowdSettings(), connect(t, o), connect(t, o))...)
	c.mark("the password was changed")
	server.Config("requirepass", "secret")
	link.Reset()
	c.await("the gateways to say that the line is away", func() bool {
		return c.gateways[0].room.Figures().Stale && c.gateways[1].room.Figures().Stale
	})
	verdict := c.gateways[0].room.Arrive(t.Context(), admission.Visit{})
	if verdict.Pass || verdict.Reason != admission.HoldUnavailable {
		t.Errorf("a newcomer got %+v, want to be held as unavailable", verdict)
	}
	at := c.mark("the password was changed back")
	server.Config("requirepass", "")
	c.recovers(at)
	said := log.FilterMessage("line not read, waiting visitors are told that it is paused").All()
	// Redis says NOAUTH, or unauthenticated where a call is long.
	if len(said) != 2 || !strings.Contains(strings.ToLower(fmt.Sprint(said[0].ContextMap()["error"])), "auth") {
		t.Errorf("the log says %v, want once for each gateway that the line is not read, and that the password is the cause", said)
	}
	c.check()
}

// A thousand polls and a thousand requests of visitors inside are answered from
// memory: Redis hears of the ticks, the flushes and the renewals alone.
func TestQuiet_PollsAndAdmittedRequestsMakeNoCalls(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t)
	settings := crowdSettings()
	settings.Limits.Capacity, settings.Limits.Idle = 1, time.Minute
	o := defaults(redisstore.Single, server.Addr)
	gateways := openGateways(t, zap.NewNop(), settings, connect(t, o), connect(t, o))
	c := &crowd{t: t, gateways: gateways, began: time.Now(), stop: func() {}}
	inside, waiting := &visitor{crowd: c}, &visitor{crowd: c}
	c.await("a visitor to enter", func() bool { return inside.ask(arrive).Pass })
	// The other gateway may not have heard yet that the line is whole.
	c.await("a second visitor to get a place", func() bool { return !waiting.ask(arrive).Pass && waiting.queue != "" })
	calls := func() int {
		scripts := 0
		for command, stats := range server.Info("commandstats") {
			if count, ok := strings.CutPrefix(strings.SplitN(stats, ",", 2)[0], "calls="); ok && strings.HasPrefix(command, "cmdstat_eval") {
				n, _ := strconv.Atoi(count)
				scripts += n
			}
		}
		return scripts
	}
	before, began := calls(), time.Now()
	for range 1000 {
		if a := inside.ask(arrive); !a.Pass {
			t.Fatalf("inside: got %+v", a.Verdict)
		}
		if a := waiting.ask(peek); a.Status.Number != 2 {
			t.Fatalf("waiting: got %+v", a.Verdict)
		}
	}
	took := time.Since(began)
	got := calls() - before
	// Of each gateway a tick every 250 ms, a flush each second, a renewal at
	// most, and one of each that was under way.
	want := 2 * (int(took/admission.Tick) + int(took/time.Second) + 4)
	t.Logf("2000 requests in %v: %d calls", took, got)
	if got > want {
		t.Errorf("%d calls to Redis in %v, want at most %d", got, took, want)
	}
}

// Three gateways pace one line without a leader.
func TestRate_ThreeGatewaysReleaseItWithinOnePercent(t *testing.T) {
	t.Parallel()
	const rate = 50
	server := redistest.Single(t)
	settings := crowdSettings()
	settings.Limits.Capacity, settings.Limits.RatePerHour, settings.Limits.Burst = 0, rate*3600, admission.Burst(rate*3600)
	settings.Limits.Mode = admission.ModeHold
	o := defaults(redisstore.Single, server.Addr)
	gateways := openGateways(t, zap.NewNop(), settings, connect(t, o), connect(t, o), connect(t, o))
	c := &crowd{t: t, gateways: gateways, began: time.Now()}
	ctx, stop := context.WithCancel(context.Background())
	c.stop = stop
	t.Cleanup(c.disperse)
	line := gateways[0].room
	for range 900 { // a crowd that outlasts the test, and only takes turns
		c.work.Go(func() {
			v := &visitor{crowd: c}
			for v.pause(ctx, time.Second+rand.N(time.Second)) {
				if v.queue == "" {
					v.ask(arrive)
				} else {
					v.ask(peek)
				}
			}
		})
	}
	c.await("the crowd to come", func() bool { return line.Figures().Waiting == 900 })
	settings.Limits.Mode = admission.ModeAuto
	for _, g := range gateways {
		g.room.Configure(settings)
	}
	c.await("the line to move", func() bool { return line.Figures().Turned > rate })
	begin := line.Figures()
	c.await("ten seconds to pass", func() bool { return line.Figures().Now.Sub(begin.Now) > 10*time.Second })
	end := line.Figures()
	want := rate * end.Now.Sub(begin.Now).Seconds()
	got := float64(end.Turned - begin.Turned)
	t.Logf("%v turns in %v, want %.1f: %+.2f %%", got, end.Now.Sub(begin.Now), want, 100*(got/want-1))
	if math.Abs(got-want) > want/100 {
		t.Errorf("%v turns in %v, want %.1f within 1 %%", got, end.Now.Sub(begin.Now), want)
	}
	if end.Waiting == 0 {
		t.Error("the crowd did not last")
	}
	c.disperse()
}
