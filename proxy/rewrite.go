package proxy

import (
	"net/http"
	"net/http/httputil"
	"strconv"
	"strings"
	"time"

	"github.com/ropeline/ropeline/visitor"
)

// maxForwarded is how many header values the upstream is told.
const maxForwarded = 8

// rewrite makes the request that the shop sees: the sender's own path, query
// and Host, without what only the gateway may say.
func (u *Upstream) rewrite(pr *httputil.ProxyRequest) {
	x, out := exchangeOf(pr.In), pr.Out
	// ReverseProxy drops what it cannot parse of a query, and all of one with
	// very many parameters. The shop reads its own.
	out.URL.RawQuery = pr.In.URL.RawQuery
	// Trailers come after the headers were judged.
	out.Trailer = nil

	// Made anew with room for what is told: adding to the copy that
	// ReverseProxy made would move it to a larger one.
	h := make(http.Header, len(out.Header)+maxForwarded)
	for name, values := range out.Header {
		if passes(name) {
			h[name] = values
		}
	}
	out.Header = h
	for _, name := range x.table.secrets {
		delete(h, name)
	}
	visitor.StripCookies(h)
	if !x.who.WebSocket {
		// Else a client could have the shop speak another protocol, such as
		// h2c, in which further requests would come past the gate.
		delete(h, "Upgrade")
		delete(h, "Connection")
	}

	if x.who.Client.IsValid() {
		x.tell(h, "X-Forwarded-For", x.who.Client.String())
	}
	x.tell(h, "X-Forwarded-Host", pr.In.Host)
	if x.who.Secure {
		x.tell(h, "X-Forwarded-Proto", "https")
	} else {
		x.tell(h, "X-Forwarded-Proto", "http")
	}
	x.tell(h, "X-Request-Id", x.who.RequestID)
	x.tell(h, trailHeader, x.gateway.trail(pr.In))
	x.introduce(h)
	x.hand(h)
	x.sent = time.Now()
}

// introduce tells the shop whose request it is.
func (x *exchange) introduce(h http.Header) {
	a := x.route.Activity
	if a == nil {
		return
	}
	x.tell(h, "Ropeline-Activity", x.route.id)
	x.tell(h, "Ropeline-Tenant", a.Tenant)
	if n := x.verdict.Session.Number; n > 0 {
		x.tell(h, "Ropeline-Number", strconv.FormatInt(n, 10))
	}
}

// tell sets a header of the request to the shop.
func (x *exchange) tell(h http.Header, name, value string) {
	x.forwarded[x.told] = value
	h[name] = x.forwarded[x.told : x.told+1 : x.told+1]
	x.told++
}

// passes reports whether a client's header goes to the shop. ReverseProxy has
// removed those of the connection before. Names of other characters than
// letters, digits and hyphens do not pass: CGI and its kin read X_Y, and some
// X.Y, as the X-Y that we removed.
func passes(name string) bool {
	for i := range len(name) {
		if !letterOrDigit[name[i]] && name[i] != '-' {
			return false
		}
	}
	switch name {
	case
		// What proxies tell of the client, and shops believe.
		"Forwarded", "X-Real-Ip", "X-Client-Ip", "True-Client-Ip", "Client-Ip", "X-Cluster-Client-Ip",
		"X-Originating-Ip", "X-Remote-Ip", "X-Remote-Addr", "X-Proxyuser-Ip", "Cf-Connecting-Ip",
		"Cf-Connecting-Ipv6", "Cf-Pseudo-Ipv4", "Fastly-Client-Ip", "Fly-Client-Ip", "X-Azure-Clientip",
		"X-Appengine-User-Ip", "X-Envoy-External-Address", "Wl-Proxy-Client-Ip", "Proxy-Client-Ip",
		"X-Request-Id",
		// What makes some shops answer for another path or host than asked for.
		"X-Original-Url", "X-Original-Uri", "X-Original-Host", "X-Rewrite-Url", "X-Host", "X-Envoy-Original-Path",
		"X-Accel-Mapping", "X-Sendfile-Type",
		// CGI makes HTTP_PROXY of it.
		"Proxy",
		// The server has answered it; an upstream that waits for it hangs.
		"Expect",
		// What remains of a request to change to HTTP/2.
		"Http2-Settings":
		return false
	}
	return !strings.HasPrefix(name, "X-Forwarded-") && !visitor.Reserved(name)
}

var letterOrDigit = func() (set [256]bool) {
	for c := range 256 {
		set[c] = '0' <= c && c <= '9' || 'a' <= c && c <= 'z' || 'A' <= c && c <= 'Z'
	}
	return set
}()
