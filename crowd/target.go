package crowd

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Target is a protected page of a gateway, as a crowd reaches it. It is safe for
// concurrent use.
type Target struct {
	page      *url.URL
	prefix    string // of the gateway's own paths
	activity  int64
	timeout   time.Duration
	networks  int
	forwarded bool
	client    func(network int) http.RoundTripper
	queue     string // the names of its cookies
	admission string
}

// TargetOptions say how a crowd reaches its target.
type TargetOptions struct {
	Prefix  string        // of the gateway's own paths; empty: /_ropeline
	Token   string        // by which the gateway's operator allows it; see Consent
	Timeout time.Duration // for an answer

	// Networks is from how many addresses visitors come. Over loopback those are
	// addresses of 127.0.0.0/8; with Forwarded they are told by X-Forwarded-For,
	// which a gateway believes of its trusted_proxies only. At most 1: all come
	// from one.
	Networks  int
	Forwarded bool

	Connections int // open at once, at most

	// Transport reaches the gateway in place of connections; nil: connections.
	Transport http.RoundTripper
}

// ErrNotAllowed says that the operator of a target has not allowed a load test.
var ErrNotAllowed = errors.New("not allowed")

// ErrUnreachable says that a target does not answer.
var ErrUnreachable = errors.New("does not answer")

// OpenTarget looks at a page without taking a place in its line, and returns it
// as a target. Unless the page is on this machine the gateway must prove that
// its operator has allowed the test: else the error is ErrNotAllowed.
func OpenTarget(ctx context.Context, address string, o TargetOptions) (*Target, error) {
	page, err := url.Parse(address)
	if err != nil || page.Host == "" || page.Scheme != "http" && page.Scheme != "https" {
		return nil, fmt.Errorf("%q is not a URL, like http://127.0.0.1:8080/drop", address)
	}
	page.Fragment = ""
	if page.Path == "" {
		page.Path = "/"
	}
	if o.Prefix == "" {
		o.Prefix = "/_ropeline"
	}
	t := &Target{page: page, prefix: o.Prefix, timeout: o.Timeout, networks: max(1, o.Networks), forwarded: o.Forwarded}
	if o.Transport != nil {
		t.client = func(int) http.RoundTripper { return o.Transport }
	} else {
		// The addresses are looked up once: what was allowed is what is reached.
		hosts, err := resolve(ctx, page)
		if err != nil {
			return nil, err
		}
		local := !hasDistant(hosts)
		if !local && t.networks > 1 && !o.Forwarded {
			return nil, errors.New("only over loopback can visitors come from several addresses by themselves: have them told by X-Forwarded-For")
		}
		t.client = dialers(hosts, local && !o.Forwarded && t.networks > 1, o.Connections)
		if !local {
			if err := t.allowed(ctx, o.Token); err != nil {
				return nil, err
			}
		}
	}
	if t.activity, err = t.protects(ctx); err != nil {
		return nil, err
	}
	t.queue, t.admission = queueCookie(t.activity), admissionCookie(t.activity)
	return t, nil
}

// Activity is the activity that protects the page.
func (t *Target) Activity() int64 { return t.activity }

// resolve looks up where a page is.
func resolve(ctx context.Context, page *url.URL) ([]netip.AddrPort, error) {
	port := page.Port()
	if port == "" {
		port = map[string]string{"http": "80", "https": "443"}[page.Scheme]
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil {
		return nil, fmt.Errorf("%q is no port", port)
	}
	found, err := net.DefaultResolver.LookupNetIP(ctx, "ip", page.Hostname())
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrUnreachable, err)
	}
	hosts := make([]netip.AddrPort, len(found))
	for i, a := range found {
		hosts[i] = netip.AddrPortFrom(a.Unmap(), uint16(number))
	}
	return hosts, nil
}

func hasDistant(hosts []netip.AddrPort) bool {
	for _, h := range hosts {
		if !h.Addr().IsLoopback() {
			return true
		}
	}
	return false
}

// dialers returns the connections of each network, made as they are needed.
// Those of a network are of its own address where spread is set.
func dialers(hosts []netip.AddrPort, spread bool, connections int) func(int) http.RoundTripper {
	var mu sync.Mutex // guards made
	made := map[int]http.RoundTripper{}
	return func(network int) http.RoundTripper {
		mu.Lock()
		defer mu.Unlock()
		if !spread {
			network = 0
		}
		if made[network] == nil {
			made[network] = transport(hosts, spread, network, connections)
		}
		return made[network]
	}
}

