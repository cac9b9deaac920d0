package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

const (
	pollsPerSecond    = 2000 // the budget of a gateway
	requestsPerSecond = 200  // of visitors inside, meanwhile
	spell             = 15 * time.Second
)

// overMillion measures what visitors wait for an answer of a gateway with a
// million in its line, beside one with a thousand: they join and poll over
// HTTP, each with its own ticket, and the line moves on. The two take turns.
func overMillion(ctx context.Context, binary string, rounds int) error {
	shop, err := start(ctx, "upstream")
	if err != nil {
		return err
	}
	defer shop.stop()
	var lines [2]*longLine
	for i, of := range []struct{ waiting, rate int }{{1_000, 5}, {1_000_000, 50}} {
		if lines[i], err = openLine(ctx, binary, shop.url, of.waiting, of.rate); err != nil {
			return err
		}
		defer lines[i].gateway.stop()
	}
	var polls, requests [2][]time.Duration // the 99th percentile of each round
	for range rounds {
		for i, l := range lines {
			p, r, err := l.watch(ctx)
			if err != nil {
				return err
			}
			polls[i], requests[i] = append(polls[i], p), append(requests[i], r)
		}
	}
	fmt.Printf("\n| 99 of 100 answers took at most, at %d polls/s and %d admitted requests/s | 1,000 waiting | 1,000,000 waiting | ratio |\n|---|---|---|---|\n", pollsPerSecond, requestsPerSecond)
	for _, row := range []struct {
		name string
		took [2][]time.Duration
	}{{"poll", polls}, {"admitted request", requests}} {
		few, many := middle(row.took[0]), middle(row.took[1])
		fmt.Printf("| %s | %v | %v | **%.2f** |\n", row.name, few.Round(10*time.Microsecond), many.Round(10*time.Microsecond), float64(many)/float64(few))
	}
	l := lines[1]
	released, err := l.figure(ctx, "ropeline_queue_released")
	if err != nil {
		return err
	}
	over := time.Since(l.began)
	fmt.Printf("\n%.0f turns given in %.1f s of a million waiting at %d/s: %.4f of the rate; %d of %d polls told of an overtaken visitor. The gateways hold %d and %d MiB in memory.\n",
		released-l.released, over.Seconds(), l.rate, (released-l.released)/over.Seconds()/float64(l.rate),
		l.overtaken.Load(), l.polled.Load(), lines[0].resident(), l.resident())
	return nil
}

func middle(of []time.Duration) time.Duration {
	return slices.Sorted(slices.Values(of))[len(of)/2]
}

// longLine is a gateway and the tickets of those who wait before it.
type longLine struct {
	gateway  *process
	admin    string
	rate     int // turns per second
	inside   string
	tickets  []string // header lines
	began    time.Time
	released float64 // by then

	ready             atomic.Int64 // the highest number that is known to have a turn
	polled, overtaken atomic.Int64
}

