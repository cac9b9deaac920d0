package admission

import (
	"strings"
	"testing"
	"time"
)

// FuzzSolution looks for what is taken for a solution and is not written in the
// one way, and for what breaks the reader.
func FuzzSolution(f *testing.F) {
	head := strings.Repeat("A", challengeLength)
	for _, seed := range []string{"", ".", head + ".0", head + ".12", head + ".012", head + ".999999999999", head, head + ".-1", head[1:] + "\n.1", head + "._"} {
		f.Add(seed)
	}
	r := &Room{hashes: Secret("secret").hashes(LineID{"demo", 1})}
	r.settings.Store(&Settings{Work: Work{Bits: 1, Max: 1}})
	v := &view{}
	f.Fuzz(func(t *testing.T, text string) {
		if _, ok := r.worked(v, Visit{Work: text}, 0); ok {
			t.Fatalf("%q passes without a challenge", text)
		}
		s, ok := readSolution(text)
		if !ok {
			return
		}
		number := strings.TrimPrefix(text, s.challenge+".")
		if len(s.challenge) != challengeLength || s.challenge+"."+number != text || len(text) > 55 ||
			strings.Trim(number, "0123456789") != "" || number != "0" && strings.HasPrefix(number, "0") {
			t.Fatalf("%q is read as %+v", text, s)
		}
	})
}

func TestChallenge_IsVoidBeforeItsPlaceIsForgotten(t *testing.T) {
	if challengeLife+time.Minute > OnceTime {
		t.Fatalf("a challenge lives %v, and its place is remembered for %v", challengeLife, OnceTime)
	}
}

func TestChallenge_OfALineThatWasLostIsVoid(t *testing.T) {
	r := &Room{hashes: Secret("secret").hashes(LineID{"demo", 1})}
	r.settings.Store(&Settings{Work: Work{Bits: 0, Max: 0}})
	v := &view{}
	now := InstantOf(time.Date(2030, 1, 1, 12, 0, 0, 0, time.UTC))
	c := r.demand(v, Visit{}, now).Status.Work // of no bits: any number solves it
	visit := Visit{Work: c.Text + ".7"}
	r.settings.Store(&Settings{Work: Work{Bits: 1, Max: 1}})
	if _, ok := r.worked(v, visit, now); !ok {
		t.Fatal("a good solution is refused")
	}
	v.Born = now.Add(2 * time.Second)
	if _, ok := r.worked(v, visit, now.Add(3*time.Second)); ok {
		t.Fatal("a solution of before the line was lost is taken")
	}
}

func TestWork_CostsNothingWhereItIsOff(t *testing.T) {
	r := &Room{}
	r.settings.Store(&Settings{})
	v, visit := &view{}, Visit{Work: strings.Repeat("A", challengeLength) + ".1"}
	if n := testing.AllocsPerRun(100, func() {
		if _, ok := r.worked(v, visit, 0); !ok {
			t.Error("work is asked for")
		}
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
}
