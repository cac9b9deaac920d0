package proxy

import (
	"bufio"
	"compress/gzip"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/coder/websocket"

	"github.com/ropeline/ropeline/admission"
)

// The holes of an unhardened ReverseProxy, one test each.

func TestHole1_HeadersThatOnlyProxiesMaySet(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	forged := []string{
		"Forwarded", "X-Forwarded-For", "X-Forwarded-Host", "X-Forwarded-Proto", "X-Forwarded-Port", "X-Forwarded-Prefix", "X-Forwarded-Uri",
		"X-Forwarded-Server", "X-Forwarded-User", "X-Real-IP", "X-Client-IP", "True-Client-IP", "Client-IP", "X-Cluster-Client-IP", "CF-Connecting-IP",
		"Fastly-Client-IP", "X-Original-URL", "X-Original-URI", "X-Original-Host", "X-Rewrite-URL", "X-Host", "Proxy", "HTTP2-Settings",
		"X_Forwarded_For", "x_real_ip", "X.Forwarded.For", "X-Forwarded_For", "X!Forwarded!For", "Some_Name", "Ropeline-Number", "ROPELINE-ACTIVITY",
		"ropeline_number", "Ropeline.Tenant", "Ropeline-Whatever",
	}
	raw := "GET /about HTTP/1.1\nHost: shop.test\n"
	for _, name := range forged {
		raw += name + ": forged\n"
	}
	g.send(raw + "X-Requested-With: kept\nConnection: X-Forwarded-For, Ropeline-Number, close\n\n")

	last := shop.last(t)
	for name, values := range last.Header {
		if strings.Contains(strings.Join(values, ""), "forged") {
			t.Errorf("the shop gets %s as the client wrote it", name)
		}
	}
	for name, want := range map[string]string{
		"X-Forwarded-For": "127.0.0.1", "X-Forwarded-Host": "shop.test", "X-Forwarded-Proto": "http", "X-Requested-With": "kept",
	} {
		if got := last.Header.Get(name); got != want {
			t.Errorf("the shop gets %s %q, want %q", name, got, want)
		}
	}
	if got := last.Header.Get("X-Request-Id"); !madeID.MatchString(got) {
		t.Errorf("the shop gets request id %q, want one of ours", got)
	}
	if got := last.Host; got != "shop.test" {
		t.Errorf("the shop gets Host %q, want the visitor's", got)
	}
}

// madeID is what a request id of the gateway's own looks like.
var madeID = regexp.MustCompile(`^[0-9a-z]{1,13}$`)

func TestHole1_TrustedProxyIsBelieved(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) { s.proxies = []string{"127.0.0.0/8"} })
	const trace = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
	g.send("GET / HTTP/1.1\nHost: shop.test\nX-Forwarded-For: 1.1.1.1, 198.51.100.1\nX-Forwarded-Proto: https\n" +
		"X-Forwarded-Host: evil.test\nX-Real-IP: 1.1.1.1\nX-Request-ID: abc-123\ntraceparent: " + trace + "\n\n")
	last := shop.last(t)
	for name, want := range map[string]string{
		"X-Forwarded-For": "198.51.100.1", "X-Forwarded-Proto": "https", "X-Forwarded-Host": "shop.test",
		"X-Real-Ip": "", "X-Request-Id": "abc-123", "Traceparent": trace,
	} {
		if got := last.Header.Get(name); got != want {
			t.Errorf("the shop gets %s %q, want %q", name, got, want)
		}
	}
	for _, id := range []string{"a b", "a\"b", strings.Repeat("x", 65), "../x"} {
		g.send("GET / HTTP/1.1\nHost: shop.test\nX-Request-ID: " + id + "\n\n")
		if got := shop.last(t).Header.Get("X-Request-Id"); got == id || !madeID.MatchString(got) {
			t.Errorf("request id %q became %q, want one of ours", id, got)
		}
	}
}

