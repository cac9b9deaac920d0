package certs

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"go.uber.org/zap"
	"golang.org/x/crypto/ocsp"
)

const (
	// A responder has so long to answer, and that much to say.
	responderTime   = 10 * time.Second
	longestResponse = 64 << 10

	// One that did not answer, or not well, is asked again after this, twice as
	// long each time; one that did, not sooner than soonest.
	shortestPause = time.Minute
	longestPause  = time.Hour
	soonest       = time.Minute

	// unbounded is how long a response is used that does not say it.
	unbounded = 24 * time.Hour

	// clockSkew is how far a responder's clock may be ahead.
	clockSkew = 5 * time.Minute
)

// staple is what is stapled to a certificate: its CA's word that it is not
// revoked. The zero staple is none, to be asked for at once.
type staple struct {
	until time.Time     // what is stapled is good; zero: nothing is
	next  time.Time     // when to ask again
	pause time.Duration // since it was asked in vain; 0: it was not
	asked bool          // it is being asked
}

// response is a responder's answer about the certificate of a pair.
type response struct {
	pair        int
	leaf        *x509.Certificate
	raw         []byte
	from, until time.Time
	err         error
}

var errRevoked = errors.New("the CA has revoked it")

// hasResponder reports whether a certificate names a responder that can be
// asked, which takes the certificate of its CA.
func hasResponder(c *tls.Certificate) bool {
	return len(c.Leaf.OCSPServer) > 0 && len(c.Certificate) > 1
}

// keepStapled asks after one pair's certificate when it is time to, and takes off
// it what is no longer good.
func (f *Files) keepStapled(ctx context.Context, pair int, now time.Time) {
	w := &f.pairs[pair]
	s := &w.staple
	if !s.until.IsZero() && now.After(s.until) {
		f.attach(w, nil)
		s.until = time.Time{}
		f.log.Warn("OCSP response ran out, none is stapled", zap.String("key", w.key))
	}
	if s.asked || now.Before(s.next) || !hasResponder(w.cert) {
		return
	}
	s.asked = true
	cert := w.cert
	f.asking.Go(func() {
		r := response{pair: pair, leaf: cert.Leaf}
		r.raw, r.from, r.until, r.err = f.ask(ctx, cert, now)
		f.responses <- r // there is room for one of each pair
	})
}

// take takes up what a responder said.
func (f *Files) take(r response, now time.Time) {
	w := &f.pairs[r.pair]
	s, at := &w.staple, zap.String("key", w.key)
	s.asked = false
	if w.cert.Leaf != r.leaf {
		return // it changed meanwhile, and is asked after anew
	}
	if r.err != nil {
		s.pause = min(max(2*s.pause, shortestPause), longestPause)
		s.next = now.Add(s.pause)
		if errors.Is(r.err, errRevoked) {
			f.attach(w, nil)
			s.until = time.Time{}
			f.log.Error("certificate revoked", at, zap.Error(r.err))
			return
		}
		f.log.Warn("no OCSP response, will retry", at, zap.Duration("after", s.pause), zap.Time("good_until", s.until), zap.Error(r.err))
		return
	}
	f.attach(w, r.raw)
	s.pause, s.until, s.next = 0, r.until, r.from.Add(r.until.Sub(r.from)/2)
	if least := now.Add(soonest); s.next.Before(least) {
		s.next = least
	}
	f.log.Debug("OCSP response stapled", at, zap.Time("until", s.until))
}

// attach has further handshakes show the certificate with a response; nil:
// without.
func (f *Files) attach(w *watched, raw []byte) {
	c := *w.cert // handshakes under way have the old one
	c.OCSPStaple = raw
	w.cert = &c
	f.put()
}

// ask asks the responder that a certificate names whether it is good.
func (f *Files) ask(ctx context.Context, c *tls.Certificate, now time.Time) (raw []byte, from, until time.Time, err error) {
	fail := func(err error) ([]byte, time.Time, time.Time, error) { return nil, time.Time{}, time.Time{}, err }
	issuer, err := x509.ParseCertificate(c.Certificate[1])
	if err != nil {
		return fail(fmt.Errorf("the CA's certificate: %w", err))
	}
	question, err := ocsp.CreateRequest(c.Leaf, issuer, nil)
	if err != nil {
		return fail(err)
	}
	ctx, cancel := context.WithTimeout(ctx, responderTime)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, c.Leaf.OCSPServer[0], bytes.NewReader(question))
	if err != nil {
		return fail(err)
	}
	r.Header.Set("Content-Type", "application/ocsp-request")
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		return fail(err)
	}
	defer res.Body.Close()
	raw, err = io.ReadAll(io.LimitReader(res.Body, longestResponse+1))
	switch {
	case err != nil:
		return fail(err)
	case res.StatusCode != http.StatusOK:
		return fail(fmt.Errorf("%s answered %s", c.Leaf.OCSPServer[0], res.Status))
	case len(raw) > longestResponse:
		return fail(fmt.Errorf("%s answered with more than %d bytes", c.Leaf.OCSPServer[0], longestResponse))
	}
	said, err := ocsp.ParseResponseForCert(raw, c.Leaf, issuer)
	if err != nil {
		return fail(err)
	}
	until = said.NextUpdate
	if until.IsZero() {
		until = said.ThisUpdate.Add(unbounded)
	}
	switch {
	case said.Status == ocsp.Revoked:
		return fail(fmt.Errorf("%w on %s", errRevoked, said.RevokedAt.Format(time.RFC3339)))
	case said.Status != ocsp.Good:
		return fail(errors.New("the CA does not know it"))
	case said.ThisUpdate.After(now.Add(clockSkew)):
		return fail(fmt.Errorf("the response is good only from %s on", said.ThisUpdate.Format(time.RFC3339)))
	case !until.After(now):
		return fail(fmt.Errorf("the response was good until %s", until.Format(time.RFC3339)))
	}
	return raw, said.ThisUpdate, until, nil
}
