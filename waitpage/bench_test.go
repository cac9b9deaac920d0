package waitpage_test

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/admission"
)

// BenchmarkHold_Page is one visitor of a stampede.
func BenchmarkHold_Page(b *testing.B) {
	page, s := named("Spring drop", 0), admission.Verdict{Status: waiting()}
	r := navigation("GET", "/drop", nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		page.Hold(w, r, s)
	}
}

// BenchmarkHold_PageCompressed is the same, as every browser asks for it.
func BenchmarkHold_PageCompressed(b *testing.B) {
	page, s := named("Spring drop", 0), admission.Verdict{Status: waiting()}
	r := navigation("GET", "/drop", nil)
	r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	r.Header.Set("Accept-Language", "de-AT,de;q=0.9,en;q=0.8")
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		page.Hold(w, r, s)
	}
}

func BenchmarkHold_JSON(b *testing.B) {
	page, s := named("Spring drop", 0), admission.Verdict{Status: waiting()}
	r := httptest.NewRequest("GET", "/drop", nil)
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		page.Hold(w, r, s)
	}
}

// benchmarkPoll is a poll of a visitor in line, the room's part included.
func benchmarkPoll(b *testing.B, query string) {
	server, _ := gateway(b, oneInside())
	ask(b, browser(b), "GET", server.URL+"/drop", "")
	c := browser(b)
	ask(b, c, "GET", server.URL+"/drop", "")
	u, _ := url.Parse(server.URL)
	r := httptest.NewRequest("GET", prefix+"/status?"+query, nil)
	for _, cookie := range c.Jar.Cookies(u) {
		r.AddCookie(cookie)
	}
	w := &discard{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		clear(w.header)
		server.Config.Handler.ServeHTTP(w, r)
	}
	if w.code != 200 {
		b.Fatalf("got %d", w.code)
	}
}

func BenchmarkStatus_Poll(b *testing.B)        { benchmarkPoll(b, "activity=123") }
func BenchmarkStatus_PollInWords(b *testing.B) { benchmarkPoll(b, "activity=123&words=en") }

// discard is the cheapest http.ResponseWriter, so that a benchmark counts the
// handler alone.
type discard struct {
	header http.Header
	code   int
}

func (d *discard) Header() http.Header         { return d.header }
func (d *discard) Write(b []byte) (int, error) { return len(b), nil }
func (d *discard) WriteHeader(code int)        { d.code = code }

// BenchmarkServer_Constant is what BenchmarkServer_Poll is measured against: a
// constant answer of net/http, about as long.
func BenchmarkServer_Constant(b *testing.B) {
	body := []byte(strings.Repeat("x", 280))
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.Write(body)
	}))
	b.Cleanup(server.Close)
	overHTTP(b, server, nil)
}

// BenchmarkServer_Poll is a visitor in line who polls.
func BenchmarkServer_Poll(b *testing.B) {
	server, _ := gateway(b, oneInside())
	ask(b, browser(b), "GET", server.URL+"/drop", "")
	c := browser(b)
	ask(b, c, "GET", server.URL+"/drop", "")
	overHTTP(b, server, c.Jar)
}

// overHTTP asks for the status over kept connections, with as little client as
// can be.
func overHTTP(b *testing.B, server *httptest.Server, jar http.CookieJar) {
	r := httptest.NewRequest("GET", server.URL+prefix+"/status?activity=123", nil)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
	if jar != nil {
		u, _ := url.Parse(server.URL)
		for _, cookie := range jar.Cookies(u) {
			r.AddCookie(cookie)
		}
	}
	var request strings.Builder
	if err := r.Write(&request); err != nil {
		b.Fatal(err)
	}
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", server.Listener.Addr().String())
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for pb.Next() {
			io.WriteString(conn, request.String())
			answer, err := http.ReadResponse(answers, nil)
			if err != nil || answer.StatusCode != 200 {
				b.Errorf("got %v, %v", answer, err)
				return
			}
			io.Copy(io.Discard, answer.Body)
		}
	})
}

// BenchmarkEvents_Memory opens event streams over TCP and tells what one keeps
// in memory: heap and stacks of the server, and those of a client that is no
// more than a socket, in one process.
func BenchmarkEvents_Memory(b *testing.B) {
	const streams = 2000
	server, _, page := gatewayWithPage(b, oneInside())
	page.AllowStreams(streams)
	ask(b, browser(b), "GET", server.URL+"/drop", "")
	c := browser(b)
	ask(b, c, "GET", server.URL+"/drop", "")
	u, _ := url.Parse(server.URL)
	r := httptest.NewRequest("GET", server.URL+prefix+"/events?activity=123", nil)
	r.Header.Set("User-Agent", "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36")
	for _, cookie := range c.Jar.Cookies(u) {
		r.AddCookie(cookie)
	}
	var request strings.Builder
	if err := r.Write(&request); err != nil {
		b.Fatal(err)
	}
	held := func() uint64 {
		runtime.GC()
		runtime.GC() // pools give up what they hold at the second
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc + m.StackInuse
	}
	for b.Loop() {
		before := held()
		conns := make([]net.Conn, streams)
		for i := range conns {
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				b.Fatal(err)
			}
			conns[i] = conn
			io.WriteString(conn, request.String())
			if _, err := conn.Read(make([]byte, 512)); err != nil {
				b.Fatal(err)
			}
		}
		if got := page.Streams(); got != streams {
			b.Fatalf("%d streams are open, want %d", got, streams)
		}
		b.ReportMetric(float64(held()-before)/streams, "B/stream")
		for _, conn := range conns {
			conn.Close()
		}
		for page.Streams() > 0 {
			runtime.Gosched()
		}
	}
}
