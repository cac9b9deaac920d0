package admission

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"

	bolt "go.etcd.io/bbolt"
)

// formVersion is the form of the file that this build reads and writes. Older
// files are brought to it when they are opened:
//
//  1. said nothing of its form, and had identities by their hash.
//  2. has identities by their numbers: what joins together is written together.
const formVersion = 2

// The file says its form, and holds a bucket for each line, named
// tenant:activity, with one entry named state, and a bucket for each map, for
// turns, sessions, ended, identities and what passes were spent.
var (
	formBucket     = []byte("form")
	versionKey     = []byte("version")
	keysBucket     = []byte("keys")
	linesBucket    = []byte("lines")
	stateKey       = []byte("state")
	turnsBucket    = []byte("turns")
	sessionsBucket = []byte("sessions")
	endedBucket    = []byte("ended")
	identityBucket = []byte("identities-by-number")
	spentBucket    = []byte("spent")
	mapBuckets     = [][]byte{[]byte("heard"), []byte("heard-before"), []byte("off"), []byte("done")}
)

// windowBuckets is how many of mapBuckets are the windows of presence.
const windowBuckets = 2

func (l *line) mapsKept() []*marks { return []*marks{&l.heard, &l.heardBefore, &l.off, &l.done} }

// state is the part of a line that is written whole each time.
type lineState struct {
	Epoch, Issued, Released   int64
	Drawn                     int64
	Turned, Passed, Admitted  int64
	Credit                    int64
	Born, At, Window          Instant
	ClaimClock                Instant
	Limits                    Limits
	Limited                   bool
	Steps                     []step
	Lost, First               int64
	Nameless                  int64
	NamelessUntil, BlindUntil Instant
	Reentry, Behind           Instant
	Overrides                 Overrides
	Draw                      Draw
}

func (l *line) state() lineState {
	return lineState{
		Epoch: l.Epoch, Issued: l.Issued, Drawn: l.Drawn, Released: l.released, Turned: l.turned, Passed: l.passed, Admitted: l.admitted,
		Credit: l.credit, Born: l.born, At: l.at, Window: l.window, ClaimClock: l.claimClock,
		Limits: l.limits, Limited: l.limited, Steps: l.steps, Lost: l.lost, First: l.off.first,
		Nameless: l.nameless, NamelessUntil: l.namelessUntil, BlindUntil: l.blindUntil,
		Reentry: l.reentry, Behind: l.behind, Overrides: l.overrides, Draw: l.draw,
	}
}

func (s lineState) encode() []byte {
	text, err := json.Marshal(s)
	if err != nil {
		panic(fmt.Sprintf("a line's state is plain numbers: %v", err))
	}
	return text
}

// load fills a store from the file, which it brings to formVersion first, and
// returns the latest instant in it, by the store's clock. A file that cannot be
// read whole is left as it is.
func (f *file) load(m *MemoryStore) (last Instant, err error) {
	var version int
	read := func(tx *bolt.Tx) (err error) {
		last, err = m.read(tx)
		return err
	}
	err = f.db.View(func(tx *bolt.Tx) (err error) {
		if version, err = versionOf(tx); err != nil || version != formVersion {
			return err
		}
		return read(tx)
	})
	if err != nil || version == formVersion {
		return last, err
	}
	err = f.db.Update(func(tx *bolt.Tx) error {
		if err := migrate(tx, version); err != nil {
			return fmt.Errorf("bring it from form %d to %d: %w", version, formVersion, err)
		}
		return read(tx)
	})
	return last, err
}

func versionOf(tx *bolt.Tx) (int, error) {
	b := tx.Bucket(formBucket)
	if b == nil {
		return 1, nil // or it is empty
	}
	version, err := strconv.Atoi(string(b.Get(versionKey)))
	switch {
	case err != nil:
		return 0, fmt.Errorf("its form: %w", err)
	case version > formVersion:
		return 0, fmt.Errorf("it is of form %d, and this build knows forms up to %d: a newer one wrote it", version, formVersion)
	}
	return version, nil
}

// read fills a store from the file, and returns the latest instant in it.
func (m *MemoryStore) read(tx *bolt.Tx) (last Instant, err error) {
	if b := tx.Bucket(keysBucket); b != nil {
		if err := json.Unmarshal(b.Get(keysBucket), &m.keys); err != nil {
			return 0, fmt.Errorf("signing keys: %w", err)
		}
	}
	lines := tx.Bucket(linesBucket)
	if lines == nil {
		return 0, nil
	}
	err = lines.ForEachBucket(func(name []byte) error {
		id, err := parseLineID(string(name))
		if err != nil {
			return err
		}
		l, err := readLine(lines.Bucket(name))
		if err != nil {
			return fmt.Errorf("line %s: %w", id, err)
		}
		m.lines[id] = l
		last = max(last, l.at-l.behind)
		return nil
	})
	return last, err
}

var errTorn = errors.New("an entry has the wrong length")

