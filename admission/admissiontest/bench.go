// Package admissiontest holds every implementation of admission.Store to the
// rules of the line. Store runs the named cases, Property and Differential run
// random lives of a line against a plain model and against another store. It
// is imported by tests alone.
//
// The cases are named for the invariants they show:
//
//	N  numbers are given once each, ascending
//	O  of two present visitors the lower number is served no later
//	C  active sessions never exceed capacity
//	R  turns never exceed rate × time + burst
//	A  admitting again gives the same session; a used number buys nothing
//	P  a place survives whatever happens to the store
//	F  what was never given is worth nothing
//	H  when in doubt, hold
package admissiontest

import (
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// Bench is a store on the bench: with a clock that stands still until it is
// advanced, and with the ways to break it.
type Bench struct {
	// Store returns the store as it is now: after Crash or Lose it may be
	// another value.
	Store func() admission.Store

	// Advance moves the store's clock.
	Advance func(time.Duration)

	// Crash kills the store's process between two steps, and opens it again
	// with what it had kept. Nil where a case of it cannot be made.
	Crash func()

	// Lose makes the store forget all it had. Nil as above.
	Lose func()

	// Keep remembers what the store has kept by now, and returns what puts it
	// back: a fail-over to a copy that is behind. Nil as above.
	Keep func() (restore func())

	// Shared tells that gateways of several processes use the store, so that a
	// line that is not found may be one that was lost: it settles before it
	// gives its first number.
	Shared bool
}

// Opener opens a store that is empty, and closes it when the test ends.
type Opener func(t *testing.T) Bench

// Store holds a store to the rules: a case for each failure that they prevent.
// Its sections run at the same time.
func Store(t *testing.T, open Opener) {
	for _, section := range []struct {
		name string
		hold func(t *testing.T, open Opener)
	}{
		{"N", numbers}, {"O", order}, {"C", capacity}, {"R", rate}, {"A", sessions}, {"P", places}, {"F", forgeries}, {"H", doubt},
		{"healing", healing}, {"identity", identities}, {"throttle", throttles}, {"override", overrides}, {"stock", stocks}, {"draw", draws}, {"passes", passes},
	} {
		t.Run(section.name, func(t *testing.T) {
			t.Parallel()
			section.hold(t, open)
		})
	}
}

// reporter is what the cases need of a *testing.T and the properties of a
// *rapid.T.
type reporter interface {
	Helper()
	Fatalf(format string, args ...any)
	Logf(format string, args ...any)
}

// usual are limits that let a case say only what it is about: ten seats, a
// release a second, a burst of ten.
func usual() admission.Limits {
	return admission.Limits{
		Mode: admission.ModeAuto, Capacity: 10, RatePerHour: 3600, Burst: 10,
		Claim: 90 * time.Second, Absence: time.Minute, HoldPlace: 15 * time.Minute,
		Idle: 10 * time.Minute, Max: time.Hour,
	}
}

// with returns limits after a change.
func with(l admission.Limits, change func(*admission.Limits)) admission.Limits {
	change(&l)
	return l
}

// full are limits of a shop that is full from the start: one seat, which the
// first visitor takes and keeps.
func full() admission.Limits {
	return with(usual(), func(l *admission.Limits) { l.Capacity, l.Idle, l.Max = 1, 24*time.Hour, 24*time.Hour })
}
