package e2e

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// templated are settings of a seat whose waiting page is of this text, and the
// file that holds it.
func templated(t *testing.T, shop *shop, text string) (yaml, file string) {
	t.Helper()
	file = filepath.Join(t.TempDir(), "waiting.html")
	write(t, file, text)
	return settings(shop, oneSeat+", page: {template: "+strconv.Quote(file)+"}"), file
}

func ownPage(t *testing.T, b *browser) {
	text, err := os.ReadFile("../examples/template/waiting.html")
	if err != nil {
		t.Fatal(err)
	}
	yaml, _ := templated(t, openShop(t), string(text))
	g := start(t, yaml)
	first := full(t, g)
	between := newVisitor(t, g)
	between.Join(t)
	between.keep(t, poll)

	p := b.Person(t, g)
	p.Open("/drop")
	p.WaitPosition(2)
	p.Ticket(3)
	p.Wait("its own style is in force", `getComputedStyle(document.body).maxWidth !== "none"`)
	p.Wait("what it has for another state is hidden", `getComputedStyle(document.querySelector(".lost")).display === "none"`)
	between.Leave(t)
	p.WaitPosition(1)
	first.Leave(t)
	p.WaitInside(3)
}

func TestReload_TakesAGoodTemplateAndKeepsTheOldForABrokenOne(t *testing.T) {
	t.Parallel()
	yaml, file := templated(t, openShop(t), "<h1>first</h1>")
	g := start(t, yaml)
	full(t, g)
	waiting := newVisitor(t, g)
	shows := func(want string) {
		t.Helper()
		if got := waiting.Open(t, "/drop"); got.Body != want {
			t.Errorf("the page is %q, want %q", got.Body, want)
		}
	}
	shows("<h1>first</h1>")

	write(t, file, "<h1>second</h1>")
	if line := g.Reload(yaml); line["message"] != "config loaded" {
		t.Fatalf("another template: %v", line)
	}
	shows("<h1>second</h1>")

	write(t, file, "<h1>third</h1>\n{{.Nothing}}")
	mark := g.Log.Mark()
	if line := g.Reload(yaml); line["message"] != "config not loaded, the old one stays" {
		t.Fatalf("a broken template: %v", line)
	}
	problem := g.Log.Await(t, mark, "the problem", func(l entry) bool { return l["message"] == "config problem" })
	if got := fmt.Sprint(problem["problem"]); !strings.Contains(got, g.config+":5:") || !strings.Contains(got, "page.template: "+file+":2:2: ") {
		t.Errorf("the log says %q", got)
	}
	shows("<h1>second</h1>")
}
