package admission_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	bolt "go.etcd.io/bbolt"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
)

// clock is a clock that stands until it is advanced.
type clock struct {
	mu  sync.Mutex // protects now
	now time.Time
}

func newClock() *clock { return &clock{now: time.Date(2030, 5, 1, 12, 0, 0, 0, time.UTC)} }

func (c *clock) time() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// shelf is a memory store with its file, and what a test does to the two.
type shelf struct {
	t     *testing.T
	clock *clock
	path  string
	store *admission.MemoryStore
	stop  func() error // ends Run
	files int
}

func openShelf(t *testing.T, c *clock) *shelf {
	s := &shelf{t: t, clock: c, path: filepath.Join(t.TempDir(), "line.db")}
	s.open(s.path)
	t.Cleanup(func() { s.stop() })
	return s
}

func (s *shelf) open(path string) {
	s.t.Helper()
	store, err := admission.OpenMemory(path, s.clock.time)
	if err != nil {
		s.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- store.Run(ctx) }()
	stop := sync.OnceValue(func() error { cancel(); return <-ended })
	s.path, s.store, s.stop = path, store, stop
}

// copy returns a copy of the file as it is on the disk at some instant: as a
// kill would leave it. Two readings that agree have that instant between them.
func (s *shelf) copy() string {
	s.t.Helper()
	for {
		first, err := os.ReadFile(s.path)
		if err != nil {
			s.t.Fatal(err)
		}
		second, err := os.ReadFile(s.path)
		if err != nil {
			s.t.Fatal(err)
		}
		if bytes.Equal(first, second) {
			return s.write(first)
		}
	}
}

func (s *shelf) write(content []byte) string {
	s.t.Helper()
	s.files++
	path := filepath.Join(filepath.Dir(s.path), "copy"+string(rune('a'+s.files%26))+"-"+time.Now().Format("150405.000000000")+".db")
	if err := os.WriteFile(path, content, 0o600); err != nil {
		s.t.Fatal(err)
	}
	return path
}

// crash goes on from a copy of the file.
func (s *shelf) crash() { s.reopen(s.copy()) }

func (s *shelf) reopen(path string) {
	s.t.Helper()
	old := s.stop
	s.open(path)
	if err := old(); err != nil {
		s.t.Fatal(err)
	}
}

func openFileBench(t *testing.T) admissiontest.Bench {
	s := openShelf(t, newClock())
	return admissiontest.Bench{
		Store:   func() admission.Store { return s.store },
		Advance: s.clock.advance,
		Crash:   s.crash,
		Lose: func() {
			s.reopen(filepath.Join(t.TempDir(), "empty.db"))
		},
		Keep: func() func() {
			kept := s.copy()
			return func() { s.reopen(kept) }
		},
	}
}

func openMemoryBench(*testing.T) admissiontest.Bench {
	c := newClock()
	store := admission.NewMemory(c.time)
	return admissiontest.Bench{
		Store:   func() admission.Store { return store },
		Advance: c.advance,
		Lose:    func() { store = admission.NewMemory(c.time) },
	}
}

func TestMemory_KeepsTheRules(t *testing.T) { admissiontest.Store(t, openMemoryBench) }

func TestMemory_KeepsTheRulesWithItsFile(t *testing.T) { admissiontest.Store(t, openFileBench) }

func TestMemory_LivesLikeTheModel(t *testing.T) { admissiontest.Property(t, openMemoryBench) }

func TestMemory_LivesLikeTheModelOverCrashes(t *testing.T) { admissiontest.Property(t, openFileBench) }

func TestMemory_AnswersTheSameWithAndWithoutItsFile(t *testing.T) {
	admissiontest.Differential(t, openMemoryBench, openFileBench)
}

func memoryLimits() admission.Limits {
	return admission.Limits{
		Mode: admission.ModeAuto, Capacity: 5, RatePerHour: 3600, Burst: 5,
		Claim: 90 * time.Second, Absence: time.Minute, HoldPlace: 15 * time.Minute,
		Idle: 10 * time.Minute, Max: time.Hour,
	}
}

