package main

import (
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
)

func manCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "man",
		Short: "Print the manual page",
		Long: `Print the manual page, of all commands, in roff.

Exit status: 0 ok, 2 not called as it should be.`,
		Example: `  ropeline man | man -l -
  ropeline man > /usr/local/share/man/man1/ropeline.1`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return writeMan(cmd.OutOrStdout(), cmd.Root()) },
	}
}

// writeMan writes a manual page of a tree of commands.
func writeMan(out io.Writer, root *cobra.Command) error {
	var b strings.Builder
	fmt.Fprintf(&b, ".TH ROPELINE 1 \"\" %s\n", roffArgument("ropeline "+version()))
	fmt.Fprintf(&b, ".SH NAME\nropeline \\- %s\n", roff(strings.ToLower(root.Short[:1])+root.Short[1:]))
	b.WriteString(".SH SYNOPSIS\n.B ropeline\n.I command\n.RI [ flags ]\n.SH DESCRIPTION\n")
	writeParagraphs(&b, root.Long)
	b.WriteString(".SH COMMANDS\n")
	for _, cmd := range described(root)[1:] {
		fmt.Fprintf(&b, ".SS %s\n", roffArgument(useLine(cmd)))
		writeParagraphs(&b, cmd.Long)
		for _, f := range flagsOf(cmd) {
			kind, usage := pflag.UnquoteUsage(f)
			if text := defaultOf(f); text != "" {
				usage += " (default " + text + ")"
			}
			fmt.Fprintf(&b, ".TP\n.B \\-\\-%s\n%s\n", roff(strings.TrimSpace(f.Name+" "+kind)), roff(usage))
		}
		fmt.Fprintf(&b, ".PP\n.EX\n%s\n.EE\n", roff(cmd.Example))
	}
	b.WriteString(".SH ENVIRONMENT\n")
	for _, v := range variables {
		fmt.Fprintf(&b, ".TP\n.B %s\n%s\n", roff(v.name), roff(v.meaning))
	}
	b.WriteString(".SH FILES\n.TP\n.I ropeline.yaml\nThe configuration, in the working directory.\n")
	_, err := io.WriteString(out, b.String())
	return err
}

// variables of the environment that commands read themselves.
var variables = []struct{ name, meaning string }{
	{"ROPELINE_CONFIG", "The YAML file, where --config is not given."},
	{"ROPELINE_ADMIN_URL", "The admin listener, where --admin is not given."},
	{"ROPELINE_ADMIN_TOKEN", "The token of the admin API, where --token is not given."},
	{"ROPELINE_…", "The path of a key in capitals, as ROPELINE_LISTEN_HTTP, overrides the file."},
}

// described are a command and all below it that people are told of.
func described(cmd *cobra.Command) []*cobra.Command {
	all := []*cobra.Command{cmd}
	for _, child := range cmd.Commands() {
		if child.IsAvailableCommand() && child.Name() != "help" {
			all = append(all, described(child)...)
		}
	}
	return all
}

// flagsOf are the flags of a command, but --help.
func flagsOf(cmd *cobra.Command) (all []*pflag.Flag) {
	cmd.NonInheritedFlags().VisitAll(func(f *pflag.Flag) {
		if !f.Hidden && f.Name != "help" {
			all = append(all, f)
		}
	})
	return all
}

// useLine shows how a command is called. Cobra's own changes once it has run,
// because that gives it --help.
func useLine(cmd *cobra.Command) string {
	line := strings.TrimSuffix(cmd.UseLine(), " [flags]")
	if len(flagsOf(cmd)) > 0 {
		line += " [flags]"
	}
	return line
}

// defaultOf says what a flag is where it is not given; "": nothing, or no.
func defaultOf(f *pflag.Flag) string {
	switch f.DefValue {
	case "", "false", "0":
		return ""
	}
	return f.DefValue
}

func writeParagraphs(b *strings.Builder, text string) {
	for paragraph := range strings.SplitSeq(text, "\n\n") {
		fmt.Fprintf(b, ".PP\n%s\n", roff(paragraph))
	}
}

// roff gives text that stands for itself.
func roff(text string) string {
	text = strings.NewReplacer(`\`, `\e`, "-", `\-`, "…", "...", "'", `\(aq`, "`", `\(ga`, "~", `\(ti`, "^", `\(ha`).Replace(text)
	lines := strings.Split(text, "\n")
	for i, line := range lines {
		if strings.HasPrefix(line, ".") {
			lines[i] = `\&` + line
		}
	}
	return strings.Join(lines, "\n")
}

// roffArgument gives text as one argument of a request.
func roffArgument(text string) string { return `"` + strings.ReplaceAll(roff(text), `"`, `\(dq`) + `"` }