func TestHole2_ConnectAndTraceAreRefused(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	for _, line := range []string{"CONNECT shop.test:443", "CONNECT /drop", "CONNECT /", "TRACE /", "TRACE /drop", "connect /", "trace /", "TRACK /"} {
		res, _ := g.send(line + " HTTP/1.1\nHost: shop.test\n\n")
		if res.StatusCode != 405 || res.Header.Get("Allow") == "" {
			t.Errorf("%s: got %d, want 405", line, res.StatusCode)
		}
	}
	if got := shop.hits(); got != 0 {
		t.Errorf("the shop was asked %d times", got)
	}
}

func TestHole3_OnlyWebSocketMayUpgrade(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	for _, lines := range []string{
		"Connection: Upgrade, HTTP2-Settings\nUpgrade: h2c\nHTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA\n",
		"Connection: Upgrade\nUpgrade: websocket, h2c\n",
		"Connection: Upgrade\nUpgrade: h2c\nUpgrade: websocket\n",
		"Connection: Upgrade\nUpgrade: TLS/1.0\n",
	} {
		res, _ := g.send("GET /about HTTP/1.1\nHost: shop.test\n" + lines + "\n")
		if res.StatusCode != 200 {
			t.Errorf("%q: got %d, want the plain answer", lines, res.StatusCode)
		}
		h := shop.last(t).Header
		if h.Get("Upgrade") != "" || h.Get("Http2-Settings") != "" || strings.Contains(strings.ToLower(h.Get("Connection")), "upgrade") {
			t.Errorf("%q: the shop is asked to upgrade: %v", lines, h)
		}
	}
}

func TestHole3_ShopThatUpgradesUnaskedIsBroken(t *testing.T) {
	raw := openRaw(t, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
	g := open(t, "http://"+raw)
	for _, path := range []string{"/about", "/drop"} {
		if res, _ := g.send("GET " + path + " HTTP/1.1\nHost: shop.test\nConnection: Upgrade\nUpgrade: h2c\n\n"); res.StatusCode != 502 {
			t.Errorf("%s: got %d, want 502", path, res.StatusCode)
		}
	}
}

func TestHole4_JunkHostsAreRefused(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL, func(s *setup) {
		s.limits.Mode = admission.ModeClosed
		s.table = func(s *Settings) {
			for i := range s.Routes {
				s.Routes[i].Host = "shop.test"
			}
		}
	})
	for _, c := range []struct {
		head string
		want int
	}{
		{"GET / HTTP/1.1\nHost: shop.test\n", 200},
		{"GET / HTTP/1.1\nHost: SHOP.test:8080\n", 200},
		{"GET / HTTP/1.1\nHost: shop.test.\n", 200},
		{"GET / HTTP/1.1\nHost: shop.test:80:evil\n", 400},
		{"GET / HTTP/1.1\nHost: shop.test:evil\n", 400},
		{"GET / HTTP/1.1\nHost: shop.test/evil\n", 400},
		{"GET / HTTP/1.1\nHost: user@shop.test\n", 400},
		{"GET / HTTP/1.1\nHost: \n", 400},
		{"GET / HTTP/1.1\n", 400},
		{"GET / HTTP/1.0\n", 400},
		{"GET / HTTP/1.1\nHost: shop.test\nHost: evil.test\n", 400},
		{"GET / HTTP/1.1\nHost: evil.test\n", 421},
		{"GET / HTTP/1.1\nHost: shop.test.evil.test\n", 421},
		{"GET http://shop.test/ HTTP/1.1\nHost: evil.test\n", 200}, // by RFC 9112 the target's host counts
		{"GET http://evil.test/ HTTP/1.1\nHost: shop.test\n", 421},
		{"GET http://shop.test/DROP HTTP/1.1\nHost: evil.test\n", 503},
		{"GET http://u:p@shop.test/ HTTP/1.1\nHost: shop.test\n", 400},
		{"GET http:drop HTTP/1.1\nHost: shop.test\n", 400},
		{"GET http://shop.test HTTP/1.1\nHost: shop.test\n", 200},
		{"GET drop HTTP/1.1\nHost: shop.test\n", 400},
	} {
		res, _ := g.send(c.head + "Connection: close\n\n")
		if res.StatusCode != c.want {
			t.Errorf("%q: got %d, want %d", c.head, res.StatusCode, c.want)
		}
		if c.want == 200 {
			if got := shop.last(t).Host; !strings.HasPrefix(strings.ToLower(got), "shop.test") {
				t.Errorf("%q: the shop gets Host %q", c.head, got)
			}
		}
	}
}

