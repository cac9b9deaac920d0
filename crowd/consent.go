package crowd

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
)

// Consent answers for a gateway whose operator allows load tests by a token: it
// proves that the gateway knows the token, without telling it. token is asked
// for at each request; where it is empty nothing is allowed, and nothing is
// there.
func Consent(token func() string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		key, challenge := token(), r.URL.Query().Get("challenge")
		w.Header().Set("Cache-Control", "no-store")
		switch {
		case key == "":
			http.NotFound(w, r)
		case r.Method != http.MethodGet && r.Method != http.MethodHead:
			w.Header().Set("Allow", "GET, HEAD")
			http.Error(w, "ask by GET", http.StatusMethodNotAllowed)
		case !isChallenge.MatchString(challenge):
			http.Error(w, "challenge: 32 to 128 hexadecimal digits", http.StatusBadRequest)
		default:
			w.Header().Set("Content-Type", "application/json")
			_ = json.NewEncoder(w).Encode(consent{hex.EncodeToString(proof(key, challenge))})
		}
	})
}

type consent struct {
	Proof string `json:"proof"`
}

var isChallenge = regexp.MustCompile(`^[0-9a-f]{32,128}$`)

// proof is of use for nothing else that is made with the same key.
func proof(token, challenge string) []byte {
	sum := hmac.New(sha256.New, []byte(token))
	sum.Write([]byte("ropeline loadtest\n" + challenge))
	return sum.Sum(nil)
}

// allowed asks the gateway to prove that it knows the token.
func (t *Target) allowed(ctx context.Context, token string) error {
	if token == "" {
		return fmt.Errorf("%s is not this machine: %w without the token that its operator has set as loadtest.token", t.page.Host, ErrNotAllowed)
	}
	challenge := hex.EncodeToString(randomBytes(32))
	address := *t.page
	address.Path, address.RawPath, address.RawQuery = t.prefix+"/loadtest", "", "challenge="+challenge
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, address.String(), nil)
	if err != nil {
		return err
	}
	code, body, err := t.read(r)
	if err != nil {
		return err
	}
	var c consent
	told := json.Unmarshal(body, &c)
	given, err := hex.DecodeString(c.Proof)
	if code != http.StatusOK || errors.Join(told, err) != nil || !hmac.Equal(given, proof(token, challenge)) {
		return fmt.Errorf("%s: %w by the gateway there: it does not prove that it knows the token (status %d)", t.page.Host, ErrNotAllowed, code)
	}
	return nil
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	rand.Read(b) // it never fails
	return b
}
