//go:build linux

package redistest

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
)

// dial returns a client of addr that asks once, over one connection.
func dial(t *testing.T, addr string) *redis.Client {
	t.Helper()
	client := redis.NewClient(&redis.Options{
		Addr: addr, MaxRetries: -1, DialerRetries: 1, PoolSize: 1, ContextTimeoutEnabled: true,
	})
	t.Cleanup(func() { client.Close() })
	return client
}

func TestSingle_KeepsItsDataOverAKill(t *testing.T) {
	t.Parallel()
	s := Single(t)
	s.Do(t.Context(), "set", "a", "1")
	s.Kill()
	if s.Running() {
		t.Fatal("the killed server runs")
	}
	if _, err := s.Try(t.Context(), "ping"); err == nil {
		t.Fatal("the killed server answers")
	}
	addr := s.Addr
	s.Restart()
	if got := s.Do(t.Context(), "get", "a"); got != "1" || s.Addr != addr {
		t.Errorf("after restart: got %v at %s, want 1 at %s", got, s.Addr, addr)
	}
	s.Kill()
	s.Wipe()
	s.Restart()
	if got := s.Do(t.Context(), "get", "a"); got != nil {
		t.Errorf("after wipe: got %v, want nil", got)
	}
}

func TestSingle_IsSetUpToKeepTheLine(t *testing.T) {
	t.Parallel()
	s := Single(t)
	for key, want := range map[string]string{
		"appendonly": "yes", "appendfsync": "everysec", "maxmemory-policy": "noeviction", "save": "",
	} {
		if got := s.Do(t.Context(), "config", "get", key).([]any)[1]; got != want {
			t.Errorf("%s: got %q, want %q", key, got, want)
		}
	}
	s.Config("maxmemory", "1mb")
	if got := s.Do(t.Context(), "config", "get", "maxmemory").([]any)[1]; got != "1048576" {
		t.Errorf("maxmemory: got %v, want 1048576", got)
	}
	if got := s.Info("commandstats")["cmdstat_config|get"]; !strings.HasPrefix(got, "calls=5,") {
		t.Errorf("config get: got %q, want calls=5", got)
	}
}

func TestSingle_PasswordsBindClientsOnly(t *testing.T) {
	t.Parallel()
	s := Single(t, "requirepass secret", "user gate on >gatepass ~* &* +@all")
	for _, c := range []struct {
		user, password string
		ok             bool
	}{{"", "", false}, {"", "secret", true}, {"", "wrong", false}, {"gate", "gatepass", true}, {"gate", "secret", false}} {
		client := redis.NewClient(&redis.Options{Addr: s.Addr, Username: c.user, Password: c.password, MaxRetries: -1})
		if err := client.Ping(t.Context()).Err(); (err == nil) != c.ok {
			t.Errorf("user %q, password %q: got %v, want ok %t", c.user, c.password, err, c.ok)
		}
		client.Close()
	}
	s.Config("requirepass", "changed")
	s.Do(t.Context(), "ping")
}

func TestServer_PausedAnswersNothingUntilResumed(t *testing.T) {
	t.Parallel()
	s := Single(t)
	client := dial(t, s.Addr)
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Fatal(err)
	}
	s.Pause()
	ctx, cancel := context.WithTimeout(t.Context(), 100*time.Millisecond)
	defer cancel()
	if err := client.Ping(ctx).Err(); err == nil {
		t.Error("the paused server answers")
	}
	s.Resume()
	if err := client.Ping(t.Context()).Err(); err != nil {
		t.Errorf("resumed: %v", err)
	}
}

func TestServer_RestartLoadingAnswersLoading(t *testing.T) {
	t.Parallel()
	s := Single(t)
	s.Do(t.Context(), "set", "a", "1")
	s.RestartLoading(500 * time.Millisecond)
	if _, err := s.Try(t.Context(), "get", "a"); err == nil || !strings.HasPrefix(err.Error(), "LOADING") {
		t.Errorf("while loading: got %v, want LOADING", err)
	}
	var got any
	var err error
	if !poll(patience, func() bool { got, err = s.Try(t.Context(), "get", "a"); return err == nil }) || got != "1" {
		t.Errorf("loaded: got %v, %v; want 1", got, err)
	}
	s.Restart()
}

func TestTLS_NeedsItsAuthority(t *testing.T) {
	t.Parallel()
	s := TLS(t, "tls-auth-clients yes")
	s.Do(t.Context(), "ping")
	strange := s.tls.Clone()
	strange.RootCAs = nil
	bare := s.tls.Clone()
	bare.Certificates = nil
	for name, c := range map[string]*redis.Options{
		"no TLS": {}, "unknown authority": {TLSConfig: strange}, "no client certificate": {TLSConfig: bare},
	} {
		c.Addr, c.MaxRetries, c.DialerRetries = s.Addr, -1, 1
		client := redis.NewClient(c)
		if err := client.Ping(t.Context()).Err(); err == nil {
			t.Errorf("%s: got an answer", name)
		}
		client.Close()
	}
}

