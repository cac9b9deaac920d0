package admission

import (
	"context"
	"sync"
	"time"

	"go.uber.org/zap"
)

// endings are sessions that the shop ended and the store was not told of yet.
// An ending that were lost would let its visitor in by every other gateway, so
// none is dropped; there are never more than sessions.
type endings struct {
	woken chan struct{} // of one

	mu      sync.Mutex // protects waiting
	waiting []Departure
}

func newEndings() *endings { return &endings{woken: make(chan struct{}, 1)} }

func (e *endings) add(d Departure) {
	e.mu.Lock()
	e.waiting = append(e.waiting, d)
	e.mu.Unlock()
	select {
	case e.woken <- struct{}{}:
	default: // it is awake
	}
}

// take returns the endings that have waited longest, as many as travel
// together.
func (e *endings) take() []Departure {
	e.mu.Lock()
	defer e.mu.Unlock()
	n := min(len(e.waiting), mostTogether)
	first := e.waiting[:n:n]
	e.waiting = e.waiting[n:]
	return first
}

func (e *endings) giveBack(first []Departure) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.waiting = append(first, e.waiting...)
}

// End ends a session, as the shop asks. Its tokens are dead at this gateway at
// once, and at the others when the store has been told. It never waits.
func (r *Room) End(session Session) {
	if s := r.session(session.Visitor); s == nil || !s.gone.CompareAndSwap(false, true) {
		return
	}
	v := r.view.Load()
	r.note(Event{Kind: EventLeft, At: v.now(), Epoch: v.Epoch, Number: session.Number, Visitor: session.Visitor})
	r.endings.add(Departure{Visitor: session.Visitor}) // its number was used up when it entered
}

// Extend has a session last as if it had just been used, within its maximum, as
// the shop asks. It never waits.
func (r *Room) Extend(session Session) {
	s := r.session(session.Visitor)
	if s != nil && !s.gone.Load() && s.ends() < s.max && s.mayAsk(r.view.Load().now()) {
		r.askToRenew(session.Visitor)
	}
}

// isGone reports whether a visitor's session has ended as far as this gateway
// knows, which may be before the store does.
func (r *Room) isGone(visitor string) bool {
	s := r.session(visitor)
	return s != nil && s.gone.Load()
}

// bringEndings tells the store of endings until ctx ends, and then of those that
// are left.
func (r *Room) bringEndings(ctx context.Context) {
	again := time.NewTimer(time.Second)
	defer again.Stop()
	for {
		select {
		case <-ctx.Done():
			last, cancel := context.WithTimeout(context.WithoutCancel(ctx), mostPatience)
			defer cancel()
			_ = r.bringAll(last)
			return
		case <-r.endings.woken:
		case <-again.C:
		}
		if r.bringAll(ctx) != nil {
			again.Reset(time.Second)
		}
	}
}

// bringAll tells the store of the endings that wait. Those that it did not take
// wait on.
func (r *Room) bringAll(ctx context.Context) error {
	for {
		some := r.endings.take()
		if len(some) == 0 {
			return nil
		}
		bounded, cancel := context.WithTimeout(ctx, mostPatience)
		_, err := r.store.Leave(bounded, r.call(), some)
		cancel()
		if err != nil {
			r.log.Debug("ended sessions not stored", zap.Int("sessions", len(some)), zap.Error(err))
			r.endings.giveBack(some)
			return err
		}
	}
}
