package webhook

import (
	"context"
	"encoding/json"
	"net/http"
	"reflect"
	"slices"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promauto"
	"go.uber.org/zap"
)

// lookEvery is how often the lines are looked at.
const lookEvery = time.Second

// Webhooks tell hooks what happens to lines. Nothing of a visitor's ever waits
// for them.
type Webhooks struct {
	board Board
	lines func() []Line
	log   *zap.Logger
	hooks atomic.Pointer[[]Hook]
	open  *http.Client
	inner *http.Client // for hooks in private networks

	events    *prometheus.CounterVec
	sent      *prometheus.CounterVec
	pendingIs prometheus.Gauge
}

// New returns webhooks that look at lines, which are to be those that are read
// well, and tell nobody before Set.
func New(board Board, lines func() []Line, log *zap.Logger, metrics prometheus.Registerer) *Webhooks {
	auto := promauto.With(metrics)
	w := &Webhooks{
		board: board, lines: lines, log: log, open: caller(false), inner: caller(true),
		events: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ropeline_webhook_events_total", Help: "Events that this gateway saw while it kept watch for all, by type.",
		}, []string{"type"}),
		sent: auto.NewCounterVec(prometheus.CounterOpts{
			Name: "ropeline_webhook_deliveries_total", Help: "Tries to tell a hook of an event, by result: delivered, failed (sent again), dropped.",
		}, []string{"result"}),
		pendingIs: auto.NewGauge(prometheus.GaugeOpts{
			Name: "ropeline_webhook_pending", Help: "Events that some hook has not taken yet, at the gateway that keeps watch.",
		}),
	}
	for _, r := range []result{delivered, failed, dropped} {
		w.sent.WithLabelValues(string(r))
	}
	w.hooks.Store(&[]Hook{})
	return w
}

// Set replaces the hooks. Events that wait for one that is gone are dropped.
func (w *Webhooks) Set(hooks []Hook) { w.hooks.Store(&hooks) }

// Run keeps watch, whenever no other gateway does, until ctx ends.
func (w *Webhooks) Run(ctx context.Context) error {
	k := &keeper{Webhooks: w, done: make(chan outcome, 64)}
	defer k.end()
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case o := <-k.done:
			k.forget(o)
			continue
		case <-look.C:
		}
		k.look(ctx)
	}
}

// keeper is a gateway at its watch, or waiting to have it.
type keeper struct {
	*Webhooks
	done chan outcome

	keeps   bool
	notes   notes
	changed bool // since they were written
	watches map[string]watch
	tellers map[string]*running // by Hook.key
	away    bool                // the board could not be asked
}

