package admissiontest

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// record checks each answer of a store against all earlier ones: what must
// hold whatever the case is about. Its rules are those of the invariants, in
// the plainest words, and know nothing of how a line works.
type record struct {
	reporter
	first admission.Instant // the store's clock at the first answer
	now   admission.Instant
	last  admission.Head
	known bool // whether there was a head since the store was last broken

	given   map[place]string // N: who was given each number
	highest map[int64]int64  // N: the highest number answered, by epoch
	batches map[string][]admission.Place
	places  []admission.Place // the answer to the last join

	live     map[string]admission.Admission // tokens that pass
	entrants map[place]string               // A: who entered with a number
	over     map[string]admission.Instant   // A: sessions that ended, by when their holders may begin another
	claims   map[int64]bool                 // O: turns as last read
	uses     map[string]map[string]bool     // A: sessions that began by each pass, by visitor and furthest end

	// R: a bucket that leaks at the rate and must never hold more than burst,
	// in releases × an hour in microseconds.
	level int64
	burst int64
}

type place struct{ epoch, number int64 }

const hour = int64(time.Hour / time.Microsecond)

func newRecord(t reporter) *record {
	return &record{
		reporter: t, given: map[place]string{}, highest: map[int64]int64{}, batches: map[string][]admission.Place{},
		live: map[string]admission.Admission{}, entrants: map[place]string{}, over: map[string]admission.Instant{}, claims: map[int64]bool{},
		uses: map[string]map[string]bool{},
	}
}

// restarted and lost tell the record that the store was broken: counters and
// sessions may stand elsewhere; numbers, tokens and capacity may not.
func (r *record) restarted() { r.known = false }

func (r *record) lost() {
	r.known = false
	r.claims = map[int64]bool{}
}

// head checks what comes with every answer.
func (r *record) head(h admission.Head) {
	r.Helper()
	var elapsed admission.Instant
	if !h.Settling || h.Closing || r.now == 0 { // else its time may be another server's, or of an old copy
		if h.Now < r.now {
			r.Fatalf("H: the line's time ran back by %v", r.now.Sub(h.Now))
		}
		elapsed, r.now = h.Now-r.now, h.Now
	}
	if r.first == 0 {
		r.first = h.Now
	}
	if h.Released > h.Issued {
		r.Fatalf("N: released %d ran ahead of issued %d", h.Released, h.Issued)
	}
	if h.Lost > h.Released {
		r.Fatalf("P: numbers to %d lost their place, though released is %d", h.Lost, h.Released)
	}
	if h.Waiting < 0 || h.Turns < 0 || h.Sessions < 0 {
		r.Fatalf("the line counts %d waiting, %d turns, %d sessions", h.Waiting, h.Turns, h.Sessions)
	}
	was := r.last
	r.last = h
	r.burst = max(r.burst, h.Limits.Burst)
	if !r.known {
		r.known = true
		r.level = 0
		return
	}
	if was.Epoch > h.Epoch || was.Epoch == h.Epoch && was.Issued > h.Issued {
		r.Fatalf("N: the line went back from %+v to %+v", was.Floor, h.Floor)
	}
	if was.Epoch == h.Epoch && (was.Lost > h.Lost || was.Released > h.Released) {
		r.Fatalf("P: released and lost went back from %d and %d to %d and %d", was.Released, was.Lost, h.Released, h.Lost)
	}
	if h.Limits.Capacity > 0 && h.Sessions > max(h.Limits.Capacity, was.Sessions) && !was.Settling {
		r.Fatalf("C: %d sessions, capacity %d", h.Sessions, h.Limits.Capacity)
	}
	if h.Limits.Capacity > 0 && h.Seats() > max(h.Limits.Capacity, was.Seats()) && !was.Settling {
		r.Fatalf("C: %d seats, capacity %d", h.Seats(), h.Limits.Capacity)
	}
	turns := h.Turned - was.Turned
	if passed := h.Passed - was.Passed; passed < 0 || passed > turns {
		r.Fatalf("%d entered by passes, of %d turns", passed, turns)
	}
	if turns > 0 && (h.Settling || h.Limits.Mode == admission.ModeHold) {
		r.Fatalf("H: %d turns given by a line that is paused", turns)
	}
	if rate := max(h.Limits.RatePerHour, was.Limits.RatePerHour); h.Limits.RatePerHour > 0 && was.Limits.RatePerHour > 0 {
		r.level = max(0, r.level-int64(elapsed)*rate) + turns*hour
		if r.level > r.burst*hour {
			r.Fatalf("R: %d turns at once leave %d.%06d over the rate, burst is %d", turns, r.level/hour, r.level%hour/3600, r.burst)
		}
	} else {
		r.level = 0
	}
}

