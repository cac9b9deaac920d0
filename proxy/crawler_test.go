package proxy

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"
)

const googlebot = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

// nameServer answers on a port of its own until the test ends. zone has names
// by the arpa name of an address, and addresses by name, each with its dot.
type nameServer struct {
	zone  map[string][]string
	asked atomic.Int64
	hold  chan struct{} // nil: nothing is held back
}

func openNameServer(t *testing.T, zone map[string][]string, hold chan struct{}) (*nameServer, *net.Resolver) {
	t.Helper()
	conn, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &nameServer{zone: zone, hold: hold}
	done := make(chan struct{})
	go func() { defer close(done); s.serve(conn) }()
	t.Cleanup(func() { conn.Close(); <-done })
	return s, &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "udp", conn.LocalAddr().String())
	}}
}

func (s *nameServer) serve(conn net.PacketConn) {
	var work sync.WaitGroup
	defer work.Wait()
	buffer := make([]byte, 1500)
	for {
		n, from, err := conn.ReadFrom(buffer)
		if err != nil {
			return
		}
		var q dnsmessage.Message
		if q.Unpack(buffer[:n]) != nil || len(q.Questions) != 1 {
			continue
		}
		s.asked.Add(1)
		work.Go(func() {
			if s.hold != nil {
				<-s.hold
			}
			if packed, err := s.answer(q); err == nil {
				conn.WriteTo(packed, from)
			}
		})
	}
}

func (s *nameServer) answer(q dnsmessage.Message) ([]byte, error) {
	ask := q.Questions[0]
	a := dnsmessage.Message{Header: dnsmessage.Header{ID: q.ID, Response: true}, Questions: q.Questions}
	values, known := s.zone[strings.ToLower(ask.Name.String())]
	if !known {
		a.RCode = dnsmessage.RCodeNameError
	}
	for _, v := range values {
		resource := dnsmessage.Resource{Header: dnsmessage.ResourceHeader{Name: ask.Name, Class: dnsmessage.ClassINET, Type: ask.Type, TTL: 60}}
		addr, err := netip.ParseAddr(v)
		switch {
		case ask.Type == dnsmessage.TypePTR:
			resource.Body = &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(v)}
		case err == nil && ask.Type == dnsmessage.TypeA && addr.Is4():
			resource.Body = &dnsmessage.AResource{A: addr.As4()}
		case err == nil && ask.Type == dnsmessage.TypeAAAA && addr.Is6():
			resource.Body = &dnsmessage.AAAAResource{AAAA: addr.As16()}
		default:
			continue
		}
		a.Answers = append(a.Answers, resource)
	}
	return a.Pack()
}

func byName(r *net.Resolver) *Crawler {
	return NewCrawler(CrawlerSettings{UserAgent: "Googlebot", Domains: []string{"googlebot.com"}}, r)
}

func TestCrawler_ANameCountsWhereItLeadsBack(t *testing.T) {
	server, resolver := openNameServer(t, map[string][]string{
		"1.66.249.66.in-addr.arpa.":                              {"crawl-66-249-66-1.googlebot.com."},
		"crawl-66-249-66-1.googlebot.com.":                       {"66.249.66.1"},
		"9.2.0.192.in-addr.arpa.":                                {"crawl-66-249-66-1.googlebot.com."}, // anyone may name their own
		"8.2.0.192.in-addr.arpa.":                                {"crawl.googlebot.com.evil.test."},
		"crawl.googlebot.com.evil.test.":                         {"192.0.2.8"},
		"7.2.0.192.in-addr.arpa.":                                {"evilgooglebot.com."},
		"evilgooglebot.com.":                                     {"192.0.2.7"},
		"6.2.0.192.in-addr.arpa.":                                {"a.test.", "CRAWL-6.GoogleBot.com."},
		"crawl-6.googlebot.com.":                                 {"192.0.2.6"},
		strings.Repeat("0.", 23) + "0.8.b.d.0.1.0.0.2.ip6.arpa.": {},
	}, nil)
	c := byName(resolver)
	for client, want := range map[string]bool{
		"66.249.66.1": true, "192.0.2.9": false, "192.0.2.8": false, "192.0.2.7": false, "192.0.2.6": true, "203.0.113.1": false, "2001:db8::1": false,
	} {
		if got := c.Sent(t.Context(), googlebot, netip.MustParseAddr(client)); got != want {
			t.Errorf("%s: believed %v, want %v", client, got, want)
		}
	}
	asked := server.asked.Load()
	for range 3 {
		c.Sent(t.Context(), googlebot, netip.MustParseAddr("66.249.66.1"))
		c.Sent(t.Context(), googlebot, netip.MustParseAddr("203.0.113.1"))
	}
	c.Sent(t.Context(), "Mozilla/5.0 (X11; Linux x86_64)", netip.MustParseAddr("203.0.113.2"))
	c.Sent(t.Context(), googlebot, netip.Addr{})
	if got := server.asked.Load() - asked; got != 0 {
		t.Errorf("%d names were looked up again, or for someone who does not say so", got)
	}
}

