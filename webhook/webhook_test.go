package webhook

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
)

// receiver is an HTTP server whose connections are pipes, so that it lives by
// the clock of a synctest bubble.
type receiver struct {
	conns chan net.Conn
	ended chan struct{}

	mu       sync.Mutex
	answers  []int // for the next requests; then 204
	got      []Event
	requests []*http.Request
	bodies   [][]byte
}

func newReceiver(t *testing.T, answers ...int) *receiver {
	r := &receiver{conns: make(chan net.Conn), ended: make(chan struct{}), answers: answers}
	server := &http.Server{Handler: r}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(r) }()
	t.Cleanup(func() { server.Close(); <-served })
	return r
}

func (r *receiver) Accept() (net.Conn, error) {
	select {
	case c := <-r.conns:
		return c, nil
	case <-r.ended:
		return nil, net.ErrClosed
	}
}
func (r *receiver) Close() error {
	select {
	case <-r.ended:
	default:
		close(r.ended)
	}
	return nil
}
func (r *receiver) Addr() net.Addr { return &net.TCPAddr{IP: net.IPv4(192, 0, 2, 1), Port: 443} }

func (r *receiver) client(t *testing.T) *http.Client {
	transport := &http.Transport{DialContext: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		select {
		case r.conns <- there:
			return here, nil
		case <-r.ended:
			return nil, errors.New("connection refused")
		}
	}}
	t.Cleanup(transport.CloseIdleConnections)
	return &http.Client{Transport: transport, Timeout: answerTime}
}

func (r *receiver) ServeHTTP(w http.ResponseWriter, q *http.Request) {
	body, _ := io.ReadAll(q.Body)
	r.mu.Lock()
	defer r.mu.Unlock()
	status := http.StatusNoContent
	if len(r.answers) > 0 {
		status, r.answers = r.answers[0], r.answers[1:]
	}
	r.requests, r.bodies = append(r.requests, q), append(r.bodies, body)
	var e Event
	if err := json.Unmarshal(body, &e); err == nil && status/100 == 2 {
		r.got = append(r.got, e)
	}
	w.WriteHeader(status)
}

func (r *receiver) kinds() (kinds []Kind) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, e := range r.got {
		kinds = append(kinds, e.Type)
	}
	return kinds
}

// table is a board that gateways of one process share.
type table struct {
	mu     sync.Mutex
	text   []byte
	holder string
	until  time.Time
	away   bool
}

type seat struct {
	*table
	gateway string
}

var errAway = errors.New("the board is away")

func (s seat) Hold(context.Context) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return false, errAway
	}
	if s.holder != s.gateway && s.holder != "" && time.Now().Before(s.until) {
		return false, nil
	}
	s.holder, s.until = s.gateway, time.Now().Add(5*time.Second)
	return true, nil
}

func (s seat) Read(context.Context) ([]byte, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.text, nil
}

func (s seat) Write(_ context.Context, text []byte) (bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away {
		return false, errAway
	}
	if s.holder != s.gateway {
		return false, nil
	}
	s.text = text
	return true, nil
}

func (s seat) Free(context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.holder == s.gateway {
		s.holder = ""
	}
	return nil
}

// line is what all gateways of a test read.
type line struct {
	mu   sync.Mutex
	mode admission.Mode
}

func (l *line) set(m admission.Mode) { l.mu.Lock(); l.mode = m; l.mu.Unlock() }

func (l *line) read() []Line {
	l.mu.Lock()
	defer l.mu.Unlock()
	read := Line{Activity: Activity{ID: 7, Tenant: "demo", Name: "Spring drop"}}
	read.Head.Now, read.Head.Limits.Mode = admission.InstantOf(time.Now()), l.mode
	return []Line{read}
}

// gateway is one that tells, until it is ended.
type gateway struct {
	*Webhooks
	end     func()
	metrics *prometheus.Registry
}

