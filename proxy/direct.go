package proxy

import (
	"bufio"
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// direct asks a server for what needs no body, by HTTP/1.1 and without TLS, in
// the goroutine of who asks. The transport of net/http keeps two goroutines for
// each connection and hands every request to them and every answer back, which
// is a fifth of the processor time that a bare reverse proxy costs. What has a
// body is left to it: an answer may come before the body was sent, and someone
// must read the one while the other is written.
type direct struct {
	dial func(ctx context.Context, network, address string) (net.Conn, error)
	wait time.Duration // for the headers of an answer
	keep time.Duration // how long a connection may be unused

	mu     sync.Mutex // guards the rest
	unused []*pipe    // the one used last is at the end, and is used first
	age    int        // of what is dialled now: older ones are not used again
	sweep  *time.Timer
}

// takes reports whether a request can be asked so.
func (d *direct) takes(out *http.Request) bool {
	return out.Body == nil && out.Header["Upgrade"] == nil
}

// pipe is one connection. It belongs to one request at a time.
type pipe struct {
	net.Conn
	raw     syscall.RawConn
	answers *bufio.Reader // of itself
	left    int64         // bytes that may still be read before it is too much
	age     int
	again   bool // it was used before
	used    time.Time
	look    func(fd uintptr) // tells by quiet whether nothing has come; made but once
	quiet   bool

	// Of the request that it belongs to.
	ctx   context.Context
	until time.Time   // when the headers of the answer must have come
	calm  bool        // nobody looks yet whether ctx ends
	stop  func() bool // ends that somebody does; nil: nobody does
	head  bytes.Buffer
	sent  int // bytes of head
	tried bool
	try   func(fd uintptr) bool // sends head; it outlives the request, to be made but once
}

// newPipe makes a pipe of a connection, which it closes where it cannot.
func newPipe(conn net.Conn, age int) (*pipe, error) {
	system, ok := conn.(syscall.Conn)
	if !ok {
		conn.Close()
		return nil, fmt.Errorf("a connection of type %T has no file descriptor", conn)
	}
	raw, err := system.SyscallConn()
	if err != nil {
		conn.Close()
		return nil, err
	}
	c := &pipe{Conn: conn, raw: raw, age: age}
	c.answers = bufio.NewReaderSize(c, pipeBuffer)
	var more [1]byte
	c.look = func(fd uintptr) {
		_, err := readNow(fd, more[:])
		c.quiet = err == syscall.EAGAIN
	}
	c.try = func(fd uintptr) bool {
		if c.tried {
			return true
		}
		c.tried = true
		n, _ := writeNow(fd, c.head.Bytes()) // its error comes again
		c.sent = max(n, 0)
		return c.sent < c.head.Len()
	}
	return c, nil
}

// begin makes the pipe that of a request, whose answer may take so long. Most
// come at once: until calm is over nobody looks whether the request ends.
func (c *pipe) begin(ctx context.Context, wait time.Duration) {
	now := time.Now()
	c.ctx, c.until, c.calm, c.stop, c.left = ctx, now.Add(wait), true, nil, maxAnswerHeader
	c.SetDeadline(now.Add(min(wait, calm)))
}

// watch ends the calm: from here on the pipe ends when the request does, or at a
// time; zero: at none.
func (c *pipe) watch(until time.Time) {
	c.SetDeadline(until)
	switch {
	case c.calm:
		c.calm = false
		c.stop = context.AfterFunc(c.ctx, func() { c.SetDeadline(longAgo) })
	case c.ctx.Err() != nil:
		c.SetDeadline(longAgo) // it was so before
	}
}

// leave ends what the pipe has to do with its request. It returns false where the
// request's end may have disturbed it.
func (c *pipe) leave() bool { return c.stop == nil || c.stop() }

// send sends the head, and returns when there is something to read or the calm is
// over: to look for an answer before it can be there costs what it costs to read
// one.
func (c *pipe) send() error {
	c.sent, c.tried = 0, false
	// Only what comes after Read began ends it: the head goes out within.
	c.raw.Read(c.try) // its error comes again
	if c.sent == c.head.Len() {
		return nil
	}
	c.watch(c.until)
	_, err := c.Conn.Write(c.head.Bytes()[c.sent:])
	return err
}

var errHeaderTooLarge = errors.New("the headers of the answer are too large")

func (c *pipe) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errHeaderTooLarge
	}
	n, err := c.Conn.Read(p)
	if c.calm && errors.Is(err, os.ErrDeadlineExceeded) {
		c.watch(c.until)
		n, err = c.Conn.Read(p)
	}
	c.left -= int64(n)
	return n, err
}

const (
	// pipeBuffer is what is read of a connection at once, and what is kept to
	// write a request's head into, in bytes.
	pipeBuffer = 4 << 10

	// calm is for how long an answer is waited for before it matters whether the
	// request has ended.
	calm = 50 * time.Millisecond
)

// RoundTrip sends a request and returns its answer, whose body must be closed.
func (d *direct) RoundTrip(out *http.Request) (*http.Response, error) {
	safe := out.Method == http.MethodGet || out.Method == http.MethodHead || out.Method == http.MethodOptions
	for {
		c, err := d.connect(out)
		if err != nil {
			return nil, err
		}
		c.begin(out.Context(), d.wait)
		res, err := c.ask(out)
		if err == nil {
			d.end(c, res)
			return res, nil
		}
		unanswered := c.again && c.left == maxAnswerHeader
		c.leave()
		c.Close()
		if cause := context.Cause(out.Context()); cause != nil {
			return nil, cause
		}
		if !safe || !unanswered || !isReset(err) {
			return nil, err
		}
		// The server closed it as we wrote, which it may do to any that it has
		// answered before. The rest of them may have been closed with it.
		d.closeUnused()
	}
}

