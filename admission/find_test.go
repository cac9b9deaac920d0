package admission_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropeline/ropeline/admission"
)

func TestFind_TellsWhereEachNumberAndTokenStands(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		first, second, third := &browser{room: room}, &browser{room: room}, &browser{room: room}
		first.arrive()
		second.arrive()
		third.arrive()
		time.Sleep(time.Second)
		is := func(story string, f admission.Found, at admission.Whereabouts, number, position int64) {
			t.Helper()
			if f.At != at || f.Number != number || f.Position != position {
				t.Errorf("%s: found %+v, want %s, number %d, position %d", story, f, at, number, position)
			}
		}
		held := func(token string) admission.Found {
			t.Helper()
			f, ok := room.Recognize(token)
			if !ok {
				t.Errorf("a token of the line was not recognized")
			}
			return f
		}
		is("inside", room.Find(1), admission.AtInside, 1, 0)
		is("inside, by admission token", held(first.admission), admission.AtInside, 1, 0)
		if f := held(first.admission); f.Session <= 0 || f.Session > 30*time.Second || f.Expired {
			t.Errorf("inside: %+v", f)
		}
		is("next", room.Find(2), admission.AtWaiting, 2, 1)
		is("behind", held(third.queue), admission.AtWaiting, 3, 2)
		is("to come", room.Find(4), admission.AtNowhere, 4, 0)
		if _, ok := room.Recognize(third.queue[:len(third.queue)-2] + "AA"); ok {
			t.Error("a forged token was recognized")
		}

		first.leave()
		third.leave()
		time.Sleep(6 * time.Second) // the seat's grace, and a tick or two
		second.peek()
		is("has its turn", room.Find(2), admission.AtTurn, 2, 0)
		is("left the shop", room.Find(1), admission.AtOver, 1, 0)
		is("left the line", room.Find(3), admission.AtOver, 3, 0)
		time.Sleep(2 * time.Minute)
		is("missed its turn", room.Find(2), admission.AtLapsed, 2, 1)

		if err := room.Reset(t.Context()); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Second)
		is("of a line before", held(second.queue), admission.AtReset, 2, 0)
	})
}

func TestFind_CountsHoldersOfPassesAsTheVisitorIsTold(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		(&browser{room: room}).arrive()
		waiting, holder := &browser{room: room}, &browser{room: room}
		waiting.arrive()
		holder.open(passOf(t, room, 1, false))
		holder.arrive()
		time.Sleep(time.Second)
		told := waiting.peek().Status
		if f := room.Find(told.Number); told.Position != 2 || f.Position != told.Position || f.Wait != told.Wait {
			t.Errorf("found %+v, and the visitor is told %+v", f, told)
		}
	})
}

func TestFind_WhoIsNotHeardFromIsAbsentAndMarkedByNoLook(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		inside, waiting := &browser{room: room}, &browser{room: room}
		inside.arrive()
		waiting.arrive()
		for range 70 { // absence is 30 s, up to twice
			time.Sleep(time.Second)
			inside.arrive()
			room.Find(2)
			room.Recognize(waiting.queue)
		}
		if f := room.Find(2); f.At != admission.AtAbsent {
			t.Errorf("found %+v, want it absent", f)
		}
	})
}