func call() admission.Call {
	return admission.Call{Line: admission.LineID{Tenant: "demo", Activity: 123}, Gateway: "g1"}
}

// begin opens the line; lines begin with it after every start.
func (s *shelf) begin(limits admission.Limits) admission.Line {
	s.t.Helper()
	line, err := s.store.Release(s.t.Context(), call(), limits, 0)
	if err != nil {
		s.t.Fatal(err)
	}
	return line
}

func (s *shelf) join(batch string, n int) []admission.Place {
	s.t.Helper()
	newcomers := make([]admission.Newcomer, n)
	for i := range newcomers {
		newcomers[i].Visitor = fmt.Sprintf("%s-%d", batch, i)
	}
	_, places, err := s.store.Join(s.t.Context(), call(), batch, newcomers)
	if err != nil || len(places) != n {
		s.t.Fatalf("join of %d: %d places, %v", n, len(places), err)
	}
	return places
}

func (s *shelf) knock(visitor string, number int64) admission.Entry {
	s.t.Helper()
	_, entries, err := s.store.Admit(s.t.Context(), call(), []admission.Knock{{Visitor: visitor, Number: number, Epoch: 1}})
	if err != nil {
		s.t.Fatal(err)
	}
	return entries[0]
}

func (s *shelf) leave(visitor string, number int64) {
	s.t.Helper()
	if _, err := s.store.Leave(s.t.Context(), call(), []admission.Departure{{Visitor: visitor, Number: number, Epoch: 1}}); err != nil {
		s.t.Fatal(err)
	}
}

// TestMemory_AKillAtAnyMomentLosesNothingThatWasAnswered lets visitors join,
// enter and leave from several goroutines, takes copies of the file meanwhile,
// and holds each copy against what had been answered when it was taken.
func TestMemory_AKillAtAnyMomentLosesNothingThatWasAnswered(t *testing.T) {
	s := openShelf(t, newClock())
	limits := memoryLimits()
	limits.Capacity, limits.RatePerHour, limits.Burst = 60, 0, 1
	s.begin(limits)

	var mu sync.Mutex // protects the answers
	numbers := map[int64]string{}
	inside := map[string]admission.Admission{}
	left := map[string]int64{}
	answered := make(chan struct{}, 1) // has a token where a join was answered since the last was taken
	ctx, stop := context.WithCancel(t.Context())
	var work sync.WaitGroup
	store := s.store
	for worker := range 4 {
		work.Go(func() {
			for i := 0; ctx.Err() == nil; i++ {
				batch := fmt.Sprintf("w%d-%d", worker, i)
				newcomers := []admission.Newcomer{{Visitor: batch + "a"}, {Visitor: batch + "b"}}
				_, places, err := store.Join(ctx, call(), batch, newcomers)
				if err != nil {
					return
				}
				mu.Lock()
				for j, p := range places {
					if numbers[p.Number] != "" {
						t.Errorf("number %d given to %s and to %s", p.Number, numbers[p.Number], newcomers[j].Visitor)
					}
					numbers[p.Number] = newcomers[j].Visitor
					if p.Admission.Visitor != "" {
						inside[p.Admission.Visitor] = p.Admission
					}
				}
				mu.Unlock()
				select {
				case answered <- struct{}{}:
				default:
				}
				_, entries, err := store.Admit(ctx, call(), []admission.Knock{{Visitor: newcomers[0].Visitor, Number: places[0].Number, Epoch: 1}})
				if err != nil {
					return
				}
				mu.Lock()
				if a := entries[0].Admission; a.Visitor != "" {
					inside[a.Visitor] = a
				}
				mu.Unlock()
				if i%3 != 0 {
					continue
				}
				if _, err := store.Leave(ctx, call(), []admission.Departure{{Visitor: newcomers[0].Visitor, Number: places[0].Number, Epoch: 1}}); err != nil {
					return
				}
				mu.Lock()
				left[newcomers[0].Visitor] = places[0].Number
				mu.Unlock()
				if _, err := store.Release(ctx, call(), limits, 0); err != nil {
					return
				}
				s.clock.advance(time.Millisecond)
			}
		})
	}

	type answers struct {
		path    string
		numbers map[int64]string
		inside  map[string]admission.Admission
		left    map[string]int64
	}
	var kills []answers
	for range 20 {
		mu.Lock()
		known := answers{numbers: clone(numbers), inside: clone(inside), left: clone(left)}
		mu.Unlock()
		known.path = s.copy()
		kills = append(kills, known)
		for range 1 + rand.IntN(8) { // let some steps pass
			<-answered
		}
	}
	stop()
	work.Wait()

	for _, known := range kills {
		other := &shelf{t: t, clock: s.clock}
		other.open(known.path)
		line := other.begin(limits)
		highest := int64(0)
		for n := range known.numbers {
			highest = max(highest, n)
		}
		if line.Issued < highest {
			t.Errorf("number %d was answered, the file knows of %d", highest, line.Issued)
		}
		for n, visitor := range known.numbers {
			e := other.knock(visitor, n)
			_, gone := known.left[visitor]
			a, admitted := known.inside[visitor]
			switch {
			case gone:
				if e.Outcome != admission.EntryGone {
					t.Errorf("%s left, and is %d again", visitor, e.Outcome)
				}
			case admitted:
				if e.Outcome != admission.EntryAdmitted && left[visitor] == 0 || e.Admission.Visitor != "" && e.Admission.Max != a.Max {
					t.Errorf("%s had the session %+v, and is %+v", visitor, a, e)
				}
			case e.Outcome == admission.EntryGone && left[visitor] == 0:
				t.Errorf("number %d of %s lost its place", n, visitor)
			}
		}
		if p := other.join("after", 1)[0]; numbers[p.Number] != "" && known.numbers[p.Number] != "" {
			t.Errorf("number %d is given again after a kill", p.Number)
		}
		if err := other.stop(); err != nil {
			t.Error(err)
		}
	}
	if len(numbers) < 50 || len(left) < 5 {
		t.Fatalf("only %d joined and %d left: the test shows nothing", len(numbers), len(left))
	}
}

