package visitor

import (
	"net/netip"
	"strings"
)

// Proxies are the peers whose X-Forwarded-* headers are believed. The zero
// Proxies trusts no one. It is immutable and safe for concurrent use.
type Proxies struct{ prefixes []netip.Prefix }

// Trust returns Proxies of the given networks. Networks written as
// IPv4-in-IPv6 count as IPv4, which is how addresses are compared.
func Trust(networks ...netip.Prefix) Proxies {
	prefixes := make([]netip.Prefix, 0, len(networks))
	for _, n := range networks {
		if n.Addr().Is4In6() && n.Bits() >= 96 {
			n = netip.PrefixFrom(n.Addr().Unmap(), n.Bits()-96)
		}
		prefixes = append(prefixes, n.Masked())
	}
	return Proxies{prefixes}
}

// Trusts reports whether a is the address of one of the proxies.
func (p Proxies) Trusts(a netip.Addr) bool { return p.trust(plain(a)) }

func (p Proxies) trust(a netip.Addr) bool {
	for _, n := range p.prefixes {
		if n.Contains(a) {
			return true
		}
	}
	return false
}

// client is the rightmost hop that no trusted proxy stands behind: each proxy
// appends who spoke to it, so everything left of the first stranger is that
// stranger's own word. All lines count as one list. A hop that cannot be read
// ends the trust: the peer itself is then the client, so that junk buys no
// address of one's choice.
func (p Proxies) client(peer netip.Addr, lines []string) netip.Addr {
	client := peer
	for i := len(lines) - 1; i >= 0; i-- {
		rest := lines[i]
		for more := true; more; {
			var hop string
			if comma := strings.LastIndexByte(rest, ','); comma >= 0 {
				hop, rest = rest[comma+1:], rest[:comma]
			} else {
				hop, more = rest, false
			}
			addr, ok := hopAddr(strings.Trim(hop, " \t"))
			if !ok {
				return peer
			}
			client = addr
			if !p.trust(addr) {
				return client
			}
		}
	}
	return client
}

// peer reads the address and port out of a RemoteAddr; invalid where there is
// none, as on a Unix socket.
func peer(remote string) (netip.Addr, uint16) {
	ap, err := netip.ParseAddrPort(remote)
	if err != nil {
		return netip.Addr{}, 0
	}
	return plain(ap.Addr()), ap.Port()
}

// hopAddr reads one entry of X-Forwarded-For, with or without a port.
func hopAddr(s string) (netip.Addr, bool) {
	if a, err := netip.ParseAddr(s); err == nil {
		return plain(a), true
	}
	if ap, err := netip.ParseAddrPort(s); err == nil {
		return plain(ap.Addr()), true
	}
	if len(s) > 2 && s[0] == '[' && s[len(s)-1] == ']' {
		if a, err := netip.ParseAddr(s[1 : len(s)-1]); err == nil && a.Is6() {
			return plain(a), true
		}
	}
	return netip.Addr{}, false
}

// plain is an address as it is compared: IPv4 where it is one, and without a
// zone, which no prefix contains.
func plain(a netip.Addr) netip.Addr { return a.Unmap().WithZone("") }

// forwardedSecure reports whether the nearest proxy was spoken to over HTTPS.
func forwardedSecure(lines []string) bool {
	if len(lines) == 0 {
		return false
	}
	last := lines[len(lines)-1]
	last = strings.Trim(last[strings.LastIndexByte(last, ',')+1:], " \t")
	return strings.EqualFold(last, "https") || strings.EqualFold(last, "wss")
}
