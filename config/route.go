package config

import (
	"fmt"
	"slices"
	"strings"
)

func (d *decoder) checkRoutes(c *Config) {
	var upstreams []string
	used := map[string]bool{}
	for _, u := range c.Upstreams {
		upstreams = append(upstreams, u.Name)
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

// liesBelow says whether path is prefix or lies under it, in the case that shops
// on case-insensitive servers would see.
func liesBelow(path, prefix string) bool {
	path, prefix = strings.ToLower(path), strings.ToLower(prefix)
	return path == prefix || strings.HasPrefix(path, prefix+"/")
}
