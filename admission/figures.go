package admission

import (
	"sync/atomic"
	"time"
)

// WaitBounds are the upper bounds of Figures.Waits, in seconds; one more
// bucket holds what is longer.
var WaitBounds = [...]float64{1, 5, 10, 30, 60, 120, 300, 600, 1200, 3600}

// Figures are a room's numbers for operators. Counters run from the start of
// the process.
type Figures struct {
	Head
	Absent     int64 // numbers that could wait and are not present
	Joins      uint64
	Admissions uint64
	Polls      uint64
	Waits      [len(WaitBounds) + 1]uint64 // of those admitted here, from ticket to entry
	WaitSum    time.Duration
	Shared     [Suspicions]uint64 // sessions that were suspected, once for each Sharing.Window
	Newcomer   Wait               // until the turn of who would join now
	Message    string             // that visitors are told
	Stale      bool               // the store has not answered lately

	Passes PassFigures
}

// PassFigures count the visitors of one gateway who showed passes, by what became
// of it.
type PassFigures struct {
	Admitted uint64 // began a session by it; Admissions counts them too
	Spent    uint64 // asked to enter by one without a use left
	Expired  uint64 // opened one that had ended
	Unknown  uint64 // opened one that was forged, or of another activity
}

type counts struct {
	joins, admissions, polls atomic.Uint64
	waits                    [len(WaitBounds) + 1]atomic.Uint64
	waitSum                  atomic.Int64 // nanoseconds
	shared                   [Suspicions]atomic.Uint64

	passes struct{ admitted, spent, expired, unknown atomic.Uint64 }
}

func (c *counts) entered(after time.Duration) {
	c.admissions.Add(1)
	c.waitSum.Add(int64(after))
	for i, bound := range WaitBounds {
		if after.Seconds() <= bound {
			c.waits[i].Add(1)
			return
		}
	}
	c.waits[len(WaitBounds)].Add(1)
}

// Figures returns the room's numbers as of the last tick.
func (r *Room) Figures() Figures {
	v := r.view.Load()
	f := Figures{
		Head: v.Head, Newcomer: v.newcomer(), Message: v.message(r.settings.Load().Message), Stale: v.stale(),
		Joins: r.counts.joins.Load(), Admissions: r.counts.admissions.Load(), Polls: r.counts.polls.Load(),
		WaitSum: time.Duration(r.counts.waitSum.Load()),
	}
	f.Absent = max(0, v.Issued-max(v.First-1, v.Lost)-v.off.count-v.waiting.count)
	f.Passes = PassFigures{
		Admitted: r.counts.passes.admitted.Load(), Spent: r.counts.passes.spent.Load(),
		Expired: r.counts.passes.expired.Load(), Unknown: r.counts.passes.unknown.Load(),
	}
	for i := range f.Waits {
		f.Waits[i] = r.counts.waits[i].Load()
	}
	for i := range f.Shared {
		f.Shared[i] = r.counts.shared[i].Load()
	}
	return f
}

// newcomer estimates the wait of who would join now; unknown where no one may
// join, or no one is let in.
func (v *view) newcomer() Wait {
	limits, now := v.Limits, v.now()
	switch {
	case limits.Mode == ModeOpen:
		return Wait{Known: true}
	case limits.Mode == ModeClosed || v.Paused() || limits.over(now) || !limits.begun(now):
		return Wait{}
	case v.waiting.count == 0 && (limits.Capacity == 0 || v.Seats() < limits.Capacity):
		return Wait{Known: true}
	}
	return v.pace.wait(v.waiting.count+1, v.Seats())
}
