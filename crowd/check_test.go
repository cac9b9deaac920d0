package crowd

import (
	"slices"
	"testing"
	"time"
)

// mutant is one way in which a line could break a promise, put into the history
// of one that kept them all.
type mutant struct {
	name   string
	breaks Invariant
	// put changes the history, and returns a visitor whom the violation must name.
	put func(head *Head, events []Event) (mutated []Event, visitor int64, ok bool)
}

// of are the indexes of a visitor's events.
func of(events []Event, visitor int64) (all []int) {
	for i, e := range events {
		if e.Visitor == visitor {
			all = append(all, i)
		}
	}
	return all
}

// find is the first event that is one.
func find(events []Event, is func(Event) bool) (Event, int, bool) {
	i := slices.IndexFunc(events, is)
	if i < 0 {
		return Event{}, -1, false
	}
	return events[i], i, true
}

// waiter is a visitor with at least so many polls that told of waiting, who then
// went in: the indexes of all its events, and of its first that shows a turn.
func waiter(events []Event, polls int) (all []int, turn int, ok bool) {
	for v := int64(1); v < 1000; v++ {
		all, waits := of(events, v), 0
		for _, i := range all {
			e := events[i]
			switch {
			case e.Kind == Poll && e.State == Waiting && !e.Lapsed:
				waits++
			case e.State == Passed && waits >= polls && e.Session != nil, e.State == Ready && waits >= polls:
				return all, i, true
			case e.Kind == Forge && e.Code != 0, e.State == Waiting:
			default:
				waits = -1000
			}
		}
	}
	return nil, 0, false
}

// calm reports whether a visitor had done nothing but wait until an event of it,
// and was always answered.
func calm(events []Event, until Event) bool {
	return !slices.ContainsFunc(events, func(e Event) bool {
		return e.Visitor == until.Visitor && e.Sent < until.Sent && (e.Code == 0 || e.Kind == Enter || e.Kind == Leave)
	})
}

// behind counts those behind a visitor who had their turn a while after an event
// of it.
func behind(events []Event, e Event) int {
	all := map[int64]bool{}
	for _, o := range events {
		if o.Kind == Poll && o.State == Ready && o.Number > e.Number && o.Sent > e.Sent+10_000_000 {
			all[o.Visitor] = true
		}
	}
	return len(all)
}

