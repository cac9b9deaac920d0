package proxy

import "sync"

// wheel takes turns by weight, as evenly as they go: of 3 and 1 it makes a, a,
// b, a. The zero wheel is ready.
type wheel struct {
	mu     sync.Mutex // guards credit
	credit []float64
}

// next returns the index of the next turn, -1 where every weight is 0. It is
// always called with as many weights.
func (w *wheel) next(weights []float64) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.credit == nil {
		w.credit = make([]float64, len(weights))
	}
	best, total := -1, 0.0
	for i, weight := range weights {
		if weight <= 0 {
			continue
		}
		total += weight
		w.credit[i] += weight
		if best < 0 || w.credit[i] > w.credit[best] {
			best = i
		}
	}
	if best >= 0 {
		w.credit[best] -= total
	}
	return best
}
