package proxy

import "testing"

func TestPulse_IsSlowWhileMoreThanOneAnswerInTwentyIsLate(t *testing.T) {
	for _, c := range []struct {
		name       string
		well, late int
		slow       bool
	}{
		{"nobody came", 0, 0, false},
		{"too few to say", 0, 19, false},
		{"one in twenty", 19, 1, false},
		{"more than one in twenty", 18, 2, true},
	} {
		p := &pulse{}
		p.slow.Store(true) // of the span before
		for range c.well {
			p.beat(false)
		}
		for range c.late {
			p.beat(true)
		}
		if p.feel(); p.slow.Load() != c.slow {
			t.Errorf("%s: slow is %v, want %v", c.name, p.slow.Load(), c.slow)
		}
	}
}
