package certs_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"

	"github.com/ropeline/ropeline/proxy/certs"
	"github.com/ropeline/ropeline/proxy/certs/certstest"
)

// gateway is an ACME with the listeners of a gateway.
type gateway struct {
	*certs.ACME
	http, https string // addresses
	stop        func() // the test's end does too
}

func open(t *testing.T, ca *certstest.CA, change ...func(*certs.ACMEOptions)) *gateway {
	t.Helper()
	text, err := os.ReadFile(ca.RootFile)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)
	listen := func() net.Listener {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		return l
	}
	plain, secure := listen(), listen()
	o := certs.ACMEOptions{
		CA: ca.URL, Roots: roots, Path: t.TempDir(), CheckInterval: 500 * time.Millisecond,
		HTTP: plain.Addr(), HTTPS: secure.Addr(), Log: zap.NewNop(),
	}
	for _, c := range change {
		c(&o)
	}
	g := &gateway{ACME: certs.OpenACME(o), http: plain.Addr().String(), https: secure.Addr().String()}
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !g.Challenge(w, r) {
			http.NotFound(w, r)
		}
	})
	servers := []*http.Server{{Handler: handler}, {Handler: handler}}
	go servers[0].Serve(plain)
	go servers[1].Serve(tls.NewListener(secure, g.Config()))
	ctx, stop := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); g.Run(ctx) }()
	g.stop = sync.OnceFunc(func() {
		stop()
		<-done
		for _, s := range servers {
			s.Close()
		}
	})
	t.Cleanup(g.stop)
	return g
}

// certificate shakes hands for a host, and returns what was shown.
func (g *gateway) certificate(ca *certstest.CA, host string) (*x509.Certificate, error) {
	conn, err := tls.Dial("tcp", g.https, &tls.Config{RootCAs: ca.Roots, ServerName: host})
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0], nil
}

// await waits until a host is shown a certificate that is as sought, or the test
// never ends.
func (g *gateway) await(ca *certstest.CA, host string, sought func(*x509.Certificate) bool) *x509.Certificate {
	look := time.NewTicker(20 * time.Millisecond)
	defer look.Stop()
	for range look.C {
		if c, err := g.certificate(ca, host); err == nil && sought(c) {
			return c
		}
	}
	return nil
}

func anyOne(*x509.Certificate) bool { return true }

func TestACME_ObtainsByEitherChallenge(t *testing.T) {
	for name, aim := range map[string]func(*certstest.CA, *gateway){
		"http-01":     func(ca *certstest.CA, g *gateway) { ca.HTTP.Aim(g.http) },
		"tls-alpn-01": func(ca *certstest.CA, g *gateway) { ca.HTTPS.Aim(g.https) },
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca := certstest.Start(t, certstest.Options{})
			g := open(t, ca)
			aim(ca, g)
			host := strings.ReplaceAll(name, "-", "") + ".test"
			g.Want([]string{host})
			leaf := g.await(ca, host, anyOne)
			if end := g.Ends()[host]; !end.Equal(leaf.NotAfter) {
				t.Errorf("it is said to end at %v, want %v", end, leaf.NotAfter)
			}
		})
	}
}

func TestACME_ObtainsForWantedHostsOnly(t *testing.T) {
	t.Parallel()
	ca := certstest.Start(t, certstest.Options{})
	g := open(t, ca)
	ca.Aim(g.http, g.https)
	g.Want([]string{"wanted.test"})
	g.await(ca, "wanted.test", anyOne)
	for _, host := range []string{"other.test", "a.wanted.test", ""} {
		if _, err := g.certificate(ca, host); err == nil {
			t.Errorf("%q is shown a certificate", host)
		}
	}
	res, err := http.Get("http://" + g.http + "/.well-known/acme-challenge/token")
	if err != nil {
		t.Fatal(err)
	}
	res.Body.Close()
	if got := ca.Orders(); got != 1 || res.StatusCode != 404 {
		t.Errorf("%d orders, and %d for a challenge that nobody caused; want 1 and 404", got, res.StatusCode)
	}
	g.Want([]string{"next.test"})
	g.await(ca, "next.test", anyOne)
	if _, err := g.certificate(ca, "wanted.test"); err == nil || g.Has("wanted.test") || !g.Has("next.test") {
		t.Error("a host that is wanted no more is shown a certificate")
	}
}

