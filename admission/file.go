package admission

import (
	"bytes"
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"runtime/debug"
	"sync"
	"time"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// unwritten is what of a line the file does not have yet: keys, whose values
// are taken from the line when they are written. Changed blocks say so
// themselves. all: everything, because the file has none of it or may have
// missed some.
type unwritten struct {
	all      bool
	windows  bool // both windows of presence, whole: they moved on
	dropped  []int64
	turns    map[int64]struct{}
	sessions map[string]struct{}
	ended    map[string]struct{}

	identities map[string]struct{}
	spent      map[string]struct{}
}

func newUnwritten() unwritten {
	return unwritten{
		turns: map[int64]struct{}{}, sessions: map[string]struct{}{}, ended: map[string]struct{}{},
		identities: map[string]struct{}{}, spent: map[string]struct{}{},
	}
}

// retryAfter is how long a file that could not be written is left alone.
const retryAfter = time.Second

// file writes the lines of a MemoryStore to a bbolt file, one transaction for
// all that came since the last one.
type file struct {
	db    *bolt.DB
	store *MemoryStore
	wake  chan struct{}

	closed chan struct{} // closed when nothing is written any more

	mu   sync.Mutex    // protects next and err
	next chan struct{} // closed when what is in memory now was written, or could not be
	err  error         // of the last transaction
}

// want asks for a transaction, and where the caller must wait for it returns
// the channel that tells.
func (f *file) want(wait bool) <-chan struct{} {
	if !wait {
		return nil // the writer comes by each tick
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.err != nil {
		return nil // nothing can be written now: go on from memory, at once
	}
	select {
	case f.wake <- struct{}{}:
	default:
	}
	return f.next
}

// OpenMemory opens a store that keeps its lines in a file at path, made if
// need be. Run must be called for steps to be answered. A nil clock is the
// machine's.
func OpenMemory(path string, clock func() time.Time) (store *MemoryStore, err error) {
	// bbolt panics over pages that are not what they should be, and reads of a
	// file that was cut short are memory faults.
	defer debug.SetPanicOnFault(debug.SetPanicOnFault(true))
	var db *bolt.DB
	defer func() {
		if damage := recover(); damage != nil {
			store, err = nil, fmt.Errorf("open store file %s: it is damaged: %v", path, damage)
			if db != nil {
				err = errors.Join(err, db.Close())
			}
		}
	}()
	db, err = bolt.Open(path, 0o600, &bolt.Options{Timeout: time.Second})
	switch {
	case errors.Is(err, bolterrors.ErrTimeout):
		return nil, fmt.Errorf("open store file %s: another process has it open", path)
	case errors.Is(err, fs.ErrPermission):
		return nil, fmt.Errorf("open store file %s: permission denied for user %d", path, os.Getuid())
	case err != nil:
		return nil, fmt.Errorf("open store file %s: %w", path, err)
	}
	m := &MemoryStore{lines: map[LineID]*line{}}
	m.file = &file{db: db, store: m, wake: make(chan struct{}, 1), next: make(chan struct{}), closed: make(chan struct{})}
	last, err := m.file.read(m)
	if err != nil {
		return nil, errors.Join(fmt.Errorf("read store file %s: %w", path, err), db.Close())
	}
	m.now = storeClock(clock, last)
	now := m.now()
	for _, l := range m.lines {
		l.resume(now)
	}
	return m, nil
}

// resume brings a line that was read from a file back to work: nobody could
// be heard meanwhile, and no session could be used.
func (l *line) resume(now Instant) {
	l.clock = now
	now = max(now+l.behind, l.at)
	for visitor, s := range l.sessions {
		if l.ended[visitor] != 0 {
			continue
		}
		s.Until = max(s.Until, min(now.Add(l.limits.Idle), s.Max))
		l.sessionEnd.set(visitor, s.Until.Add(SessionGrace))
		l.unwritten.sessions[visitor] = struct{}{}
	}
	l.listenAnew(now)
	l.credit = 0
	l.at = now
	// The limits of the last run stand until the first tick tells new ones.
}

// Run writes what changed, at once where an answer waits for it and each tick
// otherwise, until ctx ends; then it writes the rest and closes the file, and
// steps that would have to be written are answered with ErrUnavailable. It may
// be called once.
func (m *MemoryStore) Run(ctx context.Context) error {
	if m.file == nil {
		<-ctx.Done()
		return nil
	}
	tick := time.NewTicker(Tick)
	defer tick.Stop()
	for {
		select {
		case <-m.file.wake:
		case <-tick.C:
		case <-ctx.Done():
			err := m.file.write()
			close(m.file.closed)
			return errors.Join(err, m.file.db.Close())
		}
		if err := m.file.write(); err != nil {
			// The next tries come with a pause, so that a full disk does not
			// slow every answer down; who waits is answered from memory.
			select {
			case <-time.After(retryAfter):
			case <-ctx.Done():
			}
		}
	}
}

// Health returns nil, or why the file lacks what is in memory.
func (m *MemoryStore) Health() error {
	if m.file == nil {
		return nil
	}
	m.file.mu.Lock()
	defer m.file.mu.Unlock()
	return m.file.err
}

// write writes what changed since the last time. Where that fails all of it
// counts as unwritten, and whoever waits is answered all the same: the line
// goes on from memory.
func (f *file) write() error {
	f.store.mu.Lock()
	var sets []lineSet
	for id, l := range f.store.lines {
		if set, changed := l.collect(id); changed {
			sets = append(sets, set)
		}
	}
	f.mu.Lock()
	done := f.next
	f.next = make(chan struct{})
	f.mu.Unlock()
	f.store.mu.Unlock()

	var err error
	if len(sets) > 0 {
		err = f.commit(sets)
	}
	if err != nil {
		f.store.mu.Lock()
		for _, l := range f.store.lines {
			l.unwritten.all = true
		}
		f.store.mu.Unlock()
		err = fmt.Errorf("write store file: %w", err)
	}
	f.mu.Lock()
	f.err = err
	f.mu.Unlock()
	close(done)
	return err
}

// The file holds a bucket for each line, named tenant:activity, with one entry
// named state, and a bucket for each map, for turns, sessions and ended.
var (
	keysBucket     = []byte("keys")
	linesBucket    = []byte("lines")
	stateKey       = []byte("state")
	turnsBucket    = []byte("turns")
	sessionsBucket = []byte("sessions")
	endedBucket    = []byte("ended")
	identityBucket = []byte("identities")
	spentBucket    = []byte("spent")
	mapBuckets     = [][]byte{[]byte("heard"), []byte("heard-before"), []byte("off"), []byte("done")}
)

// windowBuckets is how many of mapBuckets are the windows of presence.
const windowBuckets = 2

func (l *line) mapsKept() []*marks { return []*marks{&l.heard, &l.heardBefore, &l.off, &l.done} }

// lineSet is what a transaction writes of one line; a nil value deletes.
type lineSet struct {
	id    LineID
	all   bool     // whatever the file has of the line goes first
	empty [][]byte // and of these buckets
	state []byte
	puts  []put
}

type put struct {
	bucket, key, value []byte
}

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

// collect returns what the file lacks, and reports whether that is anything but
// the passing of time. The caller holds the store's mutex.
func (l *line) collect(id LineID) (set lineSet, changed bool) {
	state := l.state()
	set = lineSet{id: id, all: l.unwritten.all, state: state.encode()}
	state.At, state.Credit, state.ClaimClock, state.Window = 0, 0, 0, 0
	still := state.encode()
	changed = !bytes.Equal(still, l.still)
	l.still = still
	for i, m := range l.mapsKept() {
		anew := set.all || l.unwritten.windows && i < windowBuckets
		if anew && !set.all {
			set.empty = append(set.empty, mapBuckets[i])
		}
		for _, index := range l.unwritten.dropped {
			set.puts = append(set.puts, put{bucket: mapBuckets[i], key: blockKey(index)})
		}
		for j, b := range m.blocks {
			if b == nil || !b.dirty && !anew {
				continue
			}
			b.dirty = false
			set.puts = append(set.puts, put{mapBuckets[i], blockKey(m.first + int64(j)), encodeBlock(b)})
		}
	}
	if set.all {
		for n := range l.turns.items {
			l.unwritten.turns[n] = struct{}{}
		}
		for visitor := range l.sessions {
			l.unwritten.sessions[visitor] = struct{}{}
		}
		for visitor := range l.ended {
			l.unwritten.ended[visitor] = struct{}{}
		}
		for id := range l.identities {
			l.unwritten.identities[id] = struct{}{}
		}
		for pass := range l.spent.byPass {
			l.unwritten.spent[pass] = struct{}{}
		}
	}
	for n := range l.unwritten.turns {
		p := put{bucket: turnsBucket, key: blockKey(n)}
		if at, ok := l.turns.get(n); ok {
			p.value = blockKey(int64(at))
		}
		set.puts = append(set.puts, p)
	}
	for visitor := range l.unwritten.sessions {
		p := put{bucket: sessionsBucket, key: []byte(visitor)}
		if s := l.sessions[visitor]; s != nil {
			end, _ := l.sessionEnd.get(visitor)
			for _, v := range []int64{s.Number, int64(s.Until), int64(s.Max), int64(end)} {
				p.value = binary.BigEndian.AppendUint64(p.value, uint64(v))
			}
		}
		set.puts = append(set.puts, p)
	}
	for visitor := range l.unwritten.ended {
		p := put{bucket: endedBucket, key: []byte(visitor)}
		if until, ok := l.ended[visitor]; ok {
			p.value = blockKey(int64(until))
		}
		set.puts = append(set.puts, p)
	}
	for id := range l.unwritten.identities {
		p := put{bucket: identityBucket, key: []byte(id)}
		if kept, ok := l.identities[id]; ok {
			end, _ := l.identityEnd.get(id)
			for _, v := range []int64{kept.Number, kept.Epoch, int64(end)} {
				p.value = binary.BigEndian.AppendUint64(p.value, uint64(v))
			}
			p.value = append(p.value, kept.Visitor...)
		}
		set.puts = append(set.puts, p)
	}
	for pass := range l.unwritten.spent {
		p := put{bucket: spentBucket, key: []byte(pass)}
		if s := l.spent.of(pass); s.Uses > 0 {
			p.value = append(blockKey(s.Uses), blockKey(int64(s.Until))...)
		}
		set.puts = append(set.puts, p)
	}
	l.unwritten = newUnwritten()
	return set, changed || set.all || len(set.puts)+len(set.empty) > 0
}

func (f *file) commit(sets []lineSet) error {
	return f.db.Update(func(tx *bolt.Tx) error {
		lines, err := tx.CreateBucketIfNotExists(linesBucket)
		if err != nil {
			return err
		}
		for _, set := range sets {
			if err := set.write(lines); err != nil {
				return fmt.Errorf("line %s: %w", set.id, err)
			}
		}
		return nil
	})
}

func (set lineSet) write(lines *bolt.Bucket) error {
	name := []byte(set.id.String())
	if set.all {
		if err := lines.DeleteBucket(name); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
			return err
		}
	}
	b, err := lines.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	if err := b.Put(stateKey, set.state); err != nil {
		return err
	}
	for _, name := range set.empty {
		if err := b.DeleteBucket(name); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
			return err
		}
	}
	for _, p := range set.puts {
		in, err := b.CreateBucketIfNotExists(p.bucket)
		if err != nil {
			return err
		}
		if p.value == nil {
			err = in.Delete(p.key)
		} else {
			err = in.Put(p.key, p.value)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (f *file) writeKeys(keys []Key) error {
	value, err := json.Marshal(keys)
	if err != nil {
		return err
	}
	return f.db.Update(func(tx *bolt.Tx) error {
		b, err := tx.CreateBucketIfNotExists(keysBucket)
		if err != nil {
			return err
		}
		return b.Put(keysBucket, value)
	})
}

// read fills a store from the file, and returns the latest instant in it, by
// the store's clock.
func (f *file) read(m *MemoryStore) (last Instant, err error) {
	err = f.db.View(func(tx *bolt.Tx) error {
		if b := tx.Bucket(keysBucket); b != nil {
			if err := json.Unmarshal(b.Get(keysBucket), &m.keys); err != nil {
				return fmt.Errorf("signing keys: %w", err)
			}
		}
		lines := tx.Bucket(linesBucket)
		if lines == nil {
			return nil
		}
		return lines.ForEachBucket(func(name []byte) error {
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
			index := int64(binary.BigEndian.Uint64(key))
			for w := range int64(blockWords) {
				m.word(index*blockWords+w, binary.BigEndian.Uint64(value[w*8:]), 0, l.version)
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
			l.turns.set(int64(binary.BigEndian.Uint64(key)), Instant(binary.BigEndian.Uint64(value)))
		}),
		each(b, sessionsBucket, 32, func(key, value []byte) {
			var v [4]int64
			for i := range v {
				v[i] = int64(binary.BigEndian.Uint64(value[i*8:]))
			}
			l.sessions[string(key)] = &Admission{Visitor: string(key), Number: v[0], Until: Instant(v[1]), Max: Instant(v[2])}
			l.sessionEnd.set(string(key), Instant(v[3]))
		}),
		each(b, endedBucket, 8, func(key, value []byte) {
			e := Ended{string(key), Instant(binary.BigEndian.Uint64(value))}
			l.ended[e.Visitor] = e.Until
			l.endedLog = append(l.endedLog, endedAt{e, l.version})
		}),
		each(b, spentBucket, 16, func(key, value []byte) {
			uses, until := binary.BigEndian.Uint64(value), binary.BigEndian.Uint64(value[8:])
			l.spent.raise(Spent{string(key), int64(uses), Instant(until)}, l.version)
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
		if len(value) < 24 {
			return fmt.Errorf("%s: %w", identityBucket, errTorn)
		}
		number := func(i int) int64 { return int64(binary.BigEndian.Uint64(value[i*8:])) }
		l.identities[string(key)] = identity{Visitor: string(value[24:]), Number: number(0), Epoch: number(1)}
		l.identityEnd.set(string(key), Instant(number(2)))
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

func blockKey(n int64) []byte { return binary.BigEndian.AppendUint64(nil, uint64(n)) }

func encodeBlock(b *block) []byte {
	value := make([]byte, 0, blockWords*8)
	for _, word := range b.words {
		value = binary.BigEndian.AppendUint64(value, word)
	}
	return value
}
