package main

import (
	"math"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/visitor"
)

// offer is an activity as the gateway serves it, of the file or made by the
// API.
type offer struct {
	line       admission.LineID
	name       string
	sku        string // empty: none
	settings   admission.Settings
	identity   visitor.Identity
	pageStatus int
	made       *catalog.Activity // nil: it is of the file
}

// offers are the activities of a file and those that were made, by id. Of two
// with one id, or with one tenant and sku, the file's counts: clashes are the
// made ones that do not.
func offers(c *config.Config, made []catalog.Activity, system catalog.System) (all []offer, clashes []catalog.Activity) {
	type article struct{ tenant, sku string }
	ids, articles := map[int64]bool{}, map[article]bool{}
	for _, a := range c.Activities {
		all = append(all, ofFile(c, a))
		ids[a.ID] = true
		articles[article{a.Tenant, a.SKU}] = a.SKU != ""
	}
	for _, a := range made {
		if ids[a.ID] || articles[article{a.TenantID, a.SKU}] {
			clashes = append(clashes, a)
			continue
		}
		all = append(all, ofCatalog(c, a, system))
	}
	return all, clashes
}

func ofFile(c *config.Config, a config.Activity) offer {
	o := offer{
		line: admission.LineID{Tenant: a.Tenant, Activity: a.ID},
		name: a.Name, sku: a.SKU, pageStatus: int(a.Page.Status),
		identity: visitor.Identity{Header: a.Identity.Header, Cookie: a.Identity.Cookie},
		settings: admission.Settings{
			Limits: admission.Limits{
				Mode: admission.Mode(a.Mode), Capacity: a.Capacity, RatePerHour: a.Rate.PerHour(), Burst: a.Burst,
				Claim: a.Claim, Absence: a.Absence, HoldPlace: a.HoldPlace,
				Idle: a.Session.Idle, Max: a.Session.Max, StartAt: a.StartAt, EndAt: a.EndAt,
				JoinsPerHour: a.JoinLimit.Rate.PerHour(), JoinBurst: a.JoinLimit.Rate.Count,
				MaxQueue: a.MaxQueue, StopAt: a.Stock.StopAt,
			},
			ShowStock:     a.Stock.Show,
			Poll:          poll(c),
			Message:       a.Page.Message,
			OpenOnFailure: a.OnStoreFailure == "open",
			Networks:      admission.Networks{IPv4: int(a.JoinLimit.IPv4), IPv6: int(a.JoinLimit.IPv6)},
		},
	}
	if a.Stock.Initial >= 0 {
		o.settings.Limits.Stock = admission.Stock{Counted: true, Left: a.Stock.Initial}
	}
	if a.Rate.PerHour() == 0 { // burst means nothing to a line without a rate
		o.settings.Limits.Burst = 1
	}
	return o
}

func poll(c *config.Config) admission.Poll {
	return admission.Poll{Min: c.Poll.Min, Max: c.Poll.Max, Budget: float64(c.Poll.Budget.PerHour()) / 3600}
}

// Of an activity made by the API, what its form does not say. They are the
// defaults of the YAML file's keys.
const (
	madeClaim     = 90 * time.Second
	madeAbsence   = 3 * time.Minute
	madeHoldPlace = 15 * time.Minute
	madeIdle      = 10 * time.Minute
	madeMax       = time.Hour
	madeJoins     = 120 // per minute and network
)

func ofCatalog(c *config.Config, a catalog.Activity, system catalog.System) offer {
	limits := admission.Limits{
		Mode: admission.ModeAuto, Capacity: a.Config.Capacity,
		RatePerHour: int64(math.Round(min(a.Config.ReleaseRate, system.MaxReleaseRate) * 3600)),
		Burst:       a.Config.Burst,
		Claim:       madeClaim, Absence: madeAbsence,
		HoldPlace:    min(madeHoldPlace, time.Duration(system.DefaultQueueTTL)*time.Second),
		Idle:         seconds(a.Config.Session.Idle, madeIdle),
		Max:          seconds(a.Config.Session.Max, madeMax),
		JoinsPerHour: madeJoins * 60, JoinBurst: madeJoins,
		MaxQueue: a.Config.MaxQueueSize,
	}
	if a.InitialStock != nil {
		limits.Stock = admission.Stock{Counted: true, Left: *a.InitialStock}
	}
	limits.Idle = min(limits.Idle, limits.Max)
	if limits.RatePerHour == 0 {
		limits.Burst = 1
	} else if limits.Burst = max(limits.Burst, admission.LeastBurst(limits.RatePerHour)); a.Config.Burst == 0 {
		limits.Burst = admission.Burst(limits.RatePerHour)
	}
	if a.StartAt != nil {
		limits.StartAt = *a.StartAt
	}
	if a.EndAt != nil {
		limits.EndAt = *a.EndAt
	}
	switch a.Status {
	case catalog.Active:
	case catalog.Paused:
		limits.Mode = admission.ModeHold
	case catalog.Ended:
		if limits.EndAt.IsZero() || limits.EndAt.After(a.UpdatedAt) {
			limits.EndAt = a.UpdatedAt
		}
	default: // a draft, and what this build does not know
		limits.Mode = admission.ModeClosed
	}
	o := offer{
		line: admission.LineID{Tenant: a.TenantID, Activity: a.ID},
		name: a.Name, sku: a.SKU, pageStatus: 200, made: &a,
		settings: admission.Settings{Limits: limits, Poll: poll(c), Networks: admission.Networks{IPv4: 32, IPv6: 64}},
	}
	interval := time.Duration(a.Config.PollInterval) * time.Millisecond
	if interval == 0 {
		interval = time.Duration(system.DefaultPollInterval) * time.Millisecond
	}
	o.settings.Poll.Min = interval
	o.settings.Poll.Max = max(o.settings.Poll.Max, interval)
	return o
}

// seconds is n seconds, or otherwise where n is 0.
func seconds(n int64, otherwise time.Duration) time.Duration {
	if n == 0 {
		return otherwise
	}
	return time.Duration(n) * time.Second
}
