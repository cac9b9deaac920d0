package e2e

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/page"

	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

const (
	easyWork = ", work: {bits: 10, max: 10}" // is done in a moment
	hardWork = ", work: {bits: 26, max: 26}" // is not, without luck
)

// luckless has a page find no number, however long it looks.
const luckless = `let made; Object.defineProperty(window, "ropelineHash", {get: () => made, set: hash => {
	const block = hash.block;
	hash.block = (sum, words) => { block(sum, words); sum[0] |= 1 << 31; };
	made = hash;
}})`

// TestWork has people's browsers work before they join.
func TestWork(t *testing.T) {
	t.Parallel()
	b := openBrowser(t)
	for name, story := range map[string]func(*testing.T, *browser){
		"the page does it and goes in, or waits": workIsDone,
		"a form is sent when it is done":         workBeforeAForm,
		"who cannot is told what it needs":       workNeeds,
		"it is told, and the page stays alive":   workIsTold,
		"a page of the shop's own does it":       workByTheQueueAPI,
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			story(t, b)
		})
	}
}

func workIsDone(t *testing.T, b *browser) {
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat+easyWork))
	first, second := b.Person(t, g), b.Person(t, g)
	first.Open("/drop")
	first.WaitInside(1)
	second.Open("/drop")
	second.WaitPosition(1)
	second.Ticket(2)
	for _, p := range []*tab{first, second} {
		if n := p.Pages(); n != 2 {
			t.Errorf("a tab asked for %d documents, want the page that worked and the one after it", n)
		}
	}
	second.Open("/drop") // whoever has a place is not asked again
	second.WaitPosition(1)
	if n := second.Pages(); n != 3 {
		t.Errorf("a tab with a place asked for %d documents, want 3", n)
	}
	if got, err := evaluate[string](second, "document.cookie"); err != nil || strings.Contains(got, "ropeline-work") {
		t.Errorf("the browser still has %q, %v", got, err)
	}
	if got := g.Metric(`ropeline_denials_total{activity="7",reason="work"}`); got != 2 {
		t.Errorf("%v were asked for work, want 2", got)
	}
	for _, h := range shop.Hits() {
		if strings.Contains(fmt.Sprint(h.Header), "ropeline-work") {
			t.Errorf("the shop was told of the work: %v", h.Header)
		}
	}
}

func workBeforeAForm(t *testing.T, b *browser) {
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat+easyWork))
	p := b.Person(t, g)
	p.Open("/")
	p.Click("#buy")
	p.Wait("the form can be sent", `document.querySelector("[data-part=again]") !== null && !document.querySelector("[data-part=again]").hidden`)
	p.Click("[data-part=again] button")
	eventually(t, "the form reaches the shop", func() bool { return shop.Count(http.MethodPost, "/drop/buy") == 1 })
}

func workNeeds(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat+easyWork))
	blind := b.Person(t, g)
	blind.DisableScripts()
	blind.Open("/drop")
	if got := blind.Text("noscript"); !strings.Contains(got, "allow JavaScript on this page") {
		t.Errorf("without scripts the page says %q", got)
	}
	deaf := b.Person(t, g)
	deaf.Open("/")
	call(deaf, "keep no cookies", emulation.SetDocumentCookieDisabled, emulation.SetDocumentCookieDisabledParams{Disabled: true})
	deaf.Open("/drop")
	deaf.Wait("it is told that cookies are needed", `document.querySelector("[data-part=detail]").textContent.includes("must keep cookies")`)
	if n := deaf.Pages(); n != 2 {
		t.Errorf("without cookies it asked for %d documents, want 2", n)
	}
}

func workIsTold(t *testing.T, b *browser) {
	g := start(t, settings(openShop(t), oneSeat+hardWork))
	p := b.Person(t, g)
	call(p, "have no luck", page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: luckless})
	p.Open("/drop")
	p.Wait("a screen reader is told what is done", `document.querySelector("[data-part=say]").textContent.includes("solves a small puzzle")`)
	p.Wait("the line fills", `parseFloat(document.querySelector("[data-part=track]").style.getPropertyValue("--way")) > 0`)
	p.Wait("it goes on while the tab is hidden", `{ Object.defineProperty(document, "hidden", {get: () => true, configurable: true});
		const track = document.querySelector("[data-part=track]"); window.before = window.before || track.style.getPropertyValue("--way");
		track.style.getPropertyValue("--way") !== before }`)
	p.Wait("it is told that it takes a while", `document.querySelector("[data-part=note]").textContent.startsWith("Still working.")`)
}

