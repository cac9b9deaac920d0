package admission_test

import (
	"encoding/binary"
	"fmt"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ropeline/ropeline/admission"
)

// numbered are the numbers of the identities that are in the file.
func (s *shelf) numbered() (numbers []uint64) {
	s.t.Helper()
	s.leave("", 0) // so that all is written
	db, err := bolt.Open(s.copy(), 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	if err := db.View(func(tx *bolt.Tx) error {
		b := tx.Bucket([]byte("lines")).Bucket([]byte("demo:123")).Bucket([]byte("identities-by-number"))
		return b.ForEach(func(key, _ []byte) error {
			numbers = append(numbers, binary.BigEndian.Uint64(key))
			return nil
		})
	}); err != nil {
		s.t.Fatal(err)
	}
	return numbers
}

func TestFile_HasOneEntryForAnIdentityUntilAWeekAfterItJoined(t *testing.T) {
	s := openShelf(t, newClock())
	limits := memoryLimits()
	limits.Mode = admission.ModeHold
	come := func(batch string, people ...string) {
		t.Helper()
		newcomers := make([]admission.Newcomer, len(people))
		for i, who := range people {
			newcomers[i] = admission.Newcomer{Visitor: batch + who, Identity: who}
		}
		if _, _, err := s.store.Join(t.Context(), call(), batch, newcomers); err != nil {
			t.Fatal(err)
		}
	}
	s.begin(limits)
	come("first", "ann", "bob", "")
	if got := s.numbered(); !slices.Equal(got, []uint64{1, 2}) {
		t.Fatalf("after ann and bob joined: %v", got)
	}
	s.leave("firstann", 1)
	come("second", "ann", "zoe")
	if got := s.numbered(); !slices.Equal(got, []uint64{2, 4, 5}) {
		t.Fatalf("after ann left and came again: %v", got)
	}
	s.crash()
	s.clock.advance(7*24*time.Hour - time.Minute)
	s.begin(limits)
	come("third", "kim")
	if got := s.numbered(); !slices.Equal(got, []uint64{2, 4, 5, 6}) {
		t.Fatalf("a minute before the week is over: %v", got)
	}
	s.clock.advance(time.Minute)
	s.begin(limits)
	if got := s.numbered(); !slices.Equal(got, []uint64{6}) {
		t.Fatalf("a week after all but kim joined: %v", got)
	}
	if _, err := s.store.Reset(t.Context(), call(), 1); err != nil {
		t.Fatal(err)
	}
	come("fourth", "kim")
	if got := s.numbered(); !slices.Equal(got, []uint64{1}) {
		t.Fatalf("after a reset: %v", got)
	}
}

// BenchmarkFile_Join is a join that is written to the file with 31 others. The
// time of day is mostly the disk's; cpu-ns is the processor's.
func BenchmarkFile_Join(b *testing.B) {
	for _, known := range []bool{false, true} {
		name := "of a stranger"
		if known {
			name = "of an identity"
		}
		b.Run(name, func(b *testing.B) {
			store, err := admission.OpenMemory(filepath.Join(b.TempDir(), "line.db"), nil)
			if err != nil {
				b.Fatal(err)
			}
			go func() { _ = store.Run(b.Context()) }()
			limits := memoryLimits()
			limits.Mode = admission.ModeHold
			if _, err := store.Release(b.Context(), call(), limits, 0); err != nil {
				b.Fatal(err)
			}
			began := processorTime(b)
			b.ReportAllocs()
			b.ResetTimer()
			for i := 0; i < b.N; {
				together := make([]admission.Newcomer, min(32, b.N-i))
				for j := range together {
					together[j].Visitor = fmt.Sprintf("%026d", i)
					if known {
						together[j].Identity = fmt.Sprintf("%022x", uint64(i)*0x9E3779B97F4A7C15)
					}
					i++
				}
				if _, _, err := store.Join(b.Context(), call(), fmt.Sprint(i), together); err != nil {
					b.Fatal(err)
				}
			}
			b.ReportMetric(float64(processorTime(b)-began)/float64(b.N), "cpu-ns/op")
		})
	}
}

// processorTime is what this process has used.
func processorTime(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

func TestFile_ForgetsAnIdentityOfOnePlaceLongBeforeTheOthers(t *testing.T) {
	s := openShelf(t, newClock())
	limits := memoryLimits()
	limits.Mode = admission.ModeHold
	s.begin(limits)
	if _, _, err := s.store.Join(t.Context(), call(), "batch", []admission.Newcomer{
		{Visitor: "v1", Identity: "ann"}, {Visitor: "v2", Identity: "a solution", Once: true},
	}); err != nil {
		t.Fatal(err)
	}
	s.clock.advance(admission.OnceTime - time.Second)
	s.crash()
	s.begin(limits)
	if got := s.numbered(); !slices.Equal(got, []uint64{1, 2}) {
		t.Fatalf("a second before its time: %v", got)
	}
	s.clock.advance(time.Second)
	s.begin(limits)
	if got := s.numbered(); !slices.Equal(got, []uint64{1}) {
		t.Fatalf("at its time: %v", got)
	}
}
