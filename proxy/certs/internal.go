package certs

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync"
	"time"
)

const (
	caLife   = 10 * 365 * 24 * time.Hour
	leafLife = 30 * 24 * time.Hour

	// maxLeaves bounds the certificates that are kept. A client may name any
	// host.
	maxLeaves = 200
)

// Internal gives certificates for whatever host is asked for, from a CA of its
// own that no browser trusts. It is for development. It is safe for concurrent
// use.
type Internal struct {
	ca  *x509.Certificate
	key *ecdsa.PrivateKey
	now func() time.Time

	mu     sync.Mutex // guards leaves
	leaves map[string]*tls.Certificate
}

// OpenInternal opens the CA that lies in dir as ropeline-ca.crt, for those who
// want to trust it, and ropeline-ca.key; it is made where there is none. A nil
// now is time.Now.
func OpenInternal(dir string, now func() time.Time) (*Internal, error) {
	if now == nil {
		now = time.Now
	}
	certFile, keyFile := filepath.Join(dir, "ropeline-ca.crt"), filepath.Join(dir, "ropeline-ca.key")
	pair, err := tls.LoadX509KeyPair(certFile, keyFile)
	if errors.Is(err, fs.ErrNotExist) {
		if err = makeCA(certFile, keyFile, now()); err == nil {
			pair, err = tls.LoadX509KeyPair(certFile, keyFile)
		}
	}
	if err != nil {
		return nil, fmt.Errorf("internal CA: %w", err)
	}
	key, ok := pair.PrivateKey.(*ecdsa.PrivateKey)
	if !ok || !pair.Leaf.IsCA {
		return nil, fmt.Errorf("internal CA: %s is not a CA that this gateway made", certFile)
	}
	if until := pair.Leaf.NotAfter; now().After(until) {
		return nil, fmt.Errorf("internal CA: %s expired on %s; remove it to have another made", certFile, until.Format(time.DateOnly))
	}
	return &Internal{ca: pair.Leaf, key: key, now: now, leaves: map[string]*tls.Certificate{}}, nil
}

func makeCA(certFile, keyFile string, now time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	der, err := sign(&x509.Certificate{
		Subject:  pkix.Name{CommonName: "Ropeline development CA, " + now.Format(time.DateOnly)},
		NotAfter: now.Add(caLife), IsCA: true, BasicConstraintsValid: true, MaxPathLenZero: true,
		KeyUsage: x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
	}, nil, key, key, now)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	// The key first, and over no other: a certificate whose key is lost would
	// be in the way at the next start.
	if err := create(keyFile, "PRIVATE KEY", secret, 0o600); err != nil {
		return err
	}
	return create(certFile, "CERTIFICATE", der, 0o644)
}

// create writes a file that is not there yet.
func create(path, kind string, der []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	return errors.Join(pem.Encode(f, &pem.Block{Type: kind, Bytes: der}), f.Sync(), f.Close())
}

// sign makes a certificate from what is said of it; a nil parent is itself.
func sign(c, parent *x509.Certificate, key, by *ecdsa.PrivateKey, now time.Time) ([]byte, error) {
	c.NotBefore = now.Add(-time.Hour) // a client's clock may be behind
	if parent == nil {
		parent = c
	}
	// Without a serial number the library draws one.
	return x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, by)
}

// GetCertificate returns a certificate for the host that is asked for.
func (c *Internal) GetCertificate(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	host := asked(hello)
	if host == "" {
		return nil, errNoCertificate
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	now := c.now()
	if leaf := c.leaves[host]; leaf != nil && leaf.Leaf.NotAfter.Sub(now) > leafLife/3 {
		return leaf, nil
	}
	leaf, err := c.issue(host, now)
	if err != nil {
		return nil, fmt.Errorf("certificate for %.256q: %w", host, err)
	}
	if len(c.leaves) >= maxLeaves {
		clear(c.leaves)
	}
	c.leaves[host] = leaf
	return leaf, nil
}

func (c *Internal) issue(host string, now time.Time) (*tls.Certificate, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	leaf := &x509.Certificate{
		NotAfter: now.Add(leafLife), KeyUsage: x509.KeyUsageDigitalSignature, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	if ip := net.ParseIP(host); ip != nil {
		leaf.IPAddresses = []net.IP{ip}
	} else {
		leaf.DNSNames = []string{host}
	}
	der, err := sign(leaf, c.ca, key, c.key, now)
	if err != nil {
		return nil, err
	}
	if leaf, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return &tls.Certificate{Certificate: [][]byte{der, c.ca.Raw}, PrivateKey: key, Leaf: leaf}, nil
}
