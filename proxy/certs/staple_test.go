package certs

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"
	"golang.org/x/crypto/ocsp"
)

// authority is a CA with an OCSP responder, which the test ends.
type authority struct {
	t     *testing.T
	cert  *x509.Certificate
	key   *ecdsa.PrivateKey
	url   string
	asked atomic.Int64
	says  atomic.Pointer[func(http.ResponseWriter, *ocsp.Request)]
}

func newKey(t *testing.T) *ecdsa.PrivateKey {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return key
}

func openAuthority(t *testing.T) *authority {
	t.Helper()
	a := &authority{t: t, key: newKey(t)}
	a.cert = a.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "CA"}, NotAfter: inDays(365), IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign}, a.key)
	responder := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a.asked.Add(1)
		body, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		question, err := ocsp.ParseRequest(body)
		if err != nil || r.Header.Get("Content-Type") != "application/ocsp-request" {
			t.Errorf("asked in another way: %v", err)
			return
		}
		(*a.says.Load())(w, question)
	}))
	t.Cleanup(responder.Close)
	a.url = responder.URL
	return a
}

// issue makes a certificate, signed by itself where there is no CA yet.
func (a *authority) issue(c *x509.Certificate, key *ecdsa.PrivateKey) *x509.Certificate {
	a.t.Helper()
	der, err := sign(c, a.cert, key, a.key, time.Now())
	if err != nil {
		a.t.Fatal(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		a.t.Fatal(err)
	}
	return made
}

// pair writes the files of a certificate that names the responder, with the
// CA's behind it where whole.
func (a *authority) pair(dir, name string, whole bool) Pair {
	a.t.Helper()
	key := newKey(a.t)
	leaf := a.issue(&x509.Certificate{NotAfter: inDays(60), DNSNames: []string{"shop.test"}, OCSPServer: []string{a.url}}, key)
	p := writePEM(a.t, dir, name, leaf.Raw, key)
	if whole {
		chain, err := os.ReadFile(p.Cert)
		if err != nil {
			a.t.Fatal(err)
		}
		chain = append(chain, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: a.cert.Raw})...)
		write(a.t, p.Cert, chain)
	}
	return p
}

