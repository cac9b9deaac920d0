package waitpage

import (
	"strconv"
	"strings"
	"time"

	"golang.org/x/text/feature/plural"

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
	Reason  string // why Wait is longer than what was shown before
	Note    string
	Band    admission.Wait // what Wait says
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
	b = append(b, `,"reason":`...)
	b = appendString(b, w.Reason)
	b = append(b, `,"note":`...)
	b = appendString(b, w.Note)
	b = append(b, `,"band":`...)
	if !w.Band.Known {
		return append(b, "null}"...)
	}
	b = append(b, '[')
	b = appendSeconds(b, w.Band.Low)
	b = append(b, ',')
	b = appendSeconds(b, w.Band.High)
	return append(b, ']', '}')
}

// words tells s, of the activity called name, in the language of c, to a tab
// that was shown was.
func (c *catalog) words(s admission.Status, name string, was seen) words {
	name = plain(name)
	w := c.sentences(s, name, was)
	if told := c.pass(s); told != "" {
		w.Detail = strings.TrimPrefix(w.Detail+"\n"+told, "\n")
	}
	if name != "" {
		w.Title += " · " + name
	}
	return w
}

func (c *catalog) sentences(s admission.Status, name string, was seen) words {
	if name == "" {
		name = c.Nameless
	}
	switch s.State {
	case admission.StateReady, admission.StateAdmitted:
		w := words{Title: c.ReadyTitle, Heading: heading(c.Ready), Detail: c.ReadyDetail}
		if s.Claim > 0 {
			w.Note = fill(c.ReadyNote, "{clock}", c.clock(s.Claim/time.Second*time.Second))
		}
		return w
	case admission.StateEnded:
		if s.Stock.SoldOut() {
			return words{Title: c.SoldTitle, Heading: heading(fill(c.Sold, "{name}", name)), Detail: c.SoldDetail, Note: c.Again}
		}
		return words{Title: c.EndedTitle, Heading: heading(fill(c.Ended, "{name}", name)), Detail: c.EndedDetail}
	case admission.StateFull:
		return words{Title: c.FullTitle, Heading: heading(c.Full), Detail: c.FullDetail, Note: c.Again}
	case admission.StateClosed:
		return words{Title: c.ClosedTitle, Heading: heading(c.Closed), Detail: fill(c.ClosedDetail, "{name}", name), Note: c.Again}
	}
	if s.Unavailable {
		if s.Number == 0 && !s.Draw.Indexed {
			return words{Title: c.MomentTitle, Heading: heading(c.Moment), Detail: c.MomentAway}
		}
		return words{Title: c.AwayTitle, Heading: heading(c.Away), Detail: c.AwayDetail}
	}
	switch s.State {
	case admission.StateBefore:
		return c.before(s)
	case admission.StateDrawing:
		w := words{Title: c.DrawingTitle, Heading: heading(c.Drawing), Detail: c.DrawingDetail}
		if s.Draw.Source != "" && s.Draw.N > 0 && s.Draw.Beacon == "" {
			w.Note = fill(c.DrawingNote, "{source}", isolate+plain(s.Draw.Source)+unisolate)
		}
		return w
	case admission.StateWaiting:
		return c.waiting(s, was)
	}
	w := words{Title: c.MomentTitle, Heading: heading(c.Moment), Detail: c.MomentDetail}
	if s.Work.Bits > 0 {
		w.Detail = c.Work
	}
	return w
}

// pass tells a visitor who does not stand at an end what its pass is worth.
func (c *catalog) pass(s admission.Status) string {
	switch s.State {
	case admission.StateReady, admission.StateAdmitted, admission.StateEnded, admission.StateClosed:
		return ""
	}
	switch s.Pass {
	case admission.PassIsHeld:
		return c.PassHeld
	case admission.PassIsSpent:
		return c.PassSpent
	case admission.PassIsExpired:
		return c.PassExpired
	case admission.PassIsUnknown:
		return c.PassUnknown
	}
	return ""
}

func (c *catalog) before(s admission.Status) words {
	w := words{Title: c.BeforeTitle, Heading: heading(c.BeforeOpen), Note: c.BeforeNote}
	if !s.StartsAt.IsZero() {
		w.Heading = [3]string{c.BeforeClock, c.countdown(s.StartsAt.Sub(s.UpdatedAt)), ""}
		w.Label = c.BeforeLabel
		w.Wait = s.StartsAt.UTC().Format(c.Instant)
	}
	if s.Position > 0 {
		w.Detail = fill(c.BeforePlace, "{n}", c.number(s.Position))
	} else if s.Draw.Indexed {
		w.Detail = c.BeforeDraw
	} else if s.Number > 0 {
		w.Detail = c.BeforeTicket
	}
	return w
}

