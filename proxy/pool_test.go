package proxy

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// pool has the gateway's upstream be of these servers, and everyone pass.
func pool(t *testing.T, change func(*UpstreamSettings), servers ...string) func(*setup) {
	return func(s *setup) {
		s.limits.Mode = admission.ModeOpen
		s.shop = func(u *UpstreamSettings) {
			*u = shopAt(t, servers...)
			u.Policy, u.Retries = RoundRobin, 1
			if change != nil {
				change(u)
			}
		}
	}
}

// eventually waits until something can be seen to be so.
func eventually(t testing.TB, what string, so func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !so(); {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		select {
		case <-t.Context().Done():
			return
		case <-time.After(2 * time.Millisecond):
		}
	}
}

// freeAddress is an address on which nobody listens.
func freeAddress(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	return l.Addr().String()
}

// openAt runs a shop at an address.
func openAt(t testing.TB, address string, h http.HandlerFunc) *shop {
	t.Helper()
	l, err := net.Listen("tcp", address)
	if err != nil {
		t.Fatal(err)
	}
	s := &shop{}
	s.Server = &httptest.Server{Listener: l, Config: &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.seen = append(s.seen, r.Clone(context.Background()))
		s.mu.Unlock()
		h(w, r)
	})}}
	s.Start()
	t.Cleanup(s.Close)
	return s
}

// openResetting is an upstream that reads requests and closes their
// connections, and counts them.
func openResetting(t testing.TB) (url string, hits *atomic.Int64) {
	hits = new(atomic.Int64)
	s := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		hits.Add(1)
		panic(http.ErrAbortHandler)
	})
	return s.URL, hits
}

func TestPool_OneOfThreeDeadIsSeenByNobody(t *testing.T) {
	a, b, dead := openShop(t, nil), openShop(t, nil), freeAddress(t)
	g := open(t, "", pool(t, nil, a.URL, "http://"+dead, b.URL))
	for i := range 30 {
		method, body := "GET", ""
		if i%2 == 1 {
			method, body = "POST", "order"
		}
		if res, got := g.ask(browser(t), method, "/", body); res.StatusCode != 200 || got != "the shop" {
			t.Fatalf("%s %d got %d %q, want an answer of the others", method, i, res.StatusCode, got)
		}
	}
	if a.hits()+b.hits() != 30 {
		t.Errorf("the shop got %d requests, want 30", a.hits()+b.hits())
	}
	if got := g.count("ropeline_upstream_errors_total", reasonConnect, "shop"); got != 0 {
		t.Errorf("visitors met %v errors, want none", got)
	}
	back := openAt(t, dead, func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the shop") })
	eventually(t, "the server is asked again", func() bool {
		g.ask(browser(t), "GET", "/", "")
		return back.hits() > 0
	})
}

func TestPool_ABodyThatWasNotReadGoesToTheNext(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		w.Write(body)
	})
	g := open(t, "", pool(t, func(s *UpstreamSettings) { s.Policy = LeastConn }, "http://"+freeAddress(t), shop.URL))
	want := strings.Repeat("order", 100_000)
	for range 4 {
		if _, got := g.ask(browser(t), "POST", "/", want); got != want {
			t.Fatalf("the shop got %d bytes, want %d", len(got), len(want))
		}
	}
}

func TestPool_WhatMayHaveArrivedIsNotSentTwice(t *testing.T) {
	for _, c := range []struct {
		method, body string
		want         int
		again        bool
	}{
		{"GET", "", 200, true}, {"HEAD", "", 200, true}, {"OPTIONS", "", 200, true},
		{"POST", "", 502, false}, {"POST", "order", 502, false}, {"PUT", "", 502, false}, {"DELETE", "", 502, false}, {"GET", "body", 502, false},
	} {
		bad, hits := openResetting(t)
		good := openShop(t, nil)
		g := open(t, "", pool(t, nil, bad, good.URL))
		res, _ := g.ask(browser(t), c.method, "/about", c.body)
		if res.StatusCode != c.want || hits.Load() != 1 || (good.hits() == 1) != c.again {
			t.Errorf("%s with %q got %d after %d and %d requests; want %d, sent again: %v", c.method, c.body, res.StatusCode, hits.Load(), good.hits(), c.want, c.again)
		}
	}
}

