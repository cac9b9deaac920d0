package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/redis/go-redis/v9"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/redisstore"
	"github.com/ropeline/ropeline/proxy"
	"github.com/ropeline/ropeline/waitpage"
)

// startRedis starts a Redis of its own on a free loopback port.
func startRedis(ctx context.Context) (address string, stop func(), err error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	address = l.Addr().String()
	if err := l.Close(); err != nil {
		return "", nil, err
	}
	dir, err := os.MkdirTemp("", "ropeline-bench-redis-")
	if err != nil {
		return "", nil, err
	}
	_, port, _ := strings.Cut(address, ":")
	cmd := exec.CommandContext(ctx, "redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", dir,
		"--appendonly", "yes", "--appendfsync", "everysec", "--save", "")
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := cmd.Start(); errors.Is(err, exec.ErrNotFound) {
		return "", nil, errors.New("redis-server is missing: apt-get install redis-server")
	} else if err != nil {
		return "", nil, err
	}
	client := redis.NewClient(&redis.Options{Addr: address, MaxRetries: 20})
	defer client.Close()
	if err := client.Ping(ctx).Err(); err != nil {
		return "", nil, fmt.Errorf("redis-server: %w", err)
	}
	return address, func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // its status says only that it was killed
		_ = os.RemoveAll(dir)
	}, nil
}

// asking is our own gateway but for one thing: it asks Redis once for each
// request, a join by itself and a poll too, as most others do.
func asking(address, shop string) (http.Handler, error) {
	ctx := context.Background() // it ends with the process
	store, err := connect(ctx, address)
	if err != nil {
		return nil, err
	}
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		return nil, err
	}
	limits := holdLimits(admission.ModeAuto)
	limits.Capacity, limits.RatePerHour = 1, 1
	rooms := admission.NewRooms(apart{store}, "asking", nil, zap.NewNop())
	opened, err := rooms.Open(ctx, ring, []admission.Activity{{
		Line:     admission.LineID{Tenant: "asking", Activity: 123},
		Settings: admission.Settings{Limits: limits, Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}},
	}})
	if err != nil {
		return nil, err
	}
	opened.Apply()
	go func() { _ = rooms.Run(ctx) }()

	room := askingRoom{opened.Room(123), redis.NewClient(&redis.Options{Addr: address, PoolSize: 64})}
	page := waitpage.New("/_ropeline", func(id int64) (waitpage.Activity, bool) {
		return waitpage.Activity{Name: "Bench", Room: room}, id == 123
	})
	gateway := proxy.NewGateway(proxy.Options{})
	to, err := url.Parse(shop)
	if err != nil {
		return nil, err
	}
	upstream, err := gateway.Upstream(proxy.UpstreamSettings{Name: "shop", Servers: []proxy.UpstreamServer{{URL: *to}}})
	if err != nil {
		return nil, err
	}
	table, err := proxy.NewTable(proxy.Settings{
		Reserved: map[string]http.Handler{"/_ropeline": page}, Holder: page,
		Routes: []proxy.Route{
			{Host: "*", Path: "/drop", Activity: &proxy.Activity{ID: 123, Tenant: "asking", Room: room.Room, Idle: limits.Idle}, Upstream: upstream},
			{Host: "*", Path: "/", Upstream: upstream},
		},
	})
	if err != nil {
		return nil, err
	}
	gateway.Swap(table)
	return gateway, nil
}

// apart is a store that is asked for each join, and each admission, by itself.
type apart struct{ admission.Store }

func (a apart) Join(ctx context.Context, call admission.Call, batch string, newcomers []admission.Newcomer) (admission.Head, []admission.Place, error) {
	heads := make([]admission.Head, len(newcomers))
	places := make([]admission.Place, len(newcomers))
	errs := make([]error, len(newcomers))
	var all sync.WaitGroup
	for i := range newcomers {
		all.Go(func() {
			head, place, err := a.Store.Join(ctx, call, batch+strconv.Itoa(i), newcomers[i:i+1])
			heads[i], errs[i] = head, err
			if len(place) == 1 {
				places[i] = place[0]
			}
		})
	}
	all.Wait()
	return heads[len(heads)-1], places, errors.Join(errs...)
}

