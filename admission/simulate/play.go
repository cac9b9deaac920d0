package simulate

import (
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// run is one run of an event: a line, and everyone who came to it. Visitors are
// called by their index in people.
type run struct {
	event  Event
	limits admission.Limits
	chance *rand.Rand
	store  *admission.MemoryStore
	call   admission.Call
	seed   admission.Seed // of the draw

	began time.Time // the beginning of the demand
	at    time.Duration
	tick  int
	line  admission.Line // as last read

	people  []person
	places  []int32     // visitors by number, or by index before the draw; 0: nobody
	present []uint64    // which of them are heard from, a bit each
	agenda  [][]errand  // by tick
	joining []int32     // who joins at the next tick
	knocks  []int32     // who asks to enter in this tick
	renews  []string    // whose session is used in this tick
	leaves  []departure // who is done in this tick
	turns   []int64     // whose turn has come
	open    int         // people who came and are neither inside nor gone

	outcome *outcome
}

type departure = admission.Departure

// errand is what a visitor does at a tick.
type errand struct {
	do  deed
	who int32
}

type deed uint8

const (
	joins deed = iota
	knocks
	givesUp
	renews
	finishes
)

// openingSpread is over how long those who stood before a closed door ask again
// once it opens: poll.min.
const openingSpread = 2 * time.Second

func play(ctx context.Context, event Event, setting Setting, seed uint64) (*outcome, error) {
	r := &run{
		event: event, limits: setting.Limits, chance: rand.New(rand.NewPCG(seed, 0)),
		began:   time.Unix(1_000_000_000, 0), // any instant that is one
		outcome: &outcome{},
		people:  make([]person, 1), places: make([]int32, 1), // there is no visitor and no place 0
		call: admission.Call{Line: admission.LineID{Tenant: "plan", Activity: 1}, Gateway: "plan"},
	}
	r.store = admission.NewMemory(func() time.Time { return r.began.Add(r.at) })
	r.limits.Mode = admission.ModeAuto
	r.limits.StartAt = r.began.Add(event.Start)
	r.limits.Prequeue = event.Start + time.Second
	if event.End > 0 {
		r.limits.EndAt = r.began.Add(event.End)
	}
	for i := range r.seed {
		r.seed[i] = byte(r.chance.Uint32())
	}
	if err := r.pass(ctx); err != nil {
		return nil, err
	}
	return r.outcome, nil
}

// pass lets time pass until everyone who came is in, or it is over.
func (r *run) pass(ctx context.Context) error {
	if err := r.begin(ctx); err != nil {
		return err
	}
	come := r.event.arrivals(r.chance)
	next := 0
	for ; next < len(come) || r.open > 0; r.tick++ {
		r.at = time.Duration(r.tick) * admission.Tick
		if r.tick%1024 == 0 && ctx.Err() != nil {
			return ctx.Err()
		}
		if r.over() {
			break
		}
		for ; next < len(come) && come[next] <= r.at; next++ {
			r.come()
		}
		r.errands()
		for _, step := range []func(context.Context) error{r.leave, r.join, r.hear, r.release, r.draw, r.enter} {
			if err := step(ctx); err != nil {
				return err
			}
		}
		r.sample()
	}
	r.conclude(len(come) - next)
	return nil
}

// over reports whether nobody enters any more, whoever still comes.
func (r *run) over() bool {
	return r.at > r.event.For || r.event.End > 0 && r.at >= r.event.End || r.limits.Stock.SoldOut()
}

// conclude counts those for whom it ended before they were in.
func (r *run) conclude(coming int) {
	o := r.outcome
	o.over = r.at
	switch {
	case r.limits.Stock.SoldOut():
		o.soldAt = max(r.at-admission.Tick-r.event.Start, admission.Tick)
		o.visitors += coming
		o.soldOut += coming + r.open
	case r.event.End > 0 && r.at >= r.event.End:
		o.visitors += coming
		o.ended += coming + r.open
	default:
		o.waiting += r.open
	}
}

// begin makes the line.
func (r *run) begin(ctx context.Context) (err error) {
	if r.line, err = r.store.Release(ctx, r.call, r.limits, 0); err != nil {
		return err
	}
	if r.limits.Draw {
		_, err = r.store.Draw(ctx, r.call, admission.Drawing{Key: "plan"})
	}
	return err
}

// come has one more visitor come.
func (r *run) come() {
	who := int32(len(r.people))
	r.people = append(r.people, r.event.Crowd.person(r.chance))
	r.outcome.visitors++
	r.open++
	if r.at < r.event.Start && !r.limits.Draw {
		// The door is closed, and nobody before it has a place.
		wait := r.event.Start - r.at + time.Duration(r.chance.Float64()*float64(openingSpread))
		r.plan(joins, who, wait)
		return
	}
	r.joining = append(r.joining, who)
}

// plan puts an errand on the agenda, at the next tick or later.
func (r *run) plan(do deed, who int32, in time.Duration) {
	at := r.tick + max(1, int((in+admission.Tick-1)/admission.Tick))
	for len(r.agenda) <= at {
		r.agenda = append(r.agenda, nil)
	}
	r.agenda[at] = append(r.agenda[at], errand{do, who})
}

// errands looks at what is due.
func (r *run) errands() {
	if r.tick >= len(r.agenda) {
		return
	}
	for _, e := range r.agenda[r.tick] {
		p := &r.people[e.who]
		switch e.do {
		case joins:
			r.joining = append(r.joining, e.who)
		case knocks:
			r.knocks = append(r.knocks, e.who)
		case givesUp:
			if p.state == waits {
				p.state = left
				r.open--
				r.outcome.gaveUp++
			}
		case renews:
			if p.state == inside {
				r.renews = append(r.renews, name(e.who))
				r.plan(renews, e.who, r.limits.Idle/4)
			}
		case finishes:
			r.finish(e.who)
		}
	}
	r.agenda[r.tick] = nil
}

// finish is the end of a visitor's stay. Who is not ended by the shop holds the
// seat until idle has passed.
func (r *run) finish(who int32) {
	p := &r.people[who]
	p.state = left
	if p.ends {
		r.leaves = append(r.leaves, departure{Visitor: name(who)})
	}
	if stock := &r.limits.Stock; p.buys && stock.Counted && stock.Left > 0 {
		stock.Left--
	}
}

func name(who int32) string { return strconv.Itoa(int(who)) }

func (r *run) leave(ctx context.Context) (err error) {
	if len(r.renews) > 0 {
		_, _, err = r.store.Renew(ctx, r.call, r.renews)
		r.renews = r.renews[:0]
	}
	if len(r.leaves) > 0 && err == nil {
		_, err = r.store.Leave(ctx, r.call, r.leaves)
		r.leaves = r.leaves[:0]
	}
	return err
}

func (r *run) join(ctx context.Context) error {
	if len(r.joining) == 0 {
		return nil
	}
	newcomers := make([]admission.Newcomer, len(r.joining))
	for i, who := range r.joining {
		newcomers[i].Visitor = name(who)
	}
	_, places, err := r.store.Join(ctx, r.call, strconv.Itoa(r.tick), newcomers)
	if err != nil || places == nil { // the draw is being made: they ask again
		return err
	}
	for i, place := range places {
		r.placed(r.joining[i], place)
	}
	r.joining = r.joining[:0]
	return nil
}

// placed takes in the answer to one who joined.
func (r *run) placed(who int32, place admission.Place) {
	p := &r.people[who]
	if place.Full {
		p.state = left
		r.outcome.full++
		r.open--
		return
	}
	p.state, p.came, p.number = waits, max(r.at, r.event.Start), place.Number
	for int64(len(r.places)) <= place.Number {
		r.places = append(r.places, 0)
	}
	r.places[place.Number] = who
	if place.Admission.Visitor != "" {
		r.turn(p)
		r.inside(who)
		r.plan(renews, who, 0) // the first request that brings the token
		return
	}
	if patience := r.event.Crowd.Patience; patience > 0 {
		r.plan(givesUp, who, time.Duration(r.chance.ExpFloat64()*float64(patience)))
	}
}

// turn notes how long a visitor waited for the turn.
func (r *run) turn(p *person) {
	if p.had {
		return // it came too late for the first
	}
	p.had = true
	wait := (r.at - p.came).Seconds()
	r.outcome.waits = append(r.outcome.waits, float32(wait))
	s := r.second(p.came)
	s.waited, s.turned = s.waited+wait, s.turned+1
}

// inside has a visitor begin to use the shop.
func (r *run) inside(who int32) {
	p := &r.people[who]
	p.state = inside
	r.outcome.entered++
	r.second(r.at).entered++
	r.open--
	r.plan(finishes, who, min(p.stay, r.limits.Max))
}

// hear tells the store who is there, three times in a window of presence.
func (r *run) hear(ctx context.Context) error {
	every := max(1, int(r.limits.Absence/3/admission.Tick))
	if r.tick%every != 0 || len(r.places) == 1 {
		return nil
	}
	_, err := r.store.Present(ctx, r.call, []admission.Piece{{Bits: r.heard()}})
	return err
}

// heard marks the places of those who wait with the page open.
func (r *run) heard() []uint64 {
	const grain = admission.PieceNumbers / 64
	if words := (len(r.places)/admission.PieceNumbers + 1) * grain; len(r.present) < words {
		r.present = make([]uint64, words)
	}
	clear(r.present)
	for place, who := range r.places {
		if r.people[who].state == waits {
			r.present[place>>6] |= 1 << (place & 63)
		}
	}
	return r.present
}

// release gives turns, and notes who has one now.
func (r *run) release(ctx context.Context) error {
	for {
		before := r.line.Turned
		var err error
		if r.line, err = r.store.Release(ctx, r.call, r.limits, r.line.Version); err != nil {
			return err
		}
		r.turns = r.turns[:0]
		for _, claim := range r.line.Claims {
			if r.people[r.places[claim.Number]].state == waits {
				r.turns = append(r.turns, claim.Number)
			}
		}
		slices.Sort(r.turns) // claims come in no order, and chance is to be the same again
		for _, number := range r.turns {
			r.turned(r.places[number])
		}
		if r.line.Turned-before < mostReleases {
			return nil
		}
	}
}

// mostReleases is the most turns that the store gives in one step.
const mostReleases = 1000

// turned is called for a visitor whose turn has come.
func (r *run) turned(who int32) {
	p := &r.people[who]
	p.state = turned
	r.turn(p)
	if !p.shows {
		p.state = left
		r.outcome.noShow++
		r.open--
		return
	}
	r.plan(knocks, who, time.Duration(r.chance.Float64()*float64(r.event.Crowd.Comes)))
}

// draw gives the indexes their numbers, once the start has come.
func (r *run) draw(ctx context.Context) error {
	if r.call.Mapped || r.line.Drawn == 0 || r.line.Settling {
		return nil
	}
	lots, err := admission.NewLots(r.seed, "", r.line.Drawn)
	if err != nil {
		return err
	}
	numbers := make([]int32, max(int64(len(r.places)), lots.N()+1))
	for place, who := range r.places {
		n := int64(place)
		if who != 0 && n <= lots.N() {
			n = lots.Number(n - 1)
		}
		if who != 0 {
			numbers[n], r.people[who].number = who, n
		}
	}
	r.places = numbers
	r.call.Mapped = true
	head, err := r.store.Draw(ctx, r.call, admission.Drawing{Since: r.line.Version, Pieces: []admission.Piece{{Bits: r.heard()}}})
	if err == nil && !head.Draw.Mapped {
		err = errors.New("the line did not take the draw")
	}
	return err
}

// enter has those enter who came for their turn.
func (r *run) enter(ctx context.Context) error {
	if len(r.knocks) == 0 {
		return nil
	}
	knocks := make([]admission.Knock, len(r.knocks))
	for i, who := range r.knocks {
		knocks[i] = admission.Knock{Visitor: name(who), Number: r.people[who].number, Epoch: r.line.Epoch}
	}
	_, entries, err := r.store.Admit(ctx, r.call, knocks)
	if err != nil {
		return err
	}
	for i, who := range r.knocks {
		switch entries[i].Outcome {
		case admission.EntryAdmitted:
			r.inside(who)
			r.plan(renews, who, r.limits.Idle/4)
		case admission.EntryWaiting: // too late: at the very front again
			r.people[who].state = waits
		default:
			r.people[who].state = left
			r.outcome.noShow++
			r.open--
		}
	}
	r.knocks = r.knocks[:0]
	return nil
}

// second returns what is noted of an instant's second.
func (r *run) second(at time.Duration) *second {
	i := int(at / time.Second)
	for len(r.outcome.seconds) <= i {
		r.outcome.seconds = append(r.outcome.seconds, second{})
	}
	return &r.outcome.seconds[i]
}

// ticksPerSecond is how many samples the second's figures are the mean of.
const ticksPerSecond = float64(time.Second / admission.Tick)

// sample notes how the line stands.
func (r *run) sample() {
	s := r.second(r.at)
	s.line += float64(r.line.Waiting) / ticksPerSecond
	s.inside += float64(r.line.Sessions) / ticksPerSecond
	s.left += float64(r.limits.Stock.Left) / ticksPerSecond
	if r.line.Waiting > 0 && r.limits.Capacity > 0 {
		r.outcome.seatTime += float64(r.line.Sessions) * admission.Tick.Seconds()
		r.outcome.busy += float64(r.limits.Capacity) * admission.Tick.Seconds()
	}
}
