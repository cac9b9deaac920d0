package postgres

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/ropeline/ropeline/admission/catalog"
)

// attempts bounds how often a transaction is tried that has changed nothing.
const attempts = 4

// ask runs a transaction, again with backoff where it has surely changed
// nothing and may do better. A database that could not be asked is
// catalog.ErrUnavailable, with the cause.
func ask(ctx context.Context, pool *pgxpool.Pool, limit time.Duration, how pgx.TxOptions, do func(context.Context, pgx.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	var pause pause
	for attempt := 1; ; attempt++ {
		undone := true // the transaction did not begin, or do failed: nothing is committed
		err := pgx.BeginTxFunc(ctx, pool, how, func(tx pgx.Tx) error {
			err := do(ctx, tx)
			undone = err != nil
			return err
		})
		if err == nil {
			return nil
		}
		if ctx.Err() == nil && attempt < attempts && passing(err, undone || how.AccessMode == pgx.ReadOnly) {
			pause.wait(ctx)
			continue
		}
		return translate(err)
	}
}

// passing says whether trying again is safe and may do better.
func passing(err error, undone bool) bool {
	var refusal *pgconn.PgError
	if !errors.As(err, &refusal) {
		return !known(err) && (undone || pgconn.SafeToRetry(err))
	}
	switch refusal.Code {
	case "40001", "40P01", // serialization failure, deadlock
		"53300", "57P03": // too many connections, starting up
		return true
	case "57P01", "57P02": // shut down by an administrator, or crashed
		return undone
	}
	return false
}

// known says whether an error is an answer, not a failure to get one.
func known(err error) bool {
	for _, answer := range []error{catalog.ErrNotFound, catalog.ErrChanged, catalog.ErrTaken} {
		if errors.Is(err, answer) {
			return true
		}
	}
	return unfit(err)
}

func translate(err error) error {
	if known(err) {
		return err
	}
	return fmt.Errorf("%w: %w", catalog.ErrUnavailable, err)
}
