package crowd

import "cmp"

// place is a number of an epoch.
type place struct{ epoch, number int64 }

// life is what a visitor's requests have shown so far: what the rules judge the
// next one by.
type life struct {
	visitor int64

	// The place that the visitor holds. over: it may have ended as it should, by
	// entering, by leaving, or by a request for either whose answer was lost.
	placed bool
	place  place // number 0: drawn, and not known yet
	index  int64 // in the draw; -1: joined it not
	over   bool

	asked  Micros // when the first request to join was sent that may have got the place of a later answer; 0: none
	joined Micros // when the request that got the place was sent
	waited Micros // when the last request was sent that told of waiting
	turned bool   // was seen to have, or to have had, a turn, and not to wait anew since
	turn   hold   // the turn that it was seen to have
	lapse  lapse  // of its last turn
	claim  Micros // how long a turn stands, at least; 0: that was not told

	// From passed on the place may have had a turn, or been passed over while its
	// visitor was not surely present; 0: not yet. A hold_place later it may be lost
	// as soon as it is neither present nor has a turn.
	passed Micros
	heard  Micros // until when the visitor was surely present, without a break; 0: not at all

	// Surely present to the line: merged spans, since the last time that the
	// visitor may have lapsed.
	present []*presence
	marks   []span // of its last polls, which a gateway may have kept to itself

	session *stay // nil: none was given
}

func newLife(visitor int64) *life { return &life{visitor: visitor, index: -1} }

// waits reports whether an event tells that its visitor has no turn, and had none
// since it was surely present.
func (l *life) waits(e *Event) bool {
	if !e.answered() || e.State != Waiting || e.Paused || e.Unavailable ||
		!l.placed || l.over || l.turned || l.place != (place{e.Epoch, e.Number}) {
		return false
	}
	if e.Lapsed {
		return l.lapse.still(e)
	}
	return e.Kind == Poll && (!l.lapse.told || e.Sent-stale >= l.lapse.back)
}

// usedSince reports whether the place was used up after an instant, so that an
// answer that is behind the line may not know of it.
func (l *life) usedSince(at Micros) bool { return l.over && l.session != nil && l.session.began > at }

// span is from one instant to another.
type span struct{ from, to Micros }

// presence is a span in which a visitor was surely present.
type presence struct {
	span
	told Micros // when the last poll after its beginning was sent that told of waiting; 0: none
	line int64  // the latest of the line's time of which a poll told so
	era  int    // how many outages were seen before these
}

// hold is a turn as its visitor was told of it: it surely stood from an answer
// on, for as long as that said. The zero hold is none.
type hold struct {
	asked Micros // the request that first told of it was sent
	span
}

// see takes a poll that tells of a turn.
func (h *hold) see(e *Event) {
	until := e.Sent + fast(Micros(e.Claim)*1_000_000)
	if e.Got() > h.to { // it may be another turn
		*h = hold{e.Sent, span{e.Got(), until}}
	}
	h.to = max(h.to, until)
}

// lapse is what became of a visitor whose turn lapsed. Such a place waits again
// from a request to enter on. The zero lapse is none.
type lapse struct {
	told   bool   // that it lapsed, and of no turn since
	since  Micros // when that was first told
	again  Micros // when the first request to enter after that was sent; 0: none
	back   Micros // when the last answer to one was there; 0: none
	unsure bool   // there was no answer to one: it may be dealt with at any time

	// The answer to a request to enter of which the line surely learned, and until
	// when the next turn cannot have lapsed; zero: there was none.
	knock span
}

// tell takes an answer that tells that the turn lapsed. It reports whether that
// is sure: after a request to enter it may be what was before that.
func (l *lapse) tell(e *Event) bool {
	if l.again != 0 && (l.unsure || e.Sent-stale < l.back) {
		return false
	}
	*l = lapse{told: true, since: e.Got()}
	return true
}

