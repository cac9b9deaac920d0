package certs

import (
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"testing"
	"time"
)

func TestInternal_ServesAnyHostFromOneCA(t *testing.T) {
	dir := t.TempDir()
	ca, err := OpenInternal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	again, err := OpenInternal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	text, err := os.ReadFile(filepath.Join(dir, "ropeline-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	for _, host := range []string{"localhost", "shop.test", "a.b.c.test", "127.0.0.1", "::1"} {
		for _, c := range []*Internal{ca, again} {
			leaf := served(t, c, hello(host))
			if _, err := leaf.Verify(x509.VerifyOptions{Roots: roots, DNSName: host}); err != nil {
				t.Errorf("%s: %v", host, err)
			}
		}
	}
	if info, err := os.Stat(filepath.Join(dir, "ropeline-ca.key")); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v; want it for its owner alone", info.Mode(), err)
	}
}

func TestInternal_ServesTheAddressThatNoHostIsNamedFor(t *testing.T) {
	ca, err := OpenInternal(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go func() {
		conn, err := l.Accept()
		if err == nil {
			tls.Server(conn, Config(ca)).Handshake()
		}
	}()
	roots := x509.NewCertPool()
	roots.AddCert(ca.ca)
	conn, err := tls.Dial("tcp", l.Addr().String(), &tls.Config{RootCAs: roots})
	if err != nil {
		t.Fatal(err)
	}
	conn.Close()
}

func TestInternal_RenewsInTime(t *testing.T) {
	now := time.Now()
	ca, err := OpenInternal(t.TempDir(), func() time.Time { return now })
	if err != nil {
		t.Fatal(err)
	}
	first := served(t, ca, hello("shop.test"))
	now = now.Add(leafLife / 2)
	if !served(t, ca, hello("shop.test")).Equal(first) {
		t.Error("another certificate is served when half its life is over")
	}
	now = now.Add(leafLife / 3)
	if served(t, ca, hello("shop.test")).Equal(first) {
		t.Error("the old certificate is still served near its end")
	}
}

func TestInternal_RemembersABoundedNumberOfHosts(t *testing.T) {
	ca, err := OpenInternal(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	for i := range 2*maxLeaves + 1 {
		served(t, ca, hello(fmt.Sprintf("h%d.test", i)))
	}
	if len(ca.leaves) > maxLeaves {
		t.Errorf("%d certificates are kept, want at most %d", len(ca.leaves), maxLeaves)
	}
}

func TestInternal_RefusesACAThatIsNotItsOwn(t *testing.T) {
	dir := t.TempDir()
	writePair(t, dir, "ropeline-ca", inDays(60), "shop.test")
	if _, err := OpenInternal(dir, nil); err == nil {
		t.Error("a certificate that is no CA is taken for one")
	}
}
