package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/ropeline/ropeline/admission"
)

// sale is a line that lets one visitor in per second, and many be inside.
func sale() admission.Limits {
	l := oneInside()
	l.Capacity, l.RatePerHour, l.Burst = 0, 3600, 1
	return l
}

// Places are kept, no one is let in, and the line goes on by itself when the
// shop is there again, though no visitor was inside to notice.
func TestDown_RoomsAreShutUntilTheShopAnswers(t *testing.T) {
	var well atomic.Bool
	well.Store(true)
	fails := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "the shop")
	})
	for _, c := range []struct {
		story      string
		url        string
		fail, heal func(address string)
	}{
		{"breaker", fails.URL, func(string) { well.Store(false) }, func(string) { well.Store(true) }},
		{"refused", "", nil, nil},
	} {
		t.Run(c.story, func(t *testing.T) {
			var back *shop
			if c.url == "" {
				back = openAt(t, freeAddress(t), func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the shop") })
				c.url = back.URL
				c.fail = func(string) { back.CloseClientConnections(); back.Close() }
				c.heal = func(address string) {
					openAt(t, address, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the shop") })
				}
			}
			address := strings.TrimPrefix(c.url, "http://")
			g := open(t, "", func(s *setup) {
				s.limits = sale()
				s.shop = func(u *UpstreamSettings) { *u = shopAt(t, c.url); quickBreaker(u) }
			})
			inside := browser(t)
			if res, _ := g.ask(inside, "GET", "/drop", "", navigation); res.StatusCode != 200 {
				t.Fatalf("the first visitor got %d", res.StatusCode)
			}
			c.fail(address)
			g.crowd(20, "/about") // of an open route
			eventually(t, "the line is paused", func() bool { return g.room.Figures().Paused() })

			waiting := browser(t)
			res, body := g.ask(waiting, "GET", "/drop", "")
			if res.StatusCode != 503 || !strings.Contains(body, `"code":"PAUSED"`) || !strings.Contains(body, `"number":2`) {
				t.Fatalf("a newcomer got %d %s, want a place in a paused line", res.StatusCode, body)
			}
			if res, _ := g.ask(inside, "GET", "/drop", "", navigation); res.StatusCode/100 != 5 {
				t.Fatalf("who is inside got %d of a shop that is down", res.StatusCode)
			}
			turned := g.room.Figures().Turned

			c.heal(address)
			eventually(t, "the newcomer is let in", func() bool {
				res, _ := g.ask(waiting, "GET", "/drop", "")
				return res.StatusCode == 200
			})
			if got := g.room.Figures().Turned; got > turned+1 {
				t.Errorf("%d turns were given, want one", got-turned)
			}
		})
	}
}

// Two gateways see two shops, of which one fails: the line goes on by the other
// gateway until its shop fails too.
func TestDown_TheLineGoesOnByTheGatewayThatCan(t *testing.T) {
	store := admission.NewMemory(nil)
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	gate := func(name, url string) *gateway {
		return open(t, "", func(s *setup) {
			s.room = openRoomOver(t, store, ring, name, 123, sale())
			s.shop = func(u *UpstreamSettings) { *u = shopAt(t, url) }
		})
	}
	good := openAt(t, freeAddress(t), func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the shop") })
	one, two := gate("g1", "http://"+freeAddress(t)), gate("g2", good.URL)
	one.ask(browser(t), "GET", "/about", "")

	visitor := browser(t) // the cookies are of both gateways' host
	eventually(t, "the first gateway says that it is paused", func() bool {
		_, body := one.ask(visitor, "GET", "/drop", "")
		return strings.Contains(body, `"code":"PAUSED"`)
	})
	if f := two.room.Figures(); f.Paused() {
		t.Fatal("the line is paused though one gateway can go on")
	}
	eventually(t, "the second gateway lets the visitor in", func() bool {
		res, _ := two.ask(visitor, "GET", "/drop", "")
		return res.StatusCode == 200
	})
	good.CloseClientConnections()
	good.Close()
	two.ask(browser(t), "GET", "/about", "")
	eventually(t, "the line is paused", func() bool { return one.room.Figures().Paused() && two.room.Figures().Paused() })
	turned := two.room.Figures().Turned
	late := browser(t)
	if _, body := two.ask(late, "GET", "/drop", ""); !strings.Contains(body, `"code":"PAUSED"`) {
		t.Errorf("a newcomer got %s, want a place in a paused line", body)
	}
	if got := two.room.Figures().Turned; got != turned {
		t.Errorf("%d turns were given while no gateway could take anyone", got-turned)
	}
}
