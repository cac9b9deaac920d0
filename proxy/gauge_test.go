package proxy

import (
	"sync"
	"testing"
	"time"
)

func TestGauge_CountsWhatEndedHoweverManyCount(t *testing.T) {
	t.Parallel()
	g := &gauge{}
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for i := range 1000 {
				g.begin()
				switch i % 10 {
				case 0:
					g.failed()
				case 1:
					g.left()
				case 2: // still under way
				default:
					g.answered(time.Duration(i) * time.Millisecond)
				}
			}
		})
	}
	all.Wait()
	m := g.read()
	if m.Asked != 8000 || m.Failed != 800 || m.Answers.Count() != 5600 || m.Unanswered != 800 {
		t.Errorf("asked %d, failed %d, answered %d, unanswered %d; want 8000, 800, 5600, 800", m.Asked, m.Failed, m.Answers.Count(), m.Unanswered)
	}
	if again := g.read(); again.Asked != 0 || again.Failed != 0 || again.Answers.Count() != 0 || again.Unanswered != 800 {
		t.Errorf("read again: %+v", again)
	}
}

func TestGauge_CountsWithoutAllocating(t *testing.T) {
	g := &gauge{}
	if n := testing.AllocsPerRun(1000, func() { g.begin(); g.answered(7 * time.Millisecond) }); n != 0 {
		t.Errorf("%v allocations a request", n)
	}
}
