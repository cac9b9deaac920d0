package redisstore_test

import (
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// throughOutages has a crowd on two gateways live through a Redis that is
// killed and one that hangs, and newcomers come meanwhile. asks looks at what
// each of them is told until Redis is back; then all of them join.
func throughOutages(t *testing.T, open bool, asks func(a answer)) *crowd {
	t.Helper()
	settings := crowdSettings()
	settings.OpenOnFailure = open
	server := redistest.Single(t)
	link := redistest.NewLink(t, server.Addr)
	o := defaults(redisstore.Single, link.Addr)
	c := gather(t, crowdSize, openGateways(t, zap.NewNop(), settings, connect(t, o), connect(t, o))...)
	for _, outage := range []struct {
		name       string
		begin, end func()
	}{
		{"Redis was killed", server.Kill, func() { server.Restart() }},
		{"Redis became a black hole", link.BlackHole, link.Heal},
	} {
		c.mark(outage.name)
		outage.begin()
		c.await("the gateways to say that the line is away", func() bool {
			return c.gateways[0].room.Figures().Stale && c.gateways[1].room.Figures().Stale
		})
		newcomers := make([]*visitor, 30)
		for i := range newcomers {
			newcomers[i] = &visitor{crowd: c}
		}
		for end := time.Now().Add(2 * time.Second); time.Now().Before(end); c.linger(20 * time.Millisecond) {
			for _, v := range newcomers {
				asks(v.ask(arrive))
			}
		}
		c.mu.Lock()
		c.people = append(c.people, newcomers...)
		c.mu.Unlock()
		at := c.mark("the end of: " + outage.name)
		outage.end()
		c.recovers(at)
		for _, v := range newcomers {
			c.await("who came meanwhile to get a number", func() bool { return v.ask(arrive).number() != 0 })
		}
		c.linger(time.Second)
	}
	c.check()
	return c
}

func TestOutage_NewcomersAreHeldAndJoinByThemselves(t *testing.T) {
	t.Parallel()
	told := 0
	c := throughOutages(t, false, func(a answer) {
		told++
		if a.Pass || a.Reason != admission.HoldUnavailable || !a.Status.Unavailable || a.Status.PollAfter <= 0 {
			t.Errorf("a newcomer got %+v by %s, want to be told that the line cannot be asked, and to ask again", a.Verdict, a.gateway.name)
		}
	})
	t.Logf("newcomers were told %d times that the line cannot be asked", told)
	for _, v := range c.people {
		if len(v.guest) > 0 {
			t.Errorf("passed without a turn: %s", c.story(v.number()))
		}
	}
}

// Each gateway lets visitors pass at the activity's rate by itself. They have
// no session and no seat: when Redis is back they stand in line like everyone,
// and the capacity is that of the sessions, as ever.
func TestOutage_NewcomersPassAtTheRateOfEachGatewayWhereTheAdminChoseSo(t *testing.T) {
	t.Parallel()
	passed := map[*gateway]int{}
	c := throughOutages(t, true, func(a answer) {
		switch {
		case a.Pass && a.Reason == admission.PassOutage:
			passed[a.gateway]++
			if a.Session != (admission.Session{}) || a.Queue.Token != "" || a.Admission.Token != "" {
				t.Errorf("who passed for the outage was given %+v", a.Verdict)
			}
		case a.Pass || a.Reason != admission.HoldUnavailable:
			t.Errorf("a newcomer got %+v by %s, want to pass for the outage or to be told of it", a.Verdict, a.gateway.name)
		}
	})
	limits, inside := crowdLimits(), c.inside()
	for _, g := range c.gateways {
		var guests []answer
		for _, v := range c.people {
			for _, a := range v.guest {
				if inside(a) {
					t.Errorf("a visitor inside passed for the outage alone: %s", c.story(v.number()))
				}
				if a.gateway == g {
					guests = append(guests, a)
				}
			}
		}
		t.Logf("%s let %d visitors pass, %d of them newcomers", g.name, len(guests), passed[g])
		if passed[g] <= 2*int(limits.Burst) {
			t.Errorf("%s let %d newcomers pass in two outages, want more than the burst of each", g.name, passed[g])
		}
		// In any stretch of time at most the burst and what the rate gives.
		slices.SortFunc(guests, func(a, b answer) int { return a.answered.Compare(b.answered) })
		for i := range guests {
			from := guests[i].asked
			for j := i; j < len(guests); j++ {
				if guests[j].asked.Before(from) {
					from = guests[j].asked
				}
				to := guests[j].answered
				most := float64(limits.Burst) + to.Sub(from).Hours()*float64(limits.RatePerHour)
				if n := j - i + 1; float64(n) > most {
					t.Fatalf("%s let %d visitors pass within %v, %s, want at most %.1f", g.name, n, to.Sub(from), c.when(to), most)
				}
			}
		}
	}
}
