package admission

import (
	"cmp"
	"container/heap"
	"slices"
	"time"
)

// identityTime is how long an identity's ticket is remembered: as long as a
// queue token lives.
const identityTime = queueTicketLife

// OnceTime is how long the ticket is remembered of an identity that gets one
// place and no other. What makes such an identity must be void by then.
const OnceTime = 15 * time.Minute

// identity is the ticket of a visitor whom the shop knows.
type identity struct {
	Hash    string // of what the shop calls the visitor
	Visitor string
	Number  int64
	End     Instant // it is forgotten then
}

// identities are the tickets of an epoch's visitors whom the shop knows. The
// zero identities is empty.
type identities struct {
	byHash map[string]*identity
	ends   identityHeap // replaced ones stay until their end
}

// get returns the ticket of an identity; nil: it has none, or is no one.
func (ids *identities) get(hash string) *identity {
	if hash == "" {
		return nil
	}
	return ids.byHash[hash]
}

// add gives an identity its ticket, and returns the one it replaces, or nil.
func (ids *identities) add(id *identity) (replaced *identity) {
	if ids.byHash == nil {
		ids.byHash = map[string]*identity{}
	}
	replaced = ids.byHash[id.Hash]
	ids.byHash[id.Hash] = id
	heap.Push(&ids.ends, id)
	return replaced
}

// due takes out and returns a ticket whose end has come; nil: there is none.
func (ids *identities) due(now Instant) *identity {
	for len(ids.ends) > 0 && ids.ends[0].End <= now {
		id := heap.Pop(&ids.ends).(*identity)
		if ids.byHash[id.Hash] == id {
			delete(ids.byHash, id.Hash)
			return id
		}
	}
	return nil
}

// all are the tickets, by number.
func (ids *identities) all(yield func(*identity) bool) {
	byNumber := slices.SortedFunc(slices.Values(ids.ends), func(a, b *identity) int { return cmp.Compare(a.Number, b.Number) })
	for _, id := range byNumber {
		if ids.byHash[id.Hash] == id && !yield(id) {
			return
		}
	}
}

type identityHeap []*identity

func (h identityHeap) Len() int           { return len(h) }
func (h identityHeap) Less(i, j int) bool { return h[i].End < h[j].End }
func (h identityHeap) Swap(i, j int)      { h[i], h[j] = h[j], h[i] }
func (h *identityHeap) Push(x any)        { *h = append(*h, x.(*identity)) }

func (h *identityHeap) Pop() any {
	old := *h
	id := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return id
}
