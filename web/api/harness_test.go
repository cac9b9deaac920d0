package api_test

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/visitor"
	"github.com/ropeline/ropeline/web/api"
)

// demoLimits let one visitor in at a time, as fast as they come.
func demoLimits() admission.Limits {
	return admission.Limits{
		Mode: admission.ModeAuto, Capacity: 1, RatePerHour: 100 * 3600, Burst: 50,
		Claim: 90 * time.Second, Absence: 30 * time.Second, HoldPlace: 15 * time.Minute,
		Idle: 30 * time.Second, Max: 2 * time.Minute,
	}
}

// openStore opens a store in a file of its own.
func openStore(t testing.TB) admission.Store {
	t.Helper()
	store, err := admission.OpenMemory(filepath.Join(t.TempDir(), "ropeline.db"), nil)
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(context.Background())
	stopped := make(chan error, 1)
	go func() { stopped <- store.Run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-stopped; err != nil {
			t.Error(err)
		}
	})
	return store
}

var ring = sync.OnceValue(func() *admission.Keyring {
	ring, err := admission.NewKeyring([]admission.Key{admission.NewKey()})
	if err != nil {
		panic(err)
	}
	return ring
})

// openRoom runs the room of a line until the test ends, or stop is called.
func openRoom(t testing.TB, store admission.Store, id admission.LineID, gateway string, limits admission.Limits) (r *admission.Room, stop func()) {
	t.Helper()
	return admissiontest.RunRoom(t, store, id, gateway, ring(),
		admission.Settings{Limits: limits, Poll: admission.Poll{Min: 2 * time.Second, Max: time.Minute, Budget: 2000}})
}

// client asks one handler, as the contract says.
type client struct {
	t     testing.TB
	http  http.Client
	url   string
	token string // sent as a bearer; empty: none
}

// dial serves a handler on a port of its own.
func dial(t testing.TB, h http.Handler) client {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	return client{t: t, url: server.URL, http: http.Client{Transport: documented{t, http.DefaultTransport}}}
}

// direct asks a handler without a socket, for tests whose time is not real.
type direct struct{ http.Handler }

func (d direct) RoundTrip(r *http.Request) (*http.Response, error) {
	w := httptest.NewRecorder()
	if r.Body == nil {
		r.Body = http.NoBody
	}
	r.RemoteAddr = "203.0.113.7:4711"
	d.ServeHTTP(w, r)
	return w.Result(), nil
}

func inside(t testing.TB, h http.Handler) client {
	return client{t: t, url: "http://gateway.example", http: http.Client{Transport: documented{t, direct{h}}}}
}

// as is the same client with another bearer token.
func (c client) as(token string) client { c.token = token; return c }

type answer struct {
	status int
	header http.Header
	text   string
	body   object // nil: it is not JSON
}

// at follows a path of keys, as "data.wait.known"; nil where it leads nowhere.
func (a answer) at(path string) any {
	var node any = a.body
	for key := range strings.SplitSeq(path, ".") {
		m, _ := node.(object)
		node = m[key]
	}
	return node
}

func (a answer) code() string            { s, _ := a.at("error").(string); return s }
func (a answer) field() string           { s, _ := a.at("details.field").(string); return s }
func (a answer) text1(p string) string   { s, _ := a.at(p).(string); return s }
func (a answer) number(p string) float64 { n, _ := a.at(p).(float64); return n }

// ask sends a request. A body is JSON unless a header line says otherwise.
func (c client) ask(method, path, body string, lines ...string) answer {
	c.t.Helper()
	var send io.Reader
	if body != "" {
		send = strings.NewReader(body)
	}
	r, err := http.NewRequestWithContext(context.Background(), method, c.url+path, send)
	if err != nil {
		c.t.Fatal(err)
	}
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	for _, line := range lines {
		name, value, _ := strings.Cut(line, ": ")
		if value == "" {
			r.Header.Del(name)
			continue
		}
		r.Header[name] = append(r.Header[name], value)
		if name == "Content-Type" {
			r.Header[name] = []string{value}
		}
	}
	res, err := c.http.Do(r)
	if err != nil {
		c.t.Fatal(err)
	}
	defer res.Body.Close()
	got, err := io.ReadAll(res.Body)
	if err != nil {
		c.t.Fatal(err)
	}
	a := answer{status: res.StatusCode, header: res.Header, text: string(got)}
	_ = json.NewDecoder(bytes.NewReader(got)).Decode(&a.body)
	return a
}

// until asks until an answer is as it should be.
func (c client) until(what string, is func(answer) bool, method, path string) answer {
	c.t.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for {
		a := c.ask(method, path, "")
		if is(a) {
			return a
		}
		if time.Now().After(deadline) {
			c.t.Fatalf("%s %s: not %s: %s", method, path, what, a.text)
		}
		time.Sleep(20 * time.Millisecond) // between two looks
	}
}

