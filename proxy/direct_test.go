package proxy

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"strings"
	"sync"
	"testing"
	"time"
)

// wordShop answers each request with words that say exactly what goes over the
// connection, and notes on which one it came.
type wordShop struct {
	net.Listener
	asked  chan asked
	closed chan int // connections whose other side closed them
}

type asked struct {
	conn    int // counted from 1
	net     net.Conn
	request *http.Request
}

// openWordShop opens a shop whose answers words gives; "" leaves the request
// without any, and hangs up.
func openWordShop(t *testing.T, words func(a asked) string) *wordShop {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &wordShop{Listener: l, asked: make(chan asked, 100), closed: make(chan int, 100)}
	var served sync.WaitGroup
	t.Cleanup(func() { l.Close(); served.Wait() })
	served.Go(func() {
		for n := 1; ; n++ {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			stop := context.AfterFunc(t.Context(), func() { conn.Close() })
			served.Go(func() {
				defer stop()
				defer conn.Close()
				requests := bufio.NewReader(conn)
				for {
					r, err := http.ReadRequest(requests)
					if err != nil {
						select {
						case s.closed <- n:
						case <-t.Context().Done():
						}
						return
					}
					a := asked{n, conn, r}
					answer := words(a)
					select {
					case s.asked <- a:
					case <-t.Context().Done():
					}
					if answer == "" {
						return
					}
					io.WriteString(conn, answer)
				}
			})
		}
	})
	return s
}

func directTo(t *testing.T) *direct {
	d := &direct{dial: (&net.Dialer{}).DialContext, wait: 10 * time.Second, keep: time.Minute}
	t.Cleanup(d.closeUnused)
	return d
}

