package e2e

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cookiejar"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/redisstore/redistest"
	"github.com/ropeline/ropeline/proxy/certs"
	"github.com/ropeline/ropeline/proxy/certs/certstest"
)

const shopHost = "shop.test"

// secured is a file for one host by HTTPS, with further lines.
func secured(shop *shop, more ...string) string {
	return fmt.Sprintf(`listen: {https: "127.0.0.1:0"}
poll: {min: 200ms, max: 1s}
drain: {delay: 0s, grace: 10s}
upstreams: {shop: {servers: [{url: %q}]}}
activities:
  - {id: 7, name: Spring drop, capacity: 1, session: {idle: 10m}}
routes:
  - {host: %s, path: /drop, activity: 7, upstream: shop}
  - {host: %[2]s, upstream: shop}
%s
`, shop.URL, shopHost, strings.Join(more, "\n"))
}

// acme has certificates come from ca, and be looked at every second.
func acme(ca *certstest.CA) string {
	return fmt.Sprintf("tls: {mode: acme, acme: {ca: %q, root_file: %q, email: ops@shop.test, check_interval: 1s}}", ca.URL, ca.RootFile)
}

func onRedis(redis *redistest.Server) string {
	return fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}", redis.Addr)
}

// secure returns the address of the gateway's HTTPS listener since it last
// started.
func (g *gateway) secure() string {
	g.t.Helper()
	address := ""
	for _, line := range g.Log.Lines(0) {
		if line["message"] == "listening" && line["listener"] == "https" {
			address = line["address"].(string)
		}
	}
	return address
}

// shown is the certificate that the gateway shows for the host; nil while it
// has none.
func (g *gateway) shown(roots *x509.CertPool) *x509.Certificate {
	conn, err := tls.DialWithDialer(&net.Dialer{Timeout: patience}, "tcp", g.secure(), &tls.Config{RootCAs: roots, ServerName: shopHost})
	if err != nil {
		return nil
	}
	defer conn.Close()
	return conn.ConnectionState().PeerCertificates[0]
}

// safeVisitor is a visitor by HTTPS.
func safeVisitor(t *testing.T, g *gateway, roots *x509.CertPool) *visitor {
	t.Helper()
	v := newVisitor(t, g)
	v.base = "https://" + shopHost
	v.client.Transport = &http.Transport{
		TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, g.secure())
		},
	}
	t.Cleanup(v.client.CloseIdleConnections)
	return v
}

// answered reports whether the gateway answered a challenge of a CA.
func (g *gateway) answered() bool { return strings.Contains(g.Log.Text(), "served key authentication") }

// TestTLS_GatewaysObtainAndRenewOneCertificate has two gateways on one Redis
// want a certificate at the same instant, with a CA that can reach only one of
// them, and then renew it.
func TestTLS_GatewaysObtainAndRenewOneCertificate(t *testing.T) {
	t.Parallel()
	ca, redis, shop := certstest.Start(t, certstest.Options{Validity: 30 * time.Second, ByLife: true}), redistest.Single(t), openShop(t)
	release := ca.Hold()
	first := start(t, secured(shop, acme(ca), onRedis(redis)))
	second := start(t, secured(shop, acme(ca), onRedis(redis)))
	both := []*gateway{first, second}
	ca.Aim(strings.TrimPrefix(second.Public, "http://"), second.secure())
	eventually(t, "one gateway asks for a certificate", func() bool { return ca.Orders() > 0 })
	release()
	// await waits until both show the same certificate, another than old.
	await := func(old *x509.Certificate) (now *x509.Certificate) {
		t.Helper()
		eventually(t, "both gateways show a new certificate", func() bool {
			now = first.shown(ca.Roots)
			other := second.shown(ca.Roots)
			return now != nil && other != nil && now.Equal(other) && (old == nil || !now.Equal(old))
		})
		return now
	}
	certificate := await(nil)
	if got := ca.Issued(); got != 1 {
		t.Errorf("%d certificates were issued, want 1 for both", got)
	}
	if !second.answered() {
		t.Error("the challenge was not answered by the gateway that the CA reached")
	}
	certificate = await(certificate)
	if got := ca.Issued(); got != 2 {
		t.Errorf("%d certificates were issued, want one more for the renewal", got)
	}
	for _, g := range both {
		v := safeVisitor(t, g, ca.Roots)
		if a := v.Open(t, "/"); !strings.Contains(a.Body, `id="home"`) {
			t.Errorf("a visitor got %d %s, want the shop", a.Code, a.Body)
		}
		if got := g.Metric(`ropeline_certificate_end_timestamp_seconds{host="shop.test"}`); got < float64(certificate.NotAfter.Unix()) {
			t.Errorf("the certificate is said to end at %v, want %v", got, certificate.NotAfter.Unix())
		}
	}
}

