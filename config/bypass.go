package config

import (
	"fmt"
	"slices"
	"strings"
)

// minGateSecret is how many bytes cannot be guessed.
const minGateSecret = 16

// speaking are headers that others than the gateway must read.
var speaking = []string{"authorization", "cookie", "host", "content-type", "content-length", "user-agent", "accept", "origin", "referer"}

func (d *decoder) checkBypass(c *Config, i int) {
	a := c.Activities[i]
	var crawlers []string
	for _, crawler := range c.Crawlers {
		crawlers = append(crawlers, crawler.Name)
	}
	for j, b := range a.Bypass {
		path := fmt.Sprintf("activities[%d].bypass[%d]", i, j)
		name, value := path+".header.name", path+".header.value"
		lower := strings.ToLower(b.Header.Name)
		switch {
		case !d.sound(path, path+".path", path+".cidr", path+".method", path+".header", path+".crawler", name, value):
			continue
		case b == Bypass{}:
			d.problem(path, "names nothing: everyone would pass; for that there is mode: open")
		case b.Header.Name == "" && b.Header.Value != (Secret{}):
			d.problem(name, "is missing")
		case b.Header.Name != "" && len(b.Header.Value.Reveal()) < minGateSecret:
			d.problem(value, "has %d bytes, and can be guessed; use at least %d", len(b.Header.Value.Reveal()), minGateSecret)
		case slices.Contains(speaking, lower) || strings.HasPrefix(lower, "ropeline") || strings.HasPrefix(lower, "sec-") || strings.HasPrefix(lower, "x-forwarded-"):
			d.problem(name, "%s has a meaning of its own, and no shop is sent the header of a rule; choose a new name", b.Header.Name)
		case b.Crawler != "" && !slices.Contains(crawlers, b.Crawler):
			d.problem(path+".crawler", "there is no crawler %q%s", b.Crawler, didYouMean(b.Crawler, crawlers))
		case b.CIDR.IsValid() && b.CIDR.Bits() == 0:
			d.warn(path+".cidr", "is everyone")
		case b == Bypass{Method: b.Method}:
			d.warn(path, "everyone's %s requests pass", b.Method)
		case b.Path != "" && !d.leads(c, a, b.Path):
			d.warn(path+".path", "no route of activity %d leads there", a.ID)
		}
	}
}

// leads reports whether a route of an activity covers a path, or lies below it.
func (d *decoder) leads(c *Config, a Activity, path string) bool {
	return slices.ContainsFunc(c.Routes, func(r Route) bool {
		if r.Activity != a.byID() && (a.SKU == "" || r.Activity != a.bySKU()) {
			return false
		}
		return r.Path == "/" || path == "/" || liesBelow(path, r.Path) || liesBelow(r.Path, path)
	})
}
