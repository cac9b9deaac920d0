package main

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/config"
)

func TestInit_WhatItWritesIsValidWhateverIsAnswered(t *testing.T) {
	shops := []string{"http://127.0.0.1:9000", "https://shop.internal", "http://[::1]:9000", "unix:/run/shop.sock"}
	paths := []string{"/drop", "/", "/a/b-c.d", "/Verkauf/Straße", "/true", "/~me"}
	limits := []struct {
		capacity, rate string
		inside         int64
	}{{"500", "120/m", 500}, {"0", "1/s", 0}, {"1", "", 1}, {"010", "5000/h", 10}, {" 7 ", "60/m", 7}}
	for i, name := range []string{"Sale", "Kaffee & Kuchen: \"heute\"", "# 1", "true", "null", "12", "1e3", `C:\sale`, "- x", "雨の日 🎟", "it's {here}", "60/m", "/drop"} {
		shop, path, limit := shops[i%len(shops)], paths[i%len(paths)], limits[i%len(limits)]
		file := filepath.Join(t.TempDir(), "ropeline.yaml")
		args := []string{"--config", file, "--shop", shop, "--path", path, "--name", name, "--capacity", limit.capacity, "--rate", limit.rate}
		if status, out, errs := command(t, nil, append([]string{"init"}, args...)...); status != exitOK || strings.Contains(out, "warning") {
			t.Errorf("init %q: exit %d, prints %q", args, status, out+errs)
			continue
		}
		if status, out, errs := command(t, nil, "validate", "--config", file); status != exitOK || strings.Contains(out, "warning") {
			t.Errorf("init %q: validate: exit %d, prints %q", args, status, out+errs)
			continue
		}
		c, err := config.Load(file, nil)
		if err != nil {
			t.Fatal(err)
		}
		a := c.Activities[0]
		if a.Name != name || a.Capacity != limit.inside || a.Rate.String() != limit.rate || c.Routes[0].Path != path || c.Upstreams[0].Servers[0].URL.String() != shop {
			t.Errorf("init %q: the file says %+v, %+v", args, a, c.Routes[0])
		}
	}
}

func TestInit_WhatIsCommentedOutIsValidToo(t *testing.T) {
	b := beginning{Shop: "http://127.0.0.1:9000", Path: "/drop", Name: "Sale", Capacity: "100", Rate: "60/m"}
	text := string(b.file())
	all := regexp.MustCompile(`(?m)^( *)# ( *[a-z_]+:( |$))`).ReplaceAllString(text, "$1$2")
	if strings.Count(all, "\n") != strings.Count(text, "\n") || all == text {
		t.Fatalf("nothing is commented out in\n%s", text)
	}
	c, err := config.Parse("ropeline.yaml", []byte(all), []string{"ADMIN_SECRET=" + adminSecret})
	if err != nil {
		t.Fatalf("%v in\n%s", err, all)
	}
	if c.Listen.HTTPS == "" || c.Activities[0].Order != "draw" || !c.Admin.JWT.Configured() || c.Upstreams[0].Health.Path == "" {
		t.Errorf("not all of it counts:\n%s", all)
	}
}

func TestInit_IsReadable(t *testing.T) {
	b := beginning{Shop: "http://127.0.0.1:9000", Path: "/drop", Name: "Sale", Capacity: "100", Rate: "60/m"}
	for line := range strings.Lines(string(b.file())) {
		line = strings.TrimSuffix(line, "\n")
		if len(line) > 100 || strings.TrimRight(line, " ") != line || strings.Contains(line, "\t") {
			t.Errorf("%q is too long, or ends in spaces", line)
		}
		if at := strings.Index(line, "# "); at > 10 && line[at-1] != ' ' {
			t.Errorf("the comment of %q belongs to its value", line)
		}
	}
}

