package visitor

import "net/http"

// Header values that never vary, made once: every answer of a gated route sets
// some of them.
var (
	noStore = []string{"no-store"}
	never   = []string{"0"}
)

// NoStore keeps every cache away from an answer. The names beside Cache-Control
// are for caches of content delivery networks, and nginx, that were told to
// overrule it.
func NoStore(h http.Header) {
	h["Cache-Control"] = noStore[:1:1]
	h["Cdn-Cache-Control"] = noStore[:1:1]
	h["Surrogate-Control"] = noStore[:1:1]
	h["X-Accel-Expires"] = never[:1:1]
}

// NotShared keeps shared caches that overrule Cache-Control away from an answer
// whose Cache-Control does the same already. Other names that only such caches
// read must not be in h.
func NotShared(h http.Header) { h["X-Accel-Expires"] = never[:1:1] }
