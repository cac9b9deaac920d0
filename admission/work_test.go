package admission_test

import (
	"crypto/sha256"
	"encoding/binary"
	"fmt"
	"math/bits"
	"net/netip"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"pgregory.net/rapid"

	"github.com/ropeline/ropeline/admission"
)

// solve does the work of a challenge, from a number on.
func solve(c admission.Challenge, from int) string {
	for n := from; ; n++ {
		text := fmt.Sprintf("%s.%d", c.Text, n)
		sum := sha256.Sum256([]byte(text))
		if bits.LeadingZeros32(binary.BigEndian.Uint32(sum[:])) >= c.Bits {
			return text
		}
	}
}

// working has each newcomer of a room for ten work.
func working() admission.Settings {
	s := settings(demoLimits())
	s.Limits.Capacity, s.Limits.RatePerHour = 10, 0
	s.Work, s.Networks = admission.Work{Bits: 4, Max: 4}, admission.Networks{IPv4: 32, IPv6: 64}
	return s
}

var here = netip.MustParseAddr("192.0.2.1")

// challenged comes to a room without anything.
func challenged(t *testing.T, room *admission.Room, visit admission.Visit) admission.Challenge {
	t.Helper()
	v := room.Arrive(t.Context(), visit)
	if v.Pass || v.Reason != admission.HoldWork || v.Status.State != admission.StateNew || v.Queue.Token != "" || v.Status.Work.Bits == 0 {
		t.Fatalf("without work got %+v, want to be asked for some", v)
	}
	return v.Status.Work
}

func TestWork_IsAskedOnceAndGetsAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := working()
		s.Limits.Capacity = 1
		room := runRoomWith(t, admission.NewMemory(nil), newRing(t, admission.NewKey()), s)
		inside, waits := &browser{room: room}, &browser{room: room}
		for i, b := range []*browser{inside, waits} {
			visit := admission.Visit{Network: here}
			visit.Work = solve(challenged(t, room, visit), 0)
			v := b.keep(room.Arrive(t.Context(), visit))
			if v.Pass != (i == 0) || !v.DropWork || i == 1 && v.Status.Number != 2 {
				t.Fatalf("visitor %d did the work and got %+v", i+1, v)
			}
		}
		// Who has a ticket is asked for nothing, from wherever.
		for range 3 {
			time.Sleep(10 * time.Second)
			inside.arrive()
			if v := waits.arrive(); v.Reason == admission.HoldWork {
				t.Fatalf("a visitor with a ticket is asked for work: %+v", v)
			}
		}
	})
}

func TestWork_IsNotAskedWhereItBuysNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for name, change := range map[string]func(*admission.Settings){
			"before":    func(s *admission.Settings) { s.Limits.StartAt = time.Now().Add(time.Hour) },
			"after_end": func(s *admission.Settings) { s.Limits.EndAt, s.OpenAfterEnd = time.Now().Add(-time.Hour), true },
			"ended":     func(s *admission.Settings) { s.Limits.EndAt = time.Now().Add(-time.Hour) },
			"closed":    func(s *admission.Settings) { s.Limits.Mode = admission.ModeClosed },
			"open":      func(s *admission.Settings) { s.Limits.Mode = admission.ModeOpen },
			"full": func(s *admission.Settings) {
				s.Limits.Stock = admission.Stock{Counted: true, Left: 1}
				s.Limits.StopAt, s.Limits.Mode = 1, admission.ModeHold
			},
		} {
			s := working()
			change(&s)
			room := runRoomWith(t, admission.NewMemory(nil), newRing(t, admission.NewKey()), s)
			if name == "full" {
				visit := admission.Visit{Network: here}
				visit.Work = solve(challenged(t, room, visit), 0)
				room.Arrive(t.Context(), visit)
				time.Sleep(time.Second)
			}
			if v := room.Arrive(t.Context(), admission.Visit{Network: here}); string(v.Reason) != name || v.Status.Work != (admission.Challenge{}) {
				t.Errorf("%s: got %+v", name, v)
			}
		}
		room := runRoomWith(t, admission.NewMemory(nil), newRing(t, admission.NewKey()), working())
		if v := room.Arrive(t.Context(), admission.Visit{Network: here, Looking: true}); v.Reason != admission.HoldWaiting {
			t.Errorf("a request that takes no place got %+v", v)
		}
		if v := room.Enter(t.Context(), admission.Visit{Network: here, Vouched: true, Identity: "ann"}); v.Reason != "" {
			t.Errorf("whom the shop vouches for got %+v", v)
		}
	})
}

