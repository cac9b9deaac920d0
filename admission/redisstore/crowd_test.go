package redisstore_test

import (
	"cmp"
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
)

// patience bounds every wait for a line to recover.
const patience = 40 * time.Second

// lineKey is the key of the crowd's line: what requests for it contain, and
// what a cluster finds its slot by.
const lineKey = "queue:seq:{demo:123}"

// crowdLimits turn a crowd over within seconds. Idle is longer than any outage
// here lasts, so that nobody inside need notice one.
func crowdLimits() admission.Limits {
	const rate = 40 * 3600
	return admission.Limits{
		Mode: admission.ModeAuto, Capacity: 20, RatePerHour: rate, Burst: admission.Burst(rate),
		Claim: 5 * time.Second, Absence: 10 * time.Second, HoldPlace: 10 * time.Minute,
		Idle: 12 * time.Second, Max: 10 * time.Minute,
	}
}

func defaults(mode redisstore.Mode, addresses ...string) redisstore.Options {
	return redisstore.Options{
		Mode: mode, Addresses: addresses, PoolSize: 10, MinIdleConns: 5, MaxRetries: 3,
		DialTimeout: 5 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second,
	}
}

func connect(t *testing.T, o redisstore.Options) *redisstore.Store {
	t.Helper()
	store, err := redisstore.Connect(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { store.Close() })
	return store
}

// gateway is one of several on the same line, with a client of its own.
type gateway struct {
	name string
	room *admission.Room
	dead atomic.Bool // whatever it still answers reaches nobody
	stop func()      // ends it without leaving, and waits until it is gone
}

// openGateways opens a gateway on each store, all with one key.
func openGateways(t *testing.T, log *zap.Logger, settings admission.Settings, stores ...*redisstore.Store) []*gateway {
	t.Helper()
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	var all []*gateway
	for i, store := range stores {
		g := &gateway{name: fmt.Sprintf("g%d", i+1)}
		line := admission.LineID{Tenant: "demo", Activity: 123}
		g.room, err = admission.OpenRoom(t.Context(), store, line, g.name, admission.Secret("secret"), ring, settings, log)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan struct{})
		go func() { defer close(done); g.room.Run(ctx) }()
		g.stop = func() { g.dead.Store(true); cancel(); <-done }
		t.Cleanup(g.stop)
		all = append(all, g)
	}
	return all
}

func crowdSettings() admission.Settings {
	return admission.Settings{
		Limits: crowdLimits(),
		Poll:   admission.Poll{Min: 300 * time.Millisecond, Max: time.Second, Budget: 2000},
	}
}

// crowd is visitors who come, wait, enter, browse and go, through any of the
// gateways, and who write down every answer. check tells whether they were
// treated as promised.
type crowd struct {
	t        *testing.T
	gateways []*gateway
	capacity int
	began    time.Time
	divided  atomic.Bool // each visitor reaches one gateway only
	stop     context.CancelFunc
	work     sync.WaitGroup

	joined, entered atomic.Int64 // when the latest who did so asked, in nanoseconds since began

	mu     sync.Mutex // guards all below
	people []*visitor
	marks  []mark
}

// mark is when something was done to the store.
type mark struct {
	at   time.Time
	what string
}

// visitor is one person's life, from coming to going. It belongs to one
// goroutine until the crowd is dispersed.
type visitor struct {
	crowd            *crowd
	side             int // which gateway it reaches while the crowd is divided
	stays            bool
	queue, admission string
	expires          time.Time // of the admission token
	answers          []answer
	guest            []answer // that let it pass for an outage: apart, since they give nothing
}

type verb string

const (
	arrive verb = "arrive"
	peek   verb = "peek"
	leave  verb = "leave"
)

// answer is what one request said.
type answer struct {
	verb            verb
	gateway         *gateway
	asked, answered time.Time
	admission.Verdict
	placed  bool      // came with a queue token
	expires time.Time // of the admission token that it came with; zero: none
}

