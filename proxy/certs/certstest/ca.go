// Package certstest gives tests a real ACME CA, pebble, on loopback: with a name
// server that finds every host, doors by which its validation reaches whichever
// gateway a test means, and the faults of a CA. What a test starts ends with it.
package certstest

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"io"
	"log"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/letsencrypt/pebble/v2/ca"
	"github.com/letsencrypt/pebble/v2/db"
	"github.com/letsencrypt/pebble/v2/va"
	"github.com/letsencrypt/pebble/v2/wfe"
	"github.com/miekg/dns"
	"golang.org/x/crypto/ocsp"

	"github.com/ropeline/ropeline/proxy/certs"
)

// CA is an ACME CA that runs until the test ends, or Stop.
type CA struct {
	URL      string         // of its directory
	RootFile string         // vouches for the CA's own address
	Roots    *x509.CertPool // vouch for what it issues

	HTTP, HTTPS *Door // where its validation goes

	t       testing.TB
	byLife  bool
	addr    string
	handler http.Handler
	config  *tls.Config
	server  *http.Server

	issued atomic.Int64
	orders atomic.Int64
	mu     sync.Mutex // guards hold
	hold   chan struct{}
}

// Options say what a CA is like.
type Options struct {
	Validity time.Duration     // of certificates; 0: an hour
	Accounts map[string]string // keys in URL-safe base64 by their names: it takes no others; nil: it takes anyone
	OCSP     bool              // certificates name a responder, by which all are good
	ByLife   bool              // the CA does not say when to renew, which pebble does at random
}

// Start runs a CA.
func Start(t testing.TB, o Options) *CA {
	t.Helper()
	// pebble reads these when it is made. It sleeps and refuses at random to
	// harden clients, which is certmagic's own to test.
	for _, name := range []string{"PEBBLE_VA_NOSLEEP=1", "PEBBLE_WFE_NONCEREJECT=0", "PEBBLE_AUTHZREUSE=0"} {
		name, value, _ := strings.Cut(name, "=")
		if err := os.Setenv(name, value); err != nil {
			t.Fatal(err)
		}
	}
	c := &CA{t: t, byLife: o.ByLife, HTTP: openDoor(t), HTTPS: openDoor(t)}
	dir := t.TempDir()
	own, err := certs.OpenInternal(dir, nil)
	if err != nil {
		t.Fatal(err)
	}
	c.RootFile, c.config = filepath.Join(dir, "ropeline-ca.crt"), certs.Config(own)

	quiet := log.New(io.Discard, "", 0)
	store := db.NewMemoryStore()
	for name, key := range o.Accounts {
		if err := store.AddExternalAccountKeyByID(name, key); err != nil {
			t.Fatal(err)
		}
	}
	alg, responder := "ecdsa", ""
	var issuer *ca.CAImpl
	if o.OCSP {
		alg = "rsa" // pebble shows no other key
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { respond(w, r, issuer) }), ReadHeaderTimeout: time.Minute}
		t.Cleanup(func() { server.Close() })
		responder = "http://" + l.Addr().String()
		defer func() { go server.Serve(l) }() // once there is an issuer
	}
	validity := cmp.Or(o.Validity, time.Hour)
	issuer = ca.New(quiet, store, responder, alg, 0, 1, map[string]ca.Profile{"default": {ValidityPeriod: uint64(validity / time.Second)}})
	validation := va.New(quiet, c.HTTP.port(), c.HTTPS.port(), false, nameServer(t), store)
	front := wfe.New(quiet, store, validation, issuer, []string{"ca.test"}, false, len(o.Accounts) > 0, 1, 1)
	c.handler = front.Handler()
	c.Roots = x509.NewCertPool()
	c.Roots.AddCert(issuer.GetRootCert(0).Cert)

	c.addr = "127.0.0.1:0"
	c.Resume()
	c.URL = "https://" + c.addr + wfe.DirectoryPath
	t.Cleanup(c.Stop)
	return c
}

