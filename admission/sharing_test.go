package admission_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropeline/ropeline/admission"
)

func sharedBy(s admission.Sharing) admission.Settings {
	all := settings(demoLimits())
	all.Limits.Idle, all.Limits.Max = 10*time.Minute, time.Hour
	all.Sharing, all.Networks = s, admission.Networks{IPv4: 32, IPv6: 64}
	return all
}

// openShared opens a room where one is inside, from 192.0.2.1 with chromeLinux.
func openShared(t *testing.T, s admission.Sharing) (*admission.Room, *browser) {
	t.Helper()
	room := openRoom(t, demoLimits())
	room.Configure(sharedBy(s))
	owner := &browser{room: room}
	if v := owner.keep(room.Arrive(t.Context(), owner.from("192.0.2.1", chromeLinux))); !v.Pass {
		t.Fatalf("got %+v, want to be inside", v)
	}
	return room, owner
}

func TestSharing_TooManyNetworksOrBrowsersAtOnce(t *testing.T) {
	for name, c := range map[string]struct {
		sharing admission.Sharing
		reason  admission.Suspicion
		use     func(b *browser, i int) admission.Visit // each from elsewhere; 0: the owner's own
	}{
		"networks": {admission.Sharing{Networks: 2, Window: 10 * time.Second}, admission.SharedNetworks, func(b *browser, i int) admission.Visit {
			return b.from(fmt.Sprintf("192.0.2.%d", i+1), chromeLinux)
		}},
		"networks of IPv6": {admission.Sharing{Networks: 2, Window: 10 * time.Second}, admission.SharedNetworks, func(b *browser, i int) admission.Visit {
			if i == 0 {
				return b.from("192.0.2.1", chromeLinux)
			}
			return b.from(fmt.Sprintf("2001:db8:0:%d::%d", i, time.Now().Unix()%1000), chromeLinux)
		}},
		"browsers": {admission.Sharing{Agents: 2, Window: 10 * time.Second}, admission.SharedAgents, func(b *browser, i int) admission.Visit {
			return b.from("192.0.2.1", []string{chromeLinux, chromeLater, firefoxLinux, edgeWindows}[i])
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				for _, hold := range []bool{false, true} {
					c.sharing.Hold = hold
					room, owner := openShared(t, c.sharing)
					pass := func(i int) bool { return room.Arrive(t.Context(), c.use(owner, i)).Pass }
					for i, want := range []bool{true, true, !hold, !hold} {
						if got := pass(i); got != want {
							t.Errorf("held %v: use %d passes: %v, want %v", hold, i, got, want)
						}
					}
					// Those who came first go on, and what the others are told agrees.
					for i, want := range []bool{true, true, !hold} {
						if got := pass(i); got != want {
							t.Errorf("held %v: use %d once more passes: %v, want %v", hold, i, got, want)
						}
						if got := room.Peek(t.Context(), c.use(owner, i)).Status.State == admission.StateAdmitted; got != want {
							t.Errorf("held %v: use %d is told that it is admitted: %v, want %v", hold, i, got, want)
						}
					}
					if got := room.Figures().Shared; got[c.reason] != 1 || got[admission.SharedRequests] != 0 {
						t.Errorf("held %v: counted %v, want one session", hold, got)
					}
					// A phone that moves on is not two phones.
					time.Sleep(c.sharing.Window + time.Second)
					if !pass(3) || !pass(0) {
						t.Errorf("held %v: after a while two others do not pass", hold)
					}
				}
			})
		})
	}
}

// Whom the token does not admit is new: waits in line, and gets in by a turn of
// their own. They cannot end the session either.
func TestSharing_WhoIsTurnedAwayIsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room, owner := openShared(t, admission.Sharing{Hold: true, Networks: 1, Window: time.Hour})
		buyer := &browser{room: room, admission: owner.admission}
		v := buyer.keep(room.Arrive(t.Context(), buyer.from("198.51.100.1", chromeLinux)))
		if v.Pass || v.Status.Number != 2 || v.Queue.Token == "" {
			t.Fatalf("got %+v, want the next place", v)
		}
		if s := room.Peek(t.Context(), buyer.from("198.51.100.1", chromeLinux)).Status; s.State != admission.StateWaiting || s.Number != 2 {
			t.Errorf("is told %+v, want to wait", s)
		}
		room.Leave(t.Context(), (&browser{room: room, admission: owner.admission}).from("198.51.100.1", chromeLinux))
		if v := room.Arrive(t.Context(), owner.from("192.0.2.1", chromeLinux)); !v.Pass {
			t.Errorf("after a stranger left with the token its owner got %+v", v)
		}
	})
}

func TestSharing_ASessionMayAskSoOften(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, hold := range []bool{false, true} {
			room, owner := openShared(t, admission.Sharing{Hold: hold, RequestsPerHour: 3600, RequestBurst: 5, Window: time.Minute})
			use := func() admission.Verdict { return room.Arrive(t.Context(), owner.from("192.0.2.1", chromeLinux)) }
			passed := 0
			for range 20 {
				if v := use(); v.Pass {
					passed++
				} else if v.Reason != admission.HoldLimited || v.Status.PollAfter <= 0 || v.Queue.Token != "" {
					t.Errorf("one too many got %+v, want to be told when to come again", v)
				}
			}
			if want := map[bool]int{false: 20, true: 5}[hold]; passed != want {
				t.Errorf("held %v: of 20 at once %d pass, want %d", hold, passed, want)
			}
			if got := room.Figures().Shared[admission.SharedRequests]; got != 1 {
				t.Errorf("held %v: counted %d, want one session", hold, got)
			}
			time.Sleep(3*time.Second + 100*time.Millisecond)
			for i := range 3 {
				if !use().Pass {
					t.Errorf("held %v: after 3 s request %d does not pass", hold, i)
				}
			}
			if use().Pass == hold {
				t.Errorf("held %v: a fourth passes: %v", hold, !hold)
			}
		}
	})
}

func TestSharing_LooksAtNothingUnlessAsked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room, owner := openShared(t, admission.Sharing{})
		for i := range 20 {
			if !room.Arrive(t.Context(), owner.from(fmt.Sprintf("192.0.2.%d", i), fmt.Sprint("agent", i))).Pass {
				t.Fatal("a use does not pass")
			}
		}
		if got := room.Figures().Shared; got != [admission.Suspicions]uint64{} {
			t.Errorf("counted %v", got)
		}
	})
}
