package proxy

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/sony/gobreaker/v2"
	"go.uber.org/zap"
)

// crowd asks n times, a few at a time, and counts the statuses; 0 is an answer
// that was not whole.
func (g *gateway) crowd(n int, path string) map[int]int {
	var (
		mu    sync.Mutex
		got   = map[int]int{}
		work  sync.WaitGroup
		queue = make(chan struct{}, n)
	)
	for range n {
		queue <- struct{}{}
	}
	close(queue)
	for range 8 {
		work.Go(func() {
			for range queue {
				status := 0
				if res, err := http.Get(g.url + path); err == nil {
					status = res.StatusCode
					if _, err := io.Copy(io.Discard, res.Body); err != nil {
						status = 0
					}
					res.Body.Close()
				}
				mu.Lock()
				got[status]++
				mu.Unlock()
			}
		})
	}
	work.Wait()
	return got
}

func (g *gateway) breakerState() int { return int(g.count("ropeline_breaker_state", "upstream:shop")) }

// quickBreaker opens after ten requests and tries again soon.
func quickBreaker(s *UpstreamSettings) {
	s.Breaker = Breaker{Requests: 10, Failures: .5, Pause: 100 * time.Millisecond}
}

// silent takes connections and says nothing.
func silent(t *testing.T) (url string) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { l.Close(); open.Wait() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			open.Go(func() { defer conn.Close(); io.Copy(io.Discard, conn) })
		}
	}()
	return "http://" + l.Addr().String()
}

// Each way for a shop to fail, with a crowd asking: what visitors get, whether
// the breaker opens, and how often the shop was asked.
func TestBreaker_OfShopsThatFail(t *testing.T) {
	const n = 200
	release := make(chan struct{})
	t.Cleanup(func() { close(release) })
	var hits atomic.Int64
	server := func(h http.HandlerFunc) string {
		return openShop(t, func(w http.ResponseWriter, r *http.Request) { hits.Add(1); h(w, r) }).URL
	}
	waits := func(t *testing.T) func(w http.ResponseWriter, r *http.Request) {
		return func(w http.ResponseWriter, r *http.Request) {
			select {
			case <-release:
			case <-r.Context().Done():
			}
		}
	}
	for _, c := range []struct {
		story  string
		url    string
		status int
		opens  bool
		asked  func(int64) bool
	}{
		{"refused", "http://" + freeAddress(t), 502, true, nil},
		{"black hole", silent(t), 504, true, nil},
		{"slow headers", server(waits(t)), 504, true, func(n int64) bool { return n < 60 }},
		{"closes without an answer", server(func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }), 502, true, func(n int64) bool { return n < 60 }},
		{"breaks its answers off", server(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Length", "100")
			io.WriteString(w, "half")
			http.NewResponseController(w).Flush()
			panic(http.ErrAbortHandler)
		}), 0, true, func(n int64) bool { return n < 60 }},
		{"speaks nonsense", "http://" + openRaw(t, "SSH-2.0-OpenSSH_9.2\r\n\r\n"), 502, true, nil},
		{"is overloaded and says so", server(func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(503)
		}), 503, false, func(asked int64) bool { return asked == n }},
		{"has bugs", server(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }), 500, false, func(asked int64) bool { return asked == n }},
		{"sends slowly", server(func(w http.ResponseWriter, r *http.Request) {
			for range 3 {
				io.WriteString(w, "piece")
				http.NewResponseController(w).Flush()
			}
		}), 200, false, func(asked int64) bool { return asked == n }},
	} {
		t.Run(c.story, func(t *testing.T) {
			hits.Store(0)
			g := open(t, "", pool(t, func(s *UpstreamSettings) {
				quickBreaker(s)
				s.Breaker.Pause = time.Hour
				if c.status == 504 {
					s.Header = 20 * time.Millisecond
				}
			}, c.url))
			got := g.crowd(n, "/about")
			switch {
			case c.opens && (got[c.status] < 5 || got[503] < n/2 || got[c.status]+got[503] != n):
				t.Errorf("visitors got %v, want %d at first and 503 then", got, c.status)
			case !c.opens && got[c.status] != n:
				t.Errorf("visitors got %v, want %d for all", got, c.status)
			}
			if state := g.breakerState(); (state == 2) != c.opens {
				t.Errorf("the breaker is in state %d, want it open: %v", state, c.opens)
			}
			if c.asked != nil && !c.asked(hits.Load()) {
				t.Errorf("%d requests reached the shop", hits.Load())
			}
			if c.opens && g.count("ropeline_upstream_errors_total", reasonOpen, "shop") == 0 {
				t.Error("what the breaker kept away is not counted")
			}
		})
	}
}

