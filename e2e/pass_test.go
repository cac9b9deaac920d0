package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// passes makes passes by the command, and returns their ids and the paths of
// their links.
func passes(t *testing.T, g *gateway, more ...string) (ids, links []string) {
	t.Helper()
	args := append([]string{
		"token", "pass", "--activity", "7", "--admin", g.Admin, "--token", operatorToken(t, g, "operator"),
		"--until", time.Now().Add(time.Hour).Format(time.RFC3339), "--link", g.Public + "/drop?size=M",
	}, more...)
	status, out := ropeline(t, g.dir, args...)
	if status != 0 {
		t.Fatalf("ropeline token pass: status %d, %s", status, out)
	}
	for line := range strings.Lines(out) {
		id, link, _ := strings.Cut(strings.TrimSpace(line), "\t")
		ids, links = append(ids, id), append(links, strings.TrimPrefix(link, g.Public))
	}
	return ids, links
}

// Show opens the link of a pass, and what it leads on to.
func (v *visitor) Show(t *testing.T, link string) answer {
	t.Helper()
	led := v.Open(t, link)
	if to := led.Header.Get("Location"); led.Code != http.StatusSeeOther || to != "/drop?size=M" {
		t.Fatalf("the link of a pass got %d to %q", led.Code, to)
	}
	return v.Open(t, "/drop?size=M")
}

// wantTold shows a pass by a new visitor, who must be told so and wait.
func wantTold(t *testing.T, g *gateway, when, link, sentence string) {
	t.Helper()
	v := newVisitor(t, g)
	var page answer
	eventually(t, when+": the visitor is told "+sentence, func() bool {
		page = v.Show(t, link)
		return strings.Contains(page.Body, sentence)
	})
	if s := v.Status(t); s.State != "waiting" || s.Number == 0 {
		t.Errorf("%s: told %q, the visitor has %+v, want a place", when, sentence, s)
	}
	v.Leave(t)
}

const usedUp = "Your pass has been used up"

// TestPass_OnManyGatewaysIsUsedOnceWhateverHappens has the holder of a pass of
// one use enter before who waits, and then others show it: at another gateway,
// after Redis lost everything, and after both gateways and Redis were killed.
func TestPass_OnManyGatewaysIsUsedOnceWhateverHappens(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	shop := openShop(t)
	yaml := settings(shop, "capacity: 1, absence: 10s, session: {idle: 30s, max: 10m}", operators,
		fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}", redis.Addr))
	first, second := start(t, yaml), start(t, yaml)
	ids, links := passes(t, first, "--count", "2")
	if len(links) != 2 {
		t.Fatalf("two passes are %q", links)
	}
	link := links[0]

	inside := newVisitor(t, first)
	inside.Enter(t)
	inside.keep(t, drop)
	waiting := newVisitor(t, second)
	place := waiting.Join(t)
	waiting.keep(t, poll)

	holder := newVisitor(t, second)
	eventually(t, "the holder stands before the line", func() bool {
		page := holder.Show(t, link)
		return strings.Contains(page.Body, "You hold a pass") && strings.Contains(page.Body, "You are next.")
	})
	eventually(t, "who waits is told of the holder before", func() bool { return waiting.Status(t).Position == 2 })
	wantTold(t, first, "while another holds the only use", link, usedUp)

	inside.Leave(t)
	eventually(t, "the holder is ready", func() bool { return holder.Status(t).State == "ready" })
	if s := waiting.Status(t); s.State != "waiting" || s.Number != place.Number {
		t.Errorf("while a holder is ready, who waits is told %+v", s)
	}
	holder.Enter(t)
	holder.keep(t, drop)
	if cookie := holder.Cookie("ropeline-pass-7"); cookie != "" {
		eventually(t, "the pass has done its work", func() bool {
			holder.Open(t, drop)
			return holder.Cookie("ropeline-pass-7") == ""
		})
	}
	entered := func() float64 {
		name := `ropeline_passes_total{activity="7",outcome="admitted"}`
		return first.Metric(name) + second.Metric(name)
	}
	if n := entered(); n != 1 {
		t.Errorf("%v entered by passes, want one", n)
	}

	wantTold(t, first, "at another gateway", link, usedUp)
	redis.Do(t.Context(), "FLUSHALL")
	wantTold(t, first, "after redis lost everything", link, usedUp)
	first.Kill()
	second.Kill()
	redis.Kill()
	redis.Restart()
	first.Restart()
	second.Restart()
	wantTold(t, second, "after all were killed", link, usedUp)

	if status, out := ropeline(t, first.dir, "token", "pass", "--activity", "7", "--admin", first.Admin, "--token", operatorToken(t, first, "operator"), "--revoke", ids[1]); status != 0 {
		t.Fatalf("revoke: status %d, %s", status, out)
	}
	wantTold(t, second, "after it was revoked", links[1], usedUp)
	if n := entered(); n != 0 { // of these processes
		t.Errorf("%v entered by passes that were used up", n)
	}
}

// TestPass_IsUsedOnceThoughTheGatewayIsKilled is the same with the file.
func TestPass_IsUsedOnceThoughTheGatewayIsKilled(t *testing.T) {
	t.Parallel()
	begins := time.Now().Add(time.Hour)
	g := start(t, settings(openShop(t), "capacity: 1, session: {idle: 30s, max: 10m}, start_at: "+begins.Format(time.RFC3339), operators))
	_, links := passes(t, g, "--before-start")
	holder := newVisitor(t, g)
	if page := holder.Show(t, links[0]); !strings.Contains(page.Body, `id="inside"`) {
		t.Fatalf("the holder of a presale got %d %.300s, want the shop", page.Code, page.Body)
	}
	holder.Open(t, drop) // brings the admission, and drops the pass
	g.Kill()
	g.Restart()
	if page := holder.Open(t, drop); !strings.Contains(page.Body, `id="inside"`) {
		t.Errorf("after a kill the holder got %d %.300s, want the shop", page.Code, page.Body)
	}
	other := newVisitor(t, g)
	page := other.Show(t, links[0])
	if s := other.Status(t); !strings.Contains(page.Body, usedUp) || s.State != "before" {
		t.Errorf("after a kill another got %.300s and is told %+v, want that the pass is used up", page.Body, s)
	}
}

// TestPass_InABrowser has a tab that holds a pass wait before the line and go in
// by itself, and one that shows it too late keep an ordinary place.
func TestPass_InABrowser(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	g := start(t, settings(openShop(t), "capacity: 1, session: {idle: 1m, max: 10m}", operators))
	_, links := passes(t, g)
	inside := newVisitor(t, g)
	inside.Enter(t)
	inside.keep(t, drop)
	waiting := b.Person(t, g)
	waiting.Open("/drop")
	waiting.WaitPosition(1)

	holder := b.Person(t, g)
	holder.Open(links[0])
	holder.WaitPosition(1)
	if got := holder.Text("[data-part=detail]"); !strings.Contains(got, "You hold a pass") {
		t.Errorf("the holder's page says %q", got)
	}
	if at, err := evaluate[string](holder, `location.pathname + location.search`); err != nil || at != "/drop?size=M" {
		t.Errorf("the holder's tab is at %q, %v", at, err)
	}
	waiting.WaitPosition(2)
	waiting.Open(links[0])
	waiting.WaitPosition(2)
	waiting.Wait("the page tells that the pass is used up", `document.querySelector("[data-part=detail]").textContent.includes("`+usedUp+`")`)
	waiting.Ticket(2)

	inside.Leave(t)
	holder.Wait("the holder goes in", `document.getElementById("inside") !== null`)
	waiting.WaitPosition(1)
}
