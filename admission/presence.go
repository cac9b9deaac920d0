package admission

type step struct {
	At       Instant
	Released int64
}

// mostSteps bounds steps: they are taken a 60th of hold_place apart.
const mostSteps = 64

// keepSteps notes what released is, and moves lost. A step is noted late, never
// early: a place is lost no sooner than hold_place after it was passed.
func (l *line) keepSteps(now Instant) {
	if !l.limited {
		return
	}
	hold := Instant(l.limits.HoldPlace.Microseconds())
	for len(l.steps) > 0 && now-l.steps[0].At >= hold && now >= l.listening {
		l.lost = max(l.lost, l.steps[0].Released)
		l.steps = l.steps[1:]
	}
	last := step{Released: l.lost}
	if len(l.steps) > 0 {
		last = l.steps[len(l.steps)-1]
	}
	if l.released > last.Released && now-last.At >= hold/60 && len(l.steps) < mostSteps {
		l.steps = append(l.steps, step{now, l.released})
	}
}

// turnWindow begins the next window: who was heard in neither of the last two
// is absent from now on.
func (l *line) turnWindow(now Instant) {
	l.unwritten.windows = l.unwritten.windows || len(l.heard.blocks)+len(l.heardBefore.blocks) > 0
	l.heardBefore, l.heard = l.heard, marks{first: l.heard.first}
	l.window = now
	waiting := l.waiting.count
	for i, b := range l.waiting.blocks {
		if b == nil || b.count == 0 {
			continue
		}
		base := (l.waiting.first + int64(i)) << blockShift
		before := l.heardBefore.at(base)
		for w, word := range b.words {
			if gone := word; gone != 0 {
				if before != nil {
					gone &^= before.words[w]
				}
				l.waiting.word(base>>6+int64(w), 0, gone, l.version)
			}
		}
	}
	if l.waiting.count != waiting {
		l.stirred = l.version
	}
	l.dropPassed()
}

// listenAnew restarts the window with everyone who was present: after an
// outage or a heal no number counts as absent until one full window passed.
func (l *line) listenAnew(now Instant) {
	for i, b := range l.heard.blocks {
		if b == nil {
			continue
		}
		base := (l.heard.first + int64(i)) << blockShift
		for w, word := range b.words {
			l.heardBefore.word(base>>6+int64(w), word, 0, l.version)
		}
	}
	l.heard = marks{first: l.heardBefore.first}
	l.window = now
	l.listening = now.Add(l.limits.Absence)
	l.unwritten.windows = true
}

// dropPassed forgets the blocks of numbers all of which have entered, left or
// lost their place.
func (l *line) dropPassed() {
	for index := l.off.first; (index+1)<<blockShift <= l.lost+1; index++ {
		if b := l.waiting.at(index << blockShift); b != nil && b.count > 0 {
			return
		}
		for n := range l.turns.items {
			if n>>blockShift == index {
				return
			}
		}
		for _, m := range l.maps() {
			m.drop(index + 1)
		}
		l.unwritten.dropped = append(l.unwritten.dropped, index)
	}
}

// dropBelow forgets the blocks below that of a number: a gateway was told that
// all in them have entered, left or lost their place. What is left of the line
// may be from before.
func (l *line) dropBelow(first int64) {
	index := first >> blockShift
	if index <= l.off.first {
		return
	}
	for n := range l.turns.items {
		if n>>blockShift < index {
			l.dropTurn(n)
		}
	}
	for _, m := range l.maps() {
		m.drop(index)
	}
	l.unwritten.all = true
}

func (l *line) maps() []*marks {
	return []*marks{&l.waiting, &l.off, &l.done, &l.heard, &l.heardBefore}
}

// hear marks 64 numbers from 64×w on as heard from. Numbers that are off are
// never marked, else admitted ones come back as ghosts; nor those never given;
// nor those whose place is lost.
func (l *line) hear(w int64, bits uint64) {
	base := w << 6
	if base > l.Issued {
		return
	}
	if w == 0 {
		bits &^= 1 // there is no number 0
	}
	if over := base + 63 - l.Issued; over > 0 {
		bits &= ^uint64(0) >> over
	}
	if b := l.off.at(base); b != nil {
		bits &^= b.words[w&(blockWords-1)]
	}
	if base <= l.lost {
		kept := uint64(0)
		if b := l.waiting.at(base); b != nil {
			kept = b.words[w&(blockWords-1)]
		}
		if under := l.lost - base + 1; under < 64 {
			kept |= ^uint64(0) << under
		}
		bits &= kept
	}
	if bits == 0 || w/blockWords < l.off.first {
		return
	}
	l.heard.word(w, bits, 0, l.version)
	if l.waiting.word(w, bits, 0, l.version) {
		l.stirred = l.version
	}
}

// hearOne marks one number.
func (l *line) hearOne(n int64) { l.hear(n>>6, 1<<(n&63)) }
