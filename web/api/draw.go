package api

import (
	"context"
	"errors"

	"github.com/ropeline/ropeline/admission"
)

// proof is what anyone may know of a draw; seed, n and the value of the beacon
// are null until they are settled.
type proof struct {
	Commitment string  `json:"commitment"`
	Seed       *string `json:"seed"`
	N          *int64  `json:"n"`
	Beacon     *beacon `json:"beacon"`
}

// beacon is a public value that a draw is mixed with: where it comes from, and
// what it is.
type beacon struct {
	Source string  `json:"source"`
	Value  *string `json:"value"`
}

// told is a draw as it is told; null where the activity has none.
type told struct {
	ActivityID int64  `json:"activity_id"`
	Draw       *proof `json:"draw"`
}

func proofOf(p admission.Proof) *proof {
	if p.Commitment == "" {
		return nil
	}
	known := func(text string) *string {
		if text == "" {
			return nil
		}
		return &text
	}
	all := &proof{Commitment: p.Commitment, Seed: known(p.Seed)}
	if p.N > 0 {
		all.N = &p.N
	}
	if p.Source != "" {
		all.Beacon = &beacon{p.Source, known(p.Beacon)}
	}
	return all
}

// draw tells what anyone may know of the draw.
func (a *AdminAPI) draw(_ *call, o Offered) (any, error) {
	return told{o.ID, proofOf(o.Room.Proof())}, nil
}

const longestBeacon = 256

// enterBeacon enters the public value that the draw waits for, for good.
func (a *AdminAPI) enterBeacon(c *call, o Offered) (any, error) {
	body, err := c.body(largestBody, true)
	if err != nil {
		return nil, err
	}
	var value string
	if err := body.read("value", &value, aText); err != nil {
		return nil, err
	}
	if err := line("value", value, 1, longestBeacon); err != nil {
		return nil, err
	}
	if err := body.end(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(c.Context(), patienceOfStore)
	defer cancel()
	switch err := o.Room.EnterBeacon(ctx, value); {
	case err == nil:
	case errors.Is(err, admission.ErrBeaconLength):
		return nil, wrong("value", sayLength, 1, longestBeacon)
	case errors.Is(err, admission.ErrNoDraw):
		return nil, refused(Conflict, sayNoDraw)
	case errors.Is(err, admission.ErrNoSource):
		return nil, refused(Conflict, sayNoSource)
	case errors.Is(err, admission.ErrTooEarly):
		return nil, refused(Conflict, sayTooEarly)
	case errors.Is(err, admission.ErrOtherBeacon):
		return nil, refused(Conflict, sayOtherBeacon)
	default:
		return nil, lined(err)
	}
	a.changed(c, "activity.draw", o.TenantID, o.ID, nil, struct {
		Value string `json:"value"`
	}{value})
	return struct {
		ActivityID int64  `json:"activity_id"`
		Value      string `json:"value"`
	}{o.ID, value}, nil
}
