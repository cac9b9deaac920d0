package main

import (
	"errors"
	"fmt"
	"regexp"
	"time"

	"github.com/spf13/cobra"

	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/web/api"
)

var tenantForm = regexp.MustCompile(`^[a-z0-9-]{1,50}$`)

func tokenCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "token",
		Short: "Make a token of the admin API, or passes for visitors",
		Long: `Make a token of the admin API, signed with admin.jwt.secret of the YAML file,
and print it alone. A viewer reads; an operator pauses, resumes and sets the
stock too; an admin may do everything. With --tenant it is good for the
activities of that tenant only. It logs in to the console, too. ropeline token
pass makes passes for visitors.

Exit status: 0 the token is printed, 1 the file is not valid or has no secret, 2
not called as it should be.`,
		Example: `  ropeline token --role operator --subject mei --ttl 8h
  export ROPELINE_ADMIN_TOKEN=$(ropeline token --subject mei)`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd, environ)
	role := cmd.Flags().String("role", string(api.Viewer), "viewer, operator or admin")
	tenant := cmd.Flags().String("tenant", "", "the one `tenant` it is good for; empty: all")
	subject := cmd.Flags().String("subject", "", "`who` will use it, for the audit")
	ttl := cmd.Flags().Duration("ttl", time.Hour, "how long it is good for")
	cmd.AddCommand(passCommand(environ))
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		claims := api.Claims{Subject: *subject, Role: api.Role(*role), TenantID: *tenant}
		switch claims.Role {
		case api.Viewer, api.Operator, api.Admin:
		default:
			return exit{exitUsage, fmt.Errorf("--role: %q is not viewer, operator or admin", *role)}
		}
		switch {
		case *subject == "":
			return exit{exitUsage, errors.New("--subject: say who will use the token, as the audit will tell")}
		case *tenant != "" && !tenantForm.MatchString(*tenant):
			return exit{exitUsage, fmt.Errorf("--tenant: %q is not a tenant: 1 to 50 lower-case letters, digits and dashes", *tenant)}
		case *ttl < time.Second:
			return exit{exitUsage, fmt.Errorf("--ttl: %v is shorter than a second", *ttl)}
		}
		loaded, err := config.Load(*path, environ)
		if err != nil {
			return err
		}
		by := loaded.Admin.JWT
		if by.Alg != "HS256" {
			return fmt.Errorf("admin.jwt.alg: is %s, whose private key only your issuer has; this command signs with HS256", by.Alg)
		}
		if by.Secret == (config.Secret{}) {
			return errors.New("admin.jwt.secret: is empty; set it to at least 32 random bytes, in the file or by ROPELINE_ADMIN_JWT_SECRET")
		}
		token, err := api.SignToken([]byte(by.Secret.Reveal()), by.Issuer, by.Audience, claims, time.Now().Add(*ttl))
		if err != nil {
			return err
		}
		_, err = fmt.Fprintln(cmd.OutOrStdout(), token)
		return err
	}
	return cmd
}
