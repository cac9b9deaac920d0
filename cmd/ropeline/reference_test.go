package main

import (
	"fmt"
	"os/exec"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/ropeline/ropeline/golden"
)

// commandReference describes a command and its flags in Markdown.
func commandReference(cmd *cobra.Command) string {
	var b strings.Builder
	name := strings.TrimPrefix(cmd.CommandPath(), "ropeline ")
	fmt.Fprintf(&b, "## %s\n\n%s.\n\n```\n%s\n```\n\n", name, cmd.Short, useLine(cmd))
	fmt.Fprintf(&b, "%s\n\n```\n%s\n```\n\n", strings.ReplaceAll(cmd.Long, "*", `\*`), strings.ReplaceAll(strings.TrimPrefix(cmd.Example, "  "), "\n  ", "\n"))
	var rows strings.Builder
	for _, f := range flagsOf(cmd) {
		kind, usage := pflag.UnquoteUsage(f)
		standard := defaultOf(f)
		if standard != "" {
			standard = "`" + standard + "`"
		}
		fmt.Fprintf(&rows, "| `%s` | %s | %s |\n", strings.TrimSpace("--"+f.Name+" "+kind), standard, usage)
	}
	if rows.Len() > 0 {
		b.WriteString("| flag | default | meaning |\n|---|---|---|\n" + rows.String() + "\n")
	}
	return b.String()
}

func TestReference_FollowsTheCommands(t *testing.T) {
	var b strings.Builder
	for _, cmd := range described(commands(nil))[1:] {
		b.WriteString(commandReference(cmd))
	}
	golden.OpenPart(t, "../../docs/commands.md", "commands").Hold(t, b.String())
}

func TestCommands_EachTeachesItsUse(t *testing.T) {
	root := commands(nil)
	for _, cmd := range described(root) {
		if cmd.Short == "" || !strings.Contains(cmd.Long, "Exit status: 0 ") || !strings.Contains(cmd.Example, "  "+root.Name()) {
			t.Errorf("%s: wants a Short, a Long that ends with the exit status, and an Example; has %q, %q, %q", cmd.CommandPath(), cmd.Short, cmd.Long, cmd.Example)
		}
		for line := range strings.SplitSeq(cmd.Long, "\n") {
			if len(line) > 80 {
				t.Errorf("%s: %q is too long for a terminal", cmd.CommandPath(), line)
			}
		}
		for _, f := range flagsOf(cmd) {
			if f.Usage == "" {
				t.Errorf("%s: --%s says nothing", cmd.CommandPath(), f.Name)
			}
		}
	}
}

// An example that no longer parses teaches a mistake.
func TestCommands_ExamplesNameCommandsAndFlagsThatThereAre(t *testing.T) {
	for _, cmd := range described(commands(nil)) {
		for line := range strings.SplitSeq(cmd.Example, "\n") {
			_, called, ok := strings.Cut(line, "ropeline ")
			if !ok {
				continue
			}
			called, _, _ = strings.Cut(called, " > ")
			called, _, _ = strings.Cut(called, " | ")
			root := commands(nil)
			found, args, err := root.Find(strings.Fields(strings.TrimSuffix(called, ")")))
			if err == nil {
				err = found.ParseFlags(args)
			}
			if err == nil {
				err = found.ValidateArgs(found.Flags().Args())
			}
			if err != nil {
				t.Errorf("%s: the example %q: %v", cmd.CommandPath(), line, err)
			}
		}
	}
}

func TestMan_TellsOfEveryCommandAndItsFlags(t *testing.T) {
	status, page, errs := command(t, nil, "man")
	if status != exitOK || errs != "" {
		t.Fatalf("exit %d: %s", status, errs)
	}
	for _, cmd := range described(commands(nil))[1:] {
		if !strings.Contains(page, ".SS "+roffArgument(useLine(cmd))+"\n") {
			t.Errorf("does not tell of %s", cmd.CommandPath())
		}
		for _, f := range flagsOf(cmd) {
			if !strings.Contains(page, `.B \-\-`+roff(f.Name)) {
				t.Errorf("%s: does not tell of --%s", cmd.CommandPath(), f.Name)
			}
		}
	}
}

func TestMan_IsRoffWithoutWarnings(t *testing.T) {
	groff, err := exec.LookPath("groff")
	if err != nil {
		t.Fatalf("groff is missing: run \"make deps\" (%v)", err)
	}
	_, page, _ := command(t, nil, "man")
	check := exec.CommandContext(t.Context(), groff, "-man", "-Tutf8", "-ww", "-z")
	check.Stdin = strings.NewReader(page)
	if out, err := check.CombinedOutput(); err != nil || len(out) > 0 {
		t.Errorf("%v: %s", err, out)
	}
}

func TestRoff_TextStandsForItself(t *testing.T) {
	for text, want := range map[string]string{
		`a \n`:          `a \en`,
		"--config":      `\-\-config`,
		".PP\n'br":      "\\&.PP\n\\(aqbr",
		"bind: [\"a\"]": "bind: [\"a\"]",
	} {
		if got := roff(text); got != want {
			t.Errorf("%q becomes %q, want %q", text, got, want)
		}
	}
}

func TestCompletion_IsWhatTheShellUnderstands(t *testing.T) {
	for _, shell := range []string{"bash", "zsh", "fish"} {
		status, script, errs := command(t, nil, "completion", shell)
		if status != exitOK || errs != "" || !strings.Contains(script, "ropeline") {
			t.Errorf("%s: exit %d: %s", shell, status, errs)
		}
		path, err := exec.LookPath(shell)
		if err != nil {
			t.Errorf("%s is missing: run \"make deps\" (%v)", shell, err)
			continue
		}
		check := exec.CommandContext(t.Context(), path, "-n")
		check.Stdin = strings.NewReader(script)
		if out, err := check.CombinedOutput(); err != nil {
			t.Errorf("%s does not read it: %v: %s", shell, err, out)
		}
	}
	if status, _, errs := command(t, nil, "completion", "cmd"); status != exitUsage || !strings.Contains(errs, "bash, zsh, fish") {
		t.Errorf("another shell: exit %d: %s", status, errs)
	}
	if status, out, _ := command(t, nil, "__complete", "comple"); status != exitOK || !strings.Contains(out, "completion") {
		t.Errorf("what the scripts call: exit %d: %s", status, out)
	}
}
