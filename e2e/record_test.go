package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"syscall"
	"testing"

	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
)

// TestRecord_VisitorsNoticeNothingOfADatabaseThatIsAway starts a gateway while
// PostgreSQL is down, stops it again in the middle, and restarts the gateway
// with what it could not write: visitors are served all the while, and in the end
// the record has every one of them.
func TestRecord_VisitorsNoticeNothingOfADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	database := postgrestest.Single(t)
	url := database.URL(database.Database(t))
	database.Stop()
	shop := openShop(t)
	g := start(t, settings(shop, "session: {idle: 1m, max: 5m}", operators, fmt.Sprintf("database: {url: %q}", url)))
	people := 0
	come := func(n int) {
		t.Helper()
		for range n {
			people++
			if a := newVisitor(t, g).Open(t, "/drop"); a.Code != http.StatusOK || !strings.Contains(a.Body, fmt.Sprintf(`<b id="number">%d</b>`, people)) {
				t.Fatalf("visitor %d got %d %.200s, want to be in", people, a.Code, a.Body)
			}
		}
	}
	var got struct {
		Entries    int64 `json:"entries"`
		Admissions int64 `json:"admissions"`
	}
	recorded := func() {
		t.Helper()
		admin := caller{base: g.Admin, token: operatorToken(t, g, "viewer")}
		eventually(t, "the record has everyone", func() bool {
			s, err := admin.ask(t.Context(), "GET", "/api/v1/admin/activities/7/analytics?period=1h", "")
			return err == nil && s.read(&got) == nil && got.Entries == int64(people) && got.Admissions == int64(people)
		})
		if n := g.Metric("ropeline_journal_dropped_total"); n != 0 {
			t.Errorf("%v records were dropped", n)
		}
	}
	health := func() string {
		t.Helper()
		v := newVisitor(t, g)
		v.base = g.Admin
		return v.Open(t, "/health").Body
	}

	come(20)
	if said := health(); !strings.Contains(said, `"status":"degraded"`) || g.Ready() != http.StatusOK {
		t.Errorf("without the database the gateway is %s, ready %d; want it degraded and ready", said, g.Ready())
	}
	database.Start(t)
	recorded()
	if said := health(); !strings.Contains(said, `"status":"ok"`) {
		t.Errorf("with the database the gateway is %s", said)
	}

	database.Stop()
	come(20)
	eventually(t, "what cannot be written is spooled", func() bool { return g.Metric("ropeline_journal_spooled") >= 40 })
	g.Log.Await(t, 0, "that records are spooled", func(l entry) bool {
		return l["message"] == "journal not written, records are spooled"
	})
	g.Signal(syscall.SIGTERM)
	g.Ended()
	g.Restart()
	come(10)
	database.Start(t)
	recorded()
}