// openLine starts a gateway and has visitors join it.
func openLine(ctx context.Context, binary, shop string, waiting, rate int) (*longLine, error) {
	dir, err := os.MkdirTemp("", "ropeline-bench-")
	if err != nil {
		return nil, err
	}
	l := &longLine{rate: rate, tickets: make([]string, waiting)}
	if l.admin, err = freeAddress(); err != nil {
		return nil, err
	}
	text := fmt.Sprintf(`listen: {http: "127.0.0.1:0", admin: %q}
store: {type: memory, path: %q}
log: {access: false}
drain: {delay: 0s, grace: 1s}
poll: {budget: %d/s}
upstreams: {shop: {servers: [{url: %q}]}}
activities:
  - {id: 123, tenant: bench, name: Bench, capacity: 100000, rate: %d/s, absence: 1h, claim: 1h, hold_place: 2h,
     session: {idle: 1h, max: 2h}, join_limit: {rate: ""}}
routes: [{path: /drop, activity: 123, upstream: shop}, {upstream: shop}]
spool: {path: %q}
`, l.admin, filepath.Join(dir, "ropeline.db"), pollsPerSecond, shop, rate, filepath.Join(dir, "spool"))
	file := filepath.Join(dir, "ropeline.yaml")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	if l.gateway, err = runGateway(ctx, binary, file, "http"); err != nil {
		return nil, err
	}
	if l.inside, err = cookie(ctx, l.gateway.url+"/drop"); err != nil {
		return nil, err
	}
	next := make(chan int)
	go func() {
		defer close(next)
		for i := range l.tickets {
			if i%100_000 == 0 && i > 0 {
				fmt.Fprintf(os.Stderr, "%d of %d have joined\n", i, waiting)
			}
			next <- i
		}
	}()
	err = l.each(func(c *caller) error {
		for i := range next {
			answer, _, err := c.ask("/drop", "")
			if err != nil {
				return err
			}
			for _, kept := range answer.Cookies() {
				l.tickets[i] = "Cookie: " + kept.Name + "=" + kept.Value
			}
			if l.tickets[i] == "" {
				return fmt.Errorf("who joined got %s without a ticket", answer.Status)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	l.began = time.Now()
	l.released, err = l.figure(ctx, "ropeline_queue_released")
	return l, err
}

// each calls do for each of some connections at once.
func (l *longLine) each(do func(*caller) error) error {
	var all sync.WaitGroup
	failed := make(chan error, connections)
	for range connections {
		all.Go(func() {
			c, err := call(l.gateway.url)
			if err == nil {
				defer c.conn.Close()
				err = do(c)
			}
			if err != nil {
				failed <- err
			}
		})
	}
	all.Wait()
	select {
	case err := <-failed:
		return err
	default:
		return nil
	}
}

// watch polls and browses for a spell, at even distances and whether or not the
// answers before have come, and returns what 99 of 100 answers took at most,
// from when they were due to be asked for.
func (l *longLine) watch(ctx context.Context) (poll, request time.Duration, err error) {
	type errand struct {
		due  time.Time
		poll bool
	}
	due := make(chan errand, pollsPerSecond) // a second's, before anyone waits to send
	go func() {
		defer close(due)
		tick := time.NewTicker(time.Millisecond)
		defer tick.Stop()
		began := time.Now()
		for polls, requests := 0, 0; ; {
			select {
			case <-ctx.Done():
				return
			case <-tick.C:
			}
			gone := time.Since(began)
			if gone > spell {
				return
			}
			for ; polls < int(gone.Seconds()*pollsPerSecond); polls++ {
				due <- errand{began.Add(time.Duration(polls) * time.Second / pollsPerSecond), true}
			}
			for ; requests < int(gone.Seconds()*requestsPerSecond); requests++ {
				due <- errand{began.Add(time.Duration(requests) * time.Second / requestsPerSecond), false}
			}
		}
	}()
	var mu sync.Mutex
	var polls, requests []time.Duration
	err = l.each(func(c *caller) error {
		for e := range due {
			var err error
			if e.poll {
				err = l.poll(c)
			} else {
				var answer *http.Response
				if answer, _, err = c.ask("/drop", l.inside); err == nil && answer.StatusCode != http.StatusOK {
					err = fmt.Errorf("who is inside got %s", answer.Status)
				}
			}
			took := time.Since(e.due)
			if err != nil {
				return err
			}
			mu.Lock()
			if e.poll {
				polls = append(polls, took)
			} else {
				requests = append(requests, took)
			}
			mu.Unlock()
		}
		return nil
	})
	if err != nil || len(polls) == 0 || len(requests) == 0 {
		return 0, 0, fmt.Errorf("%d polls and %d requests: %w", len(polls), len(requests), err)
	}
	slices.Sort(polls)
	slices.Sort(requests)
	return polls[len(polls)*99/100], requests[len(requests)*99/100], nil
}

// poll asks for the status of one who waits, and notes one who waits though a
// higher number was known to have its turn when it was asked.
func (l *longLine) poll(c *caller) error {
	known := l.ready.Load()
	answer, text, err := c.ask(pollPath, l.tickets[rand.IntN(len(l.tickets))])
	if err != nil {
		return err
	}
	var status struct {
		State  string
		Number int64
	}
	if err := json.Unmarshal(text, &status); err != nil || answer.StatusCode != http.StatusOK || status.Number == 0 {
		return fmt.Errorf("a poll was answered %s: %s", answer.Status, text)
	}
	l.polled.Add(1)
	switch {
	case status.State == "waiting" && status.Number < known:
		l.overtaken.Add(1)
	case status.State == "ready":
		for known < status.Number && !l.ready.CompareAndSwap(known, status.Number) {
			known = l.ready.Load()
		}
	}
	return nil
}

// figure reads a metric of the gateway's activity.
func (l *longLine) figure(ctx context.Context, name string) (float64, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+l.admin+"/metrics", nil)
	if err != nil {
		return 0, err
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+`{activity="123"} `); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, fmt.Errorf("the gateway has no metric %s", name)
}

// resident is how many MiB of memory the gateway holds.
func (l *longLine) resident() int64 {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", l.gateway.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	kib, _ := strconv.ParseInt(strings.TrimSuffix(field(string(text), "VmRSS"), " kB"), 10, 64) // 0 says that it is unknown
	return kib >> 10
}

// caller is a connection to a gateway that costs less than net/http's client.
type caller struct {
	conn    net.Conn
	answers *bufio.Reader
	host    string
}

func call(url string) (*caller, error) {
	host := strings.TrimPrefix(url, "http://")
	conn, err := net.Dial("tcp", host)
	if err != nil {
		return nil, err
	}
	return &caller{conn, bufio.NewReader(conn), host}, nil
}

// ask sends a GET with a further header line, or none, and returns the answer
// and its body.
func (c *caller) ask(path, header string) (*http.Response, []byte, error) {
	if header != "" {
		header += "\r\n"
	}
	if _, err := fmt.Fprintf(c.conn, "GET %s HTTP/1.1\r\nHost: %s\r\n%s\r\n", path, c.host, header); err != nil {
		return nil, nil, err
	}
	answer, err := http.ReadResponse(c.answers, nil)
	if err != nil {
		return nil, nil, err
	}
	text, err := io.ReadAll(answer.Body)
	return answer, text, err
}
