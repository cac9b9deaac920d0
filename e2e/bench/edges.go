package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"math/big"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// overEdges measures the gateway beside the edges that operators else have:
// nginx and HAProxy of Debian, Caddy of Debian or the one that -caddy names.
// Each passes the same request on to the same shop, over kept connections and
// without a log; only the gateway asks whether the visitor may pass.
func overEdges(ctx context.Context, binary, caddy string, rounds int, each time.Duration) error {
	shop, err := start(ctx, "upstream")
	if err != nil {
		return err
	}
	defer shop.stop()
	gateway, err := startGateway(ctx, binary, shop.url, "capacity: 0", "", false)
	if err != nil {
		return err
	}
	defer gateway.stop()
	inside, err := cookie(ctx, gateway.url+"/drop")
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("", "ropeline-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	admitted := side{name: "admitted request", server: gateway, path: "/drop", header: inside}

	fmt.Print("\n| | requests/s | its CPU, µs each | against | requests/s | its CPU, µs each | ratio of requests/s |\n|---|---|---|---|---|---|---|\n")
	for _, e := range []edge{
		{"nginx", "nginx", "nginx.conf", nginxConf, []string{"-e", "stderr", "-c"}},
		{"HAProxy", "haproxy", "haproxy.cfg", haproxyConf, []string{"-f"}},
		{"Caddy", caddy, "caddy.json", caddyConf, []string{"run", "--config"}},
	} {
		server, err := e.start(ctx, dir, shop.url)
		if err != nil {
			return err
		}
		err = compare(ctx, admitted, side{name: e.name, server: server, path: "/drop", header: inside}, rounds, each)
		server.stop()
		if err != nil {
			return err
		}
	}
	return handshakes(ctx, binary, shop.url, rounds, each)
}

// edge is another program that can stand where the gateway does.
type edge struct {
	name, program, file string
	conf                string // with ADDRESS and SHOP for host and port of each, and DIR
	args                []string
}

const (
	nginxConf = `daemon off;
worker_processes auto;
pid DIR/nginx.pid;
events { worker_connections 4096; }
http {
  access_log off;
  keepalive_requests 1000000000;
  upstream shop { server SHOP; keepalive 256; keepalive_requests 1000000000; }
  server {
    listen ADDRESS;
    location / {
      proxy_pass http://shop;
      proxy_http_version 1.1;
      proxy_set_header Connection "";
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`
	haproxyConf = `global
  maxconn 4096
defaults
  mode http
  timeout connect 5s
  timeout client 75s
  timeout server 30s
  http-reuse always
  option forwardfor
listen shop
  bind ADDRESS
  server shop SHOP
`
	caddyConf = `{"admin": {"disabled": true}, "logging": {"logs": {"default": {"level": "ERROR"}}},
"apps": {"http": {"servers": {"shop": {"listen": ["ADDRESS"], "automatic_https": {"disable": true},
"routes": [{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "SHOP"}],
"transport": {"protocol": "http", "compression": false, "keep_alive": {"max_idle_conns_per_host": 1024}}}]}]}}}}}
`
)

// start starts an edge, with its files in a directory, on a free loopback port
// in front of a shop, and waits until it answers.
func (e edge) start(ctx context.Context, dir, shop string) (*process, error) {
	program, err := exec.LookPath(e.program)
	if err != nil { // Debian keeps servers where no ordinary PATH leads
		program, err = exec.LookPath("/usr/sbin/" + e.program)
	}
	if err != nil {
		return nil, fmt.Errorf("%s is missing: apt-get install nginx-light haproxy caddy", e.name)
	}
	address, err := freeAddress()
	if err != nil {
		return nil, err
	}
	to, err := url.Parse(shop)
	if err != nil {
		return nil, err
	}
	conf := strings.NewReplacer("ADDRESS", address, "SHOP", to.Host, "DIR", dir).Replace(e.conf)
	file := filepath.Join(dir, e.file)
	if err := os.WriteFile(file, []byte(conf), 0o600); err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, program, append(e.args, file)...)
	cmd.Env = append(os.Environ(), "HOME="+dir)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w", e.name, err)
	}
	p := &process{cmd, "http://" + address}
	tick := time.NewTicker(20 * time.Millisecond)
	defer tick.Stop()
	for range 500 {
		if answer, err := http.Get(p.url + "/"); err == nil {
			answer.Body.Close()
			return p, nil
		}
		<-tick.C
	}
	p.stop()
	return nil, fmt.Errorf("%s does not answer", e.name)
}

