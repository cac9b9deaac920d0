package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

// passesTogether is how many passes a gateway makes at once, and mostPasses how
// many a command does.
const (
	passesTogether = 1000
	mostPasses     = 100_000
)

// passKind is what the passes of one command are like.
type passKind struct {
	Count       int64     `json:"count"`
	Uses        int64     `json:"uses"`
	Until       time.Time `json:"until"`
	BeforeStart bool      `json:"before_start"`
}

func passCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "pass",
		Short: "Make passes, whose holders are let in before the line",
		Long: `Have a gateway make passes for staff or a presale, and print a line for each:
its id, a tab, and its token, or with --link a link to hand out. Who opens the
link is let in before everybody who waits, as soon as there is a seat within
capacity and rate; each session that begins so takes one use. With
--before-start that goes for the time before start_at, too. Whoever has the link
can use it: hand it out like a ticket. --revoke has a pass let nobody in any
more; who is inside by it stays. Needs the role operator.

` + remoteStatus,
		Example: `  ropeline token pass --activity 123 --until 2026-12-01T00:00:00Z --count 500 --link https://shop.example.com/drop
  ropeline token pass --activity 123 --until 2026-12-01T00:00:00Z --uses 20 --before-start
  ropeline token pass --activity 123 --revoke MOWQSRJ3NEDNRZU3J23ZX5AVJH`,
		Args: cobra.NoArgs,
	}
	gateway := remoteFlags(cmd, environ)
	activity := cmd.Flags().String("activity", "", "the `id` of the activity that they are for")
	var kind passKind
	cmd.Flags().Int64Var(&kind.Uses, "uses", 1, "how many sessions each pass begins")
	cmd.Flags().Int64Var(&kind.Count, "count", 1, "how many passes")
	cmd.Flags().BoolVar(&kind.BeforeStart, "before-start", false, "let in before start_at, too")
	until := cmd.Flags().String("until", "", "the `time` of their end, RFC 3339 with offset, within 366 days")
	link := cmd.Flags().String("link", "", "print links to this `address` of the shop in place of tokens")
	revoke := cmd.Flags().String("revoke", "", "the `id` of a pass to revoke, in place of making any")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if *activity == "" {
			return exit{exitUsage, errors.New("--activity: say which activity the passes are for")}
		}
		path, err := activityPath(*activity)
		if err != nil {
			return err
		}
		if (*revoke == "") == (*until == "") {
			return exit{exitUsage, errors.New("--until: say when the passes end, or by --revoke which one to revoke")}
		}
		if *revoke != "" {
			return gateway.revokePass(cmd.Context(), cmd.OutOrStdout(), path, *revoke)
		}
		if kind.Until, err = time.Parse(time.RFC3339, *until); err != nil {
			return exit{exitUsage, fmt.Errorf("--until: %q is not a time like 2026-12-01T00:00:00+01:00", *until)}
		}
		if kind.Count < 1 || kind.Count > mostPasses {
			return exit{exitUsage, fmt.Errorf("--count: %d is not within 1 and %d", kind.Count, mostPasses)}
		}
		show, err := passLink(*link)
		if err != nil {
			return err
		}
		return gateway.makePasses(cmd.Context(), cmd.OutOrStdout(), path, kind, show)
	}
	return cmd
}

// makePasses has passes made, as many at a time as one answer holds, and prints
// them.
func (r *remote) makePasses(ctx context.Context, to io.Writer, path string, kind passKind, show func(token string) string) error {
	out := bufio.NewWriter(to)
	for left := kind.Count; left > 0; left -= kind.Count {
		kind.Count = min(left, passesTogether)
		var made struct {
			Passes []struct {
				ID    string `json:"id"`
				Token string `json:"token"`
			} `json:"passes"`
		}
		if err := r.send(ctx, http.MethodPost, path+"/passes", kind, &made); err != nil {
			return errors.Join(err, out.Flush()) // those that were made are good
		}
		for _, p := range made.Passes {
			if _, err := fmt.Fprintf(out, "%s\t%s\n", p.ID, show(p.Token)); err != nil {
				return err
			}
		}
	}
	return out.Flush()
}

func (r *remote) revokePass(ctx context.Context, to io.Writer, path, id string) error {
	var ignored json.RawMessage
	if err := r.send(ctx, http.MethodPost, path+"/passes/revoke", map[string]string{"id": id}, &ignored); err != nil {
		return err
	}
	_, err := fmt.Fprintf(to, "pass %s is revoked\n", id)
	return err
}

// passLink returns what makes a link of a token; of an empty address the token
// itself.
func passLink(address string) (func(token string) string, error) {
	if address == "" {
		return func(token string) string { return token }, nil
	}
	u, err := url.Parse(address)
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Fragment != "" {
		return nil, exit{exitUsage, fmt.Errorf("--link: %q is not an address like https://shop.example.com/drop", address)}
	}
	if u.Path == "" {
		u.Path = "/"
	}
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	before := u.RawQuery
	return func(token string) string {
		with := *u
		with.RawQuery = before + "ropeline-pass=" + token
		return with.String()
	}, nil
}
