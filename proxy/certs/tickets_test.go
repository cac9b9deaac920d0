package certs

import (
	"crypto/tls"
	"crypto/x509"
	"net"
	"testing"
	"time"
)

func TestTickets_ResumeAtAnotherGateway(t *testing.T) {
	ca, err := OpenInternal(t.TempDir(), nil)
	if err != nil {
		t.Fatal(err)
	}
	shared := []byte("a secret of thirty-two bytes or more")
	now := time.Now()
	gateway := func(secret []byte, at time.Time) *tls.Config {
		c := Config(ca)
		if err := NewTickets(secret).Set(c, at); err != nil {
			t.Fatal(err)
		}
		return c
	}
	for _, tt := range []struct {
		name    string
		other   *tls.Config
		resumes bool
	}{
		{"of the same secret", gateway(shared, now), true},
		{"a period later", gateway(shared, now.Add(ticketLife)), true},
		{"a period earlier", gateway(shared, now.Add(-ticketLife)), true},
		{"two periods later", gateway(shared, now.Add(2*ticketLife)), false},
		{"of another secret", gateway([]byte("another secret of thirty-two bytes"), now), false},
	} {
		for name, version := range map[string]uint16{"1.2": tls.VersionTLS12, "1.3": tls.VersionTLS13} {
			t.Run(tt.name+" in TLS "+name, func(t *testing.T) {
				roots := x509.NewCertPool()
				roots.AddCert(ca.ca)
				client := &tls.Config{RootCAs: roots, ServerName: "shop.test", MaxVersion: version, ClientSessionCache: tls.NewLRUClientSessionCache(1)}
				if handshake(t, gateway(shared, now), client) {
					t.Error("a first handshake resumes")
				}
				if got := handshake(t, tt.other, client); got != tt.resumes {
					t.Errorf("the second handshake resumes: %v, want %v", got, tt.resumes)
				}
			})
		}
	}
}

// handshake reports whether a connection resumed an earlier one.
func handshake(t *testing.T, server, client *tls.Config) bool {
	t.Helper()
	here, there := net.Pipe()
	defer here.Close()
	go func() {
		conn := tls.Server(there, server)
		conn.Write([]byte("x")) // TLS 1.3 has its tickets read with data
		conn.Close()
	}()
	conn := tls.Client(here, client)
	if _, err := conn.Read(make([]byte, 1)); err != nil {
		t.Fatal(err)
	}
	return conn.ConnectionState().DidResume
}
