package e2e

import (
	"bytes"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
)

// freePort is one that nobody had a moment ago.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return strconv.Itoa(l.Addr().(*net.TCPAddr).Port)
}

// commandsOf are the shell blocks of a document, joined.
func commandsOf(t *testing.T, document string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("..", "docs", document))
	if err != nil {
		t.Fatal(err)
	}
	var all strings.Builder
	for _, block := range strings.Split(string(text), "```sh\n")[1:] {
		commands, _, closed := strings.Cut(block, "```")
		if !closed {
			t.Fatalf("%s: a block has no end", document)
		}
		all.WriteString(commands)
	}
	return all.String()
}

// TestDocument_TheQuickStartLeadsToAProtectedSite runs the ten commands of
// docs/quick-start.md, from a fresh clone, as they stand there. Only the place
// that is cloned is this tree's, and the ports are free ones.
func TestDocument_TheQuickStartLeadsToAProtectedSite(t *testing.T) {
	t.Parallel()
	for _, needed := range []string{"bash", "git", "make", "curl"} {
		if _, err := exec.LookPath(needed); err != nil {
			t.Fatalf("there is no %s here: apt-get install %s", needed, needed)
		}
	}
	here, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	for _, document := range []string{"quick-start.md", "zh-Hant/quick-start.md"} {
		t.Run(filepath.Dir(document), func(t *testing.T) {
			script := commandsOf(t, document)
			if n := len(strings.Split(strings.TrimSpace(script), "\n")); n != 10 {
				t.Errorf("the document has %d commands, and promises ten", n)
			}
			for was, is := range map[string]string{
				"https://github.com/ropeline/ropeline": here + " ropeline",
				":8080":                                ":" + freePort(t), ":8081": ":" + freePort(t), ":9000": ":" + freePort(t),
			} {
				script = strings.ReplaceAll(script, was, is)
				if strings.HasPrefix(was, ":80") {
					name := map[string]string{":8080": "HTTP", ":8081": "ADMIN"}[was]
					script = "export ROPELINE_LISTEN_" + name + "=127.0.0.1" + is + "\n" + script
					if name == "ADMIN" {
						script = "export ROPELINE_ADMIN_URL=http://127.0.0.1" + is + "\n" + script
					}
				}
			}
			cmd := exec.Command("bash", "-e", "-o", "pipefail")
			cmd.Dir = t.TempDir()
			cmd.Stdin = strings.NewReader(script)
			cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGKILL}
			out, err := os.Create(filepath.Join(t.TempDir(), "said"))
			if err != nil {
				t.Fatal(err)
			}
			defer out.Close()
			cmd.Stdout, cmd.Stderr = out, out // a file: what runs on must not be waited for
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			defer syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) // the shop and the gateway, which it leaves
			failed := cmd.Wait()
			said, err := os.ReadFile(out.Name())
			if err != nil {
				t.Fatal(err)
			}
			if failed != nil {
				t.Fatalf("the commands fail: %v\n%s", failed, said)
			}
			for _, want := range []string{"You are in.", `"state":"waiting"`, `"number":2`, "WAITING", "INSIDE"} {
				if !bytes.Contains(said, []byte(want)) {
					t.Errorf("they do not say %s", want)
				}
			}
			if t.Failed() {
				t.Logf("%s", said)
			}
		})
	}
}
