//go:build linux

// Package redistest gives tests real Redis servers: a single one, a Sentinel
// set and a Cluster, on free loopback ports and in temporary directories, and
// the faults that they meet in life. It runs as an ordinary user, on Linux.
//
// What a test starts ends with it, also when it panics, exits or is killed.
// Methods that take no error to return fail the test, so they must be called
// from the test's goroutine.
package redistest

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"

	"github.com/ropeline/ropeline/admission/admissiontest/process"
)

const (
	// patience bounds every wait of this package that takes no context.
	patience = 10 * time.Second

	// harness is the user, and the password, by which this package and the
	// servers among themselves speak to a server, whatever a test does to the
	// users that its clients have.
	harness = "redistest"
)

// Server is one redis-server or sentinel. Only one goroutine may kill, restart,
// pause and resume it; everything else may happen at any time.
type Server struct {
	Name string // tells it from the others of its set
	Addr string // where its clients and the other servers reach it
	Dir  string // its configuration, log and data

	t        testing.TB
	args     []string
	env      []string // beside that of the test
	local    string   // where the process itself listens; Addr unless there is a link before it
	link     *Link
	source   netip.Addr // where it dials from; the zero value for anywhere
	sentinel bool
	tls      *tls.Config
	run      atomic.Pointer[process.Process] // nil before the first start
}

// Single starts a redis-server that keeps an append-only file (everysec), takes
// no snapshots, evicts nothing and asks for no password. Options are lines of
// redis.conf and override that: Single(t, "requirepass secret").
func Single(t testing.TB, options ...string) *Server {
	t.Helper()
	s := newServer(t, "redis-1")
	s.start(func(port int) []string {
		return append([]string{fmt.Sprintf("port %d", port)}, options...)
	})
	return s
}

// newServer returns a server that is not started yet.
func newServer(t testing.TB, name string) *Server {
	t.Helper()
	program, err := exec.LookPath("redis-server")
	if err != nil {
		t.Fatal("redis-server is not in PATH; on Debian: apt-get install redis-server redis-sentinel")
	}
	s := &Server{Name: name, Dir: t.TempDir(), t: t, args: []string{program, "redis.conf"}}
	t.Cleanup(func() {
		s.run.Load().End(syscall.SIGKILL)
		if t.Failed() {
			t.Logf("last words of %s (%s):\n%s", s.Name, s.Addr, lastLines(s.Log(), 10))
		}
	})
	return s
}

// start runs the server on a free port, with the lines that lines returns for
// it, and waits until it answers. It takes another port when that one is taken
// after all.
func (s *Server) start(lines func(port int) []string) {
	s.t.Helper()
	for {
		port, err := process.FreePort()
		if err != nil {
			s.t.Fatal(err)
		}
		s.local = process.Loopback(port)
		if s.link == nil {
			s.Addr = s.local
		}
		if err := s.configure(lines(port)); err != nil {
			s.t.Fatal(err)
		}
		err = s.launch(ready)
		if errors.Is(err, errInUse) {
			continue
		}
		if err != nil {
			s.t.Fatal(err)
		}
		if s.link != nil {
			s.link.Aim(s.local)
		}
		return
	}
}

// configure writes redis.conf: what every server has, then lines.
func (s *Server) configure(lines []string) error {
	conf := []string{
		"bind 127.0.0.1",
		"daemonize no",
		fmt.Sprintf("dir %q", s.Dir),
		`logfile ""`, // to its output, which goes to the log
	}
	if s.source.IsValid() {
		conf = append(conf, "bind-source-addr "+s.source.String())
	}
	if !s.sentinel {
		conf = append(conf,
			"appendonly yes", "appendfsync everysec", `save ""`, "maxmemory-policy noeviction",
			"user "+harness+" on >"+harness+" ~* &* +@all",
			"masteruser "+harness, "masterauth "+harness,
			"repl-diskless-sync-delay 0", // a replica need not wait for others to sync with it
			"repl-ping-replica-period 1",
			"enable-debug-command local",
		)
	}
	text := strings.Join(append(conf, lines...), "\n") + "\n"
	return os.WriteFile(s.path("redis.conf"), []byte(text), 0o600)
}

