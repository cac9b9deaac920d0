package proxy

import (
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/ropeline/ropeline/visitor"
)

// front is an edge of the operator's own that asks the gate about each request,
// by the path auth/NAME below the prefix, and passes it on itself. A success
// lets the visitor pass; all else must be a status that the front keeps them
// out with, in a form that it can hand on.
type front struct {
	name string

	// The headers that tell of the request that is asked about. None: its
	// method and host are the question's, and its path follows the name.
	method, host, uri string

	// bare fronts hand on neither body nor status: they know 401, for held, and
	// 403, for refused, and find where to lead the visitor in Ropeline-Location.
	bare bool
	// absolute fronts would take a path in Location for one of the gateway's.
	absolute bool
	// strict fronts take a server error for no answer, which lets pass where
	// they are so configured.
	strict bool
}

var fronts = [...]front{
	{name: "nginx", method: "X-Original-Method", host: "X-Forwarded-Host", uri: "X-Original-Uri", bare: true},
	{name: "traefik", method: "X-Forwarded-Method", host: "X-Forwarded-Host", uri: "X-Forwarded-Uri", absolute: true},
	{name: "caddy", method: "X-Forwarded-Method", host: "X-Forwarded-Host", uri: "X-Forwarded-Uri"},
	{name: "envoy", strict: true},
}

// frontAt returns the front that asks by a request URI below "auth/", and the
// rest of the URI after its name.
func frontAt(uri string) (f *front, rest string) {
	for i := range fronts {
		rest, ok := strings.CutPrefix(uri, fronts[i].name)
		if !ok {
			continue
		}
		if fronts[i].uri == "" && strings.HasPrefix(rest, "/") {
			return &fronts[i], rest
		}
		// Caddy leaves the query of the other request where it was.
		if fronts[i].uri != "" && (rest == "" || rest[0] == '?') {
			return &fronts[i], ""
		}
	}
	return nil, ""
}

// about returns the request that the ladder is walked for: r itself, or, of the
// paths auth/NAME and wait below the prefix, the one that r asks about. ok is
// false where r was answered.
func (x *exchange) about(r *http.Request) (_ *http.Request, ok bool) {
	prefix := x.table.prefix
	if prefix == "" {
		return r, true
	}
	rest, ok := strings.CutPrefix(r.RequestURI, prefix)
	if !ok {
		return r, true
	}
	if asks, ok := strings.CutPrefix(rest, "/auth/"); ok {
		if f, rest := frontAt(asks); f != nil {
			return x.question(r, f, rest)
		}
	}
	if strings.HasPrefix(rest, "/wait?") && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
		u := onSite(r.URL.Query().Get("to"))
		x.leads = u.RequestURI()
		return x.instead(r, r.Method, r.Host, u), true
	}
	return r, true
}

// question reads what a front asks about. It is believed from trusted proxies
// alone: who else asked could have the gate speak of any request it likes.
func (x *exchange) question(r *http.Request, f *front, rest string) (*http.Request, bool) {
	x.front = f
	x.answer.closed = x.closed
	if !x.who.Trusted {
		x.refuse(r, faultNoFront)
		return nil, false
	}
	method, host, uri := r.Method, r.Host, rest
	for _, told := range [...]struct {
		name string
		into *string
	}{{f.method, &method}, {f.host, &host}, {f.uri, &uri}, {"X-Forwarded-For", new(string)}} {
		if told.name == "" {
			continue
		}
		// A second one may be the visitor's, and X-Forwarded-For is a list.
		values := r.Header[told.name]
		if len(values) == 0 || values[0] == "" || len(values) > 1 && told.name != "X-Forwarded-For" {
			x.refuse(r, faultQuestion(told.name))
			return nil, false
		}
		*told.into = values[0]
	}
	u, err := url.ParseRequestURI(uri)
	if err != nil || uri[0] != '/' {
		x.refuse(r, faultPath)
		return nil, false
	}
	r = x.instead(r, method, host, u)
	r.TLS = nil // the front's own, not the visitor's
	x.who = x.table.proxies.Read(r)
	return r, true
}

