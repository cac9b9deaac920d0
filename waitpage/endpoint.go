package waitpage

import (
	"bytes"
	"net/http"
	"strconv"
	"strings"

	"golang.org/x/text/language"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/visitor"
)

// ServeHTTP answers the addresses under the reserved prefix. It is given whole
// paths, and answers 404 to all that is not spelled exactly.
func (p *Page) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path, _ := strings.CutPrefix(r.URL.Path, p.prefix+"/") // without it, it still begins with a slash
	method, serve := p.endpoint(path)
	if serve == nil {
		refuse(w, http.StatusNotFound, "NOT_FOUND", "There is nothing here.")
		return
	}
	if allow(w, r, method) {
		serve(p, w, r)
	}
}

// endpoint returns what answers at a path below the prefix, and to which method;
// nil: nothing does.
func (p *Page) endpoint(path string) (method string, serve func(*Page, http.ResponseWriter, *http.Request)) {
	switch path {
	case "status":
		return http.MethodGet, (*Page).status
	case "events":
		return http.MethodGet, (*Page).events
	case "leave":
		return http.MethodPost, (*Page).leave
	case "session":
		return http.MethodGet, (*Page).session
	case "language":
		return http.MethodPost, (*Page).language
	case "client.js":
		return http.MethodGet, (*Page).client
	}
	name, below := strings.CutPrefix(path, "assets/")
	if asset, ok := p.assets[name]; ok && below {
		return http.MethodGet, func(_ *Page, w http.ResponseWriter, r *http.Request) { asset.ServeHTTP(w, r) }
	}
	return "", nil
}

// client leads to the asset that the client is today.
func (p *Page) client(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "public, max-age=300") // as long as an old client may live on
	http.Redirect(w, r, p.clientURL, http.StatusFound)
}

// status tells where a visitor stands and takes no place.
func (p *Page) status(w http.ResponseWriter, r *http.Request) {
	id, activity, ok := p.asked(w, r)
	if !ok {
		return
	}
	from := visitor.From(r)
	v := activity.Room.Peek(r.Context(), from.Visit(r, id))
	forbidStoring(w.Header())
	visitor.Keep(w.Header(), id, v, from.Secure)
	tag, wanted := parameter(r.URL.RawQuery, "words")
	if !wanted {
		p.writeStatus(w, http.StatusOK, v.Status, "", nil)
		return
	}
	shown, _ := parameter(r.URL.RawQuery, "shown")
	words := activity.languages().named(tag).words(v.Status, activity.Name, readSeen(shown))
	p.writeStatus(w, http.StatusOK, v.Status, "", &words)
}

// language remembers the language that a visitor chose, and leads back.
func (p *Page) language(w http.ResponseWriter, r *http.Request) {
	if !sameOrigin(r) {
		refuse(w, http.StatusForbidden, "FORBIDDEN", "Only a page of this site can choose a language.")
		return
	}
	r.Body = http.MaxBytesReader(w, r.Body, largestTarget)
	cookie := http.Cookie{
		Name: languageCookie, Value: r.PostFormValue("lang"), Path: "/",
		MaxAge: 365 * 24 * 3600, SameSite: http.SameSiteLaxMode, Secure: visitor.From(r).Secure,
	}
	if _, err := language.Parse(cookie.Value); len(cookie.Value) > longestTag || err != nil {
		refuse(w, http.StatusBadRequest, "INVALID_REQUEST", "Say which language: lang=de")
		return
	}
	forbidStoring(w.Header())
	http.SetCookie(w, &cookie)
	w.Header().Set("Location", sameSite(r.PostFormValue("to")))
	w.WriteHeader(http.StatusSeeOther)
}

// session tells an admitted visitor the time that remains.
func (p *Page) session(w http.ResponseWriter, r *http.Request) {
	id, activity, ok := p.asked(w, r)
	if !ok {
		return
	}
	from := visitor.From(r)
	v := activity.Room.Peek(r.Context(), from.Visit(r, id))
	forbidStoring(w.Header())
	visitor.Keep(w.Header(), id, v, from.Secure)
	b := p.buffer()
	defer p.release(b)
	var c *catalog
	if tag, wanted := parameter(r.URL.RawQuery, "words"); wanted {
		c = activity.languages().named(tag)
		if tag == "" {
			c = activity.languages().offered[activity.languages().choose(r)]
		}
	}
	b.Write(appendSession(b.AvailableBuffer(), v.Status, c))
	writeJSON(w, http.StatusOK, b)
}