func (a apart) Admit(ctx context.Context, call admission.Call, knocks []admission.Knock) (admission.Head, []admission.Entry, error) {
	heads := make([]admission.Head, len(knocks))
	entries := make([]admission.Entry, len(knocks))
	errs := make([]error, len(knocks))
	var all sync.WaitGroup
	for i := range knocks {
		all.Go(func() {
			head, entry, err := a.Store.Admit(ctx, call, knocks[i:i+1])
			heads[i], errs[i] = head, err
			if len(entry) == 1 {
				entries[i] = entry[0]
			}
		})
	}
	all.Wait()
	return heads[len(heads)-1], entries, errors.Join(errs...)
}

// askingRoom asks Redis for each poll.
type askingRoom struct {
	*admission.Room
	client *redis.Client
}

func (r askingRoom) Peek(ctx context.Context, visit admission.Visit) admission.Verdict {
	if err := r.client.HGet(ctx, "queue:seq:{asking:123}", "released").Err(); err != nil {
		return admission.Verdict{Status: admission.Status{Unavailable: true}}
	}
	return r.Room.Peek(ctx, visit)
}

func connect(ctx context.Context, address string) (*redisstore.Store, error) {
	return redisstore.Connect(ctx, redisstore.Options{
		Mode: redisstore.Single, Addresses: []string{address}, PoolSize: 10, MinIdleConns: 5, MaxRetries: 3,
		DialTimeout: 5 * time.Second, ReadTimeout: 3 * time.Second, WriteTimeout: 3 * time.Second,
	})
}

// overRedis measures joins and polls through the Redis store beside a gateway
// that asks Redis once per request.
func overRedis(ctx context.Context, binary string, rounds int, each time.Duration) error {
	address, stop, err := startRedis(ctx)
	if err != nil {
		return err
	}
	defer stop()
	shop, err := start(ctx, "upstream")
	if err != nil {
		return err
	}
	defer shop.stop()
	one, err := start(ctx, "asking", address, shop.url)
	if err != nil {
		return err
	}
	defer one.stop()
	full, err := startGateway(ctx, binary, shop.url, "capacity: 1, rate: 1/h", "{type: redis, redis: {addresses: ["+strconv.Quote(address)+"]}}", false)
	if err != nil {
		return err
	}
	defer full.stop()
	var waiting [2]string
	for i, server := range []*process{full, one} {
		if err := untilJoined(ctx, server.url+"/drop"); err != nil { // takes the one seat
			return err
		}
		if waiting[i], err = cookie(ctx, server.url+"/drop"); err != nil {
			return err
		}
	}
	for _, pair := range [][2]side{
		{{name: "join", server: full, path: "/drop"}, {name: "join", server: one, path: "/drop"}},
		{{name: "status poll", server: full, path: pollPath, header: waiting[0]}, {name: "status poll", server: one, path: pollPath, header: waiting[1]}},
	} {
		pair[0].label, pair[1].label = pair[0].name+", Redis store", "the same, asking Redis once per request"
		if err := compare(ctx, pair[0], pair[1], rounds, each); err != nil {
			return err
		}
	}
	fmt.Println()
	return throughRedis(ctx, address, rounds)
}

// untilJoined asks until the line has settled and the one seat is taken.
func untilJoined(ctx context.Context, url string) error {
	for range 100 {
		request, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		request.Header.Set("Accept", "text/html")
		answer, err := http.DefaultClient.Do(request)
		if err != nil {
			return err
		}
		_, _ = io.Copy(io.Discard, answer.Body)
		answer.Body.Close()
		if len(answer.Cookies()) > 0 {
			return nil
		}
		time.Sleep(100 * time.Millisecond)
	}
	return errors.New("the line did not settle in ten seconds")
}

