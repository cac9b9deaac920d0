package waitpage_test

import (
	"compress/gzip"
	"io"
	"net/http/httptest"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/waitpage"
)

// own is a page of one activity that has a template.
func own(t *testing.T, name, source string) *waitpage.Page {
	t.Helper()
	template, err := waitpage.NewTemplate("waiting.html", source)
	if err != nil {
		t.Fatal(err)
	}
	theme, err := waitpage.NewTheme("Shop & Sons", "", "#0a7d4f")
	if err != nil {
		t.Fatal(err)
	}
	return waitpage.New(prefix, func(int64) (waitpage.Activity, bool) {
		return waitpage.Activity{Name: name, Theme: theme, Template: template}, true
	})
}

var (
	nonces  = regexp.MustCompile(`nonce="([^"]*)"`)
	headers = regexp.MustCompile(`script-src 'nonce-([^']+)'; style-src 'nonce-([^']+)'`)
)

func TestTemplate_StandsInEveryStateUnderThePolicyOfThePage(t *testing.T) {
	source, err := os.ReadFile("../examples/template/waiting.html")
	if err != nil {
		t.Fatal(err)
	}
	p := own(t, "Spring drop", string(source))
	seen := map[string]bool{}
	for _, example := range waitpage.Examples(123, time.Now()) {
		for _, lang := range []string{"en", "ar"} {
			r := navigation("GET", "/drop", nil)
			r.Header.Set("Accept-Language", lang)
			answer := hold(p, r, example.Status)
			body := read(t, answer)
			if !strings.Contains(body, `<html lang="`+lang+`"`) || !strings.Contains(body, "max-width: 34rem") || !strings.Contains(body, "Shop &amp; Sons") {
				t.Fatalf("%s, %s: not the shop's own page in its language:\n%s", example.Name, lang, body)
			}
			if !strings.Contains(body, `data-state="`+string(example.Status.State)+`"`) || !strings.Contains(body, "window.ropeline = ") {
				t.Errorf("%s, %s: it does not stay live", example.Name, lang)
			}
			policy := headers.FindStringSubmatch(answer.Header.Get("Content-Security-Policy"))
			if policy == nil || policy[1] != policy[2] || seen[policy[1]] {
				t.Fatalf("%s: the policy %q has no new nonce", example.Name, answer.Header.Get("Content-Security-Policy"))
			}
			seen[policy[1]] = true
			found := nonces.FindAllStringSubmatch(body, -1)
			for _, nonce := range found {
				if nonce[1] != policy[1] {
					t.Errorf("%s: nonce %q in the page, %q in the policy", example.Name, nonce[1], policy[1])
				}
			}
			if len(found) < 2 {
				t.Errorf("%s: %d nonces, want those of the style and of the script", example.Name, len(found))
			}
		}
	}
}

func TestTemplate_IsTheSameCompressed(t *testing.T) {
	p := own(t, "Spring drop", `<style nonce="{{.Nonce}}">p{color:red}</style>{{template "style" .}}{{template "line" .}}{{template "script" .}}<p>behind</p>`)
	r := navigation("GET", "/drop", nil)
	r.Header.Set("Accept-Encoding", "gzip")
	answer := hold(p, r, waiting())
	unpacked, err := gzip.NewReader(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	packed, err := io.ReadAll(unpacked)
	if err != nil {
		t.Fatal(err)
	}
	plain := read(t, hold(p, navigation("GET", "/drop", nil), waiting()))
	without := func(body string) string { return nonces.ReplaceAllString(body, "") }
	if without(string(packed)) != without(plain) || !strings.Contains(plain, "<p>behind</p>") {
		t.Errorf("got %d bytes compressed, %d else", len(packed), len(plain))
	}
}

func TestTemplate_OffersAHeldFormAgain(t *testing.T) {
	p := own(t, "Spring drop", `<main id="page"{{template "data" .}}>{{template "form" .}}</main>`)
	r := httptest.NewRequest("POST", "/drop", strings.NewReader("size=42"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if body := read(t, hold(p, r, waiting())); !strings.Contains(body, `name="size" value="42"`) {
		t.Errorf("the form is not in the page:\n%s", body)
	}
}

func TestTemplate_IsRefusedWithLineAndReason(t *testing.T) {
	for source, want := range map[string]string{
		"<p>\n{{if .Name}}":                                         "waiting.html:2: unexpected EOF",
		"<p>\n<b>{{.Nme}}</b>":                                      "waiting.html:2:5: ",
		"<p>\n\n{{template \"foot\" .}}":                            `waiting.html:3:11: no such template "foot"`,
		"{{if eq .State \"ended\"}}\n{{.Draw.N}}{{end}}":            "waiting.html:2:7: ",
		"<a href=\n'{{.Base}}>":                                     "waiting.html: ends in a non-text context",
		"<p>\n<script>go()</script>":                                `waiting.html:2: <script>: has no nonce="{{.Nonce}}"`,
		"<p>\n<style nonce=1>p{}</style>":                           `waiting.html:2: <style>: has no nonce="{{.Nonce}}"`,
		"<p>\n\n<p style=\"color:red\">":                            "waiting.html:3: <p style=…>: browsers ignore it",
		"<p>\n<b onclick=\"go()\">":                                 "waiting.html:2: <b onclick=…>: browsers ignore it",
		"<p>{{template \"script\" .}}":                              `waiting.html:1: the script needs an element id="page"`,
		`<p id="page"{{template "data" .}}>{{template "script" .}}`: `waiting.html:1: the script needs {{template "notices" .}}`,
	} {
		if _, err := waitpage.NewTemplate("waiting.html", source); err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%q: got %v, want %s", source, err, want)
		}
	}
	if _, err := waitpage.NewTemplate("line", "<p>"); err == nil || !strings.Contains(err.Error(), "name the file otherwise") {
		t.Errorf("a file called like a block: got %v", err)
	}
}

func TestTemplate_ThatFailsAfterAllShowsTheBuiltInPage(t *testing.T) {
	p := own(t, "Another drop", `half a page {{if eq .Name "Another drop"}}{{index .Words.Heading 9}}{{end}}`)
	var told []string
	p.OnFailure(func(activity int64, err error) { told = append(told, err.Error()) })
	for range 2 {
		body := read(t, hold(p, navigation("GET", "/drop", nil), waiting()))
		if strings.Contains(body, "half a page") || !strings.Contains(body, `<div class="card">`) {
			t.Errorf("not the built-in page:\n%.300s", body)
		}
	}
	if len(told) != 1 || !strings.HasPrefix(told[0], "waiting.html:1:") {
		t.Errorf("told %q, want the cause once", told)
	}
}
