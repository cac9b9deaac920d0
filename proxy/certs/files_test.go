package certs

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
)

// writePair writes a self-signed certificate for hosts, good until an instant,
// and returns its files.
func writePair(t *testing.T, dir, name string, until time.Time, hosts ...string) Pair {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	der, err := sign(&x509.Certificate{NotAfter: until, DNSNames: hosts}, nil, key, key, until.Add(-90*24*time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return writePEM(t, dir, name, der, key)
}

func writePEM(t *testing.T, dir, name string, der []byte, key any) Pair {
	t.Helper()
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	p := Pair{filepath.Join(dir, name+".crt"), filepath.Join(dir, name+".key")}
	for file, block := range map[string]*pem.Block{p.Cert: {Type: "CERTIFICATE", Bytes: der}, p.Key: {Type: "PRIVATE KEY", Bytes: secret}} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return p
}

func inDays(n int) time.Time { return time.Now().Add(time.Duration(n) * 24 * time.Hour) }

// hello is what a client of today says.
func hello(host string) *tls.ClientHelloInfo {
	return &tls.ClientHelloInfo{
		ServerName: host, SupportedVersions: []uint16{tls.VersionTLS13}, CipherSuites: []uint16{tls.TLS_AES_128_GCM_SHA256},
		SignatureSchemes: []tls.SignatureScheme{tls.ECDSAWithP256AndSHA256, tls.PSSWithSHA256},
		SupportedCurves:  []tls.CurveID{tls.X25519, tls.CurveP256},
	}
}

func served(t *testing.T, s Source, h *tls.ClientHelloInfo) *x509.Certificate {
	t.Helper()
	c, err := s.GetCertificate(h)
	if err != nil {
		t.Fatal(err)
	}
	return c.Leaf
}

func TestFiles_ServesEachHostItsCertificate(t *testing.T) {
	dir := t.TempDir()
	f, err := OpenFiles([]Pair{
		writePair(t, dir, "first", inDays(60), "first.test"),
		writePair(t, dir, "shop", inDays(60), "shop.test", "www.shop.test"),
		writePair(t, dir, "below", inDays(60), "*.shop.test"),
	}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{
		"shop.test": "shop.test", "WWW.Shop.test": "shop.test", "shop.test.": "shop.test",
		"m.shop.test": "*.shop.test", "a.m.shop.test": "first.test", "other.test": "first.test", "": "first.test",
	} {
		if got := served(t, f, hello(host)).DNSNames[0]; got != want {
			t.Errorf("%q is served the certificate of %s, want %s", host, got, want)
		}
	}
}

func TestFiles_ServesWhatTheClientUnderstands(t *testing.T) {
	dir := t.TempDir()
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{NotBefore: time.Now().Add(-time.Hour), NotAfter: inDays(60), DNSNames: []string{"shop.test"}}
	der, err := x509.CreateCertificate(rand.Reader, template, template, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	f, err := OpenFiles([]Pair{writePair(t, dir, "ecdsa", inDays(60), "shop.test"), writePEM(t, dir, "rsa", der, key)}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	if got := served(t, f, hello("shop.test")).PublicKeyAlgorithm; got != x509.ECDSA {
		t.Errorf("a client of today is served %v, want ECDSA", got)
	}
	old := hello("shop.test")
	old.SignatureSchemes = []tls.SignatureScheme{tls.PSSWithSHA256}
	if got := served(t, f, old).PublicKeyAlgorithm; got != x509.RSA {
		t.Errorf("a client that knows no ECDSA is served %v, want RSA", got)
	}
}

func TestFiles_RefusesWhatIsNotGood(t *testing.T) {
	dir := t.TempDir()
	good, other := writePair(t, dir, "good", inDays(60), "shop.test"), writePair(t, dir, "other", inDays(60), "shop.test")
	for _, tt := range []struct {
		name string
		pair Pair
		want string
	}{
		{"expired", writePair(t, dir, "expired", inDays(-1), "shop.test"), "expired on"},
		{"of the future", writePair(t, dir, "future", inDays(400), "shop.test"), "valid only from"},
		{"another's key", Pair{good.Cert, other.Key}, "private key does not match"},
		{"missing", Pair{good.Cert, filepath.Join(dir, "none")}, "no such file"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := OpenFiles([]Pair{good, tt.pair}, zap.NewNop())
			if err == nil || !strings.Contains(err.Error(), tt.want) || !strings.HasPrefix(err.Error(), "tls.files[1]: ") {
				t.Errorf("got error %v, want tls.files[1] and %q", err, tt.want)
			}
		})
	}
}

// watch runs f until the test ends, and returns what it logs.
func watch(t *testing.T, pair Pair) (*Files, func(message string)) {
	t.Helper()
	said := make(chan string, 100)
	core, _ := observer.New(zapcore.DebugLevel)
	log := zap.New(zapcore.RegisterHooks(core, func(e zapcore.Entry) error { said <- e.Message; return nil }))
	f, err := OpenFiles([]Pair{pair}, log)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); f.Run(ctx) }()
	t.Cleanup(func() { stop(); <-done })
	return f, func(message string) {
		for got := range said { // or the test never ends
			if got == message {
				return
			}
		}
	}
}

func TestFiles_TakesUpAChange(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, await := watch(t, writePair(t, dir, "shop", inDays(60), "shop.test"))
	old := served(t, f, hello("shop.test"))
	writePair(t, dir, "shop", inDays(70), "shop.test")
	await("certificate changed")
	if now := served(t, f, hello("shop.test")); now.Equal(old) {
		t.Error("the old certificate is still served")
	}
}

func TestFiles_KeepsTheOldWhereTheNewIsBad(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	f, await := watch(t, writePair(t, dir, "shop", inDays(10), "shop.test"))
	await("certificate ends soon")
	old := served(t, f, hello("shop.test"))
	writePair(t, dir, "shop", inDays(-1), "shop.test")
	await("certificate not taken up, the old one stays")
	if now := served(t, f, hello("shop.test")); !now.Equal(old) {
		t.Error("a bad certificate is served")
	}
	writePair(t, dir, "shop", inDays(60), "shop.test")
	await("certificate changed")
	if now := served(t, f, hello("shop.test")); now.Equal(old) {
		t.Error("the old certificate is still served")
	}
}
