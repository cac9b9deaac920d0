package api

import (
	"net"
	"net/http"
	"net/netip"
	"slices"
	"strings"
)

// Guard refuses requests for a host by which the admin listener is not known:
// a page elsewhere whose name was pointed at this machine must not read it.
// Addresses of loopback and localhost always pass, and so do hosts,
// which are asked anew each time.
func Guard(hosts func() []string, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !known(r.Host, hosts()) {
			write(w, http.StatusForbidden, map[string]string{"error": "FORBIDDEN", "message": "This host name is not in admin.hosts."})
			return
		}
		next.ServeHTTP(w, r)
	})
}

func known(host string, hosts []string) bool {
	name := host
	if h, _, err := net.SplitHostPort(host); err == nil {
		name = h
	}
	name = strings.ToLower(strings.Trim(name, "[]"))
	if address, err := netip.ParseAddr(name); err == nil {
		return address.IsLoopback() || slices.Contains(hosts, name)
	}
	return name == "localhost" || slices.Contains(hosts, name)
}
