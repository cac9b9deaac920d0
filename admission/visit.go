package admission

import (
	"net/netip"
	"time"
)

// Visit is what one request says about its visitor, as plain values, so that
// the line needs no HTTP. The zero Visit is a visitor without any ticket.
type Visit struct {
	// QueueTokens and AdmissionTokens are the raw tokens the request carried
	// for this activity, in the order they stood in it. They are not yet
	// verified: whoever sent the request may have written anything.
	QueueTokens     []string
	AdmissionTokens []string
	PassTokens      []string // as TakePass gave them

	// Network is the client's address, after trusted proxies were taken off.
	Network netip.Addr

	// Agent is the client's User-Agent.
	Agent string

	// Identity is what the shop calls the visitor; empty: nothing, or nothing
	// that can be believed.
	Identity string

	// Work is a Challenge that the visitor solved, with its number; empty: none.
	// Vouched is set where the shop vouches for the visitor: no work is asked.
	Work    string
	Vouched bool

	// Looking is set where a request must not take a place of its own: an
	// image, a script, a prefetch, a WebSocket. With a ticket it is served
	// like any other.
	Looking bool
}

// State is where a visitor stands. It is what status answers call "state".
type State string

// The states of a visitor, in the order of a visitor's life.
const (
	StateNew      State = "new"      // no valid ticket
	StateBefore   State = "before"   // the activity has not started
	StateDrawing  State = "drawing"  // joined before the start; the draw is being made
	StateWaiting  State = "waiting"  // in the line
	StateReady    State = "ready"    // has a turn and may enter
	StateAdmitted State = "admitted" // has a session
	StateEnded    State = "ended"    // the activity is over
	StateFull     State = "full"     // the line takes no more visitors
	StateClosed   State = "closed"   // the activity takes no visitors now
)

// PassState is what a visitor may be told of the pass that it showed.
type PassState string

// The states of a pass; "" is none shown. Whoever has no good one keeps, or
// takes, an ordinary place.
const (
	PassIsHeld    PassState = "held"    // its holder is let in before all who wait
	PassIsSpent   PassState = "spent"   // all its uses are taken, or it was revoked
	PassIsExpired PassState = "expired" // it has ended
	PassIsUnknown PassState = "unknown" // forged, or of another activity, or another's
)

// Wait is an estimate of the time until a visitor's turn. The zero Wait is
// unknown.
type Wait struct {
	Known     bool
	Low, High time.Duration
}

// Status is what a visitor may be told. Zero numbers and times mean "none".
type Status struct {
	Activity int64
	State    State

	Number      int64 // the ticket's number in the line; 0, too, where it is not drawn yet
	Position    int64 // people present and waiting before this visitor, plus one
	Behind      int64 // people present and waiting behind this visitor
	QueueLength int64 // people present and not admitted

	Wait      Wait
	PollAfter time.Duration // ask again after this; 0: stop asking
	PollMax   time.Duration // the longest a hidden tab may leave it and keep its presence

	Lapsed      bool // missed its turn; waits again, at the front, as soon as it asks to enter
	Paused      bool // no turns are given now
	Away        bool // Paused, as the shop does not answer
	Unavailable bool // the store cannot be asked; the place is kept
	Message     string
	Draw        Proof
	Stock       Stock // what is left, where visitors are told
	Pass        PassState
	Work        Challenge // what the visitor's device must do first

	Claim     time.Duration // StateReady: what is left of the claim
	Session   time.Duration // StateAdmitted: what is left of the session
	StartsAt  time.Time
	EndsAt    time.Time
	UpdatedAt time.Time // the store's time
}

// Ticket is a signed token for a visitor to keep. The zero Ticket is none.
type Ticket struct {
	Token   string
	Expires time.Time
}

// Session is an admitted visitor. The zero Session is none.
type Session struct {
	Visitor string // the visitor's random id
	Number  int64
	Until   time.Time // when the admission token dies, if not renewed
}

// Reason says why a Verdict is what it is. It is a closed set: it labels
// metrics and log lines.
type Reason string

// The reasons to pass, and the reasons to hold.
const (
	PassAdmitted Reason = "admitted"  // a session that stands
	PassEntered  Reason = "entered"   // a session that this request began
	PassOpen     Reason = "open"      // the activity's mode lets everyone pass
	PassEnded    Reason = "after_end" // the activity is over, and its routes are open after it
	PassOutage   Reason = "outage"    // the store is away, and the admin chose to let visitors pass

	HoldWaiting     Reason = "waiting"     // has a place, or may take one
	HoldBefore      Reason = "before"      // not started
	HoldDrawing     Reason = "drawing"     // started, and the draw is being made
	HoldEnded       Reason = "ended"       // over, or sold out
	HoldClosed      Reason = "closed"      // takes no visitors
	HoldFull        Reason = "full"        // the line is full
	HoldPaused      Reason = "paused"      // no turns are given now
	HoldWork        Reason = "work"        // its device has something to do first
	HoldLimited     Reason = "limited"     // too many joined from its network lately
	HoldUnavailable Reason = "unavailable" // the store cannot be asked
)

// Verdict is a room's answer to a visit. The zero Verdict holds.
type Verdict struct {
	Pass   bool
	Reason Reason

	// Status is what a held visitor is told.
	Status Status

	// Session is set on a Pass that has one (PassOpen, PassEnded and PassOutage
	// have none).
	Session Session

	// Waited is from the ticket to the entry, of PassEntered.
	Waited time.Duration

	// Queue, Admission and HeldPass are tickets the visitor must now keep; none:
	// what the visitor holds stays good. DropQueue, DropAdmission, DropPass and
	// DropWork say that what the visitor holds is of no more use.
	Queue, Admission, HeldPass                   Ticket
	DropQueue, DropAdmission, DropPass, DropWork bool
}
