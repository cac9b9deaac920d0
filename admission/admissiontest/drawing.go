package admissiontest

import (
	"context"
	"slices"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// lotsOf are the lots of a draw of n places: any will do for a store, which never
// sees how a number was found.
func lotsOf(t reporter, n int64) *admission.Lots {
	t.Helper()
	lots, err := admission.NewLots(admission.Seed{1, 2, 3}, "", n)
	if err != nil {
		t.Fatalf("%v", err)
	}
	return lots
}

func (g *gateway) add(d admission.Drawing) admission.Head {
	g.Helper()
	head, err := g.bench.Store().Draw(context.Background(), g.call(), d)
	g.must("draw", head, err)
	return head
}

// pin commits the line to a draw.
func (g *gateway) pin(key, source string) admission.Head {
	g.Helper()
	return g.add(admission.Drawing{Key: key, Source: source})
}

// numbered returns the maps of a reading by number, up to N.
func numbered(lots *admission.Lots, was reading) admission.Drawing {
	var by reading
	for kind := range by.maps {
		by.maps[kind] = map[int64]uint64{}
		for _, n := range was.numbers(admission.Map(kind)) {
			if n <= lots.N() {
				n = lots.Number(n - 1)
				by.maps[kind][n/64] |= 1 << (n % 64)
			}
		}
	}
	return admission.Drawing{Since: was.Version, Pieces: pieces(by)}
}

// mapAll writes the line's maps by number, and returns the lots.
func (g *gateway) mapAll() *admission.Lots {
	g.Helper()
	g.release()
	lots := lotsOf(g, g.read.Drawn)
	head := g.add(numbered(lots, g.read))
	if !head.Draw.Mapped {
		g.Fatalf("after %v: the maps were passed over: %+v", g.passed, head.Draw)
	}
	g.tick()
	return lots
}

// drawn gives tickets the numbers of their indexes, and has those who stay poll
// by them.
func (r *rig) drawn(lots *admission.Lots, tickets ...*ticket) {
	stayed := map[*ticket]bool{}
	for _, k := range tickets {
		stayed[k] = r.stay[k.number]
		delete(r.stay, k.number)
	}
	for _, k := range tickets {
		if k.indexed {
			k.number, k.indexed = lots.Number(k.number-1), false
		}
		if stayed[k] {
			r.keep(k)
		}
	}
}

// inOrder returns tickets by number.
func inOrder(tickets ...[]*ticket) []*ticket {
	all := slices.Concat(tickets...)
	slices.SortFunc(all, func(a, b *ticket) int { return int(a.number - b.number) })
	return all
}

// openDraw returns a rig whose line draws those who come in the ten minutes
// before a start that is twenty away, and is committed to it.
func openDraw(t *testing.T, bench Bench, limits admission.Limits) (*rig, *gateway, admission.Instant) {
	t.Helper()
	r, g := openRig(t, bench, limits)
	r.step = 5 * time.Second
	start := r.record.now.Add(20 * time.Minute)
	g.limits.Draw, g.limits.Prequeue, g.limits.StartAt = true, 10*time.Minute, start.Time()
	r.tick()
	if head := g.pin("k1", ""); head.Draw.Key != "k1" {
		t.Fatalf("the line is not committed: %+v", head.Draw)
	}
	return r, g, start
}

// early returns such a rig ten seconds before the start, with n visitors who
// have an index and poll.
func early(t *testing.T, bench Bench, limits admission.Limits, n int) (*rig, *gateway, admission.Instant, []*ticket) {
	t.Helper()
	r, g, start := openDraw(t, bench, limits)
	r.pass(start.Sub(r.record.now) - 10*time.Second)
	r.step = admission.Tick
	line := g.wait(n)
	for i, k := range line {
		if !k.indexed || k.number != int64(i)+1 {
			t.Fatalf("newcomer %d got %+v, want an index", i, *k)
		}
	}
	r.tick()
	return r, g, start, line
}

// start lets the start come, and the line be whole again.
func (r *rig) start(at admission.Instant) admission.Head {
	r.Helper()
	r.pass(at.Sub(r.record.now))
	return r.settle()
}

func (g *gateway) wantIndexes(tickets []*ticket) {
	g.Helper()
	if tickets == nil {
		g.Fatalf("after %v: nobody joined the draw", g.passed)
	}
	for _, k := range tickets {
		if !k.indexed {
			g.Fatalf("after %v: %+v joined, want an index", g.passed, *k)
		}
	}
	g.keep(tickets...)
}

// draws holds a store to the rules of the draw.
func draws(t *testing.T, open Opener) {
	usual := with(usual(), func(l *admission.Limits) { l.Capacity = 0 })

	t.Run("NobodyJoinsBeforeThePrequeue", func(t *testing.T) {
		r, g, start := openDraw(t, open(t), usual)
		r.pass((start - 600_000_001).Sub(r.record.now))
		if given := g.join(1); given != nil {
			t.Fatal("someone joined a microsecond before the prequeue")
		}
		r.pass(time.Microsecond)
		g.wantIndexes(g.join(2))
	})

	t.Run("NobodyJoinsADrawThatIsNotCommitted", func(t *testing.T) {
		r, g := openRig(t, open(t), usual)
		g.limits.Draw, g.limits.Prequeue, g.limits.StartAt = true, time.Hour, r.record.now.Add(time.Minute).Time()
		r.tick()
		if given := g.join(1); given != nil {
			t.Fatal("someone joined a draw whose key was open to choice")
		}
		g.pin("k1", "")
		g.wantIndexes(g.join(1))
	})

	t.Run("TheKeyAndTheSourceArePinnedOnce", func(t *testing.T) {
		_, g, _ := openDraw(t, open(t), usual)
		if head := g.pin("k2", "a source"); head.Draw != (admission.Draw{Key: "k1"}) {
			t.Fatalf("the draw was changed after its commitment: %+v", head.Draw)
		}
	})

	t.Run("NumbersThatWereGivenAreNotDrawn", func(t *testing.T) {
		r, g := openRig(t, open(t), full())
		g.fill(1)
		line := g.wait(3)
		g.limits.Draw, g.limits.Prequeue, g.limits.StartAt = true, time.Hour, r.record.now.Add(time.Minute).Time()
		r.tick()
		if head := g.pin("k1", ""); head.Draw.Key != "" {
			t.Fatal("a line that gave numbers was committed to a draw of them")
		}
		r.pass(2 * time.Minute)
		if g.read.Drawn != 0 || g.read.Settling {
			t.Fatalf("the start closed a draw that was none: %+v", g.read.Head)
		}
		g.wantKnock(line[0], admission.EntryWaiting)
	})

	t.Run("AfterTheStartNobodyIsCommitted", func(t *testing.T) {
		r, g := openRig(t, open(t), usual)
		g.limits.Draw, g.limits.StartAt = true, r.record.now.Time()
		r.tick()
		if head := g.pin("k1", ""); head.Draw.Key != "" {
			t.Fatal("a draw was committed to after its start")
		}
	})

	t.Run("AJoinAtTheStartStandsBehindTheDrawn", func(t *testing.T) {
		r, g, start, line := early(t, open(t), usual, 70)
		r.pass((start - 1).Sub(r.record.now))
		last := g.join(3)
		g.wantIndexes(last)
		r.advance(time.Microsecond)
		if given := g.join(1); given != nil { // the step that closes the indexes
			t.Fatalf("%+v joined in the step of the start", *given[0])
		}
		head := r.settle()
		if head.Drawn != 128 {
			t.Fatalf("N is %d for %d indexes, want 128", head.Drawn, len(line)+len(last))
		}
		for _, k := range g.wait(2) {
			if k.indexed || k.number <= 128 {
				t.Fatalf("who came after the start got %+v", *k)
			}
		}
	})

	t.Run("TheStartTakesThreeSecondsAndNothingElse", func(t *testing.T) {
		r, g, start, line := early(t, open(t), usual, 5)
		before := g.read.Head
		r.pass((start - 1).Sub(r.record.now))
		r.advance(time.Microsecond)
		opened := g.release()
		if !opened.Settling || !opened.Closing {
			t.Fatalf("the start opened no settling: %+v", opened.Head)
		}
		g.heal(admission.Memory{Now: opened.Now.Add(time.Hour), Released: 5, Seats: 3}) // a whole line is not changed
		for line := opened; line.Settling; line = g.release() {
			if line.Now.Sub(opened.Now) >= 3*time.Second {
				t.Fatal("the line settles for more than three seconds")
			}
			r.advance(admission.Tick)
		}
		if took := r.record.now.Sub(opened.Now); took != 3*time.Second {
			t.Fatalf("the line settled for %v", took)
		}
		if head := g.read.Head; head.Born != before.Born || head.Issued != 64 || head.Sessions != 0 || head.Closing || head.Waiting != 5 {
			t.Fatalf("the start made of\n%+v\n%+v", before, head)
		}
		r.drawn(g.mapAll(), line...)
		r.tick() // all of the burst is there
		g.wantTurns(line...)
	})

	t.Run("NCoversTheHighestIndexOfAnyGateway", func(t *testing.T) {
		r, g, start, _ := early(t, open(t), usual, 5)
		cut := r.gateway(g.limits)
		cut.off = true
		r.pass(start.Sub(r.record.now))
		cut.floor = admission.Floor{Epoch: g.floor.Epoch, Issued: 200} // given by a side that was cut off
		cut.release()
		head := r.settle()
		if head.Drawn != 256 || head.Draw.Later <= head.Drawn || head.Issued != head.Draw.Later {
			t.Fatalf("N is %d and later numbers come after %d, issued %d: want 256 and a leap", head.Drawn, head.Draw.Later, head.Issued)
		}
		if k := g.join(1)[0]; k.number <= head.Draw.Later {
			t.Fatalf("number %d of a newcomer may be an index that nobody told of", k.number)
		}
	})

	t.Run("NIsWrittenOnce", func(t *testing.T) {
		r, g, start, _ := early(t, open(t), usual, 5)
		r.start(start)
		other := r.gateway(g.limits)
		other.off = true
		other.floor = admission.Floor{Epoch: g.floor.Epoch, Issued: 1000, Drawn: 1024}
		other.release()
		if head := r.settle(); head.Drawn != 64 {
			t.Fatalf("N was 64, and is %d after a floor of another", head.Drawn)
		}
	})

	t.Run("ADrawOfNobody", func(t *testing.T) {
		r, g, start := openDraw(t, open(t), usual)
		head := r.start(start)
		if head.Drawn != 64 {
			t.Fatalf("N is %d, want 64", head.Drawn)
		}
		g.mapAll()
		if k := g.join(1)[0]; !k.inside() {
			t.Fatalf("the first to come to a quiet room got %+v", *k)
		}
	})

	t.Run("NoTurnBeforeAllPlacesAreNumbers", func(t *testing.T) {
		r, g, start, line := early(t, open(t), usual, 20)
		ahead := *line[19] // an index that the store knows nothing of yet
		ahead.visitor, ahead.number = "ahead", line[19].number+1000
		g.wantKnock(&ahead, admission.EntryWaiting)
		r.start(start)
		late := g.wait(3)
		r.pass(10 * time.Second)
		g.wantTurns()
		for _, k := range append(line[:2:2], late[0]) {
			g.wantKnock(k, admission.EntryWaiting)
		}
		lots := g.mapAll()
		r.drawn(lots, line...)
		r.pass(time.Second)
		g.wantTurns(inOrder(line, late)[:len(g.read.Claims)]...)
		if len(g.read.Claims) < 10 {
			t.Fatalf("%d turns after the draw, with a burst of ten", len(g.read.Claims))
		}
	})

	t.Run("TurnsComeInTheOrderDrawn", func(t *testing.T) {
		r, g, start, line := early(t, open(t), with(usual, func(l *admission.Limits) { l.Capacity, l.RatePerHour = 1, 0 }), 30)
		r.start(start)
		line2 := g.wait(5)
		r.drawn(g.mapAll(), line...)
		var got []*ticket
		for want := inOrder(line, line2); len(got) < len(want); {
			r.pass(admission.Tick)
			g.wantTurns(want[len(got)])
			g.enter(want[len(got)])
			got = append(got, want[len(got)])
			g.leave(got[len(got)-1])
			r.pass(2 * admission.Tick)
		}
	})

	t.Run("TheMapsAreWrittenOnce", func(t *testing.T) {
		r, g, start, line := early(t, open(t), full(), 30)
		r.start(start)
		g.release()
		again := numbered(lotsOf(t, g.read.Drawn), g.read)
		r.drawn(g.mapAll(), line...)
		before := g.read.numbers(admission.MapWaiting)
		again.Since = g.read.Version
		again.Pieces[0].Bits[0] = ^uint64(0)
		g.add(again)
		r.tick()
		if after := g.read.numbers(admission.MapWaiting); !slices.Equal(before, after) {
			t.Fatalf("numbers %v waited, and after a second draw %v", before, after)
		}
	})

	t.Run("MapsOfAnEarlierReadingArePassedOver", func(t *testing.T) {
		for name, change := range map[string]func(r *rig, g *gateway, line []*ticket){
			"one left":      func(r *rig, g *gateway, line []*ticket) { g.leave(line[3]) },
			"one came back": func(r *rig, g *gateway, line []*ticket) { g.present(line[0].number) },
			"one is absent": func(r *rig, g *gateway, line []*ticket) { r.closeTab(line[5]); r.pass(3 * time.Minute) },
		} {
			r, g, start, line := early(t, open(t), usual, 8)
			r.closeTab(line[0])
			r.start(start)
			r.pass(3 * time.Minute) // the first is absent
			g.release()
			stale := numbered(lotsOf(t, g.read.Drawn), g.read)
			g.join(1) // changes nothing of the drawn
			change(r, g, line)
			if head := g.add(stale); head.Draw.Mapped {
				t.Fatalf("%s: a reading from before it was taken for the line", name)
			}
			stale.Since = 1 << 40
			if head := g.add(stale); head.Draw.Mapped {
				t.Fatalf("%s: a reading of another line was taken for this one", name)
			}
			g.mapAll()
		}
	})

	t.Run("AJoinDoesNotPutTheDrawOff", func(t *testing.T) {
		r, g, start, _ := early(t, open(t), usual, 8)
		r.start(start)
		g.release()
		drawing := numbered(lotsOf(t, g.read.Drawn), g.read)
		late := g.wait(3)
		if head := g.add(drawing); !head.Draw.Mapped {
			t.Fatal("newcomers made the maps of the drawn old")
		}
		r.tick()
		for _, k := range late {
			if !g.read.has(admission.MapWaiting, k.number) && !g.read.has(admission.MapOff, k.number) {
				t.Fatalf("number %d came after the start, and the draw forgot it", k.number)
			}
		}
	})

	// A gateway whose shop is away has newcomers wait, whatever the line could do.
	t.Run("ANewcomerWhoIsToWaitHasAnIndexToo", func(t *testing.T) {
		_, g, _, line := early(t, open(t), full(), 3)
		newcomers := g.visitors(2)
		newcomers[0].Waits, newcomers[1].Waits = true, true
		for range 2 { // the answer was lost
			joined := g.joinBatch("shut", newcomers)
			g.wantIndexes(joined)
			if first := joined[0].number; first != line[2].number+1 {
				t.Fatalf("the fourth to join got index %d", first)
			}
		}
	})

	t.Run("WhoLeftBeforeTheDrawIsNotInIt", func(t *testing.T) {
		r, g, start, line := early(t, open(t), full(), 9)
		g.leave(line[4])
		r.start(start)
		r.drawn(g.mapAll(), line...)
		g.wantKnock(line[4], admission.EntryGone)
		if g.read.Waiting+g.read.Turns != 8 {
			t.Fatalf("%d are in line of eight", g.read.Waiting+g.read.Turns)
		}
	})

	t.Run("WhoIsAbsentAtTheStartKeepsTheNumber", func(t *testing.T) {
		r, g, start, line := early(t, open(t), full(), 9)
		r.closeTab(line[4])
		r.start(start)
		r.pass(3 * time.Minute)
		r.drawn(g.mapAll(), line...)
		k := line[4]
		if g.read.has(admission.MapWaiting, k.number) {
			t.Fatal("who is absent counts as present after the draw")
		}
		g.keep(k)
		r.pass(5 * time.Second)
		if !g.read.has(admission.MapWaiting, k.number) {
			t.Fatal("who came back after the draw is not in line")
		}
	})

	t.Run("NobodyIsAbsentForBeingDrawn", func(t *testing.T) {
		limits := with(full(), func(l *admission.Limits) { l.Absence = 20 * time.Second })
		r, g, start, line := early(t, open(t), limits, 20)
		r.start(start)
		r.drawn(g.mapAll(), line...)
		for end := r.passed + limits.Absence - time.Second; r.passed < end; r.advance(admission.Tick) {
			g.release() // nobody polls
			if g.read.Waiting+g.read.Turns != 20 {
				t.Fatalf("%d of twenty are in line, and all were heard within a window", g.read.Waiting+g.read.Turns)
			}
		}
	})

	t.Run("MarksByIndexAreNobodysAfterTheDraw", func(t *testing.T) {
		r, g, start, line := early(t, open(t), full(), 3)
		r.closeTab(line...)
		r.start(start)
		late := g.wait(1)[0]
		r.closeTab(late)
		r.pass(3 * time.Minute)
		behind := r.gateway(g.limits)
		behind.off = true
		behind.release()
		g.mapAll()
		head := behind.present(1, 2, 3, 63, 64) // by index: whoever has these numbers is somebody else
		if head.Waiting != 0 {
			t.Fatalf("%d wait after marks by index", head.Waiting)
		}
		if head = behind.present(3, late.number); head.Waiting != 1 {
			t.Fatalf("%d wait after a mark by number of one who came later", head.Waiting)
		}
		behind.leave(&ticket{visitor: "x", number: 5, epoch: line[0].epoch})
		if e := g.knock(&ticket{visitor: "y", number: 5, epoch: line[0].epoch}); e.Outcome == admission.EntryGone {
			t.Fatal("who left by index gave up the place of another")
		}
	})

	t.Run("WithASourceTheDrawWaitsForItsValue", func(t *testing.T) {
		r, g := openRig(t, open(t), usual)
		start := r.record.now.Add(time.Minute)
		g.limits.Draw, g.limits.Prequeue, g.limits.StartAt = true, time.Hour, start.Time()
		r.tick()
		g.pin("k1", "the lottery")
		line := g.join(5)
		g.wantIndexes(line)
		if head := g.add(admission.Drawing{Beacon: "too soon"}); head.Draw.Beacon != "" {
			t.Fatal("a value was taken while visitors could still join by it")
		}
		r.start(start)
		drawing := numbered(lotsOf(t, g.read.Drawn), g.read)
		if head := g.add(drawing); head.Draw.Mapped {
			t.Fatal("drawn without the value")
		}
		g.add(admission.Drawing{Beacon: "4 8 15"})
		if head := g.add(admission.Drawing{Beacon: "16 23 42"}); head.Draw.Beacon != "4 8 15" {
			t.Fatalf("the value was changed: %+v", head.Draw)
		}
		r.drawn(g.mapAll(), line...)
		r.pass(time.Second)
		g.wantTurns(line...)
	})

	t.Run("WithoutASourceNoValueIsTaken", func(t *testing.T) {
		r, g, start, _ := early(t, open(t), usual, 2)
		r.start(start)
		if head := g.add(admission.Drawing{Beacon: "chosen"}); head.Draw.Beacon != "" {
			t.Fatal("a value was mixed in of which nobody was told")
		}
	})

	t.Run("ABatchSentAgainAfterTheStartGetsItsIndexes", func(t *testing.T) {
		r, g, start, _ := early(t, open(t), usual, 2)
		newcomers := r.visitors(4)
		first := g.joinBatch("crossing", newcomers)
		r.start(start)
		for _, mapped := range []bool{false, true} {
			if mapped {
				g.mapAll()
			}
			for i, k := range g.joinBatch("crossing", newcomers) {
				if !k.indexed || k.number != first[i].number {
					t.Fatalf("%+v, and sent again %+v", *first[i], *k)
				}
			}
		}
	})

	t.Run("AnIdentityHasItsIndexAndANewPlaceWhenThatIsOver", func(t *testing.T) {
		r, g, start, _ := early(t, open(t), full(), 3)
		known := r.visitors(1)
		known[0].Identity = "a"
		k := g.joinBatch("before", known)[0]
		same := func(batch string, over int64) *ticket {
			again := r.visitors(1)
			again[0].Identity, again[0].Over = "a", over
			return g.joinBatch(batch, again)[0]
		}
		for _, at := range []string{"before the start", "after the start", "after the draw"} {
			if again := same(at, 0); again.visitor != k.visitor || again.number != k.number || !again.indexed {
				t.Fatalf("%s %+v came again as %+v", at, *k, *again)
			}
			switch at {
			case "before the start":
				r.start(start)
			case "after the start":
				g.mapAll()
			}
		}
		fresh := same("over", k.number)
		if fresh.visitor == k.visitor || fresh.indexed {
			t.Fatalf("an identity whose place is over got %+v", *fresh)
		}
		if again := same("over again", k.number); again.number != fresh.number {
			t.Fatalf("the new place is %+v, and asked again %+v", *fresh, *again)
		}
	})

	t.Run("AnIdentityInsideIsToldItsNumberNotItsIndex", func(t *testing.T) {
		r, g, start, line := early(t, open(t), usual, 6)
		known := r.visitors(1)
		known[0].Identity = "a"
		k := g.joinBatch("before", known)[0]
		g.keep(k)
		line = append(line, k)
		r.start(start)
		r.drawn(g.mapAll(), line...)
		r.pass(time.Second)
		session := g.enter(k)
		again := r.visitors(1)
		again[0].Identity = "a"
		g.joinBatch("after", again)
		if p := g.record.places[0]; p.Admission != session || session.Number != k.number {
			t.Fatalf("the session is %+v, and the identity was told %+v", session, p.Admission)
		}
	})

	t.Run("AFullLineTakesNoMoreIndexes", func(t *testing.T) {
		_, g, _, _ := early(t, open(t), with(usual, func(l *admission.Limits) { l.MaxQueue = 4 }), 3)
		g.wantFull(g.join(2), false, true)
	})

	t.Run("AStartThatMovesClosesTheIndexesWhenItComes", func(t *testing.T) {
		r, g, start, line := early(t, open(t), usual, 3)
		later := start.Add(time.Minute).Time()
		g.override(admission.Overrides{StartAt: &later})
		r.pass(30 * time.Second)
		if g.read.Drawn != 0 || g.read.Settling {
			t.Fatalf("the indexes were closed before the start that was decided: %+v", g.read.Head)
		}
		more := g.join(2)
		g.wantIndexes(more)
		now := r.record.now.Time()
		g.override(admission.Overrides{StartAt: &now})
		if given := g.join(1); given != nil {
			t.Fatal("someone joined in the step of the start")
		}
		r.settle()
		r.drawn(g.mapAll(), append(line, more...)...)
		r.pass(time.Second)
		g.wantTurns(append(line, more...)...)
	})

	t.Run("WhoJoinedADrawIsDrawnThoughTheFilesForgetIt", func(t *testing.T) {
		r, g, start, line := early(t, open(t), usual, 3)
		g.limits.Draw = false
		r.tick()
		if given := g.join(1); given != nil {
			t.Fatal("someone joined before the start of a line without a draw")
		}
		r.start(start)
		r.drawn(g.mapAll(), line...)
		r.pass(time.Second)
		g.wantTurns(line...)
	})

	t.Run("AResetBeginsAnotherDraw", func(t *testing.T) {
		r, g, start, line := early(t, open(t), usual, 3)
		head := g.reset()
		if head.Draw != (admission.Draw{}) || head.Drawn != 0 {
			t.Fatalf("an epoch began with the draw of the last: %+v", head.Draw)
		}
		r.closeTab(line...)
		g.pin("k2", "")
		again := g.join(2)
		g.wantIndexes(again)
		r.start(start)
		r.drawn(g.mapAll(), again...)
		head = g.reset()
		r.tick()
		if head.Draw != (admission.Draw{}) || head.Drawn != 0 {
			t.Fatalf("an epoch began with the draw of the last: %+v", head.Draw)
		}
		if k := g.join(1)[0]; k.indexed || k.number != 1 || !k.inside() {
			t.Fatalf("after the start an epoch began with %+v", *k)
		}
	})

	t.Run("AFloorWithNHealsALineThatHasNone", func(t *testing.T) {
		r, g := openRig(t, open(t), usual)
		start := r.record.now.Add(-time.Second)
		g.limits.Draw, g.limits.StartAt = true, start.Time()
		r.tick()
		told := r.gateway(g.limits)
		told.off = true
		told.floor = admission.Floor{Epoch: g.floor.Epoch, Issued: 64, Drawn: 64} // by a token, all else is lost
		told.release()
		if head := r.settle(); head.Drawn != 64 {
			t.Fatalf("N is %d, and a token tells 64", head.Drawn)
		}
		if given := g.join(1); given == nil || given[0].inside() {
			t.Fatal("a line that does not know its numbers let someone in")
		}
		if head := told.pin("k1", ""); head.Draw.Key != "k1" {
			t.Fatal("a draw that was lost cannot be made again")
		}
		lots := g.mapAll()
		k := &ticket{visitor: "v", number: lots.Number(3), epoch: g.floor.Epoch}
		g.keep(k)
		r.pass(g.limits.Absence + 5*time.Second) // nobody brought who was present
		g.enter(k)
	})

	t.Run("AnIndexThatWasSeenBringsTheDrawBack", func(t *testing.T) {
		r, g := openRig(t, open(t), usual)
		g.limits.Draw, g.limits.Prequeue, g.limits.StartAt = true, time.Hour, r.record.now.Add(time.Minute).Time()
		g.floor.Issued = 5 // by tokens with indexes
		r.tick()
		r.settle()
		if head := g.pin("k1", ""); head.Draw.Key != "" {
			t.Fatal("numbers that were given were made indexes")
		}
		if head := g.add(admission.Drawing{Key: "k1", Indexed: true}); head.Draw.Key != "k1" {
			t.Fatal("a draw that was lost before the start does not go on")
		}
		k := g.join(1)[0]
		if !k.indexed || k.number <= 5 {
			t.Fatalf("a newcomer got %+v", *k)
		}
	})

	losing := func(name string, do func(t *testing.T, bench Bench)) {
		t.Run(name, func(t *testing.T) {
			if bench := open(t); bench.Lose != nil {
				do(t, bench)
			}
		})
	}

	losing("ALossInThePrequeueKeepsEveryoneInTheDraw", func(t *testing.T, bench Bench) {
		r, g1, start, line := early(t, bench, usual, 6)
		g2 := r.gateway(g1.limits)
		r.tick()
		g2.leave(line[2])
		r.tick()
		r.lose()
		r.settle()
		if g1.read.Draw.Key != "k1" {
			t.Fatal("the key of a commitment was lost")
		}
		more := g1.join(3)
		g1.wantIndexes(more)
		line = append(line, more...)
		r.start(start)
		if g1.read.Drawn <= more[2].number-1 {
			t.Fatalf("N is %d, an index is %d", g1.read.Drawn, more[2].number-1)
		}
		r.drawn(g1.mapAll(), line...)
		g1.wantKnock(line[2], admission.EntryGone)
		r.pass(10 * time.Second)
		g1.wantTurns(append(line[:2:2], line[3:]...)...)
	})

	losing("ALossInTheSecondOfTheStartLosesNoIndex", func(t *testing.T, bench Bench) {
		for _, after := range []time.Duration{0, time.Second, 2900 * time.Millisecond} {
			r, g1, start, line := early(t, bench, usual, 6)
			r.gateway(g1.limits)
			r.pass(start.Sub(r.record.now) + after)
			r.lose()
			r.settle()
			if g1.read.Draw.Key != "k1" || g1.read.Drawn == 0 {
				t.Fatalf("lost %v after the start: %d drawn by %+v", after, g1.read.Drawn, g1.read.Draw)
			}
			r.drawn(g1.mapAll(), line...)
			r.pass(10 * time.Second)
			g1.wantTurns(line...)
			r.lose()
			r.line.Activity++
		}
	})

	losing("ALossAfterTheDrawKeepsItsNumbers", func(t *testing.T, bench Bench) {
		r, g1, start, line := early(t, bench, full(), 20)
		g2 := r.gateway(g1.limits)
		behind := r.gateway(g1.limits) // hears nothing of the draw
		r.start(start)
		r.pass(admission.Tick)
		behind.off = true
		r.drawn(g1.mapAll(), line...)
		r.pass(time.Second)
		order := inOrder(line)
		g1.enter(order[0])
		g1.leave(order[3])
		r.pass(time.Second)
		was := g1.read.Head
		r.lose()
		behind.release() // the first to come: what it brings is by index
		behind.heal(behind.memory(behind.read))
		r.settle()
		r.tick()
		if g1.read.Drawn != was.Drawn || g1.read.Draw != was.Draw {
			t.Fatalf("%d drawn by %+v, and after a loss %d by %+v", was.Drawn, was.Draw, g1.read.Drawn, g1.read.Draw)
		}
		var want []int64
		for i, k := range order {
			if i != 0 && i != 3 {
				want = append(want, k.number)
			}
		}
		if got := g2.read.numbers(admission.MapWaiting); !slices.Equal(got, want) {
			t.Fatalf("%v wait after a loss, want %v", got, want)
		}
		g1.wantKnock(order[3], admission.EntryGone)
	})

	t.Run("ACopyFromBeforeTheStartIsBroughtUpToTheDraw", func(t *testing.T) {
		bench := open(t)
		if bench.Keep == nil {
			return
		}
		r, g, start, line := early(t, bench, full(), 64) // so that N is what was issued
		g.mapNothing()
		restore := bench.Keep()
		r.start(start)
		r.drawn(g.mapAll(), line...)
		r.pass(2 * time.Second)
		order := inOrder(line)
		g.enter(order[0])
		r.pass(time.Second)
		restore()
		r.record.lost()
		r.settle()
		r.tick()
		if g.read.Drawn != 64 || !g.read.Draw.Mapped {
			t.Fatalf("after a fail-over %d are drawn by %+v", g.read.Drawn, g.read.Draw)
		}
		if g.read.Waiting != 63 || g.read.has(admission.MapWaiting, order[0].number) {
			t.Fatalf("%d wait after a fail-over: %v", g.read.Waiting, g.read.numbers(admission.MapWaiting))
		}
		g.leave(order[0])
		r.pass(5 * time.Second)
		g.wantTurns(order[1])
	})

	t.Run("ACopyFromBeforeAMovedStartGivesNoMoreIndexes", func(t *testing.T) {
		bench := open(t)
		if bench.Keep == nil {
			return
		}
		r, g, _, _ := early(t, bench, usual, 64) // so that N is what was issued
		g.mapNothing()
		restore := bench.Keep()
		now := r.record.now.Time()
		g.override(admission.Overrides{StartAt: &now})
		r.tick()
		r.settle()
		restore()
		r.record.lost()
		if given := g.join(1); given != nil {
			t.Fatalf("an index after N was given: %+v", *given[0])
		}
		if head := r.settle(); head.Drawn != 64 {
			t.Fatalf("N is %d after a fail-over, and was 64", head.Drawn)
		}
	})

	t.Run("ACrashCostsNothingOfTheDraw", func(t *testing.T) {
		bench := open(t)
		if bench.Crash == nil {
			return
		}
		r, g, start, line := early(t, bench, full(), 12)
		r.crash()
		r.settle()
		if g.read.Draw.Key != "k1" || g.read.Waiting != 12 {
			t.Fatalf("after a crash in the prequeue %d wait for the draw by %+v", g.read.Waiting, g.read.Draw)
		}
		r.start(start)
		n := g.read.Drawn
		r.crash()
		r.settle()
		if g.read.Drawn != n || g.read.Waiting != 12 {
			t.Fatalf("after a crash %d are drawn and %d wait, and before it %d and 12", g.read.Drawn, g.read.Waiting, n)
		}
		r.drawn(g.mapAll(), line...)
		r.crash()
		r.settle()
		r.pass(time.Second)
		order := inOrder(line)
		g.wantTurns(order[0])
		if g.read.Drawn != n || !g.read.Draw.Mapped || g.read.Waiting != 11 {
			t.Fatalf("after a crash %d are drawn by %+v, and %d wait", g.read.Drawn, g.read.Draw, g.read.Waiting)
		}
	})
}

// mapNothing brings no maps: the line is written, and nothing is changed.
func (g *gateway) mapNothing() { g.add(admission.Drawing{}) }
