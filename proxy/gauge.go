package proxy

import (
	"math/rand/v2"
	"sync/atomic"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// gaugeEvery is how often rooms are told how their upstreams do.
const gaugeEvery = time.Second

// gaugeShards is how many copies of its counters a gauge has, so that cores do
// not pass one cache line around.
const gaugeShards = 8

// gauge measures how an upstream does, of whatever generation. Counting takes no
// lock and allocates nothing. Reading is for one goroutine.
type gauge struct {
	shards [gaugeShards]gaugeShard
	was    gaugeTotals // as last read
}

type gaugeShard struct {
	asked, failed, over atomic.Int64 // over: is not under way any more, however it ended
	answers             [admission.LatencyBuckets]atomic.Uint32
	_                   [64]byte
}

type gaugeTotals struct {
	asked, failed, over int64
	answers             admission.Latencies
}

func (g *gauge) shard() *gaugeShard { return &g.shards[rand.Uint32()%gaugeShards] }

// begin counts a request that is to be answered.
func (g *gauge) begin() { g.shard().asked.Add(1) }

// The ways in which a request ends. One whose sender left says nothing.
func (g *gauge) answered(after time.Duration) {
	s := g.shard()
	s.answers[admission.LatencyBucket(after)].Add(1)
	s.over.Add(1)
}

func (g *gauge) failed() {
	s := g.shard()
	s.failed.Add(1)
	s.over.Add(1)
}

func (g *gauge) left() { g.shard().over.Add(1) }

// read returns what was counted since the last call.
func (g *gauge) read() admission.Measure {
	var now gaugeTotals
	for i := range g.shards {
		s := &g.shards[i]
		now.over += s.over.Load() // before asked: who ends meanwhile was never under way
		now.failed += s.failed.Load()
		for b := range s.answers {
			now.answers[b] += s.answers[b].Load()
		}
	}
	for i := range g.shards {
		now.asked += g.shards[i].asked.Load()
	}
	m := admission.Measure{
		Asked: now.asked - g.was.asked, Failed: now.failed - g.was.failed,
		Unanswered: max(0, now.asked-now.over),
	}
	for b := range m.Answers {
		m.Answers[b] = now.answers[b] - g.was.answers[b]
	}
	g.was = now
	return m
}

// measure tells every room how the upstreams do that its routes lead to.
func (g *Gateway) measure() {
	read := map[*gauge]admission.Measure{}
	told := map[*Activity][]admission.Measure{}
	for _, way := range g.table.Load().ways {
		u := way.Upstream
		m, ok := read[u.gauge]
		if !ok {
			m = u.gauge.read()
			m.Upstream = u.settings.Name
			read[u.gauge] = m
		}
		told[way.Activity] = append(told[way.Activity], m)
	}
	for activity, measures := range told {
		activity.Room.Measured(measures)
	}
}

// settle tells the gauge once how a request ended.
func (x *exchange) settle(end func(*gauge)) {
	if g := x.gauge; g != nil {
		x.gauge = nil
		end(g)
	}
}
