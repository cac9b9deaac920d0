package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/spf13/cobra"
)

// What a command's exit status means.
const (
	exitOK          = 0
	exitRefused     = 1 // refused or invalid
	exitUsage       = 2 // not called as it should be
	exitUnreachable = 3 // the gateway it talks to does not answer
)

// exit is an error that chooses the exit status.
type exit struct {
	status int
	err    error
}

func (e exit) Error() string { return e.err.Error() }
func (e exit) Unwrap() error { return e.err }

// misuse is a flag that its command does not have, or a value that it cannot have.
type misuse struct{ error }

// run is the whole program, for main and for tests: it returns the exit
// status. What a person reads goes to out, what went wrong to errs.
func run(ctx context.Context, args, environ []string, out, errs io.Writer) int {
	root := commands(environ)
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errs)
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	fmt.Fprintln(errs, "ropeline:", err)
	if misused(err) && cmd.HasParent() {
		fmt.Fprintf(errs, "usage: %s; %s --help tells more\n", useLine(cmd), cmd.CommandPath())
	}
	return exitStatus(err)
}

// misused tells whether err is about how a command was called, as far as that
// can be seen without running it.
func misused(err error) bool {
	var flag misuse
	return errors.As(err, &flag) || // cobra has no type for what follows
		strings.HasPrefix(err.Error(), "unknown command") || strings.HasPrefix(err.Error(), "accepts ")
}

func exitStatus(err error) int {
	var chosen exit
	switch {
	case errors.As(err, &chosen):
		return chosen.status
	case misused(err):
		return exitUsage
	}
	return exitRefused
}

// commands is the tree of all commands.
func commands(environ []string) *cobra.Command {
	root := &cobra.Command{
		Use:   "ropeline",
		Short: "A waiting room gateway",
		Long: `Ropeline stands in front of a shop as a reverse proxy. For the paths named in
its YAML file it lets in only as many visitors as the shop can take; everyone
else waits on a page with a fair place in line, and is let in by itself.

Exit status: 0 ok, 1 refused or invalid, 2 not called as it should be, 3 the
gateway it talks to does not answer.`,
		Example: `  ropeline init --shop http://127.0.0.1:9000 --path /drop
  ropeline validate
  ropeline run`,
		SilenceErrors: true,
		SilenceUsage:  true,

		SuggestionsMinimumDistance: 2,
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		Args:                       known,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return exit{exitUsage, errors.New("name a command; ropeline --help lists them")}
		},
	}
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse{err} })
	root.AddCommand(
		initCommand(environ), validateCommand(environ), previewCommand(environ), simulateCommand(environ), gatewayCommand(environ), healthcheckCommand(environ),
		statusCommand(environ), pauseCommand(environ), resumeCommand(environ), resetCommand(environ), eraseCommand(environ), reloadCommand(environ), drawCommand(environ),
		loadtestCommand(environ), tokenCommand(environ), completionCommand(), manCommand(), versionCommand(),
	)
	return root
}

// known refuses what is no command, and names the one that may be meant.
func known(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if like := root.SuggestionsFor(args[0]); len(like) > 0 {
		return fmt.Errorf("unknown command %q; did you mean %s?", args[0], like[0])
	}
	return fmt.Errorf("unknown command %q; ropeline --help lists them", args[0])
}

// variable returns a variable of an environment in the form of os.Environ, or
// otherwise where it is unset or empty.
func variable(environ []string, name, otherwise string) string {
	for _, entry := range environ {
		if value, ok := strings.CutPrefix(entry, name+"="); ok && value != "" {
			return value
		}
	}
	return otherwise
}

// configFlag gives a command its --config.
func configFlag(cmd *cobra.Command, environ []string) *string {
	return cmd.Flags().String("config", variable(environ, "ROPELINE_CONFIG", "ropeline.yaml"),
		"the YAML `file`; also $ROPELINE_CONFIG")
}
