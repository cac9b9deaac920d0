package e2e

import (
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
)

// download begins a download that goes on until the shop is told to continue,
// and returns how to read the rest.
func (v *visitor) download(t *testing.T, path string) (rest func() (string, error)) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, v.base+path, nil)
	if err != nil {
		t.Fatal(err)
	}
	got, err := v.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { got.Body.Close() })
	first := make([]byte, len(downloadBegin))
	if _, err := io.ReadFull(got.Body, first); err != nil || string(first) != downloadBegin {
		t.Fatalf("the download begins with %q: %v", first, err)
	}
	return func() (string, error) {
		text, err := io.ReadAll(got.Body)
		return string(text), err
	}
}

func TestDrain_SaysSoFirstServesOnAndLetsRequestsEnd(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, strings.Replace(settings(shop, oneSeat), "delay: 0s", "delay: 4s", 1))
	inside := newVisitor(t, g)
	inside.Enter(t)
	waiting := newVisitor(t, g)
	place := waiting.Join(t)
	rest := inside.download(t, "/drop/download")

	g.Signal(syscall.SIGTERM)
	eventually(t, "/readyz turns", func() bool { return g.Ready() == http.StatusServiceUnavailable })
	// A balancer that has not looked yet still sends visitors.
	if got := waiting.Status(t); got.Number != place.Number || got.State != "waiting" {
		t.Errorf("while it drains, the visitor who waits got %+v, want number %d", got, place.Number)
	}
	page := newVisitor(t, g).Open(t, "/")
	if page.Code != http.StatusOK || !page.Last {
		t.Errorf("while it drains, the shop's front page: got %d, closed %v, want 200 and a connection that is not kept", page.Code, page.Last)
	}
	eventually(t, "no more connections are taken", func() bool {
		_, err := newVisitor(t, g).do(t.Context(), http.MethodGet, poll, false)
		return err != nil
	})
	select {
	case <-g.done:
		t.Fatal("it ended before the download did")
	default:
	}
	shop.Continue()
	if got, err := rest(); err != nil || got != downloadEnd {
		t.Errorf("the download ends with %q, %v, want %q", got, err, downloadEnd)
	}
	if got := g.Ended(); got.ExitCode() != 0 {
		t.Errorf("it ended with %v, want exit status 0", got)
	}

	g.Restart()
	if got := waiting.Status(t); got.Number != place.Number || got.State != "waiting" {
		t.Errorf("after the restart, the visitor who waits got %+v, want number %d", got, place.Number)
	}
	if got := inside.Open(t, "/drop"); !strings.Contains(got.Body, `id="inside"`) {
		t.Errorf("after the restart, the visitor inside got %d %.200s", got.Code, got.Body)
	}
}

func TestDrain_ASecondSignalEndsItAtOnce(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, strings.NewReplacer("delay: 0s", "delay: 10m", "grace: 10s", "grace: 1h").Replace(settings(shop, oneSeat)))
	inside := newVisitor(t, g)
	inside.Enter(t)
	rest := inside.download(t, "/drop/download")
	waiting := newVisitor(t, g)
	place := waiting.Join(t)

	g.Signal(syscall.SIGTERM)
	eventually(t, "/readyz turns", func() bool { return g.Ready() == http.StatusServiceUnavailable })
	g.Signal(syscall.SIGTERM)
	ended := g.Ended()
	if how, ok := ended.Sys().(syscall.WaitStatus); !ok || !how.Signaled() || how.Signal() != syscall.SIGTERM {
		t.Errorf("it ended with %v, want by the signal", ended)
	}
	if got, err := rest(); err == nil {
		t.Errorf("a download that was cut looks whole: %q", got)
	}
	g.Restart()
	if got := waiting.Status(t); got.Number != place.Number {
		t.Errorf("after the restart, the visitor who waits got %+v, want number %d", got, place.Number)
	}
}
