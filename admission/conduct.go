package admission

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"strings"

	"go.uber.org/zap"
)

// Proof is what may be told of a draw, so that each can check it. The zero
// Proof is no draw.
type Proof struct {
	Commitment string // SHA-256 of the seed, in hexadecimal
	Source     string // where the public value comes from that is mixed in; empty: none is

	// Of a visitor who joined before the start: the index, from 0.
	Indexed bool
	Index   int64

	// N is how many places are drawn; 0 before the start. Beacon is the public
	// value, and Seed, in hexadecimal, the seed: both empty until the numbers are
	// settled by them.
	N      int64
	Beacon string
	Seed   string
}

// opened is a seed that a gateway could make, with its commitment.
type opened struct {
	seed             Seed
	text, commitment string // as they are shown
}

// indexing reports whether who joins now gets an index.
func (v *view) indexing(now Instant) bool {
	return v.Draw.Key != "" && v.Drawn == 0 && v.Limits.early(now)
}

// settled reports whether all that makes the numbers of the draw is written.
func (v *view) settled() bool {
	return v.opened != nil && v.Drawn > 0 && !v.Settling && (v.Draw.Source == "" || v.Draw.Beacon != "")
}

// proof tells of the draw what may be told by now; t may be nil.
func (v *view) proof(t *ticket) Proof {
	if v.opened == nil {
		return Proof{}
	}
	p := Proof{Commitment: v.opened.commitment, Source: v.Draw.Source}
	if t != nil && t.indexed {
		p.Indexed, p.Index = true, t.index
	}
	if !v.Settling {
		p.N = v.Drawn
	}
	if v.settled() {
		p.Beacon, p.Seed = v.Draw.Beacon, v.opened.text
	}
	return p
}

// drawn returns a ticket as it stands in a draw: with the number of its index,
// or without one while there is none. nil: nobody who kept the line knows of the
// index, and the number it could have may be another's.
func (r *Room) drawn(v *view, t *ticket) *ticket {
	if !t.indexed {
		return t
	}
	r.lift(Floor{Epoch: t.epoch, Issued: t.drawn, Drawn: t.drawn})
	if t.epoch != v.Epoch || v.Drawn == 0 {
		r.lift(Floor{Epoch: t.epoch, Issued: t.index + 1})
		if r.indexed.Load() < t.epoch {
			r.indexed.Store(t.epoch)
		}
		return t
	}
	resolved := *t
	switch {
	case t.index < v.Drawn && v.lots != nil:
		resolved.number = v.lots.Number(t.index)
	case t.index >= max(v.Drawn, v.Draw.Later):
		return nil
	case t.index >= v.Drawn:
		resolved.number = t.index + 1
	}
	return &resolved
}

// undrawn answers a visitor whose index has no number yet, and marks presence;
// false where the place was given up.
func (r *Room) undrawn(v *view, t *ticket, now Instant) (Verdict, bool) {
	place := t.index + 1
	switch {
	case v.stale() || t.epoch > v.Epoch:
		return r.hold(v, t, now, HoldUnavailable), true
	case !v.Draw.Mapped && v.done.has(place):
		return Verdict{}, false
	}
	r.entries.mark(place)
	switch {
	case v.Limits.over(now):
		return r.hold(v, t, now, HoldEnded), true
	case !v.Limits.begun(now):
		return r.hold(v, t, now, HoldBefore), true
	}
	return r.hold(v, t, now, HoldDrawing), true
}

// marks returns what was heard since the last call, as places of the line as a
// view has it: marks of indexes as numbers, where they have any.
func (r *Room) marks(v *view) (entries, heard []Piece) {
	entries = r.entries.take()
	if v.lots != nil {
		for _, p := range entries {
			for place := range p.places {
				if place <= v.lots.N() {
					r.heard.mark(v.lots.Number(place - 1))
				}
			}
		}
		entries = nil
	}
	return entries, r.heard.take()
}

// unmark gives back what marks returned and the store did not take.
func (r *Room) unmark(entries, heard []Piece) {
	r.entries.restore(entries)
	r.heard.restore(heard)
}

// places are the places that a piece marks.
func (p Piece) places(yield func(int64) bool) {
	for i, word := range p.Bits {
		for ; word != 0; word &= word - 1 {
			if !yield(p.From + int64(i)*64 + int64(bits.TrailingZeros64(word))) {
				return
			}
		}
	}
}