func TestBreaker_ClosesWhenTheShopAnswersAgain(t *testing.T) {
	var well atomic.Bool
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			panic(http.ErrAbortHandler)
		}
		io.WriteString(w, "the shop")
	})
	g := open(t, "", pool(t, quickBreaker, shop.URL))
	for range 3 { // it flaps
		g.crowd(40, "/")
		if g.breakerState() == 0 {
			t.Fatal("the breaker is closed though nothing was answered")
		}
		well.Store(true)
		eventually(t, "visitors get the shop", func() bool { return g.crowd(4, "/")[200] == 4 })
		if state := g.breakerState(); state != 0 {
			t.Errorf("the breaker is in state %d when all is well, want 0", state)
		}
		well.Store(false)
	}
}

// While it is half open, few get through, however many ask.
func TestBreaker_FewTry(t *testing.T) {
	in, release := make(chan struct{}, 100), make(chan struct{})
	var well atomic.Bool
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if !well.Load() {
			panic(http.ErrAbortHandler)
		}
		in <- struct{}{}
		<-release
	})
	g := open(t, "", pool(t, quickBreaker, shop.URL))
	g.crowd(40, "/")
	well.Store(true)
	eventually(t, "it is half open", func() bool { return g.breakerState() == 1 })
	done := make(chan map[int]int)
	go func() { done <- g.crowd(100, "/") }()
	for range breakerTries {
		<-in
	}
	eventually(t, "the others are turned away", func() bool {
		return g.count("ropeline_upstream_errors_total", reasonOpen, "shop") > 50
	})
	if len(in) > 0 {
		t.Errorf("%d more than %d try", len(in), breakerTries)
	}
	close(release)
	if got := <-done; got[200] < breakerTries {
		t.Errorf("visitors got %v", got)
	}
}

// A thousand requests that are aborted or malformed, of each kind as many.
func TestBreaker_NoVisitorCanOpenIt(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hangs":
			<-r.Context().Done()
		case "/large": // it wants no body, and closes the connection at once
			conn, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				conn.(*net.TCPConn).SetLinger(0)
				conn.Close()
			}
		case "/reads":
			io.Copy(io.Discard, r.Body)
		default:
			io.WriteString(w, strings.Repeat("the shop ", 10_000))
		}
	})
	g := open(t, "", func(s *setup) {
		pool(t, quickBreaker, shop.URL)(s)
		s.options.BodyIdle = 200 * time.Millisecond
		s.table = func(s *Settings) { s.BodyBytes = 1 << 16 }
	})
	kinds := []struct {
		story, raw string
		wait       bool // for the answer, rather than leave
	}{
		{"leaves while the shop thinks", "GET /hangs HTTP/1.1\r\nHost: s\r\n\r\n", false},
		{"leaves in the middle of its body", "POST /reads HTTP/1.1\r\nHost: s\r\nContent-Length: 1000\r\n\r\nx", false},
		{"leaves in the middle of the answer", "GET / HTTP/1.1\r\nHost: s\r\n\r\n", false},
		{"sends a bad chunk", "POST /reads HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", true},
		{"sends a bare LF", "POST /reads HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", true},
		{"sends too much", "POST /reads HTTP/1.1\r\nHost: s\r\nContent-Length: 9999999\r\n\r\n", true},
		{"sends too much in chunks", "POST /reads HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n20000\r\n" + strings.Repeat("x", 0x20000) + "\r\n0\r\n\r\n", true},
		{"sends too slowly", "POST /reads HTTP/1.1\r\nHost: s\r\nContent-Length: 10\r\n\r\nx", true},
		{"sends what the shop does not take", "POST /large HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", true},
		{"sends nonsense", "GET / HTTP/1.1\r\nHost: s\r\nContent-Length: +3\r\n\r\n", true},
	}
	const each = 100
	queue := make(chan int, each*len(kinds))
	for i := range each * len(kinds) {
		queue <- i % len(kinds)
	}
	close(queue)
	var work sync.WaitGroup
	for range 32 {
		work.Go(func() {
			for i := range queue {
				conn, err := net.Dial("tcp", g.addr)
				if err != nil {
					t.Error(err)
					return
				}
				fmt.Fprint(conn, kinds[i].raw)
				if kinds[i].wait {
					if res, err := http.ReadResponse(bufio.NewReader(conn), nil); err == nil {
						io.Copy(io.Discard, res.Body)
						res.Body.Close()
					}
				}
				conn.Close()
			}
		})
	}
	work.Wait()
	u := g.upstreams[0]
	eventually(t, "all have ended", func() bool { return u.members[0].active.Load() == 0 })
	if state, counts := u.breaker.state(), u.breaker.two.Counts(); state != 0 || counts.TotalFailures > 0 {
		t.Errorf("the breaker is in state %d and counts %d failures, want 0 and none", state, counts.TotalFailures)
	}
	if got := u.members[0].fails.Load(); got != 0 {
		t.Errorf("the server is said to have failed %d times", got)
	}
	if res, _ := g.ask(browser(t), "GET", "/", ""); res.StatusCode != 200 {
		t.Errorf("an honest visitor got %d, want 200", res.StatusCode)
	}
}

