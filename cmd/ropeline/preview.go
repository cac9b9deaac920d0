package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"html/template"
	"net"
	"net/http"
	"os/signal"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/waitpage"
)

func previewCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "preview",
		Short: "Show the waiting page in every state",
		Long: `Show the waiting page in every state, side by side, with the names, languages,
themes and templates of a YAML file, until it is told to stop. Open the address
that it prints. The file and what it names are read again each time that the
overview is: change, reload, look. It asks no gateway and opens no store, so it
can run beside a gateway, or on the desk of whoever designs the page.

Exit status: 0 ended by a signal, 1 the file is not right or the address is
taken, 2 not called as it should be.`,
		Example: `  ropeline preview --config ropeline.yaml --activity 123`,
		Args:    cobra.NoArgs,
	}
	path := configFlag(cmd, environ)
	activity := cmd.Flags().Int64("activity", 0, "the `ID` of the activity to begin with; 0: the first of the file")
	address := cmd.Flags().String("listen", "127.0.0.1:8088", "the `address` to serve on, of this machine alone")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if host, _, err := net.SplitHostPort(*address); err != nil || !loopback(host) {
			return exit{exitUsage, fmt.Errorf("--listen: %q is not an address of this machine alone, like 127.0.0.1:8088", *address)}
		}
		p := &preview{path: *path, environ: environ}
		shown, err := p.load()
		if err != nil {
			return err
		}
		if *activity == 0 {
			*activity = shown.config.Activities[0].ID
		} else if !shown.has(*activity) {
			return fmt.Errorf("--activity: %s has no activity %d", *path, *activity)
		}
		l, err := listen("--listen", *address)
		if err != nil {
			return err
		}
		defer l.Close()
		fmt.Fprintf(cmd.OutOrStdout(), "open http://%s/%d\n", l.Addr(), *activity)
		return p.serve(cmd.Context(), l)
	}
	return cmd
}

// loopback reports whether a host is reached from this machine alone.
func loopback(host string) bool {
	ip := net.ParseIP(host)
	return host == "localhost" || ip != nil && ip.IsLoopback()
}

// preview serves every state of the waiting pages of a file.
type preview struct {
	path    string
	environ []string
	shown   atomic.Pointer[pageShow]
}

// pageShow are the pages of one reading of a file.
type pageShow struct {
	config     *config.Config
	activities map[int64]previewed
}

// previewed is an activity, with the operator's message.
type previewed struct {
	waitpage.Activity
	message string
}

func (s *pageShow) has(id int64) bool { _, ok := s.activities[id]; return ok }

// load reads the file. On an error what is shown stays.
func (p *preview) load() (*pageShow, error) {
	c, err := config.Load(p.path, p.environ)
	if err != nil {
		return nil, err
	}
	if len(c.Activities) == 0 {
		return nil, fmt.Errorf("%s has no activities, so nobody waits", p.path)
	}
	words, err := openWords(c)
	if err != nil {
		return nil, err
	}
	templates, err := openTemplates(c)
	if err != nil {
		return nil, err
	}
	s := &pageShow{c, map[int64]previewed{}}
	for _, a := range c.Activities {
		theme, err := waitpage.NewTheme(a.Page.Theme.Name, a.Page.Theme.Logo, a.Page.Theme.Accent)
		if err != nil {
			return nil, fmt.Errorf("page of activity %d: %w", a.ID, err)
		}
		s.activities[a.ID] = previewed{waitpage.Activity{
			Name: a.Name, PageStatus: int(a.Page.Status), Theme: theme,
			Languages: words.of(a.ID), Template: templates[a.ID],
		}, a.Page.Message}
	}
	p.shown.Store(s)
	return s, nil
}

// serve shows until ctx ends or a signal comes.
func (p *preview) serve(ctx context.Context, l net.Listener) error {
	ctx, stop := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	server := &http.Server{Handler: p.handler(), ReadHeaderTimeout: 10 * time.Second}
	context.AfterFunc(ctx, func() { server.Close() })
	if err := server.Serve(l); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("preview: %w", err)
	}
	return nil
}

