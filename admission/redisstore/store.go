// Package redisstore keeps lines in Redis, so that many gateways share them:
// one server, Sentinel, or Cluster. Each verb of admission.Store is one Lua
// script, safe to run twice, by the server's own clock. All keys of a line have
// one hash tag, {tenant:activity}, and each expires.
//
// It needs Redis 7.0 (BITCOUNT by bit ranges).
package redisstore

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/redis/go-redis/v9"
	"github.com/sony/gobreaker/v2"

	"github.com/ropeline/ropeline/admission"
)

// Store is a Redis that keeps lines. It is safe for concurrent use.
type Store struct {
	client       redis.UniversalClient
	scripts      scripts
	breaker      *gobreaker.CircuitBreaker[any]
	waitReplicas int

	lanes sync.Map // way → *lane; as many as nodes were ever asked
}

var _ admission.Store = (*Store)(nil)

// New returns a store over a client, which stays the caller's to close.
func New(client redis.UniversalClient) *Store {
	return &Store{client: client, scripts: scriptsOf(shared), breaker: newBreaker()}
}

// keysKey holds the signing keys of all gateways, as JSON.
const keysKey = "ropeline:keys"

// keysLife is how long signing keys are kept unused: longer than any ticket,
// and than the pause between two seasons. Each start of a gateway renews it.
const keysLife = 400 * 24 * time.Hour

// run runs a script on a line and returns the head and the verb's own answer.
func (s *Store) run(ctx context.Context, script *redis.Script, call admission.Call, args ...any) (admission.Head, any, error) {
	// A renewal, too: a gateway that is cut off with an old master would prolong
	// sessions whose seats the new master gives to others.
	lasting := script == s.scripts.join || script == s.scripts.admit || script == s.scripts.renew ||
		script == s.scripts.draw || // numbers that were told are the numbers of the new master
		script == s.scripts.spend // a pass that was revoked stays so
	floor := fmt.Sprintf("%d:%d:%d", call.Floor.Issued, call.Floor.Drawn, bit(call.Mapped))
	args = append([]any{call.Gateway, call.Floor.Epoch, floor}, args...)
	answer, err := s.ask(ctx, script, keysOf(call.Line), lasting, args)
	if err != nil {
		return admission.Head{}, nil, err
	}
	parts, ok := answer.([]any)
	if !ok || len(parts) != 3 {
		return admission.Head{}, nil, errAnswer
	}
	numbers, err := listOf[int64](parts[0])
	words, err2 := listOf[string](parts[1])
	if err != nil || err2 != nil || len(numbers) != headNumbers || len(words) != headWords {
		return admission.Head{}, nil, errAnswer
	}
	return head(numbers, words), parts[2], nil
}

func bit(b bool) int {
	if b {
		return 1
	}
	return 0
}

// modes are the modes by the number that stands for each in the scripts.
var modes = []admission.Mode{admission.ModeOpen, admission.ModeAuto, admission.ModeHold, admission.ModeClosed}

// decisions writes overrides as decide in line.lua reads them.
func decisions(o admission.Overrides) []any {
	count := func(n *int64) int64 {
		if n == nil {
			return 0
		}
		return *n + 1
	}
	instant := func(t *time.Time) int64 {
		if t == nil {
			return 0
		}
		return int64(admission.InstantOf(*t)) + 1
	}
	left := count(o.Left)
	if left > 0 {
		left++ // a stock that is counted is one more already
	}
	said, message := 0, ""
	if o.Message != nil {
		said, message = 1, *o.Message
	}
	return []any{
		slices.Index(modes, o.Mode) + 1, count(o.Capacity), count(o.RatePerHour), instant(o.StartAt), instant(o.EndAt), left, said, message,
	}
}

// stock is a stock in one number, as line.lua keeps it.
func stock(s admission.Stock) int64 {
	if !s.Counted {
		return 0
	}
	return s.Left + 1
}

