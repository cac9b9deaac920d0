package main

import (
	"strings"
	"testing"
	"time"
)

func TestPass_PrintsALineForEach(t *testing.T) {
	var broken error
	environ := []string{"ROPELINE_ADMIN_URL=" + openAdmin(t, &broken), "ROPELINE_ADMIN_TOKEN=" + token(t, "operator")}
	until := time.Now().Add(time.Hour).Format(time.RFC3339)
	ids := map[string]bool{}
	for _, c := range []struct {
		args   []string
		lines  int
		before string // the token, in a line
	}{
		{nil, 1, "\t"},
		{[]string{"--count", "1003", "--uses", "5", "--before-start"}, 1003, "\t"},
		{[]string{"--link", "https://shop.example.com"}, 1, "\thttps://shop.example.com/?ropeline-pass="},
		{[]string{"--link", "https://shop.example.com/drop?a=1", "--count", "2"}, 2, "\thttps://shop.example.com/drop?a=1&ropeline-pass="},
	} {
		status, out, errs := command(t, environ, append([]string{"token", "pass", "--activity", "123", "--until", until}, c.args...)...)
		lines := strings.Split(strings.TrimSuffix(out, "\n"), "\n")
		if status != exitOK || len(lines) != c.lines {
			t.Fatalf("%v: exit %d, %d lines, %s; want %d", c.args, status, len(lines), errs, c.lines)
		}
		for _, line := range lines {
			id, token, ok := strings.Cut(line, c.before)
			if !ok || ids[id] || strings.Count(token, ".") != 2 {
				t.Errorf("%v: prints %q", c.args, line)
			}
			ids[id] = true
		}
	}
}

func TestPass_ExitStatusTellsHowItWent(t *testing.T) {
	var broken error
	environ := []string{"ROPELINE_ADMIN_URL=" + openAdmin(t, &broken), "ROPELINE_ADMIN_TOKEN=" + token(t, "operator")}
	until := time.Now().Add(time.Hour).Format(time.RFC3339)
	for _, c := range []struct {
		args string
		want int
		says string
	}{
		{"--activity 123 --revoke MOWQSRJ3NEDNRZU3J23ZX5AVJH", exitOK, "pass MOWQSRJ3NEDNRZU3J23ZX5AVJH is revoked"},
		{"--activity 123 --revoke ABC", exitRefused, "is not the id of a pass"},
		{"--activity 124 --until " + until, exitRefused, "ACTIVITY_NOT_FOUND"},
		{"--activity 123 --until 2020-01-01T00:00:00Z", exitRefused, "until"},
		{"--activity 123 --uses 0 --until " + until, exitRefused, "uses"},
		{"--activity 123 --until " + until + " --token " + token(t, "viewer"), exitRefused, "operator"},
		{"--activity 123", exitUsage, "--until"},
		{"--activity 123 --revoke ABC --until " + until, exitUsage, "--revoke"},
		{"--until " + until, exitUsage, "--activity"},
		{"--activity drop --until " + until, exitUsage, `"drop"`},
		{"--activity 123 --until tomorrow", exitUsage, "tomorrow"},
		{"--activity 123 --count 0 --until " + until, exitUsage, "--count"},
		{"--activity 123 --link shop.example.com --until " + until, exitUsage, "--link"},
	} {
		status, out, errs := command(t, environ, append([]string{"token", "pass"}, strings.Fields(c.args)...)...)
		if status != c.want || !strings.Contains(out+errs, c.says) {
			t.Errorf("ropeline token pass %s: exit %d, prints %q; want exit %d and %q", c.args, status, out+errs, c.want, c.says)
		}
	}
}
