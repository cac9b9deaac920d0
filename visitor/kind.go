package visitor

import (
	"net/http"
	"strings"
)

// Kind is what the sender of a request can make of an answer.
type Kind uint8

const (
	// Call is a script's or an app's request, or an embedded resource: it is
	// answered with JSON. It is the zero Kind.
	Call Kind = iota
	// Navigation fills a window: it is answered with a page. A crawler's is a
	// Call, or the waiting page would be indexed in place of a product.
	Navigation
	// Preflight is a browser's question whether a script may call.
	Preflight
)

func kind(r *http.Request) Kind {
	h := r.Header
	if r.Method == http.MethodOptions && len(h["Origin"]) > 0 && len(h["Access-Control-Request-Method"]) > 0 {
		return Preflight
	}
	if navigates(h) && !saysCrawler(first(h, "User-Agent")) {
		return Navigation
	}
	return Call
}

// navigates reports whether a request fills a window.
func navigates(h http.Header) bool {
	// Browsers say it themselves since 2023; Accept is for those before, and
	// is no sign where they do: scripts may ask for HTML too.
	if mode := h["Sec-Fetch-Mode"]; len(mode) > 0 {
		return mode[0] == "navigate" && !framed(first(h, "Sec-Fetch-Dest")) && !ahead(h)
	}
	for _, accept := range h["Accept"] {
		if containsFold(accept, "text/html") && !ahead(h) {
			return true
		}
	}
	return false
}

// looking reports whether r must not take a place: nobody looks at its answer,
// or nobody who could bring the ticket back.
func looking(r *http.Request, k Kind) bool {
	h := r.Header
	dest := first(h, "Sec-Fetch-Dest")
	switch {
	case k == Preflight, embedded(dest), framed(dest), ahead(h):
		return true
	case r.Method == http.MethodGet, r.Method == http.MethodHead:
		return false
	}
	// A form sent from another site, as a payment page does on the way back,
	// comes without our SameSite cookies: its sender may well be in line or
	// inside, and must not be given a second place.
	return first(h, "Sec-Fetch-Site") == "cross-site"
}

// embedded reports whether a Sec-Fetch-Dest is a part of some page.
func embedded(dest string) bool {
	switch dest {
	case "image", "script", "style", "font", "audio", "video", "track", "manifest",
		"worker", "sharedworker", "serviceworker", "audioworklet", "paintworklet",
		"xslt", "report", "json", "webidentity", "speculationrules", "dictionary":
		return true
	}
	return false
}

// framed reports whether a Sec-Fetch-Dest is a page within a page. The waiting
// page refuses frames, so a place taken there would be seen by no one.
func framed(dest string) bool {
	switch dest {
	case "iframe", "frame", "embed", "object", "fencedframe":
		return true
	}
	return false
}

// ahead reports whether the browser fetches before anyone asked for it. It
// throws an answer other than a success away, and asks again when it matters.
func ahead(h http.Header) bool {
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Moz"} {
		if v := first(h, name); v != "" && (containsFold(v, "prefetch") || containsFold(v, "preview")) {
			return true
		}
	}
	return false
}

// wantsWebSocket reports whether r asks for a WebSocket in the only form that
// is passed on: a GET by HTTP/1.1, without a body.
func wantsWebSocket(r *http.Request) bool {
	up := r.Header["Upgrade"]
	if len(up) != 1 || r.Method != http.MethodGet || r.ProtoMajor != 1 || r.ProtoMinor < 1 || r.ContentLength != 0 {
		return false
	}
	if !strings.EqualFold(up[0], "websocket") {
		return false
	}
	for _, line := range r.Header["Connection"] {
		for token := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.Trim(token, " \t"), "upgrade") {
				return true
			}
		}
	}
	return false
}

func first(h http.Header, name string) string {
	if v := h[name]; len(v) > 0 {
		return v[0]
	}
	return ""
}

// containsFold is strings.Contains in any ASCII case; part is lower-case.
func containsFold(s, part string) bool {
	for i := 0; i+len(part) <= len(s); i++ {
		if strings.EqualFold(s[i:i+len(part)], part) {
			return true
		}
	}
	return false
}
