//go:build linux

package redistest

import (
	"context"
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// Sentinels is one master with its replicas, and three sentinels that watch
// them: a server that does not answer for 500 ms is down for them, and a
// failover takes one to three seconds.
//
// Each server and sentinel is known to the others, and to clients, by the
// address of the link before it, and dials from an address of its own. So the
// network between any of them can be cut, see Part and Sever.
type Sentinels struct {
	MasterName    string
	SentinelAddrs []string
	Servers       []*Server // redis-1, the first master, redis-2 …
	Sentinels     []*Server // sentinel-1 …

	t testing.TB

	mu      sync.Mutex // guards all below
	sources map[string]netip.Addr
	severed func(a, b netip.Addr) bool // which parties cannot reach each other
}

// Sentinel starts a set with that many replicas. Options are lines of redis.conf
// for the master and the replicas, such as "min-replicas-to-write 1"; passwords
// among them are for clients only.
func Sentinel(t testing.TB, replicas int, options ...string) *Sentinels {
	t.Helper()
	s := &Sentinels{MasterName: "ropeline", t: t, sources: map[string]netip.Addr{}}
	for i := range 1 + replicas {
		r := s.newServer(fmt.Sprintf("redis-%d", i+1), i+1)
		s.Servers = append(s.Servers, r)
		r.start(func(port int) []string {
			lines := append([]string{fmt.Sprintf("port %d", port), "replica-announce-ip 127.0.0.1",
				"replica-announce-port " + portOf(r.Addr)}, options...)
			if i > 0 {
				lines = append(lines, "replicaof 127.0.0.1 "+portOf(s.Servers[0].Addr))
			}
			return lines
		})
	}
	for i := range 3 {
		r := s.newServer(fmt.Sprintf("sentinel-%d", i+1), 100+i)
		r.sentinel = true
		r.args = append(r.args, "--sentinel")
		s.Sentinels = append(s.Sentinels, r)
		s.SentinelAddrs = append(s.SentinelAddrs, r.Addr)
	}
	for i, r := range s.Sentinels {
		r.start(func(port int) []string { return s.watch(i, port) })
		// On a busy machine a sentinel may be kept waiting for so long that it
		// mistrusts its clock, and then by default does nothing for 30 s.
		r.Do(context.Background(), "sentinel", "debug", "tilt-period", 1000)
	}
	if !poll(patience, s.healthy) {
		t.Fatalf("the sentinels do not see all of %d servers and each other within %s", len(s.Servers), patience)
	}
	return s
}

// newServer returns a server behind a link, that dials from 127.0.1.n.
func (s *Sentinels) newServer(name string, n int) *Server {
	s.t.Helper()
	r := newServer(s.t, name)
	r.link = NewLink(s.t, "")
	r.Addr = r.link.Addr
	r.source = netip.AddrFrom4([4]byte{127, 0, 1, byte(n)})
	s.sources[name] = r.source
	return r
}

// watch returns the configuration of sentinel i. It knows the others from the
// start, which spares the seconds in which they would hear of each other.
func (s *Sentinels) watch(i, port int) []string {
	id := func(i int) string { return strings.Repeat(fmt.Sprintf("%x", i+10), 40) }
	lines := []string{
		fmt.Sprintf("port %d", port),
		"sentinel myid " + id(i),
		"sentinel announce-ip 127.0.0.1",
		"sentinel announce-port " + portOf(s.Sentinels[i].Addr),
		fmt.Sprintf("sentinel monitor %s 127.0.0.1 %s 2", s.MasterName, portOf(s.Servers[0].Addr)),
	}
	for _, o := range watching {
		lines = append(lines, fmt.Sprintf("sentinel %s %s %s", o[0], s.MasterName, o[1]))
	}
	for _, r := range s.Servers[1:] {
		lines = append(lines, fmt.Sprintf("sentinel known-replica %s 127.0.0.1 %s", s.MasterName, portOf(r.Addr)))
	}
	for j, r := range s.Sentinels {
		if j != i {
			lines = append(lines, fmt.Sprintf("sentinel known-sentinel %s 127.0.0.1 %s %s", s.MasterName, portOf(r.Addr), id(j)))
		}
	}
	return lines
}

// watching is how the sentinels watch the master.
var watching = [][2]string{
	{"down-after-milliseconds", "500"},
	{"failover-timeout", "2000"},
	{"parallel-syncs", "1"},
	{"auth-user", harness},
	{"auth-pass", harness},
}

// healthy reports whether every sentinel could fail the master over now.
func (s *Sentinels) healthy() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	for _, r := range s.Sentinels {
		for of, want := range map[string]struct {
			n                 int
			flags, key, value string
		}{
			"masters":   {1, "master", "num-slaves", fmt.Sprint(len(s.Servers) - 1)},
			"replicas":  {len(s.Servers) - 1, "slave", "master-link-status", "ok"},
			"sentinels": {len(s.Sentinels) - 1, "sentinel", "", ""},
		} {
			args := []any{"sentinel", of, s.MasterName}
			if of == "masters" {
				args = args[:2]
			}
			answer, err := r.Try(ctx, args...)
			list, _ := answer.([]any)
			if err != nil || len(list) != want.n {
				return false
			}
			for _, one := range list {
				fields := pairs(one)
				if fields["flags"] != want.flags || fields[want.key] != want.value {
					return false
				}
			}
		}
	}
	return true
}

