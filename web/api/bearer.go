package api

import (
	"errors"
	"fmt"
	"math"
	"strconv"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// Claims are what a verified token says of its bearer.
type Claims struct {
	Subject  string
	Role     Role   // of the admin API
	TenantID string // empty: no tenant in particular
	Expires  time.Time
}

// Role is what a bearer may do: each includes the ones before it.
type Role string

// The roles.
const (
	Viewer   Role = "viewer"   // reads
	Operator Role = "operator" // and acts on the day
	Admin    Role = "admin"    // and makes, changes and removes
)

// rank orders the roles; 0: no role of ours.
func (r Role) rank() int {
	switch r {
	case Viewer:
		return 1
	case Operator:
		return 2
	case Admin:
		return 3
	}
	return 0
}

// longestToken is how much of a request is parsed as a token, in bytes.
const longestToken = 8 << 10

// VerifierOptions say which tokens are believed.
type VerifierOptions struct {
	Alg      string // the one algorithm: HS256 by Secret; EdDSA, RS256 or ES256 by JWKSFile
	Secret   []byte
	JWKSFile string // public keys; read again when it changes
	Issuer   string // empty: any
	Audience string // empty: any
}

// Verifier verifies bearer tokens. It is safe for concurrent use.
type Verifier struct {
	secret []byte
	keys   *keyFile // nil: HS256
	parser *jwt.Parser
}

// NewVerifier returns a Verifier whose keys were read and are of its algorithm.
func NewVerifier(o VerifierOptions) (*Verifier, error) {
	v := &Verifier{secret: o.Secret}
	switch o.Alg {
	case "HS256":
		if len(o.Secret) < 32 {
			return nil, fmt.Errorf("a secret of HS256 has at least 32 bytes, this one has %d", len(o.Secret))
		}
	case "EdDSA", "RS256", "ES256":
		var err error
		if v.keys, err = openKeyFile(o.JWKSFile, o.Alg); err != nil {
			return nil, err
		}
	default:
		return nil, fmt.Errorf("algorithm %q is not one of HS256, EdDSA, RS256, ES256", o.Alg)
	}
	rules := []jwt.ParserOption{jwt.WithValidMethods([]string{o.Alg}), jwt.WithExpirationRequired(), jwt.WithStrictDecoding()}
	if o.Issuer != "" {
		rules = append(rules, jwt.WithIssuer(o.Issuer))
	}
	if o.Audience != "" {
		rules = append(rules, jwt.WithAudience(o.Audience))
	}
	v.parser = jwt.NewParser(rules...)
	return v, nil
}

type bearerClaims struct {
	jwt.RegisteredClaims
	Role     Role   `json:"role,omitempty"`
	TenantID string `json:"tenant_id,omitempty"`
}

// Verify returns what a token says, if everything about it is right. The error
// is for the log: to its bearer a token is good or not.
func (v *Verifier) Verify(token string) (Claims, error) {
	if len(token) > longestToken {
		return Claims{}, errors.New("token is longer than any that is meant")
	}
	var c bearerClaims
	if _, err := v.parser.ParseWithClaims(token, &c, v.key); err != nil {
		return Claims{}, fmt.Errorf("verify token: %w", err)
	}
	return Claims{Subject: c.Subject, Role: c.Role, TenantID: c.TenantID, Expires: c.ExpiresAt.Time}, nil
}

// Claim returns what a token says under a name, as text: empty where it says
// nothing there, or where anything about the token is wrong.
func (v *Verifier) Claim(token, name string) string {
	if len(token) > longestToken {
		return ""
	}
	claims := jwt.MapClaims{}
	if _, err := v.parser.ParseWithClaims(token, claims, v.key); err != nil {
		return ""
	}
	switch said := claims[name].(type) {
	case string:
		return said
	case float64: // as ids often are; exact below 2^53
		if said == math.Trunc(said) && math.Abs(said) < 1<<53 {
			return strconv.FormatInt(int64(said), 10)
		}
	}
	return ""
}

// key looks the token's key up. Nothing else of the header is followed.
func (v *Verifier) key(token *jwt.Token) (any, error) {
	if _, critical := token.Header["crit"]; critical {
		return nil, errors.New("token demands what is not known here (crit)")
	}
	if v.keys == nil {
		return v.secret, nil
	}
	kid, _ := token.Header["kid"].(string)
	return v.keys.find(kid)
}

// SignToken makes a token by HS256, as a Verifier of the same secret, issuer
// and audience believes it until the instant. An empty issuer or audience is
// left out.
func SignToken(secret []byte, issuer, audience string, c Claims, until time.Time) (string, error) {
	claims := bearerClaims{Role: c.Role, TenantID: c.TenantID, RegisteredClaims: jwt.RegisteredClaims{
		Issuer: issuer, Subject: c.Subject, ExpiresAt: jwt.NewNumericDate(until), IssuedAt: jwt.NewNumericDate(time.Now()),
	}}
	if audience != "" {
		claims.Audience = jwt.ClaimStrings{audience}
	}
	token, err := jwt.NewWithClaims(jwt.SigningMethodHS256, claims).SignedString(secret)
	if err != nil {
		return "", fmt.Errorf("sign token: %w", err)
	}
	return token, nil
}