// TestTLS_CertificateIsObtainedThoughItsFirstAskerDies kills the gateway that
// holds the lock while its order is under way.
func TestTLS_CertificateIsObtainedThoughItsFirstAskerDies(t *testing.T) {
	t.Parallel()
	for name, storage := range map[string]func(*testing.T) string{
		"in Redis": func(t *testing.T) string { return onRedis(redistest.Single(t)) },
		"in a directory": func(t *testing.T) string {
			return fmt.Sprintf("x-directory: %q", t.TempDir())
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ca, shop := certstest.Start(t, certstest.Options{}), openShop(t)
			more := storage(t)
			tls := acme(ca)
			if _, directory, ok := strings.Cut(more, "x-directory: "); ok {
				tls = strings.Replace(tls, "acme: {", "acme: {path: "+directory+", ", 1)
			}
			release := ca.Hold()
			first := start(t, secured(shop, tls, more))
			eventually(t, "the first gateway asks for a certificate", func() bool { return ca.Orders() > 0 })
			second := start(t, secured(shop, tls, more))
			ca.Aim(strings.TrimPrefix(second.Public, "http://"), second.secure())
			second.Log.Await(t, 0, "the second gateway's wait", func(l entry) bool { return l["message"] == "acquiring lock" })
			first.Kill()
			release()
			eventually(t, "the second gateway shows a certificate", func() bool { return second.shown(ca.Roots) != nil })
			if got := ca.Issued(); got != 1 {
				t.Errorf("%d certificates were issued, want 1", got)
			}
		})
	}
}

// TestTLS_WithoutTheCA runs gateways while the CA is down: the shop is served, a
// certificate comes when the CA is back, and one that is stored is shown after
// a restart.
func TestTLS_WithoutTheCA(t *testing.T) {
	t.Parallel()
	ca, shop := certstest.Start(t, certstest.Options{}), openShop(t)
	ca.Stop()
	g := start(t, secured(shop, acme(ca)))
	ca.Aim(strings.TrimPrefix(g.Public, "http://"), g.secure())
	g.Log.Await(t, 0, "that the CA is not reached", func(l entry) bool { return l["level"] == "error" && l["message"] == "will retry" })
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Public+"/", nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Host = shopHost
	if a, err := newVisitor(t, g).send(request); err != nil || !strings.Contains(a.Body, `id="home"`) {
		t.Errorf("over HTTP a visitor got %d %s, %v; want the shop", a.Code, a.Body, err)
	}
	if g.shown(ca.Roots) != nil {
		t.Error("a certificate is shown that nobody issued")
	}
	ca.Resume()
	var certificate *x509.Certificate
	eventually(t, "a certificate is shown when the CA is back", func() bool {
		certificate = g.shown(ca.Roots)
		return certificate != nil
	})
	if a, err := newVisitor(t, g).send(request); err != nil || a.Header.Get("Location") == "" {
		t.Errorf("over HTTP a visitor got %d, %v; want to be sent to HTTPS now", a.Code, err)
	}
	ca.Stop()
	g.Kill()
	g.Restart()
	eventually(t, "the stored certificate is shown", func() bool {
		now := g.shown(ca.Roots)
		return now != nil && now.Equal(certificate)
	})
}

