package main

import (
	"fmt"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

func healthcheckCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "healthcheck",
		Short: "Ask a gateway whether it is ready, for containers without a shell",
		Long: `Ask a running gateway's admin listener whether it is ready for visitors.

Exit status: 0 it is, 1 it is not, 2 not called as it should be, 3 it does not
answer.`,
		Example: `  ropeline healthcheck
  ropeline healthcheck --admin http://10.0.0.5:8081`,
		Args: cobra.NoArgs,
	}
	admin := cmd.Flags().String("admin", variable(environ, "ROPELINE_ADMIN_URL", "http://127.0.0.1:8081"),
		"the admin listener's `URL`; also $ROPELINE_ADMIN_URL")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		address, err := url.JoinPath(*admin, "readyz")
		if err != nil {
			return exit{exitUsage, fmt.Errorf("--admin: %w", err)}
		}
		request, err := http.NewRequestWithContext(cmd.Context(), http.MethodGet, address, nil)
		if err != nil {
			return exit{exitUsage, fmt.Errorf("--admin: %w", err)}
		}
		client := http.Client{Timeout: 3 * time.Second}
		answer, err := client.Do(request)
		if err != nil {
			return exit{exitUnreachable, err}
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return exit{exitRefused, fmt.Errorf("%s answers %s", address, answer.Status)}
		}
		return nil
	}
	return cmd
}
