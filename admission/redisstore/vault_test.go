package redisstore_test

import (
	"errors"
	"io/fs"
	"slices"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

func TestVault_KeepsValuesForAllGateways(t *testing.T) {
	t.Parallel()
	for name, o := range map[string]redisstore.Options{
		"single":  defaults(redisstore.Single, redistest.Single(t).Addr),
		"cluster": defaults(redisstore.Cluster, redistest.Cluster(t).Addrs...),
	} {
		t.Run(name, func(t *testing.T) {
			here, there := connect(t, o).Vault("certs"), connect(t, o).Vault("certs")
			if _, _, err := there.Get(bounded(t), "a/b.crt"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what was never written: got error %v, want that it does not exist", err)
			}
			value := "\x00\xff binary and spaces "
			for _, name := range []string{"a/b.crt", "a/b.key"} {
				if put, err := here.Put(bounded(t), name, []byte(value), "", ""); !put || err != nil {
					t.Fatalf("put: %v, %v", put, err)
				}
			}
			got, written, err := there.Get(bounded(t), "a/b.crt")
			if string(got) != value || err != nil || time.Since(written).Abs() > time.Hour {
				t.Errorf("got %q of %v, %v; want %q of just now", got, written, err, value)
			}
			names, err := there.Names(bounded(t))
			if slices.Sort(names); !slices.Equal(names, []string{"a/b.crt", "a/b.key"}) || err != nil {
				t.Errorf("got names %q, %v", names, err)
			}
			if err := there.Remove(bounded(t), "a/b.crt", "never"); err != nil {
				t.Fatal(err)
			}
			if _, _, err := here.Get(bounded(t), "a/b.crt"); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("what was removed: got error %v, want that it does not exist", err)
			}
		})
	}
}

func TestVault_ValuesAndLeasesExpire(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t)
	vault := connect(t, defaults(redisstore.Single, server.Addr)).Vault("certs")
	if _, err := vault.Put(bounded(t), "a", []byte("x"), "", ""); err != nil {
		t.Fatal(err)
	}
	if _, err := vault.Hold(bounded(t), "job", "me", time.Minute); err != nil {
		t.Fatal(err)
	}
	for _, key := range server.Do(t.Context(), "keys", "*").([]any) {
		if left := server.Do(t.Context(), "ttl", key).(int64); left <= 0 {
			t.Errorf("%s expires in %d s, want a time", key, left)
		}
	}
	server.Kill()
	if _, err := vault.Put(bounded(t), "a", []byte("y"), "", ""); !errors.Is(err, admission.ErrUnavailable) {
		t.Errorf("without Redis: got error %v, want that the store is unavailable", err)
	}
}

func TestVault_OneHoldsALeaseAndWritesUnderIt(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t)
	vault := connect(t, defaults(redisstore.Single, server.Addr)).Vault("certs")
	hold := func(holder string, life time.Duration, want bool) {
		t.Helper()
		if got, err := vault.Hold(bounded(t), "job", holder, life); got != want || err != nil {
			t.Fatalf("%s holds: %v, %v; want %v", holder, got, err, want)
		}
	}
	put := func(holder string, want bool) {
		t.Helper()
		if got, err := vault.Put(bounded(t), "a", []byte(holder), "job", holder); got != want || err != nil {
			t.Fatalf("%s writes: %v, %v; want %v", holder, got, err, want)
		}
	}
	hold("first", time.Hour, true)
	hold("first", time.Hour, true)
	hold("second", time.Hour, false)
	put("first", true)
	put("second", false)
	hold("first", time.Millisecond, true) // it sleeps past its end
	for taken := false; !taken; {         // or the test never ends
		var err error
		if taken, err = vault.Hold(bounded(t), "job", "second", time.Hour); err != nil {
			t.Fatal(err)
		}
	}
	put("first", false)
	put("second", true)
	if err := vault.Free(bounded(t), "job", "first"); err != nil {
		t.Fatal(err)
	}
	put("second", true) // another cannot give it back
	if err := vault.Free(bounded(t), "job", "second"); err != nil {
		t.Fatal(err)
	}
	put("second", false)
	hold("first", time.Hour, true)
}
