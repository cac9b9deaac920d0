package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"strings"
	"testing"
	"time"
)

// visitor is one person with a cookie jar. It is not safe for concurrent use,
// but for keep.
type visitor struct {
	base   string
	client *http.Client
	stop   func() // ends keep; nil: it was not called
}

func newVisitor(t *testing.T, g *gateway) *visitor {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	transport := &http.Transport{}
	t.Cleanup(transport.CloseIdleConnections)
	return &visitor{base: g.Public, client: &http.Client{
		Jar: jar, Transport: transport, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}
}

// answer is a whole answer of the gateway.
type answer struct {
	Code   int
	Header http.Header
	Body   string
	Last   bool // the gateway closes the connection after it
}

// status is what the gateway tells a visitor; see the reference of the status
// document.
type status struct {
	State       string `json:"state"`
	Number      int64  `json:"number"`
	Position    int64  `json:"position"`
	QueueLength int64  `json:"queue_length"`
	PollAfter   int64  `json:"poll_after_ms"`
	Unavailable bool   `json:"unavailable"`
	Code        string `json:"code"`
}

// do sends a request. A navigation asks for a page; else it asks for JSON, as
// a script or an app does.
func (v *visitor) do(ctx context.Context, method, path string, navigation bool) (answer, error) {
	r, err := http.NewRequestWithContext(ctx, method, v.base+path, nil)
	if err != nil {
		return answer{}, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if navigation {
		r.Header.Set("Accept", "text/html,application/xhtml+xml")
		r.Header.Set("Sec-Fetch-Mode", "navigate")
		r.Header.Set("Sec-Fetch-Dest", "document")
	}
	return v.send(r)
}

func (v *visitor) send(r *http.Request) (answer, error) {
	got, err := v.client.Do(r)
	if err != nil {
		return answer{}, err
	}
	defer got.Body.Close()
	body, err := io.ReadAll(got.Body)
	return answer{got.StatusCode, got.Header, string(body), got.Close}, err
}

// status reads the status document of a held request or a poll.
func (a answer) status() (status, error) {
	var s status
	if err := json.Unmarshal([]byte(a.Body), &s); err != nil {
		return s, fmt.Errorf("status %d with %.200q: %w", a.Code, a.Body, err)
	}
	return s, nil
}

// Open navigates to a path.
func (v *visitor) Open(t *testing.T, path string) answer {
	t.Helper()
	a, err := v.do(t.Context(), http.MethodGet, path, true)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// Enter asks for the drop until the visitor is inside.
func (v *visitor) Enter(t *testing.T) {
	t.Helper()
	eventually(t, "the visitor is let in", func() bool {
		return strings.Contains(v.Open(t, "/drop").Body, `id="inside"`)
	})
}

// Join asks for the drop, and returns the status of a visitor who must wait. A
// new line settles first, and each gateway notices the end of that at its own
// tick: who is told that the line cannot be asked asks again, as a page does.
func (v *visitor) Join(t *testing.T) (s status) {
	t.Helper()
	eventually(t, "the line takes the visitor", func() bool {
		a, err := v.do(t.Context(), http.MethodGet, "/drop", false)
		if err != nil {
			t.Fatal(err)
		}
		if s, err = a.status(); err != nil {
			t.Fatal(err)
		}
		if s.Unavailable && s.Number == 0 {
			return false
		}
		if a.Code != http.StatusServiceUnavailable || s.State != "waiting" || s.Number == 0 {
			t.Fatalf("a visitor who must wait got %d %s", a.Code, a.Body)
		}
		return true
	})
	return s
}

// Status polls.
func (v *visitor) Status(t *testing.T) status {
	t.Helper()
	a, err := v.do(t.Context(), http.MethodGet, "/_ropeline/status?activity=7", false)
	if err != nil {
		t.Fatal(err)
	}
	s, err := a.status()
	if err != nil {
		t.Fatal(err)
	}
	if a.Code != http.StatusOK {
		t.Fatalf("a poll got %d %s", a.Code, a.Body)
	}
	return s
}

// Leave gives up place and session, and keeps nothing any more.
func (v *visitor) Leave(t *testing.T) {
	t.Helper()
	if v.stop != nil {
		v.stop()
	}
	a, err := v.do(t.Context(), http.MethodPost, "/_ropeline/leave?activity=7", false)
	if err != nil {
		t.Fatal(err)
	}
	if a.Code != http.StatusOK {
		t.Fatalf("leave got %d %s", a.Code, a.Body)
	}
}

// Cookie returns the value of one of the visitor's cookies, "" for none.
func (v *visitor) Cookie(name string) string {
	at, err := url.Parse(v.base)
	if err != nil {
		return ""
	}
	for _, c := range v.client.Jar.Cookies(at) {
		if c.Name == name {
			return c.Value
		}
	}
	return ""
}

// keep asks for a path now and then, so that the visitor stays present, or
// inside, until stop is called, the visitor leaves or the test ends. Answers
// and errors are not looked at.
func (v *visitor) keep(t *testing.T, path string) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		again := time.NewTicker(500 * time.Millisecond)
		defer again.Stop()
		for {
			select {
			case <-ctx.Done():
				return
			case <-again.C:
				_, _ = v.do(ctx, http.MethodGet, path, false)
			}
		}
	}()
	v.stop = func() { cancel(); <-done }
	t.Cleanup(v.stop)
}

// The paths to keep: a poll keeps a place, a request to the drop a session.
const (
	poll = "/_ropeline/status?activity=7"
	drop = "/drop"
)
