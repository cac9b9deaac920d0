package api

import (
	"hash/maphash"
	"net/netip"
	"sync"
	"time"
)

// limiter lets each network do a thing so many times an hour, evenly spread,
// and some of them at once (the generic cell rate algorithm). It remembers a
// bounded number of networks: a full shard forgets the half it heard of
// longest ago, so that made-up addresses cost no memory.
type limiter struct {
	seed   maphash.Seed
	shards [64]limiterShard
}

const shardNetworks = 1024 // of each half: 131,072 networks, some 10 MB at most

type limiterShard struct {
	mu    sync.Mutex // protects young and old
	young map[netip.Addr]int64
	old   map[netip.Addr]int64
	_     [64]byte // keeps two shards off one cache line
}

func newLimiter() *limiter { return &limiter{seed: maphash.MakeSeed()} }

// take counts one more of the network of client, and returns 0, or how long it
// must wait if it was one too many. perHour 0 is no limit. A client without an
// address is not limited.
func (l *limiter) take(client netip.Addr, perHour, burst int64, now time.Time) time.Duration {
	network := networkOf(client)
	if perHour <= 0 || !network.IsValid() {
		return 0
	}
	every := max(1, int64(time.Hour)/perHour)
	slack := every * (max(1, burst) - 1)
	at := now.UnixNano()
	s := &l.shards[maphash.Comparable(l.seed, network)%uint64(len(l.shards))]
	s.mu.Lock()
	defer s.mu.Unlock()
	due, known := s.young[network]
	if !known {
		due = s.old[network]
	}
	// What another limit left behind, or a clock that was set back, must not
	// shut a network out for longer than this limit would.
	due = min(max(due, at), at+slack+every)
	if due-slack > at {
		return time.Duration(due - slack - at)
	}
	if !known && len(s.young) >= shardNetworks {
		s.old, s.young = s.young, nil
	}
	if s.young == nil {
		s.young = make(map[netip.Addr]int64)
	}
	s.young[network] = due + every
	return 0
}

// networkOf is what counts as one client: an IPv4 address, or the /64 that one
// IPv6 subscriber has at least.
func networkOf(a netip.Addr) netip.Addr {
	a = a.Unmap().WithZone("")
	if a.Is4() || !a.IsValid() {
		return a
	}
	p, err := a.Prefix(64)
	if err != nil {
		return netip.Addr{}
	}
	return p.Addr()
}
