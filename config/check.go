package config

import "fmt"

// check holds the values against each other. It sets nothing.
func (d *decoder) check(c *Config) {
	d.checkListen(c)
	d.checkTLS(c)
	d.checkStore(c)
	d.checkDatabase(c)
	d.checkNetworks(c)
	d.checkCrawlers(c)
	d.checkKeys(c)
	d.checkJWT("admin.jwt", c.Admin.JWT)
	d.checkJWT("api.jwt", JWT(c.API.JWT))
	d.checkAPI(c)
	d.checkActivities(c)
	d.checkUpstreams(c)
	d.checkRoutes(c)
	d.checkWebhooks(c)
	if n := len(c.Loadtest.Token.Reveal()); n > 0 && n < minGateSecret {
		d.problem("loadtest.token", "has %d bytes, and can be guessed; use at least %d", n, minGateSecret)
	}
	if d.sound("poll.min", "poll.max") && c.Poll.Min > c.Poll.Max {
		d.problem("poll.min", "is longer than poll.max, %v", c.Poll.Max)
	}
	if d.sound("poll.budget") && c.Poll.Budget == (Rate{}) {
		d.problem("poll.budget", "must not be empty: it keeps the crowd's polls bounded")
	}
}

// places are where in a list each of its names stands first.
type places[K comparable] map[K]int

// twice reports whether a name stood in the list before i, and where first.
func (p places[K]) twice(name K, i int) (first int, twice bool) {
	if first, twice = p[name]; !twice {
		p[name] = i
	}
	return first, twice
}

func (d *decoder) checkStore(c *Config) {
	const at = "store.redis."
	r := c.Store.Redis
	if !d.sound("store.type", at+"mode", at+"addresses", at+"master_name", at+"db") {
		return
	}
	if c.Store.Type != "redis" {
		if len(r.Addresses) > 0 {
			d.problem("store.redis", "means nothing with store.type %s", c.Store.Type)
		}
		return
	}
	switch {
	case len(r.Addresses) == 0:
		d.problem(at+"addresses", "is empty: where is Redis?")
	case r.Mode == "single" && len(r.Addresses) > 1:
		d.problem(at+"addresses", "names %d servers; with mode single there is one", len(r.Addresses))
	}
	if r.Mode == "sentinel" && r.MasterName == "" {
		d.problem(at+"master_name", "is missing; sentinels are asked for a master by name")
	}
	if r.Mode != "sentinel" && r.MasterName != "" {
		d.problem(at+"master_name", "means nothing with mode %s", r.Mode)
	}
	if r.Mode == "cluster" && r.DB != 0 {
		d.problem(at+"db", "must be 0: a cluster has no other")
	}
	if d.given("store.path") {
		d.warn("store.path", "is not used with store.type redis")
	}
}

func (d *decoder) checkNetworks(c *Config) {
	for i, network := range c.TrustedProxies {
		path := fmt.Sprintf("trusted_proxies[%d]", i)
		if d.sound(path) && network.Bits() == 0 {
			d.warn(path, "believes everyone: any visitor can claim any address")
		}
	}
}

func (d *decoder) checkAPI(c *Config) {
	if c.API.JWTRequired && !c.API.JWT.Configured() && d.soundJWT("api") {
		d.problem("api.jwt_required", "needs a key; set api.jwt.secret or api.jwt.jwks_file")
	}
	if !c.API.Enabled || !d.sound("prefix", "api.prefix") {
		return
	}
	// Right at prefix the API has a name that nothing else has there. Anywhere
	// else above or below it, two could want the same path.
	queue := c.API.queue()
	if c.API.Prefix != c.Prefix && (liesBelow(queue, c.Prefix) || liesBelow(c.Prefix, queue)) {
		d.problem("api.prefix", "leads to %s, which meets prefix %s; give prefix itself, or a path apart from it", queue, c.Prefix)
	}
}

// queue is the path that all of the queue API lies under.
func (a API) queue() string { return a.Prefix + "/api/v1/queue" }