// state is how far a server is with its start.
type state string

const (
	loading state = "loading its data"
	ready   state = "ready"
)

// launch starts the process and waits until it says that it is in a state.
func (s *Server) launch(want state) error {
	before := len(s.Log())
	run, err := launch(s.args[0], s.args[1:], s.env, s.Dir, s.path("log"))
	if err != nil {
		return err
	}
	s.run.Store(run)
	up := poll(patience, func() bool { return run.Ended() || s.state(run.PID) == want })
	if up && !run.Ended() {
		return nil
	}
	words := s.Log()[before:]
	run.End(syscall.SIGKILL)
	if strings.Contains(words, "Address already in use") {
		return fmt.Errorf("start %s on %s: %w", s.Name, s.local, errInUse)
	}
	return fmt.Errorf("start %s on %s: not %s within %s:\n%s", s.Name, s.local, want, patience, lastLines(words, 30))
}

// state asks the process pid, and not another that took its port, how far it is. It
// takes one connection and one command: a server that loads its data hears
// little, a slow one seldom.
func (s *Server) state(pid int) state {
	ctx, cancel := context.WithTimeout(context.Background(), patience/2)
	defer cancel()
	info, err := s.info(ctx, "default")
	switch {
	case err != nil || info["process_id"] != strconv.Itoa(pid):
		return ""
	case info["loading"] == "1":
		return loading
	default:
		return ready // a sentinel has nothing to load, and does not say so
	}
}

// Kill ends the server by SIGKILL. What it had written to its file stays;
// answers still on their way through its link are lost.
func (s *Server) Kill() {
	s.run.Load().End(syscall.SIGKILL)
	if s.link != nil {
		s.link.Shut()
	}
}

// Restart starts the server again, with its port and data, and waits until it
// answers. Options are added to its configuration. A server that runs is killed
// first.
func (s *Server) Restart(options ...string) {
	s.t.Helper()
	s.restart(ready, options...)
}

// RestartLoading is Restart, but returns while the server loads its data and
// answers LOADING, which it does for at least d. It needs the append-only file.
func (s *Server) RestartLoading(d time.Duration) {
	s.t.Helper()
	// While it loads, the server answers once every 1024 writes; with 16 times as
	// many it does so often enough.
	const writes = 16 << 10
	client := s.client()
	defer client.Close()
	_, err := client.Pipelined(context.Background(), func(p redis.Pipeliner) error {
		for range writes {
			p.Set(context.Background(), "redistest:padding", "", 0)
		}
		return nil
	})
	if err != nil {
		s.t.Fatalf("write what %s shall load: %v", s.Name, err)
	}
	s.restart(loading, fmt.Sprintf("key-load-delay %d", d.Microseconds()/writes+1))
	s.add("key-load-delay 0") // for the next start
}

func (s *Server) restart(want state, options ...string) {
	s.t.Helper()
	s.Kill()
	s.add(options...)
	var err error
	// Another process may hold the port for a moment.
	poll(patience, func() bool { err = s.launch(want); return !errors.Is(err, errInUse) })
	if err != nil {
		s.t.Fatal(err)
	}
	if s.link != nil {
		s.link.open()
	}
}

// add adds lines to the configuration.
func (s *Server) add(lines ...string) {
	s.t.Helper()
	conf, err := os.ReadFile(s.path("redis.conf"))
	if err == nil {
		conf = append(conf, strings.Join(append(lines, ""), "\n")...)
		err = os.WriteFile(s.path("redis.conf"), conf, 0o600)
	}
	if err != nil {
		s.t.Fatal(err)
	}
}