func TestBreaker_StandsBesideOthersInTheMetrics(t *testing.T) {
	registry := prometheus.NewRegistry()
	registry.MustRegister(prometheus.NewGaugeFunc(prometheus.GaugeOpts{
		Name: "ropeline_breaker_state", Help: "0 closed, 1 half-open, 2 open.", ConstLabels: prometheus.Labels{"name": "redis"},
	}, func() float64 { return 2 }))
	g := &gateway{Gateway: NewGateway(Options{Metrics: registry}), t: t, metrics: registry}
	t.Cleanup(g.Close)
	g.swap(g.settings(Route{Host: "*", Path: "/", Upstream: g.upstream(shopAt(t, "http://127.0.0.1:9"))}))
	families, err := registry.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		if f.GetName() == "ropeline_breaker_state" && len(f.GetMetric()) != 2 {
			t.Errorf("got %v, want two breakers", f.GetMetric())
		}
	}
	if g.count("ropeline_breaker_state", "redis") != 2 || g.breakerState() != 0 {
		t.Error("the two breakers are not told apart")
	}
}

func TestBreaker_OutlivesAReload(t *testing.T) {
	dead := "http://" + freeAddress(t)
	g := open(t, "", pool(t, func(s *UpstreamSettings) { quickBreaker(s); s.Breaker.Pause = time.Hour }, dead))
	g.crowd(40, "/")
	next := shopAt(t, dead)
	quickBreaker(&next)
	next.Breaker.Pause = time.Hour
	next.Policy = Random
	u := g.upstream(next)
	if u.breaker.two.State() != gobreaker.StateOpen {
		t.Error("a reload closed the breaker")
	}
	next.Breaker.Pause = time.Minute
	if u := g.upstream(next); u.breaker.two.State() != gobreaker.StateClosed {
		t.Error("a breaker of other settings is the old one")
	}
	next.Breaker.Requests = 0
	if u := g.upstream(next); u.breaker != nil || u.breaker.state() != 0 {
		t.Error("there is a breaker where none was wished for")
	}
}

func TestBreaker_WhoLeavesWhileItTriesSaysNothing(t *testing.T) {
	b := newBreaker("shop", Breaker{Requests: 2, Failures: .5, Pause: time.Nanosecond}, zap.NewNop())
	request := func(outcome error) {
		t.Helper()
		x := &exchange{}
		if err := x.enter(b); err != nil {
			t.Fatalf("in state %d a request is kept away: %v", b.state(), err)
		}
		x.report(outcome)
		x.report(errFailed) // once is enough
	}
	early := &exchange{}
	if err := early.enter(b); err != nil {
		t.Fatal(err)
	}
	for range 10 {
		request(errSender)
	}
	request(nil)
	if got := b.answered.sum(b.second()); got != 1 || b.state() != 0 {
		t.Fatalf("in state %d with %d answers, want it closed with one", b.state(), got)
	}
	request(errFailed)
	eventually(t, "it is half open", func() bool { return b.state() == 1 })
	early.report(nil)
	for range breakerTries - 1 {
		request(nil)
	}
	for range 10 {
		request(errSender)
	}
	if b.state() != 1 {
		t.Fatalf("in state %d after visitors left, want it half open", b.state())
	}
	request(nil)
	if b.state() != 0 || b.answered.sum(b.second()) != 0 {
		t.Errorf("in state %d with %d answers of before, want it closed and none", b.state(), b.answered.sum(b.second()))
	}
}