func TestHole5_LengthAndChunkedTogetherReachTheShopAsOneRequest(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		fmt.Fprintf(w, "%d %v %s", r.ContentLength, r.TransferEncoding, body)
	})
	g := open(t, shop.URL, func(s *setup) { s.limits.Mode = admission.ModeClosed })
	conn := g.dial()
	fmt.Fprint(conn, crlf("POST /about HTTP/1.1\nHost: shop.test\nContent-Length: 4\nTransfer-Encoding: chunked\n\n5\nhello\n0\n\nGET /drop HTTP/1.1\nHost: shop.test\n\n"))
	_, body := readAnswer(t, bufio.NewReader(conn))
	if want := "-1 [chunked] hello"; body != want {
		t.Errorf("the shop got %q, want %q", body, want)
	}
	if got := shop.hits(); got != 1 {
		t.Errorf("the shop got %d requests, want 1", got)
	}
	for _, line := range []string{"Transfer-Encoding: xchunked", "Transfer-Encoding: identity", "Content-Length: +3", "Content-Length: 3\nContent-Length: 4", "Transfer-Encoding : chunked", "X: a\x00b"} {
		if res, _ := g.send("POST /about HTTP/1.1\nHost: shop.test\n" + line + "\n\nabc"); res.StatusCode < 400 {
			t.Errorf("%q: got %d, want it refused", line, res.StatusCode)
		}
	}
	if got := shop.hits(); got != 1 {
		t.Errorf("of the malformed requests, %d reached the shop", got-1)
	}
}

func TestHole6_ExpectEndsAtTheGateway(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(w, r.Body) })
	g := open(t, shop.URL)
	conn := g.dial()
	answers := bufio.NewReader(conn)
	fmt.Fprint(conn, crlf("POST /about HTTP/1.1\nHost: shop.test\nExpect: 100-continue\nContent-Length: 5\n\n"))
	if res, err := http.ReadResponse(answers, nil); err != nil || res.StatusCode != 100 {
		t.Fatalf("got %v, %v; want 100 from the gateway", res, err)
	}
	fmt.Fprint(conn, "hello")
	if _, body := readAnswer(t, answers); body != "hello" {
		t.Errorf("got %q, want the body back", body)
	}
	if got := shop.last(t).Header["Expect"]; got != nil {
		t.Errorf("the shop gets Expect %q", got)
	}
	before := shop.hits()
	g.send("POST /about HTTP/1.1\nHost: shop.test\nExpect: y 100-continue\nContent-Length: 5\nConnection: close\n\nhello")
	if shop.hits() > before && shop.last(t).Header["Expect"] != nil {
		t.Errorf("the shop gets Expect %q", shop.last(t).Header["Expect"])
	}
}

func TestHole7_QueryStaysAsSent(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	for _, query := range []string{"a=1;b=2&c=3&%zz", "?", "a=%", "q=a+b%20c", strings.Repeat("a&", 5000), strings.TrimSuffix(strings.Repeat("&", 10010), "&")} {
		g.ask(browser(t), "GET", "/about?"+query, "")
		if got := shop.last(t).URL.RawQuery; got != query {
			t.Errorf("the shop gets %.40q (%d bytes), want %.40q (%d bytes)", got, len(got), query, len(query))
		}
	}
}

