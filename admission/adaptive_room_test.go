package admission_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// answers is a second in which a shop answered so many requests, all as fast.
func answers(n int, each time.Duration) []admission.Measure {
	m := admission.Measure{Upstream: "shop", Asked: int64(n)}
	m.Answers[admission.LatencyBucket(each)] = uint32(n)
	return []admission.Measure{m}
}

// adaptive are settings of up to ten a second, down to a half.
func adaptive() admission.Settings {
	limits := demoLimits()
	limits.Capacity, limits.RatePerHour, limits.Burst = 0, 36_000, 5
	s := settings(limits)
	s.Adaptive = admission.Adaptive{P95: 100 * time.Millisecond, Errors: .02, MinPerHour: 1800}
	return s
}

// rush has so many join, and be heard from until the test ends.
func rush(t *testing.T, room *admission.Room, n int) (keep func()) {
	t.Helper()
	line := make([]*browser, n)
	for i := range line {
		line[i] = &browser{room: room}
		line[i].arrive()
	}
	calls := 0
	return func() {
		if calls++; calls%8 != 0 { // presence lasts longer
			return
		}
		for _, b := range line {
			b.peek()
		}
	}
}

func TestRoom_TheRateFollowsTheShop(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := runRoomWith(t, admission.NewMemory(nil), newRing(t, admission.NewKey()), adaptive())
		keep := rush(t, room, 800)
		inForce := func() int64 { return room.Figures().Limits.RatePerHour }
		time.Sleep(time.Second)
		if r := inForce(); r != 1800 {
			t.Fatalf("it begins at %d an hour, want the lowest rate", r)
		}
		second := func(m []admission.Measure) {
			keep()
			room.Measured(m)
			time.Sleep(time.Second)
		}
		for range 110 {
			second(answers(int(inForce()/360)+1, 10*time.Millisecond)) // ten requests each
		}
		fast := inForce()
		if fast < 5*1800 {
			t.Fatalf("after two minutes with a shop that is well: %d an hour", fast)
		}
		for range 8 {
			second(answers(100, time.Second))
		}
		slow := inForce()
		if slow > fast/4 {
			t.Fatalf("after %d an hour and eight seconds with a shop that is slow: %d", fast, slow)
		}
		before := room.Figures().Turned
		for range 10 {
			second(answers(100, time.Second))
		}
		if given := room.Figures().Turned - before; given > 8 {
			t.Errorf("%d turns in ten seconds at %d an hour", given, inForce())
		}

		// An operator's rate stands, whatever the shop does.
		seven := int64(7200)
		if err := room.Override(t.Context(), func(o *admission.Overrides) { o.RatePerHour = &seven }); err != nil {
			t.Fatal(err)
		}
		second(answers(100, time.Second))
		if r := inForce(); r != 7200 {
			t.Errorf("%d an hour in force, want the operator's 7200", r)
		}
	})
}

func TestRoom_OfTwoGatewaysTheOneThatSeesTroubleCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store, ring := admission.NewMemory(nil), newRing(t, admission.NewKey())
		one, two := runRoomWith(t, store, ring, adaptive()), runRoomWith(t, store, ring, adaptive())
		keep := rush(t, one, 800)
		inForce := func() int64 { return two.Figures().Limits.RatePerHour }
		second := func(a, b []admission.Measure) {
			keep()
			one.Measured(a)
			two.Measured(b)
			time.Sleep(time.Second)
		}
		for range 110 {
			well := answers(int(inForce()/720)+1, 10*time.Millisecond)
			second(well, well)
		}
		fast := inForce()
		if fast < 5*1800 {
			t.Fatalf("after two minutes with a shop that is well: %d an hour", fast)
		}
		for range 8 {
			second(answers(50, 10*time.Millisecond), answers(50, time.Second))
		}
		if slow := inForce(); slow > fast/4 {
			t.Errorf("after %d an hour, with one that sees a slow shop: %d", fast, slow)
		}

		// One that starts goes on at the rate in force.
		before := inForce()
		runRoomWith(t, store, ring, adaptive())
		time.Sleep(time.Second)
		if r := inForce(); r > before {
			t.Errorf("a gateway that started has the rate leap from %d to %d", before, r)
		}
	})
}
