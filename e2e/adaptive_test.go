package e2e

import (
	"io"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"
	"time"
)

// A shop of four workers takes eighty requests a second, and some fifty of these
// visitors, who ask twice a second and never leave. All two hundred could come in
// within a second by the operator's rate.
func TestAdaptive_AShopStaysBelowItsKnee(t *testing.T) {
	t.Parallel()
	workers := make(chan struct{}, 4)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case workers <- struct{}{}:
		case <-r.Context().Done():
			return
		}
		time.Sleep(50 * time.Millisecond) // it is the shop's work
		<-workers
		_, _ = io.WriteString(w, "inside")
	}))
	t.Cleanup(server.Close)
	g := start(t, settings(&shop{URL: server.URL}, "rate: 200/s, adaptive: {p95: 400ms, errors: 5%, min: 2/s}"))
	eventually(t, "the line begins at the lowest rate", func() bool { return g.Metric(`ropeline_rate{activity="7"}`) == 2 })

	mark := g.Log.Mark()
	for range 200 {
		newVisitor(t, g).keep(t, drop)
	}
	why := func(reasons ...string) func(entry) bool {
		return func(l entry) bool {
			reason, _ := l["why"].(string)
			return l["message"] == "rate follows the shop" && slices.Contains(reasons, reason)
		}
	}
	g.Log.Await(t, mark, "that the shop is past its limit", why("the shop answers too slowly", "requests stay unanswered"))
	eventually(t, "the rate falls below the lowest, until the shop is well", func() bool { return g.Metric(`ropeline_rate{activity="7"}`) < 2 })
	if inside := g.Metric(`ropeline_active_sessions{activity="7"}`); inside > 150 {
		t.Errorf("%v of two hundred were let into a shop that takes some fifty", inside)
	}
}
