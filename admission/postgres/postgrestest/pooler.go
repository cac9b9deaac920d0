//go:build linux

package postgrestest

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/admissiontest/process"
)

// Pooler starts a pgbouncer that gives every transaction whichever of two
// connections to the server is free, and returns how a database is reached
// through it, by the superuser.
func (s *Server) Pooler(t testing.TB, database string) string {
	t.Helper()
	// Debian has it where only root's PATH leads.
	program, err := exec.LookPath("pgbouncer")
	if err != nil {
		program = "/usr/sbin/pgbouncer"
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatal("pgbouncer is neither in PATH nor in /usr/sbin; on Debian: apt-get install pgbouncer")
	}
	dir, err := directory(s.account)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	port, err := process.FreePort()
	if err != nil {
		t.Fatal(err)
	}
	users, conf := filepath.Join(dir, "users"), filepath.Join(dir, "pgbouncer.ini")
	for path, text := range map[string]string{
		users: fmt.Sprintf("%q %q\n", superuser, ""),
		conf: fmt.Sprintf(`[databases]
* = host=127.0.0.1 port=%d
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = %d
unix_socket_dir =
auth_type = trust
auth_file = %s
pool_mode = transaction
default_pool_size = 2
`, s.port, port, users),
	} {
		if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	log, err := os.Create(filepath.Join(dir, "log"))
	if err != nil {
		t.Fatal(err)
	}
	defer log.Close()
	cmd := command(s.account, dir, program, conf)
	cmd.Stdout, cmd.Stderr = log, log
	run, err := process.Start(cmd)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { run.End(atOnce) })
	for end := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
		if conn, err := net.Dial("tcp", process.Loopback(port)); err == nil {
			conn.Close()
			break
		}
		if run.Ended() || time.Now().After(end) {
			words, _ := os.ReadFile(log.Name())
			t.Fatalf("start pgbouncer on port %d:\n%s", port, words)
		}
	}
	return address(superuser, port, database)
}