// queue is a queue API over one line, activity 123 of the tenant demo.
type queue struct {
	*api.Queue
	client
	room *admission.Room
}

type queueSetup struct {
	options api.QueueOptions
	limits  admission.Limits
	store   admission.Store
	gateway string
	proxies []string
}

func openQueue(t testing.TB, change ...func(*queueSetup)) *queue {
	t.Helper()
	q := makeQueue(t, change...)
	q.client = dial(t, q.handler)
	return q.queue
}

type madeQueue struct {
	*queue
	handler http.Handler
	stop    func() // the room's
}

func makeQueue(t testing.TB, change ...func(*queueSetup)) madeQueue {
	t.Helper()
	s := queueSetup{limits: demoLimits(), gateway: "g1"}
	s.options = api.QueueOptions{
		EnterLimit: func() (int64, int64) { return 0, 0 },
		Log:        zap.NewNop(),
	}
	for _, c := range change {
		c(&s)
	}
	if s.store == nil {
		s.store = openStore(t)
	}
	q := madeQueue{queue: &queue{}}
	q.room, q.stop = openRoom(t, s.store, admission.LineID{Tenant: "demo", Activity: 123}, s.gateway, s.limits)
	s.options.Lines = func(id int64) (api.Line, bool) {
		return api.Line{ID: 123, Tenant: "demo", Room: q.room}, id == 123
	}
	q.Queue = api.NewQueue(s.options)
	q.handler = behind(t, s.proxies, q.Queue)
	return q
}

// behind reads who sent each request, as the gateway does.
func behind(t testing.TB, proxies []string, next http.Handler) http.Handler {
	t.Helper()
	var networks []netip.Prefix
	for _, p := range proxies {
		networks = append(networks, netip.MustParsePrefix(p))
	}
	trusted := visitor.Trust(networks...)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		v := trusted.Read(r)
		next.ServeHTTP(w, r.WithContext(visitor.NewContext(r.Context(), &v)))
	})
}

// admin is an admin API over two activities of the file, 123 of the tenant
// demo and 7 of the tenant other, and what it makes itself.
type admin struct {
	*api.AdminAPI
	client
	activities *shelf
	record     *book
	reloads    int
	broken     error    // of the next reload
	restart    []string // the keys that wait for one after it
}

var adminSecret = []byte("the admin's secret of thirty-two bytes")

func adminVerifier(t testing.TB) *api.Verifier {
	t.Helper()
	v, err := api.NewVerifier(api.VerifierOptions{Alg: "HS256", Secret: adminSecret, Audience: "ropeline-admin", Issuer: "ropeline"})
	if err != nil {
		t.Fatal(err)
	}
	return v
}

// pass makes a token of the admin API.
func pass(t testing.TB, role api.Role, tenant string) string {
	t.Helper()
	token, err := api.SignToken(adminSecret, "ropeline", "ropeline-admin",
		api.Claims{Subject: string(role) + "-1", Role: role, TenantID: tenant}, time.Now().Add(time.Hour))
	if err != nil {
		t.Fatal(err)
	}
	return token
}

func openAdmin(t testing.TB, change ...func(*api.AdminOptions)) *admin {
	t.Helper()
	a := makeAdmin(t, change...)
	a.client = dial(t, a.AdminAPI).as(pass(t, api.Admin, ""))
	return a
}

func makeAdmin(t testing.TB, change ...func(*api.AdminOptions)) *admin {
	t.Helper()
	a := &admin{record: &book{}, activities: &shelf{t: t, store: openStore(t), system: catalog.Defaults()}}
	a.activities.file(catalog.Activity{ID: 7, TenantID: "other", Name: "Winter drop", Status: catalog.Active})
	a.activities.file(catalog.Activity{ID: 123, TenantID: "demo", Name: "Spring drop", Status: catalog.Active})
	verifier := adminVerifier(t)
	o := api.AdminOptions{
		Activities: a.activities, Record: a.record, Gateway: "g1", Log: zap.NewNop(), Identity: admission.Secret("0123456789abcdef").Identity,
		Bearer: func() *api.Verifier { return verifier },
		Reload: func(context.Context) ([]string, error) {
			if a.broken == nil {
				a.reloads++
			}
			return a.restart, a.broken
		},
	}
	for _, c := range change {
		c(&o)
	}
	a.AdminAPI = api.NewAdmin(o)
	return a
}

// shelf keeps activities in memory, each with a line of its own.
type shelf struct {
	t     testing.TB
	store admission.Store

	mu     sync.Mutex // protects the rest
	all    []api.Offered
	system catalog.System
	lastID int64
	away   error // what changes are refused with
}

func (s *shelf) file(a catalog.Activity) { s.offer(a, api.FromFile) }

