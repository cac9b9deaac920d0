package admission_test

import (
	"bytes"
	"compress/gzip"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ropeline/ropeline/admission"
)

// oldFile is a file of form 1. Of five visitors ann (1) and another (2) are
// inside; zoe (3), bob (4) and kim (5) waited, and bob left.
func oldFile(t *testing.T) []byte {
	t.Helper()
	packed, err := os.Open("testdata/form-1.db.gz")
	if err != nil {
		t.Fatal(err)
	}
	defer packed.Close()
	plain, err := gzip.NewReader(packed)
	if err != nil {
		t.Fatal(err)
	}
	content, err := io.ReadAll(plain)
	if err != nil {
		t.Fatal(err)
	}
	return content
}

func TestMigrate_AFileOfAnOlderFormKeepsEveryPlace(t *testing.T) {
	c := newClock()
	c.advance(5 * time.Second)
	s := openShelf(t, c)
	s.reopen(s.write(oldFile(t)))
	limits := memoryLimits()
	limits.Capacity, limits.Burst = 2, 2
	for _, after := range []string{"it was brought to this form", "a crash", "another"} {
		line := s.begin(limits)
		if line.Epoch != 1 || line.Sessions != 2 || line.Waiting != 2 {
			t.Fatalf("after %s the line is %+v, want two inside and two who wait", after, line.Head)
		}
		_, places, err := s.store.Join(t.Context(), call(), after, []admission.Newcomer{
			{Visitor: "x", Identity: "ann"}, {Visitor: "x", Identity: "zoe"}, {Visitor: "x", Identity: "kim"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for i, want := range []admission.Place{{Number: 1, Visitor: "visitor-a"}, {Number: 3, Visitor: "visitor-c"}, {Number: 5, Visitor: "visitor-e"}} {
			if got := places[i]; got.Number != want.Number || got.Visitor != want.Visitor {
				t.Errorf("after %s the place of %s is %+v", after, want.Visitor, got)
			}
		}
		if e := s.knock("visitor-b", 2); e.Outcome != admission.EntryAdmitted {
			t.Errorf("after %s the session of 2 is %+v", after, e)
		}
		if e := s.knock("visitor-d", 4); e.Outcome != admission.EntryGone {
			t.Errorf("after %s the place that was given up is %+v", after, e)
		}
		s.crash()
	}
	keys, err := s.store.Keys(t.Context(), admission.NewKey())
	if err != nil || len(keys) != 1 || keys[0].ID != "k1" {
		t.Errorf("the keys are %v, %v", keys, err)
	}
	// Who left may come again, and is the later number from then on.
	for _, batch := range []string{"again", "and again"} {
		_, places, err := s.store.Join(t.Context(), call(), batch, []admission.Newcomer{{Visitor: "new", Identity: "bob"}})
		if err != nil || places[0].Number != 6 {
			t.Fatalf("bob's place is %+v, %v, want number 6", places, err)
		}
		s.crash()
		s.begin(limits)
	}
}

func TestMigrate_AnOlderFileThatIsDamagedIsLeftAlone(t *testing.T) {
	// A session that is too short, which the migration itself does not look at.
	path := filepath.Join(t.TempDir(), "line.db")
	if err := os.WriteFile(path, oldFile(t), 0o600); err != nil {
		t.Fatal(err)
	}
	change(t, path, func(tx *bolt.Tx) error {
		line := tx.Bucket([]byte("lines")).Bucket([]byte("demo:123"))
		return line.Bucket([]byte("sessions")).Put([]byte("visitor-a"), []byte("short"))
	})
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := admission.OpenMemory(path, nil); err == nil || !strings.Contains(err.Error(), "line demo:123: sessions") {
		t.Errorf("the damage is told as %v", err)
	}
	after, err := os.ReadFile(path)
	if err != nil || !bytes.Equal(before, after) {
		t.Errorf("the damaged file was written to: %v", err)
	}
}

func TestMigrate_AFileOfANewerFormIsRefused(t *testing.T) {
	s := openShelf(t, newClock())
	s.begin(memoryLimits())
	s.join("a", 1)
	path := s.copy()
	change(t, path, func(tx *bolt.Tx) error { return tx.Bucket([]byte("form")).Put([]byte("version"), []byte("99")) })
	_, err := admission.OpenMemory(path, nil)
	if err == nil || !strings.Contains(err.Error(), path) || !strings.Contains(err.Error(), "form 99") {
		t.Errorf("a file of form 99: %v", err)
	}
}

// change changes a file as no store would.
func change(t *testing.T, path string, do func(*bolt.Tx) error) {
	t.Helper()
	db, err := bolt.Open(path, 0o600, nil)
	if err != nil {
		t.Fatal(err)
	}
	if err := db.Update(do); err != nil {
		t.Fatal(err)
	}
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}
