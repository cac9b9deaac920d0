// Package config turns a YAML file and the environment into checked, plain
// values, and into one problem with a position for every mistake. It starts
// nothing and knows nothing of what is built from its values.
package config

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net/netip"
	"net/url"
	"os"
	"time"
)

// Config is everything an operator can say. Its struct tags are the one
// description of the file (see field): the reader, the names of environment
// variables, the JSON Schema and RestartNeeded all follow from them.
//
// A Config that Load returned is complete: what was left out has its default.
// It is shared by whoever reads it, so nobody changes it.
type Config struct {
	Listen         Listen         `key:"listen,restart" doc:"Addresses to listen on, as host:port."`
	TLS            TLS            `key:"tls,restart" doc:"Certificates of the HTTPS listener."`
	Store          Store          `key:"store,restart" doc:"Where the lines of all activities are kept."`
	Upstreams      []Upstream     `key:"upstreams,named,required" form:"upstream" doc:"Where the shops live, by name."`
	Activities     []Activity     `key:"activities" doc:"Sales that let in only as many visitors as the shop can take."`
	Words          string         `key:"words" form:"directory" doc:"A directory of catalogs, one tag.json for each language: they add languages to the waiting page, or change the words of the built-in ones. Empty: none."`
	Routes         []Route        `key:"routes,required" doc:"Host and path to what happens there. The most specific route wins; a path matches by whole segments."`
	Prefix         string         `key:"prefix,restart" default:"/_ropeline" form:"prefix" doc:"The path that the gateway keeps for itself on every host."`
	TrustedProxies []netip.Prefix `key:"trusted_proxies" doc:"Networks (CIDR) of the proxies in front whose X-Forwarded-* headers are believed, and whose PROXY protocol headers are where listen.proxy_protocol has them, and which may ask whether a request may pass."`
	Crawlers       []Crawler      `key:"crawlers" doc:"Search engines that bypass rules may name. Known without it: googlebot, bingbot, applebot, yandexbot, baiduspider; one of these names here replaces it."`
	Keys           []Key          `key:"keys" doc:"Keys of the tokens: the first signs, all verify. Empty: one is made once and kept in the store."`
	Admin          Admin          `key:"admin" doc:"Who may use the admin listener."`
	API            API            `key:"api" doc:"The queue API."`
	Poll           Poll           `key:"poll" doc:"How often waiting pages ask for their status."`
	Log            Log            `key:"log" doc:"What is written to standard error."`
	Loadtest       Loadtest       `key:"loadtest" doc:"Who may bring a crowd here, for a test."`
	Traces         Traces         `key:"traces,restart" doc:"Spans of requests, for an OpenTelemetry collector."`
	Limits         Limits         `key:"limits,restart" doc:"Limits of one client connection."`
	Drain          Drain          `key:"drain,restart" doc:"How the gateway stops."`
	Spool          Spool          `key:"spool,restart" doc:"Where records wait while the database is away."`
	Webhooks       []Webhook      `key:"webhooks" doc:"Programs of yours that are told what happens to the lines."`
	Database       Database       `key:"database,restart" doc:"PostgreSQL, for the record. In its durations a bare integer means seconds."`

	// Warnings are what loaded but looks wrong, in the order of Problems.
	Warnings []Problem

	file   string           // that was loaded
	places map[string]place // of its keys

	// Hash names what was loaded: the file and all that the environment and
	// the files named in it added. It cannot be turned back.
	Hash string
}

// Listen says where the gateway listens. An empty address is not listened on.
type Listen struct {
	HTTP  string `key:"http" default:":8080" form:"address" doc:"Public HTTP."`
	HTTPS string `key:"https" form:"address" doc:"Public HTTPS, with certificates as tls says; empty: none."`
	HTTP3 bool   `key:"http3" default:"false" doc:"Speak HTTP/3 too, on the UDP port of https."`
	Admin string `key:"admin" default:"127.0.0.1:8081" form:"address" doc:"Health, metrics and the admin API; beyond loopback only with a key in admin.jwt; empty: none."`
	API   string `key:"api" form:"address" doc:"The queue API on an address of its own; empty: none."`

	ProxyProtocol string `key:"proxy_protocol" default:"off" enum:"off|accept|require" doc:"Whether connections of trusted_proxies to http and https begin with a PROXY protocol header, version 1 or 2, that tells whose they are. accept: one without is the proxy's own; require: one without is closed."`
}

