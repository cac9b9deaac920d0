package proxy

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/ropeline/ropeline/visitor"
)

// passParameter carries a pass in the query of any address of a gated route.
const passParameter = "ropeline-pass"

// takePass has a visitor who opens the link of a pass keep it, and leads on to
// the same address without it: the shop, its logs and its links to elsewhere
// never have it. It returns false where r brings none.
func (x *exchange) takePass(r *http.Request) bool {
	if !strings.Contains(r.URL.RawQuery, passParameter) || r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	token, rest, found := cutParameter(r.URL.RawQuery, passParameter)
	if !found {
		return false
	}
	if x.front != nil { // the visitor is led to where this can be answered
		x.outcome, x.reason = outcomeHeld, "pass"
		return x.lead(r)
	}
	visit := x.who.Visit(r, x.route.Activity.ID)
	x.verdict = x.route.Activity.Room.TakePass(visit, token)
	x.outcome, x.reason = outcomeRedirected, "pass"
	to := *r.URL
	to.RawQuery = rest
	h := x.answer.Header()
	visitor.Keep(h, x.route.Activity.ID, x.verdict, x.who.Secure)
	h.Set("Cache-Control", "no-store")
	h.Set("Location", onSite(to.RequestURI()).RequestURI())
	x.answer.WriteHeader(http.StatusSeeOther)
	return true
}

// cutParameter takes every parameter of a name out of a query, which else stays
// as it is, and returns the value of the last.
func cutParameter(query, name string) (value, rest string, found bool) {
	var kept []string
	for pair := range strings.SplitSeq(query, "&") {
		key, text, _ := strings.Cut(pair, "=")
		if key != name {
			kept = append(kept, pair)
			continue
		}
		found = true
		if plain, err := url.QueryUnescape(text); err == nil {
			value = plain
		}
	}
	return value, strings.Join(kept, "&"), found
}