func clone[K comparable, V any](m map[K]V) map[K]V {
	c := make(map[K]V, len(m))
	for k, v := range m {
		c[k] = v
	}
	return c
}

func TestMemory_ARestartGivesSessionsTheirIdleTimeAnew(t *testing.T) {
	s := openShelf(t, newClock())
	s.begin(memoryLimits())
	first := s.join("a", 1)[0].Admission
	if _, _, err := s.store.Renew(t.Context(), call(), []string{first.Visitor}); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ down, want time.Duration }{
		{9 * time.Minute, 10 * time.Minute}, // a minute was left
		{30 * time.Minute, 10 * time.Minute},
		{15 * time.Minute, 6 * time.Minute}, // its maximum
	} {
		s.leave("", 0) // what must last takes the renewal along
		path := s.copy()
		s.clock.advance(c.down)
		s.reopen(path)
		head := s.begin(memoryLimits()).Head
		e := s.knock(first.Visitor, 1)
		if got := e.Admission.Until.Sub(head.Now); e.Outcome != admission.EntryAdmitted || got != c.want || e.Admission.Max != first.Max {
			t.Fatalf("after %v down the session is %+v with %v left, want %v", c.down, e, got, c.want)
		}
	}
}

func TestMemory_ARestartedLineStartsAtZeroCredit(t *testing.T) {
	s := openShelf(t, newClock())
	s.begin(memoryLimits())
	s.join("a", 2) // three of the burst are left
	s.crash()
	s.begin(memoryLimits())
	if p := s.join("b", 1)[0]; p.Admission.Visitor != "" {
		t.Fatalf("admitted at once after a restart: %+v", p)
	}
	s.clock.advance(time.Second)
	line := s.begin(memoryLimits())
	if line.Turned != 3 || len(line.Claims) != 1 {
		t.Fatalf("a second after a restart, at 1/s: %+v", line)
	}
}

