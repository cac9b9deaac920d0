package redisstore

import (
	"context"
	"errors"
	"fmt"
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

// ask runs a script on its keys, together with what others ask at the time.
// lasting: its answer is handed out only once wait_replicas have it.
func (s *Store) ask(ctx context.Context, script *redis.Script, keys []string, lasting bool, args []any) (any, error) {
	answer, err := s.breaker.Execute(func() (any, error) {
		q, way := &question{script: script, keys: keys, args: args, node: s.client}, way{}
		if lasting {
			way.replicas = s.waitReplicas
		}
		if cluster, ok := s.client.(*redis.ClusterClient); ok {
			master, err := cluster.MasterForKey(ctx, keys[0])
			if err != nil {
				return nil, err
			}
			way.address = master.Options().Addr
			if way.replicas > 0 {
				q.node = master // WAIT has no key: it must go where the script goes
			}
		}
		answer, err := s.lane(way).ask(ctx, q)
		if cluster, ok := s.client.(*redis.ClusterClient); ok && redis.HasErrorPrefix(err, "MOVED") {
			cluster.ReloadState(ctx)
		}
		return answer, err
	})
	if err != nil {
		return nil, fmt.Errorf("%w: %w", admission.ErrUnavailable, err)
	}
	return answer, nil
}

// errReplicas is an answer that too few replicas have. It is not handed out:
// asked again by the same id, it is the same.
var errReplicas = errors.New("too few replicas have it")
