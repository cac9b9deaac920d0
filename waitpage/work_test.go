package waitpage_test

import (
	"net/http"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/waitpage"
)

// worker is the status of a newcomer whose device has something to do first.
func worker() admission.Status {
	s := waiting()
	s.State, s.Number, s.Position, s.Wait = admission.StateNew, 0, 0, admission.Wait{}
	s.Work = admission.Challenge{Text: strings.Repeat("a", 42), Bits: 18}
	return s
}

func TestHold_WorkIsDoneByAScriptThatOtherPagesDoWithout(t *testing.T) {
	scripts := func(s admission.Status) (found []string) {
		for _, script := range parse(t, read(t, hold(named("Spring drop", 0), navigation("GET", "/drop", nil), s))).all("script") {
			for _, what := range []string{"window.ropelineHash =", "window.ropelineDraw =", "ropeline.solve =", "ropeline.watch("} {
				if strings.Contains(script.text(), what) {
					found = append(found, what)
				}
			}
		}
		return found
	}
	both := worker()
	both.Draw = drawn().Draw
	for name, tt := range map[string]struct {
		status admission.Status
		want   string
	}{
		"waits":          {waiting(), "ropeline.watch("},
		"works":          {worker(), "window.ropelineHash = ropeline.solve = ropeline.watch("},
		"works and draw": {both, "window.ropelineHash = window.ropelineDraw = ropeline.solve = ropeline.watch("},
	} {
		if got := strings.Join(scripts(tt.status), " "); got != tt.want {
			t.Errorf("%s: the page has %s, want %s", name, got, tt.want)
		}
	}
}

func TestHold_WorkSaysWhatItDoesAndWhatItNeeds(t *testing.T) {
	root := parse(t, read(t, hold(named("Spring drop", 0), navigation("GET", "/drop", nil), worker())))
	text := root.text()
	for _, want := range []string{"this device solves a small puzzle by itself", "Please allow JavaScript on this page"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "every half minute") {
		t.Error("without scripts the page would ask for work again and again")
	}
	for _, e := range root.all("meta") {
		if e.attr("http-equiv") == "refresh" {
			t.Error("without scripts the page loads itself again")
		}
	}
	// A form is offered when the work is done.
	page := parse(t, read(t, hold(named("", 0), sent("/drop", "size=42"), worker())))
	for _, e := range page.all("div") {
		hidden := slices.ContainsFunc(e.Attr, func(a html.Attribute) bool { return a.Key == "hidden" })
		if e.attr("data-part") == "again" && !hidden {
			t.Error("a form that would only be held again can be sent")
		}
	}
}

func TestHold_PageOfWorkFitsTheFirstFlight(t *testing.T) {
	page := named("Spring drop of the year", 0)
	for _, example := range waitpage.Examples(123, waiting().UpdatedAt) {
		if example.Name != "new-work" {
			continue
		}
		example.Status.Work.Text = worker().Work.Text
		example.Status.Draw.Commitment = strings.Repeat("c0", 32)
		for _, lang := range languages {
			r := navigation(http.MethodGet, "/drop", nil)
			r.Header.Set("Accept-Language", lang)
			r.Header.Set("Accept-Encoding", "gzip")
			answer := hold(page, r, example.Status)
			sent := read(t, answer)
			const headers = 1200 // and more than there are
			if size := len(sent) + headers; size > 10*1460 || answer.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s: the page has %d bytes", lang, size)
			}
		}
	}
}
