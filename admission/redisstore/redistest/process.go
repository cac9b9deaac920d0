//go:build linux

package redistest

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"syscall"
	"time"

	"github.com/ropeline/ropeline/admission/admissiontest/process"
)

// errInUse means that another process took the port first.
var errInUse = errors.New("address already in use")

// launch starts program in dir, with env beside the environment of the test, and
// with its output appended to the file log. It ends with the test process,
// however that ends.
func launch(program string, args, env []string, dir, log string) (*process.Process, error) {
	out, err := os.OpenFile(log, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	cmd := exec.Command(program, args...)
	cmd.Env = append(os.Environ(), env...)
	cmd.Dir, cmd.Stdout, cmd.Stderr = dir, out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return process.Start(cmd)
}

// stopped reports whether every signal that stops a program has taken hold.
func stopped(p *process.Process) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", p.PID))
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
