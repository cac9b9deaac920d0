package admissiontest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// throttles holds a store to the join limit of a network: so many at once, then
// one in each interval, and who comes too early is told when to come again.
func throttles(t *testing.T, open Opener) {
	// Of one network three at once, then one in half a second.
	limited := with(full(), func(l *admission.Limits) { l.JoinsPerHour, l.JoinBurst = 7200, 3 })
	const interval = 500 * time.Millisecond

	t.Run("ABurstThenOneInEachInterval", func(t *testing.T) {
		r, g := openRig(t, open(t), limited)
		g.fill(1)
		g.wantJoined(g.joinFrom("n", "n", "n", "n", "n"), true, true, true, false, false)
		for range 4 {
			g.wantRetry(interval)
			r.advance(interval - time.Microsecond)
			g.wantJoined(g.joinFrom("n"), false)
			g.wantRetry(time.Microsecond) // and asking does not put it off
			r.advance(time.Microsecond)
			g.wantJoined(g.joinFrom("n", "n"), true, false)
		}
		r.advance(2 * interval)
		g.wantJoined(g.joinFrom("n", "n", "n"), true, true, false)
		r.advance(time.Hour)
		g.wantJoined(g.joinFrom("n", "n", "n", "n"), true, true, true, false)
	})

	t.Run("OtherNetworksGoOn", func(t *testing.T) {
		r, g := openRig(t, open(t), limited)
		g.fill(1)
		g.wantJoined(g.joinFrom("n", "n", "n", "n", "m", "", "", "", ""), true, true, true, false, true, true, true, true, true)
		g.wantJoined(g.joinFrom("m", "n", "m", "m"), true, false, true, false)
		other := newRig(t, r.bench, limited)
		other.line.Activity = 2
		other.named = 100
		other.settle()
		other.gates[0].wantJoined(other.gates[0].joinFrom("n"), true)
	})

	t.Run("AllGatewaysCountTogether", func(t *testing.T) {
		r, g1 := openRig(t, open(t), limited)
		g2 := r.gateway(limited)
		g1.fill(1)
		g1.wantJoined(g1.joinFrom("n", "n"), true, true)
		g2.wantJoined(g2.joinFrom("n", "n"), true, false)
		g1.wantJoined(g1.joinFrom("n"), false)
		r.advance(interval)
		g2.wantJoined(g2.joinFrom("n"), true)
		g1.wantJoined(g1.joinFrom("n"), false)
	})

	t.Run("WhoIsLimitedTakesNoNumber", func(t *testing.T) {
		r, g := openRig(t, open(t), limited)
		g.fill(1)
		k := g.joinFrom("n", "n", "n", "n", "n", "m")
		if k[5].number != k[2].number+1 || g.floor.Issued != k[5].number {
			t.Fatalf("number %d follows %d with %d issued, and two were limited between", k[5].number, k[2].number, g.floor.Issued)
		}
		if head := r.tick(); head.Waiting != 4 || head.Sessions != 1 {
			t.Fatalf("%d wait and %d are inside, want 4 and 1", head.Waiting, head.Sessions)
		}
	})

	t.Run("WhoIsLimitedIsNotAdmitted", func(t *testing.T) {
		_, g := openRig(t, open(t), with(limited, func(l *admission.Limits) { l.Capacity = 10 }))
		k := g.joinFrom("n", "n", "n", "n")
		g.wantJoined(k, true, true, true, false)
		if !k[2].inside() || k[3].inside() {
			t.Fatal("a quiet room with seats for all admits who may join, and no one else")
		}
	})

	t.Run("AnIdentityThatHasAPlaceIsNeitherLimitedNorCounted", func(t *testing.T) {
		r, g := openRig(t, open(t), limited)
		g.fill(1)
		newcomers := g.people("a", "a", "a", "a", "", "", "")
		for i := range newcomers {
			newcomers[i].Network = "n"
		}
		k := g.joinBatch("batch", newcomers)
		g.wantJoined(k, true, true, true, true, true, true, false)
		again := g.people("a", "b")
		again[0].Network, again[1].Network = "n", "n"
		k = append(k, g.joinBatch("again", again)...)
		g.wantSame(k[7], k[0])
		g.wantJoined(k[8:], false)
		r.advance(interval)
		again = g.people("b")
		again[0].Network = "n"
		g.wantJoined(g.joinBatch("later", again), true) // who was limited may come with an identity again
	})

	t.Run("ABatchThatComesAgainIsAnsweredAlikeAndNotCounted", func(t *testing.T) {
		r, g := openRig(t, open(t), limited)
		g.fill(1)
		newcomers := g.crowdOf("n", "n")
		first := g.joinBatch("batch", newcomers)
		for range 5 {
			for i, k := range g.joinBatch("batch", newcomers) {
				g.wantSame(k, first[i])
			}
		}
		more := g.crowdOf("n", "n")
		g.wantJoined(g.joinBatch("more", more), true, false)
		for range 5 {
			g.wantJoined(g.joinBatch("more", more), true, false)
			g.wantRetry(interval)
		}
		r.advance(interval)
		g.wantJoined(g.joinBatch("more", more), true, false) // the answer of before: it asks anew by itself
		if p := g.record.places[1]; p.RetryAfter < admission.Tick {
			t.Fatalf("who was limited is told to come again in %v", p.RetryAfter)
		}
		g.wantJoined(g.joinFrom("n", "n"), true, false)
	})

	t.Run("ALineThatTakesNoOneCountsNoOne", func(t *testing.T) {
		r, g := openRig(t, open(t), limited)
		g.fill(1)
		g.limits.Mode = admission.ModeClosed
		r.tick()
		for range 5 {
			if k := g.joinFrom("n", "n"); k != nil {
				t.Fatalf("a closed line gave %d places", len(k))
			}
		}
		g.limits.Mode = admission.ModeAuto
		r.tick()
		g.wantJoined(g.joinFrom("n", "n", "n", "n"), true, true, true, false)
	})

	t.Run("TheStricterOfTwoGatewaysCountsWithItsBurst", func(t *testing.T) {
		r, g1 := openRig(t, open(t), with(limited, func(l *admission.Limits) { l.JoinsPerHour, l.JoinBurst = 36000, 1 }))
		g2 := r.gateway(limited)
		g3 := r.gateway(full()) // knows no limit
		r.tick()
		if l := g3.release().Limits; l.JoinsPerHour != 7200 || l.JoinBurst != 3 {
			t.Fatalf("joins at %d/h with a burst of %d, want 7200/h and 3", l.JoinsPerHour, l.JoinBurst)
		}
		g2.off = true
		r.pass(4 * time.Second)
		if l := g3.release().Limits; l.JoinsPerHour != 36000 || l.JoinBurst != 1 {
			t.Fatalf("joins at %d/h with a burst of %d, want 36000/h and 1", l.JoinsPerHour, l.JoinBurst)
		}
		g1.wantJoined(g1.joinFrom("n", "n"), true, false)
		g1.wantRetry(100 * time.Millisecond)
	})
}

