package main

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"os/signal"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
	"github.com/spf13/cobra"
	"go.uber.org/zap"
	"golang.org/x/sync/errgroup"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/admission/postgres"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/crowd"
	"github.com/ropeline/ropeline/proxy"
	"github.com/ropeline/ropeline/waitpage"
	"github.com/ropeline/ropeline/web/api"
	"github.com/ropeline/ropeline/webhook"
)

func gatewayCommand(environ []string) *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run",
		Short: "Run the gateway",
		Long: `Run the gateway until it is told to stop. SIGTERM or SIGINT drains it: it
reports not ready, goes on for drain.delay, and gives requests drain.grace to
end; a second signal ends it at once. SIGHUP, or a change of the file, loads
the file again; if anything in it is wrong the old one stays in force.

Exit status: 0 it was told to stop and did, 1 the file is not valid or the
gateway could not start or go on, 2 not called as it should be.`,
		Example: `  ropeline run --config /etc/ropeline/ropeline.yaml
  ROPELINE_LISTEN_HTTP=:80 ropeline run`,
		Args: cobra.NoArgs,
	}
	path := configFlag(cmd, environ)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		loaded, err := config.Load(*path, environ)
		if err != nil {
			return err
		}
		return serve(cmd.Context(), *path, environ, loaded, cmd.ErrOrStderr())
	}
	return cmd
}

// gateway is one running process: what lives from start to stop, and what each
// load of the file puts in force.
type gateway struct {
	path    string
	environ []string
	log     *zap.Logger
	level   zap.AtomicLevel // of log

	// From start to stop. Pages that are open poll below prefix, so it stays.
	prefix    string
	bodyBytes int64
	name      string // this process's own, among all
	secret    admission.Secret
	store     admission.Store
	database  *postgres.Database // nil: none, and no catalog
	catalog   *catalog.Catalog
	rooms     *admission.Rooms
	queue     http.Handler // the queue API
	consent   http.Handler // to load tests
	front     *proxy.Gateway
	page      *waitpage.Page
	health    *api.Health
	loads     *configMetrics
	errs      errorMetrics

	certificates *certificates // nil: no HTTPS
	webhooks     *webhook.Webhooks

	// Of the last load.
	pages     atomic.Pointer[map[int64]waitpage.Activity]
	offered   atomic.Pointer[[]api.Offered]
	ring      atomic.Pointer[admission.Keyring]
	operators atomic.Pointer[api.Verifier] // nil: no key is named
	shop      atomic.Pointer[api.Verifier] // the same
	current   atomic.Pointer[config.Config]

	loading sync.Mutex      // protects keys, and the putting in force of a load
	keys    []admission.Key // those of the store, where the file names none
}