// joined checks places.
func (r *record) joined(h admission.Head, batch string, newcomers []admission.Newcomer, given []admission.Place) {
	r.Helper()
	r.places = given
	if before, again := r.batches[batch]; again {
		for i, p := range given {
			if p.Number != before[i].Number || p.Indexed != before[i].Indexed || p.Full != before[i].Full || p.Spent != before[i].Spent {
				r.Fatalf("N: a batch that came again got number %d, and first %d", p.Number, before[i].Number)
			}
			if p.Admission.Visitor != "" { // as its session stands by now
				r.admit(h, place{h.Epoch, p.Admission.Number}, p.Admission)
			}
		}
		return
	}
	r.batches[batch] = slices.Clone(given)
	if h.Settling {
		r.Fatalf("H: a settling line gave %d places", len(given))
	}
	held, fresh := false, 0
	for i, p := range given {
		at := place{h.Epoch, p.Number}
		if p.Number == 0 {
			if p.Admission.Visitor != "" || !p.Full && !p.Spent && (p.RetryAfter <= 0 || newcomers[i].Network == "") {
				r.Fatalf("a newcomer got no number and %+v", p)
			}
			continue
		}
		other, twice := r.given[at]
		if twice && newcomers[i].Identity != "" && p.Visitor == other { // came before
			if p.Admission.Visitor != "" {
				r.admit(h, place{h.Epoch, p.Admission.Number}, p.Admission) // its number, where p has the index
			}
			continue
		}
		fresh++
		if twice {
			r.Fatalf("N: number %d of epoch %d was given to %s, and before to %s", p.Number, h.Epoch, newcomers[i].Visitor, other)
		}
		if p.Number <= r.highest[h.Epoch] || p.Number > h.Issued {
			r.Fatalf("N: number %d given, after %d and with %d issued", p.Number, r.highest[h.Epoch], h.Issued)
		}
		if p.Visitor != newcomers[i].Visitor {
			r.Fatalf("N: number %d is of %s, and %s joined", p.Number, p.Visitor, newcomers[i].Visitor)
		}
		r.given[at] = p.Visitor
		r.highest[h.Epoch] = p.Number
		if p.Admission.Visitor == "" {
			held = true
			if p.Indexed {
				continue
			}
			if p.Position < 1 || p.Position > h.Waiting {
				r.Fatalf("O: position %d among %d waiting", p.Position, h.Waiting)
			}
			continue
		}
		if held {
			r.Fatalf("O: number %d was admitted while a lower one of its batch was held", p.Number)
		}
		r.admit(h, at, p.Admission)
	}
	if fresh == len(given) && !held && h.Waiting > 0 { // else one may have come back in the same batch
		r.Fatalf("O: %d newcomers were admitted at once while %d wait", len(given), h.Waiting)
	}
}

// admit checks a session that a visitor was given.
func (r *record) admit(h admission.Head, at place, a admission.Admission) {
	r.Helper()
	if a.Until > a.Max {
		r.Fatalf("A: the session of number %d ends %v after its furthest end", at.number, a.Until.Sub(a.Max))
	}
	before, again := r.live[a.Visitor]
	if at.number == 0 && before.Until.Add(admission.SessionGrace) <= h.Now {
		again = false // another use of a pass
	}
	switch {
	case h.Now < r.over[a.Visitor]:
		r.Fatalf("A: %s entered again after leaving", a.Visitor)
	case again && a.Until+admission.Instant(admission.SessionGrace.Microseconds()) > h.Now &&
		(a.Number != before.Number || a.Max != before.Max || a.Until < before.Until):
		r.Fatalf("A: %s had the session %+v and was given %+v", a.Visitor, before, a)
	}
	if other := r.entrants[at]; other != "" && other != a.Visitor && at.number > 0 {
		r.Fatalf("A: number %d let %s in, and before %s", at.number, a.Visitor, other)
	}
	r.entrants[at] = a.Visitor
	r.live[a.Visitor] = a
	if again || a.Until <= h.Now { // what its token no longer opens is not entering
		return
	}
	if h.Settling {
		r.Fatalf("H: a settling line admitted number %d", at.number)
	}
	r.count(h)
}

