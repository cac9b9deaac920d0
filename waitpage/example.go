package waitpage

import (
	"time"

	"github.com/ropeline/ropeline/admission"
)

// Example is a status to look at a page by.
type Example struct {
	Name   string // in the words of the project, fit for an address
	Status admission.Status
}

// Examples returns a status of every kind that a page has words for, at their
// longest, of an activity at a point in time.
func Examples(activity int64, now time.Time) []Example {
	status := func(state admission.State, change func(*admission.Status)) admission.Status {
		s := admission.Status{
			Activity: activity, State: state, QueueLength: 1_005_310, PollAfter: time.Hour, PollMax: time.Hour, UpdatedAt: now,
		}
		if change != nil {
			change(&s)
		}
		return s
	}
	placed := func(change func(*admission.Status)) func(*admission.Status) {
		return func(s *admission.Status) {
			s.Number, s.Position, s.Behind = 4_211, 812, 4_498
			s.Wait = admission.Wait{Known: true, Low: 4 * time.Minute, High: 330 * time.Second}
			if change != nil {
				change(s)
			}
		}
	}
	const source, index, places = "drand quicknet, first round after 2026-11-22T10:01:00+01:00", 1_004_210, 1_005_312
	seed := admission.NewSeed([]byte("a key of some thirty and two bytes"), admission.LineID{Activity: activity}, 1, source)
	beacon := admission.Seed{}.Commitment()
	lots, err := admission.NewLots(seed, beacon, places)
	if err != nil {
		panic(err) // of places that can be drawn
	}
	indexed := admission.Proof{Commitment: seed.Commitment(), Source: source, Indexed: true, Index: index}
	return []Example{
		{"new", status(admission.StateNew, nil)},
		// Its challenge is none, so that looking at it costs nothing.
		{"new-work", status(admission.StateNew, func(s *admission.Status) { s.Work.Bits = 18 })},
		{"new-unavailable", status(admission.StateNew, func(s *admission.Status) { s.Unavailable = true })},
		{"before", status(admission.StateBefore, placed(func(s *admission.Status) { s.StartsAt = now.Add(3*time.Hour + 754*time.Second) }))},
		{"before-days", status(admission.StateBefore, func(s *admission.Status) { s.Number, s.StartsAt = 12, now.Add(51*time.Hour) })},
		{"before-draw", status(admission.StateBefore, func(s *admission.Status) {
			s.Draw, s.StartsAt = indexed, now.Add(3*time.Hour)
		})},
		{"drawing", status(admission.StateDrawing, placed(nil))},
		{"drawing-public", status(admission.StateDrawing, func(s *admission.Status) { s.Draw, s.Draw.N = indexed, places })},
		{"waiting", status(admission.StateWaiting, placed(nil))},
		{"waiting-far", status(admission.StateWaiting, placed(func(s *admission.Status) {
			s.Number, s.Position = 1_204_211, 1_000_812
			s.Wait = admission.Wait{Known: true, Low: 95 * time.Minute, High: 150 * time.Minute}
			s.Message = "The blue one is sold out. All other colours are still there, and there is more than one for everybody who is in line now."
		}))},
		{"waiting-next", status(admission.StateWaiting, placed(func(s *admission.Status) { s.Position, s.Lapsed = 1, true }))},
		{"waiting-stock", status(admission.StateWaiting, placed(func(s *admission.Status) { s.Stock = admission.Stock{Counted: true, Left: 12} }))},
		{"waiting-drawn", status(admission.StateWaiting, placed(func(s *admission.Status) {
			s.Number, s.Draw = lots.Number(index), indexed
			s.Draw.N, s.Draw.Beacon, s.Draw.Seed = places, beacon, seed.String()
		}))},
		{"waiting-pass", status(admission.StateWaiting, func(s *admission.Status) { s.Position, s.Pass = 1, admission.PassIsHeld })},
		{"waiting-pass-spent", status(admission.StateWaiting, placed(func(s *admission.Status) { s.Pass = admission.PassIsSpent }))},
		{"waiting-unknown", status(admission.StateWaiting, placed(func(s *admission.Status) { s.Wait = admission.Wait{} }))},
		{"paused", status(admission.StateWaiting, placed(func(s *admission.Status) { s.Paused = true }))},
		{"unavailable", status(admission.StateWaiting, placed(func(s *admission.Status) { s.Unavailable = true }))},
		{"ready", status(admission.StateReady, placed(func(s *admission.Status) { s.Claim = 88 * time.Second }))},
		{"full", status(admission.StateFull, nil)},
		{"closed", status(admission.StateClosed, nil)},
		{"sold-out", status(admission.StateEnded, placed(func(s *admission.Status) { s.Stock = admission.Stock{Counted: true} }))},
		{"ended", status(admission.StateEnded, func(s *admission.Status) { s.PollAfter = 0 })},
	}
}