func (s *shelf) offer(a catalog.Activity, source string) {
	r, _ := openRoom(s.t, s.store, admission.LineID{Tenant: a.TenantID, Activity: a.ID}, "g1", demoLimits())
	s.all = append(s.all, api.Offered{Activity: a, Source: source, Room: r, Upstreams: []string{"shop"}})
	slices.SortFunc(s.all, func(a, b api.Offered) int { return int(a.ID - b.ID) })
}

func (s *shelf) All() []api.Offered {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.all)
}

func (s *shelf) Create(_ context.Context, a catalog.Activity) (catalog.Activity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return catalog.Activity{}, s.away
	}
	if a.ID == 0 {
		s.lastID++
		a.ID = 1000 + s.lastID
	}
	for _, o := range s.all {
		if o.ID == a.ID || a.SKU != "" && o.TenantID == a.TenantID && o.SKU == a.SKU {
			return catalog.Activity{}, catalog.ErrTaken
		}
	}
	a.Version, a.CreatedAt, a.UpdatedAt = 1, time.Now().UTC(), time.Now().UTC()
	s.offer(a, api.FromAPI)
	return a, nil
}

func (s *shelf) find(id, version int64) (int, error) {
	if s.away != nil {
		return 0, s.away
	}
	i := slices.IndexFunc(s.all, func(o api.Offered) bool { return o.ID == id && o.Source == api.FromAPI })
	if i < 0 {
		return 0, catalog.ErrNotFound
	}
	if s.all[i].Version != version {
		return 0, catalog.ErrChanged
	}
	return i, nil
}

func (s *shelf) Update(_ context.Context, a catalog.Activity) (catalog.Activity, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(a.ID, a.Version)
	if err != nil {
		return catalog.Activity{}, err
	}
	a.Version++
	a.UpdatedAt = time.Now().UTC()
	s.all[i].Activity = a
	return a, nil
}

func (s *shelf) Delete(_ context.Context, id, version int64) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	i, err := s.find(id, version)
	if err == nil {
		s.all = slices.Delete(s.all, i, i+1)
	}
	return err
}

func (s *shelf) System() catalog.System {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.system
}

func (s *shelf) SetSystem(_ context.Context, system catalog.System) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.away != nil {
		return s.away
	}
	s.system = system
	return nil
}

// book keeps the record in memory.
type book struct {
	mu      sync.Mutex // protects the rest
	changes []admission.Change
	told    admission.Analytics
	asked   []admission.LineID
	away    bool
	erased  []string // tenant and hash
}

func (b *book) Erase(_ context.Context, tenant string, hash func(admission.LineID) string) (int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return 0, errors.New("connection refused by db.internal:5432")
	}
	b.erased = append(b.erased, tenant+" "+hash(admission.LineID{Tenant: "demo", Activity: 123}))
	return 2, nil
}

func (b *book) Audit(c admission.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.changes = append(b.changes, c)
}

func (b *book) last(t testing.TB) admission.Change {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.changes) == 0 {
		t.Fatal("nothing was recorded")
	}
	return b.changes[len(b.changes)-1]
}

func (b *book) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.changes)
}

func (b *book) Changes(_ context.Context, f admission.ChangeFilter, page, limit int) ([]admission.Change, int64, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.away {
		return nil, 0, errors.New("connection refused by db.internal:5432")
	}
	var chosen []admission.Change
	for _, c := range slices.Backward(b.changes) {
		if (f.Tenant == "" || f.Tenant == c.Tenant) && (f.Activity == 0 || f.Activity == c.Activity) &&
			(f.Actor == "" || f.Actor == c.Actor) && (f.Action == "" || f.Action == c.Action) &&
			(f.From.IsZero() || !c.At.Before(f.From)) && (f.To.IsZero() || c.At.Before(f.To)) {
			chosen = append(chosen, c)
		}
	}
	from := min((page-1)*limit, len(chosen))
	return chosen[from:min(from+limit, len(chosen))], int64(len(chosen)), nil
}

func (b *book) Analytics(_ context.Context, line admission.LineID, from, to time.Time) (admission.Analytics, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.asked = append(b.asked, line)
	told := b.told
	told.From, told.To = from, to
	return told, nil
}

// observed is a log, and whether an entry of it has all of these words.
func observed() (*zap.Logger, func(words ...string) bool) {
	core, logs := observer.New(zap.DebugLevel)
	return zap.New(core), func(words ...string) bool {
		for _, entry := range logs.All() {
			text := entry.Message
			for name, value := range entry.ContextMap() {
				text += fmt.Sprintf(" %s=%s", name, value)
			}
			if !slices.ContainsFunc(words, func(w string) bool { return !strings.Contains(text, w) }) {
				return true
			}
		}
		return false
	}
}

// room is the line of an activity.
func (s *shelf) room(t testing.TB, id int64) *admission.Room {
	t.Helper()
	for _, o := range s.All() {
		if o.ID == id {
			return o.Room.(*admission.Room)
		}
	}
	t.Fatalf("there is no activity %d", id)
	return nil
}
