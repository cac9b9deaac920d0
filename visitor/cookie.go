package visitor

import (
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ropeline/ropeline/admission"
)

const (
	hostPrefix    = "__Host-"
	ownName       = "ropeline-" // all of ours begin so, and a few that are the shop's to read
	queueName     = "ropeline-queue-"
	admissionName = "ropeline-admission-"
	passName      = "ropeline-pass-"
	workName      = "ropeline-work-"

	// maxTokens is how many tokens of one sort are looked at: more than one
	// comes only from cookies set for several paths or domains. Each costs a
	// signature check.
	maxTokens = 4

	// maxToken is the longest token, in bytes; browsers keep no longer cookie.
	maxToken = 4096

	// maxCookies is the most cookies of one request. Browsers keep under two
	// hundred for a site; net/http reads none at all above three thousand, so
	// that a shop would take the sender for someone new.
	maxCookies = 1000

	// outlive is how much longer than its token a cookie is kept. A session
	// may have been renewed on another gateway, and the visitor's clock may be
	// off: whether a token is still good is for the room to say.
	outlive = 24 * time.Hour
)

// TooMany reports whether h carries more cookies than any browser sends.
func TooMany(h http.Header) bool {
	n := 0
	for _, line := range h["Cookie"] {
		n += 1 + strings.Count(line, ";")
	}
	return n > maxCookies
}

// tokens are those of a request for one activity.
type tokens struct {
	queue, admitted, passes []string
	work                    string
}

// gather adds the tokens for an activity that stand in a Cookie line under
// names with the given prefix.
func (t *tokens) gather(line, prefix string, activity int64) {
	for line != "" {
		var pair string
		pair, line, _ = strings.Cut(line, ";")
		name, value, ok := strings.Cut(strings.Trim(pair, " \t"), "=")
		if !ok {
			continue
		}
		name, ok = strings.CutPrefix(strings.TrimRight(name, " \t"), prefix)
		if !ok {
			continue
		}
		if id, ok := strings.CutPrefix(name, queueName); ok && isID(id, activity) {
			t.queue = add(t.queue, unquote(value))
		} else if id, ok := strings.CutPrefix(name, admissionName); ok && isID(id, activity) {
			t.admitted = add(t.admitted, unquote(value))
		} else if id, ok := strings.CutPrefix(name, passName); ok && isID(id, activity) {
			t.passes = add(t.passes, unquote(value))
		} else if id, ok := strings.CutPrefix(name, workName); ok && isID(id, activity) && t.work == "" {
			t.work = unquote(value)
		}
	}
}

// isID reports whether s is the one way to write id.
func isID(s string, id int64) bool {
	if s == "" || s[0] < '1' || s[0] > '9' {
		return false
	}
	n, err := strconv.ParseInt(s, 10, 64)
	return err == nil && n == id
}

func unquote(s string) string {
	s = strings.Trim(s, " \t")
	if len(s) > 1 && s[0] == '"' && s[len(s)-1] == '"' {
		return s[1 : len(s)-1]
	}
	return s
}

func add(tokens []string, token string) []string {
	if token == "" || len(token) > maxToken || len(tokens) == maxTokens {
		return tokens
	}
	for _, t := range tokens {
		if t == token {
			return tokens
		}
	}
	return append(tokens, token)
}

func bearer(h http.Header) string {
	const scheme = "bearer "
	for _, line := range h["Authorization"] {
		if len(line) > len(scheme) && strings.EqualFold(line[:len(scheme)], scheme) {
			return strings.Trim(line[len(scheme):], " \t")
		}
	}
	return ""
}

// Keep writes into the headers of an answer the cookies that a verdict of an
// activity asks the visitor to keep or to drop, and reports whether there were
// any. Such an answer must not be kept by any cache.
func Keep(h http.Header, activity int64, v admission.Verdict, secure bool) bool {
	id := strconv.FormatInt(activity, 10)
	keep(h, queueName+id, v.Queue, v.DropQueue, secure)
	keep(h, admissionName+id, v.Admission, v.DropAdmission, secure)
	keep(h, passName+id, v.HeldPass, v.DropPass, secure)
	keep(h, workName+id, admission.Ticket{}, v.DropWork, secure)
	return Keeps(v)
}

// Keeps reports whether Keep would write any cookie for v.
func Keeps(v admission.Verdict) bool {
	return v.Queue.Token != "" || v.Admission.Token != "" || v.HeldPass.Token != "" ||
		v.DropQueue || v.DropAdmission || v.DropPass || v.DropWork
}

func keep(h http.Header, name string, t admission.Ticket, drop, secure bool) {
	if t.Token == "" && !drop {
		return
	}
	age := time.Duration(0)
	if t.Token != "" {
		age = max(time.Until(t.Expires), 0) + outlive
	}
	if secure {
		h.Add("Set-Cookie", hostPrefix+name+"="+t.Token+attributes(age)+"; Secure")
		if t.Token != "" {
			return
		}
		// Dropped under the plain name too: it is read as well, and may stem
		// from a time before HTTPS.
	}
	h.Add("Set-Cookie", name+"="+t.Token+attributes(age))
}

func attributes(age time.Duration) string {
	return "; Path=/; Max-Age=" + strconv.FormatInt(int64(age/time.Second), 10) + "; HttpOnly; SameSite=Lax"
}

// Strip removes from the headers of a request what is between the gateway and
// the visitor only: our cookies, of any activity, and every Ropeline-* header,
// also in the spellings that a shop may fold to it. All else stays as it was,
// byte for byte. h must not be in use elsewhere.
func Strip(h http.Header) {
	for name := range h {
		if Reserved(name) {
			delete(h, name)
		}
	}
	StripCookies(h)
}

// Reserved reports whether a header name is one of Ropeline's own, which no
// client may set. CGI and its kin read X_Y, and some of them X.Y, as X-Y.
func Reserved(name string) bool {
	const own = "ropeline"
	return len(name) > len(own) && strings.EqualFold(name[:len(own)], own) && !letterOrDigit(name[len(own)])
}

func letterOrDigit(c byte) bool {
	return '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
}

// StripCookies removes our cookies, of any activity, from the headers of a
// request. All other cookies stay as they were, byte for byte.
func StripCookies(h http.Header) {
	lines := h["Cookie"]
	kept := lines[:0]
	for _, line := range lines {
		if line = strip(line); line != "" {
			kept = append(kept, line)
		}
	}
	switch len(kept) {
	case len(lines): // rewritten in place
	case 0:
		delete(h, "Cookie")
	default:
		h["Cookie"] = kept
	}
}

// strip removes our cookies from one line. A line without any is returned as
// it came.
func strip(line string) string {
	if !strings.Contains(line, ownName) {
		return line
	}
	var b strings.Builder
	b.Grow(len(line))
	first := true
	for pair := range strings.SplitSeq(line, ";") {
		if ours(pair) {
			continue
		}
		if first {
			pair = strings.TrimLeft(pair, " \t")
		} else {
			b.WriteByte(';')
		}
		b.WriteString(pair)
		first = false
	}
	return b.String()
}

// ours reports whether a cookie pair carries one of our names.
func ours(pair string) bool {
	name, _, _ := strings.Cut(pair, "=")
	name = strings.TrimPrefix(strings.Trim(name, " \t"), hostPrefix)
	id, ok := "", false
	for _, own := range [...]string{queueName, admissionName, passName, workName} {
		if id, ok = strings.CutPrefix(name, own); ok {
			break
		}
	}
	if !ok || id == "" {
		return false
	}
	for i := range len(id) {
		if id[i] < '0' || id[i] > '9' {
			return false
		}
	}
	return true
}
