package admission

import (
	"context"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"

	"go.uber.org/zap"
)

// Room is the line of one activity, in one gateway. All methods are safe for
// concurrent use.
//
// A visitor who has a session, and one who waits, are answered from memory; no
// request of theirs asks the store. The store is asked to join, to admit, and
// once in a while to renew, and those questions travel together.
type Room struct {
	id      LineID
	gateway string
	store   Store
	log     *zap.Logger

	ring     atomic.Pointer[Keyring]
	settings atomic.Pointer[Settings]
	view     atomic.Pointer[view]
	whole    *view                 // the last of a line that did not settle; the tick's own
	floor    atomic.Pointer[Floor] // the highest seen, of any source
	joined   atomic.Pointer[Head]  // the line after the latest join of this gateway
	heard    heard                 // numbers
	entries  heard                 // indexes plus one
	indexed  atomic.Int64          // the latest epoch of which an index was seen before N was
	lottery  *lottery              // a draw that is being made; the tick's own
	sessions sync.Map              // visitor → *stay: every session this gateway has seen
	agents   maphash.Seed          // of hashes that stay in this process

	joins    *commit[Newcomer, Place]
	knocks   *commit[Knock, Entry]
	renews   chan string // visitors whose session was used; never waited for
	endings  *endings
	outage   outage
	hashes   *hashes
	pressure func() *pressure // made when it is first needed
	shut     atomic.Bool
	spent    spentPasses

	governor governor     // of Measured alone
	adapted  atomic.Int64 // the rate per hour that follows the shop; 0: none does

	journal Journal // nil: none; set before Run
	sampled Sample  // the last that was told; the tick's own

	counts counts
}

// OpenRoom opens the room of a line. It makes the line if the store has none,
// so that a line is lost only if it was there. Run must be called for the
// room to work.
//
// gateway is this process's own name among all, and secret the same in all.
func OpenRoom(ctx context.Context, store Store, id LineID, gateway string, secret Secret, ring *Keyring, settings Settings, log *zap.Logger) (*Room, error) {
	r := &Room{
		id: id, gateway: gateway, hashes: secret.hashes(id), store: store,
		log:    log.Named("admission").With(zap.Int64("activity", id.Activity), zap.String("tenant", id.Tenant)),
		renews: make(chan string, 1024), endings: newEndings(), pressure: sync.OnceValue(newPressure), agents: maphash.MakeSeed(),
	}
	r.ring.Store(ring)
	r.settings.Store(&settings)
	r.floor.Store(&Floor{})
	r.joined.Store(&Head{})
	r.joins = newCommit(r.join)
	r.knocks = newCommit(r.knock)
	more, err := r.tick(ctx)
	if err == nil && more { // a draw that was just pinned is told from the first visitor on
		_, err = r.tick(ctx)
	}
	if err != nil {
		return nil, fmt.Errorf("open line %s: %w", id, err)
	}
	return r, nil
}

// ID returns the room's line.
func (r *Room) ID() LineID { return r.id }

// Configure puts new settings in force. No one in the line loses anything.
func (r *Room) Configure(settings Settings) { r.settings.Store(&settings) }

// Shut has the room let no one in, as long as what it leads to does not answer,
// as this gateway sees it. Visitors take places and keep them, and are told that
// the line is paused; who is inside goes on. The line itself is paused when the
// rooms of all gateways are shut, and goes on with no credit saved up.
func (r *Room) Shut(shut bool) { r.shut.Store(shut) }

// Rotate puts another keyring in force. Tickets signed with a key that is no
// longer in it are void.
func (r *Room) Rotate(ring *Keyring) { r.ring.Store(ring) }

// Run paces the line and answers joins and admissions, until ctx ends.
func (r *Room) Run(ctx context.Context) error {
	var work sync.WaitGroup
	work.Go(func() { r.joins.run(ctx) })
	work.Go(func() { r.knocks.run(ctx) })
	work.Go(func() { r.renew(ctx) })
	work.Go(func() { r.bringEndings(ctx) })
	work.Go(func() { r.keepTime(ctx) })
	work.Wait()
	return nil
}

// limits are those in force, as far as this gateway can know.
func (r *Room) limits(v *view) Limits {
	if v.stale() { // the file may have been loaded anew, what the operator decided last is all there is
		return v.Overrides.apply(r.settings.Load().Limits)
	}
	return v.Limits
}

// everyone tells why everyone passes without a place, if everyone does.
func (r *Room) everyone(limits Limits, now Instant) (Reason, bool) {
	switch {
	case limits.Mode == ModeOpen:
		return PassOpen, true
	case limits.Mode == ModeAuto && limits.ended(now) && r.settings.Load().OpenAfterEnd:
		return PassEnded, true
	}
	return "", false
}

// ticket returns the first queue token that is valid here and now, and this
// visitor's, or nil.
func (r *Room) ticket(visit Visit, v *view, now Instant) *ticket {
	for _, token := range visit.QueueTokens {
		t, err := r.ring.Load().verify(token, forQueue)
		if err != nil || t.line != r.id || now >= t.expires || !r.bound(t, visit) {
			continue
		}
		r.lift(Floor{Epoch: t.epoch, Issued: t.number})
		if t.epoch >= v.Epoch {
			if t = r.drawn(v, t); t != nil {
				return t
			}
		}
	}
	return nil
}

// lift raises the floor that this gateway tells the store.
func (r *Room) lift(f Floor) {
	for {
		known := r.floor.Load()
		next := known.raised(f)
		if next == *known {
			return
		}
		if kept := next; r.floor.CompareAndSwap(known, &kept) { // a copy: next stays on the stack
			return
		}
	}
}
