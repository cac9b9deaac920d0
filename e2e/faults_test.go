package e2e

import (
	"cmp"
	"flag"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/redisstore/redistest"
	loadtest "github.com/ropeline/ropeline/crowd"
)

// faultsAll has every fault made, and longer looked at; else it is those that
// most depends on.
var faultsAll = flag.Bool("faults", false, "make every fault, not only the first of each store")

// site is gateways behind a balancer, with what they depend on.
type site struct {
	url   string
	gates []*gateway
	shop  *shop
	redis *redistest.Server    // nil: none
	guard *redistest.Sentinels // nil: none
	yaml  string
}

// faulty is what a site allows: it turns over within seconds, and its places
// are held for as long as any fault lasts.
const faulty = "capacity: 20, rate: 10/s, burst: 5, absence: 20s, hold_place: 10m, claim: 5s, session: {idle: 12s, max: 10m}"

var faultyLimits = loadtest.Limits{Capacity: 20, RatePerHour: 36_000, Burst: 5, Absence: 20_000, HoldPlace: 600_000}

// openSite opens one gateway on a file, or several on a store.
func openSite(t *testing.T, gateways int, store string) *site {
	t.Helper()
	s := &site{shop: openShop(t)}
	more := []string{"log: {access: false}", `keys: [{kid: k1, secret: "a signing key of at least 32 bytes"}]`}
	switch store {
	case "redis":
		s.redis = redistest.Single(t)
		more = append(more, fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}", s.redis.Addr))
	case "sentinel":
		s.guard = redistest.Sentinel(t, 1)
		more = append(more, fmt.Sprintf("store: {type: redis, redis: {mode: sentinel, master_name: %q, addresses: [%s], wait_replicas: 1}}",
			s.guard.MasterName, strings.Join(s.guard.SentinelAddrs, ", ")))
	}
	s.yaml = settings(s.shop, faulty, more...)
	for range gateways {
		s.gates = append(s.gates, start(t, s.yaml))
	}
	s.url = balance(t, s.gates)
	return s
}

// balance sends each request to one of the gateways by chance, and another one
// where that cannot be reached.
func balance(t *testing.T, gates []*gateway) string {
	t.Helper()
	if len(gates) == 1 {
		return gates[0].Public
	}
	var servers []*url.URL
	for _, g := range gates {
		u, err := url.Parse(g.Public)
		if err != nil {
			t.Fatal(err)
		}
		servers = append(servers, u)
	}
	var proxies []*httputil.ReverseProxy
	for i, u := range servers {
		proxies = append(proxies, &httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) { r.SetURL(u); r.Out.Host = r.In.Host },
			ErrorHandler: func(w http.ResponseWriter, r *http.Request, _ error) {
				if r.Context().Err() != nil || r.Header.Get("Balanced") != "" {
					w.WriteHeader(http.StatusBadGateway)
					return
				}
				r.Header.Set("Balanced", "once")
				proxies[(i+1)%len(proxies)].ServeHTTP(w, r)
			},
		})
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxies[rand.IntN(len(proxies))].ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return server.URL
}

// visited is what a crowd saw of a fault.
type visited struct {
	events []loadtest.Event
	began  time.Time
	fault  loadtest.Micros // when it was made
	mended loadtest.Micros // when all that was undone of it was
}

// visit brings a crowd, makes a fault in the middle of it, and returns what the
// crowd saw until the line had gone on for a while.
func visit(t *testing.T, s *site, fault func()) *visited {
	t.Helper()
	before, after := 6*time.Second, 12*time.Second
	if *faultsAll {
		before, after = 10*time.Second, 25*time.Second
	}
	during := before + after + 10*time.Second
	arrivals, err := loadtest.NewArrivals(loadtest.Constant, int(8*during.Seconds()), during)
	if err != nil {
		t.Fatal(err)
	}
	target, err := loadtest.OpenTarget(t.Context(), s.url+drop, loadtest.TargetOptions{Timeout: 10 * time.Second, Connections: 64})
	if err != nil {
		t.Fatal(err)
	}
	plan := loadtest.Plan{Arrivals: arrivals, Seed: 1, NoShow: 0.05, Pages: loadtest.Span{From: 1, To: 4}, Leave: 0.8, Bots: 0.02, Forgers: 0.1}
	if err := plan.Think.UnmarshalText([]byte("200ms-1s")); err != nil {
		t.Fatal(err)
	}
	v := &visited{began: time.Now()}
	now := func() loadtest.Micros { return loadtest.Micros(time.Since(v.began).Microseconds()) }
	var once sync.Once
	var making sync.WaitGroup
	run := loadtest.Run{
		Target: target, Plan: plan, Connections: 64, For: during,
		Seen: func(e loadtest.Event) error { v.events = append(v.events, e); return nil },
		Beat: func(st loadtest.Standing) {
			if st.At.Duration() < before {
				return
			}
			once.Do(func() { making.Go(func() { v.fault = now(); fault(); v.mended = now() }) })
		},
	}
	if _, err := run.Go(t.Context()); err != nil {
		t.Fatal(err)
	}
	making.Wait()
	return v
}

// recovered is how long after the fault was mended, or made, the first event
// came that was asked for since and that is one.
func (v *visited) recovered(is func(loadtest.Event) bool) (time.Duration, bool) {
	first, found := loadtest.Micros(0), false
	for _, e := range v.events {
		if e.Sent >= v.fault && is(e) && (!found || e.Got() < first) {
			first, found = e.Got(), true
		}
	}
	return (first - v.fault).Duration(), found
}

