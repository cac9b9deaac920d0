package waitpage_test

import (
	"bufio"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"
)

// events is an event stream that is open.
type events struct {
	t     *testing.T
	res   *http.Response
	lines *bufio.Reader
	retry bool // the stream said when to come again
}

// listen opens an event stream; the test ends it.
func listen(t *testing.T, c *http.Client, server *httptest.Server, lines ...string) *events {
	t.Helper()
	return listenTo(t, c, server.URL+prefix+"/events?activity=123", lines...)
}

// listenTo opens the stream of an address.
func listenTo(t *testing.T, c *http.Client, address string, lines ...string) *events {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { res.Body.Close() })
	return &events{t: t, res: res, lines: bufio.NewReader(res.Body)}
}

// Next returns the next event's document; false: the stream has ended.
func (e *events) Next() (s told, ok bool) {
	e.t.Helper()
	for {
		line, err := e.lines.ReadString('\n')
		if err == io.EOF {
			return told{}, false
		}
		if err != nil {
			e.t.Fatal(err)
		}
		e.retry = e.retry || strings.HasPrefix(line, "retry: ")
		if data, ok := strings.CutPrefix(line, "data: "); ok {
			if err := json.Unmarshal([]byte(data), &s); err != nil {
				e.t.Fatalf("%v in %q", err, data)
			}
			return s, true
		}
	}
}

// Await reads on to an event that is as wanted.
func (e *events) Await(what string, is func(told) bool) {
	e.t.Helper()
	for {
		s, ok := e.Next()
		if !ok {
			e.t.Fatalf("the stream ended before %s", what)
		}
		if is(s) {
			return
		}
	}
}

func TestEvents_TellThePlaceAndThenTheTurn(t *testing.T) {
	limits := oneInside()
	limits.RatePerHour = 36000
	server, room := gateway(t, limits)
	inside := browser(t)
	ask(t, inside, "GET", server.URL+"/drop", "")
	c := browser(t)
	_, body := ask(t, c, "GET", server.URL+"/drop", "")
	number := tell(t, body).number()

	e := listen(t, c, server)
	for name, want := range map[string]string{
		"Content-Type": "text/event-stream", "Cache-Control": "no-store, no-transform", "X-Accel-Buffering": "no",
		"Surrogate-Control": "no-store", "X-Content-Type-Options": "nosniff",
	} {
		if got := e.res.Header.Get(name); e.res.StatusCode != 200 || got != want {
			t.Errorf("got %d, %s %q, want 200, %q", e.res.StatusCode, name, got, want)
		}
	}
	if s, ok := e.Next(); !ok || s.State != "waiting" || s.number() != number || !e.retry {
		t.Fatalf("the first event is %+v (retry %v), want the place of number %d", s, e.retry, number)
	}
	polls := room.Figures().Polls
	ask(t, inside, "POST", server.URL+prefix+"/leave?activity=123", "", "Sec-Fetch-Site: same-origin")
	e.Await("the turn", func(s told) bool { return s.State == "ready" && s.number() == number })
	if got := room.Figures().Polls - polls; got > 10 {
		t.Errorf("%d polls are counted for one stream of seconds", got)
	}
	if _, body := ask(t, c, "GET", server.URL+"/drop", ""); body != "the shop" {
		t.Errorf("ready, it got %q, want the shop", body)
	}
}

func TestEvents_HaveWordsWhereTheyAreAskedFor(t *testing.T) {
	limits := oneInside()
	limits.RatePerHour = 36000
	server, _ := gateway(t, limits)
	inside, c := browser(t), browser(t)
	ask(t, inside, "GET", server.URL+"/drop", "")
	ask(t, c, "GET", server.URL+"/drop", "")
	e := listenTo(t, c, server.URL+prefix+"/events?activity=123&words=de&shown=")
	if s, ok := e.Next(); !ok || s.Words == nil || !strings.Contains(s.Words.Detail, "als Nächstes") {
		t.Fatalf("the first event is %+v, want German words", s)
	}
	ask(t, inside, "POST", server.URL+prefix+"/leave?activity=123", "", "Sec-Fetch-Site: same-origin")
	e.Await("the turn in words", func(s told) bool {
		return s.State == "ready" && s.Words != nil && strings.HasPrefix(s.Words.Title, "Sie sind")
	})
	if s, ok := listen(t, c, server).Next(); !ok || s.Words != nil {
		t.Errorf("unasked the words are %+v", s.Words)
	}
}

