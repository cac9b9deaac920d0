package proxy

import (
	"math"
	"math/rand/v2"
	"net/netip"
	"slices"
)

// Policy is how one of several servers is chosen for a request. Each goes by
// the servers' weights.
type Policy string

// The policies. The zero Policy is LeastConn.
const (
	LeastConn  Policy = "least_conn"  // whichever has the fewest requests under way
	RoundRobin Policy = "round_robin" // one after the other
	Random     Policy = "random"      // the less busy of two that are drawn
	IPHash     Policy = "ip_hash"     // the same for all requests of a client's network, in every gateway
)

// fewServers is how many servers are looked at without allocating.
const fewServers = 16

// choose picks the member for a client's request, none of those tried; nil
// where there is no other that may be asked.
func (u *Upstream) choose(client netip.Addr, tried []*member) *member {
	if len(u.members) == 1 && len(tried) == 0 {
		if m := u.members[0]; !m.unwell.Load() {
			return m
		}
		return nil
	}
	var few [fewServers]float64
	weights, now := few[:0], u.gateway.clock()
	for _, m := range u.members {
		w := m.weight * m.share(now)
		if w > 0 && slices.Contains(tried, m) {
			w = 0
		}
		weights = append(weights, w)
	}
	for i := u.pick(client, weights); i >= 0; i = u.pick(client, weights) {
		if u.members[i].tries(now) {
			return u.members[i]
		}
		weights[i] = 0
	}
	// All failed lately. One of them may be there again, and the breaker keeps
	// visitors from asking in vain for long.
	for i, m := range u.members {
		if !m.unwell.Load() && !slices.Contains(tried, m) {
			weights[i] = m.weight
		}
	}
	if i := u.pick(client, weights); i >= 0 {
		return u.members[i]
	}
	return nil
}

// pick returns the index of a member whose weight is above 0, or -1.
func (u *Upstream) pick(client netip.Addr, weights []float64) int {
	switch u.settings.Policy {
	case RoundRobin:
		return u.wheel.next(weights)
	case Random:
		return u.pickOfTwo(weights)
	case IPHash:
		return u.pickByHash(client, weights)
	}
	return u.pickLeast(weights)
}

// pickLeast begins at another member each time, so that a quiet shop's servers
// are all asked.
func (u *Upstream) pickLeast(weights []float64) int {
	best, least := -1, math.Inf(1)
	start := int(u.turn.Add(1) % uint64(len(weights)))
	for k := range weights {
		i := (start + k) % len(weights)
		if weights[i] <= 0 {
			continue
		}
		if load := u.members[i].load(weights[i]); load < least {
			best, least = i, load
		}
	}
	return best
}

// load is how busy a target would be with one more request.
func (t *target) load(weight float64) float64 { return float64(t.active.Load()+1) / weight }

func (u *Upstream) pickOfTwo(weights []float64) int {
	first := draw(weights, -1)
	second := draw(weights, first)
	if second >= 0 && u.members[second].load(weights[second]) < u.members[first].load(weights[first]) {
		return second
	}
	return first
}

// draw returns a random index by weight, never that of not; -1 where there is
// no other.
func draw(weights []float64, not int) int {
	total := 0.0
	for i, w := range weights {
		if i != not {
			total += w
		}
	}
	last, at := -1, rand.Float64()*total
	for i, w := range weights {
		if i == not || w <= 0 {
			continue
		}
		last = i
		if at -= w; at < 0 {
			break
		}
	}
	return last
}

// pickByHash is rendezvous hashing: when a server goes, its clients alone move.
func (u *Upstream) pickByHash(client netip.Addr, weights []float64) int {
	best, least := -1, math.Inf(1)
	sender := hashNetwork(client)
	for i, w := range weights {
		if w <= 0 {
			continue
		}
		// In (0, 1), and for each server another.
		share := (float64(mix(sender^u.members[i].hash)>>11) + .5) / (1 << 53)
		if score := -math.Log(share) / w; score < least {
			best, least = i, score
		}
	}
	return best
}

// hashNetwork hashes an address; of IPv6 the /64, within which a client may
// change it at will.
func hashNetwork(a netip.Addr) uint64 {
	a = a.Unmap()
	b := a.As16()
	if !a.Is4() {
		clear(b[8:])
	}
	h := uint64(0)
	for _, c := range b {
		h = mix(h ^ uint64(c))
	}
	return h
}

// mix spreads what differs in h over all its bits (splitmix64's last step).
func mix(h uint64) uint64 {
	h += 0x9e3779b97f4a7c15
	h = (h ^ h>>30) * 0xbf58476d1ce4e5b9
	h = (h ^ h>>27) * 0x94d049bb133111eb
	return h ^ h>>31
}
