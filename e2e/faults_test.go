package e2e

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
	loadtest "github.com/ropeline/ropeline/crowd"
)

var (
	everyFault = flag.Bool("faults", false, "bring about every fault of the table, and print the table")
	faultSeed  = flag.Uint64("faultseed", 1, "of the crowd that meets the faults: the same seed brings the same visitors")
)

// fault is a row of the table: what is done to a sale that is under way, and
// what it may cost.
type fault struct {
	name  string
	core  bool // it is brought about with the other tests, too
	set   func(*sale)
	make  func(*sale)
	costs cost
}

// cost is which requests may be left without an answer of the shop's or the
// gateway's.
type cost int

const (
	nothing   cost = iota
	inFlight       // those under way when a gateway was killed, or is not heard of
	untilBack      // all, until what was lost is back
)

// faults are the rows, by what they befall. See docs/faults.md.
var faults = []fault{
	{name: "gateway killed, alone, and started again", core: true, set: alone, costs: untilBack, make: func(s *sale) {
		for range 3 {
			s.gateways[0].Kill()
			s.gateways[0].Restart()
			s.linger(2 * time.Second)
		}
	}},
	{name: "gateway told to end, alone, and started again", set: alone, costs: untilBack, make: func(s *sale) {
		s.gateways[0].Signal(syscall.SIGTERM)
		s.gateways[0].Ended()
		s.gateways[0].Restart()
	}},
	{name: "gateway stopped for 4 s, alone", set: alone, costs: untilBack, make: func(s *sale) {
		s.gateways[0].Signal(syscall.SIGSTOP)
		s.linger(4 * time.Second)
		s.gateways[0].Signal(syscall.SIGCONT)
	}},
	{name: "configuration loaded a hundred times", core: true, set: alone, costs: nothing, make: func(s *sale) {
		for i := range 100 {
			s.gateways[0].Reload(s.yaml + fmt.Sprintf("log: {access: %t}\n", i%2 == 0))
		}
	}},
	{name: "broken configuration, then a good one", set: alone, costs: nothing, make: func(s *sale) {
		if line := s.gateways[0].Reload(s.yaml + "no: such key\n"); line["level"] != "error" {
			s.t.Errorf("a broken file was answered %v", line)
		}
		s.linger(time.Second)
		s.gateways[0].Reload(s.yaml + "log: {access: false}\n")
	}},
	{name: "capacity lowered below those inside, then raised", set: alone, costs: nothing, make: func(s *sale) {
		s.limit(func(l *loadtest.Limits) { l.Capacity = 4 })
		s.linger(6 * time.Second)
		s.limit(func(l *loadtest.Limits) { l.Capacity = 2 * saleCapacity })
	}},
	{name: "rate divided by ten, then restored", set: alone, costs: nothing, make: func(s *sale) {
		s.limit(func(l *loadtest.Limits) { l.RatePerHour, l.Burst = saleRate*360, admission.Burst(saleRate*360) })
		s.linger(6 * time.Second)
		s.limit(func(l *loadtest.Limits) { *l = saleLimits() })
	}},
	{name: "shop gone, then back", set: alone, costs: untilBack, make: func(s *sale) {
		s.shop.Close()
		s.linger(4 * time.Second)
		s.shop.Open()
	}},
	{name: "shop up and down each second", set: alone, costs: untilBack, make: func(s *sale) {
		for range 4 {
			s.shop.Close()
			s.linger(time.Second)
			s.shop.Open()
			s.linger(time.Second)
		}
	}},
	{name: "one of three gateways killed", set: three, costs: inFlight, make: func(s *sale) { s.gateways[0].Kill() }},
	{name: "one of three gateways stopped for 6 s", set: three, costs: inFlight, make: func(s *sale) {
		s.gateways[0].Signal(syscall.SIGSTOP)
		s.linger(6 * time.Second)
		s.gateways[0].Signal(syscall.SIGCONT)
	}},
	{name: "each of three gateways replaced in turn", core: true, set: three, costs: nothing, make: func(s *sale) {
		for _, g := range s.gateways {
			g.Signal(syscall.SIGTERM)
			if state := g.Ended(); state.ExitCode() != 0 {
				s.t.Errorf("a gateway that was told to end ended with %v", state)
			}
			g.Restart()
			s.await("it is ready", func() bool { return g.Ready() == http.StatusOK })
		}
	}},
	{name: "Redis killed, and started again with its file", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Kill()
		s.linger(time.Second)
		s.redis.Restart()
	}},
	{name: "Redis killed, and started again empty", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Kill()
		s.redis.Wipe()
		s.redis.Restart()
	}},
	{name: "FLUSHALL, twice", core: true, set: three, costs: nothing, make: func(s *sale) {
		s.redis.Do(s.t.Context(), "flushall")
		s.linger(4 * time.Second)
		s.redis.Do(s.t.Context(), "flushall")
	}},
	{name: "FLUSHALL while a gateway is killed, keys in the file", set: threeWithKeys, costs: inFlight, make: func(s *sale) {
		s.gateways[1].Kill()
		s.redis.Do(s.t.Context(), "flushall")
		s.gateways[1].Restart()
	}},
	{name: "Redis stopped for 5 s", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Pause()
		s.linger(5 * time.Second)
		s.redis.Resume()
	}},
	{name: "Redis 300 ms away, give or take 50", set: three, costs: nothing, make: func(s *sale) {
		s.link.Latency(300*time.Millisecond, 50*time.Millisecond)
		s.linger(6 * time.Second)
		s.link.Heal()
	}},
	{name: "what is sent to Redis vanishes, for 5 s", set: three, costs: nothing, make: func(s *sale) {
		s.link.BlackHole()
		s.linger(5 * time.Second)
		s.link.Heal()
	}},
	{name: "connections to Redis reset, ten times", set: three, costs: nothing, make: func(s *sale) {
		for range 10 {
			s.link.Reset()
			s.linger(300 * time.Millisecond)
		}
	}},
	{name: "answers of Redis cut off midway, ten times", set: three, costs: nothing, make: func(s *sale) {
		for range 10 {
			<-s.link.CutAfter(40)
		}
	}},
	{name: "SCRIPT FLUSH", set: three, costs: nothing, make: func(s *sale) { s.redis.Do(s.t.Context(), "script", "flush") }},
	{name: "Redis takes no writes, then is out of memory", set: three, costs: nothing, make: func(s *sale) {
		s.redis.Do(s.t.Context(), "replicaof", "127.0.0.1", "1")
		s.linger(2 * time.Second)
		s.redis.Do(s.t.Context(), "replicaof", "no", "one")
		s.redis.Config("maxmemory", "1mb")
		s.linger(2 * time.Second)
		s.redis.Config("maxmemory", "0")
	}},
	{name: "Redis loads its data for 3 s", set: three, costs: nothing, make: func(s *sale) { s.redis.RestartLoading(3 * time.Second) }},
	{name: "Sentinel: the master killed", set: watched, costs: nothing, make: func(s *sale) {
		s.sentinels.WaitFailover(s.bounded(), s.sentinels.KillMaster())
	}},
	{name: "Sentinel: the master killed, with a replica to wait for", set: lasting, costs: nothing, make: func(s *sale) {
		old := s.sentinels.KillMaster()
		s.sentinels.WaitFailover(s.bounded(), old)
		old.Restart() // as the replica that each write must reach
	}},
	{name: "Cluster: the line's master killed", set: clustered, costs: nothing, make: func(s *sale) {
		s.nodes.WaitFailover(s.bounded(), saleLine, s.nodes.KillMasterOf(saleLine))
	}},
	{name: "Cluster: the line's slot moved", set: clustered, costs: nothing, make: func(s *sale) { s.nodes.MoveSlot(saleLine, nil) }},
}