func TestPool_WhoWaitedForAnAnswerIsNotSentOn(t *testing.T) {
	release := make(chan struct{})
	defer close(release)
	slow := openShop(t, func(w http.ResponseWriter, r *http.Request) { <-release })
	good := openShop(t, nil)
	g := open(t, "", pool(t, func(s *UpstreamSettings) { s.Header = 50 * time.Millisecond }, slow.URL, good.URL))
	if res, _ := g.ask(browser(t), "GET", "/", ""); res.StatusCode != 504 || good.hits() != 0 {
		t.Errorf("got %d, and the other server %d requests; want 504 and none", res.StatusCode, good.hits())
	}
}

func TestPool_RetriesStayWithinTheirBudget(t *testing.T) {
	one, hits1 := openResetting(t)
	two, hits2 := openResetting(t)
	g := open(t, "", pool(t, nil, one, two))
	const n = 200
	for range n {
		if res, _ := g.ask(http.DefaultClient, "GET", "/", ""); res.StatusCode != 502 && res.StatusCode != 503 {
			t.Fatalf("got %d, want 502 or 503", res.StatusCode)
		}
	}
	if got, most := hits1.Load()+hits2.Load(), int64(n+n/10+10); got > most {
		t.Errorf("%d requests became %d, want at most %d", n, got, most)
	}
}

func TestPool_NobodyMeetsADeadServerTwiceInARow(t *testing.T) {
	bad, hits := openResetting(t)
	good := openShop(t, nil)
	for _, policy := range []Policy{LeastConn, RoundRobin, Random, IPHash} {
		g := open(t, "", pool(t, func(s *UpstreamSettings) { s.Policy, s.Retries = policy, 0 }, bad, good.URL))
		failed := false
		for i := range 40 {
			res, _ := g.ask(browser(t), "POST", "/", "order")
			if failed && res.StatusCode != 200 {
				t.Errorf("%s: request %d met the dead server as the one before had", policy, i)
			}
			failed = res.StatusCode != 200
		}
	}
	if hits.Load() == 0 {
		t.Error("the dead server was never asked: this shows nothing")
	}
}

func TestHealth_UnwellServersAreLeftOutUntilTheyAreWell(t *testing.T) {
	var status, followed atomic.Int64
	status.Store(200)
	sick := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/up":
			w.Header().Set("Location", "/elsewhere")
			w.WriteHeader(int(status.Load()))
		case "/elsewhere":
			followed.Add(1)
		default:
			io.WriteString(w, "sick")
		}
	})
	well := openShop(t, nil)
	g := open(t, "", pool(t, func(s *UpstreamSettings) { s.Health = Health{Path: "/up", Interval: 5 * time.Millisecond} }, sick.URL, well.URL))
	answers := func(who string) bool {
		for range 4 {
			if _, body := g.ask(http.DefaultClient, "GET", "/", ""); body == who {
				return true
			}
		}
		return false
	}
	eventually(t, "both are asked", func() bool { return answers("sick") && answers("the shop") })
	status.Store(503)
	eventually(t, "the sick one is left out", func() bool { return !answers("sick") })
	status.Store(302)
	eventually(t, "it is asked again", func() bool { return answers("sick") })
	if got := followed.Load(); got != 0 {
		t.Errorf("a redirect of a health check was followed %d times", got)
	}
	if r := sick.seen[0]; r.URL.Path == "/up" && r.Header.Get("User-Agent") != "ropeline-health" {
		t.Errorf("the check calls itself %q", r.Header.Get("User-Agent"))
	}
}

func TestHealth_WhereNoneIsWellNobodyIsSent(t *testing.T) {
	var visits atomic.Int64
	sick := func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/up" {
			visits.Add(1)
		}
		w.WriteHeader(500)
	}
	for _, servers := range [][]string{{openShop(t, sick).URL}, {openShop(t, sick).URL, openShop(t, sick).URL}} {
		g := open(t, "", pool(t, func(s *UpstreamSettings) { s.Health = Health{Path: "/up", Interval: 5 * time.Millisecond} }, servers...))
		eventually(t, "it is known", func() bool {
			res, _ := g.ask(http.DefaultClient, "GET", "/", "")
			return res.StatusCode == 503
		})
		before := visits.Load()
		res, body := g.ask(http.DefaultClient, "GET", "/drop", "", navigation)
		if res.StatusCode != 503 || res.Header.Get("Retry-After") == "" || !strings.Contains(body, "Your place is kept.") {
			t.Errorf("got %d %v %q, want 503 with the page", res.StatusCode, res.Header, body)
		}
		if visits.Load() != before || g.count("ropeline_upstream_errors_total", reasonDown, "shop") == 0 {
			t.Error("a visitor was sent to a server that is not well, or it was not counted")
		}
	}
}

