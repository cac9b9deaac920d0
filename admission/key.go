package admission

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/golang-jwt/jwt/v5"
)

// The algorithms a key may have. A key has one, for good: what a token's
// header says of it is only compared.
const (
	HS256 = "HS256" // shared secret; for the gateways alone
	EdDSA = "EdDSA" // Ed25519; others can verify with the public key
)

// minSecret is the shortest HS256 secret in bytes: the length of its hash.
const minSecret = 32

// Key signs and verifies tickets.
type Key struct {
	ID     string // the token header's kid
	Alg    string // HS256 or EdDSA
	Secret []byte // HS256: the secret; EdDSA: the seed of 32 bytes
}

// String hides the secret.
func (k Key) String() string { return fmt.Sprintf("key %q (%s)", k.ID, k.Alg) }

// GoString hides the secret from %#v.
func (k Key) GoString() string { return k.String() }

// NewKey makes a random HS256 key.
func NewKey() Key {
	secret := make([]byte, minSecret)
	rand.Read(secret) // never fails: it ends the program instead
	return Key{ID: "auto-" + rand.Text()[:8], Alg: HS256, Secret: secret}
}

// usable is a key made ready for its method.
type usable struct {
	id              string
	header          string // of the tokens that it signs, encoded
	secret          []byte
	method          jwt.SigningMethod
	signs, verifies any
}

func (k Key) use() (usable, error) {
	switch {
	case k.ID == "":
		return usable{}, errors.New("a signing key has no kid")
	case k.Alg == HS256 && len(k.Secret) < minSecret:
		return usable{}, fmt.Errorf("%s: the secret has %d bytes, at least %d are needed", k, len(k.Secret), minSecret)
	case k.Alg == HS256:
		return usable{k.ID, k.header(), k.Secret, jwt.SigningMethodHS256, k.Secret, k.Secret}, nil
	case k.Alg == EdDSA && len(k.Secret) != ed25519.SeedSize:
		return usable{}, fmt.Errorf("%s: the seed has %d bytes, %d are needed", k, len(k.Secret), ed25519.SeedSize)
	case k.Alg == EdDSA:
		private := ed25519.NewKeyFromSeed(k.Secret)
		return usable{k.ID, k.header(), k.Secret, jwt.SigningMethodEdDSA, private, private.Public()}, nil
	}
	return usable{}, fmt.Errorf("%s: the algorithm is neither %s nor %s", k, HS256, EdDSA)
}

// header is the JOSE header of the tokens that k signs (RFC 7515), encoded.
func (k Key) header() string {
	text, err := json.Marshal(map[string]string{"alg": k.Alg, "kid": k.ID, "typ": "JWT"})
	if err != nil {
		panic(fmt.Sprintf("a token's header is plain text: %v", err))
	}
	return base64.RawURLEncoding.EncodeToString(text)
}

// Keyring signs tickets with its first key and verifies with all. It is safe
// for concurrent use and never changes: a rotation makes a new one.
type Keyring struct {
	keys   []usable
	byID   map[string]usable
	parser *jwt.Parser
	known  *ticketCache
}

// NewKeyring returns a keyring over keys, of which there must be at least one,
// each with an id of its own.
func NewKeyring(keys []Key) (*Keyring, error) {
	if len(keys) == 0 {
		return nil, errors.New("a keyring needs a key")
	}
	r := &Keyring{
		byID:  map[string]usable{},
		known: newTicketCache(),
		// Times, issuer and audience are checked by ticket: they depend on the
		// store's clock and on what is asked, the signature does not.
		parser: jwt.NewParser(jwt.WithValidMethods([]string{HS256, EdDSA}), jwt.WithStrictDecoding(), jwt.WithoutClaimsValidation()),
	}
	for _, k := range keys {
		u, err := k.use()
		if err != nil {
			return nil, err
		}
		if _, twice := r.byID[k.ID]; twice {
			return nil, fmt.Errorf("%s: the kid is used twice", k)
		}
		r.keys = append(r.keys, u)
		r.byID[k.ID] = u
	}
	return r, nil
}

// JWKS returns the public keys as a JSON Web Key Set (RFC 7517, RFC 8037). A
// shared secret is never in it.
func (r *Keyring) JWKS() []byte {
	type jwk struct {
		Kty string `json:"kty"`
		Crv string `json:"crv"`
		Alg string `json:"alg"`
		Use string `json:"use"`
		Kid string `json:"kid"`
		X   string `json:"x"`
	}
	set := struct {
		Keys []jwk `json:"keys"`
	}{Keys: []jwk{}}
	for _, k := range r.keys {
		if public, ok := k.verifies.(ed25519.PublicKey); ok {
			set.Keys = append(set.Keys, jwk{"OKP", "Ed25519", EdDSA, "sig", k.id, base64.RawURLEncoding.EncodeToString(public)})
		}
	}
	text, err := json.Marshal(set)
	if err != nil {
		panic(fmt.Sprintf("a key set is plain text: %v", err))
	}
	return text
}
