package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// TestCrash_KillLoop kills the gateway twenty times under a crowd. No number is
// given twice, no one in the line loses the place, no one inside is put out,
// and there are never more inside than capacity.
func TestCrash_KillLoop(t *testing.T) {
	const (
		kills    = 20
		people   = 240
		capacity = 20
	)
	shop := openShop(t)
	yaml := settings(shop, "capacity: 20, absence: 10s, claim: 5s, session: {idle: 10s, max: 10m}", "log: {access: false}")
	g := start(t, yaml)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	crowd := gather(ctx, t, people, g)

	// A place from before the first kill, to be found after the last.
	crowd.history.await(t, capacity)
	oldest := newVisitor(t, g)
	place := oldest.Join(t)

	var mostActive atomic.Int64
	sampled := make(chan struct{})
	go func() {
		defer close(sampled)
		look := time.NewTicker(100 * time.Millisecond)
		defer look.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-look.C:
			}
			if active, err := g.metric(`ropeline_active_sessions{activity="7"}`); err == nil {
				mostActive.Store(max(mostActive.Load(), int64(active)))
			}
		}
	}()

	chance := rand.New(rand.NewPCG(20, 26))
	var away []time.Duration
	for range kills {
		crowd.history.await(t, 5+chance.IntN(20))
		crowd.pause(time.Duration(chance.IntN(50)) * time.Millisecond)
		began := time.Now()
		g.Kill()
		g.Restart()
		eventually(t, "the oldest place is known again", func() bool {
			a, err := oldest.do(t.Context(), http.MethodGet, poll, false)
			if err != nil {
				return false
			}
			s, err := a.status()
			if err != nil || s.Number != place.Number || s.State != "waiting" && s.State != "ready" {
				t.Fatalf("the oldest place, %d, is told %d %s", place.Number, a.Code, a.Body)
			}
			return !s.Unavailable
		})
		away = append(away, time.Since(began))
	}
	crowd.history.await(t, 20)
	end()
	crowd.people.Wait()
	<-sampled

	hits := shop.Hits()
	mostInside := crowd.history.checkShop(hits)
	h := crowd.history
	h.mu.Lock()
	defer h.mu.Unlock()
	slices.Sort(away)
	t.Logf("%d kills: %d joined, %d entered, %d polls kept their place, %d requests without an answer",
		kills, h.joins, h.entries, h.polls, h.misses)
	t.Logf("at most %d of %d inside by the shop's %d requests, %d by the gateway's metric",
		mostInside, capacity, len(hits), mostActive.Load())
	t.Logf("from kill to the first good answer: median %v, at most %v",
		away[len(away)/2].Round(time.Millisecond), away[len(away)-1].Round(time.Millisecond))

	for i, wrong := range h.wrongs {
		if i == 20 {
			t.Errorf("and %d more", len(h.wrongs)-i)
			break
		}
		t.Error(wrong)
	}
	if mostInside > capacity || mostActive.Load() > capacity {
		t.Errorf("more than %d were inside", capacity)
	}
	// A line that lost its file would be healed by a leap: no harm, but then
	// this test did not test the file.
	for number := range h.holders {
		if number >= 1<<20 {
			t.Errorf("number %d was given: the store had lost the line", number)
			break
		}
	}
	if n := strings.Count(g.Log.Text(), `"message":"listening","listener":"http"`); n != kills+1 {
		t.Errorf("the gateway started %d times, want %d", n, kills+1)
	}
}

// The answer that lets a visitor in may never arrive: the gateway is killed, or
// the train is in a tunnel. The same ticket then opens the same session, also
// after the kill, and no second one.
func TestCrash_ALostAnswerCostsNoTurnAndBuysNoSecondSession(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	first := newVisitor(t, g)
	first.Enter(t)
	visitor := newVisitor(t, g)
	place := visitor.Join(t)
	ticket := visitor.Cookie("ropeline-queue-7")
	first.Leave(t)
	eventually(t, "the turn comes", func() bool { return visitor.Status(t).State == "ready" })

	// As long as no answer came, the browser has the ticket and nothing else.
	enter := func(when string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Public+drop, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Cookie", "ropeline-queue-7="+ticket)
		got, err := newVisitor(t, g).send(r)
		if err != nil {
			t.Fatal(err)
		}
		if want := fmt.Sprintf(`<b id="number">%d</b>`, place.Number); got.Code != http.StatusOK || !strings.Contains(got.Body, want) {
			t.Errorf("%s: got %d %.300s, want to be inside with number %d", when, got.Code, got.Body, place.Number)
		}
	}
	enter("at the turn")
	enter("again, the answer having been lost")
	g.Kill()
	g.Restart()
	enter("again, the gateway having been killed")
	next := newVisitor(t, g)
	if got := next.Join(t); got.Number != 3 || got.Position != 1 {
		t.Errorf("the next visitor got %+v, want number 3 at position 1", got)
	}
	eventually(t, "there is one session", func() bool { return g.Metric(`ropeline_active_sessions{activity="7"}`) == 1 })
}