func TestPool_ReloadKeepsWhatIsKnownOfAServer(t *testing.T) {
	good, dead := openShop(t, nil), "http://"+freeAddress(t)
	g := open(t, "", pool(t, nil, good.URL, dead))
	for range 2 {
		g.ask(browser(t), "GET", "/", "")
	}
	next := shopAt(t, good.URL, dead, "http://"+freeAddress(t))
	next.Servers[0].Weight, next.Policy = 2, Random
	u := g.upstream(next)
	g.swap(g.settings(Route{Host: "*", Path: "/", Upstream: u}))
	if !u.members[1].refused.Load() {
		t.Error("after a reload it is forgotten that a server is away")
	}
	if got := u.members[2].share(g.clock()); got != leastShare {
		t.Errorf("a server that was added begins with %v of its share, want %v", got, leastShare)
	}
	if got := u.members[0].share(g.clock()); got != 1 {
		t.Errorf("the server that was there has %v of its share, want all", got)
	}
}

func TestTarget_ComesBackSlowly(t *testing.T) {
	target := newTarget("http://shop")
	for _, c := range []struct {
		story string
		do    func()
		now   time.Duration
		want  float64
	}{
		{"new", func() {}, 0, 1},
		{"failed", func() { target.failed(0, false) }, 0, 0},
		{"rested", func() {}, time.Second, 1},
		{"failed again", func() { target.failed(int64(time.Second), false) }, 2 * time.Second, 0},
		{"rested twice as long", func() {}, 3 * time.Second, 1},
		{"answered", target.answered, 3 * time.Second, 1},
		{"refused", func() { target.failed(int64(3*time.Second), true) }, time.Hour, 0},
		{"answered on an old connection", target.answered, time.Hour, 0},
		{"back", func() { target.recover(int64(time.Hour)) }, time.Hour, leastShare},
		{"half way", func() {}, time.Hour + slowStart/2, .5},
		{"all the way", func() {}, time.Hour + slowStart, 1},
		{"for good", func() {}, time.Hour, 1},
	} {
		if c.do(); target.share(int64(c.now)) != c.want {
			t.Errorf("%s: it gets %v of its share, want %v", c.story, target.share(int64(c.now)), c.want)
		}
	}
	for range 100 {
		target.failed(0, false)
	}
	if got := time.Duration(target.rest.Load()); got != longestRest {
		t.Errorf("after many failures it rests for %v, want %v", got, longestRest)
	}
}

func TestTarget_OneRequestTriesAServerThatRested(t *testing.T) {
	u := poolOf(t, RoundRobin, 1, 1)
	bad := u.members[0]
	bad.failed(0, false)
	bad.rest.Store(1) // over at once
	got := 0
	for range 10 {
		if u.choose(netip.Addr{}, nil) == bad {
			got++
		}
	}
	if got != 1 {
		t.Errorf("%d of ten requests were sent to it before it answered, want 1", got)
	}
}

func TestSlots_WhoFindsNoneFreeWaitsInOrder(t *testing.T) {
	ctx := t.Context()
	var s slots
	s.bound(2)
	for range 2 {
		if err := s.take(ctx, 0); err != nil {
			t.Fatal(err)
		}
	}
	if err := s.take(ctx, 0); !errors.Is(err, errBusy) {
		t.Errorf("a third, without patience, got %v", err)
	}
	gone, leave := context.WithCancel(ctx)
	got := make(chan string, 4)
	wait := func(ctx context.Context, name string, n int) {
		go func() { got <- fmt.Sprint(name, " ", s.take(ctx, time.Hour)) }()
		eventually(t, name+" waits", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return len(s.waiting) == n })
	}
	wait(gone, "leaver", 1)
	wait(ctx, "first", 2)
	if err := s.take(ctx, time.Hour); !errors.Is(err, errBusy) {
		t.Errorf("with as many waiting as are served, one more got %v", err)
	}
	leave()
	if line := <-got; line != "leaver context canceled" {
		t.Errorf("got %q", line)
	}
	wait(ctx, "second", 2)
	s.give()
	if line := <-got; line != "first <nil>" {
		t.Errorf("got %q, want the first to have it", line)
	}
	s.bound(3)
	if line := <-got; line != "second <nil>" {
		t.Errorf("got %q when there was more room, want the second to have it", line)
	}
	s.bound(1)
	for range 3 {
		if err := s.take(ctx, 0); !errors.Is(err, errBusy) {
			t.Errorf("with three under way of one got %v", err)
		}
		s.give()
	}
	if err := s.take(ctx, 0); err != nil || s.taken != 1 {
		t.Errorf("got %v with %d taken, want the one slot", err, s.taken)
	}
}

