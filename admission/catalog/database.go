package catalog

import (
	"context"
	"errors"
	"fmt"
)

// What a change of an activity may be refused for.
var (
	// ErrNotFound: there is no such activity.
	ErrNotFound = errors.New("no such activity")

	// ErrChanged: the activity has another version than the one the change names.
	ErrChanged = errors.New("the activity was changed meanwhile")

	// ErrTaken: another activity has the id, or the tenant's sku.
	ErrTaken = errors.New("another activity has this id or sku")

	// ErrUnavailable: the database cannot be asked now, or there is none.
	ErrUnavailable = errors.New("database unavailable")

	// ErrNoDatabase: there is none. It is an ErrUnavailable.
	ErrNoDatabase = fmt.Errorf("%w: the file names none", ErrUnavailable)
)

// Snapshot is all that was made through the API, at one version. The zero
// Snapshot is older than any.
type Snapshot struct {
	Version    int64      `json:"version"` // grows with every change of anything in it
	System     System     `json:"system"`
	Activities []Activity `json:"activities"` // by ascending id
}

// Database keeps the activities for good. Every change moves the snapshot's
// version on in the same transaction, so that versions order changes whichever
// gateway made them.
//
// Implementations are safe for concurrent use and return ErrUnavailable
// (wrapped) where the database could not be asked.
type Database interface {
	// Snapshot returns what is kept now.
	Snapshot(ctx context.Context) (Snapshot, error)

	// Version returns the snapshot's version alone.
	Version(ctx context.Context) (int64, error)

	// Create keeps a new activity and returns it with its version and times. An
	// ID of 0 is chosen by the database, above any chosen before. ErrTaken
	// where the id, or the sku of the tenant, is in use.
	Create(ctx context.Context, a Activity) (Activity, error)

	// Update replaces the activity of a.ID, if it still has a.Version, and
	// returns it with the next one. Tenant and times are kept, CreatedAt included.
	// ErrNotFound, ErrChanged, ErrTaken.
	Update(ctx context.Context, a Activity) (Activity, error)

	// Delete removes an activity, if it still has the version; what the journal
	// knows of it stays. ErrNotFound, ErrChanged.
	Delete(ctx context.Context, id, version int64) error

	// SetSystem replaces the system's values.
	SetSystem(ctx context.Context, s System) error
}
