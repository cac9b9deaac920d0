//go:build linux

package postgres_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/postgres"
	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
)

const zapLevel = zap.WarnLevel

func TestJournal_AnEventToldTwiceIsOne(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	one, two := run(t, options(t, server.URL(name))), run(t, options(t, server.URL(name)))
	at := noon()
	for i := int64(1); i <= 50; i++ {
		// Two gateways tell of it, and not at the same instant.
		one.Note(joined(i, at), admitted(i, at.Add(time.Second), time.Second))
		two.Note(admitted(i, at.Add(3*time.Second), time.Second), joined(i, at.Add(2*time.Second)), joined(i, at))
	}
	one.settled(t)
	two.settled(t)
	one.Note(joined(7, at.Add(time.Minute)))
	again := joined(7, at)
	again.Epoch = 2
	one.Note(again)
	one.settled(t)
	if got, want := numbers(t, server, name), slices.Sorted(slices.Values(append(upTo(50), 7))); !slices.Equal(got, want) {
		t.Errorf("entries: got %v, want %v", got, want)
	}
	if got := postgrestest.Value[int64](t, server, name, `SELECT count(*) FROM queue_events`); got != 50 {
		t.Errorf("events: got %d, want 50", got)
	}
}

// TestJournal_TwoGatewaysWriteTheSameAtOnce has both come to the tables in the
// same instant.
func TestJournal_TwoGatewaysWriteTheSameAtOnce(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	gateways := []opened{run(t, options(t, server.URL(name))), run(t, options(t, server.URL(name)))}
	for _, d := range gateways {
		d.ready(t)
	}
	const n = 1000
	for round := range int64(3) {
		release := held(t, name)
		for i, d := range gateways {
			batch := make([]admission.Event, n)
			for j := range batch {
				batch[j] = joined(round*n+int64(j)+1, noon().Add(time.Duration(i)*time.Second))
			}
			d.Note(batch...)
		}
		eventually(t, "both to wait", func() bool {
			return postgrestest.Value[int64](t, server, name, `SELECT count(*) FROM pg_locks WHERE NOT granted AND
				(database = 0 OR database = (SELECT oid FROM pg_database WHERE datname = current_database()))`) == 2
		})
		release()
		for _, d := range gateways {
			d.settled(t)
		}
	}
	if got := numbers(t, server, name); !slices.Equal(got, upTo(3*n)) {
		t.Errorf("got %d entries, want 1 … %d, each once", len(got), 3*n)
	}
}

// held keeps everyone from the entries until release is called.
func held(t *testing.T, name string) (release func()) {
	t.Helper()
	conn, err := pgx.Connect(t.Context(), server.URL(name))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { conn.Close(context.Background()) })
	if _, err := conn.Exec(t.Context(), `BEGIN; LOCK TABLE queue_entries`); err != nil {
		t.Fatal(err)
	}
	return func() {
		t.Helper()
		if _, err := conn.Exec(t.Context(), `ROLLBACK`); err != nil {
			t.Fatal(err)
		}
	}
}

func TestJournal_DatabaseIsDownAtStartThenComes(t *testing.T) {
	t.Parallel()
	s := postgrestest.Single(t)
	s.Stop()
	d := run(t, options(t, s.URL("postgres")))
	d.Note(joined(1, noon()))
	eventually(t, "the record to be spooled", func() bool { return d.Spooled() == 1 })
	if _, err := d.Snapshot(t.Context()); err == nil {
		t.Error("snapshot: got none, want an error")
	}
	if _, err := d.Check(t.Context()); err == nil {
		t.Error("check: got nil, want an error")
	}
	s.Start(t)
	d.settled(t)
	if got := numbers(t, s, "postgres"); !slices.Equal(got, upTo(1)) {
		t.Errorf("entries: got %v, want 1", got)
	}
	if version, err := d.Check(t.Context()); err != nil || version == "" {
		t.Errorf("check: %v", err)
	}
}

func TestJournal_KeepsWhatTheDatabaseMissed(t *testing.T) {
	t.Parallel()
	s := postgrestest.Single(t)
	metrics := prometheus.NewRegistry()
	o := options(t, s.URL("postgres"))
	o.Metrics = metrics
	d := run(t, o)
	d.ready(t)
	const n = 6000
	at := noon()
	for i := int64(1); i <= n; i++ {
		switch i {
		case n / 3:
			s.Stop()
		case n / 2:
			eventually(t, "records to be spooled", func() bool { return d.Spooled() > 0 })
		case 2 * n / 3:
			s.Start(t)
		}
		d.Note(joined(i, at))
	}
	d.settled(t)
	if got := numbers(t, s, "postgres"); !slices.Equal(got, upTo(n)) {
		t.Errorf("got %d entries, want 1 … %d, each once", len(got), n)
	}
	if d.Dropped() != 0 || d.Written() != n {
		t.Errorf("got %d dropped and %d written, want 0 and %d", d.Dropped(), d.Written(), n)
	}
	families, err := metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, f := range families {
		names = append(names, f.GetName())
	}
	want := []string{"ropeline_database_partition_missing", "ropeline_journal_dropped_total", "ropeline_journal_spooled", "ropeline_journal_written_total"}
	if !slices.Equal(names, want) {
		t.Errorf("metrics: got %v, want %v", names, want)
	}
}

