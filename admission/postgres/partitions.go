package postgres

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap"
)

const (
	keepEvery = time.Hour
	ahead     = 2 // months that have a partition before they begin

	// keepTimeout bounds a transaction that makes or drops a partition. It
	// locks the table, which stops writers; waiting long for the lock would
	// stop them, too.
	keepTimeout = 30 * time.Second
	lockTimeout = 5 * time.Second

	monthForm = "2006_01"
)

// partitioned are the tables that are kept by the month, and the column that
// says which.
var partitioned = []struct{ table, column string }{
	{"queue_entries", "created_at"}, {"queue_events", "created_at"}, {"line_samples", "minute"},
}

// monthOf returns the beginning of the month, in UTC.
func monthOf(t time.Time) time.Time {
	t = t.UTC()
	return time.Date(t.Year(), t.Month(), 1, 0, 0, 0, 0, time.UTC)
}

// keepPartitions makes the partitions of this month and the next ones and drops
// those that are older than the retention. It tells the metric what it left.
func (d *Database) keepPartitions(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 2*keepTimeout)
	defer cancel()
	now := d.now()
	var errs []error
	for _, p := range partitioned {
		for i := range ahead + 1 {
			errs = append(errs, d.makePartition(ctx, p.table, p.column, monthOf(now).AddDate(0, i, 0)))
		}
		if d.retention > 0 {
			errs = append(errs, d.dropPartitions(ctx, p.table, p.column, monthOf(now.Add(-d.retention))))
		}
	}
	missing := false
	for _, p := range partitioned {
		months, err := partitions(ctx, d.primary, p.table)
		if err != nil {
			return errors.Join(append(errs, err)...)
		}
		if !months[monthOf(now).AddDate(0, 1, 0)] {
			missing = true
		}
	}
	d.partitionMissing.Store(missing)
	return errors.Join(errs...)
}

// querier is a pool or a transaction.
type querier interface {
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
}

// partitions returns the months that a table has a partition for.
func partitions(ctx context.Context, q querier, table string) (map[time.Time]bool, error) {
	rows, err := q.Query(ctx, `
		SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
		WHERE i.inhparent = $1::text::regclass`, table)
	if err != nil {
		return nil, fmt.Errorf("list the partitions of %s: %w", table, err)
	}
	names, err := pgx.CollectRows(rows, pgx.RowTo[string])
	if err != nil {
		return nil, fmt.Errorf("list the partitions of %s: %w", table, err)
	}
	months := map[time.Time]bool{}
	for _, name := range names {
		if month, err := time.Parse(monthForm, strings.TrimPrefix(name, table+"_")); err == nil {
			months[month] = true
		}
	}
	return months, nil
}

// makePartition makes the partition of a month unless it is there. What lies in
// the default partition of that month moves into it.
func (d *Database) makePartition(ctx context.Context, table, column string, month time.Time) error {
	if months, err := partitions(ctx, d.primary, table); err != nil || months[month] {
		return err
	}
	name := table + "_" + month.Format(monthForm)
	from, to := month, month.AddDate(0, 1, 0)
	err := d.alone(ctx, table, func(tx pgx.Tx) error {
		if months, err := partitions(ctx, tx, table); err != nil || months[month] {
			return err // another gateway was first
		}
		// Names and bounds of a partition cannot be parameters. They are made
		// here, of a table's name and a month.
		for _, step := range []struct {
			sql  string
			args []any
		}{
			{`CREATE TABLE ` + name + ` (LIKE ` + table + ` INCLUDING DEFAULTS INCLUDING CONSTRAINTS)`, nil},
			// Not the default partition alone: a query that was planned without
			// the new one would wait for it, and then find the rows in neither.
			{`LOCK TABLE ` + table + ` IN ACCESS EXCLUSIVE MODE`, nil},
			{`WITH moved AS (DELETE FROM ` + table + `_default WHERE ` + column + ` >= $1 AND ` + column + ` < $2 RETURNING *)
				INSERT INTO ` + name + ` SELECT * FROM moved`, []any{from, to}},
			{fmt.Sprintf(`ALTER TABLE %s ATTACH PARTITION %s FOR VALUES FROM ('%s') TO ('%s')`,
				table, name, from.Format(time.RFC3339), to.Format(time.RFC3339)), nil},
		} {
			if _, err := tx.Exec(ctx, step.sql, step.args...); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("make partition %s: %w", name, err)
	}
	return nil
}

// dropPartitions drops the partitions of the months before one, and what is as
// old in the default partition.
func (d *Database) dropPartitions(ctx context.Context, table, column string, before time.Time) error {
	months, err := partitions(ctx, d.primary, table)
	if err != nil {
		return err
	}
	for month := range months {
		if !month.Before(before) {
			continue
		}
		name := table + "_" + month.Format(monthForm)
		err := d.alone(ctx, table, func(tx pgx.Tx) error {
			if months, err := partitions(ctx, tx, table); err != nil || !months[month] {
				return err
			}
			// Not CONCURRENTLY: PostgreSQL refuses that beside a default partition.
			if _, err := tx.Exec(ctx, `ALTER TABLE `+table+` DETACH PARTITION `+name); err != nil {
				return err
			}
			_, err := tx.Exec(ctx, `DROP TABLE `+name)
			return err
		})
		if err != nil {
			return fmt.Errorf("drop partition %s: %w", name, err)
		}
		d.log.Info("partition dropped", zap.String("partition", name))
	}
	if _, err := d.primary.Exec(ctx, `DELETE FROM `+table+`_default WHERE `+column+` < $1`, before); err != nil {
		return fmt.Errorf("empty the default partition of %s: %w", table, err)
	}
	return nil
}

// alone runs one transaction on a table's partitions while no other gateway
// runs one.
func (d *Database) alone(ctx context.Context, table string, do func(pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, keepTimeout)
	defer cancel()
	return pgx.BeginFunc(ctx, d.primary, func(tx pgx.Tx) error {
		if err := bound(ctx, tx, keepTimeout); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT set_config('lock_timeout', $1, true)`, fmt.Sprint(lockTimeout.Milliseconds())); err != nil {
			return err
		}
		if _, err := tx.Exec(ctx, `SELECT pg_advisory_xact_lock(hashtextextended('ropeline partitions of ' || $1, 0))`, table); err != nil {
			return err
		}
		return do(tx)
	})
}
