//go:build linux

package redistest

import (
	"bytes"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/netip"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/admissiontest/process"
)

// Link is a relay between clients and a server, and the place where their
// network goes wrong. Its methods may be called from any goroutine, at any time.
type Link struct {
	Addr string // where clients dial

	carried sync.WaitGroup

	mu       sync.Mutex // guards all below
	target   string
	listener net.Listener // nil while shut
	closed   bool
	wires    map[*wire]struct{}
	latency  time.Duration
	jitter   time.Duration
	rate     int64                      // bytes a second each way, of all wires together; 0: no limit
	free     [2]time.Time               // when each way has carried what it was given: requests, answers
	holes    func(from netip.Addr) bool // whose bytes stay away; nil: nobody's
	changed  chan struct{}              // closed when holes changes
	cut      *cut                       // of the answers of all wires; nil when none is due
	lost     *loss                      // the next request whose answer is lost
	reads    *strings.Replacer          // what clients read in place of what answers say; nil: the same
	dialer   net.Dialer                 // reaches the server
}

// cut resets the wire on which the first byte after the next left ones comes.
type cut struct {
	left int64
	done chan struct{}
}

// loss resets the wire that carries text, when its answer comes.
type loss struct {
	text []byte
	done chan struct{}
}

// wire is one connection, from client to server.
type wire struct {
	from   netip.Addr
	client *net.TCPConn
	server *net.TCPConn  // nil until dialed; guarded by Link.mu
	lost   chan struct{} // closed as the next answer is lost; nil: it is not; guarded by Link.mu
	gone   chan struct{} // closed by reset
}

// chunk is what one read brought.
type chunk struct {
	bytes []byte
	err   error // io.EOF or another when the sender is done
	due   time.Time
}

// NewLink starts a relay to the server at addr, on a free port. It ends with
// the test.
func NewLink(t testing.TB, addr string) *Link {
	t.Helper()
	l := &Link{target: addr, dialer: net.Dialer{Timeout: time.Second}, wires: map[*wire]struct{}{}, changed: make(chan struct{})}
	for l.listener == nil {
		port, err := process.FreePort()
		if err != nil {
			t.Fatal(err)
		}
		l.Addr = process.Loopback(port)
		if err := l.open(); err != nil && !errors.Is(err, syscall.EADDRINUSE) {
			t.Fatal(err)
		}
	}
	t.Cleanup(l.close)
	return l
}

// from has the server reached from an address of this machine.
func (l *Link) from(source netip.Addr) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.dialer.LocalAddr = net.TCPAddrFromAddrPort(netip.AddrPortFrom(source, 0))
}

// Latency delays each answer by d, give or take jitter.
func (l *Link) Latency(d, jitter time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.latency, l.jitter = d, jitter
}

// Bandwidth limits what all connections together carry to so many bytes a
// second, each way.
func (l *Link) Bandwidth(rate int64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.rate, l.free = rate, [2]time.Time{}
}

// BlackHole holds back all bytes in both directions, as a network does that
// drops packets: nothing fails, nothing arrives. Heal delivers what was held
// back, even of a client that has given up since. Dialing works still, but the
// server does not hear of it.
func (l *Link) BlackHole() { l.hold(func(netip.Addr) bool { return true }) }

// hold holds back the bytes to and from the clients that holes names.
func (l *Link) hold(holes func(from netip.Addr) bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.holes = holes
	close(l.changed)
	l.changed = make(chan struct{})
}

// CutAfter lets n more bytes of answers through, over all connections together,
// and resets the one that brings more, once: the server has done what was asked,
// the client cannot know. The channel is closed when it has happened.
func (l *Link) CutAfter(n int64) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.cut = &cut{left: n, done: make(chan struct{})}
	return l.cut.done
}

