package admission

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Activity is what a gateway is told of an activity.
type Activity struct {
	Line     LineID
	Settings Settings
}

// Rooms are the rooms of a gateway, by activity. A room outlives every change
// of its settings: it goes only with its activity.
type Rooms struct {
	store   Store
	gateway string
	secret  Secret
	log     *zap.Logger
	journal Journal // nil: none

	open atomic.Pointer[map[int64]*Room] // read by every request, never changed in place

	mu      sync.Mutex // protects the rest, and the replacing of open
	running context.Context
	stop    map[int64]context.CancelFunc
	work    sync.WaitGroup
}

// NewRooms returns no rooms yet. gateway is this process's own name among all,
// and secret the same in all.
func NewRooms(store Store, gateway string, secret Secret, log *zap.Logger) *Rooms {
	rs := &Rooms{store: store, gateway: gateway, secret: secret, log: log, stop: map[int64]context.CancelFunc{}}
	rs.open.Store(&map[int64]*Room{})
	return rs
}

// Record has every room that is opened from now on tell the journal what
// happens in it.
func (rs *Rooms) Record(journal Journal) { rs.journal = journal }

// Room returns the room of an activity.
func (rs *Rooms) Room(activity int64) (*Room, bool) {
	r, ok := (*rs.open.Load())[activity]
	return r, ok
}

// All returns the rooms by activity. The map must not be changed.
func (rs *Rooms) All() map[int64]*Room { return *rs.open.Load() }

// Opened are rooms that are open and not in force yet.
type Opened struct {
	rooms      *Rooms
	ring       *Keyring
	activities []Activity
	next       map[int64]*Room
}

// Open opens the rooms of activities that have none yet, and changes nothing
// of the others: that is for Apply, which cannot fail. There must be no two
// Opened at a time.
func (rs *Rooms) Open(ctx context.Context, ring *Keyring, activities []Activity) (*Opened, error) {
	was := rs.All()
	o := &Opened{rs, ring, activities, make(map[int64]*Room, len(activities))}
	var errs []error
	for _, a := range activities {
		r := was[a.Line.Activity]
		if r == nil || r.id != a.Line {
			var err error
			if r, err = OpenRoom(ctx, rs.store, a.Line, rs.gateway, rs.secret, ring, a.Settings, rs.log); err != nil {
				errs = append(errs, err)
				continue
			}
			r.journal = rs.journal
		}
		o.next[a.Line.Activity] = r
	}
	return o, errors.Join(errs...)
}

// Room returns the room that an activity will have.
func (o *Opened) Room(activity int64) *Room { return o.next[activity] }

// Apply puts the opened rooms in force, with the settings and keys they were
// opened with, and closes the others. A closed room's line stays in the store.
func (o *Opened) Apply() {
	rs := o.rooms
	rs.mu.Lock()
	defer rs.mu.Unlock()
	for _, a := range o.activities {
		r := o.next[a.Line.Activity]
		r.Configure(a.Settings)
		r.Rotate(o.ring)
	}
	for id, r := range rs.All() {
		if o.next[id] != r && rs.stop[id] != nil {
			rs.stop[id]()
			delete(rs.stop, id)
		}
	}
	rs.open.Store(&o.next)
	for id, r := range o.next {
		rs.start(id, r)
	}
}

// start runs a room that does not run yet, if rooms run. The caller holds mu.
func (rs *Rooms) start(id int64, r *Room) {
	if rs.running == nil || rs.running.Err() != nil || rs.stop[id] != nil {
		return
	}
	ctx, stop := context.WithCancel(rs.running)
	rs.stop[id] = stop
	rs.work.Go(func() {
		if err := r.Run(ctx); err != nil {
			rs.log.Error("room stopped", zap.Int64("activity", id), zap.Error(err))
		}
	})
}

// Run runs the rooms there are, and those that come, until ctx ends.
func (rs *Rooms) Run(ctx context.Context) error {
	rs.mu.Lock()
	rs.running = ctx
	for id, r := range rs.All() {
		rs.start(id, r)
	}
	rs.mu.Unlock()
	<-ctx.Done()
	rs.work.Wait()
	return nil
}