// judge holds what a crowd saw against the promises.
func (v *visited) judge(t *testing.T, limits loadtest.Limits) {
	t.Helper()
	checker := loadtest.NewChecker(loadtest.Head{Limits: limits})
	failed := map[string]int{}
	for _, e := range v.events {
		checker.See(e)
		if e.Code == 0 || e.State == loadtest.Refused {
			failed[cmp.Or(e.Fault, fmt.Sprint(e.Code))]++
		}
	}
	for _, j := range checker.Judge() {
		if j.Outcome == loadtest.Held {
			continue
		}
		t.Errorf("%s is %s by %d cases: %s", j.Invariant, j.Outcome, j.Cases, j.Why)
		if j.First == nil {
			continue
		}
		t.Log(j.First.What)
		for _, e := range v.events {
			if slices.Contains(j.First.Visitors[:min(3, len(j.First.Visitors))], e.Visitor) {
				t.Logf("visitor %d: %s", e.Visitor, e)
			}
		}
	}
	join, joined := v.recovered(func(e loadtest.Event) bool { return e.Kind == loadtest.Join && e.Number > 0 })
	enter, entered := v.recovered(func(e loadtest.Event) bool { return e.Session != nil && e.State == loadtest.Passed })
	if !joined || !entered {
		t.Errorf("after the fault, made at %v and mended at %v, somebody joined: %v, entered: %v", v.fault.Duration(), v.mended.Duration(), joined, entered)
	}
	t.Logf("%d requests, without answer %v; the fault took %v; first join %v, first entry %v after it", len(v.events), failed,
		(v.mended - v.fault).Duration().Round(time.Millisecond), join.Round(time.Millisecond), enter.Round(time.Millisecond))
}

func TestFaults_CostNoPlaceAndNoPromise(t *testing.T) {
	for _, c := range []struct {
		name     string
		gateways int
		store    string
		core     bool
		make     func(t *testing.T, s *site)
	}{
		{"the gateway is killed and comes back", 1, "file", true, func(_ *testing.T, s *site) { s.gates[0].Kill(); s.gates[0].Restart() }},
		{"the gateway is told to stop and started again", 1, "file", false, func(_ *testing.T, s *site) {
			s.gates[0].Signal(syscall.SIGTERM)
			s.gates[0].Ended()
			s.gates[0].Restart()
		}},
		{"the gateway stands still for five seconds", 1, "file", false, func(_ *testing.T, s *site) {
			s.gates[0].Signal(syscall.SIGSTOP)
			<-time.After(5 * time.Second)
			s.gates[0].Signal(syscall.SIGCONT)
		}},
		{"the shop is away for three seconds", 1, "file", false, func(_ *testing.T, s *site) {
			s.shop.Close()
			<-time.After(3 * time.Second)
			s.shop.Open()
		}},
		{"one of two gateways is killed and comes back", 2, "redis", false, func(_ *testing.T, s *site) { s.gates[1].Kill(); s.gates[1].Restart() }},
		{"two gateways are started anew, one after the other", 2, "redis", false, func(_ *testing.T, s *site) {
			for _, g := range s.gates {
				g.Signal(syscall.SIGTERM)
				g.Ended()
				g.Restart()
			}
		}},
		{"redis loses everything", 2, "redis", true, func(t *testing.T, s *site) { s.redis.Do(t.Context(), "FLUSHALL") }},
		{"redis is killed and comes back", 2, "redis", false, func(_ *testing.T, s *site) { s.redis.Kill(); s.redis.Restart() }},
		{"redis is killed and comes back with nothing", 2, "redis", false, func(_ *testing.T, s *site) { s.redis.Kill(); s.redis.Wipe(); s.redis.Restart() }},
		{"redis stands still for five seconds", 2, "redis", false, func(_ *testing.T, s *site) {
			s.redis.Pause()
			<-time.After(5 * time.Second)
			s.redis.Resume()
		}},
		{"redis loses everything and a gateway is killed at once", 2, "redis", false, func(t *testing.T, s *site) {
			s.gates[1].Kill()
			s.redis.Do(t.Context(), "FLUSHALL")
			s.gates[1].Restart()
		}},
		{"the master is killed and a replica takes over", 2, "sentinel", false, func(t *testing.T, s *site) {
			old := s.guard.KillMaster()
			s.guard.WaitFailover(t.Context(), old)
			old.Restart() // as the replica that each write must reach
		}},
	} {
		if !c.core && !*faultsAll {
			continue
		}
		t.Run(c.name, func(t *testing.T) {
			if !*faultsAll { // together they would be more than two cores bear
				t.Parallel()
			}
			s := openSite(t, c.gateways, c.store)
			v := visit(t, s, func() { c.make(t, s) })
			v.judge(t, faultyLimits)
		})
	}
}

// A file that is loaded again a hundred times costs no request.
func TestFaults_AHundredReloadsCostNoRequest(t *testing.T) {
	t.Parallel()
	s := openSite(t, 1, "file")
	v := visit(t, s, func() {
		for i := range 100 {
			if line := s.gates[0].Reload(s.yaml + fmt.Sprintf("# %d\n", i)); line["message"] != "config loaded" {
				t.Errorf("reload %d: %v", i, line)
			}
		}
	})
	v.judge(t, faultyLimits)
	for _, e := range v.events {
		if e.Code == 0 && e.Fault != "ended" || e.Code >= 500 && e.State != loadtest.Waiting {
			t.Errorf("a request failed: visitor %d: %s", e.Visitor, e)
		}
	}
}