func write(t *testing.T, path string, data []byte) {
	t.Helper()
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

// answer has the responder say this of whichever certificate is asked about.
func (a *authority) answer(r ocsp.Response) { a.answerBy(r, a.cert, a.key) }

func (a *authority) answerBy(r ocsp.Response, by *x509.Certificate, key crypto.Signer) {
	a.say(func(w http.ResponseWriter, q *ocsp.Request) {
		r := r
		if r.SerialNumber == nil {
			r.SerialNumber = q.SerialNumber
		}
		der, err := ocsp.CreateResponse(a.cert, by, r, key)
		if err != nil {
			a.t.Error(err)
		}
		w.Write(der)
	})
}

func (a *authority) say(f func(http.ResponseWriter, *ocsp.Request)) { a.says.Store(&f) }

// shaken returns what a handshake with f shows of OCSP.
func shaken(t *testing.T, f *Files) []byte {
	t.Helper()
	near, far := net.Pipe()
	defer near.Close()
	defer far.Close()
	server := tls.Server(far, Config(f))
	go server.Handshake()
	client := tls.Client(near, &tls.Config{ServerName: "shop.test", InsecureSkipVerify: true})
	if err := client.Handshake(); err != nil {
		t.Fatal(err)
	}
	return client.OCSPResponse()
}

// asks has f ask if it is time to, and take up the answer.
func asks(t *testing.T, f *Files, now time.Time) {
	t.Helper()
	f.keepStapled(t.Context(), 0, now)
	if f.pairs[0].staple.asked {
		f.take(<-f.responses, now)
	}
}

func goodFor(d time.Duration) ocsp.Response {
	now := time.Now().Truncate(time.Second)
	return ocsp.Response{Status: ocsp.Good, ThisUpdate: now, NextUpdate: now.Add(d)}
}

func TestStaple_HandshakesShowWhatTheResponderSays(t *testing.T) {
	ca := openAuthority(t)
	key := newKey(t)
	delegate := ca.issue(&x509.Certificate{Subject: pkix.Name{CommonName: "responder"}, NotAfter: inDays(60), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageOCSPSigning}}, key)
	delegated := goodFor(time.Hour)
	delegated.Certificate = delegate
	stranger := openAuthority(t)
	now := time.Now()
	for name, c := range map[string]struct {
		says    func()
		stapled bool
		log     string // the one line beyond debug
	}{
		"good":                 {func() { ca.answer(goodFor(time.Hour)) }, true, ""},
		"good, by a delegate":  {func() { ca.answerBy(delegated, delegate, key) }, true, ""},
		"good, for no time":    {func() { ca.answer(ocsp.Response{Status: ocsp.Good, ThisUpdate: now}) }, true, ""},
		"by a stranger":        {func() { ca.answerBy(goodFor(time.Hour), stranger.cert, stranger.key) }, false, "no OCSP response, will retry"},
		"of another":           {func() { r := goodFor(time.Hour); r.SerialNumber = big.NewInt(7); ca.answer(r) }, false, "no OCSP response, will retry"},
		"good until yesterday": {func() { ca.answer(ocsp.Response{Status: ocsp.Good, ThisUpdate: inDays(-3), NextUpdate: inDays(-1)}) }, false, "no OCSP response, will retry"},
		"good from tomorrow":   {func() { ca.answer(ocsp.Response{Status: ocsp.Good, ThisUpdate: inDays(1), NextUpdate: inDays(2)}) }, false, "no OCSP response, will retry"},
		"not known":            {func() { ca.answer(ocsp.Response{Status: ocsp.Unknown, ThisUpdate: now, NextUpdate: inDays(1)}) }, false, "no OCSP response, will retry"},
		"revoked": {func() {
			ca.answer(ocsp.Response{Status: ocsp.Revoked, ThisUpdate: now, NextUpdate: inDays(1), RevokedAt: now})
		}, false, "certificate revoked"},
		"an error":    {func() { ca.say(func(w http.ResponseWriter, _ *ocsp.Request) { w.WriteHeader(500) }) }, false, "no OCSP response, will retry"},
		"junk":        {func() { ca.say(func(w http.ResponseWriter, _ *ocsp.Request) { io.WriteString(w, "junk") }) }, false, "no OCSP response, will retry"},
		"without end": {func() { ca.say(func(w http.ResponseWriter, _ *ocsp.Request) { w.Write(make([]byte, 1<<20)) }) }, false, "no OCSP response, will retry"},
		"try later":   {func() { ca.say(func(w http.ResponseWriter, _ *ocsp.Request) { w.Write(ocsp.TryLaterErrorResponse) }) }, false, "no OCSP response, will retry"},
	} {
		t.Run(name, func(t *testing.T) {
			core, said := observer.New(zapcore.InfoLevel)
			f, err := OpenFiles([]Pair{ca.pair(t.TempDir(), "shop", true)}, zap.New(core))
			if err != nil {
				t.Fatal(err)
			}
			if shaken(t, f) != nil {
				t.Error("something is stapled before anyone was asked")
			}
			c.says()
			asks(t, f, now)
			if got := shaken(t, f); (got != nil) != c.stapled {
				t.Errorf("stapled are %d bytes, want any: %v", len(got), c.stapled)
			} else if c.stapled {
				if r, err := ocsp.ParseResponse(got, ca.cert); err != nil || r.Status != ocsp.Good {
					t.Errorf("stapled is %+v, %v", r, err)
				}
			}
			var lines []string
			for _, e := range said.All() {
				lines = append(lines, e.Message)
			}
			if c.log == "" && len(lines) > 0 || c.log != "" && (len(lines) != 1 || lines[0] != c.log) {
				t.Errorf("logged %q, want %q", lines, c.log)
			}
		})
	}
}

