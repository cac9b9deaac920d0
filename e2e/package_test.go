package e2e

import (
	"bytes"
	"debug/elf"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"syscall"
	"testing"

	"gopkg.in/yaml.v3"

	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// example reads a file of the examples.
func example(t *testing.T, path ...string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(append([]string{"..", "examples"}, path...)...))
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// tool runs a program of the system to its end, in the examples.
func tool(t *testing.T, dir, install, name string, args ...string) string {
	t.Helper()
	path, err := exec.LookPath(name)
	if err != nil {
		t.Fatalf("there is no %s here: apt-get install %s", name, install)
	}
	cmd := exec.Command(path, args...)
	cmd.Dir = dir
	status, said := ended(t, cmd)
	if status != 0 {
		t.Fatalf("%s %s: status %d\n%s", name, strings.Join(args, " "), status, said)
	}
	return said
}

func TestPackage_AlertsRingWhenTheyShould(t *testing.T) {
	t.Parallel()
	dir := filepath.Join("..", "examples", "monitoring")
	tool(t, dir, "prometheus", "promtool", "check", "rules", "alerts.yaml")
	tool(t, dir, "prometheus", "promtool", "test", "rules", "alerts_test.yaml")
}

// TestPackage_AlertsAndDashboardAskForWhatAGatewayTells holds every metric that
// they name against a real scrape.
func TestPackage_AlertsAndDashboardAskForWhatAGatewayTells(t *testing.T) {
	t.Parallel()
	shop, redis, database := openShop(t), redistest.Single(t), postgrestest.Single(t)
	g := start(t, settings(shop, "capacity: 1, session: {idle: 1m, max: 5m}",
		fmt.Sprintf("store: {type: redis, redis: {addresses: [%q]}}\ndatabase: {url: %q}", redis.Addr, database.URL(database.Database(t)))))
	first := newVisitor(t, g)
	first.Enter(t)
	second := newVisitor(t, g)
	second.Join(t)
	second.Status(t)
	first.Open(t, "/%00") // refused, and counted
	shop.Close()
	first.Open(t, "/drop") // the shop does not answer
	answer, err := http.Get(g.Admin + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	scraped, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	tool := exec.Command("promtool", "check", "metrics")
	tool.Stdin = bytes.NewReader(scraped)
	if status, said := ended(t, tool); status != 0 {
		t.Errorf("promtool check metrics: status %d\n%s", status, said)
	}
	metric := regexp.MustCompile(`ropeline_[a-z_]+`)
	told := map[string]bool{}
	for _, name := range metric.FindAllString(string(scraped), -1) {
		told[name] = true
	}
	asked := 0
	for _, file := range []string{"alerts.yaml", "dashboard.json"} {
		for _, name := range metric.FindAllString(example(t, "monitoring", file), -1) {
			asked++
			if !told[name] {
				t.Errorf("%s asks for %s, which a gateway does not tell", file, name)
			}
		}
	}
	if asked == 0 {
		t.Error("they ask for nothing")
	}
}

// TestPackage_ComposeFitsTheGateway holds the file that both gateways get to
// what the composition has: the environment, the secrets and the names.
func TestPackage_ComposeFitsTheGateway(t *testing.T) {
	t.Parallel()
	var compose struct {
		Services map[string]struct {
			Environment map[string]string
			Secrets     []string
			Command     []string
		}
		Secrets map[string]any
	}
	text := example(t, "compose", "compose.yaml")
	if err := yaml.Unmarshal([]byte(text), &compose); err != nil {
		t.Fatal(err)
	}
	gateway, ok := compose.Services["gateway1"]
	if !ok || !strings.Contains(text, "gateway2") {
		t.Fatal("the composition has no two gateways")
	}
	dir := t.TempDir()
	cmd := command(dir, "validate", "--config", "ropeline.yaml")
	write(t, filepath.Join(dir, "ropeline.yaml"), example(t, "compose", "ropeline.yaml"))
	for name, value := range gateway.Environment {
		if secret, ok := strings.CutPrefix(value, "/run/secrets/"); ok {
			if !slices.Contains(gateway.Secrets, secret) || compose.Secrets[secret] == nil {
				t.Errorf("%s names the secret %s, which the gateway does not get", name, secret)
			}
			value = filepath.Join(dir, secret)
			write(t, value, strings.Repeat("x", 64)+"\n")
		}
		cmd.Env = append(cmd.Env, name+"="+value)
	}
	if status, said := ended(t, cmd); status != 0 || strings.Contains(said, "warning") {
		t.Errorf("validate: status %d\n%s", status, said)
	}
	for _, file := range []string{"ropeline.yaml", "haproxy.cfg", "prometheus.yml"} {
		for _, name := range regexp.MustCompile(`(?:"|//|\s)([a-z0-9]+):(?:6379|8080|8081|9000)`).FindAllStringSubmatch(example(t, "compose", file), -1) {
			if _, ok := compose.Services[name[1]]; !ok {
				t.Errorf("%s names %s, which is no service of the composition", file, name[1])
			}
		}
	}
}

// TestPackage_TheBinaryNeedsNothing runs the released form of the program as the
// image does: on an empty root, as nobody in particular.
func TestPackage_TheBinaryNeedsNothing(t *testing.T) {
	t.Parallel()
	root := t.TempDir()
	path := filepath.Join(root, "ropeline")
	build := exec.Command("go", "build", "-trimpath", "-ldflags", "-s -w -X main.release=v0.0.0-test", "-o", path, "github.com/ropeline/ropeline/cmd/ropeline")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	file, err := elf.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	for _, p := range file.Progs {
		if p.Type == elf.PT_INTERP {
			t.Error("the binary asks for a dynamic linker")
		}
	}
	write(t, filepath.Join(root, "ropeline.yaml"), example(t, "quickstart", "ropeline.yaml"))
	if err := os.Chmod(root, 0o755); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct {
		args []string
		want string
	}{
		{[]string{"/ropeline", "version"}, "ropeline v0.0.0-test "},
		{[]string{"/ropeline", "validate", "--config", "/ropeline.yaml"}, "/ropeline.yaml is valid: 1 activity"},
		{[]string{"/ropeline", "healthcheck", "--admin", "http://127.0.0.1:1"}, "connection refused"},
	} {
		cmd := &exec.Cmd{Path: c.args[0], Args: c.args, Dir: "/", Env: []string{}, SysProcAttr: ownRoot(root)}
		if _, said := ended(t, cmd); !strings.Contains(said, c.want) {
			t.Errorf("%v says %q, want %q", c.args, said, c.want)
		}
	}
	runAlone(t, root)
}

// ownRoot has a program run on a root of its own, as a user that owns nothing else.
func ownRoot(root string) *syscall.SysProcAttr {
	const nobody = 65532
	if os.Getuid() == 0 {
		return &syscall.SysProcAttr{Chroot: root, Credential: &syscall.Credential{Uid: nobody, Gid: nobody}, Pdeathsig: syscall.SIGKILL}
	}
	return &syscall.SysProcAttr{ // a namespace of one's own lets anyone do it
		Chroot: root, Cloneflags: syscall.CLONE_NEWUSER, Pdeathsig: syscall.SIGKILL,
		UidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getuid(), Size: 1}},
		GidMappings: []syscall.SysProcIDMap{{ContainerID: nobody, HostID: os.Getgid(), Size: 1}},
	}
}

