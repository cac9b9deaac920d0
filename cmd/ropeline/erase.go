package main

import (
	"fmt"
	"net/http"

	"github.com/spf13/cobra"
)

func eraseCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "erase IDENTITY",
		Short: "Take an identity out of the record",
		Long: `Take an identity out of the record of every activity, or of the activities of
the token's tenant: what the shop calls the visitor in a cookie, a header, a
claim or as user_hash. The entries stay, as of nobody. What the gateways have
not written yet is not reached. Needs the role admin and a database.

` + remoteStatus,
		Example: `  ropeline erase 5b0c9d7f`,
		Args:    cobra.ExactArgs(1),
	}
	gateway := remoteFlags(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		var done struct {
			Entries int64 `json:"entries"`
		}
		if err := gateway.send(cmd.Context(), http.MethodPost, "/api/v1/admin/erase", map[string]string{"identity": args[0]}, &done); err != nil {
			return err
		}
		_, err := fmt.Fprintf(cmd.OutOrStdout(), "erased from %d entries\n", done.Entries)
		return err
	}
	return cmd
}
