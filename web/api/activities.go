package api

import (
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
)

const (
	// largestBody bounds the body of a change, in bytes.
	largestBody = 64 << 10

	standardPage = 20
	largestPage  = 100
	lastPage     = 1_000_000 // far enough, and its offset is a number to any database

	mostVisitors = 1_000_000_000

	// leastRate is one visitor per hour, the finest that a line can keep: what
	// is less would be no limit at all.
	leastRate = 1.0 / 3600
)

// activity is an Offered as it is answered. One of the file was made at no time
// that anyone knows.
type activity struct {
	catalog.Activity
	CreatedAt *time.Time     `json:"created_at"`
	UpdatedAt *time.Time     `json:"updated_at"`
	Source    string         `json:"source"`
	Mode      admission.Mode `json:"mode"` // in force now, the operator's decisions included
}

func activityOf(o Offered, f admission.Figures) activity {
	known := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		return &t
	}
	return activity{o.Activity, known(o.CreatedAt), known(o.UpdatedAt), o.Source, f.Limits.Mode}
}

// pagination is which part of a list an answer holds.
type pagination struct {
	Page  int64 `json:"page"`
	Limit int64 `json:"limit"`
	Total int64 `json:"total"`
	Pages int64 `json:"pages"`
}

// page reads which part of a list is asked for.
func (q query) page() (pagination, error) {
	page, err := q.number("page", 1, lastPage)
	if err != nil {
		return pagination{}, err
	}
	limit, err := q.number("limit", standardPage, largestPage)
	return pagination{Page: page, Limit: limit}, err
}

// of completes p for a list of so many.
func (p pagination) of(total int64) pagination {
	p.Total, p.Pages = total, (total+p.Limit-1)/p.Limit
	return p
}

var statusNames = []string{string(catalog.Draft), string(catalog.Active), string(catalog.Paused), string(catalog.Ended)}

func knownStatus(s catalog.Status) bool {
	switch s {
	case catalog.Draft, catalog.Active, catalog.Paused, catalog.Ended:
		return true
	}
	return false
}

type activityList struct {
	Activities []activity `json:"activities"`
	Pagination pagination `json:"pagination"`
}

// list answers with the activities that the bearer may know of.
func (a *AdminAPI) list(c *call) (any, error) {
	query, err := c.query()
	if err != nil {
		return nil, err
	}
	asked, err := query.page()
	if err != nil {
		return nil, err
	}
	tenant, status := query.get("tenant_id"), catalog.Status(query.get("status"))
	if status != "" && !knownStatus(status) {
		return nil, wrong("status", sayOneOf, strings.Join(statusNames, ", "))
	}
	var chosen []Offered
	for _, o := range a.Activities.All() {
		if c.sees(o.TenantID) && (tenant == "" || tenant == o.TenantID) && (status == "" || status == o.Status) {
			chosen = append(chosen, o)
		}
	}
	answer := activityList{Activities: []activity{}, Pagination: asked.of(int64(len(chosen)))}
	from := min((asked.Page-1)*asked.Limit, int64(len(chosen)))
	for _, o := range chosen[from:min(from+asked.Limit, int64(len(chosen)))] {
		answer.Activities = append(answer.Activities, activityOf(o, o.Room.Figures()))
	}
	return answer, nil
}

func (a *AdminAPI) read(c *call, o Offered) (any, error) {
	tag(c.answer, o.Activity)
	return activityOf(o, o.Room.Figures()), nil
}

// tag names the version in the answer's headers.
func tag(h http.Header, a catalog.Activity) { h.Set("ETag", `"`+strconv.FormatInt(a.Version, 10)+`"`) }

// made is an activity as the catalog answered: the line has it within a second.
type made struct {
	catalog.Activity
	Source string `json:"source"`
}

