package api

import (
	"context"
	_ "embed"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/catalog"
)

// ControlRoom is the line of one activity, as operators ask it.
// Implementations are safe for concurrent use.
type ControlRoom interface {
	// Figures tells how the line stands, as of the last tick.
	Figures() admission.Figures
	// Foresee tells what decisions would change, and decides nothing.
	Foresee(change func(*admission.Overrides)) (admission.Foresight, error)
	// Find and Recognize tell where a number, or the holder of a token, stands.
	Find(number int64) admission.Found
	Recognize(token string) (admission.Found, bool)
	// Override has the operator's decisions changed, on every gateway.
	Override(ctx context.Context, change func(*admission.Overrides)) error
	// Reset ends every place and turn; sessions stay.
	Reset(ctx context.Context) error
	// Proof tells what anyone may know of the line's draw.
	Proof() admission.Proof
	// EnterBeacon enters the public value that the draw waits for. Its errors
	// are those of package admission.
	EnterBeacon(ctx context.Context, value string) error
	// MakePasses signs passes. The error is an admission.ErrPass.
	MakePasses(count int, of admission.Pass) ([]admission.MadePass, error)
	// RevokePass has a pass let nobody in any more.
	RevokePass(ctx context.Context, id string) error
}

// Where an activity was made.
const (
	FromFile = "file"
	FromAPI  = "api"
)

// Offered is an activity that the gateway serves. One of the file is in the
// form of the API as far as that goes; its version and times are zero.
type Offered struct {
	catalog.Activity
	Source    string // FromFile or FromAPI
	Room      ControlRoom
	Upstreams []string // by name, that its routes lead to
}

// Activities are all that the gateway serves, and what keeps those that the
// API makes. Errors are those of package catalog, wrapped or not.
// Implementations are safe for concurrent use.
type Activities interface {
	All() []Offered // by ascending id
	Create(ctx context.Context, a catalog.Activity) (catalog.Activity, error)
	Update(ctx context.Context, a catalog.Activity) (catalog.Activity, error)
	Delete(ctx context.Context, id, version int64) error
	System() catalog.System
	SetSystem(ctx context.Context, s catalog.System) error
}

// Record is what the database knows. Implementations are safe for concurrent
// use; Audit neither blocks nor fails.
type Record interface {
	Audit(change admission.Change)
	// Changes returns one page of those that the filter chooses, latest first,
	// and how many it chooses in all. Pages count from 1.
	Changes(ctx context.Context, filter admission.ChangeFilter, page, limit int) ([]admission.Change, int64, error)
	Analytics(ctx context.Context, line admission.LineID, from, to time.Time) (admission.Analytics, error)
	// Erase takes an identity out of the record, of one tenant or (empty) of all,
	// and returns how many entries there were. hash is what is kept of it.
	Erase(ctx context.Context, tenant string, hash func(admission.LineID) string) (entries int64, err error)
}

// AdminOptions are what an admin API is made of.
type AdminOptions struct {
	Activities Activities
	Record     Record // nil: no database is configured

	// Identity is the hash by which a line's record knows whom the shop calls so.
	Identity func(line admission.LineID, name string) string

	// Reload loads the configuration again. What is wrong with it is told to
	// the caller, and so are the changed keys that wait for a restart.
	Reload func(context.Context) (restart []string, err error)

	// Upstreams tells how all upstreams do; nil: there are none to tell of.
	Upstreams func() []Upstream

	// Bearer verifies the tokens of operators; it is asked anew for each
	// request. nil: no key is configured, and nobody may do anything.
	Bearer func() *Verifier

	Failed  func(Code) // is told of each error that is answered; nil: nobody is
	Gateway string     // this process's own name, for the audit
	Log     *zap.Logger
}

// AdminAPI is the admin API. It serves paths under /api/v1/ but for
// /api/v1/queue/, and is safe for concurrent use.
type AdminAPI struct {
	AdminOptions
	routes routes
	pulse  pulse
}

//go:embed openapi.yaml
var openAPI []byte

