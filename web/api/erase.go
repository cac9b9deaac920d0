package api

import (
	"github.com/ropeline/ropeline/admission"
)

// longestIdentity is the longest that a shop may call a visitor, in characters:
// a header or a cookie may be longer than a user_hash.
const longestIdentity = 4096

// erase takes an identity out of the record of all activities that the bearer
// may know of.
func (a *AdminAPI) erase(c *call) (any, error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	var identity string
	if err := body.read("identity", &identity, aText); err != nil {
		return nil, err
	}
	if err := line("identity", identity, 1, longestIdentity); err != nil {
		return nil, err
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	if a.Record == nil {
		return nil, refused(DatabaseUnavailable, sayNoDatabase)
	}
	entries, err := a.Record.Erase(c.Context(), c.bearer.TenantID, func(line admission.LineID) string {
		return a.Identity(line, identity)
	})
	if err != nil {
		return nil, failed(DatabaseUnavailable, err)
	}
	answer := struct {
		Entries int64 `json:"entries"`
	}{entries}
	a.changed(c, "identity.erase", c.bearer.TenantID, 0, nil, answer) // never whose
	return answer, nil
}
