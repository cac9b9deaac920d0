package e2e

import (
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"
)

// gateway is the program with a folder, a file and two ports of its own, which
// it keeps over restarts.
type gateway struct {
	Public string // the URLs of its listeners, without a slash at the end
	Admin  string
	Log    *logbook

	t      *testing.T
	dir    string
	config string

	cmd  *exec.Cmd
	done chan struct{} // closed when the process has ended
}

// start runs a gateway on a file of the given content, and waits until it
// listens. The test ends it.
func start(t *testing.T, yaml string) *gateway {
	t.Helper()
	dir := t.TempDir()
	g := &gateway{t: t, dir: dir, config: filepath.Join(dir, "ropeline.yaml"), Log: newLogbook()}
	write(t, g.config, yaml)
	t.Cleanup(g.end)
	g.Restart()
	return g
}

// settings is a file for one activity, 7, at /drop. activity is what it says
// besides its id and name, as "capacity: 1"; more are further lines.
func settings(shop *shop, activity string, more ...string) string {
	return fmt.Sprintf(`poll: {min: 200ms, max: 1s}
drain: {delay: 0s, grace: 10s}
upstreams: {shop: {servers: [{url: %q}]}}
activities:
  - {id: 7, name: Spring drop, join_limit: {rate: ""}, %s}
routes:
  - {path: /drop, activity: 7, upstream: shop}
  - {upstream: shop}
%s
`, shop.URL, activity, strings.Join(more, "\n"))
}

// command is the program with args, in the gateway's folder, and with nothing
// of the environment of the tests that could change what it does.
func command(dir string, args ...string) *exec.Cmd {
	cmd := exec.Command(binary, args...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + dir}
	cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	return cmd
}

// Restart runs the gateway again, on the ports that it had.
func (g *gateway) Restart() {
	g.t.Helper()
	for tries := 0; ; tries++ {
		mark := g.Log.Mark()
		g.run()
		line := g.Log.Find(mark, g.done, func(l entry) bool {
			return l["message"] == "listening" && l["listener"] == "http"
		})
		if line != nil && g.Public == "" {
			g.Public = "http://" + line["address"].(string)
			g.Admin = "http://" + g.Log.Find(mark, g.done, func(l entry) bool {
				return l["message"] == "listening" && l["listener"] == "admin"
			})["address"].(string)
		}
		if line != nil {
			return
		}
		// Between two runs, a client's own end of a connection may have taken
		// the port for a moment.
		if tries == 50 || g.Public == "" || !strings.Contains(g.Log.Text(), "in use") {
			g.t.Fatal("the gateway does not start")
		}
	}
}

// run starts the process.
func (g *gateway) run() {
	g.t.Helper()
	g.cmd = command(g.dir, "run", "--config", g.config)
	for name, url := range map[string]string{"ROPELINE_LISTEN_HTTP": g.Public, "ROPELINE_LISTEN_ADMIN": g.Admin} {
		address := "127.0.0.1:0"
		if url != "" {
			address = strings.TrimPrefix(url, "http://")
		}
		g.cmd.Env = append(g.cmd.Env, name+"="+address)
	}
	said, err := g.cmd.StderrPipe()
	if err != nil {
		g.t.Fatal(err)
	}
	if err := g.cmd.Start(); err != nil {
		g.t.Fatal(err)
	}
	cmd, done := g.cmd, make(chan struct{})
	g.done = done
	go func() {
		defer close(done)
		g.Log.read(said)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
}

// Kill ends the gateway as a power cut would.
func (g *gateway) Kill() {
	g.t.Helper()
	g.Signal(syscall.SIGKILL)
	<-g.done
}

// Signal sends the gateway a signal.
func (g *gateway) Signal(s syscall.Signal) {
	g.t.Helper()
	if err := g.cmd.Process.Signal(s); err != nil {
		g.t.Fatalf("send %v: %v", s, err)
	}
}

// Ended waits until the gateway has ended by itself, and returns how.
func (g *gateway) Ended() *os.ProcessState {
	g.t.Helper()
	select {
	case <-g.done:
	case <-time.After(patience):
		g.t.Fatal("the gateway does not end")
	}
	return g.cmd.ProcessState
}

// Reload writes the file anew, has the gateway load it, and returns the log's
// line that says what became of it.
func (g *gateway) Reload(yaml string) entry {
	g.t.Helper()
	write(g.t, g.config, yaml)
	mark := g.Log.Mark()
	g.Signal(syscall.SIGHUP)
	return g.Loaded(mark)
}

// Loaded waits for the log's line after mark that says what became of loading
// the file.
func (g *gateway) Loaded(mark int) entry {
	g.t.Helper()
	return g.Log.Await(g.t, mark, "what became of the file", func(l entry) bool {
		return l["message"] == "config loaded" || l["message"] == "config not loaded, the old one stays"
	})
}

// Metric returns the value of a metric, named with its labels as /metrics
// writes them; 0 where it is not there.
func (g *gateway) Metric(name string) float64 {
	g.t.Helper()
	value, err := g.metric(name)
	if err != nil {
		g.t.Fatal(err)
	}
	return value
}

func (g *gateway) metric(name string) (float64, error) {
	answer, err := http.Get(g.Admin + "/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), name+" "); ok {
			return strconv.ParseFloat(value, 64)
		}
	}
	return 0, lines.Err()
}