func transport(hosts []netip.AddrPort, spread bool, network, connections int) *http.Transport {
	idle := max(1, connections)
	dialer := net.Dialer{Timeout: 10 * time.Second}
	if spread {
		idle = 2
		dialer.LocalAddr = &net.TCPAddr{IP: net.IP(loopback(network).AsSlice())}
	}
	return &http.Transport{
		MaxIdleConnsPerHost: idle, IdleConnTimeout: 30 * time.Second, TLSHandshakeTimeout: 10 * time.Second,
		DialContext: func(ctx context.Context, kind, _ string) (c net.Conn, err error) {
			for _, h := range hosts {
				if spread && !h.Addr().Is4() {
					continue
				}
				if c, err = dialer.DialContext(ctx, kind, h.String()); err == nil {
					return c, nil
				}
			}
			if err == nil {
				err = errors.New("it has no IPv4 address, which several networks over loopback need")
			}
			return nil, err
		},
	}
}

// loopback is the address of a network over loopback: 127.1.0.0 and on, apart
// from those that servers listen on.
func loopback(network int) netip.Addr {
	return netip.AddrFrom4([4]byte{127, byte(1 + network>>16), byte(network >> 8), byte(network)})
}

// forwardedFor is the address of a network as a proxy would tell it, of those
// that benchmarks may use (RFC 2544).
func forwardedFor(network int) string {
	return netip.AddrFrom4([4]byte{198, byte(18 + network>>16&1), byte(network >> 8), byte(network)}).String()
}

// protects looks at the page as a browser does that fetches ahead, which takes
// no place, and returns the activity that holds it.
func (t *Target) protects(ctx context.Context) (int64, error) {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, t.page.String(), nil)
	if err != nil {
		return 0, err
	}
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Sec-Purpose", "prefetch")
	code, body, err := t.read(r)
	if err != nil {
		return 0, err
	}
	var s status
	if json.Unmarshal(body, &s) != nil || s.Activity == 0 {
		return 0, fmt.Errorf("%s: the answer is %d and not of a waiting room: no activity protects it, or everyone may pass", t.page, code)
	}
	return s.Activity, nil
}

// read sends a request that is no visitor's.
func (t *Target) read(r *http.Request) (code int, body []byte, err error) {
	ctx, cancel := context.WithTimeout(r.Context(), 10*time.Second)
	defer cancel()
	got, err := t.client(0).RoundTrip(r.WithContext(ctx))
	if err != nil {
		return 0, nil, fmt.Errorf("%s %w: %w", r.URL.Host, ErrUnreachable, err)
	}
	defer got.Body.Close()
	body, err = io.ReadAll(io.LimitReader(got.Body, 1<<20))
	if err != nil {
		return 0, nil, fmt.Errorf("%s %w: %w", r.URL.Host, ErrUnreachable, err)
	}
	return got.StatusCode, body, nil
}

// status is the status document, as far as a crowd asks.
type status struct {
	Activity    int64  `json:"activity"`
	State       State  `json:"state"`
	Number      int64  `json:"number"`
	Position    int64  `json:"position"`
	PollAfter   int64  `json:"poll_after_ms"`
	Lapsed      bool   `json:"lapsed"`
	Paused      bool   `json:"paused"`
	Unavailable bool   `json:"unavailable"`
	Code        string `json:"code"`

	Work challenge `json:"work"`

	UpdatedAt time.Time `json:"updated_at"`
	Claim     int64     `json:"claim_s"`
}

// line is when the line stood so, in seconds by its own clock; 0: it does not
// tell.
func (s status) line() int64 {
	if s.UpdatedAt.IsZero() {
		return 0
	}
	return max(0, s.UpdatedAt.Unix())
}

// request is one of a visitor's.
type request struct {
	kind    Kind
	visitor int64
	network int
	cookie  string
	works   bool // before it joins, where that is asked
}

// answer is what came of a request.
type answer struct {
	code      int
	state     State
	status    status // of a gateway that held it
	fault     string // why there is no answer
	cookies   []*http.Cookie
	admission *Session     // of the admission token given
	worked    *http.Cookie // shows the work that was asked for; nil: none was, or it was not done
}

// agents are what visitors browse with. They decide nothing; a shop may log
// them.
var agents = [...]string{
	"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36 ropeline-loadtest",
	"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1 ropeline-loadtest",
	"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:144.0) Gecko/20100101 Firefox/144.0 ropeline-loadtest",
}