func readLine(b *bolt.Bucket) (*line, error) {
	var s lineState
	if err := json.Unmarshal(b.Get(stateKey), &s); err != nil {
		return nil, fmt.Errorf("state: %w", err)
	}
	l := newLine(s.At)
	l.Floor, l.draw = Floor{s.Epoch, s.Issued, s.Drawn}, s.Draw
	l.released, l.turned, l.passed, l.admitted, l.credit = s.Released, s.Turned, s.Passed, s.Admitted, s.Credit
	l.born, l.window, l.claimClock = s.Born, s.Window, s.ClaimClock
	l.limits, l.limited, l.steps, l.lost = s.Limits, s.Limited, s.Steps, s.Lost
	l.nameless, l.namelessUntil, l.blindUntil = s.Nameless, s.NamelessUntil, s.BlindUntil
	l.reentry, l.behind = s.Reentry, s.Behind
	l.overrides, l.told = s.Overrides, s.Limits

	for i, m := range l.mapsKept() {
		m.first = s.First
		err := each(b, mapBuckets[i], blockWords*8, func(key, value []byte) {
			index := decodeNumber(key, 0)
			for w := range int64(blockWords) {
				m.word(index*blockWords+w, uint64(decodeNumber(value, int(w))), 0, l.version)
			}
			if block := m.at(index << blockShift); block != nil {
				block.dirty = false
			}
		})
		if err != nil {
			return nil, err
		}
	}
	l.waiting.first = s.First
	for _, m := range []*marks{&l.heard, &l.heardBefore} {
		for i, block := range m.blocks {
			if block == nil {
				continue
			}
			base := (m.first + int64(i)) << blockShift
			for w, word := range block.words {
				if off := l.off.at(base); off != nil {
					word &^= off.words[w]
				}
				l.waiting.word(base>>6+int64(w), word, 0, l.version)
			}
		}
	}
	err := errors.Join(
		each(b, turnsBucket, 8, func(key, value []byte) {
			l.turns.set(decodeNumber(key, 0), Instant(decodeNumber(value, 0)))
		}),
		each(b, sessionsBucket, 32, func(key, value []byte) {
			s := &Admission{
				Visitor: string(key), Number: decodeNumber(value, 0),
				Until: Instant(decodeNumber(value, 1)), Max: Instant(decodeNumber(value, 2)),
			}
			l.sessions[s.Visitor] = s
			l.sessionEnd.set(s.Visitor, Instant(decodeNumber(value, 3)))
		}),
		each(b, endedBucket, 8, func(key, value []byte) {
			e := Ended{string(key), Instant(decodeNumber(value, 0))}
			l.ended[e.Visitor] = e.Until
			l.endedLog = append(l.endedLog, endedAt{e, l.version})
		}),
		each(b, spentBucket, 16, func(key, value []byte) {
			l.spent.raise(Spent{string(key), decodeNumber(value, 0), Instant(decodeNumber(value, 1))}, l.version)
		}),
		l.readIdentities(b.Bucket(identityBucket)),
	)
	return l, err
}

func (l *line) readIdentities(b *bolt.Bucket) error {
	if b == nil {
		return nil
	}
	return b.ForEach(func(key, value []byte) error {
		id, ok := decodeIdentity(key, value)
		if !ok {
			return fmt.Errorf("%s: %w", identityBucket, errTorn)
		}
		l.identities.add(id)
		return nil
	})
}

func each(b *bolt.Bucket, name []byte, size int, do func(key, value []byte)) error {
	in := b.Bucket(name)
	if in == nil {
		return nil
	}
	return in.ForEach(func(key, value []byte) error {
		if len(value) != size {
			return fmt.Errorf("%s: %w", name, errTorn)
		}
		do(key, value)
		return nil
	})
}

// encodeNumbers is numbers of 8 bytes each, which sort as the numbers do.
func encodeNumbers(numbers ...int64) []byte {
	text := make([]byte, 0, 8*len(numbers))
	for _, n := range numbers {
		text = binary.BigEndian.AppendUint64(text, uint64(n))
	}
	return text
}

// decodeNumber is the i-th of some numbers.
func decodeNumber(text []byte, i int) int64 { return int64(binary.BigEndian.Uint64(text[8*i:])) }

func encodeBlock(b *block) []byte {
	value := make([]byte, 0, blockWords*8)
	for _, word := range b.words {
		value = binary.BigEndian.AppendUint64(value, word)
	}
	return value
}

// encodeIdentity is an identity by its number: its end, the length of its hash,
// the hash, and the visitor.
func encodeIdentity(id *identity) (key, value []byte) {
	value = make([]byte, 0, 8+binary.MaxVarintLen64+len(id.Hash)+len(id.Visitor))
	value = binary.BigEndian.AppendUint64(value, uint64(id.End))
	value = binary.AppendUvarint(value, uint64(len(id.Hash)))
	value = append(value, id.Hash...)
	return encodeNumbers(id.Number), append(value, id.Visitor...)
}

// decodeIdentity undoes encodeIdentity; false: it cannot be.
func decodeIdentity(key, value []byte) (*identity, bool) {
	if len(key) != 8 || len(value) < 8 {
		return nil, false
	}
	id := &identity{Number: decodeNumber(key, 0), End: Instant(decodeNumber(value, 0))}
	length, n := binary.Uvarint(value[8:])
	rest := value[8+max(0, n):]
	if n <= 0 || length > uint64(len(rest)) {
		return nil, false
	}
	id.Hash, id.Visitor = string(rest[:length]), string(rest[length:])
	return id, true
}
