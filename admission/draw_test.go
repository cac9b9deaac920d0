package admission

import (
	"encoding/json"
	"fmt"
	"math"
	"os"
	"testing"
)

func lots(t testing.TB, seed Seed, beacon string, n int64) *Lots {
	t.Helper()
	l, err := NewLots(seed, beacon, n)
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// seedOf returns one seed of many.
func seedOf(i int) Seed {
	return NewSeed([]byte("a key of some thirty and two bytes"), LineID{"test", 1}, int64(i)+1, "")
}

func TestLots_AreAPermutation(t *testing.T) {
	t.Parallel()
	sizes := []int64{1, 2, 3, 4, 5, 7, 8, 9, 15, 16, 17, 63, 64, 65, 127, 128, 1000, 1023, 1024, 1025, 4096, 4160, 9999, 16_448}
	for _, n := range sizes {
		l := lots(t, seedOf(int(n)), "", n)
		taken := make([]bool, n+1)
		for i := range n {
			number := l.Number(i)
			if number < 1 || number > n || taken[number] {
				t.Fatalf("of %d places, index %d has number %d, which is outside or taken", n, i, number)
			}
			taken[number] = true
			if back := l.Index(number); back != i {
				t.Fatalf("of %d places, index %d has number %d, whose index is %d", n, i, number, back)
			}
		}
	}
}

func TestLots_OfManyPlacesCanBeUndone(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{1_000_000, 1<<20 + 64, 50_000_000, 1 << 32, MaxDrawn} {
		l := lots(t, seedOf(1), "", n)
		for step := range int64(2000) {
			i := step * (n / 2000)
			if number := l.Number(i); number < 1 || number > n || l.Index(number) != i {
				t.Fatalf("of %d places, index %d has number %d, whose index is %d", n, i, number, l.Index(number))
			}
		}
	}
}

func TestLots_OfNoPlacesAreRefused(t *testing.T) {
	t.Parallel()
	for _, n := range []int64{-1, 0, MaxDrawn + 1} {
		if _, err := NewLots(Seed{}, "", n); err == nil {
			t.Errorf("%d places are drawn", n)
		}
	}
}

// chiSquare returns the sum of (seen - want)²/want.
func chiSquare(seen []int, want float64) (sum float64) {
	for _, s := range seen {
		d := float64(s) - want
		sum += d * d / want
	}
	return sum
}

// most is the value that a chi-square of so many degrees of freedom passes once
// in 10^6 times, by Wilson and Hilferty: the cube root of chi²/df is near normal
// with mean 1-2/(9 df) and variance 2/(9 df), and 4.753 deviations are that
// rare. The seeds are fixed: what passes once passes always.
func most(freedom int) float64 {
	df := float64(freedom)
	return df * math.Pow(1-2/(9*df)+4.753*math.Sqrt(2/(9*df)), 3)
}

// Whenever one came, each number is as likely: over many draws of 64 places, each
// index has each number equally often. 64 × 64 cells whose rows and columns
// have fixed sums have 63 × 63 degrees of freedom; of each row alone it is 63.
func TestLots_NoArrivalIsLuckier(t *testing.T) {
	t.Parallel()
	const n, draws = 64, 4096
	var seen [n][]int
	for i := range seen {
		seen[i] = make([]int, n)
	}
	for d := range draws {
		l := lots(t, seedOf(d), "", n)
		for i := range int64(n) {
			seen[i][l.Number(i)-1]++
		}
	}
	all := 0.0
	for i := range seen {
		row := chiSquare(seen[i], draws/n)
		all += row
		if row > most(n-1) {
			t.Errorf("the numbers of index %d: chi-square %.0f, at most %.0f", i, row, most(n-1))
		}
	}
	if most := most((n - 1) * (n - 1)); all > most {
		t.Errorf("all indexes: chi-square %.0f, at most %.0f", all, most)
	}
}

// In one large draw, the first to come are spread over the whole line like the
// last: cut arrivals and places into 32 equal parts, and each of 32 × 32 cells
// holds as many. 31 × 31 degrees of freedom.
func TestLots_SpreadEveryPartOfArrivalsOverTheLine(t *testing.T) {
	t.Parallel()
	const parts, each = 32, 1024
	const n = parts * each
	for d := range 3 {
		l := lots(t, seedOf(d), "", n)
		seen := make([]int, parts*parts)
		for i := range int64(n) {
			seen[i/each*parts+(l.Number(i)-1)/each]++
		}
		if got, most := chiSquare(seen, each/parts), most((parts-1)*(parts-1)); got > most {
			t.Errorf("draw %d: chi-square %.0f, at most %.0f", d, got, most)
		}
	}
}

// Two who came together stand apart like any two: over many draws of 16 places,
// each pair of numbers for two neighbours is as likely, 16 × 15 of them (239
// degrees of freedom), and so it is for the two ends. 16 is where a network
// of few rounds shows first: with four it does.
func TestLots_OfTwoVisitorsAreIndependent(t *testing.T) {
	t.Parallel()
	const n, draws = 16, 9600
	for _, two := range [][2]int64{{0, 1}, {3, 4}, {0, 4}, {0, 15}, {7, 8}} {
		seen := make([]int, 0, n*(n-1))
		counts := map[[2]int64]int{}
		for d := range draws {
			l := lots(t, seedOf(d), "", n)
			counts[[2]int64{l.Number(two[0]), l.Number(two[1])}]++
		}
		for a := range int64(n) {
			for b := range int64(n) {
				if a != b {
					seen = append(seen, counts[[2]int64{a + 1, b + 1}])
				}
			}
		}
		if got, most := chiSquare(seen, draws/float64(n*(n-1))), most(n*(n-1)-1); got > most {
			t.Errorf("numbers of indexes %v: chi-square %.0f, at most %.0f", two, got, most)
		}
	}
}

// The next epoch, another line, another source and another value each draw
// anew: an index keeps its number as often as two draws agree by chance, once
// in n. Over n = 4,096 the matches of two permutations are near Poisson with
// mean 1: more than 12 come once in 10^10 times.
func TestLots_EveryPartOfTheSeedCounts(t *testing.T) {
	t.Parallel()
	const n = 4096
	key := []byte("a key of some thirty and two bytes")
	base := NewSeed(key, LineID{"a", 1}, 1, "")
	plain := lots(t, base, "", n)
	for what, other := range map[string]*Lots{
		"key":      lots(t, NewSeed([]byte("another key"), LineID{"a", 1}, 1, ""), "", n),
		"tenant":   lots(t, NewSeed(key, LineID{"b", 1}, 1, ""), "", n),
		"activity": lots(t, NewSeed(key, LineID{"a", 2}, 1, ""), "", n),
		"epoch":    lots(t, NewSeed(key, LineID{"a", 1}, 2, ""), "", n),
		"source":   lots(t, NewSeed(key, LineID{"a", 1}, 1, "the lottery"), "", n),
		"beacon":   lots(t, base, "1 2 3", n),
		"n":        lots(t, base, "", n+64),
	} {
		same := 0
		for i := range int64(n) {
			if plain.Number(i) == other.Number(i) {
				same++
			}
		}
		if same > 12 {
			t.Errorf("with another %s %d of %d indexes have the same number", what, same, n)
		}
	}
}

func FuzzLots(f *testing.F) {
	f.Add([]byte("seed"), "", int64(64), int64(3))
	f.Add([]byte{}, "beacon", int64(1), int64(0))
	f.Add([]byte{1}, "", int64(MaxDrawn), int64(MaxDrawn-1))
	f.Fuzz(func(t *testing.T, key []byte, beacon string, n, index int64) {
		l, err := NewLots(NewSeed(key, LineID{"fuzz", 1}, 1, ""), beacon, n)
		if err != nil {
			return
		}
		index = (index%n + n) % n
		number := l.Number(index)
		if number < 1 || number > n || l.Index(number) != index {
			t.Fatalf("of %d places, index %d has number %d, whose index is %d", n, index, number, l.Index(number))
		}
	})
}

// vector is what another implementation must find, too.
type vector struct {
	Key        string          `json:"key"` // text
	Tenant     string          `json:"tenant"`
	Activity   int64           `json:"activity"`
	Epoch      int64           `json:"epoch"`
	Source     string          `json:"source"`
	Seed       string          `json:"seed"`
	Commitment string          `json:"commitment"`
	Beacon     string          `json:"beacon"`
	N          int64           `json:"n"`
	Numbers    map[int64]int64 `json:"numbers"` // by index
}

const vectorFile = "testdata/draw-vectors.json"

// TestLots_KnownVectors holds the draw to what it was when the vectors were
// made: a change would break every draw that is under way, and every verifier.
func TestLots_KnownVectors(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile(vectorFile)
	if err != nil {
		t.Fatal(err)
	}
	var vectors []vector
	if err := json.Unmarshal(text, &vectors); err != nil {
		t.Fatal(err)
	}
	if len(vectors) < 6 {
		t.Fatalf("%d vectors", len(vectors))
	}
	for i, v := range vectors {
		seed := NewSeed([]byte(v.Key), LineID{v.Tenant, v.Activity}, v.Epoch, v.Source)
		if seed.String() != v.Seed || seed.Commitment() != v.Commitment {
			t.Errorf("vector %d: seed %s with commitment %s, want %s with %s", i, seed, seed.Commitment(), v.Seed, v.Commitment)
			continue
		}
		l := lots(t, seed, v.Beacon, v.N)
		for index, want := range v.Numbers {
			if got := l.Number(index); got != want {
				t.Errorf("vector %d: index %d has number %d, want %d", i, index, got, want)
			}
		}
	}
}

func TestSeed_IsReadAsItIsWritten(t *testing.T) {
	seed := seedOf(1)
	if read, err := ParseSeed(seed.String()); err != nil || read != seed {
		t.Fatalf("%v, %v", read, err)
	}
	for _, text := range []string{"", "00", seed.String() + "00", "g" + seed.String()[1:]} {
		if _, err := ParseSeed(text); err == nil {
			t.Errorf("%q is a seed", text)
		}
	}
}

// BenchmarkLots_OnePlace shows that a place costs the same in a draw of any size.
func BenchmarkLots_OnePlace(b *testing.B) {
	for _, n := range []int64{64, 4096, 1_000_000, 1 << 32} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			l := lots(b, seedOf(1), "", n)
			index := int64(0)
			for b.Loop() {
				l.Number(index)
				if index++; index == n {
					index = 0
				}
			}
		})
	}
}
