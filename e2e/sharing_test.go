package e2e

import (
	"net/http"
	"strings"
	"testing"
)

// TestSharing_ACopiedCookieAdmitsNoOneElse has what one visitor keeps brought by
// another, from another network.
func TestSharing_ACopiedCookieAdmitsNoOneElse(t *testing.T) {
	t.Parallel()
	shop := openShop(t)
	for _, policy := range []string{"observe", "hold"} {
		t.Run(policy, func(t *testing.T) {
			t.Parallel()
			g := start(t, settings(shop, "capacity: 1, sharing: {policy: "+policy+", networks: 1}", "trusted_proxies: [127.0.0.1/32]"))
			from := func(address, cookies string) answer {
				r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Public+"/drop", nil)
				if err != nil {
					t.Fatal(err)
				}
				r.Header.Set("Accept", "text/html")
				r.Header.Set("X-Forwarded-For", address)
				r.Header.Set("Cookie", cookies)
				a, err := newVisitor(t, g).send(r)
				if err != nil {
					t.Fatal(err)
				}
				return a
			}
			var cookie string
			eventually(t, "the first is inside", func() bool {
				a := from("192.0.2.1", "")
				cookie, _, _ = strings.Cut(a.Header.Get("Set-Cookie"), ";")
				return strings.Contains(a.Body, `id="inside"`)
			})
			inside := func(a answer) bool { return strings.Contains(a.Body, `id="inside"`) }
			if a := from("198.51.100.1", cookie); inside(a) != (policy == "observe") {
				t.Errorf("elsewhere the cookie gets %d %.300s", a.Code, a.Body)
			}
			if a := from("192.0.2.1", cookie); !inside(a) {
				t.Errorf("its owner gets %d %.300s", a.Code, a.Body)
			}
			if got := g.Metric(`ropeline_shared_tokens_total{activity="7",reason="networks"}`); got != 1 {
				t.Errorf("%v sessions are counted, want 1", got)
			}
		})
	}
}