// enter takes a request to enter, and how long a turn stands.
func (l *lapse) enter(e *Event, claim Micros) {
	if !l.told && e.Lapsed {
		l.told, l.since = true, e.Got()
	}
	if !l.told {
		return
	}
	if l.again == 0 {
		l.again = e.Sent
	}
	if !e.answered() || e.Unavailable {
		l.unsure = true
		return
	}
	l.back = e.Got()
	// A gateway that knows that the place lapsed asks the line.
	if e.State == Waiting && !e.Paused && !l.unsure && e.Sent-stale >= l.since && e.Got() > l.knock.to {
		l.knock = span{e.Got(), e.Sent + fast(claim)}
	}
}

// still reports whether an event that tells that the turn lapsed shows that its
// visitor waits since the knock.
func (l *lapse) still(e *Event) bool {
	return e.Lapsed && l.knock.from != 0 && e.Sent-stale >= l.knock.from && e.Got() < l.knock.to
}

// ends reports whether an event tells of a turn that is surely not the one that
// lapsed.
func (l *lapse) ends(e *Event) bool {
	return l.told && (e.Kind == Enter || l.again != 0 && e.Sent-stale >= l.again)
}

// stay is a session as its visitor saw it. It surely stands from its first
// answer to its last use, and to its token's end where nobody ends it.
type stay struct {
	Session
	visitor int64
	sent    Micros // the request that began it
	began   Micros // its answer was there
	turn    hold   // that it came of; zero: none was seen, or it may have lapsed before
	used    Micros // the last request that passed by it was sent
	left    Micros // the first request to leave after that was sent; 0: none
}

// stands is until when the session stands by its latest token. Its first token,
// of which Signed is kept, was signed after its request was sent, at a time of
// the gateways' clock that it tells to the second.
func (s *stay) stands() Micros {
	return s.sent + fast(Micros(s.Until-s.Signed)*1_000_000) - tokenGrain
}

// dies is when no token of the session passes any more, for sure: a gateway's
// clock may run ahead of the line's by how long it waited for that.
func (s *stay) dies() Micros {
	return s.began + slow(Micros(s.Max-s.Signed)*1_000_000) + tokenGrain + patience
}

// advance takes what an event shows.
func (l *life) advance(e *Event, limits Limits) {
	if e.Kind == Forge { // as somebody else
		return
	}
	if !e.answered() {
		// Whatever it was for may have happened.
		if e.Kind == Enter || e.Kind == Leave {
			l.over = true
		}
		switch e.Kind {
		case Join:
			l.ask(e)
		case Enter:
			l.lapse.enter(e, l.claim)
		}
		l.marks = nil // the gateway may have ended with what it knew
		if e.Kind == Leave && l.session != nil && l.session.left == 0 {
			l.session.left = e.Sent
		}
		return
	}
	if e.Kind == Leave {
		l.over = true
		if l.session != nil && l.session.left == 0 {
			l.session.left = e.Sent
		}
		return
	}
	if e.State == Passed {
		l.enter(e)
		return
	}
	l.held(e, limits)
}

func (l *life) enter(e *Event) {
	if e.Session != nil && (l.session == nil || l.session.ID != e.Session.ID || l.session.Max != e.Session.Max) {
		l.session = l.begin(e)
		if p := (place{e.Session.Epoch, e.Session.Number}); !l.placed || l.over && p != l.place {
			l.placed, l.place, l.joined = true, p, cmp.Or(l.asked, e.Sent)
		}
	} else if l.session != nil {
		l.session.used, l.session.left = e.Sent, 0
		if e.Session != nil {
			l.session.Until = max(l.session.Until, e.Session.Until)
		}
	}
	l.asked, l.over, l.turned, l.turn, l.lapse = 0, true, true, hold{}, lapse{}
}

// begin is the session that an event begins.
func (l *life) begin(e *Event) *stay {
	s := &stay{Session: *e.Session, visitor: l.visitor, sent: e.Sent, began: e.Got(), used: e.Sent}
	if l.place == (place{s.Epoch, s.Number}) && e.Got() <= l.turn.to {
		s.turn = l.turn
	}
	return s
}

// ask notes a request to join that had no answer, or none that tells of a place.
func (l *life) ask(e *Event) {
	if l.asked == 0 {
		l.asked = e.Sent
	}
}