func TestHole8_CompressedAnswersPassAsTheyAre(t *testing.T) {
	const length = 1 << 20
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Encoding", "gzip")
		z := gzip.NewWriter(w)
		z.Write(make([]byte, length))
		z.Close()
	})
	g := open(t, shop.URL)
	res, body := g.ask(browser(t), "GET", "/about", "")
	if got := shop.last(t).Header["Accept-Encoding"]; got != nil {
		t.Errorf("the shop is asked for %q, which the visitor did not", got)
	}
	if res.Header.Get("Content-Encoding") != "gzip" || len(body) > length/10 {
		t.Errorf("got %d bytes of encoding %q, want the gzip as it was", len(body), res.Header.Get("Content-Encoding"))
	}
}

func TestHole9_BrokenBodiesAreTheSendersFault(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) { io.Copy(io.Discard, r.Body) })
	g := open(t, shop.URL, func(s *setup) {
		s.options.BodyIdle = 50 * time.Millisecond
		s.table = func(s *Settings) { s.BodyBytes = 1000 }
	})
	for _, c := range []struct {
		story, raw string
		want       int
	}{
		{"bare LF in a chunk", "POST /about HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n5\nhello\r\n0\r\n\r\n", 400},
		{"bad chunk size", "POST /about HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nhello\r\n0\r\n\r\n", 400},
		{"too long, as it says", "POST /about HTTP/1.1\r\nHost: s\r\nContent-Length: 1001\r\n\r\n", 413},
		{"too long, in chunks", "POST /about HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n" + strings.Repeat("x", 1001) + "\r\n0\r\n\r\n", 413},
		{"just long enough", "POST /about HTTP/1.1\r\nHost: s\r\nTransfer-Encoding: chunked\r\n\r\n3e8\r\n" + strings.Repeat("x", 1000) + "\r\n0\r\n\r\n", 200},
		{"too slow", "POST /about HTTP/1.1\r\nHost: s\r\nContent-Length: 10\r\n\r\nx", 408},
	} {
		t.Run(c.story, func(t *testing.T) {
			conn := g.dial()
			io.WriteString(conn, c.raw)
			if res, _ := readAnswer(t, bufio.NewReader(conn)); res.StatusCode != c.want {
				t.Errorf("got %d, want %d", res.StatusCode, c.want)
			}
		})
	}
	for _, reason := range []string{reasonConnect, reasonTimeout, reasonReset, reasonTLS, reasonProtocol, reasonCut} {
		if got := g.count("ropeline_upstream_errors_total", reason, "shop"); got != 0 {
			t.Errorf("the shop is blamed %v times for %s", got, reason)
		}
	}
}

func TestHole9_VisitorsWhoLeaveAreNotTheShopsFault(t *testing.T) {
	asked, left := make(chan struct{}, 2), make(chan struct{}, 2)
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- struct{}{}
		if _, err := io.Copy(io.Discard, r.Body); err == nil {
			<-r.Context().Done()
		}
		left <- struct{}{}
	})
	g := open(t, shop.URL)
	for _, raw := range []string{"GET /about HTTP/1.1\nHost: s\n\n", "POST /about HTTP/1.1\nHost: s\nContent-Length: 10\n\nx"} {
		conn := g.dial()
		fmt.Fprint(conn, crlf(raw))
		<-asked
		conn.Close()
		<-left
	}
	if err := g.stop(); err != nil { // when all requests have been counted
		t.Fatal(err)
	}
	if got := g.count("ropeline_request_duration_seconds", "gone"); got != 2 {
		t.Errorf("%v are counted as gone, want 2", got)
	}
	if got := g.count("ropeline_upstream_errors_total", reasonReset, "shop") + g.count("ropeline_upstream_errors_total", reasonProtocol, "shop"); got != 0 {
		t.Errorf("the shop is blamed %v times", got)
	}
}

// Hole 10, two views of one path, is path_test.go's; hole 11, too many
// cookies, is TestGate_ThreeThousandCookiesAreRefusedAndTakeNoPlace.

