package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
)

// sameFor is how far apart in time an event may be told twice and still be seen
// to be one. It bounds the partitions that are looked into.
const sameFor = 31 * 24 * time.Hour

// write writes a batch. One that was written before, in part or whole, changes
// nothing. A record that the database will never take is dropped.
func (d *Database) write(ctx context.Context, batch []record) error {
	refused, err := d.writeFit(ctx, batch)
	if err != nil {
		return err
	}
	written := len(batch) - refused
	d.waiting.Add(int64(-written))
	d.written.Add(int64(written))
	d.drop(refused)
	return nil
}

// writeFit writes a batch without the records that would hold up all others for
// ever, and returns how many those are.
func (d *Database) writeFit(ctx context.Context, batch []record) (refused int, err error) {
	err = d.writeAll(ctx, batch)
	switch {
	case err == nil:
		return 0, nil
	case !unfit(err):
		return 0, err
	case len(batch) == 1:
		d.log.Error("journal record refused", zap.Error(err))
		return 1, nil
	}
	for _, half := range [][]record{batch[:len(batch)/2], batch[len(batch)/2:]} {
		n, err := d.writeFit(ctx, half)
		if err != nil {
			return 0, err
		}
		refused += n
	}
	return refused, nil
}

// unfit says whether the data itself is at fault, so that trying again is no use.
func unfit(err error) bool {
	var refusal *pgconn.PgError
	// Classes: data exception, integrity constraint violation.
	return errors.As(err, &refusal) && (refusal.Code[:2] == "22" || refusal.Code[:2] == "23")
}

// lines are the names of those that a batch is about, each once.
type lines struct {
	tenants    []string
	activities []int64
	seen       map[admission.LineID]bool
}

func (l *lines) add(id admission.LineID) {
	if !l.seen[id] {
		l.seen[id] = true
		l.tenants, l.activities = append(l.tenants, id.Tenant), append(l.activities, id.Activity)
	}
}

// writeAll writes a batch in one transaction.
func (d *Database) writeAll(ctx context.Context, batch []record) error {
	ctx, cancel := context.WithTimeout(ctx, writeTimeout)
	defer cancel()
	var events, samples, changes [][]any
	var first, latest time.Time
	about := lines{seen: map[admission.LineID]bool{}}
	for _, r := range batch {
		switch {
		case r.Event != nil:
			e, at := r.Event, r.Event.At.Time()
			about.add(e.Line)
			if first.IsZero() || at.Before(first) {
				first = at
			}
			if at.After(latest) {
				latest = at
			}
			events = append(events, []any{at, e.Line.Tenant, e.Line.Activity, e.Epoch, e.Number,
				e.Visitor, e.UserHash, string(e.Kind), e.Wait.Microseconds()})
		case r.Sample != nil:
			s, at := r.Sample, r.Sample.At.Time()
			about.add(s.Line)
			samples = append(samples, []any{at.Truncate(time.Minute), s.Line.Tenant, s.Line.Activity, at, s.Epoch,
				s.Waiting, s.Turns, s.Sessions, s.Turned, s.Admitted, at, s.Turned, s.Admitted})
		case r.Change != nil:
			c := r.Change
			changes = append(changes, []any{c.ID, c.At, c.Actor, c.Role, c.Tenant, c.Action, c.Activity,
				orNull(c.Before), orNull(c.After), c.RequestID, c.Gateway})
		}
	}
	err := pgx.BeginFunc(ctx, d.primary, func(tx pgx.Tx) error {
		if err := bound(ctx, tx, writeTimeout); err != nil {
			return err
		}
		if len(events) > 0 {
			if err := writeEvents(ctx, tx, about, events, first.Add(-sameFor), latest.Add(sameFor)); err != nil {
				return err
			}
		}
		if len(samples) > 0 {
			if err := writeSamples(ctx, tx, samples); err != nil {
				return err
			}
		}
		if len(changes) > 0 {
			return writeChanges(ctx, tx, changes)
		}
		return nil
	})
	if err != nil {
		return fmt.Errorf("write %d records: %w", len(batch), err)
	}
	return nil
}

// bound has the server end a transaction whose client is gone without a word,
// so that its locks do not stop the other gateways.
func bound(ctx context.Context, tx pgx.Tx, limit time.Duration) error {
	_, err := tx.Exec(ctx, `SELECT set_config('statement_timeout', $1, true),
		set_config('idle_in_transaction_session_timeout', $1, true)`, fmt.Sprint(limit.Milliseconds()))
	return err
}

// stage copies rows into a table of this transaction, in the form of another.
func stage(ctx context.Context, tx pgx.Tx, name, like string, columns []string, rows [][]any) error {
	if _, err := tx.Exec(ctx, `CREATE TEMPORARY TABLE `+name+` (LIKE `+like+`) ON COMMIT DROP`); err != nil {
		return err
	}
	_, err := tx.CopyFrom(ctx, pgx.Identifier{name}, columns, pgx.CopyFromRows(rows))
	return err
}

// The columns in the order in which rows are staged.
var (
	eventColumns = []string{"created_at", "tenant_id", "activity_id", "epoch", "seq_number",
		"visitor", "user_hash", "kind", "wait_us"}
	sampleColumns = []string{"minute", "tenant_id", "activity_id", "at", "epoch",
		"waiting", "turns", "sessions", "turned", "admitted", "first_at", "first_turned", "first_admitted"}
	changeColumns = []string{"id", "created_at", "actor", "role", "tenant_id", "action", "activity_id",
		"before", "after", "request_id", "gateway"}
)

