package redisstore

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/ropeline/ropeline/admission"
)

// replicaTime is how long a join, an admission or a renewal waits for its replicas.
const replicaTime = 100 * time.Millisecond

// newBreaker returns the breaker that keeps gateways from piling up on a Redis
// that does not answer: after five failures in a row nothing is asked for half
// a second, then one question tries.
func newBreaker() *gobreaker.CircuitBreaker[any] {
	return gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Name:        "redis",
		MaxRequests: 1,
		Timeout:     500 * time.Millisecond,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= 5 },
		// A caller that left says nothing of Redis; one that lacks replicas answers.
		IsExcluded: func(err error) bool { return errors.Is(err, context.Canceled) || errors.Is(err, errReplicas) },
	})
}

// BreakerState is the state of the breaker: 0 closed, 1 half-open, 2 open.
func (s *Store) BreakerState() int {
	switch s.breaker.State() {
	case gobreaker.StateHalfOpen:
		return 1
	case gobreaker.StateOpen:
		return 2
	}
	return 0
}

// keysOf returns the keys that the scripts of a line name. The second is never
// written: while a cluster moves the line's slot, what names a key that is not
// there is refused on both nodes. Without it a script would run on whichever
// half of the line has the first key, and make the other half anew.
func keysOf(line admission.LineID) []string {
	tag := "{" + line.String() + "}"
	return []string{"queue:seq:" + tag, "queue:none:" + tag}
}

// ask runs a script on its keys. lasting: its answer is handed out
// only once wait_replicas have it.
func (s *Store) ask(ctx context.Context, script *redis.Script, keys []string, lasting bool, args []any) (any, error) {
	answer, err := s.breaker.Execute(func() (any, error) {
		if lasting && s.waitReplicas > 0 {
			return s.askAndWait(ctx, script, keys, args)
		}
		return script.Run(ctx, s.client, keys, args...).Result()
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admission.ErrUnavailable, err)
	}
	return answer, nil
}

// errReplicas is an answer that too few replicas have. It is not handed out:
// asked again by the same id, it is the same.
var errReplicas = errors.New("too few replicas have it")

// askAndWait runs a script and waits for replicas on the same connection: WAIT
// speaks of what its own connection wrote.
func (s *Store) askAndWait(ctx context.Context, script *redis.Script, keys []string, args []any) (any, error) {
	node := s.client
	if cluster, ok := s.client.(*redis.ClusterClient); ok {
		// WAIT has no key: it must go where the script went.
		master, err := cluster.MasterForKey(ctx, keys[0])
		if err != nil {
			return nil, err
		}
		node = master
	}
	answer, replicas, err := both(ctx, node, args, func(p redis.Pipeliner, args []any) *redis.Cmd {
		return p.EvalSha(ctx, script.Hash(), keys, args...)
	}, s.waitReplicas)
	if err != nil && redis.HasErrorPrefix(err, "NOSCRIPT") {
		answer, replicas, err = both(ctx, node, args, func(p redis.Pipeliner, args []any) *redis.Cmd {
			return script.Eval(ctx, p, keys, args...)
		}, s.waitReplicas)
	}
	if cluster, ok := s.client.(*redis.ClusterClient); ok && err != nil && strings.HasPrefix(err.Error(), "MOVED") {
		cluster.ReloadState(ctx)
	}
	if err == nil && replicas < int64(s.waitReplicas) {
		err = errReplicas
	}
	return answer, err
}

func both(ctx context.Context, node redis.UniversalClient, args []any, run func(redis.Pipeliner, []any) *redis.Cmd, replicas int) (any, int64, error) {
	pipe := node.Pipeline()
	answer := run(pipe, args)
	waited := pipe.Do(ctx, "WAIT", replicas, replicaTime.Milliseconds())
	_, _ = pipe.Exec(ctx) // each command tells its own error
	if err := answer.Err(); err != nil {
		return nil, 0, err
	}
	count, err := waited.Int64()
	return answer.Val(), count, err
}
