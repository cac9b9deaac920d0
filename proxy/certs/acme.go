package certs

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io/fs"
	"net"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/caddyserver/certmagic"
	"github.com/mholt/acmez/v3"
	"github.com/mholt/acmez/v3/acme"
	"go.uber.org/zap"
)

const (
	// getAgain is how long after an attempt that certmagic itself does not
	// repeat the next is made. It repeats what fails at the CA, ever more seldom.
	getAgain = time.Minute

	// cleanEvery is how often expired certificates are looked for, which are
	// removed when they have been so for keepExpired.
	cleanEvery  = 24 * time.Hour
	keepExpired = 14 * 24 * time.Hour

	// maxLookUps bounds the questions about a CA's challenges that are asked of
	// the storage at a time: anyone can cause them.
	maxLookUps = 8
)

// ACMEOptions say how certificates are obtained.
type ACMEOptions struct {
	CA    string // the URL of its directory
	Email string // empty: none is told

	// The account that the CA wants to be told, its key in URL-safe base64.
	// Empty: none.
	EABKeyID, EABKey string

	Roots *x509.CertPool // by which the CA is trusted; nil: the system's

	// Certificates, and what gateways do together, are in Vault, or in the
	// directory Path where it is nil.
	Vault Vault
	Path  string

	CheckInterval time.Duration // how often certificates are looked at; 0: 10m

	HTTP, HTTPS net.Addr // where the gateway listens

	Log *zap.Logger
}

// ACME gives certificates that it obtains from a CA, for the hosts that are
// wanted and no others: what a client names never causes a certificate. Gateways
// with one storage obtain each certificate once, and answer each other's
// challenges. It is safe for concurrent use.
type ACME struct {
	cache  *certmagic.Cache
	config *certmagic.Config
	issuer *certmagic.ACMEIssuer
	log    *zap.Logger

	hosts   atomic.Pointer[map[string]bool] // that are wanted
	lookUps chan struct{}                   // has room for each that is allowed

	running context.Context // until Run returns
	stop    context.CancelFunc
	getters sync.WaitGroup

	mu      sync.Mutex                    // guards getting
	getting map[string]context.CancelFunc // of each host that is wanted
}

// OpenACME returns an ACME that wants no host. Run ends what it does by itself.
func OpenACME(o ACMEOptions) *ACME {
	log := o.Log.Named("certs")
	a := &ACME{log: log, lookUps: make(chan struct{}, maxLookUps), getting: map[string]context.CancelFunc{}}
	a.running, a.stop = context.WithCancel(context.Background())
	a.hosts.Store(&map[string]bool{})
	var storage certmagic.Storage = &certmagic.FileStorage{Path: o.Path}
	if o.Vault != nil {
		storage = newShared(o.Vault, log)
	}
	made := make(chan struct{}) // the cache is at work before its config is whole
	defer close(made)
	a.cache = certmagic.NewCache(certmagic.CacheOptions{
		GetConfigForCert: func(certmagic.Certificate) (*certmagic.Config, error) {
			<-made
			return a.config, nil
		},
		RenewCheckInterval: o.CheckInterval,
		Logger:             log,
	})
	a.config = certmagic.New(a.cache, certmagic.Config{Storage: storage, Logger: log})
	template := certmagic.ACMEIssuer{
		CA: o.CA, Email: o.Email, Agreed: true, TrustedRoots: o.Roots,
		ListenHost: hostOfBoth(o.HTTP, o.HTTPS), AltHTTPPort: portOf(o.HTTP), AltTLSALPNPort: portOf(o.HTTPS),
		Logger: log,
	}
	if o.EABKeyID != "" {
		template.ExternalAccount = &acme.EAB{KeyID: o.EABKeyID, MACKey: strings.TrimRight(o.EABKey, "=")}
	}
	a.issuer = certmagic.NewACMEIssuer(a.config, template)
	a.config.Issuers = []certmagic.Issuer{issuer{a.issuer}}
	return a
}

// issuer is an ACMEIssuer that certmagic does not know for one. It would tell the
// CA which certificate each renewal replaces, and CAs refuse that from another
// account than the one before: where an operator changed the e-mail address, and
// with it the account, nothing would be renewed any more.
type issuer struct{ *certmagic.ACMEIssuer }

func portOf(a net.Addr) int {
	if tcp, ok := a.(*net.TCPAddr); ok {
		return tcp.Port
	}
	return 0
}

// hostOfBoth returns the address that both listen on, empty where they differ.
// certmagic tries to listen for challenges itself, and must see that the
// gateway does already.
func hostOfBoth(a, b net.Addr) string {
	one, ok1 := a.(*net.TCPAddr)
	other, ok2 := b.(*net.TCPAddr)
	if !ok1 || !ok2 || !one.IP.Equal(other.IP) || one.IP.IsUnspecified() {
		return ""
	}
	return one.IP.String()
}

// Config returns what a listener needs, a CA's challenge by TLS included.
func (a *ACME) Config() *tls.Config { return Config(a, acmez.ACMETLS1Protocol) }

