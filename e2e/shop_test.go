package e2e

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// shop is what stands behind a gateway, and remembers what reached it.
type shop struct {
	URL string

	t       *testing.T
	address string
	server  *http.Server

	busy atomic.Bool

	mu   sync.Mutex // guards hits and more
	hits []hit
	more chan struct{} // closed: downloads go on to their end
}

// hit is one request that reached the shop.
type hit struct {
	At     time.Time
	Method string
	Path   string
	Number int64 // the visitor's, as the gateway told it; 0: it told none
	Form   url.Values
	Header http.Header
}

// openShop opens a shop that the test closes.
func openShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{t: t, address: "127.0.0.1:0", more: make(chan struct{})}
	s.Open()
	s.URL = "http://" + s.address
	t.Cleanup(s.Close)
	return s
}

// Open opens the shop, again at its old address.
func (s *shop) Open() {
	s.t.Helper()
	var listener net.Listener
	eventually(s.t, "the shop's port is free", func() (ok bool) {
		var err error
		listener, err = net.Listen("tcp", s.address)
		return err == nil
	})
	s.address = listener.Addr().String()
	s.server = &http.Server{Handler: s.handler(), ReadHeaderTimeout: patience}
	go s.server.Serve(listener) // ends with Close
}

// Close closes the shop and every connection to it.
func (s *shop) Close() { s.server.Close() }

// Continue lets downloads go on to their end.
func (s *shop) Continue() { close(s.more) }

// Busy has the shop answer everything with 503, and ask for two seconds.
func (s *shop) Busy(is bool) { s.busy.Store(is) }

// Hits returns what reached the shop so far.
func (s *shop) Hits() []hit {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]hit(nil), s.hits...)
}

// Count returns how many requests with a method and path reached the shop.
func (s *shop) Count(method, path string) int {
	n := 0
	for _, h := range s.Hits() {
		if h.Method == method && h.Path == path {
			n++
		}
	}
	return n
}

// The two parts of a download.
const (
	downloadBegin = "the first part, "
	downloadEnd   = "and the last"
)

const homePage = `<!doctype html><html lang="en"><title>Shop</title><link rel="icon" href="data:,"><h1 id="home">The shop</h1>
<form method="post" action="/drop/buy" accept-charset="utf-8">
<input name="article" value="SPRING-1"><input name="size" value="M"><input name="size" value="L">
<textarea name="note">Grüße &amp; &lt;b&gt; "quoted"
second line</textarea><button id="buy">Buy</button></form></html>`

// stayScript is all that a page of the shop needs to tell its visitors when
// their time ends.
const stayScript = `ropeline.session.watch(7, {warn: 9});`

var stayHash = func() string {
	sum := sha256.Sum256([]byte(stayScript))
	return base64.StdEncoding.EncodeToString(sum[:])
}()

func (s *shop) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, homePage)
	})
	inside := func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		activity := html.EscapeString(r.Header.Get("Ropeline-Activity"))
		fmt.Fprintf(w, `<!doctype html><html lang="en"><title>Drop</title><link rel="icon" href="data:,"><h1 id="inside">Inside with number <b id="number">%s</b></h1>
<form method="post" action="/_ropeline/leave?activity=%s&amp;to=/"><input type="hidden" name="to" value="/"><button id="leave">Leave</button></form></html>`,
			html.EscapeString(r.Header.Get("Ropeline-Number")), activity)
	}
	mux.HandleFunc("/drop", inside)
	mux.HandleFunc("/drop/", inside)
	mux.HandleFunc("/drop/stay", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		w.Header().Set("Content-Security-Policy", "default-src 'none'; script-src 'self' 'sha256-"+stayHash+"'; connect-src 'self'; img-src data:")
		fmt.Fprint(w, `<!doctype html><html lang="de-AT"><title>Stay</title><link rel="icon" href="data:,"><h1 id="inside">Inside</h1>
<script src="/_ropeline/client.js"></script><script>`+stayScript+`</script></html>`)
	})
	// What a shop says that was never meant to stand behind a cache.
	kept := func(w http.ResponseWriter, r *http.Request) {
		number := r.Header.Get("Ropeline-Number")
		for name, value := range map[string]string{
			"Cache-Control": "public, max-age=600, s-maxage=600", "Surrogate-Control": "max-age=600", "CDN-Cache-Control": "max-age=600",
			"X-Accel-Expires": "600", "Expires": time.Now().Add(time.Hour).UTC().Format(http.TimeFormat),
		} {
			w.Header().Set(name, value)
		}
		if r.URL.Query().Has("cookie") {
			http.SetCookie(w, &http.Cookie{Name: "cart", Value: "of-" + number, Path: "/"})
		}
		fmt.Fprintf(w, "the cart of %s", number)
	}
	mux.HandleFunc("/kept", kept)
	mux.HandleFunc("/drop/kept", kept)
	mux.HandleFunc("POST /drop/buy", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Ropeline-Command", "converted")
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		fmt.Fprint(w, `<!doctype html><html lang="en"><title>Bought</title><link rel="icon" href="data:,"><h1 id="bought">Thank you</h1></html>`)
	})
	download := func(w http.ResponseWriter, r *http.Request) {
		fmt.Fprint(w, downloadBegin)
		if err := http.NewResponseController(w).Flush(); err != nil {
			return // the reader left
		}
		select {
		case <-s.more:
			fmt.Fprint(w, downloadEnd)
		case <-r.Context().Done():
		}
	}
	mux.HandleFunc("/download", download)
	mux.HandleFunc("/drop/download", download)
	mux.HandleFunc("/socket", func(w http.ResponseWriter, _ *http.Request) {
		conn, stream, err := http.NewResponseController(w).Hijack()
		if err != nil {
			return // no connection of HTTP/1.1
		}
		defer conn.Close()
		fmt.Fprint(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
		_, _ = io.Copy(conn, stream) // what comes goes back, until one side ends it
	})
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		number, _ := strconv.ParseInt(r.Header.Get("Ropeline-Number"), 10, 64) // none: 0
		h := hit{At: time.Now(), Method: r.Method, Path: r.URL.Path, Number: number, Header: r.Header}
		if r.Method == http.MethodPost {
			if err := r.ParseForm(); err == nil {
				h.Form = r.PostForm
			}
		}
		s.mu.Lock()
		s.hits = append(s.hits, h)
		s.mu.Unlock()
		if s.busy.Load() {
			w.Header().Set("Retry-After", "2")
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		mux.ServeHTTP(w, r)
	})
}