// writeEvents writes each event once, whenever and by whichever gateway it was
// told. No constraint can say so: one over all partitions has to hold the time,
// and that may differ. So the writers of a line take turns, and look.
func writeEvents(ctx context.Context, tx pgx.Tx, about lines, events [][]any, from, to time.Time) error {
	if err := stage(ctx, tx, "staged_events", "queue_events", eventColumns, events); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `
		SELECT pg_advisory_xact_lock(hashtextextended(activity || ':' || tenant, 0))
		FROM (SELECT * FROM unnest($1::text[], $2::bigint[]) AS line (tenant, activity) ORDER BY activity, tenant) AS lines`,
		about.tenants, about.activities); err != nil {
		return err
	}
	if _, err := tx.Exec(ctx, `
		INSERT INTO queue_entries (created_at, tenant_id, activity_id, epoch, seq_number, visitor, user_hash)
		SELECT DISTINCT ON (visitor, activity_id, tenant_id, epoch)
			created_at, tenant_id, activity_id, epoch, seq_number, visitor, user_hash
		FROM staged_events AS s
		WHERE kind = $1 AND NOT EXISTS (
			SELECT FROM queue_entries AS e
			WHERE e.visitor = s.visitor AND e.activity_id = s.activity_id AND e.tenant_id = s.tenant_id
			  AND e.epoch = s.epoch AND e.created_at BETWEEN $2 AND $3)
		ORDER BY visitor, activity_id, tenant_id, epoch, created_at
		ON CONFLICT DO NOTHING`, string(admission.EventJoined), from, to); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO queue_events (created_at, tenant_id, activity_id, epoch, seq_number, visitor, user_hash, kind, wait_us)
		SELECT DISTINCT ON (visitor, activity_id, tenant_id, epoch, kind)
			created_at, tenant_id, activity_id, epoch, seq_number, visitor, user_hash, kind, wait_us
		FROM staged_events AS s
		WHERE kind <> $1 AND NOT EXISTS (
			SELECT FROM queue_events AS e
			WHERE e.visitor = s.visitor AND e.activity_id = s.activity_id AND e.tenant_id = s.tenant_id
			  AND e.epoch = s.epoch AND e.kind = s.kind AND e.created_at BETWEEN $2 AND $3)
		ORDER BY visitor, activity_id, tenant_id, epoch, kind, created_at
		ON CONFLICT DO NOTHING`, string(admission.EventJoined), from, to)
	return err
}

// writeSamples keeps of each line's minute the last sample and the counters of
// the first, in whichever order they come. Rows are locked in one order, so
// that gateways do not wait for each other in a circle.
func writeSamples(ctx context.Context, tx pgx.Tx, samples [][]any) error {
	if err := stage(ctx, tx, "staged_samples", "line_samples", sampleColumns, samples); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO line_samples AS old (minute, tenant_id, activity_id, at, epoch, waiting, turns, sessions, turned, admitted,
			first_at, first_turned, first_admitted)
		SELECT minute, tenant_id, activity_id, l.at, l.epoch, l.waiting, l.turns, l.sessions, l.turned, l.admitted,
			f.first_at, f.first_turned, f.first_admitted
		FROM (SELECT DISTINCT ON (activity_id, tenant_id, minute) * FROM staged_samples
			ORDER BY activity_id, tenant_id, minute, at DESC) AS l
		JOIN (SELECT DISTINCT ON (activity_id, tenant_id, minute)
				activity_id, tenant_id, minute, first_at, first_turned, first_admitted FROM staged_samples
			ORDER BY activity_id, tenant_id, minute, at) AS f USING (activity_id, tenant_id, minute)
		ORDER BY activity_id, tenant_id, minute
		ON CONFLICT (activity_id, tenant_id, minute) DO UPDATE SET
			(at, epoch, waiting, turns, sessions, turned, admitted) = (
				SELECT new.* FROM (SELECT excluded.at, excluded.epoch, excluded.waiting, excluded.turns, excluded.sessions,
					excluded.turned, excluded.admitted
				UNION ALL SELECT old.at, old.epoch, old.waiting, old.turns, old.sessions, old.turned, old.admitted) AS new
				ORDER BY at DESC LIMIT 1),
			(first_at, first_turned, first_admitted) = (
				SELECT new.* FROM (SELECT excluded.first_at, excluded.first_turned, excluded.first_admitted
				UNION ALL SELECT old.first_at, old.first_turned, old.first_admitted) AS new
				ORDER BY first_at LIMIT 1)`)
	return err
}

func writeChanges(ctx context.Context, tx pgx.Tx, changes [][]any) error {
	if err := stage(ctx, tx, "staged_changes", "audit_events", changeColumns, changes); err != nil {
		return err
	}
	_, err := tx.Exec(ctx, `
		INSERT INTO audit_events (id, created_at, actor, role, tenant_id, action, activity_id, before, after, request_id, gateway)
		SELECT id, created_at, actor, role, tenant_id, action, activity_id, before, after, request_id, gateway
		FROM staged_changes
		ON CONFLICT DO NOTHING`)
	return err
}
