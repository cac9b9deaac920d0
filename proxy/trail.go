package proxy

import (
	"crypto/hkdf"
	"crypto/rand"
	"crypto/sha256"
	"fmt"
	"net/http"
	"strings"

	"go.uber.org/zap"
)

// trailHeader tells, in requests to a shop, which gateways they came through: a
// list of marks, the last one's at its end. By it a gateway knows what comes
// back to it.
const trailHeader = "Ropeline-Via"

const (
	markBytes = 12
	markSize  = 2 * markBytes // hexadecimal

	// mostMarks is how many marks a trail keeps.
	mostMarks = 16

	// mostPasses is how often a request may come through. A shop that asks
	// itself by its public address, with the headers that it was asked with,
	// comes once or twice more.
	mostPasses = 3
)

// newMark is the mark of all gateways that share a secret. No client knows it,
// so none can make a request look as if it came back: that of another visitor
// least of all, but neither its own, whose failure a shop might remember.
func newMark(secret []byte) string {
	if len(secret) == 0 {
		secret = []byte(rand.Text())
	}
	mark, err := hkdf.Key(sha256.New, secret, nil, "ropeline via", markBytes)
	if err != nil {
		panic(err) // only for a length that hkdf cannot give
	}
	return fmt.Sprintf("%x", mark)
}

// cameBack reports whether r came through so often that an upstream must lead
// to this gateway, and says so in the log.
func (x *exchange) cameBack(r *http.Request) bool {
	lines := r.Header[trailHeader]
	if lines == nil {
		return false
	}
	passed := 0
	for _, line := range lines {
		passed += strings.Count(line, x.gateway.mark)
	}
	if passed < mostPasses {
		return false
	}
	x.gateway.log.Error("request came back, an upstream leads to this gateway",
		zap.String("host", clip(r.Host, 256)), zap.String("path", clip(r.URL.EscapedPath(), 1024)),
		zap.Stringer("peer", x.who.Peer), zap.String("request_id", x.who.RequestID))
	return true
}

// trail is what the upstream is told: the trail so far, as far as it is one,
// and the gateway's own mark.
func (g *Gateway) trail(r *http.Request) string {
	lines := r.Header[trailHeader]
	if lines == nil {
		return g.mark
	}
	var marks []string
	for _, line := range lines {
		for mark := range strings.SplitSeq(line, ",") {
			if mark = strings.TrimSpace(mark); isMark(mark) {
				marks = append(marks, mark)
			}
		}
	}
	marks = append(marks, g.mark)
	return strings.Join(marks[max(0, len(marks)-mostMarks):], ", ")
}

func isMark(s string) bool {
	if len(s) != markSize {
		return false
	}
	for i := range len(s) {
		if c := s[i]; (c < '0' || c > '9') && (c < 'a' || c > 'f') {
			return false
		}
	}
	return true
}
