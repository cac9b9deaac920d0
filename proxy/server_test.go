package proxy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/coder/websocket"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"

	"github.com/ropeline/ropeline/admission"
)

// journal is a log to be read by a test.
type journal struct {
	mu  sync.Mutex // guards buf
	buf bytes.Buffer
}

func (j *journal) Write(p []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.buf.Write(p)
}

func (j *journal) Sync() error { return nil }

func (j *journal) logger() *zap.Logger {
	return zap.New(zapcore.NewCore(zapcore.NewJSONEncoder(zap.NewProductionEncoderConfig()), j, zap.DebugLevel))
}

// lines returns what was logged; each line must be a JSON object.
func (j *journal) lines(t *testing.T) (all []map[string]any) {
	t.Helper()
	j.mu.Lock()
	defer j.mu.Unlock()
	for line := range bytes.Lines(j.buf.Bytes()) {
		var fields map[string]any
		if err := json.Unmarshal(line, &fields); err != nil {
			t.Fatalf("%v in log line %q", err, line)
		}
		all = append(all, fields)
	}
	return all
}

func TestServer_AccessLogTellsFactsAndNoSecrets(t *testing.T) {
	j := &journal{}
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) {
		s.options.Log, s.options.AccessLog = j.logger(), true
	})
	b := browser(t)
	g.ask(b, "GET", "/drop/x?secret=query", "", navigation, "Authorization: Bearer secret-bearer")
	g.ask(b, "GET", "/drop/x?secret=query", "", navigation, "Cookie: session=secret-cookie")
	g.send("GET /about HTTP/1.1\nHost: evil\x1b[31m\u202e.test\nX-Request-ID: forged\n\n")
	g.send("G\x7fT /%0d%0a{\"forged\":1} HTTP/1.1\nHost: shop.test\n\n")
	if err := g.stop(); err != nil {
		t.Fatal(err)
	}
	var requests []map[string]any
	for _, line := range j.lines(t) {
		if line["msg"] == "request" {
			requests = append(requests, line)
		}
	}
	if len(requests) < 2 {
		t.Fatalf("%d requests are logged, want one line each", len(requests))
	}
	for i, want := range []map[string]any{
		{"method": "GET", "host": g.addr, "path": "/drop/x", "status": 200.0, "bytes": 8.0, "decision": "admitted", "reason": "entered", "activity": 123.0, "number": 1.0, "waited_ms": 0.0, "client": "127.0.0.1", "upstream": "shop"},
		{"decision": "admitted", "reason": "admitted", "number": 1.0, "waited_ms": nil},
	} {
		for name, value := range want {
			if got := requests[i][name]; got != value {
				t.Errorf("line %d: %s is %v, want %v", i, name, got, value)
			}
		}
		for _, name := range []string{"duration_ms", "upstream_ms", "request_id"} {
			if requests[i][name] == nil {
				t.Errorf("line %d has no %s", i, name)
			}
		}
	}
	if all := j.buf.String(); strings.Contains(all, "secret") || strings.Contains(all, "eyJ") {
		t.Errorf("a secret is logged: %s", all)
	}
}

func TestServer_LimitsHeaders(t *testing.T) {
	g := open(t, openShop(t, nil).URL, func(s *setup) { s.server.HeaderBytes = 2048; s.server.HeaderTimeout = 50 * time.Millisecond })
	if res, _ := g.send("GET / HTTP/1.1\nHost: s\nX: " + strings.Repeat("x", 8192) + "\n\n"); res.StatusCode != 431 {
		t.Errorf("large headers got %d, want 431", res.StatusCode)
	}
	conn := g.dial()
	fmt.Fprint(conn, "GET / HTTP/1.1\r\nHost: s\r\nX: ")
	if _, err := conn.Read(make([]byte, 1)); err != io.EOF {
		if _, err = io.Copy(io.Discard, conn); err != nil {
			t.Errorf("slow headers end with %v, want the connection closed", err)
		}
	}
}

func TestServer_SpeaksNoHTTP2OverPlainTCP(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	conn := g.dial()
	io.WriteString(conn, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	if !strings.HasPrefix(line, "HTTP/1.1 4") && !strings.HasPrefix(line, "HTTP/1.1 5") || shop.hits() != 0 {
		t.Errorf("the preface of HTTP/2 is answered with %q, want it refused", line)
	}
}

func TestServer_SlowBodyThatNoOneReadsStillGetsItsAnswer(t *testing.T) {
	g := open(t, openShop(t, nil).URL, func(s *setup) {
		s.limits.Mode = admission.ModeClosed
		s.options.BodyIdle = 50 * time.Millisecond
	})
	res, _ := g.send("POST /drop HTTP/1.1\nHost: s\nContent-Length: 100\n\nx")
	if res.StatusCode != 503 {
		t.Errorf("got %d, want 503", res.StatusCode)
	}
}

func TestServer_BodyMayTakeLongAsLongAsItComes(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	g := open(t, shop.URL, func(s *setup) { s.options.BodyIdle = time.Second })
	body, sender := io.Pipe()
	go func() {
		for range 4 { // more than the idle time in all, less than half of it each
			io.WriteString(sender, "x")
			<-time.After(400 * time.Millisecond)
		}
		sender.Close()
	}()
	res, err := http.Post(g.url+"/about", "text/plain", body)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if got, err := io.ReadAll(res.Body); res.StatusCode != 200 || string(got) != "xxxx" {
		t.Errorf("got %d %q, %v; want the body back", res.StatusCode, got, err)
	}
}

func TestServer_DeadlineOfABodyDoesNotEndTheWaitForTheShop(t *testing.T) {
	const idle = 50 * time.Millisecond
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		select {
		case <-time.After(4 * idle): // longer than the sender of a body may pause
			io.WriteString(w, "in time")
		case <-r.Context().Done():
		}
	})
	g := open(t, shop.URL, func(s *setup) { s.options.BodyIdle = idle })
	if res, body := g.ask(browser(t), "POST", "/about", "hello"); res.StatusCode != 200 || body != "in time" {
		t.Errorf("got %d %q, want the shop's answer", res.StatusCode, body)
	}
}

