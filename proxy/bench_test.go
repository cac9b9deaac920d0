package proxy

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/visitor"
)

func BenchmarkFind(b *testing.B) {
	table := gatedTable(b)
	for _, c := range []struct{ name, target string }{
		{"plain", "/drop/item/42"},
		{"escaped", "/gr%C3%B6%C3%9Fe/XL"},
		{"hostile", "/" + strings.Repeat(`..%2f;%5c%252e%252e%ef%bc%8f//`, 60)},
	} {
		b.Run(c.name, func(b *testing.B) {
			u, err := url.ParseRequestURI(c.target)
			if err != nil {
				b.Fatal(err)
			}
			b.ReportAllocs()
			for b.Loop() {
				table.find("shop.test", u)
			}
		})
	}
}

// Side by side in one run: what an admitted visitor's request costs through
// the gateway, and through the least proxy that could be put in its place.
// Both ask the same shop over as many connections.
func BenchmarkGate(b *testing.B) {
	answer := strings.Repeat("x", 2048)
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.WriteString(w, answer)
	}))
	b.Cleanup(shop.Close)

	b.Run("bare", func(b *testing.B) {
		target := mustURL(b, shop.URL)
		bare := httptest.NewServer(&httputil.ReverseProxy{
			Rewrite: func(r *httputil.ProxyRequest) {
				r.SetURL(&target)
				r.Out.Host = r.In.Host
				r.SetXForwarded()
			},
			Transport: &http.Transport{
				DialContext:           (&net.Dialer{Timeout: 5 * time.Second}).DialContext,
				MaxIdleConnsPerHost:   idleConns,
				ResponseHeaderTimeout: 30 * time.Second,
				IdleConnTimeout:       90 * time.Second,
				DisableCompression:    true,
			},
			BufferPool: &copyBuffers{},
		})
		b.Cleanup(bare.Close)
		askOverAndOver(b, strings.TrimPrefix(bare.URL, "http://"), "theme=dark; cart=1")
	})
	b.Run("gate", func(b *testing.B) {
		g := open(b, shop.URL)
		askOverAndOver(b, g.addr, "theme=dark; cart=1; "+admitted(b, g))
	})
	b.Run("held", func(b *testing.B) {
		g := open(b, shop.URL)
		admitted(b, g)
		askOverAndOver(b, g.addr, "theme=dark; "+held(b, g))
	})
}

// admitted lets one visitor in and returns the cookie that shows it.
func admitted(t testing.TB, g *gateway) string {
	t.Helper()
	res, _ := g.ask(http.DefaultClient, "GET", "/drop", "", navigation)
	if res.StatusCode != 200 || len(res.Cookies()) == 0 {
		t.Fatalf("the first visitor got %d and %d cookies, want to be admitted", res.StatusCode, len(res.Cookies()))
	}
	for _, c := range res.Cookies() {
		if c.Name == "ropeline-admission-123" {
			return c.Name + "=" + c.Value
		}
	}
	t.Fatal("the first visitor got no admission cookie")
	return ""
}

// held puts one visitor into the line and returns the cookie of the place.
func held(t testing.TB, g *gateway) string {
	t.Helper()
	res, _ := g.ask(http.DefaultClient, "GET", "/drop", "")
	for _, c := range res.Cookies() {
		if c.Name == "ropeline-queue-123" {
			return c.Name + "=" + c.Value
		}
	}
	t.Fatalf("got %d without a queue cookie, want to be held", res.StatusCode)
	return ""
}

// askOverAndOver sends /drop over kept connections, each in its own loop, and
// spends as little as it can on it.
func askOverAndOver(b *testing.B, addr, cookies string) {
	request := fmt.Sprintf("GET /drop/item/42?ref=a HTTP/1.1\r\nHost: shop.test\r\nUser-Agent: Mozilla/5.0 (X11; Linux x86_64)\r\n"+
		"Accept: application/json\r\nAccept-Language: en-GB,en;q=0.7\r\nAccept-Encoding: gzip, br\r\nSec-Fetch-Mode: cors\r\n"+
		"Sec-Fetch-Dest: empty\r\nSec-Fetch-Site: same-origin\r\nCookie: %s\r\n\r\n", cookies)
	b.ReportAllocs()
	b.SetParallelism(8)
	b.RunParallel(func(pb *testing.PB) {
		conn, err := net.Dial("tcp", addr)
		if err != nil {
			b.Error(err)
			return
		}
		defer conn.Close()
		answers := bufio.NewReader(conn)
		for pb.Next() {
			io.WriteString(conn, request)
			res, err := http.ReadResponse(answers, nil)
			if err != nil {
				b.Error(err)
				return
			}
			io.Copy(io.Discard, res.Body)
			res.Body.Close()
		}
	})
}

func BenchmarkRead(b *testing.B) {
	r := httptest.NewRequestWithContext(context.Background(), "GET", "/drop", nil)
	r.Header.Set("Cookie", "theme=dark; cart=1; ropeline-admission-123="+strings.Repeat("x", 300))
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	b.ReportAllocs()
	var v visitor.Visitor
	for b.Loop() {
		v = visitor.Proxies{}.Read(r)
		v.Visit(r, 123)
	}
}
