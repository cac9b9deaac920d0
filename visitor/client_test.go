package visitor

import (
	"crypto/tls"
	"net/http"
	"net/netip"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func trusted(t testing.TB, networks ...string) Proxies {
	t.Helper()
	var prefixes []netip.Prefix
	for _, n := range networks {
		p, err := netip.ParsePrefix(n)
		if err != nil {
			t.Fatal(err)
		}
		prefixes = append(prefixes, p)
	}
	return Trust(prefixes...)
}

func from(remote string, lines ...string) *http.Request {
	r := &http.Request{Method: "GET", Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1, RemoteAddr: remote, Header: http.Header{}}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		r.Header.Add(name, value)
	}
	return r
}

func TestRead_Client(t *testing.T) {
	proxies := trusted(t, "10.0.0.0/8", "fd00::/8", "::ffff:192.0.2.0/120")
	for _, c := range []struct {
		story, remote string
		forwarded     []string
		want          string
	}{
		{"no proxy", "203.0.113.7:4711", nil, "203.0.113.7"},
		{"stranger claims", "203.0.113.7:4711", []string{"198.51.100.1"}, "203.0.113.7"},
		{"one proxy", "10.0.0.1:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"proxy says nothing", "10.0.0.1:80", nil, "10.0.0.1"},
		{"client wrote its own", "10.0.0.1:80", []string{"1.1.1.1, 198.51.100.1"}, "198.51.100.1"},
		{"two proxies", "10.0.0.1:80", []string{"1.1.1.1, 198.51.100.1, 10.2.2.2"}, "198.51.100.1"},
		{"lines are one list", "10.0.0.1:80", []string{"1.1.1.1", "198.51.100.1,10.2.2.2"}, "198.51.100.1"},
		{"all trusted", "10.0.0.1:80", []string{"10.9.9.9, 10.2.2.2"}, "10.9.9.9"},
		{"junk nearest", "10.0.0.1:80", []string{"198.51.100.1, unknown"}, "10.0.0.1"},
		{"junk behind a proxy", "10.0.0.1:80", []string{"evil, 10.2.2.2"}, "10.0.0.1"},
		{"junk beyond the client", "10.0.0.1:80", []string{"evil, 198.51.100.1"}, "198.51.100.1"},
		{"empty", "10.0.0.1:80", []string{""}, "10.0.0.1"},
		{"with a port", "10.0.0.1:80", []string{"198.51.100.1:5555"}, "198.51.100.1"},
		{"IPv6 with a port", "10.0.0.1:80", []string{"[2001:db8::1]:5555"}, "2001:db8::1"},
		{"IPv6 in brackets", "10.0.0.1:80", []string{"[2001:db8::1]"}, "2001:db8::1"},
		{"IPv4 in IPv6", "[::ffff:10.0.0.1]:80", []string{"::ffff:198.51.100.1"}, "198.51.100.1"},
		{"network written in IPv6", "192.0.2.9:80", []string{"198.51.100.1"}, "198.51.100.1"},
		{"IPv6 peer with a zone", "[fd00::1%eth0]:80", []string{"198.51.100.1"}, "198.51.100.1"},
	} {
		t.Run(c.story, func(t *testing.T) {
			r := from(c.remote)
			r.Header["X-Forwarded-For"] = c.forwarded
			if got := proxies.Read(r).Client.String(); got != c.want {
				t.Errorf("client is %s, want %s", got, c.want)
			}
		})
	}
}

func TestRead_UnixSocketHasNoAddress(t *testing.T) {
	v := trusted(t, "0.0.0.0/0", "::/0").Read(from("@", "X-Forwarded-For: 198.51.100.1"))
	if v.Client.IsValid() || v.Trusted {
		t.Errorf("got %v, trusted %v; want no address and no trust", v.Client, v.Trusted)
	}
}

func TestRead_ForwardedForOfAStrangerNeverMovesTheClient(t *testing.T) {
	proxies := trusted(t, "10.0.0.0/8")
	hop := rapid.SampledFrom([]string{"10.0.0.1", "1.2.3.4", "::1", "", " ", "junk", "10.1.1.1:80", "[::1]:1", "127.0.0.1"})
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOf(rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOf(hop).Draw(t, "hops"), rapid.SampledFrom([]string{",", ", "}).Draw(t, "comma"))
		})).Draw(t, "lines")

		r := from("203.0.113.7:1")
		r.Header["X-Forwarded-For"] = lines
		if got, want := proxies.Read(r).Client.String(), "203.0.113.7"; got != want {
			t.Fatalf("client of an untrusted peer is %s, want %s", got, want)
		}

		// Behind a trusted proxy, what stands left of the first stranger is
		// that stranger's own word.
		r = from("10.0.0.1:1")
		r.Header["X-Forwarded-For"] = append(lines, "198.51.100.1, 10.2.2.2")
		if got, want := proxies.Read(r).Client.String(), "198.51.100.1"; got != want {
			t.Fatalf("client behind a proxy is %s, want %s", got, want)
		}
	})
}

