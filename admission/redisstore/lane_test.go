package redisstore_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// awaitLanes waits until so many pipelines are under way and so many questions
// wait for one.
func awaitLanes(t *testing.T, store *redisstore.Store, underWay, gathered int) {
	t.Helper()
	for deadline := time.Now().Add(patience); store.UnderWay() != underWay || store.Gathered() != gathered; time.Sleep(time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("%d pipelines are under way and %d questions wait, want %d and %d",
				store.UnderWay(), store.Gathered(), underWay, gathered)
		}
	}
}

// fill puts as many pipelines under way as may be, to a Redis that does not
// answer now, with a question each.
func fill(t *testing.T, store *redisstore.Store, ask func(i int)) {
	t.Helper()
	awaitLanes(t, store, 0, 0) // a pipeline ends a moment after its last answer
	for i := range redisstore.MostUnderWay {
		go ask(i)
		awaitLanes(t, store, i+1, 0)
	}
}

// open makes a line and waits until it gives places: Redis cannot know that it
// was never there.
func open(t *testing.T, store admission.Store, line admission.LineID) {
	t.Helper()
	call := admission.Call{Line: line, Gateway: "g"}
	for deadline := time.Now().Add(patience); ; time.Sleep(admission.Tick) {
		read, err := store.Release(bounded(t), call, crowdLimits(), 0)
		if err != nil {
			t.Fatal(err)
		}
		if !read.Settling {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("line %s still settles", line)
		}
	}
}

// joinOne joins one visitor of its own name to a line.
func joinOne(ctx context.Context, store admission.Store, line admission.LineID, visitor string) (admission.Place, error) {
	_, places, err := store.Join(ctx, admission.Call{Line: line, Gateway: "g"}, visitor, []admission.Newcomer{{Visitor: visitor}})
	if err == nil && len(places) != 1 {
		err = fmt.Errorf("%d places", len(places))
	}
	if err != nil {
		return admission.Place{}, err
	}
	return places[0], nil
}

func TestLane_WhatManyLinesAskAtOnceTravelsTogether(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t)
	link := redistest.NewLink(t, server.Addr)
	store := connect(t, defaults(redisstore.Single, link.Addr))
	reads := func() int {
		n, err := strconv.Atoi(server.Info("stats")["total_reads_processed"])
		if err != nil {
			t.Fatal(err)
		}
		return n
	}
	const lines = 300
	before := reads()
	link.BlackHole()
	failed := make([]error, lines)
	var asking sync.WaitGroup
	asking.Add(lines)
	ask := func(i int) {
		defer asking.Done()
		line := admission.LineID{Tenant: "t", Activity: int64(i + 1)}
		_, failed[i] = store.Release(bounded(t), admission.Call{Line: line, Gateway: "g"}, crowdLimits(), 0)
	}
	fill(t, store, ask)
	for i := redisstore.MostUnderWay; i < lines; i++ {
		go ask(i)
	}
	awaitLanes(t, store, redisstore.MostUnderWay, lines-redisstore.MostUnderWay)
	link.Heal()
	asking.Wait()
	if err := errors.Join(failed...); err != nil {
		t.Fatal(err)
	}
	// Four alone, the others in three pipelines, of at most 16 KiB a read; and
	// again with the script, which this Redis has not seen. New connections say
	// hello, and reads asks INFO.
	if got := reads() - before; got > lines/4 {
		t.Errorf("Redis read %d times for %d lines, want at most a quarter as many", got, lines)
	}
}

func TestLane_AQuestionWhoseAskerLeftIsNotAsked(t *testing.T) {
	t.Parallel()
	link := redistest.NewLink(t, redistest.Single(t).Addr)
	store := connect(t, defaults(redisstore.Single, link.Addr))
	line := admission.LineID{Tenant: "t", Activity: 1}
	open(t, store, line)
	link.BlackHole()
	var asking sync.WaitGroup
	asking.Add(redisstore.MostUnderWay)
	fill(t, store, func(i int) {
		defer asking.Done()
		if _, err := joinOne(bounded(t), store, line, "early"+strconv.Itoa(i)); err != nil {
			t.Error(err)
		}
	})
	ctx, leave := context.WithCancel(t.Context())
	left := make(chan error)
	go func() {
		_, err := joinOne(ctx, store, line, "left")
		left <- err
	}()
	awaitLanes(t, store, redisstore.MostUnderWay, 1)
	leave()
	if err := <-left; !errors.Is(err, context.Canceled) {
		t.Errorf("the asker who left got %v, want context.Canceled", err)
	}
	link.Heal()
	asking.Wait()
	place, err := joinOne(bounded(t), store, line, "late")
	if want := int64(redisstore.MostUnderWay + 1); err != nil || place.Number != want {
		t.Errorf("the next visitor got number %d, %v; want %d: no number for the one who left", place.Number, err, want)
	}
}

