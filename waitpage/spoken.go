package waitpage

import (
	"net/http"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// spoken are the words of a stream: in which language, and what of the wait they
// showed last, and when.
type spoken struct {
	tag   string
	shown seen
	at    time.Time
}

// newSpoken reads what the reader was shown before: by the last event of the
// stream that this one follows, or by the page that opens it.
func newSpoken(r *http.Request, tag string) *spoken {
	shown := r.Header.Get("Last-Event-Id")
	if shown == "" {
		shown, _ = parameter(r.URL.RawQuery, "shown")
	}
	return &spoken{tag: tag, shown: readSeen(shown), at: time.Now()}
}

// of returns the words of a status, which are shown from now on.
func (s *spoken) of(activity Activity, status admission.Status) *words {
	now := time.Now()
	s.shown, s.at = s.shown.after(now.Sub(s.at)), now
	w := activity.languages().named(s.tag).words(status, activity.Name, s.shown)
	s.shown = w.showed(status, s.shown)
	return &w
}
