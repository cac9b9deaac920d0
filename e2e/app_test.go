package e2e

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestApp_StandsInLineAndBuys runs the example of a page
// that uses the queue API by client.js, in two browsers.
func TestApp_StandsInLineAndBuys(t *testing.T) {
	t.Parallel()
	const here = "http://127.0.0.1:9000"
	yaml, err := os.ReadFile(filepath.Join("..", "examples", "app", "ropeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(yaml), here) {
		t.Fatalf("the example's file does not name the shop at %s", here)
	}
	g := start(t, strings.ReplaceAll(string(yaml), here, demoShop(t))+"poll: {min: 200ms, max: 1s}\ndrain: {delay: 0s}\n")
	chromium := openBrowser(t)
	says := func(p *tab, what, words string) {
		t.Helper()
		p.Wait(what, `document.getElementById("says").textContent.includes("`+words+`")`)
	}
	first, second := chromium.Person(t, g), chromium.Person(t, g)
	for _, p := range []*tab{first, second} {
		p.Open("/app")
	}
	first.Click("#join")
	says(first, "the first is let in", "It is your turn.")
	second.Click("#join")
	says(second, "the second waits", "You are number 1 in line.")

	// The place is the user's: a page that is loaded again finds it.
	second.Open("/app")
	second.Click("#join")
	says(second, "the second waits at the same place", "You are number 1 in line.")

	// A gateway that is away for a moment costs nothing.
	g.Kill()
	says(second, "the second is told that the gateway is away", "Your place is kept.")
	g.Restart()
	says(second, "the second waits again", "You are number 1 in line.")

	first.Click("#buy")
	says(first, "the first has bought", "Thank you, number 1.")
	says(second, "the second is let in when the first has been idle", "It is your turn.")
	second.Click("#buy")
	says(second, "the second has bought", "Thank you, number 2.")
	if n := second.Pages(); n != 2 {
		t.Errorf("the second asked for %d documents, want the two that it opened", n)
	}
}
