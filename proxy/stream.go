package proxy

import (
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"time"
)

// stay tells the room, as long as the request lasts, that its session is in
// use, and calls cut when the session has ended.
func (x *exchange) stay(cut func()) {
	session, activity := x.verdict.Session, x.route.Activity
	if session.Visitor == "" {
		return
	}
	every := max(activity.Idle/4, time.Second)
	go func() {
		timer := time.NewTimer(every)
		defer timer.Stop()
		for {
			select {
			case <-x.Done():
				return
			case <-timer.C:
			}
			until, ok := activity.Room.Stay(x, session)
			if !ok {
				cut()
				return
			}
			// Only the room's word ends it, since our clock may be off; it is
			// asked again at the end it gave, so that the end is kept.
			timer.Reset(min(every, max(time.Until(until), time.Second)))
		}
	}()
}

// stream is the body of an answer that can be ended from outside.
type stream struct {
	io.ReadCloser
	ended atomic.Bool
}

func (s *stream) cut() {
	s.ended.Store(true)
	s.ReadCloser.Close() // wakes the reader
}

// Read ends the stream as its sender would: a break would look like a fault.
func (s *stream) Read(p []byte) (int, error) {
	n, err := s.ReadCloser.Read(p)
	if s.ended.Load() {
		return n, io.EOF
	}
	return n, err
}

func isEventStream(h http.Header) bool {
	types := h["Content-Type"]
	if len(types) == 0 {
		return false
	}
	media, _, _ := strings.Cut(types[0], ";")
	return strings.EqualFold(strings.TrimSpace(media), "text/event-stream")
}
