//go:build linux

package redistest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/admissiontest/process"
)

const (
	slots   = 16384
	masters = 3
)

// Nodes is a Cluster: three masters with a third of the slots each, and a
// replica for each of them. A node that does not answer for two seconds is down
// for the others; its replica takes over one to two seconds later.
type Nodes struct {
	Servers []*Server // the first three began as masters
	Addrs   []string  // of the nodes

	t testing.TB
}

// Cluster starts six nodes and waits until all of them call the cluster whole.
// Options are lines of redis.conf for each node, such as
// "cluster-require-full-coverage no".
func Cluster(t testing.TB, options ...string) *Nodes {
	t.Helper()
	c := &Nodes{t: t}
	for i := range 2 * masters {
		s := newServer(t, fmt.Sprintf("node-%d", i+1))
		s.start(func(port int) []string {
			bus, err := process.FreePort()
			if err != nil {
				t.Fatal(err)
			}
			return append([]string{
				fmt.Sprintf("port %d", port), fmt.Sprintf("cluster-port %d", bus),
				"cluster-enabled yes", "cluster-node-timeout 2000",
				"cluster-replica-validity-factor 0", // a replica may take over however old its data
				"cluster-allow-replica-migration no",
			}, options...)
		})
		c.Servers, c.Addrs = append(c.Servers, s), append(c.Addrs, s.Addr)
	}
	ctx := context.Background()
	for i, s := range c.Servers {
		s.Do(ctx, "cluster", "set-config-epoch", i+1)
		if i < masters {
			s.Do(ctx, "cluster", "addslotsrange", i*slots/masters, (i+1)*slots/masters-1)
		}
		if i > 0 {
			bus := s.Do(ctx, "config", "get", "cluster-port").([]any)[1]
			c.Servers[0].Do(ctx, "cluster", "meet", "127.0.0.1", portOf(s.Addr), bus)
		}
	}
	for i, s := range c.Servers[masters:] {
		master := c.Servers[i].Do(ctx, "cluster", "myid")
		c.wait("the nodes to know each other", func() bool {
			_, err := s.Try(ctx, "cluster", "replicate", master)
			return err == nil
		})
	}
	c.wait("the cluster to be whole", c.whole)
	return c
}

// whole reports whether every node knows all nodes, and who has which slots.
func (c *Nodes) whole() bool {
	for i, s := range c.Servers {
		info := c.state(s)
		if info["cluster_state"] != "ok" || info["cluster_known_nodes"] != fmt.Sprint(len(c.Servers)) {
			return false
		}
		ranges, _ := s.Try(context.Background(), "cluster", "slots")
		list, _ := ranges.([]any)
		if len(list) != masters {
			return false
		}
		for _, one := range list {
			if len(one.([]any)) != 4 { // from, to, master, replica
				return false
			}
		}
		if i >= masters {
			if info, _ := s.info(context.Background(), "replication"); info["master_link_status"] != "up" {
				return false
			}
		}
	}
	return true
}

// NodeOf returns the master of the key's slot, as the nodes that run agree. It
// waits until they do.
func (c *Nodes) NodeOf(key string) *Server {
	c.t.Helper()
	slot := c.slot(key)
	var node *Server
	c.wait("the nodes to agree who has slot "+fmt.Sprint(slot), func() bool {
		var one bool
		node, one = c.owner(context.Background(), slot)
		return one && node != nil
	})
	return node
}

// MoveSlot moves the key's slot, with all that is in it, to another master,
// which it returns, while clients use it. Midway, unless it is nil, is called
// when half the keys are moved: for a key that is there already the old master
// answers ASK, for several keys that are apart TRYAGAIN.
func (c *Nodes) MoveSlot(key string, midway func()) *Server {
	c.t.Helper()
	ctx := context.Background()
	slot, from := c.slot(key), c.NodeOf(key)
	to := c.otherMaster(from)
	fromID, toID := from.Do(ctx, "cluster", "myid"), to.Do(ctx, "cluster", "myid")
	to.Do(ctx, "cluster", "setslot", slot, "importing", fromID)
	from.Do(ctx, "cluster", "setslot", slot, "migrating", toID)
	half := (from.Do(ctx, "cluster", "countkeysinslot", slot).(int64) + 1) / 2
	for moved := int64(0); ; moved++ {
		if moved == half && midway != nil {
			midway()
		}
		keys := from.Do(ctx, "cluster", "getkeysinslot", slot, 1).([]any)
		if len(keys) == 0 {
			if moved >= half {
				break
			}
			continue // a key ended by itself: count on to midway
		}
		from.Do(ctx, "migrate", "127.0.0.1", portOf(to.Addr), "", 0, patience.Milliseconds(),
			"auth2", harness, harness, "keys", keys[0])
	}
	// The new master first: told last, it would pass clients back meanwhile.
	to.Do(ctx, "cluster", "setslot", slot, "node", toID)
	from.Do(ctx, "cluster", "setslot", slot, "node", toID)
	c.wait("the nodes to hear of the move", func() bool {
		node, one := c.owner(ctx, slot)
		return one && node == to
	})
	return to
}

// DropSlot takes the key's slot from its master, so that nobody has it, and
// waits until all nodes that run know. Restore gives it back, with its data.
func (c *Nodes) DropSlot(key string) (restore func()) {
	c.t.Helper()
	ctx := context.Background()
	slot, node := c.slot(key), c.NodeOf(key)
	c.wait("the slot to be dropped", func() bool {
		// A node may learn anew of the old owner by a message that was on its way.
		node, one := c.owner(ctx, slot)
		if one && node == nil {
			return true
		}
		for _, s := range c.running() {
			s.Try(ctx, "cluster", "delslots", slot) // an error where it is gone already
		}
		return false
	})
	return func() {
		c.t.Helper()
		node.Do(ctx, "cluster", "addslots", slot)
		c.wait("the slot to be restored", func() bool {
			got, one := c.owner(ctx, slot)
			return one && got == node && c.ok()
		})
	}
}

