package main

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"time"
)

// roles are the servers to measure against, each a process of its own, as the
// gateway is.
var roles = map[string]func(args []string) error{
	"upstream": func([]string) error { return serve(upstream()) },
	"bare":     func(args []string) error { return serve(bare(args[0])) },
	"constant": func([]string) error { return serve(constant()) },
	"tls": func(args []string) error {
		pair, err := tls.LoadX509KeyPair(args[0], args[1])
		if err != nil {
			return err
		}
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		fmt.Println(l.Addr())
		quiet := log.New(io.Discard, "", 0) // connections end without a request
		server := http.Server{Handler: constant(), ErrorLog: quiet, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}}}
		return server.ServeTLS(l, "", "")
	},
	"asking": func(args []string) error {
		h, err := asking(args[0], args[1])
		if err != nil {
			return err
		}
		return serve(h)
	},
}

// serve serves on a free loopback port, which it prints, until it is killed.
func serve(h http.Handler) error {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	fmt.Println(l.Addr())
	return http.Serve(l, h)
}

// upstream is a shop that answers at once with 1 KiB.
func upstream() http.Handler {
	page := bytes.Repeat([]byte("ropeline "), 128)[:1024]
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = w.Write(page)
	})
}

// bare is the proxy that a gateway is measured against: httputil's, with a
// transport tuned as ours is, and nothing else.
func bare(target string) http.Handler {
	to, err := url.Parse(target)
	if err != nil {
		panic(err)
	}
	return &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(to)
			r.Out.Host = r.In.Host
			r.SetXForwarded()
		},
		Transport: &http.Transport{
			MaxIdleConnsPerHost: 1024,
			IdleConnTimeout:     90 * time.Second,
			DisableCompression:  true,
		},
		BufferPool: &buffers{sync.Pool{New: func() any { return make([]byte, 32<<10) }}},
		ErrorLog:   log.New(io.Discard, "", 0), // wrk hangs up at the end of each round
	}
}

type buffers struct{ pool sync.Pool }

func (b *buffers) Get() []byte { return b.pool.Get().([]byte) }

//lint:ignore SA6002 as httputil.BufferPool asks for it
func (b *buffers) Put(p []byte) { b.pool.Put(p) }

// constant answers as a status poll is answered, without looking at anything.
func constant() http.Handler {
	answer := []byte(`{"activity":123,"state":"waiting","number":4211,"position":812,"queue_length":5310,` +
		`"wait":{"known":true,"low_s":240,"high_s":330},"poll_after_ms":8000,"paused":false,"message":"",` +
		`"starts_at":null,"ends_at":null,"updated_at":"2026-11-22T10:00:00Z"}`)
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Header().Set("Cache-Control", "no-store")
		_, _ = w.Write(answer)
	})
}

// process is a server under measurement.
type process struct {
	cmd *exec.Cmd
	url string
}

// start starts one of the roles and reads where it listens.
func start(ctx context.Context, role string, args ...string) (*process, error) {
	self, err := os.Executable()
	if err != nil {
		return nil, err
	}
	cmd := exec.CommandContext(ctx, self, append([]string{role}, args...)...)
	cmd.Stderr = os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // it ends with us, however we end
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		return nil, fmt.Errorf("start %s: %w", role, err)
	}
	return &process{cmd, "http://" + strings.TrimSpace(line)}, nil
}

// startGateway starts the gateway in front of an upstream, with its files in a
// directory of its own.
//
// store is the file's store section; empty: the embedded one. more are further
// lines of the file.
func startGateway(ctx context.Context, binary, shop, limits, store string, accessLog bool, more ...string) (*process, error) {
	dir, err := os.MkdirTemp("", "ropeline-bench-")
	if err != nil {
		return nil, err
	}
	file := filepath.Join(dir, "ropeline.yaml")
	if store == "" {
		store = fmt.Sprintf("{type: memory, path: %q}", filepath.Join(dir, "ropeline.db"))
	}
	text := fmt.Sprintf(`listen: {http: "127.0.0.1:0", admin: ""}
store: %s
log: {access: %t}
drain: {delay: 0s, grace: 1s}
upstreams: {shop: {servers: [{url: %q}]}}
activities: [{id: 123, tenant: bench, name: Bench, join_limit: {rate: ""}, %s}]
routes: [{path: /drop, activity: 123, upstream: shop}, {upstream: shop}]
spool: {path: %q}
%s
`, store, accessLog, shop, limits, filepath.Join(dir, "spool"), strings.Join(more, "\n"))
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		return nil, err
	}
	return runGateway(ctx, binary, file, "http")
}

// runGateway runs the gateway by a file, whose directory goes with it, and
// returns it with the URL of one of its listeners, http or https.
func runGateway(ctx context.Context, binary, file, listener string) (*process, error) {
	cmd := exec.CommandContext(ctx, binary, "run", "--config", file)
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	reader, err := cmd.StderrPipe()
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start %s: %w (make build makes it)", binary, err)
	}
	lines := bufio.NewScanner(reader)
	for lines.Scan() {
		var line struct{ Message, Listener, Address string }
		if json.Unmarshal(lines.Bytes(), &line) != nil {
			return nil, errors.New(lines.Text())
		}
		if line.Message == "listening" && line.Listener == listener {
			go func() { // the access log goes through a pipe, as it does in life
				for lines.Scan() {
				}
				_ = os.RemoveAll(filepath.Dir(file))
			}()
			return &process{cmd, listener + "://" + line.Address}, nil
		}
	}
	return nil, errors.New("the gateway ended before it listened")
}

// stop ends a process and waits for it.
func (p *process) stop() {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	_ = p.cmd.Wait() // its status says only that it was told to end
}

// cpuTime is the processor time that a process and its children, as nginx has
// them, have used so far.
func (p *process) cpuTime() (time.Duration, error) {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	children, err := os.ReadFile(filepath.Join("/proc", pid, "task", pid, "children"))
	if err != nil {
		return 0, err
	}
	var ticks int64 // hundredths of a second
	for _, pid := range append(strings.Fields(string(children)), pid) {
		text, err := os.ReadFile(filepath.Join("/proc", pid, "stat"))
		if err != nil {
			return 0, err
		}
		var user, system int64
		after := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+2:]))
		if _, err := fmt.Sscan(after[11]+" "+after[12], &user, &system); err != nil {
			return 0, err
		}
		ticks += user + system
	}
	return time.Duration(ticks) * 10 * time.Millisecond, nil
}
