//go:build linux

package postgres_test

import (
	"bufio"
	"bytes"
	"context"
	"fmt"
	"io"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/postgres"
)

// spoolingProcess names the environment variable by which the test program is
// told to be a gateway that is killed, and where its spool is; fullDisk the one
// that gives it a disk that is full at first.
const (
	spoolingProcess = "POSTGRES_TEST_SPOOL"
	fullDisk        = "POSTGRES_TEST_FULL"
)

const told = 2500 // by the gateway that is killed

// spoolUntilKilled is a gateway whose database never answers. It says when what
// it was told is in the spool, and how often its log said that it could not be.
func spoolUntilKilled() {
	go func() { // it ends with the test, however that ends
		io.Copy(io.Discard, os.Stdin)
		os.Exit(1)
	}()
	core, log := observer.New(zap.ErrorLevel)
	d, err := postgres.Open(postgres.Options{
		ConnString: "postgres://nobody@127.0.0.1:1/nothing", Spool: os.Getenv(spoolingProcess), SpoolMax: 1 << 20, Log: zap.New(core),
	})
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	said := func() int { return log.FilterMessage("spool not written, records stay in memory").Len() }
	raise := func() {}
	if os.Getenv(fullDisk) != "" {
		// Files that may not grow beyond 300 KB: the second batch is written in part.
		signal.Ignore(syscall.SIGXFSZ)
		raise = limitFiles(300 << 10)
	}
	go d.Run(context.Background())
	events := make([]admission.Event, told)
	for i := range events {
		events[i] = joined(int64(i+1), noon())
	}
	d.Note(events...)
	for os.Getenv(fullDisk) != "" && said() == 0 {
		time.Sleep(time.Millisecond)
	}
	raise()
	for d.Spooled() < told {
		time.Sleep(time.Millisecond)
	}
	fmt.Println("spooled", said(), d.Dropped())
	select {}
}

// limitFiles limits how long the files may grow that this process writes.
func limitFiles(size uint64) (raise func()) {
	var before syscall.Rlimit
	err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &before)
	if err == nil {
		err = syscall.Setrlimit(syscall.RLIMIT_FSIZE, &syscall.Rlimit{Cur: size, Max: before.Max})
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	return func() {
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &before); err != nil {
			fmt.Println(err)
			os.Exit(1)
		}
	}
}

// gateway runs the test program as a gateway that spools below dir, and returns
// what it said when it had, and how it is killed.
func gateway(t *testing.T, dir string, environment ...string) (said string, kill func()) {
	t.Helper()
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(append(os.Environ(), spoolingProcess+"="+dir), environment...)
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cmd.StdinPipe(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	dead := false
	kill = func() {
		if !dead {
			dead = true
			cmd.Process.Kill()
			io.Copy(io.Discard, out)
			cmd.Wait()
		}
	}
	t.Cleanup(kill)
	said, _ = bufio.NewReader(out).ReadString('\n')
	return strings.TrimSpace(said), kill
}

func TestSpool_AKilledGatewayLosesNothingThatWasSpooled(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	o := options(t, server.URL(name))
	said, kill := gateway(t, o.Spool)
	if said != "spooled 0 0" {
		t.Fatalf("the gateway said %q", said)
	}
	// While it runs, another process has a spool of its own.
	other := run(t, o)
	if other.Waiting() != 0 {
		t.Errorf("the spool of a process that runs was taken over: %d records", other.Waiting())
	}
	kill()
	other.stop()
	d := run(t, o)
	if d.Waiting() != told {
		t.Errorf("after the kill: got %d records waiting, want %d", d.Waiting(), told)
	}
	d.settled(t)
	if got := numbers(t, server, name); !slices.Equal(got, upTo(told)) {
		t.Errorf("got %d entries, want 1 … %d, each once", len(got), told)
	}
	if left, _ := filepath.Glob(filepath.Join(o.Spool, "*", "*.spool")); len(left) > 0 {
		t.Errorf("all is written, and there is still %v", left)
	}
}

func TestSpool_IsTakenOverFromAGatewayThatIsGone(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	o := options(t, server.URL(name))
	o.SetKeepEvery(20 * time.Millisecond)
	first := run(t, o) // has the first spool, so the killed one had the second
	_, kill := gateway(t, o.Spool)
	kill()
	eventually(t, "the spool to be taken over and written", func() bool { return len(numbers(t, server, name)) == told })
	first.settled(t)
}

func TestSpool_ADiskThatIsFullIsSaidOnceAndRecovers(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	o := options(t, server.URL(name))
	said, kill := gateway(t, o.Spool, fullDisk+"=1")
	if said != "spooled 1 0" {
		t.Fatalf("the gateway said %q, want all spooled at last, one line in its log and nothing dropped", said)
	}
	kill()
	d := run(t, o)
	d.settled(t)
	if got := numbers(t, server, name); !slices.Equal(got, upTo(told)) {
		t.Errorf("got %d entries, want 1 … %d, each once", len(got), told)
	}
}

func TestSpool_ATornEndIsCutOff(t *testing.T) {
	t.Parallel()
	for what, tear := range map[string]func([]byte) []byte{
		"cut in a frame": func(b []byte) []byte { return b[:len(b)-7] },
		"cut in a head":  func(b []byte) []byte { return append(b[:bytes.LastIndex(b, []byte("[{"))-12], 0, 0, 1) },
		"zeroes after":   func(b []byte) []byte { return append(b, make([]byte, 100)...) },
		"a wrong bit":    func(b []byte) []byte { b[len(b)-7] ^= 1; return b },
	} {
		t.Run(what, func(t *testing.T) {
			t.Parallel()
			name := server.Database(t)
			o := options(t, server.URL(name))
			_, kill := gateway(t, o.Spool)
			kill()
			segments, _ := filepath.Glob(filepath.Join(o.Spool, "1", "*.spool"))
			if len(segments) != 1 {
				t.Fatalf("got segments %v, want one", segments)
			}
			text, err := os.ReadFile(segments[0])
			if err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(segments[0], tear(text), 0o600); err != nil {
				t.Fatal(err)
			}
			d := run(t, o)
			d.Note(joined(told+1, noon()))
			d.settled(t)
			got := numbers(t, server, name)
			whole := 2000 // two of three batches
			if what == "zeroes after" {
				whole = told
			}
			if len(got) != whole+1 || got[len(got)-1] != told+1 {
				t.Errorf("got %d entries, want the %d of whole batches and one told since", len(got), whole)
			}
		})
	}
}
