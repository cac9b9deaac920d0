package redisstore_test

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// untilStart is how long after the gateways opened the draw starts: a new line
// settles, and then visitors join.
const untilStart = 6 * time.Second

// entrants are visitors of a draw, who poll every gateway there is.
type entrants struct {
	*testing.T
	start    time.Time
	settings admission.Settings
	gateways []*gateway
	tokens   []string
	proof    admission.Proof // as it was before the start
}

// enterDraw opens gateways on stores, has visitors join the draw by turns, and
// waits until its start.
func enterDraw(t *testing.T, stores ...*redisstore.Store) *entrants {
	t.Helper()
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	return enterDrawBy(t, ring, stores...)
}

func enterDrawBy(t *testing.T, ring *admission.Keyring, stores ...*redisstore.Store) *entrants {
	t.Helper()
	settings := crowdSettings()
	settings.Limits.Capacity = 1
	settings.Limits.Draw, settings.Limits.Prequeue, settings.Limits.StartAt = true, time.Hour, time.Now().Add(untilStart)
	e := &entrants{T: t, start: settings.Limits.StartAt, settings: settings}
	for i, store := range stores {
		e.gateways = append(e.gateways, openGateway(t, fmt.Sprintf("g%d", i+1), ring, settings, store))
	}
	for i := 0; len(e.tokens) < 70; i++ {
		v := e.gateways[i%len(e.gateways)].room.Arrive(bounded(t), admission.Visit{})
		switch {
		case time.Now().After(e.start):
			t.Fatalf("only %d joined before the start", len(e.tokens))
		case v.Queue.Token == "":
			<-time.After(20 * time.Millisecond) // the line settles, or is not committed yet
		case v.Status.State != admission.StateBefore || v.Status.Number != 0 || v.Status.Draw.Commitment == "" || v.Status.Draw.Seed != "":
			t.Fatalf("before the start: %+v", v.Status)
		default:
			e.tokens, e.proof = append(e.tokens, v.Queue.Token), v.Status.Draw
		}
	}
	<-time.After(time.Until(e.start))
	return e
}

// drawn polls until every visitor has a number, and checks that each gateway
// tells the same one: that which anyone can find.
func (e *entrants) drawn() {
	e.Helper()
	first := make([]admission.Status, len(e.tokens))
	seen := map[int64]int{}
	for _, g := range e.gateways {
		for i := range e.tokens {
			var s admission.Status
			// A line that settles keeps the numbers, and tells the seed after it.
			for end := time.Now().Add(patience); s.Number == 0 || s.Draw.Seed == ""; {
				v := g.room.Peek(context.Background(), admission.Visit{QueueTokens: []string{e.tokens[i]}})
				if v.Queue.Token != "" {
					e.tokens[i] = v.Queue.Token
				}
				if s = v.Status; s.Number != 0 && s.Draw.Seed != "" {
					break
				}
				if time.Now().After(end) {
					e.Fatalf("%s tells visitor %d no number or no seed: %+v", g.name, i, s)
				}
				<-time.After(20 * time.Millisecond)
			}
			seed, err := admission.ParseSeed(s.Draw.Seed)
			if err != nil || seed.Commitment() != e.proof.Commitment {
				e.Fatalf("the seed %q is not of the commitment %q", s.Draw.Seed, e.proof.Commitment)
			}
			lots, err := admission.NewLots(seed, "", s.Draw.N)
			if err != nil {
				e.Fatal(err)
			}
			if s.Number != lots.Number(s.Draw.Index) || !s.Draw.Indexed {
				e.Fatalf("%s tells visitor %d number %d, and by %+v it is %d", g.name, i, s.Number, s.Draw, lots.Number(s.Draw.Index))
			}
			if first[i].Number == 0 {
				first[i] = s
				if other, twice := seen[s.Number]; twice {
					e.Fatalf("visitors %d and %d both have number %d", other, i, s.Number)
				}
				seen[s.Number] = i
			}
			if first[i].Number != s.Number || first[i].Draw != s.Draw {
				e.Fatalf("visitor %d is told %d by %+v and %d by %+v", i, first[i].Number, first[i].Draw, s.Number, s.Draw)
			}
		}
	}
}

func TestDraw_IsTheSameInEveryGatewayThoughTheStoreForgetsAtTheStart(t *testing.T) {
	t.Parallel()
	for name, after := range map[string]time.Duration{"at the start": 0, "while it closes": 1500 * time.Millisecond, "when it was drawn": 5 * time.Second} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			server := redistest.Single(t)
			o := defaults(redisstore.Single, server.Addr)
			e := enterDraw(t, connect(t, o), connect(t, o))
			<-time.After(after)
			server.Do(t.Context(), "FLUSHALL")
			e.drawn()
		})
	}
}

func TestDraw_IsTheSameThoughTheServerIsKilledAtTheStart(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t)
	o := defaults(redisstore.Single, server.Addr)
	e := enterDraw(t, connect(t, o), connect(t, o))
	server.Kill()
	server.Restart()
	e.drawn()
}

// The gateways that gave the indexes are gone when the start comes.
func TestDraw_IsTheSameThoughItsGatewaysAreKilledAtTheStart(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t)
	o := defaults(redisstore.Single, server.Addr)
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	e := enterDrawBy(t, ring, connect(t, o), connect(t, o))
	for _, g := range e.gateways {
		g.stop()
	}
	settings := e.settings
	e.gateways = []*gateway{openGateway(t, "g3", ring, settings, connect(t, o)), openGateway(t, "g4", ring, settings, connect(t, o))}
	e.drawn()
}

func TestDraw_IsTheSameOverAFailoverAtTheStart(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	o := lasting(nodes)
	e := enterDraw(t, connect(t, o), connect(t, o))
	old := nodes.KillMasterOf(lineKey)
	nodes.WaitFailover(bounded(t), lineKey, old)
	nodes.LendReplica(lineKey)
	e.drawn()
}
