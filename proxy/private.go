package proxy

import (
	"net/http"
	"strings"
)

// private keeps shared caches from handing the answer for one visitor to
// another, unless it is stricter already. Headers that speak to one kind of
// cache only would be obeyed before Cache-Control.
func private(h http.Header) {
	for name := range h {
		switch name {
		case "Cdn-Cache-Control", "Surrogate-Control", "X-Accel-Expires", "Edge-Control", "X-Litespeed-Cache-Control":
			delete(h, name)
		default:
			if strings.HasSuffix(name, "-Cdn-Cache-Control") {
				delete(h, name)
			}
		}
	}
	lines := h["Cache-Control"]
	if len(lines) == 0 {
		h["Cache-Control"] = privateOnly[:1:1]
		return
	}
	kept := []string{"private"}
	for _, line := range lines {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.TrimSpace(directive)
			name, _, _ := strings.Cut(directive, "=")
			switch strings.ToLower(strings.TrimSpace(name)) {
			case "no-store":
				return // whatever else it says, no one keeps it
			case "", "public", "private", "s-maxage":
			default:
				kept = append(kept, directive)
			}
		}
	}
	h["Cache-Control"] = []string{strings.Join(kept, ", ")}
}

var privateOnly = []string{"private"}
