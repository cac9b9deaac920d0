package postgres

import (
	"context"
	"fmt"
	"math/rand/v2"
	"sync"
	"time"

	"go.uber.org/zap"
)

const (
	batchSize = 1000                   // records written together
	batchTime = 500 * time.Millisecond // that a record waits for others

	// flushTime bounds what is still written when a gateway ends. What is not
	// written then is in the spool.
	flushTime = 5 * time.Second

	// Pauses after a failure double between these, with jitter.
	firstPause   = 100 * time.Millisecond
	longestPause = 10 * time.Second
)

// Run migrates the database as soon as it answers, writes what is told, and
// keeps the partitions, until ctx ends; then it writes what it can within five
// seconds and spools the rest. It is called once. The error says how many
// records had no place anywhere.
func (d *Database) Run(ctx context.Context) error {
	// What is under way when ctx ends may end well.
	last, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(flushTime, cancel) })()

	var work sync.WaitGroup
	var held []record
	work.Go(func() { d.keep(ctx) })
	work.Go(func() { d.collect(ctx) })
	work.Go(func() { held = d.drain(ctx, last) })
	work.Wait()
	d.told.close()
	return d.flush(last, held)
}

// pause waits longer each time it is called, until reset.
type pause struct{ next time.Duration }

func (p *pause) wait(ctx context.Context) {
	p.next = min(max(firstPause, 2*p.next), longestPause)
	select {
	case <-ctx.Done():
	case <-time.After(p.next/2 + rand.N(p.next/2)):
	}
}

func (p *pause) reset() { p.next = 0 }

// collect takes what is told by the batch, and hands each to drain if that waits
// for it, or else to the spool.
func (d *Database) collect(ctx context.Context) {
	tick := time.NewTicker(batchTime)
	defer tick.Stop()
	spooling := health{log: d.log, bad: "spool not written, records stay in memory", good: "spool written again"}
	dropped := d.dropped.Load()
	dropping := false
	for {
		least := 1
		select {
		case <-ctx.Done():
			return
		case <-d.told.full:
			least = batchSize // the rest may wait for others
		case <-tick.C:
			lost := d.dropped.Load()
			if (lost > dropped) != dropping {
				dropping = !dropping
				if dropping {
					d.log.Error("journal records dropped", zap.Int64("total", lost))
				} else {
					d.log.Info("journal records kept again", zap.Int64("dropped_total", lost))
				}
			}
			dropped = lost
		}
		for batch := d.told.take(least); batch != nil; batch = d.told.take(least) {
			if !d.passOn(ctx, batch, &spooling) {
				d.told.giveBack(batch)
				return
			}
		}
	}
}

// passOn waits until a batch has somewhere to go; false: ctx ended before.
func (d *Database) passOn(ctx context.Context, batch []record, spooling *health) bool {
	for {
		select {
		case d.hand <- batch:
			return true
		default:
		}
		err := d.spool.append(batch)
		spooling.is(err)
		if err == nil {
			return true
		}
		select {
		case d.hand <- batch:
			return true
		case <-time.After(batchTime):
		case <-ctx.Done():
			return false
		}
	}
}

// drain writes what lies in the spool, oldest first, and when that is empty what
// collect hands over. Writes that began when ctx ends go on until last does. It
// returns the batch that was neither written nor spooled.
func (d *Database) drain(ctx, last context.Context) (held []record) {
	select {
	case <-d.migrated:
	case <-ctx.Done():
		return nil
	}
	writing := health{log: d.log, bad: "journal not written, records are spooled", good: "journal written again"}
	var pause pause
	for ctx.Err() == nil {
		if held == nil {
			done, err := d.writeSpooled(last)
			writing.is(err)
			if err != nil {
				pause.wait(ctx)
				continue
			}
			pause.reset()
			if !done {
				continue
			}
			select {
			case held = <-d.hand:
			case <-d.spool.filled:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		err := d.write(last, held)
		writing.is(err)
		if err == nil || d.spool.append(held) == nil {
			held = nil
		}
		if err != nil {
			pause.wait(ctx)
		}
	}
	return held
}

// writeSpooled writes the oldest batch of the spool; done: there was none.
func (d *Database) writeSpooled(ctx context.Context) (done bool, err error) {
	batch, mark, lost, err := d.spool.peek(batchSize)
	if err != nil {
		return false, fmt.Errorf("read the spool: %w", err)
	}
	if len(batch) > 0 {
		if err := d.write(ctx, batch); err != nil {
			return false, err
		}
	}
	d.spool.advance(mark)
	if lost > 0 {
		d.log.Error("part of the spool is not readable", zap.Int64("records", lost))
		d.drop(int(lost))
	}
	return mark.path == "", nil
}

// flush writes what is left when everything else has ended, or spools it.
func (d *Database) flush(ctx context.Context, held []record) error {
	up := false
	select {
	case <-d.migrated:
		up = true
	default:
	}
	for done := false; up && !done; {
		var err error
		done, err = d.writeSpooled(ctx)
		up = err == nil
	}
	lost := 0
	for batch := held; ; {
		if batch == nil {
			if batch = d.told.take(1); batch == nil {
				break
			}
		}
		if up {
			up = d.write(ctx, batch) == nil
		}
		if !up && d.spool.append(batch) != nil {
			d.drop(len(batch))
			lost += len(batch)
		}
		batch = nil
	}
	if lost > 0 {
		return fmt.Errorf("end the journal: %d records could be neither written nor spooled", lost)
	}
	return nil
}

// health logs once when something begins to fail, and once when it works again.
type health struct {
	log       *zap.Logger
	bad, good string
	failing   bool
}

func (h *health) is(err error) {
	if failing := err != nil; failing != h.failing {
		h.failing = failing
		if failing {
			h.log.Error(h.bad, zap.Error(err))
		} else {
			h.log.Info(h.good)
		}
	}
}