func TestHole11_ForeignCookiesPassByteForByte(t *testing.T) {
	shop := openShop(t, nil)
	g := open(t, shop.URL)
	g.send("GET /about HTTP/1.1\nHost: shop.test\nCookie: a = \"x,y\";b;ropeline-queue-123=t; __Host-ropeline-admission-9=t;  c=d\nCookie: e=f\n\n")
	if got, want := shop.last(t).Header["Cookie"], `a = "x,y";b;  c=d|e=f`; strings.Join(got, "|") != want && strings.Join(got, "; ") != `a = "x,y";b;  c=d; e=f` {
		t.Errorf("the shop gets %q, want %q", got, want)
	}
}

func TestUpstream_TrailersOfClientsAreDropped(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		fmt.Fprint(w, r.Trailer)
	})
	g := open(t, shop.URL)
	_, body := g.send("POST /about HTTP/1.1\nHost: s\nTransfer-Encoding: chunked\nTrailer: Ropeline-Number\n\n1\nx\n0\nRopeline-Number: 1\n\n")
	if want := "map[]"; body != want {
		t.Errorf("the shop gets the trailers %s, want none", body)
	}
}

func TestUpstream_CommandsNeverReachTheVisitor(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Ropeline-Command", "extend")
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Set("Trailer", "Ropeline-Command, X-Sum")
		io.WriteString(w, "the shop")
		w.Header().Set("X-Sum", "42")
		w.Header().Set(http.TrailerPrefix+"Ropeline-Command", "end")
	})
	g := open(t, shop.URL)
	for _, path := range []string{"/drop", "/about"} {
		conn := g.dial()
		fmt.Fprint(conn, crlf("GET "+path+" HTTP/1.1\nHost: s\nAccept: text/html\nConnection: close\n\n"))
		whole, err := io.ReadAll(conn)
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(whole), "Ropeline-Command") || !strings.Contains(string(whole), "X-Sum: 42") {
			t.Errorf("%s: the visitor gets %q", path, whole)
		}
	}
}

func TestUpstream_AShopEndsASession(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if strings.HasSuffix(r.URL.Path, "/thanks") {
			w.Header().Set("Ropeline-Command", "converted, end")
		}
	})
	g := open(t, shop.URL)
	b := browser(t)
	g.ask(b, "GET", "/drop", "", navigation)
	next := browser(t)
	if res, _ := g.ask(next, "GET", "/drop", ""); res.StatusCode != 503 {
		t.Fatalf("the second visitor got %d, want to wait", res.StatusCode)
	}
	// A client may say what it likes, and so may a page of no activity.
	g.ask(b, "GET", "/drop", "", navigation, "Ropeline-Command: end")
	g.ask(b, "GET", "/thanks", "", navigation)
	if res, _ := g.ask(b, "GET", "/drop", "", navigation); res.StatusCode != 200 || shop.hits() != 4 {
		t.Fatalf("got %d after no one ended the session", res.StatusCode)
	}
	at := mustURL(t, g.url)
	jar := b.Jar.Cookies(&at)
	res, _ := g.ask(b, "GET", "/drop/thanks", "", navigation)
	if res.StatusCode != 200 || len(b.Jar.Cookies(&at)) != 0 {
		t.Errorf("got %d and keeps %v, want the answer and no cookie", res.StatusCode, b.Jar.Cookies(&at))
	}
	before := shop.hits()
	var lines string
	for _, c := range jar {
		lines += c.Name + "=" + c.Value + "; "
	}
	if res, body := g.ask(http.DefaultClient, "GET", "/drop", "", "Cookie: "+lines); res.StatusCode != 503 || shop.hits() != before {
		t.Errorf("with the cookies of before got %d %s, want to wait as someone new", res.StatusCode, body)
	}
	eventually(t, "the next has the seat", func() bool {
		res, _ := g.ask(next, "GET", "/drop", "")
		return res.StatusCode == 200
	})
}

func TestUpstream_AShopThatEndsAtOnceLeavesNoTicket(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Ropeline-Command", "end") })
	g := open(t, shop.URL)
	res, _ := g.ask(http.DefaultClient, "GET", "/drop", "", navigation)
	for _, c := range res.Cookies() {
		if c.Value != "" {
			t.Errorf("the visitor gets the cookie %s of a session that is over", c.Name)
		}
	}
}

