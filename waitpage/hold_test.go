package waitpage_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httputil"
	"net/url"
	"reflect"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/waitpage"
)

func TestHold_EachStateHasItsStatusAndCode(t *testing.T) {
	tests := []struct {
		name   string
		change func(*admission.Status)
		page   int
		code   string
	}{
		{"waiting", func(s *admission.Status) {}, 202, "WAITING"},
		{"before", func(s *admission.Status) { s.State = admission.StateBefore }, 202, "BEFORE"},
		{"drawing", func(s *admission.Status) { s.State = admission.StateDrawing }, 202, "DRAWING"},
		{"ready", func(s *admission.Status) { s.State = admission.StateReady }, 202, "WAITING"},
		{"paused", func(s *admission.Status) { s.Paused = true }, 202, "PAUSED"},
		{"new", func(s *admission.Status) { s.State = admission.StateNew }, 202, "WAITING"},
		{"full", func(s *admission.Status) { s.State = admission.StateFull }, 503, "FULL"},
		{"closed", func(s *admission.Status) { s.State = admission.StateClosed }, 503, "CLOSED"},
		{"work", func(s *admission.Status) { s.State, s.Work.Bits = admission.StateNew, 18 }, 202, "WORK"},
		{"store outage", func(s *admission.Status) { s.Unavailable = true }, 503, "UNAVAILABLE"},
		{"ended", func(s *admission.Status) { s.State, s.PollAfter = admission.StateEnded, 0 }, 410, "ENDED"},
	}
	page := named("Spring drop", 202)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			s := waiting()
			tt.change(&s)
			seen := hold(page, navigation("GET", "/drop", nil), s)
			if seen.StatusCode != tt.page {
				t.Errorf("page: got status %d, want %d", seen.StatusCode, tt.page)
			}
			if got, want := seen.Header.Get("Retry-After") != "", tt.page == 503; got != want {
				t.Errorf("page: Retry-After there: %t, want %t", got, want)
			}

			call := navigation("GET", "/drop", nil)
			call.Header.Set("Sec-Fetch-Mode", "cors") // though it accepts HTML
			answer := hold(page, call, s)
			if answer.StatusCode != 503 {
				t.Errorf("JSON: got status %d, want 503", answer.StatusCode)
			}
			if after, err := strconv.Atoi(answer.Header.Get("Retry-After")); err != nil || after < 1 {
				t.Errorf("JSON: got Retry-After %q, want seconds", answer.Header.Get("Retry-After"))
			}
			var body struct{ Code, State string }
			if err := json.Unmarshal([]byte(read(t, answer)), &body); err != nil {
				t.Fatal(err)
			}
			if body.Code != tt.code || body.State != string(s.State) {
				t.Errorf("JSON: got code %q state %q, want %q %q", body.Code, body.State, tt.code, s.State)
			}
		})
	}
}

func TestHold_PageStatusIs200UnlessChosen(t *testing.T) {
	if got := hold(named("", 0), navigation("GET", "/", nil), waiting()).StatusCode; got != 200 {
		t.Errorf("got status %d, want 200", got)
	}
}

func TestHold_RetryAfterNeverComesBeforeTheRoomSaysSo(t *testing.T) {
	s := waiting()
	s.PollAfter = 8*time.Second + time.Millisecond
	call := navigation("GET", "/", nil)
	call.Header.Set("Sec-Fetch-Mode", "cors")
	seen := map[string]bool{}
	for range 100 {
		after := hold(named("", 0), call, s).Header.Get("Retry-After")
		if n, _ := strconv.Atoi(after); n < 9 || n > 12 {
			t.Fatalf("got Retry-After %q, want 9 to 12", after)
		}
		seen[after] = true
	}
	if len(seen) < 2 {
		t.Error("every answer has the same Retry-After: a crowd would come back at once")
	}
}

