package waitpage

import (
	"encoding/json"
	"net/http"
	"strconv"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/visitor"
)

// Compat is whose names a held program's JSON has beside our own, so that apps
// made for another waiting room go on.
type Compat string

// The compats there are. The zero Compat is CompatNone.
const (
	CompatNone       Compat = "none"
	CompatCloudflare Compat = "cloudflare"
)

// cloudflare is what Cloudflare's waiting room answers to Accept:
// application/json, in the order of its documentation. What does not apply has
// the value that stands there for it.
type cloudflare struct {
	InWaitingRoom            bool   `json:"inWaitingRoom"`
	WaitTimeKnown            bool   `json:"waitTimeKnown"`
	WaitTime                 int64  `json:"waitTime"` // minutes, as all times but the next
	WaitTime25Percentile     int64  `json:"waitTime25Percentile"`
	WaitTime50Percentile     int64  `json:"waitTime50Percentile"`
	WaitTime75Percentile     int64  `json:"waitTime75Percentile"`
	WaitTimeFormatted        string `json:"waitTimeFormatted"`
	QueueIsFull              bool   `json:"queueIsFull"`
	QueueAll                 bool   `json:"queueAll"`
	LastUpdated              string `json:"lastUpdated"`
	RefreshIntervalSeconds   int64  `json:"refreshIntervalSeconds"`
	QueueingMethod           string `json:"queueingMethod"`
	IsFIFOQueue              bool   `json:"isFIFOQueue"`
	IsRandomQueue            bool   `json:"isRandomQueue"`
	IsPassthroughQueue       bool   `json:"isPassthroughQueue"`
	IsRejectQueue            bool   `json:"isRejectQueue"`
	IsEventActive            bool   `json:"isEventActive"`
	IsEventPrequeueing       bool   `json:"isEventPrequeueing"`
	TimeUntilEventStart      int64  `json:"timeUntilEventStart"`
	TimeUntilEventStartInEng string `json:"timeUntilEventStartFormatted"`
	TimeUntilEventEnd        int64  `json:"timeUntilEventEnd"`
	TimeUntilEventEndInEng   string `json:"timeUntilEventEndFormatted"`
	ShuffleAtEventStart      bool   `json:"shuffleAtEventStart"`
	Turnstile                string `json:"turnstile"`
	InfiniteQueue            bool   `json:"infiniteQueue"`
}

func cloudflareOf(s admission.Status) cloudflare {
	over := s.State == admission.StateEnded
	before := s.State == admission.StateBefore || s.State == admission.StateDrawing
	c := cloudflare{
		InWaitingRoom: true, QueueIsFull: s.State == admission.StateFull,
		QueueAll:               s.Paused || before || s.State == admission.StateClosed || s.Unavailable,
		LastUpdated:            s.UpdatedAt.UTC().Format("2006-01-02T15:04:05.000Z"),
		RefreshIntervalSeconds: int64((s.PollAfter + time.Second - 1) / time.Second),
		QueueingMethod:         "fifo", IsFIFOQueue: !over, IsRejectQueue: over,
		IsEventActive: before || !over && !s.EndsAt.IsZero(), IsEventPrequeueing: before,
		WaitTimeFormatted: "unavailable", TimeUntilEventStartInEng: "unavailable", TimeUntilEventEndInEng: "unavailable",
	}
	c.ShuffleAtEventStart = before && s.Draw.Commitment != "" && s.Draw.Seed == "" // the seed is told when it is done
	if over {
		c.QueueingMethod = "reject"
	}
	if s.Wait.Known {
		// The later bound: a wait that turns out shorter is forgiven.
		c.WaitTimeKnown, c.WaitTime = true, minutes(s.Wait.High)
		c.WaitTimeFormatted = inMinutes(c.WaitTime)
	}
	if before && !s.StartsAt.IsZero() {
		c.TimeUntilEventStart = minutes(s.StartsAt.Sub(s.UpdatedAt))
		c.TimeUntilEventStartInEng = inMinutes(c.TimeUntilEventStart)
	}
	if c.IsEventActive && !s.EndsAt.IsZero() {
		c.TimeUntilEventEnd = minutes(s.EndsAt.Sub(s.UpdatedAt))
		c.TimeUntilEventEndInEng = inMinutes(c.TimeUntilEventEnd)
	}
	return c
}

func minutes(d time.Duration) int64 { return max(0, int64((d+time.Minute-1)/time.Minute)) }

func inMinutes(n int64) string {
	if n == 1 {
		return "1 minute"
	}
	return strconv.FormatInt(n, 10) + " minutes"
}

// holdCompat answers a held program with the names that it knows, if its
// activity says so and it asks as that service wants to be asked: by exactly
// this Accept. As there, the status is the page's.
func (p *Page) holdCompat(w http.ResponseWriter, r *http.Request, s admission.Status) bool {
	activity, ok := p.activity(s.Activity)
	accept := r.Header["Accept"]
	if !ok || activity.Compat != CompatCloudflare || len(accept) != 1 || accept[0] != "application/json" || visitor.From(r).Kind != visitor.Call {
		return false
	}
	known, err := json.Marshal(cloudflareOf(s))
	if err != nil {
		return false // cannot happen: it holds nothing but plain values
	}
	b := p.buffer()
	defer p.release(b)
	b.Write(appendStatus(b.AvailableBuffer(), s, CodeOf(s), nil))
	b.Truncate(b.Len() - len("}\n"))
	b.WriteString(`,"cfWaitingRoom":`)
	b.Write(known)
	b.WriteString("}\n")
	w.Header().Set("Retry-After", retryAfter(s))
	writeJSON(w, pageStatus(s, activity.PageStatus), b)
	return true
}
