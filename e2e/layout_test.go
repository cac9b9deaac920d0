package e2e

import (
	"bytes"
	"encoding/json"
	"os/exec"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/ropeline/ropeline/"

// listed is what go list tells of a package.
type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
}

func list(t *testing.T, patterns ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps"}, patterns...)...)
	cmd.Dir = ".."
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v\n%s", err, errs.String())
	}
	var all []listed
	for decoder := json.NewDecoder(bytes.NewReader(out)); decoder.More(); {
		var p listed
		if err := decoder.Decode(&p); err != nil {
			t.Fatal(err)
		}
		all = append(all, p)
	}
	return all
}

// below reports whether an import path is one of these, or lies below one.
func below(path string, roots ...string) bool {
	return slices.ContainsFunc(roots, func(root string) bool {
		return path == root || strings.HasPrefix(path, root+"/")
	})
}

// TestLayout_ImportsRunDownward holds the layering: what a package may not
// know of. The program puts the parts together, so only it may know them all.
func TestLayout_ImportsRunDownward(t *testing.T) {
	t.Parallel()
	own := func(names ...string) (paths []string) {
		for _, name := range names {
			paths = append(paths, module+name)
		}
		return paths
	}
	rules := map[string][]string{
		// The heart knows lines and tickets, and neither the web nor a database.
		"admission": append(own("cmd", "config", "proxy", "visitor", "waitpage", "web", "webhook", "crowd"),
			"net/http", "github.com/redis/go-redis", "github.com/jackc/pgx",
			"github.com/prometheus", "github.com/spf13/cobra", "gopkg.in/yaml.v3"),
		"visitor":  own("cmd", "config", "proxy", "waitpage", "web", "webhook", "crowd"),
		"waitpage": own("cmd", "config", "proxy", "webhook", "crowd"),
		"proxy":    own("cmd", "config", "waitpage", "web", "webhook", "crowd"),
		"web":      own("cmd", "config", "proxy", "waitpage", "webhook", "crowd"),
		"webhook":  own("cmd", "config", "proxy", "visitor", "waitpage", "web", "crowd"),
		"config":   append(own("cmd", "proxy", "visitor", "waitpage", "web", "webhook", "crowd"), "net/http", "go.uber.org/zap"),
		"crowd":    own("cmd", "config", "proxy", "waitpage", "web", "webhook"),
	}
	seen := map[string]bool{}
	for _, p := range list(t, "./...") {
		part, _, _ := strings.Cut(strings.TrimPrefix(p.ImportPath, module), "/")
		seen[part] = true
		for _, imported := range p.Imports {
			// Conformance suites and the stores of their own lie below the
			// heart, and may know what they are there for.
			if below(imported, rules[part]...) && (part != "admission" || p.ImportPath == module+"admission") {
				t.Errorf("%s imports %s", p.ImportPath, imported)
			}
			if below(imported, module+"cmd", module+"e2e") {
				t.Errorf("%s imports %s, which is only to be run", p.ImportPath, imported)
			}
		}
	}
	for _, part := range []string{"admission", "visitor", "waitpage", "proxy", "web", "webhook", "config", "crowd"} {
		if !seen[part] {
			t.Errorf("there is no package %s: the rule for it holds nothing", part)
		}
	}
}

func TestLayout_TheProgramLinksNoTestCode(t *testing.T) {
	t.Parallel()
	for _, p := range list(t, "./cmd/...", "./examples/...") {
		for _, linked := range p.Deps {
			if below(linked, "testing", "net/http/httptest", "pgregory.net/rapid", "github.com/chromedp", "go.uber.org/goleak",
				"github.com/santhosh-tekuri/jsonschema", "github.com/letsencrypt", "github.com/summerwind", module+"proxy/certs/certstest", module+"admission/admissiontest", module+"e2e") {
				t.Errorf("%s links %s", p.ImportPath, linked)
			}
		}
	}
}
