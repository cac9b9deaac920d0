package admission

import (
	"sync"
	"sync/atomic"
)

// heard is the set of numbers that a gateway heard from since it last told the
// store. Marking takes no lock and, for a number heard already, no write. The
// zero heard is empty and ready.
type heard struct {
	table atomic.Pointer[heardTable]
	grow  sync.Mutex // protects the replacing of table
}

type heardTable struct {
	first  int64
	blocks []*heardBlock
}

type heardBlock struct {
	touched atomic.Bool
	words   [blockWords]atomic.Uint64
}

// mark notes that number n was heard from.
func (h *heard) mark(n int64) {
	b := h.block(n >> blockShift)
	if b == nil {
		return
	}
	word, bit := &b.words[n>>6&(blockWords-1)], uint64(1)<<(n&63)
	if word.Load()&bit == 0 {
		word.Or(bit)
	}
	if !b.touched.Load() {
		b.touched.Store(true)
	}
}

// block returns a block by its number, made if need be; nil where it was
// dropped.
func (h *heard) block(index int64) *heardBlock {
	if t := h.table.Load(); t != nil {
		i := index - t.first
		if i < 0 {
			return nil
		}
		if i < int64(len(t.blocks)) && t.blocks[i] != nil {
			return t.blocks[i]
		}
	}
	h.grow.Lock()
	defer h.grow.Unlock()
	next := &heardTable{first: index}
	if t := h.table.Load(); t != nil {
		*next = heardTable{t.first, append([]*heardBlock(nil), t.blocks...)}
	} else {
		next.first = 0
	}
	i := index - next.first
	if i < 0 {
		return nil
	}
	for int64(len(next.blocks)) <= i {
		next.blocks = append(next.blocks, nil)
	}
	if next.blocks[i] == nil {
		next.blocks[i] = &heardBlock{}
	}
	h.table.Store(next)
	return next.blocks[i]
}

// drop forgets the blocks below that of number first: nobody waits there. A first
// that is lower than before is of another epoch: all is forgotten.
func (h *heard) drop(first int64) {
	index := first >> blockShift
	h.grow.Lock()
	defer h.grow.Unlock()
	t := h.table.Load()
	if t == nil || index == t.first {
		return
	}
	if index < t.first {
		h.table.Store(nil)
		return
	}
	gone := min(index-t.first, int64(len(t.blocks)))
	h.table.Store(&heardTable{index, append([]*heardBlock(nil), t.blocks[gone:]...)})
}

// take returns what was heard since the last take, and forgets it.
func (h *heard) take() []Piece {
	t := h.table.Load()
	if t == nil {
		return nil
	}
	var pieces []Piece
	for i, b := range t.blocks {
		if b == nil || !b.touched.Swap(false) {
			continue
		}
		bits := make([]uint64, blockWords)
		for w := range bits {
			bits[w] = b.words[w].Swap(0)
		}
		pieces = append(pieces, Piece{MapWaiting, (t.first + int64(i)) << blockShift, bits})
	}
	return pieces
}

// restore gives back what take returned and the store did not get.
func (h *heard) restore(pieces []Piece) {
	for _, p := range pieces {
		b := h.block(p.From >> blockShift)
		if b == nil {
			continue
		}
		for w, bits := range p.Bits {
			if bits != 0 {
				b.words[w].Or(bits)
			}
		}
		b.touched.Store(true)
	}
}
