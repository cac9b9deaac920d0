package waitpage

import (
	"strconv"
	"strings"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// seen is what a tab showed of the wait last. A wait that was shown may come
// sooner, but it comes later only with a reason. The zero seen showed nothing.
type seen struct {
	high     time.Duration // what is left now of the longer end; 0: no wait was shown
	position int64
	stopped  stop
}

// stop is why the line stood still since a wait was shown. It is a closed set,
// and the words of the query.
type stop string

const (
	neverStopped stop = ""
	stopPaused   stop = "paused"
	stopAway     stop = "away"
)

// readSeen reads what a page says it showed, <seconds>.<position>.<stop>.
// Anything else is nothing.
func readSeen(text string) seen {
	high, rest, _ := strings.Cut(text, ".")
	position, stopped, _ := strings.Cut(rest, ".")
	const longest = 10 * 365 * 24 * 3600
	h, err := strconv.ParseUint(high, 10, 31)
	if err != nil || h > longest {
		return seen{}
	}
	p, err := strconv.ParseUint(position, 10, 62)
	if err != nil {
		return seen{}
	}
	s := seen{high: time.Duration(h) * time.Second, position: int64(p)}
	if is := stop(stopped); is == stopPaused || is == stopAway {
		s.stopped = is
	}
	return s
}

// String is the form that readSeen reads.
func (s seen) String() string {
	return strconv.FormatInt(int64((s.high+time.Second-1)/time.Second), 10) + "." + strconv.FormatInt(s.position, 10) + "." + string(s.stopped)
}

// after is what of it is left when some time has passed.
func (s seen) after(passed time.Duration) seen {
	if s.high > 0 {
		s.high = max(time.Second, s.high-passed)
	}
	return s
}

// showed is what who reads w shows of s from then on, having shown was.
func (w *words) showed(s admission.Status, was seen) seen {
	switch {
	case w.Band.Known:
		return seen{high: w.Band.High, position: s.Position}
	case was.stopped != neverStopped:
	case s.Paused:
		was.stopped = stopPaused
	case s.Unavailable:
		was.stopped = stopAway
	}
	return was
}

// narrow returns the band to show for s, and, where it reaches beyond what was
// shown, the reason to give. As long as the middle of the new band lies within
// the old one, chance may have moved its far end: then that stays where it was.
func (c *catalog) narrow(s admission.Status, was seen) (w admission.Wait, reason string) {
	w = s.Wait
	if !w.Known || was.high <= 0 || w.High <= was.high {
		return w, ""
	}
	if w.Low+(w.High-w.Low)/2 <= was.high {
		w.High = was.high
		return w, ""
	}
	switch {
	case was.stopped == stopPaused:
		return w, c.LongerPaused
	case was.stopped == stopAway:
		return w, c.LongerAway
	case was.position > 0 && s.Position > was.position:
		return w, c.LongerReturned
	}
	return w, c.LongerSlow
}