func TestRead_Secure(t *testing.T) {
	proxies := trusted(t, "10.0.0.0/8")
	for _, c := range []struct {
		story, remote string
		proto         []string
		tls, want     bool
	}{
		{"plain", "203.0.113.7:1", nil, false, false},
		{"our own TLS", "203.0.113.7:1", nil, true, true},
		{"stranger claims", "203.0.113.7:1", []string{"https"}, false, false},
		{"proxy says", "10.0.0.1:1", []string{"https"}, false, true},
		{"proxy says http", "10.0.0.1:1", []string{"http"}, false, false},
		{"the nearest counts", "10.0.0.1:1", []string{"https, http"}, false, false},
		{"the last line counts", "10.0.0.1:1", []string{"http", "HTTPS"}, false, true},
	} {
		t.Run(c.story, func(t *testing.T) {
			r := from(c.remote)
			r.Header["X-Forwarded-Proto"] = c.proto
			if c.tls {
				r.TLS = &tls.ConnectionState{}
			}
			if got := proxies.Read(r).Secure; got != c.want {
				t.Errorf("secure is %v, want %v", got, c.want)
			}
		})
	}
}

func TestRead_RequestIDIsATrustedProxysOrOneOfItsOwn(t *testing.T) {
	proxies := trusted(t, "10.0.0.0/8")
	for _, c := range []struct {
		story, remote string
		ids           []string
		kept          bool
	}{
		{"of a trusted proxy", "10.0.0.1:1", []string{"abc-123"}, true},
		{"of a stranger", "203.0.113.7:1", []string{"abc-123"}, false},
		{"none", "10.0.0.1:1", nil, false},
		{"two", "10.0.0.1:1", []string{"abc-123", "abc-124"}, false},
		{"of other characters", "10.0.0.1:1", []string{"abc_123\n"}, false},
		{"too long", "10.0.0.1:1", []string{strings.Repeat("x", 65)}, false},
	} {
		r := from(c.remote)
		r.Header["X-Request-Id"] = c.ids
		one, two := proxies.Read(r).RequestID, proxies.Read(r).RequestID
		switch {
		case c.kept && one != c.ids[0]:
			t.Errorf("%s: got %q, want %q", c.story, one, c.ids[0])
		case !c.kept && (!isRequestID(one) || one == two):
			t.Errorf("%s: got %q and %q, want two of our own", c.story, one, two)
		}
	}
}

func TestHandler_ReadsTheSenderAsTheProxiesOfTheTimeLetIt(t *testing.T) {
	proxies := Proxies{}
	var got string
	h := Handler(func() Proxies { return proxies }, http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got = From(r).Client.String()
	}))
	r := from("10.0.0.1:1", "X-Forwarded-For: 198.51.100.1")
	for _, want := range []string{"10.0.0.1", "198.51.100.1"} {
		h.ServeHTTP(nil, r)
		if got != want {
			t.Errorf("the sender is %s, want %s", got, want)
		}
		proxies = trusted(t, "10.0.0.0/8")
	}
}
