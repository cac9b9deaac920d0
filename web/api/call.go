package api

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/visitor"
)

// call is one request under way.
type call struct {
	*http.Request
	answer http.Header
	id     string // the request's
	status int    // of an answer that is no fault
	target int64  // what {id} of the route stands for; 0: it has none
	bearer Claims // who asks, where that was verified
}

// route is one method of one path. A {id} in the path stands for a number
// above 0.
type route struct {
	method, path string
	serve        func(*call) (any, error)
}

// document is an answer that is not in the envelope.
type document struct {
	mediaType string
	body      []byte
}

// routes answer requests: each in the same envelope, with a request id, and
// kept by no cache.
type routes struct {
	log    *zap.Logger
	failed func(Code) // is told of each fault; nil: nobody is
	all    []route

	// first sees every request before its route does; true: the answer is
	// complete as it is, and empty. nil: nothing is to be seen.
	first func(*call) (done bool, err error)
}

// ServeHTTP answers one request.
func (rs *routes) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c := &call{Request: r, answer: w.Header(), id: visitor.From(r).RequestID, status: http.StatusOK}
	c.answer.Set("X-Request-Id", c.id)
	visitor.NoStore(c.answer)
	c.answer.Set("X-Content-Type-Options", "nosniff")
	data, err := rs.serve(c)
	switch data := data.(type) {
	case nil:
		if err == nil {
			w.WriteHeader(http.StatusNoContent)
			return
		}
	case document:
		c.answer.Set("Content-Type", data.mediaType)
		_, _ = w.Write(data.body) // an error here is a client that left
		return
	}
	if err != nil {
		rs.refuse(w, c, err)
		return
	}
	write(w, c.status, success{true, data, c.id})
}

// serve finds the route and walks it. A panic becomes an error.
func (rs *routes) serve(c *call) (data any, err error) {
	defer func() {
		if p := recover(); p != nil {
			if p == http.ErrAbortHandler {
				panic(p)
			}
			data, err = nil, failed(InternalError, fmt.Errorf("panic: %v\n%s", p, debug.Stack()))
		}
	}()
	if rs.first != nil {
		if done, err := rs.first(c); done || err != nil {
			return nil, err
		}
	}
	var allowed []string
	for _, route := range rs.all {
		target, ok := match(route.path, c.URL)
		if !ok {
			continue
		}
		if c.Method == route.method || c.Method == http.MethodHead && route.method == http.MethodGet {
			c.target = target
			return route.serve(c)
		}
		allowed = append(allowed, route.method)
		if route.method == http.MethodGet {
			allowed = append(allowed, http.MethodHead)
		}
	}
	if allowed == nil {
		return nil, refused(NotFound, sayNothing)
	}
	slices.Sort(allowed)
	methods := strings.Join(allowed, ", ")
	c.answer.Set("Allow", methods)
	return nil, refused(MethodNotAllowed, sayMethods, methods)
}

// match reports whether u is spelled as path, and what its {id} stands for.
// Another spelling of the same path is another path.
func match(path string, u *url.URL) (int64, bool) {
	if u.RawPath != "" {
		return 0, false
	}
	before, after, hasID := strings.Cut(path, "{id}")
	if !hasID {
		return 0, u.Path == path
	}
	rest, ok := strings.CutPrefix(u.Path, before)
	if !ok {
		return 0, false
	}
	digits, ok := strings.CutSuffix(rest, after)
	if !ok {
		return 0, false
	}
	return number(digits)
}

// number reads a number above 0, in the one way to write it.
func number(s string) (int64, bool) {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return 0, false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return n, err == nil
}

type success struct {
	Success   bool   `json:"success"`
	Data      any    `json:"data"`
	RequestID string `json:"request_id"`
}

type failure struct {
	Success    bool           `json:"success"`
	Error      Code           `json:"error"`
	Message    string         `json:"message"`
	RequestID  string         `json:"request_id"`
	RetryAfter int64          `json:"retry_after,omitempty"` // seconds
	Details    map[string]any `json:"details"`
}

// refuse answers with an error. It is the one place that logs causes.
func (rs *routes) refuse(w http.ResponseWriter, c *call, err error) {
	var f *fault
	if !errors.As(err, &f) {
		f = failed(InternalError, err)
	}
	if rs.failed != nil {
		rs.failed(f.code)
	}
	if f.cause != nil {
		rs.log.Error("request failed", zap.String("request_id", c.id), zap.String("code", string(f.code)),
			zap.String("method", c.Method), zap.String("path", c.URL.Path), zap.Error(f.cause))
	}
	status := f.status
	if status == 0 {
		status = statuses[f.code]
	}
	answer := failure{Error: f.code, RequestID: c.id, Details: f.details}
	if answer.Details == nil {
		answer.Details = map[string]any{}
	}
	if f.retryAfter > 0 {
		answer.RetryAfter = ceil(f.retryAfter, time.Second)
		answer.Details["retry_after"] = answer.RetryAfter
		c.answer.Set("Retry-After", strconv.FormatInt(answer.RetryAfter, 10))
	}
	if f.code == Unauthorized {
		c.answer.Set("WWW-Authenticate", "Bearer")
	}
	tongue := speaks(c.Request)
	answer.Message = f.says.in(tongue, f.args)
	c.answer.Set("Content-Language", tongue.String())
	c.answer.Add("Vary", "Accept-Language")
	write(w, status, answer)
}

// ceil is d in whole units, rounded up.
func ceil(d, unit time.Duration) int64 { return int64((d + unit - 1) / unit) }

// token returns the request's bearer token; empty: it has none. Of two nobody
// could say which counts.
func (c *call) token() (string, error) {
	lines := c.Header["Authorization"]
	switch len(lines) {
	case 0:
		return "", nil
	case 1:
	default:
		return "", refused(Unauthorized, sayBadToken)
	}
	scheme, token, _ := strings.Cut(lines[0], " ")
	token = strings.Trim(token, " \t")
	if !strings.EqualFold(scheme, "Bearer") || token == "" {
		return "", refused(Unauthorized, sayNoToken)
	}
	return token, nil
}

// query are the parameters of a request, each at most once.
type query map[string][]string

func (c *call) query() (query, error) {
	values, err := url.ParseQuery(c.URL.RawQuery)
	if err != nil {
		return nil, refused(InvalidRequest, sayQuery)
	}
	for name, all := range values {
		if len(all) > 1 {
			return nil, wrong(name, sayTwice)
		}
	}
	return query(values), nil
}

func (q query) get(name string) string {
	if all := q[name]; len(all) > 0 {
		return all[0]
	}
	return ""
}

// number reads a parameter from 1 to most; otherwise where it is not there.
func (q query) number(name string, otherwise, most int64) (int64, error) {
	text := q.get(name)
	if text == "" {
		return otherwise, nil
	}
	n, ok := number(text)
	if !ok || n > most {
		return 0, wrong(name, sayRange, int64(1), most)
	}
	return n, nil
}

// time reads a parameter that is a time; zero where it is not there.
func (q query) time(name string) (time.Time, error) {
	text := q.get(name)
	if text == "" {
		return time.Time{}, nil
	}
	at, err := time.Parse(time.RFC3339, text)
	if err != nil {
		return time.Time{}, wrong(name, sayType, aTime)
	}
	return at, nil
}

// raw is v as JSON, for the audit.
func raw(v any) json.RawMessage {
	text, err := json.Marshal(v)
	if err != nil {
		return nil // of our own types none fails
	}
	return text
}
