package admission

import (
	"encoding/base64"
	"encoding/json"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

func testRing(t testing.TB, keys ...Key) *Keyring {
	t.Helper()
	if len(keys) == 0 {
		keys = []Key{NewKey()}
	}
	ring, err := NewKeyring(keys)
	if err != nil {
		t.Fatal(err)
	}
	return ring
}

func testTicket() ticket {
	now := InstantOf(time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC))
	return ticket{
		line: LineID{"demo", 123}, visitor: newVisitor(), number: 4211, epoch: 3,
		signed: now, expires: now.Add(time.Hour), max: now.Add(2 * time.Hour),
	}
}

func mustSign(t testing.TB, ring *Keyring, tk ticket, use string) string {
	t.Helper()
	signed, err := ring.sign(tk, use)
	if err != nil {
		t.Fatal(err)
	}
	return signed.Token
}

func edKey(id string) Key {
	return Key{ID: id, Alg: EdDSA, Secret: []byte(strings.Repeat("s", 32))}
}

func TestTicket_ComesBackAsItWasSigned(t *testing.T) {
	for _, key := range []Key{NewKey(), edKey("ed")} {
		ring := testRing(t, key)
		want := testTicket()
		for _, use := range []string{forQueue, forAdmission} {
			got, err := ring.verify(mustSign(t, ring, want, use), use)
			if err != nil {
				t.Fatalf("%s %s: %v", key.Alg, use, err)
			}
			want.kid, want.use = key.ID, use
			if *got != want {
				t.Errorf("%s %s: got %+v, want %+v", key.Alg, use, *got, want)
			}
		}
	}
}

// Builds before told no length of the network that a ticket is bound to.
func TestTicket_OfABuildThatToldNoLengthIsBoundAsTheFileSays(t *testing.T) {
	r := &Room{hashes: Secret("secret").hashes(LineID{"demo", 123})}
	networks := Networks{IPv4: 24, IPv6: 48}
	r.settings.Store(&Settings{Bind: Bind{Network: true}, Networks: networks})
	given := testTicket()
	given.binding.network = r.hashes.network(netip.MustParseAddr("192.0.2.1"), networks)
	for address, want := range map[string]bool{"192.0.2.200": true, "198.51.100.1": false} {
		if got := r.bound(&given, Visit{Network: netip.MustParseAddr(address)}); got != want {
			t.Errorf("brought from %s it is bound: %v, want %v", address, got, want)
		}
	}
}

