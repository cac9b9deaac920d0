package admission

import "time"

// sampleEvery is how often a room tells its journal how the line stands. It is
// well below a minute, so that the last sample of a minute is near its end.
const sampleEvery = 10 * time.Second

// note tells the journal what became of a visitor of this line.
func (r *Room) note(e Event) {
	if r.journal != nil {
		e.Line = r.id
		r.journal.Note(e)
	}
}

// noteJoins tells the journal who got a place. Who had it before, by identity,
// did not join.
func (r *Room) noteJoins(head Head, newcomers []Newcomer, places []Place) {
	if r.journal == nil || len(places) != len(newcomers) {
		return
	}
	events := make([]Event, 0, len(places))
	for i, p := range places {
		if n := newcomers[i]; p.Number > 0 && p.Visitor == n.Visitor {
			number := p.Number
			if p.Indexed { // it is not drawn yet
				number = 0
			}
			who := n.Identity
			if n.Once { // it is no person's
				who = ""
			}
			events = append(events, Event{
				Kind: EventJoined, At: head.Now, Line: r.id, Epoch: head.Epoch, Number: number,
				Visitor: n.Visitor, UserHash: who,
			})
		}
	}
	r.journal.Note(events...)
}

// sample tells the journal how the line stands, now and then, if it moved.
func (r *Room) sample(h Head) {
	if r.journal == nil || h.Settling || h.Now.Sub(r.sampled.At) < sampleEvery {
		return
	}
	s := Sample{
		Line: r.id, Epoch: h.Epoch, Waiting: h.Waiting,
		Turns: h.Turns, Sessions: h.Sessions, Turned: h.Turned, Admitted: h.Admitted,
	}
	stands := r.sampled
	stands.At = 0
	if s == stands && r.sampled.At != 0 {
		return
	}
	s.At = h.Now
	r.sampled = s
	r.journal.Sample(s)
}

// Converted notes that the shop counts a session as a success: it bought.
func (r *Room) Converted(session Session) {
	v := r.view.Load()
	r.note(Event{Kind: EventConverted, At: v.now(), Epoch: v.Epoch, Number: session.Number, Visitor: session.Visitor})
}
