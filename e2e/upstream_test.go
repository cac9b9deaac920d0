package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
)

// A shop of two servers, of which one dies, then both, and then come back: what
// the visitors inside and those who come see of it.
func TestUpstream_ServersDieAndComeBack(t *testing.T) {
	t.Parallel()
	one, two := openShop(t), openShop(t)
	servers := fmt.Sprintf("servers: [{url: %q}, {url: %q, weight: 2}], policy: round_robin, breaker: {requests: 5, pause: 500ms}", one.URL, two.URL)
	yaml := strings.Replace(settings(one, "rate: 2/s"), fmt.Sprintf("servers: [{url: %q}]", one.URL), servers, 1)
	g := start(t, yaml)
	inside := newVisitor(t, g)
	inside.Enter(t)
	for range 5 {
		inside.Open(t, "/drop")
	}
	if a, b := len(one.Hits()), len(two.Hits()); a != 2 || b != 4 {
		t.Errorf("of six requests the servers of weight 1 and 2 got %d and %d", a, b)
	}

	two.Close()
	for i := range 10 {
		if got := inside.Open(t, "/drop"); got.Code != http.StatusOK {
			t.Fatalf("request %d after a server died: got %d", i, got.Code)
		}
	}
	up := func(s *shop) float64 {
		return g.Metric(fmt.Sprintf("ropeline_upstream_server_up{server=%q,upstream=\"shop\"}", s.URL))
	}
	if up(one) != 1 || up(two) != 0 {
		t.Errorf("the servers are said to be up: %v and %v, want 1 and 0", up(one), up(two))
	}

	mark := g.Log.Mark()
	one.Close()
	if got := inside.Open(t, "/drop"); got.Code/100 != 5 {
		t.Errorf("with no server left, a visitor inside got %d", got.Code)
	}
	g.Log.Await(t, mark, "the room is shut", func(l entry) bool { return l["message"] == "room shut, its upstream is down" })
	late := newVisitor(t, g)
	joined := late.Join(t)
	if joined.Number == 0 || joined.Code != "PAUSED" {
		t.Fatalf("who came then got %+v, want a place in a line that is paused", joined)
	}
	if line := g.Reload(strings.Replace(yaml, "Spring", "Summer", 1)); line["message"] != "config loaded" {
		t.Fatalf("a reload meanwhile: %v", line)
	}

	two.Open()
	one.Open()
	eventually(t, "who came then is let in", func() bool {
		return strings.Contains(late.Open(t, "/drop").Body, fmt.Sprintf(`<b id="number">%d</b>`, joined.Number))
	})
	if got := inside.Open(t, "/drop"); !strings.Contains(got.Body, `<b id="number">1</b>`) {
		t.Errorf("the visitor inside got %d %.200s", got.Code, got.Body)
	}
	eventually(t, "both servers are asked", func() bool {
		before := len(two.Hits())
		for range 3 {
			inside.Open(t, "/drop")
		}
		return len(two.Hits()) > before
	})
	if got := g.Metric(`ropeline_breaker_state{name="upstream:shop"}`); got != 0 {
		t.Errorf("the breaker is in state %v, want 0", got)
	}
}
