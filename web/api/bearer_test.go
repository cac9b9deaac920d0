package api_test

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"math/big"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ropeline/ropeline/web/api"
)

func b64(data []byte) string { return base64.RawURLEncoding.EncodeToString(data) }

// sign makes a token as whoever holds the key can.
func sign(t testing.TB, method jwt.SigningMethod, key any, header, claims object) string {
	t.Helper()
	token := jwt.NewWithClaims(method, jwt.MapClaims(claims))
	for name, value := range header {
		token.Header[name] = value
	}
	text, err := token.SignedString(key)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// claims are good ones, changed.
func claims(change object) object {
	all := object{"sub": "u", "role": "admin", "aud": "ropeline-admin", "iss": "ropeline", "exp": time.Now().Add(time.Hour).Unix()}
	for name, value := range change {
		if value == nil {
			delete(all, name)
			continue
		}
		all[name] = value
	}
	return all
}

func TestVerifier_BelievesNothingButItsOwn(t *testing.T) {
	v := adminVerifier(t)
	hs := func(change object) string { return sign(t, jwt.SigningMethodHS256, adminSecret, nil, claims(change)) }
	good := hs(nil)
	if c, err := v.Verify(good); err != nil || time.Until(c.Expires) <= 0 || c != (api.Claims{Subject: "u", Role: api.Admin, Expires: c.Expires}) {
		t.Fatalf("got %+v, %v; want the claims", c, err)
	}
	parts := strings.Split(good, ".")
	past, future := time.Now().Add(-time.Second).Unix(), time.Now().Add(time.Hour).Unix()
	for story, token := range map[string]string{
		"empty":              "",
		"no token":           "x",
		"two parts":          parts[0] + "." + parts[1],
		"four parts":         good + ".x",
		"no signature":       parts[0] + "." + parts[1] + ".",
		"other signature":    parts[0] + "." + parts[1] + "." + b64(make([]byte, 32)),
		"other claims":       parts[0] + "." + b64([]byte(`{"sub":"v","role":"admin","aud":"ropeline-admin","iss":"ropeline","exp":9999999999}`)) + "." + parts[2],
		"padded":             good + "=",
		"bits after the end": good[:len(good)-1] + string(next(good[len(good)-1])),
		"alg none":           sign(t, jwt.SigningMethodNone, jwt.UnsafeAllowNoneSignatureType, nil, claims(nil)),
		"alg nOnE":           b64([]byte(`{"alg":"nOnE"}`)) + "." + parts[1] + ".",
		"alg HS512":          sign(t, jwt.SigningMethodHS512, adminSecret, nil, claims(nil)),
		"alg missing":        b64([]byte(`{}`)) + "." + parts[1] + "." + parts[2],
		"alg a list":         b64([]byte(`{"alg":["HS256"]}`)) + "." + parts[1] + "." + parts[2],
		"wrong key":          sign(t, jwt.SigningMethodHS256, []byte("another secret of thirty-two bytes"), nil, claims(nil)),
		"empty key":          sign(t, jwt.SigningMethodHS256, []byte{}, nil, claims(nil)),
		"expired":            hs(object{"exp": past}),
		"no exp":             hs(object{"exp": nil}),
		"exp a text":         hs(object{"exp": "never"}),
		"exp negative":       hs(object{"exp": -1}),
		"not yet":            hs(object{"nbf": future}),
		"other audience":     hs(object{"aud": "queue"}),
		"no audience":        hs(object{"aud": nil}),
		"other issuer":       hs(object{"iss": "shop"}),
		"no issuer":          hs(object{"iss": nil}),
		"sub a number":       hs(object{"sub": 5}),
		"role a list":        hs(object{"role": []string{"admin"}}),
		"demands":            sign(t, jwt.SigningMethodHS256, adminSecret, object{"crit": []string{"b64"}}, claims(nil)),
		"a kid of 10 KB":     sign(t, jwt.SigningMethodHS256, adminSecret, object{"kid": strings.Repeat("k", 10<<10)}, claims(nil)),
	} {
		if c, err := v.Verify(token); err == nil {
			t.Errorf("%s: believed, as %+v", story, c)
		}
	}
}

// next is the letter whose last bits alone differ: a lax reader drops them.
func next(c byte) byte {
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	return alphabet[strings.IndexByte(alphabet, c)|1]
}

func TestVerifier_RefusesWeakAndUnknownConfigurations(t *testing.T) {
	for _, o := range []api.VerifierOptions{
		{}, {Alg: "none"}, {Alg: "HS512", Secret: adminSecret}, {Alg: "HS256"}, {Alg: "HS256", Secret: []byte("short")},
		{Alg: "EdDSA"}, {Alg: "RS256", JWKSFile: filepath.Join(t.TempDir(), "gone.json")},
	} {
		if _, err := api.NewVerifier(o); err == nil {
			t.Errorf("%+v: taken", o)
		}
	}
}

// issuer is an operator's own, with a key of one algorithm.
type issuer struct {
	alg     string
	method  jwt.SigningMethod
	private crypto.Signer
	public  object // as a JWK
}

func issuers(t testing.TB) []issuer {
	t.Helper()
	edPublic, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	rs, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	es, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	point, err := es.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return []issuer{
		{"EdDSA", jwt.SigningMethodEdDSA, ed, object{"kty": "OKP", "crv": "Ed25519", "x": b64(edPublic)}},
		{"RS256", jwt.SigningMethodRS256, rs, object{"kty": "RSA", "n": b64(rs.N.Bytes()), "e": b64(big.NewInt(int64(rs.E)).Bytes())}},
		{"ES256", jwt.SigningMethodES256, es, object{"kty": "EC", "crv": "P-256", "x": b64(point[1:33]), "y": b64(point[33:])}},
	}
}

// jwk is the public key under a kid.
func (i issuer) jwk(kid string) object {
	key := object{"kid": kid, "use": "sig", "alg": i.alg}
	for name, value := range i.public {
		key[name] = value
	}
	return key
}

func writeKeys(t testing.TB, path string, keys ...object) {
	t.Helper()
	data, err := json.Marshal(object{"keys": keys})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestVerifier_KeysAreLookedUpInTheFileAndReadAgainWhenItChanges(t *testing.T) {
	all, strangers := issuers(t), issuers(t)
	for n, i := range all {
		t.Run(i.alg, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "keys.json")
			others := []object{all[(n+1)%3].jwk("k1"), all[(n+2)%3].jwk("k1"), {"kty": "oct", "kid": "k1", "k": "c2VjcmV0"}}
			writeKeys(t, path, append(others, i.jwk("k1"))...)
			v, err := api.NewVerifier(api.VerifierOptions{Alg: i.alg, JWKSFile: path, Audience: "ropeline-admin"})
			if err != nil {
				t.Fatal(err)
			}
			token := func(i issuer, kid any) string {
				header := object{}
				if kid != nil {
					header["kid"] = kid
				}
				return sign(t, i.method, i.private, header, claims(nil))
			}
			believed := func(token string) bool { _, err := v.Verify(token); return err == nil }
			if !believed(token(i, "k1")) {
				t.Error("its own token is not believed")
			}
			public, err := json.Marshal(i.jwk("k1"))
			if err != nil {
				t.Fatal(err)
			}
			for story, bad := range map[string]string{
				"other kid":               token(i, "k2"),
				"no kid":                  token(i, nil),
				"kid a number":            token(i, 1),
				"a path":                  token(i, "../../k1"),
				"another's key":           token(strangers[n], "k1"),
				"another alg":             token(all[(n+1)%3], "k1"),
				"HS256 by the public key": sign(t, jwt.SigningMethodHS256, public, object{"kid": "k1"}, claims(nil)),
				"key in the token":        sign(t, i.method, strangers[n].private, object{"kid": "k1", "jwk": strangers[n].jwk("k1"), "jku": "http://127.0.0.1:1/"}, claims(nil)),
			} {
				if believed(bad) {
					t.Errorf("%s: believed", story)
				}
			}

			// A rotation: the new key counts, the old one no more.
			writeKeys(t, path, i.jwk("k2"))
			if !believed(token(i, "k2")) || believed(token(i, "k1")) {
				t.Error("after the file changed the new key does not count alone")
			}
			// Also where the file looks the same to whoever asks only for its times.
			info, err := os.Stat(path)
			if err != nil {
				t.Fatal(err)
			}
			writeKeys(t, path, i.jwk("k3"))
			if err := os.Chtimes(path, info.ModTime(), info.ModTime()); err != nil {
				t.Fatal(err)
			}
			if !believed(token(i, "k3")) || believed(token(i, "k2")) {
				t.Error("a change within the clock's grain was overlooked")
			}
			writeKeys(t, path, i.jwk("k2"))
			if !believed(token(i, "k2")) {
				t.Error("the key is not taken back")
			}
			// A file that cannot be read leaves what was.
			if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
				t.Fatal(err)
			}
			if believed(token(i, "k4")) || !believed(token(i, "k2")) {
				t.Error("a broken file took the keys away")
			}
			if err := os.Remove(path); err != nil {
				t.Fatal(err)
			}
			if believed(token(i, "k4")) || !believed(token(i, "k2")) {
				t.Error("a file that is gone took the keys away")
			}
		})
	}
}

