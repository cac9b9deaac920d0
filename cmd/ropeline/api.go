package main

import (
	"context"
	"fmt"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/visitor"
	"github.com/ropeline/ropeline/web/api"
	"github.com/ropeline/ropeline/web/console"
)

// queueAPI returns the queue API, without a prefix.
func (g *gateway) queueAPI() http.Handler {
	return api.NewQueue(api.QueueOptions{
		Lines: func(id int64) (api.Line, bool) {
			room, ok := g.rooms.Room(id)
			if !ok {
				return api.Line{}, false
			}
			return api.Line{ID: id, Tenant: room.ID().Tenant, Room: room}, true
		},
		EnterLimit: func() (perHour, burst int64) {
			limit := g.current.Load().API.EnterLimit
			return limit.PerHour(), limit.Count
		},
		Bearer:  func() (*api.Verifier, bool) { return g.shop.Load(), g.current.Load().API.JWTRequired },
		Origins: func() []string { return g.current.Load().API.CORSOrigins },
		Failed:  func(code api.Code) { g.errs.count(string(code)) },
		Log:     g.log,
	})
}

// ownPaths are who answers what no shop has, on the public listener.
func (g *gateway) ownPaths(c *config.Config) map[string]http.Handler {
	paths := map[string]http.Handler{g.prefix: http.HandlerFunc(g.serveReserved)}
	if c.API.Enabled {
		paths[c.API.Prefix+"/api/v1/queue"] = http.StripPrefix(c.API.Prefix, g.queue)
	}
	return paths
}

// apiServer serves the queue API on an address of its own.
func (g *gateway) apiServer(limits config.Limits) *http.Server {
	proxies := func() visitor.Proxies { return visitor.Trust(g.current.Load().TrustedProxies...) }
	return &http.Server{
		Handler:           visitor.Handler(proxies, g.queue),
		ReadHeaderTimeout: limits.HeaderTimeout, ReadTimeout: 2 * limits.HeaderTimeout, WriteTimeout: 30 * time.Second,
		IdleTimeout: limits.IdleTimeout, MaxHeaderBytes: int(limits.HeaderBytes),
		ErrorLog: serverLog(g.log),
	}
}

// adminServer serves operators and machines.
func (g *gateway) adminServer(operators *api.AdminAPI, metrics *prometheus.Registry) *http.Server {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", g.health.ServeHealth)
	mux.HandleFunc("GET /livez", g.health.ServeLive)
	mux.HandleFunc("GET /readyz", g.health.ServeReady)
	mux.Handle("GET /metrics", promhttp.HandlerFor(metrics, promhttp.HandlerOpts{}))
	mux.Handle("/api/", operators)
	mux.Handle("/", console.New(operators))
	return &http.Server{
		Handler:           api.Guard(func() []string { return g.current.Load().Admin.Hosts }, mux),
		ReadHeaderTimeout: 5 * time.Second, ReadTimeout: 10 * time.Second, WriteTimeout: 30 * time.Second,
		IdleTimeout: 75 * time.Second, MaxHeaderBytes: 16 << 10,
		ErrorLog: serverLog(g.log),
	}
}

func (g *gateway) adminAPI() *api.AdminAPI {
	o := api.AdminOptions{
		Activities: served{g},
		Reload:     func(ctx context.Context) ([]string, error) { return g.reload(ctx, "api") },
		Upstreams:  g.upstreams,
		Bearer:     g.operators.Load,
		Failed:     func(code api.Code) { g.errs.count(string(code)) },
		Gateway:    g.name,
		Identity:   g.secret.Identity,
		Log:        g.log,
	}
	if g.database != nil {
		o.Record = g.database
	}
	return api.NewAdmin(o)
}

// upstreams tells the admin API how the upstreams do.
func (g *gateway) upstreams() []api.Upstream {
	figures := g.front.Upstreams()
	all := make([]api.Upstream, len(figures))
	for i, f := range figures {
		all[i] = api.Upstream{
			Name: f.Name, Servers: f.Servers, Up: f.Up, Open: f.Open,
			Requests: f.Answered, Failures: f.Failures, Bounds: f.Bounds, Within: f.Within,
		}
	}
	return all
}

// verifier returns who verifies the bearers that a section of the file is about;
// nil: it names no key.
func verifier(section string, j config.JWT) (*api.Verifier, error) {
	if !j.Configured() {
		return nil, nil
	}
	v, err := api.NewVerifier(api.VerifierOptions{
		Alg: j.Alg, Secret: []byte(j.Secret.Reveal()), JWKSFile: j.JWKSFile, Issuer: j.Issuer, Audience: j.Audience,
	})
	if err != nil {
		return nil, fmt.Errorf("%s: %w", section, err)
	}
	return v, nil
}

// served are the activities of a gateway, as the admin API sees and changes
// them: those of the file, which it only sees, and those of the catalog.
type served struct{ g *gateway }

// All implements api.Activities.
func (s served) All() []api.Offered { return *s.g.offered.Load() }

// Create implements api.Activities.
func (s served) Create(ctx context.Context, a catalog.Activity) (catalog.Activity, error) {
	if s.g.catalog == nil {
		return catalog.Activity{}, catalog.ErrNoDatabase
	}
	if clashes(s.g.current.Load(), a) {
		return catalog.Activity{}, fmt.Errorf("in the file: %w", catalog.ErrTaken)
	}
	return s.g.catalog.Create(ctx, a)
}

// Update implements api.Activities.
func (s served) Update(ctx context.Context, a catalog.Activity) (catalog.Activity, error) {
	if s.g.catalog == nil {
		return catalog.Activity{}, catalog.ErrNoDatabase
	}
	if clashes(s.g.current.Load(), a) {
		return catalog.Activity{}, fmt.Errorf("in the file: %w", catalog.ErrTaken)
	}
	return s.g.catalog.Update(ctx, a)
}

// Delete implements api.Activities.
func (s served) Delete(ctx context.Context, id, version int64) error {
	if s.g.catalog == nil {
		return catalog.ErrNoDatabase
	}
	return s.g.catalog.Delete(ctx, id, version)
}

// System implements api.Activities.
func (s served) System() catalog.System { return s.g.made().System }

// SetSystem implements api.Activities.
func (s served) SetSystem(ctx context.Context, system catalog.System) error {
	if s.g.catalog == nil {
		return catalog.ErrNoDatabase
	}
	return s.g.catalog.SetSystem(ctx, system)
}
