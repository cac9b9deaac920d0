package main

import (
	"cmp"
	"math"
	"slices"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/config"
	"github.com/ropeline/ropeline/visitor"
	"github.com/ropeline/ropeline/waitpage"
)

// offer is an activity as the gateway serves it, of the file or made by the
// API.
type offer struct {
	line       admission.LineID
	settings   admission.Settings
	identity   visitor.Identity
	claim      string // of the shop's token, that is an identity too; empty: none
	bypass     []config.Bypass
	assets     bool // parts of pages pass
	compat     waitpage.Compat
	pageStatus int
	theme      config.Theme
	form       catalog.Activity // in the form of the API
	made       bool             // by the API
}

// offers are the activities of a file and those that were made, by ascending
// id. Of two with one id, or with one tenant and sku, the file's counts: hidden
// are the made ones that do not.
func offers(c *config.Config, made catalog.Snapshot) (all []offer, hidden []catalog.Activity) {
	for _, a := range c.Activities {
		all = append(all, ofFile(c, a))
	}
	for _, a := range made.Activities {
		if clashes(c, a) {
			hidden = append(hidden, a)
			continue
		}
		all = append(all, ofCatalog(c, a, made.System))
	}
	slices.SortFunc(all, func(a, b offer) int { return cmp.Compare(a.line.Activity, b.line.Activity) })
	return all, hidden
}

// clashes reports whether the file has an activity with the id, or the article,
// of one that was made or is to be.
func clashes(c *config.Config, made catalog.Activity) bool {
	return slices.ContainsFunc(c.Activities, func(a config.Activity) bool {
		return a.ID == made.ID || a.SKU != "" && a.SKU == made.SKU && a.Tenant == made.TenantID
	})
}

func ofFile(c *config.Config, a config.Activity) offer {
	o := offer{
		line: admission.LineID{Tenant: a.Tenant, Activity: a.ID},
		form: formOf(c, a), pageStatus: int(a.Page.Status), theme: a.Page.Theme, claim: a.Identity.Claim,
		identity: visitor.Identity{Header: a.Identity.Header, Cookie: a.Identity.Cookie},
		bypass:   a.Bypass, assets: a.Page.Assets == "pass", compat: waitpage.Compat(a.Page.Compat),
		settings: admission.Settings{
			Limits: admission.Limits{
				Mode: admission.Mode(a.Mode), Capacity: a.Capacity, RatePerHour: a.Rate.PerHour(), Burst: a.Burst,
				Claim: a.Claim, Absence: a.Absence, HoldPlace: a.HoldPlace,
				Idle: a.Session.Idle, Max: a.Session.Max, StartAt: a.StartAt, EndAt: a.EndAt,
				JoinsPerHour: a.JoinLimit.Rate.PerHour(), JoinBurst: a.JoinLimit.Rate.Count,
				MaxQueue: a.MaxQueue, StopAt: a.Stock.StopAt,
				Draw: a.Order == "draw", Prequeue: a.Prequeue,
			},
			Adaptive:      admission.Adaptive{P95: a.Adaptive.P95, Errors: a.Adaptive.Errors, MinPerHour: a.Adaptive.Min.PerHour()},
			Beacon:        a.Draw.Beacon,
			ShowStock:     a.Stock.Show,
			Poll:          poll(c),
			Message:       a.Page.Message,
			OpenOnFailure: a.OnStoreFailure == "open",
			OpenAfterEnd:  a.AfterEnd == "open",
			Bind:          admission.Bind{UserAgent: slices.Contains(a.Bind, "user_agent"), Network: slices.Contains(a.Bind, "network")},
			Sharing:       sharing(a.Sharing),
			Work:          admission.Work{Bits: int(a.Work.Bits), Max: int(a.Work.Max)},
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

func sharing(s config.Sharing) admission.Sharing {
	if s.Policy == "off" {
		return admission.Sharing{}
	}
	return admission.Sharing{
		Hold: s.Policy == "hold", Networks: int(s.Networks), Agents: int(s.Agents), Window: s.Window,
		RequestsPerHour: s.Requests.PerHour(), RequestBurst: s.Requests.Count,
	}
}

// formOf tells an activity of the file in the form of the API, as far as that
// goes.
func formOf(c *config.Config, a config.Activity) catalog.Activity {
	form := catalog.Activity{
		ID: a.ID, TenantID: a.Tenant, Name: a.Name, SKU: a.SKU, Status: catalog.Active,
		Config: catalog.Config{
			ReleaseRate: float64(a.Rate.PerHour()) / 3600, PollInterval: c.Poll.Min.Milliseconds(),
			MaxQueueSize: a.MaxQueue, Capacity: a.Capacity, Burst: a.Burst,
			Session: catalog.Session{Idle: int64(a.Session.Idle / time.Second), Max: int64(a.Session.Max / time.Second)},
		},
	}
	switch admission.Mode(a.Mode) {
	case admission.ModeHold:
		form.Status = catalog.Paused
	case admission.ModeClosed:
		form.Status = catalog.Draft
	}
	if a.Stock.Initial >= 0 {
		form.InitialStock = &a.Stock.Initial
	}
	if !a.StartAt.IsZero() {
		form.StartAt = &a.StartAt
	}
	if !a.EndAt.IsZero() {
		form.EndAt = &a.EndAt
	}
	return form
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
	madeNetworks  = 4
	madeAgents    = 2
	madeWindow    = time.Minute
	madeRequests  = 1200 // per minute and session
)

func ofCatalog(c *config.Config, a catalog.Activity, system catalog.System) offer {
	rate := a.Config.ReleaseRate
	if rate == 0 || rate > system.MaxReleaseRate { // no limit of its own is not above the ceiling
		rate = system.MaxReleaseRate
	}
	limits := admission.Limits{
		Mode: admission.ModeAuto, Capacity: a.Config.Capacity,
		RatePerHour: int64(math.Round(rate * 3600)),
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
		form: a, made: true, pageStatus: 200, assets: true,
		settings: admission.Settings{
			Limits: limits, Poll: poll(c), Networks: admission.Networks{IPv4: 32, IPv6: 64},
			Sharing: admission.Sharing{Networks: madeNetworks, Agents: madeAgents, Window: madeWindow, RequestsPerHour: madeRequests * 60, RequestBurst: madeRequests},
		},
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
