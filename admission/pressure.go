package admission

import (
	"hash/maphash"
	"math/bits"
	"net/netip"
	"sync/atomic"
	"time"
)

const (
	// calm is how many challenges a network may be given at once before it is
	// given harder ones: with each doubling by a bit.
	calm = 8

	// fades is how long one counts: half a minute's worth of them is forgotten in
	// half a minute.
	fades = 2 * time.Second

	// longestPressure bounds how long a network is felt that asks no more. With
	// it, no challenge is more than six bits harder.
	longestPressure = 10 * time.Minute
)

// pressure is how many challenges networks were given lately by this gateway. It
// is a sketch (count-min) of fixed size: a network may seem busier than it is
// where others fall into both its cells, never calmer. It is safe for concurrent
// use.
type pressure struct {
	seed  maphash.Seed
	cells [2][1 << 16]atomic.Int64 // Instants at which what was counted has faded
}

func newPressure() *pressure { return &pressure{seed: maphash.MakeSeed()} }

// count counts a challenge for a network, and returns how many bits harder it is
// to be. Of a network that is not known nothing is counted.
func (p *pressure) count(network netip.Prefix, now Instant) int {
	if !network.IsValid() {
		return 0
	}
	hash := maphash.Comparable(p.seed, network)
	before := longestPressure
	for row := range p.cells {
		cell := &p.cells[row][uint16(hash>>(16*row))]
		was := cell.Load()
		for !cell.CompareAndSwap(was, int64(min(max(Instant(was), now).Add(fades), now.Add(longestPressure)))) {
			was = cell.Load()
		}
		before = min(before, max(0, Instant(was).Sub(now)))
	}
	return bits.Len(uint(before / (calm * fades)))
}
