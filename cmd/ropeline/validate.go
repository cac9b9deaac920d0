package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/ropeline/ropeline/config"
)

func validateCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "validate",
		Short: "Check a YAML file and print every problem",
		Long: `Check a YAML file, with the environment as it is, and print every problem as
file:line:column: path: what.

Exit status: 0 the gateway would start on it, 1 it would not, 2 not called as it
should be.`,
		Example: `  ropeline validate
  ropeline validate --config /etc/ropeline/ropeline.yaml`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := config.Load(*path, environ)
		if err == nil {
			_, err = openWords(loaded)
		}
		if err == nil {
			_, err = openTemplates(loaded)
		}
		var problems config.Problems
		if errors.As(err, &problems) {
			for _, p := range problems {
				fmt.Fprintln(cmd.OutOrStdout(), p)
			}
			return exit{exitRefused, fmt.Errorf("%s is not valid: %s", *path, count(len(problems), "problem"))}
		}
		if err != nil {
			return err
		}
		for _, w := range loaded.Warnings {
			fmt.Fprintf(cmd.OutOrStdout(), "%s (warning)\n", w)
		}
		fmt.Fprintf(cmd.OutOrStdout(), "%s is valid: %s, %s, %s\n", *path,
			count(len(loaded.Activities), "activity"), count(len(loaded.Routes), "route"), count(len(loaded.Upstreams), "upstream"))
		return nil
	}
	return cmd
}

func count(n int, what string) string {
	switch {
	case n == 1:
		return "1 " + what
	case what == "activity":
		return fmt.Sprintf("%d activities", n)
	}
	return fmt.Sprintf("%d %ss", n, what)
}