// The old response is shown for as long as it is good, and a new one is asked
// for long before.
func TestStaple_IsRenewedInTime(t *testing.T) {
	ca := openAuthority(t)
	f, err := OpenFiles([]Pair{ca.pair(t.TempDir(), "shop", true)}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	ca.answer(goodFor(10 * time.Hour))
	asks(t, f, now)
	first := shaken(t, f)
	asks(t, f, now.Add(4*time.Hour))
	if n := ca.asked.Load(); first == nil || n != 1 {
		t.Fatalf("asked %d times before half of the time is over, want once", n)
	}
	ca.answer(goodFor(20 * time.Hour))
	asks(t, f, now.Add(6*time.Hour))
	second := shaken(t, f)
	if second == nil || bytes.Equal(first, second) {
		t.Fatal("after half of the time nothing new is stapled")
	}
	ca.say(func(w http.ResponseWriter, _ *ocsp.Request) { w.WriteHeader(500) })
	for _, at := range []struct {
		after   time.Duration
		asked   int64
		stapled bool
	}{
		{11 * time.Hour, 3, true}, // in vain
		{11*time.Hour + 30*time.Second, 3, true},
		{11*time.Hour + 61*time.Second, 4, true},
		{11*time.Hour + 130*time.Second, 4, true}, // less often each time
		{11*time.Hour + 200*time.Second, 5, true},
		{21 * time.Hour, 6, false},
	} {
		asks(t, f, now.Add(at.after))
		if got := shaken(t, f); ca.asked.Load() != at.asked || (got != nil) != at.stapled {
			t.Errorf("after %v: asked %d times, stapled %v; want %d, %v", at.after, ca.asked.Load(), got != nil, at.asked, at.stapled)
		}
	}
	ca.answer(goodFor(24 * time.Hour))
	asks(t, f, now.Add(23*time.Hour))
	if shaken(t, f) == nil {
		t.Error("when the responder is back nothing is stapled")
	}
}

func TestStaple_AChangedCertificateHasItsOwn(t *testing.T) {
	ca, dir := openAuthority(t), t.TempDir()
	ca.answer(goodFor(time.Hour))
	pair := ca.pair(dir, "shop", true)
	f, err := OpenFiles([]Pair{pair}, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	asks(t, f, now)
	was := shaken(t, f)

	// It changes while the responder is asked about the old one.
	f.pairs[0].staple.next = time.Time{}
	f.keepStapled(t.Context(), 0, now)
	ca.pair(dir, "shop", true)
	f.look(&f.pairs[0], now)
	if shaken(t, f) != nil {
		t.Error("the new certificate is shown with the old one's response")
	}
	f.take(<-f.responses, now)
	if shaken(t, f) != nil {
		t.Error("a late response is stapled to the new certificate")
	}
	asks(t, f, now)
	if got := shaken(t, f); got == nil || bytes.Equal(got, was) {
		t.Error("the new certificate has no response of its own")
	}
}

func TestStaple_NobodyIsAskedWhereNobodyCanBe(t *testing.T) {
	ca, dir := openAuthority(t), t.TempDir()
	for name, pair := range map[string]Pair{"no CA in the file": ca.pair(dir, "bare", false), "no responder": writePair(t, dir, "none", inDays(60), "shop.test")} {
		f, err := OpenFiles([]Pair{pair}, zap.NewNop())
		if err != nil {
			t.Fatal(err)
		}
		asks(t, f, time.Now())
		if n := ca.asked.Load(); n != 0 || shaken(t, f) != nil {
			t.Errorf("%s: asked %d times", name, n)
		}
	}
}

func TestStaple_RunAsksByItself(t *testing.T) {
	ca := openAuthority(t)
	ca.answer(goodFor(time.Hour))
	f, await := watch(t, ca.pair(t.TempDir(), "shop", true))
	await("OCSP response stapled")
	if shaken(t, f) == nil {
		t.Error("nothing is stapled")
	}
}