// TLS says where certificates come from, and how visitors are brought to HTTPS.
type TLS struct {
	Mode     string     `key:"mode" default:"off" enum:"off|acme|files|internal" doc:"Where certificates come from. off: no HTTPS; acme: from a CA, for the host names of the routes; files: from tls.files; internal: from a CA that the gateway makes itself and no browser trusts, for development."`
	Files    []CertFile `key:"files" doc:"The certificates of mode files. A visitor who names none of their hosts gets the first."`
	ACME     ACME       `key:"acme" doc:"The CA of mode acme."`
	Redirect bool       `key:"redirect" default:"true" doc:"Send visitors from HTTP to HTTPS, where there is a certificate for the host."`
	HSTS     HSTS       `key:"hsts" doc:"Strict-Transport-Security, on answers over HTTPS to which the shop set none."`
}

// CertFile is a certificate with its key.
type CertFile struct {
	Cert string `key:"cert,required" form:"text" doc:"A file of the certificate and those that lead to its CA, PEM, from the working directory. A change is taken up by itself."`
	Key  string `key:"key,required" form:"text" doc:"A file of its private key, PEM."`
}

// ACME is a CA that gives certificates by RFC 8555.
type ACME struct {
	CA            string        `key:"ca" default:"https://acme-v02.api.letsencrypt.org/directory" form:"text" doc:"The URL of its directory."`
	Email         string        `key:"email" form:"email" doc:"Where it writes to about certificates; best given."`
	EAB           EAB           `key:"eab" doc:"The account of yours that it wants to be told (external account binding)."`
	RootFile      string        `key:"root_file" doc:"Certificates, PEM, by which the CA itself is trusted; empty: the system's."`
	Path          string        `key:"path" default:"ropeline-certs" form:"text" doc:"A directory for certificates and accounts, which several gateways may share. With store.type redis they are in Redis."`
	CheckInterval time.Duration `key:"check_interval" default:"10m" min:"1s" max:"24h" doc:"How often certificates are looked at for renewal. For CAs whose certificates live for hours or less."`
}

// EAB is an account at a CA, as it has told its owner.
type EAB struct {
	KID  string `key:"kid" doc:"The key's name."`
	HMAC Secret `key:"hmac" doc:"The key, in URL-safe base64."`
}

// Configured says whether there is an account.
func (e EAB) Configured() bool { return e.KID != "" && e.HMAC != (Secret{}) }

// HSTS tells browsers to use nothing but HTTPS.
type HSTS struct {
	MaxAge     time.Duration `key:"max_age" default:"0s" min:"0s" max:"26280h" doc:"For how long; 0s: not told. A browser that was told cannot be told otherwise but over HTTPS."`
	Subdomains bool          `key:"subdomains" default:"false" doc:"For all hosts below this one too."`
}

// Store is where the lines are kept.
type Store struct {
	Type  string `key:"type" default:"memory" enum:"memory|redis" doc:"memory: in this process, written to a file before each answer; redis: shared by any number of gateways."`
	Path  string `key:"path" default:"ropeline.db" form:"text" doc:"The file of the memory store, from the working directory."`
	Redis Redis  `key:"redis" doc:"Redis. In its durations a bare integer means seconds."`
}

// Redis is how a Redis store is reached.
type Redis struct {
	Mode         string        `key:"mode" default:"single" enum:"single|sentinel|cluster" doc:"The kind of deployment."`
	Addresses    []string      `key:"addresses" form:"address" doc:"Servers, or sentinels, as host:port."`
	MasterName   string        `key:"master_name" doc:"The name that the sentinels know the master by."`
	Username     string        `key:"username" doc:"ACL user."`
	Password     Secret        `key:"password" doc:"Password."`
	DB           int64         `key:"db" default:"0" min:"0" doc:"Database number."`
	TLS          bool          `key:"tls" default:"false" doc:"Connect with TLS."`
	PoolSize     int64         `key:"pool_size" default:"10" min:"1" doc:"Connections at most."`
	MinIdleConns int64         `key:"min_idle_conns" default:"5" min:"0" doc:"Connections kept open."`
	MaxRetries   int64         `key:"max_retries" default:"3" min:"0" doc:"Tries after the first."`
	DialTimeout  time.Duration `key:"dial_timeout,seconds" default:"5s" min:"1ms" doc:"Time to connect."`
	ReadTimeout  time.Duration `key:"read_timeout,seconds" default:"3s" min:"1ms" doc:"Time for an answer."`
	WriteTimeout time.Duration `key:"write_timeout,seconds" default:"3s" min:"1ms" doc:"Time to send."`
	WaitReplicas int64         `key:"wait_replicas" default:"0" min:"0" doc:"Replicas that must have a write before it is answered."`
}