func (s *wordShop) request(t *testing.T, ctx context.Context, method string) *http.Request {
	t.Helper()
	r, err := http.NewRequestWithContext(ctx, method, "http://"+s.Addr().String()+"/drop", nil)
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// get asks and returns all of the answer, and on which connection it came.
func (s *wordShop) get(t *testing.T, d *direct, method string) (text string, conn int, err error) {
	t.Helper()
	res, err := d.RoundTrip(s.request(t, t.Context(), method))
	if err != nil {
		return "", 0, err
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	for len(s.asked) > 0 {
		conn = (<-s.asked).conn
	}
	return string(body), conn, err
}

func hello(a asked) string {
	return "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
}

func TestDirect_AnswersEndInWaysThatKeepTheConnectionAndWaysThatDoNot(t *testing.T) {
	for _, c := range []struct {
		name, method, answer, body string
		kept                       bool
	}{
		{"of a length", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", true},
		{"in chunks", "GET", "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", "hello", true},
		{"empty", "GET", "HTTP/1.1 204 No Content\r\n\r\n", "", true},
		{"of HEAD", "HEAD", "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n", "", true},
		{"larger than the buffer", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("x", 70000), strings.Repeat("x", 70000), true},
		{"the last", "GET", "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", "hello", false},
		{"of HTTP/1.0", "GET", "HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "hello", false},
		// What comes after an answer would be taken for that of the next request,
		// which may be another visitor's.
		{"with more than was asked for", "GET", hello(asked{}) + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen", "hello", false},
		{"with more than HEAD has", "HEAD", hello(asked{}), "", false},
		{"with more than was asked for, beyond the buffer", "GET", "HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n" + strings.Repeat("x", 70000) + hello(asked{}), strings.Repeat("x", 70000), false},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := openWordShop(t, func(asked) string { return c.answer })
			d := directTo(t)
			for i := range 3 {
				text, conn, err := s.get(t, d, c.method)
				if err != nil || text != c.body {
					t.Fatalf("request %d: got %.20q, %v, want %.20q", i+1, text, err, c.body)
				}
				want := 1
				if !c.kept {
					want = i + 1
				}
				if conn != want {
					t.Errorf("request %d travelled by connection %d, want %d", i+1, conn, want)
				}
			}
		})
	}
}

// What arrives while nobody asks must be nobody's answer.
func TestDirect_AnAnswerThatNobodyAskedForIsThrownAway(t *testing.T) {
	late := make(chan net.Conn, 1)
	s := openWordShop(t, func(a asked) string {
		if a.conn == 1 {
			late <- a.net
		}
		return hello(a)
	})
	d := directTo(t)
	if _, _, err := s.get(t, d, "GET"); err != nil {
		t.Fatal(err)
	}
	conn := <-late
	io.WriteString(conn, "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nstolen")
	c := d.take()
	waitClosed(t, c) // the words have arrived
	d.mu.Lock()
	d.unused = append(d.unused, c)
	d.mu.Unlock()
	if text, n, err := s.get(t, d, "GET"); err != nil || text != "hello" || n != 2 {
		t.Errorf("got %q by connection %d, %v, want hello by the second", text, n, err)
	}
}

// waitClosed waits until something, an end or more, has come on a connection.
func waitClosed(t *testing.T, c *pipe) {
	t.Helper()
	for range 1000 {
		if !c.open() {
			return
		}
		c.SetReadDeadline(time.Now().Add(5 * time.Millisecond))
		if n, err := c.Conn.Read(nil); n != 0 || err != nil && !errors.Is(err, os.ErrDeadlineExceeded) {
			return
		}
	}
	t.Fatal("nothing came")
}

func TestDirect_ServerThatClosesUnusedConnectionsCostsNoRequest(t *testing.T) {
	for _, method := range []string{"GET", "DELETE"} {
		t.Run(method, func(t *testing.T) {
			hangUp := make(chan net.Conn, 10)
			s := openWordShop(t, func(a asked) string { hangUp <- a.net; return hello(a) })
			d := directTo(t)
			for i := 1; i <= 4; i++ {
				if text, conn, err := s.get(t, d, method); err != nil || text != "hello" || conn != i {
					t.Fatalf("request %d: got %q by connection %d, %v", i, text, conn, err)
				}
				(<-hangUp).Close()
				<-s.closed
				d.mu.Lock()
				c := d.unused[0]
				d.mu.Unlock()
				waitClosed(t, c)
			}
		})
	}
}

// A server may hang up at the very moment a request comes. What changes
// nothing is asked again; what might is not.
func TestDirect_AsksAgainOnlyWhatIsSafe(t *testing.T) {
	for _, c := range []struct {
		method string
		again  bool
	}{{"GET", true}, {"HEAD", true}, {"OPTIONS", true}, {"POST", false}, {"DELETE", false}} {
		t.Run(c.method, func(t *testing.T) {
			var mu sync.Mutex
			var count int
			s := openWordShop(t, func(a asked) string {
				mu.Lock()
				defer mu.Unlock()
				if count++; count == 2 {
					return ""
				}
				return "HTTP/1.1 204 No Content\r\n\r\n"
			})
			d := directTo(t)
			if _, _, err := s.get(t, d, "GET"); err != nil {
				t.Fatal(err)
			}
			_, _, err := s.get(t, d, c.method)
			mu.Lock()
			defer mu.Unlock()
			if again := err == nil; again != c.again || !again && !isReset(err) {
				t.Errorf("got %v, want asked again: %t", err, c.again)
			}
			if want := map[bool]int{true: 3, false: 2}[c.again]; count != want {
				t.Errorf("the server was asked %d times, want %d", count, want)
			}
		})
	}
}

// On a new connection there is nothing to blame on its age.
func TestDirect_ServerThatNeverAnswersIsAskedOnce(t *testing.T) {
	s := openWordShop(t, func(asked) string { return "" })
	d := directTo(t)
	if _, _, err := s.get(t, d, "GET"); err == nil || !isReset(err) {
		t.Errorf("got %v, want that the connection was closed", err)
	}
	if n := len(s.asked); n != 1 {
		t.Errorf("asked %d times, want once", n)
	}
}

func TestDirect_TooLongHeadersAreRefused(t *testing.T) {
	s := openWordShop(t, func(asked) string {
		return "HTTP/1.1 200 OK\r\n" + strings.Repeat("X-Pad: "+strings.Repeat("y", 1000)+"\r\n", 300) + "\r\n"
	})
	if _, _, err := s.get(t, directTo(t), "GET"); !errors.Is(err, errHeaderTooLarge) {
		t.Errorf("got %v, want %v", err, errHeaderTooLarge)
	}
}

// Early hints without end are as bad as headers without end.
func TestDirect_EarlyHintsPassAndAreBounded(t *testing.T) {
	hints := "HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\n"
	for _, c := range []struct {
		hints int
		err   error
	}{{2, nil}, {2 * maxAnswerHeader / len(hints), errHeaderTooLarge}} {
		s := openWordShop(t, func(a asked) string { return strings.Repeat(hints, c.hints) + hello(a) })
		got := 0
		ctx := httptrace.WithClientTrace(t.Context(), &httptrace.ClientTrace{Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			if got++; code != 103 || h["Link"][0] != "</a.css>" {
				t.Errorf("hint %d is %d %v", got, code, h)
			}
			return nil
		}})
		res, err := directTo(t).RoundTrip(s.request(t, ctx, "GET"))
		if !errors.Is(err, c.err) {
			t.Fatalf("%d hints: got %v, want %v", c.hints, err, c.err)
		}
		if err == nil {
			res.Body.Close()
			if got != c.hints {
				t.Errorf("%d hints passed, want %d", got, c.hints)
			}
		}
	}
}

// A visitor who leaves takes the connection along, at whatever point.
func TestDirect_TheEndOfItsContextEndsARequest(t *testing.T) {
	t.Run("before the answer", func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		left := errors.New("left")
		s := openWordShop(t, func(asked) string { cancel(left); return " " })
		if _, err := directTo(t).RoundTrip(s.request(t, ctx, "GET")); err != left {
			t.Errorf("got %v, want %v", err, left)
		}
		<-s.closed
	})
	t.Run("in its body", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := openWordShop(t, func(asked) string { return "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello" })
		res, err := directTo(t).RoundTrip(s.request(t, ctx, "GET"))
		if err != nil {
			t.Fatal(err)
		}
		cancel()
		if text, err := io.ReadAll(res.Body); !strings.HasPrefix("hello", string(text)) || !errors.Is(err, context.Canceled) {
			t.Errorf("got %q, %v, want %v", text, err, context.Canceled)
		}
		<-s.closed
	})
	t.Run("after it", func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		s := openWordShop(t, hello)
		d := directTo(t)
		res, err := d.RoundTrip(s.request(t, ctx, "GET"))
		if err != nil {
			t.Fatal(err)
		}
		io.Copy(io.Discard, res.Body)
		cancel()
		res.Body.Close()
		<-s.asked
		if text, conn, err := s.get(t, d, "GET"); text != "hello" || conn != 1 || err != nil {
			t.Errorf("the next got %q by connection %d, %v, want hello by the same", text, conn, err)
		}
	})
}

