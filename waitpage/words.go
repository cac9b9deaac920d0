package waitpage

import (
	"strconv"
	"strings"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// words are what a visitor reads of a status. The page is made with them and
// gets new ones with every poll, so that each sentence is chosen in one place
// only. Empty ones are not shown.
type words struct {
	Title   string    // of the browser's tab
	Heading [3]string // one sentence: before the large figure, the figure, after it
	Detail  string
	Label   string // what Wait is
	Wait    string
	Note    string
}

func (w *words) append(b []byte) []byte {
	b = append(b, `{"title":`...)
	b = appendString(b, w.Title)
	b = append(b, `,"heading":[`...)
	b = appendString(b, w.Heading[0])
	b = append(b, ',')
	b = appendString(b, w.Heading[1])
	b = append(b, ',')
	b = appendString(b, w.Heading[2])
	b = append(b, `],"detail":`...)
	b = appendString(b, w.Detail)
	b = append(b, `,"label":`...)
	b = appendString(b, w.Label)
	b = append(b, `,"wait":`...)
	b = appendString(b, w.Wait)
	b = append(b, `,"note":`...)
	b = appendString(b, w.Note)
	return append(b, '}')
}

// words tells s, of the activity called name, in the language of c.
func (c *catalog) words(s admission.Status, name string) words {
	name = plain(name)
	w := c.sentences(s, name)
	if name != "" {
		w.Title += " · " + name
	}
	return w
}

func (c *catalog) sentences(s admission.Status, name string) words {
	if name == "" {
		name = c.nameless
	}
	switch s.State {
	case admission.StateReady, admission.StateAdmitted:
		w := words{Title: c.readyTitle, Heading: heading(c.ready), Detail: c.readyDetail}
		if s.Claim > 0 {
			w.Note = strings.ReplaceAll(c.readyNote, "{time}", c.seconds(int64(s.Claim/time.Second)))
		}
		return w
	case admission.StateEnded:
		if s.Stock.SoldOut() {
			return words{Title: c.soldTitle, Heading: heading(fill(c.sold, "{name}", name)), Detail: c.soldDetail, Note: c.again}
		}
		return words{Title: c.endedTitle, Heading: heading(fill(c.ended, "{name}", name)), Detail: c.endedDetail}
	case admission.StateFull:
		return words{Title: c.fullTitle, Heading: heading(c.full), Detail: c.fullDetail, Note: c.again}
	case admission.StateClosed:
		return words{Title: c.closedTitle, Heading: heading(c.closed), Detail: fill(c.closedDetail, "{name}", name), Note: c.again}
	}
	if s.Unavailable {
		if s.Number == 0 {
			return words{Title: c.momentTitle, Heading: heading(c.moment), Detail: c.momentAway}
		}
		return words{Title: c.awayTitle, Heading: heading(c.away), Detail: c.awayDetail}
	}
	switch s.State {
	case admission.StateBefore:
		return c.before(s)
	case admission.StateDrawing:
		return words{Title: c.drawingTitle, Heading: heading(c.drawing), Detail: c.drawingDetail}
	case admission.StateWaiting:
		return c.waiting(s)
	}
	return words{Title: c.momentTitle, Heading: heading(c.moment), Detail: c.momentDetail}
}

func (c *catalog) before(s admission.Status) words {
	w := words{Title: c.beforeTitle, Heading: heading(c.beforeOpen), Note: c.beforeNote}
	if !s.StartsAt.IsZero() {
		w.Heading = [3]string{c.beforeClock, countdown(s.StartsAt.Sub(s.UpdatedAt)), ""}
		w.Label = c.beforeLabel
		w.Wait = s.StartsAt.UTC().Format(c.instant)
	}
	if s.Position > 0 {
		w.Detail = fill(c.beforePlace, "{n}", c.number(s.Position))
	} else if s.Number > 0 {
		w.Detail = c.beforeTicket
	}
	return w
}

func (c *catalog) waiting(s admission.Status) words {
	w := words{Title: c.waitingTitle, Heading: heading(c.waitingAnywhere), Label: c.waitLabel, Wait: c.wait(s.Wait), Note: c.waitingNote}
	if s.Position > 0 {
		position := c.number(s.Position)
		before, after, _ := strings.Cut(c.waitingAt, "{n}")
		w.Title = position
		w.Heading = [3]string{strings.TrimSpace(before), position, strings.TrimSpace(after)}
		w.Detail = c.next
		if s.Position > 1 {
			w.Detail = c.people(s.Position-1, c.ahead)
		}
		if s.Behind > 0 {
			w.Detail += "\n" + c.people(s.Behind, c.behind)
		}
	}
	if s.Stock.Counted && s.Position > 0 {
		w.Detail += "\n" + c.people(s.Stock.Left, c.left)
		if s.Position > s.Stock.Left {
			w.Detail += " " + c.tooFew
		}
	}
	if s.Lapsed {
		w.Note = c.lapsedNote
	}
	if s.Paused {
		w.Label, w.Wait, w.Note = "", c.paused, c.pausedNote
	}
	return w
}

// wait words an estimate as a band that is never finer than what can be known:
// whole minutes up to ten, then fives, then half hours. The band only grows by
// rounding, so it never promises what the estimate did not.
func (c *catalog) wait(w admission.Wait) string {
	if !w.Known {
		return c.waitUnknown
	}
	step := time.Minute
	switch {
	case w.High > 90*time.Minute:
		step = 30 * time.Minute
	case w.High > 10*time.Minute:
		step = 5 * time.Minute
	}
	low := max(w.Low, 0) / step * step
	high := max((w.High+step-1)/step*step, low, step)
	switch {
	case low >= 24*time.Hour:
		return c.waitDays
	case low == 0 && high == time.Minute:
		return c.waitMinute
	case low == 0:
		return fill(c.waitUpTo, "{time}", c.span(high))
	case low == high:
		return fill(c.waitAbout, "{time}", c.span(high))
	case step == 30*time.Minute:
		return fill(c.waitAbout, "{time}", c.halves(low)+"–"+c.span(high))
	default:
		return fill(c.waitAbout, "{time}", strconv.Itoa(int(low/time.Minute))+"–"+c.span(high))
	}
}

// span words whole minutes up to an hour and a half, half hours beyond.
func (c *catalog) span(d time.Duration) string {
	switch {
	case d == time.Minute:
		return c.minute
	case d <= 90*time.Minute:
		return fill(c.minutes, "{n}", strconv.Itoa(int(d/time.Minute)))
	default:
		return fill(c.hours, "{n}", c.halves(d))
	}
}

func (c *catalog) halves(d time.Duration) string {
	whole := int(d / time.Hour)
	if d%time.Hour < 30*time.Minute {
		return strconv.Itoa(whole)
	}
	if whole == 0 {
		return "½"
	}
	return strconv.Itoa(whole) + "½"
}

// people picks the form for n of a sentence about people, or what they want.
func (c *catalog) people(n int64, forms [2]string) string {
	if n == 1 {
		return forms[0]
	}
	return fill(forms[1], "{n}", c.number(n))
}

func (c *catalog) seconds(n int64) string {
	if n == 1 {
		return c.second
	}
	return fill(c.secondsMany, "{n}", c.number(n))
}

// number writes n with its thousands grouped.
func (c *catalog) number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	if len(digits) <= 3 {
		return digits
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString(c.group)
		}
		b.WriteRune(d)
	}
	return b.String()
}

// countdown writes d as the page's own clock does: 01:02:03, or 2d 1h where
// seconds would be noise.
func countdown(d time.Duration) string {
	left := int(max(d+time.Second-1, 0) / time.Second)
	if days := left / 86400; days > 0 {
		return strconv.Itoa(days) + "d " + strconv.Itoa(left/3600%24) + "h"
	}
	two := func(n int) string { return string([]byte{'0' + byte(n/10), '0' + byte(n%10)}) }
	return two(left/3600) + ":" + two(left/60%60) + ":" + two(left%60)
}

func heading(sentence string) [3]string { return [3]string{sentence, "", ""} }

func fill(sentence, placeholder, value string) string {
	return strings.ReplaceAll(sentence, placeholder, value)
}

// plain drops what could make a name rewrite the words around it where no
// markup can fence it in, as in a tab's title: controls, and the characters
// that override or embed a direction of writing.
func plain(name string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < ' ', r >= 0x7f && r < 0xa0, r >= 0x202a && r <= 0x202e, r >= 0x2066 && r <= 0x2069:
			return -1
		}
		return r
	}, name)
}
