package webhook

import (
	"time"

	"github.com/ropeline/ropeline/admission"
)

// Line is what a gateway knows of one at an instant.
type Line struct {
	Activity Activity
	Head     admission.Head
	Slow     bool // the shop is, as this gateway sees it
}

// An aspect of a line is in one of a few states; each change of one is an event.
type aspect string

const (
	schedule aspect = "schedule"
	waiting  aspect = "waiting"
	turns    aspect = "turns"
	shop     aspect = "shop"
	stock    aspect = "stock"
)

// states of a line, by aspect. Written to the board, so their names stay.
type states map[aspect]string

func statesOf(l Line) states {
	choose := func(is bool, yes, no string) string {
		if is {
			return yes
		}
		return no
	}
	limits := l.Head.Limits
	s := states{
		schedule: "on",
		waiting:  choose(l.Head.Waiting > 0, "some", "none"),
		turns:    choose(limits.Mode == admission.ModeHold, "held", "given"),
		shop:     choose(l.Slow, "slow", "well"),
		stock:    choose(limits.Stock.SoldOut(), "gone", "left"),
	}
	switch now := l.Head.Now.Time(); {
	case !limits.EndAt.IsZero() && !now.Before(limits.EndAt):
		s[schedule] = "over"
	case !limits.StartAt.IsZero() && now.Before(limits.StartAt):
		s[schedule] = "ahead"
	}
	if limits.Shut {
		s[shop] = "shut"
	}
	return s
}

// change is what becoming a state means: the event, and how long the line must
// stay so before it is one.
type change struct {
	kind   Kind // empty: none
	steady time.Duration
}

// A line that forms for a moment, a shop that stumbles once, are no news.
var changes = map[aspect]map[string]change{
	schedule: {"ahead": {}, "on": {kind: ActivityStarted}, "over": {kind: ActivityEnded}},
	waiting:  {"some": {LineBegan, 3 * time.Second}, "none": {LineCleared, time.Minute}},
	turns:    {"held": {kind: LinePaused}, "given": {kind: LineResumed}},
	shop:     {"slow": {ShopSlow, 10 * time.Second}, "shut": {kind: ShopShut}, "well": {ShopWell, 10 * time.Second}},
	stock:    {"gone": {kind: StockSoldOut}, "left": {kind: StockBack}},
}

// order is the one in which changes seen at once are told.
var order = []aspect{schedule, stock, turns, shop, waiting}

// watch remembers since when a line has been as it is and not as it was last
// told. It is this gateway's own.
type watch map[aspect]candidate

type candidate struct {
	state string
	since time.Time
}

// observe compares a line with the states that were told last, and returns those
// to be told now with the events between. A line that nobody told of yet (told is
// nil) is taken as it is.
func (w watch) observe(told states, l Line, now time.Time) (states, []Event) {
	next := statesOf(l)
	if told == nil {
		return next, nil
	}
	var events []Event
	for _, a := range order {
		was, is := told[a], next[a]
		if was == is {
			delete(w, a)
			continue
		}
		if w[a].state != is {
			w[a] = candidate{is, now}
		}
		c := changes[a][is]
		if now.Sub(w[a].since) < c.steady {
			next[a] = was
			continue
		}
		if was == "over" && is == "on" || was == "" { // the end was put off; a state this build did not know
			continue
		}
		if c.kind != "" {
			events = append(events, eventOf(c.kind, l))
		}
	}
	return next, events
}

func eventOf(kind Kind, l Line) Event {
	e := Event{
		ID: newID(), Type: kind, At: l.Head.Now.Time(), Activity: l.Activity,
		Line: Standing{
			Waiting: l.Head.Waiting, Turns: l.Head.Turns, Sessions: l.Head.Sessions,
			Issued: l.Head.Issued, Released: l.Head.Released,
			Capacity: l.Head.Limits.Capacity, Rate: l.Head.Limits.RatePerHour,
		},
	}
	if s := l.Head.Limits.Stock; s.Counted {
		e.Line.Left = &s.Left
	}
	return e
}
