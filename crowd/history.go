package crowd

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"os"
	"strings"
	"time"
)

// Head begins a history: what ran against what.
type Head struct {
	Format   int       `json:"ropeline_history"` // of the file; see format
	Began    time.Time `json:"began"`            // instants of the file are microseconds after it
	Target   string    `json:"target"`
	Activity int64     `json:"activity"`
	Limits   Limits    `json:"limits"`

	// Guests says that some may pass without an admission, as by a bypass rule,
	// mode open, or on_store_failure open.
	Guests bool `json:"guests,omitempty"`
	// ShopEnds says that the shop ends sessions of its own accord: only while a
	// session is seen in use does it surely stand.
	ShopEnds bool `json:"shop_ends,omitempty"`
}

// format is the version of the file that this package writes. It reads those of
// before, too, which tell less.
const format = 2

// Unknown stands for a limit that nobody told.
const Unknown = -1

// Limits are what the operator set, as far as the crowd knows. Durations are in
// milliseconds.
type Limits struct {
	Capacity    int64 `json:"capacity"`      // 0: none
	RatePerHour int64 `json:"rate_per_hour"` // 0: none
	Burst       int64 `json:"burst"`
	Absence     int64 `json:"absence_ms"`
	HoldPlace   int64 `json:"hold_place_ms"`
}

// NoLimits are Limits of which nothing is known.
func NoLimits() Limits { return Limits{Unknown, Unknown, Unknown, Unknown, Unknown} }

// UnmarshalJSON takes a limit that is left out as Unknown.
func (l *Limits) UnmarshalJSON(text []byte) error {
	type plain Limits
	p := plain(NoLimits())
	if err := strict(text, &p); err != nil {
		return err
	}
	*l = Limits(p)
	return nil
}

// Micros is a number of microseconds, or an instant so long after Head.Began.
type Micros int64

// micros are the microseconds of d.
func micros(d time.Duration) Micros { return Micros(d.Microseconds()) }

// Duration is m as a duration.
func (m Micros) Duration() time.Duration { return time.Duration(m) * time.Microsecond }

// Kind is what a request was for.
type Kind string

// The kinds of events. All but Told are requests.
const (
	Join   Kind = "join"   // the protected page, without a ticket
	Enter  Kind = "enter"  // the protected page, with a place in line
	Browse Kind = "browse" // the protected page, with an admission
	Poll   Kind = "poll"   // the status
	Leave  Kind = "leave"
	Forge  Kind = "forge" // the protected page or the status, with a ticket that is worth nothing
	Told   Kind = "told"  // no request: what the gateway's admin API says of the limits
)

// State is how an answer left its visitor: a state of the status document, or
// one of these.
type State string

// The states that a checker asks about. The last three are no states of the
// status document: the shop answered; somebody answered with an error; it was
// held, by a page of the operator's own that does not tell more.
const (
	New      State = "new"
	Waiting  State = "waiting"
	Ready    State = "ready"
	Admitted State = "admitted"
	Passed   State = "passed"
	Refused  State = "refused"
	Unread   State = "held"
)

// Event is one request and what became of it. A visitor makes one request after
// the other, and its events stand in that order.
type Event struct {
	Sent    Micros `json:"t"`           // when the request was sent
	Took    Micros `json:"d"`           // until its answer was there whole, or failed to be
	Late    Micros `json:"l,omitempty"` // how much later than meant it was sent
	Visitor int64  `json:"v"`           // counts from 1
	Kind    Kind   `json:"k"`

	Code  int    `json:"c,omitempty"` // HTTP status; 0: there was no answer
	State State  `json:"s,omitempty"`
	Fault string `json:"x,omitempty"` // why there was no answer, or none that could be read

	Number   int64  `json:"n,omitempty"` // that the answer told; 0: none
	Epoch    int64  `json:"e,omitempty"` // of the ticket that the visitor has now
	Index    *int64 `json:"i,omitempty"` // in the draw, of the same ticket
	Position int64  `json:"p,omitempty"`

	Lapsed      bool `json:"lapsed,omitempty"`
	Paused      bool `json:"paused,omitempty"`
	Unavailable bool `json:"unavailable,omitempty"`

	// Since format 2, both in seconds: when the line stood as the answer tells, by
	// the line's own clock, and for how long a turn may still be claimed.
	Line  int64 `json:"u,omitempty"`
	Claim int64 `json:"r,omitempty"`

	Session *Session `json:"a,omitempty"` // of the admission token that the answer gave
	Claimed int64    `json:"f,omitempty"` // Forge: the number that the worthless ticket names
	Limits  *Limits  `json:"limits,omitempty"`
}

