package redisstore

import (
	"context"
	"net"

	"github.com/redis/go-redis/v9"
)

// ConnectThrough is Connect without its checks, over a network of the test's
// own. It is not for clusters.
func ConnectThrough(o Options, dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Store {
	u := o.universal()
	u.Dialer = dial
	s := New(redis.NewUniversalClient(u))
	s.waitReplicas = o.WaitReplicas
	return s
}

// Hashes are what requests for a join and for an admission contain.
func Hashes() (join, admit string) {
	s := scriptsOf(shared)
	return s.join.Hash(), s.admit.Hash()
}