// TestTLS_VisitorMovesFromHTTPAndBetweenGateways follows a visitor who came over
// HTTP to HTTPS, and whose balancer then chooses another gateway.
func TestTLS_VisitorMovesFromHTTPAndBetweenGateways(t *testing.T) {
	t.Parallel()
	redis, shop, dir := redistest.Single(t), openShop(t), t.TempDir()
	issuer, err := certs.OpenInternal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(dir, "ropeline-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots.AppendCertsFromPEM(text)
	leaf, err := issuer.GetCertificate(&tls.ClientHelloInfo{ServerName: shopHost})
	if err != nil {
		t.Fatal(err)
	}
	files := fmt.Sprintf("tls: {mode: files, hsts: {max_age: 1h}, files: [{cert: %q, key: %q}]}", filepath.Join(dir, "shop.crt"), filepath.Join(dir, "shop.key"))
	writeKeyPair(t, dir, leaf)
	first, second := start(t, secured(shop, files, onRedis(redis))), start(t, secured(shop, files, onRedis(redis)))

	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	at := first
	sessions := tls.NewLRUClientSessionCache(4)
	var resumed bool
	client := &http.Client{Jar: jar, Timeout: patience, Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return (&net.Dialer{}).DialContext(ctx, network, strings.TrimPrefix(at.Public, "http://"))
		},
		DialTLSContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			conn, err := (&tls.Dialer{Config: &tls.Config{RootCAs: roots, ServerName: shopHost, ClientSessionCache: sessions}}).DialContext(ctx, network, at.secure())
			if err == nil {
				resumed = conn.(*tls.Conn).ConnectionState().DidResume
			}
			return conn, err
		},
	}}
	open := func(url string) (*http.Response, string) {
		t.Helper()
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		request.Header.Set("Accept", "text/html")
		answer, err := client.Do(request)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		if err != nil {
			t.Fatal(err)
		}
		return answer, string(body)
	}
	var answer *http.Response
	eventually(t, "the visitor is let in", func() bool {
		var body string
		answer, body = open("http://" + shopHost + "/drop")
		return strings.Contains(body, `id="inside"`)
	})
	if answer.Request.URL.Scheme != "https" || answer.Header.Get("Strict-Transport-Security") != "max-age=3600" {
		t.Errorf("inside by %s with %q, want HTTPS for an hour", answer.Request.URL, answer.Header["Strict-Transport-Security"])
	}
	cookies := strings.Join(answer.Header["Set-Cookie"], "\n")
	if !strings.Contains(cookies, "__Host-ropeline-admission-7=") || !strings.Contains(cookies, "; Secure") {
		t.Errorf("cookies %q, want them secure and of this host alone", cookies)
	}
	at = second
	if _, body := open("https://" + shopHost + "/drop"); !strings.Contains(body, `id="inside"`) || !resumed {
		t.Errorf("at the other gateway got %.300s, resumed %v; want to be inside still, and resumed", body, resumed)
	}
}

func TestTLS_ForDevelopmentNeedsNothing(t *testing.T) {
	t.Parallel()
	g := start(t, secured(openShop(t), "tls: {mode: internal}"))
	roots := x509.NewCertPool()
	text, err := os.ReadFile(filepath.Join(g.dir, "ropeline-ca.crt"))
	if err != nil || !roots.AppendCertsFromPEM(text) {
		t.Fatalf("the gateway's CA: %v", err)
	}
	if a := safeVisitor(t, g, roots).Open(t, "/"); !strings.Contains(a.Body, `id="home"`) {
		t.Errorf("a visitor got %d %s, want the shop", a.Code, a.Body)
	}
}

func writeKeyPair(t *testing.T, dir string, c *tls.Certificate) {
	t.Helper()
	key, err := x509.MarshalPKCS8PrivateKey(c.PrivateKey)
	if err != nil {
		t.Fatal(err)
	}
	write(t, filepath.Join(dir, "shop.crt"), string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: c.Certificate[0]})))
	write(t, filepath.Join(dir, "shop.key"), string(pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: key})))
}
