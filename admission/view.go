package admission

import "time"

// staleAfter is how long a gateway goes on by what it last read of the line
// before it says that the store cannot be asked: a dozen missed ticks.
const staleAfter = 3 * time.Second

// view is a gateway's picture of a line, as of its last tick. It never
// changes; each tick makes a new one that shares what stayed the same.
type view struct {
	Line
	sent    time.Time // when the call it answers was sent
	waiting board
	off     board
	done    board
	claims  map[int64]Instant
	pace    pace

	turnover turnover

	opened *opened // the seed of the draw; nil: there is none, or no key for it
	lots   *Lots   // places up to N are numbers, and these are they; nil: not yet
}

// now is the line's time at the latest: what the store said, plus all that has
// passed since it was asked. A session judged by it dies early, never late.
func (v *view) now() Instant { return v.Now.Add(time.Since(v.sent)) }

// message is what the operator tells visitors, or else what the file says.
func (v *view) message(file string) string {
	if m := v.Overrides.Message; m != nil {
		return *m
	}
	return file
}

func (v *view) stale() bool { return time.Since(v.sent) > staleAfter }

// update returns the view after a reading. A reading of everything (since 0)
// begins with empty boards.
func (v *view) update(read Line, sent time.Time, all bool) *view {
	next := &view{Line: read, sent: sent, claims: make(map[int64]Instant, len(read.Claims))}
	var boards [3]board // by Map
	if !all {
		boards = [3]board{v.waiting, v.off, v.done}
	}
	for kind := range boards {
		boards[kind] = boards[kind].with(Map(kind), read.Pieces, read.First)
	}
	next.waiting, next.off, next.done = boards[MapWaiting], boards[MapOff], boards[MapDone]
	for _, c := range read.Claims {
		next.claims[c.Number] = c.Until
	}
	next.Pieces, next.Claims = nil, nil
	return next
}

// position is the number of people present and waiting before n, plus one.
// joined is the line after the latest join, for numbers that no tick has told
// of yet: whoever joined between n and then stands behind it.
func (v *view) position(n int64, joined Head) int64 {
	switch {
	case n <= v.Issued:
		return v.waiting.below(n) + 1
	case n <= joined.Issued:
		return max(1, joined.Waiting-(joined.Issued-n))
	}
	return v.waiting.count + 1
}

// standing is where a number of this epoch stands, as far as this gateway
// knows.
type standing uint8

const (
	standsWaiting standing = iota
	standsTurned           // has a turn
	standsOff              // lapsed, entered or left: the store knows more
	standsDone             // entered or left
	standsLost             // absent for too long
)

func (v *view) standing(n int64) standing {
	switch {
	case n > v.Issued:
		return standsWaiting // given since the last tick
	case n < v.First || v.done.has(n):
		return standsDone
	case v.claims[n] != 0:
		return standsTurned
	case v.off.has(n):
		if n <= v.Lost {
			return standsLost
		}
		return standsOff
	case n <= v.Lost && !v.waiting.has(n):
		return standsLost
	}
	return standsWaiting
}

// pieces returns the maps for a store that lost them.
func (v *view) pieces() []Piece {
	var all []Piece
	for kind, b := range []board{MapWaiting: v.waiting, MapOff: v.off, MapDone: v.done} {
		for i, words := range b.blocks {
			if words != nil {
				all = append(all, Piece{Map(kind), (b.first + int64(i)) << blockShift, words[:]})
			}
		}
	}
	return all
}

// board is a map over numbers that never changes, with counts, so that a rank
// costs a look-up and at most a block of words, whatever the line's length.
type board struct {
	first  int64 // block number of blocks[0]
	blocks []*[blockWords]uint64
	before []int64 // set bits in the blocks before each
	count  int64
}

func (b board) has(n int64) bool {
	i := n>>blockShift - b.first
	return i >= 0 && i < int64(len(b.blocks)) && b.blocks[i] != nil &&
		b.blocks[i][n>>6&(blockWords-1)]&(1<<(n&63)) != 0
}

// below counts the numbers set that are lower than n.
func (b board) below(n int64) int64 {
	i := n>>blockShift - b.first
	switch {
	case i < 0:
		return 0
	case i >= int64(len(b.blocks)):
		return b.count
	case b.blocks[i] == nil:
		return b.before[i]
	}
	return b.before[i] + onesBelow(b.blocks[i], n&(blockBits-1))
}

// with returns the board with the pieces of its kind laid over it, without
// blocks below that of number first.
func (b board) with(kind Map, pieces []Piece, first int64) board {
	from := first >> blockShift
	changed := from != b.first
	for _, p := range pieces {
		changed = changed || p.Map == kind
	}
	if !changed {
		return b
	}
	next := board{first: from}
	if skip := from - b.first; skip < int64(len(b.blocks)) {
		next.blocks = append(next.blocks, b.blocks[max(0, skip):]...)
	}
	for _, p := range pieces {
		if p.Map != kind {
			continue
		}
		for at := 0; at+blockWords <= len(p.Bits); at += blockWords {
			i := (p.From+int64(at)*64)>>blockShift - from
			if i < 0 {
				continue
			}
			for int64(len(next.blocks)) <= i {
				next.blocks = append(next.blocks, nil)
			}
			next.blocks[i] = (*[blockWords]uint64)(p.Bits[at : at+blockWords])
		}
	}
	next.before = make([]int64, len(next.blocks))
	for i, words := range next.blocks {
		next.before[i] = next.count
		if words != nil {
			next.count += onesBelow(words, blockBits)
		}
	}
	return next
}