// count is the value of a metric, of that label's value if one is given.
func (g gateway) count(t *testing.T, name, label string) float64 {
	t.Helper()
	families, err := g.metrics.Gather()
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range families {
		for _, m := range f.GetMetric() {
			if f.GetName() == name && (label == "" || m.GetLabel()[0].GetValue() == label) {
				return m.GetCounter().GetValue() + m.GetGauge().GetValue()
			}
		}
	}
	t.Fatalf("there is no %s of %q", name, label)
	return 0
}

const (
	pendingMetric = "ropeline_webhook_pending"
	resultMetric  = "ropeline_webhook_deliveries_total"
)

func open(t *testing.T, b Board, l *line, r *receiver, hooks ...Hook) gateway {
	metrics := prometheus.NewRegistry()
	w := New(b, l.read, zap.NewNop(), metrics)
	w.open, w.inner = r.client(t), r.client(t)
	w.Set(hooks)
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); _ = w.Run(ctx) }()
	end := func() { cancel(); <-ended }
	t.Cleanup(end)
	return gateway{w, end, metrics}
}

// pass lets time go by, and all that happens in it.
func pass(d time.Duration) { time.Sleep(d); synctest.Wait() }

var hook = Hook{URL: "http://hooks.example.com/", Secret: "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}

func TestWebhooks_TellAReceiverThatFailsAtTimesOfAllInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := &line{mode: admission.ModeAuto}, newReceiver(t, 500, 302, 204, 429)
		g := open(t, seat{&table{}, "a"}, l, r, hook)
		pass(2 * time.Second)
		for _, m := range []admission.Mode{admission.ModeHold, admission.ModeAuto, admission.ModeHold} {
			l.set(m)
			pass(2 * time.Second)
		}
		pass(time.Minute)
		if got, want := r.kinds(), []Kind{LinePaused, LineResumed, LinePaused}; !slices.Equal(got, want) {
			t.Errorf("told %v, want %v", got, want)
		}
		if got := g.count(t, resultMetric, "failed"); got != 3 {
			t.Errorf("counted %v failures, want 3", got)
		}
		if got := g.count(t, pendingMetric, ""); got != 0 {
			t.Errorf("%v events are pending, want none", got)
		}
	})
}

func TestWebhooks_ASignatureCanBeChecked(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := &line{mode: admission.ModeAuto}, newReceiver(t)
		open(t, seat{&table{}, "a"}, l, r, hook)
		pass(2 * time.Second)
		l.set(admission.ModeHold)
		pass(2 * time.Second)
		r.mu.Lock()
		defer r.mu.Unlock()
		if len(r.requests) != 1 {
			t.Fatalf("%d requests, want 1", len(r.requests))
		}
		h := r.requests[0].Header
		at, err := strconv.ParseInt(h.Get("Webhook-Timestamp"), 10, 64)
		if err != nil || time.Since(time.Unix(at, 0)) > time.Minute {
			t.Errorf("the time is %q", h.Get("Webhook-Timestamp"))
		}
		if h.Get("Webhook-Id") != r.got[0].ID {
			t.Errorf("the id is %q in the header and %q in the body", h.Get("Webhook-Id"), r.got[0].ID)
		}
		key, err := Key(hook.Secret)
		if err != nil {
			t.Fatal(err)
		}
		if want := Sign(key, r.got[0].ID, time.Unix(at, 0), r.bodies[0]); h.Get("Webhook-Signature") != want {
			t.Errorf("signed %q, want %q", h.Get("Webhook-Signature"), want)
		}
	})
}

