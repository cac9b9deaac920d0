package e2e

import (
	"context"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// crowd is people who come, wait, go in, look around and leave, each with a
// cookie jar, over and over. What the gateway tells them is the history.
type crowd struct {
	gates     []*gateway // any of them may be asked, as behind a balancer
	transport *http.Transport
	asking    chan struct{} // bounds the requests under way
	history   *history

	ending context.Context // who is under way checks what was promised, and goes
	over   context.Context // the test has ended: nobody answers any more
	people sync.WaitGroup
}

// gather brings n people to some gateways, who come back until ctx ends.
func gather(ctx context.Context, t *testing.T, n int, gates ...*gateway) *crowd {
	t.Helper()
	c := &crowd{
		gates: gates, transport: &http.Transport{MaxIdleConnsPerHost: 64}, asking: make(chan struct{}, 48),
		history: newHistory(), ending: ctx, over: t.Context(),
	}
	t.Cleanup(func() {
		c.people.Wait()
		c.transport.CloseIdleConnections()
	})
	for i := range n {
		c.people.Go(func() {
			chance := rand.New(rand.NewPCG(uint64(i), 7))
			for life := 0; c.ending.Err() == nil; life++ {
				c.live(t, fmt.Sprintf("visitor %d, life %d", i, life), chance)
			}
		})
	}
	return c
}

// The header by which the shop can tell who it is, besides the number.
const whoHeader = "Crowd-Visitor"

// ask sends a request of someone, when there is room.
func (c *crowd) ask(v *visitor, who, method, path string) (answer, error) {
	c.asking <- struct{}{}
	defer func() { <-c.asking }()
	r, err := http.NewRequestWithContext(c.over, method, c.gates[rand.IntN(len(c.gates))].Public+path, nil)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	r.Header.Set(whoHeader, who)
	return v.send(r)
}

// pause lets d pass, or what is left until the end.
func (c *crowd) pause(d time.Duration) {
	select {
	case <-c.ending.Done():
	case <-time.After(d):
	}
}

// live is one stay: with no ticket at first, until left, abandoned or over.
func (c *crowd) live(t *testing.T, who string, chance *rand.Rand) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Error(err)
		return
	}
	v := &visitor{base: c.gates[0].Public, client: &http.Client{Jar: jar, Transport: c.transport, Timeout: patience}}
	h := c.history
	spread := func(d time.Duration) time.Duration { return d/2 + time.Duration(chance.Int64N(int64(d))) }

	number, inside := int64(0), false
	// knock asks for the drop: it joins, waits on, or goes in. Where no answer
	// comes it is asked again, as people reload a page that did not come.
	knock := func() bool {
		for {
			a, err := c.ask(v, who, http.MethodGet, drop)
			if err != nil {
				if c.over.Err() != nil || c.ending.Err() != nil && number == 0 {
					return false
				}
				h.missed()
				c.pause(spread(100 * time.Millisecond))
				continue
			}
			var told int64
			if a.Code == http.StatusOK {
				inside = true
				_, shown, _ := strings.Cut(a.Body, `<b id="number">`)
				if _, err := fmt.Sscanf(shown, "%d", &told); err != nil {
					h.wrong("%s: inside without a number: %.300s", who, a.Body)
				}
			} else {
				s, err := a.status()
				if err != nil || a.Code != http.StatusServiceUnavailable {
					h.wrong("%s: asking for the drop got %d %.300s", who, a.Code, a.Body)
				}
				told = s.Number
				if inside {
					h.wrong("%s: number %d was inside, and is held: %s", who, number, a.Body)
				}
			}
			switch {
			case told == 0 && number == 0:
				if c.ending.Err() != nil {
					return false
				}
				c.pause(spread(100 * time.Millisecond)) // the line cannot be asked yet
				continue
			case told != number && number != 0:
				h.wrong("%s: had number %d, and now has %d: %.300s", who, number, told, a.Body)
			case number == 0:
				h.joined(who, told)
			}
			number = told
			return true
		}
	}
	if !knock() {
		return
	}
	for !inside {
		c.pause(spread(300 * time.Millisecond))
		a, err := c.ask(v, who, http.MethodGet, poll)
		if c.over.Err() != nil {
			return
		}
		if err != nil {
			h.missed()
			continue
		}
		s, err := a.status()
		switch {
		case err != nil || a.Code != http.StatusOK:
			h.wrong("%s: a poll got %d %.300s", who, a.Code, a.Body)
			return
		case s.Number != number || s.State != "waiting" && s.State != "ready":
			h.wrong("%s: waits with number %d, and a poll says %s", who, number, a.Body)
			return
		}
		h.kept()
		switch {
		case c.ending.Err() != nil: // the place was kept to the end
			return
		case s.State == "ready" || strings.Contains(a.Body, `"lapsed":true`):
			if !knock() {
				return
			}
		case chance.IntN(1000) == 0: // gone for good, and nobody told
			return
		case chance.IntN(500) == 0:
			c.leave(v, who)
			return
		}
	}
	h.entered()
	for range 1 + chance.IntN(4) {
		c.pause(spread(150 * time.Millisecond))
		if !knock() {
			return
		}
	}
	if chance.IntN(50) == 0 {
		return // the session ends by itself
	}
	c.leave(v, who)
}

