package e2e

import (
	"fmt"
	"os"

	"golang.org/x/sys/unix"
)

// Limit sets how much of a resource of the kernel the gateway may have, as
// unix.RLIMIT_NOFILE, and returns how to set what it was. A limit is of the
// process, so that it holds for root as well.
func (g *gateway) Limit(resource int, most uint64) (restore func()) {
	g.t.Helper()
	var was unix.Rlimit
	set := func(limit, old *unix.Rlimit) {
		g.t.Helper()
		if err := unix.Prlimit(g.cmd.Process.Pid, resource, limit, old); err != nil {
			g.t.Fatalf("limit the gateway: %v", err)
		}
	}
	set(nil, &was)
	set(&unix.Rlimit{Cur: most, Max: was.Max}, nil)
	return func() { set(&was, nil) }
}

// Descriptors is how many files and connections the gateway has open.
func (g *gateway) Descriptors() int {
	g.t.Helper()
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", g.cmd.Process.Pid))
	if err != nil {
		g.t.Fatal(err)
	}
	return len(open)
}
