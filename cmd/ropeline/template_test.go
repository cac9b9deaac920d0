package main

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// templated is a file with an activity that has a template of this text.
func templated(t *testing.T, text string) (path, template string) {
	t.Helper()
	template = filepath.Join(t.TempDir(), "waiting.html")
	if err := os.WriteFile(template, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return write(t, shopOnly+"activities: [{id: 1, name: A, capacity: 1, page: {template: "+template+"}}]\n"), template
}

func TestValidate_SaysWhatIsWrongWithATemplate(t *testing.T) {
	path, template := templated(t, "<p>\n{{if .Draw}}{{.Draw.Sede}}{{end}}")
	want := path + ":3:61: activities[0].page.template: " + template + ":2:19: "
	if status, out, _ := command(t, nil, "validate", "--config", path); status != exitRefused || !strings.Contains(out, want) {
		t.Errorf("validate: got %d %q, want %q", status, out, want)
	}
	if status, _, errs := command(t, nil, "run", "--config", path); status != exitRefused || !strings.Contains(errs, want) {
		t.Errorf("run: got %d %q, want %q", status, errs, want)
	}
}

func TestValidate_TakesTheTemplateOfTheExamples(t *testing.T) {
	text, err := os.ReadFile("../../examples/template/waiting.html")
	if err != nil {
		t.Fatal(err)
	}
	path, _ := templated(t, string(text))
	if status, out, errs := command(t, nil, "validate", "--config", path); status != exitOK {
		t.Errorf("got %d %q", status, out+errs)
	}
}
