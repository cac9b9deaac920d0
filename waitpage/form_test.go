package waitpage_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/admission"
)

// sent is a form that a page of the shop sends.
func sent(target, body string) *http.Request {
	r := navigation("POST", target, strings.NewReader(body))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return r
}

// offered returns the fields that the page offers to send again, in order.
func offered(t *testing.T, r *http.Request, s admission.Status) (fields [][2]string, page element) {
	t.Helper()
	page = parse(t, read(t, hold(named("Spring drop", 0), r, s)))
	for _, form := range page.all("form") {
		if form.attr("action") != "" {
			continue // the one to leave
		}
		for _, input := range form.all("input") {
			fields = append(fields, [2]string{input.attr("name"), input.attr("value")})
		}
	}
	return fields, page
}

func TestHold_FormIsOfferedAgainUnchanged(t *testing.T) {
	got, page := offered(t, sent("/drop?step=2", "b=1&a=x+y%26z&a=%22%3E%3Cscript%3E&empty=&bare&%C3%BC=two%0D%0Alines"), waiting())
	want := [][2]string{{"b", "1"}, {"a", "x y&z"}, {"a", `"><script>`}, {"empty", ""}, {"bare", ""}, {"ü", "two\nlines"}}
	if len(got) != len(want) {
		t.Fatalf("got fields %q, want %q", got, want)
	}
	for i := range want {
		// An HTML parser reads CRLF as LF, and a browser sends it as CRLF again.
		if got[i][0] != want[i][0] || strings.ReplaceAll(got[i][1], "\r\n", "\n") != want[i][1] {
			t.Errorf("field %d: got %q, want %q", i, got[i], want[i])
		}
	}
	if text := page.text(); !strings.Contains(text, "Your form was not sent") || !strings.Contains(text, "Send again") {
		t.Errorf("the page does not offer the form:\n%s", text)
	}
	for _, e := range page.all("meta") {
		if e.attr("http-equiv") != "" {
			t.Error("the page reloads itself, and would lose the form")
		}
	}
}

func TestHold_FormIsShownWhenItCanBeSent(t *testing.T) {
	tests := []struct {
		state  admission.State
		hidden bool
	}{{admission.StateWaiting, true}, {admission.StateReady, false}, {admission.StateNew, false}}
	for _, tt := range tests {
		s := waiting()
		s.State = tt.state
		_, page := offered(t, sent("/drop", "a=1"), s)
		for _, e := range page.all("div") {
			if e.attr("data-part") != "again" {
				continue
			}
			hidden := false
			for _, a := range e.Attr {
				hidden = hidden || a.Key == "hidden"
			}
			if hidden != tt.hidden {
				t.Errorf("%s: form hidden: %t, want %t", tt.state, hidden, tt.hidden)
			}
		}
	}
}

// A form of another site, carried over by a press on our own page, would reach
// the shop as the shop's own.
func TestHold_FormOfAnotherSiteIsNeverOffered(t *testing.T) {
	tests := map[string]func(*http.Request){
		"cross-site":       func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"same-site":        func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"typed":            func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "none") },
		"unknown":          func(r *http.Request) { r.Header.Del("Sec-Fetch-Site") },
		"foreign origin":   func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "http://evil.test") },
		"opaque origin":    func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "null") },
		"origin of a port": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "http://example.com:81") },
		"cross, own origin": func(r *http.Request) {
			r.Header.Set("Sec-Fetch-Site", "cross-site")
			r.Header.Set("Origin", "http://example.com")
		},
		"host as user": func(r *http.Request) {
			r.Header.Del("Sec-Fetch-Site")
			r.Header.Set("Origin", "http://example.com@evil.test")
		},
		"multipart":           func(r *http.Request) { r.Header.Set("Content-Type", "multipart/form-data; boundary=x") },
		"plain text":          func(r *http.Request) { r.Header.Set("Content-Type", "text/plain") },
		"no type":             func(r *http.Request) { r.Header.Del("Content-Type") },
		"announced too large": func(r *http.Request) { r.ContentLength = 64<<10 + 1 },
	}
	for name, change := range tests {
		t.Run(name, func(t *testing.T) {
			r := sent("http://example.com/drop", "a=1")
			change(r)
			fields, page := offered(t, r, waiting())
			if fields != nil {
				t.Errorf("the page offers %q", fields)
			}
			if text := page.text(); !strings.Contains(text, "go back and send it again") {
				t.Errorf("the page does not say that the form is lost:\n%s", text)
			}
		})
	}
}

func TestHold_FormOfTheSameOriginByOldBrowsers(t *testing.T) {
	r := sent("http://example.com/drop", "a=1")
	r.Header.Del("Sec-Fetch-Site")
	r.Header.Set("Origin", "https://EXAMPLE.com")
	if fields, _ := offered(t, r, waiting()); len(fields) != 1 {
		t.Errorf("got fields %q, want one", fields)
	}
}

func TestHold_FormThatCannotBeRepeatedIsNotOffered(t *testing.T) {
	for name, body := range map[string]string{
		"not UTF-8":  "a=%ff",
		"NUL":        "a=%00",
		"bad escape": "a=%zz",
		"empty":      "",
		"too large":  "a=" + strings.Repeat("x", 64<<10),
	} {
		r := sent("/drop", body)
		r.ContentLength = -1 // as in chunks
		if fields, _ := offered(t, r, waiting()); fields != nil {
			t.Errorf("%s: the page offers %.40q", name, fields)
		}
	}
}

// Browsers hold form-action against redirects too, and a checkout leads on to
// another site.
func TestHold_FormSentAgainMayLeadToAPaymentSite(t *testing.T) {
	for _, tt := range []struct {
		r    *http.Request
		want string
	}{
		{sent("/drop", "a=1"), "form-action 'self' https:;"},
		{sent("/drop", ""), "form-action 'self';"},
		{navigation("GET", "/drop", nil), "form-action 'self';"},
	} {
		if got := hold(named("", 0), tt.r, waiting()).Header.Get("Content-Security-Policy"); !strings.Contains(got, tt.want) {
			t.Errorf("got policy %q, want %q in it", got, tt.want)
		}
	}
}

func TestHold_PostOfAScriptGetsJSONAndKeepsItsBody(t *testing.T) {
	r := sent("/drop", "a=1")
	r.Header.Set("Sec-Fetch-Mode", "cors")
	answer := hold(named("", 0), r, waiting())
	if answer.StatusCode != 503 || answer.Header.Get("Content-Type") != "application/json" {
		t.Errorf("got %d %s, want 503 JSON", answer.StatusCode, answer.Header.Get("Content-Type"))
	}
	body := make([]byte, 3)
	if n, _ := r.Body.Read(body); string(body[:n]) != "a=1" {
		t.Error("the body was read")
	}
}