// Upstream is one shop: where requests go that may pass.
type Upstream struct {
	Name     string
	Servers  []Server         `key:"servers,required" doc:"The shop's servers."`
	Policy   string           `key:"policy" default:"least_conn" enum:"least_conn|round_robin|random|ip_hash" doc:"How a server is chosen: the least busy, one after the other, the less busy of two at random, or always the same for a client's network."`
	Health   Health           `key:"health" doc:"Asking servers whether they are well."`
	Timeouts UpstreamTimeouts `key:"timeouts" doc:"How long the gateway waits for the shop."`
	MaxConns int64            `key:"max_conns" default:"0" min:"0" max:"1000000" doc:"Requests under way at most, of this gateway; as many more wait for timeouts.dial. 0: no limit."`
	Retries  int64            `key:"retries" default:"1" min:"0" max:"10" doc:"Further servers that are asked where one cannot have got the request."`
	Protocol string           `key:"protocol" default:"http1" enum:"http1|http2" doc:"http2: by HTTP/2 where a server offers it over TLS, and in any case (h2c) without TLS."`
	TLS      UpstreamTLS      `key:"tls" doc:"TLS towards the servers."`

	ProxyProtocol string `key:"proxy_protocol" default:"off" enum:"off|v1|v2" doc:"Tell the servers by the PROXY protocol whose request it is. Each request then has a connection of its own, which costs a round trip, and a TLS handshake where there is TLS."`

	Breaker Breaker       `key:"breaker" doc:"When the gateway stops asking a failing upstream for a while. Only requests that it did not answer count, not the status of an answer."`
	Slow    time.Duration `key:"slow" default:"0s" min:"0s" max:"1h" doc:"Webhooks call the shop slow while more than one answer in twenty takes longer than this; 0s: never."`
}

// Server is one address of an upstream.
type Server struct {
	URL    *url.URL `key:"url,required" doc:"http or https, host and port; or unix:/path, a socket on this machine."`
	Weight int64    `key:"weight" default:"1" min:"1" max:"1000" doc:"Its share of the requests."`
}

// Health is how servers are asked whether they are well.
type Health struct {
	Path     string        `key:"path" form:"path" doc:"The path to ask; a status below 400 is well, a redirect is not followed. Empty: servers are not asked."`
	Interval time.Duration `key:"interval" default:"10s" min:"1s" max:"1h" doc:"Time between questions; two failures in a row leave a server out, two answers bring it back."`
}

// UpstreamTLS is how servers are spoken to over TLS. Its texts are what the
// files hold.
type UpstreamTLS struct {
	CA         string `key:"ca" doc:"A file (PEM) of who must have signed the servers' certificates; empty: whom the system trusts."`
	ServerName string `key:"server_name" form:"server_name" doc:"The name that they are asked by and must be for; empty: the URL's host."`
	Cert       string `key:"cert" doc:"A file (PEM) of the gateway's own certificate, where servers ask for one."`
	Key        string `key:"key" doc:"The file (PEM) of its key."`
	SkipVerify bool   `key:"skip_verify" default:"false" doc:"Accept any certificate: whoever is on the way can read and change everything."`

	CAText   string
	CertText string
	KeyText  Secret
}

// Breaker is when a failing upstream is not asked for a while.
type Breaker struct {
	Requests int64         `key:"requests" default:"20" min:"0" max:"1000000" doc:"Requests within ten seconds before it may open; 0: it never does."`
	Failures float64       `key:"failures" default:"0.5" min:"0.01" max:"1" doc:"The share of them that must fail."`
	Pause    time.Duration `key:"pause" default:"5s" min:"100ms" max:"10m" doc:"Time until a few requests try again."`

	RetryAfter time.Duration `key:"retry_after" default:"1m" min:"0s" max:"1h" doc:"The longest that no one new is let in where the shop asks for time, by 503 with Retry-After to several visitors and that share of its answers. 0s: it is not obeyed."`
}

// UpstreamTimeouts bound each step of a request to the shop.
type UpstreamTimeouts struct {
	Dial           time.Duration `key:"dial" default:"5s" min:"10ms" max:"5m" doc:"Time to connect, or to wait for one of max_conns."`
	TLSHandshake   time.Duration `key:"tls_handshake" default:"5s" min:"10ms" max:"5m" doc:"Time for the TLS handshake."`
	ResponseHeader time.Duration `key:"response_header" default:"30s" min:"10ms" max:"1h" doc:"Time from the request being sent to the headers of its answer."`
	Body           time.Duration `key:"body" default:"0s" min:"0s" max:"1h" doc:"How long the shop may pause within an answer, event streams excepted; 0: for ever."`
	Idle           time.Duration `key:"idle" default:"90s" min:"1s" max:"1h" doc:"How long an unused connection is kept; best below what the shop keeps it."`
}

