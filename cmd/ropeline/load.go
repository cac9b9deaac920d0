package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/proxy"
	"github.com/ropeline/ropeline/visitor"
	"github.com/ropeline/ropeline/waitpage"
)

// reload loads the file again. If anything in it is wrong, or needs a restart,
// the old one stays in force whole and the log says why.
func (g *gateway) reload(ctx context.Context, cause string) {
	log := g.log.With(zap.String("file", g.path), zap.String("cause", cause))
	next, err := config.Load(g.path, g.environ)
	if err == nil {
		was := g.current.Load()
		if next.Hash == was.Hash {
			log.Info("config unchanged")
			g.loads.loaded(next.Hash)
			return
		}
		if keys := config.RestartNeeded(was, next); len(keys) > 0 {
			log.Warn("config keys need a restart, their old values stay", zap.Strings("keys", keys))
		}
		err = g.apply(ctx, next)
	}
	var problems config.Problems
	switch {
	case errors.As(err, &problems):
		for _, p := range problems {
			log.Error("config problem", zap.String("problem", p.String()))
		}
		fallthrough
	case err != nil:
		g.loads.refused()
		log.Error("config not loaded, the old one stays", zap.Error(err))
	default:
		log.Info("config loaded", zap.String("hash", next.Hash),
			zap.Int("activities", len(next.Activities)), zap.Int("routes", len(next.Routes)))
		for _, w := range next.Warnings {
			log.Warn("config", zap.String("warning", w.String()))
		}
	}
}

// apply puts a checked file in force. All that can fail comes first; on an
// error nothing has changed.
func (g *gateway) apply(ctx context.Context, next *config.Config) error {
	g.loading.Lock()
	defer g.loading.Unlock()
	ring, kept, err := keyring(ctx, g.store, next.Keys, g.keys)
	if err != nil {
		return err
	}
	opened, err := g.rooms.Open(ctx, ring, activities(next))
	if err != nil {
		return err
	}
	table, err := g.table(next, opened)
	if err != nil {
		return err
	}
	pages := make(map[int64]waitpage.Activity, len(next.Activities))
	for _, a := range next.Activities {
		pages[a.ID] = waitpage.Activity{Name: a.Name, PageStatus: int(a.Page.Status), Room: opened.Room(a.ID)}
	}

	opened.Apply()
	g.ring.Store(ring)
	g.keys = kept
	g.pages.Store(&pages)
	g.front.Swap(table)
	g.current.Store(next)
	g.loads.loaded(next.Hash)
	return nil
}

func activities(c *config.Config) []admission.Activity {
	all := make([]admission.Activity, len(c.Activities))
	for i, a := range c.Activities {
		all[i] = admission.Activity{
			Line: admission.LineID{Tenant: a.Tenant, Activity: a.ID},
			Settings: admission.Settings{
				Limits: admission.Limits{
					Mode: admission.Mode(a.Mode), Capacity: a.Capacity, RatePerHour: a.Rate.PerHour(), Burst: a.Burst,
					Claim: a.Claim, Absence: a.Absence, HoldPlace: a.HoldPlace,
					Idle: a.Session.Idle, Max: a.Session.Max, StartAt: a.StartAt, EndAt: a.EndAt,
					JoinsPerHour: a.JoinLimit.Rate.PerHour(), JoinBurst: a.JoinLimit.Rate.Count,
				},
				Poll: admission.Poll{
					Min: c.Poll.Min, Max: c.Poll.Max, Budget: float64(c.Poll.Budget.PerHour()) / 3600,
				},
				Message:       a.Page.Message,
				OpenOnFailure: a.OnStoreFailure == "open",
				Networks:      admission.Networks{IPv4: int(a.JoinLimit.IPv4), IPv6: int(a.JoinLimit.IPv6)},
			},
		}
		if a.Rate.PerHour() == 0 { // burst means nothing to a line without a rate
			all[i].Settings.Limits.Burst = 1
		}
	}
	return all
}

// table makes the routing table of a checked file.
func (g *gateway) table(c *config.Config, opened *admission.Opened) (*proxy.Table, error) {
	upstreams := make(map[string]*proxy.Upstream, len(c.Upstreams))
	for _, u := range c.Upstreams {
		made, err := g.front.Upstream(proxy.UpstreamSettings{
			Name: u.Name, URL: *u.Servers[0].URL,
			Dial: u.Timeouts.Dial, TLS: u.Timeouts.TLSHandshake, Header: u.Timeouts.ResponseHeader, Idle: u.Timeouts.Idle,
		})
		if err != nil {
			return nil, fmt.Errorf("upstreams.%s: %w", u.Name, err)
		}
		upstreams[u.Name] = made
	}
	gated := make(map[int64]*proxy.Activity, len(c.Activities))
	for _, a := range c.Activities {
		gated[a.ID] = &proxy.Activity{
			ID: a.ID, Tenant: a.Tenant, Room: opened.Room(a.ID), Idle: a.Session.Idle,
			Identity: visitor.Identity{Header: a.Identity.Header, Cookie: a.Identity.Cookie},
		}
	}
	routes := make([]proxy.Route, len(c.Routes))
	for i, r := range c.Routes {
		routes[i] = proxy.Route{Host: r.Host, Path: r.Path, Activity: gated[r.Activity.ID], Upstream: upstreams[r.Upstream]}
	}
	return proxy.NewTable(proxy.Settings{
		Prefix: g.prefix, Reserved: http.HandlerFunc(g.serveReserved), Holder: g.page,
		Proxies: visitor.Trust(c.TrustedProxies...), BodyBytes: g.bodyBytes, Routes: routes,
	})
}

// serveReserved answers what lies below the prefix.
func (g *gateway) serveReserved(w http.ResponseWriter, r *http.Request) {
	if r.URL.Path != g.prefix+"/jwks.json" {
		g.page.ServeHTTP(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=300")
	_, _ = w.Write(g.ring.Load().JWKS()) // an error here is a client that left
}
