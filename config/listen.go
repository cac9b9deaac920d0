package config

import (
	"net"
	"net/netip"
	"strconv"
	"strings"
)

// listened is an address that is listened on, with its key.
type listened struct{ path, address string }

func (l Listen) addresses() []listened {
	return []listened{{"listen.http", l.HTTP}, {"listen.https", l.HTTPS}, {"listen.admin", l.Admin}, {"listen.api", l.API}}
}

func (d *decoder) checkListen(c *Config) {
	addresses := c.Listen.addresses()
	for i, a := range addresses {
		if a.address == "" || !d.sound(a.path) {
			continue
		}
		host, port, err := net.SplitHostPort(a.address)
		if err != nil || !isPort(port, 0) {
			d.problem(a.path, "%q has no port from 0 to 65535", a.address)
			continue
		}
		if _, err := netip.ParseAddr(host); err != nil && strings.HasPrefix(a.address, "[") {
			d.problem(a.path, "%q is not an IPv6 address", host)
			continue
		}
		for _, b := range addresses[:i] {
			if b.address != "" && d.sound(b.path) && collide(a.address, b.address) {
				d.problem(a.path, "%q is taken by %s", a.address, b.path)
			}
		}
	}
	if c.Listen.ProxyProtocol != "off" && len(c.TrustedProxies) == 0 && d.sound("listen.proxy_protocol", "trusted_proxies") {
		d.warn("listen.proxy_protocol", "does nothing without trusted_proxies: no one else is believed")
	}
	switch {
	case !c.Listen.HTTP3 || !d.sound("listen.http3", "listen.https", "listen.proxy_protocol"):
	case c.Listen.HTTPS == "":
		d.problem("listen.http3", "needs listen.https, whose port and certificates it has")
	case c.Listen.ProxyProtocol != "off":
		d.problem("listen.http3", "does not go with listen.proxy_protocol: no balancer could say whose packets are whose")
	}
	if d.sound("listen.http") && c.Listen.HTTP == "" {
		d.problem("listen.http", "is empty: there would be nothing for visitors to reach")
	}
	if d.sound("listen.admin") && c.Listen.Admin != "" && !isLoopback(c.Listen.Admin) && !c.Admin.JWT.Configured() && d.soundJWT("admin") {
		d.problem("listen.admin", "%q can be reached from other machines; set admin.jwt.secret or admin.jwt.jwks_file, or use 127.0.0.1, [::1] or localhost", c.Listen.Admin)
	}
}

// collide says whether two addresses cannot both be listened on. Port 0 is any
// free port; an empty host is every address.
func collide(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if number(portA) != number(portB) || number(portA) == 0 {
		return false
	}
	return hostA == hostB || isEverywhere(hostA) || isEverywhere(hostB)
}

func number(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

func isEverywhere(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}
