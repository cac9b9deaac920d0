package admission

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"time"
)

// ErrUnavailable is returned by a Store that cannot be asked now. Whatever
// the step was, it may have happened; asking again is safe.
var ErrUnavailable = errors.New("store unavailable")

const (
	// SessionGrace is how much longer than its token a session lives in the
	// store. The token always dies first, so no one browses without a seat.
	SessionGrace = 5 * time.Second

	// settleTime is how long a line that lost data listens to what gateways
	// remember before it gives anything again: a dozen ticks of each.
	settleTime = 3 * time.Second

	// limitsTime is how long the limits of a gateway count after its last tick.
	limitsTime = 3 * time.Second

	// batchMemory is how long the answer to a batch of joins is remembered.
	batchMemory = 60 * time.Second

	// leap is how far past the highest number known anywhere a healed line
	// begins: a side that was cut off may still be giving numbers.
	leap = 1 << 20

	// mostReleases is the most turns given in one step, so that a step stays
	// short (a thousand take Redis under 4 ms).
	mostReleases = 1000

	// mostCatchUp is the most idle time that earns credit.
	mostCatchUp = 10 * time.Second
)

// Store keeps what all gateways share: the line of each activity. Every verb
// is one atomic step by the store's own clock, and safe to run twice: calls
// carry facts and floors, never an amount that the store could compute. A
// line is made by the first call that names it.
//
// Implementations are safe for concurrent use, honour the context, and return
// ErrUnavailable (wrapped) where they could not be reached. The package
// admissiontest holds every implementation to the rules.
type Store interface {
	// Join gives each newcomer the next number, in order, and marks it
	// present. Where no lower number is present and waiting, and a seat and
	// credit are free, the newcomer is admitted in the same step. batch is an
	// id chosen by the gateway: the same batch within a minute gets the same
	// answer. No places come back while the line settles or takes no one.
	Join(ctx context.Context, call Call, batch string, newcomers []Newcomer) (Head, []Place, error)

	// Release records the gateway's limits and gives turns to the lowest
	// numbers that are present and waiting, as far as seats and credit go. It
	// answers with the line and what changed in it since version since.
	Release(ctx context.Context, call Call, limits Limits, since int64) (Line, error)

	// Admit answers visitors who ask to enter: a turn becomes a session in
	// place, a session that stands is given again with the same end, a lapsed
	// number goes back to waiting. A pass that has a use left begins a session
	// too, before all who wait, as far as seats and credit go. Entries come in
	// the order of the knocks.
	Admit(ctx context.Context, call Call, knocks []Knock) (Head, []Entry, error)

	// Renew moves the end of sessions that were used. Entries come in the
	// order of the visitors; one whose session ended is EntryGone.
	Renew(ctx context.Context, call Call, visitors []string) (Head, []Entry, error)

	// Leave ends sessions and gives up places. Leaving twice is leaving once.
	Leave(ctx context.Context, call Call, departures []Departure) (Head, error)

	// Present marks the numbers that a gateway heard from.
	Present(ctx context.Context, call Call, heard []Piece) (Head, error)

	// Heal gives a settling line what a gateway remembers of it. On a line
	// that is whole it changes nothing.
	Heal(ctx context.Context, call Call, memory Memory) (Head, error)

	// Override puts what an operator decided in place of what the gateways'
	// files say, whole: what it leaves out is the files' again. It changes
	// nothing where more was decided than overrides.Version: the head tells what.
	Override(ctx context.Context, call Call, overrides Overrides) (Head, error)

	// Spend takes in what is used of passes, beyond what the line knows: a pass
	// all of whose uses are taken lets no one in.
	Spend(ctx context.Context, call Call, spent []Spent) (Head, error)

	// Reset ends every place and turn of an epoch and begins the next. Sessions
	// and their seats stay. An epoch that is over already is left alone.
	Reset(ctx context.Context, call Call, epoch int64) (Head, error)

	// Draw adds to the draw of the line's epoch what is not there yet: see
	// Drawing. What is there stays.
	Draw(ctx context.Context, call Call, drawing Drawing) (Head, error)

	// Keys returns the signing keys kept for all gateways, the first of which
	// signs. It keeps known too, which the gateway has used: a store that lost
	// its keys gets them back. Where there are none at all, fresh is kept.
	Keys(ctx context.Context, fresh Key, known ...Key) ([]Key, error)
}