func TestServer_TakenPortIsToldApart(t *testing.T) {
	t.Parallel()
	other, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer other.Close()
	s := newServer(t, "redis-1")
	s.local = other.Addr().String()
	if err := s.configure([]string{"port " + strings.TrimPrefix(s.local, "127.0.0.1:")}); err != nil {
		t.Fatal(err)
	}
	if err := s.launch(ready); !errors.Is(err, errInUse) {
		t.Errorf("got %v, want %v", err, errInUse)
	}
}

func TestServer_AnotherProcessOnItsPortIsNotIt(t *testing.T) {
	t.Parallel()
	s := Single(t)
	if s.state(os.Getpid()) == ready {
		t.Error("an answer of another process counts")
	}
}

// failing stands in for a test that fails.
type failing struct {
	testing.TB
	said string
}

func (f *failing) Helper() {}

func (f *failing) Fatal(args ...any) {
	f.said = fmt.Sprint(args...)
	runtime.Goexit()
}

func TestSingle_WithoutRedisSaysWhatToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	f := &failing{TB: t}
	done := make(chan struct{})
	go func() {
		defer close(done)
		Single(f)
	}()
	<-done
	if !strings.Contains(f.said, "apt-get install redis-server") {
		t.Errorf("got %q, want what to install", f.said)
	}
}

// endThreads ends the threads that run nothing now: many goroutines take one
// each, and with a goroutine that keeps its thread ends the thread.
func endThreads() {
	const n = 50
	var all, done sync.WaitGroup
	all.Add(n)
	for range n {
		done.Go(func() {
			runtime.LockOSThread()
			all.Done()
			all.Wait()
		})
	}
	done.Wait()
}

func TestServer_OutlivesTheThreadsOfItsTest(t *testing.T) {
	t.Parallel()
	s := Single(t)
	for range 20 {
		endThreads()
		s.Do(t.Context(), "ping")
	}
}

// TestServer_EndsWithTheTestProcess runs this test again, in a process that
// starts a server and ends in one of the ways that run no cleanup, or only some.
func TestServer_EndsWithTheTestProcess(t *testing.T) {
	const key = "REDISTEST_END"
	end := func(how string) {
		switch how {
		case "panic":
			panic("as the test wants")
		case "exit":
			os.Exit(1)
		case "kill":
			syscall.Kill(os.Getpid(), syscall.SIGKILL)
		}
	}
	if how := os.Getenv(key); how != "" {
		s := Single(t)
		endThreads()
		fmt.Printf("\npid %d\n", s.run.Load().PID)
		end(how)
	}
	for _, how := range []string{"panic", "exit", "kill"} {
		t.Run(how, func(t *testing.T) {
			t.Parallel()
			cmd := exec.Command(os.Args[0], "-test.run=^"+strings.Split(t.Name(), "/")[0]+"$")
			cmd.Env = append(os.Environ(), key+"="+how, "TMPDIR="+t.TempDir()) // it removes nothing itself
			out, err := cmd.StdoutPipe()
			if err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			pid := 0
			lines := bufio.NewScanner(out)
			for lines.Scan() {
				if text, ok := strings.CutPrefix(lines.Text(), "pid "); ok {
					pid, _ = strconv.Atoi(text)
				}
			}
			if err := cmd.Wait(); err == nil || pid == 0 {
				t.Fatalf("the process ended with %v, its server was %d", err, pid)
			}
			gone := func() bool {
				stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
				return err != nil || strings.Contains(string(stat), ") Z ") // nobody reaped it yet
			}
			if !poll(patience, gone) {
				t.Errorf("server %d outlives its test", pid)
			}
		})
	}
}

func TestSingle_StartsAgainWithAnotherClock(t *testing.T) {
	t.Parallel()
	s := Single(t)
	for _, ahead := range []time.Duration{time.Hour, -time.Hour, 0} {
		s.SetClock(ahead)
		s.Restart()
		seconds, err := strconv.ParseInt(s.Do(t.Context(), "time").([]any)[0].(string), 10, 64)
		if got := time.Until(time.Unix(seconds, 0)) - ahead; err != nil || got.Abs() > patience {
			t.Errorf("the server's clock is %v from where it was set, %v; want it %v ahead", got, err, ahead)
		}
	}
}
