//go:build linux

package postgres_test

import (
	"context"
	"fmt"
	"os"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"go.uber.org/zap/zaptest"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/postgres"
	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
)

// patience bounds every wait for something that will come.
const patience = 20 * time.Second

// server serves all tests that leave it alone; each has a database of its own.
var server *postgrestest.Server

func TestMain(m *testing.M) {
	if os.Getenv(spoolingProcess) != "" {
		spoolUntilKilled()
		return
	}
	var err error
	if server, err = postgrestest.Open(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	code := m.Run()
	if err := server.Close(); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// options are those of a database with a spool of its own.
func options(t testing.TB, url string) postgres.Options {
	t.Helper()
	return postgres.Options{
		ConnString: url, MaxOpenConns: 4, Spool: t.TempDir(), SpoolMax: 64 << 20, Gateway: "gateway-1",
		Log: zaptest.NewLogger(t, zaptest.Level(zapLevel)),
	}
}

// opened is a database that runs until the test ends, or stop is called.
type opened struct {
	*postgres.Database
	stop func()
}

func run(t testing.TB, o postgres.Options) opened {
	t.Helper()
	d, err := postgres.Open(o)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if err := d.Run(ctx); err != nil {
			t.Errorf("run: %v", err)
		}
	}()
	stopped := false
	stop := func() {
		if !stopped {
			stopped = true
			cancel()
			<-ended
			d.Close()
		}
	}
	t.Cleanup(stop)
	return opened{d, stop}
}

// open runs a database on a new one of the shared server, and returns when its
// tables are there.
func open(t testing.TB) (opened, string) {
	t.Helper()
	name := server.Database(t)
	d := run(t, options(t, server.URL(name)))
	d.ready(t)
	return d, name
}

// ready waits until the tables are there.
func (d opened) ready(t testing.TB) {
	t.Helper()
	eventually(t, "the database to be migrated", d.Migrated)
}

// settled waits until nothing told waits to be written.
func (d opened) settled(t testing.TB) {
	t.Helper()
	eventually(t, "all records to be written", func() bool { return d.Waiting() == 0 })
}

func eventually(t testing.TB, what string, done func() bool) {
	t.Helper()
	for end := time.Now().Add(patience); !done(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatalf("waited %s for %s", patience, what)
		}
	}
}

var line = admission.LineID{Tenant: "demo", Activity: 123}

// noon is an instant in the middle of this month.
func noon() time.Time {
	now := time.Now().UTC()
	return time.Date(now.Year(), now.Month(), 15, 12, 0, 0, 0, time.UTC)
}

func joined(number int64, at time.Time) admission.Event {
	return admission.Event{Kind: admission.EventJoined, At: admission.InstantOf(at), Line: line, Epoch: 1,
		Number: number, Visitor: fmt.Sprintf("visitor-%d", number)}
}

func admitted(number int64, at time.Time, wait time.Duration) admission.Event {
	e := joined(number, at)
	e.Kind, e.Wait = admission.EventAdmitted, wait
	return e
}

// numbers are those of the entries, ascending, each as often as it is kept.
func numbers(t testing.TB, s *postgrestest.Server, database string) []int64 {
	t.Helper()
	return postgrestest.Query(t, s, database, pgx.RowTo[int64], `SELECT seq_number FROM queue_entries ORDER BY seq_number`)
}

// upTo returns 1 … n.
func upTo(n int64) (all []int64) {
	for i := int64(1); i <= n; i++ {
		all = append(all, i)
	}
	return all
}
