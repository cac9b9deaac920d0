package postgres

import "sync"

// told holds what was told and not passed on yet, in memory and within a limit.
type told struct {
	limit int
	full  chan struct{} // has a token when there is a batch to take

	mu      sync.Mutex
	records []record
	closed  bool
}

func newTold(limit int) *told {
	return &told{limit: limit, full: make(chan struct{}, 1)}
}

// add keeps as many of the records as there is room for and returns how many it
// kept.
func (t *told) add(records []record) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed {
		return 0
	}
	kept := min(len(records), max(0, t.limit-len(t.records)))
	t.records = append(t.records, records[:kept]...)
	if len(t.records) >= batchSize {
		select {
		case t.full <- struct{}{}:
		default:
		}
	}
	return kept
}

// take returns a batch of the oldest records; nil: there are not as many as
// least.
func (t *told) take(least int) []record {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := min(len(t.records), batchSize)
	if n < least {
		return nil
	}
	batch := t.records[:n:n]
	t.records = t.records[n:]
	if len(t.records) == 0 {
		t.records = nil // free what the batch does not need
	}
	return batch
}

// giveBack undoes a take.
func (t *told) giveBack(batch []record) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.records = append(batch, t.records...)
}

// close refuses what is told from now on.
func (t *told) close() {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.closed = true
}
