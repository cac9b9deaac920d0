package api

import (
	"context"
	"errors"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// mostPasses is how many passes one request makes at most.
const mostPasses = 1000

// madePass is a pass to hand out: whoever shows the token holds it.
type madePass struct {
	ID    string `json:"id"`
	Token string `json:"token"`
}

// makePasses makes passes of one kind.
func (a *AdminAPI) makePasses(c *call, o Offered) (any, error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	count, kind := int64(1), struct {
		Uses        int64     `json:"uses"`
		Until       time.Time `json:"until"`
		BeforeStart bool      `json:"before_start"`
	}{Uses: 1}
	for _, f := range []struct {
		name string
		into any
		kind sentence
	}{{"count", &count, anInteger}, {"uses", &kind.Uses, anInteger}, {"until", &kind.Until, aTime}, {"before_start", &kind.BeforeStart, aFlag}} {
		if err := body.read(f.name, f.into, f.kind); err != nil {
			return nil, err
		}
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	switch {
	case count < 1 || count > mostPasses:
		return nil, wrong("count", sayRange, 1, mostPasses)
	case kind.Uses < 1 || kind.Uses > admission.MaxPassUses:
		return nil, wrong("uses", sayRange, 1, admission.MaxPassUses)
	case kind.Until.IsZero():
		return nil, wrong("until", sayMissing)
	}
	made, err := o.Room.MakePasses(int(count), admission.Pass{Uses: kind.Uses, Until: admission.InstantOf(kind.Until), Early: kind.BeforeStart})
	switch {
	case errors.Is(err, admission.ErrPass): // its uses are right
		return nil, wrong("until", sayWithinYear)
	case err != nil:
		return nil, err
	}
	passes, ids := make([]madePass, len(made)), make([]string, len(made))
	for i, p := range made {
		passes[i], ids[i] = madePass(p), p.ID
	}
	a.changed(c, "activity.passes", o.TenantID, o.ID, nil, struct {
		Passes []string `json:"passes"`
		Of     any      `json:"of"`
	}{ids, kind})
	return struct {
		ActivityID int64      `json:"activity_id"`
		Passes     []madePass `json:"passes"`
	}{o.ID, passes}, nil
}

// revokePass has a pass let nobody in any more.
func (a *AdminAPI) revokePass(c *call, o Offered) (any, error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	var id string
	if err := body.read("id", &id, aText); err != nil {
		return nil, err
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.Context(), patienceOfStore)
	defer cancel()
	switch err := o.Room.RevokePass(ctx, id); {
	case errors.Is(err, admission.ErrPassID):
		return nil, wrong("id", sayPassID)
	case err != nil:
		return nil, lined(err)
	}
	revoked := struct {
		ActivityID int64  `json:"activity_id"`
		ID         string `json:"id"`
	}{o.ID, id}
	a.changed(c, "activity.revoke", o.TenantID, o.ID, nil, revoked)
	return revoked, nil
}
