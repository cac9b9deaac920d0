package api

import (
	"time"

	"github.com/ropeline/ropeline/admission"
)

// outlook is what is in force, or would be, and what it leads to for those who
// wait now.
type outlook struct {
	Mode        admission.Mode `json:"mode"`
	Capacity    int64          `json:"capacity"`      // 0: no limit
	RatePerHour int64          `json:"rate_per_hour"` // 0: no limit
	StartAt     *time.Time     `json:"start_at"`
	EndAt       *time.Time     `json:"end_at"`
	Message     string         `json:"message"`
	Left        *int64         `json:"left"`    // of the stock; null: not counted
	Last        wait           `json:"last"`    // of the last in line
	Served      int64          `json:"served"`  // of those who wait, before the end
	Drain       int64          `json:"drain_s"` // until enough have left for one to be let in
}

func outlookOf(o admission.Outlook) outlook {
	l := o.Limits
	told := outlook{
		Mode: l.Mode, Capacity: l.Capacity, RatePerHour: l.RatePerHour, StartAt: instant(l.StartAt), EndAt: instant(l.EndAt),
		Message: o.Message, Last: waitOf(o.Last), Served: o.Served, Drain: ceil(o.Drain, time.Second),
	}
	if l.Stock.Counted {
		told.Left = &l.Stock.Left
	}
	return told
}

// preview tells what decisions would change, and decides nothing.
func (a *AdminAPI) preview(c *call, o Offered) (any, error) {
	change, err := a.decision(c, o)
	if err != nil {
		return nil, err
	}
	f, err := o.Room.Foresee(change)
	if err != nil {
		return nil, err
	}
	return struct {
		ActivityID int64   `json:"activity_id"`
		Waiting    int64   `json:"waiting"`
		Turns      int64   `json:"turns"`
		Sessions   int64   `json:"sessions"`
		Now        outlook `json:"now"`
		Then       outlook `json:"then"`
	}{o.ID, f.Waiting, f.Turns, f.Sessions, outlookOf(f.Now), outlookOf(f.Then)}, nil
}