// Release implements admission.Store.
func (s *Store) Release(ctx context.Context, call admission.Call, l admission.Limits, since int64) (admission.Line, error) {
	if err := l.Check(); err != nil {
		return admission.Line{}, fmt.Errorf("limits of line %s: %w", call.Line, err)
	}
	h, rest, err := s.run(ctx, s.scripts.release, call, since,
		slices.Index(modes, l.Mode), l.Capacity, l.RatePerHour, l.Burst,
		l.Claim.Microseconds(), l.Absence.Microseconds(), l.HoldPlace.Microseconds(), l.Idle.Microseconds(), l.Max.Microseconds(),
		l.JoinsPerHour, l.JoinBurst, int64(admission.InstantOf(l.StartAt)), int64(admission.InstantOf(l.EndAt)),
		l.MaxQueue, l.StopAt, stock(l.Stock), bit(l.Draw), l.Prequeue.Microseconds(), bit(l.Shut))
	if err != nil {
		return admission.Line{}, err
	}
	parts, ok := rest.([]any)
	if !ok || len(parts) != 6 {
		return admission.Line{}, errAnswer
	}
	line := admission.Line{Head: h}
	version, ok1 := parts[0].(int64)
	first, ok2 := parts[1].(int64)
	pieces, ok3 := parts[2].([]any)
	claims, err := listOf[int64](parts[3])
	gone, ok4 := parts[4].([]any)
	spent, ok5 := parts[5].([]any)
	if !ok1 || !ok2 || !ok3 || !ok4 || !ok5 || err != nil {
		return admission.Line{}, errAnswer
	}
	line.Version, line.First = version, first
	for p := range slices.Chunk(pieces, 3) {
		letter, ok1 := p[0].(string)
		chunk, ok2 := p[1].(int64)
		bytes, ok3 := p[2].(string)
		kind := slices.Index(letters, letter)
		if !ok1 || !ok2 || !ok3 || kind < 0 {
			return admission.Line{}, errAnswer
		}
		line.Pieces = append(line.Pieces, piece(admission.Map(kind), chunk, bytes))
	}
	for c := range slices.Chunk(claims, 2) {
		line.Claims = append(line.Claims, admission.Claim{Number: c[0], Until: admission.Instant(c[1])})
	}
	for e := range slices.Chunk(gone, 2) {
		visitor, ok1 := e[0].(string)
		until, ok2 := e[1].(int64)
		if !ok1 || !ok2 {
			return admission.Line{}, errAnswer
		}
		line.Ended = append(line.Ended, admission.Ended{Visitor: visitor, Until: admission.Instant(until)})
	}
	for s := range slices.Chunk(spent, 3) {
		pass, ok1 := s[0].(string)
		uses, ok2 := s[1].(int64)
		until, ok3 := s[2].(int64)
		if !ok1 || !ok2 || !ok3 {
			return admission.Line{}, errAnswer
		}
		line.Spent = append(line.Spent, admission.Spent{Pass: pass, Uses: uses, Until: admission.Instant(until)})
	}
	return line, nil
}

// Join implements admission.Store.
func (s *Store) Join(ctx context.Context, call admission.Call, batch string, newcomers []admission.Newcomer) (admission.Head, []admission.Place, error) {
	args := []any{batch}
	for _, n := range newcomers {
		once := 0
		if n.Once {
			once = int(admission.OnceTime / time.Second)
		}
		args = append(args, n.Visitor, n.Identity, n.Network, n.Over, bit(n.Waits), once)
	}
	h, rest, err := s.run(ctx, s.scripts.join, call, args...)
	if err != nil {
		return h, nil, err
	}
	rows, ok := rest.([]any)
	if !ok || len(rows) != 0 && len(rows) != len(newcomers) {
		return h, nil, errAnswer
	}
	var places []admission.Place
	for _, row := range rows {
		p, err := placeOf(row)
		if err != nil {
			return h, nil, err
		}
		places = append(places, p)
	}
	return h, places, nil
}

