package proxy

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/ropeline/ropeline/visitor"
)

// Activity is what the gate knows of one: whom to ask, and what to tell the
// shop.
type Activity struct {
	ID     int64
	Tenant string
	Room   Room

	// Identity is where requests say who a visitor is; zero: nowhere.
	Identity visitor.Identity

	// Bypass are the requests that pass uncounted.
	Bypass []Rule

	// PassAssets lets the images, scripts, styles and fonts of pages pass, too,
	// where their visitor has no admission.
	PassAssets bool

	// Idle is how long a session lasts unused. An open WebSocket or event
	// stream is asked for four times as often.
	Idle time.Duration
}

// Route says what is done with the requests for a host and path.
type Route struct {
	Host     string    // a name in lower case, "*.example.com" for all below it, or "*"
	Path     string    // a prefix by segment, in canonical form: "/drop" covers /drop and /drop/x
	Activity *Activity // nil: the route is open
	Upstream *Upstream
}

// Settings are all that a reload may change of how a request is answered.
type Settings struct {
	// Reserved are Ropeline's own: who answers a path, such as "/_ropeline", and
	// all that is below it.
	Reserved map[string]http.Handler

	// Prefix is the path of Reserved below which fronts ask about requests
	// (auth/nginx and its like), and which the waiting page that they lead
	// visitors to is below (wait). Empty: there are neither.
	Prefix string

	Holder  Holder // answers who is held
	Proxies visitor.Proxies

	// BodyBytes is the largest request body; 0: no limit.
	BodyBytes int64

	Routes []Route
}

// Table is one generation of Settings, ready for look-ups. It is immutable:
// a request is answered by the table that it met, whatever is swapped in.
type Table struct {
	reserved  []reserved // the longest path first
	prefix    string
	holder    Holder
	proxies   visitor.Proxies
	bodyBytes int64

	exact     map[string]*host // by name
	suffix    map[string]*host // by what follows "*."
	any       *host            // nil: unknown hosts are refused
	upstreams []*Upstream      // each once
	secrets   []string         // the headers of bypass rules, each once
	ways      []Route          // those to the upstreams of activities
}

// reserved is a path that no shop has, and who answers there.
type reserved struct {
	path   string
	answer http.Handler
}

// host holds the routes of one host pattern by path, without a slash at the
// end, so that the route of "/" is found under "".
type host struct {
	pattern string
	open    map[string]*route // by the path as written
	gated   map[string]*route // by the folded path
}

// route is a Route with what its requests need made ready.
type route struct {
	Route
	id    string // the activity's, as metrics and the shop are told it
	rules []rule // the activity's, by which requests pass uncounted
}

// NewTable checks s and makes it ready. All that is wrong is reported at once.
//
// Where a client may choose between two hosts, it would choose the one without
// a gate. So a gated path is gated too on a pattern that covers its host, and on
// a host that its pattern covers, as long as it leads to a server of the same
// upstream, unless a route for that very path or one below it says otherwise.
func NewTable(s Settings) (*Table, error) {
	t := &Table{
		prefix: s.Prefix, holder: s.Holder, proxies: s.Proxies, bodyBytes: s.BodyBytes,
		exact: map[string]*host{}, suffix: map[string]*host{},
	}
	var problems []error
	for path, answer := range s.Reserved {
		if !canonical(path) || path == "/" || answer == nil {
			problems = append(problems, fmt.Errorf("reserved %q is not a path such as /_ropeline, with who answers there", path))
		}
		t.reserved = append(t.reserved, reserved{path, answer})
	}
	slices.SortFunc(t.reserved, func(a, b reserved) int { return cmp.Compare(len(b.path), len(a.path)) })
	if s.Holder == nil {
		problems = append(problems, errors.New("nothing answers held visitors"))
	}
	for i, r := range s.Routes {
		if err := t.add(r); err != nil {
			problems = append(problems, fmt.Errorf("routes[%d]: %w", i, err))
		}
	}
	if len(problems) > 0 {
		return nil, errors.Join(problems...)
	}
	// The longest paths first, so that each still meets the open route that it
	// narrows and not a gate that was just put there.
	byLength := slices.SortedStableFunc(slices.Values(s.Routes), func(a, b Route) int {
		return cmp.Compare(len(b.Path), len(a.Path))
	})
	for _, r := range byLength {
		if r.Activity != nil {
			t.closeWaysAround(r)
		}
	}
	return t, nil
}

