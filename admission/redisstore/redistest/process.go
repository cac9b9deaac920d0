//go:build linux

package redistest

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
	"time"
)

// errInUse means that another process took the port first.
var errInUse = errors.New("address already in use")

// process is one started program. It ends with the test process, however that
// ends.
type process struct {
	pid    int
	exited chan struct{} // closed once the program has ended and was reaped
}

// launch starts program in dir, with its output appended to the file log.
func launch(program string, args []string, dir, log string) (*process, error) {
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	cmd := exec.Command(program, args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Pdeathsig: syscall.SIGKILL,
		Setpgid:   true, // so that a signal reaches what Redis forks to rewrite its file, too
	}
	p := &process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux sends the death signal when the thread that forked ends, which
		// may be long before the process does. Waiting on that thread keeps it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		out.Close()
		started <- err
		if err == nil {
			cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", program, err)
	}
	p.pid = cmd.Process.Pid
	return p, nil
}

// ended reports whether the program has ended. A nil process has.
func (p *process) ended() bool {
	if p == nil {
		return true
	}
	select {
	case <-p.exited:
		return true
	default:
		return false
	}
}

// kill ends the program at once, stopped or not, and returns when it is gone.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	if p != nil {
		<-p.exited
	}
}

// signal sends sig to the program and what it forked, unless it has ended: its
// pid may be another's by now.
func (p *process) signal(sig syscall.Signal) {
	if !p.ended() {
		syscall.Kill(-p.pid, sig)
	}
}

// stopped reports whether every signal that stops the program has taken hold.
func (p *process) stopped() bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.pid))
	if err != nil {
		return false
	}
	// "pid (name) S ...": the name may hold anything, so count from its end.
	for i := len(stat) - 3; i > 0; i-- {
		if stat[i] == ')' {
			return stat[i+2] == 'T'
		}
	}
	return false
}

// freePort returns a port that nobody listens on at 127.0.0.1. It lies below
// the range from which Linux takes the ports of outgoing connections: else,
// while a killed server's port is free, a client dialing it again and again
// could be given that very port, and so talk to itself and keep the server from
// coming back.
func freePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(22000)
		l, err := net.Listen("tcp", loopback(port))
		if err == nil {
			l.Close()
			return port, nil
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, err
		}
	}
	return 0, errors.New("find a free port: 100 were taken")
}

func loopback(port int) string {
	return net.JoinHostPort("127.0.0.1", strconv.Itoa(port))
}

// poll asks done every few milliseconds until it says yes, or d has passed.
func poll(d time.Duration, done func() bool) bool {
	tick := time.NewTicker(5 * time.Millisecond)
	defer tick.Stop()
	end := time.After(d)
	for !done() {
		select {
		case <-tick.C:
		case <-end:
			return false
		}
	}
	return true
}
