package catalog

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"go.uber.org/zap"
)

const (
	// lookEvery is how often a gateway looks whether there is a newer snapshot:
	// a change must take effect everywhere within a second.
	lookEvery = 400 * time.Millisecond

	// askEvery is how often the database itself is asked where there is a shelf.
	// A shelf that lost its data, or missed a change, is behind for so long.
	askEvery = 10 * time.Second

	// patience bounds one look.
	patience = 5 * time.Second
)

// Shelf is where gateways share the latest snapshot, between the memory of each
// and the database. Implementations are safe for concurrent use.
type Shelf interface {
	// Put keeps a snapshot, unless a newer one is kept.
	Put(ctx context.Context, s Snapshot) error

	// Get returns what is kept if it is newer than a version, and which version
	// is kept; 0: none.
	Get(ctx context.Context, than int64) (s Snapshot, version int64, err error)
}

// Catalog is what a gateway knows of the activities made through the API. Reads
// are from memory; a change goes to the database first, then to the shelf, by
// which all gateways have it within a second. It is safe for concurrent use.
type Catalog struct {
	database Database
	shelf    Shelf // nil: none
	log      *zap.Logger

	now   atomic.Pointer[Snapshot]
	newer chan struct{} // of one: now was replaced

	away  bool      // the last look failed; of the one that looks
	asked time.Time // when the database was; of the one that looks
}

// New returns a catalog that knows of nothing yet. shelf may be nil.
func New(database Database, shelf Shelf, log *zap.Logger) *Catalog {
	c := &Catalog{database: database, shelf: shelf, log: log.Named("catalog"), newer: make(chan struct{}, 1)}
	c.now.Store(&Snapshot{System: Defaults()})
	return c
}

// Snapshot returns what is known now. It must not be changed.
func (c *Catalog) Snapshot() Snapshot { return *c.now.Load() }

// Run keeps the catalog up to date until ctx ends. It calls changed after each
// change, its own or another gateway's, and again a little later where that
// fails.
func (c *Catalog) Run(ctx context.Context, changed func(context.Context) error) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	told := true
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-look.C:
			c.Look(ctx)
		case <-c.newer:
			told = false
		}
		if !told {
			err := changed(ctx)
			told = err == nil
			if err != nil && ctx.Err() == nil {
				c.log.Error("changed activities not in force, trying again", zap.Error(err))
			}
		}
	}
}

// Look looks whether there is a newer snapshot. It must not be called at the
// same time as Run.
func (c *Catalog) Look(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	err := c.look(ctx)
	switch {
	case ctx.Err() != nil && errors.Is(ctx.Err(), context.Canceled):
	case err != nil && !c.away:
		c.away = true
		c.log.Warn("activities not looked at, those known stay", zap.Error(err))
	case err == nil && c.away:
		c.away = false
		c.log.Info("activities looked at again")
	}
}

// look asks the nearest layer. Where the shelf has nothing, or cannot be asked,
// the database is asked; and now and then in any case.
func (c *Catalog) look(ctx context.Context) error {
	known := c.Snapshot().Version
	if c.shelf != nil {
		s, version, err := c.shelf.Get(ctx, known)
		if version > known {
			c.take(s)
			return nil
		}
		if err == nil && version == known && known > 0 && time.Since(c.asked) < askEvery {
			return nil
		}
		if err == nil && version < known { // it lost what it had
			if err := c.shelf.Put(ctx, c.Snapshot()); err != nil {
				return fmt.Errorf("share activities: %w", err)
			}
		}
	}
	version, err := c.database.Version(ctx)
	if err != nil {
		return err
	}
	c.asked = time.Now()
	if version <= known {
		return nil
	}
	return c.refresh(ctx)
}

// refresh reads the database and shares what it read.
func (c *Catalog) refresh(ctx context.Context) error {
	s, err := c.database.Snapshot(ctx)
	if err != nil {
		return err
	}
	c.take(s)
	if c.shelf == nil {
		return nil
	}
	if err := c.shelf.Put(ctx, s); err != nil {
		return fmt.Errorf("share activities: %w", err)
	}
	return nil
}

// take has a snapshot known, unless a newer one is.
func (c *Catalog) take(s Snapshot) {
	for {
		known := c.now.Load()
		if s.Version <= known.Version {
			return
		}
		if c.now.CompareAndSwap(known, &s) {
			break
		}
	}
	select {
	case c.newer <- struct{}{}:
	default:
	}
}

// Create keeps a new activity. Errors are those of Database.
func (c *Catalog) Create(ctx context.Context, a Activity) (Activity, error) {
	made, err := c.database.Create(ctx, a)
	return made, c.shared(ctx, err)
}

// Update replaces an activity. Errors are those of Database.
func (c *Catalog) Update(ctx context.Context, a Activity) (Activity, error) {
	made, err := c.database.Update(ctx, a)
	return made, c.shared(ctx, err)
}

// Delete removes an activity. Errors are those of Database.
func (c *Catalog) Delete(ctx context.Context, id, version int64) error {
	return c.shared(ctx, c.database.Delete(ctx, id, version))
}

// SetSystem replaces the system's values. Errors are those of Database.
func (c *Catalog) SetSystem(ctx context.Context, s System) error {
	return c.shared(ctx, c.database.SetSystem(ctx, s))
}

// shared tells other gateways of a change that the database has. What cannot be
// told now they learn from the database themselves, a little later.
func (c *Catalog) shared(ctx context.Context, err error) error {
	if err != nil {
		return err
	}
	if err := c.refresh(ctx); err != nil {
		c.log.Warn("change of an activity not shared, other gateways learn of it later", zap.Error(err))
	}
	return nil
}
