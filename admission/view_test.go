package admission

import (
	"math/rand/v2"
	"sync"
	"testing"
)

// TestBoard_CountsAsTheMarksItWasReadFrom reads random maps piece by piece, as
// a gateway does, and compares every answer with the store's own.
func TestBoard_CountsAsTheMarksItWasReadFrom(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	var m marks
	var b board
	version := int64(0)
	most := int64(5 * blockBits)
	for range 200 {
		seen := version
		version++
		for range 300 {
			n := 1 + random.Int64N(most)
			if random.IntN(3) == 0 {
				m.clear(n, version)
			} else {
				m.set(n, version)
			}
		}
		if random.IntN(40) == 0 {
			m.drop(m.first + 1)
		}
		b = b.with(MapOff, m.since(MapOff, seen), m.first<<blockShift)
		for range 50 {
			n := random.Int64N(most + blockBits)
			if got, want := b.has(n), m.has(n); got != want {
				t.Fatalf("has(%d) = %v, want %v", n, got, want)
			}
			if got, want := b.below(n), m.below(n); got != want {
				t.Fatalf("below(%d) = %d, want %d", n, got, want)
			}
		}
		if b.count != m.count {
			t.Fatalf("count = %d, want %d", b.count, m.count)
		}
	}
}

func TestHeard_NothingHeardIsLostWhileItIsTaken(t *testing.T) {
	var h heard
	const each, voices = 20_000, 4
	taken := map[int64]bool{}
	take := func() {
		for _, p := range h.take() {
			for w, bits := range p.Bits {
				for bit := range int64(64) {
					if bits&(1<<bit) != 0 {
						taken[p.From+int64(w)*64+bit] = true
					}
				}
			}
		}
	}
	var all sync.WaitGroup
	for voice := range int64(voices) {
		all.Go(func() {
			for i := range int64(each) {
				h.mark(1 + voice + i*voices)
			}
		})
	}
	done := make(chan struct{})
	go func() { all.Wait(); close(done) }()
	for running := true; running; {
		select {
		case <-done:
			running = false
		default:
		}
		take()
	}
	take()
	if len(taken) != each*voices {
		t.Errorf("%d numbers were taken, want the %d that were heard", len(taken), each*voices)
	}
}

func TestHeard_RestoreGivesBackWhatTheStoreDidNotGet(t *testing.T) {
	var h heard
	h.mark(7)
	h.mark(5000)
	pieces := h.take()
	if len(h.take()) != 0 {
		t.Fatal("a second take finds what the first took")
	}
	h.mark(8)
	h.restore(pieces)
	h.drop(blockBits) // everything below number 4096 is over
	left := h.take()
	if len(left) != 1 || left[0].From != blockBits || left[0].Bits[(5000-blockBits)/64]&(1<<(5000%64)) == 0 {
		t.Errorf("got %v, want number 5000 alone", left)
	}
	h.mark(7)
	if len(h.take()) != 0 {
		t.Error("a number of a dropped block was marked")
	}
}