func TestACME_TellsItsAccount(t *testing.T) {
	t.Parallel()
	const key = "zWNDZM6eQGHWpSRTPal5eIUYFTu7EajVIoguysqZ9wG44nMEtx3MUAsUDkMTQ12W"
	ca := certstest.Start(t, certstest.Options{Accounts: map[string]string{"kid-1": key}})
	g := open(t, ca, func(o *certs.ACMEOptions) { o.EABKeyID, o.EABKey, o.Email = "kid-1", key+"==", "ops@account.test" })
	ca.Aim(g.http, g.https)
	g.Want([]string{"account.test"})
	g.await(ca, "account.test", anyOne)
}

func TestACME_StaplesWhatTheResponderSays(t *testing.T) {
	t.Parallel()
	ca := certstest.Start(t, certstest.Options{OCSP: true})
	g := open(t, ca)
	ca.Aim(g.http, g.https)
	g.Want([]string{"stapled.test"})
	leaf := g.await(ca, "stapled.test", anyOne)
	conn, err := tls.Dial("tcp", g.https, &tls.Config{RootCAs: ca.Roots, ServerName: "stapled.test"})
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	staple, err := ocsp.ParseResponse(conn.OCSPResponse(), conn.ConnectionState().PeerCertificates[1])
	if err != nil || staple.Status != ocsp.Good || staple.SerialNumber.Cmp(leaf.SerialNumber) != 0 {
		t.Errorf("stapled is %+v, %v; want that the certificate is good", staple, err)
	}
}

func TestACME_KeepsCertificatesOverRestarts(t *testing.T) {
	t.Parallel()
	ca, dir := certstest.Start(t, certstest.Options{}), t.TempDir()
	at := func(o *certs.ACMEOptions) { o.Path = dir }
	g := open(t, ca, at)
	ca.Aim(g.http, g.https)
	g.Want([]string{"restart.test"})
	first := g.await(ca, "restart.test", anyOne)
	ca.Stop()
	again := open(t, ca, at)
	again.Want([]string{"restart.test"})
	if !again.await(ca, "restart.test", anyOne).Equal(first) || ca.Issued() != 1 {
		t.Errorf("%d certificates were issued, want 1 for both", ca.Issued())
	}
	if keys, err := filepath.Glob(dir + "/certificates/*/restart.test/restart.test.key"); err != nil || len(keys) != 1 {
		t.Errorf("keys %v, %v; want one", keys, err)
	} else if info, err := os.Stat(keys[0]); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("the key's file: %v, %v; want it for its owner alone", info.Mode(), err)
	}
}

func TestACME_RenewsThroughAnotherAccount(t *testing.T) {
	t.Parallel()
	ca, dir := certstest.Start(t, certstest.Options{Validity: 8 * time.Second}), t.TempDir()
	under := func(email string, check time.Duration) *gateway {
		g := open(t, ca, func(o *certs.ACMEOptions) { o.Path, o.Email, o.CheckInterval = dir, email, check })
		ca.Aim(g.http, g.https)
		g.Want([]string{"moved.test"})
		return g
	}
	before := under("before@moved.test", time.Hour)
	first := before.await(ca, "moved.test", anyOne)
	before.stop()
	under("after@moved.test", time.Second).await(ca, "moved.test", func(c *x509.Certificate) bool { return !c.Equal(first) })
}

func TestACME_RenewsInTime(t *testing.T) {
	t.Parallel()
	ca := certstest.Start(t, certstest.Options{Validity: 6 * time.Second})
	g := open(t, ca)
	ca.Aim(g.http, g.https)
	g.Want([]string{"renewed.test"})
	first := g.await(ca, "renewed.test", anyOne)
	g.await(ca, "renewed.test", func(c *x509.Certificate) bool { return !c.Equal(first) })
}
