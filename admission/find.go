package admission

import "time"

// Whereabouts is where someone stands, as operators ask. It is a closed set.
type Whereabouts string

// The whereabouts.
const (
	AtWaiting Whereabouts = "waiting" // in the line, and heard from lately
	AtAbsent  Whereabouts = "absent"  // in the line, and not heard from
	AtUndrawn Whereabouts = "undrawn" // joined the draw, and has no number yet
	AtTurn    Whereabouts = "turn"    // may enter, until the claim ends
	AtLapsed  Whereabouts = "lapsed"  // missed the turn, and gets another by asking
	AtInside  Whereabouts = "inside"  // has a session
	AtOver    Whereabouts = "over"    // entered and its session ended, or left
	AtLost    Whereabouts = "lost"    // was absent for too long, and is new on coming back
	AtReset   Whereabouts = "reset"   // the line was reset since
	AtNowhere Whereabouts = "nowhere" // the number was not given yet
)

// Found is who was looked for. Zero fields are not known, or mean nothing
// there.
type Found struct {
	At       Whereabouts
	Number   int64
	Position int64 // AtWaiting, AtAbsent, AtLapsed: people present before it, plus one
	Wait     Wait
	Claim    time.Duration // AtTurn: what is left of it
	Session  time.Duration // AtInside: what is left of it

	// Of a token: when the place was taken or the session began, and until when
	// the token is good.
	Signed, Expires time.Time
	Expired         bool
}

// Find tells where a number of this epoch stands. It marks no presence, and
// asks no store: of sessions, those that this gateway saw are known.
func (r *Room) Find(number int64) Found {
	v := r.view.Load()
	return r.find(v, number, "", v.now())
}

// Recognize tells where the holder of a queue or admission token stands; false
// where it is no token of this line. An expired one is recognized.
func (r *Room) Recognize(token string) (Found, bool) {
	v := r.view.Load()
	now := v.now()
	ring := r.ring.Load()
	t, err := ring.verify(token, forQueue)
	if err != nil {
		t, err = ring.verify(token, forAdmission)
	}
	if err != nil || t.line != r.id {
		return Found{}, false
	}
	of := func(f Found) (Found, bool) {
		f.Signed, f.Expires, f.Expired = t.signed.Time(), t.expires.Time(), now >= t.expires
		return f, true
	}
	if left := r.sessionOf(t.number, t.visitor, now); left > 0 {
		return of(Found{At: AtInside, Number: t.number, Session: left})
	}
	if t.epoch < v.Epoch {
		return of(Found{At: AtReset, Number: t.number})
	}
	number := t.number
	if t.indexed && v.lots != nil && t.index < v.Drawn {
		number = v.lots.Number(t.index)
	} else if t.indexed && v.Draw.Mapped {
		number = t.index + 1
	}
	if number == 0 {
		return of(Found{At: AtUndrawn})
	}
	return of(r.find(v, number, t.visitor, now))
}

// find tells where a number stands; visitor is whose it is, empty: not known.
func (r *Room) find(v *view, number int64, visitor string, now Instant) Found {
	f := Found{Number: number}
	if number > max(v.Issued, r.joined.Load().Issued) {
		f.At = AtNowhere
		return f
	}
	stand := func(at Whereabouts, position int64) {
		position += v.Awaited
		f.At, f.Position, f.Wait = at, position, v.pace.wait(position, v.Seats())
	}
	switch v.standing(number) {
	case standsTurned:
		f.At, f.Claim = AtTurn, max(0, v.claims[number].Sub(now))
	case standsOff:
		stand(AtLapsed, 1)
	case standsDone:
		f.At, f.Session = AtOver, r.sessionOf(number, visitor, now)
		if f.Session > 0 {
			f.At = AtInside
		}
	case standsLost:
		f.At = AtLost
	default:
		at := AtWaiting
		if number <= v.Issued && !v.waiting.has(number) {
			at = AtAbsent
		}
		stand(at, v.position(number, *r.joined.Load()))
	}
	return f
}

// sessionOf is what is left of a session; 0: none is known. Where the visitor is
// not known the number is looked for among all.
func (r *Room) sessionOf(number int64, visitor string, now Instant) (left time.Duration) {
	look := func(s *stay) {
		if s.number == number && s.lasts(now) {
			left = s.ends().Sub(now)
		}
	}
	if visitor == "" {
		r.sessions.Range(func(_, kept any) bool {
			look(kept.(*stay))
			return left == 0
		})
	} else if s := r.session(visitor); s != nil {
		look(s)
	}
	return left
}