func TestInit_BadFlagIsRefusedByName(t *testing.T) {
	good := []string{"--shop", "http://127.0.0.1:9000", "--path", "/drop"}
	file := filepath.Join(t.TempDir(), "ropeline.yaml")
	for _, c := range []struct{ flag, value string }{
		{"shop", "127.0.0.1:9000"}, {"shop", ""}, {"shop", "http://${NOT_SET}"}, {"path", "drop"}, {"path", "/drop/"}, {"path", "/_ropeline"},
		{"name", ""}, {"name", "a\nb"}, {"name", "\xff"}, {"capacity", "-1"}, {"capacity", "many"}, {"capacity", "1 # 2"}, {"rate", "5"}, {"rate", "0/s"},
	} {
		status, out, errs := command(t, nil, append(append([]string{"init", "--config", file}, good...), "--"+c.flag, c.value)...)
		if status != exitUsage || !strings.HasPrefix(errs, "ropeline: --"+c.flag+": ") || out != "" {
			t.Errorf("--%s %q: exit %d, prints %q", c.flag, c.value, status, out+errs)
		}
	}
	for _, missing := range []struct {
		flag string
		args []string
	}{{"shop", good[2:]}, {"path", good[:2]}} {
		if status, _, errs := command(t, nil, append([]string{"init", "--config", file}, missing.args...)...); status != exitUsage || !strings.HasPrefix(errs, "ropeline: --"+missing.flag+": ") {
			t.Errorf("without --%s: exit %d, prints %q", missing.flag, status, errs)
		}
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is written all the same")
	}
}

func TestInit_FileThatIsThereIsOverwrittenByForceAlone(t *testing.T) {
	file := write(t, strings.Repeat(shopOnly, 1000))
	args := []string{"init", "--config", file, "--shop", "http://127.0.0.1:9000", "--path", "/drop"}
	if status, _, errs := command(t, nil, args...); status != exitRefused || !strings.Contains(errs, "--force") {
		t.Errorf("exit %d, prints %q", status, errs)
	}
	if text, _ := os.ReadFile(file); string(text) != strings.Repeat(shopOnly, 1000) {
		t.Error("the file is not what it was")
	}
	if status, _, errs := command(t, nil, append(args, "--force")...); status != exitOK {
		t.Errorf("--force: exit %d, prints %q", status, errs)
	}
	if status, out, _ := command(t, nil, "validate", "--config", file); status != exitOK {
		t.Errorf("--force: %s", out)
	}
}

func TestInit_AsksAgainOnATerminal(t *testing.T) {
	terminal, person := openTerminal(t)
	file := filepath.Join(t.TempDir(), "ropeline.yaml")
	if _, err := io.WriteString(person, "shop\nhttps://shop.internal\n\nmany\n40\n5\n\n"); err != nil {
		t.Fatal(err)
	}
	root := commands(nil)
	var out bytes.Buffer
	root.SetIn(terminal)
	root.SetOut(&out)
	root.SetArgs([]string{"init", "--config", file, "--path", "/tickets"})
	if err := root.ExecuteContext(t.Context()); err != nil {
		t.Fatalf("%v: %s", err, &out)
	}
	for question, times := range map[string]int{"shop itself": 2, "Which path": 0, "waiting visitors": 1, "inside at once": 2, "per s, m or h": 2} {
		if got := strings.Count(out.String(), question); got != times {
			t.Errorf("asks %q %d times, want %d:\n%s", question, got, times, &out)
		}
	}
	c, err := config.Load(file, nil)
	if err != nil {
		t.Fatal(err)
	}
	if a := c.Activities[0]; c.Upstreams[0].Servers[0].URL.Host != "shop.internal" || c.Routes[0].Path != "/tickets" || a.Name != "Sale" || a.Capacity != 40 || a.Rate.String() != "60/m" {
		t.Errorf("the file says %+v, %+v", a, c.Routes[0])
	}
}

func TestInit_NothingIsWrittenForAPersonWhoLeaves(t *testing.T) {
	terminal, person := openTerminal(t)
	file := filepath.Join(t.TempDir(), "ropeline.yaml")
	if _, err := io.WriteString(person, "http://127.0.0.1:9000\n\x04"); err != nil { // end of input
		t.Fatal(err)
	}
	root := commands(nil)
	root.SetIn(terminal)
	root.SetOut(io.Discard)
	root.SetArgs([]string{"init", "--config", file})
	if err := root.ExecuteContext(t.Context()); exitStatus(err) != exitRefused || !strings.Contains(err.Error(), "nothing is written") {
		t.Errorf("got %v", err)
	}
	if _, err := os.Stat(file); err == nil {
		t.Error("the file is written all the same")
	}
}
