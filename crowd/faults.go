package crowd

import "slices"

// faults are times of which less is sure: when the line may have lost what it
// had, and when its capacity may have been below what was inside.
type faults struct {
	outages []Micros // when visitors learned that the line could not be asked

	// While the capacity is below what was inside, who has a turn is told to wait
	// like everybody else.
	lowered  []span
	told     Micros // when the limits were last told
	capacity int64  // what it was, or is where it was raised
}

// see takes a request of a visitor.
func (f *faults) see(e *Event) {
	if e.Unavailable {
		f.outages = append(f.outages, e.Got())
	}
}

// tell takes what the gateway told of the capacity at an instant.
func (f *faults) tell(at Micros, capacity int64) {
	defer func() { f.told = at }()
	if capacity == Unknown {
		return
	}
	lower := f.capacity == 0 && capacity > 0 || capacity > 0 && capacity < f.capacity
	n := len(f.lowered)
	switch open := n > 0 && f.lowered[n-1].to == forever; {
	case lower && !open:
		f.lowered = append(f.lowered, span{f.told - heardWithin, forever})
	case !lower && open:
		f.lowered[n-1].to = at + heardWithin
	}
	if !lower {
		f.capacity = capacity
	}
}

// forever is after the end of every history.
const forever = Micros(1 << 62)

// tight reports whether the capacity may have been below what was inside as a
// request that was sent at an instant was told.
func (f *faults) tight(sent Micros) bool {
	return slices.ContainsFunc(f.lowered, func(s span) bool { return sent >= s.from && sent-stale <= s.to })
}

// sort is called once all is seen, and before lost.
func (f *faults) sort() { slices.Sort(f.outages) }

// lost reports whether the line may have lost what it had between two instants,
// as far as visitors learned of it.
func (f *faults) lost(from, to Micros) bool {
	at, _ := slices.BinarySearch(f.outages, from)
	return at < len(f.outages) && f.outages[at] <= to
}
