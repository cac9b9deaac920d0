package redisstore_test

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// lasting are options for a cluster whose replicas must have what is handed out.
func lasting(nodes *redistest.Nodes) redisstore.Options {
	o := defaults(redisstore.Cluster, nodes.Addrs...)
	o.WaitReplicas = 1
	return o
}

// Joins and admissions are done on the master, and told to nobody until a
// replica has them: the same one, or another.
func TestReplicas_NothingIsHandedOutWithoutOne(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	o := lasting(nodes)
	c := gather(t, crowdSize, openGateways(t, zap.NewNop(), crowdSettings(), connect(t, o), connect(t, o))...)
	var without [][2]time.Time
	for _, loss := range []struct {
		name string
		make func() (end func())
	}{
		{severed, func() func() { return nodes.SeverReplicas(lineKey) }},
		{"the replica was killed", func() func() {
			nodes.ReplicasOf(lineKey)[0].Kill()
			return func() { nodes.LendReplica(lineKey) }
		}},
	} {
		end := loss.make()
		from := c.mark(loss.name)
		for _, g := range c.gateways { // the crowd may have no newcomer in so short a time
			if got := g.room.Arrive(t.Context(), admission.Visit{}); got.Pass || got.Reason != admission.HoldUnavailable {
				t.Errorf("%s: a newcomer got %+v by %s, want to be held as unavailable", loss.name, got, g.name)
			}
		}
		to := c.mark("there was one after " + loss.name)
		end()
		c.recovers(to)
		c.linger(time.Second)
		without = append(without, [2]time.Time{from, to})
	}
	c.check()
	for _, w := range without {
		handed, refused := c.handedOut(w[0], w[1])
		t.Logf("%d requests of the crowd were refused", refused)
		c.complain("handed out without a replica", handed)
	}
}

// handedOut tells who asked between two times and was given a number or let in
// before the second of them, and how many requests were told to wait for the
// store.
func (c *crowd) handedOut(from, to time.Time) (handed []string, refused int) {
	for _, v := range c.people {
		placed := false
		for _, a := range v.answers {
			if a.asked.After(from) && a.answered.Before(to) {
				if a.Reason == admission.HoldUnavailable && a.verb == arrive {
					refused++
				}
				if !placed && a.number() != 0 || a.Reason == admission.PassEntered {
					handed = append(handed, c.story(a.number()))
				}
			}
			placed = placed || a.number() != 0
		}
	}
	return handed, refused
}

// The gateways are gone when the replica takes over, one that missed the last
// seconds: what it has is all there is, and it is all that anybody was told.
func TestReplicas_FailoverKeepsAllThatWasHandedOut(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	o := lasting(nodes)
	settings := crowdSettings()
	settings.Limits.Absence, settings.Limits.Idle = time.Minute, time.Minute
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	c := gather(t, crowdSize, openGateway(t, "g1", ring, settings, connect(t, o)), openGateway(t, "g2", ring, settings, connect(t, o)))
	mend := nodes.SeverReplicas(lineKey)
	c.mark(severed)
	c.linger(2 * time.Second)
	c.disperse()
	c.checkOrder() // of the line that is to be lost
	for _, g := range c.gateways {
		g.stop()
	}
	old := nodes.KillMasterOf(lineKey)
	c.mark(killed)
	nodes.WaitFailover(bounded(t), lineKey, old)
	mend()
	nodes.LendReplica(lineKey) // the new master's own answers wait for one, too

	store := connect(t, o)
	c.checkTold(store, settings.Limits)

	third := openGateway(t, "g3", ring, settings, store)
	c.gateways = []*gateway{third}
	c.await("the new master's line to be whole", func() bool { return !third.room.Figures().Settling })
	slices.SortFunc(c.people, func(a, b *visitor) int { return cmp.Compare(a.number(), b.number()) })
	waiting, inside, before := 0, 0, int64(0)
	for _, v := range c.people {
		switch {
		case v.admission != "" && time.Until(v.expires) > time.Second:
			inside++
			v.ask(arrive)
		case v.queue != "":
			// One whom the last answer let in is told to ask again.
			if s := v.ask(peek).Status; s.State == admission.StateWaiting {
				waiting++
				if s.Position < before {
					t.Errorf("number %d stands at %d, behind one with a lower number at %d", s.Number, s.Position, before)
				}
				before = s.Position
			}
		}
	}
	t.Logf("%d wait and %d are inside after the failover", waiting, inside)
	if waiting == 0 || inside == 0 {
		t.Error("nobody was left to lose anything")
	}
	for range 10 {
		v := &visitor{crowd: c}
		c.people = append(c.people, v)
		c.await("a newcomer to get a number", func() bool { return v.ask(arrive).number() != 0 })
	}
	c.check()
}

