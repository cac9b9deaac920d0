package main

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// What is told after the draw of docs/draw.md.
const (
	exampleSeed       = "fe3dc8b85dd630b25f7a6883636635f0356fe632d4226f95729e1b0f9de7af89"
	exampleCommitment = "99c4ff1b01648b1826bb3fb03109d0c9341ea6e24b54b6404e30af7e130767d9"
)

func TestDraw_FindsNumbersAgainAndRefusesWhatIsNotTheDraw(t *testing.T) {
	t.Parallel()
	good := []string{"--seed", exampleSeed, "--commitment", exampleCommitment, "--n", "64"}
	for _, c := range []struct {
		args []string
		want int
		says string
	}{
		{append([]string{"verify", "--index", "0"}, good...), exitOK, "index 0 has number 55 of 64\n"},
		{append([]string{"verify", "--index", "3", "--number", "60"}, good...), exitOK, "index 3 has number 60 of 64\n"},
		{append([]string{"verify", "--index", "3", "--number", "61"}, good...), exitRefused, "number 60 of 64, not 61"},
		{append([]string{"verify", "--index", "64"}, good...), exitUsage, "--index"},
		{append([]string{"verify"}, good...), exitUsage, "--index"},
		{[]string{"verify", "--index", "0", "--n", "64", "--seed", exampleSeed}, exitUsage, "--commitment"},
		{[]string{"verify", "--index", "0", "--n", "64", "--seed", "beef", "--commitment", exampleCommitment}, exitUsage, "--seed"},
		{[]string{"verify", "--index", "0", "--n", "64", "--seed", exampleCommitment, "--commitment", exampleCommitment}, exitRefused, "not of this commitment"},
		{[]string{"verify", "--index", "0", "--seed", exampleSeed, "--commitment", exampleCommitment}, exitUsage, "--n"},
		{append([]string{"list", "--count", "4"}, good...), exitOK, "0\t55\n1\t62\n2\t51\n3\t60\n"},
		{append([]string{"list", "--from", "62"}, good...), exitOK, "62\t29\n63\t7\n"},
		{append([]string{"list", "--from", "64"}, good...), exitUsage, "--from"},
		{append([]string{"list", "--count", "-1"}, good...), exitUsage, "--count"},
	} {
		got, out, errs := command(t, nil, append([]string{"draw"}, c.args...)...)
		if got != c.want || c.want == exitOK && out != c.says || !strings.Contains(out+errs, c.says) {
			t.Errorf("ropeline draw %v: exit %d, prints %q; want exit %d and %q", c.args, got, out+errs, c.want, c.says)
		}
	}
}

func TestDraw_AsksTheGateway(t *testing.T) {
	t.Parallel()
	var broken error
	environ := []string{"ROPELINE_ADMIN_URL=" + openAdmin(t, &broken), "ROPELINE_ADMIN_TOKEN=" + token(t, "operator")}
	for _, c := range []struct {
		args []string
		want int
		says string
	}{
		{[]string{"commit", "123"}, exitRefused, "committed to no draw"},
		{[]string{"commit", "x"}, exitUsage, "not the id of an activity"},
		{[]string{"beacon", "123", "4 8 15"}, exitRefused, "CONFLICT: This activity has no draw."},
		{[]string{"beacon", "123"}, exitUsage, "arg"},
	} {
		got, out, errs := command(t, environ, append([]string{"draw"}, c.args...)...)
		if got != c.want || !strings.Contains(out+errs, c.says) {
			t.Errorf("ropeline draw %v: exit %d, prints %q; want exit %d and %q", c.args, got, out+errs, c.want, c.says)
		}
	}
}

func TestDraw_ShowsTheCommitmentAndFinishesTheDraw(t *testing.T) {
	t.Parallel()
	var broken error
	settings := admission.Settings{
		Limits: admission.Limits{
			Mode: admission.ModeAuto, Burst: 1, Claim: time.Minute, Absence: time.Minute, Idle: time.Minute, Max: time.Minute,
			Draw: true, Prequeue: time.Hour, StartAt: time.Now().Add(2 * time.Second),
		},
		Beacon: "the lottery",
	}
	environ := []string{"ROPELINE_ADMIN_URL=" + openAdminOf(t, &broken, settings), "ROPELINE_ADMIN_TOKEN=" + token(t, "operator")}
	draw := func(args ...string) (int, string) {
		got, out, errs := command(t, environ, append([]string{"draw"}, args...)...)
		return got, out + errs
	}
	before := regexp.MustCompile(`^commitment  ([0-9a-f]{64})\nsource      the lottery\n$`)
	got, said := draw("commit", "123")
	if got != exitOK || !before.MatchString(said) {
		t.Fatalf("before the start: exit %d, prints %q", got, said)
	}
	commitment := before.FindStringSubmatch(said)[1]
	if got, said := draw("beacon", "123", "4 8 15"); got != exitRefused || !strings.Contains(said, "start") {
		t.Errorf("a value before the start: exit %d, prints %q", got, said)
	}
	within := func(what string, is func() bool) {
		t.Helper()
		for end := time.Now().Add(20 * time.Second); !is(); <-time.After(50 * time.Millisecond) {
			if time.Now().After(end) {
				t.Fatalf("still not %s", what)
			}
		}
	}
	within("closed", func() bool { got, said = draw("beacon", "123", " 4 8 15 "); return got == exitOK })
	if said != "activity 123 is drawn by 4 8 15\n" {
		t.Errorf("the value: prints %q", said)
	}
	after := regexp.MustCompile(`^commitment  ` + commitment + `\nsource      the lottery\nn           64\nbeacon      4 8 15\nseed        ([0-9a-f]{64})\n$`)
	within("drawn", func() bool { _, said = draw("commit", "123"); return after.MatchString(said) })
	if got, said := draw("verify", "--commitment", commitment, "--seed", after.FindStringSubmatch(said)[1], "--beacon", "4 8 15", "--n", "64", "--index", "0"); got != exitOK {
		t.Errorf("what was shown is refused: exit %d, prints %q", got, said)
	}
}

// What docs/draw.md shows is what happens.
func TestDraw_TheDocumentsExampleIsTrue(t *testing.T) {
	t.Parallel()
	text, err := os.ReadFile("../../docs/draw.md")
	if err != nil {
		t.Fatal(err)
	}
	ran := 0
	for _, shown := range regexp.MustCompile("(?s)```console\n\\$ ([^\n]+)\n(.*?)```").FindAllStringSubmatch(string(text), -1) {
		line, want := shown[1], shown[2]
		got := ""
		switch args := strings.Fields(line); args[0] {
		case "ropeline":
			_, got, _ = command(t, nil, args[1:]...)
		case "printf":
			seed, err := hex.DecodeString(args[1])
			if err != nil {
				t.Fatal(err)
			}
			got = fmt.Sprintf("%x  -\n", sha256.Sum256(seed))
		default:
			t.Fatalf("%s is a command that this test does not know", line)
		}
		if ran++; got != want {
			t.Errorf("%s prints\n%s, and the document says\n%s", line, got, want)
		}
	}
	if ran != 3 {
		t.Errorf("%d examples ran, want three", ran)
	}
}
