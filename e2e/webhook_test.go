package e2e

import (
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"sync"
	"testing"

	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// ear is a program of the operator's that hears of events.
type ear struct {
	URL string

	mu    sync.Mutex
	deaf  bool
	heard []struct{ ID, Type string }
	tries int
}

func openEar(t *testing.T) *ear {
	e := &ear{}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		e.mu.Lock()
		defer e.mu.Unlock()
		e.tries++
		var event struct{ ID, Type string }
		if e.deaf || err != nil || json.Unmarshal(body, &event) != nil || r.Header.Get("Webhook-Signature") == "" {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		e.heard = append(e.heard, event)
	}))
	t.Cleanup(server.Close)
	e.URL = server.URL
	return e
}

func (e *ear) set(deaf bool) { e.mu.Lock(); e.deaf = deaf; e.mu.Unlock() }

func (e *ear) types() (types []string) {
	e.mu.Lock()
	defer e.mu.Unlock()
	for _, event := range e.heard {
		types = append(types, event.Type)
	}
	return types
}

// Of two gateways on one Redis one tells. It is killed with an event that the
// receiver has not taken: the other one tells of it.
func TestWebhook_OfTwoGatewaysOneTellsAndTheOtherGoesOn(t *testing.T) {
	t.Parallel()
	redis, shop, ear := redistest.Single(t), openShop(t), openEar(t)
	yaml := settings(shop, "capacity: 5, session: {idle: 1m, max: 5m}",
		fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}", redis.Addr),
		fmt.Sprintf("webhooks: [{url: %q, secret: %q, private: true, events: [shop.shut, shop.well]}]", ear.URL, "0123456789abcdef01234567"))
	gateways := []*gateway{start(t, yaml), start(t, yaml)}
	watching := -1
	eventually(t, "a gateway keeps watch and knows the line", func() bool {
		holder, _ := redis.Do(t.Context(), "GET", "ropeline:{webhooks}:lease:watch").(string)
		known, _ := redis.Do(t.Context(), "HEXISTS", "ropeline:{webhooks}", "watch").(int64)
		return holder != "" && known == 1
	})
	ear.set(true)
	shop.Close()
	eventually(t, "a gateway calls", func() bool {
		for _, g := range gateways { // the gate finds out by a visitor
			newVisitor(t, g).Open(t, "/drop")
		}
		for i, g := range gateways {
			if g.Metric(`ropeline_webhook_deliveries_total{result="failed"}`) > 0 {
				watching = i
			}
		}
		return watching >= 0
	})
	gateways[watching].Kill()
	ear.set(false)
	eventually(t, "the other gateway goes on", func() bool { return len(ear.types()) > 0 })
	shop.Open()
	eventually(t, "it tells that the shop is back", func() bool { return slices.Contains(ear.types(), "shop.well") })
	if got, want := ear.types(), []string{"shop.shut", "shop.well"}; !slices.Equal(got, want) {
		t.Errorf("told %q, want %q", got, want)
	}
}
