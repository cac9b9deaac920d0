package api_test

import (
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"

	"github.com/ropeline/ropeline/web/api"
)

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
