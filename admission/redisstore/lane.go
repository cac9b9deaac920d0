package redisstore

import (
	"context"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
)

const (
	// mostUnderWay is how many pipelines of a lane are under way at most. What
	// is asked meanwhile gathers for the next: a Redis that is near answers each
	// question by itself, and what a hundred lines ask at once goes in a few.
	mostUnderWay = 4

	// mostTogether is the most questions of one pipeline. Redis runs each as a
	// step of its own, so it bounds what one must wait for, not what others must.
	mostTogether = 128

	// mostTime is how long a pipeline may take whose questions have no deadline.
	mostTime = 10 * time.Second
)

// way is where questions go that may travel together: to one node of a
// cluster, which may hang while the others work, and past as many replicas.
// The zero way is for a Redis that is no cluster.
type way struct {
	address  string
	replicas int // that must have the answer before it is handed out
}

// question is a script to run. Its answer and err are set before done is closed.
type question struct {
	script *redis.Script
	keys   []string
	args   []any
	node   redis.UniversalClient // to ask; any of its way will do

	asker    context.Context // once it ended nobody wants the answer
	deadline time.Time

	done   chan struct{}
	answer any
	err    error
}

// lane brings the questions of one way to Redis in pipelines. The zero lane is
// ready; it has goroutines only while it carries something.
type lane struct {
	replicas int

	mu       sync.Mutex
	gathered []*question
	underWay int
}

func (s *Store) lane(to way) *lane {
	l, ok := s.lanes.Load(to)
	if !ok {
		l, _ = s.lanes.LoadOrStore(to, &lane{replicas: to.replicas})
	}
	return l.(*lane)
}

// ask puts a question and waits for its answer, or for ctx. A question whose
// asker left may have been answered.
func (l *lane) ask(ctx context.Context, q *question) (any, error) {
	q.asker, q.done = ctx, make(chan struct{})
	var bounded bool
	if q.deadline, bounded = ctx.Deadline(); !bounded {
		q.deadline = time.Now().Add(mostTime)
	}
	l.mu.Lock()
	l.gathered = append(l.gathered, q)
	if l.underWay < mostUnderWay {
		l.underWay++
		go l.carry()
	}
	l.mu.Unlock()
	select {
	case <-q.done:
		return q.answer, q.err
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// carry brings what has gathered, until nothing has.
func (l *lane) carry() {
	for {
		l.mu.Lock()
		n := min(len(l.gathered), mostTogether)
		together := l.gathered[:n:n]
		l.gathered = l.gathered[n:]
		if n == 0 {
			l.gathered = nil // let go of what the array held
			l.underWay--
			l.mu.Unlock()
			return
		}
		l.mu.Unlock()
		l.run(together)
	}
}

// run answers questions by one pipeline, and where Redis does not know a
// script, by a second that brings it.
func (l *lane) run(together []*question) {
	var wanted, unknown []*question
	var deadline time.Time
	for _, q := range together {
		if q.asker.Err() != nil {
			continue
		}
		wanted = append(wanted, q)
		if q.deadline.After(deadline) {
			deadline = q.deadline
		}
	}
	ctx, cancel := context.WithDeadline(context.Background(), deadline)
	defer cancel()
	l.send(ctx, wanted, false)
	for _, q := range wanted {
		if redis.HasErrorPrefix(q.err, "NOSCRIPT") {
			unknown = append(unknown, q)
		}
	}
	l.send(ctx, unknown, true)
	for _, q := range wanted {
		close(q.done)
	}
}

// send answers questions by one pipeline. whole: each script is sent as text,
// the first time that it occurs.
func (l *lane) send(ctx context.Context, together []*question, whole bool) {
	if len(together) == 0 {
		return
	}
	pipe := together[0].node.Pipeline()
	commands := make([]*redis.Cmd, len(together))
	brought := map[*redis.Script]bool{}
	for i, q := range together {
		if whole && !brought[q.script] {
			brought[q.script] = true
			commands[i] = q.script.Eval(ctx, pipe, q.keys, q.args...)
			continue
		}
		commands[i] = q.script.EvalSha(ctx, pipe, q.keys, q.args...)
	}
	var waited *redis.Cmd
	if l.replicas > 0 { // WAIT speaks of all that its own connection wrote
		waited = pipe.Do(ctx, "WAIT", l.replicas, replicaTime.Milliseconds())
	}
	_, err := pipe.Exec(ctx)
	var short error
	if waited != nil {
		count, err := waited.Int64()
		if short = err; err == nil && count < int64(l.replicas) {
			short = errReplicas
		}
	}
	for i, q := range together {
		q.answer, q.err = commands[i].Result() // each tells its own error
		switch {
		case q.err == nil && q.answer == nil:
			// It was never sent, for a reason that go-redis takes for a reply to
			// another command: a sentinel's, or one to the greeting.
			q.err = err
		case q.err == nil:
			q.err = short
		}
	}
}