// freeAddress returns a loopback address that nobody listens on.
func freeAddress() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	defer l.Close()
	return l.Addr().String(), nil
}

// handshakes measures full TLS 1.3 handshakes with an ECDSA key, beside those
// of a bare server of net/http with the same certificate.
func handshakes(ctx context.Context, binary, shop string, rounds int, each time.Duration) error {
	dir, err := os.MkdirTemp("", "ropeline-bench-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	cert, key := filepath.Join(dir, "cert.pem"), filepath.Join(dir, "key.pem")
	if err := writeCertificate(cert, key); err != nil {
		return err
	}
	file := filepath.Join(dir, "ropeline.yaml")
	text := fmt.Sprintf(`listen: {http: "127.0.0.1:0", https: "127.0.0.1:0", admin: ""}
tls: {mode: files, files: [{cert: %q, key: %q}]}
store: {type: memory, path: %q}
log: {access: false}
drain: {delay: 0s, grace: 1s}
upstreams: {shop: {servers: [{url: %q}]}}
activities: [{id: 123, tenant: bench, name: Bench}]
routes: [{path: /drop, activity: 123, upstream: shop}, {upstream: shop}]
spool: {path: %q}
`, cert, key, filepath.Join(dir, "ropeline.db"), shop, filepath.Join(dir, "spool"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return err
	}
	gateway, err := runGateway(ctx, binary, file, "https")
	if err != nil {
		return err
	}
	defer gateway.stop()
	bare, err := start(ctx, "tls", cert, key)
	if err != nil {
		return err
	}
	defer bare.stop()
	return compare(ctx, side{name: "TLS handshake", server: gateway, load: shake},
		side{name: "bare server of net/http", server: bare, load: shake}, rounds, each)
}

// writeCertificate writes a certificate for localhost that is good for a day.
func writeCertificate(cert, key string) error {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	about := x509.Certificate{
		SerialNumber: big.NewInt(1), DNSNames: []string{"localhost"},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
	}
	signed, err := x509.CreateCertificate(rand.Reader, &about, &about, private.Public(), private)
	if err != nil {
		return err
	}
	secret, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		return err
	}
	for file, block := range map[string]*pem.Block{
		cert: {Type: "CERTIFICATE", Bytes: signed},
		key:  {Type: "PRIVATE KEY", Bytes: secret},
	} {
		if err := os.WriteFile(file, pem.EncodeToMemory(block), 0o600); err != nil {
			return err
		}
	}
	return nil
}

// shake makes handshakes with a side's server for a while, each on a connection
// of its own, and returns how many it made in a second.
func shake(ctx context.Context, s side, d time.Duration) (float64, error) {
	_, address, _ := strings.Cut(s.server.url, "://")
	var (
		made   atomic.Int64
		all    sync.WaitGroup
		failed atomic.Pointer[error]
	)
	began := time.Now()
	for range 8 {
		all.Go(func() {
			dialer := tls.Dialer{Config: &tls.Config{ServerName: "localhost", InsecureSkipVerify: true}}
			for time.Since(began) < d {
				conn, err := dialer.DialContext(ctx, "tcp", address)
				if err != nil {
					failed.Store(&err)
					return
				}
				conn.Close()
				made.Add(1)
			}
		})
	}
	all.Wait()
	if err := failed.Load(); err != nil {
		return 0, fmt.Errorf("handshake with %s: %w", address, *err)
	}
	return float64(made.Load()) / time.Since(began).Seconds(), nil
}
