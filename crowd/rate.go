package crowd

import (
	"cmp"
	"slices"

	"github.com/ropeline/ropeline/admission"
)

// rate judges R: over any span, no more turns were surely given within it than
// the rate and the burst allow.
type rate struct {
	findings
	*turns
}

func (r *rate) see(*life, *Event) {} // O notes the turns

func (r *rate) judge(limits Limits) Judgement {
	const promise = "never more turns than rate and burst allow, over any span"
	r.cases = int64(len(r.all))
	if limits.RatePerHour <= 0 {
		why := "there is no limit"
		if limits.RatePerHour == Unknown {
			why = "the rate is not known"
		}
		return Judgement{Invariant: Rate, Promise: promise, Outcome: Unjudged, Cases: r.cases, Why: why}
	}
	burst := limits.Burst
	if burst <= 0 {
		burst = admission.Burst(limits.RatePerHour)
	}
	if worst := busiest(r.all, float64(limits.RatePerHour)/3600e6); worst.count > allowed(limits.RatePerHour, burst, worst.span) {
		r.add(worst.to, worst.visitors, "%d turns were given between %s and %s: %d an hour and a burst of %d allow %d",
			worst.count, at(worst.from), at(worst.to), limits.RatePerHour, burst, allowed(limits.RatePerHour, burst, worst.span))
	}
	return r.judgement(Rate, promise, "nobody had a turn")
}

// allowed is how many turns may be given within a span, both ends included.
func allowed(perHour, burst int64, s span) int64 {
	return burst + int64(float64(slow(s.to-s.from))*float64(perHour)/3600e6)
}

// crush is the span within which the turns went furthest over a rate.
type crush struct {
	span
	count    int64
	visitors []int64
}

// busiest returns the span in which most turns more than perMicro × its length
// were given, of those that were given in it for sure.
func busiest(all []turn, perMicro float64) crush {
	if len(all) == 0 {
		return crush{}
	}
	froms := make([]Micros, len(all))
	for i, t := range all {
		froms[i] = t.from
	}
	slices.Sort(froms)
	froms = slices.Compact(froms)
	byEnd := slices.SortedFunc(slices.Values(all), func(a, b turn) int { return cmp.Compare(a.to, b.to) })

	// For spans that end at the turn at hand: what each beginning is over the
	// rate by, but for the end's own share. A turn counts for all beginnings up to
	// its own. A beginning is none before a turn that begins there has come.
	const none = -1e9
	tree := newPeaks(len(froms), func(i int) float64 { return none + float64(slow(froms[i]))*perMicro })
	begun := make([]bool, len(froms))
	var worst crush
	most := -1.0
	for _, t := range byEnd {
		i, _ := slices.BinarySearch(froms, t.from)
		if !begun[i] {
			begun[i] = true
			tree.add(i, i, -none)
		}
		tree.add(0, i, 1)
		over, from := tree.peak()
		if over -= float64(slow(t.to)) * perMicro; over > most {
			most, worst.span = over, span{froms[from], t.to}
		}
	}
	for _, t := range all {
		if t.from >= worst.from && t.to <= worst.to {
			worst.count++
			worst.visitors = append(worst.visitors, t.visitor)
		}
	}
	slices.Sort(worst.visitors)
	return worst
}

// peaks is a segment tree of sums: it adds to a range and finds the highest.
type peaks struct {
	size int
	best []float64
	at   []int
	more []float64 // added to all below
}

func newPeaks(n int, of func(i int) float64) *peaks {
	size := 1
	for size < n {
		size *= 2
	}
	p := &peaks{size: size, best: make([]float64, 2*size), at: make([]int, 2*size), more: make([]float64, 2*size)}
	for i := range size {
		p.at[size+i] = min(i, n-1)
		p.best[size+i] = of(min(i, n-1))
	}
	for i := size - 1; i > 0; i-- {
		p.pull(i)
	}
	return p
}

func (p *peaks) pull(i int) {
	higher := 2 * i
	if p.best[2*i+1] > p.best[2*i] {
		higher++
	}
	p.best[i], p.at[i] = p.best[higher]+p.more[i], p.at[higher]
}

// add adds to the values from i to j, both included.
func (p *peaks) add(i, j int, by float64) { p.addIn(1, 0, p.size-1, i, j, by) }

func (p *peaks) addIn(node, from, to, i, j int, by float64) {
	if j < from || to < i {
		return
	}
	if i <= from && to <= j {
		p.best[node] += by
		p.more[node] += by
		return
	}
	half := (from + to) / 2
	p.addIn(2*node, from, half, i, j, by)
	p.addIn(2*node+1, half+1, to, i, j, by)
	p.pull(node)
}

// peak returns the highest value and where it stands.
func (p *peaks) peak() (float64, int) { return p.best[1], p.at[1] }