// placeOf reads number, position, number, until and max of a session, retry
// after, whether the first number is an index, and visitor.
func placeOf(row any) (admission.Place, error) {
	parts, ok := row.([]any)
	if !ok || len(parts) != 8 {
		return admission.Place{}, errAnswer
	}
	n, err := listOf[int64](parts[:7])
	visitor, ok := parts[7].(string)
	if err != nil || !ok {
		return admission.Place{}, errAnswer
	}
	if n[0] < 0 {
		return admission.Place{Full: n[0] == -1, Spent: n[0] == -2}, nil
	}
	p := admission.Place{Number: n[0], Indexed: n[6] != 0, Position: n[1], Visitor: visitor, RetryAfter: time.Duration(n[5]) * time.Microsecond}
	if n[3] != 0 {
		p.Admission = admission.Admission{Visitor: visitor, Number: n[2], Until: admission.Instant(n[3]), Max: admission.Instant(n[4])}
	}
	return p, nil
}

// Admit implements admission.Store.
func (s *Store) Admit(ctx context.Context, call admission.Call, knocks []admission.Knock) (admission.Head, []admission.Entry, error) {
	var args []any
	visitors := make([]string, len(knocks))
	for i, k := range knocks {
		visitors[i] = k.Visitor
		args = append(args, k.Visitor, k.Number, k.Epoch, int64(k.Signed), int64(k.Max),
			k.Pass.ID, k.Pass.Uses, int64(k.Pass.Until), bit(k.Pass.Early), bit(k.Waits))
	}
	h, entries, rows, err := s.entries(ctx, s.scripts.admit, call, visitors, args, 8)
	for i, row := range rows {
		entries[i].Position, entries[i].Called = row[4], row[5] != 0
		if row[6] > 0 {
			entries[i].Spent = admission.Spent{Pass: knocks[i].Pass.ID, Uses: row[6], Until: admission.Instant(row[7])}
		}
	}
	return h, entries, err
}

// Renew implements admission.Store.
func (s *Store) Renew(ctx context.Context, call admission.Call, visitors []string) (admission.Head, []admission.Entry, error) {
	args := make([]any, len(visitors))
	for i, v := range visitors {
		args[i] = v
	}
	h, entries, _, err := s.entries(ctx, s.scripts.renew, call, visitors, args, 4)
	return h, entries, err
}

// entries runs a script that answers with a row of so many numbers for each
// visitor, of which the first four tell outcome and session.
func (s *Store) entries(ctx context.Context, script *redis.Script, call admission.Call, visitors []string, args []any, width int) (admission.Head, []admission.Entry, [][]int64, error) {
	h, rest, err := s.run(ctx, script, call, args...)
	if err != nil {
		return h, nil, nil, err
	}
	rows, err := rowsOf(rest, width)
	if err != nil {
		return h, nil, nil, err
	}
	if len(rows) != len(visitors) {
		return h, nil, nil, errAnswer
	}
	entries := make([]admission.Entry, len(rows))
	for i, row := range rows {
		entries[i].Outcome = admission.Outcome(row[0])
		if entries[i].Outcome == admission.EntryAdmitted {
			entries[i].Admission = admission.Admission{
				Visitor: visitors[i], Number: row[1],
				Until: admission.Instant(row[2]), Max: admission.Instant(row[3]),
			}
		}
	}
	return h, entries, rows, nil
}

// Leave implements admission.Store.
func (s *Store) Leave(ctx context.Context, call admission.Call, departures []admission.Departure) (admission.Head, error) {
	var args []any
	for _, d := range departures {
		args = append(args, d.Visitor, d.Number, d.Epoch)
	}
	h, _, err := s.run(ctx, s.scripts.leave, call, args...)
	return h, err
}