func (l *life) held(e *Event, limits Limits) {
	if e.Number == 0 && e.Index == nil {
		if e.Kind == Join && e.Unavailable {
			l.ask(e)
		}
		return
	}
	now, unsure := place{e.Epoch, e.Number}, false
	if !l.placed || now.epoch != l.place.epoch || l.over && now != l.place {
		unsure = l.asked != 0
		joined := cmp.Or(l.asked, e.Sent)
		*l = life{visitor: l.visitor, placed: true, place: now, index: -1, joined: joined, waited: joined}
	}
	if e.Index != nil {
		l.index = *e.Index
	}
	if l.place.number == 0 {
		l.place.number = e.Number
	}
	if unsure && e.State == Waiting { // it may have had its turn meanwhile
		return
	}
	if e.Kind == Enter && e.Unavailable { // it may have entered, as with an answer that was lost
		l.over = true
	}
	l.claim = max(l.claim, Micros(e.Claim)*1_000_000)
	knock := l.lapse.knock
	if e.Kind == Enter {
		l.lapse.enter(e, l.claim)
	}
	if e.Unavailable {
		l.marks = nil
	}
	switch {
	case e.State == Ready || e.Lapsed:
		if !l.turned {
			l.pass(max(l.joined, l.waited-stale))
		}
		if e.State == Ready {
			l.turned = true
			if l.lapse.ends(e) {
				l.lapse = lapse{}
			}
			l.turn.see(e)
		} else if l.lapse.tell(e) {
			l.turned, l.turn = true, hold{}
		}
	case e.State == Waiting && !e.Unavailable:
		if !e.Paused { // while the shop is away, who has a turn is told to wait, too
			l.waited = e.Sent
		}
		l.turn = hold{}
		l.hear(e, limits)
	}
	if e.Kind == Enter && e.State == Waiting && !e.Unavailable {
		if e.Got() > knock.to { // the place may have lapsed, unseen, and stand again
			l.present, l.marks = nil, nil
		}
		if l.lapse.knock != knock && limits.Absence != Unknown {
			l.attend(span{e.Got(), e.Sent + fast(Micros(limits.Absence)*1000)})
		}
		l.turned = l.turned && (!l.lapse.told || e.Paused)
	}
}

// pass notes that the place may have been passed from an instant on.
func (l *life) pass(at Micros) {
	if l.passed == 0 || at < l.passed {
		l.passed = max(1, at)
	}
}

// kept is until when the place surely is not lost, whatever its visitor does.
func (l *life) kept(limits Limits) Micros {
	from := max(l.joined, l.waited-stale)
	if l.passed != 0 {
		from = l.passed
	}
	return from + fast(Micros(limits.HoldPlace)*1000)
}

// hear notes how long a request surely keeps its visitor present.
func (l *life) hear(e *Event, limits Limits) {
	if limits.Absence == Unknown {
		return
	}
	s := span{e.Got() + heardWithin, e.Sent + fast(Micros(limits.Absence)*1000)}
	if e.Kind == Join && l.index < 0 {
		s.from = e.Got() // the step that gives the number marks it present
	}
	if l.heard != 0 && s.from > l.heard {
		l.pass(l.heard)
	}
	l.heard = max(l.heard, s.to)
	switch {
	case l.place.number == 0:
	case e.Kind == Join && l.index < 0:
		l.attend(s)
	case e.Kind == Poll:
		l.mark(s, e.Sent)
	}
}

// mark notes what a poll makes of its visitor's presence. A gateway may end, or
// lose its store, before it has told the line: so a poll counts only once the
// visitor was answered when the line must have heard of it, and the first after
// a silence not at all.
func (l *life) mark(s span, sent Micros) {
	l.marks = append(l.marks, s)
	for len(l.marks) > 1 && l.marks[0].from <= sent {
		first, next := l.marks[0], l.marks[1]
		l.marks = l.marks[1:]
		if n := len(l.present); n == 0 || first.from > l.present[n-1].to {
			first.from = next.from
		}
		l.attend(first)
	}
}

// attend notes a span in which the visitor was surely present.
func (l *life) attend(s span) {
	if s.from >= s.to {
		return
	}
	if n := len(l.present); n > 0 && s.from <= l.present[n-1].to {
		l.present[n-1].to = max(l.present[n-1].to, s.to)
		return
	}
	l.present = append(l.present, &presence{span: s})
}