// ask sends a request and reads its answer whole.
func (t *Target) ask(ctx context.Context, q request, buffer *bytes.Buffer) answer {
	method, address := http.MethodGet, t.page
	switch q.kind {
	case Poll:
		address = t.own("status")
	case Leave:
		method, address = http.MethodPost, t.own("leave")
	}
	if t.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, t.timeout)
		defer cancel()
	}
	r := (&http.Request{Method: method, URL: address, Header: t.headers(q), Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1}).WithContext(ctx)
	got, err := t.client(q.network).RoundTrip(r)
	if err != nil {
		return answer{fault: faultOf(err)}
	}
	defer got.Body.Close()
	buffer.Reset()
	if _, err := buffer.ReadFrom(io.LimitReader(got.Body, 16<<20)); err != nil {
		return answer{fault: faultOf(err)}
	}
	return t.answer(q.kind, got, buffer.Bytes())
}

// own is one of the gateway's addresses.
func (t *Target) own(name string) *url.URL {
	return &url.URL{Scheme: t.page.Scheme, Host: t.page.Host, Path: t.prefix + "/" + name, RawQuery: "activity=" + strconv.FormatInt(t.activity, 10)}
}

func (t *Target) headers(q request) http.Header {
	h := http.Header{
		"User-Agent":      {agents[q.visitor%int64(len(agents))]},
		"Accept-Language": {"en"},
	}
	if q.cookie != "" {
		h["Cookie"] = []string{q.cookie}
	}
	if t.forwarded {
		h["X-Forwarded-For"] = []string{forwardedFor(q.network)}
	}
	if q.kind == Poll || q.kind == Leave {
		h["Accept"] = []string{"application/json"}
		h["Sec-Fetch-Site"], h["Sec-Fetch-Mode"], h["Sec-Fetch-Dest"] = []string{"same-origin"}, []string{"cors"}, []string{"empty"}
		return h
	}
	h["Accept"] = []string{"text/html,application/xhtml+xml,*/*;q=0.8"}
	h["Sec-Fetch-Site"], h["Sec-Fetch-Mode"], h["Sec-Fetch-Dest"] = []string{"none"}, []string{"navigate"}, []string{"document"}
	return h
}

// answer reads what an answer says.
func (t *Target) answer(kind Kind, got *http.Response, body []byte) answer {
	a := answer{code: got.StatusCode, cookies: got.Cookies()}
	for _, c := range a.cookies {
		token, ok := readToken(c.Value)
		if !ok || c.MaxAge < 0 {
			continue
		}
		if strings.TrimPrefix(c.Name, hostPrefix) == t.admission {
			a.admission = token.session()
		}
	}
	document := body
	if kind != Poll && kind != Leave {
		if !held(got.Header) {
			a.state = Passed
			if got.StatusCode >= http.StatusBadRequest && a.admission == nil {
				a.state = Refused // by the shop, or by the gateway: nobody can tell
			}
			return a
		}
		if strings.HasPrefix(got.Header.Get("Content-Type"), "text/html") {
			document = embedded(body)
		}
	}
	switch err := json.Unmarshal(document, &a.status); {
	case err != nil && kind != Poll && kind != Leave: // a page of the operator's own, which may not tell
		a.state = Unread
	case err != nil, a.status.State == "":
		a.state, a.fault = Refused, fmt.Sprintf("status %d without a status document", got.StatusCode)
	default:
		a.state = a.status.State
	}
	return a
}

// held reports whether an answer stands in place of the shop's: every such
// answer, and none of a shop's, is kept from caches by all three names.
func held(h http.Header) bool {
	return h.Get("Surrogate-Control") == "no-store" && h.Get("CDN-Cache-Control") == "no-store" && h.Get("Vary") == "Cookie, Accept, Sec-Fetch-Mode, Accept-Language"
}

// embedded is the status document in a waiting page, or nothing.
func embedded(page []byte) []byte {
	_, rest, _ := bytes.Cut(page, []byte(`id="status">`))
	document, _, _ := bytes.Cut(rest, []byte("</script>"))
	return document
}

// faultOf puts an error into one of few words, which are counted.
func faultOf(err error) string {
	var timeout net.Error
	text := err.Error()
	switch {
	case errors.Is(err, context.Canceled):
		return "ended"
	case errors.Is(err, context.DeadlineExceeded), errors.As(err, &timeout) && timeout.Timeout():
		return "timeout"
	case strings.Contains(text, "connection refused"):
		return "refused"
	case strings.Contains(text, "connection reset"), strings.Contains(text, "broken pipe"):
		return "reset"
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return "cut"
	}
	return "network"
}
