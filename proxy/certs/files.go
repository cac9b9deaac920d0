package certs

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"fmt"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// lookEvery is how often files are looked at for a change.
	lookEvery = 2 * time.Second

	// soon is how long before its end a certificate is warned of, and
	// remindEvery how often.
	soon        = 14 * 24 * time.Hour
	remindEvery = 24 * time.Hour
)

// Pair are the files of one certificate, in PEM: the chain, its own first, and
// the private key.
type Pair struct{ Cert, Key string }

// Files gives certificates that lie in files, and takes up those that change.
// It is safe for concurrent use.
type Files struct {
	log   *zap.Logger
	index atomic.Pointer[index]
	pairs []watched // Run's alone

	responses chan response  // of OCSP responders
	asking    sync.WaitGroup // for them
}

// watched is a pair with what is in force of it.
type watched struct {
	Pair
	key      string // in the YAML file
	cert     *tls.Certificate
	seen     hash      // of the content that is in force, or was told to be bad
	doubted  hash      // of the content that was bad at the last look; else what was seen
	reminded time.Time // when it was last warned of
	staple   staple
}

// hash names the content of both files; zero: they could not be read.
type hash [sha256.Size]byte

// index finds certificates by host. For a host there may be several, as one
// for ECDSA and one for RSA.
type index struct {
	byHost map[string][]*tls.Certificate
	first  *tls.Certificate // for who names none of the hosts
}

// OpenFiles reads pairs, of which there is at least one. An error names the key
// of the YAML file that it is about.
func OpenFiles(pairs []Pair, log *zap.Logger) (*Files, error) {
	f := &Files{log: log.Named("certs")}
	for i, p := range pairs {
		w := watched{Pair: p, key: fmt.Sprintf("tls.files[%d]", i)}
		var err error
		if w.cert, w.seen, err = load(p, time.Now()); err != nil {
			return nil, fmt.Errorf("%s: %w", w.key, err)
		}
		w.doubted = w.seen
		f.pairs = append(f.pairs, w)
	}
	f.responses = make(chan response, len(pairs))
	f.put()
	return f, nil
}

// load reads one pair, which must be good at now.
func load(p Pair, now time.Time) (*tls.Certificate, hash, error) {
	chain, err := os.ReadFile(p.Cert)
	if err != nil {
		return nil, hash{}, err
	}
	key, err := os.ReadFile(p.Key)
	if err != nil {
		return nil, hash{}, err
	}
	content := hash(sha256.Sum256(append(append([]byte{}, chain...), key...)))
	pair, err := tls.X509KeyPair(chain, key)
	switch {
	case err != nil:
		return nil, content, fmt.Errorf("%s with %s: %w", p.Cert, p.Key, err)
	case now.After(pair.Leaf.NotAfter):
		return nil, content, fmt.Errorf("%s expired on %s", p.Cert, pair.Leaf.NotAfter.Format(time.DateOnly))
	case now.Before(pair.Leaf.NotBefore):
		return nil, content, fmt.Errorf("%s is valid only from %s on", p.Cert, pair.Leaf.NotBefore.Format(time.RFC3339))
	}
	return &pair, content, nil
}

// put has further handshakes use what is in force.
func (f *Files) put() {
	next := &index{byHost: map[string][]*tls.Certificate{}, first: f.pairs[0].cert}
	for _, w := range f.pairs {
		for _, name := range w.cert.Leaf.DNSNames {
			name = strings.ToLower(name)
			next.byHost[name] = append(next.byHost[name], w.cert)
		}
		for _, address := range w.cert.Leaf.IPAddresses {
			next.byHost[address.String()] = append(next.byHost[address.String()], w.cert)
		}
	}
	f.index.Store(next)
}

// GetCertificate returns the certificate of the host that is asked for, one for
// a pattern that it falls under, or else the first.
func (f *Files) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	now, host := f.index.Load(), asked(hello)
	candidates := now.byHost[host]
	if _, parent, ok := strings.Cut(host, "."); ok && candidates == nil {
		candidates = now.byHost["*."+parent]
	}
	for _, c := range candidates {
		if hello.SupportsCertificate(c) == nil {
			return c, nil
		}
	}
	if len(candidates) > 0 {
		return candidates[0], nil
	}
	return now.first, nil
}

// Run takes up changes of the files until ctx ends, staples OCSP responses, and
// warns of certificates that end soon. A pair that is not good leaves the old
// one in force.
func (f *Files) Run(ctx context.Context) error {
	defer f.asking.Wait()
	tick := time.NewTicker(lookEvery)
	defer tick.Stop()
	for {
		for i := range f.pairs {
			now := time.Now()
			f.look(&f.pairs[i], now)
			f.keepStapled(ctx, i, now)
		}
		select {
		case <-ctx.Done():
			return nil
		case r := <-f.responses:
			f.take(r, time.Now())
		case <-tick.C:
		}
	}
}

// look takes up one pair if it has changed. That it is bad is told at the
// second look: at the first it may be half written.
func (f *Files) look(w *watched, now time.Time) {
	at := zap.String("key", w.key)
	cert, content, err := load(w.Pair, now)
	switch {
	case content == w.seen:
	case err == nil:
		w.cert, w.seen, w.reminded = cert, content, time.Time{}
		w.staple = staple{asked: w.staple.asked}
		f.put()
		f.log.Info("certificate changed", at, zap.Time("until", cert.Leaf.NotAfter), zap.Strings("hosts", cert.Leaf.DNSNames))
	case content == w.doubted:
		w.seen = content
		f.log.Error("certificate not taken up, the old one stays", at, zap.Error(err))
	}
	w.doubted = w.seen
	if err != nil {
		w.doubted = content
	}
	if until := w.cert.Leaf.NotAfter; until.Sub(now) < soon && now.Sub(w.reminded) >= remindEvery {
		w.reminded = now
		f.log.Warn("certificate ends soon", at, zap.Time("until", until))
	}
}

// Ends returns when the certificate of each host ends.
func (f *Files) Ends() map[string]time.Time {
	ends := map[string]time.Time{}
	for host, candidates := range f.index.Load().byHost {
		for _, c := range candidates {
			if end, ok := ends[host]; !ok || c.Leaf.NotAfter.Before(end) {
				ends[host] = c.Leaf.NotAfter
			}
		}
	}
	return ends
}
