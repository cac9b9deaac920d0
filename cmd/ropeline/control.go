package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
)

// patience is how long a gateway may take to answer a command.
const patience = 10 * time.Second

// largestAnswer bounds what is read of an answer, in bytes.
const largestAnswer = 16 << 20

// remoteStatus is the exit status of commands that ask a gateway, for their help.
const remoteStatus = `Exit status: 0 done, 1 refused, 2 not called as it should be, 3 the gateway does
not answer.`

// remote is a gateway's admin API, as a command reaches it.
type remote struct {
	address string // of the admin listener
	token   string
}

// remoteFlags give a command its --admin and --token.
func remoteFlags(cmd *cobra.Command, environ []string) *remote {
	r := &remote{}
	cmd.Flags().StringVar(&r.address, "admin", variable(environ, "ROPELINE_ADMIN_URL", "http://127.0.0.1:8081"),
		"the admin listener's `URL`; also $ROPELINE_ADMIN_URL")
	// The variable is no default of the flag: --help would print it.
	cmd.Flags().StringVar(&r.token, "token", "", "a `token` of the admin API; better in $ROPELINE_ADMIN_TOKEN, where other users of the machine do not see it")
	cmd.PreRunE = func(*cobra.Command, []string) error {
		if r.token == "" {
			r.token = variable(environ, "ROPELINE_ADMIN_TOKEN", "")
		}
		if r.token == "" {
			return exit{exitUsage, errors.New("--token: give a token of the admin API, or set ROPELINE_ADMIN_TOKEN; ropeline token makes one")}
		}
		return nil
	}
	return r
}

// ask asks the gateway, and reads the data of its answer into data.
func (r *remote) ask(ctx context.Context, method, path string, data any) error {
	return r.send(ctx, method, path, nil, data)
}

// exchange sends a body, as JSON, or nil for none, and returns what comes back,
// with where from and how, for errors.
func (r *remote) exchange(ctx context.Context, method, path string, body any) (text []byte, told string, err error) {
	var sent io.Reader
	if body != nil {
		text, err := json.Marshal(body)
		if err != nil {
			return nil, "", err
		}
		sent = bytes.NewReader(text)
	}
	address, err := url.Parse(r.address)
	if err != nil || address.Host == "" || address.Scheme != "http" && address.Scheme != "https" {
		return nil, "", exit{exitUsage, fmt.Errorf("--admin: %q is not a URL, like http://127.0.0.1:8081", r.address)}
	}
	path, query, _ := strings.Cut(path, "?")
	asked := address.JoinPath(path)
	asked.RawQuery = query
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	request, err := http.NewRequestWithContext(ctx, method, asked.String(), sent)
	if err != nil {
		return nil, "", err
	}
	request.Header.Set("Authorization", "Bearer "+r.token)
	request.Header.Set("Accept", "application/json")
	if body != nil {
		request.Header.Set("Content-Type", "application/json")
	}
	client := http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	answer, err := client.Do(request)
	if err != nil {
		return nil, "", exit{exitUnreachable, err}
	}
	defer answer.Body.Close()
	text, err = io.ReadAll(io.LimitReader(answer.Body, largestAnswer))
	if err != nil {
		return nil, "", exit{exitUnreachable, fmt.Errorf("%s: %w", asked, err)}
	}
	return text, fmt.Sprintf("%s answers %s", asked, answer.Status), nil
}

// send asks with a body, as JSON; nil: without one.
func (r *remote) send(ctx context.Context, method, path string, body, data any) error {
	text, told, err := r.exchange(ctx, method, path, body)
	if err != nil {
		return err
	}
	var envelope struct {
		Success   bool            `json:"success"`
		Data      json.RawMessage `json:"data"`
		Error     string          `json:"error"`
		Message   string          `json:"message"`
		RequestID string          `json:"request_id"`
		Details   struct {
			Problem string `json:"problem"`
		} `json:"details"`
	}
	if err := json.Unmarshal(text, &envelope); err != nil || !envelope.Success && envelope.Error == "" {
		return exit{exitRefused, fmt.Errorf("%s, and not as the admin API of a gateway does", told)}
	}
	if !envelope.Success {
		refusal := fmt.Errorf("%s: %s (request %s)", envelope.Error, envelope.Message, envelope.RequestID)
		if envelope.Details.Problem != "" {
			refusal = fmt.Errorf("%w\n%s", refusal, envelope.Details.Problem)
		}
		return exit{exitRefused, refusal}
	}
	return json.Unmarshal(envelope.Data, data)
}

const activitiesPath = "/api/v1/admin/activities"

// activityPath is the path of one activity that an argument names.
func activityPath(argument string) (string, error) {
	id, err := strconv.ParseUint(argument, 10, 63)
	if err != nil || id == 0 {
		return "", exit{exitUsage, fmt.Errorf("%q is not the id of an activity", argument)}
	}
	return activitiesPath + "/" + strconv.FormatUint(id, 10), nil
}

func pauseCommand(environ []string) *cobra.Command {
	return controlCommand(environ, "pause", "paused", "Let no one in; visitors still join",
		`Let no one in of an activity's line, on every gateway, within a second. Visitors
still join and keep their places, and are told that the line is paused; who is
inside stays. It holds until resume, also over a restart. Needs the role
operator.`)
}

func resumeCommand(environ []string) *cobra.Command {
	return controlCommand(environ, "resume", "resumed", "Take a pause back",
		`Take a pause back: the activity goes on as its configuration says, and nothing
is made up for. Needs the role operator.`)
}

func resetCommand(environ []string) *cobra.Command {
	return controlCommand(environ, "reset", "reset", "End every place and turn of a line; sessions stay",
		`End every place and turn of an activity's line, for good: whoever waits is a new
visitor and joins at the end. Who is inside stays. Needs the role admin.`)
}

// controlCommand is a command that does one thing to one activity.
func controlCommand(environ []string, verb, done, short, long string) *cobra.Command {
	cmd := &cobra.Command{
		Use: verb + " ACTIVITY", Short: short, Long: long + "\n\n" + remoteStatus, Example: "  ropeline " + verb + " 123",
		Args: cobra.ExactArgs(1),
	}
	gateway := remoteFlags(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		path, err := activityPath(args[0])
		if err != nil {
			return err
		}
		var ignored json.RawMessage
		if err := gateway.ask(cmd.Context(), http.MethodPost, path+"/"+verb, &ignored); err != nil {
			return err
		}
		_, err = fmt.Fprintf(cmd.OutOrStdout(), "activity %s is %s\n", args[0], done)
		return err
	}
	return cmd
}

func reloadCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "reload",
		Short: "Have a gateway load its YAML file again",
		Long: `Have a running gateway load its YAML file again. If anything in it is wrong the
old one stays in force, and the problems are printed. Keys that need a restart
keep their old values, and are named. Needs the role admin.

` + remoteStatus,
		Example: `  ropeline reload --admin http://10.0.0.5:8081`,
		Args:    cobra.NoArgs,
	}
	gateway := remoteFlags(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		var told struct {
			Restart []string `json:"restart"`
		}
		if err := gateway.ask(cmd.Context(), http.MethodPost, "/api/v1/admin/reload", &told); err != nil {
			return err
		}
		said := "the file is loaded"
		if len(told.Restart) > 0 {
			said += "; these keys need a restart, their old values stay: " + strings.Join(told.Restart, ", ")
		}
		_, err := fmt.Fprintln(cmd.OutOrStdout(), said)
		return err
	}
	return cmd
}