func TestVerifier_RefusesFilesWithBadKeys(t *testing.T) {
	all := issuers(t)
	ed, rs, es := all[0].jwk("k"), all[1].jwk("k"), all[2].jwk("k")
	with := func(key object, name string, value any) object {
		next := object{}
		for n, v := range key {
			next[n] = v
		}
		next[name] = value
		return next
	}
	small, err := rsa.GenerateKey(rand.Reader, 1024)
	if err != nil {
		t.Fatal(err)
	}
	for story, c := range map[string]struct {
		alg  string
		keys []object
	}{
		"none":             {"EdDSA", nil},
		"only others":      {"EdDSA", []object{rs, es}},
		"for encryption":   {"EdDSA", []object{with(ed, "use", "enc")}},
		"twice":            {"EdDSA", []object{ed, ed}},
		"short":            {"EdDSA", []object{with(ed, "x", "AAAA")}},
		"other curve":      {"EdDSA", []object{with(ed, "crv", "Ed448")}},
		"not base64":       {"EdDSA", []object{with(ed, "x", "!!!")}},
		"off the curve":    {"ES256", []object{with(es, "y", b64(make([]byte, 32)))}},
		"P-384":            {"ES256", []object{with(es, "crv", "P-384")}},
		"1024 bits":        {"RS256", []object{with(rs, "n", b64(small.N.Bytes()))}},
		"exponent 1":       {"RS256", []object{with(rs, "e", "AQ")}},
		"exponent even":    {"RS256", []object{with(rs, "e", "BA")}},
		"exponent too big": {"RS256", []object{with(rs, "e", b64(make([]byte, 0))), with(with(rs, "kid", "l"), "e", "____________")}},
	} {
		path := filepath.Join(t.TempDir(), "keys.json")
		writeKeys(t, path, c.keys...)
		if _, err := api.NewVerifier(api.VerifierOptions{Alg: c.alg, JWKSFile: path}); err == nil {
			t.Errorf("%s: taken", story)
		}
	}
}

