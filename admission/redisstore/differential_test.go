package redisstore_test

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
)

// openMemory opens the store that the scripts are compared with.
func openMemory(*testing.T) admissiontest.Bench {
	now := time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)
	store := admission.NewMemory(func() time.Time { return now })
	return admissiontest.Bench{
		Store:   func() admission.Store { return store },
		Advance: func(d time.Duration) { now = now.Add(d) },
	}
}

// TestStore_AnswersLikeTheMemoryStore lives random lives on both.
// -rapid.checks=N makes it longer.
func TestStore_AnswersLikeTheMemoryStore(t *testing.T) {
	admissiontest.Differential(t, openMemory, openBench)
}
