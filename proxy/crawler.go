package proxy

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"
)

// CrawlerSettings say how a search engine's requests are known.
type CrawlerSettings struct {
	// UserAgent is what its User-Agent holds, in any case. Who does not say so
	// is not asked for; that alone proves nothing.
	UserAgent string

	// Networks are those it published. Domains are the ones its addresses have
	// host names in: the name of an address is looked up, and then whether that
	// name has the address, for anyone may give their own addresses any name.
	// Either proves it.
	Networks []netip.Prefix
	Domains  []string
}

const (
	// mostKnownAddresses bounds what a Crawler remembers. A search engine
	// crawls a site from some hundred addresses.
	mostKnownAddresses = 4096

	// mostLookups bounds the names that are looked up at once for all who claim
	// to be one crawler. Beyond it a claim is not believed yet: a real crawler
	// comes again.
	mostLookups = 8

	// lookupPatience is how long a claim waits for name servers.
	lookupPatience = 2 * time.Second

	provenFor = 24 * time.Hour
	refuted   = time.Hour
	untold    = 30 * time.Second // the name servers could not say
)

// Crawler tells a search engine's requests from those that only say so. It is
// safe for concurrent use.
type Crawler struct {
	settings CrawlerSettings
	agent    string
	resolver *net.Resolver
	lookups  chan struct{} // holds one for each look-up under way

	mu    sync.Mutex // guards young and old
	young map[netip.Addr]*proof
	old   map[netip.Addr]*proof
}

// proof is what was found out about an address.
type proof struct {
	found  chan struct{} // closed when the rest is set, for good
	proven bool
	until  time.Time
}

// NewCrawler returns a Crawler that looks names up by resolver; nil: by the
// machine's own.
func NewCrawler(s CrawlerSettings, resolver *net.Resolver) *Crawler {
	if resolver == nil {
		resolver = net.DefaultResolver
	}
	return &Crawler{
		settings: s, agent: strings.ToLower(s.UserAgent), resolver: resolver,
		lookups: make(chan struct{}, mostLookups), young: map[netip.Addr]*proof{},
	}
}

// Sent reports whether a request of this User-Agent and client is the
// crawler's. It asks name servers at most once a while for an address, and
// waits for them 2 s at most.
func (c *Crawler) Sent(ctx context.Context, agent string, client netip.Addr) bool {
	if !client.IsValid() || !strings.Contains(strings.ToLower(agent), c.agent) {
		return false
	}
	for _, n := range c.settings.Networks {
		if n.Contains(client) {
			return true
		}
	}
	return len(c.settings.Domains) > 0 && c.named(ctx, client)
}

// named reports whether client has a name in one of the domains. Those who ask
// for one address at once wait for one look-up.
func (c *Crawler) named(ctx context.Context, client netip.Addr) bool {
	p := c.proofOf(client)
	if p == nil {
		return false
	}
	select {
	case <-p.found:
		return p.proven
	case <-ctx.Done():
		return false
	}
}

// proofOf returns what is known of client, or will be; nil: nothing, and too
// much is being looked up to ask now.
func (c *Crawler) proofOf(client netip.Addr) *proof {
	c.mu.Lock()
	defer c.mu.Unlock()
	p := c.young[client]
	if p == nil {
		p = c.old[client]
	}
	if p != nil && !p.over() {
		return p
	}
	select {
	case c.lookups <- struct{}{}:
	default:
		return nil
	}
	p = &proof{found: make(chan struct{})}
	c.keep(client, p)
	go c.find(client, p)
	return p
}

// over reports whether what was found is too old to be believed.
func (p *proof) over() bool {
	select {
	case <-p.found:
		return time.Now().After(p.until)
	default:
		return false // it is being looked up
	}
}

// find looks client up. It does not end with the request that asked: others
// wait for it too.
func (c *Crawler) find(client netip.Addr, p *proof) {
	ctx, cancel := context.WithTimeout(context.Background(), lookupPatience)
	defer cancel()
	proven, err := c.lookup(ctx, client)
	good := refuted
	switch {
	case err != nil:
		good = untold
	case proven:
		good = provenFor
	}
	p.proven, p.until = proven, time.Now().Add(good)
	<-c.lookups
	close(p.found)
}

// keep remembers p. The caller holds mu. A full memory forgets its older half,
// so that a flood of claims costs the proven no more than another look-up.
func (c *Crawler) keep(client netip.Addr, p *proof) {
	if _, known := c.young[client]; !known && len(c.young) >= mostKnownAddresses/2 {
		c.old, c.young = c.young, make(map[netip.Addr]*proof, mostKnownAddresses/2)
	}
	c.young[client] = p
}

// lookup asks for the names of client, and of those in a domain of the
// crawler's for their addresses. An error is that of name servers which did not
// answer; that there is no name is an answer.
func (c *Crawler) lookup(ctx context.Context, client netip.Addr) (bool, error) {
	names, err := c.resolver.LookupAddr(ctx, client.String())
	if err != nil {
		return false, unlessAnswered(err)
	}
	for _, name := range names {
		if !c.in(name) {
			continue
		}
		addresses, err := c.resolver.LookupNetIP(ctx, "ip", name)
		if err != nil {
			return false, unlessAnswered(err)
		}
		for _, a := range addresses {
			if a.Unmap().WithZone("") == client {
				return true, nil
			}
		}
	}
	return false, nil
}

func unlessAnswered(err error) error {
	if dns, ok := err.(*net.DNSError); ok && dns.IsNotFound {
		return nil
	}
	return err
}

func (c *Crawler) in(name string) bool {
	name = "." + strings.ToLower(strings.TrimSuffix(name, "."))
	for _, domain := range c.settings.Domains {
		if strings.HasSuffix(name, "."+domain) {
			return true
		}
	}
	return false
}
