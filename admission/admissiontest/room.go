package admissiontest

import (
	"context"
	"testing"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
)

// NewRing returns a keyring of one key, made for the test.
func NewRing(t testing.TB) *admission.Keyring {
	t.Helper()
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

// RunRoom opens the room of a line in a gateway, and runs it until the test ends,
// or stop is called, which waits for its end. Rooms of one line share a store, a
// ring and a secret.
func RunRoom(t testing.TB, store admission.Store, id admission.LineID, gateway string, ring *admission.Keyring, settings admission.Settings) (room *admission.Room, stop func()) {
	t.Helper()
	room, err := admission.OpenRoom(t.Context(), store, id, gateway, admission.Secret("secret"), ring, settings, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan struct{})
	go func() { defer close(done); _ = room.Run(ctx) }()
	stop = func() { cancel(); <-done }
	t.Cleanup(stop)
	return room, stop
}
