package admissiontest

import (
	"fmt"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// identities holds a store to one place per person: who joins again, without
// the ticket or on another device, gets the place there is.
func identities(t *testing.T, open Opener) {
	short := with(full(), func(l *admission.Limits) { l.Absence, l.HoldPlace, l.RatePerHour = 20*time.Second, time.Minute, 0 })

	t.Run("TheSameIdentityHasTheSamePlaceOnEveryGateway", func(t *testing.T) {
		r, g1 := openRig(t, open(t), full())
		g2 := r.gateway(full())
		g1.fill(1)
		g1.wait(3)
		first := g1.joinAs("a")[0]
		g1.wait(2)
		for range 3 {
			for _, g := range []*gateway{g1, g2} {
				again := g.joinAs("a")[0]
				g.wantSame(again, first)
				if p := g.record.places[0]; p.Position != 4 {
					t.Fatalf("number %d stands at %d, want 4", p.Number, p.Position)
				}
			}
			r.pass(7 * time.Second)
		}
		if head := r.tick(); head.Issued != first.number+2 || head.Waiting != 6 {
			t.Fatalf("joining again made %d numbers with %d waiting", head.Issued, head.Waiting)
		}
	})

	t.Run("OthersAndThoseWithoutAnIdentityHaveTheirOwn", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		g.fill(1)
		line := g.joinAs("a", "b", "", "")
		for i, k := range line {
			if k.number != int64(i)+2 {
				t.Fatalf("newcomer %d got number %d", i, k.number)
			}
		}
		other := newRig(t, r.bench, full())
		other.line.Activity = 2
		other.named = 100
		other.settle()
		other.gates[0].fill(1)
		if k := other.gates[0].joinAs("b")[0]; k.number != 2 || k.visitor == line[1].visitor {
			t.Fatalf("in another line the identity is number %d, %s", k.number, k.visitor)
		}
	})

	t.Run("TwoOfOneIdentityInABatchShareAPlace", func(t *testing.T) {
		_, g := openRig(t, open(t), full())
		g.fill(1)
		k := g.joinAs("a", "b", "a", "a", "c")
		g.wantSame(k[2], k[0])
		g.wantSame(k[3], k[0])
		if k[4].number != k[1].number+1 || g.floor.Issued != k[4].number {
			t.Fatalf("numbers %d, %d and %d given, %d issued", k[0].number, k[1].number, k[4].number, g.floor.Issued)
		}
	})

	t.Run("ABatchThatComesAgainIsAnsweredAlike", func(t *testing.T) {
		r, g1 := openRig(t, open(t), full())
		g2 := r.gateway(full())
		g1.fill(1)
		first := g1.joinAs("a")[0]
		newcomers := g1.people("a", "b", "a")
		sent := g1.joinBatch("batch", newcomers)
		for _, g := range []*gateway{g1, g2} {
			r.pass(time.Second)
			for i, k := range g.joinBatch("batch", newcomers) {
				g.wantSame(k, sent[i])
			}
		}
		g1.wantSame(sent[0], first)
		if g1.floor.Issued != sent[1].number {
			t.Fatalf("%d numbers are issued after a batch came again, want %d", g1.floor.Issued, sent[1].number)
		}
	})

	t.Run("WhoComesBackIsPresent", func(t *testing.T) {
		r, g := openRig(t, open(t), short)
		g.fill(1)
		k := g.joinAs("a")[0]
		r.pass(45 * time.Second)
		if g.read.Waiting != 0 {
			t.Fatalf("%d wait, want none", g.read.Waiting)
		}
		g.wantSame(g.joinAs("a")[0], k)
		if r.tick(); g.read.Waiting != 1 || !g.read.has(admission.MapWaiting, k.number) {
			t.Fatalf("%d wait, want number %d", g.read.Waiting, k.number)
		}
	})

	t.Run("ATurnIsKeptAndNotGivenTwice", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		k := g.joinAs("a")[0]
		g.wait(1)
		g.keep(k)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(k)
		until, _ := g.read.claim(k.number)
		again := g.joinAs("a")[0]
		g.wantSame(again, k)
		if p := g.record.places[0]; p.Position != 1 {
			t.Fatalf("who has a turn stands at %d", p.Position)
		}
		r.pass(5 * time.Second)
		g.wantTurns(k)
		if still, _ := g.read.claim(k.number); still != until || g.read.Turned != 2 {
			t.Fatalf("joining again moved the claim by %v, with %d turns given", still.Sub(until), g.read.Turned)
		}
		g.enter(again)
	})

	t.Run("ALapsedPlaceIsTheSamePlace", func(t *testing.T) {
		r, g := openRig(t, open(t), with(full(), func(l *admission.Limits) { l.Claim = 5 * time.Second }))
		inside := g.fill(1)
		k := g.joinAs("a")[0]
		next := g.wait(1)[0]
		g.leave(inside[0])
		r.pass(7 * time.Second)
		g.wantTurns(next)
		again := g.joinAs("a")[0]
		g.wantSame(again, k)
		r.pass(time.Second) // it waits no more than a poll would make it
		g.wantTurns(next)
		if g.read.Waiting != 0 {
			t.Fatal("joining again brought a lapsed number back: only a protected request does")
		}
		g.wantKnock(again, admission.EntryWaiting)
		r.pass(5 * time.Second)
		g.wantTurns(k)
	})

	t.Run("WhoIsInsideHasTheSameSessionWithTheSameEnd", func(t *testing.T) {
		r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 2 }))
		g2 := r.gateway(g1.limits)
		atOnce := g1.joinAs("a")[0]
		g1.fill(1)
		waited := g1.joinAs("b")[0]
		g1.keep(waited)
		r.pass(g1.limits.Claim*2 + 10*time.Second) // the first was brief: its seat is the other's
		g1.enter(waited)
		second := g1.joinAs("c")[0]
		if atOnce.session.Visitor == "" || second.inside() {
			t.Fatal("the case wants one who is inside")
		}
		session := waited.session
		for _, g := range []*gateway{g1, g2, g1} {
			r.pass(7 * time.Second)
			again := g.joinAs("b")[0]
			g.wantSame(again, waited)
			if again.session != session {
				t.Fatalf("the session was %+v, and joining again %+v", session, again.session)
			}
		}
		if head := r.tick(); head.Sessions != 2 || head.Waiting != 1 {
			t.Fatalf("joining again made %d sessions with %d waiting", head.Sessions, head.Waiting)
		}
	})

	t.Run("ASessionOfAJoinIsGivenAgain", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		k := g.joinAs("a")[0]
		r.pass(20 * time.Second)
		again := g.joinAs("a")[0]
		if g.wantSame(again, k); again.session != k.session || !k.inside() {
			t.Fatalf("the session was %+v, and joining again %+v", k.session, again.session)
		}
	})

	t.Run("WhoseStayIsOverIsNew", func(t *testing.T) {
		for name, end := range map[string]func(r *rig, g *gateway, k *ticket){
			"a session that ended": func(r *rig, g *gateway, k *ticket) {
				r.step = time.Second
				r.pass(g.limits.Idle + 10*time.Second)
			},
			"a session that was left": func(r *rig, g *gateway, k *ticket) { g.leave(k) },
		} {
			r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Idle = 2 * time.Minute }))
			k := g.joinAs("a")[0]
			end(r, g, k)
			again := g.joinAs("a")[0]
			if again.number != k.number+1 || again.visitor == k.visitor {
				t.Fatalf("%s: number %d of %s came again as %d of %s", name, k.number, k.visitor, again.number, again.visitor)
			}
			g.wantSame(g.joinAs("a")[0], again)
		}
	})

	t.Run("WhosePlaceIsGivenUpLostOrResetIsNew", func(t *testing.T) {
		for name, end := range map[string]func(r *rig, g *gateway, k *ticket, inside []*ticket){
			"left": func(r *rig, g *gateway, k *ticket, _ []*ticket) { g.leave(k) },
			"lost": func(r *rig, g *gateway, k *ticket, inside []*ticket) {
				r.pass(45 * time.Second) // absent
				next := g.wait(1)[0]
				g.leave(inside[0])
				r.pass(time.Second)
				g.enter(next) // passed
				r.step = time.Second
				r.pass(2 * g.limits.HoldPlace)
			},
			"reset": func(r *rig, g *gateway, k *ticket, _ []*ticket) { g.reset() },
		} {
			r, g := openRig(t, open(t), short)
			inside := g.fill(1)
			k := g.joinAs("a")[0]
			end(r, g, k, inside)
			again := g.joinAs("a")[0]
			if again.visitor == k.visitor || again.epoch == k.epoch && again.number <= k.number {
				t.Fatalf("%s: %+v came again as %+v", name, *k, *again)
			}
			g.wantSame(g.joinAs("a")[0], again)
			g.wantKnock(again, admission.EntryWaiting)
		}
	})

	t.Run("WhoGetsOnePlaceOnlyIsSpentWhenThatIsOver", func(t *testing.T) {
		for name, end := range map[string]func(r *rig, g *gateway, k *ticket){
			"left":  func(r *rig, g *gateway, k *ticket) { g.leave(k) },
			"ended": func(r *rig, g *gateway, k *ticket) { g.renew(k); r.step = time.Second; r.pass(2 * time.Minute) },
		} {
			r, g1 := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Idle = 30 * time.Second }))
			g2 := r.gateway(g1.limits)
			k := g1.joinOnce("a")
			for _, g := range []*gateway{g1, g2} {
				if again := g.joinOnce("a"); again.number != k.number || again.visitor != k.visitor {
					t.Fatalf("number %d of %s came again as %d of %s", k.number, k.visitor, again.number, again.visitor)
				}
			}
			end(r, g1, k)
			for _, g := range []*gateway{g1, g2} {
				sent := g.people("a")
				sent[0].Once = true
				for range 2 { // a batch that comes again is answered alike
					g.joinBatch(name+g.name, sent)
					if p := g.record.places[0]; !p.Spent || p.Number != 0 {
						t.Fatalf("%s: who had the one place got %+v", name, p)
					}
				}
			}
			if other := g2.joinOnce("b"); other.number != k.number+1 {
				t.Fatalf("%s: another got number %d after %d", name, other.number, k.number)
			}
		}
	})

	t.Run("WhoGetsOnePlaceOnlyIsForgottenInTime", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		k := g.joinOnce("a")
		g.leave(k)
		r.step = 10 * time.Second
		r.pass(admission.OnceTime - 10*time.Second)
		if again := g.joinOnce("a"); again.number != 0 {
			t.Fatalf("before its time was over it got number %d", again.number)
		}
		r.pass(10 * time.Second)
		if again := g.joinOnce("a"); again.number == 0 {
			t.Fatal("it is still remembered")
		}
	})

	t.Run("AResetMakesNoPlaceOfASessionOfTheEpochBefore", func(t *testing.T) {
		// Its number is another's now: together with the new epoch it would be
		// the ticket of someone else.
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 1 }))
		k := g.joinAs("a")[0]
		g.renew(k)
		g.reset()
		other := g.wait(1)[0]
		again := g.joinAs("a")[0]
		if again.number == other.number || again.inside() {
			t.Fatalf("after a reset the identity holds %+v, and number %d is another's", *again, other.number)
		}
		r.tick()
		g.want(k, g.show(k), admission.EntryAdmitted) // by its own token
	})

	t.Run("ACrashCostsNoIdentityItsPlace", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil {
			return
		}
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity = 1 }))
		inside := g.joinAs("a")[0]
		g.renew(inside)
		waiting := g.joinAs("b")[0]
		g.keep(waiting)
		for range 2 {
			r.crash()
			r.settle()
			g.wantSame(g.joinAs("b")[0], waiting)
			again := g.joinAs("a")[0]
			if g.wantSame(again, inside); again.session.Max != inside.session.Max || again.session.Until < inside.session.Until {
				t.Fatalf("the session was %+v, and after a crash %+v", inside.session, again.session)
			}
		}
		g.leave(inside)
		r.crash()
		r.settle()
		if again := g.joinAs("a")[0]; again.visitor == inside.visitor || again.number <= waiting.number {
			t.Fatalf("a session that was left came back after a crash as number %d", again.number)
		}
	})
}

// people are visitors whom the shop knows; "" is nobody.
func (r *rig) people(identities ...string) []admission.Newcomer {
	newcomers := r.visitors(len(identities))
	for i, identity := range identities {
		newcomers[i].Identity = identity
	}
	return newcomers
}

// joinAs lets new visitors of these identities join in one batch.
func (g *gateway) joinAs(identities ...string) []*ticket {
	g.Helper()
	return g.joinBatch(fmt.Sprintf("%s-%d", g.name, g.named), g.people(identities...))
}

// joinOnce lets one visitor join of an identity that gets one place only.
func (g *gateway) joinOnce(identity string) *ticket {
	g.Helper()
	newcomers := g.people(identity)
	newcomers[0].Once = true
	return g.joinBatch(fmt.Sprintf("%s-%d", g.name, g.named), newcomers)[0]
}

func (g *gateway) wantSame(got, want *ticket) {
	g.Helper()
	if got.number != want.number || got.visitor != want.visitor || got.epoch != want.epoch {
		g.Fatalf("after %v: number %d of epoch %d, %s; want number %d of epoch %d, %s",
			g.passed, got.number, got.epoch, got.visitor, want.number, want.epoch, want.visitor)
	}
}
