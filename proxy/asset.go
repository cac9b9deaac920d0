package proxy

import (
	"errors"
	"net/http"
	"path"
	"strings"
)

// errNotAsset has the shop's answer taken back: it was asked for a part of a
// page, and gave something else.
var errNotAsset = errors.New("not a part of a page")

// asksForAsset reports whether r, of a path that has but one reading, looks
// like a page's image, script, style or font: a browser says so, and the name
// does. Either may be forged; isAsset has the last word.
func asksForAsset(r *http.Request) bool {
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		return false
	}
	switch r.Header.Get("Sec-Fetch-Dest") {
	case "image", "script", "style", "font":
	default:
		return false
	}
	switch strings.ToLower(path.Ext(r.URL.Path)) {
	case ".png", ".jpg", ".jpeg", ".gif", ".webp", ".avif", ".svg", ".ico", ".bmp",
		".js", ".mjs", ".css", ".woff", ".woff2", ".ttf", ".otf":
		return true
	}
	return false
}

// isAsset reports whether the shop's answer is a part of a page. Many shops
// answer /drop/buy for /drop/buy/x.png too: what they say then is not for who
// has no admission.
func isAsset(res *http.Response) bool {
	switch res.StatusCode {
	case http.StatusNotModified:
		return true // it has no body
	case http.StatusOK, http.StatusPartialContent:
	default:
		return false
	}
	media, _, _ := strings.Cut(res.Header.Get("Content-Type"), ";")
	media = strings.ToLower(strings.TrimSpace(media))
	switch media {
	case "text/css", "text/javascript", "application/javascript", "application/x-javascript":
		return true
	}
	return strings.HasPrefix(media, "image/") || strings.HasPrefix(media, "font/") || strings.HasPrefix(media, "application/font-")
}
