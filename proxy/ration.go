package proxy

import (
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

// ration gives out so many lines each second. Its zero value gives without end.
type ration struct {
	most   int64
	second atomic.Int64 // since 1970
	given  atomic.Int64 // in that second, asked for beyond most included
}

// take reports whether there is one more at an instant. over is how many were
// asked for beyond the ration in the last second that had any, at the first call
// of the next. Around the turn of a second it may be off by those that ask at
// the same time.
func (r *ration) take(now time.Time) (ok bool, over int64) {
	if r.most == 0 {
		return true, 0
	}
	if is, was := now.Unix(), r.second.Load(); is > was && r.second.CompareAndSwap(was, is) {
		over = max(0, r.given.Swap(0)-r.most)
	}
	return r.given.Add(1) <= r.most, over
}

// spare reports whether the log has room for the line of a request. It has for
// one that failed.
func (g *Gateway) spare(failed bool, now time.Time) bool {
	ok, over := g.ration.take(now)
	if over > 0 {
		g.log.Warn("request lines left out", zap.Int64("lines", over))
	}
	if !ok && !failed {
		g.metrics.linesLeftOut.Inc()
		return false
	}
	return true
}