// Activity is a sale with its own line.
type Activity struct {
	ID     int64  `key:"id,required" min:"1" max:"9007199254740991" doc:"Unique over all tenants, and never used for another sale: tokens name it."`
	Tenant string `key:"tenant" default:"default" form:"tenant" doc:"Whose activity it is."`
	Name   string `key:"name,required" form:"name" doc:"What visitors read."`
	SKU    string `key:"sku" form:"sku" doc:"The article on sale, unique within the tenant; empty: none."`

	Capacity  int64         `key:"capacity" default:"0" min:"0" max:"1000000000" doc:"Visitors inside at once; 0: no limit."`
	Rate      Rate          `key:"rate" doc:"New visitors per s, m or h, as 120/m; empty: no limit."`
	Burst     int64         `key:"burst" min:"1" max:"400000" doc:"Visitors let in at one instant at most. Default: half a second of rate, at least 2. With less than a quarter of a second of rate and 1 more, turns come somewhat slower than the rate."`
	MaxQueue  int64         `key:"max_queue" default:"0" min:"0" max:"1000000000" doc:"Visitors waiting at most; 0: no limit."`
	Absence   time.Duration `key:"absence" default:"3m" min:"10s" max:"1h" doc:"A waiting visitor not heard from for this long is passed over."`
	HoldPlace time.Duration `key:"hold_place" default:"15m" min:"0s" max:"168h" doc:"A visitor who was passed over keeps the place for this long."`
	Claim     time.Duration `key:"claim" default:"90s" min:"5s" max:"1h" doc:"A turn that is not taken for this long goes to the next."`
	Session   Session       `key:"session" doc:"The stay of a visitor inside."`

	Mode           string        `key:"mode" default:"auto" enum:"auto|hold|open|closed" doc:"auto: by schedule, capacity and rate; hold: visitors join and none is let in; open: everyone passes; closed: no one new joins."`
	Order          string        `key:"order" default:"arrival" enum:"arrival|draw" doc:"arrival: who comes first is first; draw: who comes before the start is drawn, and who comes later follows."`
	StartAt        time.Time     `key:"start_at" doc:"When it opens, RFC 3339 with offset; empty: at once."`
	EndAt          time.Time     `key:"end_at" doc:"When the activity is over, RFC 3339 with offset; empty: never."`
	Prequeue       time.Duration `key:"prequeue" default:"15m" min:"0s" max:"168h" doc:"How long before the start visitors may join the draw."`
	AfterEnd       string        `key:"after_end" default:"page" enum:"page|open" doc:"What visitors get after end_at with mode auto: page: that it is over; open: everyone passes, uncounted."`
	OnStoreFailure string        `key:"on_store_failure" default:"hold" enum:"hold|open" doc:"What newcomers get while the store is away."`

	Bind      []string  `key:"bind" enum:"user_agent|network" doc:"What tokens are bound to, so that they are worth nothing to another: the kind of browser and device, the network as join_limit counts it."`
	Identity  Identity  `key:"identity" doc:"What makes two visitors the same person."`
	Sharing   Sharing   `key:"sharing" doc:"When an admission is used by too many, as far as one gateway sees."`
	JoinLimit JoinLimit `key:"join_limit" doc:"Places that one network may take."`
	Work      Work      `key:"work" doc:"What a newcomer's device does before it joins, to make many places dear. docs/work.md tells what it asks of whom."`
	Bypass    []Bypass  `key:"bypass" doc:"Requests that pass uncounted: those that match all keys of any one rule."`
	Draw      Draw      `key:"draw" doc:"The draw."`
	Stock     Stock     `key:"stock" doc:"The article's stock."`
	Adaptive  Adaptive  `key:"adaptive" doc:"A rate that follows the shop: rate is its highest."`
	Page      Page      `key:"page" doc:"What waiting visitors see."`
}

// Session is the stay of an admitted visitor.
type Session struct {
	Idle time.Duration `key:"idle" default:"10m" min:"10s" max:"24h" doc:"A visitor who does nothing for this long is out."`
	Max  time.Duration `key:"max" default:"1h" min:"10s" max:"24h" doc:"After this long a visitor is out in any case."`
}