// sold is a room that remembers who bought.
type sold struct {
	Room
	to []admission.Session
}

func (s *sold) Converted(session admission.Session) { s.to = append(s.to, session) }

func TestUpstream_AShopTellsWhoBought(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path == "/drop/thanks" || r.URL.Path == "/about" {
			w.Header().Set("Ropeline-Command", "converted")
		}
	})
	var room sold
	g := open(t, shop.URL, func(s *setup) {
		s.table = func(settings *Settings) {
			room.Room = settings.Routes[1].Activity.Room
			settings.Routes[1].Activity.Room = &room
		}
	})
	b := browser(t)
	g.ask(b, "GET", "/about", "", navigation) // of no activity: it is nobody's
	g.ask(b, "GET", "/drop", "", navigation)
	if len(room.to) != 0 {
		t.Fatalf("%d visitors bought before any did", len(room.to))
	}
	g.ask(b, "GET", "/drop/thanks", "", navigation)
	g.ask(browser(t), "GET", "/drop/thanks", "", navigation, "Ropeline-Command: converted") // held
	if len(room.to) != 1 || room.to[0].Number != 1 || room.to[0].Visitor == "" {
		t.Errorf("bought: %+v, want the session of number 1 once", room.to)
	}
}

func TestUpstream_EventsPassAtOnce(t *testing.T) {
	for _, path := range []string{"/about", "/drop"} {
		next := make(chan string)
		shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Content-Type", "text/event-stream; charset=utf-8")
			http.NewResponseController(w).Flush()
			for event := range next {
				fmt.Fprintf(w, "data: %s\n\n", event)
				http.NewResponseController(w).Flush()
			}
		})
		g := open(t, shop.URL)
		res, err := http.Get(g.url + path)
		if err != nil {
			t.Fatal(err)
		}
		defer res.Body.Close()
		lines := bufio.NewScanner(res.Body)
		for _, event := range []string{"one", "two"} {
			next <- event
			lines.Scan()
			if got, want := lines.Text(), "data: "+event; got != want {
				t.Errorf("%s: got %q, want %q before the next is sent", path, got, want)
			}
			lines.Scan()
		}
		close(next)
	}
}

func TestUpstream_StreamedBodyPassesWhileItIsSent(t *testing.T) {
	got := make(chan string)
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		b := make([]byte, 1)
		for {
			if _, err := io.ReadFull(r.Body, b); err != nil {
				break
			}
			got <- string(b)
		}
	})
	g := open(t, shop.URL)
	body, sender := io.Pipe()
	done := make(chan error)
	go func() {
		res, err := http.Post(g.url+"/about", "text/plain", body)
		if err == nil {
			res.Body.Close()
		}
		done <- err
	}()
	for _, piece := range []string{"a", "b", "c"} {
		io.WriteString(sender, piece)
		if read := <-got; read != piece {
			t.Errorf("the shop got %q, want %q", read, piece)
		}
	}
	sender.Close()
	if err := <-done; err != nil {
		t.Error(err)
	}
}

// openSocket runs a shop that echoes over WebSocket.
func openSocket(t *testing.T) *shop {
	return openShop(t, func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Upgrade") == "" {
			io.WriteString(w, "the shop")
			return
		}
		c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
		if err != nil {
			return
		}
		defer c.CloseNow()
		for {
			kind, data, err := c.Read(r.Context())
			if err != nil || c.Write(r.Context(), kind, data) != nil {
				return
			}
		}
	})
}

func echo(t *testing.T, c *websocket.Conn, word string) {
	t.Helper()
	if err := c.Write(t.Context(), websocket.MessageText, []byte(word)); err != nil {
		t.Fatal(err)
	}
	if _, got, err := c.Read(t.Context()); err != nil || string(got) != word {
		t.Fatalf("got %q, %v; want %q back", got, err, word)
	}
}

