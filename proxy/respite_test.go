package proxy

import (
	"io"
	"net/http"
	"net/netip"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
)

func TestRespite_NoOneNewIsLetInForTheTimeThatTheShopAsks(t *testing.T) {
	var busy atomic.Bool
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if busy.Load() {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(503)
		}
		io.WriteString(w, "the shop")
	})
	g := open(t, shop.URL, func(s *setup) {
		s.limits = sale()
		s.proxies = []string{"127.0.0.0/8"}
		s.shop = func(u *UpstreamSettings) { u.Breaker.RetryAfter = time.Minute }
	})
	inside := browser(t)
	if res, _ := g.ask(inside, "GET", "/drop", "", navigation); res.StatusCode != 200 {
		t.Fatalf("the first visitor got %d", res.StatusCode)
	}
	busy.Store(true)
	for _, client := range []string{"192.0.2.1", "192.0.2.2"} {
		if res, body := g.ask(browser(t), "GET", "/about", "", "X-Forwarded-For: "+client); res.StatusCode != 503 || res.Header.Get("Retry-After") != "2" || body != "the shop" {
			t.Errorf("a visitor got %d %s, want the shop's own answer", res.StatusCode, body)
		}
	}
	eventually(t, "the line is paused", func() bool { return g.room.Figures().Paused() })
	busy.Store(false)
	waiting := browser(t)
	if res, body := g.ask(waiting, "GET", "/drop", ""); res.StatusCode != 503 || !strings.Contains(body, `"code":"PAUSED"`) {
		t.Errorf("a newcomer got %d %s, want a place in a paused line", res.StatusCode, body)
	}
	if res, _ := g.ask(inside, "GET", "/drop", "", navigation); res.StatusCode != 200 {
		t.Errorf("who is inside got %d", res.StatusCode)
	}
	eventually(t, "the newcomer is let in", func() bool {
		res, _ := g.ask(waiting, "GET", "/drop", "")
		return res.StatusCode == 200
	})
	if g.count("ropeline_breaker_state", "upstream:shop") != 0 {
		t.Error("the breaker is open: the shop did answer")
	}
}

func TestRespite_WhoMayAskForIt(t *testing.T) {
	one, another := netip.MustParseAddr("192.0.2.1"), netip.MustParseAddr("198.51.100.1")
	after := func(s string) http.Header { return http.Header{"Retry-After": {s}} }
	for name, c := range map[string]struct {
		settings Breaker
		do       func(b *breaker)
		rests    time.Duration
	}{
		"two clients": {do: func(b *breaker) { b.asksForTime(one, after("20")); b.asksForTime(another, after("20")) }, rests: 20 * time.Second},
		"one client":  {do: func(b *breaker) { b.asksForTime(one, after("20")); b.asksForTime(one, after("20")) }},
		"one network of IPv6": {do: func(b *breaker) {
			b.asksForTime(netip.MustParseAddr("2001:db8::1"), after("20"))
			b.asksForTime(netip.MustParseAddr("2001:db8::2"), after("20"))
		}},
		"two clients, long apart": {do: func(b *breaker) {
			b.asksForTime(one, after("20"))
			time.Sleep(11 * time.Second)
			b.asksForTime(another, after("20"))
		}},
		"few of many answers": {do: func(b *breaker) {
			for range 10 {
				b.answered.add(b.second())
			}
			b.asksForTime(one, after("20"))
			b.asksForTime(another, after("20"))
		}},
		"longer than is obeyed": {do: func(b *breaker) {
			b.asksForTime(one, after("86400"))
			b.asksForTime(another, after("99999999999999999999"))
		}, rests: time.Minute},
		"again, for longer": {do: func(b *breaker) {
			b.asksForTime(one, after("5"))
			b.asksForTime(another, after("5"))
			b.asksForTime(one, after("30"))
			b.asksForTime(another, after("3"))
		}, rests: 30 * time.Second},
		"by a date": {do: func(b *breaker) {
			for _, client := range []netip.Addr{one, another} {
				b.asksForTime(client, after(time.Now().Add(40*time.Second).UTC().Format(http.TimeFormat)))
			}
		}, rests: 40 * time.Second},
		"a date that is over": {do: func(b *breaker) {
			for _, client := range []netip.Addr{one, another} {
				b.asksForTime(client, after(time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)))
			}
		}},
		"no time":    {do: func(b *breaker) { b.asksForTime(one, nil); b.asksForTime(another, nil) }},
		"junk":       {do: func(b *breaker) { b.asksForTime(one, after("soon")); b.asksForTime(another, after("-5")) }},
		"not obeyed": {settings: Breaker{Requests: 20, Failures: .5}, do: func(b *breaker) { b.asksForTime(one, after("20")); b.asksForTime(another, after("20")) }},
		"no breaker": {settings: Breaker{RetryAfter: time.Minute}, do: func(b *breaker) { b.asksForTime(one, after("20")); b.asksForTime(another, after("20")) }},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				if c.settings == (Breaker{}) {
					c.settings = Breaker{Requests: 20, Failures: .5, RetryAfter: time.Minute}
				}
				b := newBreaker("shop", c.settings, zap.NewNop())
				c.do(b)
				if b.resting() != (c.rests > 0) {
					t.Fatalf("it rests: %v, want %v", b.resting(), c.rests)
				}
				if time.Sleep(c.rests - time.Millisecond); c.rests > 0 && !b.resting() {
					t.Errorf("it rests for less than %v", c.rests)
				}
				if time.Sleep(2 * time.Millisecond); b.resting() {
					t.Errorf("it rests for more than %v", c.rests)
				}
			})
		})
	}
}