func TestHold_NoCacheMayKeepIt(t *testing.T) {
	call := navigation("GET", "/drop", nil)
	call.Header.Set("Sec-Fetch-Mode", "no-cors")
	for _, r := range []*http.Request{navigation("GET", "/drop", nil), call, navigation("HEAD", "/drop", nil)} {
		h := hold(named("Spring drop", 0), r, waiting()).Header
		for _, name := range []string{"Cache-Control", "CDN-Cache-Control", "Surrogate-Control"} {
			if got := h.Get(name); got != "no-store" {
				t.Errorf("%s %s: got %s %q, want no-store", r.Method, r.Header.Get("Sec-Fetch-Mode"), name, got)
			}
		}
		if got := h.Get("X-Accel-Expires"); got != "0" {
			t.Errorf("%s %s: got X-Accel-Expires %q, want 0", r.Method, r.Header.Get("Sec-Fetch-Mode"), got)
		}
		if got, want := h.Get("Vary"), "Cookie, Accept, Sec-Fetch-Mode, Accept-Language"; got != want {
			t.Errorf("got Vary %q, want %q", got, want)
		}
		if got := h.Get("X-Content-Type-Options"); got != "nosniff" {
			t.Errorf("got X-Content-Type-Options %q, want nosniff", got)
		}
	}
}

var nonceIn = regexp.MustCompile(`'nonce-([A-Z2-7]{26})'`)

func TestHold_PolicyAllowsNothingButTheNonce(t *testing.T) {
	page := named("Spring drop", 0)
	seen := map[string]bool{}
	for range 3 {
		r := hold(page, navigation("GET", "/drop", nil), waiting())
		policy := map[string]string{}
		for directive := range strings.SplitSeq(r.Header.Get("Content-Security-Policy"), "; ") {
			name, value, _ := strings.Cut(directive, " ")
			policy[name] = value
		}
		nonces := nonceIn.FindAllStringSubmatch(r.Header.Get("Content-Security-Policy"), -1)
		if len(nonces) != 2 || nonces[0][1] != nonces[1][1] {
			t.Fatalf("got policy %v, want one nonce for script and style", policy)
		}
		nonce := nonces[0][1]
		if seen[nonce] {
			t.Fatal("the nonce repeats")
		}
		seen[nonce] = true
		want := map[string]string{
			"default-src": "'none'", "script-src": "'nonce-" + nonce + "'", "style-src": "'nonce-" + nonce + "'",
			"img-src": "'self' data:", "connect-src": "'self'", "font-src": "'self'", "form-action": "'self'",
			"base-uri": "'none'", "frame-ancestors": "'none'", "require-trusted-types-for": "'script'", "trusted-types": "'none'",
		}
		if fmt.Sprint(policy) != fmt.Sprint(want) {
			t.Errorf("got  %v\nwant %v", policy, want)
		}

		root := parse(t, read(t, r))
		for _, e := range root.all("script", "style") {
			if e.attr("type") != "application/json" && e.attr("nonce") != nonce {
				t.Errorf("a %s has nonce %q, want %q", e.Data, e.attr("nonce"), nonce)
			}
		}
		for _, e := range root.all() {
			for _, a := range e.Attr {
				if a.Key == "style" || strings.HasPrefix(a.Key, "on") {
					t.Errorf("<%s %s> is what the policy forbids", e.Data, a.Key)
				}
				if (a.Key == "src" || a.Key == "href" || a.Key == "action") && a.Val != "" && !strings.HasPrefix(a.Val, "/_ropeline/") && !strings.HasPrefix(a.Val, "data:") {
					t.Errorf("<%s %s=%q> leads outside", e.Data, a.Key, a.Val)
				}
			}
		}
	}
}

func TestHold_HeaderOfThePage(t *testing.T) {
	h := hold(named("Spring drop", 0), navigation("GET", "/drop", nil), waiting()).Header
	for name, want := range map[string]string{
		"Content-Type":               "text/html; charset=utf-8",
		"Referrer-Policy":            "same-origin",
		"Cross-Origin-Opener-Policy": "same-origin",
		"Permissions-Policy":         "camera=(), geolocation=(), microphone=(), payment=(), usb=()",
	} {
		if got := h.Get(name); got != want {
			t.Errorf("got %s %q, want %q", name, got, want)
		}
	}
}