// Identity names where the shop says who a visitor is.
type Identity struct {
	Header string `key:"header" form:"header" doc:"A request header that a trusted proxy sets; from others it is not believed."`
	Cookie string `key:"cookie" form:"cookie" doc:"A cookie that the shop sets, hard to guess."`
	Claim  string `key:"claim" form:"claim" doc:"A claim of the shop's JWT, sent as Authorization: Bearer and verified as api.jwt says."`
}

// Sharing is when an admission looks as if more than one used it.
type Sharing struct {
	Policy   string        `key:"policy" default:"observe" enum:"off|observe|hold" doc:"observe: it is counted and logged; hold: uses beyond the bounds are turned away, as if they had no admission; off: no one looks."`
	Networks int64         `key:"networks" default:"4" min:"0" max:"16" doc:"Networks, as join_limit counts them, that may use one admission within window; 0: any number."`
	Agents   int64         `key:"agents" default:"2" min:"0" max:"16" doc:"Different User-Agents that may; 0: any number."`
	Window   time.Duration `key:"window" default:"1m" min:"1s" max:"1h" doc:"How long a use counts."`
	Requests Rate          `key:"requests" default:"1200/m" doc:"Requests of one session to gated routes, and as many at once; empty: no limit."`
}

// JoinLimit bounds the places that one network may take.
type JoinLimit struct {
	Rate Rate  `key:"rate" default:"120/m" doc:"Places per network; empty: no limit."`
	IPv4 int64 `key:"ipv4" default:"32" min:"8" max:"32" doc:"Length of an IPv4 network's prefix."`
	IPv6 int64 `key:"ipv6" default:"64" min:"16" max:"128" doc:"Length of an IPv6 network's prefix."`
}

// Work is what a newcomer's device does before it joins.
type Work struct {
	Bits int64 `key:"bits" default:"0" min:"0" max:"26" doc:"How much: it tries two to the power of this many numbers, on average. 18 is a second or two of a phone, and each one more is twice that; 0: nothing is asked."`
	Max  int64 `key:"max" default:"24" min:"1" max:"26" doc:"How much at most, of a network from which many come at once."`
}

// Bypass is one rule: a request that matches all that it names passes.
type Bypass struct {
	Path    string       `key:"path" form:"path_or_none" doc:"A path and all below it, in this very case."`
	CIDR    netip.Prefix `key:"cidr" doc:"The client's network, after trusted_proxies were taken off."`
	Method  string       `key:"method" form:"method" doc:"The request's method; GET is HEAD too."`
	Header  HeaderMatch  `key:"header" doc:"A secret that the request carries."`
	Crawler string       `key:"crawler" form:"crawler" doc:"A search engine, by its name in crawlers; proven, never taken at its word."`
}

// HeaderMatch is a header with its value.
type HeaderMatch struct {
	Name  string `key:"name" form:"header" doc:"A header that nobody else uses: no shop is sent it."`
	Value Secret `key:"value" doc:"Its value, at least 16 bytes."`
}

// Crawler is how a search engine is told from those who only say its name.
type Crawler struct {
	Name      string   `key:"name,required" form:"crawler_name" doc:"What bypass rules call it."`
	UserAgent string   `key:"user_agent,required" form:"name" doc:"What its User-Agent holds, in any case."`
	Domains   []string `key:"domains" form:"hostname" doc:"Where its addresses have their names: an address is looked up, and then whether its name leads back to it."`
	Files     []string `key:"files" form:"text" doc:"Lists of its networks, as it publishes them (JSON, or a network a line), from the working directory. Either proves it."`

	// Networks are what Files hold.
	Networks []netip.Prefix
}

// Draw is how a draw is made.
type Draw struct {
	Beacon string `key:"beacon" form:"message" doc:"Where a public value will come from that nobody can choose, and that the draw waits for; empty: it waits for none."`
}

// Stock is how much of the article there is, and what follows from it.
type Stock struct {
	Initial int64 `key:"initial" default:"-1" min:"-1" max:"1000000000" doc:"What there is to sell; -1: not counted."`
	Show    bool  `key:"show" default:"false" doc:"Visitors see what is left."`
	StopAt  int64 `key:"stop_at" default:"0" min:"0" max:"1000000000" doc:"No one new joins while as many wait as this times what is left; 0: no such limit."`
}

// Adaptive is how the rate follows the shop.
type Adaptive struct {
	P95    time.Duration `key:"p95" default:"0s" min:"0s" max:"1h" doc:"95 % of the shop's answers are to be faster; 0s: not looked at. Best two to four times what it is with few visitors."`
	Errors float64       `key:"errors" default:"0" min:"0" max:"1" doc:"The share of requests that may fail, as 2%; 0: not looked at."`
	Min    Rate          `key:"min" doc:"The lowest rate. Default: a twentieth of rate."`
}

