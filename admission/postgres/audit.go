package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ropeline/ropeline/admission"
)

// oneView has all questions of a transaction answered as of one instant.
var oneView = pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly}

// chosen is the filter of changes as SQL, and its parameters.
const chosen = `($1 = '' OR tenant_id = $1) AND ($2 = 0 OR activity_id = $2) AND ($3 = '' OR actor = $3)
	AND ($4 = '' OR action = $4) AND ($5::timestamptz IS NULL OR created_at >= $5) AND ($6::timestamptz IS NULL OR created_at < $6)`

// Changes returns a page of what operators changed, newest first, and how many
// there are on all pages. Pages count from 1. A change is seen when it was
// written, and where there is a replica, when that has it. Without an answer
// the error is catalog.ErrUnavailable.
func (d *Database) Changes(ctx context.Context, filter admission.ChangeFilter, page, limit int) (changes []admission.Change, total int64, err error) {
	page, limit = max(1, page), max(1, limit)
	args := []any{filter.Tenant, filter.Activity, filter.Actor, filter.Action, orNever(filter.From), orNever(filter.To)}
	err = ask(ctx, d.replica, readTimeout, oneView, func(ctx context.Context, tx pgx.Tx) error {
		if err := tx.QueryRow(ctx, `SELECT count(*) FROM audit_events WHERE `+chosen, args...).Scan(&total); err != nil {
			return err
		}
		rows, err := tx.Query(ctx, `
			SELECT created_at, actor, role, tenant_id, action, activity_id, before::text, after::text, request_id, gateway
			FROM audit_events WHERE `+chosen+`
			ORDER BY created_at DESC, id DESC LIMIT $7 OFFSET $8`, append(args, limit, int64(page-1)*int64(limit))...)
		if err != nil {
			return err
		}
		changes, err = pgx.CollectRows(rows, scanChange)
		return err
	})
	if err != nil {
		return nil, 0, fmt.Errorf("read the audit: %w", err)
	}
	return changes, total, nil
}

// orNever returns nil for the zero time.
func orNever(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	return &t
}

func scanChange(row pgx.CollectableRow) (c admission.Change, err error) {
	var before, after *string
	err = row.Scan(&c.At, &c.Actor, &c.Role, &c.Tenant, &c.Action, &c.Activity, &before, &after, &c.RequestID, &c.Gateway)
	c.At = c.At.UTC()
	if before != nil {
		c.Before = json.RawMessage(*before)
	}
	if after != nil {
		c.After = json.RawMessage(*after)
	}
	return c, err
}
