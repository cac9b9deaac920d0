package api

import (
	"context"
	"math"
	"slices"
	"sync"
	"time"

	"github.com/ropeline/ropeline/admission"
)

const (
	beatEvery = time.Second
	beatsKept = 300 // five minutes

	// latencyOver is how many beats an upstream's latency is told over: one
	// alone has too few answers.
	latencyOver = 10
)

// pulse looks at every line once a second and remembers the last minutes, so
// that who comes to look sees how a line came to stand as it does. It reads
// what the gateway's ticks leave, and asks no store.
type pulse struct {
	mu    sync.Mutex // protects the rest
	lines map[int64]*trail
	shops map[string][]Upstream // the last looks at each, oldest first
}

// trail is how a line stood in the last minutes, oldest first.
type trail []beat

// beat is how a line stood at an instant of its own.
type beat struct {
	at, born                 admission.Instant
	epoch                    int64
	issued, turned, admitted int64
	waiting, turns, sessions int64
	wait                     admission.Wait // of who would join then
	shop                     shopBeat
}

// shopBeat is how the upstreams of an activity did in the beat. The latency is
// that of the slowest, over the last beats.
type shopBeat struct {
	requests, failures uint64
	p95                time.Duration // 0: nothing was answered
}

func beatOf(h admission.Head) beat {
	return beat{
		at: h.Now, born: h.Born, epoch: h.Epoch, issued: h.Issued, turned: h.Turned, admitted: h.Admitted,
		waiting: h.Waiting + h.Awaited, turns: h.Turns, sessions: h.Sessions,
	}
}

func (p *pulse) run(ctx context.Context, lines func() []Offered, shops func() []Upstream) error {
	tick := time.NewTicker(beatEvery)
	defer tick.Stop()
	for {
		p.look(lines(), shops())
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

func (p *pulse) look(lines []Offered, shops []Upstream) {
	p.mu.Lock()
	defer p.mu.Unlock()
	looks := make(map[string][]Upstream, len(shops))
	for _, s := range shops {
		kept := append(p.shops[s.Name], s)
		looks[s.Name] = kept[max(0, len(kept)-latencyOver-1):]
	}
	p.shops = looks
	next := make(map[int64]*trail, len(lines))
	for _, o := range lines {
		f := o.Room.Figures()
		now := beatOf(f.Head)
		now.wait = f.Newcomer
		for _, name := range o.Upstreams {
			did := p.did(name)
			now.shop.requests += did.requests
			now.shop.failures += did.failures
			now.shop.p95 = max(now.shop.p95, did.p95)
		}
		kept := p.lines[o.ID]
		if kept == nil {
			kept = &trail{}
		}
		kept.add(now)
		next[o.ID] = kept
	}
	p.lines = next
}

// add adds a beat. A line that is not read any more has none.
func (t *trail) add(b beat) {
	all := *t
	if n := len(all); n > 0 {
		// Counts of another epoch, or of a line that lost its data, say nothing
		// of this one: its numbers leap.
		switch last := all[n-1]; {
		case last.epoch != b.epoch || last.born != b.born:
			all = all[:0]
		case b.at <= last.at:
			return
		}
	}
	if len(all) == 2*beatsKept {
		all = all[:copy(all, all[beatsKept:])]
	}
	*t = append(all, b)
}

// last returns the beats that are kept.
func (t trail) last() trail { return t[max(0, len(t)-beatsKept):] }

// did tells how an upstream did in the last beat. The caller holds mu.
func (p *pulse) did(name string) (b shopBeat) {
	looks := p.shops[name]
	if len(looks) < 2 {
		return b
	}
	now, before, first := looks[len(looks)-1], looks[len(looks)-2], looks[0]
	return shopBeat{now.Requests - before.Requests, now.Failures - before.Failures, now.quantile(first, 0.95)}
}

// shop tells how an upstream did lately.
func (p *pulse) shop(name string) shopBeat {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.did(name)
}

// since returns the beats after an instant, oldest first.
func (p *pulse) since(id int64, after admission.Instant) []beat {
	p.mu.Lock()
	defer p.mu.Unlock()
	kept := p.lines[id]
	if kept == nil {
		return nil
	}
	all := kept.last()
	i, _ := slices.BinarySearchFunc(all, after, func(b beat, at admission.Instant) int {
		if b.at <= at {
			return -1
		}
		return 1
	})
	return slices.Clone(all[i:])
}

// rates are how many joined and how many had their turn, per second, over the
// last minute, or as much of it as is known.
func (p *pulse) rates(id int64, h admission.Head) (enter, release float64) {
	now := beatOf(h)
	for _, then := range p.since(id, h.Now.Add(-time.Minute-beatEvery)) {
		span := now.at.Sub(then.at)
		if then.epoch != now.epoch || then.born != now.born || span < time.Second {
			continue
		}
		return perSecond(now.issued-then.issued, span), perSecond(now.turned-then.turned, span)
	}
	return 0, 0
}

// perSecond is a rate, to the thousandth.
func perSecond(n int64, span time.Duration) float64 {
	return float64(int64(max(0, float64(n)/span.Seconds())*1000+0.5)) / 1000
}

// Upstream is how one upstream does, as this gateway sees it. Counts run from
// the start of the process.
type Upstream struct {
	Name     string
	Servers  int    // of it
	Up       int    // to which requests are sent
	Open     bool   // its breaker lets nothing through
	Requests uint64 // answered
	Failures uint64 // not answered as they should be

	// Within are how many were answered within each of Bounds, ascending.
	Bounds []time.Duration
	Within []uint64
}

// quantile is the time within which a share of the answers since an earlier
// look came, as closely as the bounds tell; 0: there were none.
func (u Upstream) quantile(earlier Upstream, share float64) time.Duration {
	total := u.Requests - earlier.Requests
	if u.Requests <= earlier.Requests || len(u.Within) != len(earlier.Within) {
		return 0
	}
	rank := share * float64(total)
	lower, below := time.Duration(0), 0.
	for i, bound := range u.Bounds {
		within := float64(u.Within[i] - earlier.Within[i])
		if within >= rank {
			return lower + time.Duration(math.Round(float64(bound-lower)*(rank-below)/max(within-below, 1)))
		}
		lower, below = bound, within
	}
	return lower
}
