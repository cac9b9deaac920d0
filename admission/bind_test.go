package admission_test

import (
	"net/netip"
	"testing"
	"testing/synctest"

	"github.com/ropeline/ropeline/admission"
)

const (
	chromeLinux  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"
	chromeLater  = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.7390.54 Safari/537.36"
	chromeMobile = "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Mobile Safari/537.36"
	firefoxLinux = "Mozilla/5.0 (X11; Linux x86_64; rv:143.0) Gecko/20100101 Firefox/143.0"
	edgeWindows  = "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36 Edg/140.0.0.0"
)

func bindTo(bind admission.Bind) admission.Settings {
	s := settings(demoLimits())
	s.Bind, s.Networks = bind, admission.Networks{IPv4: 24, IPv6: 48}
	return s
}

// from is the same tokens, brought from elsewhere.
func (b *browser) from(address, agent string) admission.Visit {
	v := b.visit()
	v.Network, v.Agent = netip.MustParseAddr(address), agent
	return v
}

func TestBind_ATicketThatAnotherBringsIsWorthNothing(t *testing.T) {
	both := admission.Bind{UserAgent: true, Network: true}
	for name, c := range map[string]struct {
		bind           admission.Bind
		address, agent string
		good           bool
	}{
		"the same":             {both, "192.0.2.1", chromeLinux, true},
		"an update":            {both, "192.0.2.1", chromeLater, true},
		"the same network":     {both, "192.0.2.200", chromeLinux, true},
		"mapped":               {both, "::ffff:192.0.2.1", chromeLinux, true},
		"another network":      {both, "198.51.100.1", chromeLinux, false},
		"another device":       {both, "192.0.2.1", chromeMobile, false},
		"another browser":      {both, "192.0.2.1", firefoxLinux, false},
		"another system":       {both, "192.0.2.1", edgeWindows, false},
		"an app":               {both, "192.0.2.1", "Shop/3.2 okhttp/4", false},
		"nothing said":         {both, "192.0.2.1", "", false},
		"browser, not network": {admission.Bind{UserAgent: true}, "198.51.100.1", chromeLater, true},
		"network, not browser": {admission.Bind{Network: true}, "192.0.2.9", firefoxLinux, true},
		"network, another":     {admission.Bind{Network: true}, "192.0.3.9", chromeLinux, false},
		"not bound":            {admission.Bind{}, "198.51.100.1", firefoxLinux, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				room := openRoom(t, demoLimits())
				room.Configure(bindTo(c.bind))
				inside, waiting := &browser{room: room}, &browser{room: room}
				inside.keep(room.Arrive(t.Context(), inside.from("192.0.2.1", chromeLinux)))
				place := waiting.keep(room.Arrive(t.Context(), waiting.from("192.0.2.1", chromeLinux))).Status.Number
				if inside.admission == "" || place == 0 {
					t.Fatalf("got the admission %q and number %d", inside.admission, place)
				}
				if v := room.Arrive(t.Context(), inside.from(c.address, c.agent)); v.Pass != c.good || !c.good && v.Reason != admission.HoldWaiting {
					t.Errorf("the admission token: %+v, want to pass: %v, else to be new in line", v, c.good)
				}
				if s := room.Peek(t.Context(), inside.from(c.address, c.agent)).Status; (s.State == admission.StateAdmitted) != c.good {
					t.Errorf("the admission token's status: %+v", s)
				}
				if s := room.Peek(t.Context(), waiting.from(c.address, c.agent)).Status; (s.Number == place) != c.good || (s.State == admission.StateNew) == c.good {
					t.Errorf("the queue token's status: %+v, want number %d: %v", s, place, c.good)
				}
				if s := room.Arrive(t.Context(), waiting.from(c.address, c.agent)).Status; (s.Number == place) != c.good || s.Number == 0 {
					t.Errorf("the queue token, asking to enter: %+v, want number %d: %v", s, place, c.good)
				}
				if v := room.Claim(t.Context(), waiting.from(c.address, c.agent)); (v.Status.Number == place) != c.good {
					t.Errorf("the queue API: %+v, want number %d: %v", v, place, c.good)
				}
				room.Leave(t.Context(), inside.from(c.address, c.agent))
				if v := room.Arrive(t.Context(), inside.from("192.0.2.1", chromeLinux)); v.Pass == c.good {
					t.Errorf("after the other left: %+v, want the session untouched: %v", v, !c.good)
				}
			})
		})
	}
}

