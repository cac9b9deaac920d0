//go:build linux

// Package process runs the programs that stores are tested on, on free loopback
// ports. It is for Linux.
package process

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"os/exec"
	"runtime"
	"strconv"
	"syscall"
)

// Process is one started program. A nil Process has ended.
type Process struct {
	PID    int
	exited chan struct{} // closed once the program has ended and was reaped
}

// Start starts cmd, which has a Pdeathsig, in a process group of its own. The
// signal comes when the process of the test ends, however that ends, and no
// sooner.
func Start(cmd *exec.Cmd) (*Process, error) {
	cmd.SysProcAttr.Setpgid = true
	p := &Process{exited: make(chan struct{})}
	started := make(chan error)
	go func() {
		// Linux sends the death signal when the thread that forked ends, which
		// may be long before the process does. Waiting on that thread keeps it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err == nil {
			cmd.Wait()
			close(p.exited)
		}
	}()
	if err := <-started; err != nil {
		return nil, fmt.Errorf("start %s: %w", cmd.Path, err)
	}
	p.PID = cmd.Process.Pid
	return p, nil
}

// Ended reports whether the program has ended.
func (p *Process) Ended() bool {
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

// Signal sends sig to the program and to what it forked, as Redis does to rewrite
// its file, unless it has ended: its id may be another's by now.
func (p *Process) Signal(sig syscall.Signal) {
	if !p.Ended() {
		syscall.Kill(-p.PID, sig)
	}
}

// End ends the program by sig, and returns when it is gone.
func (p *Process) End(sig syscall.Signal) {
	p.Signal(sig)
	if p != nil {
		<-p.exited
	}
}

// FreePort returns a port that nobody listens on at 127.0.0.1. It lies below
// the range from which Linux takes the ports of outgoing connections: else,
// while a killed server's port is free, a client dialing it again and again
// could be given that very port, and so talk to itself and keep the server from
// coming back.
func FreePort() (int, error) {
	for range 100 {
		port := 10000 + rand.IntN(22000)
		l, err := net.Listen("tcp", Loopback(port))
		if err == nil {
			return port, l.Close()
		}
		if !errors.Is(err, syscall.EADDRINUSE) {
			return 0, err
		}
	}
	return 0, errors.New("find a free port: 100 were taken")
}

// Loopback is the address of a port at 127.0.0.1.
func Loopback(port int) string { return net.JoinHostPort("127.0.0.1", strconv.Itoa(port)) }
