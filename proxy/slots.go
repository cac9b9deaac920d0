package proxy

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"
)

// errBusy is why a request got no slot.
var errBusy = errors.New("the upstream has as many requests as it may")

// slots bound how many requests an upstream has under way. Who finds none free
// waits a little, in order of arrival, as long as no more wait than may be
// served. The zero slots have no bound.
type slots struct {
	mu      sync.Mutex // guards the rest
	limit   int64      // 0: none
	taken   int64
	waiting []chan struct{} // closed when its request has a slot
}

// bound sets the limit. What is under way stays.
func (s *slots) bound(limit int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limit = limit
	for len(s.waiting) > 0 && s.open() {
		s.admit()
	}
}

// open reports whether a slot is free. The caller holds mu, as for admit.
func (s *slots) open() bool { return s.limit == 0 || s.taken < s.limit }

// admit gives a slot to who has waited longest.
func (s *slots) admit() {
	s.taken++
	close(s.waiting[0])
	s.waiting = slices.Delete(s.waiting, 0, 1)
}

// take takes a slot, and waits for it until ctx ends or patience is over. Each
// one is to be given back.
func (s *slots) take(ctx context.Context, patience time.Duration) error {
	s.mu.Lock()
	if s.open() {
		s.taken++
		s.mu.Unlock()
		return nil
	}
	if int64(len(s.waiting)) >= s.limit {
		s.mu.Unlock()
		return errBusy
	}
	mine := make(chan struct{})
	s.waiting = append(s.waiting, mine)
	s.mu.Unlock()

	over := time.NewTimer(patience)
	defer over.Stop()
	err := errBusy
	select {
	case <-mine:
		return nil
	case <-ctx.Done():
		err = ctx.Err()
	case <-over.C:
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if i := slices.Index(s.waiting, mine); i >= 0 {
		s.waiting = slices.Delete(s.waiting, i, i+1)
		return err
	}
	return nil // it came at the last instant
}

// give gives a slot back.
func (s *slots) give() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.taken--
	if len(s.waiting) > 0 && s.open() {
		s.admit()
	}
}
