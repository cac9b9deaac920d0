package admission

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"regexp"
	"sync"
	"time"

	"go.uber.org/zap"
)

// A pass comes to a room in two steps. TakePass makes it out to one visitor,
// who keeps that, and takes no use; who then asks to enter by it has a use taken
// in the step that begins the session. So the answer to neither can be lost at
// the cost of a use, and who only looks at a link, as chat programs do, has none
// taken.

// longestPass is the longest that a pass may be good for: what is used of it is
// kept by the store, and remembered by every gateway, to its end.
const longestPass = 366 * 24 * time.Hour

// MadePass is a pass to hand out.
type MadePass struct {
	ID    string // by which it is revoked
	Token string
}

// ErrPass is what a pass must not be. Its text tells what is wrong.
var ErrPass = errors.New("no such pass can be made")

// MakePasses signs so many new passes, each with the uses, the end and the right
// to enter before the start that of tells. It asks nobody: a pass is known to the
// store once a use of it is taken. The error is an ErrPass.
func (r *Room) MakePasses(count int, of Pass) ([]MadePass, error) {
	now := r.view.Load().now()
	switch {
	case of.Uses < 1 || of.Uses > MaxPassUses:
		return nil, fmt.Errorf("%w: %d uses, it can have 1 to %d", ErrPass, of.Uses, int64(MaxPassUses))
	case of.Until <= now:
		return nil, fmt.Errorf("%w: it ends in the past", ErrPass)
	case of.Until.Sub(now) > longestPass:
		return nil, fmt.Errorf("%w: it ends in more than %d days", ErrPass, longestPass/(24*time.Hour))
	}
	passes := make([]MadePass, count)
	for i := range passes {
		of.ID = rand.Text()
		signed, err := r.ring.Load().sign(ticket{line: r.id, pass: of, signed: now, expires: of.Until}, forPass)
		if err != nil {
			return nil, err
		}
		passes[i] = MadePass{of.ID, signed.Token}
	}
	return passes, nil
}

// ErrPassID says that no pass has such an id: it was cut short, or misspelled.
var ErrPassID = errors.New("this is not the id of a pass")

// passID is the form of an id as MakePasses gives it, by rand.Text.
var passID = regexp.MustCompile(`^[A-Z2-7]{26}$`)

// RevokePass has a pass begin no session any more. Who is inside by it stays.
// An id that was never given is revoked like any other, if it has the form of
// one; else the error is ErrPassID.
func (r *Room) RevokePass(ctx context.Context, id string) error {
	if !passID.MatchString(id) {
		return ErrPassID
	}
	spent := Spent{Pass: id, Uses: allUses, Until: r.view.Load().now().Add(longestPass)}
	head, err := r.store.Spend(ctx, r.call(), []Spent{spent})
	if err != nil {
		return fmt.Errorf("revoke pass of line %s: %w", r.id, err)
	}
	r.spent.raise(spent)
	r.lift(head.Floor)
	return nil
}

// TakePass makes a pass out to the visitor who shows its token. The verdict
// holds, and has what the visitor must keep from now on: where the token is
// worth nothing, what tells so. A pass that the visitor holds already is not
// made out anew, nor is one lost by opening another that is worth nothing.
func (r *Room) TakePass(visit Visit, token string) Verdict {
	v := r.view.Load()
	now := v.now()
	verdict := r.hold(v, nil, now, r.reason(v, now))
	held, _ := r.holder(visit, now)
	t, err := r.ring.Load().verify(token, forPass)
	switch {
	case err != nil || t.line != r.id:
		r.counts.passes.unknown.Add(1)
		verdict.Status.Pass = PassIsUnknown
		if held == nil {
			verdict.HeldPass = Ticket{Token: string(PassIsUnknown), Expires: now.Time()}
		}
		return verdict
	case now >= t.expires:
		r.counts.passes.expired.Add(1)
		verdict.Status.Pass = PassIsExpired
		if held != nil {
			return verdict
		}
	case held != nil && held.pass.ID == t.pass.ID:
		verdict.Status.Pass = PassIsHeld
		return verdict
	default:
		verdict.Status.Pass = PassIsHeld
	}
	verdict.HeldPass, err = r.ring.Load().sign(ticket{
		line: r.id, visitor: newVisitor(), pass: t.pass, signed: now, expires: t.expires, binding: r.binding(visit),
	}, forHolder)
	if err != nil {
		r.log.Error("pass not signed", zap.Error(err))
	}
	return verdict
}

// holder returns the first pass that is good here and now, and this visitor's,
// or nil and what is to be told of what was shown.
func (r *Room) holder(visit Visit, now Instant) (held *ticket, told PassState) {
	for _, token := range visit.PassTokens {
		t, err := r.ring.Load().verify(token, forHolder)
		switch {
		case err != nil || t.line != r.id || !r.bound(t, visit):
			told = cmp.Or(told, PassIsUnknown)
		case now >= t.expires:
			told = PassIsExpired
		case !r.isGone(t.visitor): // else the pass has done its work
			return t, PassIsHeld
		}
	}
	return nil, told
}