var mutants = []mutant{
	{"a number given twice", Numbers, func(_ *Head, events []Event) ([]Event, int64, bool) {
		first, _, ok := find(events, func(e Event) bool { return e.Kind == Join && e.Number > 0 })
		if !ok {
			return nil, 0, false
		}
		second, at, ok := find(events, func(e Event) bool {
			return e.Kind == Join && e.Number > 0 && e.State == Waiting && e.Sent > first.Got() && len(of(events, e.Visitor)) == 1
		})
		events[at].Number = first.Number
		return events, second.Visitor, ok
	}},
	{"a lower number for who joined later", Numbers, func(_ *Head, events []Event) ([]Event, int64, bool) {
		for i := range events {
			events[i].Number *= 10
			if events[i].Session != nil {
				events[i].Session.Number *= 10
			}
		}
		first, _, ok := find(events, func(e Event) bool { return e.Kind == Join && e.Number > 0 })
		if !ok {
			return nil, 0, false
		}
		second, at, ok := find(events, func(e Event) bool {
			return e.Kind == Join && e.Number > 0 && e.State == Waiting && e.Sent > first.Got() && len(of(events, e.Visitor)) == 1
		})
		events[at].Number = first.Number - 1
		return events, second.Visitor, ok
	}},
	{"one who waits is passed over", Order, func(_ *Head, events []Event) ([]Event, int64, bool) {
		all, turn, ok := waiter(events, 5)
		if !ok {
			return nil, 0, false
		}
		last := events[turn]
		cut := slices.DeleteFunc(slices.Clone(events), func(e Event) bool { return e.Visitor == last.Visitor && e.Sent >= last.Sent })
		waits, _, _ := find(events[all[1]:], func(e Event) bool { return e.Visitor == last.Visitor && e.State == Waiting })
		for i := range Micros(12) {
			e := waits
			e.Kind, e.Sent, e.Took = Poll, last.Sent+i*3_000_000, 1000
			cut = append(cut, e)
		}
		return cut, last.Visitor, true
	}},
	{"one who waits is passed over, for a second", Order, func(_ *Head, events []Event) ([]Event, int64, bool) {
		turned := func(i int) bool { // the first poll that told of the turn
			e := events[i]
			return e.Kind == Poll && e.State == Ready &&
				!slices.ContainsFunc(events[:i], func(o Event) bool { return o.Visitor == e.Visitor && o.State == Ready })
		}
		for i, lower := range events {
			joined, _, _ := find(events, func(e Event) bool { return e.Visitor == lower.Visitor })
			if !turned(i) || !calm(events, lower) || lower.Sent-joined.Got() < 15_000_000 {
				continue
			}
			// Nothing but the line's own clock tells that it was before.
			for j, higher := range events[:i] {
				if turned(j) && higher.Number > lower.Number && higher.Line < lower.Line && lower.Sent-higher.Got() < stale {
					events[i].State, events[i].Claim = Waiting, 0
					return events, lower.Visitor, true
				}
			}
		}
		return nil, 0, false
	}},
	{"one who comes back is passed over", Order, func(_ *Head, events []Event) ([]Event, int64, bool) {
		for _, late := range events {
			if late.Kind != Poll || !late.Lapsed || !calm(events, late) || behind(events, late) < 15 {
				continue
			}
			_, back, ok := find(events, func(e Event) bool {
				return e.Visitor == late.Visitor && e.Kind == Enter && e.Sent > late.Sent
			})
			if !ok || events[back].State != Waiting {
				continue
			}
			// It waits on to the end, and nobody minds.
			e := events[back]
			cut := slices.DeleteFunc(slices.Clone(events), func(o Event) bool { return o.Visitor == e.Visitor && o.Sent > e.Sent })
			for i := range Micros(20) {
				e.Kind, e.Sent, e.Took, e.Line, e.Lapsed = Poll, e.Got()+3_000_000, 1000, events[back].Line+3*int64(i)+2, false
				cut = append(cut, e)
			}
			return cut, e.Visitor, true
		}
		return nil, 0, false
	}},
	{"one who comes back is never let in again", Order, func(_ *Head, events []Event) ([]Event, int64, bool) {
		for _, late := range events {
			if late.Kind != Poll || !late.Lapsed || !calm(events, late) || behind(events, late) < 15 {
				continue
			}
			e := late
			cut := slices.DeleteFunc(slices.Clone(events), func(o Event) bool { return o.Visitor == e.Visitor && o.Sent > e.Sent })
			for i := range cut {
				if cut[i].Visitor == e.Visitor {
					cut[i].Claim *= 5 // else it is too short to tell this from a turn that lapsed again
				}
			}
			for i := range Micros(200) {
				e.Kind, e.Sent, e.Took, e.Line = Enter, e.Got()+300_000, 1000, late.Line+int64(i*3/10)
				if i%5 == 4 {
					e.Kind = Poll
				}
				cut = append(cut, e)
			}
			return cut, e.Visitor, true
		}
		return nil, 0, false
	}},
	{"more inside than the capacity", Capacity, func(head *Head, events []Event) ([]Event, int64, bool) {
		head.Limits.Capacity -= 2 // by as much as a slow network hides
		return events, 0, true
	}},
	{"sessions that outlast their seats", Capacity, func(_ *Head, events []Event) ([]Event, int64, bool) {
		longer := slices.DeleteFunc(events, func(e Event) bool { return e.Kind == Leave })
		for i := range longer {
			if s := longer[i].Session; s != nil {
				s.Until += 60
			}
		}
		// Whoever came back after its session would now be held while inside.
		kept := longer[:0]
		inside := map[int64]bool{}
		for _, e := range longer {
			if e.Kind != Forge && inside[e.Visitor] && e.State != Passed {
				continue
			}
			inside[e.Visitor] = inside[e.Visitor] || e.State == Passed
			kept = append(kept, e)
		}
		return kept, 0, true
	}},
	{"twice as many let in as the rate allows", Rate, func(head *Head, events []Event) ([]Event, int64, bool) {
		head.Limits.RatePerHour /= 2
		return events, 0, true
	}},
	{"a second session with another end", Admissions, func(_ *Head, events []Event) ([]Event, int64, bool) {
		for i, e := range events {
			if e.Session == nil || e.Kind == Forge {
				continue
			}
			for j := range i {
				if s := events[j].Session; s != nil && s.ID == e.Session.ID {
					events[i].Session.Max++
					return events, e.Visitor, true
				}
			}
		}
		return nil, 0, false
	}},
	{"one who is inside is held", Admissions, func(_ *Head, events []Event) ([]Event, int64, bool) {
		e, at, ok := find(events, func(e Event) bool { return e.Kind == Browse && e.State == Passed && e.Session == nil })
		if ok {
			events[at].State, events[at].Code = New, 200
		}
		return events, e.Visitor, ok
	}},
	{"a place that is forgotten", Places, func(_ *Head, events []Event) ([]Event, int64, bool) {
		all, turn, ok := waiter(events, 4)
		if !ok {
			return nil, 0, false
		}
		at := slices.Index(all, turn) - 1
		for events[all[at]].Kind != Poll {
			at--
		}
		e := &events[all[at]]
		e.State, e.Number, e.Position = New, 0, 0
		return events, e.Visitor, true
	}},
	{"a place that becomes another", Places, func(_ *Head, events []Event) ([]Event, int64, bool) {
		all, turn, ok := waiter(events, 4)
		if !ok {
			return nil, 0, false
		}
		at := slices.Index(all, turn) - 1
		for events[all[at]].Kind != Poll {
			at--
		}
		events[all[at]].Number = 1_000_000
		return events, events[turn].Visitor, true
	}},
	{"an error for a forged ticket", Forgeries, func(_ *Head, events []Event) ([]Event, int64, bool) {
		e, at, ok := find(events, func(e Event) bool { return e.Kind == Forge && e.Code != 0 })
		events[at].State, events[at].Code = Refused, 400
		return events, e.Visitor, ok
	}},
	{"a pass for a forged ticket", Forgeries, func(_ *Head, events []Event) ([]Event, int64, bool) {
		e, at, ok := find(events, func(e Event) bool { return e.Kind == Forge && e.Code != 0 && e.Session == nil })
		events[at].State = Passed
		return events, e.Visitor, ok
	}},
	{"a place for a forged ticket", Forgeries, func(_ *Head, events []Event) ([]Event, int64, bool) {
		e, at, ok := find(events, func(e Event) bool { return e.Kind == Forge && e.Code != 0 && e.State == Waiting })
		events[at].Number = e.Claimed
		return events, e.Visitor, ok
	}},
	{"a pass without an admission", Doubt, func(_ *Head, events []Event) ([]Event, int64, bool) {
		e, at, ok := find(events, func(e Event) bool {
			return e.Kind == Join && e.State == Waiting && len(of(events, e.Visitor)) == 1
		})
		events[at].State, events[at].Number = Passed, 0
		return events, e.Visitor, ok
	}},
	{"a pass by an admission that is over", Doubt, func(head *Head, events []Event) ([]Event, int64, bool) {
		e, _, ok := find(events, func(e Event) bool {
			return e.Kind == Browse && e.State == Passed && e.Session == nil && !slices.ContainsFunc(events, func(o Event) bool {
				return o.Visitor == e.Visitor && o.Sent > e.Sent
			})
		})
		e.Sent += 150_000_000    // the longest session is of two minutes
		head.Limits.Capacity = 0 // which one who is inside for so long would exceed
		return append(events, e), e.Visitor, ok
	}},
}

