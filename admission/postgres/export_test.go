package postgres

import "time"

// Tests that choose how much memory holds, when partitions are looked after,
// and what time it is.

func (o *Options) SetMemory(records int)        { o.memory = records }
func (o *Options) SetKeepEvery(d time.Duration) { o.keepEvery = d }
func (o *Options) SetNow(now func() time.Time)  { o.now = now }
func (d *Database) Waiting() int64              { return d.waiting.Load() }
func (d *Database) Dropped() int64              { return d.dropped.Load() }
func (d *Database) Written() int64              { return d.written.Load() }
func (d *Database) PartitionMissing() bool      { return d.partitionMissing.Load() }
func (d *Database) Spooled() int64              { return d.spool.records() }

// InMemory returns how many records wait for collect.
func (d *Database) InMemory() int {
	d.told.mu.Lock()
	defer d.told.mu.Unlock()
	return len(d.told.records)
}

// Migrated says whether the tables are there.
func (d *Database) Migrated() bool {
	select {
	case <-d.migrated:
		return true
	default:
		return false
	}
}