// create makes an activity.
func (a *AdminAPI) create(c *call) (any, error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	next := catalog.Activity{TenantID: c.bearer.TenantID, Status: catalog.Draft}
	if err := body.read("id", &next.ID, anInteger); err != nil {
		return nil, err
	}
	switch {
	case next.ID == 0:
	case c.bearer.TenantID != "": // the YAML file may name an id for someone else
		return nil, wrong("id", sayAssigned)
	case next.ID < 0 || next.ID > largestActivity:
		return nil, wrong("id", sayRange, 1, largestActivity)
	}
	if err := body.read("tenant_id", &next.TenantID, aText); err != nil {
		return nil, err
	}
	if !c.sees(next.TenantID) {
		return nil, refused(Forbidden, sayOtherTenant).with("field", "tenant_id")
	}
	if err := fill(&next, body); err != nil {
		return nil, err
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	if err := check(next, a.Activities.System()); err != nil {
		return nil, err
	}
	kept, err := a.Activities.Create(c.Context(), next)
	if err != nil {
		return nil, stored(err)
	}
	a.changed(c, "activity.create", kept.TenantID, kept.ID, nil, kept)
	c.status = http.StatusCreated
	c.answer.Set("Location", "/api/v1/admin/activities/"+strconv.FormatInt(kept.ID, 10))
	tag(c.answer, kept)
	return made{kept, FromAPI}, nil
}

// update changes the fields of an activity that the request names.
func (a *AdminAPI) update(c *call, o Offered) (any, error) {
	if o.Source != FromAPI {
		return nil, refused(Conflict, sayOfFile).with("reason", FromFile)
	}
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	next := o.Activity
	id, tenant := next.ID, next.TenantID
	if err := body.read("id", &id, anInteger); err != nil {
		return nil, err
	}
	if err := body.read("tenant_id", &tenant, aText); err != nil {
		return nil, err
	}
	switch {
	case id != next.ID:
		return nil, wrong("id", sayFixed)
	case tenant != next.TenantID:
		return nil, wrong("tenant_id", sayFixed)
	}
	var version int64
	if err := body.read("version", &version, anInteger); err != nil {
		return nil, err
	}
	if next.Version, err = c.version("version", version, next.Version); err != nil {
		return nil, err
	}
	if err := fill(&next, body); err != nil {
		return nil, err
	}
	body.skip("source", "mode", "created_at", "updated_at") // an answer may be sent back changed
	if err := body.end(); err != nil {
		return nil, err
	}
	if err := check(next, a.Activities.System()); err != nil {
		return nil, err
	}
	kept, err := a.Activities.Update(c.Context(), next)
	if err != nil {
		return nil, stored(err)
	}
	a.changed(c, "activity.update", kept.TenantID, kept.ID, o.Activity, kept)
	tag(c.answer, kept)
	return made{kept, FromAPI}, nil
}

// remove takes an activity away.
func (a *AdminAPI) remove(c *call, o Offered) (any, error) {
	if o.Source != FromAPI {
		return nil, refused(Conflict, sayOfFile).with("reason", FromFile)
	}
	query, err := c.query()
	if err != nil {
		return nil, err
	}
	version, err := query.number("version", 0, largestActivity)
	if err != nil {
		return nil, err
	}
	if version, err = c.version("version", version, o.Version); err != nil {
		return nil, err
	}
	if err := a.Activities.Delete(c.Context(), o.ID, version); err != nil {
		return nil, stored(err)
	}
	a.changed(c, "activity.delete", o.TenantID, o.ID, o.Activity, nil)
	return struct {
		ID int64 `json:"id"`
	}{o.ID}, nil
}

// version is the one that a change is meant for: what the request names, or
// the current one where it names none, so that the last to write wins.
func (c *call) version(field string, named, current int64) (int64, error) {
	text := c.Header.Get("If-Match")
	if text == "" || text == "*" {
		if named == 0 {
			return current, nil
		}
		return named, nil
	}
	tagged, ok := number(strings.Trim(text, `"`))
	switch {
	case !ok:
		return 0, refused(Conflict, sayChanged).with("reason", "version")
	case named != 0 && named != tagged:
		return 0, wrong(field, sayVersions)
	}
	return tagged, nil
}

// fill takes what a request says of an activity, and leaves the rest as it is.
func fill(a *catalog.Activity, body *fields) error {
	for _, f := range []struct {
		name string
		into any
		kind sentence
	}{
		{"name", &a.Name, aText}, {"sku", &a.SKU, aText}, {"initial_stock", &a.InitialStock, anInteger},
		{"start_at", &a.StartAt, aTime}, {"end_at", &a.EndAt, aTime}, {"status", &a.Status, aText},
	} {
		if err := body.read(f.name, f.into, f.kind); err != nil {
			return err
		}
	}
	config, err := body.object("config")
	if err != nil || config == nil {
		return err
	}
	for _, f := range []struct {
		name string
		into any
		kind sentence
	}{
		{"release_rate", &a.Config.ReleaseRate, aNumber}, {"poll_interval", &a.Config.PollInterval, anInteger},
		{"max_queue_size", &a.Config.MaxQueueSize, anInteger}, {"capacity", &a.Config.Capacity, anInteger},
		{"burst", &a.Config.Burst, anInteger},
	} {
		if err := config.read(f.name, f.into, f.kind); err != nil {
			return err
		}
	}
	session, err := config.object("session")
	if err != nil {
		return err
	}
	if session != nil {
		if err := session.read("idle", &a.Config.Session.Idle, anInteger); err != nil {
			return err
		}
		if err := session.read("max", &a.Config.Session.Max, anInteger); err != nil {
			return err
		}
		if err := session.end(); err != nil {
			return err
		}
	}
	return config.end()
}

var tenantForm = regexp.MustCompile(`^[a-z0-9-]{1,50}$`)

// check refuses an activity that cannot be meant, and names the first field
// that is wrong.
func check(a catalog.Activity, system catalog.System) error {
	switch {
	case a.TenantID == "":
		return wrong("tenant_id", sayMissing)
	case !tenantForm.MatchString(a.TenantID):
		return wrong("tenant_id", sayTenantForm)
	}
	if err := line("name", a.Name, 1, 100); err != nil {
		return err
	}
	if err := line("sku", a.SKU, 0, 64); err != nil {
		return err
	}
	if n := a.InitialStock; n != nil && (*n < 0 || *n > mostVisitors) {
		return wrong("initial_stock", sayRange, 0, mostVisitors)
	}
	if a.StartAt != nil && a.EndAt != nil && !a.StartAt.Before(*a.EndAt) {
		return wrong("end_at", sayAfter, "start_at")
	}
	if !knownStatus(a.Status) {
		return wrong("status", sayOneOf, strings.Join(statusNames, ", "))
	}
	if r := a.Config.ReleaseRate; r != 0 && (r < leastRate || r > system.MaxReleaseRate) {
		return wrong("config.release_rate", sayZeroOrRange, "1/3600", system.MaxReleaseRate)
	}
	for _, n := range []struct {
		field           string
		is, least, most int64
	}{
		{"poll_interval", a.Config.PollInterval, shortestPoll, longestPoll},
		{"max_queue_size", a.Config.MaxQueueSize, 0, mostVisitors},
		{"capacity", a.Config.Capacity, 0, mostVisitors},
		{"burst", a.Config.Burst, 0, admission.MaxBurst},
		{"session.idle", a.Config.Session.Idle, shortestStay, longestStay},
		{"session.max", a.Config.Session.Max, shortestStay, longestStay},
	} {
		if n.is != 0 && (n.is < n.least || n.is > n.most) {
			return wrong("config."+n.field, sayZeroOrRange, n.least, n.most)
		}
	}
	if s := a.Config.Session; s.Max != 0 && s.Idle > s.Max {
		return wrong("config.session.idle", sayAtMost, "config.session.max")
	}
	return nil
}

// The bounds are those of the YAML file's keys.
const (
	shortestPoll = 100              // ms
	longestPoll  = 10 * 60 * 1000   // ms
	shortestStay = 10               // s
	longestStay  = 24 * 60 * 60     // s
	longestHold  = 7 * 24 * 60 * 60 // s
)

// instant is t for an answer; nil for none.
func instant(t time.Time) *time.Time {
	if t.IsZero() {
		return nil
	}
	t = t.UTC()
	return &t
}
