package admission

import (
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"time"

	"github.com/golang-jwt/jwt/v5"
)

// What tickets are for. A token of one kind never passes for the other.
const (
	issuer          = "ropeline"
	forQueue        = "queue"     // a place in line
	forAdmission    = "admission" // the right to enter
	forPass         = "pass"      // a pass, as it is handed out
	forHolder       = "holder"    // a pass, made out to one visitor
	queueTicketLife = 7 * 24 * time.Hour

	// longestToken is how much of a request is parsed as a token: ours are
	// under 500 bytes.
	longestToken = 4096

	usualToken = 512 // bytes
)

// ticket is a verified token. It is never changed: caches share it.
type ticket struct {
	line    LineID
	visitor string // forPass: none
	number  int64  // 0: indexed, and not known yet
	epoch   int64
	indexed bool  // joined a draw
	index   int64 // from 0
	drawn   int64 // N of the draw, where it was known
	signed  Instant
	expires Instant
	max     Instant // forAdmission: the furthest end of the session
	pass    Pass    // forPass and forHolder
	kid     string
	use     string // what it is for
	binding binding
}

// signedBy is the latest instant at which it can have been signed: a token
// tells whole seconds.
func (t *ticket) signedBy() Instant { return t.signed.Add(time.Second) }

// claims are the payload of a token. Its times are seconds since the Unix epoch.
type claims struct {
	jwt.MapClaims `json:"-"` // empty: the parser is told not to ask

	Issuer   string   `json:"iss"`
	Visitor  string   `json:"sub"`
	Audience []string `json:"aud"`
	Expires  int64    `json:"exp"`
	Signed   int64    `json:"iat"`
	Activity int64    `json:"act"`
	Tenant   string   `json:"ten"`
	Number   int64    `json:"num"`
	Index    *int64   `json:"idx,omitempty"`
	Drawn    int64    `json:"drn,omitempty"`
	Epoch    int64    `json:"epo"`
	Max      int64    `json:"max,omitempty"`
	Agent    string   `json:"bua,omitempty"` // what it is bound to, hashed
	Network  string   `json:"bnw,omitempty"`
	Length   int      `json:"bnl,omitempty"` // of the network's prefix
	Pass     string   `json:"jti,omitempty"` // its id
	Uses     int64    `json:"use,omitempty"` // of a pass
	Early    bool     `json:"ear,omitempty"` // a pass that is good before the start
}

// newVisitor returns a random visitor id, of more than 128 bits.
func newVisitor() string { return rand.Text() }

// sign makes the token of a ticket. Its times are cut to the second, so it
// dies early, never late.
func (r *Keyring) sign(t ticket, audience string) (Ticket, error) {
	key := r.keys[0]
	var index *int64
	if t.indexed { // its number is the draw's to tell
		t.number, index = 0, &t.index
	}
	payload, err := json.Marshal(claims{
		Issuer: issuer, Visitor: t.visitor, Audience: []string{audience},
		Expires: seconds(t.expires), Signed: seconds(t.signed), Max: seconds(t.max),
		Activity: t.line.Activity, Tenant: t.line.Tenant, Number: t.number, Epoch: t.epoch,
		Index: index, Drawn: t.drawn,
		Agent: t.binding.agent, Network: t.binding.network, Length: t.binding.length,
		Pass: t.pass.ID, Uses: t.pass.Uses, Early: t.pass.Early,
	})
	if err != nil {
		return Ticket{}, fmt.Errorf("encode %s ticket: %w", audience, err)
	}
	// Not by jwt.Token, which encodes the same header each time.
	token := make([]byte, 0, usualToken)
	token = append(append(token, key.header...), '.')
	token = base64.RawURLEncoding.AppendEncode(token, payload)
	signature, err := key.method.Sign(string(token), key.signs)
	if err != nil {
		return Ticket{}, fmt.Errorf("sign %s ticket: %w", audience, err)
	}
	token = base64.RawURLEncoding.AppendEncode(append(token, '.'), signature)
	return Ticket{Token: string(token), Expires: t.expires.Time().Truncate(time.Second)}, nil
}

func seconds(i Instant) int64 { return int64(i) / time.Second.Microseconds() }

func instantOfSeconds(s int64) Instant { return Instant(s) * Instant(time.Second.Microseconds()) }

