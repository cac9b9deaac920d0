package waitpage

import (
	"encoding/json"
	"strconv"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// Code says why a request was held, to programs. It is a closed set.
type Code string

// The codes of a held request.
const (
	Waiting     Code = "WAITING"
	Before      Code = "BEFORE"
	Drawing     Code = "DRAWING"
	Full        Code = "FULL"
	Ended       Code = "ENDED"
	Closed      Code = "CLOSED"
	Paused      Code = "PAUSED"
	Work        Code = "WORK"
	Unavailable Code = "UNAVAILABLE"
)

// CodeOf tells the code of a held visitor's status. What the schedule says
// (ended, closed, full) is true with or without a store, so it comes first.
func CodeOf(s admission.Status) Code {
	switch {
	case s.State == admission.StateEnded:
		return Ended
	case s.State == admission.StateClosed:
		return Closed
	case s.State == admission.StateFull:
		return Full
	case s.Unavailable:
		return Unavailable
	case s.State == admission.StateBefore:
		return Before
	case s.State == admission.StateDrawing:
		return Drawing
	case s.Work.Bits > 0:
		return Work
	case s.Paused:
		return Paused
	default:
		return Waiting
	}
}

// appendStatus appends the status document of s: an object of which the first
// twelve keys are always there, in this order, and the rest only where they say
// something. code and words are left out where empty.
//
// Written by hand, because every waiting visitor asks for it every few seconds;
// a test holds it to what encoding/json makes of the same fields.
func appendStatus(b []byte, s admission.Status, code Code, words *words) []byte {
	b = append(b, `{"activity":`...)
	b = strconv.AppendInt(b, s.Activity, 10)
	b = append(b, `,"state":`...)
	b = appendString(b, string(s.State))
	b = append(b, `,"number":`...)
	b = appendCount(b, s.Number)
	b = append(b, `,"position":`...)
	b = appendCount(b, s.Position)
	b = append(b, `,"queue_length":`...)
	b = strconv.AppendInt(b, s.QueueLength, 10)
	if s.Wait.Known {
		b = append(b, `,"wait":{"known":true,"low_s":`...)
		b = appendSeconds(b, s.Wait.Low)
		b = append(b, `,"high_s":`...)
		b = appendSeconds(b, s.Wait.High)
		b = append(b, '}')
	} else {
		b = append(b, `,"wait":{"known":false,"low_s":null,"high_s":null}`...)
	}
	b = append(b, `,"poll_after_ms":`...)
	b = strconv.AppendInt(b, s.PollAfter.Milliseconds(), 10)
	b = append(b, `,"paused":`...)
	b = strconv.AppendBool(b, s.Paused)
	b = append(b, `,"message":`...)
	b = appendString(b, s.Message)
	b = append(b, `,"starts_at":`...)
	b = appendTime(b, s.StartsAt)
	b = append(b, `,"ends_at":`...)
	b = appendTime(b, s.EndsAt)
	b = append(b, `,"updated_at":`...)
	b = appendTime(b, s.UpdatedAt)
	if s.Unavailable {
		b = append(b, `,"unavailable":true`...)
	}
	if s.Lapsed {
		b = append(b, `,"lapsed":true`...)
	}
	if s.Behind > 0 {
		b = append(b, `,"behind":`...)
		b = strconv.AppendInt(b, s.Behind, 10)
	}
	if s.Stock.Counted {
		b = append(b, `,"stock":{"left":`...)
		b = strconv.AppendInt(b, s.Stock.Left, 10)
		b = append(b, '}')
	}
	if s.Pass != "" {
		b = append(b, `,"pass":`...)
		b = appendString(b, string(s.Pass))
	}
	if s.Draw.Commitment != "" {
		b = appendDraw(b, s.Draw)
	}
	if s.Work.Bits > 0 {
		b = append(b, `,"work":{"challenge":`...)
		b = appendString(b, s.Work.Text)
		b = append(b, `,"bits":`...)
		b = strconv.AppendInt(b, int64(s.Work.Bits), 10)
		b = append(b, '}')
	}
	if s.PollMax > 0 {
		b = append(b, `,"poll_max_ms":`...)
		b = strconv.AppendInt(b, s.PollMax.Milliseconds(), 10)
	}
	if s.Claim > 0 {
		b = append(b, `,"claim_s":`...)
		b = appendSeconds(b, s.Claim)
	}
	if s.Session > 0 {
		b = append(b, `,"session_s":`...)
		b = appendSeconds(b, s.Session)
	}
	if code != "" {
		b = append(b, `,"code":`...)
		b = appendString(b, string(code))
	}
	if words != nil {
		b = append(b, `,"words":`...)
		b = words.append(b)
	}
	return append(b, '}', '\n')
}

// appendDraw appends what a visitor may know of the draw: seed, n and value are
// null until they are settled, index is null for who came after the start.
func appendDraw(b []byte, p admission.Proof) []byte {
	b = append(b, `,"draw":{"commitment":`...)
	b = appendString(b, p.Commitment)
	b = append(b, `,"index":`...)
	if p.Indexed {
		b = strconv.AppendInt(b, p.Index, 10)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"seed":`...)
	b = appendKnown(b, p.Seed)
	b = append(b, `,"n":`...)
	b = appendCount(b, p.N)
	b = append(b, `,"beacon":`...)
	if p.Source == "" {
		return append(b, "null}"...)
	}
	b = append(b, `{"source":`...)
	b = appendString(b, p.Source)
	b = append(b, `,"value":`...)
	b = appendKnown(b, p.Beacon)
	return append(b, "}}"...)
}

// appendKnown appends s, or null where it is empty.
func appendKnown(b []byte, s string) []byte {
	if s == "" {
		return append(b, "null"...)
	}
	return appendString(b, s)
}

// appendCount appends n, or null where n is 0: numbers and positions start at 1.
func appendCount(b []byte, n int64) []byte {
	if n == 0 {
		return append(b, "null"...)
	}
	return strconv.AppendInt(b, n, 10)
}

// appendSeconds appends d in whole seconds, rounded down: what is left of a
// claim or a session must not look longer than it is.
func appendSeconds(b []byte, d time.Duration) []byte {
	return strconv.AppendInt(b, int64(d/time.Second), 10)
}

func appendTime(b []byte, t time.Time) []byte {
	if t.IsZero() {
		return append(b, "null"...)
	}
	b = append(b, '"')
	b = t.UTC().AppendFormat(b, time.RFC3339)
	return append(b, '"')
}

// appendString appends s as a JSON string that is also safe inside a script
// element: <, > and & are escaped.
func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c > '~' || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			quoted, err := json.Marshal(s)
			if err != nil {
				return append(b, `""`...) // cannot happen: every string has a JSON form
			}
			return append(b, quoted...)
		}
	}
	b = append(b, '"')
	b = append(b, s...)
	return append(b, '"')
}