// LoseAnswer resets the connection of the next request that contains text, such
// as a key, once the answer to it comes: the server has done what was asked, the
// client cannot know. The channel is closed when it has happened.
func (l *Link) LoseAnswer(text string) <-chan struct{} {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.lost = &loss{text: []byte(text), done: make(chan struct{})}
	return l.lost.done
}

// Alter makes clients read new where the server answers old. They must be of
// one length. So a test gets a server of another version:
// Alter("redis_version:7.0.15", "redis_version:6.2.14").
func (l *Link) Alter(old, new string) {
	if len(old) != len(new) {
		panic("redistest: Alter needs texts of one length")
	}
	l.alter(old, new)
}

// alter is Alter for pairs of old and new.
func (l *Link) alter(pairs ...string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.reads = strings.NewReplacer(pairs...)
}

// Reset breaks all connections by RST. New ones work.
func (l *Link) Reset() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for w := range l.wires {
		w.reset()
	}
}

// Shut breaks all connections and refuses new ones.
func (l *Link) Shut() {
	l.mu.Lock()
	listener := l.listener
	l.listener = nil
	l.mu.Unlock()
	if listener != nil {
		listener.Close()
	}
	l.Reset()
}

// Heal ends every fault. What was held back arrives.
func (l *Link) Heal() {
	l.hold(nil)
	l.mu.Lock()
	l.latency, l.jitter, l.rate, l.cut, l.lost, l.reads = 0, 0, 0, nil, nil, nil
	l.mu.Unlock()
	// The port is below the range of outgoing connections: nobody has it.
	if err := l.open(); err != nil {
		panic("redistest: heal link: " + err.Error())
	}
}

// open takes connections again.
func (l *Link) open() error {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != nil || l.closed {
		return nil
	}
	listener, err := net.Listen("tcp", l.Addr)
	if err != nil {
		return err
	}
	l.listener = listener
	l.carried.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return // shut
			}
			l.take(listener, client.(*net.TCPConn))
		}
	})
	return nil
}

// Aim sets the server that new connections reach. Those that are there stay
// where they are, until Reset.
func (l *Link) Aim(addr string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.target = addr
}

// close ends the relay and returns when nothing of it runs.
func (l *Link) close() {
	l.mu.Lock()
	l.closed = true
	l.mu.Unlock()
	l.Shut()
	l.carried.Wait()
}