// openGateway opens a gateway on a store, with the keys of others.
func openGateway(t *testing.T, name string, ring *admission.Keyring, settings admission.Settings, store *redisstore.Store) *gateway {
	t.Helper()
	room, err := admission.OpenRoom(t.Context(), store, crowdLine, name, admission.Secret("secret"), ring, settings, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	g := &gateway{name: name, room: room}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); room.Run(ctx) }()
	g.stop = func() { g.dead.Store(true); cancel(); <-done }
	t.Cleanup(g.stop)
	return g
}

var crowdLine = admission.LineID{Tenant: "demo", Activity: 123}

// checkTold holds a store to all that the crowd was told, before anyone can
// bring it what it lacks: every number that was given has its mark, and every
// session that was begun is there, to the end that its visitor knows at least.
func (c *crowd) checkTold(store *redisstore.Store, limits admission.Limits) {
	c.t.Helper()
	call := admission.Call{Line: crowdLine, Gateway: "g3"}
	line := try(c, "the new master to tell the line", func(ctx context.Context) (admission.Line, error) {
		return store.Release(ctx, call, limits, 0)
	})
	var maps [3]map[int64]bool // by Map
	for kind := range maps {
		maps[kind] = map[int64]bool{}
	}
	for _, p := range line.Pieces {
		for i, word := range p.Bits {
			for bit := range int64(64) {
				if word&(1<<bit) != 0 {
					maps[p.Map][p.From+int64(i)*64+bit] = true
				}
			}
		}
	}
	var lost []string
	told, sessions := 0, 0
	for _, v := range c.people {
		n := v.number()
		if n == 0 {
			continue
		}
		told++
		if n > line.Issued || !maps[admission.MapWaiting][n] && !maps[admission.MapOff][n] {
			lost = append(lost, c.story(n))
		}
		var last answer // that let the visitor in
		for _, a := range v.answers {
			if a.Pass {
				last = a
			}
		}
		if !last.Pass {
			continue
		}
		if !maps[admission.MapDone][n] {
			lost = append(lost, "as one who entered: "+c.story(n))
		}
		if v.admission == "" || time.Until(last.Session.Until) < 0 {
			continue // left, or ended
		}
		sessions++
		knock := admission.Knock{Visitor: last.Session.Visitor, Number: n, Epoch: line.Epoch}
		entry := try(c, "the new master to tell a session", func(ctx context.Context) (admission.Entry, error) {
			_, entries, err := store.Admit(ctx, call, []admission.Knock{knock})
			return append(entries, admission.Entry{})[0], err
		})
		if a := entry.Admission; entry.Outcome != admission.EntryAdmitted || a.Number != n || a.Until.Time().Before(last.Session.Until) {
			lost = append(lost, "session: "+c.story(n))
		}
	}
	c.t.Logf("the new master has issued %d; %d numbers and %d sessions were told", line.Issued, told, sessions)
	c.complain("not on the new master", lost)
}

