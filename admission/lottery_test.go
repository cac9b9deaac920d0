package admission

import "testing"

// A crowd that one tick cannot number is numbered by the ticks that follow, and
// what changes meanwhile does not begin it anew.
func TestLottery_GoesOnWhereTheLastTickStopped(t *testing.T) {
	const n = mostFound + 3*blockBits
	lots, err := NewLots(Seed{1}, "", n)
	if err != nil {
		t.Fatal(err)
	}
	var waiting marks
	for place := int64(1); place <= n; place++ {
		waiting.set(place, 1)
	}
	v := &view{Line: Line{First: 1}}
	v.waiting = board{}.with(MapWaiting, waiting.since(MapWaiting, 0), 1)
	l := &lottery{Lots: lots, numbers: map[int64]*[blockBits]int64{}}
	if _, done := l.pieces(v); done {
		t.Fatal("all were numbered at once")
	}
	waiting.clear(5, 2)
	v.waiting = v.waiting.with(MapWaiting, waiting.since(MapWaiting, 1), 1)
	pieces, done := l.pieces(v)
	if !done {
		t.Fatal("the second tick begins anew")
	}
	var drawn marks
	for _, p := range pieces {
		for place := range p.places {
			drawn.set(place, 1)
		}
	}
	if drawn.count != n-1 || drawn.has(lots.Number(4)) || !drawn.has(lots.Number(0)) {
		t.Fatalf("%d of %d are drawn", drawn.count, n-1)
	}
}