// Session is what an admission token says. Times are in seconds by the
// gateways' clock, of which only differences mean anything here.
type Session struct {
	ID     string `json:"id"`
	Number int64  `json:"n"`
	Epoch  int64  `json:"e"`
	Signed int64  `json:"iat"`
	Until  int64  `json:"exp"`
	Max    int64  `json:"max"`
}

// Got is when the answer was there.
func (e *Event) Got() Micros { return e.Sent + e.Took }

// answered reports whether there was an answer that told where its visitor
// stands.
func (e *Event) answered() bool {
	return e.Code != 0 && e.State != "" && e.State != Refused && e.State != Unread
}

func (e *Event) check() error {
	switch e.Kind {
	case Join, Enter, Browse, Poll, Leave, Forge:
		if e.Visitor < 1 {
			return errors.New("v: a request has a visitor, from 1")
		}
	case Told:
		if e.Limits == nil {
			return errors.New("limits: missing")
		}
	default:
		return fmt.Errorf("k: there is no kind %q", e.Kind)
	}
	if e.Sent < 0 || e.Took < 0 || e.Late < 0 {
		return errors.New("t, d, l: no instant is below 0")
	}
	if e.Number < 0 || e.Epoch < 0 || e.Code < 0 || e.Line < 0 || e.Claim < 0 {
		return errors.New("n, e, c, u, r: no number is below 0")
	}
	return nil
}

// foot ends a history that is whole.
type foot struct {
	Events int64 `json:"events"`
}

// Writer writes a history. It is not safe for concurrent use.
type Writer struct {
	to      *bufio.Writer
	encoder *json.Encoder
	closers []io.Closer
	events  int64
}

// NewWriter writes the head of a history.
func NewWriter(to io.Writer, head Head) (*Writer, error) {
	head.Format = format
	w := &Writer{to: bufio.NewWriterSize(to, 1<<16)}
	w.encoder = json.NewEncoder(w.to)
	w.encoder.SetEscapeHTML(false)
	if err := w.encoder.Encode(head); err != nil {
		return nil, fmt.Errorf("write history: %w", err)
	}
	return w, nil
}

// Create writes a history to a file, compressed where its name ends in .gz.
func Create(path string, head Head) (*Writer, error) {
	file, err := os.Create(path)
	if err != nil {
		return nil, fmt.Errorf("write history: %w", err)
	}
	var to io.WriteCloser = file
	if strings.HasSuffix(path, ".gz") {
		to = gzip.NewWriter(file)
	}
	w, err := NewWriter(to, head)
	if err != nil {
		file.Close()
		return nil, err
	}
	w.closers = []io.Closer{to}
	if to != io.WriteCloser(file) {
		w.closers = append(w.closers, file)
	}
	return w, nil
}