// throughRedis measures what has no HTTP in it: joins and admissions that
// travel together, and the memory of a million waiting.
func throughRedis(ctx context.Context, address string, rounds int) error {
	store, err := connect(ctx, address)
	if err != nil {
		return err
	}
	defer store.Close()
	client := redis.NewClient(&redis.Options{Addr: address})
	defer client.Close()

	fmt.Println("| through a Room, in one process | per second | Redis calls per thousand |")
	fmt.Println("|---|---|---|")
	for _, kind := range []struct {
		name     string
		activity int64
		mode     admission.Mode
	}{{"joins that wait", 1, admission.ModeHold}, {"joins admitted at once", 2, admission.ModeAuto}} {
		perSecond, calls, err := manyJoins(ctx, store, client, kind.activity, kind.mode)
		if err != nil {
			return err
		}
		fmt.Printf("| %s | %.0f | %.1f |\n", kind.name, perSecond, calls)
	}
	fmt.Println()
	if err := manyAdmissions(ctx, store, client, rounds); err != nil {
		return err
	}

	line := admission.Call{Line: admission.LineID{Tenant: "bench", Activity: 3}, Gateway: "bench"}
	if err := settleLine(ctx, store, line); err != nil {
		return err
	}
	const waiting = 1_000_000
	together := make([]admission.Newcomer, 500)
	for i := 0; i < waiting; i += len(together) {
		for j := range together {
			together[j].Visitor = strconv.Itoa(i + j)
		}
		if _, places, err := store.Join(ctx, line, strconv.Itoa(i), together); err != nil || len(places) != len(together) {
			return fmt.Errorf("join %d: %d places, %w", i, len(places), err)
		}
	}
	bytes, err := memoryOf(ctx, client, line.Line)
	if err != nil {
		return err
	}
	fmt.Printf("\nmemory of Redis: %.2f bits for each of a million waiting (%d KiB in all, the answers to the last minute's joins included)\n\n",
		float64(bytes)*8/waiting, bytes>>10)
	return nil
}

func holdLimits(mode admission.Mode) admission.Limits {
	return admission.Limits{
		Mode: mode, Burst: 1, Claim: time.Hour, Absence: time.Hour, HoldPlace: time.Hour, Idle: time.Hour, Max: time.Hour,
	}
}

// settleLine ticks until a new line is ready.
func settleLine(ctx context.Context, store admission.Store, call admission.Call) error {
	for range 100 {
		line, err := store.Release(ctx, call, holdLimits(admission.ModeHold), 0)
		if err != nil || !line.Settling {
			return err
		}
		time.Sleep(admission.Tick)
	}
	return errors.New("the line did not settle")
}

// manyJoins has many visitors join a room at once, and counts what it cost.
func manyJoins(ctx context.Context, store admission.Store, client *redis.Client, activity int64, mode admission.Mode) (perSecond, calls float64, err error) {
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		return 0, 0, err
	}
	id := admission.LineID{Tenant: "bench", Activity: activity}
	settings := admission.Settings{Limits: holdLimits(mode), Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}}
	room, err := admission.OpenRoom(ctx, store, id, "bench", nil, ring, settings, zap.NewNop())
	if err != nil {
		return 0, 0, err
	}
	running, stop := context.WithCancel(ctx)
	defer stop()
	go func() { _ = room.Run(running) }()
	for room.Figures().Settling {
		select {
		case <-time.After(admission.Tick):
		case <-ctx.Done():
			return 0, 0, ctx.Err()
		}
	}
	const joins = 100_000
	before, err := scriptCalls(ctx, client)
	if err != nil {
		return 0, 0, err
	}
	var held atomic.Int64
	took := atOnce(joins, func(int) {
		v := room.Arrive(ctx, admission.Visit{})
		if v.Queue.Token == "" && v.Admission.Token == "" {
			held.Add(1)
		}
	})
	after, err := scriptCalls(ctx, client)
	if err != nil {
		return 0, 0, err
	}
	if held.Load() > 0 {
		return 0, 0, fmt.Errorf("%d of %d joins got no ticket", held.Load(), joins)
	}
	return joins / took.Seconds(), float64(after-before) * 1000 / joins, nil
}

// atOnce has 256 visitors at a time ask, n in all, and returns how long it took.
func atOnce(n int, ask func(i int)) time.Duration {
	const voices = 256
	var next atomic.Int64
	var all sync.WaitGroup
	began := time.Now()
	for range voices {
		all.Go(func() {
			for i := next.Add(1) - 1; i < int64(n); i = next.Add(1) - 1 {
				ask(int(i))
			}
		})
	}
	all.Wait()
	return time.Since(began)
}

