package redisstore_test

import (
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// onSentinels opens two gateways on a Sentinel set, each a party of its own
// network, and a crowd.
func onSentinels(t *testing.T, waitReplicas int, settings admission.Settings, set *redistest.Sentinels) *crowd {
	t.Helper()
	o := defaults(redisstore.Sentinel, set.SentinelAddrs...)
	o.MasterName, o.WaitReplicas = set.MasterName, waitReplicas
	var stores []*redisstore.Store
	for _, party := range []string{"g1", "g2"} {
		store := redisstore.ConnectThrough(o, set.Dialer(party))
		t.Cleanup(func() { store.Close() })
		stores = append(stores, store)
	}
	return gather(t, crowdSize, openGateways(t, zap.NewNop(), settings, stores...)...)
}

func TestFault_SentinelFailover(t *testing.T) {
	t.Parallel()
	set := redistest.Sentinel(t, 1)
	c := onSentinels(t, 0, crowdSettings(), set)
	at := c.mark("the master was killed")
	old := set.KillMaster()
	set.WaitFailover(bounded(t), old)
	t.Logf("a replica took over after %v", time.Since(at).Round(10*time.Millisecond))
	c.recovers(at)
	c.linger(2 * time.Second)
	c.check()
}

func TestFault_PromotedReplicaMissedTheLastSeconds(t *testing.T) {
	t.Parallel()
	set := redistest.Sentinel(t, 1)
	c := onSentinels(t, 0, crowdSettings(), set)
	c.mark("the replica was cut off from its master")
	set.Sever("redis-1", "redis-2")
	c.linger(3 * time.Second)
	at := c.mark("the master was killed")
	old := set.KillMaster()
	set.Mend()
	set.WaitFailover(bounded(t), old)
	t.Logf("a replica took over after %v", time.Since(at).Round(10*time.Millisecond))
	c.recovers(at)
	c.linger(2 * time.Second)
	c.check()
}

// Half of the visitors are cut off together with a gateway and the old master.
// With a replica to wait for, nothing is handed out there, and the capacity
// holds however long it lasts: the sessions are shorter than the division.
func TestFault_CutOffGatewayWithReplicasToWaitForStaysExact(t *testing.T) {
	t.Parallel()
	set := redistest.Sentinel(t, 2)
	settings := crowdSettings()
	settings.Limits.Idle = 4 * time.Second
	c := onSentinels(t, 1, settings, set)
	at := c.divide()
	set.Part("redis-1", "g1")
	c.linger(13 * time.Second)
	mend := c.reunite()
	set.Mend()
	c.recovers(mend)
	c.linger(3 * time.Second)
	c.check()
	if got := c.enteredBy("g1", at.Add(500*time.Millisecond), mend); got > 0 {
		t.Errorf("%d visitors entered on the side that was cut off, want none", got)
	}
}

// Without one, what the cut-off side admits comes on top, until the old master
// finds that it has no replicas.
func TestFault_CutOffGatewayWithoutReplicasToWaitForIsBounded(t *testing.T) {
	t.Parallel()
	const lag = 2 * time.Second // min-replicas-max-lag
	set := redistest.Sentinel(t, 2, "min-replicas-to-write 1", "min-replicas-max-lag 2")
	settings := crowdSettings()
	settings.Limits.Idle = 4 * time.Second
	c := onSentinels(t, 0, settings, set)
	at := c.divide()
	set.Part("redis-1", "g1")
	c.linger(8 * time.Second)
	mend := c.reunite()
	set.Mend()
	c.recovers(mend)
	c.linger(2 * time.Second)
	c.disperse()
	alone := c.enteredBy("g1", at, mend)
	most, when := c.mostInside()
	t.Logf("%d entered on the side that was cut off; %d active at most, %s: %d above the capacity",
		alone, most, c.when(when), max(0, most-c.capacity))
	if most > c.capacity+alone {
		t.Errorf("%d active sessions at once, want at most %d and the %d that entered on the side that was cut off", most, c.capacity, alone)
	}
	// The master looks at its replicas once a second.
	if got := c.enteredBy("g1", at.Add(lag+1500*time.Millisecond), mend); got > 0 {
		t.Errorf("%d entered on the side that was cut off after min-replicas-max-lag, want none", got)
	}
	c.checkNumbers()
	c.checkPlaces()
	c.checkInside()
	c.checkOrder()
}

// enteredBy counts the visitors whom a gateway let in between two times.
func (c *crowd) enteredBy(gateway string, from, to time.Time) int {
	count := 0
	for _, v := range c.people {
		for _, a := range v.answers {
			if a.Reason == admission.PassEntered && a.gateway.name == gateway && a.answered.After(from) && a.answered.Before(to) {
				count++
				break
			}
		}
	}
	return count
}

func onCluster(t *testing.T) (*crowd, *redistest.Nodes) {
	t.Helper()
	nodes := redistest.Cluster(t)
	o := defaults(redisstore.Cluster, nodes.Addrs...)
	return gather(t, crowdSize, openGateways(t, zap.NewNop(), crowdSettings(), connect(t, o), connect(t, o))...), nodes
}

func TestFault_ClusterNodeKilled(t *testing.T) {
	t.Parallel()
	c, nodes := onCluster(t)
	at := c.mark("the line's node was killed")
	old := nodes.KillMasterOf(lineKey)
	nodes.WaitFailover(bounded(t), lineKey, old)
	t.Logf("a replica took over after %v", time.Since(at).Round(10*time.Millisecond))
	c.recovers(at)
	c.linger(2 * time.Second)
	c.check()
}

// A line whose keys are half here, half there is no line: while its slot moves
// it is not touched, and when the slot has moved it is whole.
func TestFault_ClusterSlotMoved(t *testing.T) {
	t.Parallel()
	c, nodes := onCluster(t)
	for range 2 {
		at := c.mark("the slot began to move")
		nodes.MoveSlot(lineKey, func() { c.linger(500 * time.Millisecond) })
		t.Logf("moved after %v", time.Since(at).Round(10*time.Millisecond))
		c.recovers(c.mark("the slot was moved"))
	}
	c.linger(time.Second)
	c.check()
}