// Master returns the server that most sentinels take for the master now.
func (s *Sentinels) Master() *Server {
	s.t.Helper()
	var master *Server
	if !poll(patience, func() bool { master = s.agreed(context.Background()); return master != nil }) {
		s.t.Fatalf("the sentinels do not agree on a master within %s", patience)
	}
	return master
}

// agreed returns the server that most sentinels take for the master, or nil.
func (s *Sentinels) agreed(ctx context.Context) *Server {
	votes := map[string]int{}
	for _, r := range s.Sentinels {
		answer, err := r.Try(ctx, "sentinel", "get-master-addr-by-name", s.MasterName)
		if addr, ok := answer.([]any); err == nil && ok {
			votes[net.JoinHostPort(addr[0].(string), addr[1].(string))]++
		}
	}
	for _, r := range s.Servers {
		if votes[r.Addr] > len(s.Sentinels)/2 {
			return r
		}
	}
	return nil
}

// Replicas returns all servers but the master, also those that do not run.
func (s *Sentinels) Replicas() []*Server {
	s.t.Helper()
	master := s.Master()
	var replicas []*Server
	for _, r := range s.Servers {
		if r != master {
			replicas = append(replicas, r)
		}
	}
	return replicas
}

// KillMaster kills the master and returns it.
func (s *Sentinels) KillMaster() *Server {
	s.t.Helper()
	master := s.Master()
	master.Kill()
	return master
}

// Forget has all sentinels forget the master, as where an operator gives it
// another name. The servers do not notice, nor do connections that stand.
// Recall has them watch it again; the replicas and each other they find within
// seconds.
func (s *Sentinels) Forget() (recall func()) {
	s.t.Helper()
	ctx := context.Background()
	master := s.Master()
	for _, r := range s.Sentinels {
		r.Do(ctx, "sentinel", "remove", s.MasterName)
	}
	return func() {
		s.t.Helper()
		for _, r := range s.Sentinels {
			r.Do(ctx, "sentinel", "monitor", s.MasterName, "127.0.0.1", portOf(master.Addr), 2)
			for _, o := range watching {
				r.Do(ctx, "sentinel", "set", s.MasterName, o[0], o[1])
			}
		}
	}
}

// WaitFailover waits until most sentinels name another master than old, and
// that one takes itself for the master. It returns it.
func (s *Sentinels) WaitFailover(ctx context.Context, old *Server) *Server {
	s.t.Helper()
	var master *Server
	for ctx.Err() == nil {
		if poll(time.Second, func() bool {
			master = s.agreed(ctx)
			return ctx.Err() != nil || master != nil && master != old && master.role(ctx) == "master"
		}) && ctx.Err() == nil {
			return master
		}
	}
	s.t.Fatalf("no failover from %s: %v", old.Name, ctx.Err())
	return nil
}

