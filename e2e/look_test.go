package e2e

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"
	"github.com/chromedp/chromedp/kb"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/waitpage"
	"github.com/ropeline/ropeline/web"
)

// axe is axe-core, which finds what keeps people from using a page: Deque's,
// under the Mozilla Public License 2.0, and no part of the program.
const axe = "../.ci/node_modules/axe-core/axe.min.js"

// logo is a picture wider than a phone.
const logo = "data:image/svg+xml;base64," +
	"PHN2ZyB4bWxucz0naHR0cDovL3d3dy53My5vcmcvMjAwMC9zdmcnIHdpZHRoPSc0ODAnIGhlaWdodD0nNDgnPjxyZWN0IHdpZHRoPSc0ODAnIGhlaWdodD0nNDgnIHJ4PScyNCcgZmlsbD0nI2ZjMCcvPjwvc3ZnPg=="

// TestLook looks at the waiting page in all that it can show, in one Chromium.
func TestLook(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	looks := map[string]func(*testing.T, *browser){
		"nothing overflows at 320 px":                             nothingOverflows,
		"axe finds nothing":                                       axeFindsNothing,
		"the keyboard is enough":                                  keyboardIsEnough,
		"a page of no activity notices when there is one at last": noActivityYet,
	}
	if *sheets != "" {
		looks = map[string]func(*testing.T, *browser){"photographs": photograph}
	}
	for name, look := range looks {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			look(t, b)
		})
	}
}

// gallery serves the waiting page in every state and language, at
// /<language>/<state>, and /<language>/<state>/form where a form was held. In
// Arabic it looks like a shop's own.
func gallery(t *testing.T) (base string, states []string) {
	t.Helper()
	theme, err := waitpage.NewTheme("Kaffee & Kuchen", logo, "#ffcc00")
	if err != nil {
		t.Fatal(err)
	}
	// Each state in each look is an activity of its own, in which nothing moves.
	activities := map[int64]waitpage.Activity{}
	statuses := map[string]admission.Status{} // by state, and by state in Arabic
	for i, example := range waitpage.Examples(0, time.Now()) {
		states = append(states, example.Name)
		id := 2*int64(i) + 1
		for name, look := range map[string]*waitpage.Theme{example.Name: nil, "ar/" + example.Name: theme} {
			status := example.Status
			status.Activity = id
			statuses[name] = status
			activities[id] = waitpage.Activity{Name: "Spring drop of the year", Theme: look, Room: still(status)}
			id++
		}
	}
	states = append(states, "waiting/form", "ready/form")
	waiting := waitpage.New("/_ropeline", func(id int64) (waitpage.Activity, bool) { a, ok := activities[id]; return a, ok })
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		part := strings.Split(r.URL.Path, "/")
		if part[1] == "_ropeline" {
			waiting.ServeHTTP(w, r)
			return
		}
		if len(part) > 3 { // a form
			r = r.Clone(r.Context())
			r.Method, r.Body = http.MethodPost, http.NoBody
		}
		r.Header.Set("Accept-Language", part[1])
		r.Header.Set("Sec-Fetch-Mode", "navigate") // though a script may ask
		status, ok := statuses[part[1]+"/"+part[2]]
		if !ok {
			status = statuses[part[2]]
		}
		waiting.Hold(w, r, admission.Verdict{Status: status})
	}))
	t.Cleanup(server.Close)
	return server.URL, states
}

// still is a line in which nothing moves.
type still admission.Status

func (s still) Look(ctx context.Context, visit admission.Visit) admission.Verdict {
	return s.Peek(ctx, visit)
}

func (s still) Peek(context.Context, admission.Visit) admission.Verdict {
	return admission.Verdict{Status: admission.Status(s)}
}

func (s still) Leave(context.Context, admission.Visit) admission.Verdict { return admission.Verdict{} }

// scripted are what a page shows only by its script, each with what it takes
// from the state named first.
var scripted = []struct{ Name, From, Change string }{
	{"lost", "waiting", `page.dataset.state = "lost"`},
	{"elsewhere", "waiting", `page.dataset.state = "elsewhere"`},
	{"away", "waiting", `page.classList.add("away"); part("live").textContent = page.dataset.away`},
	{"offline", "waiting", `page.classList.add("away"); part("live").textContent = page.dataset.offline`},
	{"told", "waiting", `part("tell").ariaPressed = "true"; part("told").hidden = false`},
	{"longer", "waiting", `part("reason").textContent = page.dataset.offline`}, // as long as any reason
	{"leaving", "waiting", `page.querySelector("details").open = true`},
	{"working", "new-work", `part("track").hidden = false; part("note").textContent = page.dataset.still`},
	{"cookies", "new-work", `part("detail").textContent = page.dataset.cookies`},
	{"draw-before", "before-draw", `document.getElementById("draw").open = true`},
	{"draw-after", "waiting-drawn", `document.getElementById("draw").open = true`},
}