func TestMemory_AClockSetBackBetweenRunsDoesNotTurnTheLineBack(t *testing.T) {
	s := openShelf(t, newClock())
	before := s.begin(memoryLimits()).Now
	admitted := s.join("a", 1)[0].Admission
	path := s.copy()
	s.clock.advance(-2 * time.Hour)
	s.reopen(path)
	head := s.begin(memoryLimits()).Head
	if head.Now < before {
		t.Fatalf("the line's time went back by %v", before.Sub(head.Now))
	}
	s.clock.advance(time.Minute)
	if got := s.begin(memoryLimits()).Now.Sub(head.Now); got != time.Minute {
		t.Fatalf("%v passed for the line in a minute", got)
	}
	if e := s.knock(admitted.Visitor, 1); e.Outcome != admission.EntryAdmitted {
		t.Fatalf("the session is %+v after the clock was set back", e)
	}
}

func TestMemory_AClockThatJumpsWhileItRunsEndsNothing(t *testing.T) {
	// The machine's clock carries a monotonic reading; a store on it counts
	// that, so only a start looks at the wall.
	store := admission.NewMemory(nil)
	first, err := store.Release(t.Context(), call(), memoryLimits(), 0)
	if err != nil {
		t.Fatal(err)
	}
	second, err := store.Release(t.Context(), call(), memoryLimits(), 0)
	if err != nil || second.Now < first.Now || second.Now.Sub(first.Now) > time.Minute {
		t.Fatalf("the line went from %v to %v, %v", first.Now.Time(), second.Now.Time(), err)
	}
}

func TestMemory_ASecondProcessIsTurnedAway(t *testing.T) {
	s := openShelf(t, newClock())
	s.begin(memoryLimits())
	second, err := admission.OpenMemory(s.path, s.clock.time)
	if err == nil || !strings.Contains(err.Error(), s.path) || !strings.Contains(err.Error(), "another process") {
		t.Fatalf("a second open of the file: %v, %v", second, err)
	}
	s.join("a", 1) // the first goes on
}

func TestMemory_ADamagedFileIsRefusedAndLeftAlone(t *testing.T) {
	s := openShelf(t, newClock())
	s.begin(memoryLimits())
	s.join("a", 200)
	for i := range 30 {
		s.join(fmt.Sprint("b", i), 20)
	}
	if _, err := s.store.Keys(t.Context(), admission.NewKey()); err != nil {
		t.Fatal(err)
	}
	whole, err := os.ReadFile(s.copy())
	if err != nil {
		t.Fatal(err)
	}
	garble := func(from, to int) []byte {
		damaged := slices.Clone(whole)
		for i := from; i < to && i < len(damaged); i++ {
			damaged[i] = byte(i*7 + 13)
		}
		return damaged
	}
	page := os.Getpagesize()
	damages := map[string][]byte{
		"text":           []byte(strings.Repeat("this is no store\n", 1000)),
		"a few bytes":    whole[:100],
		"half a page":    whole[:page/2],
		"two pages":      whole[:2*page],
		"three pages":    whole[:3*page],
		"the heads":      garble(0, 2*page),
		"all but a head": garble(2*page, len(whole)),
		"everything":     garble(0, len(whole)),
	}
	for name, damaged := range damages {
		path := s.write(damaged)
		store, err := admission.OpenMemory(path, s.clock.time)
		if err == nil {
			t.Errorf("%s: opened, want an error; %v", name, store)
			continue
		}
		if !strings.Contains(err.Error(), path) {
			t.Errorf("%s: the error does not name the file: %v", name, err)
		}
		after, err := os.ReadFile(path)
		if err != nil || !bytes.Equal(after, damaged) {
			t.Errorf("%s: the damaged file was written to", name)
		}
	}
}

func TestMemory_APathThatCannotBeOpenedIsNamed(t *testing.T) {
	directory := t.TempDir()
	for _, path := range []string{directory, filepath.Join(directory, "missing", "line.db")} {
		if _, err := admission.OpenMemory(path, nil); err == nil || !strings.Contains(err.Error(), path) {
			t.Errorf("open of %s: %v", path, err)
		}
	}
}

