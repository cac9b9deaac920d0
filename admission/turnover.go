package admission

import (
	"math"
	"time"
)

// turnover is how long a seat is taken, measured over the last minutes. It
// never changes; each tick makes the next one. The zero turnover has measured
// nothing.
type turnover struct {
	taken float64 // seconds that all seats were taken, together
	freed float64 // seats that fell free
	last  Head
}

// turnoverMemory is how far back it is measured: what is older fades.
const turnoverMemory = 10 * time.Minute

// observe returns the turnover after another reading of the line.
func (t turnover) observe(h Head) turnover {
	last := t.last
	t.last = h
	passed := h.Now.Sub(last.Now)
	if last.Now == 0 || h.Born != last.Born || passed <= 0 || passed > turnoverMemory {
		return t
	}
	fade := math.Exp(-passed.Seconds() / turnoverMemory.Seconds())
	t.taken = t.taken*fade + float64(last.Seats())*passed.Seconds()
	t.freed = t.freed*fade + float64(max(0, h.Turned-last.Turned-(h.Seats()-last.Seats())))
	return t
}

// stay is the mean time, in seconds, that a seat is taken; false where too few
// fell free to tell.
func (t turnover) stay() (float64, bool) {
	if t.freed < 10 {
		return 0, false
	}
	return t.taken / t.freed, true
}
