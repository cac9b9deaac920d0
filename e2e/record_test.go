package e2e

import (
	"fmt"
	"net"
	"net/http"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// recorded is a gateway that keeps the record, and the people it let in.
type recorded struct {
	*gateway
	t      *testing.T
	people int
}

// come lets n more people in.
func (g *recorded) come(n int) {
	g.t.Helper()
	for range n {
		g.people++
		if a := newVisitor(g.t, g.gateway).Open(g.t, "/drop"); a.Code != http.StatusOK || !strings.Contains(a.Body, fmt.Sprintf(`<b id="number">%d</b>`, g.people)) {
			g.t.Fatalf("visitor %d got %d %.200s, want to be in", g.people, a.Code, a.Body)
		}
	}
}

// complete waits until the record has everyone.
func (g *recorded) complete() {
	g.t.Helper()
	var got struct {
		Entries    int64 `json:"entries"`
		Admissions int64 `json:"admissions"`
	}
	admin := caller{base: g.Admin, token: operatorToken(g.t, g.gateway, "viewer")}
	eventually(g.t, "the record has everyone", func() bool {
		s, err := admin.ask(g.t.Context(), "GET", "/api/v1/admin/activities/7/analytics?period=1h", "")
		return err == nil && s.read(&got) == nil && got.Entries == int64(g.people) && got.Admissions == int64(g.people)
	})
	if n := g.Metric("ropeline_journal_dropped_total"); n != 0 {
		g.t.Errorf("%v records were dropped", n)
	}
}

// health is what /health says.
func (g *recorded) health() string {
	g.t.Helper()
	v := newVisitor(g.t, g.gateway)
	v.base = g.Admin
	return v.Open(g.t, "/health").Body
}

// openRecorded starts a gateway on a database.
func openRecorded(t *testing.T, url string) *recorded {
	t.Helper()
	yaml := settings(openShop(t), "session: {idle: 1m, max: 5m}", operators, fmt.Sprintf("database: {url: %q}", url))
	return &recorded{gateway: start(t, yaml), t: t}
}

// TestRecord_VisitorsNoticeNothingOfADatabaseThatIsAway starts a gateway while
// PostgreSQL is down, stops it again in the middle, and restarts the gateway
// with what it could not write: visitors are served all the while, and in the end
// the record has every one of them.
func TestRecord_VisitorsNoticeNothingOfADatabaseThatIsAway(t *testing.T) {
	t.Parallel()
	database := postgrestest.Single(t)
	url := database.URL(database.Database(t))
	database.Stop()
	g := openRecorded(t, url)

	g.come(20)
	if said := g.health(); !strings.Contains(said, `"status":"degraded"`) || g.Ready() != http.StatusOK {
		t.Errorf("without the database the gateway is %s, ready %d; want it degraded and ready", said, g.Ready())
	}
	database.Start(t)
	g.complete()
	if said := g.health(); !strings.Contains(said, `"status":"ok"`) {
		t.Errorf("with the database the gateway is %s", said)
	}

	database.Stop()
	g.come(20)
	eventually(t, "what cannot be written is spooled", func() bool { return g.Metric("ropeline_journal_spooled") >= 40 })
	g.Log.Await(t, 0, "that records are spooled", func(l entry) bool {
		return l["message"] == "journal not written, records are spooled"
	})
	g.Signal(syscall.SIGTERM)
	g.Ended()
	g.Restart()
	g.come(10)
	database.Start(t)
	g.complete()
}

// TestRecord_ASlowDatabaseDelaysNoOne has the database answer late, and then not
// at all, while connections stand.
func TestRecord_ASlowDatabaseDelaysNoOne(t *testing.T) {
	t.Parallel()
	database := postgrestest.Single(t)
	link := redistest.NewLink(t, net.JoinHostPort("127.0.0.1", strconv.Itoa(database.Port())))
	_, port, err := net.SplitHostPort(link.Addr)
	if err != nil {
		t.Fatal(err)
	}
	url := strings.Replace(database.URL(database.Database(t)), fmt.Sprintf(":%d/", database.Port()), ":"+port+"/", 1)
	g := openRecorded(t, url)
	g.come(5)
	g.complete()
	link.Latency(300*time.Millisecond, 100*time.Millisecond)
	g.come(20)
	link.BlackHole()
	g.come(20)
	if n := g.Metric("ropeline_journal_spooled"); n == 0 {
		t.Error("nothing waits to be written while the database answers nothing")
	}
	link.Heal()
	g.complete()
}
