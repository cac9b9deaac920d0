package e2e

import (
	"context"
	"fmt"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// TestMany_GatewaysShareOneLineThroughKillsAndALostStore runs two gateways on
// one Redis under a crowd that any of them may serve. One gateway is killed,
// Redis is killed, and then it loses everything. Nobody loses a place, no
// number is given twice, and there are never more inside than capacity.
func TestMany_GatewaysShareOneLineThroughKillsAndALostStore(t *testing.T) {
	const capacity = 20
	redis := redistest.Single(t)
	shop := openShop(t)
	yaml := settings(shop, "capacity: 20, absence: 10s, claim: 5s, session: {idle: 10s, max: 10m}",
		"log: {access: false}", fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}", redis.Addr))
	first, second := start(t, yaml), start(t, yaml)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	crowd := gather(ctx, t, 120, first, second)
	crowd.history.await(t, capacity)
	oldest := newVisitor(t, first)
	place := oldest.Join(t)

	for _, fault := range []struct {
		name string
		make func()
	}{
		{"one gateway is killed and comes back", func() { second.Kill(); second.Restart() }},
		{"redis is killed and comes back", func() { redis.Kill(); redis.Restart() }},
		{"redis loses everything", func() { redis.Do(t.Context(), "FLUSHALL") }},
	} {
		began := time.Now()
		fault.make()
		eventually(t, fault.name+": the line goes on", func() bool {
			s := oldest.Status(t)
			if s.Number != place.Number || s.State != "waiting" && s.State != "ready" {
				t.Fatalf("%s: the oldest place, %d, is told %+v", fault.name, place.Number, s)
			}
			return !s.Unavailable
		})
		crowd.history.await(t, 15)
		t.Logf("%s: fifteen more were in %v later", fault.name, time.Since(began).Round(10*time.Millisecond))
	}
	end()
	crowd.people.Wait()

	mostInside := crowd.history.checkShop(shop.Hits())
	h := crowd.history
	h.mu.Lock()
	defer h.mu.Unlock()
	t.Logf("%d joined, %d entered, %d polls kept their place, at most %d of %d inside", h.joins, h.entries, h.polls, mostInside, capacity)
	for _, wrong := range h.wrongs {
		t.Error(wrong)
	}
	if mostInside > capacity {
		t.Errorf("%d were inside at once, capacity is %d", mostInside, capacity)
	}
}

// A gateway that starts on a Redis that has just lost everything makes keys of
// its own. It has those of the others before it takes a newcomer, or everyone
// with a ticket would be one to it.
func TestMany_AGatewayThatStartsOnAnEmptyStoreTakesUpTheOthersKeys(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	yaml := settings(openShop(t), "capacity: 1, session: {idle: 10m}", fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}", redis.Addr))
	gates := []*gateway{start(t, yaml), start(t, yaml)}
	newVisitor(t, gates[0]).Enter(t)
	waiting := newVisitor(t, gates[0])
	place := waiting.Join(t)

	gates[1].Kill()
	redis.Do(t.Context(), "FLUSHALL")
	gates[1].Restart()
	waiting.base = gates[1].Public
	eventually(t, "the new gateway knows the place", func() bool {
		a, err := waiting.do(t.Context(), http.MethodGet, drop, false)
		if err != nil {
			t.Fatal(err)
		}
		s, err := a.status()
		if err != nil || s.Number != place.Number && (s.Number != 0 || !s.Unavailable) {
			t.Fatalf("who waits with number %d got %d %s", place.Number, a.Code, a.Body)
		}
		return !s.Unavailable
	})
}

// While Redis is away newcomers get what the activity's file says: the page, or
// the shop. Nobody else notices, and when it is back they join by themselves.
func TestMany_NewcomersWhileRedisIsAway(t *testing.T) {
	t.Parallel()
	for _, c := range []struct{ says, body string }{
		{"hold", "You will join it as soon as it is back"},
		{"open", `id="inside"`},
	} {
		t.Run(c.says, func(t *testing.T) {
			t.Parallel()
			redis := redistest.Single(t)
			yaml := settings(openShop(t), "capacity: 1, session: {idle: 10m}, on_store_failure: "+c.says,
				fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}", redis.Addr))
			gates := []*gateway{start(t, yaml), start(t, yaml)}
			inside := newVisitor(t, gates[0])
			inside.Enter(t)
			inside.keep(t, drop)
			waiting := newVisitor(t, gates[0])
			place := waiting.Join(t)
			waiting.keep(t, poll)

			redis.Kill()
			newcomers := []*visitor{newVisitor(t, gates[0]), newVisitor(t, gates[1])}
			for _, v := range newcomers {
				eventually(t, "a newcomer is told of the outage, or passes", func() bool {
					return strings.Contains(v.Open(t, drop).Body, c.body)
				})
				if held := v.Open(t, drop); len(held.Header.Values("Set-Cookie")) > 0 {
					t.Errorf("a newcomer was given %v while nothing could be given", held.Header.Values("Set-Cookie"))
				}
			}
			eventually(t, "who waits is told of the outage", func() bool {
				s := waiting.Status(t)
				if s.Number != place.Number {
					t.Fatalf("who waits with number %d has %+v", place.Number, s)
				}
				return s.Unavailable
			})
			if got := inside.Open(t, drop); got.Code != http.StatusOK || !strings.Contains(got.Body, `<b id="number">1</b>`) {
				t.Errorf("who is inside got %d %s", got.Code, got.Body)
			}

			redis.Restart()
			for _, v := range newcomers {
				var got status
				eventually(t, "the newcomer joins", func() bool {
					// Until the gateway hears of the end the shop may answer.
					a, err := v.do(t.Context(), http.MethodGet, drop, false)
					if err != nil {
						t.Fatal(err)
					}
					got, err = a.status()
					return err == nil && got.Number != 0
				})
				if got.State != "waiting" || got.Position < 2 {
					t.Errorf("a newcomer of the outage is told %+v, want to wait behind who was there", got)
				}
			}
			eventually(t, "who waited is first still", func() bool {
				s := waiting.Status(t)
				if s.Number != place.Number {
					t.Fatalf("who waited with number %d has %+v", place.Number, s)
				}
				return !s.Unavailable && s.Position == 1
			})
			if got := inside.Open(t, drop); got.Code != http.StatusOK {
				t.Errorf("who was inside got %d after it", got.Code)
			}
		})
	}
}

// What no line can be kept in is said before anyone is let in, by the key of
// the file that it is about.
func TestRun_SaysWhyItsRedisCannotKeepALine(t *testing.T) {
	t.Parallel()
	locked := redistest.Single(t, "requirepass secret")
	set := redistest.Sentinel(t, 1)
	single := redistest.Single(t)
	old := redistest.NewLink(t, single.Addr)
	version := single.Info("server")["redis_version"]
	old.Alter("redis_version:"+version, "redis_version:6"+version[1:])
	nodes := redistest.Cluster(t)
	defer nodes.DropSlot("any")()
	for _, c := range []struct{ name, redis, want string }{
		{"wrong address", `addresses: ["127.0.0.1:1"]`, "store.redis.addresses: "},
		{"missing password", fmt.Sprintf("addresses: [%q]", locked.Addr), "store.redis.password: "},
		{"wrong password", fmt.Sprintf("addresses: [%q], password: wrong", locked.Addr), "store.redis.password: "},
		{"wrong master name", fmt.Sprintf("mode: sentinel, addresses: [%q], master_name: another", set.SentinelAddrs[0]), "store.redis.master_name: "},
		{"older Redis", fmt.Sprintf("addresses: [%q]", old.Addr), "store.redis.addresses: "},
		{"slots missing", fmt.Sprintf("mode: cluster, addresses: [%q]", nodes.Addrs[0]), "store.redis.addresses: "},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := t.TempDir()
			write(t, filepath.Join(dir, "ropeline.yaml"), settings(&shop{URL: "http://127.0.0.1:1"}, oneSeat, "store: {type: redis, redis: {"+c.redis+"}}"))
			cmd := command(dir, "run")
			cmd.Env = append(cmd.Env, "ROPELINE_LISTEN_HTTP=127.0.0.1:0", "ROPELINE_LISTEN_ADMIN=127.0.0.1:0")
			status, said := ended(t, cmd)
			if status != 1 || !strings.Contains(said, c.want) {
				t.Errorf("got status %d and %q, want 1 and %q", status, said, c.want)
			}
			if strings.Contains(said, "goroutine ") {
				t.Errorf("it panicked:\n%s", said)
			}
		})
	}
}
