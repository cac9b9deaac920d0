//go:build linux

package redistest

import (
	"context"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func party(t *testing.T, s *Sentinels, name string) *redis.Client {
	t.Helper()
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: s.MasterName, SentinelAddrs: s.SentinelAddrs, Dialer: s.Dialer(name),
		MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { client.Close() })
	return client
}

// bounded returns a context for what takes seconds.
func bounded(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	t.Cleanup(cancel)
	return ctx
}

func TestSentinel_FailoverPromotesTheReplica(t *testing.T) {
	t.Parallel()
	s := Sentinel(t, 1, "requirepass secret")
	if got := s.Master().Name; got != "redis-1" {
		t.Fatalf("master: got %s, want redis-1", got)
	}
	if got := s.Replicas(); len(got) != 1 || got[0].Name != "redis-2" {
		t.Fatalf("replicas: got %v, want redis-2", got)
	}
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: s.MasterName, SentinelAddrs: s.SentinelAddrs, Password: "secret",
	})
	defer client.Close()
	if err := client.Set(t.Context(), "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	s.Master().Do(t.Context(), "wait", 1, 5000)

	began := time.Now()
	old := s.KillMaster()
	master := s.WaitFailover(bounded(t), old)
	t.Logf("failover after %v", time.Since(began).Round(time.Millisecond))
	if master.Name != "redis-2" {
		t.Fatalf("new master: got %s, want redis-2", master.Name)
	}
	if got := master.Do(t.Context(), "get", "a"); got != "1" {
		t.Errorf("new master: got %v, want 1", got)
	}
	if !poll(patience, func() bool { return client.Set(t.Context(), "a", "2", 0).Err() == nil }) {
		t.Error("the client does not find the new master")
	}
	old.Restart()
	if got := old.Do(t.Context(), "get", "a"); got != "1" {
		t.Errorf("old master: got %v, want 1", got)
	}
}

// A gateway that is cut off together with the old master goes on writing to it,
// and all of that is lost when the network is whole again.
func TestSentinel_PartLeavesTwoMastersUntilMended(t *testing.T) {
	t.Parallel()
	s := Sentinel(t, 1)
	near, far := party(t, s, "near"), party(t, s, "far")
	for _, client := range []*redis.Client{near, far} {
		if err := client.Incr(t.Context(), "n").Err(); err != nil {
			t.Fatal(err)
		}
	}
	old := s.Master()
	old.Do(t.Context(), "wait", 1, 5000)
	s.Part(old.Name, "near")
	if err := far.Incr(short(t), "n").Err(); err == nil {
		t.Error("the far gateway reaches the old master")
	}
	master := s.WaitFailover(bounded(t), old)
	if got, err := near.Incr(t.Context(), "n").Result(); got != 3 || err != nil {
		t.Errorf("near gateway: got %d, %v; want 3", got, err)
	}
	if got := old.role(t.Context()); got != "master" {
		t.Errorf("old master: got %s, want master", got)
	}
	if !poll(patience, func() bool { return far.Set(short(t), "seen", "far", 0).Err() == nil }) {
		t.Error("the far gateway does not find the new master")
	}
	if got := master.Do(t.Context(), "get", "n"); got != "2" {
		t.Errorf("new master: got %v, want 2", got)
	}
	s.Mend()
	began := time.Now()
	if !poll(3*patience, func() bool { got, _ := old.Try(t.Context(), "get", "seen"); return got == "far" }) {
		t.Errorf("the old master does not follow: it is a %s", old.role(t.Context()))
	}
	t.Logf("old master follows %v after the network is whole", time.Since(began).Round(time.Millisecond))
}

// A process that dials from anywhere is a party of its own by its gate.
func TestSentinel_GateIsOfOneParty(t *testing.T) {
	t.Parallel()
	s := Sentinel(t, 1)
	client := redis.NewFailoverClient(&redis.FailoverOptions{
		MasterName: s.MasterName, SentinelAddrs: s.Gate("near"), MaxRetries: -1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { client.Close() })
	far := party(t, s, "far")
	s.Part("near")
	if err := client.Incr(short(t), "n").Err(); err == nil {
		t.Error("a party that is cut off reached the master")
	}
	if err := far.Incr(bounded(t), "n").Err(); err != nil {
		t.Errorf("another party: %v", err)
	}
	s.Mend()
	var got int64
	if !poll(patience, func() (ok bool) {
		var err error
		got, err = client.Incr(t.Context(), "n").Result()
		return err == nil
	}) || got < 2 {
		t.Errorf("after the mend the master says %d, want 2 or more", got)
	}
}

func TestSentinel_PromotesAReplicaThatMissedTheLastWrites(t *testing.T) {
	t.Parallel()
	s := Sentinel(t, 1)
	master := s.Master()
	master.Do(t.Context(), "set", "n", "1")
	master.Do(t.Context(), "wait", 1, 5000)
	s.Sever("redis-1", "redis-2")
	master.Do(t.Context(), "set", "n", "2")
	if got := master.Do(t.Context(), "wait", 1, 100); got != int64(0) {
		t.Errorf("replicas that have the write: got %v, want 0", got)
	}
	s.KillMaster()
	s.Mend()
	if got := s.WaitFailover(bounded(t), master).Do(t.Context(), "get", "n"); got != "1" {
		t.Errorf("new master: got %v, want 1", got)
	}
}

func TestSentinel_LoneMasterRefusesWritesWhereAsked(t *testing.T) {
	t.Parallel()
	s := Sentinel(t, 2, "min-replicas-to-write 1", "min-replicas-max-lag 1")
	master := s.Master()
	master.Do(t.Context(), "set", "n", "1")
	s.Part(master.Name)
	if !poll(patience, func() bool { _, err := master.Try(t.Context(), "set", "n", "2"); return err != nil }) {
		t.Error("the lone master takes writes")
	}
	promoted := s.WaitFailover(bounded(t), master)
	if !poll(patience, func() bool { _, err := promoted.Try(t.Context(), "set", "n", "3"); return err == nil }) {
		t.Error("the new master, with its replica, takes no writes")
	}
}
