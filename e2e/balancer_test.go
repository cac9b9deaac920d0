package e2e

import (
	"context"
	"errors"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// balancer sends each request to one of the gateways that say that they are
// ready, and to the next where one cannot be reached, as what stands before
// several gateways does.
type balancer struct {
	transport http.Transport
	hosts     []string
	ready     []atomic.Bool
	turn      atomic.Uint64
}

func newBalancer(t *testing.T, gateways []*gateway) *balancer {
	b := &balancer{ready: make([]atomic.Bool, len(gateways))}
	b.transport.MaxIdleConnsPerHost = 64
	ctx, stop := context.WithCancel(t.Context())
	var looking sync.WaitGroup
	t.Cleanup(func() { stop(); looking.Wait(); b.transport.CloseIdleConnections() })
	for i, g := range gateways {
		b.hosts = append(b.hosts, strings.TrimPrefix(g.Public, "http://"))
		b.ready[i].Store(true)
		client := &http.Client{Timeout: time.Second}
		looking.Go(func() {
			tick := time.NewTicker(100 * time.Millisecond)
			defer tick.Stop()
			for {
				select {
				case <-tick.C:
				case <-ctx.Done():
					return
				}
				answer, err := client.Get(g.Admin + "/readyz")
				if err == nil {
					answer.Body.Close()
				}
				b.ready[i].Store(err == nil && answer.StatusCode == http.StatusOK)
			}
		})
	}
	return b
}

// RoundTrip implements http.RoundTripper.
func (b *balancer) RoundTrip(r *http.Request) (*http.Response, error) {
	first, err := b.turn.Add(1), errors.New("no gateway is ready")
	for _, ready := range []bool{true, false} {
		for i := range b.hosts {
			at := (int(first) + i) % len(b.hosts)
			if b.ready[at].Load() != ready {
				continue
			}
			to := r.Clone(r.Context())
			to.URL.Host = b.hosts[at]
			var answer *http.Response
			if answer, err = b.transport.RoundTrip(to); err == nil {
				return answer, nil
			}
			var op *net.OpError
			if !errors.As(err, &op) || op.Op != "dial" {
				return nil, err
			}
		}
	}
	return nil, err
}