// count checks that no more tokens pass than capacity allows.
func (r *record) count(h admission.Head) {
	r.Helper()
	inside := int64(0)
	for visitor, a := range r.live {
		switch {
		case a.Until.Add(admission.SessionGrace) <= h.Now:
			delete(r.live, visitor)
		case a.Until > h.Now:
			inside++ // else its seat stands, and a restart of the store may give it its idle time anew
		}
	}
	if h.Limits.Capacity > 0 && inside > h.Limits.Capacity {
		r.Fatalf("C: %d visitors are inside, capacity is %d", inside, h.Limits.Capacity)
	}
}

// entered checks the answer to a knock.
func (r *record) entered(h admission.Head, k admission.Knock, e admission.Entry) {
	r.Helper()
	if e.Outcome == admission.EntryAdmitted {
		if e.Admission.Visitor != k.Visitor {
			r.Fatalf("A: %s knocked and %s was let in", k.Visitor, e.Admission.Visitor)
		}
		r.admit(h, place{k.Epoch, k.Number}, e.Admission)
	}
	if k.Pass.ID == "" {
		return
	}
	if e.Outcome == admission.EntryAdmitted {
		if r.uses[k.Pass.ID] == nil {
			r.uses[k.Pass.ID] = map[string]bool{}
		}
		r.uses[k.Pass.ID][fmt.Sprint(k.Visitor, e.Admission.Max)] = true
	}
	if used := int64(len(r.uses[k.Pass.ID])); used > k.Pass.Uses {
		r.Fatalf("A: pass %s of %d uses began %d sessions", k.Pass.ID, k.Pass.Uses, used)
	}
	if e.Position > h.Awaited || e.Called && e.Position == 0 {
		r.Fatalf("O: holder %d of %d awaited, called: %v", e.Position, h.Awaited, e.Called)
	}
}

func (r *record) renewed(h admission.Head, visitor string, e admission.Entry) {
	r.Helper()
	if e.Outcome != admission.EntryAdmitted {
		return
	}
	if h.Now < r.over[visitor] {
		r.Fatalf("A: the session of %s was renewed after it was left", visitor)
	}
	if before, ok := r.live[visitor]; ok && (e.Admission.Until < before.Until || e.Admission.Max != before.Max) {
		r.Fatalf("A: the session of %s was %+v and is %+v after a renewal", visitor, before, e.Admission)
	}
	if e.Admission.Until > e.Admission.Max {
		r.Fatalf("A: the session of %s goes beyond its furthest end", visitor)
	}
	r.live[visitor] = e.Admission
}

func (r *record) left(visitor string) {
	switch a, inside := r.live[visitor]; {
	case inside && a.Number > 0:
		r.over[visitor] = math.MaxInt64 // its number buys nothing
	case inside && a.Until.Add(admission.SessionGrace) > r.now:
		r.over[visitor] = a.Max.Add(admission.SessionGrace) // its pass may, when no token can be left
	}
	delete(r.live, visitor)
}