// A build that signed otherwise would still have to take these.
func TestTicket_IsTheTokenThatItWasInEveryBuild(t *testing.T) {
	bound := testTicket()
	bound.visitor, bound.binding = "7Q5XJZB3N4K2M6P8R0T1V9W3YA", binding{"agent", "network", 0}
	indexed := bound
	indexed.indexed, indexed.index, indexed.drawn, indexed.max = true, 41, 64, 0
	for _, c := range []struct {
		key    Key
		ticket ticket
		use    string
		token  string
	}{
		{Key{ID: "k1", Alg: HS256, Secret: []byte(strings.Repeat("s", 32))}, bound, forAdmission,
			"eyJhbGciOiJIUzI1NiIsImtpZCI6ImsxIiwidHlwIjoiSldUIn0.eyJpc3MiOiJyb3BlbGluZSIsInN1YiI6IjdRNVhKWkIzTjRLMk02UDhSMFQxVjlXM1lBIiwiYXVkIjpbImFkbWlzc2lvbiJdLCJleHAiOjE3OTUzNDUyMDAsImlhdCI6MTc5NTM0MTYwMCwiYWN0IjoxMjMsInRlbiI6ImRlbW8iLCJudW0iOjQyMTEsImVwbyI6MywibWF4IjoxNzk1MzQ4ODAwLCJidWEiOiJhZ2VudCIsImJudyI6Im5ldHdvcmsifQ.xKCWKBMwEwcYAXyzahSjGHA8WxgyQSEom2MN8Jhcdww"},
		{edKey("ed"), indexed, forQueue,
			"eyJhbGciOiJFZERTQSIsImtpZCI6ImVkIiwidHlwIjoiSldUIn0.eyJpc3MiOiJyb3BlbGluZSIsInN1YiI6IjdRNVhKWkIzTjRLMk02UDhSMFQxVjlXM1lBIiwiYXVkIjpbInF1ZXVlIl0sImV4cCI6MTc5NTM0NTIwMCwiaWF0IjoxNzk1MzQxNjAwLCJhY3QiOjEyMywidGVuIjoiZGVtbyIsIm51bSI6MCwiaWR4Ijo0MSwiZHJuIjo2NCwiZXBvIjozLCJidWEiOiJhZ2VudCIsImJudyI6Im5ldHdvcmsifQ.cP3BDV1nzlZjGVUTdG0C5hFmiowF4jqzMzLF5rOy5rVMXn_F8SOHDMse0mZN1IPhVfVUjOfu3Smg2YZdBul3AA"},
	} {
		ring := testRing(t, c.key)
		if got := mustSign(t, ring, c.ticket, c.use); got != c.token {
			t.Errorf("%s %s: got %s", c.key.Alg, c.use, got)
		}
		if got, err := ring.verify(c.token, c.use); err != nil || got.visitor != bound.visitor || got.expires != bound.expires {
			t.Errorf("%s %s: it is %+v, %v", c.key.Alg, c.use, got, err)
		}
	}
}

func TestTicket_OfOneUseNeverPassesForTheOther(t *testing.T) {
	ring := testRing(t)
	for _, use := range [][2]string{{forQueue, forAdmission}, {forAdmission, forQueue}} {
		token := mustSign(t, ring, testTicket(), use[0])
		for range 2 { // the second time it is known by its text
			if _, err := ring.verify(token, use[1]); !errors.Is(err, errTokenAudience) {
				t.Errorf("a %s token asked for as %s: %v, want %v", use[0], use[1], err, errTokenAudience)
			}
			if _, err := ring.verify(token, use[0]); err != nil {
				t.Errorf("a %s token asked for as such: %v", use[0], err)
			}
		}
	}
}

func TestTicket_EveryFlippedBitIsRefused(t *testing.T) {
	for _, key := range []Key{NewKey(), edKey("ed")} {
		ring := testRing(t, key)
		token := mustSign(t, ring, testTicket(), forQueue)
		for i := range token {
			for bit := range 8 {
				damaged := []byte(token)
				damaged[i] ^= 1 << bit
				if _, err := ring.verify(string(damaged), forQueue); err == nil {
					t.Fatalf("%s: bit %d of byte %d flipped and the token still passes", key.Alg, bit, i)
				}
			}
		}
	}
}