// leave gives up place or session, and asks until an answer says so.
func (c *crowd) leave(v *visitor, who string) {
	for {
		a, err := c.ask(v, who, http.MethodPost, "/_ropeline/leave?activity=7")
		if err == nil && a.Code == http.StatusOK {
			if queue, admission := v.Cookie("ropeline-queue-7"), v.Cookie("ropeline-admission-7"); queue+admission != "" {
				c.history.wrong("%s: left, and has a ticket still", who)
			}
			return
		}
		if c.over.Err() != nil {
			return
		}
		c.history.missed()
		c.pause(100 * time.Millisecond)
	}
}

// history is what a crowd saw. It is safe for concurrent use.
type history struct {
	mu       sync.Mutex       // guards the rest
	holders  map[int64]string // who was given each number
	joins    int
	entries  int
	polls    int
	misses   int
	wrongs   []string
	entering chan struct{} // closed and replaced with each entry
}

func newHistory() *history {
	return &history{holders: map[int64]string{}, entering: make(chan struct{})}
}

func (h *history) wrong(format string, args ...any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.wrongs = append(h.wrongs, fmt.Sprintf(format, args...))
}

func (h *history) joined(who string, number int64) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.joins++
	if other, twice := h.holders[number]; twice {
		h.wrongs = append(h.wrongs, fmt.Sprintf("number %d was given to %s and to %s", number, other, who))
	}
	h.holders[number] = who
}

func (h *history) entered() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.entries++
	close(h.entering)
	h.entering = make(chan struct{})
}

func (h *history) kept() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.polls++
}

func (h *history) missed() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.misses++
}

// await waits until n more have entered.
func (h *history) await(t *testing.T, n int) {
	t.Helper()
	over := time.After(patience)
	h.mu.Lock()
	until := h.entries + n
	h.mu.Unlock()
	for {
		h.mu.Lock()
		entries, entering := h.entries, h.entering
		h.mu.Unlock()
		if entries >= until {
			return
		}
		select {
		case <-entering:
		case <-over:
			t.Fatalf("only %d of %d more have entered in %v", n-(until-entries), n, patience)
		}
	}
}

// checkShop holds what reached the shop against the history, and returns the
// most visitors who were inside at one instant: a session stands at least from
// its first request to its last.
func (h *history) checkShop(hits []hit) (most int) {
	h.mu.Lock()
	defer h.mu.Unlock()
	first, last := map[int64]time.Time{}, map[int64]time.Time{}
	for _, hit := range hits {
		who := hit.Header.Get(whoHeader)
		if who == "" {
			continue
		}
		// A visitor whose answer was lost may never have learned of a number.
		if other, known := h.holders[hit.Number]; known && other != who {
			h.wrongs = append(h.wrongs, fmt.Sprintf("the shop saw number %d of %s, which is %s's", hit.Number, who, other))
		}
		h.holders[hit.Number] = who
		if at, ok := first[hit.Number]; !ok || hit.At.Before(at) {
			first[hit.Number] = hit.At
		}
		if hit.At.After(last[hit.Number]) {
			last[hit.Number] = hit.At
		}
	}
	type turn struct {
		at time.Time
		by int
	}
	var turns []turn
	for number := range first {
		turns = append(turns, turn{first[number], 1}, turn{last[number], -1})
	}
	slices.SortFunc(turns, func(a, b turn) int {
		if c := a.at.Compare(b.at); c != 0 {
			return c
		}
		return b.by - a.by
	})
	inside := 0
	for _, turn := range turns {
		inside += turn.by
		most = max(most, inside)
	}
	return most
}
