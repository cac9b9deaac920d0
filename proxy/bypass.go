package proxy

import (
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"

	"github.com/ropeline/ropeline/visitor"
)

// Rule lets pass, uncounted, the requests that match all it names. A zero field
// names nothing; a Rule must name something.
type Rule struct {
	Path    string       // a prefix by segment, in canonical form
	Network netip.Prefix // of the client, after trusted proxies were taken off
	Method  string       // in capitals; GET is HEAD too

	// Header is the name of a header that only this gateway reads: no shop is
	// sent it, whatever the request. Value is the secret it must hold.
	Header, Value string

	Crawler *Crawler
}

// rule is a Rule with what its requests need made ready.
type rule struct {
	Rule
	name   string // as metrics and the log are told it
	header string // as net/http spells it
	value  [sha256.Size]byte

	// shared is set where anyone at all may pass by the rule: caches may keep
	// the answers as the shop says.
	shared bool
}

func ready(rules []Rule) []rule {
	all := make([]rule, len(rules))
	for i, r := range rules {
		all[i] = rule{
			Rule: r, name: "bypass[" + strconv.Itoa(i) + "]",
			header: http.CanonicalHeaderKey(r.Header), value: sha256.Sum256([]byte(r.Value)),
			shared: !r.Network.IsValid() && r.Header == "" && r.Crawler == nil,
		}
	}
	return all
}

// check refuses a rule that would let pass what nobody meant.
func (r Rule) check() error {
	switch {
	case r == Rule{}:
		return errors.New("names nothing")
	case r.Path != "" && !canonical(r.Path):
		return fmt.Errorf("path %q is not in canonical form", r.Path)
	case (r.Header == "") != (r.Value == ""):
		return errors.New("a header needs a name and a value")
	case r.Header != "" && visitor.Reserved(http.CanonicalHeaderKey(r.Header)):
		return fmt.Errorf("the header %s is the gateway's own", r.Header)
	}
	return nil
}

// bypass returns the first rule of the route's activity that r matches; nil:
// none. plain reports whether the path has but one reading. Rules are asked
// their cheapest question first, and a name server last.
func (x *exchange) bypass(r *http.Request, plain bool) *rule {
	for i := range x.route.rules {
		rule := &x.route.rules[i]
		if rule.method(r) && rule.network(x.who.Client) && rule.secret(r.Header) && rule.path(r.URL, plain) &&
			(rule.Crawler == nil || rule.Crawler.Sent(r.Context(), r.UserAgent(), x.who.Client)) {
			return rule
		}
	}
	return nil
}

// method reports whether r has the method, and asks for no other by a header
// that some frameworks obey.
func (r *rule) method(q *http.Request) bool {
	if r.Method == "" {
		return true
	}
	for _, name := range [...]string{"X-Http-Method-Override", "X-Http-Method", "X-Method-Override"} {
		if len(q.Header[name]) > 0 {
			return false
		}
	}
	return q.Method == r.Method || q.Method == http.MethodHead && r.Method == http.MethodGet
}

func (r *rule) network(client netip.Addr) bool {
	return !r.Network.IsValid() || r.Network.Contains(client) // no network contains an unknown address
}

// secret compares hashes: the time it takes says nothing of the value, nor of
// its length.
func (r *rule) secret(h http.Header) bool {
	if r.Header == "" {
		return true
	}
	said := h[r.header]
	if len(said) != 1 {
		return false
	}
	sum := sha256.Sum256([]byte(said[0]))
	return subtle.ConstantTimeCompare(sum[:], r.value[:]) == 1
}

// path reports whether u lies at or below the rule's path whichever way the
// shop may read it: a gate goes by any reading, a way past it by all of them.
func (r *rule) path(u *url.URL, plain bool) bool {
	if r.Path == "" {
		return true
	}
	if plain {
		return liesIn(u.Path, r.Path)
	}
	if u.Path == "" {
		return r.Path == "/"
	}
	all, ok := readings(u)
	for _, reading := range all {
		ok = ok && liesIn(reading, r.Path)
	}
	return ok
}

func liesIn(path, prefix string) bool {
	if prefix == "/" {
		return true
	}
	rest, ok := strings.CutPrefix(path, prefix)
	return ok && (rest == "" || rest[0] == '/')
}