// take begins to carry a connection that listener accepted.
func (l *Link) take(listener net.Listener, client *net.TCPConn) {
	w := &wire{
		from:   client.RemoteAddr().(*net.TCPAddr).AddrPort().Addr().Unmap(),
		client: client,
		gone:   make(chan struct{}),
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.listener != listener { // shut since
		w.reset()
		return
	}
	l.wires[w] = struct{}{}
	l.carried.Go(func() {
		l.carry(w)
		l.mu.Lock()
		delete(l.wires, w)
		l.mu.Unlock()
	})
}

// carry carries bytes both ways until both sides are done or the wire is reset.
func (l *Link) carry(w *wire) {
	defer w.client.Close()
	if !l.clear(w) {
		return
	}
	l.mu.Lock()
	target, dialer := l.target, l.dialer
	l.mu.Unlock()
	conn, err := dialer.Dial("tcp", target)
	if err != nil {
		l.drop(w)
		return
	}
	defer conn.Close()
	l.mu.Lock()
	w.server = conn.(*net.TCPConn)
	l.mu.Unlock()
	select {
	case <-w.gone: // reset before it had a server, which nobody would close
		return
	default:
	}
	var both sync.WaitGroup
	for _, way := range []struct {
		from, to *net.TCPConn
		answers  bool
	}{{w.client, w.server, false}, {w.server, w.client, true}} {
		queue := make(chan chunk, 64)
		both.Go(func() { l.read(w, way.from, queue, way.answers) })
		both.Go(func() { l.write(w, way.to, queue, way.answers) })
	}
	both.Wait()
}

// read puts what comes from conn into queue, and at last how it ended. It is
// apart from write so that a delay does not cost throughput.
func (l *Link) read(w *wire, conn *net.TCPConn, queue chan<- chunk, answers bool) {
	buffer := make([]byte, 16<<10)
	for {
		n, err := conn.Read(buffer)
		c := chunk{bytes: bytes.Clone(buffer[:n]), err: err, due: time.Now()}
		if answers {
			c.due = c.due.Add(l.delay())
		}
		select {
		case queue <- c:
		case <-w.gone:
			return
		}
		if err != nil {
			return
		}
	}
}

// write passes what is in queue on to conn, when it is due and nothing holds it.
func (l *Link) write(w *wire, conn *net.TCPConn, queue <-chan chunk, answers bool) {
	for {
		var c chunk
		select {
		case c = <-queue:
		case <-w.gone:
			return
		}
		if wait := time.Until(c.due) + l.carrying(len(c.bytes), answers); wait > 0 {
			select {
			case <-time.After(wait):
			case <-w.gone:
				return
			}
		}
		if !l.clear(w) {
			return
		}
		var lost chan struct{}
		if !answers {
			l.request(w, c.bytes)
		} else if len(c.bytes) > 0 {
			c.bytes, lost = l.answer(w, c.bytes)
		}
		_, err := conn.Write(c.bytes)
		switch {
		case lost != nil:
			l.drop(w)
			close(lost)
			return
		case err != nil, c.err != nil && c.err != io.EOF:
			l.drop(w)
			return
		case c.err == io.EOF:
			conn.CloseWrite()
			return
		}
	}
}

// clear waits until nothing holds the wire's bytes back. It returns false if
// the wire is reset first.
func (l *Link) clear(w *wire) bool {
	for {
		l.mu.Lock()
		held, changed := l.holes != nil && l.holes(w.from), l.changed
		l.mu.Unlock()
		if !held {
			return true
		}
		select {
		case <-changed:
		case <-w.gone:
			return false
		}
	}
}

func (l *Link) delay() time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	d := l.latency
	if l.jitter > 0 {
		d += rand.N(2*l.jitter) - l.jitter
	}
	return d
}

// carrying is how long it takes until n more bytes have come through.
func (l *Link) carrying(n int, answers bool) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.rate == 0 {
		return 0
	}
	free := &l.free[0]
	if answers {
		free = &l.free[1]
	}
	if now := time.Now(); free.Before(now) {
		*free = now
	}
	*free = free.Add(time.Duration(n) * time.Second / time.Duration(l.rate))
	return time.Until(*free)
}

// request looks whether the answer to the bytes of a request is to be lost.
func (l *Link) request(w *wire, request []byte) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.lost != nil && bytes.Contains(request, l.lost.text) {
		w.lost, l.lost = l.lost.done, nil
	}
}

// answer returns what the client gets of the bytes of an answer, and, if the
// wire must be reset then, the channel to close.
func (l *Link) answer(w *wire, answer []byte) ([]byte, chan struct{}) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.lost != nil {
		return nil, w.lost
	}
	if l.reads != nil {
		answer = []byte(l.reads.Replace(string(answer)))
	}
	if l.cut == nil {
		return answer, nil
	}
	if left := l.cut.left; int64(len(answer)) > left {
		done := l.cut.done
		l.cut = nil
		return answer[:left], done
	}
	l.cut.left -= int64(len(answer))
	return answer, nil
}

func (l *Link) drop(w *wire) {
	l.mu.Lock()
	defer l.mu.Unlock()
	w.reset()
}

// reset breaks both connections by RST. Link.mu must be held.
func (w *wire) reset() {
	select {
	case <-w.gone:
		return
	default:
	}
	close(w.gone)
	for _, conn := range []*net.TCPConn{w.client, w.server} {
		if conn != nil {
			conn.SetLinger(0) // so that Close sends RST, not FIN
			conn.Close()
		}
	}
}