// views visits every state of the page in a language, and has look at each, as
// someone who comes for the first time.
func views(p *tab, lang string, states []string, look func(name string)) {
	p.t.Helper()
	for _, state := range states {
		p.Open("/" + lang + "/" + state)
		look(state)
		p.Run(`sessionStorage.clear()`)
	}
	for _, s := range scripted {
		p.Open("/" + lang + "/" + s.From)
		p.Run(`{ const page = document.getElementById("page"), part = name => document.querySelector("[data-part=" + name + "]"); ` + s.Change + `; } true`)
		look(s.Name)
		p.Run(`sessionStorage.clear()`)
	}
}

// languages are all that the program carries.
func languages(t *testing.T) (tags []string) {
	t.Helper()
	files, err := web.Words.ReadDir("words")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		tags = append(tags, strings.TrimSuffix(file.Name(), ".json"))
	}
	return tags
}

// viewport sets the size of the tab's window, in CSS pixels, and its colours.
func (p *tab) viewport(width, height int64, scheme string) {
	p.t.Helper()
	call(p, "set the size", emulation.SetDeviceMetricsOverride, emulation.SetDeviceMetricsOverrideParams{Width: width, Height: height, DeviceScaleFactor: 1})
	call(p, "set the colours", emulation.SetEmulatedMedia, emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{
		{Name: "prefers-color-scheme", Value: scheme}, {Name: "prefers-reduced-motion", Value: "reduce"},
	}})
}

// measure finds what reaches beyond a window of 320 px, or is cut off, in all
// languages and states. It takes each page's content into the page that it runs
// in: navigating to each would take a minute.
const measure = `async (tags, states, scripted) => {
	const found = [];
	const load = async path => new DOMParser().parseFromString(await (await fetch(path)).text(), "text/html");
	const look = (doc, name, change) => {
		document.documentElement.lang = doc.documentElement.lang;
		document.documentElement.dir = doc.documentElement.dir;
		const page = document.importNode(doc.getElementById("page"), true);
		document.getElementById("page").replaceWith(page);
		const part = name => page.querySelector("[data-part=" + name + "]");
		for (const hidden of [part("telling"), part("track")]) hidden.hidden = false;
		part("live").textContent = page.dataset.live;
		change(page, part);
		if (document.documentElement.scrollWidth > innerWidth) found.push(name + ": the page is " + document.documentElement.scrollWidth + " px wide");
		for (const e of document.querySelectorAll("body, body *")) {
			if (!e.checkVisibility() || e.matches(".say, script, option, .track")) continue; // the rope's knob lies over its end
			const box = e.getBoundingClientRect(), cut = e.scrollWidth > e.clientWidth && getComputedStyle(e).display !== "inline";
			if (box.width && (box.left < -0.5 || box.right > innerWidth + 0.5 || cut)) {
				found.push(name + ": " + e.tagName + "." + (e.dataset.part || e.className) + " " + e.textContent.trim().slice(0, 40));
			}
		}
	};
	for (const tag of tags) {
		for (const state of states) look(await load("/" + tag + "/" + state), tag + ", " + state, () => {});
		for (const s of scripted) {
			look(await load("/" + tag + "/" + s.From), tag + ", " + s.Name, new Function("page", "part", s.Change + ";"));
		}
	}
	return found;
}`

func nothingOverflows(t *testing.T, b *browser) {
	p := b.Person(t, &gateway{})
	base, states := gallery(t)
	p.g.Public = base
	p.viewport(320, 640, "light")
	call(p, "let strings become markup", page.SetBypassCSP, page.SetBypassCSPParams{Enabled: true})
	p.Open("/en/waiting")
	arguments, err := json.Marshal([]any{languages(t), states, scripted})
	if err != nil {
		t.Fatal(err)
	}
	p.Run("window.found = null; (" + measure + ")(..." + string(arguments) + ").then(f => { found = f; }, e => { found = [String(e)]; }); true")
	p.Wait("all was measured", "found !== null")
	found, err := evaluate[[]string](p, "found")
	if err != nil {
		t.Fatal(err)
	}
	for _, what := range found {
		t.Error(what)
	}
}