func TestTicket_EveryKindOfForgeryIsRefused(t *testing.T) {
	secret := NewKey()
	ed := edKey("ed")
	ring := testRing(t, secret, ed)
	public := ring.byID["ed"].verifies

	good := func() claims {
		return claims{
			Issuer: issuer, Visitor: "v", Audience: []string{forQueue},
			Expires: time.Now().Add(time.Hour).Unix(), Signed: time.Now().Unix(),
			Activity: 123, Tenant: "demo", Number: 1, Epoch: 1,
		}
	}
	signed := func(method jwt.SigningMethod, with any, header map[string]any, change func(*claims)) string {
		c := good()
		if change != nil {
			change(&c)
		}
		token := jwt.NewWithClaims(method, c)
		for name, value := range header {
			token.Header[name] = value
		}
		text, err := token.SignedString(with)
		if err != nil {
			t.Fatal(err)
		}
		return text
	}
	kid := map[string]any{"kid": secret.ID}
	hs := func(change func(*claims)) string { return signed(jwt.SigningMethodHS256, secret.Secret, kid, change) }
	if _, err := ring.verify(hs(nil), forQueue); err != nil {
		t.Fatalf("the token that the forgeries start from is refused: %v", err)
	}

	publicBytes, err := json.Marshal(public)
	if err != nil {
		t.Fatal(err)
	}
	for name, token := range map[string]string{
		"empty":                   "",
		"no parts":                "abc",
		"two parts":               "abc.def",
		"four parts":              hs(nil) + ".x",
		"alg none":                signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, kid, nil),
		"alg none, EdDSA's kid":   signed(jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, map[string]any{"kid": "ed"}, nil),
		"HS256 with a public key": signed(jwt.SigningMethodHS256, publicBytes, map[string]any{"kid": "ed"}, nil),
		"HS256 named EdDSA":       signed(jwt.SigningMethodHS256, secret.Secret, map[string]any{"kid": "ed"}, nil),
		"HS384":                   signed(jwt.SigningMethodHS384, secret.Secret, kid, nil),
		"no kid":                  signed(jwt.SigningMethodHS256, secret.Secret, nil, nil),
		"kid of a path":           signed(jwt.SigningMethodHS256, secret.Secret, map[string]any{"kid": "../" + secret.ID}, nil),
		"kid of a URL":            signed(jwt.SigningMethodHS256, secret.Secret, map[string]any{"kid": "https://evil.example/k"}, nil),
		"kid that is a number":    signed(jwt.SigningMethodHS256, secret.Secret, map[string]any{"kid": 1}, nil),
		"kid of 10 KB":            signed(jwt.SigningMethodHS256, secret.Secret, map[string]any{"kid": strings.Repeat("k", 10_000)}, nil),
		"another secret":          signed(jwt.SigningMethodHS256, NewKey().Secret, kid, nil),
		"jwk in the header":       signed(jwt.SigningMethodHS256, NewKey().Secret, map[string]any{"kid": secret.ID, "jwk": map[string]string{"k": "x"}}, nil),
		"no issuer":               hs(func(c *claims) { c.Issuer = "" }),
		"another issuer":          hs(func(c *claims) { c.Issuer = "shop" }),
		"no audience":             hs(func(c *claims) { c.Audience = nil }),
		"two audiences":           hs(func(c *claims) { c.Audience = []string{forQueue, forAdmission} }),
		"no expiry":               hs(func(c *claims) { c.Expires = 0 }),
		"no time of signing":      hs(func(c *claims) { c.Signed = 0 }),
		"no visitor":              hs(func(c *claims) { c.Visitor = "" }),
		"number zero":             hs(func(c *claims) { c.Number = 0 }),
		"negative number":         hs(func(c *claims) { c.Number = -1 }),
		"negative end":            hs(func(c *claims) { c.Max = -1 }),
		"epoch zero":              hs(func(c *claims) { c.Epoch = 0 }),
		"padded base64":           hs(nil) + "=",
		"too long":                hs(func(c *claims) { c.Tenant = strings.Repeat("t", longestToken) }),
		"not JSON":                base64.RawURLEncoding.EncodeToString([]byte("{")) + "." + base64.RawURLEncoding.EncodeToString([]byte("{")) + ".x",
	} {
		if got, err := ring.verify(token, forQueue); err == nil {
			t.Errorf("%s: passes as %+v", name, got)
		}
	}
	if _, err := ring.verify(hs(func(c *claims) { c.Audience = []string{forAdmission} }), forAdmission); err == nil {
		t.Error("an admission token without the furthest end of its session passes")
	}
}

func TestKeyring_RotationKeepsTicketsUntilTheirKeyGoes(t *testing.T) {
	old, fresh := NewKey(), NewKey()
	token := mustSign(t, testRing(t, old), testTicket(), forQueue)
	if _, err := testRing(t, fresh, old).verify(token, forQueue); err != nil {
		t.Errorf("both keys in the ring: %v", err)
	}
	rotated := mustSign(t, testRing(t, fresh, old), testTicket(), forQueue)
	if _, err := testRing(t, fresh).verify(rotated, forQueue); err != nil {
		t.Errorf("the first key does not sign: %v", err)
	}
	if _, err := testRing(t, fresh).verify(token, forQueue); !errors.Is(err, errTokenKey) {
		t.Errorf("the old key gone: %v, want %v", err, errTokenKey)
	}
}

