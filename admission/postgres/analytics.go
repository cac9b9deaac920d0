package postgres

import (
	"context"
	"fmt"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/ropeline/ropeline/admission"
)

// stepOf returns how long a step of a timeline is: some tens to some hundreds
// of steps make a span.
func stepOf(span time.Duration) time.Duration {
	const day = 24 * time.Hour
	switch {
	case span <= time.Hour:
		return time.Minute
	case span <= day:
		return 10 * time.Minute
	case span <= 7*day:
		return time.Hour
	}
	return 6 * time.Hour
}

// Analytics tells what happened at an activity in from <= t < to. Steps of the
// timeline are a minute up to an hour, ten minutes up to a day, an hour up to
// seven days, six hours beyond, aligned in UTC; the first and the last may reach
// beyond the span and count only what is inside. Releases and no-shows are as
// exact as the samples, of which a minute has one. It is read from the replica
// where there is one. Without an answer the error is catalog.ErrUnavailable.
func (d *Database) Analytics(ctx context.Context, line admission.LineID, from, to time.Time) (a admission.Analytics, err error) {
	from, to = from.UTC(), to.UTC()
	err = ask(ctx, d.replica, readTimeout, oneView, func(ctx context.Context, tx pgx.Tx) error {
		a = admission.Analytics{From: from, To: to, Timeline: timeline(from, to)}
		for _, read := range []func(context.Context, pgx.Tx, admission.LineID, *admission.Analytics) error{
			readEntries, readEvents, readOrder, readSteps, readSamples,
		} {
			if err := read(ctx, tx, line, &a); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		return admission.Analytics{}, fmt.Errorf("analyse %s: %w", line, err)
	}
	return a, nil
}

// timeline returns the empty steps of a span.
func timeline(from, to time.Time) (steps []admission.Moment) {
	step := stepOf(to.Sub(from))
	for at := from.Truncate(step); at.Before(to); at = at.Add(step) {
		steps = append(steps, admission.Moment{At: at})
	}
	return steps
}

func readEntries(ctx context.Context, tx pgx.Tx, line admission.LineID, a *admission.Analytics) error {
	return tx.QueryRow(ctx, `
		SELECT count(*), count(DISTINCT CASE user_hash WHEN '' THEN visitor ELSE user_hash END)
		FROM queue_entries
		WHERE tenant_id = $1 AND activity_id = $2 AND created_at >= $3 AND created_at < $4`,
		line.Tenant, line.Activity, a.From, a.To).Scan(&a.Entries, &a.Visitors)
}

// readEvents reads counts and waits. Percentiles are waits that someone had.
func readEvents(ctx context.Context, tx pgx.Tx, line admission.LineID, a *admission.Analytics) error {
	var average, median, p95, longest int64
	err := tx.QueryRow(ctx, `
		SELECT count(*) FILTER (WHERE kind = $5), count(*) FILTER (WHERE kind = $6),
			count(DISTINCT visitor) FILTER (WHERE kind = $7),
			coalesce(round(avg(wait_us) FILTER (WHERE kind = $5)), 0)::bigint,
			coalesce(percentile_disc(0.5) WITHIN GROUP (ORDER BY wait_us) FILTER (WHERE kind = $5), 0),
			coalesce(percentile_disc(0.95) WITHIN GROUP (ORDER BY wait_us) FILTER (WHERE kind = $5), 0),
			coalesce(max(wait_us) FILTER (WHERE kind = $5), 0)
		FROM queue_events
		WHERE tenant_id = $1 AND activity_id = $2 AND created_at >= $3 AND created_at < $4`,
		line.Tenant, line.Activity, a.From, a.To,
		string(admission.EventAdmitted), string(admission.EventLeft), string(admission.EventConverted)).
		Scan(&a.Admissions, &a.Left, &a.Converted, &average, &median, &p95, &longest)
	a.WaitAverage, a.WaitMedian = microseconds(average), microseconds(median)
	a.WaitP95, a.WaitLongest = microseconds(p95), microseconds(longest)
	return err
}

// readOrder reads how many were admitted after a higher number of their epoch.
func readOrder(ctx context.Context, tx pgx.Tx, line admission.LineID, a *admission.Analytics) error {
	return tx.QueryRow(ctx, `
		SELECT count(*) FROM (
			SELECT seq_number, max(seq_number) OVER (PARTITION BY epoch ORDER BY created_at, seq_number
				ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS highest
			FROM queue_events
			WHERE tenant_id = $1 AND activity_id = $2 AND created_at >= $3 AND created_at < $4 AND kind = $5 AND seq_number > 0
		) AS admitted WHERE seq_number < highest`,
		line.Tenant, line.Activity, a.From, a.To, string(admission.EventAdmitted)).Scan(&a.OutOfOrder)
}

func microseconds(n int64) time.Duration { return time.Duration(n) * time.Microsecond }

// readSteps reads how many entered and were admitted in each step.
func readSteps(ctx context.Context, tx pgx.Tx, line admission.LineID, a *admission.Analytics) error {
	if len(a.Timeline) == 0 {
		return nil
	}
	began, step := a.Timeline[0].At, stepOf(a.To.Sub(a.From))
	count := func(to func(*admission.Moment) *int64, table, and string, args ...any) error {
		rows, err := tx.Query(ctx, `
			SELECT floor(extract(epoch FROM created_at - $5) / $6)::bigint AS step, count(*) FROM `+table+`
			WHERE tenant_id = $1 AND activity_id = $2 AND created_at >= $3 AND created_at < $4`+and+` GROUP BY step`,
			append([]any{line.Tenant, line.Activity, a.From, a.To, began, int64(step / time.Second)}, args...)...)
		if err != nil {
			return err
		}
		var at, n int64
		_, err = pgx.ForEachRow(rows, []any{&at, &n}, func() error {
			*to(&a.Timeline[at]) = n
			return nil
		})
		return err
	}
	if err := count(func(m *admission.Moment) *int64 { return &m.Entries }, "queue_entries", ""); err != nil {
		return err
	}
	return count(func(m *admission.Moment) *int64 { return &m.Admissions }, "queue_events", ` AND kind = $7`,
		string(admission.EventAdmitted))
}

// reading is how a line stood at an instant.
type reading struct {
	at                       time.Time
	waiting, turns, sessions int64
	turned, admitted         int64
}

// readSamples reads what the counters grew by, and how the line stood at the end
// of each step.
func readSamples(ctx context.Context, tx pgx.Tx, line admission.LineID, a *admission.Analytics) error {
	const columns = `SELECT first_at, first_turned, first_admitted, at, turned, admitted, waiting, turns, sessions
		FROM line_samples WHERE tenant_id = $1 AND activity_id = $2 AND `
	var last *reading
	before, err := tx.Query(ctx, columns+`at < $3 ORDER BY minute DESC LIMIT 1`, line.Tenant, line.Activity, a.From)
	if err != nil {
		return err
	}
	if err := eachReading(before, func(r reading, whole bool) {
		if whole {
			last = &r
		}
	}); err != nil {
		return err
	}
	open := int64(0)
	if last != nil {
		open = last.turns
	}
	rows, err := tx.Query(ctx, columns+`minute >= $3 AND at >= $4 AND minute < $5 ORDER BY minute`,
		line.Tenant, line.Activity, a.From.Truncate(time.Minute), a.From, a.To)
	if err != nil {
		return err
	}
	entered, at := int64(0), 0
	stand := func(until time.Time) { // fills the steps that end by then
		for ; at < len(a.Timeline) && (at+1 < len(a.Timeline) && !a.Timeline[at+1].At.After(until) || until.Equal(a.To)); at++ {
			if last != nil {
				a.Timeline[at].Waiting, a.Timeline[at].Sessions = last.waiting, last.sessions
			}
		}
	}
	if err := eachReading(rows, func(r reading, whole bool) {
		switch {
		case r.at.Before(a.From): // the first of the minute that the span begins in
			if last == nil {
				last = &reading{}
			}
			last.turned, last.admitted = r.turned, r.admitted
			return
		case !r.at.Before(a.To): // the last of the minute that it ends in
			return
		}
		stand(r.at)
		if last != nil {
			// A counter that fell began anew: what it lost is not known to have
			// been given again.
			grew := max(0, r.turned-last.turned)
			a.Releases += grew
			a.Timeline[at].Releases += grew
			entered += max(0, r.admitted-last.admitted)
		}
		if whole || last == nil {
			last = &r
		} else {
			last.turned, last.admitted = r.turned, r.admitted
		}
	}); err != nil {
		return err
	}
	stand(a.To)
	if last != nil {
		a.NoShows = max(0, a.Releases-entered-(last.turns-open))
	}
	return nil
}

// eachReading tells of each sample the first reading of its minute, which has
// the counters alone, and the last, which is whole.
func eachReading(rows pgx.Rows, tell func(r reading, whole bool)) error {
	var first, last reading
	_, err := pgx.ForEachRow(rows, []any{&first.at, &first.turned, &first.admitted,
		&last.at, &last.turned, &last.admitted, &last.waiting, &last.turns, &last.sessions}, func() error {
		tell(first, false)
		tell(last, true)
		return nil
	})
	return err
}
