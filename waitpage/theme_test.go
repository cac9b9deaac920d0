package waitpage

import (
	"fmt"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/admission"
)

// themed is the page of a shop with its own look.
func themed(t *testing.T, name, logo, accent string) (policy, body string) {
	t.Helper()
	theme, err := NewTheme(name, logo, accent)
	if err != nil {
		t.Fatal(err)
	}
	page := New("/_ropeline", func(int64) (Activity, bool) { return Activity{Name: "Spring drop", Theme: theme}, true })
	r, w := httptest.NewRequest("GET", "/drop", nil), httptest.NewRecorder()
	r.Header.Set("Accept", "text/html")
	page.Hold(w, r, admission.Verdict{Status: admission.Status{Activity: 1, State: admission.StateWaiting, Number: 2, Position: 1}})
	return w.Header().Get("Content-Security-Policy"), w.Body.String()
}

func TestTheme_IsOnThePageAndInThePolicy(t *testing.T) {
	policy, body := themed(t, "Ümlaut & Co.", "https://cdn.example.com/a/logo.svg?v=2", "#0A7D4F")
	for _, want := range []string{
		`<p class="shop"><img src="https://cdn.example.com/a/logo.svg?v=2" alt="Ümlaut &amp; Co."></p>`,
		`:root{--accent:#0a7d4f;`, `fill='%230a7d4f'`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("the page lacks %s", want)
		}
	}
	if !strings.Contains(policy, "img-src 'self' data: https://cdn.example.com/a/logo.svg;") {
		t.Errorf("got the policy %q", policy)
	}
	policy, body = themed(t, "Ümlaut & Co.", "data:image/png;base64,AAAA", "")
	if !strings.Contains(body, `<img src="data:image/png;base64,AAAA"`) || !strings.Contains(policy, "img-src 'self' data:;") || strings.Count(body, "<style") != 1 {
		t.Errorf("a logo within the page: got the policy %q and %d styles", policy, strings.Count(body, "<style"))
	}
	if _, body = themed(t, "<b>", "", ""); !strings.Contains(body, `<p class="shop"><bdi>&lt;b&gt;</bdi></p>`) {
		t.Error("the shop's name is not on the page as it was written")
	}
	if _, body = themed(t, "", "", ""); strings.Contains(body, `class="shop"`) {
		t.Error("a page without a theme has a shop")
	}
}

func TestTheme_RefusesWhatCouldBeMoreThanALook(t *testing.T) {
	for _, logo := range []string{
		"http://a.example/l.png", "//a.example/l.png", "https://a.example/l.png; script-src *", "https://a.example/a,b", "https://a.example/'x'",
		"javascript:alert(1)", "data:text/html;base64,AAAA", "data:image/svg+xml,<svg/>", "https://a.example/ b", "https://",
	} {
		if _, err := NewTheme("", logo, ""); err == nil {
			t.Errorf("the logo %q is taken", logo)
		}
	}
	for _, accent := range []string{"red", "#123", "#12345g", "123456", "#1234567", "#+12345", "#12345;"} {
		if _, err := NewTheme("", "", accent); err == nil {
			t.Errorf("the colour %q is taken", accent)
		}
	}
}

var coloured = regexp.MustCompile(`--accent:(#\w{6});--wash:(#\w{6});--glow:(#\w{6})`)

// Whatever the shop's colour is, what is written in it, on it and beside it can
// be read.
func TestTheme_CanBeReadInAnyColour(t *testing.T) {
	must := func(text string) colour {
		c, err := parseColour(text)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	// Of waitpage.css, first in light and then in dark.
	around := [2]struct{ back, card, ink, soft string }{
		{"#f4f3ef", "#ffffff", "#17181c", "#5b5e69"},
		{"#121317", "#1b1d23", "#f2f2f5", "#a6a9b6"},
	}
	for red := 0; red < 256; red += 51 {
		for green := 0; green < 256; green += 51 {
			for blue := 0; blue < 256; blue += 51 {
				accent := fmt.Sprintf("#%02x%02x%02x", red, green, blue)
				theme, err := NewTheme("", "", accent)
				if err != nil {
					t.Fatal(err)
				}
				made := coloured.FindAllStringSubmatch(string(theme.style), -1)
				if len(made) != 2 {
					t.Fatalf("%s: got %s", accent, theme.style)
				}
				for i, c := range around {
					own, wash, glow := must(made[i][1]), must(made[i][2]), must(made[i][3])
					for what, pair := range map[string][2]colour{
						"a link on the page": {own, must(c.back)}, "a link on the card, or a button's words": {own, must(c.card)},
						"a pressed button": {own, wash}, "the wait": {must(c.ink), wash}, "its label": {must(c.soft), wash},
						"the name": {must(c.ink), glow},
					} {
						if got := pair[0].contrast(pair[1]); got < readable {
							t.Errorf("%s, scheme %d: %s has a contrast of %.2f", accent, i, what, got)
						}
					}
				}
			}
		}
	}
}
