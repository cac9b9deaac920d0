package proxy

import (
	"time"

	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
)

// UpstreamFigures are an upstream's numbers for operators. Counts run from the
// start of the process.
type UpstreamFigures struct {
	Name     string
	Servers  int    // of it
	Up       int    // to which requests are sent
	Open     bool   // its breaker lets nothing through
	Answered uint64 // requests
	Failures uint64 // requests that it did not answer as it should

	// Within are how many were answered within each of Bounds, ascending.
	Bounds []time.Duration
	Within []uint64
}

// reasons are those for which an upstream is to blame.
var reasons = []string{
	reasonConnect, reasonTimeout, reasonReset, reasonTLS, reasonProtocol, reasonCut, reasonDown, reasonOpen, reasonBusy,
}

// Upstreams returns the figures of the upstreams in use.
func (g *Gateway) Upstreams() []UpstreamFigures {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	all := make([]UpstreamFigures, 0, len(g.upstreams))
	for _, u := range g.upstreams {
		f := UpstreamFigures{Name: u.settings.Name, Servers: len(u.members), Open: u.breaker.state() == 2}
		for _, m := range u.members {
			if m.share(now) > 0 {
				f.Up++
			}
		}
		for _, reason := range reasons {
			f.Failures += uint64(read(g.metrics.upstreamErrors.WithLabelValues(f.Name, reason)).GetCounter().GetValue())
		}
		if m, ok := u.duration.(prometheus.Metric); ok {
			took := read(m).GetHistogram()
			f.Answered = took.GetSampleCount()
			for _, b := range took.GetBucket() {
				f.Bounds = append(f.Bounds, time.Duration(b.GetUpperBound()*float64(time.Second)))
				f.Within = append(f.Within, b.GetCumulativeCount())
			}
		}
		all = append(all, f)
	}
	return all
}

// read returns the value of a metric of our own; those cannot fail.
func read(m prometheus.Metric) *dto.Metric {
	value := &dto.Metric{}
	_ = m.Write(value)
	return value
}