func TestServer_StreamMayPauseLongerThanItsReader(t *testing.T) {
	const idle = 25 * time.Millisecond
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		for range 3 {
			io.WriteString(w, "x")
			http.NewResponseController(w).Flush()
			<-time.After(4 * idle)
		}
	})
	g := open(t, shop.URL, func(s *setup) { s.options.BodyIdle = idle })
	if _, body := g.ask(browser(t), "GET", "/about", ""); body != "xxx" {
		t.Errorf("got %q, want the whole stream", body)
	}
}

func TestServer_ReaderWhoTakesNothingIsLeft(t *testing.T) {
	ended := make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		defer close(ended)
		for piece := make([]byte, 1<<20); ; {
			if _, err := w.Write(piece); err != nil {
				return
			}
		}
	})
	g := open(t, shop.URL, func(s *setup) { s.options.BodyIdle = 50 * time.Millisecond })
	fmt.Fprint(g.dial(), "GET /about HTTP/1.1\r\nHost: s\r\n\r\n")
	<-ended // or the test never ends
}

func TestServer_DrainFinishesWhatIsUnderWay(t *testing.T) {
	asked, release := make(chan struct{}), make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/slow" {
			close(asked)
			<-release
		}
		io.WriteString(w, "done")
	})
	g := open(t, shop.URL, func(s *setup) { s.server.DrainDelay = time.Second })
	if !g.Ready() {
		t.Fatal("not ready before")
	}
	slow := make(chan string)
	go func() {
		_, body := g.send("GET /slow HTTP/1.1\nHost: s\n\n")
		slow <- body
	}()
	<-asked
	early := g.dial() // a connection that the draining server still takes

	stopped := make(chan error)
	go func() { stopped <- g.stop() }()
	for g.Ready() { // turns first
		runtime.Gosched()
	}
	fmt.Fprint(early, "GET /early HTTP/1.1\r\nHost: s\r\n\r\n")
	if res, body := readAnswer(t, bufio.NewReader(early)); body != "done" || !res.Close {
		t.Errorf("during the delay: got %q, close %v; want an answer that closes", body, res.Close)
	}
	close(release)
	if got := <-slow; got != "done" {
		t.Errorf("the request under way got %q", got)
	}
	if err := <-stopped; err != nil {
		t.Errorf("drain: %v", err)
	}
	if _, err := net.Dial("tcp", g.addr); err == nil {
		t.Error("the drained server still listens")
	}
}

func TestServer_DrainCutsWhatDoesNotEnd(t *testing.T) {
	shop := openSocket(t)
	g := open(t, shop.URL)
	c, _, err := websocket.Dial(t.Context(), g.url+"/live", nil)
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	echo(t, c, "hello")
	if err := g.stop(); err != nil {
		t.Errorf("drain: %v, want a WebSocket to be cut without one", err)
	}
	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("the WebSocket outlives the gateway")
	}
	if got := g.count("ropeline_request_duration_seconds", "tunnel"); got != 1 {
		t.Errorf("%v tunnels are counted, want 1", got)
	}
}

func TestServer_DrainTellsOfRequestsItCut(t *testing.T) {
	asked := make(chan struct{})
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		close(asked)
		<-r.Context().Done()
	})
	g := open(t, shop.URL, func(s *setup) { s.server.DrainGrace = 20 * time.Millisecond })
	fmt.Fprint(g.dial(), "GET /about HTTP/1.1\r\nHost: s\r\n\r\n")
	<-asked
	if err := g.stop(); err == nil || !strings.Contains(err.Error(), "requests were cut") {
		t.Errorf("drain: %v, want it to tell what was cut", err)
	}
}

func TestServer_ListenerThatFailsIsTold(t *testing.T) {
	g := NewGateway(Options{})
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	l.Close()
	if err := NewServer(g, ServerOptions{}).Serve(t.Context(), l); !errors.Is(err, net.ErrClosed) {
		t.Errorf("got %v, want the listener's error", err)
	}
}