func TestChecker_NamesEachInvariantThatIsBroken(t *testing.T) {
	type history struct {
		head   Head
		events []Event
	}
	var good []history
	for seed := range uint64(8) {
		ref := drop(seed)
		ref.plan.Bots = 0.2 // whose only request can be changed without another's telling of it
		head, events := ref.run(t)
		good = append(good, history{head, events})
	}
	for _, m := range mutants {
		t.Run(m.name, func(t *testing.T) {
			var head Head
			var mutated []Event
			var visitor int64
			ok := false
			for i := 0; i < len(good) && !ok; i++ { // one of them has what is to be changed
				head = good[i].head
				copied := slices.DeleteFunc(slices.Clone(good[i].events), func(e Event) bool { return e.Kind == Told })
				for i := range copied {
					if s := copied[i].Session; s != nil {
						own := *s
						copied[i].Session = &own
					}
				}
				mutated, visitor, ok = m.put(&head, copied)
			}
			if !ok {
				t.Fatal("the histories have nothing to change")
			}
			for _, j := range judge(head, mutated) {
				switch {
				case j.Invariant == m.breaks && j.Outcome != Broken:
					t.Errorf("%s is %s, want broken", j.Invariant, j.Outcome)
				case j.Invariant == m.breaks && visitor != 0 && !slices.Contains(j.First.Visitors, visitor):
					t.Errorf("%s names %v, want visitor %d: %s", j.Invariant, j.First.Visitors, visitor, j.First.What)
				case j.Invariant == m.breaks:
					t.Log(j.First.What)
				case j.Outcome == Broken:
					t.Errorf("%s is broken too: %s", j.Invariant, j.First.What)
				}
			}
		})
	}
}

