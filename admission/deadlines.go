package admission

import "container/heap"

// deadlines are instants by key, the earliest at hand. The zero value is not
// ready for use: see newDeadlines. It is not safe for concurrent use.
type deadlines[K comparable] struct {
	items map[K]*deadline[K]
	order deadlineHeap[K]
}

type deadline[K comparable] struct {
	key   K
	at    Instant
	index int
}

func newDeadlines[K comparable]() deadlines[K] {
	return deadlines[K]{items: map[K]*deadline[K]{}}
}

func (d *deadlines[K]) len() int { return len(d.items) }

// get returns the deadline of a key, and whether there is one.
func (d *deadlines[K]) get(key K) (Instant, bool) {
	if item := d.items[key]; item != nil {
		return item.at, true
	}
	return 0, false
}

// set gives a key its deadline, whether or not it had one.
func (d *deadlines[K]) set(key K, at Instant) {
	if item := d.items[key]; item != nil {
		item.at = at
		heap.Fix(&d.order, item.index)
		return
	}
	item := &deadline[K]{key: key, at: at}
	d.items[key] = item
	heap.Push(&d.order, item)
}

// remove takes a key out, and reports whether it was there.
func (d *deadlines[K]) remove(key K) bool {
	item := d.items[key]
	if item == nil {
		return false
	}
	heap.Remove(&d.order, item.index)
	delete(d.items, key)
	return true
}

// due takes out and returns the key with the earliest deadline at or before
// now, while there is one.
func (d *deadlines[K]) due(now Instant) (key K, ok bool) {
	if len(d.order) == 0 || d.order[0].at > now {
		return key, false
	}
	item := heap.Pop(&d.order).(*deadline[K])
	delete(d.items, item.key)
	return item.key, true
}

type deadlineHeap[K comparable] []*deadline[K]

func (h deadlineHeap[K]) Len() int           { return len(h) }
func (h deadlineHeap[K]) Less(i, j int) bool { return h[i].at < h[j].at }
func (h deadlineHeap[K]) Swap(i, j int) {
	h[i], h[j] = h[j], h[i]
	h[i].index, h[j].index = i, j
}

func (h *deadlineHeap[K]) Push(x any) {
	item := x.(*deadline[K])
	item.index = len(*h)
	*h = append(*h, item)
}

func (h *deadlineHeap[K]) Pop() any {
	old := *h
	item := old[len(old)-1]
	old[len(old)-1] = nil
	*h = old[:len(old)-1]
	return item
}