// running is a teller with what ends it.
type running struct {
	teller
	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func (k *keeper) look(ctx context.Context) {
	if len(*k.hooks.Load()) == 0 {
		k.end()
		return
	}
	asking, cancel := context.WithTimeout(ctx, lookEvery)
	defer cancel()
	held, err := k.board.Hold(asking)
	if err == nil && held && !k.keeps {
		err = k.begin(asking)
	}
	if err != nil {
		// What is under way goes on: to be told twice is better than not.
		if !k.away && ctx.Err() == nil {
			k.away = true
			k.log.Warn("webhooks wait, their board cannot be asked", zap.Error(err))
		}
		return
	}
	if k.away {
		k.away = false
		k.log.Info("webhooks go on")
	}
	if !held {
		k.stop()
		return
	}
	k.fit(ctx)
	next, fresh := k.observe()
	if len(fresh) == 0 && reflect.DeepEqual(next.Lines, k.notes.Lines) && !k.changed {
		return
	}
	text, err := json.Marshal(next)
	if err != nil {
		k.log.Error("webhooks not written", zap.Error(err))
		return
	}
	written, err := k.board.Write(asking, text)
	switch {
	case err != nil:
		k.log.Warn("webhooks not written, they wait", zap.Error(err)) // seen again at the next look
		return
	case !written: // another has the board
		k.stop()
		return
	}
	k.notes, k.changed = next, false
	for _, p := range fresh {
		k.events.WithLabelValues(string(p.Event.Type)).Inc()
		k.log.Info("webhook event", zap.String("event", p.Event.ID), zap.String("type", string(p.Event.Type)),
			zap.Int64("activity", p.Event.Activity.ID))
		k.tell(p)
	}
	k.pendingIs.Set(float64(len(k.notes.Pending)))
}

// begin takes up the watch where it was left.
func (k *keeper) begin(ctx context.Context) error {
	text, err := k.board.Read(ctx)
	if err != nil {
		return err
	}
	if k.notes, err = readNotes(text); err != nil {
		k.log.Error("webhooks begin anew", zap.Error(err))
		k.notes, _ = readNotes(nil)
	}
	k.keeps, k.changed = true, false
	k.watches, k.tellers = map[string]watch{}, map[string]*running{}
	return nil
}

// fit has a teller run for each hook. A new one gets what waits for it.
func (k *keeper) fit(ctx context.Context) {
	wanted := map[string]Hook{}
	for _, h := range *k.hooks.Load() {
		wanted[h.key()] = h
	}
	for key, t := range k.tellers {
		if h, ok := wanted[key]; !ok || !reflect.DeepEqual(h, t.hook) {
			t.end()
			delete(k.tellers, key)
		}
	}
	for key, h := range wanted {
		if k.tellers[key] != nil {
			continue
		}
		client := k.open
		if h.Private {
			client = k.inner
		}
		running := &running{teller: teller{
			hook: h, client: client, queue: make(chan Event, mostPending), done: k.done,
			note: func(r result) { k.sent.WithLabelValues(string(r)).Inc() },
			log:  k.log.With(zap.String("receiver", h.host())),
		}}
		var telling context.Context
		telling, running.cancel = context.WithCancel(ctx)
		running.ended.Go(func() { running.run(telling) })
		k.tellers[key] = running
		for _, p := range k.notes.Pending {
			if slices.Contains(p.Hooks, key) {
				k.give(key, p.Event)
			}
		}
	}
	// What waits for hooks that are gone waits for nothing.
	for i, p := range k.notes.Pending {
		left := slices.DeleteFunc(slices.Clone(p.Hooks), func(key string) bool { _, ok := wanted[key]; return !ok })
		if len(left) < len(p.Hooks) {
			k.notes.Pending[i].Hooks, k.changed = left, true
		}
	}
	k.notes.Pending = slices.DeleteFunc(k.notes.Pending, func(p pending) bool { return len(p.Hooks) == 0 })
}

// observe returns what is to be written: how the lines stand, and the events
// that this is news of.
func (k *keeper) observe() (next notes, fresh []pending) {
	next = notes{Lines: map[string]states{}, Pending: slices.Clone(k.notes.Pending)}
	for key, told := range k.notes.Lines { // a line that is not read now is as it was
		next.Lines[key] = told
	}
	now := time.Now()
	for _, l := range k.lines() {
		key := l.Activity.Tenant + ":" + strconv.FormatInt(l.Activity.ID, 10)
		if k.watches[key] == nil {
			k.watches[key] = watch{}
		}
		var events []Event
		next.Lines[key], events = k.watches[key].observe(k.notes.Lines[key], l, now)
		for _, e := range events {
			p := pending{Event: e}
			for _, h := range *k.hooks.Load() {
				if h.wants(e) && !slices.Contains(p.Hooks, h.key()) {
					p.Hooks = append(p.Hooks, h.key())
				}
			}
			if len(p.Hooks) == 0 {
				continue
			}
			if len(next.Pending) >= mostPending {
				k.sent.WithLabelValues(string(dropped)).Inc()
				k.log.Error("webhook dropped, too many wait", zap.String("type", string(e.Type)), zap.Int64("activity", e.Activity.ID))
				continue
			}
			next.Pending, fresh = append(next.Pending, p), append(fresh, p)
		}
	}
	return next, fresh
}

func (k *keeper) tell(p pending) {
	for _, key := range p.Hooks {
		if k.tellers[key] != nil {
			k.give(key, p.Event)
		}
	}
}

// give never waits: no hook has more events before it than may be pending.
func (k *keeper) give(key string, e Event) {
	select {
	case k.tellers[key].queue <- e:
	default:
		k.forget(outcome{e.ID, key, dropped})
	}
}

// forget notes that a hook needs to hear no more of an event.
func (k *keeper) forget(o outcome) {
	for i, p := range k.notes.Pending {
		if p.Event.ID != o.event {
			continue
		}
		left := slices.DeleteFunc(slices.Clone(p.Hooks), func(key string) bool { return key == o.hook })
		k.changed = true
		if k.notes.Pending[i].Hooks = left; len(left) == 0 {
			k.notes.Pending = slices.Delete(slices.Clone(k.notes.Pending), i, i+1)
		}
		return
	}
}

// stop ends the watch: another gateway has it.
func (k *keeper) stop() {
	for _, t := range k.tellers {
		t.end()
	}
	k.keeps, k.tellers, k.notes = false, nil, notes{}
	k.pendingIs.Set(0)
}

// end ends the watch, and lets another gateway have it at once.
func (k *keeper) end() {
	if !k.keeps {
		return
	}
	for _, t := range k.tellers {
		t.end()
	}
	k.tellers = nil
	for len(k.done) > 0 {
		k.forget(<-k.done)
	}
	ctx, cancel := context.WithTimeout(context.Background(), lookEvery)
	defer cancel()
	if text, err := json.Marshal(k.notes); err == nil && k.changed {
		if _, err := k.board.Write(ctx, text); err != nil {
			k.log.Warn("webhooks not written, some may be told twice", zap.Error(err))
		}
	}
	if err := k.board.Free(ctx); err != nil {
		k.log.Warn("webhooks not handed over, the next gateway waits for its lease", zap.Error(err))
	}
	k.stop()
}

func (r *running) end() {
	r.cancel()
	r.ended.Wait()
}