func (c *catalog) waiting(s admission.Status, was seen) words {
	band, reason := c.narrow(s, was)
	w := words{
		Title: c.WaitingTitle, Heading: heading(c.WaitingAnywhere), Label: c.WaitLabel,
		Wait: c.wait(band), Reason: reason, Note: c.WaitingNote, Band: band,
	}
	if s.Position > 0 {
		position := c.number(s.Position)
		before, after, _ := strings.Cut(c.WaitingAt, "{n}")
		w.Title = position
		w.Heading = [3]string{strings.TrimSpace(before), position, strings.TrimSpace(after)}
		w.Detail = c.Next
		if s.Position > 1 {
			w.Detail = c.people(s.Position-1, c.Ahead)
		}
		if s.Behind > 0 {
			w.Detail += "\n" + c.people(s.Behind, c.Behind)
		}
	}
	if s.Stock.Counted && s.Position > 0 {
		w.Detail += "\n" + c.people(s.Stock.Left, c.Left)
		if s.Position > s.Stock.Left {
			w.Detail += " " + c.TooFew
		}
	}
	if s.Pass == admission.PassIsHeld { // its wait is not measured
		w.Label, w.Wait = "", ""
	}
	if s.Lapsed {
		w.Note = c.LapsedNote
	}
	if s.Paused {
		w.Label, w.Wait, w.Reason, w.Note, w.Band = "", c.Paused, "", c.PausedNote, admission.Wait{}
	}
	return w
}

// wait words an estimate as a band that is never finer than what can be known:
// whole minutes up to ten, then fives, then half hours. The band only grows by
// rounding, so it never promises what the estimate did not.
func (c *catalog) wait(w admission.Wait) string {
	if !w.Known {
		return c.WaitUnknown
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
		return c.WaitDays
	case low == 0 && high == time.Minute:
		return c.WaitMinute
	case low == 0:
		return fill(c.WaitUpTo, "{time}", c.span(high, ""))
	case low == high:
		return fill(c.WaitAbout, "{time}", c.span(high, ""))
	case step == 30*time.Minute:
		return fill(c.WaitAbout, "{time}", c.span(high, c.halves(low)))
	default:
		return fill(c.WaitAbout, "{time}", c.span(high, strconv.Itoa(int(low/time.Minute))))
	}
}

// span words whole minutes up to an hour and a half, half hours beyond. With a
// low it is the range from there, in the same unit; the form is then that of
// the far end, unless it spells its number out.
func (c *catalog) span(high time.Duration, low string) string {
	units, whole, half, n := c.Minutes, int64(high/time.Minute), false, strconv.Itoa(int(high/time.Minute))
	if high > 90*time.Minute {
		units, whole, half, n = c.Hours, int64(high/time.Hour), high%time.Hour > 0, c.halves(high)
	}
	unit := units[pluralOf(c.tag, whole, half)]
	if low != "" {
		if !strings.Contains(unit, "{n}") {
			unit = units[plural.Other]
		}
		n = fill(fill(c.Range, "{low}", low), "{high}", n)
	}
	return fill(unit, "{n}", n)
}

func (c *catalog) halves(d time.Duration) string {
	whole := int(d / time.Hour)
	if d%time.Hour < 30*time.Minute {
		return strconv.Itoa(whole)
	}
	if whole == 0 && c.Half == "½" {
		return c.Half
	}
	return strconv.Itoa(whole) + c.Half
}

// people picks the form for n of a sentence about people, or what they want.
func (c *catalog) people(n int64, forms plurals) string {
	return fill(forms[pluralOf(c.tag, n, false)], "{n}", c.number(n))
}

// number writes n with its thousands grouped, as the page's own script does.
func (c *catalog) number(n int64) string {
	digits := strconv.FormatInt(n, 10)
	if len(digits) < c.GroupFrom {
		return digits
	}
	var b strings.Builder
	for i, d := range digits {
		if i > 0 && (len(digits)-i)%3 == 0 {
			b.WriteString(c.Group)
		}
		b.WriteRune(d)
	}
	return b.String()
}

// countdown writes d as the page's own clock does: 01:02:03, or 2d 1h where
// seconds would be noise.
func (c *catalog) countdown(d time.Duration) string {
	left := int(max(d+time.Second-1, 0) / time.Second)
	if days := left / 86400; days > 0 {
		return fill(fill(c.ClockDays, "{d}", strconv.Itoa(days)), "{h}", strconv.Itoa(left/3600%24))
	}
	return two(left/3600) + ":" + two(left/60%60) + ":" + two(left%60)
}

// clock writes a shorter countdown: 1:05.
func (c *catalog) clock(d time.Duration) string {
	left := int(max(d+time.Second-1, 0) / time.Second)
	if left >= 3600 {
		return c.countdown(d)
	}
	return strconv.Itoa(left/60) + ":" + two(left%60)
}

// two writes n with two digits.
func two(n int) string { return string([]byte{'0' + byte(n/10%10), '0' + byte(n%10)}) }

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

// What stands between these keeps its own direction of writing, and leaves that
// of the sentence as it is.
const (
	isolate   = "\u2068"
	unisolate = "\u2069"
)
