// Package console serves operators' own page, and lets it ask the admin API as
// whoever logged in by a token.
package console

import (
	"crypto/hmac"
	"crypto/sha256"
	"crypto/subtle"
	"embed"
	"encoding/hex"
	"encoding/json"
	"io"
	"io/fs"
	"mime"
	"net/http"
	"net/url"
	"path"
	"strings"
)

// files are the page.
//
//go:embed page
var files embed.FS

const (
	// cookie holds the token. It goes nowhere but below prefix, and no script
	// sees it.
	cookie = "ropeline-console"
	prefix = "/console/"

	// csrfHeader is where an answer about the login has what each change must
	// bring along in the same header.
	csrfHeader = "Ropeline-Csrf"

	// longestToken is what fits into a cookie, in bytes.
	longestToken = 3800

	// whoami is where the admin API tells a bearer who it is.
	whoami = "/api/v1/admin/whoami"
)

// policy lets the page load its own files and ask its own origin, and nothing
// else; no string becomes markup.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; " +
	"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"

// Console is the page at / and what it asks for below /console/. It keeps
// nothing: who is logged in, the cookie says, and the API believes it or not.
// It is safe for concurrent use.
type Console struct {
	api    http.Handler
	files  map[string]file // by path
	origin *http.CrossOriginProtection
}

type file struct {
	mediaType, tag string
	body           []byte
}

// New returns a console of an admin API.
func New(api http.Handler) *Console {
	c := &Console{api: api, files: map[string]file{}, origin: http.NewCrossOriginProtection()}
	names, err := fs.Glob(files, "page/*")
	if err != nil {
		panic(err) // the pattern is a constant
	}
	for _, name := range names {
		body, err := files.ReadFile(name)
		if err != nil {
			panic(err) // it is part of the program
		}
		sum := sha256.Sum256(body)
		base := path.Base(name)
		at := prefix + base
		if base == "index.html" {
			at = "/"
		}
		c.files[at] = file{mime.TypeByExtension(path.Ext(base)), `"` + hex.EncodeToString(sum[:8]) + `"`, body}
	}
	return c
}

// ServeHTTP answers one request.
func (c *Console) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("Content-Security-Policy", policy)
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	if f, ok := c.files[r.URL.Path]; ok {
		f.serve(w, r)
		return
	}
	rest, ours := strings.CutPrefix(r.URL.Path, prefix)
	if !ours {
		http.NotFound(w, r)
		return
	}
	switch r.Header.Get("Sec-Fetch-Site") {
	case "", "same-origin", "none":
	default:
		refuse(w, http.StatusForbidden, "FORBIDDEN", "Another site may not ask here.")
		return
	}
	if c.origin.Check(r) != nil {
		refuse(w, http.StatusForbidden, "FORBIDDEN", "Another site may not ask here.")
		return
	}
	if rest == "login" && r.Method == http.MethodPost {
		c.logIn(w, r)
		return
	}
	token := loggedIn(r)
	if token == "" {
		refuse(w, http.StatusUnauthorized, "UNAUTHORIZED", "Nobody is logged in.")
		return
	}
	if !safe(r.Method) && subtle.ConstantTimeCompare([]byte(r.Header.Get(csrfHeader)), []byte(csrf(token))) != 1 {
		refuse(w, http.StatusForbidden, "FORBIDDEN", "The page is not the one that was logged in to. Load it again.")
		return
	}
	switch {
	case rest == "login" && r.Method == http.MethodDelete:
		http.SetCookie(w, cookieOf(r, ""))
		w.WriteHeader(http.StatusNoContent)
	case rest == "login" && safe(r.Method):
		h.Set(csrfHeader, csrf(token))
		c.ask(w, r, whoami, token)
	case strings.HasPrefix(rest, "api/"):
		c.ask(w, r, "/"+rest, token)
	default:
		refuse(w, http.StatusNotFound, "NOT_FOUND", "There is nothing here.")
	}
}