// NewAdmin returns an admin API. Run must be called for it to know rates.
func NewAdmin(o AdminOptions) *AdminAPI {
	a := &AdminAPI{AdminOptions: o}
	if a.Upstreams == nil {
		a.Upstreams = func() []Upstream { return nil }
	}
	const activities = "/api/v1/admin/activities"
	a.routes = routes{log: o.Log.Named("admin"), failed: o.Failed, all: []route{
		{http.MethodGet, activities, a.as(Viewer, a.list)},
		{http.MethodPost, activities, a.as(Admin, a.create)},
		{http.MethodGet, activities + "/{id}", a.as(Viewer, a.one(a.read))},
		{http.MethodPut, activities + "/{id}", a.as(Admin, a.one(a.update))},
		{http.MethodDelete, activities + "/{id}", a.as(Admin, a.one(a.remove))},
		{http.MethodGet, activities + "/{id}/status", a.as(Viewer, a.one(a.stands))},
		{http.MethodGet, activities + "/{id}/live", a.as(Viewer, a.one(a.live))},
		{http.MethodGet, activities + "/{id}/analytics", a.as(Viewer, a.one(a.analytics))},
		{http.MethodGet, activities + "/{id}/report", a.as(Viewer, a.one(a.event))},
		{http.MethodPost, activities + "/{id}/pause", a.as(Operator, a.one(a.pause))},
		{http.MethodPost, activities + "/{id}/resume", a.as(Operator, a.one(a.resume))},
		{http.MethodPost, activities + "/{id}/stock", a.as(Operator, a.one(a.stock))},
		{http.MethodPost, activities + "/{id}/overrides/preview", a.as(Operator, a.one(a.preview))},
		{http.MethodPost, activities + "/{id}/find", a.as(Viewer, a.one(a.find))},
		{http.MethodPost, activities + "/{id}/reset", a.as(Admin, a.one(a.reset))},
		{http.MethodGet, activities + "/{id}/draw", a.as(Viewer, a.one(a.draw))},
		{http.MethodPost, activities + "/{id}/draw/beacon", a.as(Operator, a.one(a.enterBeacon))},
		{http.MethodPost, activities + "/{id}/passes", a.as(Operator, a.one(a.makePasses))},
		{http.MethodPost, activities + "/{id}/passes/revoke", a.as(Operator, a.one(a.revokePass))},
		{http.MethodGet, activities + "/{id}/overrides", a.as(Viewer, a.one(a.overrides))},
		{http.MethodPut, activities + "/{id}/overrides", a.as(Operator, a.one(a.override))},
		{http.MethodGet, "/api/v1/admin/whoami", a.as(Viewer, a.whoami)},
		{http.MethodGet, "/api/v1/admin/live", a.as(Viewer, a.glance)},
		{http.MethodGet, "/api/v1/admin/audit", a.as(Viewer, a.audit)},
		{http.MethodPost, "/api/v1/admin/erase", a.as(Admin, a.erase)},
		{http.MethodPost, "/api/v1/admin/reload", a.as(Admin, whole(a.reload))},
		{http.MethodGet, "/api/v1/system/config", a.as(Viewer, whole(a.system))},
		{http.MethodPut, "/api/v1/system/config", a.as(Admin, whole(a.setSystem))},
		{http.MethodGet, "/api/v1/openapi.yaml", func(*call) (any, error) {
			return document{"application/yaml", openAPI}, nil
		}},
	}}
	return a
}

// ServeHTTP answers one request.
func (a *AdminAPI) ServeHTTP(w http.ResponseWriter, r *http.Request) { a.routes.ServeHTTP(w, r) }

// Run follows all lines until ctx ends.
func (a *AdminAPI) Run(ctx context.Context) error {
	return a.pulse.run(ctx, a.Activities.All, a.Upstreams)
}

// longestSubject is the longest sub that the audit takes, in bytes.
const longestSubject = 256

