package config

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"
)

// writeCert writes a self-signed certificate for a host, good until an instant,
// as NAME.crt and NAME.key.
func writeCert(t *testing.T, dir, name, host string, until time.Time) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{NotBefore: until.Add(-90 * 24 * time.Hour), NotAfter: until, DNSNames: []string{host}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for file, block := range map[string]*pem.Block{name + ".crt": {Type: "CERTIFICATE", Bytes: der}, name + ".key": {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(filepath.Join(dir, file), pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

func TestLoad_TLS(t *testing.T) {
	t.Chdir(t.TempDir())
	now, day := time.Now(), 24*time.Hour
	writeCert(t, ".", "good", "shop.test", now.Add(60*day))
	writeCert(t, ".", "other", "other.test", now.Add(60*day))
	writeCert(t, ".", "pattern", "*.shop.test", now.Add(60*day))
	writeCert(t, ".", "soon", "shop.test", now.Add(3*day))
	writeCert(t, ".", "expired", "shop.test", now.Add(-day))
	writeCert(t, ".", "future", "shop.test", now.Add(100*day))

	files := func(pairs ...string) string {
		var items []string
		for _, p := range pairs {
			cert, key, _ := strings.Cut(p, "+")
			items = append(items, "{cert: "+cert+", key: "+key+"}")
		}
		return `listen: {https: ":8443"}` + "\ntls: {mode: files, files: [" + strings.Join(items, ", ") + "]}"
	}
	acme := func(more string) string {
		return `listen: {https: ":8443"}` + "\ntls: {mode: acme, acme: {" + more + "}}"
	}
	for _, tt := range []struct {
		name, text, host string
		problem, warning string // without the place; empty: none
	}{
		{name: "files", text: files("good.crt+good.key")},
		{name: "files of a pattern", text: files("pattern.crt+pattern.key"), host: "*.shop.test"},
		{name: "internal", text: `listen: {https: ":8443"}` + "\ntls: {mode: internal}", host: "*"},
		{name: "acme", text: acme(`email: ops@shop.test`)},

		{name: "no certificates", text: `listen: {https: ":8443"}`, problem: "listen.https: needs certificates"},
		{name: "no listener", text: "tls: {mode: internal}", problem: "tls.mode: internal means nothing without listen.https"},
		{name: "no files", text: files(), problem: "tls.files: is empty"},
		{name: "files of another mode", text: `listen: {https: ":8443"}` + "\ntls: {mode: internal, files: [{cert: good.crt, key: good.key}]}", problem: "tls.files: means nothing with tls.mode internal"},
		{name: "expired", text: files("good.crt+good.key", "expired.crt+expired.key"), problem: `tls.files[1].cert: "expired.crt" expired on `},
		{name: "of the future", text: files("future.crt+future.key"), problem: `tls.files[0].cert: "future.crt" is valid only from `},
		{name: "another's key", text: files("good.crt+other.key"), problem: `tls.files[0].key: "other.key" is no key of the certificate in "good.crt"`},
		{name: "missing certificate", text: files("none.crt+good.key"), problem: `tls.files[0].cert: read "none.crt": no such file`},
		{name: "missing key", text: files("good.crt+none.key"), problem: `tls.files[0].key: read "none.key": no such file`},
		{name: "key for certificate", text: files("good.key+good.key"), problem: `tls.files[0].cert: "good.key" holds no certificate`},
		{name: "soon", text: files("soon.crt+soon.key"), warning: `tls.files[0].cert: "soon.crt" expires on `},
		{name: "uncovered host", text: files("other.crt+other.key"), warning: `routes[0].host: no certificate of tls.files is for "shop.test"`},

		{name: "acme for every host", text: acme(""), host: "*", problem: "tls.mode: acme needs a route with a host name"},
		{name: "acme for a pattern", text: acme(""), host: "*.shop.test", problem: "tls.mode: acme needs a route with a host name"},
		{name: "acme for a pattern too", text: acme("") + "\nx-more: 1", host: "shop.test}, {upstream: shop, host: \"*.shop.test\"", warning: `routes[1].host: "*.shop.test" gets no certificate`},
		{name: "CA over plain HTTP", text: acme(`ca: "http://ca.test/directory"`), problem: "tls.acme.ca: \"http://ca.test/directory\" is not the URL of a directory"},
		{name: "half an account", text: acme("eab: {kid: k}"), problem: "tls.acme.eab: needs both kid and hmac"},
		{name: "broken account", text: acme(`eab: {kid: k, hmac: "a b"}`), problem: "tls.acme.eab.hmac: is not URL-safe base64"},
		{name: "missing roots", text: acme("root_file: none.pem"), problem: `tls.acme.root_file: read "none.pem": no such file`},
		{name: "no roots", text: acme("root_file: good.key"), problem: `tls.acme.root_file: "good.key" holds no certificate`},
		{name: "path beside Redis", text: acme("path: certs") + "\nstore: {type: redis, redis: {addresses: [\"127.0.0.1:1\"]}}", warning: "tls.acme.path: is not used with store.type redis"},
		{name: "subdomains alone", text: files("good.crt+good.key")[:len(files("good.crt+good.key"))-1] + ", hsts: {subdomains: true}}", warning: "tls.hsts.subdomains: does nothing"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			host := "shop.test"
			if tt.host != "" {
				host = tt.host
			}
			if strings.HasPrefix(host, "*") {
				host = `"` + host + `"`
			}
			text := `upstreams: {shop: {servers: [{url: "http://127.0.0.1:9000"}]}}` + "\nroutes: [{upstream: shop, host: " + host + "}]\n" + tt.text
			c, err := load("f", []byte(text), nil)
			holds := func(what string, got []Problem, want string) {
				t.Helper()
				if want == "" && len(got) > 0 || want != "" && (len(got) != 1 || !strings.Contains(got[0].String(), ": "+want)) {
					t.Errorf("%s %v, want %q", what, got, want)
				}
			}
			problems, _ := err.(Problems)
			holds("problems", problems, tt.problem)
			if c != nil {
				holds("warnings", c.Warnings, tt.warning)
			}
		})
	}
}

func TestConfig_CertHostsAreThoseOfTheRoutesOnce(t *testing.T) {
	c := mustLoad(t, `upstreams: {shop: {servers: [{url: "http://127.0.0.1:9000"}]}}
routes:
  - {host: b.test, upstream: shop}
  - {host: a.test, upstream: shop}
  - {host: b.test, path: /drop, upstream: shop}
  - {host: "*.c.test", upstream: shop}
  - {upstream: shop}
`)
	if got := c.CertHosts(); !slices.Equal(got, []string{"b.test", "a.test"}) {
		t.Errorf("got %q", got)
	}
}
