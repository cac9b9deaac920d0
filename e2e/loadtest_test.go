package e2e

import (
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

const loadtestSecret = "an admin secret of at least 32 bytes"

func TestLoadtest_ProvesALineAndRefutesAChangedHistory(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	yaml := settings(shop, "capacity: 6, rate: 5/s, absence: 20s, claim: 5s, session: {idle: 10s, max: 1m}",
		"admin: {jwt: {secret: \""+loadtestSecret+"\"}}")
	g := start(t, yaml)
	_, token := ropeline(t, g.dir, "token", "--config", g.config, "--subject", "load test")

	history, page := filepath.Join(g.dir, "history.gz"), filepath.Join(g.dir, "report.html")
	status, said := ropeline(t, g.dir, "loadtest", g.Public+"/drop", "--visitors", "50", "--over", "5s", "--think", "100ms-500ms",
		"--pages", "1-3", "--leave", "0.9", "--forgers", "0.4", "--bots", "0.1", "--history", history, "--html", page, "--json",
		"--admin", g.Admin, "--token", strings.TrimSpace(token))
	if status != 0 {
		t.Fatalf("the load test ends with %d:\n%s", status, said)
	}
	var report struct {
		Visitors   map[string]int64 `json:"visitors"`
		Entered    int64            `json:"entered"`
		Inside     int64            `json:"peak_inside"`
		Errors     map[string]int64 `json:"errors"`
		Invariants []struct{ Invariant, Outcome string }
	}
	document := said[strings.Index(said, "{"):] // standard error comes before it
	if err := json.Unmarshal([]byte(document), &report); err != nil {
		t.Fatalf("%v in %s", err, said)
	}
	if report.Visitors["served"] < 30 || report.Entered < report.Visitors["served"] || report.Inside < 2 || report.Inside > 6 || len(report.Errors) > 0 {
		t.Errorf("the report is %+v", report)
	}
	text, err := os.ReadFile(page)
	if err != nil || strings.Count(string(text), "<svg") < 4 || !strings.Contains(string(text), "Nothing that was promised was broken") {
		t.Errorf("the page of the report is %v %.400s", err, text)
	}

	if status, said := ropeline(t, g.dir, "loadtest", "check", history, "--every", "--html", page); status != 0 || strings.Count(said, "  held  ") != 8 {
		t.Errorf("the check ends with %d:\n%s", status, said)
	}
	// What was let in is more than half as many an hour allow.
	status, said = ropeline(t, g.dir, "loadtest", "check", history, "--rate", "1/m", "--burst", "1")
	if status != 1 || !strings.Contains(said, "invariant R is broken") || !strings.Contains(said, "visitor ") {
		t.Errorf("the check of another rate ends with %d:\n%s", status, said)
	}
	write(t, filepath.Join(g.dir, "broken"), "hello\n")
	if status, said := ropeline(t, g.dir, "loadtest", "check", "broken"); status != 1 || !strings.Contains(said, "not the history of a load test") {
		t.Errorf("the check of no history ends with %d:\n%s", status, said)
	}
}

func TestLoadtest_TellsWhyItDoesNotRun(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, "capacity: 1"))
	for _, c := range []struct {
		args []string
		exit int
		want string
	}{
		{[]string{"http://192.0.2.1/drop"}, 1, "not allowed without the token that its operator has set as loadtest.token"},
		{[]string{"http://127.0.0.1:1/drop"}, 3, "does not answer"},
		{[]string{g.Public + "/"}, 1, "no activity protects it"},
		{[]string{g.Public + "/drop", "--no-show", "2"}, 2, "--no-show: a share is from 0 to 1"},
		{[]string{g.Public + "/drop", "--profile", "flood"}, 2, `no profile "flood"`},
		{[]string{g.Public + "/drop", "--patience", "long"}, 2, `"long" is no duration`},
		{[]string{}, 2, "accepts 1 arg"},
	} {
		if status, said := ropeline(t, g.dir, append([]string{"loadtest"}, c.args...)...); status != c.exit || !strings.Contains(said, c.want) {
			t.Errorf("loadtest %q ends with %d, want %d: %s", c.args, status, c.exit, said)
		}
	}
}

func TestLoadtest_IsAllowedByATokenInTheFile(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	g := start(t, settings(shop, "capacity: 1"))
	ask := func() int {
		answer, err := http.Get(g.Public + "/_ropeline/loadtest?challenge=" + strings.Repeat("0a", 16))
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		return answer.StatusCode
	}
	if code := ask(); code != http.StatusNotFound {
		t.Errorf("without a token the proof is %d, want 404", code)
	}
	if line := g.Reload(settings(shop, "capacity: 1", `loadtest: {token: "a token of at least 16 bytes"}`)); line["message"] != "config loaded" {
		t.Fatalf("the file is not loaded: %v", line)
	}
	if code := ask(); code != http.StatusOK {
		t.Errorf("with a token the proof is %d, want 200", code)
	}
}