// Wipe removes the data of a killed server, so that it starts empty.
func (s *Server) Wipe() {
	s.t.Helper()
	if !s.run.Load().Ended() {
		s.t.Fatalf("wipe %s: it runs", s.Name)
	}
	if err := errors.Join(os.RemoveAll(s.path("appendonlydir")), os.RemoveAll(s.path("dump.rdb"))); err != nil {
		s.t.Fatal(err)
	}
}

// Pause stops the server by SIGSTOP: it stays connected and answers nothing. Do
// not pause a sentinel: it takes the gap for a broken clock.
func (s *Server) Pause() {
	s.t.Helper()
	s.run.Load().Signal(syscall.SIGSTOP)
	if !poll(patience, func() bool { return stopped(s.run.Load()) }) {
		s.t.Fatalf("pause %s: it runs on", s.Name)
	}
}

// Resume lets a paused server go on.
func (s *Server) Resume() { s.run.Load().Signal(syscall.SIGCONT) }

// Running reports whether the process lives, paused or not.
func (s *Server) Running() bool { return !s.run.Load().Ended() }

// Link is the relay before the server, through which its clients and the other
// servers of its set reach it; nil where Addr is the server itself.
func (s *Server) Link() *Link { return s.link }

// Config sets a configuration value of the running server.
func (s *Server) Config(key, value string) {
	s.t.Helper()
	s.Do(context.Background(), "config", "set", key, value)
}

// Do runs a command, past the link and with all rights, and returns its answer:
// nil, int64, string or []any. An error fails the test.
func (s *Server) Do(ctx context.Context, args ...any) any {
	s.t.Helper()
	answer, err := s.Try(ctx, args...)
	if err != nil {
		s.t.Fatalf("%s: %v: %v", s.Name, args, err)
	}
	return answer
}

// Try is Do for commands that may fail, and for any goroutine.
func (s *Server) Try(ctx context.Context, args ...any) (any, error) {
	// go-redis writes every refused connection to the test's output.
	conn, err := net.DialTimeout("tcp", s.local, time.Second)
	if err != nil {
		return nil, err
	}
	conn.Close()
	client := s.client()
	defer client.Close()
	answer, err := client.Do(ctx, args...).Result()
	if errors.Is(err, redis.Nil) {
		return nil, nil
	}
	return answer, err
}

// Info returns the fields of one section of INFO, such as "commandstats". What
// this package asks the server itself is counted in them.
func (s *Server) Info(section string) map[string]string {
	s.t.Helper()
	info, err := s.info(context.Background(), section)
	if err != nil {
		s.t.Fatalf("%s: info %s: %v", s.Name, section, err)
	}
	return info
}

func (s *Server) info(ctx context.Context, section string) (map[string]string, error) {
	answer, err := s.Try(ctx, "info", section)
	if err != nil {
		return nil, err
	}
	return fields(answer.(string)), nil
}

// fields reads lines of "key:value".
func fields(text string) map[string]string {
	fields := map[string]string{}
	for line := range strings.Lines(text) {
		if key, value, ok := strings.Cut(strings.TrimSpace(line), ":"); ok {
			fields[key] = value
		}
	}
	return fields
}

// client returns a client for a few commands: it asks once, and its connection
// is no older than the process.
func (s *Server) client() *redis.Client {
	options := &redis.Options{
		Addr: s.local, Protocol: 2, TLSConfig: s.tls,
		MaxRetries: -1, DialerRetries: 1, PoolSize: 1,
		ReadTimeout: patience, ContextTimeoutEnabled: true, DisableIdentity: true,
	}
	if !s.sentinel {
		options.Username, options.Password = harness, harness
	}
	return redis.NewClient(options)
}

// Log returns all that the server has written so far, over restarts.
func (s *Server) Log() string {
	log, _ := os.ReadFile(s.path("log")) // none before the first start
	return string(log)
}

func (s *Server) path(name string) string { return filepath.Join(s.Dir, name) }

func lastLines(text string, n int) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	return strings.Join(lines[max(0, len(lines)-n):], "\n")
}
