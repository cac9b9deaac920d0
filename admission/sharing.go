package admission

import (
	"hash/maphash"
	"net/netip"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
)

// Sharing is when a session looks as if its token were used by others than who
// was admitted, or by a program, as far as one gateway sees. The zero Sharing
// looks at nothing.
type Sharing struct {
	// Hold has uses beyond the bounds turned away; else they are only counted.
	Hold bool

	// Networks and Agents are how many networks, by Settings.Networks, and how
	// many different User-Agents may use one token within Window; 0: any number.
	Networks, Agents int
	Window           time.Duration

	// RequestsPerHour, and RequestBurst at one instant, are what one session may
	// ask for; 0: any number.
	RequestsPerHour, RequestBurst int64
}

// Suspicion is what was too much of a session. It is a closed set: it labels
// metrics and log lines.
type Suspicion int

// The suspicions; notShared is none.
const (
	SharedNetworks Suspicion = iota // used from too many networks at once
	SharedAgents                    // used by too many different browsers at once
	SharedRequests                  // asks too often
	Suspicions
	notShared = Suspicions
)

func (s Suspicion) String() string { return [...]string{"networks", "agents", "requests", "none"}[s] }

// uses are the latest uses of one session at this gateway. The zero uses are
// none.
type uses struct {
	mu       sync.Mutex // guards the rest; no other session's requests wait for it
	networks recent[netip.Prefix]
	agents   recent[uint64]
	due      Instant             // when the next request would come, at the rate
	told     [Suspicions]Instant // when each was counted last
}

// recent are things seen within a window of time, in the order of their first
// coming: at most one more than may be.
type recent[T comparable] []sighting[T]

type sighting[T comparable] struct {
	thing T
	at    Instant // seen last
}

// before counts what was seen within the window and came before a thing; all of
// it, where the thing was not seen.
func (l recent[T]) before(thing T, window time.Duration, now Instant) (n int) {
	for _, s := range l {
		if s.thing == thing {
			break
		}
		if now.Sub(s.at) <= window {
			n++
		}
	}
	return n
}

// note notes a thing. Of those that are too many only the latest is kept.
func (l *recent[T]) note(thing T, most int, window time.Duration, now Instant) {
	for i, s := range *l {
		if s.thing == thing {
			(*l)[i].at = now
			return
		}
	}
	*l = slices.DeleteFunc(*l, func(s sighting[T]) bool { return now.Sub(s.at) > window })
	if len(*l) > most {
		*l = (*l)[:most]
	}
	*l = append(*l, sighting[T]{thing, now})
}

// elsewhere tells whether a token is used from where too many others do
// already. Those who came first go on.
func (u *uses) elsewhere(s Sharing, network netip.Prefix, agent uint64, now Instant) Suspicion {
	switch {
	case s.Networks > 0 && u.networks.before(network, s.Window, now) >= s.Networks:
		return SharedNetworks
	case s.Agents > 0 && u.agents.before(agent, s.Window, now) >= s.Agents:
		return SharedAgents
	}
	return notShared
}

func (u *uses) note(s Sharing, network netip.Prefix, agent uint64, now Instant) {
	if s.Networks > 0 {
		u.networks.note(network, s.Networks, s.Window, now)
	}
	if s.Agents > 0 {
		u.agents.note(agent, s.Agents, s.Window, now)
	}
}

// often tells how long a session that asks too often should wait; 0: it does
// not.
func (u *uses) often(s Sharing, now Instant) time.Duration {
	if s.RequestsPerHour <= 0 {
		return 0
	}
	each := time.Hour / time.Duration(s.RequestsPerHour)
	u.due = max(u.due, now)
	if early := u.due.Sub(now) - each*time.Duration(max(0, s.RequestBurst-1)); early > 0 {
		return early
	}
	u.due = u.due.Add(each)
	return 0
}

// first reports whether a suspicion is the first of its kind within the window.
func (u *uses) first(is Suspicion, s Sharing, now Instant) bool {
	if u.told[is] != 0 && now.Sub(u.told[is]) <= max(s.Window, time.Minute) {
		return false
	}
	u.told[is] = now
	return true
}

// shared notes a use of a session, and tells what is too much of it where that
// is to be held, with the time to wait of one that asks too often.
func (r *Room) shared(s *stay, t *ticket, visit Visit, now Instant) (Suspicion, time.Duration) {
	settings := r.settings.Load()
	sharing := settings.Sharing
	if sharing == (Sharing{}) {
		return notShared, 0
	}
	u := &s.uses
	u.mu.Lock()
	defer u.mu.Unlock()
	network, agent := settings.Networks.of(visit.Network), r.agent(visit)
	is := u.elsewhere(sharing, network, agent, now)
	u.note(sharing, network, agent, now)
	var wait time.Duration
	if is == notShared {
		if wait = u.often(sharing, now); wait > 0 {
			is = SharedRequests
		}
	}
	if is == notShared {
		return is, 0
	}
	if u.first(is, sharing, now) {
		r.counts.shared[is].Add(1)
		r.log.Info("session shared, as it seems", zap.Stringer("reason", is), zap.Int64("number", t.number), zap.Bool("held", sharing.Hold))
	}
	if !sharing.Hold {
		return notShared, 0
	}
	return is, wait
}

// usedFirst notes from where a session was begun.
func (r *Room) usedFirst(visitor string, visit Visit) {
	settings := r.settings.Load()
	s := r.session(visitor)
	if s == nil || settings.Sharing == (Sharing{}) {
		return
	}
	u := &s.uses
	u.mu.Lock()
	defer u.mu.Unlock()
	u.note(settings.Sharing, settings.Networks.of(visit.Network), r.agent(visit), r.view.Load().now())
}

// agent stands for a User-Agent, in this room.
func (r *Room) agent(visit Visit) uint64 { return maphash.String(r.agents, visit.Agent) }

// others reports whether a token is worth nothing to this visit, as others use
// it. It notes nothing.
func (r *Room) others(s *stay, visit Visit, now Instant) bool {
	settings := r.settings.Load()
	if !settings.Sharing.Hold {
		return false
	}
	s.uses.mu.Lock()
	defer s.uses.mu.Unlock()
	network, agent := settings.Networks.of(visit.Network), r.agent(visit)
	return s.uses.elsewhere(settings.Sharing, network, agent, now) != notShared
}