func TestJournal_WritesTheRestWhenItEnds(t *testing.T) {
	t.Parallel()
	d, name := open(t)
	d.Note(joined(1, noon()), joined(2, noon()))
	d.stop()
	if got := numbers(t, server, name); !slices.Equal(got, upTo(2)) {
		t.Errorf("entries: got %v, want 1 and 2", got)
	}
	d.Note(joined(3, noon()))
	if d.Dropped() != 1 {
		t.Errorf("told after the end: got %d dropped, want 1", d.Dropped())
	}
}

func TestJournal_DropsAndCountsWhatHasNoRoom(t *testing.T) {
	t.Parallel()
	s := postgrestest.Single(t)
	s.Stop()
	o := options(t, s.URL("postgres"))
	o.SpoolMax = 4096
	o.SetMemory(10)
	core, log := observer.New(zap.ErrorLevel)
	o.Log = zap.New(core)
	full := func() bool { return log.FilterMessage("spool not written, records stay in memory").Len() > 0 }
	d := run(t, o)
	var kept []int64
	for n := int64(1); d.Dropped() < 5 && spoolSize(t, o) <= o.SpoolMax; n++ {
		before := d.Dropped()
		d.Note(joined(n, noon()))
		if d.Dropped() == before {
			kept = append(kept, n)
		}
		if n%10 == 0 && !full() {
			eventually(t, "memory to be free or the spool full", func() bool { return d.InMemory() == 0 && d.Spooled() == n || full() })
		}
	}
	if d.Spooled() == 0 || spoolSize(t, o) > o.SpoolMax {
		t.Errorf("got %d spooled in %d bytes, want some within %d", d.Spooled(), spoolSize(t, o), o.SpoolMax)
	}
	if d.Waiting() != int64(len(kept)) {
		t.Errorf("got %d waiting, want the %d that were kept", d.Waiting(), len(kept))
	}
	s.Start(t)
	d.settled(t)
	if got := numbers(t, s, "postgres"); !slices.Equal(got, kept) {
		t.Errorf("entries: got %v, want %v", got, kept)
	}
}

