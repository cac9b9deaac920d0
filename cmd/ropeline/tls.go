package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/proxy"
	"github.com/ropeline/ropeline/proxy/certs"
)

// certificates are those of the HTTPS listener, wherever they come from.
type certificates struct {
	config  *tls.Config
	tickets certs.Tickets

	run       func(context.Context) error
	want      func(hosts []string)                          // after each load
	has       func(host string) bool                        // there is one now
	ends      func() map[string]time.Time                   // by host
	challenge func(http.ResponseWriter, *http.Request) bool // nil: no CA asks
}

// openCertificates opens the source that the file names. What it does by itself
// it does in run.
func openCertificates(c *config.Config, vault certs.Vault, secret admission.Secret, plain, secure net.Addr, log *zap.Logger) (*certificates, error) {
	all := &certificates{
		tickets: certs.NewTickets(secret),
		run:     func(ctx context.Context) error { <-ctx.Done(); return nil },
		want:    func([]string) {},
		has:     func(string) bool { return true },
		ends:    func() map[string]time.Time { return nil },
	}
	switch c.TLS.Mode {
	case "files":
		pairs := make([]certs.Pair, len(c.TLS.Files))
		for i, f := range c.TLS.Files {
			pairs[i] = certs.Pair(f)
		}
		files, err := certs.OpenFiles(pairs, log)
		if err != nil {
			return nil, err
		}
		all.config, all.run, all.ends = certs.Config(files), files.Run, files.Ends
	case "acme":
		roots, err := rootsOf(c.TLS.ACME.RootFile)
		if err != nil {
			return nil, fmt.Errorf("tls.acme.root_file: %w", err)
		}
		acme := certs.OpenACME(certs.ACMEOptions{
			CA: c.TLS.ACME.CA, Email: c.TLS.ACME.Email, EABKeyID: c.TLS.ACME.EAB.KID, EABKey: c.TLS.ACME.EAB.HMAC.Reveal(),
			Roots: roots, Vault: vault, Path: c.TLS.ACME.Path, CheckInterval: c.TLS.ACME.CheckInterval,
			HTTP: plain, HTTPS: secure, Log: log,
		})
		all.config, all.run, all.want, all.has = acme.Config(), acme.Run, acme.Want, acme.Has
		all.ends, all.challenge = acme.Ends, acme.Challenge
	default:
		internal, err := certs.OpenInternal(filepath.Dir(c.Store.Path), nil)
		if err != nil {
			return nil, err
		}
		all.config = certs.Config(internal)
	}
	// Before the first handshake: Run may not be there yet.
	return all, all.tickets.Set(all.config, time.Now())
}

// rootsOf reads certificates to trust; nil, the system's, for no file.
func rootsOf(file string) (*x509.CertPool, error) {
	if file == "" {
		return nil, nil
	}
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(text) {
		return nil, fmt.Errorf("%s holds no certificate in PEM", file)
	}
	return roots, nil
}

// https is the listener for them, with the socket of HTTP/3, nil for none.
func (c *certificates) https(l net.Listener, quic net.PacketConn, t config.TLS) *proxy.HTTPS {
	h := &proxy.HTTPS{Listener: l, QUIC: quic, Config: c.config, HSTS: hsts(t.HSTS), Challenge: c.challenge}
	if t.Redirect {
		h.Redirect = c.has // who is sent where no one can answer has no shop at all
	}
	return h
}

// hsts is the header's value, empty for none.
func hsts(h config.HSTS) string {
	if h.MaxAge == 0 {
		return ""
	}
	value := "max-age=" + strconv.FormatInt(int64(h.MaxAge/time.Second), 10)
	if h.Subdomains {
		value += "; includeSubDomains"
	}
	return value
}

// keep keeps them good until ctx ends.
func (c *certificates) keep(ctx context.Context) error {
	parts, ctx := errgroup.WithContext(ctx)
	parts.Go(func() error { return c.run(ctx) })
	parts.Go(func() error { return c.tickets.Run(ctx, c.config) })
	return parts.Wait()
}

// certificateMetrics tell when certificates end, read when Prometheus asks.
type certificateMetrics struct{ ends func() map[string]time.Time }

var certificateEnd = prometheus.NewDesc("ropeline_certificate_end_timestamp_seconds",
	"When the certificate of a host ends, where there is one from files or a CA.", []string{"host"}, nil)

// Describe implements prometheus.Collector.
func (certificateMetrics) Describe(to chan<- *prometheus.Desc) { to <- certificateEnd }

// Collect implements prometheus.Collector.
func (m certificateMetrics) Collect(to chan<- prometheus.Metric) {
	for host, end := range m.ends() {
		to <- prometheus.MustNewConstMetric(certificateEnd, prometheus.GaugeValue, float64(end.Unix()), host)
	}
}