// A reload that binds, binds otherwise or no more costs no one the place.
func TestBind_AChangeCostsNoOneThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		free, bound := &browser{room: room}, &browser{room: room}
		(&browser{room: room}).arrive()
		place := free.keep(room.Arrive(t.Context(), free.from("192.0.2.1", chromeLinux))).Status.Number
		room.Configure(bindTo(admission.Bind{UserAgent: true, Network: true}))
		if s := room.Peek(t.Context(), free.from("198.51.100.1", firefoxLinux)).Status; s.Number != place {
			t.Errorf("a ticket from before: %+v, want number %d", s, place)
		}
		place = bound.keep(room.Arrive(t.Context(), bound.from("192.0.2.1", chromeLinux))).Status.Number
		for _, bind := range []admission.Bind{{UserAgent: true}, {Network: true}, {}} {
			room.Configure(bindTo(bind))
			agent, address := chromeLinux, "192.0.2.1"
			if !bind.UserAgent {
				agent = firefoxLinux
			}
			if !bind.Network {
				address = "198.51.100.1"
			}
			if s := room.Peek(t.Context(), bound.from(address, agent)).Status; s.Number != place {
				t.Errorf("bound to %+v: %+v, want number %d", bind, s, place)
			}
		}
	})
}

func TestBind_AnotherLengthOfNetworksCostsNoOneThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		room.Configure(bindTo(admission.Bind{Network: true}))
		(&browser{room: room}).arrive()
		four, six := &browser{room: room}, &browser{room: room}
		places := [2]int64{
			four.keep(room.Arrive(t.Context(), four.from("192.0.2.1", chromeLinux))).Status.Number,
			six.keep(room.Arrive(t.Context(), six.from("2001:db8:1::1", chromeLinux))).Status.Number,
		}
		for _, networks := range []admission.Networks{{IPv4: 32, IPv6: 64}, {IPv4: 16, IPv6: 32}, {IPv4: 8, IPv6: 48}} {
			wide := bindTo(admission.Bind{Network: true})
			wide.Networks = networks
			room.Configure(wide)
			if s := room.Peek(t.Context(), four.from("192.0.2.1", chromeLinux)).Status; s.Number != places[0] {
				t.Errorf("with networks of %+v: %+v, want number %d", networks, s, places[0])
			}
			if s := room.Peek(t.Context(), six.from("2001:db8:1::1", chromeLinux)).Status; s.Number != places[1] {
				t.Errorf("with networks of %+v: %+v, want number %d", networks, s, places[1])
			}
			if s := room.Peek(t.Context(), four.from("198.51.100.1", chromeLinux)).Status; s.Number != 0 {
				t.Errorf("with networks of %+v another brings the ticket: %+v, want to be new", networks, s)
			}
		}
	})
}

func TestBind_EnterGivesABoundTicket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := openRoom(t, demoLimits())
		room.Configure(bindTo(admission.Bind{UserAgent: true}))
		nobody := &browser{room: room}
		e := room.Enter(t.Context(), nobody.from("192.0.2.1", "Shop/3.2"))
		holder := &browser{room: room, queue: e.Queue.Token}
		if v := room.Claim(t.Context(), holder.from("192.0.2.1", "Other/3.2")); v.Pass || v.Status.State != admission.StateNew {
			t.Errorf("another app got %+v, want to be new", v)
		}
		v := room.Claim(t.Context(), holder.from("192.0.2.1", "Shop/3.3"))
		if !v.Pass {
			t.Fatalf("got %+v, want admission", v)
		}
		holder.keep(v)
		if v := room.Arrive(t.Context(), holder.from("192.0.2.1", firefoxLinux)); v.Pass {
			t.Errorf("a browser with the app's admission token got %+v, want to be new", v)
		}
	})
}
