package e2e

import (
	"os"
	"regexp"
	"strconv"
	"testing"
)

// underLoad runs a script of examples/load against a gateway on its file.
func underLoad(t *testing.T, script string, args ...string) (g *gateway, said string) {
	t.Helper()
	const dir = "../examples/load"
	tool(t, dir, "apache2-utils", "ab", "-V")
	tool(t, dir, "wrk", "which", "wrk") // its own -v fails
	tool(t, dir, "curl", "curl", "-V")
	file, err := os.ReadFile(dir + "/ropeline.yaml")
	if err != nil {
		t.Fatal(err)
	}
	g = start(t, string(file))
	return g, tool(t, dir, "bash", "bash", append([]string{script, g.Public}, args...)...)
}

// numbers are what a pattern with one group finds.
func numbers(t *testing.T, pattern, text string) (all []int) {
	t.Helper()
	for _, found := range regexp.MustCompile(pattern).FindAllStringSubmatch(text, -1) {
		n, err := strconv.Atoi(found[1])
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, n)
	}
	return all
}

func TestLoad_AbEntersOnceAndPolls(t *testing.T) {
	t.Parallel()
	g, said := underLoad(t, "ab.sh", "300", "5")
	if done := numbers(t, `Complete requests: +(\d+)`, said); len(done) != 2 || done[0] != 300 || done[1] != 300 {
		t.Errorf("complete are %v, want 300 and 300:\n%s", done, said)
	}
	// All entries but the first are told of its place, and all polls are good.
	if other := numbers(t, `Non-2xx responses: +(\d+)`, said); len(other) != 1 || other[0] != 299 {
		t.Errorf("other than 2xx are %v, want 299:\n%s", other, said)
	}
	if polls := g.Metric(`ropeline_polls_total{activity="123"}`); polls < 300 {
		t.Errorf("there were %v polls, want at least 300", polls)
	}
	eventually(t, "one place is taken", func() bool { return g.Metric(`ropeline_queue_issued{activity="123"}`) == 1 })
}

func TestLoad_WrkEntersAnewWithEachRequestAndPolls(t *testing.T) {
	t.Parallel()
	g, said := underLoad(t, "wrk.sh", "1", "4")
	done := numbers(t, `(\d+) requests in`, said)
	if len(done) != 2 {
		t.Fatalf("wrk tells of %v:\n%s", done, said)
	}
	// wrk ends with requests under way, which it does not count.
	if joins := g.Metric(`ropeline_joins_total{activity="123"}`); joins < float64(done[0]) || joins > float64(done[0]+2*4+2) {
		t.Errorf("there were %v joins, want those of %d requests", joins, done[0])
	}
	if polls := g.Metric(`ropeline_polls_total{activity="123"}`); polls < float64(done[1]-2*4) {
		t.Errorf("there were %v polls, want those of %d requests", polls, done[1])
	}
}
