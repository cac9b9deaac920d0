package crowd

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	sender "github.com/ropeline/ropeline/visitor"
	"github.com/ropeline/ropeline/waitpage"
)

// reference is what a run of the real line is made of: rooms of several
// gateways over one store, a slow network before them, and a crowd, all in
// virtual time.
type reference struct {
	limits   admission.Limits
	gateways int
	latency  time.Duration // of a request on each way, on the average
	lost     float64       // the share of answers that never arrive
	plan     Plan
	during   time.Duration
	work     admission.Work

	loses time.Duration // when the store loses all it has; 0: never
	ends  time.Duration // when one of the gateways ends, without a word; 0: never
	cut   time.Duration // when another cannot reach the store, for 15 s; 0: never

	decides []decision
}

// decision is what an operator does to the line, and how its limits are then.
type decision struct {
	at   time.Duration
	what func(*admission.Overrides)
	told func(*Limits)
}

// drop is a sale that turns over within seconds.
func drop(seed uint64) reference {
	arrivals, err := NewArrivals(Spike, 120, time.Minute)
	if err != nil {
		panic(err)
	}
	return reference{
		limits: admission.Limits{
			Mode: admission.ModeAuto, Capacity: 7, RatePerHour: 3600, Burst: 2,
			Claim: 8 * time.Second, Absence: 20 * time.Second, HoldPlace: 40 * time.Second,
			Idle: 15 * time.Second, Max: 2 * time.Minute,
		},
		gateways: 3, latency: 80 * time.Millisecond, lost: 0.01, during: 4 * time.Minute,
		plan: Plan{
			Arrivals: arrivals, Seed: seed, NoShow: 0.1, Late: 0.1, Pages: Span{1, 6}, Think: Spread{from: 200 * time.Millisecond, to: 4 * time.Second},
			Leave: 0.5, Bots: 0.05, Forgers: 0.2, Patience: Spread{mean: 3 * time.Minute},
		},
	}
}

// network reaches any of the gateways, as through a balancer.
type network struct {
	gates   []http.Handler
	latency time.Duration
	lost    float64

	mu     sync.Mutex // guards the rest
	chance *rand.Rand
	ended  int // of gates, from the first on
}

// end has no answer of the first gate arrive any more.
func (n *network) end() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.ended++
}

func (n *network) dead(gate int) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return gate < n.ended
}

func (n *network) draw() (gate int, there, back time.Duration, lost bool) {
	n.mu.Lock()
	defer n.mu.Unlock()
	once := func() time.Duration { return time.Duration(n.chance.ExpFloat64() * float64(n.latency)) }
	return n.ended + n.chance.IntN(len(n.gates)-n.ended), once(), once(), n.chance.Float64() < n.lost
}

// RoundTrip implements http.RoundTripper.
func (n *network) RoundTrip(r *http.Request) (*http.Response, error) {
	gate, there, back, lost := n.draw()
	time.Sleep(there)
	w := httptest.NewRecorder()
	n.gates[gate].ServeHTTP(w, r)
	time.Sleep(back)
	if lost || n.dead(gate) {
		return nil, fmt.Errorf("read: connection reset by peer")
	}
	return w.Result(), nil
}

const activityID = 123

// gate is the ladder of a gateway's, with a shop that says hello.
func gate(room *admission.Room) http.Handler {
	page := waitpage.New("/_ropeline", func(id int64) (waitpage.Activity, bool) {
		return waitpage.Activity{Room: room}, id == activityID
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if strings.HasPrefix(r.URL.Path, "/_ropeline/") {
			page.ServeHTTP(w, r)
			return
		}
		from := sender.From(r)
		verdict := room.Arrive(r.Context(), from.Visit(r, activityID))
		sender.Keep(w.Header(), activityID, verdict, false)
		if !verdict.Pass {
			page.Hold(w, r, verdict)
			return
		}
		fmt.Fprintln(w, "Hello.")
	})
}

// run runs the reference, and returns its history.
func (ref reference) run(t *testing.T) (head Head, events []Event) {
	synctest.Test(t, func(t *testing.T) {
		ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
		if err != nil {
			t.Fatal(err)
		}
		store := newForgetful()
		net := &network{latency: ref.latency, chance: rand.New(rand.NewPCG(ref.plan.Seed, 1))}
		ctx, stop := context.WithCancel(t.Context())
		var work sync.WaitGroup
		defer work.Wait()
		defer stop()
		var operator *admission.Room
		for i := range ref.gateways {
			link := &link{Store: store}
			room, err := admission.OpenRoom(ctx, link, admission.LineID{Tenant: "demo", Activity: activityID}, fmt.Sprint("g", i), admission.Secret("secret"), ring,
				admission.Settings{Limits: ref.limits, Work: ref.work, Poll: admission.Poll{Min: time.Second, Max: 10 * time.Second, Budget: 1000}}, zap.NewNop())
			if err != nil {
				t.Fatal(err)
			}
			living, end := context.WithCancel(ctx)
			defer end()
			work.Go(func() { _ = room.Run(living) })
			net.gates = append(net.gates, gate(room))
			if i == 0 {
				operator = room
			}
			if i == 1 && ref.cut > 0 {
				defer time.AfterFunc(ref.cut, func() { link.down.Store(true) }).Stop()
				defer time.AfterFunc(ref.cut+15*time.Second, func() { link.down.Store(false) }).Stop()
			}
			if i == 0 && ref.ends > 0 {
				defer time.AfterFunc(ref.ends, func() { end(); net.end() }).Stop()
			}
		}
		head = Head{Activity: activityID, Limits: Limits{
			Capacity: ref.limits.Capacity, RatePerHour: ref.limits.RatePerHour, Burst: ref.limits.Burst,
			Absence: ref.limits.Absence.Milliseconds(), HoldPlace: ref.limits.HoldPlace.Milliseconds(),
		}}
		var told atomic.Pointer[Limits]
		limits := head.Limits
		told.Store(&limits)
		for _, d := range ref.decides {
			defer time.AfterFunc(d.at, func() {
				if err := operator.Override(ctx, d.what); err != nil {
					t.Error(err)
				}
				limits := *told.Load()
				d.told(&limits)
				told.Store(&limits)
			}).Stop()
		}
		if ref.loses > 0 {
			defer time.AfterFunc(ref.loses, store.forget).Stop()
		}
		target, err := OpenTarget(ctx, "http://shop.example/drop", TargetOptions{Transport: net})
		if err != nil {
			t.Fatal(err)
		}
		net.lost = ref.lost
		run := Run{
			Target: target, Plan: ref.plan, Connections: 50, For: ref.during,
			Limits: func(context.Context) (Limits, error) { return *told.Load(), nil },
			Seen:   func(e Event) error { events = append(events, e); return nil },
		}
		if _, err := run.Go(ctx); err != nil {
			t.Fatal(err)
		}
	})
	return head, events
}