// SeverReplicas cuts the replicas of the key's master off from its data, and
// from nothing else: they run, the other nodes see them, and one of them may
// take over. When it returns the master has none. Mend lets them follow again,
// which takes them a second or two.
func (c *Nodes) SeverReplicas(key string) (mend func()) {
	c.t.Helper()
	ctx := context.Background()
	master, replicas := c.NodeOf(key), c.ReplicasOf(key)
	for _, r := range replicas {
		r.Config("masterauth", "severed")
	}
	c.wait("the replicas of "+master.Name+" to be cut off", func() bool {
		_, err := master.Try(ctx, "client", "kill", "type", "replica")
		info, _ := master.info(ctx, "replication")
		return err == nil && info["connected_slaves"] == "0"
	})
	return func() {
		c.t.Helper()
		for _, r := range replicas {
			r.Config("masterauth", harness)
		}
	}
}

// LendReplica makes a replica of another master one of the key's, and returns
// it. It must copy all data first, which takes it a second or two.
func (c *Nodes) LendReplica(key string) *Server {
	c.t.Helper()
	ctx := context.Background()
	master := c.NodeOf(key)
	for _, r := range c.followers(c.otherMaster(master)) {
		r.Do(ctx, "cluster", "replicate", master.Do(ctx, "cluster", "myid"))
		return r
	}
	c.t.Fatal("there is no replica to lend")
	return nil
}

// ReplicasOf returns the replicas of the key's slot that run.
func (c *Nodes) ReplicasOf(key string) []*Server {
	c.t.Helper()
	return c.followers(c.NodeOf(key))
}

// followers returns the servers that run and follow master.
func (c *Nodes) followers(master *Server) []*Server {
	var followers []*Server
	for _, s := range c.running() {
		if info, _ := s.info(context.Background(), "replication"); net.JoinHostPort(info["master_host"], info["master_port"]) == master.Addr {
			followers = append(followers, s)
		}
	}
	return followers
}

// KillMasterOf kills the master of the key's slot and returns it.
func (c *Nodes) KillMasterOf(key string) *Server {
	c.t.Helper()
	s := c.NodeOf(key)
	s.Kill()
	return s
}

// WaitFailover waits until the nodes that run agree that another one than old
// has the key's slot, and call the cluster whole. It returns the new master.
func (c *Nodes) WaitFailover(ctx context.Context, key string, old *Server) *Server {
	c.t.Helper()
	slot := c.slot(key)
	var node *Server
	for ctx.Err() == nil {
		if poll(time.Second, func() bool {
			var one bool
			node, one = c.owner(ctx, slot)
			return ctx.Err() != nil || one && node != nil && node != old && c.ok()
		}) && ctx.Err() == nil {
			return node
		}
	}
	c.t.Fatalf("nobody took over from %s: %v", old.Name, ctx.Err())
	return nil
}

// owner returns who has the slot, nil for nobody, and whether all nodes that
// run say the same.
func (c *Nodes) owner(ctx context.Context, slot int64) (node *Server, one bool) {
	for i, s := range c.running() {
		got, err := c.ownerBy(ctx, s, slot)
		if err != nil || i > 0 && got != node {
			return nil, false
		}
		node = got
	}
	return node, true
}

// ownerBy returns who has the slot as s knows it.
func (c *Nodes) ownerBy(ctx context.Context, s *Server, slot int64) (*Server, error) {
	answer, err := s.Try(ctx, "cluster", "slots")
	if err != nil {
		return nil, err
	}
	ranges, _ := answer.([]any)
	for _, one := range ranges {
		fields := one.([]any)
		if slot < fields[0].(int64) || slot > fields[1].(int64) {
			continue
		}
		master := fields[2].([]any)
		addr := net.JoinHostPort(fmt.Sprint(master[0]), fmt.Sprint(master[1]))
		for _, node := range c.Servers {
			if node.Addr == addr {
				return node, nil
			}
		}
		return nil, errors.New("unknown node " + addr)
	}
	return nil, nil
}

// otherMaster returns a master that runs and is not s.
func (c *Nodes) otherMaster(s *Server) *Server {
	c.t.Helper()
	for _, node := range c.running() {
		if node != s && node.role(context.Background()) == "master" {
			return node
		}
	}
	c.t.Fatalf("there is no master beside %s", s.Name)
	return nil
}

// ok reports whether all nodes that run take commands.
func (c *Nodes) ok() bool {
	for _, s := range c.running() {
		if c.state(s)["cluster_state"] != "ok" {
			return false
		}
	}
	return true
}

// state returns CLUSTER INFO of the node, or nothing.
func (c *Nodes) state(s *Server) map[string]string {
	answer, _ := s.Try(context.Background(), "cluster", "info")
	text, _ := answer.(string)
	return fields(text)
}

func (c *Nodes) running() []*Server {
	var running []*Server
	for _, s := range c.Servers {
		if s.Running() {
			running = append(running, s)
		}
	}
	return running
}

func (c *Nodes) slot(key string) int64 {
	c.t.Helper()
	return c.running()[0].Do(context.Background(), "cluster", "keyslot", key).(int64)
}

func (c *Nodes) wait(what string, done func() bool) {
	c.t.Helper()
	if !poll(patience, done) {
		c.t.Fatalf("waited %s for %s", patience, what)
	}
}
