package waitpage

import (
	"math/rand/v2"
	"net/http"
	"strconv"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/visitor"
)

const (
	// lookEvery is how often a stream looks where its visitor stands. What it
	// sees costs no request, so a turn, a pause or a message is told at once
	// and not at the next poll.
	lookEvery = time.Second

	// beatEvery is how often a stream says something: proxies in between close
	// what is silent for 30 s or more.
	beatEvery = 15 * time.Second

	// streamLife is how long a stream lasts, give or take a fifth. The browser
	// opens another: that renews the queue cookie, which only headers can, and
	// lets streams spread over gateways that were added.
	streamLife = 10 * time.Minute

	// drainSpread is the time over which streams end when the gateway is to.
	drainSpread = time.Second

	// DefaultStreams is how many event streams a Page holds open at once, if it
	// is not told: each keeps a connection and two goroutines, about 35 KiB by
	// BenchmarkEvents_Memory, so a thousand are 35 MiB.
	DefaultStreams = 1000
)

// streams are the event streams that are open. It bounds them.
type streams struct {
	most atomic.Int64
	open atomic.Int64
	end  chan struct{} // closed when all are to end
	once sync.Once
}

// AllowStreams sets how many event streams may be open at once; 0: none. Those
// that are open stay.
func (p *Page) AllowStreams(most int64) { p.streams.most.Store(most) }

// Streams returns how many event streams are open.
func (p *Page) Streams() int64 { return p.streams.open.Load() }

// EndStreams ends all event streams within a second, and takes no more: their
// visitors poll, or open one elsewhere. It does not wait.
func (p *Page) EndStreams() { p.streams.once.Do(func() { close(p.streams.end) }) }

// enter takes one of the streams that may be open; the caller gives it back by
// leave.
func (s *streams) enter() bool {
	select {
	case <-s.end:
		return false
	default:
	}
	if s.open.Add(1) > s.most.Load() {
		s.leave()
		return false
	}
	return true
}

func (s *streams) leave() { s.open.Add(-1) }

// events tells a visitor's status whenever it changes, and at the latest when
// a poll would have asked: each event is the document of status, with words where
// they are asked for, and counts as being heard from.
func (p *Page) events(w http.ResponseWriter, r *http.Request) {
	id, activity, ok := p.asked(w, r)
	if !ok {
		return
	}
	if !p.streams.enter() {
		w.Header().Set("Retry-After", strconv.Itoa(30+rand.IntN(30)))
		refuse(w, http.StatusServiceUnavailable, "TOO_MANY_STREAMS", "Ask for status instead.")
		return
	}
	defer p.streams.leave()

	from := visitor.From(r)
	visit := from.Visit(r, id)
	v := activity.Room.Peek(r.Context(), visit)
	h := w.Header()
	forbidStoring(h)
	visitor.Keep(h, id, v, from.Secure)
	if v.Status.PollAfter == 0 && r.Header.Get("Last-Event-Id") != "" {
		// It was told so, and the browser opened another by itself: only this
		// answer stops that.
		w.WriteHeader(http.StatusNoContent)
		return
	}
	h["Cache-Control"] = []string{"no-store, no-transform"} // what compresses also holds back
	h["Content-Type"] = []string{"text/event-stream"}
	h["X-Content-Type-Options"] = noSniff
	h["X-Accel-Buffering"] = []string{"no"} // nginx, and others by its example
	if r.Method == http.MethodHead {
		return
	}
	s := stream{p: p, w: w, flush: http.NewResponseController(w).Flush}
	if tag, wanted := parameter(r.URL.RawQuery, "words"); wanted {
		s.spoken = newSpoken(r, tag)
	}
	if !s.tell(activity, v.Status) {
		return
	}
	s.follow(r, id, visit)
}

// stream is one stream that is open. It belongs to its request.
type stream struct {
	p     *Page
	w     http.ResponseWriter
	flush func() error

	told sight     // what the last event said
	last time.Time // when anything was last written
	due  time.Time // when the next event must come, changed or not

	spoken *spoken // the words that go along; nil: none do
}

// sight is what of a status is told as soon as it changes.
type sight struct {
	state                       admission.State
	number                      int64
	paused, unavailable, lapsed bool
	message                     string
	soldOut                     bool
	pass                        admission.PassState
}

func sightOf(s admission.Status) sight {
	return sight{s.State, s.Number, s.Paused, s.Unavailable, s.Lapsed, s.Message, s.Stock.SoldOut(), s.Pass}
}

// follow tells the visitor's status until there is no more to tell, the visitor
// leaves, or the stream's time is over.
func (s *stream) follow(r *http.Request, id int64, visit admission.Visit) {
	end := time.NewTimer(streamLife + time.Duration((rand.Float64()-0.5)*0.4*float64(streamLife)))
	defer end.Stop()
	look := time.NewTimer(rand.N(lookEvery)) // not all at the same instant of a second
	defer look.Stop()
	draining := s.p.streams.end
	for !s.over() {
		select {
		case <-r.Context().Done():
			return
		case <-end.C:
			return
		case <-draining:
			draining = nil
			end.Reset(rand.N(drainSpread))
			continue
		case <-look.C:
		}
		activity, ok := s.p.activity(id)
		if !ok {
			return // gone by a reload
		}
		if !s.look(r, activity, visit) {
			return
		}
		look.Reset(lookEvery)
	}
}

// over reports whether the last event said that there is no more to ask.
func (s *stream) over() bool { return s.due.IsZero() }

// look writes what there is to tell; false: the visitor is gone.
func (s *stream) look(r *http.Request, activity Activity, visit admission.Visit) bool {
	now := time.Now()
	if !now.Before(s.due) {
		return s.tell(activity, activity.Room.Peek(r.Context(), visit).Status)
	}
	status := activity.Room.Look(r.Context(), visit).Status
	switch {
	case sightOf(status) != s.told:
		return s.tell(activity, status)
	case now.Sub(s.last) >= beatEvery:
		return s.write([]byte(":\n\n"))
	}
	return true
}

// tell writes an event.
func (s *stream) tell(activity Activity, status admission.Status) bool {
	b := s.p.buffer()
	defer s.p.release(b)
	if s.last.IsZero() {
		// Whom a gateway's end cut off come back spread over some seconds.
		b.WriteString("retry: ")
		b.WriteString(strconv.Itoa(1000 + rand.IntN(4000)))
		b.WriteString("\nid: 1\n") // so that who comes back says so
	}
	var said *words
	if s.spoken != nil {
		said = s.spoken.of(activity, status)
		b.WriteString("id: " + s.spoken.shown.String() + "\n") // in place of the other
	}
	b.WriteString("data: ")
	b.Write(appendStatus(b.AvailableBuffer(), status, "", said)) // ends its line
	b.WriteByte('\n')
	s.told, s.due = sightOf(status), time.Time{}
	if status.PollAfter > 0 {
		s.due = time.Now().Add(status.PollAfter)
	}
	return s.write(b.Bytes())
}

func (s *stream) write(b []byte) bool {
	s.last = time.Now()
	if _, err := s.w.Write(b); err != nil {
		return false
	}
	return s.flush() == nil
}
