package postgres

import (
	"context"
	"fmt"

	"github.com/jackc/pgx/v5"

	"github.com/ropeline/ropeline/admission"
)

// recorded are the tables that know an identity's hash.
var recorded = []string{"queue_entries", "queue_events"}

// Erase takes an identity out of the record: what it did stays, as of nobody.
// hash gives what is kept of the identity in a line; an empty tenant means all.
// It returns how many entries there were. What is spooled is not reached.
// Without an answer the error is catalog.ErrUnavailable.
func (d *Database) Erase(ctx context.Context, tenant string, hash func(admission.LineID) string) (entries int64, err error) {
	err = ask(ctx, d.primary, readTimeout, pgx.TxOptions{}, func(ctx context.Context, tx pgx.Tx) error {
		entries = 0
		for _, table := range recorded {
			rows, err := tx.Query(ctx, `SELECT DISTINCT tenant_id, activity_id FROM `+table+` WHERE $1 = '' OR tenant_id = $1`, tenant)
			if err != nil {
				return err
			}
			lines, err := pgx.CollectRows(rows, func(row pgx.CollectableRow) (l admission.LineID, err error) {
				return l, row.Scan(&l.Tenant, &l.Activity)
			})
			if err != nil {
				return err
			}
			for _, l := range lines {
				done, err := tx.Exec(ctx, `UPDATE `+table+` SET user_hash = '' WHERE activity_id = $1 AND tenant_id = $2 AND user_hash = $3`,
					l.Activity, l.Tenant, hash(l))
				if err != nil {
					return err
				}
				if table == "queue_entries" {
					entries += done.RowsAffected()
				}
			}
		}
		return nil
	})
	if err != nil {
		return 0, fmt.Errorf("erase an identity: %w", err)
	}
	return entries, nil
}
