package config

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"fmt"
	"net/url"
	"strings"
	"time"
)

// soon is how long before its end a certificate is warned of: long enough to
// get another by hand.
const soon = 14 * 24 * time.Hour

func (d *decoder) checkTLS(c *Config) {
	const mode = "tls.mode"
	if !d.sound(mode, "listen.https") {
		return
	}
	switch {
	case c.TLS.Mode == "off" && c.Listen.HTTPS != "":
		d.problem("listen.https", "needs certificates; set tls.mode to acme, files or internal")
	case c.TLS.Mode != "off" && c.Listen.HTTPS == "":
		d.problem(mode, "%s means nothing without listen.https", c.TLS.Mode)
	}
	if len(c.TLS.Files) > 0 && c.TLS.Mode != "files" {
		d.problem("tls.files", "means nothing with tls.mode %s", c.TLS.Mode)
		return
	}
	switch c.TLS.Mode {
	case "files":
		d.checkCertFiles(c)
	case "acme":
		d.checkACME(c)
	}
	if c.TLS.HSTS.Subdomains && c.TLS.HSTS.MaxAge == 0 {
		d.warn("tls.hsts.subdomains", "does nothing without tls.hsts.max_age")
	}
}

func (d *decoder) checkCertFiles(c *Config) {
	if len(c.TLS.Files) == 0 && d.sound("tls.files") {
		d.problem("tls.files", "is empty: which certificate?")
	}
	var leaves []*x509.Certificate
	for i, f := range c.TLS.Files {
		path := fmt.Sprintf("tls.files[%d]", i)
		if leaf := d.checkCertFile(path, f); leaf != nil {
			leaves = append(leaves, leaf)
		}
	}
	if len(leaves) < len(c.TLS.Files) {
		return
	}
	for i, r := range c.Routes {
		named := func(leaf *x509.Certificate) bool {
			// Any name below a pattern stands for all of them.
			return leaf.VerifyHostname(strings.Replace(r.Host, "*", "any", 1)) == nil
		}
		covered := r.Host == "*"
		for _, leaf := range leaves {
			covered = covered || named(leaf)
		}
		if host := fmt.Sprintf("routes[%d].host", i); !covered && d.sound(host) {
			d.warn(host, "no certificate of tls.files is for %q", r.Host)
		}
	}
}

// checkCertFile gives the leaf of a certificate that can be used, or nil.
func (d *decoder) checkCertFile(path string, f CertFile) *x509.Certificate {
	cert, key := path+".cert", path+".key"
	if !d.sound(cert, key) {
		return nil
	}
	chain, err := readFile(f.Cert, maxSecretBytes)
	if err != nil {
		d.problem(cert, "read %q: %v", f.Cert, err)
		return nil
	}
	private, err := readFile(f.Key, maxSecretBytes)
	if err != nil {
		d.problem(key, "read %q: %v", f.Key, err)
		return nil
	}
	pair, err := tls.X509KeyPair(chain, private)
	switch {
	case err != nil && !bytes.Contains(chain, []byte("-----BEGIN CERTIFICATE-----")):
		d.problem(cert, "%q holds no certificate in PEM", f.Cert)
		return nil
	case err != nil:
		d.problem(key, "%q is no key of the certificate in %q: %v", f.Key, f.Cert, err)
		return nil
	}
	now := time.Now()
	switch until := pair.Leaf.NotAfter; {
	case now.After(until):
		d.problem(cert, "%q expired on %s", f.Cert, until.Format(time.DateOnly))
		return nil
	case now.Before(pair.Leaf.NotBefore):
		d.problem(cert, "%q is valid only from %s on", f.Cert, pair.Leaf.NotBefore.Format(time.RFC3339))
		return nil
	case until.Sub(now) < soon:
		d.warn(cert, "%q expires on %s", f.Cert, until.Format(time.RFC3339))
	}
	return pair.Leaf
}

func (d *decoder) checkACME(c *Config) {
	const at = "tls.acme."
	a := c.TLS.ACME
	if u, err := url.Parse(a.CA); d.sound(at+"ca") && (err != nil || u.Scheme != "https" || u.Host == "") {
		d.problem(at+"ca", "%q is not the URL of a directory, like https://acme-v02.api.letsencrypt.org/directory", a.CA)
	}
	if kid, hmac := a.EAB.KID != "", a.EAB.HMAC != (Secret{}); kid != hmac && d.sound(at+"eab.kid", at+"eab.hmac") {
		d.problem(at+"eab", "needs both kid and hmac")
	} else if _, err := base64.RawURLEncoding.DecodeString(strings.TrimRight(a.EAB.HMAC.Reveal(), "=")); err != nil {
		d.problem(at+"eab.hmac", "is not URL-safe base64")
	}
	if a.RootFile != "" && d.sound(at+"root_file") {
		text, err := readFile(a.RootFile, maxSecretBytes)
		if err != nil {
			d.problem(at+"root_file", "read %q: %v", a.RootFile, err)
		} else if !x509.NewCertPool().AppendCertsFromPEM(text) {
			d.problem(at+"root_file", "%q holds no certificate in PEM", a.RootFile)
		}
	}
	if c.Store.Type == "redis" && d.given(at+"path") {
		d.warn(at+"path", "is not used with store.type redis: certificates are in Redis")
	}
	exact := false
	for i, r := range c.Routes {
		switch host := fmt.Sprintf("routes[%d].host", i); {
		case !d.sound(host):
			exact = true // it may be
		case r.Host == "*":
			d.warn(host, "is for every host: one that no other route names gets no certificate")
		case strings.HasPrefix(r.Host, "*."):
			d.warn(host, "%q gets no certificate: CAs give those for patterns by DNS only; name the hosts, or use tls.mode files", r.Host)
		default:
			exact = true
		}
	}
	if !exact && d.sound("routes") {
		d.problem("tls.mode", "acme needs a route with a host name: certificates are asked for by those names only, never by what a visitor says")
	}
}

// CertHosts are the host names that certificates are to be had for: those of
// the routes, each once, and no patterns.
func (c *Config) CertHosts() []string {
	var hosts []string
	seen := map[string]bool{}
	for _, r := range c.Routes {
		if !strings.HasPrefix(r.Host, "*") && !seen[r.Host] {
			seen[r.Host] = true
			hosts = append(hosts, r.Host)
		}
	}
	return hosts
}