var (
	errTokenLong     = errors.New("token is longer than any of ours")
	errTokenKey      = errors.New("token names no key of the ring")
	errTokenAlg      = errors.New("token's algorithm is not its key's")
	errTokenClaims   = errors.New("token lacks claims")
	errTokenAudience = errors.New("token is for another use")
)

// verify returns the ticket that a token is, if its signature, issuer and
// audience are right. Whether it has expired, and whether it is of this line,
// is for the caller to ask: an expired admission may still have a session.
func (r *Keyring) verify(token, audience string) (*ticket, error) {
	if len(token) > longestToken {
		return nil, errTokenLong
	}
	if t := r.known.get(token); t != nil {
		if t.use != audience {
			return nil, errTokenAudience
		}
		return t, nil
	}
	var c claims
	parsed, err := r.parser.ParseWithClaims(token, &c, func(token *jwt.Token) (any, error) {
		kid, _ := token.Header["kid"].(string)
		key, ok := r.byID[kid]
		if !ok {
			return nil, errTokenKey
		}
		if token.Method.Alg() != key.method.Alg() {
			return nil, errTokenAlg
		}
		return key.verifies, nil
	})
	if err != nil {
		return nil, fmt.Errorf("verify token: %w", err)
	}
	passes := audience == forPass || audience == forHolder
	switch {
	case c.Issuer != issuer || len(c.Audience) != 1 || c.Audience[0] != audience:
		return nil, errTokenAudience
	case c.Expires == 0 || c.Signed == 0 || c.Number < 0 || c.Max < 0:
		return nil, errTokenClaims
	case c.Visitor == "" && audience != forPass, c.Epoch < 1 && !passes:
		return nil, errTokenClaims
	case passes && (c.Pass == "" || c.Uses < 1 || c.Uses > MaxPassUses):
		return nil, errTokenClaims
	case c.Index != nil && (audience != forQueue || c.Number != 0 || *c.Index < 0 || *c.Index >= MaxDrawn || c.Drawn < 0 || c.Drawn > MaxDrawn):
		return nil, errTokenClaims
	case audience == forQueue && c.Number == 0 && c.Index == nil, audience == forAdmission && c.Max == 0:
		return nil, errTokenClaims
	}
	t := &ticket{
		binding: binding{c.Agent, c.Network, c.Length},
		line:    LineID{c.Tenant, c.Activity}, visitor: c.Visitor, number: c.Number, epoch: c.Epoch,
		signed: instantOfSeconds(c.Signed), expires: instantOfSeconds(c.Expires), max: instantOfSeconds(c.Max),
		kid: parsed.Header["kid"].(string), use: audience,
	}
	if c.Index != nil {
		t.indexed, t.index, t.drawn = true, *c.Index, c.Drawn
	}
	if passes {
		t.pass = Pass{ID: c.Pass, Uses: c.Uses, Until: t.expires, Early: c.Early}
	}
	r.known.put(token, t)
	return t, nil
}

// ticketCache remembers tokens whose signature was found right, so that a
// visitor's next request costs a look-up. It holds at most some tens of
// thousands, in shards so that no lock is shared by all; a full shard forgets
// the half it used least lately.
type ticketCache struct {
	seed   maphash.Seed
	shards [64]ticketShard
}

const shardTickets = 512 // of each half

type ticketShard struct {
	mu    sync.Mutex // protects young and old
	young map[string]*ticket
	old   map[string]*ticket
	_     [64]byte // keeps two shards off one cache line
}

func newTicketCache() *ticketCache { return &ticketCache{seed: maphash.MakeSeed()} }

func (c *ticketCache) shard(token string) *ticketShard {
	return &c.shards[maphash.String(c.seed, token)%uint64(len(c.shards))]
}

func (c *ticketCache) get(token string) *ticket {
	s := c.shard(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	if t := s.young[token]; t != nil {
		return t
	}
	t := s.old[token]
	if t != nil {
		s.keep(token, t)
	}
	return t
}

func (c *ticketCache) put(token string, t *ticket) {
	s := c.shard(token)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keep(token, t)
}

func (s *ticketShard) keep(token string, t *ticket) {
	if s.young == nil || len(s.young) >= shardTickets {
		s.old, s.young = s.young, make(map[string]*ticket, shardTickets)
	}
	s.young[token] = t
}