// appendSession appends what is left of a session, with what the notice in the
// shop says in the language of c; nil: without words.
func appendSession(b []byte, s admission.Status, c *catalog) []byte {
	b = append(b, `{"activity":`...)
	b = strconv.AppendInt(b, s.Activity, 10)
	b = append(b, `,"state":`...)
	b = appendString(b, string(s.State))
	b = append(b, `,"session_s":`...)
	if s.State == admission.StateAdmitted {
		b = appendSeconds(b, s.Session)
	} else {
		b = append(b, "null"...)
	}
	b = append(b, `,"updated_at":`...)
	b = appendTime(b, s.UpdatedAt)
	if c != nil {
		for _, word := range [...][2]string{
			{`,"words":{"lang":`, c.lang}, {`,"direction":`, c.Direction}, {`,"ends":`, c.SessionEnds},
			{`,"last":`, c.SessionLast}, {`,"stay":`, c.SessionStay}, {`,"over":`, c.SessionOver},
		} {
			b = append(b, word[0]...)
			b = appendString(b, word[1])
		}
		b = append(b, '}')
	}
	return append(b, '}', '\n')
}

// leave gives up the place or the session: to a program it answers with the
// status, a person's form it leads on.
func (p *Page) leave(w http.ResponseWriter, r *http.Request) {
	id, activity, ok := p.asked(w, r)
	if !ok {
		return
	}
	// A bearer token is no browser's doing: nothing sends it on a visitor's behalf.
	if !sameOrigin(r) && !strings.HasPrefix(r.Header.Get("Authorization"), "Bearer ") {
		refuse(w, http.StatusForbidden, "FORBIDDEN", "Only a page of this site can give up a place.")
		return
	}
	from := visitor.From(r)
	v := activity.Room.Leave(r.Context(), from.Visit(r, id))
	forbidStoring(w.Header())
	visitor.Keep(w.Header(), id, v, from.Secure)
	if from.Kind != visitor.Navigation {
		if v.Reason == admission.HoldUnavailable && !v.DropQueue {
			p.holdProgram(w, v.Status)
			return
		}
		p.writeStatus(w, http.StatusOK, v.Status, "", nil)
		return
	}
	// A person is led on even where the store could not be told: who does not
	// come back is passed over as absent, and soon loses the place.
	r.Body = http.MaxBytesReader(w, r.Body, largestTarget)
	w.Header().Set("Location", sameSite(r.FormValue("to")))
	w.WriteHeader(http.StatusSeeOther)
}

// largestTarget bounds the address to lead a visitor on to, in bytes.
const largestTarget = 4 << 10

// sameSite returns to if it is a path of this site, and "/" else. Browsers drop
// control characters from an address and take a backslash for a slash, so none
// of them may stand anywhere in it: what follows the first slash decides whether
// the address names another host.
func sameSite(to string) string {
	if len(to) > largestTarget || !strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") {
		return "/"
	}
	for i := range len(to) {
		if c := to[i]; c <= ' ' || c >= 0x7f || c == '\\' {
			return "/"
		}
	}
	return to
}

// asked finds the activity that r names, or answers r.
func (p *Page) asked(w http.ResponseWriter, r *http.Request) (int64, Activity, bool) {
	id, ok := activityOf(r.URL.RawQuery)
	if !ok {
		refuse(w, http.StatusBadRequest, "INVALID_REQUEST", "Say which activity: ?activity=123")
		return 0, Activity{}, false
	}
	activity, ok := p.activity(id)
	if !ok {
		refuse(w, http.StatusNotFound, "ACTIVITY_NOT_FOUND", "There is no such activity.")
		return 0, Activity{}, false
	}
	return id, activity, true
}

// activityOf reads the one activity that a query names: digits, above 0. Every
// poll passes here, so the query is not taken apart into a map.
func activityOf(query string) (int64, bool) {
	var id int64
	for pair := range strings.SplitSeq(query, "&") {
		value, ok := strings.CutPrefix(pair, "activity=")
		if !ok {
			continue
		}
		n, err := strconv.ParseUint(value, 10, 63) // no sign
		if err != nil || n == 0 || id != 0 {
			return 0, false
		}
		id = int64(n)
	}
	return id, id != 0
}

// parameter returns the value of the first parameter of this name, as it stands
// in the query.
func parameter(query, name string) (value string, found bool) {
	for pair := range strings.SplitSeq(query, "&") {
		if key, value, _ := strings.Cut(pair, "="); key == name {
			return value, true
		}
	}
	return "", false
}

// allow reports whether r has the method, HEAD counting as GET; if not it
// answers r.
func allow(w http.ResponseWriter, r *http.Request, method string) bool {
	if r.Method == method || r.Method == http.MethodHead && method == http.MethodGet {
		return true
	}
	if method == http.MethodGet {
		method = "GET, HEAD"
	}
	w.Header().Set("Allow", method)
	refuse(w, http.StatusMethodNotAllowed, "METHOD_NOT_ALLOWED", "Allowed here: "+method)
	return false
}

// refuse answers a request that cannot be meant.
func refuse(w http.ResponseWriter, status int, code, message string) {
	forbidStoring(w.Header())
	b := append([]byte(nil), `{"code":`...)
	b = appendString(b, code)
	b = append(b, `,"message":`...)
	b = appendString(b, message)
	b = append(b, '}', '\n')
	writeJSON(w, status, bytes.NewBuffer(b))
}
