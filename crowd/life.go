package crowd

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

	joined Micros // when the request that got the place was sent
	waited Micros // when the last request was sent that told of waiting
	turned bool   // was seen to have, or to have had, a turn

	// From passed on the place may have had a turn, or been passed over while its
	// visitor was not surely present; 0: not yet. A hold_place later it may be lost
	// as soon as it is neither present nor has a turn.
	passed Micros
	heard  Micros // until when the visitor was surely present, without a break; 0: not at all

	// Surely present to the line: merged spans, since the last time that the
	// visitor may have lapsed.
	present []*presence

	session *stay // nil: none was given
}

func newLife(visitor int64) *life { return &life{visitor: visitor, index: -1} }

// span is from one instant to another.
type span struct{ from, to Micros }

// presence is a span in which a visitor was surely present.
type presence struct {
	span
	told Micros // when the last poll after its beginning was sent that told of waiting; 0: none
}

// stay is a session as its visitor saw it. It surely stands from its first
// answer to its last use, and to its token's end where nobody ends it.
type stay struct {
	Session
	visitor int64
	sent    Micros // the request that began it
	began   Micros // its answer was there
	used    Micros // the last request that passed by it was sent
	left    Micros // the first request to leave after that was sent; 0: none
}

// stands is until when the session stands by its latest token. Its first token,
// of which Signed is kept, was signed after its request was sent, at a time of
// the gateways' clock that it tells to the second.
func (s *stay) stands() Micros {
	return s.sent + fast(Micros(s.Until-s.Signed)*1_000_000) - tokenGrain
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
		l.session = &stay{Session: *e.Session, visitor: l.visitor, sent: e.Sent, began: e.Got(), used: e.Sent}
		if p := (place{e.Session.Epoch, e.Session.Number}); !l.placed || l.over && p != l.place {
			l.placed, l.place, l.joined = true, p, e.Sent
		}
	} else if l.session != nil {
		l.session.used, l.session.left = e.Sent, 0
		if e.Session != nil {
			l.session.Until = max(l.session.Until, e.Session.Until)
		}
	}
	l.over, l.turned = true, true
}

func (l *life) held(e *Event, limits Limits) {
	if e.Number == 0 && e.Index == nil {
		return
	}
	now := place{e.Epoch, e.Number}
	if !l.placed || now.epoch != l.place.epoch || l.over && now != l.place {
		*l = life{visitor: l.visitor, placed: true, place: now, index: -1, joined: e.Sent, waited: e.Sent}
	}
	if e.Index != nil {
		l.index = *e.Index
	}
	if l.place.number == 0 {
		l.place.number = e.Number
	}
	if e.Kind == Enter && e.Unavailable { // it may have entered, as with an answer that was lost
		l.over = true
	}
	switch {
	case e.State == Ready || e.Lapsed:
		if !l.turned {
			l.pass(max(l.joined, l.waited-stale))
		}
		l.turned = true
	case e.State == Waiting && !e.Unavailable:
		if !e.Paused { // while the shop is away, who has a turn is told to wait, too
			l.waited = e.Sent
		}
		if e.Kind == Enter { // the place may have lapsed, unseen, and stand again
			l.present = nil
		}
		l.hear(e, limits)
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
	if s.from >= s.to || l.place.number == 0 {
		return
	}
	if n := len(l.present); n > 0 && s.from <= l.present[n-1].to {
		l.present[n-1].to = max(l.present[n-1].to, s.to)
		return
	}
	l.present = append(l.present, &presence{span: s})
}