func TestMemory_KeysAreKeptOverARestart(t *testing.T) {
	s := openShelf(t, newClock())
	fresh := admission.NewKey()
	if _, err := s.store.Keys(t.Context(), fresh); err != nil {
		t.Fatal(err)
	}
	s.crash()
	kept, err := s.store.Keys(t.Context(), admission.NewKey())
	if err != nil || len(kept) != 1 || kept[0].ID != fresh.ID || !bytes.Equal(kept[0].Secret, fresh.Secret) {
		t.Fatalf("keys after a restart: %v, %v; want %v", kept, err, fresh)
	}
}

func TestMemory_TheFileIsForItsOwnerAlone(t *testing.T) {
	s := openShelf(t, newClock())
	info, err := os.Stat(s.path)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("mode of the file, which holds the signing keys: %v, %v", info.Mode(), err)
	}
}

func TestMemory_AStepAfterTheEndIsRefusedAtOnce(t *testing.T) {
	s := openShelf(t, newClock())
	s.begin(memoryLimits())
	if err := s.stop(); err != nil {
		t.Fatal(err)
	}
	_, places, err := s.store.Join(context.Background(), call(), "late", []admission.Newcomer{{Visitor: "late"}})
	if !errors.Is(err, admission.ErrUnavailable) {
		t.Fatalf("a join after the file was closed: %v, %v; want %v", places, err, admission.ErrUnavailable)
	}
}

// written tells how often the file was written to.
func (s *shelf) written() string {
	s.t.Helper()
	content, err := os.ReadFile(s.path)
	if err != nil {
		s.t.Fatal(err)
	}
	return string(content)
}

func TestMemory_AnIdleStoreDoesNotWrite(t *testing.T) {
	s := openShelf(t, newClock())
	limits := memoryLimits()
	s.begin(limits)
	s.join("a", 5)
	s.clock.advance(9 * time.Second)
	s.begin(limits)
	s.leave("", 0)  // so that all is written
	for range 400 { // an idle hour: sessions end, windows pass, credit fills up
		s.clock.advance(9 * time.Second)
		s.begin(limits)
	}
	s.leave("", 0)
	before := s.written()
	for range 400 {
		s.clock.advance(9 * time.Second)
		s.begin(limits)
		s.leave("", 0) // each asks for a write, and has nothing to be written
	}
	if s.written() != before {
		t.Fatal("an idle store wrote to its file")
	}
}

// entries counts all that is in the file.
func (s *shelf) entries() (count int) {
	s.t.Helper()
	db, err := bolt.Open(s.copy(), 0o600, &bolt.Options{ReadOnly: true})
	if err != nil {
		s.t.Fatal(err)
	}
	defer db.Close()
	var walk func(b *bolt.Bucket) error
	walk = func(b *bolt.Bucket) error {
		return b.ForEach(func(key, value []byte) error {
			if value == nil {
				return walk(b.Bucket(key))
			}
			count++
			return nil
		})
	}
	if err := db.View(func(tx *bolt.Tx) error {
		return tx.ForEach(func(_ []byte, b *bolt.Bucket) error { return walk(b) })
	}); err != nil {
		s.t.Fatal(err)
	}
	return count
}

func TestMemory_TheFileDoesNotGrowWithTheDay(t *testing.T) {
	s := openShelf(t, newClock())
	limits := memoryLimits()
	limits.Capacity, limits.RatePerHour, limits.Absence, limits.HoldPlace = 0, 0, 10*time.Second, time.Minute
	limits.Idle, limits.Max, limits.Claim = 20*time.Second, 20*time.Second, 10*time.Second
	size := func() int {
		s.leave("", 0)
		return len(s.written())
	}
	var first int
	for hour := range 40 {
		limits.Mode = admission.ModeHold
		s.begin(limits)
		for i := range 10 {
			s.join(fmt.Sprint(hour, "-", i), 500)
		}
		limits.Mode = admission.ModeAuto
		for range 40 {
			s.clock.advance(4 * time.Second)
			s.begin(limits)
		}
		if hour == 4 {
			first = size()
		}
	}
	if last := size(); last > 2*first {
		t.Fatalf("the file has %d bytes after 25,000 visitors came and went, and %d after 200,000", first, last)
	}
	if entries := s.entries(); entries > 20 { // a hundred and more blocks of numbers came and went
		t.Fatalf("the file has %d entries of a line in which nobody is", entries)
	}
	line := s.begin(limits)
	if line.First < 150_000 {
		t.Fatalf("numbers from %d on are kept, of which those to %d are lost", line.First, line.Lost)
	}
	if len(line.Pieces) > 60 {
		t.Fatalf("%d pieces are kept of a line in which nobody is", len(line.Pieces))
	}
	s.crash()
	after := s.begin(limits)
	if after.First != line.First || after.Lost < line.Lost || len(after.Pieces) > 60 {
		t.Fatalf("after a crash numbers from %d on are kept in %d pieces, lost are those to %d", after.First, len(after.Pieces), after.Lost)
	}
}

