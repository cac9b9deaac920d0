package main

import (
	"fmt"
	"strings"

	"github.com/spf13/cobra"
)

func completionCommand() *cobra.Command {
	shells := []string{"bash", "zsh", "fish"}
	return &cobra.Command{
		Use:   "completion " + strings.Join(shells, "|"),
		Short: "Print what has a shell complete commands and flags",
		Long: `Print what has a shell complete commands and flags. Bash needs its package
bash-completion; zsh looks in the directories of its fpath.

Exit status: 0 ok, 2 not called as it should be.`,
		Example: `  ropeline completion bash > /etc/bash_completion.d/ropeline
  ropeline completion zsh > "${fpath[1]}/_ropeline"
  ropeline completion fish > ~/.config/fish/completions/ropeline.fish`,
		Args:      cobra.ExactArgs(1),
		ValidArgs: shells,
		RunE: func(cmd *cobra.Command, args []string) error {
			root, out := cmd.Root(), cmd.OutOrStdout()
			switch args[0] {
			case "bash":
				return root.GenBashCompletionV2(out, true)
			case "zsh":
				return root.GenZshCompletion(out)
			case "fish":
				return root.GenFishCompletion(out, true)
			}
			return exit{exitUsage, fmt.Errorf("%q is not one of the shells %s", args[0], strings.Join(shells, ", "))}
		},
	}
}
