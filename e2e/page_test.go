package e2e

import (
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
)

func turnWhileHidden(t *testing.T, b *browser) {
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat+", claim: 5m"))
	inside := full(t, g)
	p := b.Person(t, g)
	p.Open("/drop")
	p.WaitPosition(1)
	p.Hide(true)
	inside.Leave(t)
	p.Wait("the title says that the turn came, and how long it waits", `/^[0-4]:[0-5][0-9] · Your turn · Spring drop$/.test(document.title)`)
	p.Wait("so does the page", `/^Your turn is kept for [0-4]:[0-5][0-9]\.$/.test(document.querySelector("[data-part=note]").textContent)`)
	for _, h := range shop.Hits() {
		if h.Number == 2 {
			t.Error("the tab did not wait to be seen")
		}
	}
	p.Hide(false)
	p.WaitInside(2)
}

func tabsInSight(t *testing.T, b *browser) {
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	inside := full(t, g)
	one := b.Person(t, g)
	one.Open("/drop")
	one.WaitPosition(1)
	two := one.Another()
	two.Open("/drop")
	two.WaitPosition(1)
	inside.Leave(t)
	count := func(expression string) (n int) {
		for _, p := range []*tab{one, two} {
			if is, err := evaluate[bool](p, expression); err == nil && is {
				n++
			}
		}
		return n
	}
	eventually(t, "one tab is inside, and the other says so", func() bool {
		return count(`document.getElementById("inside") !== null`) == 1 &&
			count(`document.getElementById("page")?.dataset.state === "elsewhere"`) == 1
	})
}

func toldOfTheTurn(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat+", claim: 5m"))
	inside := full(t, g)
	p := b.Person(t, g)
	p.Open("/drop")
	p.WaitPosition(1)
	p.Run(`window.asked = 0; window.notes = []; window.tones = 0;
		window.Notification = class { constructor(title) { notes.push(title); } static requestPermission() { asked++; Notification.permission = "granted"; } };
		Notification.permission = "default";
		const start = OscillatorNode.prototype.start; OscillatorNode.prototype.start = function (at) { tones++; return start.call(this, at); }; true`)
	const tell = "[data-part=tell]"
	if got := p.Text(tell); got != "Tell me when it is my turn" {
		t.Errorf("the button says %q", got)
	}
	p.Click(tell)
	p.Wait("the page says what will happen", `!document.querySelector("[data-part=told]").hidden && asked === 1 && tones === 2`)
	if pressed, err := evaluate[string](p, `document.querySelector("[data-part=tell]").ariaPressed`); err != nil || pressed != "true" {
		t.Errorf("the button is pressed: %q, %v", pressed, err)
	}
	p.Hide(true)
	inside.Leave(t)
	p.Wait("it sounds and notifies, once", `tones === 4 && notes.length === 1 && notes[0] === "Your turn · Spring drop"`)
}

func waitGrows(t *testing.T, b *browser) {
	shop := openShop(t)
	at := func(rate string) string { return settings(shop, "rate: "+rate+", burst: 1, session: {idle: 10m}") }
	g := start(t, at("30/m"))
	newVisitor(t, g).Enter(t)
	for range 15 {
		newVisitor(t, g).Join(t)
	}
	p := b.Person(t, g)
	p.Open("/drop")
	p.Wait("the page tells a wait", `document.querySelector("[data-part=wait]").textContent.includes("minute")`)
	before := p.Text("[data-part=wait]")
	if got := p.Text("[data-part=reason]"); got != "" {
		t.Errorf("before anything grew the page says %q", got)
	}
	g.Reload(at("30/h"))
	const why = `document.querySelector("[data-part=reason]").textContent === "The wait is longer than we said, because people are being let in more slowly than before."`
	p.Wait("the page says why the wait grew", why)
	if got := p.Text("[data-part=wait]"); got == before || !strings.Contains(got, "minutes") {
		t.Errorf("the wait went from %q to %q", before, got)
	}
	// Faster again: what is shown falls. Then a reload of the page meets the
	// slower rate, and must give its reason again.
	g.Reload(at("30/m"))
	p.Wait("the wait fell", `/^(less than a|up to 1) minute|^(up to|about) ([1-4]–)?[1-9] minutes?$/.test(document.querySelector("[data-part=wait]").textContent)`)
	g.Reload(at("30/h"))
	p.Open("/drop")
	p.Wait("the page says why it grew meanwhile", why)
}