func TestUpstream_WebSocketNeedsAdmission(t *testing.T) {
	shop := openSocket(t)
	g := open(t, shop.URL)
	cookie := admitted(t, g)

	if _, res, err := websocket.Dial(t.Context(), g.url+"/drop/live", nil); err == nil || res.StatusCode != 503 {
		t.Fatalf("without admission: got %v, %v; want 503", res, err)
	}
	c, _, err := websocket.Dial(t.Context(), g.url+"/drop/live", &websocket.DialOptions{HTTPHeader: http.Header{"Cookie": {cookie}}})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	echo(t, c, "hello")
	if got := shop.last(t).Header; got.Get("Cookie") != "" || got.Get("Ropeline-Number") != "1" {
		t.Errorf("the shop gets cookie %q and number %q, want none and 1", got.Get("Cookie"), got.Get("Ropeline-Number"))
	}
}

func TestUpstream_WebSocketAndStreamEndWithTheSession(t *testing.T) {
	shop := openShop(t, func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/drop/live":
			c, err := websocket.Accept(w, r, &websocket.AcceptOptions{InsecureSkipVerify: true})
			if err == nil {
				c.Read(r.Context())
				c.CloseNow()
			}
		case "/drop/events":
			w.Header().Set("Content-Type", "text/event-stream")
			io.WriteString(w, "data: hello\n\n")
			http.NewResponseController(w).Flush()
			<-r.Context().Done()
		}
	})
	// An idle time at which the room is asked every second.
	g := open(t, shop.URL, func(s *setup) {
		s.table = func(s *Settings) { s.Routes[1].Activity.Idle = time.Second }
	})
	cookie := admitted(t, g)
	header := http.Header{"Cookie": {cookie}}

	c, _, err := websocket.Dial(t.Context(), g.url+"/drop/live", &websocket.DialOptions{HTTPHeader: header})
	if err != nil {
		t.Fatal(err)
	}
	defer c.CloseNow()
	r, err := http.NewRequest("GET", g.url+"/drop/events", nil)
	if err != nil {
		t.Fatal(err)
	}
	r.Header = header
	events, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer events.Body.Close()

	_, token, _ := strings.Cut(cookie, "=")
	g.room.Leave(t.Context(), admission.Visit{AdmissionTokens: []string{token}})

	if _, _, err := c.Read(t.Context()); err == nil {
		t.Error("the WebSocket outlives its session")
	}
	if got, err := io.ReadAll(events.Body); err != nil || string(got) != "data: hello\n\n" {
		t.Errorf("the stream ends with %q, %v; want it to end in order", got, err)
	}
}

// openRaw is an upstream that answers each connection with the same bytes,
// once it was sent something, and closes it.
func openRaw(t *testing.T, answer string) (addr string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { l.Close() })
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				if _, err := http.ReadRequest(bufio.NewReader(conn)); err == nil {
					io.WriteString(conn, answer)
				}
			}()
		}
	}()
	return l.Addr().String()
}

