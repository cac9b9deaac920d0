package crowd

import (
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// waitingRoom answers each request of a visitor with the same status document,
// once it is open: until then nobody gets an answer.
type waitingRoom struct {
	document string
	opens    time.Time // zero: it is open

	mu    sync.Mutex // guards polls
	polls int
}

// RoundTrip implements http.RoundTripper.
func (w *waitingRoom) RoundTrip(r *http.Request) (*http.Response, error) {
	document := w.document
	if r.Header.Get("Sec-Purpose") != "" {
		document = `{"activity":123,"state":"new","poll_after_ms":1}`
	} else if wait := time.Until(w.opens); wait > 0 {
		time.Sleep(wait)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	h := http.Header{"Content-Type": {"application/json"}}
	h.Set("Surrogate-Control", "no-store")
	h.Set("CDN-Cache-Control", "no-store")
	h.Set("Vary", "Cookie, Accept, Sec-Fetch-Mode, Accept-Language")
	if strings.HasSuffix(r.URL.Path, "/status") {
		w.polls++
	} else {
		h.Add("Set-Cookie", "ropeline-queue-123="+token(`{"sub":"AAAAAAAAAAAAAAAA","num":7,"epo":1,"iat":1,"exp":9}`)+"; Path=/")
	}
	return &http.Response{StatusCode: 503, Header: h, Body: io.NopCloser(strings.NewReader(document)), Request: r}, nil
}

const keepWaiting = `{"activity":123,"state":"waiting","number":7,"position":3,"poll_after_ms":60000}`

// crowdOf is a run of so many who come over a time to a waiting room.
func crowdOf(t *testing.T, room *waitingRoom, count int, over time.Duration) Run {
	t.Helper()
	arrivals, err := NewArrivals(Constant, count, over)
	if err != nil {
		t.Fatal(err)
	}
	target, err := OpenTarget(t.Context(), "http://shop.example/drop", TargetOptions{Transport: room})
	if err != nil {
		t.Fatal(err)
	}
	return Run{Target: target, Plan: Plan{Arrivals: arrivals, Seed: 1}, Connections: 2}
}

func TestRun_ComesOnTimeHoweverSlowTheAnswersAre(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &waitingRoom{document: keepWaiting, opens: time.Now().Add(30 * time.Second)}
		run := crowdOf(t, room, 100, 10*time.Second)
		run.For = 40 * time.Second
		tally := NewTally(Head{Limits: NoLimits()})
		meant := 0
		run.Seen = func(e Event) error {
			tally.See(e)
			if e.Kind == Join && e.Sent-e.Late <= 10_000_000 {
				meant++
			}
			return nil
		}
		if _, err := run.Go(t.Context()); err != nil {
			t.Fatal(err)
		}
		if meant != 100 {
			t.Errorf("%d of 100 were meant to ask within the 10 s in which they came", meant)
		}
		// Two connections were held up: what a closed loop would have measured is
		// that all others had their answer at once.
		r := tally.Report()
		if latency, service := r.Latency[Join], r.Service[Join]; latency.P50 < 20_000 || service.P90 > 100 || service.Max < 29_000 {
			t.Errorf("latency is %+v and service %+v: who could not be sent to the stalled gateway must count as well", latency, service)
		}
	})
}

func TestRun_WhoWaitsHasNoGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		room := &waitingRoom{document: keepWaiting}
		run := crowdOf(t, room, 5000, 10*time.Second)
		run.For = 5 * time.Minute
		before, most, lining := runtime.NumGoroutine(), 0, int64(0)
		run.Beat = func(s Standing) {
			most = max(most, runtime.NumGoroutine()-before)
			lining = max(lining, s.Lining)
		}
		standing, err := run.Go(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		if lining != 5000 || standing.Ends["still there"] != 5000 {
			t.Errorf("%d waited at once, and it ended as %v, want 5000 who are still there", lining, standing.Ends)
		}
		if most > run.Connections+10 {
			t.Errorf("there were %d goroutines, want %d and a few", most, run.Connections)
		}
		if room.polls < 4*5000 || room.polls > 5*5000 {
			t.Errorf("there were %d polls in 5 minutes, want one a minute of each", room.polls)
		}
	})
}

func TestRun_EndsWithWhoTakesItsEvents(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		run := crowdOf(t, &waitingRoom{document: keepWaiting}, 100, time.Second)
		full := errors.New("no space left")
		run.Seen = func(e Event) error {
			if e.Kind == Poll {
				return full
			}
			return nil
		}
		if _, err := run.Go(t.Context()); !errors.Is(err, full) {
			t.Errorf("the error is %v, want %v", err, full)
		}
	})
}