func TestLane_AHungNodeOfAClusterDelaysOnlyItsOwnLines(t *testing.T) {
	t.Parallel()
	nodes := redistest.Cluster(t)
	store := connect(t, defaults(redisstore.Cluster, nodes.Addrs...))
	lineOn := func(wanted func(*redistest.Server) bool) admission.LineID {
		for i := int64(1); ; i++ {
			line := admission.LineID{Tenant: "t", Activity: i}
			if wanted(nodes.NodeOf("queue:seq:{" + line.String() + "}")) {
				return line
			}
		}
	}
	hung := lineOn(func(*redistest.Server) bool { return true })
	node := nodes.NodeOf("queue:seq:{" + hung.String() + "}")
	other := lineOn(func(s *redistest.Server) bool { return s != node })
	for _, line := range []admission.LineID{hung, other} {
		open(t, store, line)
	}
	node.Pause()
	defer node.Resume()
	ctx, leave := context.WithCancel(t.Context())
	var hanging sync.WaitGroup
	hanging.Add(redisstore.MostUnderWay + 1)
	hang := func(i int) {
		defer hanging.Done()
		if _, err := joinOne(ctx, store, hung, "hung"+strconv.Itoa(i)); err == nil {
			t.Error("a node that hangs gave a place")
		}
	}
	fill(t, store, hang)
	go hang(redisstore.MostUnderWay)
	awaitLanes(t, store, redisstore.MostUnderWay, 1)
	var numbers []int64
	for i := range 20 {
		place, err := joinOne(bounded(t), store, other, "other"+strconv.Itoa(i))
		if err != nil {
			t.Fatal(err)
		}
		numbers = append(numbers, place.Number)
	}
	if store.Gathered() == 0 {
		t.Error("the hung node's questions ended before the others were answered: this shows nothing")
	}
	if !slices.IsSorted(numbers) || numbers[19] != 20 {
		t.Errorf("the other node gave %v, want 1 to 20", numbers)
	}
	leave()
	hanging.Wait()
}

// What Redis says to a new connection is no answer to a question that was never
// sent: the asker hears the cause, and the breaker counts it.
func TestLane_ARefusedConnectionIsToldAsSuch(t *testing.T) {
	t.Parallel()
	server := redistest.Single(t, "requirepass secret")
	link := redistest.NewLink(t, server.Addr)
	o := defaults(redisstore.Single, link.Addr)
	o.Password = "secret"
	store := connect(t, o)
	server.Config("requirepass", "another")
	link.Reset()
	line := admission.LineID{Tenant: "t", Activity: 1}
	for range 5 {
		_, err := joinOne(bounded(t), store, line, "v")
		if !errors.Is(err, admission.ErrUnavailable) || !strings.Contains(err.Error(), "WRONGPASS") {
			t.Fatalf("got %v, want ErrUnavailable with WRONGPASS in it", err)
		}
	}
	if got := store.BreakerState(); got != 2 {
		t.Errorf("the breaker is in state %d after five refusals, want 2, open", got)
	}
}

// The ticks of a gateway with two hundred lines, as they come: all at once.
func BenchmarkTicksOfTwoHundredLines(b *testing.B) {
	server := redistest.Single(b)
	store, err := redisstore.Connect(b.Context(), defaults(redisstore.Single, server.Addr))
	if err != nil {
		b.Fatal(err)
	}
	defer store.Close()
	for b.Loop() {
		var ticks sync.WaitGroup
		for i := range 200 {
			ticks.Go(func() {
				call := admission.Call{Line: admission.LineID{Tenant: "t", Activity: int64(i + 1)}, Gateway: "g"}
				if _, err := store.Release(b.Context(), call, crowdLimits(), 0); err != nil {
					b.Error(err)
				}
			})
		}
		ticks.Wait()
	}
}
