package admission

import (
	"context"
	"fmt"
	"hash/fnv"
	"slices"
	"time"

	"go.uber.org/zap"
)

// flushEvery is how often presence goes to the store.
const flushEvery = 2 * time.Second

// sweepEvery is how often a gateway looks for sessions it need not remember.
const sweepEvery = 10 * time.Second

// keepTime ticks until ctx ends: it tells the store who was heard from and
// asks it to release, and keeps the view fresh. No gateway leads; a tick of
// another one at the same instant changes nothing.
func (r *Room) keepTime(ctx context.Context) {
	beat := time.NewTimer(untilBeat(r.gateway, time.Now()))
	defer beat.Stop()
	var flushed, swept time.Time
	var away bool
	for {
		select {
		case <-ctx.Done():
			return
		case <-beat.C:
		}
		beat.Reset(untilBeat(r.gateway, time.Now()))
		if time.Since(swept) >= sweepEvery {
			swept = time.Now()
			r.forget()
		}
		if time.Since(flushed) >= min(flushEvery, r.settings.Load().Limits.Absence/10) {
			flushed = time.Now()
			r.flush(ctx)
		}
		for more := true; more; {
			var err error
			more, err = r.tick(ctx)
			if err != nil && ctx.Err() == nil && !away {
				away = true
				r.log.Warn("line not read, waiting visitors are told that it is paused", zap.Error(err))
			}
			if err == nil && away {
				away = false
				r.log.Info("line read again")
			}
		}
	}
}

// untilBeat is the time until the next tick. The rooms of a gateway tick at the
// same instants, so that what they ask travels together, and gateways apart.
func untilBeat(gateway string, now time.Time) time.Duration {
	name := fnv.New32a()
	name.Write([]byte(gateway)) // it never fails
	phase := time.Duration(name.Sum32()) % Tick
	return Tick - time.Duration(now.UnixNano()-int64(phase))%Tick
}

// tick asks the store to release and takes in what changed. more: there was
// more to release than one step may.
func (r *Room) tick(ctx context.Context) (more bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	settings := r.settings.Load()
	was := r.view.Load()
	since, waiting := int64(0), int64(0)
	if was != nil {
		since, waiting = was.Version, was.Waiting
	}
	limits := r.adapt(settings.Limits)
	limits.Shut = r.shut.Load()
	limits.Absence = settings.Poll.absence(limits.Absence, waiting)

	sent := time.Now()
	read, err := r.store.Release(ctx, r.call(), limits, since)
	if err != nil {
		return false, err
	}
	all := since == 0
	if !all && (read.Epoch != was.Epoch || read.Born != was.Born || read.Version < since) {
		// Another line than the one that was read: begin anew.
		sent = time.Now()
		if read, err = r.store.Release(ctx, r.call(), limits, 0); err != nil {
			return false, err
		}
		all = true
	}
	r.lift(read.Floor)
	if was == nil {
		was = &view{}
		r.beginAdapting(settings, read)
	}
	next := was.update(read, sent, all)
	next.pace = was.pace.observe(read.Head)
	next.turnover = was.turnover.observe(read.Head)
	again := r.conduct(ctx, was, next)
	if read.Settling && !read.Closing && !was.sent.IsZero() {
		// Until the store has taken what this gateway remembers, the old view
		// is the only copy. A gateway that never saw the line remembers nothing,
		// its time least of all: the line would take that, and leap by centuries.
		if err := r.remember(ctx); err != nil {
			return false, err
		}
	} else {
		r.whole = next
	}
	r.view.Store(next)
	r.sample(next.Head)
	r.heard.drop(read.First)
	for _, e := range read.Ended {
		r.known(e.Visitor, 0, 0, 0, e.Until).gone.Store(true)
	}
	for _, s := range read.Spent {
		r.spent.raise(s)
	}
	return again || !read.Settling && read.Turned-was.Turned >= mostReleases, nil
}