// On says whether the rate follows anything.
func (a Adaptive) On() bool { return a.P95 > 0 || a.Errors > 0 }

// Page is what waiting visitors see.
type Page struct {
	Template  string   `key:"template" form:"text" doc:"A page of your own, as a Go html/template: a file, from the working directory. docs/visitors.md tells what it may use."`
	Status    int64    `key:"status" default:"200" enum:"200|202|429|503" doc:"The HTTP status of the waiting page for a browser."`
	Theme     Theme    `key:"theme" doc:"How the page looks."`
	Languages []string `key:"languages" form:"language" doc:"Languages of the page, as en or zh-Hant; the first is for who reads none of them. Empty: all there are, and English first."`
	Message   string   `key:"message" form:"message" doc:"A sentence of yours on the page."`
	Compat    string   `key:"compat" default:"none" enum:"none|cloudflare" doc:"Whose field names a program finds beside our own, if it sends exactly Accept: application/json."`
	Assets    string   `key:"assets" default:"pass" enum:"pass|hold" doc:"What happens to images, scripts, styles and fonts below a protected path that a page without admission asks for."`

	// TemplateText is what Template holds.
	TemplateText string
}

// Theme is how the page looks.
type Theme struct {
	Name   string `key:"name" form:"shop" doc:"The shop's name, above the activity's."`
	Logo   string `key:"logo" form:"logo" doc:"The shop's logo: an https address, or a data: address of an image in base64."`
	Accent string `key:"accent" form:"colour" doc:"The shop's colour, as \"#0a7d4f\", in quotes. It is made darker or lighter as far as it takes to be read."`
}

// Route says what happens to the requests of a host and path.
type Route struct {
	Host     string      `key:"host" default:"*" form:"host" doc:"A host name, *.example.com for its subdomains, or * for every host."`
	Path     string      `key:"path" default:"/" form:"path" doc:"A path and all below it."`
	Activity ActivityRef `key:"activity" doc:"The activity whose visitors may pass, by its id or as {tenant, sku}. Without it everyone may."`
	Upstream string      `key:"upstream,required" form:"upstream" doc:"The upstream that the requests go to."`
	Missing  string      `key:"missing" default:"hold" enum:"hold|open" doc:"What happens while there is no such activity: nobody passes, or everyone."`
}

// ActivityRef names an activity. The zero ActivityRef names none.
type ActivityRef struct {
	ID     int64  `key:"id,bare" min:"1" max:"9007199254740991" doc:"The activity's id."`
	Tenant string `key:"tenant" form:"tenant" doc:"The activity's tenant, where it is named by SKU."`
	SKU    string `key:"sku" form:"sku" doc:"The activity's SKU."`
}

// Key is a key of the tokens.
type Key struct {
	KID string `key:"kid,required" form:"kid" doc:"The key's name in the tokens. A new key needs a new name."`
	Alg string `key:"alg" default:"HS256" enum:"HS256|EdDSA" doc:"HS256: a secret of at least 32 bytes; EdDSA: an Ed25519 private key, PEM (PKCS 8)."`

	// Secret is the key itself, also where it came from File.
	Secret Secret `key:"secret" doc:"The key itself; better kept in file, or as ${NAME} in the environment."`
	File   string `key:"file" doc:"A file that holds the key, from the working directory; a line break at its end is dropped."`
}

// Admin says who may use the admin listener.
type Admin struct {
	JWT   JWT      `key:"jwt" doc:"How bearers of the admin API are verified; without a key there is none, only health and metrics."`
	Hosts []string `key:"hosts" form:"hostname" doc:"Host names by which browsers may reach the admin listener, besides localhost and loopback addresses."`
}

// JWT is how bearers of a JWT are verified.
type JWT struct {
	Alg      string `key:"alg" default:"HS256" enum:"HS256|EdDSA|RS256|ES256" doc:"The one algorithm that is accepted: HS256 by secret, the others by jwks_file."`
	Secret   Secret `key:"secret" doc:"The secret of HS256, at least 32 bytes."`
	JWKSFile string `key:"jwks_file" doc:"A file of public keys (JWKS), from the working directory."`
	Issuer   string `key:"issuer" doc:"The iss that is required; empty: any."`
	Audience string `key:"audience" default:"ropeline-admin" doc:"The aud that is required; empty: any."`
}

// Configured says whether there is a key to verify by.
func (j JWT) Configured() bool { return j.Secret != (Secret{}) || j.JWKSFile != "" }

