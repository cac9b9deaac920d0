// Package e2e holds the tests of the whole: the built binary on free ports of
// loopback, a shop behind it, and before it people, as HTTP clients with a
// cookie jar or as tabs of a real Chromium. Nothing in it is part of the
// program.
package e2e

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime/debug"
	"testing"
	"time"
)

// binary is the program under test. TestMain builds it before any test runs.
var binary string

func TestMain(m *testing.M) {
	flag.Parse()
	// Most of these tests wait for a clock of the program, not for a core.
	if err := flag.Set("test.parallel", "8"); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(run(m))
}

func run(m *testing.M) int {
	dir, err := os.MkdirTemp("", "ropeline-e2e-")
	if err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	defer os.RemoveAll(dir)
	// One test runs the binary as another user.
	if err := os.Chmod(dir, 0o755); err != nil {
		fmt.Fprintln(os.Stderr, "e2e:", err)
		return 1
	}
	binary = filepath.Join(dir, "ropeline")
	build := exec.Command("go", "build", "-o", binary, "github.com/ropeline/ropeline/cmd/ropeline")
	if raceDetected() {
		build = exec.Command("go", "build", "-race", "-o", binary, "github.com/ropeline/ropeline/cmd/ropeline")
	}
	build.Stdout, build.Stderr = os.Stderr, os.Stderr
	if err := build.Run(); err != nil {
		fmt.Fprintln(os.Stderr, "e2e: build the program:", err)
		return 1
	}
	return m.Run()
}

// raceDetected reports whether the tests themselves run under the race
// detector: then so does the program.
func raceDetected() bool {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return false
	}
	for _, setting := range info.Settings {
		if setting.Key == "-race" {
			return setting.Value == "true"
		}
	}
	return false
}

// patience is how long a test waits for what must happen. It is no promise of
// the program: a machine that does other work as well may take long.
const patience = 2 * time.Minute

// eventually waits until is returns true; what says for what.
func eventually(t *testing.T, what string, is func() bool) {
	t.Helper()
	look := time.NewTicker(50 * time.Millisecond)
	defer look.Stop()
	deadline := time.After(patience)
	for !is() {
		select {
		case <-look.C:
		case <-deadline:
			t.Fatalf("waited %v in vain: %s", patience, what)
		}
	}
}
