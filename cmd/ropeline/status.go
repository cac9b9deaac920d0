package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/signal"
	"strconv"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"
)

// lineStatus is what a person is shown of an activity's status.
type lineStatus struct {
	Activity struct {
		ID     int64  `json:"id"`
		Tenant string `json:"tenant_id"`
		Name   string `json:"name"`
		Mode   string `json:"mode"`
	} `json:"activity"`
	Queue struct {
		Issued   int64 `json:"queue_seq"`
		Released int64 `json:"release_seq"`
		Waiting  int64 `json:"queue_length"`
		Inside   int64 `json:"active_users"`
	} `json:"queue_metrics"`
	Realtime struct {
		Enter   float64 `json:"enter_rate"`
		Release float64 `json:"release_rate"`
	} `json:"realtime_stats"`
	Line struct {
		Stale bool `json:"stale"`
	} `json:"line"`
}

func statusCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "status [ACTIVITY]",
		Short: "Show how the lines of a gateway stand",
		Long: `Show how the lines of a gateway stand, or that of one activity: who waits and is
inside, the highest number given and released, and joins and releases per second
over the last minute. Needs the role viewer.

With --watch it is shown anew each second until it is interrupted, with the
gateway's health: in place on a terminal, one after the other elsewhere. A
gateway that stops answering meanwhile is asked again.

` + remoteStatus,
		Example: `  ropeline status
  ropeline status --watch
  ropeline status 123 --json`,
		Args: cobra.MaximumNArgs(1),
	}
	gateway := remoteFlags(cmd, environ)
	asJSON := cmd.Flags().Bool("json", false, "print a JSON array, one object per activity; with --watch one array a line")
	watched := cmd.Flags().Bool("watch", false, "show it anew each second")
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		out := cmd.OutOrStdout()
		show := func(ctx context.Context) error {
			all, err := gateway.status(ctx, args)
			if err != nil {
				return err
			}
			if *asJSON {
				return json.NewEncoder(out).Encode(all)
			}
			var text bytes.Buffer
			if *watched {
				health, err := gateway.health(ctx)
				if err != nil {
					return err
				}
				if isTerminal(out) {
					text.WriteString(clearTerminal)
				}
				fmt.Fprintf(&text, "%s  %s\n\n", time.Now().Format(time.TimeOnly), health)
			}
			if err := table(&text, all); err != nil {
				return err
			}
			if *watched {
				text.WriteByte('\n')
			}
			_, err = text.WriteTo(out)
			return err
		}
		if !*watched {
			return show(cmd.Context())
		}
		return watch(cmd.Context(), show, cmd.ErrOrStderr())
	}
	return cmd
}

// clearTerminal moves to the upper left and clears all behind it.
const clearTerminal = "\x1b[H\x1b[J"

// watch shows each second, until ctx ends or the process is interrupted. Once
// something was shown it outlives a gateway that does not answer.
func watch(ctx context.Context, show func(context.Context) error, errs io.Writer) error {
	ctx, stop := signal.NotifyContext(ctx, os.Interrupt)
	defer stop()
	tick := time.NewTicker(time.Second)
	defer tick.Stop()
	for shown := false; ; {
		err := show(ctx)
		var failed exit
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			shown = true
		case shown && errors.As(err, &failed) && failed.status == exitUnreachable:
			fmt.Fprintln(errs, "ropeline:", err)
		default:
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-tick.C:
		}
	}
}

// status asks how the line of one activity stands, or of all.
func (r *remote) status(ctx context.Context, args []string) ([]json.RawMessage, error) {
	var paths []string
	if len(args) == 1 {
		path, err := activityPath(args[0])
		if err != nil {
			return nil, err
		}
		paths = append(paths, path)
	} else {
		var err error
		if paths, err = r.activities(ctx); err != nil {
			return nil, err
		}
	}
	all := make([]json.RawMessage, len(paths))
	for i, path := range paths {
		if err := r.ask(ctx, http.MethodGet, path+"/status", &all[i]); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// health asks how the gateway is, and gives it in one line.
func (r *remote) health(ctx context.Context) (string, error) {
	text, told, err := r.exchange(ctx, http.MethodGet, "/health", nil)
	if err != nil {
		return "", err
	}
	var h struct {
		Status       string `json:"status"`
		Version      string `json:"version"`
		Dependencies []struct {
			Name    string  `json:"name"`
			State   string  `json:"state"`
			Latency float64 `json:"latency_ms"`
			Error   string  `json:"error"`
		} `json:"dependencies"`
	}
	if err := json.Unmarshal(text, &h); err != nil || h.Status == "" {
		return "", exit{exitRefused, fmt.Errorf("%s, and not as the health of a gateway", told)}
	}
	line := "gateway " + h.Version + " " + h.Status
	for _, d := range h.Dependencies {
		line += fmt.Sprintf(", %s %s", d.Name, d.State)
		if d.Error != "" {
			line += " (" + d.Error + ")"
		} else {
			line += fmt.Sprintf(" (%.1f ms)", d.Latency)
		}
	}
	return line, nil
}

// activities are the paths of all that the gateway serves, by id.
func (r *remote) activities(ctx context.Context) ([]string, error) {
	var paths []string
	for page, pages := 1, 1; page <= pages; page++ {
		var list struct {
			Activities []struct {
				ID int64 `json:"id"`
			} `json:"activities"`
			Pagination struct {
				Pages int `json:"pages"`
			} `json:"pagination"`
		}
		if err := r.ask(ctx, http.MethodGet, fmt.Sprintf("%s?limit=100&page=%d", activitiesPath, page), &list); err != nil {
			return nil, err
		}
		for _, a := range list.Activities {
			paths = append(paths, activitiesPath+"/"+strconv.FormatInt(a.ID, 10))
		}
		pages = list.Pagination.Pages
	}
	return paths, nil
}

// table prints the status of activities for people.
func table(out io.Writer, all []json.RawMessage) error {
	w := tabwriter.NewWriter(out, 0, 0, 2, ' ', 0)
	fmt.Fprintln(w, "ID\tTENANT\tMODE\tWAITING\tINSIDE\tISSUED\tRELEASED\tENTER/s\tRELEASE/s\tNAME")
	for _, text := range all {
		var s lineStatus
		if err := json.Unmarshal(text, &s); err != nil {
			return err
		}
		mode := s.Activity.Mode
		if s.Line.Stale {
			mode += " (stale)"
		}
		fmt.Fprintf(w, "%d\t%s\t%s\t%d\t%d\t%d\t%d\t%.2f\t%.2f\t%s\n", s.Activity.ID, s.Activity.Tenant, mode,
			s.Queue.Waiting, s.Queue.Inside, s.Queue.Issued, s.Queue.Released, s.Realtime.Enter, s.Realtime.Release, s.Activity.Name)
	}
	return w.Flush()
}
