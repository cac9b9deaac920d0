package waitpage_test

import (
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
	"github.com/ropeline/ropeline/visitor"
	"github.com/ropeline/ropeline/waitpage"
)

const prefix = "/_ropeline"

// named is a page of one activity, 123, that has no room: enough for Hold.
func named(name string, status int) *waitpage.Page {
	return waitpage.New(prefix, func(id int64) (waitpage.Activity, bool) {
		return waitpage.Activity{Name: name, PageStatus: status}, id == 123
	})
}

// waiting is the status of someone in line, with all that may be told.
func waiting() admission.Status {
	return admission.Status{
		Activity: 123, State: admission.StateWaiting,
		Number: 4211, Position: 812, Behind: 4498, QueueLength: 5310,
		Wait:      admission.Wait{Known: true, Low: 4 * time.Minute, High: 330 * time.Second},
		PollAfter: 8 * time.Second, PollMax: time.Minute,
		UpdatedAt: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC),
	}
}

func navigation(method, target string, body io.Reader) *http.Request {
	r := httptest.NewRequest(method, target, body)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Dest", "document")
	r.Header.Set("Accept", "text/html,*/*;q=0.8")
	return r
}

func hold(p *waitpage.Page, r *http.Request, s admission.Status) *http.Response {
	w := httptest.NewRecorder()
	p.Hold(w, r, admission.Verdict{Status: s})
	return w.Result()
}

func read(t testing.TB, r *http.Response) string {
	t.Helper()
	body, err := io.ReadAll(r.Body)
	r.Body.Close()
	if err != nil {
		t.Fatal(err)
	}
	return string(body)
}

// gateway serves one activity, 123, over a real room: as the gate does, with
// "the shop" in place of a shop. Anything else is open.
func gateway(t testing.TB, limits admission.Limits) (*httptest.Server, *admission.Room) {
	t.Helper()
	server, room, _ := gatewayWithPage(t, limits)
	return server, room
}

func gatewayWithPage(t testing.TB, limits admission.Limits) (*httptest.Server, *admission.Room, *waitpage.Page) {
	t.Helper()
	room, _ := admissiontest.RunRoom(t, admission.NewMemory(nil), admission.LineID{Tenant: "demo", Activity: 123}, "g1", admissiontest.NewRing(t),
		admission.Settings{Limits: limits, Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}})
	page := waitpage.New(prefix, func(id int64) (waitpage.Activity, bool) {
		return waitpage.Activity{Name: "Spring drop", Room: room}, id == 123
	})
	mux := http.NewServeMux()
	mux.Handle(prefix+"/", page)
	mux.HandleFunc("/drop", func(w http.ResponseWriter, r *http.Request) {
		from := visitor.From(r)
		v := room.Arrive(r.Context(), from.Visit(r, 123))
		visitor.Keep(w.Header(), 123, v, from.Secure)
		if v.Pass {
			io.WriteString(w, "the shop")
			return
		}
		page.Hold(w, r, v)
	})
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server, room, page
}

// oneInside lets one visitor in at a time.
func oneInside() admission.Limits {
	return admission.Limits{
		Mode: admission.ModeAuto, Capacity: 1, RatePerHour: 12 * 60, Burst: 1,
		Claim: 90 * time.Second, Absence: 30 * time.Second, HoldPlace: 15 * time.Minute,
		Idle: 30 * time.Second, Max: 2 * time.Minute,
	}
}

// browser is a visitor with a cookie jar that follows no redirect by itself.
func browser(t testing.TB) *http.Client {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// ask sends a request with header lines such as "Accept: text/html".
func ask(t testing.TB, c *http.Client, method, url, body string, lines ...string) (*http.Response, string) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	response, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	return response, read(t, response)
}