func (p *preview) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /{$}", p.overview)
	mux.HandleFunc("GET /{activity}", p.overview)
	mux.HandleFunc("/{activity}/{state}", p.page)
	mux.HandleFunc("/{activity}/{state}/", p.page)
	return mux
}

//go:embed preview.html
var overviewPage string

// overview shows the pages of one activity side by side.
func (p *preview) overview(w http.ResponseWriter, r *http.Request) {
	_, problem := p.load()
	shown := p.shown.Load()
	id := shown.config.Activities[0].ID
	if asked := r.PathValue("activity"); asked != "" {
		var err error
		if id, err = strconv.ParseInt(asked, 10, 64); err != nil || !shown.has(id) {
			http.NotFound(w, r)
			return
		}
	}
	var states []string
	for _, example := range waitpage.Examples(id, time.Now()) {
		states = append(states, example.Name)
	}
	scheme := r.URL.Query().Get("scheme")
	if scheme != "light" && scheme != "dark" {
		scheme = ""
	}
	page := template.Must(template.New("preview").Parse(overviewPage))
	w.Header().Set("Content-Type", "text/html; charset=utf-8")
	w.Header().Set("Cache-Control", "no-store")
	_ = page.Execute(w, map[string]any{ // an error here is a browser that left
		"File": p.path, "Activities": shown.config.Activities, "Activity": id, "States": states, "Scheme": scheme,
		"Options": shown.activities[id].Languages.Options(r), "Prefix": shown.config.Prefix, "Here": r.URL.RequestURI(), "Problem": problem,
	})
}

// page shows one state, below whose address lies all that its page asks for.
func (p *preview) page(w http.ResponseWriter, r *http.Request) {
	shown := p.shown.Load()
	id, err := strconv.ParseInt(r.PathValue("activity"), 10, 64)
	examples := waitpage.Examples(id, time.Now())
	i := slices.IndexFunc(examples, func(e waitpage.Example) bool { return e.Name == r.PathValue("state") })
	activity, ok := shown.activities[id]
	if err != nil || !ok || i < 0 {
		http.NotFound(w, r)
		return
	}
	status := examples[i].Status
	if activity.message != "" {
		status.Message = activity.message
	}
	if status.State == admission.StateReady {
		status.Wait = admission.Wait{} // one that grew would have the page ask, and lead on
	}
	status.PollAfter = time.Hour // nothing moves
	activity.Room = exampleRoom(status)
	base := "/" + r.PathValue("activity") + "/" + r.PathValue("state")
	page := waitpage.New(base+shown.config.Prefix, func(asked int64) (waitpage.Activity, bool) { return activity.Activity, asked == id })
	switch {
	case strings.HasPrefix(r.URL.Path, base+shown.config.Prefix+"/"):
		page.ServeHTTP(w, r)
	case r.URL.Path == base && r.Method == http.MethodGet:
		// Whatever asks, in a frame or without a browser, sees what a visitor would.
		r.Header = http.Header{"Sec-Fetch-Mode": {"navigate"}, "Cookie": r.Header["Cookie"], "Accept-Language": r.Header["Accept-Language"]}
		page.Hold(framed{w}, r, admission.Verdict{Status: status})
	default:
		http.NotFound(w, r)
	}
}

// framed lets a page of ours stand in a frame of the overview.
type framed struct{ http.ResponseWriter }

func (f framed) WriteHeader(status int) {
	const policy = "Content-Security-Policy"
	f.Header().Set(policy, strings.Replace(f.Header().Get(policy), "frame-ancestors 'none'", "frame-ancestors 'self'", 1))
	f.ResponseWriter.WriteHeader(status)
}

// exampleRoom is a line in which nothing moves.
type exampleRoom admission.Status

// Peek tells the status again, but never to come back at once.
func (e exampleRoom) Peek(context.Context, admission.Visit) admission.Verdict {
	s := admission.Status(e)
	s.Lapsed = false
	return admission.Verdict{Status: s}
}

func (e exampleRoom) Look(ctx context.Context, v admission.Visit) admission.Verdict {
	return e.Peek(ctx, v)
}

func (e exampleRoom) Leave(ctx context.Context, v admission.Visit) admission.Verdict {
	return e.Peek(ctx, v)
}
