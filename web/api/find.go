package api

import (
	"time"

	"github.com/ropeline/ropeline/admission"
)

// found is where someone stands who was looked for.
type found struct {
	ActivityID int64                 `json:"activity_id"`
	At         admission.Whereabouts `json:"at"`
	Number     int64                 `json:"number"`    // 0: not drawn yet
	Position   int64                 `json:"position"`  // 0: none
	Wait       wait                  `json:"wait"`      // until the turn
	Claim      int64                 `json:"claim_s"`   // left of the turn
	Session    int64                 `json:"session_s"` // left of the session
	Token      *foundToken           `json:"token"`     // null: it was looked for by number
}

type foundToken struct {
	SignedAt  time.Time `json:"signed_at"`
	ExpiresAt time.Time `json:"expires_at"`
	Expired   bool      `json:"expired"`
}

// find tells where a visitor stands, by number or by token. The token comes in
// the body: addresses are written to logs.
func (a *AdminAPI) find(c *call, o Offered) (any, error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	var n int64
	var token string
	if err := body.read("number", &n, anInteger); err != nil {
		return nil, err
	}
	if err := body.read("token", &token, aText); err != nil {
		return nil, err
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	switch {
	case token != "" && n != 0:
		return nil, wrong("token", sayEither, "number")
	case token != "":
		f, ok := o.Room.Recognize(token)
		if !ok {
			return nil, wrong("token", sayForeign)
		}
		told := foundOf(o, f)
		told.Token = &foundToken{f.Signed, f.Expires, f.Expired}
		return told, nil
	case n < 1 || n > largestActivity:
		return nil, wrong("number", sayRange, int64(1), int64(largestActivity))
	}
	return foundOf(o, o.Room.Find(n)), nil
}

func foundOf(o Offered, f admission.Found) found {
	return found{
		ActivityID: o.ID, At: f.At, Number: f.Number, Position: f.Position, Wait: waitOf(f.Wait),
		Claim: ceil(f.Claim, time.Second), Session: ceil(f.Session, time.Second),
	}
}