// Ready returns the status of /readyz.
func (g *gateway) Ready() int {
	answer, err := http.Get(g.Admin + "/readyz")
	if err != nil {
		return 0
	}
	answer.Body.Close()
	return answer.StatusCode
}

// end ends the process with the test, and holds what no gateway may do.
func (g *gateway) end() {
	select {
	case <-g.done:
	default:
		_ = g.cmd.Process.Kill() // it may have ended just now
		<-g.done
	}
	text := g.Log.Text()
	for _, never := range []string{"DATA RACE", "panic:", "goroutine 1 ["} {
		if at := strings.Index(text, never); at >= 0 {
			g.t.Errorf("the gateway's log has %q:\n%.8000s", never, text[at:])
		}
	}
	if strings.Contains(text, "eyJ") {
		g.t.Error("the gateway's log has a token")
	}
	if g.t.Failed() {
		g.t.Logf("the gateway's log ends:\n%s", text[max(0, len(text)-6000):])
	}
}

// entry is a line of the gateway's log.
type entry map[string]any

// logbook is what a gateway wrote to standard error, over all its runs. It is
// safe for concurrent use.
type logbook struct {
	mu      sync.Mutex // guards the rest
	text    strings.Builder
	lines   []entry
	changed chan struct{} // closed and replaced with each line
}

func newLogbook() *logbook { return &logbook{changed: make(chan struct{})} }

func (b *logbook) read(from io.Reader) {
	lines := bufio.NewReader(from)
	for {
		text, err := lines.ReadString('\n')
		if text != "" {
			b.add(text)
		}
		if err != nil {
			return
		}
	}
}

func (b *logbook) add(text string) {
	line := entry{}
	if err := json.Unmarshal([]byte(text), &line); err != nil {
		line = entry{} // not of the log: what the runtime says, or why it did not start
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.text.WriteString(text)
	b.lines = append(b.lines, line)
	close(b.changed)
	b.changed = make(chan struct{})
}

// Text returns all of it.
func (b *logbook) Text() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.text.String()
}

// Mark returns the place after the last line.
func (b *logbook) Mark() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.lines)
}

// Lines returns the lines after mark.
func (b *logbook) Lines(mark int) []entry {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.lines[mark:]
}

// Find returns the first line after mark that is one, as soon as there is, or
// nil where over is closed first.
func (b *logbook) Find(mark int, over <-chan struct{}, is func(entry) bool) entry {
	for {
		b.mu.Lock()
		lines, changed := b.lines[mark:], b.changed
		b.mu.Unlock()
		for _, line := range lines {
			if is(line) {
				return line
			}
		}
		mark += len(lines)
		select {
		case <-changed:
		case <-over:
			// What was written before the end counts.
			for _, line := range b.Lines(mark) {
				if is(line) {
					return line
				}
			}
			return nil
		}
	}
}

// Await is Find for what must come.
func (b *logbook) Await(t *testing.T, mark int, what string, is func(entry) bool) entry {
	t.Helper()
	over := make(chan struct{})
	timer := time.AfterFunc(patience, func() { close(over) })
	defer timer.Stop()
	line := b.Find(mark, over, is)
	if line == nil {
		t.Fatalf("the log lacks %s", what)
	}
	return line
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// ropeline runs a command of the program to its end, and returns its exit
// status and all that it said.
func ropeline(t *testing.T, dir string, args ...string) (status int, said string) {
	t.Helper()
	return ended(t, command(dir, args...))
}

func ended(t *testing.T, cmd *exec.Cmd) (status int, said string) {
	t.Helper()
	timer := time.AfterFunc(patience, func() {
		if cmd.Process != nil {
			_ = cmd.Process.Kill()
		}
	})
	defer timer.Stop()
	out, err := cmd.CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return cmd.ProcessState.ExitCode(), string(out)
}
