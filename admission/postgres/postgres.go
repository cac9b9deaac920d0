// Package postgres keeps the record in PostgreSQL: who took a place, waited,
// entered and bought, how the lines stood, what operators changed; and the
// activities that were made through the API.
//
// Nothing here is on a visitor's way. What is told is taken into memory, written
// in batches, and spooled in files while the database is away or slow. It may
// be reached through a pooler that gives each transaction another connection
// (pgbouncer): no statement is prepared and no lock outlives its transaction.
package postgres

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgxpool"
	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
)

var (
	_ admission.Journal = (*Database)(nil)
	_ catalog.Database  = (*Database)(nil)
)

// Options say how the database is reached and what is kept. Errors name the
// keys of the YAML file.
type Options struct {
	ConnString string // a URL, or keywords with values; written and, without a replica, read
	ReplicaURL string // where the record is read; empty: the same as ConnString

	MaxOpenConns    int           // to each of the two; 0: 25
	MaxIdleConns    int           // kept open; 0: none
	ConnMaxLifetime time.Duration // 0: 5 min
	ConnMaxIdleTime time.Duration // 0: 1 min

	Retention time.Duration // visitors' records older than it go, by whole months; 0: none goes

	Spool    string // a directory, which gateways on one machine may share
	SpoolMax int64  // bytes of this process's spool

	Gateway string // who writes the audit
	Log     *zap.Logger
	Metrics prometheus.Registerer

	memory    int              // records held in memory; 0: memoryLimit
	keepEvery time.Duration    // 0: keepEvery
	now       func() time.Time // nil: time.Now
}

const (
	memoryLimit    = 16384            // some 4 MiB
	connectTimeout = 5 * time.Second  // where the connection string has none
	checkTimeout   = 5 * time.Second  // of a question about activities, or about health
	readTimeout    = 30 * time.Second // of a question about the record
	writeTimeout   = 30 * time.Second // of a batch
)

// Database is the record and the activities in PostgreSQL. All methods are safe
// for concurrent use.
type Database struct {
	primary, replica *pgxpool.Pool // replica is the primary where there is none

	gateway   string
	retention time.Duration
	keepEvery time.Duration
	now       func() time.Time
	log       *zap.Logger

	told     *told
	spool    *spool
	hand     chan []record // from collect to a drain that has nothing else to do
	migrated chan struct{} // closed when the tables are there
	refused  atomic.Value  // string: why they are not

	waiting          atomic.Int64 // records told and neither written nor dropped
	dropped, written atomic.Int64
	partitionMissing atomic.Bool
}

// Open checks what can be checked without the network and takes over what an
// earlier process left in the spool. It does not wait for the server: one that
// is down must not stop a gateway. Run does the work; Close frees what is held.
func Open(o Options) (*Database, error) {
	d := &Database{
		gateway: o.Gateway, retention: o.Retention,
		keepEvery: cmp.Or(o.keepEvery, keepEvery), now: o.now,
		log: o.Log, told: newTold(cmp.Or(o.memory, memoryLimit)),
		hand: make(chan []record), migrated: make(chan struct{}),
	}
	if d.log == nil {
		d.log = zap.NewNop()
	}
	if d.now == nil {
		d.now = time.Now
	}
	if o.Spool == "" {
		return nil, errors.New("spool.path: a directory is needed")
	}
	var err error
	if d.primary, err = o.pool("database.url", o.ConnString); err != nil {
		return nil, err
	}
	d.replica = d.primary
	if o.ReplicaURL != "" {
		if d.replica, err = o.pool("database.replica_url", o.ReplicaURL); err != nil {
			d.primary.Close()
			return nil, err
		}
	}
	if d.spool, err = openSpool(o.Spool, o.SpoolMax); err != nil {
		d.closePools()
		return nil, fmt.Errorf("spool.path: %w", err)
	}
	d.waiting.Store(d.spool.records())
	if err := d.register(o.Metrics); err != nil {
		d.Close()
		return nil, err
	}
	return d, nil
}

