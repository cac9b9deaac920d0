// Package crowd brings a crowd of visitors to a gateway, records what becomes of
// each, and proves or refutes from that record what a line promises.
package crowd

import (
	"bytes"
	"container/heap"
	"context"
	"iter"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"
)

// Standing is how a run stands.
type Standing struct {
	At      Micros
	Came    int64 // visitors, bots excepted
	Lining  int64 // with a place in line
	Inside  int64
	Gone    int64
	Asking  int64  // requests under way
	Behind  int64  // requests that are due, and wait for a connection of the crowd's
	Late    Micros // how much later than meant the last request was sent
	Planned int64

	// Ends are how the visits of those who are gone ended.
	Ends map[string]int64
}

// Run is one run of a crowd. Its fields are set before Go and not changed after.
type Run struct {
	Target *Target
	Plan   Plan

	Connections int           // requests under way at once, at most
	For         time.Duration // then it is over, whoever is still there; 0: when all have gone

	// Seen is given each event, in the order in which answers came; Beat is called
	// each second, in between. An error of Seen ends the run. Both may be nil.
	Seen func(Event) error
	Beat func(Standing)

	// Limits asks what the operator has set, each few seconds; nil: nobody asks.
	Limits func(context.Context) (Limits, error)
}

const (
	beatEvery   = time.Second
	limitsEvery = 5 * time.Second

	// ending is how long requests that are under way may take when a run is over.
	ending = 10 * time.Second
)

// errand is a request on its way.
type errand struct {
	v      *visitor
	q      request
	due    Micros
	sent   Micros
	took   Micros
	number int64 // Forge: that the ticket names
	answer answer
}

// Go runs until all have gone, For is over, ctx ends or Seen fails. It returns
// how the run stood at the end, and the error of Seen.
//
// It is an open loop: visitors come when they are to come, and ask when they are
// to ask, however slowly answers come. All decisions are made in one goroutine;
// only requests have one each, and there are Connections of those.
func (r *Run) Go(ctx context.Context) (Standing, error) {
	asking, stopAsking := context.WithCancel(context.WithoutCancel(ctx))
	defer stopAsking()
	l := &loop{
		Run: r, began: time.Now(), chance: rand.New(rand.NewPCG(r.Plan.Seed, 0x726f7065)),
		errands: make(chan *errand), results: make(chan *errand, r.Connections), told: make(chan Limits, 1),
	}
	next, stop := iter.Pull(r.Plan.Arrivals.all(rand.New(rand.NewPCG(r.Plan.Seed, 0x6c696e65))))
	defer stop()
	l.arrival = next
	l.standing.Planned, l.standing.Ends = int64(r.Plan.Arrivals.Count()), map[string]int64{}
	l.arrive()

	var work sync.WaitGroup
	for range r.Connections {
		work.Go(func() { l.work(asking) })
	}
	looking, stopLooking := context.WithCancel(ctx)
	if r.Limits != nil {
		work.Go(func() { l.look(looking) })
	}
	err := l.run(ctx, stopAsking)
	stopLooking()
	close(l.errands)
	work.Wait()
	return l.standing, err
}

// loop is the state of a run. It belongs to one goroutine, but for the channels.
type loop struct {
	*Run
	began    time.Time
	chance   *rand.Rand
	queue    queue     // visitors who wait for their next request
	ready    []*errand // due, and waiting for a connection
	standing Standing
	ids      int64

	arrival func() (time.Duration, bool)
	comes   Micros // the next
	coming  bool   // whether there is one
	ended   bool   // nothing new is asked; what is under way may come back

	errands chan *errand
	results chan *errand
	told    chan Limits
}

func (l *loop) now() Micros { return micros(time.Since(l.began)) }

// arrive finds out when the next visitor comes.
func (l *loop) arrive() {
	var at time.Duration
	at, l.coming = l.arrival()
	l.comes = micros(at)
}

func (l *loop) run(ctx context.Context, stopAsking func()) error {
	beat := time.NewTicker(beatEvery)
	defer beat.Stop()
	over := ctx.Done()
	var deadline <-chan time.Time
	if l.For > 0 {
		timer := time.NewTimer(l.For)
		defer timer.Stop()
		deadline = timer.C
	}
	finish := func() {
		over, deadline = nil, nil
		l.ended = true
		l.standing.Ends[endNames[stillThere]] += int64(len(l.ready) + len(l.queue))
		l.ready, l.queue, l.coming = nil, nil, false
		time.AfterFunc(ending, stopAsking)
	}
	wake := time.NewTimer(0)
	defer wake.Stop()
	for {
		now := l.now()
		if !l.ended {
			l.gather(now)
		}
		if l.standing.Asking == 0 && len(l.ready) == 0 && len(l.queue) == 0 && !l.coming {
			l.standing.At = now
			return nil
		}
		wake.Reset(l.untilNext(now))
		var errands chan *errand
		var first *errand
		if len(l.ready) > 0 {
			errands, first = l.errands, l.ready[0]
		}
		select {
		case errands <- first:
			l.ready[0] = nil
			l.ready = l.ready[1:]
			l.standing.Asking++
		case done := <-l.results:
			l.standing.Asking--
			if err := l.take(done); err != nil {
				return l.abandon(err, stopAsking)
			}
		case limits := <-l.told:
			if err := l.see(Event{Sent: l.now(), Kind: Told, Limits: &limits}); err != nil {
				return l.abandon(err, stopAsking)
			}
		case <-wake.C:
		case <-beat.C:
			l.standing.At, l.standing.Behind = l.now(), int64(len(l.ready))
			if l.Beat != nil {
				l.Beat(l.standing)
			}
		case <-over:
			finish()
		case <-deadline:
			finish()
		}
	}
}