func judge(head Head, events []Event) []Judgement {
	c := NewChecker(head)
	for _, e := range events {
		c.See(e)
	}
	return c.Judge()
}

func TestChecker_PassesEveryHistoryOfTheRealLine(t *testing.T) {
	seeds := uint64(2)
	if testing.Short() {
		seeds = 1
	}
	for _, c := range []struct {
		name   string
		change func(*reference)
	}{
		{"as it is", func(*reference) {}},
		{"one gateway, a fast network", func(r *reference) { r.gateways, r.latency, r.lost = 1, time.Millisecond, 0 }},
		{"a network slower than the line", func(r *reference) { r.latency, r.lost = 2*time.Second, 0.05 }},
		{"a draw", func(r *reference) {
			r.limits.Draw, r.limits.Prequeue = true, time.Minute
			r.limits.StartAt = bubble.Add(40 * time.Second)
		}},
		{"a store that loses all", func(r *reference) { r.loses = 70 * time.Second }},
		{"a gateway that ends", func(r *reference) { r.ends = 50 * time.Second }},
		{"a store that loses all after a gateway ended", func(r *reference) { r.ends, r.loses = 40*time.Second, 60*time.Second }},
		{"a gateway without its store", func(r *reference) { r.cut = 50 * time.Second }},
		{"a pause, again and again", func(r *reference) {
			for i := range 12 {
				mode := []admission.Mode{admission.ModeHold, admission.ModeAuto}[i%2]
				r.decides = append(r.decides, decision{
					30*time.Second + time.Duration(i)*7*time.Second, func(o *admission.Overrides) { o.Mode = mode }, func(*Limits) {},
				})
			}
		}},
		{"a capacity that is lowered and raised", func(r *reference) {
			for i, capacity := range []int64{3, 7, 2, 9} {
				r.decides = append(r.decides, decision{
					30*time.Second + time.Duration(i)*17*time.Second, func(o *admission.Overrides) { o.Capacity = &capacity }, func(l *Limits) { l.Capacity = capacity },
				})
			}
		}},
		{"work before joining", func(r *reference) { r.work = admission.Work{Bits: 4, Max: 10} }},
		{"no limit of rate", func(r *reference) { r.limits.RatePerHour = 0 }},
		{"no limit of capacity", func(r *reference) { r.limits.Capacity = 0 }},
	} {
		for seed := range seeds {
			t.Run(fmt.Sprint(c.name, ", seed ", seed), func(t *testing.T) {
				ref := drop(seed)
				c.change(&ref)
				head, events := ref.run(t)
				for _, j := range judge(head, events) {
					unlimited := j.Invariant == Rate && ref.limits.RatePerHour == 0 || j.Invariant == Capacity && ref.limits.Capacity == 0
					if j.Outcome == Broken || j.Outcome == Unjudged && !unlimited {
						t.Errorf("%s: %s %s, want held in each of %d events: %+v\n%s", j.Invariant, j.Outcome, j.Why, len(events), j.First, stories(events, j))
					}
				}
			})
		}
	}
}

// Who does not work gets no place, and bots do not: they keep no cookies.
func TestRun_VisitorsWorkBeforeTheyJoin(t *testing.T) {
	ref := drop(1)
	ref.work, ref.lost = admission.Work{Bits: 4, Max: 10}, 0
	_, events := ref.run(t)
	asked, inside := map[int64]bool{}, map[int64]bool{}
	for _, e := range events {
		switch {
		case e.Kind == Join && e.State == New && e.Number == 0:
			asked[e.Visitor] = true
		case e.Kind == Join && e.State != New && !asked[e.Visitor]:
			t.Errorf("visitor %d joined with no work: %+v", e.Visitor, e)
		case e.State == Passed:
			inside[e.Visitor] = true
		}
	}
	if len(inside) < 50 || len(asked) <= len(inside) {
		t.Errorf("of %d that were asked to work %d came in, want most, and no bots", len(asked), len(inside))
	}
}

// bubble is when time begins in a test of synctest.
var bubble = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// stories are the events of those whom a violation names.
func stories(events []Event, j Judgement) string {
	if j.First == nil {
		return ""
	}
	var b strings.Builder
	for _, v := range j.First.Visitors[:min(3, len(j.First.Visitors))] {
		for _, e := range events {
			if e.Visitor == v {
				fmt.Fprintf(&b, "%+v\n", e)
				if e.Session != nil {
					fmt.Fprintf(&b, "    %+v\n", *e.Session)
				}
			}
		}
	}
	return b.String()
}
