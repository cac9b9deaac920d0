package admission

// A draw takes these steps. Before the start, a gateway pins the key of the
// epoch's draw; from then on its commitment stands, and visitors join with an
// index. In the maps an index is a place like a number: index plus one. The
// first step at or after the start closes the indexes, the line settles, and N
// is written: places up to it are indexes, those above are numbers of who came
// later. Then a gateway that can make the seed writes the maps anew by number,
// and from that step on all places are numbers.

// Draw is the draw of an epoch as the store keeps it. Each field is written
// once in an epoch. N is the line's Floor.Drawn. The zero Draw is none.
type Draw struct {
	// Key is the kid of the key that makes the seed. Source is where a public
	// value will come from that is mixed in, and Beacon that value; an empty
	// Source: none is.
	Key    string
	Source string
	Beacon string

	// Later is the highest number given when the indexes were closed. An index
	// from N up to it, which nobody told of in time, has its own place as its
	// number: behind the drawn, before who came later, in the order of joining.
	Later int64

	Mapped bool // places up to N are numbers
}

// Drawing is what a gateway or an operator adds to a draw.
type Drawing struct {
	// Key and Source are pinned in an epoch that has given no place yet, before
	// its start, or where Indexed says that an index of it was seen.
	Key     string
	Source  string
	Indexed bool

	// Beacon is kept once the indexes are closed, where a source was named.
	Beacon string

	// Pieces are the maps up to N by number, made of those that the line had at
	// version Since. Where it changed since other than by joins, they are passed
	// over. Since 0: there are none.
	Since  int64
	Pieces []Piece
}

// draws reports whether the epoch has a draw.
func (l *line) draws() bool { return l.draw.Key != "" || l.Drawn > 0 }

// drawing reports whether places are indexes yet.
func (l *line) drawing() bool { return l.draws() && !l.draw.Mapped }

// indexed reports whether a place that was given to a newcomer was an index.
func (l *line) indexed(n int64) bool { return n > 0 && l.draws() && (l.Drawn == 0 || n <= l.Drawn) }

// unnumbered reports whether no number is meant by a place yet.
func (l *line) unnumbered(n int64) bool { return !l.draw.Mapped && l.indexed(n) }

// indexing reports whether who joins now gets an index.
func (l *line) indexing() bool { return l.draw.Key != "" && l.Drawn == 0 && l.limits.early(l.at) }

// closes reports whether the start has come to a draw whose indexes are open.
func (l *line) closes(now Instant) bool {
	return l.limited && l.draw.Key != "" && l.Drawn == 0 && l.limits.begun(now)
}

// closeIndexes writes N: all indexes, rounded up to whole words of the maps.
func (l *line) closeIndexes() {
	l.Drawn = (max(l.Issued, 1) + 63) / 64 * 64
	l.Issued = l.Drawn
	l.draw.Later = l.Issued
}

// means reports whether a caller, mapped or not, and the line mean the same by a
// place.
func (l *line) means(mapped bool, n int64) bool {
	return mapped == l.draw.Mapped || !l.draws() || l.Drawn > 0 && n > l.Drawn
}

// meant returns what of 64 places from 64×w on a caller means as the line does.
func (l *line) meant(mapped bool, w int64, word uint64) uint64 {
	switch base := w << 6; {
	case l.means(mapped, base):
		return word
	case base == l.Drawn:
		return word &^ 1
	}
	return 0
}

// take adds to the draw what is not there yet.
func (l *line) take(d Drawing) {
	if l.settling != nil || !l.limited { // what gateways remember comes first
		return
	}
	if l.draw.Key == "" && d.Key != "" &&
		(l.Drawn > 0 || d.Indexed || l.limits.Draw && !l.limits.begun(l.at) && l.Issued == 0) {
		l.draw.Key, l.draw.Source = d.Key, d.Source
	}
	if l.Drawn == 0 || l.draw.Key == "" || l.draw.Mapped {
		return
	}
	if l.draw.Source != "" && l.draw.Beacon == "" {
		l.draw.Beacon = d.Beacon
	}
	if d.Since > 0 && d.Since >= l.stirred && d.Since <= l.version && (l.draw.Source == "" || l.draw.Beacon != "") {
		l.renumber()
		for _, kind := range []Map{MapDone, MapOff, MapWaiting} { // who left does not wait
			for _, p := range d.Pieces {
				if p.Map == kind {
					l.lay(p)
				}
			}
		}
	}
}

// renumber forgets what is known of places up to N, which are numbers from now
// on.
func (l *line) renumber() {
	for _, m := range l.maps() {
		for w := m.first * blockWords; w<<6 <= l.Drawn; w++ {
			m.word(w, 0, l.upTo(w), l.version)
		}
	}
	l.draw.Mapped = true
}

// upTo returns which of 64 places from 64×w on are within N.
func (l *line) upTo(w int64) uint64 {
	switch base := w << 6; {
	case base < l.Drawn:
		return ^uint64(0)
	case base == l.Drawn:
		return 1
	}
	return 0
}

// lay writes a map by number, up to N.
func (l *line) lay(p Piece) {
	for i, word := range p.Bits {
		w := p.From>>6 + int64(i)
		if word &= l.upTo(w); word == 0 {
			continue
		}
		switch p.Map {
		case MapDone:
			l.done.word(w, word, 0, l.version)
			fallthrough
		case MapOff:
			l.off.word(w, word, 0, l.version)
		case MapWaiting:
			l.hear(w, word)
		}
	}
}

// recallDraw takes what a gateway remembers of the draw.
func (l *line) recallDraw(d Draw) {
	if l.draw.Key == "" {
		l.draw.Key, l.draw.Source = d.Key, d.Source
	}
	if l.draw.Beacon == "" && l.draw.Source == d.Source {
		l.draw.Beacon = d.Beacon
	}
	if l.draw.Later == 0 {
		l.draw.Later = d.Later
	}
	if d.Mapped && !l.draw.Mapped && l.Drawn > 0 {
		l.renumber()
	}
}