func TestFaults_CostNoOneWhatWasPromised(t *testing.T) {
	var rows faultTable
	t.Run("of", func(t *testing.T) {
		for _, f := range faults {
			if !f.core && !*everyFault {
				continue
			}
			t.Run(f.name, func(t *testing.T) {
				t.Parallel()
				rows.add(f.name, meet(t, f))
			})
		}
	})
	if *everyFault {
		fmt.Println(rows.markdown())
	}
}

const (
	saleCapacity = 12
	saleRate     = 20 // per second
	saleLine     = "queue:seq:{default:7}"
	saleSettings = "capacity: 12, rate: 20/s, absence: 10s, claim: 5s, session: {idle: 12s, max: 2m}"
)

func saleLimits() loadtest.Limits {
	return loadtest.Limits{
		Capacity: saleCapacity, RatePerHour: saleRate * 3600, Burst: admission.Burst(saleRate * 3600),
		Absence: 10_000, HoldPlace: 15 * 60_000,
	}
}

// sale is a sale under way: gateways, what they stand on, and a crowd.
type sale struct {
	t        *testing.T
	shop     *shop
	yaml     string
	more     string // of the file
	gateways []*gateway

	redis     *redistest.Server
	link      *redistest.Link
	sentinels *redistest.Sentinels
	nodes     *redistest.Nodes

	mu     sync.Mutex // guards limits
	limits loadtest.Limits
}

// recovery is what became of a sale after a fault.
type recovery struct {
	joined, entered time.Duration // from the end of the fault until someone did so
	unanswered      int
	visitors        int64
}