// conduct does what the draw of a line asks of a gateway at a tick, and gives the
// view what follows. again: the line has changed, and is to be read at once.
func (r *Room) conduct(ctx context.Context, was, v *view) (again bool) {
	v.opened = r.seed(was, v)
	if v.Draw.Mapped && v.Epoch == was.Epoch && v.Drawn == was.Drawn {
		v.lots = was.lots
	}
	now := v.Now
	var d Drawing
	switch {
	case v.Settling || v.lots != nil:
		return false
	case v.Draw.Key == "":
		indexed := r.indexed.Load() == v.Epoch
		if !indexed && v.Drawn == 0 && !(v.Limits.Draw && !v.Limits.begun(now) && v.Issued == 0) {
			return false
		}
		d = Drawing{Key: r.ring.Load().keys[0].id, Source: r.settings.Load().Beacon, Indexed: indexed}
	case !v.settled():
		return false
	default:
		if r.lottery == nil || r.lottery.epoch != v.Epoch || r.lottery.N() != v.Drawn {
			lots, err := NewLots(v.opened.seed, v.Draw.Beacon, v.Drawn)
			if err != nil {
				r.log.Error("numbers not drawn", zap.Error(err))
				return false
			}
			r.lottery = &lottery{Lots: lots, epoch: v.Epoch, numbers: map[int64]*[blockBits]int64{}}
		}
		if !v.Draw.Mapped {
			pieces, done := r.lottery.pieces(v)
			if !done {
				return false // the next tick goes on
			}
			d = Drawing{Since: v.Version, Pieces: pieces}
		}
		// Where the maps are written already, this gateway tells nobody a number
		// before the store's replicas, if it waits for them, have it all.
	}
	call := r.call()
	call.Mapped = v.Draw.Mapped
	head, err := r.store.Draw(ctx, call, d)
	if err != nil {
		r.log.Debug("draw not stored", zap.Error(err))
		return false
	}
	r.lift(head.Floor)
	if v.Draw.Mapped && head.Draw.Mapped && head.Epoch == v.Epoch {
		v.lots, r.lottery = r.lottery.Lots, nil
	}
	if head.Draw != v.Draw {
		r.log.Info("draw goes on", zap.String("key", head.Draw.Key), zap.String("source", head.Draw.Source),
			zap.Int64("n", head.Drawn), zap.Bool("drawn", head.Draw.Mapped))
		return true
	}
	return false
}

// seed makes the seed of the line's draw, where there is one; nil where there is
// none, or this gateway lacks the key.
func (r *Room) seed(was, v *view) *opened {
	if v.Draw.Key == "" {
		return nil
	}
	if was.opened != nil && was.Epoch == v.Epoch && was.Draw.Key == v.Draw.Key && was.Draw.Source == v.Draw.Source {
		return was.opened
	}
	key, ok := r.ring.Load().byID[v.Draw.Key]
	if !ok {
		if was.Draw.Key != v.Draw.Key {
			r.log.Error("the key that the draw was committed with is missing, the draw waits for it", zap.String("kid", v.Draw.Key))
		}
		return nil
	}
	seed := NewSeed(key.secret, r.id, v.Epoch, v.Draw.Source)
	return &opened{seed, seed.String(), seed.Commitment()}
}

// lottery is a draw as it is made: it remembers the numbers it found, so that a
// line that changed meanwhile costs only what changed.
type lottery struct {
	*Lots
	epoch   int64
	numbers map[int64]*[blockBits]int64 // by block of indexes; 0: not found yet
	found   int64                       // since the last call of pieces
}

// mostFound is about how many numbers are found at a tick, which takes them less
// than half a second: a view older than three is of no use to visitors.
const mostFound = 1 << 19

func (l *lottery) number(index int64) int64 {
	b := l.numbers[index>>blockShift]
	if b == nil {
		b = &[blockBits]int64{}
		l.numbers[index>>blockShift] = b
	}
	n := &b[index&(blockBits-1)]
	if *n == 0 {
		*n = l.Number(index)
		l.found++
	}
	return *n
}

// pieces returns the maps of a view up to N by number; false: too many are to be
// found at once, and the next call goes on.
func (l *lottery) pieces(v *view) ([]Piece, bool) {
	l.found = 0
	var all []Piece
	for _, kind := range []struct {
		Map
		board
	}{{MapWaiting, v.waiting}, {MapOff, v.off}, {MapDone, v.done}} {
		var drawn marks
		for i, words := range kind.blocks {
			if words == nil {
				continue
			}
			if l.found >= mostFound {
				return nil, false
			}
			p := Piece{From: (kind.first + int64(i)) << blockShift, Bits: words[:]}
			for place := range p.places {
				if place >= 1 && place <= l.N() {
					drawn.set(l.number(place-1), 1)
				}
			}
		}
		all = append(all, drawn.since(kind.Map, 0)...)
	}
	return all, true
}

// Why a public value is not entered.
var (
	ErrNoDraw       = errors.New("the line has no draw")
	ErrNoSource     = errors.New("the draw names no source of a public value")
	ErrTooEarly     = errors.New("the start has not come: the value would be known to who can still join")
	ErrOtherBeacon  = errors.New("another value was entered before, and stays")
	ErrBeaconLength = fmt.Errorf("a public value has 1 to %d characters", longestBeacon)
)

// longestBeacon is the most bytes of a public value.
const longestBeacon = 256

// Proof returns what anyone may know of the line's draw.
func (r *Room) Proof() Proof { return r.view.Load().proof(nil) }

// EnterBeacon enters the public value that the draw was committed to wait for.
// It is kept for good: entered again it must be the same.
func (r *Room) EnterBeacon(ctx context.Context, value string) error {
	value = strings.TrimSpace(value)
	if value == "" || len(value) > longestBeacon {
		return ErrBeaconLength
	}
	head, err := r.store.Draw(ctx, r.call(), Drawing{Beacon: value})
	if err != nil {
		return fmt.Errorf("enter the public value of line %s: %w", r.id, err)
	}
	switch d := head.Draw; {
	case d.Key == "":
		return ErrNoDraw
	case d.Source == "":
		return ErrNoSource
	case d.Beacon == value:
		return nil
	case d.Beacon != "":
		return ErrOtherBeacon
	}
	return ErrTooEarly
}