// The example of the Standard Webhooks specification's own libraries.
func TestSign_IsThatOfStandardWebhooks(t *testing.T) {
	key, err := Key("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
	if err != nil {
		t.Fatal(err)
	}
	got := Sign(key, "msg_p5jXN8AQM9LWM0D4loKWxJek", time.Unix(1614265330, 0), []byte(`{"test": 2432232314}`))
	if want := "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func TestWebhooks_OfManyGatewaysOneTells(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r, shared := &line{mode: admission.ModeAuto}, newReceiver(t), &table{}
		for _, name := range []string{"a", "b", "c"} {
			open(t, seat{shared, name}, l, r, hook)
		}
		pass(2 * time.Second)
		l.set(admission.ModeHold)
		pass(time.Minute)
		if got := r.kinds(); !slices.Equal(got, []Kind{LinePaused}) {
			t.Errorf("told %v, want one pause", got)
		}
	})
}

func TestWebhooks_AnotherGatewayGoesOnByTheSameID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, shared := &line{mode: admission.ModeAuto}, &table{}
		deaf := newReceiver(t)
		deaf.answers = slices.Repeat([]int{503}, 1000)
		first := open(t, seat{shared, "a"}, l, deaf, hook)
		pass(2 * time.Second)
		l.set(admission.ModeHold)
		pass(10 * time.Second)
		deaf.mu.Lock()
		id := deaf.requests[0].Header.Get("Webhook-Id")
		deaf.mu.Unlock()
		first.end()
		well := newReceiver(t)
		open(t, seat{shared, "b"}, l, well, hook)
		pass(10 * time.Second)
		if len(well.got) != 1 || well.got[0].ID != id {
			t.Errorf("the next gateway told %+v, want %s", well.got, id)
		}
	})
}

func TestWebhooks_LoseNothingWhileTheBoardIsAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r, shared := &line{mode: admission.ModeAuto}, newReceiver(t), &table{}
		open(t, seat{shared, "a"}, l, r, hook)
		pass(2 * time.Second)
		shared.mu.Lock()
		shared.away = true
		shared.mu.Unlock()
		l.set(admission.ModeHold)
		pass(time.Minute)
		if got := r.kinds(); len(got) != 0 {
			t.Fatalf("told %v, which is written nowhere", got)
		}
		shared.mu.Lock()
		shared.away = false
		shared.mu.Unlock()
		pass(10 * time.Second)
		if got := r.kinds(); !slices.Equal(got, []Kind{LinePaused}) {
			t.Errorf("told %v, want one pause", got)
		}
	})
}

func TestWebhooks_TellEachHookWhatItWants(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := &line{mode: admission.ModeAuto}, newReceiver(t)
		wants := func(path string, h Hook) Hook { h.URL = "http://hooks.example.com/" + path; return h }
		open(t, seat{&table{}, "a"}, l, r,
			wants("all", Hook{}), wants("resumed", Hook{Events: []Kind{LineResumed}}), wants("other", Hook{Activities: []int64{8}}))
		pass(2 * time.Second)
		l.set(admission.ModeHold)
		pass(2 * time.Second)
		l.set(admission.ModeAuto)
		pass(2 * time.Second)
		var got []string
		for i, q := range r.requests {
			got = append(got, q.URL.Path+" "+string(r.got[i].Type))
		}
		slices.Sort(got)
		if want := []string{"/all line.paused", "/all line.resumed", "/resumed line.resumed"}; !slices.Equal(got, want) {
			t.Errorf("told %q, want %q", got, want)
		}
	})
}

func TestWebhooks_GiveUpWhatIsGoneOrOld(t *testing.T) {
	for name, status := range map[string]int{"gone": 410, "old": 500} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l, r := &line{mode: admission.ModeAuto}, newReceiver(t)
				r.answers = slices.Repeat([]int{status}, 10_000)
				g := open(t, seat{&table{}, "a"}, l, r, hook)
				pass(2 * time.Second)
				l.set(admission.ModeHold)
				pass(25 * time.Hour)
				if got := g.count(t, resultMetric, "dropped"); got != 1 {
					t.Errorf("counted %v dropped, want 1", got)
				}
				if got := g.count(t, pendingMetric, ""); got != 0 {
					t.Errorf("%v are pending, want none", got)
				}
				// After the first half hour, every few minutes at most.
				if n := len(r.requests); status == 500 && (n < 200 || n > 700) {
					t.Errorf("%d tries in a day", n)
				}
			})
		})
	}
}

