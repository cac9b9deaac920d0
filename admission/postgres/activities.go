package postgres

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/ropeline/ropeline/admission/catalog"
)

// activityColumns are in the order in which scanActivity reads them.
const activityColumns = `id, tenant_id, name, sku, initial_stock, start_at, end_at, status, config::text, version, created_at, updated_at`

func scanActivity(row pgx.CollectableRow) (a catalog.Activity, err error) {
	var config string
	if err := row.Scan(&a.ID, &a.TenantID, &a.Name, &a.SKU, &a.InitialStock, &a.StartAt, &a.EndAt, &a.Status, &config,
		&a.Version, &a.CreatedAt, &a.UpdatedAt); err != nil {
		return a, err
	}
	if err := json.Unmarshal([]byte(config), &a.Config); err != nil {
		return a, fmt.Errorf("activity %d: config: %w", a.ID, err)
	}
	a.StartAt, a.EndAt = inUTC(a.StartAt), inUTC(a.EndAt)
	a.CreatedAt, a.UpdatedAt = a.CreatedAt.UTC(), a.UpdatedAt.UTC()
	return a, nil
}

func inUTC(t *time.Time) *time.Time {
	if t == nil {
		return nil
	}
	utc := t.UTC()
	return &utc
}

// Snapshot implements catalog.Database.
func (d *Database) Snapshot(ctx context.Context) (snapshot catalog.Snapshot, err error) {
	err = ask(ctx, d.primary, checkTimeout, oneView, func(ctx context.Context, tx pgx.Tx) error {
		snapshot = catalog.Snapshot{System: catalog.Defaults()}
		var system *string
		if err := tx.QueryRow(ctx, `SELECT version, system::text FROM catalog`).Scan(&snapshot.Version, &system); err != nil {
			return err
		}
		if system != nil {
			if err := json.Unmarshal([]byte(*system), &snapshot.System); err != nil {
				return fmt.Errorf("system: %w", err)
			}
		}
		rows, err := tx.Query(ctx, `SELECT `+activityColumns+` FROM activities ORDER BY id`)
		if err != nil {
			return err
		}
		snapshot.Activities, err = pgx.CollectRows(rows, scanActivity)
		return err
	})
	if err != nil {
		return catalog.Snapshot{}, fmt.Errorf("read the activities: %w", err)
	}
	return snapshot, nil
}

// Version implements catalog.Database.
func (d *Database) Version(ctx context.Context) (version int64, err error) {
	err = ask(ctx, d.primary, checkTimeout, pgx.TxOptions{AccessMode: pgx.ReadOnly}, func(ctx context.Context, tx pgx.Tx) error {
		return tx.QueryRow(ctx, `SELECT version FROM catalog`).Scan(&version)
	})
	if err != nil {
		return 0, fmt.Errorf("read the activities' version: %w", err)
	}
	return version, nil
}

// change runs a change of anything in the snapshot. It moves the version on
// first: that row is what changes wait for each other at.
func (d *Database) change(ctx context.Context, do func(context.Context, pgx.Tx) error) error {
	return ask(ctx, d.primary, checkTimeout, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		if err := bound(ctx, tx, checkTimeout); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `UPDATE catalog SET version = version + 1`); err != nil {
			return err
		}
		return taken(do(ctx, tx))
	})
}

// taken makes ErrTaken of a broken uniqueness.
func taken(err error) error {
	var refusal *pgconn.PgError
	if errors.As(err, &refusal) && refusal.Code == "23505" {
		return catalog.ErrTaken
	}
	return err
}

// Create implements catalog.Database. Ids that it chooses begin at 1000000001.
func (d *Database) Create(ctx context.Context, a catalog.Activity) (created catalog.Activity, err error) {
	config, err := json.Marshal(a.Config)
	if err != nil {
		return catalog.Activity{}, fmt.Errorf("create an activity: %w", err)
	}
	err = d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		id := a.ID
		for used := id == 0; used; {
			// Who made an activity may have chosen an id that the sequence comes to.
			if err := tx.QueryRow(ctx, `
				SELECT next.id, EXISTS (SELECT FROM activities AS a WHERE a.id = next.id)
				FROM (SELECT nextval('activity_ids') AS id) AS next`).Scan(&id, &used); err != nil {
				return err
			}
		}
		rows, err := tx.Query(ctx, `
			INSERT INTO activities (id, tenant_id, name, sku, initial_stock, start_at, end_at, status, config, version, created_at, updated_at)
			VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9::text::jsonb, 1, now(), now())
			RETURNING `+activityColumns,
			id, a.TenantID, a.Name, a.SKU, a.InitialStock, a.StartAt, a.EndAt, string(a.Status), string(config))
		if err != nil {
			return err
		}
		created, err = pgx.CollectExactlyOneRow(rows, scanActivity)
		return err
	})
	if err != nil {
		return catalog.Activity{}, fmt.Errorf("create an activity: %w", err)
	}
	return created, nil
}

// Update implements catalog.Database.
func (d *Database) Update(ctx context.Context, a catalog.Activity) (updated catalog.Activity, err error) {
	config, err := json.Marshal(a.Config)
	if err != nil {
		return catalog.Activity{}, fmt.Errorf("update activity %d: %w", a.ID, err)
	}
	err = d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		rows, err := tx.Query(ctx, `
			UPDATE activities SET name = $3, sku = $4, initial_stock = $5, start_at = $6, end_at = $7, status = $8,
				config = $9::text::jsonb, version = version + 1, updated_at = now()
			WHERE id = $1 AND version = $2
			RETURNING `+activityColumns,
			a.ID, a.Version, a.Name, a.SKU, a.InitialStock, a.StartAt, a.EndAt, string(a.Status), string(config))
		if err != nil {
			return err
		}
		updated, err = pgx.CollectExactlyOneRow(rows, scanActivity)
		if errors.Is(err, pgx.ErrNoRows) {
			return missed(ctx, tx, a.ID)
		}
		return err
	})
	if err != nil {
		return catalog.Activity{}, fmt.Errorf("update activity %d: %w", a.ID, err)
	}
	return updated, nil
}

// missed tells why no row had the id and the version. Nothing can have changed
// since: changes wait for each other.
func missed(ctx context.Context, tx pgx.Tx, id int64) error {
	var there bool
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM activities WHERE id = $1)`, id).Scan(&there); err != nil {
		return err
	}
	if there {
		return catalog.ErrChanged
	}
	return catalog.ErrNotFound
}

// Delete implements catalog.Database.
func (d *Database) Delete(ctx context.Context, id, version int64) error {
	err := d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		gone, err := tx.Exec(ctx, `DELETE FROM activities WHERE id = $1 AND version = $2`, id, version)
		if err == nil && gone.RowsAffected() == 0 {
			return missed(ctx, tx, id)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("delete activity %d: %w", id, err)
	}
	return nil
}

// SetSystem implements catalog.Database.
func (d *Database) SetSystem(ctx context.Context, s catalog.System) error {
	system, err := json.Marshal(s)
	if err != nil {
		return fmt.Errorf("set the system's values: %w", err)
	}
	err = d.change(ctx, func(ctx context.Context, tx pgx.Tx) error {
		_, err := tx.Exec(ctx, `UPDATE catalog SET system = $1::text::jsonb`, string(system))
		return err
	})
	if err != nil {
		return fmt.Errorf("set the system's values: %w", err)
	}
	return nil
}
