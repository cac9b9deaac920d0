package certs

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/certmagic"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// gateways returns what two gateways share on one Redis.
func gateways(t *testing.T) (server *redistest.Server, here, there *shared) {
	t.Helper()
	server = redistest.Single(t)
	open := func() *shared {
		store, err := redisstore.Connect(t.Context(), redisstore.Options{
			Mode: redisstore.Single, Addresses: []string{server.Addr}, PoolSize: 4,
			DialTimeout: 5 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second,
		})
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { store.Close() })
		return newShared(store.Vault("certs"), zap.NewNop())
	}
	return server, open(), open()
}

// TestShared_ActsAsADirectoryDoes asks the same of both, and wants the same said.
func TestShared_ActsAsADirectoryDoes(t *testing.T) {
	t.Parallel()
	_, here, there := gateways(t)
	directory := &certmagic.FileStorage{Path: t.TempDir()}
	for _, key := range []string{"acme/ca/users/me/me.json", "acme/ca/users/me/me.key", "acme/ca/challenge_tokens/shop.json", "ocsp/shop", "last_clean.json"} {
		for _, s := range []certmagic.Storage{directory, here} {
			if err := s.Store(t.Context(), key, []byte("of "+key)); err != nil {
				t.Fatal(err)
			}
		}
	}
	said := func(s certmagic.Storage, steps func(say func(string, any, error))) string {
		var all strings.Builder
		steps(func(what string, got any, err error) {
			if names, ok := got.([]string); ok {
				slices.Sort(names)
			}
			fmt.Fprintf(&all, "%s: %v, does not exist: %v, fails: %v\n", what, got, errors.Is(err, fs.ErrNotExist), err != nil)
		})
		return all.String()
	}
	steps := func(s certmagic.Storage) func(say func(string, any, error)) {
		return func(say func(string, any, error)) {
			look := func() {
				for _, key := range []string{"acme/ca/users/me/me.json", "acme/ca/users/me", "acme/ca/user", "acme", "ocsp/shop", "none"} {
					value, err := s.Load(t.Context(), key)
					say("load "+key, string(value), err)
					info, err := s.Stat(t.Context(), key)
					say("stat "+key, info.IsTerminal, err)
					if info.IsTerminal {
						say("size "+key, info.Size, nil)
						say("now "+key, time.Since(info.Modified).Abs() < time.Hour, nil)
					}
					say("exists "+key, s.Exists(t.Context(), key), nil)
				}
				for _, key := range []string{"acme", "acme/ca/users", "acme/ca", "none"} {
					children, err := s.List(t.Context(), key, false)
					say("list "+key, children, err)
				}
			}
			look()
			say("delete", nil, s.Delete(t.Context(), "acme/ca/users"))
			say("delete again", nil, s.Delete(t.Context(), "acme/ca/users"))
			say("delete one", nil, s.Delete(t.Context(), "ocsp/shop"))
			look()
		}
	}
	// A directory that cannot be read as a file fails in a way of its own, and an
	// empty one is left behind: neither is asked for.
	want, got := said(directory, steps(directory)), said(there, steps(there))
	for i, line := range strings.Split(want, "\n") {
		other := strings.Split(got, "\n")[i]
		if line != other && !strings.HasPrefix(line, "load acme: ") && !strings.HasPrefix(line, "load acme/ca/users/me: ") {
			t.Errorf("a directory says %q, the vault %q", line, other)
		}
	}
}

func TestShared_OneHoldsALockAndADeadHolderIsOutwaited(t *testing.T) {
	t.Parallel()
	_, here, there := gateways(t)
	if err := here.Lock(t.Context(), "job"); err != nil {
		t.Fatal(err)
	}
	if locked, err := there.TryLock(t.Context(), "job"); locked || err != nil {
		t.Fatalf("a second holder: %v, %v", locked, err)
	}
	left, leave := context.WithCancel(t.Context())
	leave()
	if err := there.Lock(left, "job"); !errors.Is(err, context.Canceled) {
		t.Errorf("who leaves gets %v", err)
	}
	if err := here.Unlock(t.Context(), "job"); err != nil {
		t.Fatal(err)
	}
	// One that died prolongs nothing any more.
	if held, err := here.vault.Hold(t.Context(), "job", "dead", 300*time.Millisecond); !held || err != nil {
		t.Fatal(held, err)
	}
	if err := there.Lock(t.Context(), "job"); err != nil { // or the test never ends
		t.Fatal(err)
	}
	if err := there.Unlock(t.Context(), "job"); err != nil {
		t.Fatal(err)
	}
	if err := there.Unlock(t.Context(), "job"); err == nil {
		t.Error("what is not locked is unlocked")
	}
}

func TestShared_LockIsProlongedWhileItIsHeld(t *testing.T) {
	t.Parallel()
	server, here, there := gateways(t)
	if err := here.Lock(t.Context(), "job"); err != nil {
		t.Fatal(err)
	}
	left := func() int64 { return server.Do(t.Context(), "pttl", "ropeline:{certs}:lease:job").(int64) }
	for last := left(); ; { // until it was prolonged, or the test never ends
		now := left()
		if now > last {
			break
		}
		last = now
		<-time.After(50 * time.Millisecond)
	}
	// A store that lost it has it again.
	server.Do(t.Context(), "flushall")
	for left() <= 0 {
		<-time.After(50 * time.Millisecond)
	}
	if locked, err := there.TryLock(t.Context(), "job"); locked || err != nil {
		t.Errorf("a second holder: %v, %v", locked, err)
	}
}

func TestShared_SleeperWritesNothingOfACertificateThatAnotherTookOver(t *testing.T) {
	t.Parallel()
	const lock, key = "issue_cert_shop.test", "certificates/ca.test-dir/shop.test/shop.test.key"
	server, here, there := gateways(t)
	if err := here.Lock(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	if err := here.Store(t.Context(), key, []byte("first")); err != nil {
		t.Fatal(err)
	}
	// It sleeps until its lease is over and another has it.
	here.held[lock].stop()
	server.Do(t.Context(), "del", "ropeline:{certs}:lease:"+lock)
	if err := there.Lock(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	if err := there.Store(t.Context(), key, []byte("second")); err != nil {
		t.Fatal(err)
	}
	if err := here.Store(t.Context(), key, []byte("late")); err == nil {
		t.Error("who slept past the end of the lease has written")
	}
	if got, err := there.Load(t.Context(), key); string(got) != "second" || err != nil {
		t.Errorf("got %q, %v; want what its holder wrote", got, err)
	}
	if err := here.Store(t.Context(), "certificates/ca.test-dir/other.test/other.test.key", nil); err != nil {
		t.Errorf("of another host: %v", err)
	}
	if err := here.Unlock(t.Context(), lock); err != nil {
		t.Fatal(err)
	}
	if locked, err := here.TryLock(t.Context(), lock); locked || err != nil {
		t.Errorf("what the sleeper unlocked was another's: %v, %v", locked, err)
	}
}
