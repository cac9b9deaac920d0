package main

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// watching runs ropeline status --watch until the test ends, and returns what
// it prints; left gives its exit status once stop was called.
func watching(t *testing.T, errs io.Writer, environ []string, args ...string) (out *bufio.Scanner, stop func(), left <-chan int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	t.Cleanup(cancel)
	read, written := io.Pipe()
	t.Cleanup(func() { read.Close() })
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, append([]string{"status", "--watch"}, args...), environ, written, errs)
		written.Close()
	}()
	return bufio.NewScanner(read), cancel, status
}

func TestStatus_WatchFollowsTheLineUntilItIsEnded(t *testing.T) {
	var broken error
	environ := []string{"ROPELINE_ADMIN_URL=" + openAdmin(t, &broken), "ROPELINE_ADMIN_TOKEN=" + token(t, "admin")}
	out, stop, left := watching(t, io.Discard, environ)
	health, paused := false, false
	for !paused && out.Scan() {
		line := out.Text()
		if strings.ContainsRune(line, '\x1b') {
			t.Fatalf("draws on what is no terminal: %q", line)
		}
		health = health || strings.Contains(line, "gateway v1 ok, memory up (")
		if strings.HasPrefix(line, "123  demo    auto") {
			if status, _, errs := command(t, environ, "pause", "123"); status != exitOK {
				t.Fatal(errs)
			}
		}
		paused = strings.HasPrefix(line, "123  demo    hold")
	}
	if !health || !paused {
		t.Errorf("health shown: %v, pause shown: %v", health, paused)
	}
	stop()
	for out.Scan() {
	}
	if status := <-left; status != exitOK {
		t.Errorf("ended, it exits with %d", status)
	}
}

func TestStatus_WatchOutlivesAGatewayThatRestarts(t *testing.T) {
	var broken error
	behind, err := url.Parse(openAdmin(t, &broken))
	if err != nil {
		t.Fatal(err)
	}
	var down atomic.Bool
	var said atomic.Value
	to := httputil.NewSingleHostReverseProxy(behind)
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if down.Load() {
			panic(http.ErrAbortHandler)
		}
		to.ServeHTTP(w, r)
	}))
	defer admin.Close()
	environ := []string{"ROPELINE_ADMIN_URL=" + admin.URL, "ROPELINE_ADMIN_TOKEN=" + token(t, "viewer")}
	out, stop, left := watching(t, writerFunc(func(text []byte) {
		said.Store(string(text))
		down.Store(false) // back, once it was missed
	}), environ, "123", "--json")
	for lines := 0; lines < 2 && out.Scan(); lines++ {
		if !strings.HasPrefix(out.Text(), `[{"activity":`) {
			t.Errorf("prints %q", out.Text())
		}
		if lines == 0 {
			down.Store(true)
		}
	}
	stop()
	for out.Scan() {
	}
	if status := <-left; status != exitOK || said.Load() == nil {
		t.Errorf("exits with %d, having said %v", status, said.Load())
	}
}

// writerFunc is called with what is written.
type writerFunc func(text []byte)

func (f writerFunc) Write(text []byte) (int, error) { f(text); return len(text), nil }

func TestStatus_WatchOfNoGatewayEnds(t *testing.T) {
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	if status, _, _ := command(t, []string{"ROPELINE_ADMIN_URL=" + closed.URL, "ROPELINE_ADMIN_TOKEN=x"}, "status", "--watch"); status != exitUnreachable {
		t.Errorf("exits with %d", status)
	}
}

func TestStatus_WatchRedrawsATerminalInPlace(t *testing.T) {
	terminal, person := openTerminal(t)
	var broken error
	environ := []string{"ROPELINE_ADMIN_URL=" + openAdmin(t, &broken), "ROPELINE_ADMIN_TOKEN=" + token(t, "viewer")}
	ctx, stop := context.WithTimeout(t.Context(), 30*time.Second)
	defer stop()
	left := make(chan int, 1)
	go func() { left <- run(ctx, []string{"status", "--watch"}, environ, terminal, io.Discard) }()
	var seen bytes.Buffer
	for buffer := make([]byte, 4096); bytes.Count(seen.Bytes(), []byte("Spring drop")) < 2; {
		n, err := person.Read(buffer)
		if err != nil {
			t.Fatal(err)
		}
		seen.Write(buffer[:n])
	}
	stop()
	if status := <-left; status != exitOK {
		t.Errorf("exits with %d", status)
	}
	if got := strings.Count(seen.String(), clearTerminal); got < 2 {
		t.Errorf("draws anew %d times in %q", got, &seen)
	}
}
