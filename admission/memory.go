package admission

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"time"
)

// MemoryStore is the store that needs no service: the lines of one process, behind
// one mutex, and a file that has every number, turn, admission, end and leave
// before the answer does, so that a restart or a kill loses no place and no
// seat. Renewals and presence are written within a tick or two.
//
// If the file cannot be written, it goes on from memory, tells Health, and
// writes all it missed when it can.
type MemoryStore struct {
	now func() Instant

	mu    sync.Mutex // protects lines, keys, and the state of each line
	lines map[LineID]*line
	keys  []Key

	file *file // nil: nothing is written
}

// NewMemory returns a store that forgets everything with the process. A nil
// clock is the machine's.
func NewMemory(clock func() time.Time) *MemoryStore {
	m := &MemoryStore{lines: map[LineID]*line{}}
	m.now = storeClock(clock, 0)
	return m
}

// storeClock makes the store's clock: it starts at the machine's time, or at
// least where the store last stood if the machine's clock was set back, and
// from then on a jump of the machine's clock does not move it.
func storeClock(clock func() time.Time, last Instant) func() Instant {
	if clock == nil {
		clock = time.Now
	}
	start := clock()
	base := max(InstantOf(start), last)
	return func() Instant { return base.Add(clock().Sub(start)) }
}

// line returns a line, made if need be. The caller holds the mutex.
func (m *MemoryStore) line(id LineID, now Instant) *line {
	l := m.lines[id]
	if l == nil {
		l = newLine(now)
		l.unwritten.all = true
		m.lines[id] = l
	}
	return l
}

// step runs one step on a line, and waits until it is written where it must
// be: lasting tells whether it is of a kind that a restart may not lose.
func (m *MemoryStore) step(ctx context.Context, call Call, lasting bool, do func(*line)) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	m.mu.Lock()
	now := m.now()
	l := m.line(call.Line, now)
	given, turned := l.Floor, l.turned
	l.advance(call, now)
	do(l)
	lasting = lasting || l.Floor != given || l.turned != turned
	var written <-chan struct{}
	if m.file == nil {
		l.unwritten = unwritten{}
	} else {
		written = m.file.want(lasting)
	}
	m.mu.Unlock()
	if written == nil {
		return nil
	}
	select {
	case <-written:
		return nil
	case <-m.file.closed:
		return fmt.Errorf("store file is closed: %w", ErrUnavailable)
	case <-ctx.Done():
		return fmt.Errorf("wait for the file: %w", ctx.Err())
	}
}

// Join implements Store.
func (m *MemoryStore) Join(ctx context.Context, call Call, batch string, newcomers []Newcomer) (head Head, places []Place, err error) {
	err = m.step(ctx, call, true, func(l *line) {
		places = l.join(batch, newcomers)
		head = l.head()
	})
	return head, places, err
}

// Release implements Store.
func (m *MemoryStore) Release(ctx context.Context, call Call, limits Limits, since int64) (read Line, err error) {
	if err := limits.Check(); err != nil {
		return Line{}, fmt.Errorf("limits of line %s: %w", call.Line, err)
	}
	err = m.step(ctx, call, false, func(l *line) {
		l.setLimits(call.Gateway, limits)
		l.release()
		read = l.read(since)
	})
	return read, err
}

// Admit implements Store.
func (m *MemoryStore) Admit(ctx context.Context, call Call, knocks []Knock) (head Head, entries []Entry, err error) {
	err = m.step(ctx, call, true, func(l *line) {
		for _, k := range knocks {
			entries = append(entries, l.knock(k))
		}
		head = l.head()
	})
	return head, entries, err
}

// Renew implements Store.
func (m *MemoryStore) Renew(ctx context.Context, call Call, visitors []string) (head Head, entries []Entry, err error) {
	err = m.step(ctx, call, false, func(l *line) {
		for _, visitor := range visitors {
			entries = append(entries, l.renew(visitor))
		}
		head = l.head()
	})
	return head, entries, err
}

// Leave implements Store.
func (m *MemoryStore) Leave(ctx context.Context, call Call, departures []Departure) (head Head, err error) {
	err = m.step(ctx, call, true, func(l *line) {
		for _, d := range departures {
			l.leave(call, d)
		}
		head = l.head()
	})
	return head, err
}

// Present implements Store.
func (m *MemoryStore) Present(ctx context.Context, call Call, heard []Piece) (head Head, err error) {
	err = m.step(ctx, call, false, func(l *line) {
		for _, p := range heard {
			for i, word := range p.Bits {
				w := p.From>>6 + int64(i)
				if word = l.meant(call.Mapped, w, word); word != 0 {
					l.hear(w, word)
				}
			}
		}
		head = l.head()
	})
	return head, err
}

// Heal implements Store.
func (m *MemoryStore) Heal(ctx context.Context, call Call, memory Memory) (head Head, err error) {
	err = m.step(ctx, call, true, func(l *line) {
		l.heal(call, memory)
		head = l.head()
	})
	return head, err
}

// Override implements Store.
func (m *MemoryStore) Override(ctx context.Context, call Call, overrides Overrides) (head Head, err error) {
	err = m.step(ctx, call, true, func(l *line) {
		l.override(overrides)
		head = l.head()
	})
	return head, err
}

// Spend implements Store.
func (m *MemoryStore) Spend(ctx context.Context, call Call, spent []Spent) (head Head, err error) {
	err = m.step(ctx, call, true, func(l *line) {
		for _, s := range spent {
			l.spend(s)
		}
		head = l.head()
	})
	return head, err
}

// Reset implements Store.
func (m *MemoryStore) Reset(ctx context.Context, call Call, epoch int64) (head Head, err error) {
	err = m.step(ctx, call, true, func(l *line) {
		l.reset(epoch)
		head = l.head()
	})
	return head, err
}

// Draw implements Store.
func (m *MemoryStore) Draw(ctx context.Context, call Call, drawing Drawing) (head Head, err error) {
	err = m.step(ctx, call, true, func(l *line) {
		l.take(drawing)
		head = l.head()
	})
	return head, err
}

// Keys implements Store.
func (m *MemoryStore) Keys(ctx context.Context, fresh Key, known ...Key) ([]Key, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	keys := slices.Clone(m.keys)
	for _, k := range known {
		if !slices.ContainsFunc(keys, func(kept Key) bool { return kept.ID == k.ID }) {
			keys = append(keys, k)
		}
	}
	if len(keys) == 0 {
		keys = []Key{fresh}
	}
	if len(keys) > len(m.keys) && m.file != nil {
		// A key that were lost would take every place with it.
		if err := m.file.writeKeys(keys); err != nil {
			return nil, fmt.Errorf("keep signing keys: %w", err)
		}
	}
	m.keys = keys
	return keys, nil
}