// API is the queue API.
type API struct {
	Enabled     bool     `key:"enabled" default:"false" doc:"Serve it on the public listener."`
	Prefix      string   `key:"prefix" default:"/_ropeline" form:"api_prefix" doc:"Where on the public listener; empty: at its root."`
	CORSOrigins []string `key:"cors_origins" form:"origin" doc:"Origins whose pages may call it, as https://shop.example.com; *: all."`
	EnterLimit  Rate     `key:"enter_limit" default:"10/m" doc:"Entries per network; empty: no limit."`
	JWT         APIJWT   `key:"jwt" doc:"The shop's JWT."`
	JWTRequired bool     `key:"jwt_required" default:"false" doc:"Refuse callers without one."`
}

// APIJWT is how the shop's JWT is verified.
type APIJWT struct {
	Alg      string `key:"alg" default:"HS256" enum:"HS256|EdDSA|RS256|ES256" doc:"The one algorithm that is accepted: HS256 by secret, the others by jwks_file."`
	Secret   Secret `key:"secret" doc:"The secret of HS256, at least 32 bytes."`
	JWKSFile string `key:"jwks_file" doc:"A file of public keys (JWKS), from the working directory."`
	Issuer   string `key:"issuer" doc:"The iss that is required; empty: any."`
	Audience string `key:"audience" doc:"The aud that is required; empty: any."`
}

// Configured says whether there is a key to verify by.
func (j APIJWT) Configured() bool { return JWT(j).Configured() }

// Poll is how often waiting pages ask for their status, at one gateway.
type Poll struct {
	Min    time.Duration `key:"min" default:"2s" min:"100ms" max:"10m" doc:"The shortest interval, near the front."`
	Max    time.Duration `key:"max" default:"60s" min:"1s" max:"10m" doc:"The longest interval, far back, give or take a tenth."`
	Budget Rate          `key:"budget" default:"2000/s" doc:"Status answers of all waiting visitors of one gateway together."`

	// Streams bounds memory: each is about 35 KiB.
	Streams int64 `key:"streams" default:"1000" min:"0" max:"100000" doc:"Event streams of one gateway at once; who gets none polls."`
}

// Log is what the gateway writes.
type Log struct {
	Level  string `key:"level" default:"info" enum:"debug|info|warn|error" doc:"The least important level that is written."`
	Format string `key:"format,restart" default:"json" enum:"json|console" doc:"json for machines, console for people."`
	Access bool   `key:"access,restart" default:"true" doc:"A line for each request."`

	AccessLimit Rate `key:"access_limit,restart" default:"2000/s" doc:"Lines of requests at most; those of failed ones are written beyond it. Empty: no limit."`
}

// Traces are spans of requests, for an OpenTelemetry collector.
type Traces struct {
	Endpoint string  `key:"endpoint" form:"endpoint" doc:"Where it takes them by OTLP over HTTP, as http://127.0.0.1:4318/v1/traces; empty: none are made."`
	Sample   float64 `key:"sample" default:"0.01" min:"0" max:"1" doc:"The share of requests that have one, where no trusted proxy has decided."`
}

// Limits are what one client connection may ask for.
type Limits struct {
	HeaderBytes     int64         `key:"header_bytes,bytes" default:"16KiB" min:"4KiB" max:"1MiB" doc:"A request's line and headers at most."`
	BodyBytes       int64         `key:"body_bytes,bytes" default:"0" min:"0" doc:"A request's body at most; 0: no limit."`
	HeaderTimeout   time.Duration `key:"header_timeout" default:"10s" min:"100ms" max:"5m" doc:"Time to send the headers."`
	IdleTimeout     time.Duration `key:"idle_timeout" default:"75s" min:"1s" max:"1h" doc:"How long an unused connection is kept."`
	ConnsPerNetwork int64         `key:"conns_per_network" default:"0" min:"0" max:"1000000" doc:"Open connections of one IPv4 address or IPv6 /64 at most, at one gateway; those of trusted_proxies are not counted; 0: no limit."`
}

// Loadtest says who may bring a crowd to this gateway.
type Loadtest struct {
	Token Secret `key:"token" doc:"Who knows this token, at least 16 bytes, may run ropeline loadtest against the gateway from another machine; the gateway proves that it knows it too. Empty: nobody may."`
}

// Drain is how the gateway stops: it reports not ready, goes on serving for
// Delay so that balancers look elsewhere, then gives requests Grace to end.
type Drain struct {
	Delay time.Duration `key:"delay" default:"5s" min:"0s" max:"10m" doc:"Time between reporting not ready and taking no more connections."`
	Grace time.Duration `key:"grace" default:"30s" min:"0s" max:"1h" doc:"Time for requests to end before they are cut."`
}

