package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// healing holds a store to what LINE.md says of lines that lost data. Where a
// store cannot be made to lose it, floors that rise above a line must do.
func healing(t *testing.T, open Opener) {
	// losing runs a case on a line that lost everything.
	losing := func(name string, do func(t *testing.T, bench Bench)) {
		t.Run(name, func(t *testing.T) {
			if bench := open(t); bench.Lose != nil {
				do(t, bench)
			}
		})
	}

	t.Run("ASettlingOfThreeSecondsGivesNothing", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.Burst = 3, 100 }))
		inside := g.fill(3)
		line := g.wait(4)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		g.leave(inside[1]) // a seat comes free while it settles
		g.floor.Issued = 100
		g.mute = true
		opened := g.release()
		if !opened.Settling || !opened.Paused() {
			t.Fatalf("a floor of 100 over a line at 7 opened no settling: %+v", opened.Head)
		}
		for r.advance(admission.Tick); ; r.advance(admission.Tick) {
			line := g.release()
			if elapsed := line.Now.Sub(opened.Now); elapsed >= 3*time.Second {
				if line.Settling {
					t.Fatalf("the line still settles after %v", elapsed)
				}
				break
			} else if !line.Settling {
				t.Fatalf("the line settled for %v", elapsed)
			}
			if given := g.join(1); given != nil {
				t.Fatalf("a settling line gave number %d", given[0].number)
			}
			if line.Turned != opened.Turned || line.Admitted != opened.Admitted {
				t.Fatalf("a settling line gave a turn: %+v", line.Head)
			}
		}
		g.wantKnock(line[2], admission.EntryWaiting)
	})

	t.Run("ATurnCannotBeUsedWhileTheLineSettles", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		inside := g.fill(1)
		k := g.wait(1)[0]
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(k)
		g.floor.Issued = 100
		g.wantKnock(k, admission.EntryWaiting)
		r.settle()
		r.pass(time.Second)
		g.wantKnock(k, admission.EntryAdmitted) // its turn, or its place at the very front
	})

	t.Run("SessionsGoOnWhileTheLineSettles", func(t *testing.T) {
		r, g := openRig(t, open(t), usual())
		k := g.fill(1)[0]
		r.pass(time.Minute)
		g.floor.Issued = 100
		g.release()
		g.want(k, g.renew(k), admission.EntryAdmitted)
		g.want(k, g.show(k), admission.EntryAdmitted)
	})

	t.Run("MemoriesOfALineThatIsWholeChangeNothing", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		g.fill(1)
		g.wait(5)
		r.tick()
		before := g.read.Head
		bits := make([]uint64, admission.PieceNumbers/64)
		bits[0] = 0b11110
		head := g.heal(admission.Memory{
			Now: before.Now, Released: 5, Seats: 9,
			Pieces:   []admission.Piece{{Map: admission.MapDone, Bits: bits}},
			Sessions: []admission.Admission{{Visitor: "x", Number: 2, Until: before.Now.Add(time.Hour), Max: before.Now.Add(time.Hour)}},
			Ended:    []admission.Ended{{Visitor: "v1", Until: before.Now.Add(time.Hour)}},
		})
		if head != before {
			t.Fatalf("a whole line was changed by a memory, from\n%+v to\n%+v", before, head)
		}
		r.tick()
		if len(g.read.numbers(admission.MapDone)) != 1 {
			t.Fatalf("numbers %v are done after a memory, want 1 alone", g.read.numbers(admission.MapDone))
		}
	})

	t.Run("TheLineStartsAtZeroCredit", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity, l.RatePerHour, l.Burst = 0, 36000, 100 }))
		g.fill(1)
		r.pass(30 * time.Second) // all of the burst is there
		g.floor.Issued = 1000
		r.settle()
		inside := 0
		for _, k := range g.join(200) {
			if k.inside() {
				inside++
			}
		}
		if inside > 0 {
			t.Fatalf("%d were admitted in the step that ended settling", inside)
		}
		before := g.read.Turned
		r.pass(time.Second)
		if got := g.read.Turned - before; got != 10 {
			t.Fatalf("%d turns in the first second after, at 10/s", got)
		}
	})

	t.Run("ReleasedStaysBelowTheLeap", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		g.fill(1)
		g.wait(4)
		r.tick()
		g.floor.Issued = 100
		g.read.Released = 90
		if head := r.settle(); head.Released > 100 || head.Released < 90 {
			t.Fatalf("released is %d after healing, want 90", head.Released)
		}
	})

	// A gateway remembers a session as it saw it last, and another may have renewed
	// it since: the seat is to last as long as the token.
	losing("TheLatestEndOfASessionSurvives", func(t *testing.T, bench Bench) {
		r, g1 := openRig(t, bench, usual())
		g2 := r.gateway(usual())
		k := g1.fill(1)[0]
		r.pass(10 * time.Second)
		g2.renew(k)
		until := k.session.Until
		r.lose()
		r.settle()
		g1.want(k, g1.show(k), admission.EntryAdmitted)
		if k.session.Until != until {
			t.Fatalf("after a loss the session ends at %d, want %d", k.session.Until, until)
		}
	})

	losing("EveryPlaceAndItsOrderSurvive", func(t *testing.T, bench Bench) {
		limits := with(usual(), func(l *admission.Limits) { l.Capacity, l.RatePerHour, l.Absence = 3, 36000, 20*time.Second })
		r, g1 := openRig(t, bench, limits)
		g2 := r.gateway(limits)
		inside := g1.fill(3)
		line := append(g1.wait(10), g2.wait(10)...)
		g2.leave(line[3])
		g1.leave(inside[0])
		g1.closeTab(line[5])
		r.pass(2*limits.Absence + time.Second)
		g1.wantTurns(line[0])
		r.lose()
		r.settle()
		r.pass(time.Second)

		if g1.read.Waiting != 17 || g1.read.Sessions != 3 { // one seat was a turn's: nameless now
			t.Fatalf("after a loss %d wait and %d are inside, want 17 and 3", g1.read.Waiting, g1.read.Sessions)
		}
		g1.wantKnock(line[3], admission.EntryGone)    // left
		g1.wantKnock(inside[0], admission.EntryGone)  // left
		g2.wantKnock(line[0], admission.EntryWaiting) // had a turn: first in line
		g2.wantKnock(line[5], admission.EntryWaiting) // was absent: holds its place
		g1.keep(line[0], line[5])
		g1.want(inside[1], g1.show(inside[1]), admission.EntryAdmitted)
		newcomer := g2.wait(1)[0]
		for _, k := range append(inside[1:], &ticket{visitor: "nobody"}) {
			g1.leave(k)
		}
		r.step = time.Second
		var got []int64
		for range 400 {
			r.pass(5 * time.Second)
			for _, k := range append(line, newcomer) {
				if _, ok := g1.read.claim(k.number); ok {
					g1.enter(k)
					g1.leave(k)
					got = append(got, k.number)
				}
			}
		}
		for i := 1; i < len(got); i++ {
			if got[i] < got[i-1] {
				t.Fatalf("turns came in the order %v", got)
			}
		}
		if len(got) != 20 {
			t.Fatalf("%d had their turn, want 20: %v", len(got), got)
		}
	})

	losing("SessionsThatAGatewaySawAreBack", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity = 4 }))
		inside := g.fill(4)
		g.leave(inside[3])
		r.pass(time.Second)
		before := inside[0].session
		r.lose()
		if head := r.settle(); head.Sessions != 3 {
			t.Fatalf("%d sessions after a loss, want the three that were brought", head.Sessions)
		}
		if again := g.enter(inside[0]); again != before {
			t.Fatalf("a session was %+v, and after a loss %+v", before, again)
		}
		g.want(inside[3], g.show(inside[3]), admission.EntryGone)
		for _, k := range inside[:3] {
			g.want(k, g.renew(k), admission.EntryAdmitted)
		}
	})

	losing("NoSessionIsDeclaredOverBeforeGatewaysCouldBringIt", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, usual())
		k := g.fill(1)[0]
		r.pass(time.Minute)
		r.lose()
		if e := g.renew(k); e.Outcome == admission.EntryGone { // the very first step after
			t.Fatal("a renewal that came before the gateway's tick ended the session")
		}
		delete(g.ended, k.visitor)
		r.settle()
		g.want(k, g.renew(k), admission.EntryAdmitted)
	})

	losing("NoPlaceIsDeclaredOverWhileTheLineSettles", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, full())
		k := g.fill(1)[0]
		line := g.wait(3)
		r.pass(time.Second)
		r.lose()
		g.wantKnock(line[2], admission.EntryWaiting) // the very first step after
		if e := g.show(k); e.Outcome == admission.EntryGone {
			t.Fatal("a session is over before gateways could bring it")
		}
		g.mute = true
		g.release()
		r.advance(time.Second)
		g.wantKnock(line[1], admission.EntryWaiting)
		g.mute = false
		r.settle()
		for _, k := range line {
			g.wantKnock(k, admission.EntryWaiting)
		}
	})

	losing("ANumberThatEnteredIsSpentWhereOnlyItsTokenTells", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, usual())
		k := g.fill(1)[0]
		r.pass(time.Second)
		r.lose()
		g.mute = true // nobody is left who knew of the line but its visitors
		r.settle()
		g.want(k, g.show(k), admission.EntryAdmitted)
		g.wantKnock(&ticket{visitor: "thief", number: k.number, epoch: k.epoch}, admission.EntryGone)
	})

	losing("ASessionNobodyBroughtEntersAgainByItsToken", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity = 3 }))
		inside := g.fill(3)
		line := g.wait(2)
		r.pass(time.Minute)
		g.inside = map[string]admission.Admission{} // the gateway that saw them is gone, its count of seats is not
		r.lose()
		head := r.settle()
		if head.Sessions != 3 {
			t.Fatalf("%d seats stand after a loss, want three nameless ones", head.Sessions)
		}
		r.pass(2 * time.Second)
		g.wantTurns() // no seat is free
		if e := g.renew(inside[0]); e.Outcome == admission.EntryGone {
			t.Fatal("a renewal ended a session that could still enter again")
		}
		delete(g.ended, inside[0].visitor)
		for i, k := range inside[:2] {
			most := k.session.Max
			e := g.show(k)
			g.want(k, e, admission.EntryAdmitted)
			if e.Admission.Max != most || e.Admission.Until.Sub(r.record.now) > g.limits.Idle {
				t.Fatalf("session %d entered again as %+v", i, e.Admission)
			}
			if head := r.tick(); head.Sessions != 3 {
				t.Fatalf("%d seats after %d sessions entered again, want 3: each takes a nameless one", head.Sessions, i+1)
			}
			again := g.show(k)
			if again.Admission != e.Admission {
				t.Fatalf("shown again: %+v, want %+v", again.Admission, e.Admission)
			}
			g.wantKnock(&ticket{visitor: "thief", number: k.number, epoch: k.epoch}, admission.EntryGone)
		}
		// The third never comes: its seat is free when idle has passed.
		for _, k := range inside[:2] {
			g.renew(k)
		}
		r.pass(9 * time.Minute)
		g.wantTurns()
		for _, k := range inside[:2] {
			g.renew(k)
		}
		r.pass(70 * time.Second)
		g.wantTurns(line[0])
	})

	losing("ATokenSignedSinceDoesNotEnterAgain", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Idle = 30 * time.Second }))
		g.fill(1)
		r.pass(time.Second)
		r.lose()
		r.settle()
		r.pass(2 * time.Second)
		k := g.join(1)[0]
		r.pass(40 * time.Second) // its session ended
		g.want(k, g.show(k), admission.EntryGone)
		k.number = 0
		g.want(k, g.show(k), admission.EntryGone)
	})

	losing("ASessionThatWasLeftDoesNotEnterAgain", func(t *testing.T, bench Bench) {
		r, g1 := openRig(t, bench, usual())
		g2 := r.gateway(usual())
		inside := g1.fill(3)
		r.pass(10 * time.Second)
		g1.leave(inside[0]) // before the loss, and only g1 and g2 know
		r.pass(time.Second)
		g2.ended = map[string]admission.Instant{} // g2 has started anew
		g1.inside = map[string]admission.Admission{inside[0].visitor: g1.inside[inside[0].visitor]}
		g2.inside = map[string]admission.Admission{inside[0].visitor: inside[0].session} // and knows the session from a token
		r.lose()
		g1.leave(inside[1]) // while the line settles, which knows nothing of it
		r.settle()
		g2.want(inside[0], g2.show(inside[0]), admission.EntryGone)
		g2.want(inside[1], g2.show(inside[1]), admission.EntryGone)
		g1.leave(inside[2]) // after it, and the line still knows nothing of it
		g2.want(inside[2], g2.show(inside[2]), admission.EntryGone)
		r.pass(time.Second)
		if _, heard := g2.ended[inside[2].visitor]; !heard {
			t.Fatal("a session left after a loss is not told to the other gateway")
		}
		if got := g1.read.Sessions; got > 2 { // what is nameless stands until idle has passed
			t.Fatalf("%d seats after three of three left", got)
		}
	})

	losing("NobodyCouldBePresentWhereNobodyBroughtAMap", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity, l.RatePerHour = 2, 0 }))
		inside := g.fill(2)
		line := g.wait(6)
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(line[0])
		g.closeTab(line...)
		r.lose()
		g.mute = true
		r.settle()
		g.wantKnock(line[4], admission.EntryWaiting) // the first heard of is not the first in line
		g.keep(line[4])
		r.pass(g.limits.Absence / 2)
		if k := g.join(1)[0]; k.inside() {
			t.Fatal("a newcomer passed those who were waiting before the loss")
		}
		g.keep(line[1])
		r.pass(g.limits.Absence/2 + 2*time.Second)
		g.wantTurns(line[1], line[4])
	})

	losing("TheLinesTimeNeverRunsBack", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, full())
		g.fill(1)
		g.wait(2)
		r.tick()
		r.lose()
		g.mute = true
		g.release()
		expected := r.record.now.Add(time.Hour) // by a gateway: the new server's clock is behind
		g.heal(admission.Memory{Now: expected, Released: 1})
		if head := r.settle(); head.Now < expected {
			t.Fatalf("the line's time is %v before what gateways knew it to be", expected.Sub(head.Now))
		}
		at := g.read.Now
		r.pass(10 * time.Second)
		if got := g.read.Now.Sub(at); got != 10*time.Second {
			t.Fatalf("%v passed for the line in ten seconds", got)
		}
	})

	short := with(full(), func(l *admission.Limits) { l.Idle = 10 * time.Minute })

	// A server that takes over has a clock of its own, and may have all of the
	// data, or none.
	t.Run("ANewServersClockDoesNotMoveTheLine", func(t *testing.T) {
		if bench := open(t); bench.Crash == nil || bench.Lose == nil || !bench.Shared {
			return
		}
		for what, takesOver := range map[string]func(*rig){"with its data": (*rig).crash, "empty": (*rig).lose} {
			t.Run(what, func(t *testing.T) {
				bench := open(t)
				r, g := openRig(t, bench, short)
				inside := g.fill(1)[0]
				line := g.wait(2)
				r.pass(time.Second)
				before := g.read.Now
				r.record.lost()
				for _, by := range []time.Duration{time.Hour, -2 * time.Hour} {
					bench.Advance(by)
					takesOver(r)
					head := r.settle()
					if passed := head.Now.Sub(before); passed < 0 || passed > time.Minute {
						t.Fatalf("%v passed for the line while a server whose clock is off by %v took over", passed, by)
					}
				}
				r.tick()
				if g.read.Sessions != 1 {
					t.Fatalf("%d sessions of 1", g.read.Sessions)
				}
				g.want(inside, g.show(inside), admission.EntryAdmitted)
				g.wantKnock(line[0], admission.EntryWaiting)
			})
		}
	})

	t.Run("AServerThatNobodyRemembersGoesByItsClock", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil || !bench.Shared {
			return
		}
		r, g := openRig(t, bench, short)
		g.fill(1)
		g.wait(2)
		r.tick()
		before := g.read.Now
		g.mute = true // all gateways were off, too
		bench.Advance(time.Hour)
		r.crash()
		if passed := r.settle().Now.Sub(before); passed < time.Hour {
			t.Fatalf("%v passed for the line in an hour", passed)
		}
		r.tick()
		if g.read.Sessions != 0 {
			t.Fatalf("%d sessions outlived an hour in which nothing ran", g.read.Sessions)
		}
	})

	losing("AnEpochThatIsOverStaysOver", func(t *testing.T, bench Bench) {
		r, g1 := openRig(t, bench, full())
		g2 := r.gateway(full())
		g1.fill(1)
		old := g1.wait(30)
		r.tick()
		behind := g2.read // g2 does not hear of the reset
		g2.off = true
		g1.reset()
		r.stay = map[int64]bool{}
		line := g1.wait(3)
		r.pass(time.Second)
		r.lose()
		g1.release()
		g2.floor = admission.Floor{Epoch: behind.Epoch, Issued: behind.Issued}
		g2.heal(g2.memory(behind))
		head := r.settle()
		if head.Epoch != line[0].epoch || head.Waiting != 3 {
			t.Fatalf("after a loss epoch %d with %d waiting, want %d with 3", head.Epoch, head.Waiting, line[0].epoch)
		}
		g1.wantKnock(old[0], admission.EntryGone)
		g1.wantKnock(line[0], admission.EntryWaiting)
	})

	t.Run("AResetWhileTheLineSettles", func(t *testing.T) {
		r, g := openRig(t, open(t), with(usual(), func(l *admission.Limits) { l.Capacity = 3 }))
		inside := g.fill(3)
		g.wait(2)
		g.leave(inside[0])
		r.pass(time.Second)
		g.floor.Issued = 100
		g.release()
		head := g.reset()
		r.stay = map[int64]bool{}
		head = r.settle()
		if head.Released != 0 || head.Waiting != 0 {
			t.Fatalf("what was of the epoch before counts in the next: %+v", head)
		}
		g.join(1)
		r.pass(time.Second)
	})

	behind := func(name string, do func(t *testing.T, bench Bench)) {
		t.Run(name, func(t *testing.T) {
			if bench := open(t); bench.Keep != nil {
				do(t, bench)
			}
		})
	}

	behind("ACopyThatIsBehindIsBroughtUpToDate", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity = 3 }))
		inside := g.fill(3)
		line := g.wait(6)
		g.leave(inside[0])
		r.pass(2 * time.Second)
		g.wantTurns(line[0])
		restore := bench.Keep()
		g.enter(line[0])
		g.leave(line[2])
		g.leave(inside[1])
		r.pass(2 * time.Second)
		g.wantTurns(line[1])
		g.enter(line[1])
		late := g.wait(3)
		g.leave(inside[2])
		r.pass(2 * time.Second)
		g.wantTurns(line[3])
		restore()
		r.record.lost()
		r.settle()
		r.tick()
		if g.read.Sessions > 3 || g.read.Seats() > 3 {
			t.Fatalf("after a fail-over %d sessions and %d seats of 3", g.read.Sessions, g.read.Seats())
		}
		for _, k := range line[:2] {
			g.want(k, g.show(k), admission.EntryAdmitted)
			if g.read.has(admission.MapWaiting, k.number) {
				t.Fatalf("number %d entered, and waits again", k.number)
			}
		}
		g.wantKnock(line[2], admission.EntryGone)
		g.wantKnock(inside[1], admission.EntryGone)
		g.wantKnock(inside[2], admission.EntryGone)
		for _, k := range append(line[4:], late...) {
			g.wantKnock(k, admission.EntryWaiting)
		}
		r.pass(g.limits.Idle + time.Minute)
		for _, k := range line[:2] {
			g.leave(k)
		}
		r.pass(10 * time.Second)
		g.wantKnock(line[3], admission.EntryWaiting)
		r.pass(2 * g.limits.Claim)
		if g.read.Turned <= 5 {
			t.Fatalf("the line no longer moves: %+v", g.read.Head)
		}
	})

	behind("ACopyOfAnEarlierEpochGivesUpItsOwn", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity, l.RatePerHour, l.Claim = 5, 0, time.Second }))
		inside := g.fill(5)
		g.wait(40)
		g.leave(inside[0])
		r.pass(30 * time.Second)
		if g.read.Released < 20 {
			t.Fatalf("released is %d, the case wants more", g.read.Released)
		}
		restore := bench.Keep()
		g.limits.Mode = admission.ModeHold
		r.tick()
		g.reset()
		r.stay = map[int64]bool{}
		line := g.wait(50)
		r.pass(time.Second)
		released := g.read.Released
		restore()
		r.record.lost()
		head := r.settle()
		if head.Epoch != line[0].epoch || head.Released != released {
			t.Fatalf("after a fail-over to a copy of epoch %d: epoch %d and released %d, want %d and %d",
				line[0].epoch-1, head.Epoch, head.Released, line[0].epoch, released)
		}
	})

	// Nobody joined since the copy was made: no floor tells that it is behind. A
	// store of one process cannot be behind its gateway, which ends with it.
	behind("AnotherProcessSettlesThoughNoFloorTellsWhatItLost", func(t *testing.T, bench Bench) {
		if bench.Crash == nil || !bench.Shared {
			return
		}
		r, g := openRig(t, bench, full())
		inside := g.fill(1)
		line := g.wait(3)
		r.tick()
		restore := bench.Keep()
		g.leave(inside[0])
		r.pass(time.Second)
		g.enter(line[0])
		g.leave(line[1])
		r.tick()
		restore()
		r.record.lost()
		r.crash()
		if head := g.release().Head; !head.Settling {
			t.Fatalf("another process, whose data are older, opened no settling: %+v", head)
		}
		r.settle()
		r.tick()
		if g.read.Sessions != 1 || g.read.Seats() != 1 {
			t.Fatalf("%d sessions and %d seats of 1", g.read.Sessions, g.read.Seats())
		}
		g.want(line[0], g.show(line[0]), admission.EntryAdmitted)
		g.wantKnock(inside[0], admission.EntryGone)
		g.wantKnock(line[1], admission.EntryGone)
		g.wantKnock(line[2], admission.EntryWaiting)
	})

	behind("ASessionTakesTheSeatOfTheTurnItCameFrom", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, full())
		inside := g.fill(1)
		k := g.wait(1)[0]
		g.leave(inside[0])
		r.pass(time.Second)
		g.wantTurns(k)
		restore := bench.Keep()
		g.enter(k)
		g.wait(2)
		r.pass(time.Second)
		restore()
		r.record.lost()
		g.mute = true // nobody remembers that the turn was taken
		r.settle()
		g.want(k, g.show(k), admission.EntryAdmitted)
		if head := r.tick(); head.Sessions != 1 || head.Seats() != 1 {
			t.Fatalf("%d sessions and %d seats of one that was entered", head.Sessions, head.Seats())
		}
	})

	behind("ACopyForgetsWhatNobodyKeepsTrackOf", func(t *testing.T, bench Bench) {
		const first = 1 << 18
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity = 3 }))
		inside := g.fill(3)
		line := g.wait(6)
		g.leave(inside[0])
		r.pass(2 * time.Second)
		g.wantTurns(line[0])
		restore := bench.Keep()
		g.floor.Issued = first + 10
		restore()
		r.record.lost()
		g.mute = true
		g.release()
		g.heal(admission.Memory{Now: r.record.now, First: first, Released: first})
		g.closeTab(line...)
		r.settle()
		r.pass(time.Second)
		if g.read.Waiting != 0 || g.read.Turns != 0 || g.read.Sessions != 2 {
			t.Fatalf("%d wait, %d have turns and %d are inside; want none, none and two", g.read.Waiting, g.read.Turns, g.read.Sessions)
		}
		g.wantKnock(line[0], admission.EntryGone)
		g.wantKnock(line[1], admission.EntryGone)
		r.pass(g.limits.Absence) // nobody brought a map
		if k := g.join(1)[0]; !k.inside() {
			t.Fatal("a newcomer waits behind no one")
		}
	})

	losing("NoSeatIsForgottenBeforeLimitsAreTold", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, with(usual(), func(l *admission.Limits) { l.Capacity = 2 }))
		g.fill(2)
		g.wait(1)
		r.pass(time.Second)
		r.lose()
		g.mute = true
		g.join(1) // the gateway's next tick is late
		g.heal(admission.Memory{Now: r.record.now, Released: 2, Seats: 2})
		r.advance(4 * time.Second)
		if given := g.join(1); given != nil {
			t.Fatalf("a line without limits gave number %d", given[0].number)
		}
		r.settle()
		r.pass(time.Minute)
		if g.read.Sessions != 2 {
			t.Fatalf("%d seats stand a minute after a loss, want two until idle has passed", g.read.Sessions)
		}
	})

	losing("WhatOneGatewayKnowsToHaveEndedNoOtherBringsBack", func(t *testing.T, bench Bench) {
		for _, endedFirst := range []bool{true, false} {
			r, g := openRig(t, bench, usual())
			k := g.fill(1)[0]
			r.pass(time.Second)
			r.lose()
			g.mute = true
			g.release()
			memories := []admission.Memory{
				{Now: r.record.now, Ended: []admission.Ended{{Visitor: k.visitor, Until: k.session.Max}}},
				{Now: r.record.now, Sessions: []admission.Admission{k.session}},
			}
			if !endedFirst {
				memories[0], memories[1] = memories[1], memories[0]
			}
			for _, m := range memories {
				g.heal(m)
			}
			r.settle()
			if g.read.Sessions != 0 {
				t.Fatalf("%d seats of a session that had ended, ended told first: %v", g.read.Sessions, endedFirst)
			}
			g.want(k, g.show(k), admission.EntryGone)
			bench.Lose() // the next round begins with an empty store
		}
	})

	losing("AResetOfALineThatLostItsEpochIsOfTheNext", func(t *testing.T, bench Bench) {
		r, g := openRig(t, bench, full())
		g.fill(1)
		for range 3 {
			g.reset()
		}
		r.stay = map[int64]bool{}
		line := g.wait(2)
		r.pass(time.Second)
		r.lose()
		g.mute = true // its floor is all that is known by now
		g.release()
		g.reset()
		r.stay = map[int64]bool{}
		if head := r.settle(); head.Epoch <= line[0].epoch {
			t.Fatalf("epoch %d after a reset of epoch %d", head.Epoch, line[0].epoch)
		}
		g.wantKnock(line[0], admission.EntryGone)
	})

	// Who entered, left or lost the place long ago has no bit in any map.
	losing("NumbersThatNobodyKeptTrackOfAreOver", func(t *testing.T, bench Bench) {
		const first = 1 << 18
		r, g := openRig(t, bench, full())
		g.fill(1)
		g.wait(2)
		r.tick()
		r.lose()
		g.mute = true
		g.floor.Issued = first + 10
		g.release()
		g.heal(admission.Memory{Now: r.record.now, First: first, Released: first, Seats: 1})
		r.settle()
		for _, n := range []int64{1, 3, 4096, first - 1} {
			g.wantKnock(&ticket{visitor: "old", number: n, epoch: 1}, admission.EntryGone)
		}
		g.wantKnock(&ticket{visitor: "new", number: first + 5, epoch: 1}, admission.EntryWaiting)
		if g.release(); g.read.First != first || g.read.Waiting != 1 {
			t.Fatalf("numbers from %d on are kept track of, and %d wait; want %d and one", g.read.First, g.read.Waiting, first)
		}
	})

	losing("NamelessSeatsOfTwoLossesAddUp", func(t *testing.T, bench Bench) {
		r, g1 := openRig(t, bench, usual())
		g2 := r.gateway(usual())
		g1.fill(10)
		r.tick()
		g1.inside = map[string]admission.Admission{}
		g1.off, g2.off, g1.mute, g2.mute = false, true, true, true
		r.lose()
		g1.release()
		g1.heal(admission.Memory{Now: r.record.now, Seats: 4})
		if head := r.settle(); head.Sessions != 4 {
			t.Fatalf("%d seats stand after a loss, want the 4 that were told", head.Sessions)
		}
		g2.floor.Issued = g1.floor.Issued + 1
		g2.release()
		g2.heal(admission.Memory{Now: r.record.now, Seats: 9})
		g2.off = false
		if head := r.settle(); head.Sessions != 9 {
			t.Fatalf("%d seats stand after another gateway told of 9", head.Sessions)
		}
	})
}
