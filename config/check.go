package config

import (
	"bytes"
	"crypto/ed25519"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/ropeline/ropeline/admission"
)

// minSecretBytes is what RFC 7518 section 3.2 requires of an HS256 key.
const minSecretBytes = 32

// derive fills in what follows from other values.
func (d *decoder) derive(c *Config) {
	for i := range c.Activities {
		a := &c.Activities[i]
		if !d.given(fmt.Sprintf("activities[%d].burst", i)) && a.Rate != (Rate{}) {
			a.Burst = admission.Burst(a.Rate.PerHour())
		}
		if a.Adaptive.On() && a.Adaptive.Min == (Rate{}) {
			a.Adaptive.Min = Rate{Count: max(1, a.Rate.PerHour()/20), Per: time.Hour}
		}
		d.readTemplate(fmt.Sprintf("activities[%d].page.template", i), &a.Page)
	}
	d.deriveCrawlers(c)
	for i := range c.Upstreams {
		u := &c.Upstreams[i]
		at := join("upstreams", u.Name) + ".tls."
		var key string
		d.text(at+"ca", u.TLS.CA, &u.TLS.CAText)
		d.text(at+"cert", u.TLS.Cert, &u.TLS.CertText)
		d.text(at+"key", u.TLS.Key, &key)
		u.TLS.KeyText = NewSecret(key)
	}
	for i := range c.Keys {
		k := &c.Keys[i]
		file := fmt.Sprintf("keys[%d].file", i)
		if k.File == "" || d.given(fmt.Sprintf("keys[%d].secret", i)) && k.Secret != (Secret{}) {
			continue
		}
		text, err := readSecret(k.File)
		if err != nil {
			d.problem(file, "%v", err)
			continue
		}
		d.read(file, text)
		k.Secret = NewSecret(text)
	}
	d.readWords(c.Words)
}

// maxCatalogBytes is several times the largest catalog of any language.
const maxCatalogBytes = 256 << 10

// readWords has the hash name what the catalogs say. Whether they say it well
// is for the page to tell.
func (d *decoder) readWords(dir string) {
	if dir == "" || !d.sound("words") {
		return
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		d.problem("words", "read %q: %v", dir, cause(err))
		return
	}
	for _, entry := range entries {
		if filepath.Ext(entry.Name()) != ".json" {
			continue
		}
		data, err := readFile(filepath.Join(dir, entry.Name()), maxCatalogBytes)
		if err != nil {
			d.problem("words", "read %q: %v", filepath.Join(dir, entry.Name()), err)
			continue
		}
		d.read("words."+entry.Name(), string(data))
	}
}

// maxTemplateBytes leaves room for a picture or two within the page, which every
// visitor gets.
const maxTemplateBytes = 512 << 10

// readTemplate takes in the page of the operator's that is named at path. Whether
// it is one is for the page to tell.
func (d *decoder) readTemplate(path string, p *Page) {
	if p.Template == "" || !d.sound(path) {
		return
	}
	data, err := readFile(p.Template, maxTemplateBytes)
	switch {
	case err != nil:
		d.problem(path, "read %q: %v", p.Template, err)
	case len(bytes.TrimSpace(data)) == 0:
		d.problem(path, "%q is empty", p.Template)
	case !utf8.Valid(data):
		d.problem(path, "%q is not UTF-8", p.Template)
	default:
		d.read(path, string(data))
		p.TemplateText = string(data)
	}
}

// text reads the file that is named at path, if one is.
func (d *decoder) text(path, name string, into *string) {
	if name == "" {
		return
	}
	text, err := readSecret(name)
	if err != nil {
		d.problem(path, "%v", err)
		return
	}
	d.read(path, text)
	*into = text
}

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

// listened is an address that is listened on, with its key.
type listened struct{ path, address string }

func (l Listen) addresses() []listened {
	return []listened{{"listen.http", l.HTTP}, {"listen.https", l.HTTPS}, {"listen.admin", l.Admin}, {"listen.api", l.API}}
}