// respond answers, as an OCSP responder, that a certificate is good.
func respond(w http.ResponseWriter, r *http.Request, issuer *ca.CAImpl) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	asked, err := ocsp.ParseRequest(body)
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	by, now := issuer.GetIntermediateCert(0).Cert, time.Now()
	answer, err := ocsp.CreateResponse(by, by, ocsp.Response{
		Status: ocsp.Good, SerialNumber: asked.SerialNumber, ThisUpdate: now.Add(-time.Minute), NextUpdate: now.Add(10 * time.Minute),
	}, issuer.GetIntermediateKey(0))
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/ocsp-response")
	w.Write(answer)
}

// Stop ends the CA's address; what it knows stays.
func (c *CA) Stop() { c.server.Close() }

// Resume has it answer again.
func (c *CA) Resume() {
	c.t.Helper()
	l, err := net.Listen("tcp", c.addr)
	if err != nil {
		c.t.Fatal(err)
	}
	c.addr = l.Addr().String()
	c.server = &http.Server{Handler: http.HandlerFunc(c.serve), ReadHeaderTimeout: time.Minute}
	go c.server.Serve(tls.NewListener(l, c.config))
}

func (c *CA) serve(w http.ResponseWriter, r *http.Request) {
	switch {
	case c.byLife && strings.Contains(r.URL.Path, "/renewalInfo/"):
		http.NotFound(w, r)
		return
	case r.URL.Path == "/order-plz":
		c.orders.Add(1)
		c.mu.Lock()
		hold := c.hold
		c.mu.Unlock()
		if hold != nil {
			select {
			case <-hold:
			case <-r.Context().Done():
				return
			}
		}
	case strings.HasPrefix(r.URL.Path, "/finalize-order/"):
		c.issued.Add(1)
	}
	c.handler.ServeHTTP(w, r)
}

// Aim has validation go to a gateway's listeners.
func (c *CA) Aim(http, https string) {
	c.HTTP.Aim(http)
	c.HTTPS.Aim(https)
}

// Issued is how many certificates were asked for in full.
func (c *CA) Issued() int64 { return c.issued.Load() }

// Orders is how many orders came, those that Hold keeps waiting included.
func (c *CA) Orders() int64 { return c.orders.Load() }

// Hold keeps all orders waiting until the returned function is called.
func (c *CA) Hold() (release func()) {
	hold := make(chan struct{})
	c.mu.Lock()
	defer c.mu.Unlock()
	c.hold = hold
	return sync.OnceFunc(func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.hold = nil
		close(hold)
	})
}

// nameServer runs a name server by which every host is at 127.0.0.1, and
// returns its address.
func nameServer(t testing.TB) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{Listener: l, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, asked *dns.Msg) {
		answer := new(dns.Msg).SetReply(asked)
		if q := asked.Question[0]; q.Qtype == dns.TypeA {
			answer.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)}}
		}
		w.WriteMsg(answer)
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { server.Shutdown() })
	return l.Addr().String()
}

// Door is a port of loopback that leads to an address, as a balancer does.
type Door struct {
	l  net.Listener
	to atomic.Pointer[string] // nil: closed
}

func openDoor(t testing.TB) *Door {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	d := &Door{l: l}
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go d.carry(conn)
		}
	}()
	return d
}

// Aim has the door lead to an address; to nowhere if it is empty.
func (d *Door) Aim(address string) {
	if address == "" {
		d.to.Store(nil)
		return
	}
	d.to.Store(&address)
}

func (d *Door) port() int { return d.l.Addr().(*net.TCPAddr).Port }

func (d *Door) carry(from net.Conn) {
	defer from.Close()
	address := d.to.Load()
	if address == nil {
		return
	}
	to, err := (&net.Dialer{}).DialContext(context.Background(), "tcp", *address)
	if err != nil {
		return
	}
	defer to.Close()
	go func() {
		defer to.Close()
		io.Copy(to, from)
	}()
	io.Copy(from, to)
}
