package e2e

import (
	"net/url"
	"reflect"
	"strings"
	"testing"
)

// TestWaiting tells the stories of people before the waiting page, in one
// Chromium in which each person has cookies of their own.
func TestWaiting(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	// Subtests that run in parallel end before their parent does, and so before
	// the browser.
	story := func(name string, tell func(*testing.T, *browser)) {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tell(t, b)
		})
	}
	story("the first enters with no page, the next when its turn comes", enterInTurn)
	story("a second tab takes no second place", secondTab)
	story("who closed the tab is skipped, costs no turn and keeps the place", closedTab)
	story("a page of the shop's own stays live, and goes in", ownPage)
	story("a killed gateway costs no one of ten the place", killedGateway)
	story("the page works without JavaScript", withoutScripts)
	story("a form that was held is sent once, when the turn comes", heldForm)
	story("a visitor can leave the line", leaveTheLine)
	story("a hidden tab says that the turn came, and goes in when it is seen", turnWhileHidden)
	story("of two tabs in sight, one goes in", tabsInSight)
	story("who asks for it is told of the turn, and nobody is asked first", toldOfTheTurn)
	story("the wait grows only with a reason, over a reload too", waitGrows)
	story("a page that is offline says so and comes back", offline)
	story("a language is chosen, and stays", languageChosen)
	story("a language is chosen without JavaScript", languageWithoutScripts)
	story("who is inside is told when the time ends, and can stay", sessionNotice)
	story("or that nobody can stay longer", sessionThatCannotBeExtended)
	story("sleep, the back button and a reload cost no one the place", sleepAndBack)
}

func enterInTurn(t *testing.T, b *browser) {
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	first := b.Person(t, g)
	first.Open("/drop")
	first.WaitInside(1)
	if got := first.Pages(); got != 1 {
		t.Errorf("the first visitor's tab asked for %d documents, want 1: no page, no redirect", got)
	}

	between := newVisitor(t, g)
	between.Join(t)
	between.keep(t, poll)

	next := b.Person(t, g)
	next.Open("/drop")
	next.WaitPosition(2)
	next.Ticket(3)
	if got := next.Title(); got != "2 · Spring drop" {
		t.Errorf("the title is %q, want the position in it", got)
	}
	// A reload would lose it.
	if _, err := evaluate[string](next, `window.marker = "same page"`); err != nil {
		t.Fatal(err)
	}

	between.Leave(t)
	next.WaitPosition(1)
	if got := next.Title(); got != "1 · Spring drop" {
		t.Errorf("the title is %q, want the new position in it", got)
	}
	if got := next.Text("[data-part=detail]"); !strings.HasPrefix(got, "You are next.") {
		t.Errorf("the page says %q, want that this visitor is next", got)
	}
	if got, err := evaluate[string](next, "window.marker"); err != nil || got != "same page" {
		t.Errorf("the page was loaded again before its turn: %q, %v", got, err)
	}
	if got := shop.Count("GET", "/drop"); got != 1 {
		t.Errorf("%d requests of the drop reached the shop, want the first visitor's", got)
	}

	first.Click("#leave") // the shop's own link
	next.WaitInside(3)
	if got := next.Pages(); got != 2 {
		t.Errorf("the next visitor's tab asked for %d documents, want 2: the page, and the drop", got)
	}
	first.Wait("who left is led on to the front page", `document.getElementById("home") !== null`)
}

func secondTab(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat))
	inside := full(t, g)
	one := b.Person(t, g)
	one.Open("/drop")
	one.WaitPosition(1)
	one.Ticket(2)
	two := one.Another()
	two.Open("/drop")
	two.WaitPosition(1)
	two.Ticket(2)
	other := newVisitor(t, g)
	if got := other.Join(t); got.Number != 3 || got.Position != 2 {
		t.Errorf("the next visitor got %+v, want number 3 at position 2", got)
	}
	other.Leave(t)
	// The tab in front goes in, and the other says so.
	two.Hide(true)
	inside.Leave(t)
	one.WaitInside(2)
	two.Wait("the other tab says that this one went in", `document.getElementById("page").dataset.state === "elsewhere"`)
	if got := two.Text(".elsewhere"); !strings.Contains(got, "You went in in another tab") || two.Title() != "You went in in another tab" {
		t.Errorf("the other tab says %q under the title %q", got, two.Title())
	}
	// It may go in as well, into the same session.
	two.Hide(false)
	two.Click(".elsewhere a")
	two.WaitInside(2)
	eventually(t, "both tabs are one session", func() bool {
		return g.Metric(`ropeline_active_sessions{activity="7"}`) == 1 && g.Metric(`ropeline_queue_issued{activity="7"}`) >= 3
	})
}

