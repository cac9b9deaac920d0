package e2e

import (
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"
)

// manager is what a service manager is to a service: a socket that it is told
// by, and listeners that it hands over.
type manager struct {
	t    *testing.T
	path string
	told *net.UnixConn
	port *os.File // of the listener http
	base string
}

func newManager(t *testing.T) *manager {
	t.Helper()
	m := &manager{t: t, path: filepath.Join(t.TempDir(), "notify")}
	var err error
	if m.told, err = net.ListenUnixgram("unixgram", &net.UnixAddr{Name: m.path, Net: "unixgram"}); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { m.told.Close() })
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	m.base = "http://" + l.Addr().String()
	if m.port, err = l.(*net.TCPListener).File(); err != nil {
		t.Fatal(err)
	}
	l.Close() // the file keeps it open
	t.Cleanup(func() { m.port.Close() })
	return m
}

// start runs a service as systemd would: LISTEN_PID is its own.
func (m *manager) start(dir, names string) *exec.Cmd {
	m.t.Helper()
	cmd := exec.Command("sh", "-c", `LISTEN_PID=$$ exec "$0" run`, binary)
	cmd.Dir = dir
	cmd.ExtraFiles = []*os.File{m.port}
	cmd.Env = []string{"NOTIFY_SOCKET=" + m.path, "WATCHDOG_USEC=300000", "LISTEN_FDS=1", "LISTEN_FDNAMES=" + names,
		"ROPELINE_LISTEN_HTTP=127.0.0.1:1", "ROPELINE_LISTEN_ADMIN=127.0.0.1:0"}
	said, err := os.Create(filepath.Join(m.t.TempDir(), "log"))
	if err != nil {
		m.t.Fatal(err)
	}
	cmd.Stdout, cmd.Stderr = said, said
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); err != nil {
		m.t.Fatal(err)
	}
	m.t.Cleanup(func() {
		said.Close()
		_ = cmd.Process.Kill() // it may have ended
		if m.t.Failed() {
			text, _ := os.ReadFile(said.Name())
			m.t.Logf("it said:\n%s", text)
		}
	})
	return cmd
}

// hears waits until it is told of a state.
func (m *manager) hears(state string) {
	m.t.Helper()
	if err := m.told.SetReadDeadline(time.Now().Add(patience)); err != nil {
		m.t.Fatal(err)
	}
	for message := make([]byte, 4096); ; {
		n, err := m.told.Read(message)
		if err != nil {
			m.t.Fatalf("it never tells %s: %v", state, err)
		}
		if strings.Contains(string(message[:n]), state) {
			return
		}
	}
}

// TestSystemd_ThePortOutlivesTheGateway hands a gateway its public port, has it
// restarted, and asks meanwhile: the question waits for the next gateway.
func TestSystemd_ThePortOutlivesTheGateway(t *testing.T) {
	t.Parallel()
	m, dir := newManager(t), t.TempDir()
	write(t, filepath.Join(dir, "ropeline.yaml"), settings(openShop(t), "capacity: 5, session: {idle: 1m, max: 5m}"))
	ask := func() error {
		client := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
		answer, err := client.Get(m.base + "/")
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("got %s", answer.Status)
		}
		return nil
	}
	first := m.start(dir, "http")
	m.hears("READY=1")
	m.hears("WATCHDOG=1")
	if err := ask(); err != nil {
		t.Fatalf("by the port that was passed: %v", err)
	}
	if err := first.Process.Signal(syscall.SIGHUP); err != nil {
		t.Fatal(err)
	}
	m.hears("RELOADING=1")
	m.hears("READY=1")
	if err := first.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	m.hears("STOPPING=1")
	if err := first.Wait(); err != nil {
		t.Fatalf("the first gateway: %v", err)
	}
	asked := make(chan error)
	go func() { asked <- ask() }() // nobody is there to answer
	m.start(dir, "http")
	if err := <-asked; err != nil {
		t.Errorf("asked between two gateways: %v", err)
	}
}

func TestSystemd_APortForNoListenerIsRefused(t *testing.T) {
	t.Parallel()
	for name, want := range map[string]string{"ropeline.socket": "FileDescriptorName", "https": "listen.https, which is empty"} {
		m, dir := newManager(t), t.TempDir()
		write(t, filepath.Join(dir, "ropeline.yaml"), settings(openShop(t), "capacity: 5"))
		cmd := m.start(dir, name)
		err := cmd.Wait()
		said, _ := os.ReadFile(cmd.Stderr.(*os.File).Name())
		if cmd.ProcessState.ExitCode() != 1 || !strings.Contains(string(said), want) {
			t.Errorf("a socket named %s: %v, %s; want status 1 and %s", name, err, said, want)
		}
	}
}
