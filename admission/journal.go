package admission

import (
	"encoding/json"
	"time"
)

// Journal is told what happens, for the record. It is told and never asked: no
// method blocks or fails, and what the journal cannot keep it counts and drops,
// so that no visitor ever waits for the record.
//
// Implementations are safe for concurrent use.
type Journal interface {
	// Note records what became of visitors.
	Note(events ...Event)

	// Sample records how a line stands. Every gateway samples every line once a
	// minute; of one minute the last sample counts.
	Sample(sample Sample)
}

// EventKind is what became of a visitor.
type EventKind string

// The kinds of events.
const (
	EventJoined    EventKind = "joined"    // took a place, or entered at once
	EventAdmitted  EventKind = "admitted"  // a session began
	EventLeft      EventKind = "left"      // gave up a place or a session
	EventConverted EventKind = "converted" // bought, as the shop says
)

// Event is one thing that became of one visitor. Told twice it is one event:
// kind, line, epoch and visitor name it.
type Event struct {
	Kind    EventKind
	At      Instant
	Line    LineID
	Epoch   int64
	Number  int64  // 0: not drawn yet
	Visitor string // the visitor's random id

	// UserHash is the keyed hash of what the shop calls the visitor; empty:
	// nothing.
	UserHash string

	// Wait is how long the visitor waited, of EventAdmitted.
	Wait time.Duration
}

// Sample is how a line stands at an instant. Turned and Admitted count from the
// line's beginning; one that lost its data begins anew.
type Sample struct {
	At       Instant
	Line     LineID
	Epoch    int64
	Waiting  int64
	Turns    int64
	Sessions int64
	Turned   int64
	Admitted int64
}

// Change is one thing that an operator changed: the audit's entry. Before and
// After are what was changed, as JSON; nil: it was not there.
type Change struct {
	At        time.Time
	Actor     string // sub of the bearer
	Role      string
	Tenant    string // whose it was that changed; empty: the system's
	Action    string // as activity.create, activity.pause
	Activity  int64  // 0: none
	Before    json.RawMessage
	After     json.RawMessage
	RequestID string
	Gateway   string
}

// Analytics is what happened at an activity in a span of time.
type Analytics struct {
	From, To time.Time

	Entries    int64 // joins
	Visitors   int64 // different people among them: by identity, else by visitor
	Admissions int64
	Left       int64
	Converted  int64 // different visitors whom the shop reported

	// Of those admitted in the span. Zero where there were none.
	WaitAverage, WaitMedian, WaitP95, WaitLongest time.Duration

	// OutOfOrder counts those admitted after a higher number: they were not
	// heard from when their turn came, or took it late.
	OutOfOrder int64

	Releases int64 // turns given
	NoShows  int64 // turns given and neither used nor open at the end

	Timeline []Moment // without gaps, ascending
}

// Moment is one step of a timeline: what happened in it, and how the line stood
// at its end as far as it was sampled.
type Moment struct {
	At         time.Time // its beginning
	Entries    int64
	Admissions int64
	Releases   int64
	Waiting    int64
	Sessions   int64
}

// ChangeFilter chooses among changes. Zero fields choose all.
type ChangeFilter struct {
	Tenant   string
	Activity int64
	Actor    string
	Action   string
	From, To time.Time // From <= At < To
}