func closedTab(t *testing.T, b *browser) {
	// The shortest absence there is: the test must wait for it.
	g := start(t, settings(openShop(t), oneSeat+", absence: 10s"))
	inside := full(t, g)
	person := b.Person(t, g)
	closed := person.Another()
	closed.Open("/drop")
	closed.WaitPosition(1)
	closed.Ticket(2)
	behind := newVisitor(t, g)
	if got := behind.Join(t); got.Number != 3 || got.Position != 2 {
		t.Fatalf("the visitor behind got %+v, want number 3 at position 2", got)
	}
	behind.keep(t, poll)

	closed.close()
	eventually(t, "who closed the tab no longer counts", func() bool { return behind.Status(t).Position == 1 })
	inside.Leave(t)
	behind.stop()
	behind.Enter(t)
	behind.keep(t, drop)
	eventually(t, "figures of the line", func() bool { return g.Metric(`ropeline_queue_released{activity="7"}`) == 3 })
	if got := g.Metric(`ropeline_releases_total{activity="7"}`); got != 2 {
		t.Errorf("%v turns were given, want 2: none to who closed the tab", got)
	}

	again := person.Another()
	again.Open("/drop")
	again.WaitPosition(1)
	again.Ticket(2)
	behind.Leave(t)
	again.WaitInside(2)
}

func killedGateway(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat))
	full(t, g)
	var people []*tab
	for i := range 10 {
		p := b.Person(t, g)
		p.Open("/drop")
		p.WaitPosition(i + 1)
		p.Ticket(i + 2)
		if _, err := evaluate[string](p, `window.marker = "same page"`); err != nil {
			t.Fatal(err)
		}
		people = append(people, p)
	}
	g.Kill()
	for _, p := range people {
		p.Wait("the page says that the gateway is away", `document.getElementById("page").classList.contains("away")`)
		if got := p.Text("[data-part=live]"); !strings.Contains(got, "Your place is kept") {
			t.Errorf("while the gateway is away the page says %q, want that the place is kept", got)
		}
	}
	g.Restart()
	for i, p := range people {
		p.Wait("the page is back", `!document.getElementById("page").classList.contains("away")`)
		p.WaitPosition(i + 1)
		p.Ticket(i + 2)
		if got, err := evaluate[string](p, "window.marker"); err != nil || got != "same page" {
			t.Errorf("visitor %d: the page was loaded again: %q, %v", i+2, got, err)
		}
	}
	// And the tickets are what the gateway itself knows them by.
	for i, p := range people {
		p.Open("/drop")
		p.WaitPosition(i + 1)
		p.Ticket(i + 2)
	}
	if got := newVisitor(t, g).Join(t).Number; got != 12 {
		t.Errorf("the next visitor got number %d, want 12", got)
	}
}

func withoutScripts(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat))
	inside := full(t, g)
	p := b.Person(t, g)
	p.DisableScripts()
	p.Open("/drop")
	const check = "noscript a"
	p.Wait("the page offers to check", `document.querySelector("noscript a") !== null`)
	if got := strings.Join(strings.Fields(p.Text("h1")), " "); got != "You are number 1 in line" {
		t.Errorf("the page says %q, want the position", got)
	}
	p.Ticket(2)
	refresh, err := evaluate[string](p, `document.querySelector("meta[http-equiv=refresh]").content`)
	if err != nil || refresh != "30" {
		t.Errorf("the page loads itself again after %q, %v, want 30", refresh, err)
	}
	p.Click(check)
	eventually(t, "the page was loaded again", func() bool { return p.Pages() == 2 })
	p.Wait("the page is there again", `document.querySelector("noscript a") !== null`)
	p.Ticket(2)

	inside.Leave(t)
	eventually(t, "the turn is given", func() bool { return g.Metric(`ropeline_queue_released{activity="7"}`) == 2 })
	p.Click(check)
	p.WaitInside(2)
}

func heldForm(t *testing.T, b *browser) {
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	inside := full(t, g)
	p := b.Person(t, g)
	p.Open("/")
	p.Click("#buy")
	p.WaitPosition(1)
	if got := p.Text(".form"); !strings.Contains(got, "Your form was not sent") {
		t.Errorf("the page says %q, want that the form was not sent", got)
	}
	if seen, err := evaluate[bool](p, `document.querySelector("[data-part=again]").offsetParent !== null`); err != nil || seen {
		t.Errorf("the page offers to send the form before the turn: %v, %v", seen, err)
	}
	inside.Leave(t)
	p.Wait("the turn comes", `document.getElementById("page").dataset.state === "ready"`)
	if got := shop.Count("POST", "/drop/buy"); got != 0 {
		t.Fatalf("%d forms reached the shop before the visitor said so", got)
	}
	p.Click("[data-part=again] button")
	p.Wait("the shop answers the form", `document.getElementById("bought") !== null`)

	var forms []url.Values
	for _, h := range shop.Hits() {
		if h.Method == "POST" {
			forms = append(forms, h.Form)
		}
	}
	want := []url.Values{{
		"article": {"SPRING-1"}, "size": {"M", "L"},
		"note": {"Grüße & <b> \"quoted\"\r\nsecond line"},
	}}
	if !reflect.DeepEqual(forms, want) {
		t.Errorf("forms that reached the shop: got %v, want %v", forms, want)
	}
}

func leaveTheLine(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat))
	full(t, g)
	p := b.Person(t, g)
	p.Open("/drop")
	p.WaitPosition(1)
	p.Ticket(2)
	behind := newVisitor(t, g)
	if got := behind.Join(t).Position; got != 2 {
		t.Errorf("the visitor behind stands at position %d, want 2", got)
	}
	p.Click("footer summary")
	p.Click("footer details button")
	p.Wait("who left is led to the front page", `document.getElementById("home") !== null`)
	eventually(t, "the visitor behind is next", func() bool { return behind.Status(t).Position == 1 })
	p.Open("/drop")
	p.WaitPosition(2)
	p.Ticket(4)
}
