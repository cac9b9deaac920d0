package admission

import "time"

// span is a run of numbers that follow each other; a newcomer who got none is
// a span of one noNumber or one lineFull.
type span struct{ first, count int64 }

// What a newcomer gets in place of a number.
const (
	noNumber = 0  // too many came from the network
	lineFull = -1 // too many wait
	hadPlace = -2 // its identity had one, once
)

func follow(given []span, n int64) []span {
	if last := len(given) - 1; last >= 0 && given[last].first > 0 && n == given[last].first+given[last].count {
		given[last].count++
		return given
	}
	return append(given, span{n, 1})
}

func numbersOf(given []span) (numbers []int64) {
	for _, s := range given {
		for i := range s.count {
			numbers = append(numbers, s.first+i)
		}
	}
	return numbers
}

// join gives newcomers their numbers. nil: the line takes no one now.
func (l *line) join(batch string, newcomers []Newcomer) []Place {
	if given, ok := l.batches[batch]; ok {
		return l.joined(numbersOf(given), newcomers)
	}
	if l.settling != nil || !l.limited || l.limits.Mode == ModeClosed || !l.limits.begun(l.at) && !l.indexing() || l.limits.over(l.at) {
		return nil
	}
	var given []span
	places := make([]Place, len(newcomers))
	for i, newcomer := range newcomers {
		places[i] = l.joinOne(newcomer)
		number := places[i].Number
		switch {
		case places[i].Full:
			number = lineFull
		case places[i].Spent:
			number = hadPlace
		}
		given = follow(given, number)
	}
	l.batches[batch] = given
	l.batchEnd.set(batch, l.at.Add(batchMemory))
	return places
}

func (l *line) joinOne(newcomer Newcomer) Place {
	if id := l.identities.get(newcomer.Identity); id != nil && !(newcomer.Over == id.Number && l.indexed(id.Number)) {
		place, ok := l.placeOf(id)
		switch {
		case ok:
			return place
		case newcomer.Once:
			return Place{Spent: true}
		}
	}
	if l.limits.full(l.waiting.count) {
		return Place{Full: true}
	}
	if wait := l.throttle(newcomer.Network); wait > 0 {
		return Place{RetryAfter: wait}
	}
	l.Issued++
	n := l.Issued
	l.heard.set(n, l.version)
	l.waiting.set(n, l.version)
	if newcomer.Identity != "" {
		l.know(newcomer, n)
	}
	if l.indexed(n) {
		return Place{Number: n, Visitor: newcomer.Visitor, Indexed: true}
	}
	if newcomer.Waits {
		return Place{Number: n, Visitor: newcomer.Visitor, Position: l.waiting.count}
	}
	// No token came back from this visitor yet: a bot, a prefetch or a curl
	// must not hold a seat for the whole idle time.
	idle := min(l.limits.Idle, 2*l.limits.Claim)
	if admission, ok := l.quiet(newcomer.Visitor, n, idle); ok {
		return Place{Number: n, Visitor: newcomer.Visitor, Admission: admission}
	}
	return Place{Number: n, Visitor: newcomer.Visitor, Position: l.waiting.count} // all others have lower numbers
}

// know remembers the ticket of a newcomer whom the shop knows.
func (l *line) know(newcomer Newcomer, n int64) {
	id := &identity{Hash: newcomer.Identity, Visitor: newcomer.Visitor, Number: n, End: l.at.Add(identityTime)}
	if newcomer.Once {
		id.End = l.at.Add(OnceTime)
	}
	l.unwritten.known = append(l.unwritten.known, id)
	if replaced := l.identities.add(id); replaced != nil {
		l.unwritten.forgotten = append(l.unwritten.forgotten, replaced.Number)
	}
}

// throttle counts a join of a network, or tells how long it must wait.
func (l *line) throttle(network string) time.Duration {
	if network == "" || l.limits.JoinsPerHour == 0 {
		return 0
	}
	each := Instant(creditUnit / l.limits.JoinsPerHour)
	used, _ := l.throttles.get(network)
	used = max(used, l.at) + each
	if open := used - each*Instant(l.limits.JoinBurst); open > l.at {
		return open.Sub(l.at)
	}
	l.throttles.set(network, used)
	return 0
}

// placeOf returns the place of an identity that still has one.
func (l *line) placeOf(id *identity) (Place, bool) {
	place := Place{Number: id.Number, Visitor: id.Visitor, Indexed: l.indexed(id.Number)}
	if s := l.sessions[id.Visitor]; s != nil && l.ended[id.Visitor] == 0 {
		place.Admission = *s
		return place, true
	}
	n := id.Number
	if place.Indexed && l.draw.Mapped { // who knows its number knows the rest
		return place, true
	}
	_, turned := l.turns.get(n)
	if n>>blockShift < l.off.first || l.done.has(n) || n <= l.lost && !l.waiting.has(n) && !turned {
		return Place{}, false
	}
	l.hearOne(n)
	if place.Indexed {
		return place, true
	}
	place.Position = 1
	if l.waiting.has(n) {
		place.Position = l.waiting.below(n) + 1
	}
	return place, true
}

// joined answers a batch again: the same numbers, and the sessions that were
// begun with them.
func (l *line) joined(numbers []int64, newcomers []Newcomer) []Place {
	places := make([]Place, min(len(numbers), len(newcomers)))
	for i, newcomer := range newcomers[:len(places)] {
		n, visitor := numbers[i], newcomer.Visitor
		if id := l.identities.get(newcomer.Identity); id != nil && id.Number == n {
			visitor = id.Visitor
		}
		places[i] = Place{Number: n, Visitor: visitor, Indexed: l.indexed(n)}
		switch {
		case n == lineFull:
			places[i] = Place{Full: true}
		case n == hadPlace:
			places[i] = Place{Spent: true}
		case n == noNumber:
			places[i] = Place{RetryAfter: max(Tick, l.throttleLeft(newcomer.Network))}
		case l.sessions[visitor] != nil && l.ended[visitor] == 0:
			places[i].Admission = *l.sessions[visitor]
		case l.waiting.has(n) && !places[i].Indexed:
			places[i].Position = l.waiting.below(n) + 1
		}
	}
	return places
}

// throttleLeft tells how long a network must wait, without counting a join.
func (l *line) throttleLeft(network string) time.Duration {
	used, ok := l.throttles.get(network)
	if !ok || l.limits.JoinsPerHour == 0 {
		return 0
	}
	each := Instant(creditUnit / l.limits.JoinsPerHour)
	return (used + each - each*Instant(l.limits.JoinBurst)).Sub(l.at)
}