// One seat too many is found where the network is fast: seats are counted as the
// line counts them.
func TestChecker_FindsOneSeatTooMany(t *testing.T) {
	for seed := range uint64(4) {
		ref := drop(seed)
		ref.gateways, ref.latency, ref.lost = 1, time.Millisecond, 0
		_, events := ref.run(t)
		limits := NoLimits()
		limits.Capacity = ref.limits.Capacity - 1
		events = slices.DeleteFunc(events, func(e Event) bool { return e.Kind == Told })
		for _, j := range judge(Head{Limits: limits}, events) {
			if j.Invariant == Capacity && j.Outcome != Broken {
				t.Errorf("seed %d: a capacity of %d was never exceeded, as far as the checker sees", seed, limits.Capacity)
			}
		}
	}
}

// Whoever comes back late is charged like everybody else: else a crowd could
// stay away, and come in all at once.
func TestChecker_CountsATurnForEachWhoComesBack(t *testing.T) {
	const second = Micros(1_000_000)
	checker := NewChecker(Head{Limits: Limits{RatePerHour: 3600, Burst: 1, Absence: 60_000, HoldPlace: 600_000}})
	for v := range int64(20) {
		at := Micros(v) * second // one turn a second, which is what the rate allows
		see := func(kind Kind, after Micros, change func(*Event)) {
			e := Event{Sent: at + after, Took: 1000, Visitor: v + 1, Kind: kind, Code: 200, State: Waiting, Number: v + 1, Epoch: 1}
			change(&e)
			checker.See(e)
		}
		see(Join, 0, func(e *Event) {})
		see(Poll, 5*second, func(e *Event) { e.State, e.Claim = Ready, 3 })
		see(Poll, 10*second, func(e *Event) { e.Lapsed = true })
		at = 60*second + Micros(v)*second/10
		see(Enter, 0, func(e *Event) {
			e.State, e.Session = Passed, &Session{ID: string(rune('a' + v)), Number: v + 1, Epoch: 1, Signed: 60, Until: 90, Max: 600}
		})
	}
	for _, j := range checker.Judge() {
		if j.Invariant == Rate && (j.Outcome != Broken || j.First.At < 60*second) {
			t.Errorf("the rate is %s, first %+v; want it broken by those who came back", j.Outcome, j.First)
		}
	}
}

// While the shop is away, who has a turn is told to wait like everybody else.
func TestChecker_TakesNoPauseForBeingPassedOver(t *testing.T) {
	const second = Micros(1_000_000)
	for _, c := range []struct {
		paused bool
		want   Outcome
	}{{false, Broken}, {true, Held}} {
		checker := NewChecker(Head{Limits: Limits{Absence: 60_000, HoldPlace: 600_000}})
		for n := range int64(2) {
			checker.See(Event{Sent: Micros(n) * second, Took: 1000, Visitor: n + 1, Kind: Join, Code: 503, State: Waiting, Number: n + 1, Epoch: 1})
		}
		for at := 2 * second; at < 40*second; at += 2 * second {
			first := Event{Sent: at, Took: 1000, Visitor: 1, Kind: Poll, Code: 200, State: Waiting, Number: 1, Epoch: 1, Paused: c.paused}
			second := Event{Sent: at, Took: 1000, Visitor: 2, Kind: Poll, Code: 200, State: Waiting, Number: 2, Epoch: 1}
			if at > 20_000_000 {
				second.State = Ready
			}
			checker.See(first)
			checker.See(second)
		}
		for _, j := range checker.Judge() {
			if j.Invariant == Order && j.Outcome != c.want {
				t.Errorf("paused %t: order is %s, want %s", c.paused, j.Outcome, c.want)
			}
		}
	}
}
