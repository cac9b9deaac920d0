//go:build linux

package redistest

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"os"
	"testing"
	"time"
)

// TLS is Single, speaking TLS only, for 127.0.0.1 and localhost. In its Dir
// stand ca.pem and, for the option "tls-auth-clients yes", client.pem and
// client.key; without that option no client certificate is asked for.
func TLS(t testing.TB, options ...string) *Server {
	t.Helper()
	s := newServer(t, "redis-1")
	ca, err := newAuthority(s.path("ca.pem"))
	if err != nil {
		t.Fatal(err)
	}
	for _, name := range []string{"server", "client"} {
		if err := ca.issue(name, s.path(name+".pem"), s.path(name+".key")); err != nil {
			t.Fatal(err)
		}
	}
	pair, err := tls.LoadX509KeyPair(s.path("client.pem"), s.path("client.key"))
	if err != nil {
		t.Fatal(err)
	}
	s.tls = &tls.Config{RootCAs: x509.NewCertPool(), Certificates: []tls.Certificate{pair}}
	s.tls.RootCAs.AddCert(ca.cert)
	s.start(func(port int) []string {
		return append([]string{
			"port 0", fmt.Sprintf("tls-port %d", port),
			"tls-cert-file server.pem", "tls-key-file server.key", "tls-ca-cert-file ca.pem",
			"tls-auth-clients no",
		}, options...)
	})
	return s
}

// authority signs certificates that are good for a day.
type authority struct {
	cert *x509.Certificate
	key  *ecdsa.PrivateKey
}

// newAuthority writes its own certificate to path.
func newAuthority(path string) (*authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	ca := &authority{key: key, cert: certificate("redistest authority")}
	ca.cert.IsCA, ca.cert.BasicConstraintsValid = true, true
	ca.cert.KeyUsage = x509.KeyUsageCertSign
	der, err := ca.sign(ca.cert, key)
	if err != nil {
		return nil, err
	}
	if ca.cert, err = x509.ParseCertificate(der); err != nil {
		return nil, err
	}
	return ca, writePEM(path, "CERTIFICATE", der)
}

// issue writes a certificate for name, and its key.
func (ca *authority) issue(name, certPath, keyPath string) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	cert := certificate(name)
	cert.KeyUsage = x509.KeyUsageDigitalSignature
	cert.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth, x509.ExtKeyUsageClientAuth}
	cert.DNSNames, cert.IPAddresses = []string{"localhost"}, []net.IP{net.IPv4(127, 0, 0, 1)}
	der, err := ca.sign(cert, key)
	if err != nil {
		return err
	}
	if err := writePEM(certPath, "CERTIFICATE", der); err != nil {
		return err
	}
	if der, err = x509.MarshalPKCS8PrivateKey(key); err != nil {
		return err
	}
	return writePEM(keyPath, "PRIVATE KEY", der)
}

func (ca *authority) sign(cert *x509.Certificate, key *ecdsa.PrivateKey) ([]byte, error) {
	return x509.CreateCertificate(rand.Reader, cert, ca.cert, key.Public(), ca.key)
}

func certificate(name string) *x509.Certificate {
	return &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()),
		Subject:      pkix.Name{CommonName: name},
		NotBefore:    time.Now().Add(-time.Hour),
		NotAfter:     time.Now().Add(24 * time.Hour),
	}
}

func writePEM(path, kind string, der []byte) error {
	return os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: kind, Bytes: der}), 0o600)
}
