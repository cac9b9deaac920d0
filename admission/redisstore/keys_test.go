package redisstore_test

import (
	"context"
	"fmt"
	"io/fs"
	"maps"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// shelf is a store on a server, and a gateway that asks it for a line.
type shelf struct {
	*testing.T
	server *redistest.Server
	client *redis.Client
	store  *redisstore.Store
	call   admission.Call
	limits admission.Limits
	now    time.Time
	named  int
}

// openShelf returns a shelf whose line is whole and full: one is inside.
func openShelf(t *testing.T) *shelf {
	server := redistest.Single(t, "appendfsync no")
	s := &shelf{
		T: t, server: server, client: redis.NewClient(&redis.Options{Addr: server.Addr, ReadTimeout: 10 * time.Second}),
		call:   admission.Call{Line: admission.LineID{Tenant: "demo", Activity: 7}, Gateway: "g1"},
		limits: crowdLimits(),
		now:    time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC),
	}
	s.limits.Capacity, s.limits.JoinsPerHour, s.limits.JoinBurst = 1, 3600, 10
	s.Cleanup(func() { s.client.Close() })
	s.store = redisstore.NewAt(s.client, clockKey, plantedHere(t))
	s.pass(0)
	s.release()
	s.pass(4 * time.Second)
	s.release()
	if p := s.join(1); len(p) != 1 || p[0].Admission.Visitor == "" {
		t.Fatalf("the first to join got %+v, want to be inside", p)
	}
	return s
}

func (s *shelf) pass(d time.Duration) {
	s.Helper()
	s.now = s.now.Add(d)
	if err := s.client.Set(s.Context(), clockKey, s.now.UnixMicro(), 0).Err(); err != nil {
		s.Fatal(err)
	}
}

// did takes in the answer to a step.
func (s *shelf) did(head admission.Head, err error) admission.Head {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
	s.call.Floor = head.Floor
	return head
}

func (s *shelf) release() admission.Line {
	s.Helper()
	line, err := s.store.Release(s.Context(), s.call, s.limits, 0)
	s.did(line.Head, err)
	return line
}

func (s *shelf) join(n int) []admission.Place {
	s.Helper()
	newcomers := make([]admission.Newcomer, n)
	for i := range newcomers {
		s.named++
		newcomers[i].Visitor = fmt.Sprintf("v%d", s.named)
	}
	head, places, err := s.store.Join(s.Context(), s.call, fmt.Sprintf("batch-%d", s.named), newcomers)
	s.did(head, err)
	return places
}

// keys returns all keys but the clock, in order.
func (s *shelf) keys() []string {
	s.Helper()
	keys, err := s.client.Keys(s.Context(), "*").Result()
	if err != nil {
		s.Fatal(err)
	}
	slices.Sort(keys)
	return slices.DeleteFunc(keys, func(k string) bool { return k == clockKey })
}

