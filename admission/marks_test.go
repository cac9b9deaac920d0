package admission

import (
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"
)

// naiveMarks is what marks must be like: a set, of which the low end was
// dropped.
type naiveMarks struct {
	set   map[int64]bool
	first int64 // lowest block still kept
}

func (m *naiveMarks) keep(n int64) bool { return n>>blockShift >= m.first }

func (m *naiveMarks) sorted() []int64 { return slices.Sorted(maps.Keys(m.set)) }

func TestMarks_AreASetOfNumbers(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m marks
		want := naiveMarks{set: map[int64]bool{}}
		version := int64(1)
		number := rapid.OneOf(
			rapid.Int64Range(0, 200),
			rapid.Int64Range(blockBits-70, blockBits+70),
			rapid.Int64Range(0, 5*blockBits),
			rapid.Int64Range(1<<20, 1<<20+blockBits), // past a leap
		)
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				n := number.Draw(t, "n")
				missing := want.keep(n) && !want.set[n]
				if got := m.set(n, version); got != missing {
					t.Fatalf("set(%d) reports %v, want %v", n, got, missing)
				}
				if missing {
					want.set[n] = true
				}
			},
			"clear": func(t *rapid.T) {
				n := number.Draw(t, "n")
				if got := m.clear(n, version); got != want.set[n] {
					t.Fatalf("clear(%d) reports %v, want %v", n, got, want.set[n])
				}
				delete(want.set, n)
			},
			"word": func(t *rapid.T) {
				w := number.Draw(t, "n") >> 6
				add, drop := rapid.Uint64().Draw(t, "add"), rapid.Uint64().Draw(t, "drop")
				changed := false
				for i := range int64(64) {
					n, bit := w<<6+i, uint64(1)<<i
					switch {
					case drop&bit != 0 && want.set[n]:
						delete(want.set, n)
						changed = true
					case drop&bit == 0 && add&bit != 0 && want.keep(n) && !want.set[n]:
						want.set[n] = true
						changed = true
					}
				}
				if got := m.word(w, add, drop, version); got != changed {
					t.Fatalf("word(%d, %x, %x) reports %v, want %v", w, add, drop, got, changed)
				}
			},
			"drop": func(t *rapid.T) {
				index := rapid.Int64Range(0, 3).Draw(t, "index")
				m.drop(index)
				want.first = max(want.first, index)
				maps.DeleteFunc(want.set, func(n int64, _ bool) bool { return n>>blockShift < want.first })
			},
			"take the lowest": func(t *rapid.T) {
				n := m.next()
				if n != 0 && m.has(n) {
					m.clear(n, version)
					delete(want.set, n)
				}
			},
			"": func(t *rapid.T) {
				sorted := want.sorted()
				if m.count != int64(len(sorted)) {
					t.Fatalf("count is %d, want %d", m.count, len(sorted))
				}
				lowest := int64(0)
				if len(sorted) > 0 {
					lowest = sorted[0]
				}
				if got := m.next(); got != lowest {
					t.Fatalf("next is %d, want %d", got, lowest)
				}
				n := number.Draw(t, "probe")
				if m.has(n) != want.set[n] {
					t.Fatalf("has(%d) is %v, want %v", n, m.has(n), want.set[n])
				}
				below, _ := slices.BinarySearch(sorted, n)
				if got := m.below(n); got != int64(below) {
					t.Fatalf("%d are below %d, want %d", got, n, below)
				}
			},
		})
	})
}

func TestMarks_SinceReturnsWhatChanged(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		var m marks
		read := map[int64]uint64{} // words, as one who reads each change knows them
		version, seen := int64(0), int64(0)
		t.Repeat(map[string]func(*rapid.T){
			"change": func(t *rapid.T) {
				version++
				for range rapid.IntRange(1, 5).Draw(t, "changes") {
					n := rapid.Int64Range(0, 3*blockBits).Draw(t, "n")
					m.word(n>>6, rapid.Uint64().Draw(t, "add"), rapid.Uint64().Draw(t, "drop"), version)
				}
			},
			"read": func(t *rapid.T) {
				for _, p := range m.since(MapOff, seen) {
					if p.Map != MapOff || p.From%PieceNumbers != 0 || len(p.Bits)*64%PieceNumbers != 0 {
						t.Fatalf("piece of map %d from %d with %d words", p.Map, p.From, len(p.Bits))
					}
					for i, word := range p.Bits {
						read[p.From/64+int64(i)] = word
					}
					p.Bits[0] = ^uint64(0) // the reader's own
				}
				seen = version
				for n := range int64(3 * blockBits) {
					if got := read[n/64]&(1<<(n%64)) != 0; got != m.has(n) {
						t.Fatalf("read change by change, number %d is %v, want %v", n, got, m.has(n))
					}
				}
			},
		})
	})
}

func TestMarks_UnmarkedBlocksTakeNoMemory(t *testing.T) {
	var m marks
	m.set(1<<20, 1)
	made := 0
	for _, b := range m.blocks {
		if b != nil {
			made++
		}
	}
	if made != 1 {
		t.Fatalf("one number made %d blocks", made)
	}
	m.drop(1<<20>>blockShift + 1)
	if len(m.blocks) != 0 || m.count != 0 || m.set(5, 2) {
		t.Fatalf("%d blocks and %d numbers are left after all were dropped", len(m.blocks), m.count)
	}
}
