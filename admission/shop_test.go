package admission

import (
	"container/heap"
	"math"
	"math/rand/v2"
	"time"
)

// A demo shop under virtual time, for the controller. Visitors come in, ask, read
// and ask again; who got no answer in ten seconds tries again, three times.

// shopModel is how much work a shop does with so many requests at hand.
type shopModel struct {
	name    string
	speed   func(n float64) float64 // answers per second, of all n together
	workers int                     // most requests that are worked on
	queue   time.Duration           // how long others wait for a worker; 0: they are refused
	p95     time.Duration           // three times what it is with few visitors
}

// shopModels have their knee by CPU, by a pool of connections and by a lock. Each
// takes less the more it is asked for beyond it, but for the pool.
var shopModels = []shopModel{
	{"cpu", func(n float64) float64 { return min(n, 4) * 25 / (1 + n*n/40_000) }, 400, 0, 360 * time.Millisecond},
	{"pool", func(n float64) float64 { return n * 5 }, 20, 5 * time.Second, 1800 * time.Millisecond},
	// The universal scalability law (Gunther), with contention and crosstalk.
	{"lock", func(n float64) float64 { return n * 20 / (1 + .02*(n-1) + .001*n*(n-1)) }, 400, 0, 450 * time.Millisecond},
}

// visits are how long visitors stay: requests, and seconds of reading between.
type visits struct{ requests, reading float64 }

type shopJob struct {
	who    int
	asked  float64
	work   float64 // at which share of the work done for each it is done
	closed bool    // answered, or given up; who gave up still costs the shop
}

type shopEvent struct {
	at  float64
	who int
	job *shopJob // gives up; nil: asks
}

type byKey[T any] struct {
	all []T
	key func(T) float64
}

func (h *byKey[T]) Len() int           { return len(h.all) }
func (h *byKey[T]) Less(i, j int) bool { return h.key(h.all[i]) < h.key(h.all[j]) }
func (h *byKey[T]) Swap(i, j int)      { h.all[i], h.all[j] = h.all[j], h.all[i] }
func (h *byKey[T]) Push(x any)         { h.all = append(h.all, x.(T)) }
func (h *byKey[T]) Pop() any {
	last := h.all[len(h.all)-1]
	h.all = h.all[:len(h.all)-1]
	return last
}

type shop struct {
	shopModel
	visits
	chance *rand.Rand
	power  float64 // of what the model does; 1 is all

	now, done float64 // seconds, and the work done for each request at hand
	working   byKey[*shopJob]
	waiting   []*shopJob
	coming    byKey[shopEvent]
	left      []int // requests of each visitor
	tries     []int

	measure Measure
	good    int // answers in time
}

func newShop(m shopModel, v visits, seed uint64) *shop {
	return &shop{
		shopModel: m, visits: v, chance: rand.New(rand.NewPCG(seed, 1)), power: 1,
		working: byKey[*shopJob]{key: func(j *shopJob) float64 { return j.work }},
		coming:  byKey[shopEvent]{key: func(e shopEvent) float64 { return e.at }},
	}
}

// enter lets a visitor in.
func (s *shop) enter() {
	s.left = append(s.left, 1+int(s.chance.ExpFloat64()*(s.requests-.5)))
	s.tries = append(s.tries, 0)
	heap.Push(&s.coming, shopEvent{s.now, len(s.left) - 1, nil})
}

func (s *shop) ask(who int) {
	s.measure.Asked++
	s.measure.Unanswered++
	j := &shopJob{who: who, asked: s.now}
	switch {
	case s.working.Len() < s.workers:
		s.work(j)
	case s.queue == 0:
		s.close(j, false)
		return
	default:
		s.waiting = append(s.waiting, j)
	}
	heap.Push(&s.coming, shopEvent{s.now + 10, who, j})
}

func (s *shop) work(j *shopJob) {
	j.work = s.done + s.chance.ExpFloat64()
	heap.Push(&s.working, j)
}

// close ends a request for its visitor.
func (s *shop) close(j *shopJob, ok bool) {
	if j.closed {
		return
	}
	j.closed = true
	s.measure.Unanswered--
	took := time.Duration((s.now - j.asked) * float64(time.Second))
	again := s.chance.ExpFloat64() * s.reading
	if ok {
		s.measure.Answers[LatencyBucket(took)]++
		s.tries[j.who] = 0
		if took <= s.p95 {
			s.good++
		}
		if s.left[j.who]--; s.left[j.who] <= 0 {
			return
		}
	} else {
		s.measure.Failed++
		if s.tries[j.who]++; s.tries[j.who] > 2 {
			return
		}
		again = 1 + 2*s.chance.Float64()
	}
	heap.Push(&s.coming, shopEvent{s.now + again, j.who, nil})
}

// run has time pass.
func (s *shop) run(until float64) {
	for s.now < until {
		next := until
		if s.coming.Len() > 0 {
			next = min(next, s.coming.all[0].at)
		}
		each := 0.
		if n := float64(s.working.Len()); n > 0 {
			each = s.power * s.speed(n) / n
			if ready := s.now + (s.working.all[0].work-s.done)/each; ready <= next {
				s.now, s.done = max(s.now, ready), s.working.all[0].work
				s.close(heap.Pop(&s.working).(*shopJob), true)
				s.fill()
				continue
			}
		}
		s.done += each * (next - s.now)
		s.now = next
		for s.coming.Len() > 0 && s.coming.all[0].at <= s.now {
			switch e := heap.Pop(&s.coming).(shopEvent); e.job {
			case nil:
				s.ask(e.who)
			default:
				s.close(e.job, false)
			}
		}
		s.fill()
	}
}

// fill gives free workers what waits.
func (s *shop) fill() {
	for len(s.waiting) > 0 && s.working.Len() < s.workers {
		j := s.waiting[0]
		s.waiting = s.waiting[1:]
		if s.now-j.asked > s.queue.Seconds() {
			s.close(j, false)
		} else if !j.closed {
			s.work(j)
		}
	}
}

// sold is what came of some time of a rush to a shop.
type sold struct {
	good  float64   // answers in time, per second
	rates []float64 // in force, by second
	late  int       // seconds in which more than 5 % were late, or failed
}

// rush lets visitors of an endless line into a shop, at the rate that follow says
// of each second's measure.
func (s *shop) rush(long time.Duration, rate float64, follow func(m Measure, inForce float64) float64) (r sold) {
	credit := 0.
	for tick := range int(long / Tick) {
		credit = math.Min(credit+rate*Tick.Seconds(), max(1, rate/2))
		for ; credit >= 1; credit-- {
			s.enter()
		}
		s.run(float64(tick+1) * Tick.Seconds())
		if (tick+1)%int(time.Second/Tick) != 0 {
			continue
		}
		m := s.measure
		s.measure = Measure{Unanswered: m.Unanswered}
		if bad := m.Failed + m.Answers.above(s.p95); 20*bad > m.Answers.Count()+m.Failed {
			r.late++
		}
		rate = follow(m, rate)
		r.rates = append(r.rates, rate)
	}
	r.good = float64(s.good) / long.Seconds()
	return r
}

// bestFixed returns the rate that a shop does best at, and what comes of it.
func bestFixed(m shopModel, v visits, long time.Duration, step float64) (rate, good float64) {
	for load := 64.; load < 220; load *= step {
		fixed := load / v.requests
		r := newShop(m, v, 1).rush(long, fixed, func(Measure, float64) float64 { return fixed })
		if r.good > good {
			rate, good = fixed, r.good
		}
	}
	return rate, good
}