// The example of a page that uses the queue API needs no change.
func workByTheQueueAPI(t *testing.T, b *browser) {
	yaml, err := os.ReadFile(filepath.Join("..", "examples", "app", "ropeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	g := start(t, strings.NewReplacer("http://127.0.0.1:9000", demoShop(t), "capacity: 1\n", "capacity: 1\n    work: {bits: 10, max: 10}\n").Replace(string(yaml))+
		"poll: {min: 200ms, max: 1s}\ndrain: {delay: 0s}\n")
	p := b.Person(t, g)
	p.Open("/app")
	p.Click("#join")
	p.Wait("it is let in", `document.getElementById("says").textContent.includes("It is your turn.")`)
	if got := g.Metric(`ropeline_errors_total{code="WORK_REQUIRED"}`); got != 1 {
		t.Errorf("%v entries were asked for work, want 1", got)
	}
}

// A solution is one place, at whichever gateway it is shown, and none when that
// is over, also after a restart of the store.
func TestWork_ASolutionIsOnePlaceAtEveryGateway(t *testing.T) {
	t.Parallel()
	redis := redistest.Single(t)
	yaml := settings(openShop(t), "capacity: 1, session: {idle: 10m}"+easyWork,
		fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}", redis.Addr))
	first, second := start(t, yaml), start(t, yaml)
	show := func(g *gateway, work string) (status, string) {
		t.Helper()
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Public+"/drop", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "application/json")
		if work != "" {
			r.Header.Set("Ropeline-Work", work)
		}
		a, err := newVisitor(t, g).send(r)
		if err != nil {
			t.Fatal(err)
		}
		var said struct {
			Work struct {
				Challenge string `json:"challenge"`
				Bits      int    `json:"bits"`
			} `json:"work"`
		}
		if a.Code == http.StatusOK {
			return status{State: "inside"}, ""
		}
		if err := json.Unmarshal([]byte(a.Body), &said); err != nil {
			t.Fatal(err)
		}
		s, err := a.status()
		if err != nil {
			t.Fatal(err)
		}
		if said.Work.Challenge == "" {
			return s, ""
		}
		for n := 0; ; n++ {
			text := fmt.Sprintf("%s.%d", said.Work.Challenge, n)
			if sum := sha256.Sum256([]byte(text)); said.Work.Bits == 10 && sum[0] == 0 && sum[1] < 0x40 {
				return s, text
			}
		}
	}
	// Each gateway notices at its own tick that the line is whole.
	demand := func(g *gateway) (work string) {
		t.Helper()
		eventually(t, "the line asks for work", func() bool {
			s, found := show(g, "")
			if work = found; work != "" && (s.Code != "WORK" || s.State != "new") {
				t.Fatalf("without work got %+v", s)
			}
			return work != ""
		})
		return work
	}
	seat, work := demand(first), demand(second)
	if s, _ := show(first, seat); s.State != "inside" {
		t.Fatalf("the first got %+v", s)
	}
	s, _ := show(first, work)
	if s.State != "waiting" || s.Number != 2 {
		t.Fatalf("with the work that the other gateway asked for got %+v", s)
	}
	second.Kill()
	second.Restart()
	for _, g := range []*gateway{second, first} {
		eventually(t, "the work that is shown again is answered", func() bool {
			again, _ := show(g, work)
			if !again.Unavailable && again.Number != s.Number {
				t.Fatalf("the work shown again got %+v, want number %d", again, s.Number)
			}
			return !again.Unavailable
		})
	}
	// Who holds the place leaves it, and the work is worth nothing.
	holder := newVisitor(t, first)
	site, err := url.Parse(first.Public)
	if err != nil {
		t.Fatal(err)
	}
	holder.client.Jar.SetCookies(site, []*http.Cookie{{Name: "ropeline-work-7", Value: work}})
	if got := holder.Join(t); got.Number != s.Number {
		t.Fatalf("by a cookie got %+v, want number %d", got, s.Number)
	}
	if _, err := holder.do(t.Context(), http.MethodPost, "/_ropeline/leave?activity=7", false); err != nil {
		t.Fatal(err)
	}
	eventually(t, "the work is spent at both gateways", func() bool {
		one, _ := show(first, work)
		two, _ := show(second, work)
		return one.Code == "WORK" && two.Code == "WORK"
	})
}
