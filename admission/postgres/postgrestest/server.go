//go:build linux

// Package postgrestest gives tests real PostgreSQL servers, on free loopback
// ports and in temporary directories, and the faults that they meet in life. It
// runs as any user, on Linux; for root, which PostgreSQL refuses, the servers
// run as the user postgres or nobody.
//
// What a test starts ends with it, also when it panics, exits or is killed.
// Methods that take no error to return fail the test, so they must be called
// from the test's goroutine.
package postgrestest

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ropeline/ropeline/admission/admissiontest/process"
)

const (
	patience = 20 * time.Second // bounds every wait of this package

	// superuser is whom the harness, and a test without a role of its own, is to
	// a server.
	superuser = "postgres"
)

// Server is one PostgreSQL server. One goroutine at a time may stop and start
// it; everything else may happen at any time.
type Server struct {
	Dir string // configuration, log and data

	bin       string
	port      int
	account   *syscall.Credential // whom it runs as; nil: whom the test runs as
	run       *process.Process
	databases atomic.Int64
}

// Open starts a server outside of a test, for all tests of a package: call it
// in TestMain, and Close it there.
func Open(settings ...string) (*Server, error) {
	s, err := newServer()
	if err != nil {
		return nil, err
	}
	if err := s.init(settings); err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

// Single starts a server for one test, which may stop it. Settings are lines of
// postgresql.conf.
func Single(t testing.TB, settings ...string) *Server {
	t.Helper()
	s, err := Open(settings...)
	if err != nil {
		t.Fatal(err)
	}
	s.endWith(t)
	return s
}

func (s *Server) endWith(t testing.TB) {
	t.Cleanup(func() {
		if t.Failed() {
			t.Logf("last words of the server at %d:\n%s", s.port, s.lastWords())
		}
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
}

// newServer makes the directory of a server that is not there yet.
func newServer() (s *Server, err error) {
	s = &Server{}
	if s.bin, err = programs(); err != nil {
		return nil, err
	}
	if s.account, err = account(); err != nil {
		return nil, err
	}
	s.Dir, err = directory(s.account)
	return s, err
}

// programs returns the directory of the server's programs. Debian has them
// where no PATH leads.
func programs() (string, error) {
	found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/initdb") // the pattern is fine
	if len(found) > 0 {
		return filepath.Dir(found[len(found)-1]), nil
	}
	initdb, err := exec.LookPath("initdb")
	if err != nil {
		return "", errors.New("initdb is neither in PATH nor in /usr/lib/postgresql/*/bin; on Debian: apt-get install postgresql")
	}
	if initdb, err = filepath.EvalSymlinks(initdb); err != nil {
		return "", err
	}
	return filepath.Dir(initdb), nil
}

// init makes an empty cluster and starts the server.
func (s *Server) init(settings []string) error {
	if err := s.do("initdb", "--pgdata", s.data(), "--username", superuser, "--auth", "trust",
		"--encoding", "UTF8", "--locale", "C", "--no-sync"); err != nil {
		return err
	}
	if err := s.configure(settings); err != nil {
		return err
	}
	return s.Restart()
}

// configure writes what every server has, then the settings, on a free port.
func (s *Server) configure(settings []string) error {
	port, err := process.FreePort()
	if err != nil {
		return err
	}
	s.port = port
	lines := append([]string{
		fmt.Sprintf("port = %d", port),
		"listen_addresses = '127.0.0.1'",
		"unix_socket_directories = ''",
		"fsync = off", "full_page_writes = off",
		"shared_buffers = 16MB", "max_connections = 200", "max_wal_senders = 4",
		"autovacuum_naptime = 1h",
	}, settings...)
	conf, err := os.OpenFile(filepath.Join(s.data(), "postgresql.conf"), os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	_, err = conf.WriteString("\n" + strings.Join(lines, "\n") + "\n")
	return errors.Join(err, conf.Close())
}

// Stop ends the server at once, as a crash does: it recovers when it starts.
func (s *Server) Stop() {
	s.run.End(atOnce)
}

// Start starts a server that was stopped, with its port and data, and waits
// until it answers.
func (s *Server) Start(t testing.TB) {
	t.Helper()
	if err := s.Restart(); err != nil {
		t.Fatal(err)
	}
}

// Restart is Stop and Start, outside of a test.
func (s *Server) Restart() error {
	s.Stop()
	log, err := os.OpenFile(filepath.Join(s.Dir, "log"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	cmd := s.command("postgres", "-D", s.data())
	cmd.Stdout, cmd.Stderr = log, log
	if s.run, err = process.Start(cmd); err != nil {
		return err
	}
	for end := time.Now().Add(patience); s.Running() && time.Now().Before(end); {
		if err = s.answers(); err == nil {
			return nil
		}
		time.Sleep(5 * time.Millisecond)
	}
	s.Stop()
	return fmt.Errorf("start postgres on port %d: %w:\n%s", s.port, err, s.lastWords())
}

func (s *Server) answers() error {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL("postgres"))
	if err != nil {
		return err
	}
	return conn.Close(ctx)
}

// Running reports whether the process lives.
func (s *Server) Running() bool { return !s.run.Ended() }

// Close ends the server and removes its files.
func (s *Server) Close() error {
	s.Stop()
	return os.RemoveAll(s.Dir)
}

// command is a program of the server, run as its account.
func (s *Server) command(program string, args ...string) *exec.Cmd {
	return command(s.account, s.Dir, filepath.Join(s.bin, program), args...)
}

// do runs a program to its end.
func (s *Server) do(program string, args ...string) error {
	// Locked, or the thread may end before the program does, and so end it.
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if out, err := s.command(program, args...).CombinedOutput(); err != nil {
		return fmt.Errorf("%s: %w:\n%s", program, err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.Dir, "data") }

// Port is where the server listens on 127.0.0.1.
func (s *Server) Port() int { return s.port }

// URL returns how a database is reached, by the superuser.
func (s *Server) URL(database string) string { return s.URLAs(superuser, database) }

// URLAs returns how a database is reached by a role; no role has a password.
func (s *Server) URLAs(role, database string) string {
	return address(role, s.port, database)
}

func address(role string, port int, database string) string {
	u := url.URL{Scheme: "postgres", User: url.User(role), Host: process.Loopback(port), Path: "/" + database, RawQuery: "sslmode=disable"}
	return u.String()
}

// Database makes an empty database for one test and returns its name.
func (s *Server) Database(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test_%d", s.databases.Add(1))
	s.Exec(t, "postgres", "CREATE DATABASE "+name)
	return name
}

// Exec runs a statement in a database, as the superuser.
func (s *Server) Exec(t testing.TB, database, sql string, args ...any) {
	t.Helper()
	Query(t, s, database, func(pgx.CollectableRow) (struct{}, error) { return struct{}{}, nil }, sql, args...)
}

// Value returns the only value that a query in a database gives, as the
// superuser.
func Value[T any](t testing.TB, s *Server, database, sql string, args ...any) T {
	t.Helper()
	values := Query(t, s, database, pgx.RowTo[T], sql, args...)
	if len(values) != 1 {
		t.Fatalf("%s: got %d rows, want 1", sql, len(values))
	}
	return values[0]
}

// Query returns the rows that a query in a database gives, as the superuser.
func Query[T any](t testing.TB, s *Server, database string, scan pgx.RowToFunc[T], sql string, args ...any) []T {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	conn, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close(ctx)
	rows, err := conn.Query(ctx, sql, args...)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	values, err := pgx.CollectRows(rows, scan)
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	return values
}

// Disconnect ends every client's connection to a database, whatever it is at.
func (s *Server) Disconnect(t testing.TB, database string) {
	t.Helper()
	s.Exec(t, "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1`, database)
}

// Replica starts a server that follows this one, and waits until it does.
func (s *Server) Replica(t testing.TB) *Server {
	t.Helper()
	r, err := newServer()
	if err != nil {
		t.Fatal(err)
	}
	r.endWith(t)
	if err := r.do("pg_basebackup", "--host", "127.0.0.1", "--port", strconv.Itoa(s.port), "--username", superuser,
		"--pgdata", r.data(), "--write-recovery-conf", "--checkpoint", "fast", "--no-sync", "--wal-method", "stream"); err != nil {
		t.Fatal(err)
	}
	if err := r.configure(nil); err != nil {
		t.Fatal(err)
	}
	r.Start(t)
	return r
}

// CatchUp waits until a replica has all that this server has now.
func (s *Server) CatchUp(t testing.TB, replica *Server) {
	t.Helper()
	until := Value[string](t, s, "postgres", `SELECT pg_current_wal_insert_lsn()::text`)
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if Value[bool](t, replica, "postgres", `SELECT pg_last_wal_replay_lsn() >= $1::text::pg_lsn`, until) {
			return
		}
		if time.Now().After(end) {
			t.Fatalf("the replica did not catch up within %s", patience)
		}
	}
}

func (s *Server) lastWords() string {
	log, _ := os.ReadFile(filepath.Join(s.Dir, "log")) // none before the first start
	lines := strings.Split(strings.TrimSpace(string(log)), "\n")
	return strings.Join(lines[max(0, len(lines)-20):], "\n")
}
