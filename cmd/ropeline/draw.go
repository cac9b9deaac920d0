package main

import (
	"bufio"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ropeline/ropeline/admission"
)

func drawCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "draw",
		Short: "Show, finish and check the draw of an activity",
		Long: `Show, finish and check the draw of an activity. commit and beacon ask a running
gateway; verify and list find numbers again by what everyone is told after the
draw, and ask no one.

Exit status: 0 done or true, 1 refused or untrue, 2 not called as it should be,
3 the gateway does not answer.`,
		Example: `  ropeline draw commit 123
  ropeline draw verify --seed $SEED --commitment $COMMITMENT --n 5000 --index 41`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(drawCommit(environ), drawBeacon(environ), drawVerify(), drawList())
	return cmd
}

// drawTold is a draw as the admin API tells it.
type drawTold struct {
	Draw *struct {
		Commitment string  `json:"commitment"`
		Seed       *string `json:"seed"`
		N          *int64  `json:"n"`
		Beacon     *struct {
			Source string  `json:"source"`
			Value  *string `json:"value"`
		} `json:"beacon"`
	} `json:"draw"`
}

func drawCommit(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "commit ACTIVITY",
		Short: "Show what an activity's draw is committed to",
		Long: `Show what an activity's draw is committed to: the SHA-256 of its seed, and where
a public value will come from, if one will. After the draw the seed, the value
and the number of places are shown, too.

` + remoteStatus,
		Example: `  ropeline draw commit 123`,
		Args:    cobra.ExactArgs(1),
	}
	gateway := remoteFlags(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := activityPath(args[0])
		if err != nil {
			return err
		}
		var told drawTold
		if err := gateway.ask(cmd.Context(), http.MethodGet, path+"/draw", &told); err != nil {
			return err
		}
		d := told.Draw
		if d == nil {
			return fmt.Errorf("activity %s is committed to no draw", args[0])
		}
		var b strings.Builder
		fmt.Fprintf(&b, "commitment  %s\n", d.Commitment)
		if d.Beacon != nil {
			fmt.Fprintf(&b, "source      %s\n", d.Beacon.Source)
		}
		if d.N != nil {
			fmt.Fprintf(&b, "n           %d\n", *d.N)
		}
		if d.Beacon != nil && d.Beacon.Value != nil {
			fmt.Fprintf(&b, "beacon      %s\n", *d.Beacon.Value)
		}
		if d.Seed != nil {
			fmt.Fprintf(&b, "seed        %s\n", *d.Seed)
		}
		_, err = fmt.Fprint(cmd.OutOrStdout(), b.String())
		return err
	}
	return cmd
}

func drawBeacon(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "beacon ACTIVITY VALUE",
		Short: "Enter the public value that a draw waits for",
		Long: `Enter the public value that a draw waits for, as its source published it. It can
be entered once the start has come, and then never changes. Needs the role
operator.

` + remoteStatus,
		Example: `  ropeline draw beacon 123 04-11-19-23-38-42`,
		Args:    cobra.ExactArgs(2),
	}
	gateway := remoteFlags(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := activityPath(args[0])
		if err != nil {
			return err
		}
		value := strings.TrimSpace(args[1])
		var entered struct {
			Value string `json:"value"`
		}
		if err := gateway.send(cmd.Context(), http.MethodPost, path+"/draw/beacon", map[string]string{"value": value}, &entered); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "activity %s is drawn by %s\n", args[0], entered.Value)
		return err
	}
	return cmd
}

// lotsFlags give a command what finds the numbers of a draw again.
type lotsFlags struct {
	seed, commitment, beacon string
	n                        int64
}

func (f *lotsFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.seed, "seed", "", "the `seed`, shown after the draw")
	cmd.Flags().StringVar(&f.commitment, "commitment", "", "the `commitment`, shown before the start")
	cmd.Flags().StringVar(&f.beacon, "beacon", "", "the public `value` of the draw; empty: it has none")
	cmd.Flags().Int64Var(&f.n, "n", 0, "how many places are drawn")
}

// lots returns the numbers of a draw. A seed that is not of its commitment makes
// none.
func (f *lotsFlags) lots() (*admission.Lots, error) {
	seed, err := admission.ParseSeed(f.seed)
	if err != nil {
		return nil, exit{exitUsage, fmt.Errorf("--seed: %w", err)}
	}
	if f.commitment == "" {
		return nil, exit{exitUsage, errors.New("--commitment: give what was shown before the start; without it a seed proves nothing")}
	}
	if !strings.EqualFold(f.commitment, seed.Commitment()) {
		return nil, fmt.Errorf("the seed is not of this commitment: its SHA-256 is %s", seed.Commitment())
	}
	lots, err := admission.NewLots(seed, f.beacon, f.n)
	if err != nil {
		return nil, exit{exitUsage, fmt.Errorf("--n: %w", err)}
	}
	return lots, nil
}

func drawVerify() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "verify",
		Short: "Find the number of an index again",
		Long: `Find the number of an index again, by the seed, the value and the number of
places that everyone is told after the draw. A seed that is not of the
commitment shown before the start, or another number than --number, is refused.

Exit status: 0 it is so, 1 it is not, 2 not called as it should be.`,
		Example: `  ropeline draw verify --seed $SEED --commitment $COMMITMENT --n 5000 --index 41 --number 812`,
		Args:    cobra.NoArgs,
	}
	var f lotsFlags
	f.add(cmd)
	index := cmd.Flags().Int64("index", -1, "the `index` of a visitor, from 0")
	number := cmd.Flags().Int64("number", 0, "the `number` that the visitor was told; 0: it is only found")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		lots, err := f.lots()
		if err != nil {
			return err
		}
		if *index < 0 || *index >= lots.N() {
			return exit{exitUsage, fmt.Errorf("--index: %d is not within 0 and %d", *index, lots.N()-1)}
		}
		found := lots.Number(*index)
		if *number != 0 && *number != found {
			return fmt.Errorf("index %d has number %d of %d, not %d", *index, found, lots.N(), *number)
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "index %d has number %d of %d\n", *index, found, lots.N())
		return err
	}
	return cmd
}

func drawList() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "list",
		Short: "List the numbers of indexes",
		Long: `List index and number, a line for each index of a range, by what everyone is
told after the draw.

Exit status: 0 ok, 1 the seed is not of the commitment, 2 not called as it
should be.`,
		Example: `  ropeline draw list --seed $SEED --commitment $COMMITMENT --n 5000 --from 100 --count 10`,
		Args:    cobra.NoArgs,
	}
	var f lotsFlags
	f.add(cmd)
	from := cmd.Flags().Int64("from", 0, "the first `index`")
	count := cmd.Flags().Int64("count", 0, "how `many`; 0: all that follow")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		lots, err := f.lots()
		if err != nil {
			return err
		}
		if *from < 0 || *from >= lots.N() {
			return exit{exitUsage, fmt.Errorf("--from: %d is not within 0 and %d", *from, lots.N()-1)}
		}
		if *count < 0 {
			return exit{exitUsage, fmt.Errorf("--count: %d is below 0", *count)}
		}
		end := lots.N()
		if *count > 0 {
			end = min(end, *from+min(*count, end))
		}
		out := bufio.NewWriter(cmd.OutOrStdout())
		for index := *from; index < end; index++ {
			if _, err := fmt.Fprintf(out, "%d\t%d\n", index, lots.Number(index)); err != nil {
				return err
			}
		}
		return out.Flush()
	}
	return cmd
}
