package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
	loadtest "github.com/ropeline/ropeline/crowd"
)

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
	arrivals loadtest.Arrivals
	forgers  float64 // the share of the crowd that tries worthless tickets
	gateways []*gateway

	redis     *redistest.Server
	link      *redistest.Link // before what the row's fault befalls, or the first gateway's own
	sentinels *redistest.Sentinels
	nodes     *redistest.Nodes
	database  *postgrestest.Server
	record    string // the name of the record in the database

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
	s := &sale{t: t, shop: openShop(t), forgers: .1, limits: saleLimits()}
	var err error
	if s.arrivals, err = loadtest.NewArrivals(loadtest.Constant, 240, 36*time.Second); err != nil {
		t.Fatal(err)
	}
	f.set(s)
	balance := newBalancer(t, s.gateways)
	target, err := loadtest.OpenTarget(t.Context(), s.gateways[0].Public+"/drop", loadtest.TargetOptions{
		Timeout: 5 * time.Second, Transport: balance, Networks: 50, Forwarded: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	plan := loadtest.Plan{Arrivals: s.arrivals, Seed: *faultSeed, Pages: loadtest.Span{From: 1, To: 6}, Leave: .95, NoShow: .05, Forgers: s.forgers}
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
	if f.then != nil {
		f.then(s)
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
	s.yaml = settings(s.shop, saleSettings, "admin: {jwt: {secret: \""+loadtestSecret+"\"}}", s.more)
	s.gateways = []*gateway{start(s.t, s.yaml)}
}

// atOnce is alone. All but forty come in the same second.
func atOnce(s *sale) {
	come := "0.5 200\n"
	for second := range 40 {
		come += fmt.Sprintf("%d 1\n", second)
	}
	var err error
	if s.arrivals, err = loadtest.ReadArrivals(strings.NewReader(come)); err != nil {
		s.t.Fatal(err)
	}
	alone(s)
}

// aloneWithKey is alone, with a key that the file names.
func aloneWithKey(s *sale) {
	s.more = keys("k1")
	alone(s)
}

func keys(kids ...string) string {
	var all []string
	for _, kid := range kids {
		all = append(all, fmt.Sprintf(`{kid: %s, secret: "the secret of %s, of at least thirty-two bytes"}`, kid, kid))
	}
	return "keys: [" + strings.Join(all, ", ") + "]\n"
}

// behindLink is alone, and reaches the shop through a link.
func behindLink(s *sale) {
	s.link = redistest.NewLink(s.t, strings.TrimPrefix(s.shop.URL, "http://"))
	s.shop.URL = "http://" + s.link.Addr
	s.more = "trusted_proxies: [127.0.0.0/8]\n"
	alone(s)
}

// recordedSale is alone, and keeps the record in a PostgreSQL that it reaches
// through a link. The gateway starts while that is down.
func recordedSale(s *sale) {
	s.database = postgrestest.Single(s.t)
	s.record = s.database.Database(s.t)
	s.database.Exec(s.t, s.record, "CREATE ROLE keeper LOGIN")
	s.database.Exec(s.t, s.record, "ALTER DATABASE "+s.record+" OWNER TO keeper")
	s.link = redistest.NewLink(s.t, net.JoinHostPort("127.0.0.1", strconv.Itoa(s.database.Port())))
	s.database.Stop()
	s.more = fmt.Sprintf("database: {url: %q}\n", "postgres://keeper@"+s.link.Addr+"/"+s.record+"?sslmode=disable")
	alone(s)
}

// recordedWhole holds the record of a sale against what its gateway counted.
func recordedWhole(s *sale) {
	g := s.gateways[0]
	joined := int64(g.Metric(`ropeline_joins_total{activity="7"}`))
	s.await("everyone who joined is in the record", func() bool {
		return postgrestest.Value[int64](s.t, s.database, s.record, "SELECT count(*) FROM queue_entries") == joined
	})
	if n := g.Metric("ropeline_journal_dropped_total"); n != 0 {
		s.t.Errorf("%v records were dropped", n)
	}
}

// three are three gateways on one Redis, which they reach through a link.
func three(s *sale) {
	s.redis = redistest.Single(s.t)
	s.link = redistest.NewLink(s.t, s.redis.Addr)
	s.onRedis(3, fmt.Sprintf("addresses: [%q]", s.link.Addr))
}

// threeApart are three gateways on one Redis, of which the first reaches it
// through a link. Nobody tries a ticket that was given up: a gateway that is cut
// off cannot hear of it, and lets its holder stay to the end that it knows.
func threeApart(s *sale) {
	s.forgers = 0
	s.redis = redistest.Single(s.t)
	s.link = redistest.NewLink(s.t, s.redis.Addr)
	s.onRedis(1, fmt.Sprintf("addresses: [%q]", s.link.Addr))
	s.onRedis(2, fmt.Sprintf("addresses: [%q]", s.redis.Addr))
}

// threeWithKeys are three whose keys no store can lose: who is inside passes a
// gateway that starts on an empty one.
func threeWithKeys(s *sale) {
	s.more = keys("k1")
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

// parted is lasting with a replica more, and each gateway is a party of its own
// in the network. Of tickets see threeApart.
func parted(s *sale) {
	s.forgers = 0
	s.sentinels = redistest.Sentinel(s.t, 2)
	for _, party := range []string{"gateway-1", "gateway-2"} {
		s.onRedis(1, fmt.Sprintf("mode: sentinel, wait_replicas: 1, master_name: %s, addresses: [%s]", s.sentinels.MasterName, quoted(s.sentinels.Gate(party))))
	}
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

// operate has an operator act on the line by a command.
func (s *sale) operate(command string) {
	s.t.Helper()
	g := s.gateways[0]
	if status, said := ropeline(s.t, g.dir, command, "7", "--admin", g.Admin, "--token", operatorToken(s.t, g, "operator")); status != 0 {
		s.t.Errorf("%s: status %d, %s", command, status, said)
	}
}

// healthy is whether the first gateway says that all is well with it.
func (s *sale) healthy() bool {
	answer, err := http.Get(s.gateways[0].Admin + "/health")
	if err != nil {
		return false
	}
	defer answer.Body.Close()
	var said struct{ Status string }
	return json.NewDecoder(answer.Body).Decode(&said) == nil && said.Status == "ok"
}

// emptied waits until the first gateway has about as much open as it had.
func (s *sale) emptied(before int) {
	s.t.Helper()
	const own = 150 // of the crowd's, and those to the shop
	s.await("no stranger's connection is kept", func() bool { return s.gateways[0].Descriptors() <= before+own })
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
