package main

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

func simulated(t *testing.T, args ...string) (status int, out, errs string) {
	t.Helper()
	var o, e bytes.Buffer
	status = run(t.Context(), append([]string{"simulate"}, args...), nil, &o, &e)
	return status, o.String(), e.String()
}

func written(t *testing.T, name, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

const smallPlan = `
name: Small
demand: [{for: 1m, visitors: 300}]
visitors: {stay: 30s, ends: 100%}
settings:
  few: {capacity: 20}
  many: {capacity: 500, rate: 20/s}
`

func TestSimulate_ShowsSettingsSideBySide(t *testing.T) {
	plan := written(t, "plan.yaml", smallPlan)
	html, svg := filepath.Join(t.TempDir(), "plan.html"), filepath.Join(t.TempDir(), "plan.svg")
	status, out, errs := simulated(t, plan, "--html", html, "--svg", svg)
	if status != exitOK {
		t.Fatalf("status %d: %s", status, errs)
	}
	for _, want := range []string{"few", "many", "longest line"} {
		if !strings.Contains(out, want) {
			t.Errorf("the table lacks %q:\n%s", want, out)
		}
	}
	for path, begins := range map[string]string{html: "<!doctype html>", svg: "<svg "} {
		text, err := os.ReadFile(path)
		if err != nil || !strings.HasPrefix(string(text), begins) {
			t.Errorf("%s begins with %.20q, %v", filepath.Base(path), text, err)
		}
	}
}

func TestSimulate_ReplaysARecord(t *testing.T) {
	plan := written(t, "plan.yaml", strings.Replace(smallPlan, "demand:", "x-demand:", 1))
	record := written(t, "arrivals.csv", "created_at,visitor\n2026-11-22 10:00:02.5+01,b\n2026-11-22T10:00:00+01:00,a\n2026-11-22 09:01:00.123456+00,c\n")
	status, out, errs := simulated(t, plan, "--from", record, "--json")
	if status != exitOK {
		t.Fatalf("status %d: %s", status, errs)
	}
	var report struct {
		Results []struct {
			Visitors, Entered float64
			Over              float64 `json:"over_s"`
		}
	}
	if err := json.Unmarshal([]byte(out), &report); err != nil {
		t.Fatal(err)
	}
	for _, r := range report.Results {
		if r.Visitors != 3 || r.Entered != 3 || r.Over < 60 || r.Over > 62 {
			t.Errorf("%+v, want three visitors within a minute", r)
		}
	}
}

func TestSimulate_SaysWhereAMistakeIs(t *testing.T) {
	plan := written(t, "plan.yaml", smallPlan)
	for name, c := range map[string]struct {
		args   []string
		status int
		want   string
	}{
		"no plan":        {nil, exitUsage, "accepts 1 arg"},
		"not there":      {[]string{"nowhere.yaml"}, exitRefused, "nowhere.yaml:1:1: no such file"},
		"unknown key":    {[]string{written(t, "p.yaml", smallPlan+"seeds: 1\n")}, exitRefused, "p.yaml:8:1: seeds: unknown key; did you mean seed?"},
		"no demand":      {[]string{written(t, "p.yaml", "settings: {a: {capacity: 1}}")}, exitRefused, "p.yaml:1:1: demand: is missing"},
		"record":         {[]string{plan, "--from", written(t, "a.csv", "at\n1\n2.5\nsoon\n")}, exitRefused, `a.csv:4:1: "soon" is neither a time`},
		"record, quotes": {[]string{plan, "--from", written(t, "a.csv", "1\n\"2\n")}, exitRefused, "a.csv: "},
		"record, empty":  {[]string{plan, "--from", written(t, "a.csv", "at\n")}, exitRefused, "no visitor came"},
		"not writable":   {[]string{plan, "--html", "/nowhere/plan.html"}, exitRefused, "no such file"},
	} {
		t.Run(name, func(t *testing.T) {
			status, out, errs := simulated(t, c.args...)
			if status != c.status || !strings.Contains(errs, c.want) {
				t.Errorf("status %d, want %d; it says %q, want %q; %s", status, c.status, errs, c.want, out)
			}
		})
	}
}