// runAlone has a gateway serve a shop from such a root, and stops it.
func runAlone(t *testing.T, root string) {
	t.Helper()
	data := filepath.Join(root, "data")
	if err := os.Mkdir(data, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Chown(data, 65532, 65532); err != nil && os.Getuid() == 0 {
		t.Fatal(err)
	}
	write(t, filepath.Join(root, "alone.yaml"), settings(openShop(t), "capacity: 5, session: {idle: 1m, max: 5m}"))
	log := newLogbook()
	cmd := &exec.Cmd{
		Path: "/ropeline", Args: []string{"/ropeline", "run", "--config", "/alone.yaml"}, Dir: "/data", SysProcAttr: ownRoot(root),
		Env: []string{"ROPELINE_LISTEN_HTTP=127.0.0.1:0", "ROPELINE_LISTEN_ADMIN=127.0.0.1:0"},
	}
	said, err := cmd.StderrPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	ended := make(chan struct{})
	go func() { defer close(ended); log.read(said); _ = cmd.Wait() }()
	line := log.Find(0, ended, func(l entry) bool { return l["message"] == "listening" && l["listener"] == "http" })
	if line == nil {
		t.Fatalf("it does not start:\n%s", log.Text())
	}
	answer, err := http.Get("http://" + line["address"].(string) + "/drop")
	if err != nil {
		t.Fatal(err)
	}
	answer.Body.Close()
	if answer.StatusCode != http.StatusOK {
		t.Errorf("from an empty root it answers %s", answer.Status)
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	<-ended
	if !cmd.ProcessState.Success() {
		t.Errorf("told to stop it ends with %v:\n%s", cmd.ProcessState, log.Text())
	}
}

func TestPackage_TheUnitIsSound(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	unit := filepath.Join(dir, "ropeline.service")
	write(t, unit, strings.ReplaceAll(example(t, "systemd", "ropeline.service"), "/usr/bin/ropeline", binary))
	said := tool(t, dir, "systemd", "systemd-analyze", "verify", unit)
	if strings.Contains(said, unit) || strings.Contains(said, "ropeline.service:") {
		t.Errorf("systemd-analyze verify:\n%s", said)
	}
	said = tool(t, dir, "systemd", "systemd-analyze", "security", "--offline=true", "--threshold=20", unit)
	if !strings.Contains(said, "Overall exposure level") {
		t.Errorf("systemd-analyze security:\n%s", said)
	}
}