// Close from elsewhere ends a Read, as whoever paces an answer relies on.
func TestDirect_CloseEndsARead(t *testing.T) {
	s := openWordShop(t, func(asked) string { return "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nhello" })
	res, err := directTo(t).RoundTrip(s.request(t, t.Context(), "GET"))
	if err != nil {
		t.Fatal(err)
	}
	read := make(chan error)
	go func() { _, err := io.ReadAll(res.Body); read <- err }()
	res.Body.Close()
	if err := <-read; err == nil {
		t.Error("an answer that was closed looks whole")
	}
	<-s.closed
}

func TestDirect_NoAnswerInTimeIsATimeout(t *testing.T) {
	quiet := make(chan struct{})
	s := openWordShop(t, func(asked) string { <-quiet; return "" })
	defer close(quiet)
	d := directTo(t)
	d.wait = 20 * time.Millisecond
	var timeout net.Error
	if _, _, err := s.get(t, d, "GET"); !errors.As(err, &timeout) || !timeout.Timeout() {
		t.Errorf("got %v, want a timeout", err)
	}
	// An answer's body may take longer than its headers.
	d.wait = time.Second
	slow := openWordShop(t, func(a asked) string { return "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" })
	res, err := d.RoundTrip(slow.request(t, t.Context(), "GET"))
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	conn := (<-slow.asked).net
	<-time.After(d.wait + d.wait/10)
	io.WriteString(conn, "5\r\nhello\r\n0\r\n\r\n")
	if text, err := io.ReadAll(res.Body); string(text) != "hello" || err != nil {
		t.Errorf("got %q, %v, want hello", text, err)
	}
}

func TestDirect_OldConnectionsAreClosed(t *testing.T) {
	s := openWordShop(t, hello)
	d := directTo(t)
	d.keep = 10 * time.Millisecond
	if _, _, err := s.get(t, d, "GET"); err != nil {
		t.Fatal(err)
	}
	<-s.closed
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.unused) != 0 || d.sweep != nil {
		t.Errorf("%d connections are kept, and somebody looks for old ones: %t", len(d.unused), d.sweep != nil)
	}
}

