package waitpage

import (
	"io"
	"mime"
	"net/http"
	"net/url"
	"strings"
	"unicode/utf8"
)

// A heldForm is a form that was sent without admission and so did not reach the
// shop. With fields the page offers to send it again; without, it says that the
// visitor must.
type heldForm struct {
	Fields []field
}

type field struct{ Name, Value string }

// largestForm is the largest form body that is kept in the page.
const largestForm = 64 << 10

// formOf takes the form out of a held navigation; nil if r sends none. It reads
// the body only of a form that may be offered again.
//
// A form of another site is never offered: the visitor's press on our own page
// would make it a request of the shop's own origin, and carry it past whatever
// the shop has against forged requests.
func formOf(w http.ResponseWriter, r *http.Request) *heldForm {
	if r.Method != http.MethodPost {
		return nil
	}
	if !sameOrigin(r) || r.ContentLength > largestForm {
		return &heldForm{}
	}
	kind, _, err := mime.ParseMediaType(r.Header.Get("Content-Type"))
	if err != nil || kind != "application/x-www-form-urlencoded" {
		return &heldForm{}
	}
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, largestForm))
	if err != nil {
		return &heldForm{}
	}
	return &heldForm{Fields: fieldsOf(string(body))}
}

// fieldsOf reads a form in the order it was filled in; none if a browser could
// not send exactly the same again.
func fieldsOf(body string) []field {
	if body == "" {
		return nil
	}
	var fields []field
	for pair := range strings.SplitSeq(body, "&") {
		escapedName, escapedValue, _ := strings.Cut(pair, "=")
		name, err := url.QueryUnescape(escapedName)
		if err != nil || !repeatable(name) {
			return nil
		}
		value, err := url.QueryUnescape(escapedValue)
		if err != nil || !repeatable(value) {
			return nil
		}
		fields = append(fields, field{name, value})
	}
	return fields
}

// repeatable reports whether HTML can carry s unchanged.
func repeatable(s string) bool {
	return utf8.ValidString(s) && !strings.Contains(s, "\x00")
}

// sameOrigin reports whether a browser vouches that a page of this very host
// made r. Without any word of a browser it does not.
func sameOrigin(r *http.Request) bool {
	if site := r.Header.Get("Sec-Fetch-Site"); site != "" {
		return site == "same-origin"
	}
	origin, err := url.Parse(r.Header.Get("Origin"))
	return err == nil && origin.Host != "" && strings.EqualFold(origin.Host, r.Host)
}
