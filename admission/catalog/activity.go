// Package catalog keeps the activities that were made through the API: written
// to the database, kept by every gateway in memory and by all in a shared
// shelf, so that a gateway starts without the database and a change reaches
// every gateway within a second.
package catalog

import "time"

// Status is what the API calls the state of an activity.
type Status string

// The statuses.
const (
	Draft  Status = "draft"  // takes no one
	Active Status = "active" // a line when needed, by its schedule
	Paused Status = "paused" // visitors join and none is let in
	Ended  Status = "ended"  // over, whatever end_at says
)

// Activity is an activity made through the API, in the API's own form.
type Activity struct {
	ID           int64      `json:"id"`
	TenantID     string     `json:"tenant_id"`
	Name         string     `json:"name"`
	SKU          string     `json:"sku"`
	InitialStock *int64     `json:"initial_stock"` // null: not counted
	StartAt      *time.Time `json:"start_at"`      // null: at once
	EndAt        *time.Time `json:"end_at"`        // null: never
	Status       Status     `json:"status"`
	Config       Config     `json:"config"`

	// Version grows by one with each change. A change names the version that
	// it changes, so that of two at once one is told.
	Version   int64     `json:"version"`
	CreatedAt time.Time `json:"created_at"`
	UpdatedAt time.Time `json:"updated_at"`
}

// Config is how an activity lets visitors in. Zero values are those of the
// YAML file's keys: no limit, or the default.
type Config struct {
	ReleaseRate  float64 `json:"release_rate"`   // visitors per second; 0: no limit
	PollInterval int64   `json:"poll_interval"`  // ms; 0: the system's
	MaxQueueSize int64   `json:"max_queue_size"` // 0: no limit
	Capacity     int64   `json:"capacity"`       // 0: no limit
	Burst        int64   `json:"burst"`          // 0: two ticks of the rate
	Session      Session `json:"session"`
}

// Session is the stay of a visitor inside, in seconds; 0: the default.
type Session struct {
	Idle int64 `json:"idle"`
	Max  int64 `json:"max"`
}

// System is what holds for all activities made through the API.
type System struct {
	DefaultQueueTTL     int64   `json:"default_queue_ttl"`     // s that a place is held at most
	MaxReleaseRate      float64 `json:"max_release_rate"`      // per second, of one activity
	DefaultPollInterval int64   `json:"default_poll_interval"` // ms
}

// Defaults are the system's values before anyone changed them.
func Defaults() System {
	return System{DefaultQueueTTL: 3600, MaxReleaseRate: 1000, DefaultPollInterval: 2000}
}