func safe(method string) bool { return method == http.MethodGet || method == http.MethodHead }

func (f file) serve(w http.ResponseWriter, r *http.Request) {
	if !safe(r.Method) {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Method Not Allowed", http.StatusMethodNotAllowed)
		return
	}
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.tag)
	if r.Header.Get("If-None-Match") == f.tag {
		w.WriteHeader(http.StatusNotModified)
		return
	}
	w.Header().Set("Content-Type", f.mediaType)
	_, _ = w.Write(f.body) // an error here is a client that left
}

// ask has the API answer the request as from the token's bearer.
func (c *Console) ask(w http.ResponseWriter, r *http.Request, path, token string) {
	asked := r.Clone(r.Context())
	asked.URL.Path = path // another spelling stays one, and is refused
	asked.Header.Del("Cookie")
	asked.Header.Set("Authorization", "Bearer "+token)
	c.api.ServeHTTP(w, asked)
}

// logIn keeps the token of the body, where the API believes it.
func (c *Console) logIn(w http.ResponseWriter, r *http.Request) {
	if media, _, err := mime.ParseMediaType(r.Header.Get("Content-Type")); err != nil || media != "application/json" {
		refuse(w, http.StatusUnsupportedMediaType, "INVALID_REQUEST", "Send the token as JSON.")
		return
	}
	var sent struct {
		Token string `json:"token"`
	}
	body := http.MaxBytesReader(w, r.Body, 2*longestToken)
	if err := json.NewDecoder(body).Decode(&sent); err != nil {
		refuse(w, http.StatusBadRequest, "INVALID_REQUEST", "Send the token as JSON.")
		return
	}
	token := strings.TrimSpace(sent.Token)
	if len(token) > longestToken {
		refuse(w, http.StatusBadRequest, "INVALID_REQUEST", "The token is longer than a browser can keep.")
		return
	}
	asked := r.Clone(r.Context())
	asked.Method, asked.Body, asked.ContentLength = http.MethodGet, http.NoBody, 0
	c.ask(&believing{w, cookieOf(r, token), csrf(token)}, asked, whoami, token)
}

// believing sets a cookie where the answer is that the token is good.
type believing struct {
	http.ResponseWriter
	cookie *http.Cookie
	csrf   string
}

func (b *believing) WriteHeader(status int) {
	if status == http.StatusOK {
		http.SetCookie(b, b.cookie)
		b.Header().Set(csrfHeader, b.csrf)
	}
	b.ResponseWriter.WriteHeader(status)
}

// cookieOf is the cookie that keeps a token until the browser ends; empty: that
// forgets it.
func cookieOf(r *http.Request, token string) *http.Cookie {
	k := &http.Cookie{
		Name: cookie, Value: token, Path: prefix, HttpOnly: true, SameSite: http.SameSiteStrictMode,
		Secure: secure(r),
	}
	if token == "" {
		k.MaxAge = -1
	}
	return k
}

// secure reports whether the page came by HTTPS, which ends before this
// listener.
func secure(r *http.Request) bool {
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Scheme == "https"
}

// loggedIn is the token of a request; empty: it has none.
func loggedIn(r *http.Request) string {
	k, err := r.Cookie(cookie)
	if err != nil {
		return ""
	}
	return k.Value
}

// csrf is what a page of this login knows and no other can: it is in no cookie,
// and answers are read by their own origin alone.
func csrf(token string) string {
	mac := hmac.New(sha256.New, []byte(token))
	_, _ = io.WriteString(mac, "ropeline console") // it never fails
	return hex.EncodeToString(mac.Sum(nil))
}

// refuse answers as the API does.
func refuse(w http.ResponseWriter, status int, code, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(struct { // an error here is a client that left
		Success bool   `json:"success"`
		Error   string `json:"error"`
		Message string `json:"message"`
	}{false, code, message})
}
