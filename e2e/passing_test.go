package e2e

import (
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"
)

// sends asks with header lines, such as "Accept: text/html".
func (v *visitor) sends(t *testing.T, method, path string, lines ...string) answer {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, v.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Set(name, value)
	}
	a, err := v.send(r)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// What the file says of requests that need not wait is what the program does.
func TestPassing_AsTheFileSays(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	const secret = "0123456789abcdef-monitor"
	crawlers := t.TempDir() + "/crawlers.json"
	write(t, crawlers, `{"prefixes": [{"ipv4Prefix": "192.0.2.0/24"}, {"ipv6Prefix": "2001:db8::/48"}]}`)
	file := func(afterEnd, end string) string {
		return settings(shop, fmt.Sprintf(`capacity: 1, session: {idle: 60s, max: 10m}, bind: [user_agent], after_end: %s, end_at: %q,
    page: {compat: cloudflare, assets: pass}, bypass: [
      {path: /drop/hook, method: POST}, {header: {name: X-Monitor, value: %q}, cidr: 127.0.0.0/8}, {crawler: our-search}]`, afterEnd, end, secret),
			`trusted_proxies: [127.0.0.1]`,
			fmt.Sprintf(`crawlers: [{name: our-search, user_agent: OurSearch/, files: [%q]}]`, crawlers))
	}
	later := time.Now().Add(time.Hour).UTC().Format(time.RFC3339)
	g := start(t, file("page", later))
	first := newVisitor(t, g)
	first.Enter(t)
	someone := func() *visitor { return newVisitor(t, g) }

	for story, c := range map[string]struct {
		answer answer
		code   int
		rule   string // by which it passes; empty: held
	}{
		"a webhook":               {someone().sends(t, "POST", "/drop/hook"), 200, "bypass[0]"},
		"no webhook":              {someone().sends(t, "GET", "/drop/hook"), 503, ""},
		"round the webhook":       {someone().sends(t, "POST", "/drop/hook/%2e%2e/buy"), 503, ""},
		"a monitor":               {someone().sends(t, "GET", "/drop", "X-Monitor: "+secret), 200, "bypass[1]"},
		"a monitor from outside":  {someone().sends(t, "GET", "/drop", "X-Monitor: "+secret, "X-Forwarded-For: 198.51.100.1"), 503, ""},
		"a crawler":               {someone().sends(t, "GET", "/drop", "User-Agent: OurSearch/1.0", "X-Forwarded-For: 192.0.2.9"), 200, "bypass[2]"},
		"who only says a crawler": {someone().sends(t, "GET", "/drop", "User-Agent: OurSearch/1.0", "X-Forwarded-For: 198.51.100.1"), 503, ""},
		"a picture that is none":  {someone().sends(t, "GET", "/drop/x.png", "Sec-Fetch-Dest: image"), 503, ""},
		"a crawler without proof": {someone().sends(t, "GET", "/drop", "Accept: text/html", "User-Agent: Googlebot/2.1 (+http://www.google.com/bot.html)", "X-Forwarded-For: 192.0.2.200"), 503, ""},
	} {
		if c.answer.Code != c.code || c.code == 503 && c.answer.Header.Get("Retry-After") == "" {
			t.Errorf("%s got %d %.80q, want %d", story, c.answer.Code, c.answer.Body, c.code)
		}
		if c.rule != "" {
			if got := g.Metric(fmt.Sprintf(`ropeline_bypass_total{activity="7",rule=%q}`, c.rule)); got != 1 {
				t.Errorf("%s: %v are counted by %s, want 1", story, got, c.rule)
			}
		}
	}
	for _, h := range shop.Hits() {
		if h.Header.Get("X-Monitor") != "" {
			t.Error("the shop was sent the monitor's secret")
		}
	}
	if a := someone().sends(t, "GET", "/drop", "Accept: application/json"); a.Code != 200 || !strings.Contains(a.Body, `"cfWaitingRoom":{"inWaitingRoom":true,`) {
		t.Errorf("an app made for the other service got %d %s", a.Code, a.Body)
	}
	if a := first.sends(t, "GET", "/drop", "User-Agent: Other/1.0"); a.Code == 200 {
		t.Errorf("another browser with the first one's cookies got %d %.80q, want to be new", a.Code, a.Body)
	}

	g.Reload(file("page", "2020-01-01T00:00:00Z"))
	eventually(t, "it is over", func() bool { return someone().Open(t, "/drop").Code == http.StatusGone })
	g.Reload(file("open", "2020-01-01T00:00:00Z"))
	eventually(t, "everyone passes after the end", func() bool { return someone().Open(t, "/drop").Code == http.StatusOK })
	if got := g.Metric(`ropeline_bypass_total{activity="7",rule="after_end"}`); got < 1 {
		t.Errorf("%v are counted, want at least 1", got)
	}
}

// Who waits when the activity ends is let in by the page itself, where its
// routes are open from then on.
func TestPassing_AfterEnd(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	with := func(end time.Time) string {
		return settings(shop, fmt.Sprintf("%s, after_end: open, end_at: %q", oneSeat, end.UTC().Format(time.RFC3339)))
	}
	g := start(t, with(time.Now().Add(time.Hour)))
	newVisitor(t, g).Enter(t)
	p := openBrowser(t).Person(t, g)
	p.Open("/drop")
	p.WaitPosition(1)
	g.Reload(with(time.Now().Add(-time.Minute)))
	p.Wait("the tab shows the shop", `document.getElementById("inside") !== null`)
	if got := p.Text("#number"); got != "" {
		t.Errorf("it passes as number %s, want uncounted", got)
	}
}
