// Package certs gives the HTTPS listener its certificates: from files, from an
// ACME CA by certmagic, or from a CA of its own for development. It knows
// nothing of HTTP but a CA's questions.
package certs

import (
	"crypto/tls"
	"errors"
	"net"
	"strings"
)

// Source gives the certificate for each handshake; its method is called by many
// at once.
type Source interface {
	GetCertificate(*tls.ClientHelloInfo) (*tls.Certificate, error)
}

// errNoCertificate ends a handshake. It is not told which names there are.
var errNoCertificate = errors.New("no certificate for this host")

// Config returns what a listener needs to speak TLS 1.2 and 1.3, HTTP/2 and
// HTTP/1.1, with the certificates of s. protocols are offered beside those.
func Config(s Source, protocols ...string) *tls.Config {
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		NextProtos:     append([]string{"h2", "http/1.1"}, protocols...),
		GetCertificate: s.GetCertificate,
	}
}

// asked returns the host that a handshake names, or else the address that it
// was made to; empty where neither is known.
func asked(hello *tls.ClientHelloInfo) string {
	if name := strings.TrimSuffix(strings.ToLower(hello.ServerName), "."); name != "" {
		return name
	}
	if hello.Conn == nil {
		return ""
	}
	host, _, err := net.SplitHostPort(hello.Conn.LocalAddr().String())
	if err != nil {
		return ""
	}
	return host
}