// gather lets n visitors come, and as each goes another. The line is in full
// swing when it returns.
func gather(t *testing.T, n int, gateways ...*gateway) *crowd {
	t.Helper()
	ctx, stop := context.WithCancel(context.Background())
	c := &crowd{t: t, gateways: gateways, capacity: int(crowdLimits().Capacity), began: time.Now(), stop: stop}
	t.Cleanup(c.disperse)
	for i := range n {
		c.work.Go(func() {
			for life := 0; ctx.Err() == nil; life++ {
				v := &visitor{crowd: c, side: i, stays: i < 5 && life == 0}
				c.mu.Lock()
				c.people = append(c.people, v)
				c.mu.Unlock()
				v.live(ctx)
			}
		})
	}
	c.await("the room to be full and a line before it", func() bool {
		f := gateways[0].room.Figures()
		return int(f.Sessions) >= c.capacity*3/4 && f.Waiting > 0 && f.Admitted > int64(c.capacity)
	})
	return c
}

func (c *crowd) disperse() {
	c.stop()
	c.work.Wait()
}

// mark notes what happens now, for the reports of check.
func (c *crowd) mark(what string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := mark{time.Now(), what}
	c.marks = append(c.marks, m)
	return m.at
}

// await waits for a condition.
func (c *crowd) await(what string, done func() bool) {
	c.t.Helper()
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for end := time.Now().Add(patience); !done(); <-ticker.C {
		if time.Now().After(end) {
			for _, g := range c.gateways {
				c.t.Logf("%s: %+v", g.name, g.room.Figures())
			}
			c.t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

// linger lets the crowd go on for a while.
func (c *crowd) linger(d time.Duration) { <-time.After(d) }

// recovers waits until someone joined and someone entered who asked after
// since, and prints how long it took.
func (c *crowd) recovers(since time.Time) {
	c.t.Helper()
	after := func(latest *atomic.Int64) func() bool {
		return func() bool { return latest.Load() > int64(since.Sub(c.began)) }
	}
	c.await("someone to join", after(&c.joined))
	joined := time.Since(since)
	c.await("someone to enter", after(&c.entered))
	c.t.Logf("first join %v, first entry %v after it", joined.Round(10*time.Millisecond), time.Since(since).Round(10*time.Millisecond))
}

// live is a life: to come, to wait, to enter, to browse and to go.
func (v *visitor) live(ctx context.Context) {
	a := v.ask(arrive)
	for !a.Pass || a.Reason == admission.PassOutage {
		if !v.pause(ctx, max(a.Status.PollAfter, 50*time.Millisecond)) {
			return
		}
		s := a.Status
		switch {
		case v.queue == "", s.State == admission.StateReady, s.State == admission.StateNew, s.Lapsed && !s.Unavailable:
			a = v.ask(arrive)
			continue
		case rand.IntN(200) == 0:
			if rand.IntN(2) == 0 {
				v.ask(leave)
			}
			return // the tab is closed
		}
		if a = v.ask(peek); a.Status.State == admission.StateReady {
			a = v.ask(arrive)
		}
	}
	for end := time.Now().Add(time.Second + rand.N(8*time.Second)); v.stays || time.Now().Before(end); {
		if !v.pause(ctx, 100*time.Millisecond+rand.N(400*time.Millisecond)) || !v.ask(arrive).Pass {
			return
		}
	}
	if rand.IntN(25) == 0 {
		return
	}
	for v.ask(leave).Reason == admission.HoldUnavailable && v.pause(ctx, 300*time.Millisecond) {
	}
}

// pause waits, and reports whether the crowd goes on.
func (v *visitor) pause(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

// gateway is the one that takes the next request.
func (v *visitor) gateway() *gateway {
	all := v.crowd.gateways
	if v.crowd.divided.Load() {
		return all[v.side%len(all)]
	}
	for {
		if g := all[rand.IntN(len(all))]; !g.dead.Load() {
			return g
		}
	}
}

// ask sends a request with the visitor's cookies, and keeps those of the answer.
func (v *visitor) ask(what verb) answer {
	var visit admission.Visit
	if v.queue != "" {
		visit.QueueTokens = []string{v.queue}
	}
	if v.admission != "" {
		visit.AdmissionTokens = []string{v.admission}
	}
	a := answer{verb: what, gateway: v.gateway(), placed: v.queue != "", asked: time.Now()}
	room := a.gateway.room
	switch what {
	case arrive:
		a.Verdict = room.Arrive(context.Background(), visit)
	case peek:
		a.Verdict = room.Peek(context.Background(), visit)
	case leave:
		a.Verdict = room.Leave(context.Background(), visit)
	}
	a.answered = time.Now()
	if a.gateway.dead.Load() {
		return answer{} // it never got home
	}
	if v.admission != "" {
		a.expires = v.expires
	}
	if a.Reason == admission.PassOutage {
		v.guest = append(v.guest, a)
		return a
	}
	if a.DropQueue {
		v.queue = ""
	}
	if a.DropAdmission {
		v.admission = ""
	}
	if a.Queue.Token != "" {
		if v.queue == "" {
			v.crowd.joined.Store(int64(a.asked.Sub(v.crowd.began)))
		}
		v.queue = a.Queue.Token
	}
	if a.Admission.Token != "" {
		v.admission, v.expires = a.Admission.Token, a.Admission.Expires
	}
	if a.Reason == admission.PassEntered {
		v.crowd.entered.Store(int64(a.asked.Sub(v.crowd.began)))
		if !a.placed {
			v.crowd.joined.Store(int64(a.asked.Sub(v.crowd.began)))
		}
	}
	v.answers = append(v.answers, a)
	return a
}

// number is the visitor's, or 0 for one who never got any.
func (v *visitor) number() int64 {
	for _, a := range v.answers {
		if n := a.number(); n != 0 {
			return n
		}
	}
	return 0
}

func (a answer) number() int64 {
	if a.Pass {
		return a.Session.Number
	}
	return a.Status.Number
}

// when tells an instant by what was done last before it.
func (c *crowd) when(at time.Time) string {
	text := fmt.Sprintf("%.2f s after the crowd gathered", at.Sub(c.began).Seconds())
	for _, m := range c.marks {
		if at.After(m.at) {
			text = fmt.Sprintf("%.2f s after %s", at.Sub(m.at).Seconds(), m.what)
		}
	}
	return text
}

// check disperses the crowd and looks through all that it was told.
func (c *crowd) check() {
	c.t.Helper()
	c.disperse()
	c.checkNumbers()
	c.checkPlaces()
	c.checkInside()
	c.checkOrder()
	if most, at := c.mostInside(); most > c.capacity {
		c.t.Errorf("%d active sessions at once, %s; want at most %d", most, c.when(at), c.capacity)
	}
}

// story tells what the visitor with a number was told, change by change.
func (c *crowd) story(number int64) string {
	var b strings.Builder
	fmt.Fprintf(&b, "number %d", number)
	for _, v := range c.people {
		if v.number() != number {
			continue
		}
		last := ""
		for _, a := range v.answers {
			told := fmt.Sprintf("%s %s %s by %s", a.verb, a.Reason, a.Status.State, a.gateway.name)
			if a.Status.Lapsed {
				told += " lapsed"
			}
			if told != last {
				fmt.Fprintf(&b, "\n  %s: %s", c.when(a.answered), told)
				last = told
			}
		}
	}
	return b.String()
}

// complain reports some of the findings of one kind.
func (c *crowd) complain(kind string, found []string) {
	c.t.Helper()
	for i, text := range found {
		if i == 5 {
			c.t.Errorf("%s: and %d more", kind, len(found)-i)
			return
		}
		c.t.Errorf("%s: %s", kind, text)
	}
}

// checkNumbers: no two visitors have one number.
func (c *crowd) checkNumbers() {
	c.t.Helper()
	owners := map[int64]*visitor{}
	var found []string
	for _, v := range c.people {
		for _, a := range v.answers {
			n := a.number()
			if n == 0 {
				continue
			}
			if other := owners[n]; other != nil && other != v {
				found = append(found, fmt.Sprintf("%d by %s, %s", n, a.gateway.name, c.when(a.answered)))
				break
			}
			owners[n] = v
		}
	}
	c.complain("number given twice", found)
}

// checkPlaces: who has a number has it until the end.
func (c *crowd) checkPlaces() {
	c.t.Helper()
	var found []string
	var polls, visitors int
	var slowest time.Duration
	for _, v := range c.people {
		want := v.number()
		if want != 0 {
			visitors++
		}
		knocked := false // and heard nothing: to ask once more is to be in
		for _, a := range v.answers {
			if a.verb == peek {
				polls++
				slowest = max(slowest, a.answered.Sub(a.asked))
			}
			if a.verb == leave || !a.placed {
				continue
			}
			if knocked && a.verb == peek && a.Status.State == admission.StateNew {
				continue
			}
			knocked = knocked || a.verb == arrive && !a.Pass
			if got := a.number(); got != want || !a.Pass && a.Status.State == admission.StateNew {
				found = append(found, fmt.Sprintf("number %d was told %d, %s and %s by %s, %s",
					want, got, a.Status.State, a.Reason, a.gateway.name, c.when(a.answered)))
				break
			}
		}
	}
	c.t.Logf("%d visitors with a number, %d polls, the slowest took %v", visitors, polls, slowest.Round(time.Microsecond))
	c.complain("place lost", found)
}

// checkInside: who is inside passes, without waiting for the store. A busy
// machine may hold up one in a hundred.
func (c *crowd) checkInside() {
	c.t.Helper()
	var passed []answer
	var found []string
	inside := c.inside()
	for _, v := range c.people {
		for _, a := range v.answers {
			if !inside(a) || a.verb != arrive {
				continue
			}
			passed = append(passed, a)
			if !a.Pass {
				found = append(found, fmt.Sprintf("number %d was told %s by %s, %s", v.number(), a.Reason, a.gateway.name, c.when(a.answered)))
				break
			}
		}
	}
	if len(passed) == 0 {
		c.t.Error("nobody inside asked for anything")
		return
	}
	took := func(a answer) time.Duration { return a.answered.Sub(a.asked) }
	slices.SortFunc(passed, func(a, b answer) int { return cmp.Compare(took(a), took(b)) })
	most := passed[len(passed)*99/100]
	c.t.Logf("%d requests of visitors inside, 99 of 100 took at most %v", len(passed), took(most).Round(time.Microsecond))
	if took(most) >= time.Second {
		c.t.Errorf("a visitor inside waited %v for %s, %s, as did one in a hundred", took(most), most.gateway.name, c.when(most.asked))
	}
	c.complain("visitor inside disturbed", found)
}

// inside tells of an answer whether who asked had an admission token that was
// good by the line's time.
func (c *crowd) inside() func(answer) bool {
	early := c.ahead() + 50*time.Millisecond
	return func(a answer) bool { return a.answered.Add(early).Before(a.expires) }
}

// ahead is how far the line's time was ahead of the clock here, at most. A
// gateway reckons it as if its last question had travelled no time, and a line
// that was healed goes on from there.
func (c *crowd) ahead() (most time.Duration) {
	for _, v := range c.people {
		for _, a := range v.answers {
			if !a.Status.UpdatedAt.IsZero() {
				most = max(most, a.Status.UpdatedAt.Sub(a.answered))
			}
		}
	}
	return most
}

// mostInside returns how many sessions were active at once, at most, and when.
// A session is active from when its visitor hears of it until the visitor
// leaves, or the end that it heard of last.
func (c *crowd) mostInside() (most int, at time.Time) {
	type step struct {
		at time.Time
		by int
	}
	var steps []step
	for _, v := range c.people {
		var from, until time.Time
		for _, a := range v.answers {
			switch {
			case a.Pass && from.IsZero():
				from, until = a.answered, a.Session.Until
			case a.Pass && a.Session.Until.After(until):
				until = a.Session.Until
			case a.verb == leave && !from.IsZero() && a.asked.Before(until):
				until = a.asked
			}
		}
		if from.Before(until) {
			steps = append(steps, step{from, 1}, step{until, -1})
		}
	}
	slices.SortFunc(steps, func(a, b step) int { return cmp.Or(a.at.Compare(b.at), a.by-b.by) })
	inside := 0
	for _, s := range steps {
		inside += s.by
		if inside > most {
			most, at = inside, s.at
		}
	}
	return most, at
}

// checkOrder: while one waits whom the line could hear, nobody with a higher
// number has a turn. What was said of a line that is lost is left out.
func (c *crowd) checkOrder() {
	c.t.Helper()
	type turn struct {
		number int64
		at     time.Time // the line's time, at the latest
	}
	ahead := c.ahead()
	var turns []turn
	for _, v := range c.people {
		for _, a := range v.answers {
			if c.cutOff(a) {
				continue
			}
			if a.Pass {
				turns = append(turns, turn{v.number(), a.answered.Add(ahead)})
				break
			}
			if a.Status.State == admission.StateReady {
				turns = append(turns, turn{v.number(), a.Status.UpdatedAt})
				break
			}
		}
	}
	// first[i] is the earliest turn of a number at or above turns[i].number.
	slices.SortFunc(turns, func(a, b turn) int { return cmp.Compare(a.number, b.number) })
	first := slices.Clone(turns)
	for i := len(first) - 2; i >= 0; i-- {
		if first[i+1].at.Before(first[i].at) {
			first[i] = first[i+1]
		}
	}
	var found []string
	for _, v := range c.people {
		n := v.number()
		i, _ := slices.BinarySearchFunc(turns, n+1, func(t turn, n int64) int { return cmp.Compare(t.number, n) })
		if n == 0 || i == len(first) {
			continue
		}
		for _, a := range v.answers {
			s := a.Status
			if a.Pass || s.State == admission.StateReady || s.Lapsed || a.verb == leave {
				break // it had its turn
			}
			if a.verb == peek && s.State == admission.StateWaiting && !s.Unavailable && s.UpdatedAt.After(first[i].at) && !c.cutOff(a) && c.heard(v, first[i].at) {
				found = append(found, fmt.Sprintf("number %d waits by %s, %s, though %d had its turn %s: %s\nand %s",
					n, a.gateway.name, c.when(s.UpdatedAt), first[i].number, c.when(first[i].at), c.story(n), c.story(first[i].number)))
				break
			}
		}
	}
	c.complain("overtaken", found)
}

// division returns from when to when the network was divided, and a moment in
// which gateways find the other side's master.
func (c *crowd) division() (from, to time.Time) {
	if to = c.marked(mended); !to.IsZero() {
		to = to.Add(3 * time.Second)
	}
	return c.marked(divided), to
}

// cutOff reports whether an answer may be of a line that is another one than the
// one that lasts: the smaller side's of a divided network, or that of a master
// whose replica was cut off before it was killed. Turns are not kept for a
// replica to have them; who was told of one and could not enter waits again.
func (c *crowd) cutOff(a answer) bool {
	from, to := c.division()
	if a.gateway == c.gateways[0] && a.answered.After(from) && a.asked.Before(to) {
		return true
	}
	from, to = c.marked(severed), c.marked(killed)
	return !from.IsZero() && a.answered.After(from) && a.asked.Before(to)
}

// marked returns when something was done last; the zero time if it never was.
func (c *crowd) marked(what string) (at time.Time) {
	for _, m := range c.marks {
		if m.what == what {
			at = m.at
		}
	}
	return at
}

// heard reports whether the line knew, by a time, that the visitor waits: by a
// join or a poll a flush and two ticks before.
func (c *crowd) heard(v *visitor, by time.Time) bool {
	for _, a := range v.answers {
		if a.answered.Add(2*time.Second).Before(by) && !c.cutOff(a) {
			return true
		}
	}
	return false
}

// What the marks say by which answers are told to be of a lost line.
const (
	divided = "the network was divided"
	mended  = "the network was mended"
	severed = "the replica was cut off"
	killed  = "the master was killed"
)

// divide leaves each visitor one gateway. The first gateway is that of the
// smaller side.
func (c *crowd) divide() time.Time {
	c.divided.Store(true)
	return c.mark(divided)
}

func (c *crowd) reunite() time.Time {
	at := c.mark(mended)
	c.divided.Store(false)
	return at
}