// Present implements admission.Store.
func (s *Store) Present(ctx context.Context, call admission.Call, heard []admission.Piece) (admission.Head, error) {
	var args []any
	for _, r := range runs(heard) {
		args = append(args, r.chunk, r.offset, r.bytes)
	}
	h, _, err := s.run(ctx, s.scripts.present, call, args...)
	return h, err
}

// Heal implements admission.Store.
func (s *Store) Heal(ctx context.Context, call admission.Call, m admission.Memory) (admission.Head, error) {
	pieces := runs(m.Pieces)
	slices.SortStableFunc(pieces, doneFirst)
	args := []any{int64(m.Now), m.Released, m.Seats, len(pieces), len(m.Sessions), len(m.Ended), m.Overrides.Version}
	args = append(args, decisions(m.Overrides)...)
	args = append(args, m.Draw.Key, m.Draw.Source, m.Draw.Beacon, m.Draw.Later, bit(m.Draw.Mapped), len(m.Spent), m.First)
	for _, p := range pieces {
		args = append(args, letters[p.kind], p.chunk, p.offset, p.bytes)
	}
	for _, a := range m.Sessions {
		args = append(args, a.Visitor, a.Number, int64(a.Until), int64(a.Max))
	}
	for _, e := range m.Ended {
		args = append(args, e.Visitor, int64(e.Until))
	}
	h, _, err := s.run(ctx, s.scripts.heal, call, append(args, spendings(m.Spent)...)...)
	return h, err
}

// spendings writes what is used of passes as the scripts read it.
func spendings(spent []admission.Spent) (args []any) {
	for _, s := range spent {
		args = append(args, s.Pass, s.Uses, int64(s.Until))
	}
	return args
}

// Spend implements admission.Store.
func (s *Store) Spend(ctx context.Context, call admission.Call, spent []admission.Spent) (admission.Head, error) {
	h, _, err := s.run(ctx, s.scripts.spend, call, spendings(spent)...)
	return h, err
}

// Override implements admission.Store.
func (s *Store) Override(ctx context.Context, call admission.Call, o admission.Overrides) (admission.Head, error) {
	h, _, err := s.run(ctx, s.scripts.override, call, append([]any{o.Version}, decisions(o)...)...)
	return h, err
}

// Draw implements admission.Store.
func (s *Store) Draw(ctx context.Context, call admission.Call, d admission.Drawing) (admission.Head, error) {
	pieces := runs(d.Pieces)
	slices.SortStableFunc(pieces, doneFirst)
	args := []any{d.Key, d.Source, bit(d.Indexed), d.Beacon, d.Since}
	for _, p := range pieces {
		args = append(args, letters[p.kind], p.chunk, p.offset, p.bytes)
	}
	h, _, err := s.run(ctx, s.scripts.draw, call, args...)
	return h, err
}

// Reset implements admission.Store.
func (s *Store) Reset(ctx context.Context, call admission.Call, epoch int64) (admission.Head, error) {
	h, _, err := s.run(ctx, s.scripts.reset, call, epoch)
	return h, err
}

// Keys implements admission.Store.
func (s *Store) Keys(ctx context.Context, fresh admission.Key, known ...admission.Key) ([]admission.Key, error) {
	args := []any{int64(keysLife / time.Second)}
	for _, key := range append([]admission.Key{fresh}, known...) {
		text, err := json.Marshal(key)
		if err != nil {
			return nil, err
		}
		args = append(args, text)
	}
	answer, err := s.ask(ctx, s.scripts.keys, []string{keysKey}, false, args)
	if err != nil {
		return nil, fmt.Errorf("keep signing keys: %w", err)
	}
	text, ok := answer.(string)
	if !ok {
		return nil, errAnswer
	}
	var keys []admission.Key
	if err := json.Unmarshal([]byte(text), &keys); err != nil {
		return nil, fmt.Errorf("read signing keys: %w", err)
	}
	return keys, nil
}

// doneFirst orders runs: done, then off, then waiting.
func doneFirst(a, b bitRun) int { return int(b.kind) - int(a.kind) }