func TestFault_OfUpstreams(t *testing.T) {
	silent, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer silent.Close()
	gone, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	gone.Close()
	selfSigned := httptest.NewTLSServer(http.NotFoundHandler())
	defer selfSigned.Close()
	selfSigned.Config.ErrorLog = log.New(io.Discard, "", 0)

	for _, c := range []struct {
		reason, url string
		want        int
	}{
		{reasonConnect, "http://" + gone.Addr().String(), 502},
		{reasonTimeout, "http://" + silent.Addr().String(), 504},
		{reasonReset, "http://" + openRaw(t, ""), 502},
		{reasonTLS, selfSigned.URL, 502},
		{reasonProtocol, "http://" + openRaw(t, "SSH-2.0-OpenSSH_9.2\r\n\r\n"), 502},
		{reasonProtocol, "http://" + openRaw(t, "HTTP/1.1 099 None\r\nContent-Length: 0\r\n\r\n"), 502},
		{reasonProtocol, "http://" + openRaw(t, "HTTP/1.1 200 OK\r\nX: "+strings.Repeat("x", maxAnswerHeader+1)+"\r\n\r\n"), 502},
	} {
		t.Run(c.reason, func(t *testing.T) {
			g := open(t, c.url, func(s *setup) {
				s.limits.Capacity, s.limits.Burst = 10, 10
				if c.reason == reasonTimeout { // the others must not run into it on a slow machine
					s.shop = func(s *UpstreamSettings) { s.Header = 50 * time.Millisecond }
				}
			})
			res, body := g.ask(browser(t), "GET", "/drop", "", navigation)
			if res.StatusCode != c.want || !strings.Contains(body, "<h1>") || !strings.Contains(body, "Your place is kept.") {
				t.Errorf("a visitor got %d %q, want %d with a page", res.StatusCode, body, c.want)
			}
			if id := res.Header.Get("X-Request-Id"); id == "" || !strings.Contains(body, id) {
				t.Errorf("the page does not name its request id %q", id)
			}
			if h := res.Header; h.Get("Cache-Control") != "no-store" || h.Get("Retry-After") == "" {
				t.Errorf("the page has the headers %v, want no-store and Retry-After", h)
			}
			res, body = g.ask(browser(t), "GET", "/about", "")
			if res.StatusCode != c.want || !strings.HasPrefix(body, `{"error":"UPSTREAM_`) || strings.Contains(body, "place") {
				t.Errorf("a program got %d %q, want %d with JSON", res.StatusCode, body, c.want)
			}
			for _, inside := range []string{"127.0.0.1", "dial", "net/http", "EOF", "timeout awaiting"} {
				if strings.Contains(body, inside) {
					t.Errorf("the answer tells %q: %q", inside, body)
				}
			}
			if got := g.count("ropeline_upstream_errors_total", c.reason, "shop"); got != 2 {
				t.Errorf("%v errors are counted as %s, want 2", got, c.reason)
			}
		})
	}
}

func TestFault_AnswerBrokenOffIsSeenToBe(t *testing.T) {
	for _, answer := range []string{
		"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf",
		"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n",
	} {
		g := open(t, "http://"+openRaw(t, answer))
		res, err := http.Get(g.url + "/about")
		if err == nil {
			_, err = io.ReadAll(res.Body)
			res.Body.Close()
		}
		if err == nil {
			t.Errorf("%q looks whole to the visitor", answer)
		}
		g.stop()
		if got := g.count("ropeline_upstream_errors_total", reasonCut, "shop"); got != 1 {
			t.Errorf("%q: %v errors are counted, want 1", answer, got)
		}
	}
}

func TestFault_PageAllowsNothingButItsStyle(t *testing.T) {
	g := open(t, openShop(t, nil).URL)
	res, body := g.ask(browser(t), "GET", "/x/..%2fdrop%00", "", navigation)
	if res.StatusCode != 400 || !strings.HasPrefix(res.Header.Get("Content-Security-Policy"), "default-src 'none'; style-src 'sha256-") {
		t.Errorf("got %d with policy %q", res.StatusCode, res.Header.Get("Content-Security-Policy"))
	}
	if strings.Contains(body, "drop") {
		t.Errorf("the page repeats the address: %q", body)
	}
	if res, body := g.ask(browser(t), "HEAD", "/%00", "", navigation); res.StatusCode != 400 || body != "" {
		t.Errorf("HEAD got %d and %q, want 400 alone", res.StatusCode, body)
	}
}

func TestUpstream_RefusesWhatIsNoServer(t *testing.T) {
	g := NewGateway(Options{})
	for _, u := range []string{"shop:80", "ftp://shop", "http://", "http://shop/path", "http://u:p@shop", "http://shop?q", "//shop"} {
		if _, err := g.Upstream(shopAt(t, u)); err == nil || strings.Contains(err.Error(), "u:p@") {
			t.Errorf("%s: got %v, want it refused without its password", u, err)
		}
	}
}
