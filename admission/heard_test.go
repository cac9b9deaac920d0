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

// Whoever was heard from by index, while the maps were written by number, is
// heard from by number.
func TestRoom_MarksOfIndexesBecomeMarksOfTheirNumbers(t *testing.T) {
	lots, err := NewLots(Seed{1}, "", 64)
	if err != nil {
		t.Fatal(err)
	}
	r := &Room{}
	r.entries.mark(4)
	r.heard.mark(70)
	entries, heard := r.marks(&view{})
	if len(entries) != 1 || entries[0].Bits[0] != 1<<4 || len(heard) != 1 || heard[0].Bits[1] != 1<<6 {
		t.Fatalf("before the draw %v and %v are heard, want index 3 and number 70", entries, heard)
	}
	r.unmark(entries, heard)
	entries, heard = r.marks(&view{lots: lots})
	if n := lots.Number(3); len(entries) != 0 || len(heard) != 1 || heard[0].Bits[n/64]&(1<<(n%64)) == 0 || heard[0].Bits[1]&(1<<6) == 0 {
		t.Fatalf("after the draw %v and %v are heard, want numbers %d and 70", entries, heard, n)
	}
}