// role is what the server takes itself for: master or slave.
func (s *Server) role(ctx context.Context) string {
	answer, err := s.Try(ctx, "role")
	if fields, ok := answer.([]any); err == nil && ok {
		return fields[0].(string)
	}
	return ""
}

// Dialer returns how a client that is a party of its own reaches the set, for
// the option of that name in go-redis; a gateway takes one name. Other clients
// are together the party "".
func (s *Sentinels) Dialer(party string) func(ctx context.Context, network, addr string) (net.Conn, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	source, ok := s.sources[party]
	if !ok {
		source = netip.AddrFrom4([4]byte{127, 0, 2, byte(len(s.sources))})
		s.sources[party] = source
	}
	d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))}
	return d.DialContext
}

// Gate is Dialer for a client in another process: it returns the addresses at
// which the sentinels are for that party, which tell it of the servers and of
// each other by such addresses, too.
func (s *Sentinels) Gate(party string) (sentinelAddrs []string) {
	s.t.Helper()
	s.Dialer(party) // makes it a party
	var ports []string
	var sentinels []*Link
	for _, r := range slices.Concat(s.Servers, s.Sentinels) {
		l := NewLink(s.t, r.Addr)
		l.from(s.sourceOf(party)) // in time: nobody knows the address yet but by chance
		ports = append(ports, portOf(r.Addr), portOf(l.Addr))
		if r.sentinel {
			sentinels, sentinelAddrs = append(sentinels, l), append(sentinelAddrs, l.Addr)
		}
	}
	for _, l := range sentinels { // what servers answer is data
		l.alter(ports...)
	}
	return sentinelAddrs
}

// Part cuts the named parties off from all others: servers, sentinels and
// dialers, by name. Connections across hang, as they do when a network drops
// packets, and so do new ones.
func (s *Sentinels) Part(parties ...string) {
	s.t.Helper()
	side := map[netip.Addr]bool{}
	for _, party := range parties {
		side[s.sourceOf(party)] = true
	}
	s.sever(func(a, b netip.Addr) bool { return side[a] != side[b] })
}

// Sever cuts the network between two parties only.
func (s *Sentinels) Sever(one, other string) {
	s.t.Helper()
	x, y := s.sourceOf(one), s.sourceOf(other)
	s.sever(func(a, b netip.Addr) bool { return a == x && b == y || a == y && b == x })
}

// Mend ends Part and Sever. What was held back meanwhile arrives, unless its
// sender was killed.
func (s *Sentinels) Mend() {
	s.mu.Lock()
	s.severed = nil
	s.mu.Unlock()
	for _, r := range slices.Concat(s.Servers, s.Sentinels) {
		r.link.hold(nil)
	}
}

// sever cuts what rule says, beside what is cut already.
func (s *Sentinels) sever(rule func(a, b netip.Addr) bool) {
	s.mu.Lock()
	if before := s.severed; before != nil {
		added := rule
		rule = func(a, b netip.Addr) bool { return before(a, b) || added(a, b) }
	}
	s.severed = rule
	s.mu.Unlock()
	for _, r := range slices.Concat(s.Servers, s.Sentinels) {
		r.link.hold(func(from netip.Addr) bool { return rule(from, r.source) })
	}
}

// sourceOf returns where the party dials from.
func (s *Sentinels) sourceOf(party string) netip.Addr {
	s.t.Helper()
	if party == "" {
		return netip.AddrFrom4([4]byte{127, 0, 0, 1})
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	source, ok := s.sources[party]
	if !ok {
		s.t.Fatalf("no server, sentinel or dialer is named %q", party)
	}
	return source
}

// pairs makes a map of a flat list of keys and values.
func pairs(answer any) map[string]string {
	list, _ := answer.([]any)
	fields := map[string]string{}
	for i := 0; i+1 < len(list); i += 2 {
		fields[fmt.Sprint(list[i])] = fmt.Sprint(list[i+1])
	}
	return fields
}

func portOf(addr string) string {
	_, port, _ := net.SplitHostPort(addr)
	return port
}
