package e2e

import (
	"context"
	"fmt"
	"os/exec"
	"strings"
	"sync"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"
)

// browser is a headless Chromium.
type browser struct{ ctx context.Context }

// openBrowser starts a Chromium with a profile of its own, which the test ends.
func openBrowser(t *testing.T, more ...chromedp.ExecAllocatorOption) *browser {
	t.Helper()
	path, err := exec.LookPath("chromium")
	if err != nil {
		path, err = exec.LookPath("chromium-browser")
	}
	if err != nil {
		t.Fatal("there is no Chromium here: apt-get install chromium")
	}
	// In a container the sandbox needs rights that tests rarely have, and the
	// pages are our own.
	options := append(chromedp.DefaultExecAllocatorOptions[:], chromedp.ExecPath(path), chromedp.NoSandbox,
		chromedp.UserDataDir(t.TempDir()), chromedp.Env("TMPDIR="+t.TempDir()), chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true), chromedp.Flag("disable-component-update", true))
	allocator, end := chromedp.NewExecAllocator(context.Background(), append(options, more...)...)
	ctx, closeAll := chromedp.NewContext(allocator)
	t.Cleanup(func() { closeAll(); end() })
	if err := chromedp.Do(ctx); err != nil {
		t.Fatalf("start %s: %v", path, err)
	}
	return &browser{ctx}
}

// tab is one tab of a person. It is not safe for concurrent use.
type tab struct {
	t     *testing.T
	g     *gateway
	ctx   context.Context
	close context.CancelFunc

	mu       sync.Mutex // guards what the browser reports
	problems []string   // of scripts and policies
	foreign  []string   // requests to elsewhere
	pages    int        // documents asked for
}

// Person opens a tab of someone with no cookies yet. What a page may never do
// is checked when the test ends.
func (b *browser) Person(t *testing.T, g *gateway) *tab {
	t.Helper()
	return openTab(t, g, b.ctx, chromedp.WithNewBrowserContext())
}

// Another opens a further tab of the same person. Closing the first closes all.
func (p *tab) Another() *tab {
	p.t.Helper()
	return openTab(p.t, p.g, p.ctx)
}

func openTab(t *testing.T, g *gateway, parent context.Context, options ...chromedp.ContextOption) *tab {
	t.Helper()
	p := &tab{t: t, g: g}
	p.ctx, p.close = chromedp.NewContext(parent, append(options, chromedp.WithListener(p.listen))...)
	t.Cleanup(func() {
		if t.Failed() {
			title, _ := evaluate[string](p, `document.title + " | " + document.body.innerText`) // a closed tab has none
			t.Logf("a tab shows: %s", title)
		}
		p.close()
		p.mu.Lock()
		defer p.mu.Unlock()
		for _, problem := range p.problems {
			t.Errorf("a page has a problem: %s", problem)
		}
		for _, url := range p.foreign {
			t.Errorf("a page asks elsewhere: %s", url)
		}
	})
	if err := chromedp.Do(p.ctx); err != nil {
		t.Fatalf("open a tab: %v", err)
	}
	return p
}

// listen takes what the browser reports.
func (p *tab) listen(event any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch e := event.(type) {
	case *runtime.EventExceptionThrown:
		p.problems = append(p.problems, fmt.Sprintf("exception: %s", e.ExceptionDetails.Text))
	case *runtime.EventConsoleAPICalled:
		if e.Type == "error" || e.Type == "warning" || e.Type == "assert" {
			p.problems = append(p.problems, fmt.Sprintf("console: %s", e.Type))
		}
	case *log.EventEntryAdded:
		// A gateway that is away, or holds, is none of the page's problems.
		if e.Entry.Source != "network" && e.Entry.Level != "verbose" && e.Entry.Level != "info" {
			p.problems = append(p.problems, fmt.Sprintf("%s: %s", e.Entry.Source, e.Entry.Text))
		}
	case *network.EventRequestWillBeSent:
		url := e.Request.URL
		if e.Type == "Document" {
			p.pages++
		}
		if !strings.HasPrefix(url, p.g.Public+"/") && !strings.HasPrefix(url, "data:") && !strings.HasPrefix(url, "about:") {
			p.foreign = append(p.foreign, url)
		}
	}
}

