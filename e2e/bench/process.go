package main

import (
	"context"
	"fmt"
	"runtime"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
)

// crowd is a room with a line of a given length, all of it present.
type crowd struct {
	store *admission.MemoryStore
	room  *admission.Room
	ring  *admission.Keyring
	call  admission.Call
	limit admission.Limits
	stop  context.CancelFunc
}

var benchLine = admission.LineID{Tenant: "bench", Activity: 123}

// newCrowd has a number of visitors join a line that lets no one in.
func newCrowd(ctx context.Context, waiting int) (*crowd, error) {
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		return nil, err
	}
	c := &crowd{
		store: admission.NewMemory(nil), ring: ring,
		call: admission.Call{Line: benchLine, Gateway: "bench"},
		limit: admission.Limits{
			Mode: admission.ModeHold, Burst: 1, Claim: time.Hour, Absence: time.Hour,
			HoldPlace: time.Hour, Idle: time.Hour, Max: time.Hour,
		},
	}
	settings := admission.Settings{Limits: c.limit, Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}}
	if c.room, err = admission.OpenRoom(ctx, c.store, benchLine, "bench", nil, ring, settings, zap.NewNop()); err != nil {
		return nil, err
	}
	together := make([]admission.Newcomer, 500)
	for i := 0; i < waiting; i += len(together) {
		for j := range together {
			together[j].Visitor = fmt.Sprint(i + j)
		}
		if _, _, err := c.store.Join(ctx, c.call, fmt.Sprint(i), together); err != nil {
			return nil, err
		}
	}
	running, stop := context.WithCancel(ctx)
	c.stop = stop
	go func() { _ = c.room.Run(running) }()
	for c.room.Figures().Waiting < int64(waiting) {
		select {
		case <-time.After(admission.Tick):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	return c, nil
}

// poll returns the cost of one look at a place in the middle of the crowd.
func (c *crowd) poll(ctx context.Context) time.Duration {
	var visit admission.Visit
	visit.QueueTokens = []string{c.room.Arrive(ctx, admission.Visit{}).Queue.Token}
	measured := testing.Benchmark(func(b *testing.B) {
		for b.Loop() {
			c.room.Peek(ctx, visit)
		}
	})
	return time.Duration(measured.NsPerOp())
}

// enter returns the cost of a tick that gives one turn, and of the admission
// that follows, over some thousands of visitors in turn.
func (c *crowd) enter(ctx context.Context) (release, admit time.Duration, err error) {
	const turns = 500
	c.limit.Mode = admission.ModeAuto
	line, err := c.store.Release(ctx, c.call, c.limit, 0)
	if err != nil {
		return 0, 0, err
	}
	for range turns {
		c.limit.Capacity = line.Sessions + 1
		began := time.Now()
		if line, err = c.store.Release(ctx, c.call, c.limit, line.Version); err != nil {
			return 0, 0, err
		}
		release += time.Since(began)
		if len(line.Claims) == 0 {
			return 0, 0, fmt.Errorf("a release gave no turn: %+v", line.Head)
		}
		knock := []admission.Knock{{Visitor: fmt.Sprint("v", line.Claims[0].Number), Number: line.Claims[0].Number, Epoch: line.Epoch}}
		began = time.Now()
		head, _, err := c.store.Admit(ctx, c.call, knock)
		if err != nil {
			return 0, 0, err
		}
		admit += time.Since(began)
		line.Sessions = head.Sessions
	}
	return release / turns, admit / turns, nil
}

func heap() int64 {
	var stats runtime.MemStats
	for range 3 {
		runtime.GC()
	}
	runtime.ReadMemStats(&stats)
	return int64(stats.HeapAlloc)
}

// inProcess measures what the length of the line must not change: the cost of
// a poll, a release and an admission, and the memory of a waiting visitor.
func inProcess(ctx context.Context) error {
	lengths := []int{1_000, 1_000_000}
	var costs [3][2]time.Duration
	var perVisitor float64
	for i, waiting := range lengths {
		before := heap()
		c, err := newCrowd(ctx, waiting)
		if err != nil {
			return err
		}
		if waiting == 1_000_000 {
			perVisitor = float64(heap()-before) / float64(waiting)
		}
		costs[0][i] = c.poll(ctx)
		c.stop()
		if costs[1][i], costs[2][i], err = c.enter(ctx); err != nil {
			return err
		}
	}
	fmt.Println("| cost of one | 1,000 waiting | 1,000,000 waiting |")
	fmt.Println("|---|---|---|")
	for i, name := range []string{"poll (Room.Peek)", "tick with one release (Store.Release)", "admission (Store.Admit)"} {
		fmt.Printf("| %s | %s | %s |\n", name, costs[i][0], costs[i][1])
	}
	fmt.Printf("\nmemory of a gateway with its store: %.2f bytes for each of a million waiting\n", perVisitor)
	return nil
}