func axeFindsNothing(t *testing.T, b *browser) {
	script, err := os.ReadFile(axe)
	if err != nil {
		t.Fatalf("axe-core is missing, which npm has: run \"make deps\" (%v)", err)
	}
	base, states := gallery(t)
	for _, lang := range []string{"en", "ar"} {
		t.Run(lang, func(t *testing.T) {
			t.Parallel()
			p := b.Person(t, &gateway{Public: base})
			views(p, lang, states, func(name string) {
				p.Run(string(script) + "; true")
				for scheme, rules := range map[string]string{
					"light": `{type: "tag", values: ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}`,
					"dark":  `{type: "rule", values: ["color-contrast"]}`, // no other rule looks at colours
				} {
					p.viewport(320, 640, scheme)
					p.Run(`window.found = null; axe.run(document, {resultTypes: ["violations"], runOnly: ` + rules + `}).then(r => {
						found = r.violations.map(v => v.id + ": " + v.nodes.map(n => n.target + " " + n.failureSummary).join("; ")); }); true`)
					p.Wait("axe has looked", `found !== null`)
					found, err := evaluate[[]string](p, `found`)
					if err != nil {
						t.Fatal(err)
					}
					for _, what := range found {
						t.Errorf("%s, %s, %s: %s", lang, scheme, name, what)
					}
				}
			})
		})
	}
}

// Whoever uses no mouse comes to all that can be pressed, in the order of the
// page, and sees where they are.
func keyboardIsEnough(t *testing.T, b *browser) {
	p := b.Person(t, &gateway{})
	p.g.Public, _ = gallery(t)
	p.viewport(320, 640, "light")
	for path, want := range map[string][]string{
		"/en/waiting":    {"Tell me when it is my turn", "Leave the line", "English", "Change"},
		"/ar/waiting":    {"إعلامي عندما يحين دوري", "مغادرة القائمة", "العربية", "تغيير"},
		"/en/ready/form": {"Continue without sending"},
	} {
		p.Open(path)
		var got []string
		for range want {
			p.do("press the tabulator", chromedp.KeyEvent(kb.Tab))
			at, err := evaluate[string](p, `{ const e = document.activeElement;
				(getComputedStyle(e).outlineStyle === "none" ? "unseen: " : "") + (e.selectedOptions ? e.selectedOptions[0] : e).textContent }`)
			if err != nil {
				t.Fatal(err)
			}
			got = append(got, at)
		}
		if !slices.Equal(got, want) {
			t.Errorf("%s: the tabulator leads to %q, want %q", path, got, want)
		}
	}
	p.Open("/en/waiting")
	p.do("go to what leaves", chromedp.KeyEvent(kb.Tab+kb.Tab+kb.Enter+kb.Tab))
	if got, err := evaluate[string](p, "document.activeElement.textContent"); err != nil || got != "Give up my place" {
		t.Errorf("the keys lead to %q, %v", got, err)
	}
}

// A page of an activity that is not there has no line to follow, and asks for
// its own address instead; it never loads itself again by the clock.
func noActivityYet(t *testing.T, b *browser) {
	waiting := waitpage.New("/_ropeline", func(int64) (waitpage.Activity, bool) { return waitpage.Activity{}, false })
	var there atomic.Bool
	var asked atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if there.Load() {
			w.Header().Set("Content-Type", "text/html")
			io.WriteString(w, `<!doctype html><title>Shop</title><link rel="icon" href="data:,"><h1 id="inside">Inside</h1>`)
			return
		}
		asked.Add(1)
		waiting.Hold(w, r, admission.Verdict{Status: admission.Status{State: admission.StateClosed}})
	}))
	t.Cleanup(server.Close)
	p := b.Person(t, &gateway{Public: server.URL})
	p.Open("/drop")
	// On coming back from offline a page asks at once, but not every moment.
	ask := func() { p.Run(`dispatchEvent(new Event("online"))`) }
	eventually(t, "the page asks", func() bool { ask(); return asked.Load() == 2 })
	if got := p.Pages(); got != 1 {
		t.Errorf("the tab asked for %d documents, want 1", got)
	}
	there.Store(true)
	eventually(t, "the page sees that there is an activity", func() bool {
		inside, err := evaluate[bool](p, `dispatchEvent(new Event("online")), document.getElementById("inside") !== null`)
		return err == nil && inside
	})
}
