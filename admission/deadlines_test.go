package admission

import (
	"testing"

	"pgregory.net/rapid"
)

func TestDeadlines_ComeDueInOrder(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		d := newDeadlines[int]()
		want := map[int]Instant{}
		key := rapid.IntRange(0, 20)
		at := rapid.Map(rapid.Int64Range(0, 50), func(i int64) Instant { return Instant(i) })
		t.Repeat(map[string]func(*rapid.T){
			"set": func(t *rapid.T) {
				k, i := key.Draw(t, "key"), at.Draw(t, "at")
				d.set(k, i)
				want[k] = i
			},
			"remove": func(t *rapid.T) {
				k := key.Draw(t, "key")
				_, has := want[k]
				if got := d.remove(k); got != has {
					t.Fatalf("remove(%d) reports %v, want %v", k, got, has)
				}
				delete(want, k)
			},
			"due": func(t *rapid.T) {
				now := at.Draw(t, "now")
				for last := Instant(-1); ; {
					k, ok := d.due(now)
					if !ok {
						break
					}
					i, has := want[k]
					if !has || i > now || i < last {
						t.Fatalf("at %d key %d is due after %d, want it at %d (%v)", now, k, last, i, has)
					}
					last = i
					delete(want, k)
				}
				for k, i := range want {
					if i <= now {
						t.Fatalf("key %d was due at %d, and is not at %d", k, i, now)
					}
				}
			},
			"": func(t *rapid.T) {
				if d.len() != len(want) {
					t.Fatalf("%d deadlines, want %d", d.len(), len(want))
				}
				k := key.Draw(t, "probe")
				got, ok := d.get(k)
				if i, has := want[k]; ok != has || got != i {
					t.Fatalf("key %d is due at %d (%v), want %d (%v)", k, got, ok, i, has)
				}
			},
		})
	})
}