// instead is r with another request line.
func (x *exchange) instead(r *http.Request, method, host string, u *url.URL) *http.Request {
	r = r.WithContext(x)
	r.Method, r.Host, r.URL, r.RequestURI = method, host, u, u.RequestURI()
	r.Body, r.ContentLength = http.NoBody, 0
	x.subject = r
	return r
}

// asked reports whether a request that passes goes no further than here.
func (x *exchange) asked() bool { return x.front != nil || x.leads != "" }

// forward sends a request that may pass on its way.
func (x *exchange) forward(r *http.Request) {
	switch {
	case x.front != nil:
		x.allow(r)
	case x.leads != "":
		x.keep(r)
		x.answer.Header().Set("Location", x.leads)
		x.answer.WriteHeader(http.StatusSeeOther)
	default:
		x.route.Upstream.serve(x, r)
	}
}

// allow tells the front that the request may pass, with the cookies for the
// visitor and what the shop is to be told.
func (x *exchange) allow(r *http.Request) {
	x.answer.closed = nil
	h := x.answer.Header()
	x.keep(r)
	x.numberCookies()
	if x.route != nil {
		x.introduce(h)
	}
	x.answer.WriteHeader(http.StatusOK)
}

// keep has an answer that passes bring the visitor's tickets.
func (x *exchange) keep(r *http.Request) {
	h := x.answer.Header()
	visitor.NoStore(h)
	if x.route != nil && x.route.Activity != nil && !x.shared && visitor.Keeps(x.verdict) && x.mayKeep(r.Method) {
		visitor.Keep(h, x.route.Activity.ID, x.verdict, x.who.Secure)
	}
}

// numberCookies repeats each cookie in a header of its own: some fronts cannot
// tell two of one name apart.
func (x *exchange) numberCookies() {
	h := x.answer.Header()
	for i, line := range h["Set-Cookie"] {
		h.Set("Ropeline-Set-Cookie-"+strconv.Itoa(i+1), line)
	}
}

// lead has the front send a held visitor to the waiting page, which is below
// the prefix: a page in place of the answer would not survive every front. It
// returns false where the visitor is to be answered with the page's JSON.
func (x *exchange) lead(r *http.Request) bool {
	f := x.front
	if f == nil || !f.bare && x.who.Kind != visitor.Navigation {
		return false
	}
	h := x.answer.Header()
	visitor.NoStore(h)
	to := x.table.prefix + "/wait?to=" + url.QueryEscape(r.URL.RequestURI())
	if f.bare {
		x.numberCookies()
		h.Set("Ropeline-Location", to)
	} else {
		if f.absolute {
			scheme := "http://"
			if x.who.Secure {
				scheme = "https://"
			}
			to = scheme + r.Host + to
		}
		h.Set("Location", to)
	}
	x.answer.WriteHeader(http.StatusSeeOther)
	return true
}

// closed is the status by which the front keeps the visitor out, in place of
// the one that the visitor would get here. It is never a success.
func (x *exchange) closed(status int) int {
	held := x.outcome == outcomeHeld
	switch {
	case x.front.bare && held:
		return http.StatusUnauthorized
	case x.front.bare:
		return http.StatusForbidden
	case x.front.strict && held && (status < 300 || status >= 500):
		return http.StatusTooManyRequests
	case x.front.strict && status >= 500, status < 300 && !held:
		return http.StatusForbidden
	case status < 300:
		return http.StatusServiceUnavailable
	}
	return status
}

// onSite reads an address to lead a visitor to: a path of this site, else "/".
// Browsers drop control characters and take a backslash for a slash.
func onSite(to string) *url.URL {
	for i := range len(to) {
		if c := to[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			to = ""
			break
		}
	}
	if strings.HasPrefix(to, "/") && !strings.HasPrefix(to, "//") {
		if u, err := url.ParseRequestURI(to); err == nil {
			return u
		}
	}
	return &url.URL{Path: "/"}
}