// The first flight of a TCP connection is ten segments of 1,460 bytes. A page
// within it, header and ticket included, needs no second round trip from a
// gateway that a crowd has just found.
func TestHold_PageFitsTheFirstFlight(t *testing.T) {
	const flight = 10 * 1460
	line, _ := gateway(t, oneInside())
	ask(t, browser(t), "GET", line.URL+"/drop", "") // takes the seat
	limits := oneInside()
	limits.Draw, limits.Prequeue, limits.StartAt = true, time.Hour, time.Now().Add(time.Hour)
	draw, _ := gateway(t, limits)
	transport := &http.Transport{DisableCompression: true} // of what is sent here, not of what comes
	t.Cleanup(transport.CloseIdleConnections)
	for _, tt := range []struct {
		name, url string
		large     int // what the longest of it would add
	}{
		{"a line", line.URL, 40},  // numbers in the millions
		{"a draw", draw.URL, 240}, // likewise, the seed, and a public value with its source
	} {
		for _, lang := range languages {
			r, err := http.NewRequestWithContext(t.Context(), "GET", tt.url+"/drop", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Accept", "text/html")
			r.Header.Set("Accept-Language", lang)
			r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
			answer, err := transport.RoundTrip(r)
			if err != nil {
				t.Fatal(err)
			}
			sent, err := httputil.DumpResponse(answer, true)
			answer.Body.Close()
			if err != nil {
				t.Fatal(err)
			}
			if size := len(sent) + tt.large; size > flight || len(answer.Cookies()) == 0 || answer.Header.Get("Content-Encoding") != "gzip" {
				t.Errorf("%s, %s: the page is %d bytes with its header and %d tickets, want at most %d with one, compressed", tt.name, lang, size, len(answer.Cookies()), flight)
			}
			if got := answer.Header.Get("Content-Language"); got != lang {
				t.Errorf("the page is in %s, want %s", got, lang)
			}
			t.Logf("%s, %s: %d bytes", tt.name, lang, len(sent))
		}
	}
}

// drawn is the status of someone whom a draw put into the line.
func drawn() admission.Status {
	s := waiting()
	s.Draw = admission.Proof{
		Commitment: strings.Repeat("c0", 32), Source: "drand <b>quicknet</b>", Indexed: true, Index: 3,
		N: 8192, Beacon: strings.Repeat("be", 32), Seed: strings.Repeat("5e", 32),
	}
	return s
}

func TestHold_TellsOfTheDrawWhereThereIsOne(t *testing.T) {
	page := named("Spring drop", 0)
	facts := func(s admission.Status) map[string]string {
		root := parse(t, read(t, hold(page, navigation("GET", "/drop", nil), s)))
		checks := 0 // scripts that check a draw
		for _, script := range root.all("script") {
			checks += strings.Count(script.text(), "window.ropelineDraw =")
		}
		shown := map[string]string{}
		for _, row := range root.all("div") {
			if fact := row.attr("data-fact"); fact != "" && !strings.Contains(row.text(), "Your number") {
				shown[fact] = element{row.LastChild}.text()
			}
		}
		if told := len(shown) > 0; told != (checks == 1) || checks > 1 {
			t.Errorf("the page tells of a draw: %v, and has %d scripts to check it", told, checks)
		}
		return shown
	}
	if got := facts(waiting()); len(got) > 0 {
		t.Errorf("without a draw the page tells %v", got)
	}
	s := drawn()
	want := map[string]string{
		"commitment": s.Draw.Commitment, "index": "3", "source": s.Draw.Source, "value": s.Draw.Beacon, "n": "8192", "seed": s.Draw.Seed,
	}
	if got := facts(s); !reflect.DeepEqual(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

// Who has no number yet has a place all the same, which is told and can be left.
func TestHold_AnIndexIsAPlace(t *testing.T) {
	s := admission.Status{Activity: 123, State: admission.StateBefore, UpdatedAt: waiting().UpdatedAt}
	s.Draw = admission.Proof{Commitment: strings.Repeat("c0", 32), Indexed: true}
	text := parse(t, read(t, hold(named("Spring drop", 0), navigation("GET", "/drop", nil), s))).text()
	for _, want := range []string{"You are in the draw.", "Leave the line"} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	if strings.Contains(text, "Ticket") {
		t.Errorf("the page shows a number before the draw:\n%s", text)
	}
	s.State, s.Draw.Source, s.Draw.N = admission.StateDrawing, "drand \u202equicknet", 64
	text = parse(t, read(t, hold(named("Spring drop", 0), navigation("GET", "/drop", nil), s))).text()
	if want := "waits for a public value that nobody can choose: \u2068drand quicknet\u2069"; !strings.Contains(text, want) {
		t.Errorf("the page does not say %q:\n%s", want, text)
	}
}

func TestHold_PageIsTheSameCompressedAndNot(t *testing.T) {
	for _, status := range []admission.Status{waiting(), drawn(), worker()} {
		r := navigation("GET", "/drop", nil)
		r.Header.Set("Accept-Language", "th")
		plain := hold(named("Spring drop", 0), r, status)
		r.Header.Set("Accept-Encoding", "gzip")
		packed := hold(named("Spring drop", 0), r, status)
		if got := packed.Header.Get("Content-Length"); got != strconv.FormatInt(packed.ContentLength, 10) || plain.Header.Get("Content-Encoding") != "" {
			t.Errorf("got Content-Length %q of %d bytes; uncompressed: Content-Encoding %q", got, packed.ContentLength, plain.Header.Get("Content-Encoding"))
		}
		unpacked, err := gzip.NewReader(packed.Body)
		if err != nil {
			t.Fatal(err)
		}
		body, err := io.ReadAll(unpacked)
		if err != nil {
			t.Fatal(err)
		}
		nonce := regexp.MustCompile(`nonce="\w+"`)
		if got, want := nonce.ReplaceAllString(string(body), ""), nonce.ReplaceAllString(read(t, plain), ""); got != want {
			t.Error("the page is another one when it is compressed")
		}
	}
	form := sent("/drop", "a=1")
	form.Header.Set("Accept-Encoding", "gzip")
	if got := hold(named("Spring drop", 0), form, waiting()).Header.Get("Content-Encoding"); got != "" {
		t.Errorf("what a visitor filled in is compressed: %q", got)
	}
}

// languages are those that the program carries.
var languages = []string{"en", "zh-Hant", "zh-Hans", "ja", "ko", "de", "fr", "es", "pt", "it", "nl", "pl", "tr", "vi", "th", "id", "ar", "he"}

func TestHold_ReadsWellWithoutScripts(t *testing.T) {
	root := parse(t, read(t, hold(named("Spring drop", 0), navigation("GET", "/drop", nil), waiting())))
	text := root.text()
	for _, want := range []string{
		"You are number 812 in line", "811 people are ahead of you.", "4,498 people are behind you.",
		"about 4–6 minutes", "Ticket 4,211", "Check now",
	} {
		if !strings.Contains(text, want) {
			t.Errorf("the page does not say %q:\n%s", want, text)
		}
	}
	if got, want := root.all("title")[0].text(), "812 · Spring drop"; got != want {
		t.Errorf("got title %q, want %q", got, want)
	}
	var refresh string
	for _, e := range root.all("meta") {
		if e.attr("http-equiv") == "refresh" {
			refresh = e.attr("content")
			if e.Parent.Data != "noscript" {
				t.Error("the page would reload itself under its own script")
			}
		}
	}
	if refresh != "30" {
		t.Errorf("got refresh %q, want 30", refresh)
	}
}

func TestHold_LanguagesCanBeChosen(t *testing.T) {
	all, err := waitpage.OpenLanguages("")
	if err != nil {
		t.Fatal(err)
	}
	one, err := all.Offer([]string{"ar"})
	if err != nil {
		t.Fatal(err)
	}
	page := func(l *waitpage.Languages) *waitpage.Page {
		return waitpage.New(prefix, func(int64) (waitpage.Activity, bool) { return waitpage.Activity{Languages: l}, true })
	}
	root := parse(t, read(t, hold(page(nil), navigation("GET", "/drop?a=b&c=%22", nil), waiting())))
	if got := len(root.all("option")); got != len(languages) {
		t.Errorf("%d languages to choose from, want %d", got, len(languages))
	}
	to := ""
	for _, input := range root.all("input") {
		if input.Parent.Data == "form" && input.Parent.Attr[0].Val == "languages" {
			to = input.attr("value")
		}
	}
	if to != "/drop?a=b&c=%22" {
		t.Errorf("the choice leads to %q", to)
	}
	root = parse(t, read(t, hold(page(one), navigation("GET", "/drop", nil), waiting())))
	if got := len(root.all("select")); got != 0 {
		t.Error("there is a choice of one")
	}
	if html := root.all("html")[0]; html.attr("lang") != "ar" || html.attr("dir") != "rtl" {
		t.Errorf("the page is in %q %q, want ar rtl", html.attr("lang"), html.attr("dir"))
	}
	root = parse(t, read(t, hold(page(nil), sent("/drop", "a=1"), waiting())))
	if len(root.all("select")) != 0 {
		t.Error("a choice would throw a held form away")
	}
}

func TestHold_EndedPageStopsAsking(t *testing.T) {
	s := waiting()
	s.State, s.PollAfter = admission.StateEnded, 0
	body := read(t, hold(named("Spring drop", 0), navigation("GET", "/drop", nil), s))
	if strings.Contains(body, "http-equiv") {
		t.Error("the page of an ended activity reloads itself")
	}
	if !strings.Contains(body, "Spring drop is over") {
		t.Error("the page does not say that it is over")
	}
}

func TestHold_HostileWordsStayWords(t *testing.T) {
	const hostile = `</script><script>alert(1)</script>"'><img src=x onerror=alert(1)>` + "\u202e\u2066{{.}}\x00"
	s := waiting()
	s.Message = hostile
	form := url.Values{hostile: {hostile}}
	for _, r := range []*http.Request{
		navigation("GET", "/drop?x="+url.QueryEscape(hostile), nil),
		sent("/drop", form.Encode()),
	} {
		body := read(t, hold(named(hostile, 0), r, s))
		root := parse(t, body)
		for _, e := range root.all("img", "script", "style") {
			if e.Data == "img" || e.attr("type") == "" && e.attr("nonce") == "" {
				t.Errorf("%s: <%s> got into the page", r.Method, e.Data)
			}
		}
		if got := root.all("title")[0].text(); strings.ContainsAny(got, "\u202e\u2066\x00") {
			t.Errorf("the title %q can rewrite what stands around it", got)
		}
		if !strings.Contains(root.byID("page").text(), `</script><script>alert(1)</script>"'><img src=x onerror=alert(1)>`+"\u202e") {
			t.Error("the page does not show the message as it was written")
		}
		status := root.byID("status").text()
		var read struct{ Message string }
		if err := json.Unmarshal([]byte(status), &read); err != nil || read.Message != hostile {
			t.Errorf("the status holds message %q (%v), want %q", read.Message, err, hostile)
		}
	}
}

func TestHold_HeadIsLikeGetWithoutBody(t *testing.T) {
	server, _ := gateway(t, oneInside())
	ask(t, browser(t), "GET", server.URL+"/drop", "") // takes the seat
	for _, accept := range []string{"text/html", "application/json"} {
		c := browser(t)
		get, body := ask(t, c, "GET", server.URL+"/drop", "", "Accept: "+accept)
		head, none := ask(t, c, "HEAD", server.URL+"/drop", "", "Accept: "+accept)
		if head.StatusCode != get.StatusCode || head.Header.Get("Content-Type") != get.Header.Get("Content-Type") {
			t.Errorf("%s: HEAD got %d %s, GET %d %s", accept, head.StatusCode, head.Header.Get("Content-Type"), get.StatusCode, get.Header.Get("Content-Type"))
		}
		if body == "" || none != "" {
			t.Errorf("%s: HEAD has a body of %d bytes, GET of %d", accept, len(none), len(body))
		}
	}
}

// element is an HTML node with a few questions.
type element struct{ *html.Node }

func parse(t *testing.T, body string) element {
	t.Helper()
	root, err := html.ParseWithOptions(strings.NewReader(body), html.ParseOptionEnableScripting(false))
	if err != nil {
		t.Fatal(err)
	}
	return element{root}
}

// all returns the elements of the given names, or all.
func (e element) all(names ...string) []element {
	var found []element
	for n := range e.Descendants() {
		if n.Type != html.ElementNode {
			continue
		}
		if len(names) == 0 || strings.Contains(" "+strings.Join(names, " ")+" ", " "+n.Data+" ") {
			found = append(found, element{n})
		}
	}
	return found
}

func (e element) byID(id string) element {
	for _, found := range e.all() {
		if found.attr("id") == id {
			return found
		}
	}
	return element{&html.Node{}}
}

func (e element) attr(name string) string {
	for _, a := range e.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func (e element) text() string {
	var b strings.Builder
	for n := range e.Descendants() {
		if n.Type == html.TextNode {
			io.WriteString(&b, n.Data)
		}
	}
	return b.String()
}