func (t *Table) add(r Route) error {
	if !validPattern(r.Host) {
		return fmt.Errorf("host %q is neither a name in lower case, *.name, nor *", r.Host)
	}
	if !canonical(r.Path) {
		return fmt.Errorf("path %q is not in canonical form", r.Path)
	}
	if r.Upstream == nil {
		return errors.New("no upstream")
	}
	if r.Activity != nil && r.Activity.Room != (missing{}) && (r.Activity.Room == nil || r.Activity.ID <= 0) {
		return errors.New("an activity needs a room and an id above zero")
	}
	if r.Activity != nil {
		if err := t.addRules(r.Activity.Bypass); err != nil {
			return err
		}
	}
	h := t.host(r.Host)
	key := strings.TrimSuffix(r.Path, "/")
	if h.open[key] != nil || h.gated[fold(key)] != nil {
		return fmt.Errorf("%s%s has a route already", r.Host, r.Path)
	}
	h.put(r)
	if r.Activity != nil && r.Activity.ID > 0 {
		t.ways = append(t.ways, r)
	}
	if !slices.Contains(t.upstreams, r.Upstream) {
		t.upstreams = append(t.upstreams, r.Upstream)
	}
	return nil
}

// addRules checks the rules of an activity, and notes their headers.
func (t *Table) addRules(rules []Rule) error {
	for i, rule := range rules {
		if err := rule.check(); err != nil {
			return fmt.Errorf("bypass[%d]: %w", i, err)
		}
		if name := http.CanonicalHeaderKey(rule.Header); name != "" && !slices.Contains(t.secrets, name) {
			t.secrets = append(t.secrets, name)
		}
	}
	return nil
}

// host returns the routes of a pattern, making room for them.
func (t *Table) host(pattern string) *host {
	h := t.pattern(pattern)
	if h != nil {
		return h
	}
	h = &host{pattern: pattern, open: map[string]*route{}, gated: map[string]*route{}}
	if pattern == "*" {
		t.any = h
	} else if parent, ok := strings.CutPrefix(pattern, "*."); ok {
		t.suffix[parent] = h
	} else {
		t.exact[pattern] = h
	}
	return h
}

func (t *Table) pattern(pattern string) *host {
	if pattern == "*" {
		return t.any
	}
	if parent, ok := strings.CutPrefix(pattern, "*."); ok {
		return t.suffix[parent]
	}
	return t.exact[pattern]
}

func (h *host) put(r Route) {
	key := strings.TrimSuffix(r.Path, "/")
	if r.Activity == nil {
		h.open[key] = &route{Route: r}
		return
	}
	h.gated[fold(key)] = &route{Route: r, id: strconv.FormatInt(r.Activity.ID, 10), rules: ready(r.Activity.Bypass)}
}

// closeWaysAround gates r's path on the other patterns that a client might
// reach the same upstream by.
func (t *Table) closeWaysAround(r Route) {
	for _, h := range t.hosts() {
		if h.pattern == r.Host || !covers(h.pattern, r.Host) && !covers(r.Host, h.pattern) {
			continue
		}
		// No host name has a "?", so that this one meets only what every host
		// of a wildcard pattern does.
		met := t.match(strings.Replace(h.pattern, "*", "?", 1), r.Path)
		if met == nil || met.Activity != nil || !met.Upstream.meets(r.Upstream) || len(met.Path) >= len(r.Path) {
			continue
		}
		r.Host = h.pattern
		h.put(r)
	}
}

func (t *Table) hosts() []*host {
	var all []*host
	for _, h := range t.exact {
		all = append(all, h)
	}
	for _, h := range t.suffix {
		all = append(all, h)
	}
	if t.any != nil {
		all = append(all, t.any)
	}
	slices.SortFunc(all, func(a, b *host) int { return cmp.Compare(a.pattern, b.pattern) })
	return all
}

