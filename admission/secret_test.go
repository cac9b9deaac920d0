package admission

import (
	"net/netip"
	"sync"
	"testing"
)

// A build that hashed otherwise would give a person a second place.
func TestSecret_HashesAsInEveryBuild(t *testing.T) {
	h := Secret("secret").hashes(LineID{"demo", 123})
	networks := Networks{IPv4: 24, IPv6: 56}
	hash := map[string]func() string{
		"R-0kiHPpaLKoYsL_-KYY2w": func() string { return h.identity("ann") },
		"hCMSNJC2v5G9WXh9rfKRAA": func() string { return h.network(netip.MustParseAddr("203.0.113.7"), networks) },
		"abVuUutnmEm_N586Mk2RUw": func() string { return h.network(netip.MustParseAddr("2001:db8::1%eth0"), networks) },
		"":                       func() string { return h.identity("") + h.network(netip.Addr{}, networks) },
	}
	var all sync.WaitGroup
	for want, hash := range hash {
		all.Go(func() {
			for range 100 {
				if got := hash(); got != want {
					t.Errorf("got %q, want %q", got, want)
					return
				}
			}
		})
	}
	all.Wait()
	if h.identity("ann") == (Secret("other")).hashes(LineID{"demo", 123}).identity("ann") ||
		h.identity("ann") == (Secret("secret")).hashes(LineID{"demo", 124}).identity("ann") {
		t.Error("another secret, or another line, has the same hash")
	}
}