// abandon ends a run whose events nobody takes any more.
func (l *loop) abandon(err error, stopAsking func()) error {
	stopAsking()
	for ; l.standing.Asking > 0; l.standing.Asking-- {
		<-l.results
	}
	return err
}

// untilNext is how long there is nothing new to do.
func (l *loop) untilNext(now Micros) time.Duration {
	next := now + micros(time.Minute)
	if l.coming {
		next = min(next, l.comes)
	}
	if len(l.queue) > 0 {
		next = min(next, l.queue[0].due)
	}
	return max(0, (next - now).Duration())
}

// gather takes all that is due.
func (l *loop) gather(now Micros) {
	for l.coming && l.comes <= now {
		l.ids++
		v := newVisitor(l.ids, l.comes, &l.Plan, l.Target.networks, l.chance)
		if !v.bot {
			l.standing.Came++
		}
		l.ready = append(l.ready, l.errand(v))
		l.arrive()
	}
	for len(l.queue) > 0 && l.queue[0].due <= now {
		l.ready = append(l.ready, l.errand(heap.Pop(&l.queue).(*visitor)))
	}
}

// errand is the next request of a visitor.
func (l *loop) errand(v *visitor) *errand {
	e := &errand{v: v, due: v.due, q: request{kind: v.kind, visitor: v.id, network: int(v.network)}}
	switch {
	case v.kind == Forge:
		e.q.cookie, e.number = v.forge(l.Target)
	case !v.bot:
		e.q.cookie, e.q.works = v.jar.header(), true
	}
	return e
}

// work sends requests.
func (l *loop) work(ctx context.Context) {
	var buffer bytes.Buffer
	for e := range l.errands {
		e.sent = l.now()
		e.answer = l.Target.ask(ctx, e.q, &buffer)
		e.took = l.now() - e.sent
		if e.q.works {
			e.answer.worked = l.Target.work(ctx, e.answer.status.Work)
		}
		l.results <- e
	}
}

// look asks for the limits now and then. What nobody answers is asked again.
func (l *loop) look(ctx context.Context) {
	tick := time.NewTicker(limitsEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		limits, err := l.Limits(ctx)
		if err != nil {
			continue
		}
		select {
		case l.told <- limits:
		case <-ctx.Done():
			return
		}
	}
}

func (l *loop) see(e Event) error {
	if l.Seen == nil {
		return nil
	}
	return l.Seen(e)
}

// take takes an answer: it is recorded, and its visitor goes on.
func (l *loop) take(e *errand) error {
	v, a := e.v, e.answer
	l.standing.Late = max(0, e.sent-e.due)
	before := v.stage
	if !v.bot && v.kind != Forge {
		if v.forger && a.admission != nil {
			v.used = v.jar.ticket(l.Target.queue)
		}
		v.jar.keep(a.cookies)
		if a.worked != nil {
			v.jar.keep([]*http.Cookie{a.worked})
		}
	}
	event := Event{
		Sent: e.sent, Took: e.took, Late: l.standing.Late, Visitor: e.q.visitor, Kind: e.q.kind,
		Code: a.code, State: a.state, Fault: a.fault,
		Number: a.status.Number, Position: a.status.Position,
		Lapsed: a.status.Lapsed, Paused: a.status.Paused, Unavailable: a.status.Unavailable,
		Line: a.status.line(), Claim: max(0, a.status.Claim), Session: a.admission, Claimed: e.number,
	}
	if a.state == Passed && a.admission != nil {
		event.Number = a.admission.Number
	}
	if token := v.ticket(l.Target, a); token != "" && v.kind != Forge {
		c, _ := readToken(token)
		event.Epoch, event.Index = c.Epoch, c.Index
	}
	if err := l.see(event); err != nil {
		return err
	}
	now := l.now()
	kind, after := v.next(l.Target, a, now, &l.Plan, l.chance)
	l.count(before, v.stage, v.bot)
	if v.stage == gone || l.ended {
		l.standing.Ends[endNames[v.end]]++
		return nil
	}
	if v.bot { // to the gateway it is somebody else each time
		l.ids++
		v.id = l.ids
	}
	v.kind, v.due = kind, now+micros(after)
	heap.Push(&l.queue, v)
	return nil
}

// ticket is the queue token that a visitor has after an answer.
func (v *visitor) ticket(t *Target, a answer) string {
	if !v.bot {
		return v.jar.ticket(t.queue)
	}
	var once jar
	once.keep(a.cookies)
	return once.ticket(t.queue)
}

// count moves a visitor from one stage to another.
func (l *loop) count(from, to stage, bot bool) {
	if bot || from == to {
		return
	}
	for stage, by := range map[stage]int64{from: -1, to: 1} {
		switch stage {
		case lining:
			l.standing.Lining += by
		case inside:
			l.standing.Inside += by
		case gone:
			l.standing.Gone += by
		}
	}
}

// queue is visitors by when their next request is due: a heap.
type queue []*visitor

func (q queue) Len() int           { return len(q) }
func (q queue) Less(i, j int) bool { return q[i].due < q[j].due }
func (q queue) Swap(i, j int)      { q[i], q[j] = q[j], q[i] }

// Push implements heap.Interface.
func (q *queue) Push(v any) { *q = append(*q, v.(*visitor)) }

// Pop implements heap.Interface.
func (q *queue) Pop() any {
	old := *q
	last := old[len(old)-1]
	old[len(old)-1] = nil
	*q = old[:len(old)-1]
	return last
}