func TestWork_WhatIsNotGoodGetsANewChallengeAndCostsNoStore(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := admission.NewMemory(nil)
		ring := newRing(t, admission.NewKey())
		room := runRoomWith(t, store, ring, working())
		visit := admission.Visit{Network: here, Identity: "ann"}
		c := challenged(t, room, visit)
		good := solve(c, 0)
		_, number, _ := strings.Cut(good, ".")
		at := func(text string, i int, b byte) string { return text[:i] + string(b) + text[i+1:] }
		easier := admission.Challenge{Text: at(at(c.Text, 5, 'A'), 6, 'A'), Bits: 1}
		tooEasy := 0
		for n := 1; tooEasy == 0; n++ {
			if sum := sha256.Sum256(fmt.Appendf(nil, "%s.%d", c.Text, n)); sum[0] >= 0x10 {
				tooEasy = n
			}
		}
		for name, change := range map[string]func(*admission.Visit){
			"nothing":          func(v *admission.Visit) { v.Work = "" },
			"no number":        func(v *admission.Visit) { v.Work = c.Text + "." },
			"no challenge":     func(v *admission.Visit) { v.Work = "." + number },
			"too easy":         func(v *admission.Visit) { v.Work = fmt.Sprintf("%s.%d", c.Text, tooEasy) },
			"fewer bits":       func(v *admission.Visit) { v.Work = solve(easier, 0) },
			"later":            func(v *admission.Visit) { v.Work = solve(admission.Challenge{Text: at(c.Text, 0, '_'), Bits: 4}, 0) },
			"a leading zero":   func(v *admission.Visit) { v.Work = c.Text + ".0" + number },
			"another network":  func(v *admission.Visit) { v.Network = netip.MustParseAddr("192.0.2.2") },
			"another identity": func(v *admission.Visit) { v.Identity = "bob" },
			"no identity":      func(v *admission.Visit) { v.Identity = "" },
			"very long":        func(v *admission.Visit) { v.Work = strings.Repeat(good, 100) },
		} {
			bad := visit
			bad.Work = good
			change(&bad)
			v := room.Arrive(t.Context(), bad)
			if v.Reason != admission.HoldWork || v.Status.Work.Text == c.Text || v.DropWork != (bad.Work != "") {
				t.Errorf("%s: got %+v, want a new challenge", name, v)
			}
			if v := room.Enter(t.Context(), bad); v.Reason != admission.HoldWork || v.Status.Work.Text == "" {
				t.Errorf("%s: by the API got %+v, want a new challenge", name, v)
			}
		}
		other := working()
		elsewhere, err := admission.OpenRoom(t.Context(), store, admission.LineID{Tenant: "demo", Activity: 124}, "g2", admission.Secret("secret"), ring, other, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		visit.Work = good
		if v := elsewhere.Arrive(t.Context(), visit); v.Reason != admission.HoldWork {
			t.Errorf("another activity: got %+v", v)
		}
		if got := room.Figures(); got.Joins != 0 || got.Issued != 0 {
			t.Errorf("%d joined", got.Joins)
		}
		time.Sleep(5*time.Minute - time.Second)
		if v := room.Arrive(t.Context(), visit); !v.Pass {
			t.Errorf("just in time: got %+v", v)
		}
		time.Sleep(3 * time.Second)
		if v := room.Arrive(t.Context(), visit); v.Reason != admission.HoldWork {
			t.Errorf("too late: got %+v", v)
		}
	})
}