// LineID names a line.
type LineID struct {
	Tenant   string
	Activity int64
}

// String returns the id as it stands in keys: tenant:activity.
func (id LineID) String() string { return id.Tenant + ":" + strconv.FormatInt(id.Activity, 10) }

func parseLineID(text string) (LineID, error) {
	tenant, number, found := strings.Cut(text, ":")
	activity, err := strconv.ParseInt(number, 10, 64)
	if !found || err != nil {
		return LineID{}, fmt.Errorf("%q is not the name of a line", text)
	}
	return LineID{tenant, activity}, nil
}

// Call is what every step is told: which line, by whom, and the floor that the
// gateway knows of, from answers and from tokens it verified.
type Call struct {
	Line    LineID
	Gateway string
	Floor   Floor

	// Mapped tells how the caller means a place up to Floor.Drawn: as a number,
	// or else as an index plus one. What it says of them is passed over by a
	// line that means the other.
	Mapped bool
}

// Floor is the least that a line must have given for what was seen to be true.
// Floors are compared as a pair, never field by field: the numbers of another
// epoch say nothing of this one.
type Floor struct {
	Epoch  int64
	Issued int64

	// Drawn is how many places the draw of the epoch has; 0: the indexes are
	// not closed, or nothing is drawn. It is told beside the pair, for it never
	// changes.
	Drawn int64
}

// Above reports whether f tells of more than g.
func (f Floor) Above(g Floor) bool {
	return f.Epoch > g.Epoch || f.Epoch == g.Epoch && f.Issued > g.Issued
}

// raised returns what f and g tell together.
func (f Floor) raised(g Floor) Floor {
	switch {
	case g.Epoch > f.Epoch:
		return g
	case g.Epoch == f.Epoch:
		f.Issued, f.Drawn = max(f.Issued, g.Issued), max(f.Drawn, g.Drawn)
	}
	return f
}

// Head is the state of a line that comes with every answer.
type Head struct {
	Now      Instant // the store's time, at the step
	Floor            // the epoch, and the highest number given in it
	Released int64   // the highest number that ever had a turn
	Lost     int64   // an absent number at or below it has lost its place
	Born     Instant // when this line's data began
	Settling bool    // the line listens to what gateways remember, and gives nothing
	Closing  bool    // it does so only for the start of the draw: nothing was lost
	Limits   Limits  // those in force, overrides included

	Overrides Overrides
	Draw      Draw

	Waiting  int64 // numbers present and waiting
	Turns    int64 // turns that may still be claimed
	Sessions int64 // sessions, with those that a healed line only knows the number of

	// Turned counts the turns ever given, and Admitted those among them that
	// became sessions, joins admitted at once included; Passed those of both
	// that were by a pass.
	Turned   int64
	Admitted int64
	Passed   int64

	Awaited int64 // holders of passes who are before all that wait
}

// Seats is what capacity counts.
func (h Head) Seats() int64 { return h.Turns + h.Sessions }

// Paused reports whether no turns are given now, though the activity is on.
func (h Head) Paused() bool { return h.Limits.halted() || h.Settling }

// Claimable reports whether a turn can be used now: while the line is paused,
// or capacity was lowered below what is inside, turns and their claims wait.
func (h Head) Claimable() bool {
	return !h.Paused() && (h.Limits.Capacity == 0 || h.Sessions < h.Limits.Capacity)
}

// Line is a line as read by a gateway: its head, and what changed since the
// version the gateway had. Version 0 is before everything.
type Line struct {
	Head
	Version int64

	// First is the lowest number still kept track of. Whoever holds a lower
	// one has entered, left, or lost the place.
	First int64

	// Pieces are the parts of the maps that changed, whole.
	Pieces []Piece

	// Claims are all turns that stand, each until its claim ends if it runs
	// on from now.
	Claims []Claim

	// Ended are visitors whose session ended before its time, each until its
	// last token is dead.
	Ended []Ended

	// Spent is what is used of passes, of those where it changed.
	Spent []Spent
}

// Map names one of the maps over numbers.
type Map uint8

