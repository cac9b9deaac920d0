// Package webhook tells programs of the operator's what happens to the lines: a
// line began, was paused, the shop went away, the stock is gone.
//
// Of all gateways on one store one at a time keeps watch, the one that holds the
// Board. What it sees is written to the board before it is told, with the id that
// it will be told by, so that whoever keeps watch next goes on with it. An event
// is told at least once for as long as any gateway lives, and each time by the
// same id.
package webhook

import (
	"crypto/rand"
	"time"
)

// Kind is what an event is about.
type Kind string

const (
	ActivityStarted Kind = "activity.started" // start_at has come
	ActivityEnded   Kind = "activity.ended"   // end_at has come
	LineBegan       Kind = "line.began"       // visitors wait
	LineCleared     Kind = "line.cleared"     // nobody has waited for a minute
	LinePaused      Kind = "line.paused"      // no turns are given, as an operator or the file wants it
	LineResumed     Kind = "line.resumed"     // turns are given again
	ShopSlow        Kind = "shop.slow"        // one answer in twenty takes longer than upstreams.NAME.slow
	ShopShut        Kind = "shop.shut"        // no gateway reaches the shop: no turns are given
	ShopWell        Kind = "shop.well"        // neither any more
	StockSoldOut    Kind = "stock.sold_out"   // nothing is left
	StockBack       Kind = "stock.back"       // something is left again
)

// Kinds are all there are.
func Kinds() []Kind {
	return []Kind{
		ActivityStarted, ActivityEnded, LineBegan, LineCleared, LinePaused, LineResumed,
		ShopSlow, ShopShut, ShopWell, StockSoldOut, StockBack,
	}
}

// Event is one thing that happened, as it is told.
type Event struct {
	ID       string    `json:"id"` // the same however often it is told
	Type     Kind      `json:"type"`
	At       time.Time `json:"timestamp"` // when it was seen
	Activity Activity  `json:"activity"`
	Line     Standing  `json:"line"`
}

// Activity is whose line it is.
type Activity struct {
	ID     int64  `json:"id"`
	Tenant string `json:"tenant"`
	Name   string `json:"name"`
}

// Standing is how the line stood.
type Standing struct {
	Waiting  int64  `json:"waiting"`  // present, without a turn
	Turns    int64  `json:"turns"`    // that may still be claimed
	Sessions int64  `json:"sessions"` // visitors inside
	Issued   int64  `json:"issued"`   // the highest number given
	Released int64  `json:"released"` // the highest number that had a turn
	Capacity int64  `json:"capacity"` // 0: no limit
	Rate     int64  `json:"rate_per_hour"`
	Left     *int64 `json:"left"` // of the stock; null: not counted
}

func newID() string { return "evt_" + rand.Text() }