// read checks a reading of the line: its maps agree with its head and with one
// another, and no turn was given past someone who waits.
func (r *record) read(v *reading) {
	r.Helper()
	waiting := int64(0)
	lowest := int64(0)
	for w, word := range v.maps[admission.MapWaiting] {
		if word&v.maps[admission.MapOff][w] != 0 {
			r.Fatalf("P: numbers from %d on wait and are off: %b and %b", w*64, word, v.maps[admission.MapOff][w])
		}
		if word != 0 && (w+1)*64 > v.First {
			for bit := range int64(64) {
				if word&(1<<bit) != 0 {
					waiting++
					if n := w*64 + bit; lowest == 0 || n < lowest {
						lowest = n
					}
				}
			}
		}
	}
	for w, word := range v.maps[admission.MapDone] {
		if word&^v.maps[admission.MapOff][w] != 0 {
			r.Fatalf("P: numbers from %d on are done and not off", w*64)
		}
	}
	if waiting != v.Waiting {
		r.Fatalf("the head counts %d waiting, the map %d", v.Waiting, waiting)
	}
	if int64(len(v.Claims)) != v.Turns {
		r.Fatalf("the head counts %d turns, %d claims stand", v.Turns, len(v.Claims))
	}
	claims := map[int64]bool{}
	for _, c := range v.Claims {
		claims[c.Number] = true
		if !v.has(admission.MapOff, c.Number) || v.has(admission.MapDone, c.Number) {
			r.Fatalf("A: number %d has a turn, off is %v and done is %v", c.Number, v.has(admission.MapOff, c.Number), v.has(admission.MapDone, c.Number))
		}
		if c.Number > v.Released {
			r.Fatalf("N: number %d has a turn, released is %d", c.Number, v.Released)
		}
		if !r.claims[c.Number] && lowest != 0 && lowest < c.Number {
			r.Fatalf("O: number %d got a turn while %d waits", c.Number, lowest)
		}
	}
	r.claims = claims
}

// plain, session and lines tell answers with their times counted from the
// first, so that those of two stores can be compared.
func (r *record) plain(h admission.Head) string {
	return fmt.Sprintf("%d/%d at %v: released %d, lost %d, settling %v, waiting %d, turns %d, sessions %d, turned %d, admitted %d, %+v, decision %d: %s, %d drawn by %+v, closing %v, %d passed, %d awaited",
		h.Epoch, h.Issued, h.Now.Sub(r.first), h.Released, h.Lost, h.Settling, h.Waiting, h.Turns, h.Sessions, h.Turned, h.Admitted, h.Limits, h.Overrides.Version, plainly(h.Overrides), h.Drawn, h.Draw, h.Closing, h.Passed, h.Awaited)
}

func (r *record) session(a admission.Admission) string {
	if a.Visitor == "" {
		return "held"
	}
	return fmt.Sprintf("admitted with number %d until %v, %v at most", a.Number, a.Until.Sub(r.first), a.Max.Sub(r.first))
}

func (r *record) lines(v *reading) string {
	claims := slices.Clone(v.Claims)
	slices.SortFunc(claims, func(a, b admission.Claim) int { return int(a.Number - b.Number) })
	text := fmt.Sprintf("waiting %v, off %v, done %v, claims", v.numbers(admission.MapWaiting), v.numbers(admission.MapOff), v.numbers(admission.MapDone))
	for _, c := range claims {
		text += fmt.Sprintf(" %d until %v", c.Number, c.Until.Sub(r.first))
	}
	slices.SortFunc(v.Spent, func(a, b admission.Spent) int { return strings.Compare(a.Pass, b.Pass) })
	for _, s := range v.Spent {
		text += fmt.Sprintf(", %d uses of %s until %v", s.Uses, s.Pass, s.Until.Sub(r.first))
	}
	return text
}

// plainly tells what was decided, whatever its version.
func plainly(o admission.Overrides) string {
	text := fmt.Sprintf("mode %q", o.Mode)
	if o.Capacity != nil {
		text += fmt.Sprintf(", capacity %d", *o.Capacity)
	}
	if o.RatePerHour != nil {
		text += fmt.Sprintf(", rate %d/h", *o.RatePerHour)
	}
	if o.StartAt != nil {
		text += fmt.Sprintf(", start %v", o.StartAt.UTC())
	}
	if o.EndAt != nil {
		text += fmt.Sprintf(", end %v", o.EndAt.UTC())
	}
	if o.Left != nil {
		text += fmt.Sprintf(", %d left", *o.Left)
	}
	if o.Message != nil {
		text += fmt.Sprintf(", message %q", *o.Message)
	}
	return text
}
