package config

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/url"
	"slices"
)

func (d *decoder) checkUpstreams(c *Config) {
	for _, u := range c.Upstreams {
		at := join("upstreams", u.Name)
		d.checkServers(at+".servers", u.Servers)
		d.checkLoops(at+".servers", u.Servers, c.Listen)
		d.checkTrust(at+".tls", u)
		if key := at + ".proxy_protocol"; u.ProxyProtocol != "off" && u.Protocol == "http2" && d.sound(key) {
			d.problem(key, "cannot tell whose a connection of protocol http2 is: it carries the requests of many; use http1")
		}
	}
}

// checkServers refuses two servers that are one.
func (d *decoder) checkServers(path string, servers []Server) {
	listed := places[url.URL]{}
	for i, s := range servers {
		at := fmt.Sprintf("%s[%d].url", path, i)
		if s.URL == nil || !d.sound(at) {
			continue
		}
		if other, twice := listed.twice(*s.URL, i); twice {
			d.problem(at, "is also the url of servers[%d]; a larger share is its weight", other)
		}
	}
}

// checkLoops refuses servers that are the gateway itself.
func (d *decoder) checkLoops(path string, servers []Server, l Listen) {
	for i, s := range servers {
		at := fmt.Sprintf("%s[%d].url", path, i)
		if s.URL == nil || !d.sound(at) {
			continue
		}
		for _, own := range l.addresses() {
			if !d.sound(own.path) || !reaches(s.URL, own.address) {
				continue
			}
			if own.path == "listen.http" || own.path == "listen.https" {
				d.problem(at, "%q is %s: requests would come back for ever", s.URL, own.path)
			} else {
				d.problem(at, "%q is %s, and no shop", s.URL, own.path)
			}
			break
		}
	}
}

// reaches says whether a URL surely leads to an address that is listened on, on
// this machine. What only a name server could tell is found out by requests.
func reaches(u *url.URL, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || u.Scheme == "unix" || number(port) == 0 || number(port) != number(portOf(u)) {
		return false
	}
	to, here := u.Hostname(), isLoopback(net.JoinHostPort(u.Hostname(), port)) || isEverywhere(u.Hostname())
	switch {
	case to == host:
		return true
	case to == "localhost" || host == "localhost" || isEverywhere(to) || isEverywhere(host):
		return here && (isEverywhere(host) || isLoopback(address))
	}
	return false
}

// portOf is the port that a URL leads to.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// checkTrust holds the TLS of an upstream against itself and its servers.
func (d *decoder) checkTrust(path string, u Upstream) {
	t := u.TLS
	if !d.sound(path, path+".ca", path+".cert", path+".key", path+".server_name") {
		return
	}
	if t.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(t.CAText)) {
		d.problem(path+".ca", "%q holds no certificate in PEM", t.CA)
	}
	switch {
	case t.Cert != "" && t.Key == "":
		d.problem(path+".cert", "needs its key")
	case t.Key != "" && t.Cert == "":
		d.problem(path+".key", "needs cert, the certificate that it is the key of")
	case t.Cert != "":
		if _, err := tls.X509KeyPair([]byte(t.CertText), []byte(t.KeyText.Reveal())); err != nil {
			d.problem(path+".cert", "%q with key %q: %v", t.Cert, t.Key, err)
		}
	}
	if t.SkipVerify {
		d.warn(path+".skip_verify", "whoever is on the way to the shop can read and change everything")
	}
	secure := func(s Server) bool { return s.URL == nil || s.URL.Scheme == "https" }
	if t.CA+t.Cert+t.ServerName != "" && !slices.ContainsFunc(u.Servers, secure) {
		d.warn(path, "is not used: no server's url is https")
	}
}
