package e2e

import (
	"fmt"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// follows has a page of the shop follow the line by a stream, and note what it
// is told.
const follows = `(function () {
  const script = document.createElement("script");
  window.told = [];
  window.polls = 0;
  script.src = "/_ropeline/client.js";
  script.onload = function () {
    const ask = window.fetch;
    window.fetch = function (url) { if (String(url).includes("/status?")) window.polls++; return ask.apply(this, arguments); };
    window.stop = ropeline.listen(7, {words: "de", tell: function (s) { window.told.push(s); }});
  };
  document.head.append(script);
  return "";
})()`

const last = `(window.told[window.told.length - 1] || {})`

// A page of the shop listens: it hears of its turn without asking, and asks
// where there is no stream.
func TestEvents_InChromium(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	first := newVisitor(t, g)
	first.Enter(t)
	b := openBrowser(t)
	p := b.Person(t, g)
	p.Open("/drop")
	p.WaitPosition(1)
	p.Open("/") // the shop's own page, which is open
	if _, err := evaluate[string](p, follows); err != nil {
		t.Fatal(err)
	}
	p.Wait("the page hears its place", last+`.state === "waiting" && `+last+`.number === 2`)
	if got := g.Metric("ropeline_event_streams"); got != 1 {
		t.Errorf("%v streams are open, want 1", got)
	}
	first.Leave(t)
	p.Wait("the page hears its turn, in words", last+`.state === "ready" && `+last+`.words.title.startsWith("Sie sind")`)
	if polls, err := evaluate[int](p, "window.polls"); err != nil || polls != 0 {
		t.Errorf("it polled %d times (%v), want it to listen only", polls, err)
	}
	p.Open("/drop")
	p.WaitInside(2)

	// Without streams to give, the same page polls.
	g.Reload(strings.Replace(settings(shop, oneSeat), "max: 1s}", "max: 1s, streams: 0}", 1))
	other := b.Person(t, g)
	other.Open("/drop")
	other.WaitPosition(1)
	other.Open("/")
	if _, err := evaluate[string](other, follows); err != nil {
		t.Fatal(err)
	}
	other.Wait("the page is told by polls", last+`.number === 3 && `+last+`.words !== undefined && window.polls > 1`)
}

// A gateway that is to end has streams end at once: they would hold it up until
// they were cut.
func TestEvents_EndWithTheGateway(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, strings.Replace(settings(shop, oneSeat), "grace: 10s", "grace: 1h", 1))
	newVisitor(t, g).Enter(t)
	waiting := newVisitor(t, g)
	place := waiting.Join(t)
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Public+"/_ropeline/events?activity=7", nil)
	if err != nil {
		t.Fatal(err)
	}
	res, err := waiting.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	g.Signal(syscall.SIGTERM)
	heard, err := io.ReadAll(res.Body)
	if want := fmt.Sprintf(`"number":%d,`, place.Number); err != nil || !strings.Contains(string(heard), want) {
		t.Errorf("the stream said %q, %v, want %s and a clean end", heard, err, want)
	}
	if got := g.Ended(); got.ExitCode() != 0 {
		t.Errorf("it ended with %v, want exit status 0", got)
	}
}
