package main

import (
	"bufio"
	"context"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/waitpage"
)

// openPreview serves the preview of a file to a browser that keeps cookies.
func openPreview(t *testing.T, path string) (base string, browser *http.Client) {
	t.Helper()
	p := &preview{path: path}
	if _, err := p.load(); err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(p.handler())
	t.Cleanup(server.Close)
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return server.URL, &http.Client{Jar: jar}
}

func fetch(t *testing.T, browser *http.Client, address string) (*http.Response, string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), "GET", address, nil)
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Sec-Fetch-Mode", "navigate")
	request.Header.Set("Sec-Fetch-Dest", "iframe")
	answer, err := browser.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer, string(body)
}

func TestPreview_ShowsEveryStateAsVisitorsWouldSeeIt(t *testing.T) {
	base, browser := openPreview(t, write(t, shopOnly+`activities:
  - {id: 1, name: Spring drop, capacity: 1, page: {theme: {name: Kaffee, accent: "#0a7d4f"}, languages: [de, ar], message: Bring a coat.}}
  - {id: 2, name: Other, capacity: 1}
`))
	answer, overview := fetch(t, browser, base+"/")
	if answer.StatusCode != http.StatusOK || !strings.Contains(overview, `<a href="/2">2 Other</a>`) {
		t.Fatalf("the overview: %d\n%s", answer.StatusCode, overview)
	}
	for _, example := range waitpage.Examples(1, time.Now()) {
		address := "/1/" + example.Name
		if !strings.Contains(overview, `src="`+address+`"`) {
			t.Errorf("the overview lacks %s", address)
		}
		answer, page := fetch(t, browser, base+address)
		for _, want := range []string{`<html lang="de"`, "Spring drop", "Kaffee", "Bring a coat.", `data-state="` + string(example.Status.State) + `"`, `data-base="` + address + `/_ropeline/"`} {
			if !strings.Contains(page, want) {
				t.Errorf("%s lacks %s", address, want)
			}
		}
		if policy := answer.Header.Get("Content-Security-Policy"); !strings.Contains(policy, "frame-ancestors 'self'") {
			t.Errorf("%s cannot stand in the overview: %s", address, policy)
		}
		if answer, status := fetch(t, browser, base+address+"/_ropeline/status?activity=1"); answer.StatusCode != http.StatusOK || !strings.Contains(status, `"state":"`+string(example.Status.State)+`"`) {
			t.Errorf("%s asks for its status and gets %d %s", address, answer.StatusCode, status)
		}
	}
	for _, address := range []string{"/3", "/x", "/1/gone", "/3/waiting", "/1/waiting/more"} {
		if answer, _ := fetch(t, browser, base+address); answer.StatusCode != http.StatusNotFound {
			t.Errorf("%s: got %d, want 404", address, answer.StatusCode)
		}
	}
}

func TestPreview_LanguageIsChosenForAllStates(t *testing.T) {
	base, browser := openPreview(t, write(t, shopOnly+"activities: [{id: 1, name: A, capacity: 1}]\n"))
	request, err := http.NewRequestWithContext(t.Context(), "POST", base+"/1/waiting/_ropeline/language", strings.NewReader(url.Values{"lang": {"ar"}, "to": {"/1"}}.Encode()))
	if err != nil {
		t.Fatal(err)
	}
	request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	request.Header.Set("Origin", base)
	answer, err := browser.Do(request)
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.Request.URL.Path != "/1" {
		t.Errorf("it leads to %s", answer.Request.URL)
	}
	if _, page := fetch(t, browser, base+"/1/paused"); !strings.Contains(page, `<html lang="ar" dir="rtl"`) {
		t.Errorf("not in Arabic: %.200s", page)
	}
	if _, overview := fetch(t, browser, base+"/1"); !strings.Contains(overview, `value="ar" lang="ar" selected`) {
		t.Error("the overview forgot the language")
	}
}

func TestPreview_FollowsTheFilesAndKeepsWhatWasGood(t *testing.T) {
	path, template := templated(t, "<p>first {{.State}}</p>")
	base, browser := openPreview(t, path)
	shows := func(text, want string) {
		t.Helper()
		if err := os.WriteFile(template, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		_, overview := fetch(t, browser, base+"/")
		if _, page := fetch(t, browser, base+"/1/full"); page != want {
			t.Errorf("got %q, want %q", page, want)
		}
		if wrong := strings.Contains(overview, template+":1:"); wrong != (text != strings.Replace(want, "full", "{{.State}}", 1)) {
			t.Errorf("the overview of %q says that something is wrong: %t", text, wrong)
		}
	}
	shows("<p>first {{.State}}</p>", "<p>first full</p>")
	shows("<p>second {{.State}}</p>", "<p>second full</p>")
	shows("<p>third {{.Sate}}</p>", "<p>second full</p>")
}

func TestPreview_RefusesWhatItCannotShow(t *testing.T) {
	good := write(t, shopOnly+"activities: [{id: 1, name: A, capacity: 1}]\n")
	for _, c := range []struct {
		args []string
		want int
		says string
	}{
		{[]string{"--config", write(t, shopOnly)}, exitRefused, "has no activities"},
		{[]string{"--config", write(t, "lisen: {}\n")}, exitRefused, "did you mean listen?"},
		{[]string{"--config", good, "--activity", "7"}, exitRefused, "has no activity 7"},
		{[]string{"--config", good, "--activity", "x"}, exitUsage, "--activity"},
		{[]string{"--config", good, "--listen", "0.0.0.0:0"}, exitUsage, "this machine alone"},
		{[]string{"--config", good, "--listen", "127.0.0.1"}, exitUsage, "this machine alone"},
		{[]string{"--config", good, "1"}, exitUsage, `"1"`},
	} {
		if status, out, errs := command(t, nil, append([]string{"preview"}, c.args...)...); status != c.want || !strings.Contains(out+errs, c.says) {
			t.Errorf("preview %v: exit %d, prints %q; want exit %d and %q", c.args, status, out+errs, c.want, c.says)
		}
	}
}

func TestPreview_PrintsItsAddressAndStopsWhenTold(t *testing.T) {
	path := write(t, shopOnly+"activities: [{id: 1, name: A, capacity: 1}]\n")
	ctx, stop := context.WithCancel(t.Context())
	told, out := io.Pipe()
	status := make(chan int, 1)
	go func() {
		status <- run(ctx, []string{"preview", "--config", path, "--listen", "127.0.0.1:0"}, nil, out, io.Discard)
	}()
	line, err := bufio.NewReader(told).ReadString('\n')
	address, found := strings.CutPrefix(strings.TrimSpace(line), "open ")
	if err != nil || !found {
		t.Fatalf("it prints %q, %v", line, err)
	}
	if answer, page := fetch(t, http.DefaultClient, address); answer.StatusCode != http.StatusOK || !strings.Contains(page, `src="/1/waiting"`) {
		t.Errorf("%s answers %d %s", address, answer.StatusCode, page)
	}
	stop()
	if got := <-status; got != exitOK {
		t.Errorf("exit %d, want 0", got)
	}
}