// TestMemory_GoesOnWithoutItsFile runs itself in a process whose files must
// not grow, as on a full disk; the limit is of the process, so that it holds
// for root as well.
func TestMemory_GoesOnWithoutItsFile(t *testing.T) {
	if os.Getenv("ROPELINE_TEST_FULL_DISK") == "" {
		child := exec.Command(os.Args[0], "-test.run=^TestMemory_GoesOnWithoutItsFile$", "-test.v")
		child.Env = append(os.Environ(), "ROPELINE_TEST_FULL_DISK=1", "TMPDIR="+t.TempDir())
		if out, err := child.CombinedOutput(); err != nil {
			t.Fatalf("%v\n%s", err, out)
		}
		return
	}
	signal.Ignore(syscall.SIGXFSZ)
	var roomy syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_FSIZE, &roomy); err != nil {
		t.Fatal(err)
	}
	disk := func(full bool) {
		limit := roomy
		if full {
			limit.Cur = 0
		}
		if err := syscall.Setrlimit(syscall.RLIMIT_FSIZE, &limit); err != nil {
			t.Fatal(err)
		}
	}

	s := openShelf(t, newClock())
	s.begin(memoryLimits())
	s.join("before", 7)
	if err := s.store.Health(); err != nil {
		t.Fatalf("health of a store that writes: %v", err)
	}
	disk(true)
	s.leave("before-0", 1)
	during := s.join("during", 6) // answered, though it cannot be written
	if err := s.store.Health(); err == nil || !strings.Contains(err.Error(), "write store file") {
		t.Fatalf("health of a store that cannot write: %v", err)
	}
	s.leave("during-2", during[2].Number)
	for i := range 100 {
		s.join(fmt.Sprint("more", i), 3)
	}
	if _, err := s.store.Keys(t.Context(), admission.NewKey()); err == nil {
		t.Fatal("a signing key was handed out that a restart would lose")
	}
	if e := s.knock("before-6", 7); e.Outcome != admission.EntryWaiting {
		t.Fatalf("a place from before the disk was full: %+v", e)
	}
	disk(false)
	for s.store.Health() != nil { // it tries again by itself
		s.join(fmt.Sprint("recovering", time.Now().UnixNano()), 1)
	}
	s.crash()
	line := s.begin(memoryLimits())
	if line.Issued < 313 || line.Sessions != 5 {
		t.Fatalf("after the disk had room again and a crash: %d issued and %d inside, want 313 or more and 5", line.Issued, line.Sessions)
	}
	if e := s.knock("before-0", 1); e.Outcome != admission.EntryGone {
		t.Fatalf("who left in the step that could not be written: %+v", e)
	}
	if e := s.knock("during-2", during[2].Number); e.Outcome != admission.EntryGone {
		t.Fatalf("who left while the disk was full: %+v", e)
	}
	if e := s.knock("more99-2", 313); e.Outcome != admission.EntryWaiting {
		t.Fatalf("who joined while the disk was full: %+v", e)
	}
	if _, err := s.store.Keys(t.Context(), admission.NewKey()); err != nil {
		t.Fatalf("keys once the disk has room again: %v", err)
	}
}