// redeem answers a holder who asks to enter; false where the visitor is to be
// answered by the line, and told what it says of the pass: nothing where the
// session that began by it is over.
func (r *Room) redeem(ctx context.Context, v *view, held *ticket, limits Limits, now Instant) (Verdict, PassState, bool) {
	if verdict, settled, ok := r.unasked(v, held, limits, now); settled {
		return verdict, PassIsHeld, ok
	}
	entry, err := r.ask(ctx, Knock{Visitor: held.visitor, Pass: held.pass})
	if err == nil && entry.Outcome == EntryAdmitted && entry.Admission.Until > now {
		inside := *held
		inside.epoch = v.Epoch
		return r.entered(entry.Admission, &inside, now), "", true
	}
	if err == nil && entry.Outcome == EntrySpent {
		r.counts.passes.spent.Add(1)
	}
	return r.held(v, held, now, entry, err)
}

// await answers a holder who asks where it stands, and has it awaited.
func (r *Room) await(ctx context.Context, v *view, held *ticket, now Instant) (Verdict, PassState, bool) {
	if r.session(held.visitor) == nil && r.spent.of(held.pass.ID) >= held.pass.Uses {
		return Verdict{}, PassIsSpent, false // as the store would say
	}
	if verdict, settled, ok := r.unasked(v, held, r.limits(v), now); settled {
		return verdict, PassIsHeld, ok
	}
	entry, err := r.ask(ctx, Knock{Visitor: held.visitor, Pass: held.pass, Waits: true})
	return r.held(v, held, now, entry, err)
}

// unasked answers a holder where the store need not be asked, or cannot be.
// settled: it is so; ok: by the verdict, and not by the line.
func (r *Room) unasked(v *view, held *ticket, limits Limits, now Instant) (verdict Verdict, settled, ok bool) {
	switch {
	case v.stale() || v.Settling || limits.over(now) || limits.Mode == ModeClosed:
		return Verdict{}, true, false
	case !limits.begun(now) && !held.pass.Early:
		verdict = r.hold(v, held, now, HoldBefore)
	case r.shut.Load():
		verdict = r.hold(v, held, now, HoldWaiting)
	default:
		return Verdict{}, false, false
	}
	verdict.Status.Pass = PassIsHeld
	return verdict, true, true
}

// held answers a holder by what the store said.
func (r *Room) held(v *view, held *ticket, now Instant, entry Entry, err error) (Verdict, PassState, bool) {
	switch {
	case err != nil:
		verdict := r.hold(v, held, now, HoldUnavailable)
		verdict.Status.Pass = PassIsHeld
		return verdict, PassIsHeld, true
	case entry.Outcome == EntrySpent:
		return Verdict{}, PassIsSpent, false
	case entry.Outcome == EntryGone, entry.Outcome == EntryAdmitted && entry.Admission.Until <= now:
		return Verdict{}, "", false
	}
	verdict := r.hold(v, held, now, HoldWaiting)
	s := &verdict.Status
	s.Pass, s.Position = PassIsHeld, entry.Position
	// Who does not ask within a claim is awaited no more.
	s.PollAfter, s.PollMax = r.settings.Load().Poll.after(Wait{}, s.Position, v.waiting.count+v.Awaited, v.Limits.Claim)
	if entry.Called || entry.Outcome == EntryAdmitted { // to ask to enter is to be in
		s.State, s.Position = StateReady, 0
	}
	return verdict, PassIsHeld, true
}

// spentPasses are what a gateway was told of the uses of passes, for a store
// that loses it. The zero value has none. It is safe for concurrent use.
type spentPasses struct {
	mu     sync.Mutex // protects byPass
	byPass map[string]Spent
}

// of returns how many uses of a pass are taken.
func (s *spentPasses) of(pass string) int64 {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.byPass[pass].Uses
}

func (s *spentPasses) raise(spent Spent) {
	s.mu.Lock()
	defer s.mu.Unlock()
	known := s.byPass[spent.Pass]
	if s.byPass == nil {
		s.byPass = map[string]Spent{}
	}
	s.byPass[spent.Pass] = Spent{spent.Pass, max(spent.Uses, known.Uses), max(spent.Until, known.Until)}
}

// forget lets go of the passes that have ended.
func (s *spentPasses) forget(now Instant) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for pass, spent := range s.byPass {
		if now > spent.Until {
			delete(s.byPass, pass)
		}
	}
}

func (s *spentPasses) all() []Spent {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := make([]Spent, 0, len(s.byPass))
	for _, spent := range s.byPass {
		all = append(all, spent)
	}
	return all
}