func TestCrawler_PublishedNetworksNeedNoNames(t *testing.T) {
	c := NewCrawler(CrawlerSettings{UserAgent: "bingbot", Networks: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/28")}}, nil)
	for client, want := range map[string]bool{"192.0.2.15": true, "192.0.2.16": false} {
		if got := c.Sent(t.Context(), "x (compatible; BingBot/2.0)", netip.MustParseAddr(client)); got != want {
			t.Errorf("%s: believed %v, want %v", client, got, want)
		}
	}
	if c.Sent(t.Context(), "curl/8", netip.MustParseAddr("192.0.2.1")) {
		t.Error("who does not say so is believed")
	}
}

// Claims cost an attacker nothing; looking them up must not cost us more.
func TestCrawler_AFloodOfClaimsIsBounded(t *testing.T) {
	hold := make(chan struct{})
	_, resolver := openNameServer(t, map[string][]string{
		"1.66.249.66.in-addr.arpa.":        {"crawl-66-249-66-1.googlebot.com."},
		"crawl-66-249-66-1.googlebot.com.": {"66.249.66.1"},
	}, hold)
	c := byName(resolver)
	real := netip.MustParseAddr("66.249.66.1")
	var waiting sync.WaitGroup
	var believed atomic.Int64
	for range 20 { // one address, one look-up
		waiting.Go(func() {
			if c.Sent(t.Context(), googlebot, real) {
				believed.Add(1)
			}
		})
	}
	for i := range mostLookups - 1 {
		c.proofOf(netip.AddrFrom4([4]byte{203, 0, 113, byte(i)}))
	}
	c.proofOf(real)
	if c.Sent(t.Context(), googlebot, netip.MustParseAddr("203.0.113.200")) {
		t.Error("a claim beyond the most look-ups is believed")
	}
	close(hold)
	waiting.Wait()
	if got := believed.Load(); got != 20 {
		t.Errorf("%d of 20 requests of the real one are believed", got)
	}
	for i := range 2 * mostKnownAddresses {
		c.mu.Lock()
		p := &proof{found: make(chan struct{})}
		close(p.found)
		c.keep(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), p)
		c.mu.Unlock()
	}
	if got := len(c.young) + len(c.old); got > mostKnownAddresses {
		t.Errorf("%d addresses are remembered, want at most %d", got, mostKnownAddresses)
	}
}

func TestBypass_ACrawlerPassesWhereItIsProven(t *testing.T) {
	_, resolver := openNameServer(t, map[string][]string{
		"1.66.249.66.in-addr.arpa.":        {"crawl-66-249-66-1.googlebot.com."},
		"crawl-66-249-66-1.googlebot.com.": {"66.249.66.1"},
	}, nil)
	shop := openShop(t, nil)
	g := closedBut(t, shop.URL, Rule{Crawler: byName(resolver), Method: "GET"})
	for client, want := range map[string]int{"66.249.66.1": 200, "203.0.113.1": 503} {
		res, _ := g.ask(browser(t), "GET", "/drop", "", "User-Agent: "+googlebot, "X-Forwarded-For: "+client, navigation)
		if res.StatusCode != want {
			t.Errorf("%s: got %d, want %d", client, res.StatusCode, want)
		}
	}
	if got := shop.hits(); got != 1 {
		t.Errorf("the shop was asked %d times, want once", got)
	}
}

// What was found is not believed for ever, and that name servers did not answer
// says nothing of the client.
func TestCrawler_AsksAgainWhenItIsTime(t *testing.T) {
	server, resolver := openNameServer(t, map[string][]string{
		"1.66.249.66.in-addr.arpa.":        {"crawl-66-249-66-1.googlebot.com."},
		"crawl-66-249-66-1.googlebot.com.": {"66.249.66.1"},
	}, nil)
	away := errors.New("no way to a name server")
	dial := resolver.Dial
	resolver.Dial = func(ctx context.Context, network, address string) (net.Conn, error) {
		if away != nil {
			return nil, away
		}
		return dial(ctx, network, address)
	}
	c, client := byName(resolver), netip.MustParseAddr("66.249.66.1")
	if c.Sent(t.Context(), googlebot, client) {
		t.Error("believed without an answer")
	}
	if left := time.Until(c.young[client].until); left > untold {
		t.Errorf("asks again after %v, want at most %v: nothing was found out", left, untold)
	}
	away = nil
	for i, want := range []bool{true, true} {
		c.young[client].until = time.Now().Add(-time.Second)
		asked := server.asked.Load()
		if got := c.Sent(t.Context(), googlebot, client); got != want || server.asked.Load() == asked {
			t.Errorf("the time is over (%d): believed %v after %d questions, want %v and some", i, got, server.asked.Load()-asked, want)
		}
		if left := time.Until(c.young[client].until); left <= refuted {
			t.Errorf("proven, it asks again after %v, want %v", left, provenFor)
		}
	}
}
