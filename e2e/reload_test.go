package e2e

import (
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

const reloaded = "ropeline_config_last_reload_successful"

func TestReload_CostsNoOneAPlaceAndCutsNothing(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	one := settings(shop, oneSeat)
	g := start(t, one)
	inside := newVisitor(t, g)
	inside.Enter(t)
	inside.keep(t, drop)
	rest := inside.download(t, "/drop/download")
	var waiting []*visitor
	for i := range 6 {
		v := newVisitor(t, g)
		if got := v.Join(t).Number; got != int64(i+2) {
			t.Fatalf("visitor %d got number %d", i+2, got)
		}
		v.keep(t, poll)
		waiting = append(waiting, v)
	}
	kept := func(when string) {
		t.Helper()
		for i, v := range waiting {
			if got := v.Status(t); got.Number != int64(i+2) || got.State == "new" {
				t.Errorf("%s: got %+v, want number %d", when, got, i+2)
			}
		}
		if got := inside.Open(t, "/drop"); !strings.Contains(got.Body, `<b id="number">1</b>`) {
			t.Errorf("%s: the visitor inside got %d %.200s", when, got.Code, got.Body)
		}
	}

	if line := g.Reload(strings.Replace(one, "Spring drop", "Summer drop", 1)); line["message"] != "config loaded" {
		t.Fatalf("another name: %v", line)
	}
	if page := waiting[0].Open(t, "/drop"); !strings.Contains(page.Body, "Summer drop") {
		t.Error("the page has the old name")
	}
	kept("after a reload")

	// A file that is wrong changes nothing, and the log says what is wrong.
	mark := g.Log.Mark()
	if line := g.Reload(one + "poll: {min: 1s}\n"); line["message"] != "config not loaded, the old one stays" {
		t.Fatalf("a bad file: %v", line)
	}
	problem := g.Log.Await(t, mark, "the problem", func(l entry) bool { return l["message"] == "config problem" })
	if got, want := fmt.Sprint(problem["problem"]), fmt.Sprintf("%s:%d:1: poll: stands twice", g.config, 1+strings.Count(one, "\n")); !strings.HasPrefix(got, want) {
		t.Errorf("the log says %q, want %q", got, want)
	}
	if got := g.Metric(reloaded); got != 0 {
		t.Errorf("%s after a bad file: got %v, want 0", reloaded, got)
	}
	kept("after a bad file")

	// What needs a restart is said, and the rest takes effect.
	mark = g.Log.Mark()
	raised := strings.NewReplacer("capacity: 1", "capacity: 3", "grace: 10s", "grace: 11s").Replace(one)
	began := time.Now()
	if line := g.Reload(raised); line["message"] != "config loaded" {
		t.Fatalf("a raised capacity: %v", line)
	}
	said := g.Log.Await(t, mark, "the keys that need a restart", func(l entry) bool {
		return l["message"] == "config keys need a restart, their old values stay"
	})
	if got, want := said["keys"], []any{"drain.grace"}; !slices.Equal(got.([]any), want) {
		t.Errorf("keys that need a restart: got %v, want %v", got, want)
	}
	if got := g.Metric(reloaded); got != 1 {
		t.Errorf("%s after a good file: got %v, want 1", reloaded, got)
	}
	eventually(t, "two more have their turn", func() bool {
		return waiting[0].Status(t).State == "ready" && waiting[1].Status(t).State == "ready"
	})
	t.Logf("a raised capacity took effect in %v", time.Since(began).Round(time.Millisecond))
	kept("with more capacity")
	waiting[0].Enter(t)
	waiting[1].Enter(t)
	if got := waiting[2].Status(t); got.State != "waiting" || got.Position != 1 {
		t.Errorf("the next in line got %+v, want to wait at position 1", got)
	}

	shop.Continue()
	if got, err := rest(); err != nil || got != downloadEnd {
		t.Errorf("a download over four reloads ends with %q, %v, want %q", got, err, downloadEnd)
	}
}

func TestReload_MovesToAnotherUpstreamUnderADownload(t *testing.T) {
	t.Parallel()
	old, fresh := openShop(t), openShop(t)
	g := start(t, settings(old, oneSeat))
	inside := newVisitor(t, g)
	inside.Enter(t)
	rest := inside.download(t, "/drop/download")
	if line := g.Reload(settings(fresh, oneSeat)); line["message"] != "config loaded" {
		t.Fatal(line)
	}
	if got := inside.Open(t, "/drop"); got.Code != http.StatusOK || fresh.Count("GET", "/drop") != 1 {
		t.Errorf("got %d, %d requests at the new shop, want 200 and 1", got.Code, fresh.Count("GET", "/drop"))
	}
	old.Continue()
	if got, err := rest(); err != nil || got != downloadEnd {
		t.Errorf("the download from the old shop ends with %q, %v, want %q", got, err, downloadEnd)
	}
}

// As Kubernetes mounts a ConfigMap: the file is a link through ..data, which is
// turned from one version to the next by a rename.
func TestReload_SeesAConfigMapTurnAndOutlivesAHalfWrittenFile(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, oneSeat))
	full(t, g)
	waiting := newVisitor(t, g)
	place := waiting.Join(t)
	waiting.keep(t, poll)
	version := func(name, yaml string) {
		t.Helper()
		if err := os.Mkdir(filepath.Join(g.dir, name), 0o755); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(g.dir, name, "ropeline.yaml"), yaml)
		if err := os.Symlink(name, filepath.Join(g.dir, "..data_tmp")); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(filepath.Join(g.dir, "..data_tmp"), filepath.Join(g.dir, "..data")); err != nil {
			t.Fatal(err)
		}
	}
	name := func() string {
		page := waiting.Open(t, "/drop").Body
		for _, n := range []string{"Spring", "Summer", "Autumn", "Winter"} {
			if strings.Contains(page, n+" drop") {
				return n
			}
		}
		return ""
	}
	called := func(n string) string { return strings.Replace(settings(shop, oneSeat), "Spring", n, 1) }

	// Half of a file: what stands there is no YAML yet.
	summer := called("Summer")
	mark := g.Log.Mark()
	write(t, g.config, summer[:strings.Index(summer, "Summer")])
	if line := g.Loaded(mark); line["message"] != "config not loaded, the old one stays" {
		t.Fatalf("half a file: %v", line)
	}
	if got := name(); got != "Spring" {
		t.Errorf("after half a file: got %q, want Spring", got)
	}
	if got := g.Metric(reloaded); got != 0 {
		t.Errorf("%s after half a file: got %v, want 0", reloaded, got)
	}
	mark = g.Log.Mark()
	write(t, g.config, summer)
	if line := g.Loaded(mark); line["message"] != "config loaded" {
		t.Fatalf("the whole file: %v", line)
	}
	if got := name(); got != "Summer" {
		t.Errorf("after the whole file: got %q, want Summer", got)
	}

	// Now the file becomes a link, and the link turns twice.
	mark = g.Log.Mark()
	version("..2026_1", called("Autumn"))
	if err := os.Remove(g.config); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(filepath.Join("..data", "ropeline.yaml"), g.config); err != nil {
		t.Fatal(err)
	}
	if line := g.Loaded(mark); line["message"] != "config loaded" {
		t.Fatalf("a link: %v", line)
	}
	mark = g.Log.Mark()
	version("..2026_2", called("Winter"))
	if err := os.RemoveAll(filepath.Join(g.dir, "..2026_1")); err != nil {
		t.Fatal(err)
	}
	if line := g.Loaded(mark); line["message"] != "config loaded" {
		t.Fatalf("a link that turned: %v", line)
	}
	if got := name(); got != "Winter" {
		t.Errorf("after the link turned: got %q, want Winter", got)
	}
	if got := g.Metric(reloaded); got != 1 {
		t.Errorf("%s at last: got %v, want 1", reloaded, got)
	}
	if got := waiting.Status(t); got.Number != place.Number {
		t.Errorf("the visitor who waits got %+v, want number %d", got, place.Number)
	}
}

func TestReload_TheLogLevelChangesWhileItRuns(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	loud := settings(shop, "capacity: 5")
	g := start(t, loud)
	visitor := newVisitor(t, g)
	const loaded = "ropeline_config_last_reload_success_timestamp_seconds"
	before := g.Metric(loaded)
	write(t, g.config, settings(shop, "capacity: 5", "log: {level: error}"))
	g.Signal(syscall.SIGHUP)
	eventually(t, "the file is loaded", func() bool { return g.Metric(loaded) > before })
	visitor.Open(t, "/quiet")
	mark := g.Log.Mark()
	g.Reload(loud)
	visitor.Open(t, "/loud")
	g.Log.Await(t, mark, "a request line", func(l entry) bool { return l["path"] == "/loud" })
	if strings.Contains(g.Log.Text(), "/quiet") {
		t.Error("a line of level info was written at level error")
	}
}