func FuzzVerifier_NothingButASignedTokenIsBelieved(f *testing.F) {
	v := adminVerifier(f)
	good := pass(f, api.Admin, "")
	for _, seed := range []string{good, "", "..", "a.b.c", good + "=", strings.ToUpper(good), fmt.Sprintf("%s.%s.", b64([]byte(`{"alg":"none"}`)), b64([]byte(`{"exp":9999999999}`)))} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, token string) {
		if c, err := v.Verify(token); err == nil && token != good {
			t.Errorf("%q is believed, as %+v", token, c)
		}
	})
}

func TestVerifier_ClaimIsTextOrAWholeNumberOfAGoodToken(t *testing.T) {
	secret := []byte("a secret of at least thirty-two bytes")
	v, err := api.NewVerifier(api.VerifierOptions{Alg: "HS256", Secret: secret})
	if err != nil {
		t.Fatal(err)
	}
	sign := func(key []byte, until time.Time) string {
		t.Helper()
		token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, jwt.MapClaims{
			"exp": until.Unix(), "sub": "u1", "customer": 9007199254740991, "half": 1.5, "list": []string{"a"}, "yes": true, "much": 1e300,
		}).SignedString(key)
		if err != nil {
			t.Fatal(err)
		}
		return token
	}
	good := sign(secret, time.Now().Add(time.Hour))
	for name, want := range map[string]string{
		"sub": "u1", "customer": "9007199254740991", "half": "", "list": "", "yes": "", "much": "", "none": "",
	} {
		if got := v.Claim(good, name); got != want {
			t.Errorf("claim %s: got %q, want %q", name, got, want)
		}
	}
	for story, token := range map[string]string{
		"of another key": sign([]byte("another secret of thirty-two bytes"), time.Now().Add(time.Hour)),
		"past its end":   sign(secret, time.Now().Add(-time.Minute)),
		"no token":       "sub",
	} {
		if got := v.Claim(token, "sub"); got != "" {
			t.Errorf("a token %s: got %q, want nothing", story, got)
		}
	}
}