// The maps. A number is waiting where it is not in MapOff; MapWaiting holds
// those among them that are present.
const (
	MapWaiting Map = iota // present and waiting
	MapOff                // has or had a turn, was admitted, or left
	MapDone               // was admitted or left, for good in this epoch
)

// PieceNumbers is the grain of pieces: each begins at a multiple of it and
// holds whole grains.
const PieceNumbers = blockBits

// Piece is a run of one map: bit i%64 of word i/64 of Bits stands for number
// From+i.
type Piece struct {
	Map  Map
	From int64
	Bits []uint64
}

// Claim is a turn: its number may enter until the instant.
type Claim struct {
	Number int64
	Until  Instant
}

// Ended is a session that ended before its time. No token of its visitor
// passes; after Until there is none that would.
type Ended struct {
	Visitor string
	Until   Instant
}

// Newcomer is a visitor without a ticket. Identity and Network are keyed
// hashes, or empty where they are not looked at.
type Newcomer struct {
	Visitor  string
	Identity string // the same identity gets the same place
	Once     bool   // and no other, once that is over
	Network  string // of one network only so many join

	// Over is the index plus one of a place of the identity that is over, where
	// the gateway saw that: the store keeps no numbers of indexes.
	Over int64

	// Waits has it wait for its turn, though it could be admitted at once.
	Waits bool
}

// Place is the answer to a newcomer. Admission is the zero value unless the
// visitor is admitted at once, or came before and is inside.
type Place struct {
	Number   int64 // 0: none
	Indexed  bool  // Number is an index of the draw plus one, and makes the number
	Position int64 // people present and waiting before it, plus one; 0: not known

	// Visitor is whose place it is: the newcomer's, or that of the first
	// ticket of the same identity.
	Visitor string

	// Why Number is 0: too many came from the network, and one may join again
	// after RetryAfter; or the line is Full; or the identity is Spent: it had
	// its place, Once.
	RetryAfter time.Duration
	Full       bool
	Spent      bool

	Admission Admission

	epoch int64 // of Number; the room's own note
}

// Admission is a session as the store keeps it.
type Admission struct {
	Visitor string
	Number  int64
	Until   Instant // the token's end; the seat is free SessionGrace later
	Max     Instant // no renewal goes beyond
}

// Knock is a visitor who asks to enter with a ticket, with an admission token
// past its end, or with both; or with a pass. Number is 0 where there is no
// ticket.
type Knock struct {
	Visitor string
	Number  int64
	Epoch   int64

	// Of an admission token: when it was signed and its session's furthest
	// end. Zero where there is none. A store that lost its sessions lets one
	// in again by them.
	Signed Instant
	Max    Instant

	// Pass is what the visitor holds. Waits has its holder be awaited and not
	// let in yet: who only asks has no use taken.
	Pass  Pass
	Waits bool
}

// Outcome is what became of a knock.
type Outcome uint8

// The outcomes. The zero Outcome holds the visitor.
const (
	EntryWaiting  Outcome = iota // in the line; no turn, or not to be used now
	EntryAdmitted                // has a session
	EntryGone                    // has neither place nor session: is new
	EntrySpent                   // holds a pass without a use left, or one that has ended
)

// Entry is the answer to a knock.
type Entry struct {
	Outcome   Outcome
	Admission Admission

	// Of a holder of a pass: the holders before this one, plus one, where it is
	// awaited; whether it would be let in if it did not wait; and what is used
	// of the pass, this session included.
	Position int64
	Called   bool
	Spent    Spent

	settling bool // of a line that gives nothing yet; the room's own note
}

// Departure is a visitor who leaves: a session, a place, or both.
type Departure struct {
	Visitor string
	Number  int64
	Epoch   int64
}

// Memory is what one gateway remembers of a line: all of it is true, none of
// it need be complete.
type Memory struct {
	Now      Instant // the line's time, as the gateway reckons it; 0: it knew no such line
	First    int64   // the lowest number that was kept track of
	Released int64
	Seats    int64 // the highest count of seats it was told and that still counts
	Pieces   []Piece
	Sessions []Admission
	Ended    []Ended
	Spent    []Spent

	Overrides Overrides
	Draw      Draw
}
