//go:build linux

package redistest

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

func clusterClient(t *testing.T, c *Nodes) *redis.ClusterClient {
	t.Helper()
	// By default go-redis asks a minute later who took over from a dead node
	// (https://github.com/redis/go-redis/issues/3979).
	client := redis.NewClusterClient(&redis.ClusterOptions{Addrs: c.Addrs, ClusterStateReloadInterval: time.Second})
	t.Cleanup(func() { client.Close() })
	return client
}

func TestCluster_SlotMovesWithItsDataAndDropsAndReturns(t *testing.T) {
	t.Parallel()
	c := Cluster(t)
	client := clusterClient(t, c)
	const n = 10
	key := func(i int) string { return fmt.Sprintf("{line}:%d", i) }
	for i := range n {
		if err := client.Set(t.Context(), key(i), i, 0).Err(); err != nil {
			t.Fatal(err)
		}
	}
	from := c.NodeOf("{line}")
	var asked, apart int
	to := c.MoveSlot("{line}", func() {
		for i := range n {
			if got, err := client.Get(t.Context(), key(i)).Int(); got != i || err != nil {
				t.Errorf("midway, %s: got %d, %v; want %d", key(i), got, err, i)
			}
			if _, err := from.Try(t.Context(), "get", key(i)); err != nil && strings.HasPrefix(err.Error(), "ASK ") {
				asked++
			}
			if _, err := from.Try(t.Context(), "mget", key(i), key((i+1)%n)); err != nil && strings.HasPrefix(err.Error(), "TRYAGAIN") {
				apart++
			}
		}
	})
	if asked != n/2 || apart == 0 {
		t.Errorf("midway: got %d of %d keys asked for and %d pairs apart, want %d and some", asked, n, apart, n/2)
	}
	if to == from || c.NodeOf("{line}") != to {
		t.Errorf("moved from %s to %s, now at %s", from.Name, to.Name, c.NodeOf("{line}").Name)
	}
	for i := range n {
		if got := to.Do(t.Context(), "get", key(i)); got != fmt.Sprint(i) {
			t.Errorf("moved, %s: got %v, want %d", key(i), got, i)
		}
	}
	if got, err := client.Get(t.Context(), key(1)).Int(); got != 1 || err != nil {
		t.Errorf("client: got %d, %v; want 1", got, err)
	}

	restore := c.DropSlot("{line}")
	if _, err := to.Try(t.Context(), "get", key(1)); err == nil || !strings.HasPrefix(err.Error(), "CLUSTERDOWN") {
		t.Errorf("dropped: got %v, want CLUSTERDOWN", err)
	}
	restore()
	if got, err := client.Get(t.Context(), key(1)).Int(); got != 1 || err != nil {
		t.Errorf("restored: got %d, %v; want 1", got, err)
	}
}

func TestCluster_ReplicaTakesOver(t *testing.T) {
	t.Parallel()
	c := Cluster(t)
	client := clusterClient(t, c)
	if err := client.Set(t.Context(), "a", "1", 0).Err(); err != nil {
		t.Fatal(err)
	}
	c.NodeOf("a").Do(t.Context(), "wait", 1, 5000)
	began := time.Now()
	old := c.KillMasterOf("a")
	node := c.WaitFailover(bounded(t), "a", old)
	t.Logf("took over after %v", time.Since(began).Round(time.Millisecond))
	if got := node.Do(t.Context(), "get", "a"); got != "1" {
		t.Errorf("new master: got %v, want 1", got)
	}
	if !poll(patience, func() bool { return client.Get(t.Context(), "a").Val() == "1" }) {
		t.Errorf("client: got %v, want 1", client.Get(t.Context(), "a"))
	}
	old.Restart()
	if !poll(patience, func() bool { return old.role(t.Context()) == "slave" }) {
		t.Errorf("the old master is a %s, want slave", old.role(t.Context()))
	}
}
