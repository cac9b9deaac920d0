package e2e

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// copyTree copies what git knows of the tree, so that two builds stand in two
// places.
func copyTree(t *testing.T) string {
	t.Helper()
	to := t.TempDir()
	cmd := exec.Command("sh", "-c", `git ls-files -z --cached --others --exclude-standard | xargs -0 cp --parents -t "$0"`, to)
	cmd.Dir = ".."
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("copy the tree: %v\n%s", err, out)
	}
	return to
}

// packaged runs one of packaging/ in a tree, and returns what it made.
func packaged(t *testing.T, tree, name string, args ...string) string {
	t.Helper()
	cmd := exec.Command(filepath.Join(tree, "packaging", name), args...)
	cmd.Env = append(os.Environ(), "VERSION=v1.2.3", "SOURCE_DATE_EPOCH=1764200000", "PLATFORMS=linux/amd64", "GOFLAGS=-buildvcs=false")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("packaging/%s: %v\n%s", name, err, out)
	}
	return filepath.Join(tree, "dist")
}

// TestRelease_TwoBuildsAreTheSame builds in two places, and looks into one of the
// archives.
func TestRelease_TwoBuildsAreTheSame(t *testing.T) {
	t.Parallel()
	const name = "ropeline_v1.2.3_linux_amd64"
	first, second := packaged(t, copyTree(t), "release"), packaged(t, copyTree(t), "release")
	sums := func(dist string) string {
		text, err := os.ReadFile(filepath.Join(dist, "SHA256SUMS"))
		if err != nil {
			t.Fatal(err)
		}
		return string(text)
	}
	if sums(first) != sums(second) {
		t.Errorf("one build has\n%sthe other\n%s", sums(first), sums(second))
	}
	tool(t, first, "coreutils", "sha256sum", "--check", "--strict", "SHA256SUMS")
	tool(t, first, "tar", "tar", "-xzf", name+".tar.gz")
	if said := tool(t, first, "", filepath.Join(first, name, "ropeline"), "version"); !strings.HasPrefix(said, "ropeline v1.2.3 ") {
		t.Errorf("the binary says %q", said)
	}
	text, err := os.ReadFile(filepath.Join(first, name+".cdx.json"))
	if err != nil {
		t.Fatal(err)
	}
	var bom struct {
		BOMFormat  string
		Components []struct{ Name, Version string }
	}
	if err := json.Unmarshal(text, &bom); err != nil {
		t.Fatalf("the bill of materials: %v", err)
	}
	listed := map[string]bool{}
	for _, c := range bom.Components {
		listed[c.Name] = true
	}
	for _, module := range []string{"github.com/redis/go-redis/v9", "github.com/jackc/pgx/v5", "go.uber.org/zap"} {
		if !listed[module] {
			t.Errorf("the bill of materials leaves out %s", module)
		}
	}
	if listed["pgregory.net/rapid"] {
		t.Error("the bill of materials names what only tests need")
	}
}

// TestRelease_TheDebianPackageIsSound makes it, lints it, and looks at what
// it would install.
func TestRelease_TheDebianPackageIsSound(t *testing.T) {
	t.Parallel()
	tree := copyTree(t)
	dist := packaged(t, tree, "deb", "amd64")
	file := filepath.Join(dist, "ropeline_1.2.3_amd64.deb")
	info := tool(t, dist, "dpkg", "dpkg-deb", "--info", file)
	for _, want := range []string{"Version: 1.2.3", "Architecture: amd64", "Depends: adduser", "conffiles", "postinst"} {
		if !strings.Contains(info, want) {
			t.Errorf("dpkg-deb --info does not say %s", want)
		}
	}
	contents := tool(t, dist, "dpkg", "dpkg-deb", "--contents", file)
	for _, want := range []string{
		"-rwxr-xr-x root/root", "./usr/bin/ropeline\n", "./usr/lib/systemd/system/ropeline.service\n", "./etc/ropeline/ropeline.yaml\n",
		"./usr/share/man/man1/ropeline.1.gz\n", "./usr/share/bash-completion/completions/ropeline\n",
	} {
		if !strings.Contains(contents, want) {
			t.Errorf("dpkg-deb --contents does not have %q", want)
		}
	}
	lint := tool(t, dist, "lintian", "lintian", "--allow-root", "--fail-on", "error,warning", file)
	if strings.Contains(lint, "E: ") || strings.Contains(lint, "W: ") {
		t.Errorf("lintian:\n%s", lint)
	}
	root := t.TempDir()
	tool(t, dist, "dpkg", "dpkg-deb", "--extract", file, root)
	if said := tool(t, root, "", filepath.Join(root, "usr/bin/ropeline"), "validate", "--config", filepath.Join(root, "etc/ropeline/ropeline.yaml")); !strings.Contains(said, "is valid") {
		t.Errorf("the file that it brings: %s", said)
	}
	unit, err := os.ReadFile(filepath.Join(root, "usr/lib/systemd/system/ropeline.service"))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(string(unit), "ExecStart=/usr/bin/ropeline run") || !strings.Contains(string(unit), "User=ropeline") {
		t.Error("the unit starts another program, or as another user")
	}
	for _, script := range []string{"postinst", "prerm", "postrm"} {
		tool(t, tree, "dash", "sh", "-n", filepath.Join("packaging", "debian", script))
	}
}
