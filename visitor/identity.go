package visitor

import "net/http"

// Identity names where a request says who its visitor is to the shop. The zero
// Identity is nowhere.
type Identity struct {
	// Header is set by a trusted proxy that knows its visitors. From anyone
	// else it says nothing: a visitor would take another's place with it.
	Header string

	// Cookie is set by the shop. It must be hard to guess.
	Cookie string

	// Claim returns who the shop's token, sent as a bearer, says its visitor is;
	// empty where the token says nothing that can be believed. nil: no token is
	// looked at.
	Claim func(token string) string
}

// longestIdentity bounds what is taken for an identity, in bytes.
const longestIdentity = 512

// Identity returns what r says of who its visitor is; empty where it says
// nothing that can be believed.
func (v *Visitor) Identity(r *http.Request, from Identity) string {
	var said string
	if from.Header != "" && v.Trusted {
		said = r.Header.Get(from.Header)
	}
	if said == "" && from.Cookie != "" {
		if cookie, err := r.Cookie(from.Cookie); err == nil {
			said = cookie.Value
		}
	}
	if said == "" && from.Claim != nil {
		if token := bearer(r.Header); token != "" {
			said = from.Claim(token)
		}
	}
	if len(said) > longestIdentity {
		return ""
	}
	return said
}