func TestWebhooks_CountWhatIsTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, r := &line{mode: admission.ModeAuto}, newReceiver(t)
		r.answers = slices.Repeat([]int{500}, 100_000)
		g := open(t, seat{&table{}, "a"}, l, r, hook)
		pass(2500 * time.Millisecond)
		for i := range mostPending + 10 {
			l.set([]admission.Mode{admission.ModeHold, admission.ModeAuto}[i%2])
			pass(time.Second)
		}
		if got := g.count(t, resultMetric, "dropped"); got != 10 {
			t.Errorf("counted %v dropped, want 10", got)
		}
		if got := g.count(t, pendingMetric, ""); got != mostPending {
			t.Errorf("%v are pending, want %d", got, mostPending)
		}
	})
}

func TestFile_KeepsWhatWasWritten(t *testing.T) {
	f := File(t.TempDir() + "/ropeline.db.webhooks")
	if text, err := f.Read(t.Context()); text != nil || err != nil {
		t.Fatalf("got %q, %v of a file that is not there", text, err)
	}
	for _, text := range []string{"a", "longer"} {
		if ok, err := f.Write(t.Context(), []byte(text)); !ok || err != nil {
			t.Fatalf("write: %v, %v", ok, err)
		}
		if got, err := f.Read(t.Context()); string(got) != text || err != nil {
			t.Errorf("got %q, %v, want %q", got, err, text)
		}
	}
}

func TestPublic_RefusesWhatIsNotOnTheInternet(t *testing.T) {
	for address, ok := range map[string]bool{
		"93.184.216.34:443": true, "[2606:2800:220:1::1]:443": true,
		"127.0.0.1:80": false, "10.1.2.3:443": false, "172.16.0.1:443": false, "192.168.1.1:443": false,
		"169.254.169.254:80": false, "100.64.0.1:80": false, "0.0.0.0:80": false, "224.0.0.1:80": false, "255.255.255.255:80": false,
		"[::1]:80": false, "[fe80::1]:80": false, "[fd00::1]:80": false, "[::ffff:127.0.0.1]:80": false, "[64:ff9b::7f00:1]:80": false,
		"[2002:7f00:1::]:80": false, "[::]:80": false, "no address": false,
	} {
		if err := public(address); (err == nil) != ok {
			t.Errorf("%s: %v", address, err)
		}
	}
}

// TestCaller_CallsNothingPrivateUnlessItMay has a receiver on loopback, by name.
func TestCaller_CallsNothingPrivateUnlessItMay(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	calls := make(chan string, 8)
	server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		calls <- r.URL.Path
		http.Redirect(w, r, "/elsewhere", http.StatusTemporaryRedirect)
	})}
	served := make(chan struct{})
	go func() { defer close(served); _ = server.Serve(l) }()
	t.Cleanup(func() { server.Close(); <-served })
	_, port, _ := net.SplitHostPort(l.Addr().String())
	h := Hook{URL: "http://localhost:" + port + "/secret"}
	err = send(t.Context(), caller(false), h, Event{ID: "evt_1"}, noon)
	if err == nil || !strings.Contains(err.Error(), "private") || strings.Contains(err.Error(), "/secret") {
		t.Errorf("a private address: got %v, want a refusal that does not tell the address", err)
	}
	client := caller(true)
	defer client.CloseIdleConnections()
	if err := send(t.Context(), client, h, Event{ID: "evt_1"}, noon); err == nil || !strings.Contains(err.Error(), "307") {
		t.Errorf("a redirect: got %v, want that it was not followed", err)
	}
	close(calls)
	for path := range calls {
		if path != "/secret" {
			t.Errorf("%s was called", path)
		}
	}
	if n := bytes.Count([]byte(h.host()), []byte("secret")); n != 0 {
		t.Errorf("logs would tell %s", h.host())
	}
}