// spoolSize is how many bytes the spools below the options' directory have.
func spoolSize(t *testing.T, o postgres.Options) (size int64) {
	t.Helper()
	segments, err := filepath.Glob(filepath.Join(o.Spool, "*", "*.spool"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range segments {
		if info, err := os.Stat(path); err == nil { // or it was written and removed
			size += info.Size()
		}
	}
	return size
}

func TestJournal_SaysWhatItCouldKeepNowhereWhenItEnds(t *testing.T) {
	t.Parallel()
	o := options(t, "postgres://nobody@127.0.0.1:1/nothing")
	o.SpoolMax = 1
	o.Log = zap.NewNop()
	d, err := postgres.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	defer d.Close()
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error)
	go func() { ended <- d.Run(ctx) }()
	d.Note(joined(1, noon()), joined(2, noon()))
	eventually(t, "the records to be taken", func() bool { return d.InMemory() == 0 })
	d.Note(joined(3, noon()))
	cancel()
	if err := <-ended; err == nil || !strings.Contains(err.Error(), "3 records") || d.Dropped() != 3 || d.Waiting() != 0 {
		t.Errorf("got %v, %d dropped and %d waiting; want an error that tells of 3, 3 and none", err, d.Dropped(), d.Waiting())
	}
}

func TestJournal_ARecordThatIsRefusedHoldsUpNoOther(t *testing.T) {
	t.Parallel()
	d, name := open(t)
	bad := joined(3, noon())
	bad.Visitor = "zero\x00byte"
	d.Note(joined(1, noon()), joined(2, noon()), bad, joined(4, noon()))
	d.Audit(admission.Change{At: noon(), Actor: "a\x00b\xff", After: []byte(`{"name":"\u0000"}`), Before: []byte("not JSON")})
	d.settled(t)
	if got, want := numbers(t, server, name), []int64{1, 2, 4}; !slices.Equal(got, want) {
		t.Errorf("entries: got %v, want %v", got, want)
	}
	if d.Dropped() != 1 || d.Written() != 4 {
		t.Errorf("got %d dropped and %d written, want 1 and 4", d.Dropped(), d.Written())
	}
	changes, _, err := d.Changes(t.Context(), admission.ChangeFilter{}, 1, 10)
	if err != nil || len(changes) != 1 || string(changes[0].After) != `{"name":"\u0000"}` || string(changes[0].Before) != `"not JSON"` {
		t.Errorf("audit: got %+v, %v", changes, err)
	}
}

// TestJournal_ThroughAPooler: no statement, lock or table may outlive its
// transaction, for the next one has another connection.
func TestJournal_ThroughAPooler(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	url := server.Pooler(t, name)
	gateways := []opened{run(t, options(t, url)), run(t, options(t, url))}
	const n = 3000
	for i := int64(1); i <= n; i++ {
		gateways[i%2].Note(joined(i, noon()))
	}
	var all sync.WaitGroup
	for _, d := range gateways {
		d.ready(t)
		for range 20 {
			all.Go(func() {
				if _, err := d.Create(t.Context(), activity("acme", "")); err != nil {
					t.Error(err)
				}
				if _, err := d.Snapshot(t.Context()); err != nil {
					t.Error(err)
				}
				if _, err := d.Analytics(t.Context(), line, noon(), noon().Add(time.Hour)); err != nil {
					t.Error(err)
				}
			})
		}
	}
	all.Wait()
	for _, d := range gateways {
		d.settled(t)
	}
	if got := numbers(t, server, name); !slices.Equal(got, upTo(n)) {
		t.Errorf("got %d entries, want 1 … %d, each once", len(got), n)
	}
	if got, err := gateways[0].Snapshot(t.Context()); len(got.Activities) != 40 || err != nil {
		t.Errorf("got %d activities, %v; want 40", len(got.Activities), err)
	}
}

func TestJournal_ASlowDatabaseHoldsUpNoOne(t *testing.T) {
	t.Parallel()
	d, name := open(t)
	release := held(t, name)
	const n = 5000
	for i := int64(1); i <= n; i++ {
		d.Note(joined(i, noon()))
	}
	eventually(t, "records to be spooled", func() bool { return d.Spooled() >= n-1000 })
	release()
	d.settled(t)
	if got := numbers(t, server, name); !slices.Equal(got, upTo(n)) || d.Dropped() > 0 {
		t.Errorf("got %d entries and %d dropped, want 1 … %d, each once", len(got), d.Dropped(), n)
	}
}

func TestJournal_WaitsWhileTheDatabaseIsOutOfConnections(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	role := "owner_of_" + name
	server.Exec(t, name, `CREATE ROLE `+role+` LOGIN CONNECTION LIMIT 0`)
	server.Exec(t, name, `ALTER DATABASE `+name+` OWNER TO `+role)
	o := options(t, server.URLAs(role, name))
	o.Log = zap.NewNop()
	o.MaxOpenConns = 1
	d := run(t, o)
	d.Note(joined(1, noon()))
	eventually(t, "the record to be spooled", func() bool { return d.Spooled() == 1 })
	if _, err := d.Check(t.Context()); err == nil || !strings.Contains(err.Error(), "too many connections") {
		t.Errorf("check: got %v, want too many connections", err)
	}
	server.Exec(t, name, `ALTER ROLE `+role+` CONNECTION LIMIT 3`)
	d.settled(t)
	if got := numbers(t, server, name); !slices.Equal(got, upTo(1)) {
		t.Errorf("entries: got %v, want 1", got)
	}
}

func TestMigrate_SeveralGatewaysAtOnce(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	var gateways []opened
	for range 4 {
		gateways = append(gateways, run(t, options(t, server.URL(name))))
	}
	var all sync.WaitGroup
	for i, d := range gateways {
		all.Go(func() { d.Note(joined(int64(i+1), noon())) })
	}
	all.Wait()
	for _, d := range gateways {
		d.settled(t)
	}
	if got := numbers(t, server, name); !slices.Equal(got, upTo(4)) {
		t.Errorf("entries: got %v, want 1 … 4", got)
	}
	if got := postgrestest.Value[int64](t, server, name, `SELECT count(*) FROM ropeline_migrations WHERE version_id = 1`); got != 1 {
		t.Errorf("got %d migrations to version 1, want 1", got)
	}
	eventually(t, "the partitions", func() bool {
		return postgrestest.Value[int64](t, server, name, `SELECT count(*) FROM pg_inherits WHERE inhparent = 'queue_entries'::regclass`) == 4
	})
}

func partitionsOf(t *testing.T, name, table string) []string {
	t.Helper()
	return postgrestest.Query(t, server, name, pgx.RowTo[string],
		`SELECT inhrelid::regclass::text FROM pg_inherits WHERE inhparent = $1::text::regclass ORDER BY 1`, table)
}

func TestPartitions_AreMadeAheadAndGoByWholeMonths(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	now := time.Date(2031, 11, 20, 0, 0, 0, 0, time.UTC)
	clock := func() time.Time { return now }
	o := options(t, server.URL(name))
	o.SetNow(clock)
	first := run(t, o)
	first.ready(t)
	eventually(t, "the partitions", func() bool { return len(partitionsOf(t, name, "line_samples")) == 4 })
	for i, at := range []time.Time{
		now.AddDate(-1, 0, 0), // no partition
		now, now.AddDate(0, 1, 0),
		now.AddDate(0, 4, 0), // none yet
	} {
		first.Note(joined(int64(i+1), at))
	}
	first.settled(t)
	first.stop()
	want := []string{"queue_entries_2031_11", "queue_entries_2031_12", "queue_entries_2032_01", "queue_entries_default"}
	if got := partitionsOf(t, name, "queue_entries"); !slices.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
	if got := postgrestest.Value[int64](t, server, name, `SELECT count(*) FROM queue_entries_default`); got != 2 {
		t.Errorf("the default partition has %d entries, want the 2 that no other takes", got)
	}

	now = now.AddDate(0, 3, 0)
	o = options(t, server.URL(name))
	o.SetNow(clock)
	o.Retention = 45 * 24 * time.Hour // into January: December goes
	second := run(t, o)
	want = []string{"queue_entries_2032_01", "queue_entries_2032_02", "queue_entries_2032_03", "queue_entries_2032_04", "queue_entries_default"}
	eventually(t, "partitions to be made and dropped", func() bool { return slices.Equal(partitionsOf(t, name, "queue_entries"), want) })
	eventually(t, "old entries to go", func() bool { return slices.Equal(numbers(t, server, name), []int64{4}) })
	if got := postgrestest.Value[string](t, server, name, `SELECT tableoid::regclass::text FROM queue_entries`); got != "queue_entries_2032_03" {
		t.Errorf("the entry of March lies in %s", got)
	}
	if second.PartitionMissing() {
		t.Error("the metric says that the next month has no partition")
	}
}

func TestPartitions_AMissingOneIsSaidAndLosesNothing(t *testing.T) {
	t.Parallel()
	name := server.Database(t)
	owner := run(t, options(t, server.URL(name)))
	owner.ready(t)
	eventually(t, "the partitions", func() bool { return len(partitionsOf(t, name, "line_samples")) == 4 })
	owner.stop()
	// A role that writes but may not make tables, three months later.
	role := "writer_of_" + name
	server.Exec(t, name, `CREATE ROLE `+role+` LOGIN`)
	server.Exec(t, name, `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO `+role)
	later := noon().AddDate(0, 3, 0)
	o := options(t, server.URLAs(role, name))
	o.Log = zap.NewNop()
	o.SetNow(func() time.Time { return later })
	o.SetKeepEvery(20 * time.Millisecond)
	d := run(t, o)
	d.Note(joined(1, later))
	d.settled(t)
	eventually(t, "the metric to say so", d.PartitionMissing)
	if got := postgrestest.Value[int64](t, server, name, `SELECT count(*) FROM queue_entries_default`); got != 1 {
		t.Errorf("the default partition has %d entries, want 1", got)
	}
	d.stop()
	o = options(t, server.URL(name))
	o.SetNow(func() time.Time { return later })
	d = run(t, o)
	eventually(t, "the partition to be made", func() bool {
		return slices.Contains(partitionsOf(t, name, "queue_entries"), "queue_entries_"+later.Format("2006_01"))
	})
	if got := numbers(t, server, name); !slices.Equal(got, upTo(1)) {
		t.Errorf("entries: got %v, want 1", got)
	}
}

func TestOpen_NamesTheKeyThatIsWrong(t *testing.T) {
	t.Parallel()
	good := options(t, "postgres://u:secret@127.0.0.1:1/d")
	for want, spoil := range map[string]func(*postgres.Options){
		"database.url":         func(o *postgres.Options) { o.ConnString = "postgres://u:secret@h:port/d" },
		"database.replica_url": func(o *postgres.Options) { o.ReplicaURL = "host='" },
		"spool.path":           func(o *postgres.Options) { o.Spool = "/dev/null/spool" },
	} {
		o := good
		spoil(&o)
		d, err := postgres.Open(o)
		if err == nil {
			d.Close()
		}
		if err == nil || !strings.HasPrefix(err.Error(), want) || strings.Contains(err.Error(), "secret") {
			t.Errorf("got %v, want an error of %s", err, want)
		}
	}
	var none *os.PathError
	if _, err := os.Stat(good.Spool + "/1/lock"); errors.As(err, &none) {
		return
	}
	// A failed Open holds nothing.
	d, err := postgres.Open(good)
	if err != nil {
		t.Fatal(err)
	}
	d.Close()
}