// try asks until there is an answer.
func try[A any](c *crowd, what string, ask func(context.Context) (A, error)) (answer A) {
	c.t.Helper()
	c.await(what, func() bool {
		ctx, cancel := context.WithTimeout(c.t.Context(), 2*time.Second)
		defer cancel()
		var err error
		answer, err = ask(ctx)
		return err == nil
	})
	return answer
}

// What the master did and nobody was told of is not done again: asked with the
// same id it is the same, by the master and by the one that takes over.
func TestReplicas_TheSameQuestionGetsTheSameAnswer(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	store := connect(t, lasting(nodes))
	c := &crowd{t: t} // of nobody: it lends its patience
	call := admission.Call{Line: crowdLine, Gateway: "g1"}
	limits := crowdLimits()
	limits.Mode, limits.Idle = admission.ModeHold, time.Minute
	release := func() admission.Line {
		return try(c, "a tick", func(ctx context.Context) (admission.Line, error) { return store.Release(ctx, call, limits, 0) })
	}
	newcomers := []admission.Newcomer{{Visitor: "a"}, {Visitor: "b"}, {Visitor: "c"}}
	join := func() []admission.Place {
		return try(c, "the batch's answer", func(ctx context.Context) ([]admission.Place, error) {
			_, places, err := store.Join(ctx, call, "batch", newcomers)
			return places, err
		})
	}
	knocks := []admission.Knock{{Visitor: "a", Number: 1, Epoch: 1}}
	admit := func() admission.Entry {
		return try(c, "the session's answer", func(ctx context.Context) (admission.Entry, error) {
			_, entries, err := store.Admit(ctx, call, knocks)
			return append(entries, admission.Entry{})[0], err
		})
	}
	refused := func(what string, err error) {
		t.Helper()
		if !errors.Is(err, admission.ErrUnavailable) || !strings.Contains(err.Error(), "too few replicas") {
			t.Fatalf("%s without a replica: got error %v, want that too few replicas have it", what, err)
		}
	}
	c.await("the line to begin", func() bool { return !release().Settling })

	mend := nodes.SeverReplicas(lineKey)
	_, places, err := store.Join(bounded(t), call, "batch", newcomers)
	refused("a join", err)
	if len(places) > 0 {
		t.Errorf("a join without a replica: got %+v, want nothing", places)
	}
	limits.Mode = admission.ModeAuto
	c.await("the first turn", func() bool { return release().Turned == 3 })
	_, entries, err := store.Admit(bounded(t), call, knocks)
	refused("an admission", err)
	if len(entries) > 0 {
		t.Errorf("an admission without a replica: got %+v, want nothing", entries)
	}
	if got := release(); got.Issued != 3 || got.Sessions != 1 {
		t.Fatalf("the master has issued %d and let in %d, want 3 and 1", got.Issued, got.Sessions)
	}
	mend()

	places = join()
	for i, p := range places {
		if p.Number != int64(i+1) || p.Visitor != newcomers[i].Visitor {
			t.Errorf("with a replica, visitor %d: got %+v, want number %d", i, p, i+1)
		}
	}
	entry := admit()
	if entry.Outcome != admission.EntryAdmitted || entry.Admission.Number != 1 {
		t.Errorf("with a replica: got %+v, want the session of number 1", entry)
	}
	if got := release(); got.Issued != 3 || got.Sessions != 1 || len(places) != 3 {
		t.Errorf("%d issued, %d let in, %d places, want 3, 1 and 3", got.Issued, got.Sessions, len(places))
	}

	old := nodes.KillMasterOf(lineKey)
	nodes.WaitFailover(bounded(t), lineKey, old)
	nodes.LendReplica(lineKey) // its answers wait for one, too
	if got := join(); !slices.Equal(got, places) {
		t.Errorf("after the failover the batch got %+v, want %+v as before", got, places)
	}
	if got := admit(); got != entry {
		t.Errorf("after the failover the session is %+v, want %+v as before", got, entry)
	}
}