// longAgo is a deadline that has passed.
var longAgo = time.Unix(1, 0)

// connect returns a connection: one that was used before, if the server keeps
// it, else a new one.
func (d *direct) connect(out *http.Request) (*pipe, error) {
	for {
		c := d.take()
		if c == nil {
			break
		}
		if c.open() {
			return c, nil
		}
		c.Close()
	}
	d.mu.Lock()
	age := d.age
	d.mu.Unlock()
	conn, err := d.dial(out.Context(), "tcp", hostPort(out.URL))
	if err != nil {
		return nil, err
	}
	return newPipe(conn, age)
}

func hostPort(u *url.URL) string {
	return net.JoinHostPort(u.Hostname(), cmp.Or(u.Port(), "80"))
}

// open reports whether nothing has come on an unused connection: neither its
// end nor an answer that nobody asked for, such as what was left of one whose
// length was wrong. However short it was unused: the next visitor would get it.
func (c *pipe) open() bool {
	c.quiet = false
	return c.raw.Control(c.look) == nil && c.quiet
}

// ask writes a request and reads the headers of its answer.
func (c *pipe) ask(out *http.Request) (*http.Response, error) {
	if c.head.Reset(); c.head.Cap() > pipeBuffer {
		c.head = bytes.Buffer{}
	}
	if err := out.Write(&c.head); err != nil {
		return nil, err
	}
	if err := c.send(); err != nil {
		return nil, err
	}
	for {
		res, err := http.ReadResponse(c.answers, out)
		if err != nil && c.left <= 0 {
			return nil, errHeaderTooLarge // which may look like a broken line
		}
		if err != nil {
			return nil, err
		}
		if res.StatusCode < 100 || res.StatusCode >= 200 || res.StatusCode == http.StatusSwitchingProtocols {
			return res, nil
		}
		trace := httptrace.ContextClientTrace(out.Context())
		if trace == nil || trace.Got1xxResponse == nil {
			continue
		}
		if err := trace.Got1xxResponse(res.StatusCode, map[string][]string(res.Header)); err != nil {
			return nil, err
		}
	}
}

// end makes the end of an answer's body the end of the request, after which
// its connection can be another's.
func (d *direct) end(c *pipe, res *http.Response) {
	c.left = math.MaxInt64
	b := &pipeBody{ReadCloser: res.Body, direct: d, pipe: c, ctx: c.ctx}
	b.last = res.Close || res.StatusCode == http.StatusSwitchingProtocols
	if res.Body == http.NoBody {
		b.finish(true)
		return
	}
	if res.ContentLength < 0 || res.ContentLength > int64(c.answers.Buffered()) {
		c.watch(time.Time{}) // until was for the headers
	}
	res.Body = b
}

// pipeBody is the body of an answer. Close may be called at any time, and ends
// a Read.
type pipeBody struct {
	io.ReadCloser // the answer's
	direct        *direct
	pipe          *pipe
	ctx           context.Context // the request's
	last          bool            // the server closes the connection after it
	done          atomic.Bool
}

func (b *pipeBody) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err == nil {
		return n, nil
	}
	b.finish(err == io.EOF)
	if cause := context.Cause(b.ctx); cause != nil && err != io.EOF {
		err = cause
	}
	return n, err
}

// Close leaves what was not read: to read it may take longer than to connect
// anew.
func (b *pipeBody) Close() error {
	b.finish(false)
	return nil
}

func (b *pipeBody) finish(whole bool) {
	if b.done.Swap(true) {
		return
	}
	undisturbed := b.pipe.leave()
	if !whole || !undisturbed || b.last || b.pipe.answers.Buffered() > 0 {
		b.pipe.Close()
		return
	}
	b.direct.give(b.pipe)
}

// take returns an unused connection; nil: there is none.
func (d *direct) take() *pipe {
	d.mu.Lock()
	defer d.mu.Unlock()
	last := len(d.unused) - 1
	if last < 0 {
		return nil
	}
	c := d.unused[last]
	d.unused[last] = nil
	d.unused = d.unused[:last]
	return c
}

// give keeps a connection for the next request.
func (d *direct) give(c *pipe) {
	c.again, c.used, c.ctx, c.stop = true, time.Now(), nil, nil
	d.mu.Lock()
	defer d.mu.Unlock()
	if c.age != d.age || len(d.unused) >= idleConns {
		c.Close()
		return
	}
	d.unused = append(d.unused, c)
	if d.sweep == nil {
		d.sweep = time.AfterFunc(d.keep, d.closeOld)
	}
}

// closeOld closes what was not used for long, and comes again while there is
// something left.
func (d *direct) closeOld() {
	d.mu.Lock()
	defer d.mu.Unlock()
	old := 0
	for old < len(d.unused) && time.Since(d.unused[old].used) >= d.keep {
		d.unused[old].Close()
		old++
	}
	d.unused = append(d.unused[:0:0], d.unused[old:]...)
	d.sweep = nil
	if len(d.unused) > 0 {
		d.sweep = time.AfterFunc(d.keep-time.Since(d.unused[0].used), d.closeOld)
	}
}

// closeUnused closes the connections that are not used.
func (d *direct) closeUnused() {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, c := range d.unused {
		c.Close()
	}
	d.unused = nil
}

// renew has all further requests travel by new connections.
func (d *direct) renew() {
	d.mu.Lock()
	d.age++
	d.mu.Unlock()
	d.closeUnused()
}