// covers reports whether every host of pattern q is one of pattern p.
func covers(p, q string) bool {
	if p == "*" || p == q {
		return true
	}
	below, ok := strings.CutPrefix(p, "*")
	return ok && strings.HasSuffix(strings.TrimPrefix(q, "*"), below)
}

// find returns the route for a host name, as hostName gives it, and a URL; nil
// where the host has none for that path. plain reports whether the path has
// but one reading, ok whether it is one to be answered at all.
func (t *Table) find(name string, u *url.URL) (r *route, plain, ok bool) {
	if u.Path == "" { // as in "GET http://shop.example.com HTTP/1.1"
		return t.match(name, "/"), false, true
	}
	if u.RawPath == "" && plainPath(u.Path) {
		return t.match(name, u.Path), true, true
	}
	all, ok := readings(u)
	if !ok {
		return nil, false, false
	}
	r, ok = t.strictest(name, all)
	return r, false, ok
}

// strictest returns the route for a path of several readings: that of the
// plain reading, unless another one is gated. ok is false where two readings
// are gated differently, or where the gate leads to another shop than the
// plain reading does: then no route is right.
func (t *Table) strictest(name string, readings []string) (strictest *route, ok bool) {
	strictest = t.match(name, readings[0])
	for _, reading := range readings[1:] {
		r := t.match(name, reading)
		if r == nil || r.Activity == nil || r == strictest {
			continue
		}
		if strictest != nil && (r.Upstream != strictest.Upstream || strictest.Activity != nil && r.Activity != strictest.Activity) {
			return nil, false
		}
		strictest = r
	}
	return strictest, true
}

// match returns the most specific route for one reading of a path: that of the
// most specific host pattern which has any. It takes no lock, and allocates
// only where a letter is to be folded.
func (t *Table) match(name, path string) *route {
	if h := t.exact[name]; h != nil {
		if r := h.match(path); r != nil {
			return r
		}
	}
	for parent := name; len(t.suffix) > 0; {
		var ok bool
		if _, parent, ok = strings.Cut(parent, "."); !ok {
			break
		}
		if h := t.suffix[parent]; h != nil {
			if r := h.match(path); r != nil {
				return r
			}
		}
	}
	if t.any != nil {
		return t.any.match(path)
	}
	return nil
}

// knows reports whether any pattern is for the host name.
func (t *Table) knows(name string) bool {
	if t.any != nil || t.exact[name] != nil {
		return true
	}
	for parent, ok := name, true; len(t.suffix) > 0; {
		if _, parent, ok = strings.Cut(parent, "."); !ok {
			break
		}
		if t.suffix[parent] != nil {
			return true
		}
	}
	return false
}

// match returns the most specific route of h for one reading of a path, or
// nil. Of an open and a gated route of the same depth, which then differ in
// case only, the gated one counts.
func (h *host) match(path string) *route {
	found, depth := deepest(h.open, path)
	if len(h.gated) > 0 {
		if g, d := deepest(h.gated, fold(path)); g != nil && (found == nil || d >= depth) {
			found = g
		}
	}
	return found
}

// deepest finds the longest path in routes that path lies at or below, and how
// many segments it has.
func deepest(routes map[string]*route, path string) (*route, int) {
	if len(routes) == 0 {
		return nil, 0
	}
	for end := len(path); end >= 0; end = strings.LastIndexByte(path[:end], '/') {
		if r := routes[path[:end]]; r != nil {
			return r, strings.Count(path[:end], "/")
		}
	}
	return nil, 0
}

// canonical reports whether a configured path has one reading only. Letters
// beyond ASCII are allowed, in the form that all readings end in.
func canonical(p string) bool {
	if p == "/" {
		return true
	}
	if strings.HasSuffix(p, "/") {
		return false
	}
	all, ok := readings(&url.URL{Path: p})
	if !ok || strings.ContainsAny(p, `%;\?#`) {
		return false
	}
	for _, r := range all {
		if r != p {
			return false
		}
	}
	return true
}
