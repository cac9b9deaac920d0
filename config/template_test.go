package config

import (
	"bytes"
	"path/filepath"
	"strings"
	"testing"
)

func withTemplate(file string) string {
	return strings.Replace(minimal, "rate: 10/s", "rate: 10/s, page: {template: \""+file+"\"}", 1)
}

func TestLoad_TemplateIsReadAndNamedByTheHash(t *testing.T) {
	file := filepath.Join(t.TempDir(), "waiting.html")
	write(t, file, "<p>one</p>\n")
	before := mustLoad(t, withTemplate(file))
	if got := before.Activities[0].Page.TemplateText; got != "<p>one</p>\n" {
		t.Errorf("got %q", got)
	}
	write(t, file, "<p>two</p>\n")
	if mustLoad(t, withTemplate(file)).Hash == before.Hash {
		t.Error("another page has the same hash")
	}
}

func TestLoad_TemplateThatCannotBeReadIsRefused(t *testing.T) {
	dir := t.TempDir()
	for name, c := range map[string]struct{ text, want string }{
		"huge.html":  {string(bytes.Repeat([]byte("x"), maxTemplateBytes+1)), "larger than 524288 bytes"},
		"empty.html": {" \n", "is empty"},
		"latin.html": {"caf\xe9", "is not UTF-8"},
		"gone.html":  {"", "no such file or directory"},
	} {
		file := filepath.Join(dir, name)
		if name != "gone.html" {
			write(t, file, c.text)
		}
		_, err := load("ropeline.yaml", []byte(withTemplate(file)), nil)
		if err == nil || !strings.Contains(err.Error(), "ropeline.yaml:2:60: activities[0].page.template: ") || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: got %v, want %s", name, err, c.want)
		}
	}
}