// Two windows of absence pass: who listens is still there, who came at the same
// time and is silent is not.
func TestEvents_CountAsBeingHeardFrom(t *testing.T) {
	limits := oneInside()
	limits.Absence = 3 * time.Second
	server, _ := gateway(t, limits)
	ask(t, browser(t), "GET", server.URL+"/drop", "")
	listening, silent := browser(t), browser(t)
	ask(t, listening, "GET", server.URL+"/drop", "")
	ask(t, silent, "GET", server.URL+"/drop", "")
	e := listen(t, listening, server)
	present := func() int64 { // to someone who is not in line
		if _, ok := e.Next(); !ok {
			t.Fatal("the stream ended")
		}
		_, body := ask(t, browser(t), "GET", server.URL+prefix+"/status?activity=123", "")
		return tell(t, body).QueueLength
	}
	for present() != 2 {
	}
	got := int64(2)
	for got == 2 {
		got = present()
	}
	if got != 1 {
		t.Errorf("%d are in line, want the one who listens", got)
	}
}

func TestEvents_AreBoundedAndFallBackToPolling(t *testing.T) {
	server, _, page := gatewayWithPage(t, oneInside())
	page.AllowStreams(1)
	c := browser(t)
	first := listen(t, c, server)
	if _, ok := first.Next(); !ok || page.Streams() != 1 {
		t.Fatalf("the first stream tells nothing; %d are open", page.Streams())
	}
	second := listen(t, browser(t), server)
	body, _ := io.ReadAll(second.res.Body)
	if second.res.StatusCode != 503 || second.res.Header.Get("Retry-After") == "" || tell(t, string(body)).Code != "TOO_MANY_STREAMS" {
		t.Errorf("the second got %d %s, want 503 and when to come again", second.res.StatusCode, body)
	}
	if r, _ := ask(t, browser(t), "GET", server.URL+prefix+"/status?activity=123", ""); r.StatusCode != 200 {
		t.Errorf("a poll got %d, want 200", r.StatusCode)
	}
	first.res.Body.Close()
	for listen(t, c, server).res.StatusCode != 200 { // until the server saw it leave
	}
}

func TestEvents_EndWhereThereIsNoMoreToAsk(t *testing.T) {
	limits := oneInside()
	limits.EndAt = time.Now().Add(-time.Hour)
	server, _ := gateway(t, limits)
	e := listen(t, browser(t), server)
	if s, ok := e.Next(); !ok || s.State != "ended" {
		t.Errorf("got %+v, want the end", s)
	}
	if s, ok := e.Next(); ok {
		t.Errorf("then %+v, want the stream to end", s)
	}
	if again := listen(t, browser(t), server, "Last-Event-ID: 1"); again.res.StatusCode != 204 {
		t.Errorf("the browser's next got %d, want 204, which stops it", again.res.StatusCode)
	}
}

func TestEvents_EndWithTheGatewayAndAreTakenNoMore(t *testing.T) {
	server, _, page := gatewayWithPage(t, oneInside())
	e := listen(t, browser(t), server)
	e.Next()
	page.EndStreams()
	page.EndStreams()
	for {
		if _, ok := e.Next(); !ok {
			break
		}
	}
	if again := listen(t, browser(t), server); again.res.StatusCode != 503 {
		t.Errorf("a new stream got %d, want 503", again.res.StatusCode)
	}
}

func TestEvents_HeadHasNoStream(t *testing.T) {
	server, _, page := gatewayWithPage(t, oneInside())
	r, body := ask(t, browser(t), "HEAD", server.URL+prefix+"/events?activity=123", "")
	if r.StatusCode != 200 || r.Header.Get("Content-Type") != "text/event-stream" || body != "" || page.Streams() != 0 {
		t.Errorf("got %d %q %q, %d open", r.StatusCode, r.Header.Get("Content-Type"), body, page.Streams())
	}
}