// flush tells the store who was heard from.
func (r *Room) flush(ctx context.Context) {
	v := r.view.Load()
	entries, heard := r.marks(v)
	if len(entries)+len(heard) == 0 {
		return
	}
	ctx, cancel := context.WithTimeout(ctx, mostPatience)
	defer cancel()
	call := r.call()
	call.Mapped = v.lots != nil && v.Epoch == call.Floor.Epoch
	head, err := r.store.Present(ctx, call, append(entries, heard...))
	switch {
	case err != nil:
		r.unmark(entries, heard)
		r.log.Debug("presence not stored", zap.Error(err))
	case head.Draw.Mapped && !call.Mapped && head.Epoch == v.Epoch: // drawn meanwhile: the next are by number
		r.unmark(entries, nil)
	}
}

// forget lets go of the sessions that no token could bring back.
func (r *Room) forget() {
	now := r.view.Load().now()
	r.spent.forget(now)
	r.sessions.Range(func(visitor, kept any) bool {
		if s := kept.(*stay); now > s.max.Add(SessionGrace) {
			r.sessions.Delete(visitor)
		}
		return true
	})
}

// remember brings a settling line all that this gateway knows of it.
func (r *Room) remember(ctx context.Context) error {
	var memory Memory
	var entries, heard []Piece
	now := r.view.Load().now()
	call := r.call()
	if v := r.whole; v != nil {
		now = v.now()
		memory = Memory{Overrides: v.Overrides}
		if !v.Settling || v.Closing { // else it was read from what settles
			memory.Now = now
		}
		if now < v.Now.Add(v.Limits.Idle+SessionGrace) { // else whoever had a seat then has it no more
			memory.Seats = v.Seats()
		}
		if v.Epoch == r.floor.Load().Epoch { // numbers of another epoch say nothing
			memory.Draw, call.Mapped = v.Draw, v.Draw.Mapped
			if entries, heard = r.marks(v); v.Draw.Mapped && v.lots == nil {
				r.unmark(entries, heard) // this gateway has no numbers yet
				entries, heard = nil, nil
			}
			memory.First, memory.Released, memory.Pieces = v.First, v.Released, slices.Concat(v.pieces(), entries, heard)
			if v.Draw.Mapped || v.Draw.Key == "" && v.Drawn == 0 { // a place is a number
				memory.Pieces = append(memory.Pieces, r.used(v.Epoch)...)
			}
		}
	}
	memory.Spent = r.spent.all()
	r.sessions.Range(func(visitor, kept any) bool {
		s := kept.(*stay)
		switch {
		case s.gone.Load():
			memory.Ended = append(memory.Ended, Ended{visitor.(string), s.max})
		case s.ends() > now:
			memory.Sessions = append(memory.Sessions, Admission{visitor.(string), s.number, s.ends(), s.max})
		}
		return true
	})
	for portion := range memory.portions {
		if _, err := r.store.Heal(ctx, call, portion); err != nil {
			r.unmark(entries, heard)
			return fmt.Errorf("bring what is remembered of the line: %w", err)
		}
	}
	return nil
}

// mostRemembered is how many sessions, endings and passes are brought in one
// step: the store answers others in between (a step of so many takes Redis some
// 50 ms).
const mostRemembered = 4096

// portions are memories that tell together what m does.
func (m Memory) portions(yield func(Memory) bool) {
	for more := true; more; m.Pieces = nil {
		portion := m
		portion.Sessions, m.Sessions = split(m.Sessions)
		portion.Ended, m.Ended = split(m.Ended)
		portion.Spent, m.Spent = split(m.Spent)
		more = len(m.Sessions)+len(m.Ended)+len(m.Spent) > 0
		if !yield(portion) {
			return
		}
	}
}

func split[T any](all []T) (first, rest []T) {
	n := min(len(all), mostRemembered)
	return all[:n], all[n:]
}
