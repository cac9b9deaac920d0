package e2e

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/pem"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/chromedp/chromedp"
	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// TestHTTP3_ARealBrowser has a person wait and be let in by a Chromium that
// speaks nothing else.
func TestHTTP3_ARealBrowser(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, strings.Replace(secured(shop, "tls: {mode: internal}"), "listen: {", "listen: {http3: true, ", 1))
	text, err := os.ReadFile(filepath.Join(g.dir, "ropeline-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	ca, err := x509.ParseCertificate(block.Bytes)
	if err != nil {
		t.Fatal(err)
	}
	key := sha256.Sum256(ca.RawSubjectPublicKeyInfo)
	_, port, _ := net.SplitHostPort(g.secure())
	at := net.JoinHostPort(shopHost, port)
	b := openBrowser(t,
		chromedp.Flag("disable-quic", false), chromedp.Flag("origin-to-force-quic-on", at),
		chromedp.Flag("host-resolver-rules", "MAP "+shopHost+" 127.0.0.1"),
		chromedp.Flag("ignore-certificate-errors-spki-list", base64.StdEncoding.EncodeToString(key[:])))
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	first := safeVisitor(t, g, roots)
	first.Enter(t)

	person := b.Person(t, &gateway{Public: "https://" + at, t: t})
	person.Open("/drop?size=M")
	person.Wait("the person waits", `document.body.innerText.includes("Spring drop") && performance.getEntriesByType("navigation")[0].nextHopProtocol === "h3"`)
	first.Leave(t)
	person.Wait("the person is inside", `document.getElementById("inside") && performance.getEntriesByType("navigation")[0].nextHopProtocol === "h3"`)
}

// TestHTTP3_AVisitorsWay has visitors by HTTP/3 wait, be let in and buy, and the
// gateway drain.
func TestHTTP3_AVisitorsWay(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, strings.Replace(secured(shop, "tls: {mode: internal}"), "listen: {", "listen: {http3: true, ", 1))
	text, err := os.ReadFile(filepath.Join(g.dir, "ropeline-ca.crt"))
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(text)

	// A visitor is told of it over HTTPS, and comes by it the next time.
	if a := safeVisitor(t, g, roots).Open(t, "/"); a.Header.Get("Alt-Svc") != `h3=":443"; ma=86400` {
		t.Errorf("Alt-Svc is %q", a.Header.Get("Alt-Svc"))
	}
	visitors := make([]*visitor, 2)
	for i := range visitors {
		transport := &http3.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots},
			Dial: func(ctx context.Context, _ string, t *tls.Config, c *quic.Config) (*quic.Conn, error) {
				return quic.DialAddr(ctx, g.secure(), t, c)
			},
		}
		t.Cleanup(func() { transport.Close() })
		visitors[i] = newVisitor(t, g)
		visitors[i].base, visitors[i].client.Transport = "https://"+shopHost, transport
	}
	first, second := visitors[0], visitors[1]
	first.Enter(t)
	if s := second.Join(t); s.Number != 2 {
		t.Errorf("the second visitor has number %d", s.Number)
	}
	if a, err := first.do(t.Context(), http.MethodPost, "/drop/buy", true); err != nil || a.Code != http.StatusOK || !strings.Contains(a.Body, `id="bought"`) {
		t.Errorf("buying got %d %.200s, %v", a.Code, a.Body, err)
	}
	first.Leave(t)
	second.Enter(t)
	for _, h := range shop.Hits() {
		if strings.HasPrefix(h.Path, "/drop") && h.Header.Get("X-Forwarded-Proto") != "https" {
			t.Errorf("the shop is told %v", h.Header)
		}
	}
	g.Signal(syscall.SIGTERM)
	if state := g.Ended(); state.ExitCode() != 0 {
		t.Errorf("the gateway ends with %v", state)
	}
}
