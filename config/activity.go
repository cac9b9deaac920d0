package config

import "fmt"

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
