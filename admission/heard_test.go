package admission

import "testing"

// After a reset a line counts from 1 again, below all that was dropped.
func TestHeard_HearsAgainAfterAReset(t *testing.T) {
	var h heard
	h.mark(5 * blockBits)
	h.drop(5 * blockBits)
	h.mark(3)
	if pieces := h.take(); len(pieces) != 1 || pieces[0].From != 5*blockBits {
		t.Fatalf("%d pieces from %v, want those of block 5 alone", len(pieces), pieces)
	}
	h.drop(1)
	h.mark(3)
	if pieces := h.take(); len(pieces) != 1 || pieces[0].From != 0 || pieces[0].Bits[0] != 1<<3 {
		t.Fatalf("after a reset %v, want number 3 alone", pieces)
	}
}