// Pages returns how many documents the tab has asked for.
func (p *tab) Pages() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.pages
}

func (p *tab) Open(path string) {
	p.t.Helper()
	p.do("open "+path, chromedp.Navigate(p.g.Public+path))
}

// Click clicks what a selector finds, once it is to be seen.
func (p *tab) Click(selector string) {
	p.t.Helper()
	p.do("click "+selector, chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible))
}

func (p *tab) do(what string, action chromedp.Action[chromedp.Void]) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, action); err != nil {
		p.t.Fatalf("%s: %v", what, err)
	}
}

// evaluate asks the page. It fails while the page is being replaced.
func evaluate[T any](p *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(p.ctx, patience)
	defer cancel()
	return chromedp.Run(ctx, chromedp.Evaluate[T](expression))
}

// call calls a method of the browser.
func call[P, R any](p *tab, what string, method cdp.Command[P, R], params P) (result R) {
	p.t.Helper()
	p.do(what, chromedp.Func(func(ctx context.Context, target *chromedp.Target) (err error) {
		result, err = cdp.Call(ctx, target, method, params)
		return err
	}))
	return result
}

func (p *tab) DisableScripts() {
	p.t.Helper()
	call(p, "disable scripts", emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
}

// Hide has the page believe that its tab is behind others, or is not: a
// Chromium without a screen shows every tab.
func (p *tab) Hide(yes bool) {
	p.t.Helper()
	p.Run(fmt.Sprintf(`Object.defineProperty(document, "hidden", {get: () => %t, configurable: true});
		document.dispatchEvent(new Event("visibilitychange")), true`, yes))
}

// Run evaluates an expression in the page for what it does.
func (p *tab) Run(expression string) {
	p.t.Helper()
	if _, err := evaluate[any](p, expression); err != nil {
		p.t.Fatalf("run %.80s: %v", expression, err)
	}
}

// Text returns what a reader sees of an element, "" where there is none.
func (p *tab) Text(selector string) string {
	p.t.Helper()
	text, err := evaluate[string](p, fmt.Sprintf(`(document.querySelector(%q) || {innerText: ""}).innerText`, selector))
	if err != nil {
		p.t.Fatalf("read %s: %v", selector, err)
	}
	return text
}

func (p *tab) Title() string {
	p.t.Helper()
	title, err := evaluate[string](p, "document.title")
	if err != nil {
		p.t.Fatalf("read the title: %v", err)
	}
	return title
}

// Wait waits until an expression is true in the page, or in the one after.
func (p *tab) Wait(what, expression string) {
	p.t.Helper()
	eventually(p.t, what, func() bool {
		is, err := evaluate[bool](p, expression)
		return err == nil && is
	})
}

func (p *tab) WaitPosition(n int) {
	p.t.Helper()
	p.Wait(fmt.Sprintf("the page shows position %d", n), fmt.Sprintf(
		`document.getElementById("page").dataset.state === "waiting" && document.querySelector("[data-part=figure]").textContent === "%d"`, n))
}

// WaitInside waits until the tab shows the shop, and checks the number that the
// gateway told it.
func (p *tab) WaitInside(number int) {
	p.t.Helper()
	p.Wait("the tab shows the shop", `document.getElementById("inside") !== null`)
	if got, want := p.Text("#number"), fmt.Sprint(number); got != want {
		p.t.Errorf("inside with number %s, want %s", got, want)
	}
}

// Ticket checks the number that the page shows.
func (p *tab) Ticket(number int) {
	p.t.Helper()
	if got, want := p.Text("footer"), fmt.Sprintf("Ticket %d", number); !strings.Contains(got, want+"\n") {
		p.t.Errorf("the page's footer says %q, want %q", got, want)
	}
}
