package crowd

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
)

// heldAnswer is that of a gateway to a page fetched ahead.
func heldAnswer(w http.ResponseWriter) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(http.StatusServiceUnavailable)
	io.WriteString(w, `{"activity":123,"state":"new"}`)
}

// distant is a server on this machine by an address that is none of loopback.
func distant(t *testing.T, handler http.Handler) string {
	t.Helper()
	addresses, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addresses {
		network, ok := a.(*net.IPNet)
		if !ok || network.IP.IsLoopback() || network.IP.To4() == nil {
			continue
		}
		l, err := net.Listen("tcp", net.JoinHostPort(network.IP.String(), "0"))
		if err != nil {
			continue
		}
		server := httptest.NewUnstartedServer(handler)
		server.Listener.Close()
		server.Listener = l
		server.Start()
		t.Cleanup(server.Close)
		return server.URL
	}
	t.Fatal("this machine has no address but those of loopback: give it one, as with ip address add 192.0.2.1/32 dev lo")
	return ""
}

func TestTarget_IsRefusedUnlessItsOperatorAllowedIt(t *testing.T) {
	token := "a token of at least 16 bytes"
	var asked atomic.Int64 // for the page
	mux := http.NewServeMux()
	mux.Handle("/_ropeline/loadtest", Consent(func() string { return token }))
	mux.HandleFunc("/drop", func(w http.ResponseWriter, _ *http.Request) { asked.Add(1); heldAnswer(w) })
	url := distant(t, mux)

	for _, c := range []struct{ name, token string }{{"no token", ""}, {"another token", "another token of 16 bytes"}} {
		if _, err := OpenTarget(t.Context(), url+"/drop", TargetOptions{Token: c.token}); !errors.Is(err, ErrNotAllowed) {
			t.Errorf("%s: the error is %v, want ErrNotAllowed", c.name, err)
		}
	}
	if asked.Load() != 0 {
		t.Error("the page of a target was asked for that did not allow it")
	}
	target, err := OpenTarget(t.Context(), url+"/drop", TargetOptions{Token: token})
	if err != nil {
		t.Fatal(err)
	}
	if target.Activity() != 123 {
		t.Errorf("the activity is %d, want 123", target.Activity())
	}
	token = ""
	if _, err := OpenTarget(t.Context(), url+"/drop", TargetOptions{Token: "a token of at least 16 bytes"}); !errors.Is(err, ErrNotAllowed) {
		t.Errorf("a gateway without a token: the error is %v, want ErrNotAllowed", err)
	}
}

func TestTarget_OnThisMachineNeedsNoToken(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Sec-Purpose") != "prefetch" {
			t.Error("the page was asked for by someone who takes a place")
		}
		heldAnswer(w)
	}))
	defer server.Close()
	if _, err := OpenTarget(t.Context(), server.URL+"/drop", TargetOptions{}); err != nil {
		t.Fatal(err)
	}
}

func TestTarget_TellsWhatItCannotBe(t *testing.T) {
	shop := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "Hello.") }))
	defer shop.Close()
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, c := range []struct{ url, want string }{
		{"drop", "is not a URL"},
		{"ftp://127.0.0.1/", "is not a URL"},
		{shop.URL, "no activity protects it"},
		{closed.URL, ErrUnreachable.Error()},
	} {
		if _, err := OpenTarget(t.Context(), c.url, TargetOptions{}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: the error is %v, want %q", c.url, err, c.want)
		}
	}
}

func TestConsent_ProvesByTheChallengeAlone(t *testing.T) {
	handler := Consent(func() string { return "a token of at least 16 bytes" })
	for _, c := range []struct {
		method, query string
		want          int
	}{
		{"GET", "challenge=" + strings.Repeat("0a", 16), 200},
		{"GET", "challenge=" + strings.Repeat("0a", 65), 400},
		{"GET", "challenge=0a", 400},
		{"GET", "challenge=" + strings.Repeat("xy", 16), 400},
		{"GET", "", 400},
		{"POST", "challenge=" + strings.Repeat("0a", 16), 405},
	} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest(c.method, "/_ropeline/loadtest?"+c.query, nil))
		if w.Code != c.want || strings.Contains(w.Body.String(), "a token") {
			t.Errorf("%s ?%s: %d %s, want %d", c.method, c.query, w.Code, w.Body, c.want)
		}
	}
}

func TestTarget_BringsVisitorsFromSeveralAddresses(t *testing.T) {
	from := make(chan string, 8)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		host, _, _ := net.SplitHostPort(r.RemoteAddr)
		from <- host + " " + r.Header.Get("X-Forwarded-For")
		heldAnswer(w)
	}))
	defer server.Close()
	for _, c := range []struct {
		forwarded bool
		want      [2]string
	}{{false, [2]string{"127.1.0.1 ", "127.1.1.2 "}}, {true, [2]string{"127.0.0.1 198.18.0.1", "127.0.0.1 198.18.1.2"}}} {
		target, err := OpenTarget(t.Context(), server.URL+"/drop", TargetOptions{Networks: 1000, Forwarded: c.forwarded, Connections: 2})
		if err != nil {
			t.Fatal(err)
		}
		<-from
		var buffer bytes.Buffer
		for i, network := range []int{1, 258} {
			if a := target.ask(context.Background(), request{kind: Poll, visitor: 1, network: network}, &buffer); a.state != New {
				t.Fatalf("the answer is %+v", a)
			}
			if got := <-from; got != c.want[i] {
				t.Errorf("forwarded %v, network %d: it came from %q, want %q", c.forwarded, network, got, c.want[i])
			}
		}
	}
}

// token is one with these claims, signed by nobody.
func token(claims string) string {
	encode := base64.RawURLEncoding.EncodeToString
	return encode([]byte(`{"alg":"HS256"}`)) + "." + encode([]byte(claims)) + "." + encode(make([]byte, 32))
}