func TestVisitor_DoesNext(t *testing.T) {
	target := &Target{queue: "ropeline-queue-123", admission: "ropeline-admission-123"}
	placed := []string{"ropeline-queue-123=a.b.c"}
	admitted := []string{"ropeline-admission-123=a.b.c"}
	waits := answer{code: 200, state: Waiting, status: status{State: Waiting, Number: 7, PollAfter: 4000}}
	for _, c := range []struct {
		name  string
		is    visitor
		got   answer
		kind  Kind
		stage stage
		end   end
		least time.Duration
		most  time.Duration
	}{
		{"waits as told", visitor{kind: Join, jar: jar{placed}}, waits, Poll, lining, 0, 4 * time.Second, 4 * time.Second},
		{"enters when its turn comes", visitor{kind: Poll, stage: lining, jar: jar{placed}}, answer{code: 200, state: Ready}, Enter, lining, 0, leastReaction, mostReaction},
		{"enters when its turn lapsed", visitor{kind: Poll, stage: lining, jar: jar{placed}}, answer{code: 200, state: Waiting, status: status{Lapsed: true, PollAfter: 4000}}, Enter, lining, 0, leastReaction, mostReaction},
		{"is away when its turn comes", visitor{kind: Poll, stage: lining, jar: jar{placed}, away: true}, answer{code: 200, state: Ready}, "", gone, noShow, 0, 0},
		{"lets its turn lapse", visitor{kind: Poll, stage: lining, jar: jar{placed}, late: true}, answer{code: 200, state: Ready, status: status{PollAfter: 2000}}, Poll, lining, 0, 2 * time.Second, 2 * time.Second},
		{"comes when it has lapsed", visitor{kind: Poll, stage: lining, jar: jar{placed}, late: true}, answer{code: 200, state: Waiting, status: status{Lapsed: true, PollAfter: 4000}}, Enter, lining, 0, leastReaction, mostReaction},
		{"has no more patience", visitor{kind: Poll, stage: lining, jar: jar{placed}, giveUp: 5}, waits, "", gone, gaveUp, 0, 0},
		{"says so where it is polite", visitor{kind: Poll, stage: lining, jar: jar{placed}, giveUp: 5, polite: true}, waits, Leave, leaving, gaveUp, 0, 0},
		{"waits no longer than its patience", visitor{kind: Poll, stage: lining, jar: jar{placed}, giveUp: 1_000_010}, waits, Poll, lining, 0, time.Second, time.Second},
		{"looks at the next page", visitor{kind: Enter, stage: lining, jar: jar{admitted}, pages: 2}, answer{code: 200, state: Passed}, Browse, inside, 0, time.Second, time.Second},
		{"has seen enough", visitor{kind: Browse, stage: inside, jar: jar{admitted}, pages: 1}, answer{code: 200, state: Passed}, "", gone, served, 0, 0},
		{"is out of its session", visitor{kind: Browse, stage: inside, jar: jar{admitted}, pages: 3}, waits, "", gone, sessionEnded, 0, 0},
		{"has left", visitor{kind: Leave, stage: leaving, end: served}, answer{code: 200, state: New}, "", gone, served, 0, 0},
		{"leaves again where nobody heard", visitor{kind: Leave, stage: leaving, end: served}, answer{}, Leave, leaving, served, time.Second, 3 * time.Second},
		{"leaves again where the line could not be told", visitor{kind: Leave, stage: leaving, end: served, forger: true, used: "a.b.c"}, answer{code: 503, state: New, status: status{Unavailable: true}}, Leave, leaving, served, time.Second, 3 * time.Second},
		{"asks again where there is no answer", visitor{kind: Poll, stage: lining, jar: jar{placed}}, answer{fault: "timeout"}, Poll, lining, 0, time.Second, 3 * time.Second},
		{"asks ever more seldom", visitor{kind: Poll, stage: lining, jar: jar{placed}, failures: 3}, answer{code: 502, state: Refused}, Poll, lining, 0, 8 * time.Second, 24 * time.Second},
		{"has had enough of errors", visitor{kind: Poll, stage: lining, jar: jar{placed}, failures: mostFailures - 1}, answer{}, "", gone, troubled, 0, 0},
		{"is told that it is over", visitor{kind: Poll, stage: lining, jar: jar{placed}}, answer{code: 200, state: "ended"}, "", gone, turnedAway, 0, 0},
		{"asks where the page does not tell", visitor{kind: Join, jar: jar{placed}}, answer{code: 200, state: Unread}, Poll, coming, 0, 0, 0},
		{"comes again where the line is full", visitor{kind: Join}, answer{code: 503, state: "full", status: status{PollAfter: 9000}}, Join, coming, 0, 9 * time.Second, 9 * time.Second},
		{"joins anew where its place is gone", visitor{kind: Poll, stage: lining, jar: jar{placed}}, answer{code: 200, state: New, status: status{PollAfter: 1000}}, Enter, lining, 0, time.Second, time.Second},
		{"goes where that is no help", visitor{kind: Enter, stage: lining, jar: jar{placed}}, answer{code: 200, state: New, status: status{PollAfter: 1000}}, "", gone, lostPlace, 0, 0},
		{"learns nothing from a forgery", visitor{kind: Forge, stage: lining, jar: jar{placed}, forger: true}, answer{code: 200, state: Passed}, Poll, lining, 0, time.Second, time.Second},
		{"tries the used ticket", visitor{kind: Leave, stage: leaving, end: served, forger: true, used: "a.b.c"}, answer{code: 200, state: New}, Forge, leaving, served, time.Second, time.Second},
		{"asks again as a bot", visitor{kind: Join, bot: true, pages: 2}, waits, Join, coming, 0, time.Second, time.Second},
	} {
		v := c.is
		kind, after := v.next(target, c.got, 10, &Plan{Think: Spread{from: time.Second, to: time.Second}}, rand.New(rand.NewPCG(1, 1)))
		if kind != c.kind || v.stage != c.stage || v.end != c.end || after < c.least || after > c.most {
			t.Errorf("%s: does %q after %v, stage %d, end %d; want %q after %v to %v, stage %d, end %d",
				c.name, kind, after, v.stage, v.end, c.kind, c.least, c.most, c.stage, c.end)
		}
	}
}

