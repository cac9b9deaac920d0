package waitpage

import (
	"net/http/httptest"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// A stream knows by itself what it showed of the wait, and who opens another
// brings it along: no wait becomes longer without a reason.
func TestSpoken_GivesAReasonWhereTheWaitIsLonger(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		waits := func(minutes int64) admission.Status {
			high := time.Duration(minutes) * time.Minute
			return admission.Status{State: admission.StateWaiting, Number: 9, Position: 5, Wait: admission.Wait{Known: true, Low: high - time.Minute, High: high}}
		}
		s := newSpoken(httptest.NewRequest("GET", "/_ropeline/events?activity=7&words=en&shown=", nil), "en")
		if w := s.of(Activity{}, waits(9)); w.Reason != "" || w.Wait == "" {
			t.Errorf("at first the words are %+v", w)
		}
		time.Sleep(4 * time.Minute) // five are left
		if w := s.of(Activity{}, waits(5)); w.Reason != "" {
			t.Errorf("a wait as it was shown has the reason %q", w.Reason)
		}
		if w := s.of(Activity{}, waits(20)); w.Reason != english.LongerSlow {
			t.Errorf("a longer wait has the reason %q", w.Reason)
		}
		paused := waits(20)
		paused.Paused = true
		s.of(Activity{}, paused)
		r := httptest.NewRequest("GET", "/_ropeline/events?activity=7&words=en&shown=99999.1.", nil)
		r.Header.Set("Last-Event-Id", s.shown.String())
		if got := s.shown.String(); got != "1200.5.paused" {
			t.Errorf("what was shown is told as %q", got)
		}
		next := newSpoken(r, "en")
		if w := next.of(Activity{}, waits(40)); w.Reason != english.LongerPaused {
			t.Errorf("in the next stream a longer wait has the reason %q", w.Reason)
		}
	})
}
