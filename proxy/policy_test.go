package proxy

import (
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"sync"
	"testing"

	"github.com/ropeline/ropeline/admission"
)

// poolOf is an upstream of servers with these weights, which no one asks.
func poolOf(t testing.TB, policy Policy, weights ...int64) *Upstream {
	t.Helper()
	s := UpstreamSettings{Name: "shop", Policy: policy}
	for i, w := range weights {
		s.Servers = append(s.Servers, UpstreamServer{URL: mustURL(t, fmt.Sprintf("http://127.0.0.%d", i+1)), Weight: w})
	}
	u, err := NewGateway(Options{}).Upstream(s)
	if err != nil {
		t.Fatal(err)
	}
	return u
}

// shares asks n times, as so many clients, and counts who was chosen. Each
// request is still under way when the next one comes.
func shares(u *Upstream, n int) []int {
	got := make([]int, len(u.members))
	for i := range n {
		m := u.choose(netip.AddrFrom4([4]byte{10, 0, byte(i >> 8), byte(i)}), nil)
		m.active.Add(1)
		for k := range u.members {
			if u.members[k] == m {
				got[k]++
			}
		}
	}
	return got
}

func TestPolicy_SharesGoByWeight(t *testing.T) {
	const n = 6000
	for _, c := range []struct {
		policy Policy
		exact  bool
	}{{LeastConn, true}, {RoundRobin, true}, {Random, false}, {IPHash, false}} {
		got := shares(poolOf(t, c.policy, 1, 2, 3), n)
		for i, want := range []int{n / 6, n / 3, n / 2} {
			slack := n / 20 // of a draw or a hash, many deviations
			if c.exact {
				slack = 1
			}
			if got[i] < want-slack || got[i] > want+slack {
				t.Errorf("%s: server %d of weight %d was chosen %d times of %d, want about %d", c.policy, i, i+1, got[i], n, want)
			}
		}
	}
}

func TestPolicy_LeastConnAvoidsTheBusy(t *testing.T) {
	u := poolOf(t, LeastConn, 1, 1, 1)
	u.members[0].active.Store(5)
	u.members[2].active.Store(1)
	for range 9 {
		if m := u.choose(netip.Addr{}, nil); m != u.members[1] {
			t.Fatalf("%s was chosen, want the one with nothing to do", m.url)
		}
	}
}

func TestPolicy_RoundRobinSpreadsTheHeavy(t *testing.T) {
	u := poolOf(t, RoundRobin, 3, 1)
	var order string
	for range 8 {
		order += u.choose(netip.Addr{}, nil).url[len("http://127.0.0."):]
	}
	if want := "11211121"; order != want {
		t.Errorf("got the order %s, want %s", order, want)
	}
}

func TestPolicy_HashKeepsAClientAndMovesOnlyTheLost(t *testing.T) {
	u, same, fewer := poolOf(t, IPHash, 1, 1, 1), poolOf(t, IPHash, 1, 1, 1), poolOf(t, IPHash, 1, 1)
	for i := range 500 {
		client := netip.AddrFrom4([4]byte{10, 1, byte(i >> 8), byte(i)})
		m := u.choose(client, nil)
		if again := same.choose(client, nil); again.url != m.url {
			t.Fatalf("%s is sent to %s by one gateway and to %s by another", client, m.url, again.url)
		}
		if left := fewer.choose(client, nil); m != u.members[2] && left.url != m.url {
			t.Fatalf("%s moved from %s to %s though its server is there", client, m.url, left.url)
		}
	}
	a, b := netip.MustParseAddr("2001:db8::1"), netip.MustParseAddr("2001:db8::ffff:1")
	if u.choose(a, nil) != u.choose(b, nil) {
		t.Error("two addresses of one IPv6 network are sent to two servers")
	}
}

func TestPolicy_TriedServersAreNotChosenAgain(t *testing.T) {
	for _, policy := range []Policy{LeastConn, RoundRobin, Random, IPHash} {
		u := poolOf(t, policy, 1, 5, 1)
		for range 20 {
			if m := u.choose(netip.Addr{}, []*member{u.members[0], u.members[1]}); m != u.members[2] {
				t.Fatalf("%s: got %v, want the last", policy, m)
			}
		}
		if m := u.choose(netip.Addr{}, u.members); m != nil {
			t.Errorf("%s: got %s though all were tried", policy, m.url)
		}
	}
}

func TestPool_ReloadKeepsServersThatStay(t *testing.T) {
	inShop, release := make(chan struct{}), make(chan struct{})
	slow := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			inShop <- struct{}{}
			<-release
		}
		io.WriteString(w, r.RemoteAddr)
	}
	a, b, c := openShop(t, slow), openShop(t, slow), openShop(t, slow)
	g := open(t, a.URL, func(s *setup) {
		s.limits.Mode = admission.ModeOpen
		s.shop = func(s *UpstreamSettings) { *s = shopAt(t, a.URL, b.URL); s.Policy = RoundRobin }
	})
	from := map[string]bool{}
	for range 4 {
		_, addr := g.ask(browser(t), "GET", "/", "")
		from[addr] = true
	}
	if len(from) != 2 || a.hits() != 2 || b.hits() != 2 {
		t.Fatalf("four requests came over %d connections, %d to one and %d to the other; want 2, 2 and 2", len(from), a.hits(), b.hits())
	}

	var under sync.WaitGroup
	for range 2 { // one under way at each
		under.Go(func() {
			if _, body := g.ask(browser(t), "GET", "/slow", ""); body == "" {
				t.Error("a request under way got nothing")
			}
		})
		<-inShop
	}
	// b goes, c comes, and a is kept though all around it changed.
	next := shopAt(t, a.URL, c.URL)
	next.Servers[0].Weight = 2
	u := g.upstream(next)
	g.swap(g.settings(Route{Host: "*", Path: "/", Upstream: u}))
	if got := u.members[0].active.Load(); got != 1 {
		t.Errorf("%d requests are known under way at the server that stayed, want 1", got)
	}
	_, addr := g.ask(browser(t), "GET", "/", "")
	if c.hits()+a.hits() != 4 || b.hits() != 3 {
		t.Errorf("the new request came from %s to none of those that are there", addr)
	}
	close(release)
	under.Wait()
	_ = g.stop()
	if got := u.members[0].active.Load(); got != 0 {
		t.Errorf("%d requests are known under way when all have ended", got)
	}
	if fresh := g.upstream(shopAt(t, b.URL)); fresh.members[0].active.Load() != 0 {
		t.Error("a server that went is remembered")
	}
}

func TestPool_ReloadThatMakesConnectionsAnewKeepsTheServer(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.RemoteAddr) })
	g := open(t, shop.URL)
	_, before := g.ask(browser(t), "GET", "/", "")
	next := shopAt(t, shop.URL)
	next.Header = 5e9
	was := g.upstream(shopAt(t, shop.URL))
	now := g.upstream(next)
	if now == was || now.members[0].target != was.members[0].target {
		t.Error("the server is another one, want the same with other connections")
	}
	g.swap(g.settings(Route{Host: "*", Path: "/", Upstream: now}))
	if _, after := g.ask(browser(t), "GET", "/", ""); after == before {
		t.Error("the connection of the old timeouts is still used")
	}
}

func BenchmarkChoose(b *testing.B) {
	client := netip.MustParseAddr("192.0.2.7")
	for _, policy := range []Policy{LeastConn, RoundRobin, Random, IPHash} {
		u := poolOf(b, policy, 1, 2, 3)
		b.Run(string(policy), func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				u.choose(client, nil)
			}
		})
	}
}