// A solution is a place, and the same place, at every gateway; and when that is
// over, nothing.
func TestWork_BuysExactlyOnePlace(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		synctest.Test(t, func(t *testing.T) {
			s := working()
			s.Limits.Capacity = rapid.Int64Range(1, 3).Draw(rt, "capacity")
			store, ring := admission.NewMemory(nil), newRing(t, admission.NewKey())
			rooms := []*admission.Room{runRoomWith(t, store, ring, s), runRoomWith(t, store, ring, s)}
			type solution struct {
				visit  admission.Visit
				number int64
				holder *browser
				over   bool
			}
			var all []*solution
			given := map[int64]*solution{}
			for range rapid.IntRange(1, 40).Draw(rt, "deeds") {
				room := rooms[rapid.IntRange(0, 1).Draw(rt, "gateway")]
				switch rapid.IntRange(0, 5).Draw(rt, "deed") {
				case 0: // somebody new
					visit := admission.Visit{Network: here}
					visit.Work = solve(challenged(t, room, visit), 0)
					all = append(all, &solution{visit: visit, holder: &browser{room: room}})
				case 1, 2, 3: // a solution is shown, for the first time or again
					if len(all) == 0 {
						continue
					}
					shown := all[rapid.IntRange(0, len(all)-1).Draw(rt, "solution")]
					v := room.Arrive(t.Context(), shown.visit)
					n := v.Status.Number
					if v.Pass {
						n = v.Session.Number
					}
					switch {
					case shown.over && v.Reason != admission.HoldWork:
						rt.Fatalf("a solution whose place is over got %+v", v)
					case shown.over:
						continue
					case n == 0, shown.number != 0 && n != shown.number, given[n] != nil && given[n] != shown:
						rt.Fatalf("a solution of number %d got %+v", shown.number, v)
					}
					shown.number, given[n] = n, shown
					shown.holder.keep(v)
				case 4: // somebody leaves
					if len(all) == 0 {
						continue
					}
					if leaver := all[rapid.IntRange(0, len(all)-1).Draw(rt, "leaver")]; leaver.number != 0 && !leaver.over {
						leaver.holder.leave()
						leaver.over = true
						time.Sleep(time.Second) // until the other gateway has heard
					}
				case 5:
					time.Sleep(time.Duration(rapid.IntRange(0, 400).Draw(rt, "ms")) * time.Millisecond)
				}
			}
		})
	})
}

func TestWork_IsHarderForNetworksFromWhichManyCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := working()
		s.Work = admission.Work{Bits: 4, Max: 7}
		room := runRoomWith(t, admission.NewMemory(nil), newRing(t, admission.NewKey()), s)
		harder := func(n int, visit admission.Visit) (bits []int) {
			for range n {
				if is := challenged(t, room, visit).Bits; len(bits) == 0 || bits[len(bits)-1] != is {
					bits = append(bits, is)
				}
			}
			return bits
		}
		busy := admission.Visit{Network: here}
		if got := fmt.Sprint(harder(200, busy)); got != "[4 5 6 7]" {
			t.Errorf("a busy network is asked for %v bits", got)
		}
		if got := challenged(t, room, admission.Visit{Network: netip.MustParseAddr("192.0.2.9")}).Bits; got != 4 {
			t.Errorf("its neighbour is asked for %d bits", got)
		}
		if got := fmt.Sprint(harder(200, admission.Visit{})); got != "[4]" {
			t.Errorf("from nowhere are asked %v bits", got)
		}
		time.Sleep(time.Minute)
		if got := challenged(t, room, busy).Bits; got <= 4 {
			t.Errorf("after a minute it is asked for %d bits", got)
		}
		time.Sleep(10 * time.Minute)
		if got := challenged(t, room, busy).Bits; got != 4 {
			t.Errorf("after ten minutes it is asked for %d bits", got)
		}
		// A harder one that was given stays as hard.
		v := room.Arrive(t.Context(), busy)
		busy.Work = solve(v.Status.Work, 0)
		if v := room.Arrive(t.Context(), busy); !v.Pass {
			t.Errorf("who did the work got %+v", v)
		}
	})
}
