package main

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/signal"
	"slices"
	"syscall"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/proxy"
	"github.com/ropeline/ropeline/visitor"
	"github.com/ropeline/ropeline/waitpage"
	"github.com/ropeline/ropeline/web/api"
)

// lookEvery is how often the file is looked at for a change. It takes two
// looks to believe one.
const lookEvery = time.Second

// reloadOnDemand loads the file again on SIGHUP and when it changes, until ctx
// ends.
func (g *gateway) reloadOnDemand(ctx context.Context) error {
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	changes := make(chan struct{}, 1)
	watched := make(chan struct{})
	go func() {
		defer close(watched)
		config.Watch(ctx, g.path, lookEvery, func() {
			select {
			case changes <- struct{}{}:
			default:
			}
		})
	}()
	defer func() { <-watched }()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-hangups:
			g.notify(daemon.SdNotifyReloading)
			_, _ = g.reload(ctx, "signal") // the log has said why not
			g.notify(daemon.SdNotifyReady)
		case <-changes:
			_, _ = g.reload(ctx, "file")
		}
	}
}

// reload loads the file again. If anything in it is wrong the old one stays in
// force whole and the log says why, as the error does. restart are the changed
// keys whose old values stay in any case; the log has them, too.
func (g *gateway) reload(ctx context.Context, cause string) (restart []string, err error) {
	log := g.log.With(zap.String("file", g.path), zap.String("cause", cause))
	next, err := config.Load(g.path, g.environ)
	if err == nil {
		was := g.current.Load()
		if next.Hash == was.Hash {
			log.Info("config unchanged")
			g.loads.loaded(next.Hash)
			return nil, nil
		}
		if restart = config.RestartNeeded(was, next); len(restart) > 0 {
			log.Warn("config keys need a restart, their old values stay", zap.Strings("keys", restart))
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
	return restart, err
}

// apply puts a checked file in force, with the activities that were made by the
// API. All that can fail comes first; on an error nothing has changed.
func (g *gateway) apply(ctx context.Context, next *config.Config) error {
	g.loading.Lock()
	defer g.loading.Unlock()
	ring, kept, err := keyring(ctx, g.store, next.Keys, g.keys)
	if err != nil {
		return err
	}
	operators, err := verifier("admin.jwt", next.Admin.JWT)
	if err != nil {
		return err
	}
	shop, err := verifier("api.jwt", config.JWT(next.API.JWT))
	if err != nil {
		return err
	}
	level, err := zapcore.ParseLevel(next.Log.Level)
	if err != nil {
		return fmt.Errorf("log.level: %w", err)
	}
	words, err := openWords(next)
	if err != nil {
		return err
	}
	templates, err := openTemplates(next)
	if err != nil {
		return err
	}
	all := g.offers(next)
	activities := make([]admission.Activity, len(all))
	for i, o := range all {
		activities[i] = admission.Activity{Line: o.line, Settings: o.settings}
	}
	opened, err := g.rooms.Open(ctx, ring, activities)
	if err != nil {
		return err
	}
	table, err := g.table(next, all, opened, shop)
	if err != nil {
		return err
	}
	pages := make(map[int64]waitpage.Activity, len(all))
	offered := make([]api.Offered, len(all))
	for i, o := range all {
		id := o.line.Activity
		theme, err := waitpage.NewTheme(o.theme.Name, o.theme.Logo, o.theme.Accent)
		if err != nil {
			return fmt.Errorf("page of activity %d: %w", id, err)
		}
		pages[id] = waitpage.Activity{Name: o.form.Name, PageStatus: o.pageStatus, Languages: words.of(id), Theme: theme, Template: templates[id], Compat: o.compat, Room: opened.Room(id)}
		offered[i] = api.Offered{Activity: o.form, Source: api.FromFile, Room: opened.Room(id), Upstreams: leadsTo(next, o)}
		if o.made {
			offered[i].Source = api.FromAPI
		}
	}

	opened.Apply()
	g.ring.Store(ring)
	g.keys = kept
	g.operators.Store(operators)
	g.shop.Store(shop)
	g.pages.Store(&pages)
	g.page.AllowStreams(next.Poll.Streams)
	g.offered.Store(&offered)
	g.front.Swap(table)
	if g.certificates != nil {
		g.certificates.want(next.CertHosts())
	}
	g.webhooks.Set(hooks(next))
	g.level.SetLevel(level)
	g.current.Store(next)
	g.loads.loaded(next.Hash)
	return nil
}

// made are the activities that were made by the API.
func (g *gateway) made() catalog.Snapshot {
	if g.catalog == nil {
		return catalog.Snapshot{System: catalog.Defaults()}
	}
	return g.catalog.Snapshot()
}

// offers are all activities that the gateway serves.
func (g *gateway) offers(c *config.Config) []offer {
	all, hidden := offers(c, g.made())
	for _, a := range hidden {
		g.log.Error("activity not served, the file has one of its id or article",
			zap.Int64("activity", a.ID), zap.String("tenant", a.TenantID), zap.String("sku", a.SKU))
	}
	return all
}

// What the file calls versions of the PROXY protocol, and uses of it.
var (
	proxyProtocolVersions = map[string]byte{"v1": 1, "v2": 2}
	proxyProtocols        = map[string]proxy.ProxyProtocol{"accept": proxy.ProxyProtocolAccept, "require": proxy.ProxyProtocolRequire}
)

// upstreamSettings are those of an upstream of the file.
func upstreamSettings(u config.Upstream) proxy.UpstreamSettings {
	servers := make([]proxy.UpstreamServer, len(u.Servers))
	for i, s := range u.Servers {
		servers[i] = proxy.UpstreamServer{URL: *s.URL, Weight: s.Weight}
	}
	return proxy.UpstreamSettings{
		Name: u.Name, Servers: servers, Policy: proxy.Policy(u.Policy),
		Health:   proxy.Health{Path: u.Health.Path, Interval: u.Health.Interval},
		Breaker:  proxy.Breaker{Requests: u.Breaker.Requests, Failures: u.Breaker.Failures, Pause: u.Breaker.Pause, RetryAfter: u.Breaker.RetryAfter},
		Slow:     u.Slow,
		MaxConns: u.MaxConns, Retries: u.Retries,
		Dial: u.Timeouts.Dial, TLS: u.Timeouts.TLSHandshake, Header: u.Timeouts.ResponseHeader,
		Body: u.Timeouts.Body, Idle: u.Timeouts.Idle,
		HTTP2:         u.Protocol == "http2",
		ProxyProtocol: proxyProtocolVersions[u.ProxyProtocol],
		Trust: proxy.UpstreamTLS{
			CA: u.TLS.CAText, ServerName: u.TLS.ServerName,
			Cert: u.TLS.CertText, Key: u.TLS.KeyText.Reveal(), SkipVerify: u.TLS.SkipVerify,
		},
	}
}

// table makes the routing table of a checked file.
func (g *gateway) table(c *config.Config, all []offer, opened *admission.Opened, shop *api.Verifier) (*proxy.Table, error) {
	upstreams := make(map[string]*proxy.Upstream, len(c.Upstreams))
	for _, u := range c.Upstreams {
		made, err := g.front.Upstream(upstreamSettings(u))
		if err != nil {
			return nil, fmt.Errorf("upstreams.%s: %w", u.Name, err)
		}
		upstreams[u.Name] = made
	}
	crawlers := make(map[string]*proxy.Crawler, len(c.Crawlers))
	for _, k := range c.Crawlers {
		crawlers[k.Name] = proxy.NewCrawler(proxy.CrawlerSettings{UserAgent: k.UserAgent, Networks: k.Networks, Domains: k.Domains}, nil)
	}
	gated := make(map[config.ActivityRef]*proxy.Activity, len(all))
	for _, o := range all {
		if claim := o.claim; claim != "" && shop != nil {
			o.identity.Claim = func(token string) string { return shop.Claim(token, claim) }
		}
		activity := &proxy.Activity{
			ID: o.line.Activity, Tenant: o.line.Tenant, Room: opened.Room(o.line.Activity), Idle: o.settings.Limits.Idle,
			Identity: o.identity, Bypass: rules(o.bypass, crawlers), PassAssets: o.assets,
		}
		gated[config.ActivityRef{ID: o.line.Activity}] = activity
		if sku := o.form.SKU; sku != "" {
			gated[config.ActivityRef{Tenant: o.line.Tenant, SKU: sku}] = activity
		}
	}
	routes := make([]proxy.Route, len(c.Routes))
	for i, r := range c.Routes {
		routes[i] = proxy.Route{Host: r.Host, Path: r.Path, Activity: gated[r.Activity], Upstream: upstreams[r.Upstream]}
		if routes[i].Activity == nil && r.Activity != (config.ActivityRef{}) && r.Missing != "open" {
			routes[i].Activity = proxy.Missing(r.Activity.Tenant)
		}
	}
	return proxy.NewTable(proxy.Settings{
		Reserved: g.ownPaths(c), Prefix: g.prefix, Holder: g.page,
		Proxies: visitor.Trust(c.TrustedProxies...), BodyBytes: g.bodyBytes, Routes: routes,
	})
}

// leadsTo names the upstreams that an activity's routes lead to.
func leadsTo(c *config.Config, o offer) (names []string) {
	for _, r := range c.Routes {
		ours := r.Activity == config.ActivityRef{ID: o.line.Activity} ||
			o.form.SKU != "" && r.Activity == config.ActivityRef{Tenant: o.line.Tenant, SKU: o.form.SKU}
		if ours && !slices.Contains(names, r.Upstream) {
			names = append(names, r.Upstream)
		}
	}
	return names
}

// rules are the bypass rules of an activity, as the gate knows them.
func rules(bypass []config.Bypass, crawlers map[string]*proxy.Crawler) []proxy.Rule {
	all := make([]proxy.Rule, len(bypass))
	for i, b := range bypass {
		all[i] = proxy.Rule{
			Path: b.Path, Network: b.CIDR, Method: b.Method,
			Header: b.Header.Name, Value: b.Header.Value.Reveal(), Crawler: crawlers[b.Crawler],
		}
	}
	return all
}

// serveReserved answers what lies below the prefix.
func (g *gateway) serveReserved(w http.ResponseWriter, r *http.Request) {
	switch r.URL.Path {
	case g.prefix + "/loadtest":
		g.consent.ServeHTTP(w, r)
	case g.prefix + "/jwks.json":
		w.Header().Set("Content-Type", "application/jwk-set+json")
		w.Header().Set("Cache-Control", "public, max-age=300")
		_, _ = w.Write(g.ring.Load().JWKS()) // an error here is a client that left
	default:
		g.page.ServeHTTP(w, r)
	}
}