// Write adds an event.
func (w *Writer) Write(e Event) error {
	w.events++
	if err := w.encoder.Encode(&e); err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// Close ends the history, and the file that Create made.
func (w *Writer) Close() error {
	err := w.encoder.Encode(foot{w.events})
	if err == nil {
		err = w.to.Flush()
	}
	for _, c := range w.closers {
		err = errors.Join(err, c.Close())
	}
	if err != nil {
		return fmt.Errorf("write history: %w", err)
	}
	return nil
}

// ErrCut says that a history has no end: its run was cut short, or the disk was
// full. What is there may still be checked.
var ErrCut = errors.New("the history is cut short: its last line is missing")

// History is one that is being read.
type History struct {
	Head
	lines *bufio.Reader
	line  int
	file  io.Closer // nil: not ours to close
}

// Read reads the head of a history, compressed or not. Its errors tell the line.
func Read(from io.Reader) (*History, error) {
	lines := bufio.NewReaderSize(from, 1<<16)
	if magic, err := lines.Peek(2); err == nil && magic[0] == 0x1f && magic[1] == 0x8b {
		packed, err := gzip.NewReader(lines)
		if err != nil {
			return nil, fmt.Errorf("read history: %w", err)
		}
		lines = bufio.NewReaderSize(packed, 1<<16)
	}
	h := &History{lines: lines}
	text, err := h.next()
	if err != nil {
		return nil, fmt.Errorf("read history: line 1: %w", err)
	}
	var version struct {
		Format int `json:"ropeline_history"`
	}
	if err := json.Unmarshal(text, &version); err != nil || version.Format == 0 {
		return nil, errors.New("read history: line 1: this is not the history of a load test")
	}
	if version.Format < 1 || version.Format > format {
		return nil, fmt.Errorf("read history: line 1: it is of format %d, and this program reads 1 to %d", version.Format, format)
	}
	h.Limits = NoLimits()
	if err := strict(text, &h.Head); err != nil {
		return nil, fmt.Errorf("read history: line 1: %w", err)
	}
	return h, nil
}

// Open is Read of a file. Close must be called.
func Open(path string) (*History, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("read history: %w", err)
	}
	h, err := Read(file)
	if err != nil {
		file.Close()
		return nil, err
	}
	h.file = file
	return h, nil
}

// Close closes the file that Open opened.
func (h *History) Close() error {
	if h.file == nil {
		return nil
	}
	return h.file.Close()
}

// Events are what follows the head, once. An error ends them; ErrCut is one.
func (h *History) Events() iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		fail := func(err error) { yield(Event{}, fmt.Errorf("read history: line %d: %w", h.line, err)) }
		for count := int64(0); ; count++ {
			text, err := h.next()
			if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
				yield(Event{}, ErrCut)
				return
			}
			if err != nil {
				fail(err)
				return
			}
			if bytes.HasPrefix(text, []byte(`{"events":`)) {
				var f foot
				if err := strict(text, &f); err != nil {
					fail(err)
				} else if f.Events != count {
					fail(fmt.Errorf("it ends after %d events, and says %d", count, f.Events))
				}
				return
			}
			var e Event
			if err := strict(text, &e); err != nil {
				fail(err)
				return
			}
			if err := e.check(); err != nil {
				fail(err)
				return
			}
			if !yield(e, nil) {
				return
			}
		}
	}
}

// next returns the next whole line.
func (h *History) next() ([]byte, error) {
	h.line++
	text, err := h.lines.ReadBytes('\n')
	if err == io.EOF && len(text) > 0 {
		return nil, io.ErrUnexpectedEOF
	}
	return text, err
}

// strict decodes one JSON value, and takes no key that it does not know.
func strict(text []byte, into any) error {
	decoder := json.NewDecoder(bytes.NewReader(text))
	decoder.DisallowUnknownFields()
	return decoder.Decode(into)
}

// String tells of the event in a line for people.
func (e Event) String() string {
	text := fmt.Sprintf("%s to %s  %-6s", at(e.Sent), at(e.Got()), e.Kind)
	switch {
	case e.Code == 0:
		return text + "  no answer: " + e.Fault
	case e.State == "":
		return text + fmt.Sprintf("  %d", e.Code)
	}
	text += fmt.Sprintf("  %d %s", e.Code, e.State)
	if e.Number > 0 {
		text += fmt.Sprintf("  number %d", e.Number)
	}
	if e.Position > 0 {
		text += fmt.Sprintf("  position %d", e.Position)
	}
	for _, said := range []struct {
		is   bool
		what string
	}{{e.Lapsed, "lapsed"}, {e.Paused, "paused"}, {e.Unavailable, "unavailable"}} {
		if said.is {
			text += "  " + said.what
		}
	}
	if s := e.Session; s != nil {
		text += fmt.Sprintf("  session %s for %d s, at most %d s", s.ID, s.Until-s.Signed, s.Max-s.Signed)
	}
	return text
}