func TestVisitor_ForgesATicketOfEachSort(t *testing.T) {
	target := &Target{queue: "ropeline-queue-123", admission: "ropeline-admission-123"}
	genuine := token(`{"num":7,"epo":1}`)
	v := visitor{stage: lining, jar: jar{[]string{"ropeline-queue-123=" + genuine}}}
	seen := map[string]bool{"ropeline-queue-123=" + genuine: true}
	for range 4 {
		header, number := v.forge(target)
		if seen[header] || number != 7 {
			t.Errorf("%s of number %d is genuine, or was there before", header, number)
		}
		seen[header] = true
	}
	v.stage, v.used = leaving, genuine
	if header, _ := v.forge(target); header != "ropeline-queue-123="+genuine {
		t.Errorf("%s is not the ticket that was used", header)
	}
}

func TestJar_KeepsChangesAndDrops(t *testing.T) {
	var j jar
	for _, c := range []struct {
		set  http.Cookie
		want string
	}{
		{http.Cookie{Name: "a", Value: "1"}, "a=1"},
		{http.Cookie{Name: "ab", Value: "2"}, "a=1; ab=2"},
		{http.Cookie{Name: "a", Value: "3", MaxAge: 60}, "a=3; ab=2"},
		{http.Cookie{Name: "c", MaxAge: -1}, "a=3; ab=2"},
		{http.Cookie{Name: "a", MaxAge: -1}, "ab=2"},
		{http.Cookie{Name: "__Host-q", Value: "t"}, "ab=2; __Host-q=t"},
	} {
		j.keep([]*http.Cookie{&c.set})
		if got := j.header(); got != c.want {
			t.Errorf("after %v it has %q, want %q", &c.set, got, c.want)
		}
	}
	if got := j.ticket("q"); got != "t" {
		t.Errorf("the ticket is %q, want t", got)
	}
}

func TestReport_TellsInTextAndCharts(t *testing.T) {
	tally := NewTally(Head{Target: "http://127.0.0.1/<drop>", Activity: 7, Limits: Limits{1, 3600, 1, 20_000, 60_000}})
	for i := range Micros(400) { // one a second is admitted and stays
		at := i * 1_000_000
		tally.See(Event{Sent: at, Took: 1000, Visitor: int64(i) + 1, Kind: Join, Code: 200, State: Waiting, Number: int64(i) + 1, Epoch: 1})
		tally.See(Event{Sent: at + 2000, Took: 3000, Late: 500, Visitor: int64(i) + 1, Kind: Enter, Code: 200, State: Passed, Epoch: 1,
			Session: &Session{fmt.Sprint(i), int64(i) + 1, 1, int64(i), int64(i) + 10, int64(i) + 60}})
	}
	tally.See(Event{Sent: 400_000_000, Took: 1, Visitor: 1, Kind: Browse, Fault: "timeout"})
	r := tally.Report()
	if r.Numbers != 400 || r.Entered != 400 || r.Errors["no answer: timeout"] != 1 || r.Latency[Enter].Max < 3.5 || r.Latency[Enter].Max > 3.51 || r.Service[Enter].Max > 3.01 {
		t.Errorf("the report is %+v", r)
	}
	if r.PeakInner < 8 || r.PeakInner > 10 || r.PeakRate < 3500 || r.PeakRate > 3700 {
		t.Errorf("%d were inside at once, and %.0f an hour came in at most, want about 9 and 3600", r.PeakInner, r.PeakRate)
	}
	var text, page strings.Builder
	if err := errors.Join(r.Text(&text), r.HTML(&page)); err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(text.String(), "C  broken    never more seats taken than the capacity") {
		t.Errorf("the text is\n%s", &text)
	}
	for _, never := range []string{"NaN", "Inf", "<drop>", "%!"} {
		if strings.Contains(page.String(), never) {
			t.Errorf("the page has %s", never)
		}
	}
	if !strings.Contains(page.String(), "A promise was broken.") || strings.Count(page.String(), "<svg") != 5 {
		t.Errorf("the page is\n%s", &page)
	}
}