// as serves bearers of at least a role.
func (a *AdminAPI) as(least Role, serve func(*call) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		verifier := a.Bearer()
		if verifier == nil {
			return nil, refused(Forbidden, sayNoKey)
		}
		token, err := c.token()
		if err != nil {
			return nil, err
		}
		if token == "" {
			return nil, refused(Unauthorized, sayNoToken)
		}
		if c.bearer, err = verifier.Verify(token); err != nil {
			a.routes.log.Info("token refused", zap.String("request_id", c.id), zap.Error(err))
			return nil, refused(Unauthorized, sayBadToken)
		}
		switch {
		case c.bearer.Subject == "" || len(c.bearer.Subject) > longestSubject || !plain(c.bearer.Subject):
			return nil, refused(Unauthorized, sayNoSubject) // the audit could not say who
		case c.bearer.Role.rank() == 0:
			return nil, refused(Forbidden, sayNoRole)
		case c.bearer.Role.rank() < least.rank():
			return nil, refused(Forbidden, sayRole, string(least)).with("role", string(least))
		}
		return serve(c)
	}
}

// whoami tells the bearer what the token says.
func (a *AdminAPI) whoami(c *call) (any, error) {
	return struct {
		Subject   string    `json:"subject"`
		Role      Role      `json:"role"`
		TenantID  string    `json:"tenant_id"` // empty: all
		ExpiresAt time.Time `json:"expires_at"`
		Gateway   string    `json:"gateway"`
	}{c.bearer.Subject, c.bearer.Role, c.bearer.TenantID, c.bearer.Expires.UTC(), a.Gateway}, nil
}

// whole serves bearers who are not limited to one tenant.
func whole(serve func(*call) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		if c.bearer.TenantID != "" {
			return nil, refused(Forbidden, sayNoTenants)
		}
		return serve(c)
	}
}

// one serves requests for one activity that the bearer may know of. Another
// tenant's is not there.
func (a *AdminAPI) one(serve func(*call, Offered) (any, error)) func(*call) (any, error) {
	return func(c *call) (any, error) {
		for _, o := range a.Activities.All() {
			if o.ID == c.target && c.sees(o.TenantID) {
				return serve(c, o)
			}
		}
		return nil, refused(ActivityNotFound, sayNoActivity).with("activity_id", c.target)
	}
}

// sees reports whether the bearer may know of what is a tenant's.
func (c *call) sees(tenant string) bool {
	return c.bearer.TenantID == "" || c.bearer.TenantID == tenant
}

// changed records what the bearer did. Without a database the log has it.
func (a *AdminAPI) changed(c *call, action, tenant string, activity int64, before, after any) {
	change := admission.Change{
		At: time.Now().UTC(), Actor: c.bearer.Subject, Role: string(c.bearer.Role), Tenant: tenant,
		Action: action, Activity: activity, RequestID: c.id, Gateway: a.Gateway,
	}
	if before != nil {
		change.Before = raw(before)
	}
	if after != nil {
		change.After = raw(after)
	}
	if a.Record != nil {
		a.Record.Audit(change)
		return
	}
	a.routes.log.Info("changed", zap.String("action", action), zap.String("actor", change.Actor), zap.String("role", change.Role),
		zap.String("tenant", tenant), zap.Int64("activity", activity), zap.String("request_id", c.id),
		zap.ByteString("before", change.Before), zap.ByteString("after", change.After))
}

// stored translates what the catalog refuses a change for.
func stored(err error) error {
	switch {
	case errors.Is(err, catalog.ErrNotFound):
		return refused(ActivityNotFound, sayNoActivity)
	case errors.Is(err, catalog.ErrChanged):
		return refused(Conflict, sayChanged).with("reason", "version")
	case errors.Is(err, catalog.ErrTaken):
		return refused(Conflict, sayTaken).with("reason", "taken")
	case errors.Is(err, catalog.ErrNoDatabase):
		return refused(DatabaseUnavailable, sayNoDatabase)
	case errors.Is(err, catalog.ErrUnavailable):
		return failed(DatabaseUnavailable, err)
	}
	return err
}

// lined translates why a line did not do as it was told.
func lined(err error) error {
	if errors.Is(err, admission.ErrUnavailable) || errors.Is(err, context.DeadlineExceeded) {
		return failed(StoreUnavailable, err)
	}
	return err
}