// serve runs a gateway until ctx ends or a signal comes.
func serve(ctx context.Context, path string, environ []string, loaded *config.Config, logTo io.Writer) error {
	level, err := zap.ParseAtomicLevel(loaded.Log.Level)
	if err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	log := newLog(logTo, level, loaded.Log.Format)
	tuneCollector(environ, log)
	defer log.Sync() // standard error has nothing to flush; a file might
	for _, w := range loaded.Warnings {
		log.Warn("config", zap.String("warning", w.String()))
	}

	if loaded.Listen.HTTP3 {
		// What quic-go has to say to operators it says to the standard log.
		defer zap.RedirectStdLog(log.Named("quic"))()
	}
	var on listeners
	defer on.close()
	if err := on.open(loaded.Listen, loaded.Admin.JWT.Configured()); err != nil {
		return err
	}
	metrics := prometheus.NewRegistry()
	metrics.MustRegister(collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	kept, err := openStore(ctx, loaded.Store, metrics, log)
	if err != nil {
		return err
	}
	defer func() { // it outlives everything that asks it
		if err := kept.close(); err != nil {
			log.Error("store not closed", zap.Error(err))
		}
	}()
	g := &gateway{
		path: path, environ: environ, log: log, level: level,
		prefix: loaded.Prefix, bodyBytes: loaded.Limits.BodyBytes,
		name:  rand.Text()[:8],
		store: meter(kept.store, metrics), loads: newConfigMetrics(metrics), errs: newErrorMetrics(metrics),
	}
	secret, err := roomSecret(ctx, g.store)
	if err != nil {
		return err
	}
	g.secret = secret
	g.rooms = admission.NewRooms(g.store, g.name, secret, log)
	metrics.MustRegister(roomMetrics{g.rooms})
	if loaded.Database.Configured() {
		closeRecord, err := g.openRecord(ctx, loaded, kept.shelf, metrics)
		if err != nil {
			return err
		}
		defer closeRecord() // it takes what the rooms have to tell to their end
	}
	if on.secure != nil {
		if g.certificates, err = openCertificates(loaded, kept.vault, secret, on.public.Addr(), on.secure.Addr(), log); err != nil {
			return err
		}
		metrics.MustRegister(certificateMetrics{g.certificates.ends})
	}
	tracer, endTraces, err := openTraces(ctx, loaded.Traces, g.name, log)
	if err != nil {
		return err
	}
	defer endTraces()
	g.front = proxy.NewGateway(proxy.Options{Log: log, Tracer: tracer, Metrics: metrics, Failed: g.errs.count, AccessLog: loaded.Log.Access, AccessLimit: accessLimit(loaded.Log.AccessLimit), BodyIdle: bodyIdle, Secret: secret})
	defer g.front.Close()
	g.queue = g.queueAPI()
	g.consent = crowd.Consent(func() string { return g.current.Load().Loadtest.Token.Reveal() })
	g.page = waitpage.New(loaded.Prefix, func(id int64) (waitpage.Activity, bool) {
		a, ok := (*g.pages.Load())[id]
		return a, ok
	})
	g.page.OnFailure(func(activity int64, err error) {
		log.Error("template failed, visitors see the built-in page", zap.Int64("activity", activity), zap.Error(err))
	})
	metrics.MustRegister(eventStreams(g.page.Streams))
	g.webhooks = webhook.New(kept.board(g.name), g.lines, log, metrics)
	g.health = api.NewHealth(version(), func() []api.Dependency { return append([]api.Dependency{kept.health}, g.recordHealth()...) })
	if err := g.apply(ctx, loaded); err != nil {
		return err
	}
	var https *proxy.HTTPS
	if on.secure != nil {
		https = g.certificates.https(on.secure, on.quic, loaded.TLS)
	}
	return g.run(ctx, loaded, on, https, metrics)
}

// bodyIdle is how long a visitor may pause while sending a body or reading an
// answer.
const bodyIdle = 60 * time.Second

// run serves until ctx ends, a signal comes, or a part fails; then it drains.
func (g *gateway) run(ctx context.Context, loaded *config.Config, on listeners, https *proxy.HTTPS, metrics *prometheus.Registry) error {
	stopping, stopSignals := signal.NotifyContext(ctx, syscall.SIGTERM, syscall.SIGINT)
	defer stopSignals()
	roomsEnd, endRooms := context.WithCancel(context.WithoutCancel(ctx))
	defer endRooms()

	parts, stopping := errgroup.WithContext(stopping)
	roomsDone := make(chan struct{})
	go func() { defer close(roomsDone); _ = g.rooms.Run(roomsEnd) }()

	if on.admin != nil {
		operators := g.adminAPI()
		parts.Go(func() error { return serveUntil(roomsEnd, "admin", g.adminServer(operators, metrics), on.admin) })
		parts.Go(func() error { return operators.Run(roomsEnd) })
		g.log.Info("listening", zap.String("listener", "admin"), zap.Stringer("address", on.admin.Addr()))
	}
	if on.queue != nil {
		parts.Go(func() error { return serveUntil(roomsEnd, "api", g.apiServer(loaded.Limits), on.queue) })
		g.log.Info("listening", zap.String("listener", "api"), zap.Stringer("address", on.queue.Addr()))
	}
	server := proxy.NewServer(g.front, proxy.ServerOptions{
		HeaderBytes:   int(loaded.Limits.HeaderBytes),
		HeaderTimeout: loaded.Limits.HeaderTimeout,
		IdleTimeout:   loaded.Limits.IdleTimeout,

		ConnsPerNetwork: int(loaded.Limits.ConnsPerNetwork),
		ProxyProtocol:   proxyProtocols[loaded.Listen.ProxyProtocol],
		HTTPS:           https,

		DrainDelay: loaded.Drain.Delay,
		DrainGrace: loaded.Drain.Grace,
	})
	parts.Go(func() error {
		defer endRooms() // they pace until the last request is answered
		return server.Serve(stopping, on.public)
	})
	if https != nil {
		// Until the last request is answered: a CA may ask meanwhile.
		parts.Go(func() error { return g.certificates.keep(roomsEnd) })
		g.log.Info("listening", zap.String("listener", "https"), zap.Stringer("address", https.Listener.Addr()), zap.Bool("http3", https.QUIC != nil))
	}
	parts.Go(func() error { return g.reloadOnDemand(stopping) })
	parts.Go(func() error { return g.watchdog(roomsEnd, on.admin) })
	parts.Go(func() error { return g.shareKeys(stopping) })
	parts.Go(func() error { return g.webhooks.Run(roomsEnd) })
	if g.catalog != nil {
		parts.Go(func() error {
			return g.catalog.Run(stopping, func(ctx context.Context) error { return g.apply(ctx, g.current.Load()) })
		})
	}
	g.health.Ready(true)
	g.log.Info("listening", zap.String("listener", "http"), zap.Stringer("address", on.public.Addr()), zap.String("version", version()))
	g.notify(daemon.SdNotifyReady)

	context.AfterFunc(stopping, func() {
		stopSignals() // a second signal ends the process at once
		g.health.Ready(false)
		g.notify(daemon.SdNotifyStopping)
		g.page.EndStreams() // they would last as long as drain.grace
	})
	err := parts.Wait()
	endRooms()
	<-roomsDone
	g.log.Info("stopped", zap.Error(err))
	return err
}
