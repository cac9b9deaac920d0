package admission

import "math/bits"

// A block is the piece of a map that is counted, versioned and written
// together: 4,096 numbers, 512 bytes.
const (
	blockShift = 12
	blockBits  = 1 << blockShift
	blockWords = blockBits / 64
)

type block struct {
	words   [blockWords]uint64
	count   int64 // bits set in words
	version int64 // of the last change, by the owner's count
	dirty   bool  // changed since it was last written to the file
}

// marks is a set of numbers, a bit each. The zero marks is empty. Blocks
// nobody marked take no memory. It is not safe for concurrent use.
type marks struct {
	first  int64 // block number of blocks[0]
	blocks []*block
	count  int64
	lowest int64 // no number below it is set; a hint for next
}

// at returns the block of a number, or nil.
func (m *marks) at(n int64) *block {
	i := n>>blockShift - m.first
	if i < 0 || i >= int64(len(m.blocks)) {
		return nil
	}
	return m.blocks[i]
}

// grow returns the block with a block number, made if need be; nil where it
// was dropped.
func (m *marks) grow(index int64) *block {
	i := index - m.first
	if i < 0 {
		return nil
	}
	for int64(len(m.blocks)) <= i {
		m.blocks = append(m.blocks, nil)
	}
	if m.blocks[i] == nil {
		m.blocks[i] = &block{}
	}
	return m.blocks[i]
}

func (m *marks) has(n int64) bool {
	b := m.at(n)
	return b != nil && b.words[n>>6&(blockWords-1)]&(1<<(n&63)) != 0
}

// set adds n, and reports whether it was missing.
func (m *marks) set(n, version int64) bool {
	return m.word(n>>6, 1<<(n&63), 0, version)
}

// clear takes n out, and reports whether it was there.
func (m *marks) clear(n, version int64) bool {
	return m.word(n>>6, 0, 1<<(n&63), version)
}

// word changes 64 numbers at once: those from 64×w on. It adds the bits of
// add, takes out those of drop, and reports whether anything changed. Words of
// a dropped block stay empty.
func (m *marks) word(w int64, add, drop uint64, version int64) bool {
	index := w / blockWords
	b := m.at(w << 6)
	if b == nil {
		if add&^drop == 0 {
			return false
		}
		if b = m.grow(index); b == nil {
			return false
		}
	}
	was := b.words[w&(blockWords-1)]
	is := was&^drop | add&^drop
	if was == is {
		return false
	}
	b.words[w&(blockWords-1)] = is
	change := int64(bits.OnesCount64(is) - bits.OnesCount64(was))
	b.count += change
	m.count += change
	b.version, b.dirty = version, true
	if fresh := is &^ was; fresh != 0 {
		m.lowest = min(m.lowest, w<<6+int64(bits.TrailingZeros64(fresh)))
	}
	return true
}

// next returns the lowest number of the set, or 0. Its cost does not grow with
// the set: it begins where the last one was found, and skips empty blocks.
func (m *marks) next() int64 {
	if m.count == 0 {
		return 0
	}
	from := max(m.lowest, m.first<<blockShift)
	for i := from>>blockShift - m.first; i < int64(len(m.blocks)); i++ {
		b := m.blocks[i]
		if b == nil || b.count == 0 {
			continue
		}
		base := (m.first + i) << blockShift
		start := max(0, (from-base)>>6)
		for w := start; w < blockWords; w++ {
			word := b.words[w]
			if w == start && from > base {
				word &= ^uint64(0) << (from & 63)
			}
			if word != 0 {
				m.lowest = base + w<<6 + int64(bits.TrailingZeros64(word))
				return m.lowest
			}
		}
	}
	return 0
}

// below counts the numbers of the set that are lower than n.
func (m *marks) below(n int64) (count int64) {
	for i, b := range m.blocks {
		base := (m.first + int64(i)) << blockShift
		if base >= n {
			break
		}
		if b != nil {
			count += b.below(n - base)
		}
	}
	return count
}

// below counts the bits set under the n-th of the block; n may lie beyond it.
func (b *block) below(n int64) int64 {
	if n >= blockBits {
		return b.count
	}
	return onesBelow(&b.words, n)
}

func onesBelow(words *[blockWords]uint64, n int64) int64 {
	count := 0
	for _, word := range words[:n>>6] {
		count += bits.OnesCount64(word)
	}
	if n&63 != 0 {
		count += bits.OnesCount64(words[n>>6] & (1<<(n&63) - 1))
	}
	return int64(count)
}

// drop forgets the blocks below a block number for good.
func (m *marks) drop(index int64) {
	if index <= m.first {
		return
	}
	gone := min(index-m.first, int64(len(m.blocks)))
	for _, b := range m.blocks[:gone] {
		if b != nil {
			m.count -= b.count
		}
	}
	m.blocks = append([]*block(nil), m.blocks[gone:]...)
	m.first = index
}

// since returns the blocks changed after a version, as pieces that share no
// memory with the set.
func (m *marks) since(kind Map, version int64) []Piece {
	var pieces []Piece
	for i, b := range m.blocks {
		if b != nil && b.version > version {
			words := b.words
			pieces = append(pieces, Piece{Map: kind, From: (m.first + int64(i)) << blockShift, Bits: words[:]})
		}
	}
	return pieces
}