// Want has the certificates of hosts obtained and renewed, and no others any
// more. It does not wait for them.
func (a *ACME) Want(hosts []string) {
	wanted := make(map[string]bool, len(hosts))
	for _, host := range hosts {
		wanted[host] = true
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.running.Err() != nil {
		return
	}
	a.hosts.Store(&wanted)
	for host, cancel := range a.getting {
		if !wanted[host] {
			cancel()
			delete(a.getting, host)
			a.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: host}})
		}
	}
	for host := range wanted {
		if a.getting[host] != nil {
			continue
		}
		ctx, cancel := context.WithCancel(a.running)
		a.getting[host] = cancel
		a.getters.Go(func() { a.get(ctx, host) })
	}
}

// get has the certificate of a host in the cache, which renews it from then on.
// It tries until ctx ends.
func (a *ACME) get(ctx context.Context, host string) {
	for {
		err := a.getOnce(ctx, host)
		if ctx.Err() != nil {
			a.mu.Lock()
			defer a.mu.Unlock()
			if !(*a.hosts.Load())[host] { // it may have come after Want removed it
				a.cache.RemoveManaged([]certmagic.SubjectIssuer{{Subject: host}})
			}
			return
		}
		if err == nil {
			return
		}
		a.log.Error("certificate not obtained", zap.String("host", host), zap.Duration("again_in", getAgain), zap.Error(err))
		select {
		case <-ctx.Done():
			return
		case <-time.After(getAgain):
		}
	}
}

func (a *ACME) getOnce(ctx context.Context, host string) error {
	_, err := a.config.CacheManagedCertificate(ctx, host)
	if err == nil {
		return a.cache.RenewManagedCertificates(ctx) // what was stored may be due for long
	}
	if !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	// Not interactive is what its name means: it returns when it is done.
	if err := a.config.ObtainCertAsync(ctx, host); err != nil {
		return err
	}
	_, err = a.config.CacheManagedCertificate(ctx, host)
	return err
}

// GetCertificate returns the certificate of the host that is asked for, if it is
// wanted and was obtained, or the answer to a CA's challenge.
func (a *ACME) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if !(*a.hosts.Load())[asked(hello)] {
		return nil, errNoCertificate
	}
	if len(hello.SupportedProtos) == 1 && hello.SupportedProtos[0] == acmez.ACMETLS1Protocol {
		if !a.mayLookUp() {
			return nil, errNoCertificate
		}
		defer a.lookedUp()
	}
	return a.config.GetCertificate(hello)
}

// Challenge answers a CA's question over plain HTTP, and reports whether it did:
// whether it was one, about a host that is wanted, which a gateway has caused.
func (a *ACME) Challenge(w http.ResponseWriter, r *http.Request) bool {
	host, _, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	if !certmagic.LooksLikeHTTPChallenge(r) || !(*a.hosts.Load())[strings.ToLower(host)] || !a.mayLookUp() {
		return false
	}
	defer a.lookedUp()
	return a.issuer.HandleHTTPChallenge(w, r)
}

func (a *ACME) mayLookUp() bool {
	select {
	case a.lookUps <- struct{}{}:
		return true
	default:
		return false
	}
}

func (a *ACME) lookedUp() { <-a.lookUps }

// Has reports whether a host is wanted and its certificate was obtained.
func (a *ACME) Has(host string) bool {
	return (*a.hosts.Load())[host] && len(a.cache.AllMatchingCertificates(host)) > 0
}

// Ends returns when the certificate of each host ends that was obtained.
func (a *ACME) Ends() map[string]time.Time {
	ends := map[string]time.Time{}
	for host := range *a.hosts.Load() {
		for _, c := range a.cache.AllMatchingCertificates(host) {
			if c.Leaf != nil && c.Leaf.NotAfter.After(ends[host]) {
				ends[host] = c.Leaf.NotAfter
			}
		}
	}
	return ends
}

// Run has certificates obtained and renewed until ctx ends.
func (a *ACME) Run(ctx context.Context) error {
	tick := time.NewTicker(cleanEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case <-ctx.Done():
		case <-tick.C:
			a.clean(ctx)
		}
	}
	a.mu.Lock()
	a.stop()
	a.mu.Unlock()
	a.getters.Wait()
	a.cache.Stop()
	return nil
}

// clean removes what nobody will want again: certificates of hosts that went
// with their routes, and old staples. Of several gateways one does it a day.
func (a *ACME) clean(ctx context.Context) {
	err := certmagic.CleanStorage(ctx, a.config.Storage, certmagic.CleanStorageOptions{
		Logger: a.log, InstanceID: "gateway", Interval: cleanEvery,
		OCSPStaples: true, ExpiredCerts: true, ExpiredCertGracePeriod: keepExpired,
	})
	if err != nil && ctx.Err() == nil {
		a.log.Warn("certificates not cleaned up", zap.Error(err))
	}
}
