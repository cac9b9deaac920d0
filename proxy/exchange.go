package proxy

import (
	"bufio"
	"cmp"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/trace"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/visitor"
)

// exchange is one request on its way through the gateway and the answer on its
// way back. It is at once the request's context, its body and the answer's
// writer, so that all facts of a request cost one allocation. It is not
// reused: a transport may hold on to a body after the handler has returned.
type exchange struct {
	context.Context // the request's own

	gateway  *Gateway
	table    *Table
	who      visitor.Visitor
	host     string // the Host header's name, once found good
	route    *route // nil before the look-up and for Ropeline's own paths
	verdict  admission.Verdict
	span     trace.Span // nil: there is no tracer
	outcome  outcome
	reason   string // more of the outcome, for the log
	asset    bool   // passes only if the shop's answer is a part of a page
	shared   bool   // anyone would have passed: the answer is not for one visitor
	finished bool   // the handler returned rather than panicked
	began    time.Time
	sent     time.Time     // when the upstream was asked; zero: it was not
	upstream time.Duration // how long its headers took; 0: none came
	member   *member       // the server that was asked last; nil: none
	counted  bool          // it is among the member's requests under way
	breaker  *breaker      // wants to know how it ends; nil: it knows
	judge    func(error)   // the same, of a breaker that is not closed
	gauge    *gauge        // wants to know how it ends, too

	// Of a request that asks about another: who asks, or where a visitor is led
	// who may pass, and the other.
	front   *front
	leads   string
	subject *http.Request

	// cut ends a WebSocket, which the server no longer knows of. It is set
	// only for those.
	cut context.CancelFunc

	body   body
	answer answer

	// forwarded backs the header values that the upstream is told, one slice
	// of it for each.
	forwarded [maxForwarded]string
	told      int
}

type exchangeKey struct{}

// Value makes the exchange its own context layer.
func (x *exchange) Value(key any) any {
	switch key {
	case exchangeKey{}:
		return x
	case visitor.Key:
		return &x.who
	}
	return x.Context.Value(key)
}

// exchangeOf returns the exchange that r belongs to. Every request that
// reaches an upstream has one.
func exchangeOf(r *http.Request) *exchange {
	return r.Context().Value(exchangeKey{}).(*exchange)
}

// body is a request's body, with a limit to its size and to the time between
// two pieces of it. It remembers why reading ended, which tells a sender's
// fault from an upstream's: the transport reports both as its own.
type body struct {
	io.ReadCloser
	writer http.ResponseWriter // whose connection the deadlines are set on
	idle   time.Duration       // 0: no limit
	left   int64               // bytes that may still come; negative: no limit

	// watch runs while the upstream takes nothing of what was read, at most
	// patience; nil: nobody minds. done is set when it matters no more.
	watch    *time.Timer
	patience time.Duration
	done     atomic.Bool

	begun atomic.Bool // something of it was read
	whole atomic.Bool // all of it was

	mu  sync.Mutex // guards err: a transport may still read when it has answered
	err error      // why reading ended, other than by its end
}

var errTooLarge = errors.New("request body too large")

func (b *body) Read(p []byte) (int, error) {
	if b.left >= 0 && int64(len(p)) > b.left+1 {
		p = p[:b.left+1] // one more than allowed tells a body that is too large
	}
	b.begun.Store(true)
	if b.watch != nil {
		b.watch.Stop()
		defer b.await()
	}
	b.rearm()
	n, err := b.ReadCloser.Read(p)
	if b.left >= 0 && int64(n) > b.left {
		n, err = 0, errTooLarge
	} else if b.left >= 0 {
		b.left -= int64(n)
	}
	if err == io.EOF {
		// From here on the server reads only to notice that the sender left; a
		// deadline would look like that.
		b.whole.Store(true)
		b.disarm()
	} else if err != nil {
		b.mu.Lock()
		defer b.mu.Unlock()
		b.err = cmp.Or(b.err, err)
	}
	return n, err
}

// expect has stalled called when an upstream has taken nothing of the body for
// so long, though there was something to take: the time for its answer runs
// only from the body's end.
func (b *body) expect(patience time.Duration, stalled func()) {
	b.patience = patience
	b.watch = time.AfterFunc(patience, func() {
		if !b.done.Load() {
			stalled()
		}
	})
	b.watch.Stop()
}

// await begins to wait for the upstream to take what was read.
func (b *body) await() {
	if !b.done.Load() {
		b.watch.Reset(b.patience)
	}
}

// taken ends that: the upstream has answered, or the exchange is over.
func (b *body) taken() {
	if b.watch != nil {
		b.done.Store(true)
		b.watch.Stop()
	}
}

// failure returns why reading ended, if it was other than by the body's end.
func (b *body) failure() error {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// rearm gives the sender another idle time to send more. Without it, bodies
// sent a byte a minute hold connections and, behind us, the shop's workers.
func (b *body) rearm() {
	if b.idle > 0 {
		http.NewResponseController(b.writer).SetReadDeadline(time.Now().Add(b.idle))
	}
}

func (b *body) disarm() {
	if b.idle > 0 {
		http.NewResponseController(b.writer).SetReadDeadline(time.Time{})
	}
}

// answer is the one wrapper around a request's ResponseWriter: it notes what
// was answered, and gives up on a reader that takes nothing for too long.
type answer struct {
	http.ResponseWriter
	idle     time.Duration // 0: no limit
	armed    time.Time     // when the write deadline was last set
	status   int           // 0: nothing answered yet
	bytes    int64
	err      error // the first failure to write
	hijacked bool

	// closed turns each status into one that keeps the visitor out; nil: it is
	// sent as it is.
	closed func(status int) int
}

// Unwrap lets http.ResponseController reach the server's own writer.
func (a *answer) Unwrap() http.ResponseWriter { return a.ResponseWriter }

func (a *answer) WriteHeader(status int) {
	if a.closed != nil && status >= 200 {
		status = a.closed(status)
	}
	if a.status == 0 && (status >= 200 || status == http.StatusSwitchingProtocols) {
		a.status = status
	}
	if status < 200 {
		delete(a.Header(), commandHeader) // ReverseProxy passes early hints on by itself
	}
	a.rearm()
	a.ResponseWriter.WriteHeader(status)
}

// writeIdle is how long a reader may pause where a sender may pause for idle.
// It is longer: the server waits for a body that no one read before it writes,
// and the answer must still find its way when none came.
func writeIdle(idle time.Duration) time.Duration { return 2 * idle }

// rearm gives the reader another idle time to take more. The server's own
// WriteTimeout counts from the start of the request; setting it anew four
// times in its span is enough for a stream to go on.
func (a *answer) rearm() {
	if a.idle <= 0 || a.hijacked {
		return
	}
	if now := time.Now(); now.Sub(a.armed) > a.idle/4 {
		a.armed = now
		http.NewResponseController(a.ResponseWriter).SetWriteDeadline(now.Add(a.idle))
	}
}

func (a *answer) Write(p []byte) (int, error) {
	if a.status == 0 && a.closed != nil {
		a.WriteHeader(http.StatusOK)
	}
	if a.status == 0 {
		a.status = http.StatusOK
	}
	a.rearm()
	n, err := a.ResponseWriter.Write(p)
	a.bytes += int64(n)
	if err != nil && a.err == nil {
		a.err = err
	}
	return n, err
}

// Hijack notes that the connection is no longer the server's.
func (a *answer) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, rw, err := http.NewResponseController(a.ResponseWriter).Hijack()
	if err == nil {
		a.hijacked, a.status = true, http.StatusSwitchingProtocols
	}
	return conn, rw, err
}