func TestKeyring_RefusesKeysThatCannotKeepAPlaceSafe(t *testing.T) {
	for name, keys := range map[string][]Key{
		"none":            {},
		"no kid":          {{Alg: HS256, Secret: make([]byte, 32)}},
		"short secret":    {{ID: "k", Alg: HS256, Secret: make([]byte, 31)}},
		"wrong seed":      {{ID: "k", Alg: EdDSA, Secret: make([]byte, 31)}},
		"other algorithm": {{ID: "k", Alg: "none", Secret: make([]byte, 32)}},
		"one kid twice":   {{ID: "k", Alg: HS256, Secret: make([]byte, 32)}, edKey("k")},
	} {
		if _, err := NewKeyring(keys); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}

func TestKeyring_JWKSHoldsPublicKeysOnly(t *testing.T) {
	secret := NewKey()
	text := string(testRing(t, secret, edKey("ed")).JWKS())
	if !strings.Contains(text, `"kid":"ed"`) || strings.Contains(text, secret.ID) ||
		strings.Contains(text, base64.RawURLEncoding.EncodeToString(edKey("ed").Secret)) {
		t.Errorf("got %s, want the Ed25519 public key and nothing else", text)
	}
}

func TestKey_NeverPrintsItsSecret(t *testing.T) {
	k := Key{ID: "k", Alg: HS256, Secret: []byte("open sesame, open sesame, open sesame")}
	for _, text := range []string{k.String(), k.GoString()} {
		if strings.Contains(text, "sesame") {
			t.Errorf("%s shows the secret", text)
		}
	}
}

func TestTicketCache_ForgetsTheLeastUsedAndStaysBounded(t *testing.T) {
	c := newTicketCache()
	kept := &ticket{number: 1}
	c.put("kept", kept)
	for i := range 200_000 {
		c.put(newVisitor(), &ticket{number: int64(i)})
		if i%100 == 0 && c.get("kept") != kept {
			t.Fatalf("a ticket that is in use was forgotten after %d others", i)
		}
	}
	held := 0
	for i := range c.shards {
		held += len(c.shards[i].young) + len(c.shards[i].old)
	}
	if most := len(c.shards) * 2 * shardTickets; held > most {
		t.Errorf("holds %d tickets, want at most %d", held, most)
	}
}

func FuzzTicket(f *testing.F) {
	key := NewKey()
	ring := testRing(f, key)
	good := mustSign(f, ring, testTicket(), forQueue)
	f.Add(good)
	f.Add(mustSign(f, ring, testTicket(), forAdmission))
	f.Add("eyJhbGciOiJub25lIn0.e30.")
	f.Fuzz(func(t *testing.T, token string) {
		got, err := ring.verify(token, forQueue)
		if err == nil && token != good {
			t.Errorf("%q passes as %+v: only what was signed may", token, got)
		}
	})
}

func BenchmarkTicket_KnownToken(b *testing.B) {
	ring := testRing(b)
	token := mustSign(b, ring, testTicket(), forQueue)
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.verify(token, forQueue); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTicket_NewToken(b *testing.B) {
	ring := testRing(b)
	token := mustSign(b, ring, testTicket(), forQueue)
	b.ReportAllocs()
	for b.Loop() {
		delete(ring.known.shard(token).young, token)
		if _, err := ring.verify(token, forQueue); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTicket_Sign(b *testing.B) {
	ring, tk := testRing(b), testTicket()
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ring.sign(tk, forQueue); err != nil {
			b.Fatal(err)
		}
	}
}