// Webhook is a program that is told what happens to the lines.
type Webhook struct {
	// URL is secret, as some receivers know their senders by nothing else.
	URL        Secret   `key:"url,required" doc:"Where it is told, by POST: https, or http with private."`
	Secret     Secret   `key:"secret" doc:"What events are signed with, at least 24 bytes, or whsec_ and base64; empty: they are not signed."`
	Events     []string `key:"events" enum:"activity.started|activity.ended|line.began|line.cleared|line.paused|line.resumed|shop.slow|shop.shut|shop.well|stock.sold_out|stock.back" doc:"What it is told of; empty: all."`
	Activities []int64  `key:"activities" min:"1" max:"9007199254740991" doc:"Whose lines, by id; empty: all."`
	Private    bool     `key:"private" default:"false" doc:"It may be in a private network or on this machine, and take plain HTTP."`
}

// Spool is where records wait while the database is away.
type Spool struct {
	Path string `key:"path" default:"ropeline-spool" form:"text" doc:"A directory."`
	Max  int64  `key:"max,bytes" default:"64MiB" min:"1MiB" doc:"Its size at most."`
}

// Database is how PostgreSQL is reached.
type Database struct {
	URL             Secret        `key:"url" doc:"Everything in one URL, as postgres://user:password@host:5432/name, in place of the single keys."`
	Host            string        `key:"host" doc:"Host; empty and no url: no database."`
	Port            int64         `key:"port" default:"5432" min:"1" max:"65535" doc:"Port."`
	User            string        `key:"user" doc:"User."`
	Password        Secret        `key:"password" doc:"Password."`
	Name            string        `key:"name" doc:"Database."`
	SSLMode         string        `key:"sslmode" default:"prefer" enum:"disable|allow|prefer|require|verify-ca|verify-full" doc:"As in libpq."`
	ReplicaURL      Secret        `key:"replica_url" doc:"A replica to read from."`
	MaxOpenConns    int64         `key:"max_open_conns" default:"25" min:"1" doc:"Connections at most."`
	MaxIdleConns    int64         `key:"max_idle_conns" default:"5" min:"0" doc:"Unused connections kept."`
	ConnMaxLifetime time.Duration `key:"conn_max_lifetime,seconds" default:"300s" min:"0s" doc:"Age at which a connection is closed."`
	ConnMaxIdleTime time.Duration `key:"conn_max_idle_time,seconds" default:"60s" min:"0s" doc:"Time unused after which a connection is closed."`
	Retention       time.Duration `key:"retention,seconds" default:"0s" min:"0s" doc:"How long entries are kept, by whole months; 0: for ever."`
}

// maxBytes bounds the file. It is read whole, and by a watcher again and
// again; the largest file Kubernetes can mount from a ConfigMap has 1 MiB.
const maxBytes = 4 << 20

// Load reads the file at path. environ is in the form of os.Environ, and says
// two things. It fills in ${NAME} and ${NAME:-default} in the file's values.
// And it overrides the file: ROPELINE_LISTEN_HTTP stands for listen.http, and so
// on for each single value outside lists and outside the upstreams; a secret may
// also be in a file that ROPELINE_…_FILE names. Overriding values are taken as
// they are, without filling in.
//
// The error is a Problems with every problem that was found, and then there is
// no Config. A Config may carry Warnings.
func Load(path string, environ []string) (*Config, error) {
	data, err := readFile(path, maxBytes)
	if errors.Is(err, fs.ErrNotExist) {
		err = fmt.Errorf("%w; ropeline init writes one, and --config names another", err)
	}
	if err != nil {
		return nil, Problems{{File: path, Line: 1, Column: 1, What: err.Error()}}
	}
	return load(path, data, environ)
}

// Parse is Load for a file that is not written yet, and will be called name.
func Parse(name string, text []byte, environ []string) (*Config, error) {
	return load(name, text, environ)
}

// readFile reads a regular file of at most limit bytes. Its errors leave the
// path out: callers name it, or must not.
func readFile(path string, limit int64) ([]byte, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, cause(err)
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, cause(err)
	}
	// A device or a pipe would never end, or block for ever.
	if !info.Mode().IsRegular() {
		return nil, fmt.Errorf("not a regular file")
	}
	data, err := io.ReadAll(io.LimitReader(f, limit+1))
	if err != nil {
		return nil, cause(err)
	}
	if int64(len(data)) > limit {
		return nil, fmt.Errorf("larger than %d bytes", limit)
	}
	return data, nil
}
