package e2e

import (
	"bufio"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestQuickstart runs what the README shows: the demo shop behind the demo's
// file, where the second visitor is in as soon as the first has left.
func TestQuickstart(t *testing.T) {
	t.Parallel()
	const here = "127.0.0.1:9000"
	yaml, err := os.ReadFile(filepath.Join("..", "examples", "quickstart", "ropeline.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(yaml), "http://"+here) {
		t.Fatalf("the demo's file does not name the shop at %s", here)
	}
	g := start(t, strings.ReplaceAll(string(yaml), "http://"+here, demoShop(t)))

	first := newVisitor(t, g)
	if page := first.Open(t, "/"); page.Code != http.StatusOK || !strings.Contains(page.Body, `href="/drop"`) {
		t.Errorf("the front page: got %d %s", page.Code, page.Body)
	}
	if page := first.Open(t, "/drop"); !strings.Contains(page.Body, "You are in.") || !strings.Contains(page.Body, "<strong>1</strong>") {
		t.Fatalf("the first visitor got %d %s, want to be in", page.Code, page.Body)
	}
	second := newVisitor(t, g)
	if page := second.Open(t, "/drop"); page.Code != http.StatusOK || !strings.Contains(page.Body, `data-state="waiting"`) {
		t.Fatalf("the second visitor got %d %.300s, want the waiting page", page.Code, page.Body)
	}
	left, err := first.do(t.Context(), http.MethodPost, "/_ropeline/leave?activity=123", true)
	if err != nil || left.Code != http.StatusSeeOther || left.Header.Get("Location") != "/" {
		t.Errorf("leave: got %d to %q, %v, want to be led to the front page", left.Code, left.Header.Get("Location"), err)
	}
	eventually(t, "the second visitor is in", func() bool {
		return strings.Contains(second.Open(t, "/drop").Body, "<strong>2</strong>")
	})

	for path, want := range map[string]string{
		"/health":  `"status":"ok"`,
		"/metrics": `ropeline_capacity{activity="123"} 1`,
		"/livez":   "ok",
		"/readyz":  "ok",
	} {
		admin := newVisitor(t, g)
		admin.base = g.Admin
		if got := admin.Open(t, path); got.Code != http.StatusOK || !strings.Contains(got.Body, want) {
			t.Errorf("%s: got %d %.300s, want %s", path, got.Code, got.Body, want)
		}
	}
}

// demoShop runs the demo shop on a free port, and returns its URL.
func demoShop(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "shop")
	if out, err := exec.Command("go", "build", "-o", path, "github.com/ropeline/ropeline/examples/shop").CombinedOutput(); err != nil {
		t.Fatalf("build the demo shop: %v\n%s", err, out)
	}
	cmd := exec.Command(path, "-listen", "127.0.0.1:0")
	said, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Kill()
		_ = cmd.Wait() // killed
	})
	line, err := bufio.NewReader(said).ReadString('\n')
	_, url, ok := strings.Cut(strings.TrimSpace(line), "listening on ")
	if err != nil || !ok {
		t.Fatalf("the demo shop says %q: %v", line, err)
	}
	return url
}
