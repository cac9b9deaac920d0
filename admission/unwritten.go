package admission

import (
	"bytes"
	"errors"

	bolt "go.etcd.io/bbolt"
	bolterrors "go.etcd.io/bbolt/errors"
)

// unwritten is what of a line the file does not have yet. Of turns, sessions,
// ended and spent it has the keys: the values are taken from the line when they
// are written. Changed blocks say so themselves. all: everything, because the
// file has none of it or may have missed some. The zero unwritten is nothing.
type unwritten struct {
	all      bool
	windows  bool // both windows of presence, whole: they moved on
	dropped  []int64
	turns    keySet[int64]
	sessions keySet[string]
	ended    keySet[string]
	spent    keySet[string]

	known     []*identity // that joined
	forgotten []int64     // the numbers of identities; they may be in known
}

// keySet is a set of keys; the zero keySet is empty.
type keySet[K comparable] map[K]struct{}

func (k *keySet[K]) add(key K) {
	if *k == nil {
		*k = keySet[K]{}
	}
	(*k)[key] = struct{}{}
}

// lineSet is what a transaction writes of one line.
type lineSet struct {
	id      LineID
	all     bool // whatever the file has of the line goes first
	state   []byte
	buckets []bucketSet
}

// bucketSet is what a transaction writes of one bucket of a line.
type bucketSet struct {
	name []byte
	anew bool // whatever the file has of it goes first
	puts []put

	ascending bool // new keys are mostly its highest: pages may be filled
}

// put is one entry to be written; a nil value deletes.
type put struct{ key, value []byte }

func (b *bucketSet) put(key, value []byte) { b.puts = append(b.puts, put{key, value}) }

// collect returns what the file lacks, and reports whether that is anything but
// the passing of time. The caller holds the store's mutex.
func (l *line) collect(id LineID) (set lineSet, changed bool) {
	state, u := l.state(), &l.unwritten
	set = lineSet{id: id, all: u.all, state: state.encode()}
	state.At, state.Credit, state.ClaimClock, state.Window = 0, 0, 0, 0
	still := state.encode()
	changed = !bytes.Equal(still, l.still)
	l.still = still
	for _, b := range append(l.mapSets(),
		entries(turnsBucket, u.all, u.turns, l.turns.items, l.turnEntry),
		entries(sessionsBucket, u.all, u.sessions, l.sessions, l.sessionEntry),
		entries(endedBucket, u.all, u.ended, l.ended, l.endedEntry),
		entries(spentBucket, u.all, u.spent, l.spent.byPass, l.spentEntry),
		l.identitySet(),
	) {
		if b.anew || len(b.puts) > 0 {
			set.buckets = append(set.buckets, b)
		}
	}
	l.unwritten = unwritten{}
	return set, changed || set.all || len(set.buckets) > 0
}

func (l *line) mapSets() (sets []bucketSet) {
	for i, m := range l.mapsKept() {
		b := bucketSet{name: mapBuckets[i], ascending: true, anew: l.unwritten.windows && i < windowBuckets}
		for _, index := range l.unwritten.dropped {
			b.put(encodeNumbers(index), nil)
		}
		for j, block := range m.blocks {
			if block == nil || !block.dirty && !b.anew && !l.unwritten.all {
				continue
			}
			block.dirty = false
			b.put(encodeNumbers(m.first+int64(j)), encodeBlock(block))
		}
		sets = append(sets, b)
	}
	return sets
}

// entries are what is written of a bucket: those of the keys that changed, or of
// all that the line has. Of a key that it no longer has, entry gives no value.
func entries[K comparable, V any](name []byte, all bool, changed keySet[K], kept map[K]V, entry func(K) (key, value []byte)) bucketSet {
	b := bucketSet{name: name}
	if all {
		for k := range kept {
			b.put(entry(k))
		}
		return b
	}
	for k := range changed {
		b.put(entry(k))
	}
	return b
}

func (l *line) turnEntry(n int64) (key, value []byte) {
	if at, ok := l.turns.get(n); ok {
		value = encodeNumbers(int64(at))
	}
	return encodeNumbers(n), value
}

func (l *line) sessionEntry(visitor string) (key, value []byte) {
	if s := l.sessions[visitor]; s != nil {
		end, _ := l.sessionEnd.get(visitor)
		value = encodeNumbers(s.Number, int64(s.Until), int64(s.Max), int64(end))
	}
	return []byte(visitor), value
}

func (l *line) endedEntry(visitor string) (key, value []byte) {
	if until, ok := l.ended[visitor]; ok {
		value = encodeNumbers(int64(until))
	}
	return []byte(visitor), value
}

func (l *line) spentEntry(pass string) (key, value []byte) {
	if s := l.spent.of(pass); s.Uses > 0 {
		value = encodeNumbers(s.Uses, int64(s.Until))
	}
	return []byte(pass), value
}

func (l *line) identitySet() bucketSet {
	b := bucketSet{name: identityBucket, ascending: true}
	if l.unwritten.all {
		for id := range l.identities.all {
			b.put(encodeIdentity(id))
		}
		return b
	}
	for _, id := range l.unwritten.known {
		b.put(encodeIdentity(id))
	}
	for _, n := range l.unwritten.forgotten {
		b.put(encodeNumbers(n), nil)
	}
	return b
}

func (set lineSet) write(lines *bolt.Bucket) error {
	name := []byte(set.id.String())
	if set.all {
		if err := deleteBucket(lines, name); err != nil {
			return err
		}
	}
	line, err := lines.CreateBucketIfNotExists(name)
	if err != nil {
		return err
	}
	if err := line.Put(stateKey, set.state); err != nil {
		return err
	}
	for _, b := range set.buckets {
		if err := b.write(line); err != nil {
			return err
		}
	}
	return nil
}

func (b bucketSet) write(line *bolt.Bucket) error {
	if b.anew {
		if err := deleteBucket(line, b.name); err != nil {
			return err
		}
	}
	in, err := line.CreateBucketIfNotExists(b.name)
	if err != nil {
		return err
	}
	if b.ascending {
		in.FillPercent = 1
	}
	for _, p := range b.puts {
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

// deleteBucket deletes a bucket that may not be there.
func deleteBucket(in *bolt.Bucket, name []byte) error {
	if err := in.DeleteBucket(name); err != nil && !errors.Is(err, bolterrors.ErrBucketNotFound) {
		return err
	}
	return nil
}