func TestPool_MaxConnsHoldsAndThenRefuses(t *testing.T) {
	in, release := make(chan struct{}, 3), make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		in <- struct{}{}
		<-release
		io.WriteString(w, "the shop")
	})
	g := open(t, "", pool(t, func(s *UpstreamSettings) { s.MaxConns, s.Dial = 1, time.Minute }, shop.URL))
	answers := make(chan int, 2)
	ask := func() {
		res, _ := g.ask(browser(t), "GET", "/", "")
		answers <- res.StatusCode
	}
	go ask()
	<-in
	u := g.upstreams[0]
	go ask()
	eventually(t, "one waits", func() bool { u.slots.mu.Lock(); defer u.slots.mu.Unlock(); return len(u.slots.waiting) == 1 })
	if res, body := g.ask(browser(t), "GET", "/drop", ""); res.StatusCode != 503 || !strings.Contains(body, "UPSTREAM_BUSY") {
		t.Errorf("one too many got %d %s, want 503", res.StatusCode, body)
	}
	close(release)
	for range 2 {
		if got := <-answers; got != 200 {
			t.Errorf("who waited got %d, want 200", got)
		}
	}
	_ = g.stop()
	if u.slots.taken != 0 || u.members[0].active.Load() != 0 {
		t.Errorf("%d slots and %d requests are left", u.slots.taken, u.members[0].active.Load())
	}
}

// Visitors who are inside go on asking while one of three servers dies, is gone
// for a while, and comes back.
func TestPool_AServerThatDiesUnderLoadIsLeftOutAtOnce(t *testing.T) {
	tell := func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "the shop") }
	a, b := openShop(t, nil), openShop(t, nil)
	dies := openAt(t, freeAddress(t), tell)
	g := open(t, "", func(s *setup) {
		s.limits.Capacity, s.limits.RatePerHour, s.limits.Burst = 0, 0, 1
		s.shop = func(u *UpstreamSettings) { *u = shopAt(t, a.URL, dies.URL, b.URL); u.Retries = 1 }
	})
	stop := make(chan struct{})
	var answers, inARow atomic.Int64
	var work sync.WaitGroup
	for i := range 8 {
		work.Go(func() {
			visitor, failed := browser(t), false
			for {
				select {
				case <-stop:
					return
				default:
				}
				// Half of them send what cannot be sent twice.
				method, body := "GET", ""
				if i%2 == 1 {
					method, body = "POST", "order"
				}
				r, err := http.NewRequest(method, g.url+"/drop", strings.NewReader(body))
				if err != nil {
					t.Error(err)
					return
				}
				r.Header.Set("Accept", "text/html")
				res, err := visitor.Do(r)
				if err != nil {
					t.Error(err)
					return
				}
				io.Copy(io.Discard, res.Body)
				res.Body.Close()
				switch {
				case res.StatusCode == 200:
					answers.Add(1)
					failed = false
				case method == "GET":
					t.Errorf("a visitor inside got %d for a GET", res.StatusCode)
				case failed:
					inARow.Add(1)
				default:
					failed = true
				}
			}
		})
	}
	more := func(n int64) {
		from := answers.Load()
		eventually(t, "visitors go on", func() bool { return answers.Load() >= from+n })
	}
	more(100)
	address := dies.Listener.Addr().String()
	dies.CloseClientConnections()
	dies.Close()
	more(200)
	if up := g.count("ropeline_upstream_server_up", dies.URL, "shop"); up != 0 {
		t.Errorf("the dead server is said to be up: %v", up)
	}
	back := openAt(t, address, tell)
	eventually(t, "it is asked again", func() bool { return back.hits() > 0 })
	more(50)
	close(stop)
	work.Wait()
	if got := inARow.Load(); got > 0 {
		t.Errorf("visitors met the dead server twice in a row, %d times", got)
	}
	if state := g.breakerState(); state != 0 {
		t.Errorf("the breaker is in state %d for one server of three", state)
	}
}

func TestBudget_EarnsATenthOfTheRequests(t *testing.T) {
	var b budget
	spend := func() (n int) {
		for b.spend() {
			n++
		}
		return n
	}
	if got := spend(); got != 10 {
		t.Errorf("a full budget has %d retries, want 10", got)
	}
	for range 35 {
		b.earn()
	}
	if got := spend(); got != 3 {
		t.Errorf("35 requests earn %d retries, want 3", got)
	}
	for range 10_000 {
		b.earn()
	}
	if got := spend(); got != 10 {
		t.Errorf("many requests earn %d retries, want no more than 10 at once", got)
	}
}