// crowdOf are visitors of networks; "" is not known.
func (r *rig) crowdOf(networks ...string) []admission.Newcomer {
	newcomers := r.visitors(len(networks))
	for i, network := range networks {
		newcomers[i].Network = network
	}
	return newcomers
}

// joinFrom lets new visitors from these networks join in one batch.
func (g *gateway) joinFrom(networks ...string) []*ticket {
	g.Helper()
	return g.joinBatch(fmt.Sprintf("%s-%d", g.name, g.named), g.crowdOf(networks...))
}

// wantJoined checks who of a batch got a number.
func (g *gateway) wantJoined(tickets []*ticket, want ...bool) {
	g.Helper()
	if len(tickets) != len(want) {
		g.Fatalf("%d places, want %d", len(tickets), len(want))
	}
	for i, k := range tickets {
		if (k.number > 0) != want[i] {
			g.Fatalf("after %v: newcomer %d got number %d, want one: %v", g.passed, i, k.number, want[i])
		}
	}
}

// wantRetry checks what the last of the last join was told, who was limited.
func (g *gateway) wantRetry(want time.Duration) {
	g.Helper()
	if p := g.record.places[len(g.record.places)-1]; p.Number != 0 || p.RetryAfter != want {
		g.Fatalf("after %v: number %d, to come again in %v; want none and %v", g.passed, p.Number, p.RetryAfter, want)
	}
}
