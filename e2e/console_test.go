package e2e

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"os"
	"strconv"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// TestConsole looks at the console of two gateways on one Redis and PostgreSQL,
// while a crowd stands in their line.
func TestConsole(t *testing.T) {
	t.Parallel()
	redis, database := redistest.Single(t), postgrestest.Single(t)
	yaml := settings(openShop(t), "capacity: 15, rate: 10/s, absence: 20s, claim: 5s, session: {idle: 30s, max: 10m}",
		operators, "log: {access: false}",
		fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}\ndatabase: {url: %q}", redis.Addr, database.URL(database.Database(t))))
	yaml = strings.Replace(yaml, "routes:", "  - {id: 8, tenant: other, name: Winter drop, capacity: 5}\nroutes:\n  - {path: /winter, activity: 8, upstream: shop}", 1)
	first, second := start(t, yaml), start(t, yaml)
	ctx, end := context.WithCancel(t.Context())
	defer end()
	crowd := gather(ctx, t, 60, first, second)
	crowd.history.await(t, 15)
	b := openBrowser(t)
	if *sheets != "" {
		photographConsole(t, b, first)
		return
	}
	for _, look := range []struct {
		name string
		is   func(*testing.T, *browser, *gateway, *gateway)
	}{
		{"every action works, on both gateways, and is audited", everyActionWorks},
		{"an admin resets", adminResets},
		{"a viewer cannot act", viewerCannotAct},
		{"another tenant sees nothing", otherTenantSeesNothing},
		{"a login ends with its token", loginEnds},
		{"the keyboard is enough", consoleByKeyboard},
		{"axe finds nothing, and nothing overflows", consoleForAll},
	} {
		t.Run(look.name, func(t *testing.T) { look.is(t, b, first, second) })
	}

	t.Run("its counters are the store's and the crowd's", func(t *testing.T) {
		p := openConsole(t, b, first, "viewer")
		p.line(7)
		stored := func(field string) int {
			n, err := strconv.Atoi(fmt.Sprint(redis.Do(t.Context(), "HGET", "queue:seq:{default:7}", field)))
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		// While they grow, the page is never ahead of the store, and shows within
		// a look or two what the store had.
		for range 5 {
			before := stored("admitted")
			eventually(t, "the page has what the store had", func() bool { return p.figure("Admitted so far") >= before })
			if shown, after := p.figure("Admitted so far"), stored("admitted"); shown > after {
				t.Errorf("the page says %d were admitted, the store %d", shown, after)
			}
			crowd.history.await(t, 3)
		}
		end()
		crowd.people.Wait()
		h := crowd.history
		h.mu.Lock()
		entries, joins, most := h.entries, h.joins, int64(0)
		for n := range h.holders {
			most = max(most, n)
		}
		h.mu.Unlock()
		eventually(t, "the page says how many were admitted", func() bool { return p.figure("Admitted so far") == stored("admitted") })
		if got := p.figure("Admitted so far"); got != entries {
			t.Errorf("the page says %d were admitted, the crowd saw %d", got, entries)
		}
		eventually(t, "the page says how many numbers were given", func() bool {
			return strings.HasPrefix(p.said("Admitted so far"), fmt.Sprintf("%s numbers given", thousands(int(most))))
		})
		for _, wrong := range h.wrongs {
			t.Error(wrong)
		}
		// The record is written a little later, and the report has it all.
		eventually(t, "the report has everyone", func() bool {
			p.Run(`location.hash = "#/7/report"; document.querySelector(".spans button")?.click(); true`)
			p.Wait("the report is shown", `document.querySelector("main h1").textContent === "Spring drop: report" && document.querySelectorAll(".history .chart").length === 5`)
			return p.figure("Admitted") == entries
		})
		if got := p.figure("Came"); got < joins {
			t.Errorf("the report says %d came, the crowd saw %d", got, joins)
		}
		p.Wait("it tells who changed what", `[...document.querySelectorAll(".changes li")].length > 8 && document.querySelector(".changes").textContent.includes("operator@shop")`)
		p.Run(`window.got = null; Promise.all([...document.querySelectorAll(".downloads a")].map(async a => { const r = await fetch(a.href); return r.status + " " + await r.text(); })).then(all => { got = all; }); true`)
		p.Wait("the files are there", `got !== null`)
		files, err := evaluate[[]string](p.tab, `got`)
		if err != nil || len(files) != 4 {
			t.Fatalf("%d files, %v", len(files), err)
		}
		for i, want := range []string{fmt.Sprintf("admissions,%d\n", entries), "at,entries,", "activity.pause", `"out_of_order"`} {
			if !strings.HasPrefix(files[i], "200 ") || !strings.Contains(files[i], want) {
				t.Errorf("file %d has no %q: %.300s", i, want, files[i])
			}
		}
		p.line(7)
		var told lineStatus
		caller{base: second.Admin, token: operatorToken(t, second, "viewer")}.must(t, &told, "GET", "/api/v1/admin/activities/7/status", "")
		eventually(t, "the page shows the line's length", func() bool { return p.figure("In line") == int(told.Queue.Length) })
	})
	t.Run("it says when the store is away, and when the gateway is", func(t *testing.T) {
		p := openConsole(t, b, first, "viewer")
		p.line(7)
		redis.Kill()
		p.Wait("the page says that the store is away", `document.querySelector(".pill").textContent === "Store away" && document.querySelector(".notice").textContent.includes("Places are kept")`)
		p.Wait("so does its health", `document.querySelector("#health [data-bad]")?.textContent.startsWith("store")`)
		redis.Restart()
		p.Wait("the page says that it is back", `document.querySelector(".pill").textContent !== "Store away" && document.querySelector(".notice").hidden`)
		first.Kill()
		p.Wait("the page says that the gateway is away", `document.getElementById("trouble").textContent.startsWith("The gateway does not answer")`)
		first.Restart()
		p.Wait("the page goes on by itself, still logged in", `document.getElementById("trouble").textContent === "" && document.querySelector(".figures") !== null`)
	})
}

// desk is a tab that shows a console.
type desk struct{ *tab }

// openConsole logs a role in, at the form.
func openConsole(t *testing.T, b *browser, g *gateway, role string, more ...string) desk {
	t.Helper()
	p := desk{b.Person(t, &gateway{Public: g.Admin})}
	p.viewport(1280, 900, "light")
	p.Open("/")
	p.logIn(operatorToken(t, g, role, more...))
	p.Wait("the console is open", `!document.getElementById("head").hidden && document.querySelector("main h1") !== null`)
	return p
}

func (p desk) logIn(token string) {
	p.t.Helper()
	p.Wait("the form is there", `document.activeElement.id === "token"`)
	p.do("type the token and the return key", chromedp.KeyEvent(token+kb.Enter))
}

// line goes to the page of an activity.
func (p desk) line(id int64) {
	p.t.Helper()
	p.Run(fmt.Sprintf(`location.hash = "#/%d"; true`, id))
	p.Wait("the line is shown", `document.querySelectorAll(".settings .value").length === 7 && document.querySelector(".figures b").textContent !== ""`)
}

// text reads one of the page's figures.
func (p desk) text(name, part string) string {
	p.t.Helper()
	text, err := evaluate[string](p.tab, fmt.Sprintf(
		`[...document.querySelectorAll(".figures > div")].find(d => d.querySelector("dt").textContent === %q).querySelector(%q).textContent`, name, part))
	if err != nil {
		p.t.Fatal(err)
	}
	return text
}

func (p desk) said(name string) string { p.t.Helper(); return p.text(name, ".soft") }

func (p desk) figure(name string) int {
	p.t.Helper()
	n, err := strconv.Atoi(strings.ReplaceAll(p.text(name, "b"), ",", ""))
	if err != nil {
		p.t.Fatal(err)
	}
	return n
}

// thousands tells a number below a million as the page does.
func thousands(n int) string {
	if n < 1000 {
		return strconv.Itoa(n)
	}
	return fmt.Sprintf("%d,%03d", n/1000, n%1000)
}

// press presses the button of a name, when it may be.
func (p desk) press(name string) {
	p.t.Helper()
	button := fmt.Sprintf(`[...document.querySelectorAll("dialog[open] button, body:not(:has(dialog[open])) button")].find(b => !b.hidden && (b.getAttribute("aria-label") || b.textContent) === %q)`, name)
	p.Wait("there is a button "+name, `{ const b = `+button+`; b !== undefined && !b.disabled }`)
	p.Run(button + `.click(); true`)
}

// fill changes a field of the dialog, as a person does who types.
func (p desk) fill(selector, value string) {
	p.t.Helper()
	p.Run(fmt.Sprintf(`{ const i = document.querySelector("dialog " + %q); if (i.type === "radio") i.checked = true; else i.value = %q;
		i.dispatchEvent(new Event("input", {bubbles: true})); true }`, selector, value))
}

// effect waits until the dialog tells what it would lead to.
func (p desk) effect(parts ...string) {
	p.t.Helper()
	for _, part := range parts {
		p.Wait("the effect is told: "+part, fmt.Sprintf(`(document.querySelector("dialog .effect")?.textContent || "").includes(%q)`, part))
	}
}

// inForce waits until the page shows a setting.
func (p desk) inForce(name, value string) {
	p.t.Helper()
	p.Wait(name+" is "+value, fmt.Sprintf(
		`[...document.querySelectorAll(".settings dl > div")].some(d => d.querySelector("dt").textContent === %q && d.querySelector(".value").textContent === %q)`, name, value))
}

func everyActionWorks(t *testing.T, b *browser, first, second *gateway) {
	p := openConsole(t, b, first, "operator")
	p.Wait("the overview has both lines", `[...document.querySelectorAll(".lines h2")].map(h => h.textContent).join() === "Spring drop,Winter drop"`)
	p.line(7)
	other := openConsole(t, b, second, "viewer")
	other.line(7)

	p.press("Pause")
	p.effect("Mode Automatic → Paused", "Nobody is let in until you resume.", "keep their places")
	p.press("Pause now")
	p.Wait("the dialog is closed", `!document.getElementById("dialog").open`)
	p.inForce("Mode", "Paused")
	other.inForce("Mode", "Paused")
	p.press("Resume")
	p.effect("Mode Paused → Automatic")
	p.press("Resume")
	p.inForce("Mode", "Automatic")

	for _, c := range []struct{ name, selector, value, effect, shows string }{
		{"rate", "input", "5", "Rate 10 per second → 5 per second", "5 per second"},
		{"capacity", "input", "12", "Capacity 15 → 12", "12"},
		{"message", "textarea", "One pair for each person.", "Message none → One pair for each person.", "One pair for each person."},
		{"start", "input", "2026-01-02T03:04:05", "Start none →", ""},
		{"end", "input", "2090-01-02T03:04:05", "End none →", ""},
		{"left to sell", "input", "4000", "Left to sell not counted → 4,000", "4,000"},
		{"mode", "[value=closed]", "", "Mode Automatic → Closed", "Closed"},
	} {
		p.press("Change the " + c.name)
		p.fill(c.selector, c.value)
		p.effect(c.effect)
		p.press("Put in force")
		p.Wait("the dialog is closed", `!document.getElementById("dialog").open`)
		name := strings.ToUpper(c.name[:1]) + c.name[1:]
		if c.shows == "" {
			p.Wait(name+" is set", fmt.Sprintf(`[...document.querySelectorAll(".settings dl > div")].some(d => d.querySelector("dt").textContent === %q && !d.querySelector(".mark").hidden)`, name))
			continue
		}
		p.inForce(name, c.shows)
		other.inForce(name, c.shows)
	}
	p.press("Change the mode")
	p.press("Take it back")
	p.inForce("Mode", "Automatic")
	other.inForce("Mode", "Automatic")

	// Where someone stands, by number.
	p.Run(`document.getElementById("whom").value = "1"; document.querySelector("#whom + button").click(); true`)
	p.Wait("number 1 is found", `document.querySelector(".answer").textContent.startsWith("Number 1 ")`)

	// All of it is in the audit, and on the page.
	var audit struct {
		Changes []struct {
			Actor, Role, Action string
			After               map[string]any
		}
	}
	eventually(t, "the audit has every change", func() bool {
		caller{base: second.Admin, token: operatorToken(t, second, "viewer")}.must(t, &audit, "GET", "/api/v1/admin/audit?activity_id=7&limit=100", "")
		return len(audit.Changes) == 10
	})
	count := map[string]int{}
	for _, c := range audit.Changes {
		count[c.Action]++
		if c.Actor != "operator@shop" || c.Role != "operator" {
			t.Errorf("%s was recorded as by %s, %s", c.Action, c.Actor, c.Role)
		}
	}
	if count["activity.pause"] != 1 || count["activity.resume"] != 1 || count["activity.stock"] != 1 || count["activity.override"] != 7 {
		t.Errorf("the audit has %v", count)
	}
	p.Open("/?#/7") // as after a reload
	p.Wait("the page has them", `document.querySelectorAll(".changes li").length === 8 && document.querySelector(".changes").textContent.includes("operator@shop")`)

	for _, undo := range []string{"capacity", "rate", "message", "start", "end", "left to sell"} {
		p.press("Change the " + undo)
		p.press("Take it back")
		p.Wait("the dialog is closed", `!document.getElementById("dialog").open`)
	}
	p.inForce("Capacity", "15")
	p.inForce("Left to sell", "not counted")
}

// An admin ends a line for good; nobody is asked to think twice by the API.
func adminResets(t *testing.T, b *browser, first, _ *gateway) {
	newcomer := newVisitor(t, first)
	newcomer.Open(t, "/winter")
	operator := openConsole(t, b, first, "operator")
	operator.line(8)
	if n, err := evaluate[int](operator.tab, `[...document.querySelectorAll("button")].filter(b => b.textContent === "Reset the line").length`); err != nil || n != 0 {
		t.Errorf("an operator is shown %d buttons that reset, %v", n, err)
	}
	p := openConsole(t, b, first, "admin")
	p.line(8)
	p.press("Reset the line")
	p.effect("Every place and turn ends, for good", "inside stay")
	p.press("Reset, for good")
	p.Wait("the dialog is closed", `!document.getElementById("dialog").open`)
	var audit struct {
		Changes []struct{ Actor, Action string }
	}
	eventually(t, "the audit has it", func() bool {
		caller{base: first.Admin, token: operatorToken(t, first, "viewer")}.must(t, &audit, "GET", "/api/v1/admin/audit?activity_id=8", "")
		return len(audit.Changes) == 1 && audit.Changes[0].Action == "activity.reset" && audit.Changes[0].Actor == "admin@shop"
	})
}

func viewerCannotAct(t *testing.T, b *browser, first, _ *gateway) {
	p := openConsole(t, b, first, "viewer")
	p.line(7)
	if n, err := evaluate[int](p.tab, `[...document.querySelectorAll("button")].filter(b => /Pause|Resume|Change/.test(b.textContent)).length`); err != nil || n != 0 {
		t.Errorf("a viewer is shown %d buttons, %v", n, err)
	}
	// By hand, with all that the page has.
	for _, request := range []string{
		`"POST", "pause"`, `"POST", "resume"`, `"POST", "reset"`, `"POST", "stock", {left: 0}`, `"PUT", "overrides", {mode: "open"}`, `"POST", "overrides/preview", {mode: "open"}`,
	} {
		p.Run(`window.got = 0; import("/console/api.js").then(async api => {
			await api.login();
			const send = (method, path, body) => api.ask(method, "admin/activities/7/" + path, body);
			try { await send(` + request + `); got = 200; } catch (e) { got = e.status; } }); true`)
		p.Wait("there is an answer", `got !== 0`)
		if got, err := evaluate[int](p.tab, `got`); err != nil || got != http.StatusForbidden {
			t.Errorf("%s: got %d, %v, want 403", request, got, err)
		}
	}
	p.inForce("Mode", "Automatic")
}

func otherTenantSeesNothing(t *testing.T, b *browser, first, _ *gateway) {
	p := openConsole(t, b, first, "admin", "--tenant", "other")
	p.Wait("its own is shown", `document.querySelectorAll(".lines li").length === 1`)
	if got := p.Text("main"); !strings.Contains(got, "Winter drop") || strings.Contains(got, "Spring") || strings.Contains(got, "default") {
		t.Errorf("the overview shows %q", got)
	}
	p.Run(`location.hash = "#/7"; true`)
	p.Wait("the other's is not there", `document.querySelector("h1").textContent === "Nothing here"`)
}

func loginEnds(t *testing.T, b *browser, first, _ *gateway) {
	p := openConsole(t, b, first, "operator")
	p.line(7)
	// A login of a second from here on, however long it took to open the page.
	short := operatorToken(t, first, "operator", "--ttl", "1s")
	httpOnly := true
	call(p.tab, "have the login end", network.SetCookie, network.SetCookieParams{
		Name: "ropeline-console", Value: short, URL: first.Admin, Path: "/console/", HTTPOnly: &httpOnly, SameSite: network.CookieSameSiteStrict,
	})
	p.Wait("the login is over", `document.querySelector(".login") !== null && document.querySelector(".problem").textContent.includes("has ended")`)
	if hidden, err := evaluate[bool](p.tab, `document.getElementById("head").hidden && document.querySelector(".figures") === null`); err != nil || !hidden {
		t.Errorf("the line is shown still, %v", err)
	}
	if kept, err := evaluate[string](p.tab, `document.cookie + localStorage.length + sessionStorage.length`); err != nil || kept != "00" {
		t.Errorf("scripts see %q, %v", kept, err)
	}
	p.logIn(operatorToken(t, first, "operator"))
	p.Wait("it is where it was", `document.querySelector(".figures") !== null`)
	p.press("Log out")
	p.Wait("it is logged out", `document.querySelector(".login") !== null`)

	// What no page of ours sends is refused, whatever cookie comes with it.
	send := func(story, method, path string, want int, change func(*http.Request)) {
		t.Helper()
		r, err := http.NewRequest(method, first.Admin+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Cookie", "ropeline-console="+operatorToken(t, first, "admin"))
		r.Header.Set("Origin", first.Admin)
		r.Header.Set("Sec-Fetch-Site", "same-origin")
		change(r)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer answer.Body.Close()
		if said, _ := io.ReadAll(answer.Body); answer.StatusCode != want {
			t.Errorf("%s: got %d %s, want %d", story, answer.StatusCode, said, want)
		}
	}
	const pause = "/console/api/v1/admin/activities/7/pause"
	send("a POST from another site", "POST", pause, 403, func(r *http.Request) {
		r.Header.Set("Origin", "https://evil.example")
		r.Header.Set("Sec-Fetch-Site", "cross-site")
	})
	send("a POST without the page's token", "POST", pause, 403, func(*http.Request) {})
	send("a name pointed here", "GET", "/", 403, func(r *http.Request) { r.Host = "evil.example" })
	send("an expired login", "GET", "/console/api/v1/admin/activities", 401, func(r *http.Request) {
		r.Header.Set("Cookie", "ropeline-console="+short)
	})
}

// Whoever uses no mouse pauses, thinks better of it, and is back where they were.
func consoleByKeyboard(t *testing.T, b *browser, first, _ *gateway) {
	p := openConsole(t, b, first, "operator")
	p.line(7)
	p.Wait("it may be paused", `[...document.querySelectorAll("button")].some(b => b.textContent === "Pause" && !b.disabled)`)
	at := func() string {
		at, err := evaluate[string](p.tab, `{ const e = document.activeElement; e.getAttribute("aria-label") || e.textContent }`)
		if err != nil {
			t.Fatal(err)
		}
		return at
	}
	p.Run(`document.getElementById("main").focus(); true`)
	for range 3 {
		if at() == "Pause" {
			break
		}
		p.do("press the tabulator", chromedp.KeyEvent(kb.Tab))
	}
	if at() != "Pause" {
		t.Fatalf("the tabulator leads to %q", at())
	}
	p.do("press return", chromedp.KeyEvent(kb.Enter))
	p.effect("Nobody is let in")
	if inside, err := evaluate[bool](p.tab, `document.getElementById("dialog").contains(document.activeElement)`); err != nil || !inside {
		t.Errorf("the focus is not in the dialog, %v", err)
	}
	p.do("press escape", chromedp.KeyEvent(kb.Escape))
	p.Wait("the dialog is closed", `!document.getElementById("dialog").open`)
	if at() != "Pause" {
		t.Errorf("the focus is on %q", at())
	}
	p.do("go to the first chart, and back by some seconds", chromedp.KeyEvent(kb.Tab+kb.ArrowLeft+kb.ArrowLeft))
	if told, err := evaluate[string](p.tab, `document.activeElement.getAttribute("aria-valuetext")`); err != nil || !strings.Contains(told, ", at ") {
		t.Errorf("the chart tells %q, %v", told, err)
	}
}

// consoleForAll looks at each view with axe, in light and dark, and at 320 px
// for what reaches beyond the window.
func consoleForAll(t *testing.T, b *browser, first, _ *gateway) {
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("axe-core is missing, which npm has: run \"make deps\" (%v)", err)
	}
	p := desk{b.Person(t, &gateway{Public: first.Admin})}
	look := func(name string) {
		t.Helper()
		// What axe brings makes markup of strings, which the page's own policy forbids.
		p.Run(string(script) + "; true")
		for scheme, rules := range map[string]string{
			"light": `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`,
			"dark":  `{type: "rule", values: ["color-contrast"]}`,
		} {
			for _, width := range []int64{320, 1280} {
				p.viewport(width, 800, scheme)
				p.Run(`window.found = null; axe.run(document, {resultTypes: ["violations"], runOnly: ` + rules + `}).then(r => {
					found = r.violations.map(v => v.id + ": " + v.nodes.map(n => n.target + " " + n.failureSummary).join("; ")); }, e => { found = [String(e)]; }); true`)
				p.Wait("axe has looked", `found !== null`)
				found, err := evaluate[[]string](p.tab, `found`)
				if err != nil {
					t.Fatal(err)
				}
				for _, what := range found {
					t.Errorf("%s, %s, %d px: %s", name, scheme, width, what)
				}
				wide, err := evaluate[[]string](p.tab, `[...document.querySelectorAll("body *")].filter(e => e.checkVisibility() && !e.closest("svg, .unseen, .skip") &&
					(e.getBoundingClientRect().right > innerWidth + 0.5 || e.getBoundingClientRect().left < -0.5)).map(e => e.tagName + "." + e.className + " " + e.textContent.slice(0, 40))`)
				if err != nil {
					t.Fatal(err)
				}
				for _, what := range wide {
					t.Errorf("%s, %d px: beyond the window: %s", name, width, what)
				}
			}
		}
	}
	p.Open("/")
	p.Wait("the form is there", `document.activeElement.id === "token"`)
	look("login")
	p.Run(`document.getElementById("token").focus(); true`)
	p.logIn(operatorToken(t, first, "operator"))
	p.Wait("the lines are shown", `document.querySelectorAll(".lines li").length === 2`)
	look("overview")
	p.line(7)
	p.Wait("the charts are drawn", `document.querySelectorAll("path.line[d^=M]").length >= 4`)
	look("line")
	p.Run(`location.hash = "#/7/report"; true`)
	p.Wait("the report is shown", `document.querySelectorAll(".history .chart").length === 5`)
	look("report")
	p.line(7)
	for _, change := range []string{"mode", "rate", "message", "start"} {
		p.press("Change the " + change)
		if change == "start" {
			p.fill("input", "2026-01-02T03:04:05")
		}
		p.Wait("the effect is told", `document.querySelector("dialog .effect").textContent !== ""`)
		look("change of " + change)
		p.press("Cancel")
	}
}