// meet has a crowd meet a fault, and holds all that it was told against what a
// line promises.
func meet(t *testing.T, f fault) recovery {
	s := &sale{t: t, shop: openShop(t), limits: saleLimits()}
	f.set(s)
	balance := newBalancer(t, s.gateways)
	target, err := loadtest.OpenTarget(t.Context(), s.gateways[0].Public+"/drop", loadtest.TargetOptions{Timeout: 5 * time.Second, Transport: balance})
	if err != nil {
		t.Fatal(err)
	}
	arrivals, err := loadtest.NewArrivals(loadtest.Constant, 240, 36*time.Second)
	if err != nil {
		t.Fatal(err)
	}
	plan := loadtest.Plan{Arrivals: arrivals, Seed: *faultSeed, Pages: loadtest.Span{From: 1, To: 6}, Leave: .95, NoShow: .05, Forgers: .1}
	if err := plan.Think.UnmarshalText([]byte("300ms-1500ms")); err != nil {
		t.Fatal(err)
	}

	lasts := 55 * time.Second // after a lost store it may take half a minute until seats are known again
	if f.core && !*everyFault {
		lasts = 40 * time.Second
	}
	var mu sync.Mutex // guards events
	var events []loadtest.Event
	began := time.Now()
	swing := make(chan struct{}) // closed when there is a line
	over := make(chan loadtest.Standing)
	run := loadtest.Run{
		Target: target, Plan: plan, Connections: 64, For: lasts,
		Seen: func(e loadtest.Event) error {
			mu.Lock()
			defer mu.Unlock()
			events = append(events, e)
			return nil
		},
		Beat: func(now loadtest.Standing) {
			if now.Lining >= 10 {
				select {
				case <-swing:
				default:
					close(swing)
				}
			}
		},
		Limits: s.told,
	}
	go func() {
		standing, err := run.Go(t.Context())
		if err != nil {
			t.Error(err)
		}
		over <- standing
	}()
	select {
	case <-swing:
	case now := <-over:
		t.Fatalf("the sale never got into full swing: %+v", now)
	}
	f.make(s)
	end := loadtest.Micros(time.Since(began).Microseconds())
	standing := <-over

	checker := loadtest.NewChecker(loadtest.Head{Began: began, Activity: 7, Limits: saleLimits()})
	r := recovery{visitors: standing.Came}
	for _, e := range events {
		checker.See(e)
		if e.Code == 0 && e.Kind != loadtest.Told || e.State == loadtest.Refused {
			r.unanswered++
			if f.costs == nothing {
				t.Errorf("a request was left without an answer: %v", e)
			}
		}
		after := (e.Got() - end).Duration()
		if r.joined == 0 && e.Kind == loadtest.Join && e.Sent > end && (e.Number > 0 || e.Session != nil) {
			r.joined = after
		}
		if r.entered == 0 && e.Sent > end && e.Session != nil && e.Kind != loadtest.Browse {
			r.entered = after
		}
	}
	for _, j := range checker.Judge() {
		if j.Outcome == loadtest.Broken {
			t.Errorf("%s is broken, %d times of %d, first at %v by visitors %v: %s", j.Invariant, j.Found, j.Cases, j.First.At.Duration(), j.First.Visitors, j.First.What)
		}
	}
	if r.joined == 0 || r.entered == 0 {
		t.Errorf("after the fault, which ended at %v, nobody joined or nobody entered: %+v", end.Duration(), standing)
	}
	if n := standing.Ends["lost the place"]; n != 0 {
		t.Errorf("%d visitors were told that they have no place", n)
	}
	t.Logf("%d visitors and %d requests, %d unanswered; first join %v and first entry %v after the fault; ends: %v",
		r.visitors, len(events), r.unanswered, r.joined, r.entered, standing.Ends)
	return r
}

// alone is one gateway with its file.
func alone(s *sale) {
	s.yaml = settings(s.shop, saleSettings, "admin: {jwt: {secret: \""+loadtestSecret+"\"}}")
	s.gateways = []*gateway{start(s.t, s.yaml)}
}

// three are three gateways on one Redis, which they reach through a link.
func three(s *sale) {
	s.redis = redistest.Single(s.t)
	s.link = redistest.NewLink(s.t, s.redis.Addr)
	s.onRedis(3, fmt.Sprintf("addresses: [%q]", s.link.Addr))
}

// threeWithKeys are three whose keys no store can lose: who is inside passes a
// gateway that starts on an empty one.
func threeWithKeys(s *sale) {
	s.more = `keys: [{kid: k1, secret: "a secret of at least thirty-two bytes"}]`
	three(s)
}

// watched are two gateways on a master with a replica and three sentinels.
func watched(s *sale) {
	s.sentinels = redistest.Sentinel(s.t, 1)
	s.onRedis(2, fmt.Sprintf("mode: sentinel, master_name: %s, addresses: [%s]", s.sentinels.MasterName, quoted(s.sentinels.SentinelAddrs)))
}

