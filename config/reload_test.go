package config

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// watched runs Watch on path, and gives a function that lets looks pass and
// then says how often the file changed in that time.
func watched(t *testing.T, path string) (after func(looks int) int) {
	ctx, cancel := context.WithCancel(t.Context())
	var calls atomic.Int64
	done := make(chan struct{})
	go func() {
		defer close(done)
		Watch(ctx, path, time.Second, func() { calls.Add(1) })
	}()
	t.Cleanup(func() { cancel(); <-done })
	synctest.Wait()
	// Looks fall on whole seconds, what the test does between them.
	time.Sleep(time.Second / 2)
	return func(looks int) int {
		calls.Store(0)
		time.Sleep(time.Duration(looks) * time.Second)
		synctest.Wait()
		return int(calls.Load())
	}
}

func TestWatch_CallsOnceForAChange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "ropeline.yaml")
		write(t, file, "a")
		after := watched(t, file)
		if got := after(5); got != 0 {
			t.Errorf("nothing changed: got %d", got)
		}
		write(t, file, "a")
		if got := after(5); got != 0 {
			t.Errorf("only touched: got %d", got)
		}
		write(t, file, "b")
		if got := after(1); got != 0 {
			t.Errorf("seen once: got %d", got)
		}
		if got := after(5); got != 1 {
			t.Errorf("changed: got %d", got)
		}
		write(t, file, "a")
		if got := after(5); got != 1 {
			t.Errorf("changed back: got %d", got)
		}
	})
}

func TestWatch_LeavesAFileAloneThatIsBeingWritten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "ropeline.yaml")
		write(t, file, "a")
		after := watched(t, file)
		for _, part := range []string{"", "b", "bb", "bbb"} {
			write(t, file, part)
			if got := after(1); got != 0 {
				t.Errorf("half written %q: got %d", part, got)
			}
		}
		if got := after(5); got != 1 {
			t.Errorf("written: got %d", got)
		}
		write(t, file, "c")
		after(1)
		write(t, file, "bbb")
		if got := after(5); got != 0 {
			t.Errorf("taken back before it was seen twice: got %d", got)
		}
	})
}

func TestWatch_WaitsForAFileThatIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		file := filepath.Join(t.TempDir(), "ropeline.yaml")
		write(t, file, "a")
		after := watched(t, file)
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		if got := after(5); got != 0 {
			t.Errorf("away: got %d", got)
		}
		write(t, file, "a")
		if got := after(5); got != 0 {
			t.Errorf("back as it was: got %d", got)
		}
		if err := os.Remove(file); err != nil {
			t.Fatal(err)
		}
		after(2)
		write(t, file, "b")
		if got := after(5); got != 1 {
			t.Errorf("back with other content: got %d", got)
		}
	})
}

// Kubernetes mounts ropeline.yaml -> ..data/ropeline.yaml and ..data -> a
// folder of that version, and turns ..data by a rename.
func TestWatch_SeesAConfigMapTurn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		mount := t.TempDir()
		turn := func(version, text string) {
			t.Helper()
			if err := os.Mkdir(filepath.Join(mount, version), 0o755); err != nil {
				t.Fatal(err)
			}
			write(t, filepath.Join(mount, version, "ropeline.yaml"), text)
			if err := os.Symlink(version, filepath.Join(mount, "..data_tmp")); err != nil {
				t.Fatal(err)
			}
			if err := os.Rename(filepath.Join(mount, "..data_tmp"), filepath.Join(mount, "..data")); err != nil {
				t.Fatal(err)
			}
		}
		turn("..1", "a")
		file := filepath.Join(mount, "ropeline.yaml")
		if err := os.Symlink(filepath.Join("..data", "ropeline.yaml"), file); err != nil {
			t.Fatal(err)
		}
		after := watched(t, file)
		turn("..2", "b")
		if err := os.RemoveAll(filepath.Join(mount, "..1")); err != nil {
			t.Fatal(err)
		}
		if got := after(5); got != 1 {
			t.Errorf("turned: got %d", got)
		}
		turn("..3", "b")
		if got := after(5); got != 0 {
			t.Errorf("turned to the same content: got %d", got)
		}
	})
}

func TestRestartNeeded(t *testing.T) {
	old := mustLoad(t, minimal)
	for _, v := range []struct {
		change string
		want   []string
	}{
		{"", nil},
		{"poll: {min: 1s}\ntrusted_proxies: [10.0.0.0/8]\nadmin: {hosts: [a], jwt: {issuer: i}}\napi: {enabled: true}\nkeys: [{kid: a, secret: 0123456789abcdef0123456789abcdefx}]", nil},
		{"listen: {http: \":80\", admin: \"\"}\nstore: {path: b.db}\nprefix: /_q\nlimits: {body_bytes: 1KiB}",
			[]string{"listen.http", "listen.admin", "store.path", "prefix", "limits.body_bytes"}},
		{"log: {format: console, level: warn}\ndrain: {grace: 1s}", []string{"log.format", "drain.grace"}},
		{"listen: {api: \":8082\"}\nspool: {max: 1MiB}\ndatabase: {host: db, retention: 24h}",
			[]string{"listen.api", "spool.max", "database.host", "database.retention"}},
	} {
		if got := RestartNeeded(old, mustLoad(t, minimal+v.change)); !slices.Equal(got, v.want) {
			t.Errorf("%q: got %v, want %v", v.change, got, v.want)
		}
	}
	other := mustLoad(t, "upstreams: {a: {servers: [{url: \"http://h\"}]}}\nroutes: [{upstream: a, path: /b}]")
	if got := RestartNeeded(old, other); got != nil {
		t.Errorf("other routes: got %v, want none", got)
	}
}
