package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// rate holds a store to R: over any span t, turns given are at most rate × t +
// burst, and where visitors wait they are no fewer.
func rate(t *testing.T, open Opener) {
	// crowd opens a line over which nothing but the rate decides.
	crowd := func(t *testing.T, n int, limits admission.Limits) (*rig, *gateway) {
		limits.Capacity, limits.Absence, limits.Claim = 0, 24*time.Hour, time.Second
		r, g := openRig(t, open(t), with(limits, func(l *admission.Limits) { l.Mode = admission.ModeHold }))
		for ; n > 0; n -= 5000 {
			g.join(min(n, 5000))
		}
		r.advance(admission.Tick)
		r.tick()
		return r, g
	}
	// resume lets a held line go; its credit starts at 0.
	resume := func(g *gateway) int64 {
		g.limits.Mode = admission.ModeAuto
		return g.release().Turned
	}

	t.Run("CreditIsExact", func(t *testing.T) {
		for _, c := range []struct {
			name    string
			perHour int64
			span    time.Duration
			steps   []time.Duration // odd ones, so that any rounding adds up
		}{
			{"150/s", 150 * 3600, 3 * time.Minute, []time.Duration{250 * time.Millisecond, 333 * time.Millisecond, 7 * time.Millisecond, 999_999 * time.Microsecond}},
			{"7/m", 7 * 60, time.Hour, []time.Duration{250 * time.Millisecond, 333_333 * time.Microsecond, time.Microsecond, 9 * time.Second}},
			{"1/h", 1, 3 * time.Hour, []time.Duration{9_999_999 * time.Microsecond, time.Microsecond, 3 * time.Second}},
			{"7001/h", 7001, time.Hour, []time.Duration{1234567 * time.Microsecond, 250 * time.Millisecond}},
		} {
			t.Run(c.name, func(t *testing.T) {
				want := c.perHour * int64(c.span/time.Second) / 3600
				r, g := crowd(t, int(want)+100, with(usual(), func(l *admission.Limits) { l.RatePerHour, l.Burst = c.perHour, 1000 }))
				before := resume(g)
				from := r.passed
				for i := 0; r.passed-from < c.span; i++ {
					r.advance(min(c.steps[i%len(c.steps)], c.span-(r.passed-from)))
					g.release()
				}
				if got := g.read.Turned - before; got != want {
					t.Fatalf("%d turns in %v, want %d", got, c.span, want)
				}
			})
		}
	})

	t.Run("ALineNobodyHasAFloorOfStartsWithItsBurst", func(t *testing.T) {
		for _, first := range []string{"release", "join", "present"} {
			t.Run("First"+first, func(t *testing.T) {
				r := newRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Burst = 4 }))
				g := r.gates[0]
				switch first {
				case "join":
					if given := g.join(1); given != nil {
						t.Fatalf("a line without limits gave number %d", given[0].number)
					}
				case "present":
					g.present()
				}
				r.advance(admission.Tick)
				r.settle()
				admitted := 0
				for _, k := range g.join(10) {
					if k.inside() {
						admitted++
					}
				}
				if admitted < 4 || admitted > 5 {
					t.Fatalf("%d of ten were admitted at once, want the burst of 4", admitted)
				}
			})
		}
	})

	t.Run("TheBurstIsGivenOnce", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.Burst = 0, 3 }))
		for range 5 {
			r.tick() // nobody waits: released must not run ahead of issued
		}
		inside := 0
		for _, k := range g.join(20) {
			if k.inside() {
				inside++
			}
		}
		r.tick()
		if line := g.release(); line.Turned != 3 || inside != 3 {
			t.Fatalf("%d turns given and %d admitted of a burst of 3", line.Turned, inside)
		}
	})

	t.Run("TwoReleasesAtOneInstantChangeNothing", func(t *testing.T) {
		r, g1 := crowd(t, 200, with(usual(), func(l *admission.Limits) { l.RatePerHour, l.Burst = 36000, 20 }))
		g2 := r.gateway(g1.limits)
		g2.limits.Mode = admission.ModeAuto
		resume(g1)
		for range 40 {
			r.advance(admission.Tick)
			first := g1.release().Head
			for range 3 {
				if again := g2.release().Head; again != first {
					t.Fatalf("a second release at one instant made\n%+v of\n%+v", again, first)
				}
			}
		}
	})

	t.Run("IdleTimeIsNotSavedUp", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.RatePerHour, l.Burst = 0, 36000, 5 }))
		r.step = 5 * time.Second
		r.pass(time.Hour)
		g.join(100)
		if line := g.release(); line.Turned != 5 {
			t.Fatalf("%d turns at once after an idle hour, burst is 5", line.Turned)
		}
	})

	t.Run("JoinsBetweenReleasesHaveTheBurstAndNoMore", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.RatePerHour, l.Burst = 0, 36000, 5 }))
		r.advance(9 * time.Second)
		inside := 0
		for _, k := range g.join(50) {
			if k.inside() {
				inside++
			}
		}
		if inside != 5 {
			t.Fatalf("%d of 50 were admitted at once after nine seconds at 10/s, burst is 5", inside)
		}
	})

	t.Run("AnOutageEarnsTenSecondsAtMost", func(t *testing.T) {
		r, g := crowd(t, 200, with(usual(), func(l *admission.Limits) { l.Burst = 100 }))
		before := resume(g)
		r.advance(10 * time.Minute)
		if got := g.release().Turned - before; got != 10 {
			t.Fatalf("%d turns after ten minutes without a release, at 1/s want 10", got)
		}
	})

	t.Run("AResumedLineStartsAtZero", func(t *testing.T) {
		r, g := crowd(t, 200, with(usual(), func(l *admission.Limits) { l.RatePerHour, l.Burst = 36000, 50 }))
		r.pass(time.Minute)
		if got := resume(g); got != 0 {
			t.Fatalf("%d turns in the step that resumed", got)
		}
		r.advance(time.Second)
		if got := g.release().Turned; got != 10 {
			t.Fatalf("%d turns a second after, at 10/s want 10", got)
		}
	})

	t.Run("WhoComesBackIsChargedLikeEveryone", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) {
			l.Capacity, l.RatePerHour, l.Burst, l.Absence = 0, 3600, 1, 20*time.Second
		}))
		g.join(101) // the first takes the burst
		last := g.join(1)[0]
		g.keep(last)
		r.pass(45 * time.Second) // at most as long as some of the hundred count as present
		for range 200 {
			r.pass(time.Second)
			if _, ok := g.read.claim(last.number); ok {
				break
			}
		}
		before := g.read.Turned
		late := g.read.numbersBelow(last.number)
		if len(late) < 20 {
			t.Fatalf("only %d numbers were passed", len(late))
		}
		g.present(late...) // all at once
		for _, n := range late {
			r.stay[n] = true
		}
		r.pass(10 * time.Second)
		if got := g.read.Turned - before; got < 10 || got > 11 {
			t.Fatalf("%d turns in ten seconds to %d who came back, at 1/s", got, len(late))
		}
	})

	t.Run("ALapsedNumberIsChargedAgain", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) {
			l.RatePerHour, l.Burst, l.Claim = 360, 1, 2*time.Second // one in ten seconds
		}))
		g.fill(1)
		k := g.wait(1)[0]
		r.pass(10 * time.Second)
		g.wantTurns(k)
		r.pass(3 * time.Second)
		g.wantTurns()
		g.wantKnock(k, admission.EntryWaiting)
		r.pass(6 * time.Second)
		g.wantTurns()
		r.pass(time.Second)
		g.wantTurns(k)
	})

	t.Run("APausedLineGivesNoneAndSavesNone", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.Burst = 0, 10 }))
		g.join(100)
		r.tick()
		before := g.read.Turned
		g.limits.Mode = admission.ModeHold
		head := r.pass(time.Minute)
		if head.Turned != before || !head.Paused() {
			t.Fatalf("%d turns while the line was held", head.Turned-before)
		}
	})

	t.Run("ARaisedRateEarnsFromThenOn", func(t *testing.T) {
		r, g := crowd(t, 2000, with(usual(), func(l *admission.Limits) { l.Burst = 1000 }))
		before := resume(g)
		r.pass(5 * time.Second)
		g.limits.RatePerHour = 36000
		g.release()
		r.pass(5 * time.Second)
		if got := g.read.Turned - before; got != 55 {
			t.Fatalf("%d turns in five seconds at 1/s and five at 10/s, want 55", got)
		}
	})
}

// numbersBelow returns the numbers below n that wait without being present.
func (v *reading) numbersBelow(n int64) (all []int64) {
	for i := max(1, v.First); i < n; i++ {
		if !v.has(admission.MapWaiting, i) && !v.has(admission.MapOff, i) {
			all = append(all, i)
		}
	}
	return all
}