// manyAdmissions has visitors whose turn came enter one line by two gateways:
// one asks Redis for what arrives together, one for each admission by itself.
func manyAdmissions(ctx context.Context, store admission.Store, client *redis.Client, rounds int) error {
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		return err
	}
	id := admission.LineID{Tenant: "bench", Activity: 4}
	settings := admission.Settings{Limits: holdLimits(admission.ModeHold), Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}}
	running, stop := context.WithCancel(ctx)
	defer stop()
	var rooms [2]*admission.Room
	for i, s := range []admission.Store{store, apart{store}} {
		if rooms[i], err = admission.OpenRoom(ctx, s, id, "bench"+strconv.Itoa(i), nil, ring, settings, zap.NewNop()); err != nil {
			return err
		}
		go func() { _ = rooms[i].Run(running) }()
	}
	// until waits for what both gateways have read of the line.
	until := func(what string, is func(admission.Figures) bool) error {
		for range 200 {
			if is(rooms[0].Figures()) && is(rooms[1].Figures()) {
				return nil
			}
			time.Sleep(admission.Tick / 5)
		}
		return fmt.Errorf("admissions: waited in vain for %s", what)
	}
	if err := until("the line to settle", func(f admission.Figures) bool { return !f.Settling }); err != nil {
		return err
	}

	const people = 10_000 // for each side of a round
	var perSecond, calls [2][]float64
	var ratios []float64
	var wrong atomic.Int64
	for round := range rounds {
		settings.Limits.Mode = admission.ModeHold
		for _, r := range rooms {
			r.Configure(settings)
		}
		if err := until("the line to hold", func(f admission.Figures) bool { return f.Paused() }); err != nil {
			return err
		}
		tickets := make([]string, 2*people)
		atOnce(len(tickets), func(i int) { tickets[i] = rooms[0].Arrive(ctx, admission.Visit{}).Queue.Token })
		settings.Limits.Mode = admission.ModeAuto
		for _, r := range rooms {
			r.Configure(settings)
		}
		if err := until("the turns", func(f admission.Figures) bool { return f.Turned == int64((round+1)*len(tickets)) }); err != nil {
			return err
		}
		for turn := range rooms {
			side := (round + turn) % len(rooms) // neither is always the first
			before, err := scriptCalls(ctx, client)
			if err != nil {
				return err
			}
			took := atOnce(people, func(i int) {
				if v := rooms[side].Arrive(ctx, admission.Visit{QueueTokens: []string{tickets[side*people+i]}}); v.Reason != admission.PassEntered {
					wrong.Add(1)
				}
			})
			after, err := scriptCalls(ctx, client)
			if err != nil {
				return err
			}
			perSecond[side] = append(perSecond[side], people/took.Seconds())
			calls[side] = append(calls[side], float64(after-before)*1000/people)
		}
		ratios = append(ratios, perSecond[0][round]/perSecond[1][round])
	}
	if wrong.Load() > 0 {
		return fmt.Errorf("admissions: %d visitors whose turn came were not let in", wrong.Load())
	}
	fmt.Println("| through a Room, in one process | per second | Redis calls per thousand | against | per second | Redis calls per thousand | ratio |")
	fmt.Println("|---|---|---|---|---|---|---|")
	fmt.Printf("| admission, Redis store | %.0f | %.1f | the same, asking Redis once per request | %.0f | %.0f | **%.2f** (%.2f–%.2f) |\n",
		median(perSecond[0]), median(calls[0]), median(perSecond[1]), median(calls[1]), median(ratios), slices.Min(ratios), slices.Max(ratios))
	return nil
}

// scriptCalls is how many scripts Redis has run.
func scriptCalls(ctx context.Context, client *redis.Client) (int64, error) {
	stats, err := client.Info(ctx, "commandstats").Result()
	if err != nil {
		return 0, err
	}
	calls, _, _ := strings.Cut(strings.TrimPrefix(field(stats, "cmdstat_evalsha"), "calls="), ",")
	return strconv.ParseInt(calls, 10, 64)
}

// memoryOf is what the keys of a line take, in bytes.
func memoryOf(ctx context.Context, client *redis.Client, line admission.LineID) (bytes int64, err error) {
	keys := client.Scan(ctx, 0, "*{"+line.String()+"}*", 1000).Iterator()
	for keys.Next(ctx) {
		size, err := client.MemoryUsage(ctx, keys.Val(), 0).Result()
		if err != nil {
			return 0, err
		}
		bytes += size
	}
	return bytes, keys.Err()
}