func offline(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat))
	full(t, g)
	p := b.Person(t, g)
	p.Open("/drop")
	p.WaitPosition(1)
	setOffline := func(off bool) {
		call(p, "go offline or back", network.OverrideNetworkState, network.OverrideNetworkStateParams{Offline: off, DownloadThroughput: -1, UploadThroughput: -1})
		call(p, "cut or mend the line", network.EmulateNetworkConditionsByRule, network.EmulateNetworkConditionsByRuleParams{
			MatchedNetworkConditions: []*network.Conditions{{Offline: off, DownloadThroughput: -1, UploadThroughput: -1}},
		})
	}
	setOffline(true)
	p.Wait("the page says that it is offline", `document.querySelector("[data-part=live]").textContent.startsWith("You are offline. Your place is kept")`)
	setOffline(false)
	p.Wait("the page is back", `document.querySelector("[data-part=live]").textContent === "Up to date"`)
	p.WaitPosition(1)
	p.Ticket(2)
	if got := p.Pages(); got != 1 {
		t.Errorf("the tab asked for %d documents, want 1", got)
	}
}

func languageChosen(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat))
	inside := full(t, g)
	p := b.Person(t, g)
	p.Open("/drop?size=M")
	p.WaitPosition(1)
	p.Run(`document.querySelector("select").value = "ar"`)
	p.Click(".languages button")
	p.Wait("the page is in Arabic", `document.documentElement.lang === "ar" && document.documentElement.dir === "rtl"`)
	p.WaitPosition(1)
	p.Wait("so is what it hears", `document.querySelector("[data-part=live]").textContent === "محدّثة" && document.querySelector("[data-part=detail]").textContent.startsWith("دورك هو التالي.")`)
	if got, err := evaluate[string](p, "location.search"); err != nil || got != "?size=M" {
		t.Errorf("the choice led to %q, %v", got, err)
	}
	p.Open("/drop")
	p.Wait("the page is still in Arabic", `document.documentElement.lang === "ar"`)
	inside.Leave(t)
	p.WaitInside(2)
}

func languageWithoutScripts(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat))
	full(t, g)
	p := b.Person(t, g)
	p.DisableScripts()
	p.Open("/drop")
	p.Wait("the page offers languages", `document.querySelector("select") !== null`)
	p.Run(`document.querySelector("select").value = "de"`)
	p.Click(".languages button")
	p.Wait("the page is in German", `document.documentElement.lang === "de" && document.querySelector("noscript a").textContent === "Jetzt prüfen"`)
	if got := strings.Join(strings.Fields(p.Text("h1")), " "); got != "Sie haben Platz 1 in der Warteschlange" {
		t.Errorf("the page says %q", got)
	}
}

func sessionNotice(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), "capacity: 5, session: {idle: 12s, max: 1h}"))
	p := b.Person(t, g)
	p.Open("/drop/stay")
	const notice = `document.getElementById("ropeline-session")`
	p.Wait("the notice comes before the end", notice+` !== null`)
	if got := p.Text("#ropeline-session span"); !strings.HasPrefix(got, "Ihre Zeit hier endet in 0:0") {
		t.Errorf("the notice says %q", got)
	}
	p.Click("#ropeline-session button")
	p.Wait("using the shop keeps the session, and the notice goes", notice+` === null`)
	p.Wait("and comes again", notice+` !== null`)
	p.Wait("until the time is over", notice+`.firstChild.textContent === "Ihre Zeit hier ist abgelaufen. Bitte stellen Sie sich erneut an, um fortzufahren."`)
}

func sessionThatCannotBeExtended(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), "capacity: 5, session: {idle: 16s, max: 16s}"))
	p := b.Person(t, g)
	p.Open("/drop/stay")
	p.Click("#ropeline-session button")
	p.Wait("the notice says that nothing more is to be gained", `/^Ihre Zeit hier endet in 0:0[0-9] und kann nicht verlängert werden\.$/.test(document.querySelector("#ropeline-session span").textContent) && document.querySelector("#ropeline-session button").hidden`)
}

func sleepAndBack(t *testing.T, b *browser) {
	// What slept stays hidden in a Chromium without a screen: the claim is too
	// short for the page to wait to be seen.
	g := start(t, settings(openShop(t), oneSeat+", claim: 30s"))
	inside := full(t, g)
	ahead := newVisitor(t, g)
	ahead.Join(t)
	ahead.keep(t, poll)
	p := b.Person(t, g)
	p.Open("/drop")
	p.WaitPosition(2)
	p.Ticket(3)
	p.Open("/")
	p.Run(`history.back()`)
	p.Wait("the page is back", `location.pathname === "/drop"`)
	p.WaitPosition(2)
	p.Ticket(3)
	p.Run(`window.old = true, location.reload()`)
	p.Wait("the page is loaded again", `!window.old && document.readyState === "complete"`)
	p.WaitPosition(2)
	p.Ticket(3)
	sleep := func(state page.SetWebLifecycleStateState) {
		call(p, "put the page to sleep, or wake it", page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
	}
	sleep(page.SetWebLifecycleStateStateFrozen)
	ahead.Leave(t)
	eventually(t, "the line moves without the sleeper", func() bool { return g.Metric(`ropeline_queue_length{activity="7"}`) == 1 })
	sleep(page.SetWebLifecycleStateStateActive)
	p.WaitPosition(1)
	p.Ticket(3)
	inside.Leave(t)
	p.WaitInside(3)
}
