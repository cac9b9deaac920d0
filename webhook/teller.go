package webhook

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/http"
	"time"

	"go.uber.org/zap"
)

const (
	// mostPending is how many events one hook may be behind.
	mostPending = 1000

	// An event is sent again after about a second, then twice as long each time,
	// at most a few minutes, and given up after a day.
	firstWait   = time.Second
	longestWait = 5 * time.Minute
	giveUpAfter = 24 * time.Hour
)

// outcome is what became of an event at a hook.
type outcome struct {
	event, hook string
	result      result
}

type result string

const (
	delivered result = "delivered"
	failed    result = "failed" // and will be sent again
	dropped   result = "dropped"
)

// teller tells one hook of its events, one after the other and in their order,
// so that a receiver never hears of the resuming before the pause.
type teller struct {
	hook   Hook
	client *http.Client
	queue  chan Event
	done   chan<- outcome
	note   func(result)
	log    *zap.Logger
}

// run tells until ctx ends.
func (t *teller) run(ctx context.Context) {
	failing := false
	for {
		var e Event
		select {
		case <-ctx.Done():
			return
		case e = <-t.queue:
		}
		for wait := firstWait; ; wait = min(2*wait, longestWait) {
			err := send(ctx, t.client, t.hook, e, time.Now())
			if ctx.Err() != nil {
				return
			}
			if err == nil {
				if failing {
					t.log.Info("webhook taken again")
					failing = false
				}
				t.end(ctx, e, delivered)
				break
			}
			t.note(failed)
			if !failing {
				failing = true
				t.log.Warn("webhook not taken, it is sent again", zap.String("event", e.ID), zap.Error(err))
			}
			if errors.Is(err, errGone) || time.Since(e.At) > giveUpAfter {
				t.log.Error("webhook given up", zap.String("event", e.ID), zap.String("type", string(e.Type)), zap.Error(err))
				t.end(ctx, e, dropped)
				break
			}
			if !pause(ctx, jitter(wait)) {
				return
			}
		}
	}
}

func (t *teller) end(ctx context.Context, e Event, r result) {
	t.note(r)
	select {
	case t.done <- outcome{e.ID, t.hook.key(), r}:
	case <-ctx.Done():
	}
}

// jitter is between half of d and one and a half, so that gateways and events
// that failed together do not come back together.
func jitter(d time.Duration) time.Duration {
	return d/2 + time.Duration(rand.Float64()*float64(d))
}

// pause waits for d; false: ctx ended first.
func pause(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
		return true
	}
}