// pool makes the pool of a connection string, without connecting.
func (o Options) pool(key, text string) (*pgxpool.Pool, error) {
	if text == "" {
		return nil, fmt.Errorf("%s: empty", key)
	}
	c, err := pgxpool.ParseConfig(text)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err) // pgx hides the password
	}
	c.MaxConns = int32(cmp.Or(o.MaxOpenConns, 25))
	c.MinIdleConns = min(int32(o.MaxIdleConns), c.MaxConns)
	c.MaxConnLifetime = cmp.Or(o.ConnMaxLifetime, 5*time.Minute)
	c.MaxConnLifetimeJitter = c.MaxConnLifetime / 10
	c.MaxConnIdleTime = cmp.Or(o.ConnMaxIdleTime, time.Minute)
	c.PingTimeout = checkTimeout
	// A restart of the server leaves every idle connection dead, and a round
	// trip more costs nothing where no visitor waits.
	c.ShouldPing = func(context.Context, pgxpool.ShouldPingParams) bool { return true }
	c.ConnConfig.ConnectTimeout = cmp.Or(c.ConnConfig.ConnectTimeout, connectTimeout)
	// Through a pooler the next transaction may have another server connection,
	// so nothing may be prepared on this one.
	c.ConnConfig.DefaultQueryExecMode = pgx.QueryExecModeExec
	c.ConnConfig.StatementCacheCapacity, c.ConnConfig.DescriptionCacheCapacity = 0, 0
	if c.ConnConfig.RuntimeParams["application_name"] == "" {
		c.ConnConfig.RuntimeParams["application_name"] = "ropeline"
	}
	pool, err := pgxpool.NewWithConfig(context.Background(), c)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return pool, nil
}

// register has the metrics collected, unless to is nil.
func (d *Database) register(to prometheus.Registerer) error {
	if to == nil {
		return nil
	}
	for _, c := range []prometheus.Collector{
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ropeline_journal_spooled", Help: "Records that wait for the database, in memory or in the spool."},
			func() float64 { return float64(d.waiting.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "ropeline_journal_dropped_total", Help: "Records lost: neither memory nor the spool had room, or the database refuses them."},
			func() float64 { return float64(d.dropped.Load()) }),
		prometheus.NewCounterFunc(prometheus.CounterOpts{
			Name: "ropeline_journal_written_total", Help: "Records written to the database."},
			func() float64 { return float64(d.written.Load()) }),
		prometheus.NewGaugeFunc(prometheus.GaugeOpts{
			Name: "ropeline_database_partition_missing", Help: "1 while the next month has no partition."},
			func() float64 {
				if d.partitionMissing.Load() {
					return 1
				}
				return 0
			}),
	} {
		if err := to.Register(c); err != nil {
			return fmt.Errorf("register metrics: %w", err)
		}
	}
	return nil
}

// Close frees the connections and the spool, after Run has returned.
func (d *Database) Close() {
	d.told.close()
	d.closePools()
	if err := d.spool.close(); err != nil {
		d.log.Warn("spool not closed", zap.Error(err))
	}
}

func (d *Database) closePools() {
	d.primary.Close()
	if d.HasReplica() {
		d.replica.Close()
	}
}

// Note implements admission.Journal.
func (d *Database) Note(events ...admission.Event) {
	records := make([]record, len(events))
	for i, e := range events {
		records[i].Event = &e
	}
	d.tell(records...)
}

// Sample implements admission.Journal.
func (d *Database) Sample(s admission.Sample) { d.tell(record{Sample: &s}) }

// Audit records what an operator changed. Like Note it never blocks, and what
// cannot be kept is counted. Without a Gateway the change has that of Options.
func (d *Database) Audit(c admission.Change) {
	c.Gateway = cmp.Or(c.Gateway, d.gateway)
	d.tell(record{Change: newChange(c)})
}

func (d *Database) tell(records ...record) {
	d.waiting.Add(int64(len(records))) // first, so that it never falls below zero
	d.drop(len(records) - d.told.add(records))
}

// drop counts records that are lost.
func (d *Database) drop(n int) {
	if n > 0 {
		d.waiting.Add(int64(-n))
		d.dropped.Add(int64(n))
	}
}

// Ready is closed once the tables are there, as of this build.
func (d *Database) Ready() <-chan struct{} { return d.migrated }

// HasReplica says whether the record is read from a server of its own.
func (d *Database) HasReplica() bool { return d.replica != d.primary }

// Check returns the server's version, or why nothing can be written now.
func (d *Database) Check(ctx context.Context) (version string, err error) {
	version, err = versionOf(ctx, d.primary)
	if err != nil {
		return "", err
	}
	select {
	case <-d.migrated:
		return version, nil
	default:
	}
	if why, _ := d.refused.Load().(string); why != "" {
		return version, errors.New(why)
	}
	return version, nil
}

// CheckReplica returns the version of the server that is read, or why it cannot
// be now. Without a replica that is the one that is written.
func (d *Database) CheckReplica(ctx context.Context) (version string, err error) {
	return versionOf(ctx, d.replica)
}

func versionOf(ctx context.Context, pool *pgxpool.Pool) (version string, err error) {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	err = pool.AcquireFunc(ctx, func(c *pgxpool.Conn) error {
		version = c.Conn().PgConn().ParameterStatus("server_version")
		return c.Ping(ctx)
	})
	return version, err
}
