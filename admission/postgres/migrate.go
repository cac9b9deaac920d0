package postgres

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"io/fs"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5/stdlib"
	"github.com/pressly/goose/v3"
	"github.com/pressly/goose/v3/database"
	"github.com/pressly/goose/v3/lock"
	"go.uber.org/zap"
)

//go:embed migrations/*.sql
var migrations embed.FS

// Other programs may keep their migrations in the same database.
const (
	migrationsTable = "ropeline_migrations"
	migrationsLock  = "ropeline_migrations_lock"
)

// migrate brings the tables to the version of this program. Several gateways
// may do so at once: one does, by a lock that is a row with an end, since
// through a pooler a session is nobody's own.
func (d *Database) migrate(ctx context.Context) (err error) {
	// Not the pool's connections: the lock needs one beside that which migrates,
	// and the pool may have one alone.
	db := stdlib.OpenDB(*d.primary.Config().ConnConfig)
	defer func() { err = errors.Join(err, db.Close()) }()
	locker, err := lock.NewPostgresTableLocker(
		lock.WithTableName(migrationsLock),
		// A gateway that dies while it migrates holds up the others so long.
		lock.WithTableLeaseDuration(10*time.Second), lock.WithTableHeartbeatInterval(2*time.Second),
		lock.WithTableLockTimeout(250*time.Millisecond, 40),
		lock.WithTableLogger(slog.New(slog.DiscardHandler)),
	)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	files, err := fs.Sub(migrations, "migrations")
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	store, err := database.NewStore(database.DialectPostgres, migrationsTable)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	provider, err := goose.NewProvider("", db, files,
		goose.WithStore(store), goose.WithLocker(locker), goose.WithDisableGlobalRegistry(true))
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	// A role that may only read and write serves where another one migrated.
	look, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	if current, target, err := provider.GetVersions(look); err == nil && current >= target {
		return nil
	}
	results, err := provider.Up(ctx)
	if err != nil {
		return fmt.Errorf("migrate: %w", err)
	}
	for _, r := range results {
		d.log.Info("database migrated", zap.Int64("version", r.Source.Version), zap.Duration("took", r.Duration))
	}
	return nil
}

// keep migrates the database when it answers, then keeps its partitions, until
// ctx ends.
func (d *Database) keep(ctx context.Context) {
	migrating := health{log: d.log, bad: "database not migrated, records are spooled", good: "database answers"}
	var pause pause
	for {
		err := d.migrate(ctx)
		if err == nil {
			migrating.is(nil)
			break
		}
		if ctx.Err() != nil {
			return
		}
		migrating.is(err)
		d.refused.Store(err.Error())
		pause.wait(ctx)
	}
	keeping := health{log: d.log, bad: "partitions not kept", good: "partitions kept again"}
	for first := true; ; first = false {
		err := d.keepPartitions(ctx)
		if first {
			close(d.migrated) // now nothing has to move out of the default partition
		}
		if ctx.Err() != nil {
			return
		}
		keeping.is(err)
		// What gateways that are gone left on this machine.
		d.spool.adopt(func(records int64) { d.waiting.Add(records) })
		wait := d.keepEvery
		if err != nil {
			wait = min(wait, time.Minute)
		}
		select {
		case <-ctx.Done():
			return
		case <-time.After(wait):
		}
	}
}