func TestKeys_ShareATagExpireAndTellNoOne(t *testing.T) {
	t.Parallel()
	s := openShelf(t)
	const person, address = "alice@example.com", "203.0.113.77"

	// Of the visitors' own: what a gateway makes of addresses and identities.
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		t.Fatal(err)
	}
	settings := crowdSettings()
	settings.Limits, settings.Networks = s.limits, admission.Networks{IPv4: 32, IPv6: 64}
	room, err := admission.OpenRoom(t.Context(), s.store, s.call.Line, "g2", admission.Secret("secret"), ring, settings, zap.NewNop())
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- room.Run(ctx) }()
	for range 2 {
		verdict := room.Arrive(t.Context(), admission.Visit{Network: netip.MustParseAddr(address), Identity: person})
		if verdict.Status.Number != 2 {
			t.Fatalf("the visitor got %+v, want number 2", verdict.Status)
		}
	}
	stop()
	<-ended

	// All else that leaves a trace: turns that lapse, sessions that are used,
	// left and brought back, marks, decisions, a line that healed, an epoch.
	s.join(200)
	for i := range 40 {
		s.pass(2 * time.Second)
		line := s.release()
		var heard []uint64
		for range admission.PieceNumbers / 64 {
			heard = append(heard, ^uint64(0))
		}
		s.did(s.store.Present(t.Context(), s.call, []admission.Piece{{Bits: heard}}))
		for _, c := range line.Claims {
			if i == 39 {
				break // a turn that is not taken
			}
			visitor := fmt.Sprintf("late%d", c.Number)
			head, _, err := s.store.Admit(t.Context(), s.call, []admission.Knock{{Visitor: visitor, Number: c.Number, Epoch: line.Epoch}})
			s.did(head, err)
			head, _, err = s.store.Renew(t.Context(), s.call, []string{visitor})
			s.did(head, err)
			if i > 4 {
				s.did(s.store.Leave(t.Context(), s.call, []admission.Departure{{Visitor: visitor, Number: c.Number, Epoch: line.Epoch}}))
			}
		}
		switch i {
		case 10:
			message := "soon"
			s.did(s.store.Override(t.Context(), s.call, admission.Overrides{Message: &message}))
		case 12:
			s.did(s.store.Reset(t.Context(), s.call, 1))
			s.join(200)
		case 20: // another gateway knows of more
			s.call.Floor.Issued += 10
			s.did(s.store.Heal(t.Context(), s.call, admission.Memory{
				Now: line.Now, Released: line.Released, Seats: line.Seats(), Pieces: line.Pieces,
				Sessions: []admission.Admission{{Visitor: "back", Number: 1, Until: line.Now.Add(5 * time.Second), Max: line.Now.Add(time.Hour)}},
			}))
		}
	}

	// A pass for the season, and a holder who waits.
	pass := admission.Pass{ID: "season", Uses: 9, Until: admission.InstantOf(s.now).Add(300 * 24 * time.Hour)}
	s.did(s.store.Spend(t.Context(), s.call, []admission.Spent{{Pass: pass.ID, Uses: 2, Until: pass.Until}}))
	head, _, err := s.store.Admit(t.Context(), s.call, []admission.Knock{{Visitor: "holder", Pass: pass, Waits: true}})
	s.did(head, err)

	kinds := s.checkKeys()

	// A quiet time, in which ticks alone keep what nobody writes.
	for _, key := range s.keys() {
		if strings.HasPrefix(key, "queue:") {
			s.client.Expire(t.Context(), key, time.Hour)
		}
	}
	for range 32 {
		s.pass(2 * time.Second)
		s.release()
	}
	s.join(1) // and is admitted at once
	maps.Copy(kinds, s.checkKeys())
	for _, kind := range []string{
		"queue:seq", "queue:active", "queue:visit", "queue:turns", "queue:steps", "queue:ended", "queue:told", "queue:limits", "queue:batch",
		"queue:batches", "queue:changed", "queue:live", "queue:off", "queue:done", "user:queue",
		"queue:pass", "queue:passes", "queue:spent", "queue:holder", "queue:holders", "queue:held", "queue:holds", "throttle:ip",
	} {
		if !kinds[kind] {
			t.Errorf("no key of kind %s was made: the life was not busy enough", kind)
		}
	}

	// The server's file has all that was ever written.
	var written strings.Builder
	err = filepath.WalkDir(filepath.Join(s.server.Dir, "appendonlydir"), func(path string, file fs.DirEntry, err error) error {
		if err != nil || file.IsDir() {
			return err
		}
		text, err := os.ReadFile(path)
		written.Write(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(written.String(), "throttle:ip:{demo:7}:") || !strings.Contains(written.String(), "user:queue:{demo:7}:") {
		t.Error("the server's file tells of no network and no identity: it is not what was written")
	}
	for _, told := range []string{person, "alice", address, "203.0.113"} {
		if strings.Contains(written.String(), told) {
			t.Errorf("%q was written to Redis", told)
		}
	}
}

// A server that evicts keys takes one and leaves the rest of the line.
func TestKeys_OneThatIsLostStopsNoLine(t *testing.T) {
	t.Parallel()
	s := openShelf(t)
	pass := admission.Pass{ID: "season", Uses: 90, Until: admission.InstantOf(s.now).Add(300 * 24 * time.Hour)}
	live := func() {
		t.Helper()
		holder := fmt.Sprintf("holder%d", s.named)
		head, _, err := s.store.Admit(t.Context(), s.call, []admission.Knock{
			{Visitor: holder, Pass: pass}, {Visitor: "who waits", Pass: pass, Waits: true},
		})
		s.did(head, err)
		for _, p := range s.join(3) {
			head, _, err := s.store.Renew(t.Context(), s.call, []string{p.Visitor, holder})
			s.did(head, err)
			s.did(s.store.Leave(t.Context(), s.call, []admission.Departure{{Visitor: p.Visitor}, {Visitor: holder}, {Visitor: "who waits"}}))
		}
		line := s.release()
		for _, c := range line.Claims {
			knock := admission.Knock{Visitor: fmt.Sprintf("late%d", c.Number), Number: c.Number, Epoch: line.Epoch}
			head, _, err := s.store.Admit(t.Context(), s.call, []admission.Knock{knock})
			s.did(head, err)
			s.did(s.store.Leave(t.Context(), s.call, []admission.Departure{{Visitor: knock.Visitor}}))
		}
		s.did(s.store.Present(t.Context(), s.call, []admission.Piece{{Bits: []uint64{^uint64(0)}}}))
		s.pass(2 * time.Second)
	}
	s.limits.Capacity = 2
	for range 30 {
		live()
	}
	for _, key := range s.keys() {
		if !strings.HasPrefix(key, "queue:") {
			continue
		}
		for range 4 {
			live()
		}
		if err := s.client.Del(t.Context(), key).Err(); err != nil {
			t.Fatal(err)
		}
		for range 4 {
			live()
		}
		if head := s.release().Head; head.Waiting < 0 || head.Turns < 0 || head.Sessions < 0 || head.Awaited < 0 {
			t.Errorf("without %s: %+v", key, head)
		}
	}
}

func TestKeys_AMillionWaitingTakeLessThanSixBitsEach(t *testing.T) {
	t.Parallel()
	s := openShelf(t)
	const million, batch = 1_000_000, 10_000
	for range million / batch {
		if places := s.join(batch); len(places) != batch || places[batch-1].Number == 0 {
			t.Fatalf("a batch of %d got %d places", batch, len(places))
		}
	}
	if head := s.release().Head; head.Waiting != million {
		t.Fatalf("%d wait, want a million", head.Waiting)
	}
	s.weigh("joined", million)

	// Two windows on, each of them was heard in both.
	var heard []admission.Piece
	for from := int64(0); from <= million; from += admission.PieceNumbers {
		p := admission.Piece{From: from, Bits: make([]uint64, admission.PieceNumbers/64)}
		for i := range p.Bits {
			p.Bits[i] = ^uint64(0)
		}
		heard = append(heard, p)
	}
	for range 3 {
		for range 4 {
			s.pass(s.limits.Absence / 4)
			s.release()
		}
		s.did(s.store.Present(t.Context(), s.call, heard))
	}
	if head := s.release().Head; head.Waiting < million-100 { // some had a turn meanwhile
		t.Fatalf("%d wait after three windows, want about a million", head.Waiting)
	}
	s.weigh("waiting for three windows", million)
}

// weigh checks what all keys take.
func (s *shelf) weigh(when string, visitors int64) {
	s.Helper()
	total := int64(0)
	keys := s.keys()
	for _, key := range keys {
		size, err := s.client.MemoryUsage(s.Context(), key, 0).Result()
		if err != nil {
			s.Fatal(err)
		}
		total += size
	}
	bits := float64(total) * 8 / float64(visitors)
	s.Logf("%s: %d visitors take %d bytes of Redis in %d keys, %.2f bits each", when, visitors, total, len(keys), bits)
	if bits > 6 {
		s.Errorf("%s: a visitor takes %.2f bits of Redis, want 6 at most", when, bits)
	}
}

// checkKeys checks the tag and the expiry of all keys, and returns their kinds.
func (s *shelf) checkKeys() map[string]bool {
	s.Helper()
	kinds := map[string]bool{}
	for _, key := range s.keys() {
		kind, rest, tagged := strings.Cut(key, ":{demo:7}")
		if !tagged {
			s.Errorf("key %s has not the hash tag of its line: in a cluster it would be elsewhere", key)
		}
		kinds[kind] = true
		// What a line is made of outlives its longest session by a week. A
		// place of an identity lives as long as the queue token that shows it;
		// what a network has used is worth nothing when it may join again. What is
		// used of a pass is kept to its end.
		least, most := s.limits.Max+7*24*time.Hour, s.limits.Max+8*24*time.Hour
		switch kind {
		case "user:queue":
			least = 7 * 24 * time.Hour
		case "throttle:ip":
			least, most = time.Second, time.Hour
		case "queue:pass", "queue:passes", "queue:spent":
			least, most = 300*24*time.Hour-10*time.Minute, 300*24*time.Hour+time.Minute
		}
		life, err := s.client.PTTL(s.Context(), key).Result()
		if err != nil {
			s.Fatal(err)
		}
		life += time.Minute // at most what this test took since it was written
		if life < least || life > most+time.Minute {
			s.Errorf("key %s%s lives for %v, want %v to %v", kind, rest, life, least, most)
		}
	}
	return kinds
}
