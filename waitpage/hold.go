package waitpage

import (
	"bytes"
	"compress/flate"
	"crypto/rand"
	mathrand "math/rand/v2"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/visitor"
)

// Hold answers, in place of the shop, a request that was not admitted: a
// navigation with the page, anything else with 503 and the status as JSON. The
// cookies of v must stand in w's headers already. The body of r is read only
// where a form may be offered again, up to 64 KiB.
func (p *Page) Hold(w http.ResponseWriter, r *http.Request, v admission.Verdict) {
	forbidStoring(w.Header())
	if p.holdCompat(w, r, v.Status) {
		return
	}
	if visitor.From(r).Kind != visitor.Navigation {
		p.holdProgram(w, v.Status)
		return
	}
	p.holdPerson(w, r, v.Status)
}

func (p *Page) holdProgram(w http.ResponseWriter, s admission.Status) {
	w.Header().Set("Retry-After", retryAfter(s))
	p.writeStatus(w, http.StatusServiceUnavailable, s, CodeOf(s), nil)
}

func (p *Page) holdPerson(w http.ResponseWriter, r *http.Request, s admission.Status) {
	activity, _ := p.activity(s.Activity) // gone by a reload: the page does without a name
	form := formOf(w, r)
	nonce := rand.Text()
	languages := activity.languages()
	at := languages.choose(r)
	c := languages.offered[at]
	v := c.view(s, activity.Name, form, nonce)
	v.Base = p.prefix + "/"
	theme := activity.theme()
	v.Shop, v.Logo, v.Icon, v.Theme = theme.name, theme.logo, theme.icon, theme.style
	// A page that stands in for a form would lose it on the way to another.
	if form == nil && len(languages.offered) > 1 {
		v.To, v.Options = sameSite(r.URL.RequestURI()), languages.options[at]
	}
	b := p.buffer()
	defer p.release(b)
	layout := c.layout()
	if !p.writeOwn(b, activity.Template, c, v) {
		if err := layout.template.Execute(b, v); err != nil {
			// Only a template that does not fit its view could fail into a buffer; the
			// visitor is still held, and can read why in JSON.
			b.Reset()
			p.holdProgram(w, s)
			return
		}
	}

	h := w.Header()
	h.Set("Content-Type", "text/html; charset=utf-8")
	h.Set("Content-Language", c.lang)
	h.Set("Content-Security-Policy", policy(nonce, form, theme.source))
	h.Set("X-Content-Type-Options", "nosniff")
	// Not no-referrer: with it a browser sends "Origin: null" with the forms of
	// this page, and shops that check where a form comes from refuse them.
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(), geolocation=(), microphone=(), payment=(), usb=()")
	code := pageStatus(s, activity.PageStatus)
	if code == http.StatusServiceUnavailable {
		h.Set("Retry-After", retryAfter(s))
	}
	// What a visitor filled in is not compressed together with what others may
	// have put into the address: lengths tell.
	if form == nil && acceptsGzip(r) {
		packed := p.buffer()
		defer p.release(packed)
		packer := p.packers.Get().(*flate.Writer)
		defer p.packers.Put(packer)
		compress(packed, packer, b.Bytes(), layout.parts)
		h.Set("Content-Encoding", "gzip")
		b = packed
	}
	h.Set("Content-Length", strconv.Itoa(b.Len()))
	w.WriteHeader(code)
	w.Write(b.Bytes()) // the visitor may have gone; nobody else is to be told
}

// acceptsGzip reports whether a browser said so; none refuses it in the same
// breath, as RFC 9110 would let it.
func acceptsGzip(r *http.Request) bool {
	for _, line := range r.Header["Accept-Encoding"] {
		if strings.Contains(line, "gzip") && !strings.Contains(line, "gzip;q=0") {
			return true
		}
	}
	return false
}

// pageStatus is the HTTP status of the page; waiting is what the operator chose
// for a visitor who waits.
func pageStatus(s admission.Status, waiting int) int {
	switch CodeOf(s) {
	case Ended:
		return http.StatusGone
	case Full, Closed, Unavailable:
		return http.StatusServiceUnavailable
	}
	if waiting == 0 {
		return http.StatusOK
	}
	return waiting
}

// policy is the page's Content-Security-Policy: nothing but what carries the
// nonce and the logo, and no way in for a string that becomes markup or code.
func policy(nonce string, form *heldForm, logo string) string {
	// Browsers hold form-action against redirects too: a shop that answers the
	// form sent again by leading on to a payment site would be cut off.
	formAction := "'self'"
	if form != nil && form.Fields != nil {
		formAction = "'self' https:"
	}
	images := "'self' data:"
	if logo != "" {
		images += " " + logo
	}
	return "default-src 'none'; script-src 'nonce-" + nonce + "'; style-src 'nonce-" + nonce +
		"'; img-src " + images + "; connect-src 'self'; font-src 'self'; form-action " + formAction +
		"; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types 'none'"
}

// Header values that never vary, made once: every poll sets them.
var (
	varyHeld    = []string{"Cookie, Accept, Sec-Fetch-Mode, Accept-Language"}
	contentJSON = []string{"application/json"}
	noSniff     = []string{"nosniff"}
)

// forbidStoring keeps every cache away.
func forbidStoring(h http.Header) {
	visitor.NoStore(h)
	h["Vary"] = varyHeld
}

// retryAfter is when a program may ask again, in seconds: what the room says,
// at least one, spread by up to a quarter more, because whole seconds would
// gather what the room has spread. A visitor told to stop asking gets minutes.
func retryAfter(s admission.Status) string {
	after := int64((s.PollAfter + time.Second - 1) / time.Second)
	if after <= 0 {
		after = 300
	}
	return strconv.FormatInt(after+mathrand.Int64N(after/4+2), 10)
}

func (p *Page) writeStatus(w http.ResponseWriter, code int, s admission.Status, held Code, words *words) {
	b := p.buffer()
	defer p.release(b)
	b.Write(appendStatus(b.AvailableBuffer(), s, held, words))
	writeJSON(w, code, b)
}

func writeJSON(w http.ResponseWriter, code int, b *bytes.Buffer) {
	h := w.Header()
	h["Content-Type"] = contentJSON
	h["X-Content-Type-Options"] = noSniff
	w.WriteHeader(code)
	w.Write(b.Bytes())
}