func (d *decoder) checkListen(c *Config) {
	addresses := c.Listen.addresses()
	for i, a := range addresses {
		if a.address == "" || !d.sound(a.path) {
			continue
		}
		host, port, err := net.SplitHostPort(a.address)
		if err != nil || !isPort(port, 0) {
			d.problem(a.path, "%q has no port from 0 to 65535", a.address)
			continue
		}
		if _, err := netip.ParseAddr(host); err != nil && strings.HasPrefix(a.address, "[") {
			d.problem(a.path, "%q is not an IPv6 address", host)
			continue
		}
		for _, b := range addresses[:i] {
			if b.address != "" && d.sound(b.path) && collide(a.address, b.address) {
				d.problem(a.path, "%q is taken by %s", a.address, b.path)
			}
		}
	}
	if c.Listen.ProxyProtocol != "off" && len(c.TrustedProxies) == 0 && d.sound("listen.proxy_protocol", "trusted_proxies") {
		d.warn("listen.proxy_protocol", "does nothing without trusted_proxies: no one else is believed")
	}
	switch {
	case !c.Listen.HTTP3 || !d.sound("listen.http3", "listen.https", "listen.proxy_protocol"):
	case c.Listen.HTTPS == "":
		d.problem("listen.http3", "needs listen.https, whose port and certificates it has")
	case c.Listen.ProxyProtocol != "off":
		d.problem("listen.http3", "does not go with listen.proxy_protocol: no balancer could say whose packets are whose")
	}
	if d.sound("listen.http") && c.Listen.HTTP == "" {
		d.problem("listen.http", "is empty: there would be nothing for visitors to reach")
	}
	if d.sound("listen.admin") && c.Listen.Admin != "" && !isLoopback(c.Listen.Admin) && !c.Admin.JWT.Configured() && d.soundJWT("admin") {
		d.problem("listen.admin", "%q can be reached from other machines; set admin.jwt.secret or admin.jwt.jwks_file, or use 127.0.0.1, [::1] or localhost", c.Listen.Admin)
	}
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

func (d *decoder) checkDatabase(c *Config) {
	const at = "database."
	db := c.Database
	for key, text := range map[string]Secret{at + "url": db.URL, at + "replica_url": db.ReplicaURL} {
		if text != (Secret{}) && !isPostgres(text.Reveal()) {
			d.problem(key, "is not a URL, like postgres://user:password@host:5432/name")
		}
	}
	if !d.sound("database", at+"url", at+"host", at+"user", at+"password", at+"name", at+"port", at+"sslmode") {
		return
	}
	parts := []struct {
		key string
		set bool
	}{
		{"host", db.Host != ""}, {"user", db.User != ""}, {"password", db.Password != (Secret{})}, {"name", db.Name != ""},
	}
	for _, part := range parts {
		switch {
		case !part.set:
		case db.URL != (Secret{}):
			d.problem(at+part.key, "stands beside database.url; give one URL, or the single keys")
		case db.Host == "":
			d.warn(at+part.key, "is not used without database.host")
		}
	}
	for _, key := range []string{at + "port", at + "sslmode"} {
		if db.URL != (Secret{}) && d.given(key) {
			d.warn(key, "is not used with database.url")
		}
	}
	if db.Configured() {
		return
	}
	if db.ReplicaURL != (Secret{}) && d.sound(at+"replica_url") {
		d.problem(at+"replica_url", "needs a database to follow; set database.url or database.host")
	}
	if d.given("spool.path") {
		d.warn("spool.path", "is not used without a database")
	}
}

func isPostgres(text string) bool {
	u, err := url.Parse(text)
	return err == nil && (u.Scheme == "postgres" || u.Scheme == "postgresql")
}

// collide says whether two addresses cannot both be listened on. Port 0 is any
// free port; an empty host is every address.
func collide(a, b string) bool {
	hostA, portA, _ := net.SplitHostPort(a)
	hostB, portB, _ := net.SplitHostPort(b)
	if number(portA) != number(portB) || number(portA) == 0 {
		return false
	}
	return hostA == hostB || isEverywhere(hostA) || isEverywhere(hostB)
}

func number(port string) int {
	n, _ := strconv.Atoi(port)
	return n
}

func isEverywhere(host string) bool { return host == "" || host == "0.0.0.0" || host == "::" }

func isLoopback(address string) bool {
	host, _, _ := net.SplitHostPort(address)
	if host == "localhost" {
		return true
	}
	addr, err := netip.ParseAddr(host)
	return err == nil && addr.Unmap().IsLoopback()
}

func (d *decoder) checkNetworks(c *Config) {
	for i, network := range c.TrustedProxies {
		path := fmt.Sprintf("trusted_proxies[%d]", i)
		if d.sound(path) && network.Bits() == 0 {
			d.warn(path, "believes everyone: any visitor can claim any address")
		}
	}
}

func (d *decoder) checkKeys(c *Config) {
	listed := places[string]{}
	for i, key := range c.Keys {
		path := fmt.Sprintf("keys[%d]", i)
		if other, twice := listed.twice(key.KID, i); twice && d.sound(path+".kid") {
			d.problem(path+".kid", "%q is also the name of keys[%d]", key.KID, other)
		}
		if !d.sound(path+".alg", path+".secret", path+".file") {
			continue
		}
		switch {
		case key.File != "" && d.given(path+".secret") && key.Secret != (Secret{}):
			d.problem(path, "has both secret and file; give one")
		case key.Secret == (Secret{}) && key.File == "":
			d.problem(path, "needs secret or file; without keys one is made")
		case key.Alg == "HS256" && len(key.Secret.Reveal()) < minSecretBytes:
			d.problem(keySource(path, key), "has %d bytes; HS256 needs at least %d", len(key.Secret.Reveal()), minSecretBytes)
		case key.Alg == "EdDSA" && !isEd25519(key.Secret.Reveal()):
			d.problem(keySource(path, key), "is not an Ed25519 private key in PEM (PKCS 8)")
		}
	}
}

// keySource gives the path of the value that a key came from.
func keySource(path string, key Key) string {
	if key.File != "" {
		return path + ".file"
	}
	return path + ".secret"
}

func isEd25519(text string) bool {
	block, _ := pem.Decode([]byte(text))
	if block == nil {
		return false
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return false
	}
	_, ok := key.(ed25519.PrivateKey)
	return ok
}

// checkJWT holds the keys of a JWT against its algorithm.
func (d *decoder) checkJWT(path string, j JWT) {
	alg, secret, file := path+".alg", path+".secret", path+".jwks_file"
	if !d.sound(alg, secret, file) {
		return
	}
	if j.Alg == "HS256" {
		if j.JWKSFile != "" {
			d.problem(file, "means nothing with alg HS256; name the alg of its keys, or give secret instead")
		}
		if n := len(j.Secret.Reveal()); n > 0 && n < minSecretBytes {
			d.problem(secret, "has %d bytes; HS256 needs at least %d", n, minSecretBytes)
		}
		return
	}
	if j.Secret != (Secret{}) {
		d.problem(secret, "means nothing with alg %s; its keys are in jwks_file", j.Alg)
	}
	if j.JWKSFile == "" {
		d.problem(file, "is missing; alg %s needs public keys", j.Alg)
		return
	}
	data, err := readFile(j.JWKSFile, maxSecretBytes)
	if err != nil {
		d.problem(file, "read %q: %v", j.JWKSFile, err)
		return
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if json.Unmarshal(data, &set) != nil || len(set.Keys) == 0 {
		d.problem(file, "%q holds no keys; a JWKS is JSON like {\"keys\": [...]}", j.JWKSFile)
	}
}

// soundJWT says whether it can be told if the JWT of a section has a key.
func (d *decoder) soundJWT(section string) bool {
	return d.sound(section, section+".jwt", section+".jwt.secret", section+".jwt.jwks_file")
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

func (d *decoder) checkActivities(c *Config) {
	routed := map[ActivityRef]bool{}
	for _, route := range c.Routes {
		routed[route.Activity] = true
	}
	listed := places[ActivityRef]{}
	for i, a := range c.Activities {
		path := fmt.Sprintf("activities[%d]", i)
		id, rate, burst := path+".id", path+".rate", path+".burst"
		if a.ID > 0 && d.sound(id) {
			if other, twice := listed.twice(a.byID(), i); twice {
				d.problem(id, "%d is also the id of activities[%d]; ids are unique over all tenants", a.ID, other)
			}
			if !routed[a.byID()] && !routed[a.bySKU()] {
				d.warn(path, "no route leads to activity %d", a.ID)
			}
		}
		if a.SKU != "" && d.sound(path+".sku", path+".tenant") {
			if other, twice := listed.twice(a.bySKU(), i); twice {
				d.problem(path+".sku", "%q is also the SKU of activities[%d]; SKUs are unique within a tenant", a.SKU, other)
			}
		}
		d.checkRate(rate, burst, a.Rate, a.Burst)
		d.checkAdaptive(path, a)
		if d.sound(path+".capacity", rate) && a.Capacity == 0 && a.Rate == (Rate{}) && a.Mode == "auto" {
			d.warn(path, "has neither capacity nor rate: it lets everyone in")
		}
		if d.sound(path+".session.idle", path+".session.max") && a.Session.Idle > a.Session.Max {
			d.problem(path+".session.idle", "is longer than session.max, %v", a.Session.Max)
		}
		if d.sound(path+".start_at", path+".end_at") && !a.EndAt.IsZero() && !a.StartAt.IsZero() && !a.EndAt.After(a.StartAt) {
			d.problem(path+".end_at", "is not after start_at")
		}
		if d.sound(path+".work.bits", path+".work.max") && a.Work.Bits > a.Work.Max {
			d.problem(path+".work.bits", "is more than work.max, %d", a.Work.Max)
		}
		if a.AfterEnd == "open" && a.EndAt.IsZero() && d.sound(path+".end_at") {
			d.warn(path+".after_end", "means nothing without end_at")
		}
		d.checkBypass(c, i)
		if a.Order == "draw" && d.sound(path+".order", path+".start_at") && a.StartAt.IsZero() {
			d.problem(path+".order", "needs start_at: who comes before it is drawn")
		}
		if a.Order == "draw" && a.Prequeue == 0 && d.sound(path+".order", path+".prequeue") {
			d.problem(path+".prequeue", "is 0s: nobody could join the draw")
		}
		if a.Order != "draw" && a.Draw.Beacon != "" && d.sound(path+".order", path+".draw.beacon") {
			d.problem(path+".draw.beacon", "means nothing without order: draw")
		}
		if a.Identity.Claim != "" && !c.API.JWT.Configured() && d.soundJWT("api") {
			d.problem(path+".identity.claim", "needs the key of the shop's JWT; set api.jwt.secret or api.jwt.jwks_file")
		}
		if d.sound(path+".stock", path+".stock.initial") && a.Stock.Initial < 0 {
			const idle = "does nothing until a stock is set; initial is missing"
			if a.Stock.Show {
				d.warn(path+".stock.show", idle)
			}
			if a.Stock.StopAt > 0 {
				d.warn(path+".stock.stop_at", idle)
			}
		}
	}
}

// byID and bySKU are what a route may call an activity.
func (a Activity) byID() ActivityRef  { return ActivityRef{ID: a.ID} }
func (a Activity) bySKU() ActivityRef { return ActivityRef{Tenant: a.Tenant, SKU: a.SKU} }

func (d *decoder) checkRoutes(c *Config) {
	var upstreams []string
	used := map[string]bool{}
	for _, u := range c.Upstreams {
		upstreams = append(upstreams, u.Name)
		d.checkServers(join("upstreams", u.Name)+".servers", u.Servers)
		d.checkLoops(join("upstreams", u.Name)+".servers", u.Servers, c.Listen)
		d.checkTrust(join("upstreams", u.Name)+".tls", u)
		if at := join("upstreams", u.Name) + ".proxy_protocol"; u.ProxyProtocol != "off" && u.Protocol == "http2" && d.sound(at) {
			d.problem(at, "cannot tell whose a connection of protocol http2 is: it carries the requests of many; use http1")
		}
	}
	// An activity whose own name is wrong cannot be told from a missing one, and
	// one that is missing here may be made by the API.
	activities, whole := map[ActivityRef]bool{}, d.sound("activities", "database", "database.url", "database.host")
	for i, a := range c.Activities {
		activities[a.byID()], activities[a.bySKU()] = true, true
		path := fmt.Sprintf("activities[%d]", i)
		whole = whole && a.ID > 0 && d.sound(path+".id", path+".tenant", path+".sku")
	}
	type spot struct{ host, path string }
	listed := places[spot]{}
	for i, r := range c.Routes {
		path := fmt.Sprintf("routes[%d]", i)
		if d.sound(path+".host", path+".path") {
			here := spot{r.Host, r.Path}
			if other, twice := listed.twice(here, i); twice {
				d.problem(path, "has the host and path of routes[%d]", other)
			}
		}
		if d.sound("prefix", path+".path") && liesBelow(r.Path, c.Prefix) {
			d.problem(path+".path", "%q lies under prefix, which the gateway keeps for itself", r.Path)
		} else if c.API.Enabled && d.sound("api.prefix", path+".path") && liesBelow(r.Path, c.API.queue()) {
			d.problem(path+".path", "%q lies under %s, which is the queue API's", r.Path, c.API.queue())
		}
		used[r.Upstream] = true
		if r.Upstream != "" && d.sound("upstreams", path+".upstream") && !slices.Contains(upstreams, r.Upstream) {
			d.problem(path+".upstream", "there is no upstream %q%s", r.Upstream, didYouMean(r.Upstream, upstreams))
		}
		activity, ref := path+".activity", r.Activity
		switch {
		case !d.given(activity):
			if d.given(path + ".missing") {
				d.problem(path+".missing", "means nothing without an activity")
			}
		case !d.sound(activity, activity+".id", activity+".tenant", activity+".sku"):
		case ref == ActivityRef{}:
			d.problem(activity, "names no activity; leave it out to let everyone pass")
		case ref.ID != 0 && ref != ActivityRef{ID: ref.ID}:
			d.problem(activity, "has more than an id; give the id alone, or tenant and sku")
		case ref.ID == 0 && (ref.Tenant == "" || ref.SKU == ""):
			d.problem(activity, "needs both tenant and sku, or an id alone")
		case activities[ref] || !whole || c.Database.Configured():
		case ref.ID != 0:
			d.problem(activity, "there is no activity %d", ref.ID)
		default:
			d.problem(activity, "there is no activity of tenant %q with the SKU %q", ref.Tenant, ref.SKU)
		}
	}
	for _, name := range upstreams {
		if !used[name] {
			d.warn(join("upstreams", name), "no route leads to it")
		}
	}
}

// checkServers refuses two servers that are one.
func (d *decoder) checkServers(path string, servers []Server) {
	listed := places[url.URL]{}
	for i, s := range servers {
		at := fmt.Sprintf("%s[%d].url", path, i)
		if s.URL == nil || !d.sound(at) {
			continue
		}
		if other, twice := listed.twice(*s.URL, i); twice {
			d.problem(at, "is also the url of servers[%d]; a larger share is its weight", other)
		}
	}
}

// checkLoops refuses servers that are the gateway itself.
func (d *decoder) checkLoops(path string, servers []Server, l Listen) {
	for i, s := range servers {
		at := fmt.Sprintf("%s[%d].url", path, i)
		if s.URL == nil || !d.sound(at) {
			continue
		}
		for _, own := range l.addresses() {
			if !d.sound(own.path) || !reaches(s.URL, own.address) {
				continue
			}
			if own.path == "listen.http" || own.path == "listen.https" {
				d.problem(at, "%q is %s: requests would come back for ever", s.URL, own.path)
			} else {
				d.problem(at, "%q is %s, and no shop", s.URL, own.path)
			}
			break
		}
	}
}

// reaches says whether a URL surely leads to an address that is listened on, on
// this machine. What only a name server could tell is found out by requests.
func reaches(u *url.URL, address string) bool {
	host, port, err := net.SplitHostPort(address)
	if err != nil || u.Scheme == "unix" || number(port) == 0 || number(port) != number(portOf(u)) {
		return false
	}
	to, here := u.Hostname(), isLoopback(net.JoinHostPort(u.Hostname(), port)) || isEverywhere(u.Hostname())
	switch {
	case to == host:
		return true
	case to == "localhost" || host == "localhost" || isEverywhere(to) || isEverywhere(host):
		return here && (isEverywhere(host) || isLoopback(address))
	}
	return false
}

// portOf is the port that a URL leads to.
func portOf(u *url.URL) string {
	switch {
	case u.Port() != "":
		return u.Port()
	case u.Scheme == "https":
		return "443"
	}
	return "80"
}

// checkTrust holds the TLS of an upstream against itself and its servers.
func (d *decoder) checkTrust(path string, u Upstream) {
	t := u.TLS
	if !d.sound(path, path+".ca", path+".cert", path+".key", path+".server_name") {
		return
	}
	if t.CA != "" && !x509.NewCertPool().AppendCertsFromPEM([]byte(t.CAText)) {
		d.problem(path+".ca", "%q holds no certificate in PEM", t.CA)
	}
	switch {
	case t.Cert != "" && t.Key == "":
		d.problem(path+".cert", "needs its key")
	case t.Key != "" && t.Cert == "":
		d.problem(path+".key", "needs cert, the certificate that it is the key of")
	case t.Cert != "":
		if _, err := tls.X509KeyPair([]byte(t.CertText), []byte(t.KeyText.Reveal())); err != nil {
			d.problem(path+".cert", "%q with key %q: %v", t.Cert, t.Key, err)
		}
	}
	if t.SkipVerify {
		d.warn(path+".skip_verify", "whoever is on the way to the shop can read and change everything")
	}
	secure := func(s Server) bool { return s.URL == nil || s.URL.Scheme == "https" }
	if t.CA+t.Cert+t.ServerName != "" && !slices.ContainsFunc(u.Servers, secure) {
		d.warn(path, "is not used: no server's url is https")
	}
}

// liesBelow says whether path is prefix or lies under it, in the case that shops
// on case-insensitive servers would see.
func liesBelow(path, prefix string) bool {
	path, prefix = strings.ToLower(path), strings.ToLower(prefix)
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}

// checkAdaptive holds a rate that follows the shop against its bounds.
func (d *decoder) checkAdaptive(path string, a Activity) {
	lowest := path + ".adaptive.min"
	if !d.sound(path+".rate", path+".adaptive", path+".adaptive.p95", path+".adaptive.errors", lowest) {
		return
	}
	switch {
	case !a.Adaptive.On() && d.given(lowest):
		d.problem(lowest, "does nothing without p95 or errors")
	case a.Adaptive.On() && a.Rate == (Rate{}):
		d.problem(path+".adaptive", "needs rate, the highest that it may be")
	case a.Adaptive.On() && a.Adaptive.Min.PerHour() > a.Rate.PerHour():
		d.problem(lowest, "is above rate, %v", a.Rate)
	}
}
