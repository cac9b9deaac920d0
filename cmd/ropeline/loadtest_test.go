package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/ropeline/ropeline/crowd"
)

func TestLoadtest_TellsEveryTenSecondsWhereNobodySits(t *testing.T) {
	var told bytes.Buffer
	beat := progress(&told, func() crowd.Second { return crowd.Second{Requests: 70, P50: 1, P99: 20, Errors: 4} })
	for second := range crowd.Micros(25) {
		beat(crowd.Standing{At: (second + 1) * 1_000_000, Came: 5, Planned: 9, Lining: 3, Inside: 2, Behind: int64(second) / 20})
	}
	lines := strings.Split(strings.TrimSpace(told.String()), "\n")
	if len(lines) != 2 || !strings.Contains(lines[0], "10 s  came 5 of 9  in line 3  inside 2  gone 0  70 requests/s, p50 1 ms, p99 20 ms, errors 4") || !strings.HasPrefix(lines[1], "20 s") {
		t.Errorf("in 25 seconds it told\n%s", &told)
	}
}

func TestLoadtest_ShowsInPlaceOnATerminal(t *testing.T) {
	terminal, person := openTerminal(t)
	beat := progress(terminal, func() crowd.Second { return crowd.Second{} })
	beat(crowd.Standing{At: 1_000_000})
	beat(crowd.Standing{At: 2_000_000, Lining: 41})
	seen := make([]byte, 4096)
	for n := 0; ; {
		more, err := person.Read(seen[n:])
		if err != nil {
			t.Fatal(err)
		}
		n += more
		if text := string(seen[:n]); strings.Count(text, clearTerminal) == 2 && strings.Contains(text, "in line 41") {
			return
		}
	}
}

func TestLoadtest_WhatIsSaidOfTheLimitsCounts(t *testing.T) {
	var f limitsFlags
	cmd := &cobra.Command{}
	f.add(cmd)
	if err := cmd.ParseFlags([]string{"--capacity", "0", "--rate", "2/s", "--hold-place", "1m"}); err != nil {
		t.Fatal(err)
	}
	got := f.over(crowd.Limits{Capacity: 9, RatePerHour: 9, Burst: 9, Absence: 9, HoldPlace: crowd.Unknown})
	if want := (crowd.Limits{Capacity: 0, RatePerHour: 7200, Burst: 9, Absence: 9, HoldPlace: 60_000}); got != want {
		t.Errorf("the limits are %+v, want %+v", got, want)
	}
}
