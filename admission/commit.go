package admission

import (
	"context"
	"errors"
	"sync"
	"time"
)

// errHeld is the answer of a store that gave nothing: the line settles, or
// takes no one now.
var errHeld = errors.New("the line gives nothing now")

// errLate is the answer of a store that took longer than mostPatience.
var errLate = errors.New("the store did not answer in time")

// mostTogether is the most questions that travel to the store together.
const mostTogether = 512

// commit brings questions that arrive together to the store together. There is
// no waiting for company: while one batch is under way the next gathers.
type commit[Q, A any] struct {
	queue chan question[Q, A]
	do    func(ctx context.Context, questions []Q) ([]A, error)
	idle  sync.Pool // of *asker[A]
}

type question[Q, A any] struct {
	ask    Q
	answer chan<- reply[A] // of one
}

// asker is who waits for an answer.
type asker[A any] struct {
	answer   chan reply[A] // of one
	patience *time.Timer   // does not run
}

type reply[A any] struct {
	answer A
	err    error
}

func newCommit[Q, A any](do func(context.Context, []Q) ([]A, error)) *commit[Q, A] {
	return &commit[Q, A]{queue: make(chan question[Q, A], mostTogether), do: do, idle: sync.Pool{New: func() any {
		patience := time.NewTimer(mostPatience)
		patience.Stop()
		return &asker[A]{make(chan reply[A], 1), patience}
	}}}
}

// ask puts a question and waits for its answer, for mostPatience, or for ctx.
func (c *commit[Q, A]) ask(ctx context.Context, q Q) (answer A, err error) {
	a := c.idle.Get().(*asker[A])
	a.patience.Reset(mostPatience)
	select {
	case c.queue <- question[Q, A]{q, a.answer}:
	case <-a.patience.C:
		return answer, errLate
	case <-ctx.Done():
		return answer, ctx.Err()
	}
	select {
	case r := <-a.answer:
		a.patience.Stop()
		c.idle.Put(a) // and only then: else the next might get this one's answer
		return r.answer, r.err
	case <-a.patience.C:
		return answer, errLate
	case <-ctx.Done():
		return answer, ctx.Err()
	}
}

// run answers questions until ctx ends.
func (c *commit[Q, A]) run(ctx context.Context) {
	var together []question[Q, A]
	var asks []Q
	for {
		together, asks = together[:0], asks[:0]
		select {
		case q := <-c.queue:
			together = append(together, q)
		case <-ctx.Done():
			return
		}
	gather:
		for len(together) < mostTogether {
			select {
			case q := <-c.queue:
				together = append(together, q)
			default:
				break gather
			}
		}
		for _, q := range together {
			asks = append(asks, q.ask)
		}
		answers, err := c.do(ctx, asks)
		if err == nil && len(answers) != len(asks) {
			err = errHeld
		}
		for i, q := range together {
			if err != nil {
				q.answer <- reply[A]{err: err}
				continue
			}
			q.answer <- reply[A]{answer: answers[i]}
		}
	}
}
