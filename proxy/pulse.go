package proxy

import (
	"sync/atomic"
	"time"
)

const (
	// feelEvery is the span over which the answers of an upstream are judged.
	feelEvery = 10 * time.Second

	// leastBeats is how many answers say something, and latePart which part of
	// them may be late.
	leastBeats = 20
	latePart   = 20
)

// pulse tells whether an upstream answers late. Its zero value does not.
type pulse struct {
	answers, late atomic.Int64
	slow          atomic.Bool
}

func (p *pulse) beat(late bool) {
	p.answers.Add(1)
	if late {
		p.late.Add(1)
	}
}

// feel judges the answers since the last call. Of too few it says nothing bad.
func (p *pulse) feel() {
	answers, late := p.answers.Swap(0), p.late.Swap(0)
	p.slow.Store(answers >= leastBeats && late*latePart > answers)
}

// feel judges every upstream that is in use, once.
func (g *Gateway) feel() {
	felt := map[*Upstream]bool{}
	for _, way := range g.table.Load().ways {
		if !felt[way.Upstream] {
			felt[way.Upstream] = true
			way.Upstream.pulse.feel()
		}
	}
}

// Slow reports whether an upstream of an activity's routes answers later than its
// settings call well, as far as this gateway knows.
func (g *Gateway) Slow(activity int64) bool {
	for _, way := range g.table.Load().ways {
		if way.Activity.ID == activity && way.Upstream.pulse.slow.Load() {
			return true
		}
	}
	return false
}