// lasting is watched, and tells nobody what no replica has.
func lasting(s *sale) {
	s.sentinels = redistest.Sentinel(s.t, 1)
	s.onRedis(2, fmt.Sprintf("mode: sentinel, wait_replicas: 1, master_name: %s, addresses: [%s]", s.sentinels.MasterName, quoted(s.sentinels.SentinelAddrs)))
}

// clustered are two gateways on a cluster of three masters and a replica each.
func clustered(s *sale) {
	s.nodes = redistest.Cluster(s.t)
	s.onRedis(2, fmt.Sprintf("mode: cluster, addresses: [%s]", quoted(s.nodes.Addrs)))
}

func (s *sale) onRedis(gateways int, redis string) {
	s.yaml = strings.Replace(settings(s.shop, saleSettings, "log: {access: false}", "store: {type: redis, redis: {"+redis+"}}", s.more), "delay: 0s", "delay: 1s", 1)
	for range gateways {
		s.gateways = append(s.gateways, start(s.t, s.yaml))
	}
}

func quoted(all []string) string { return `"` + strings.Join(all, `", "`) + `"` }

// limit has the operator change limits by the file, and tells the checker.
func (s *sale) limit(change func(*loadtest.Limits)) {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	change(&s.limits)
	yaml := strings.Replace(s.yaml, "capacity: 12, rate: 20/s", fmt.Sprintf("capacity: %d, rate: %d/h", s.limits.Capacity, s.limits.RatePerHour), 1)
	if line := s.gateways[0].Reload(yaml); line["message"] != "config loaded" {
		s.t.Errorf("the new limits are not loaded: %v", line)
	}
}

func (s *sale) told(context.Context) (loadtest.Limits, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.limits, nil
}

// linger lets the sale go on for a while.
func (s *sale) linger(d time.Duration) { <-time.After(d) }

func (s *sale) await(what string, is func() bool) {
	s.t.Helper()
	eventually(s.t, what, is)
}

func (s *sale) bounded() context.Context {
	ctx, cancel := context.WithTimeout(s.t.Context(), patience)
	s.t.Cleanup(cancel)
	return ctx
}

// balancer sends each request to one of the gateways that say that they are
// ready, and to the next where one cannot be reached, as what stands before
// several gateways does.
type balancer struct {
	transport http.Transport
	hosts     []string
	ready     []atomic.Bool
	turn      atomic.Uint64
}

func newBalancer(t *testing.T, gateways []*gateway) *balancer {
	b := &balancer{ready: make([]atomic.Bool, len(gateways))}
	b.transport.MaxIdleConnsPerHost = 64
	ctx, stop := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	t.Cleanup(func() { stop(); looking.Wait(); b.transport.CloseIdleConnections() })
	for i, g := range gateways {
		b.hosts = append(b.hosts, strings.TrimPrefix(g.Public, "http://"))
		b.ready[i].Store(true)
		client := &http.Client{Timeout: time.Second}
		looking.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				answer, err := client.Get(g.Admin + "/readyz")
				if err == nil {
					answer.Body.Close()
				}
				b.ready[i].Store(err == nil && answer.StatusCode == http.StatusOK)
			}
		})
	}
	return b
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	first, err := b.turn.Add(1), errors.New("no gateway is ready")
	for _, ready := range []bool{true, false} {
		for i := range b.hosts {
			at := (int(first) + i) % len(b.hosts)
			if b.ready[at].Load() != ready {
				continue
			}
			to := r.Clone(r.Context())
			to.URL.Host = b.hosts[at]
			var answer *http.Response
			if answer, err = b.transport.RoundTrip(to); err == nil {
				return answer, nil
			}
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "dial" {
				return nil, err
			}
		}
	}
	return nil, err
}

// faultTable collects the rows, in whatever order they come.
type faultTable struct {
	mu   sync.Mutex // guards rows
	rows map[string]recovery
}

func (f *faultTable) add(name string, r recovery) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.rows == nil {
		f.rows = map[string]recovery{}
	}
	f.rows[name] = r
}

func (f *faultTable) markdown() string {
	f.mu.Lock()
	defer f.mu.Unlock()
	var b strings.Builder
	b.WriteString("| fault | visitors | requests without an answer | first join after it | first entry after it |\n|---|---|---|---|---|\n")
	for _, row := range faults {
		if r, ok := f.rows[row.name]; ok {
			fmt.Fprintf(&b, "| %s | %d | %d | %.1f s | %.1f s |\n", row.name, r.visitors, r.unanswered, r.joined.Seconds(), r.entered.Seconds())
		}
	}
	longest := slices.MaxFunc(faults, func(a, b fault) int { return int(f.rows[a.name].entered - f.rows[b.name].entered) })
	fmt.Fprintf(&b, "\nThe longest recovery was %.1f s, of: %s.\n", f.rows[longest.name].entered.Seconds(), longest.name)
	return b.String()
}
