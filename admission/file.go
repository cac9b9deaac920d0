package admission

import (
	"context"
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
	last, err := m.file.load(m)
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
		l.unwritten.sessions.add(visitor)
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