func TestDirect_RenewedItUsesNoConnectionOfBefore(t *testing.T) {
	s := openWordShop(t, hello)
	d := directTo(t)
	if _, _, err := s.get(t, d, "GET"); err != nil {
		t.Fatal(err)
	}
	busy, err := d.RoundTrip(s.request(t, t.Context(), "GET"))
	if err != nil {
		t.Fatal(err)
	}
	d.renew()
	io.Copy(io.Discard, busy.Body)
	busy.Body.Close()
	<-s.closed
	<-s.asked
	if _, conn, err := s.get(t, d, "GET"); conn != 2 || err != nil {
		t.Errorf("travelled by connection %d, %v, want a new one", conn, err)
	}
}

func TestDirect_ManyAtOnceGetEachTheirOwn(t *testing.T) {
	s := openWordShop(t, func(a asked) string {
		mine := a.request.Header.Get("Mine")
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(mine), mine)
	})
	go func() {
		for {
			select {
			case <-s.asked:
			case <-s.closed:
			case <-t.Context().Done():
				return
			}
		}
	}()
	d := directTo(t)
	var all sync.WaitGroup
	for i := range 20 {
		all.Go(func() {
			for j := range 200 {
				ctx, cancel := context.WithCancel(t.Context())
				r := s.request(t, ctx, "GET")
				mine := fmt.Sprintf("%d of %d", j, i)
				r.Header.Set("Mine", mine)
				if (i+j)%7 == 0 {
					go cancel() // at any time
				}
				res, err := d.RoundTrip(r)
				if err == nil {
					var text []byte
					text, err = io.ReadAll(res.Body)
					res.Body.Close()
					if err == nil && string(text) != mine {
						t.Errorf("got %q, want %q", text, mine)
					}
				}
				if err != nil && ctx.Err() == nil {
					t.Errorf("%s: %v", mine, err)
				}
				cancel()
			}
		})
	}
	all.Wait()
}

// What is more than the kernel takes at once goes out piece by piece, and what is
// kept for the next request does not grow with it.
func TestDirect_AHeadOfAnySizeArrives(t *testing.T) {
	s := openWordShop(t, func(a asked) string {
		text := fmt.Sprint(len(a.request.Header.Get("Big")))
		return fmt.Sprintf("HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%s", len(text), text)
	})
	d := directTo(t)
	for _, size := range []int{10, 100, 5_000, 50_000, 20 << 20, 10} {
		r := s.request(t, t.Context(), "GET")
		r.Header.Set("Big", strings.Repeat("x", size))
		res, err := d.RoundTrip(r)
		if err != nil {
			t.Fatalf("a header of %d bytes: %v", size, err)
		}
		text, err := io.ReadAll(res.Body)
		res.Body.Close()
		if err != nil || string(text) != fmt.Sprint(size) {
			t.Errorf("a header of %d bytes: got %q, %v", size, text, err)
		}
		if a := <-s.asked; a.conn != 1 {
			t.Errorf("a header of %d bytes came by connection %d, want the first", size, a.conn)
		}
	}
	if c := d.take(); c.head.Cap() > pipeBuffer {
		t.Errorf("%d bytes are kept for a head of a few", c.head.Cap())
	}
}

// An answer that takes long is waited for, and one that begins at once may go on
// slowly.
func TestDirect_AnswersMayOutlastTheCalm(t *testing.T) {
	pieces := [...]string{"HTTP/1.1 200 OK\r\nContent-", "Length: 5\r\n\r\nhe", "llo"}
	for _, at := range []int{0, 1, 2} {
		late := make(chan struct{})
		s := openWordShop(t, func(a asked) string {
			io.WriteString(a.net, strings.Join(pieces[:at], ""))
			<-late
			return strings.Join(pieces[at:], "")
		})
		d := directTo(t)
		go func() {
			time.Sleep(2 * calm)
			close(late)
		}()
		if text, _, err := s.get(t, d, "GET"); err != nil || text != "hello" {
			t.Errorf("an answer that pauses after %d pieces: got %q, %v", at, text, err)
		}
		if len(d.unused) != 1 {
			t.Errorf("an answer that pauses after %d pieces leaves %d connections, want one", at, len(d.unused))
		}
	}
}
