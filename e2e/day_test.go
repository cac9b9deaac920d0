package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
	"github.com/ropeline/ropeline/admission/redisstore/redistest"
)

// day is the record that a crowd keeps of its day, to hold the gateway's against.
type day struct {
	api      []caller // the queue API, on each gateway
	gates    []*gateway
	admin    caller
	activity int64
	over     context.Context // the test has ended
	asking   chan struct{}   // bounds the requests under way

	joined, entered, left, bought atomic.Int64
	told                          atomic.Int64 // that all is sold, of those who still waited

	mu      sync.Mutex // guards numbers and wrongs
	numbers map[int64]string
	wrongs  []string
}

func (d *day) wrong(format string, args ...any) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.wrongs = append(d.wrongs, fmt.Sprintf(format, args...))
}

// holds notes who was given a number.
func (d *day) holds(number int64, who string) {
	d.joined.Add(1)
	d.mu.Lock()
	defer d.mu.Unlock()
	if other, twice := d.numbers[number]; twice || number < 1 {
		d.wrongs = append(d.wrongs, fmt.Sprintf("number %d was given to %s and to %s", number, other, who))
	}
	d.numbers[number] = who
}

// fromNetwork is an address of its own for each person: who comes from one network
// is limited.
func fromNetwork(i int) http.Header {
	return http.Header{"X-Forwarded-For": {fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)}}
}

func (d *day) ask(c caller, method, path, body string) (said, error) {
	d.asking <- struct{}{}
	defer func() { <-d.asking }()
	return c.ask(d.over, method, path, body)
}

// send sends a request that is no API's, and returns its status and body.
func (d *day) send(v *visitor, i int, method, path, bearer string) (answer, error) {
	d.asking <- struct{}{}
	defer func() { <-d.asking }()
	r, err := http.NewRequestWithContext(d.over, method, d.gates[rand.IntN(len(d.gates))].Public+path, nil)
	if err != nil {
		return answer{}, err
	}
	r.Header = fromNetwork(i)
	r.Header.Set("Accept", "application/json")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	if bearer != "" {
		r.Header.Set("Authorization", "Bearer "+bearer)
	}
	return v.send(r)
}

// sleep is a pause as long as the gateway says.
func (d *day) sleep(ms int64) {
	select {
	case <-d.over.Done():
	case <-time.After(time.Duration(ms) * time.Millisecond):
	}
}

// shops is what everyone does inside: looks around, buys or not, and leaves.
func (d *day) shops(v *visitor, i int, bearer string, number int64) {
	d.entered.Add(1)
	steps := []string{"/drop"}
	if i%3 == 0 {
		steps = append(steps, "/drop/buy")
		d.bought.Add(1)
	}
	for _, path := range steps {
		method := http.MethodGet
		if path == "/drop/buy" {
			method = http.MethodPost
		}
		a, err := d.send(v, i, method, path, bearer)
		if err != nil || a.Code != http.StatusOK || path == "/drop" && !strings.Contains(a.Body, fmt.Sprintf(`<b id="number">%d</b>`, number)) {
			d.wrong("visitor %d, number %d: %s got %d %.200q, %v", i, number, path, a.Code, a.Body, err)
		}
	}
	if a, err := d.send(v, i, http.MethodPost, fmt.Sprintf("/_ropeline/leave?activity=%d", d.activity), bearer); err != nil || a.Code != http.StatusOK {
		d.wrong("visitor %d: leaving got %d %.200q, %v", i, a.Code, a.Body, err)
	}
	d.left.Add(1)
}

// app is the day of someone who comes by the queue API.
func (d *day) app(i int, v *visitor) {
	api := d.api[i%len(d.api)]
	api.extra = fromNetwork(i)
	who := fmt.Sprintf("u%d", i)
	var p place
	for {
		s, err := d.ask(api, "POST", "/api/v1/queue/enter", enterBody(d.activity, who))
		switch {
		case d.over.Err() != nil:
			return
		case err == nil && s.Success && json.Unmarshal(s.Data, &p) == nil:
		case err == nil && s.Error == "ACTIVITY_NOT_ACTIVE" && strings.Contains(string(s.Details), `"before"`), err == nil && s.Error == "STORE_UNAVAILABLE":
			d.sleep(200)
			continue
		default:
			d.wrong("%s: entering got %+v, %v", who, s, err)
			return
		}
		break
	}
	d.holds(p.Seq, who)
	number := p.Seq
	for {
		d.sleep(p.PollingInterval)
		api = d.api[rand.IntN(len(d.api))]
		api.extra = fromNetwork(i)
		s, err := d.ask(api, "GET", statusPath(d.activity, p), "")
		if d.over.Err() != nil {
			return
		}
		if err != nil || !s.Success || json.Unmarshal(s.Data, &p) != nil {
			d.wrong("%s: a poll got %+v, %v", who, s, err)
			return
		}
		switch {
		case p.Status == "expired" && p.Reason == "sold_out":
			d.told.Add(1)
			return
		case p.Status == "ready":
			d.shops(v, i, p.AdmissionToken, number)
			return
		case p.Status != "waiting" || p.Seq != number:
			d.wrong("%s: waits with number %d, and is told %+v", who, number, p)
			return
		}
	}
}

// browser is the day of someone who comes with a browser's cookies.
func (d *day) browser(i int, v *visitor) {
	var number int64
	path := "/drop"
	for {
		a, err := d.send(v, i, http.MethodGet, path, "")
		if d.over.Err() != nil {
			return
		}
		if err != nil {
			d.wrong("browser %d: %v", i, err)
			return
		}
		if path == "/drop" && a.Code == http.StatusOK {
			var now int64
			_, shown, _ := strings.Cut(a.Body, `<b id="number">`)
			if _, err := fmt.Sscanf(shown, "%d", &now); err != nil || number != 0 && now != number {
				d.wrong("browser %d, number %d: inside with %.200q", i, number, a.Body)
			}
			if number == 0 {
				d.holds(now, fmt.Sprintf("browser %d", i))
			}
			d.shops(v, i, "", now)
			return
		}
		s, err := a.status()
		if err != nil {
			d.wrong("browser %d: %v", i, err)
			return
		}
		if number == 0 && s.Number != 0 {
			number = s.Number
			d.holds(number, fmt.Sprintf("browser %d", i))
		}
		if s.Number != number {
			d.wrong("browser %d, number %d: is told %s", i, number, a.Body)
			return
		}
		if s.State == "ended" {
			d.told.Add(1)
			return
		}
		path = fmt.Sprintf("/_ropeline/status?activity=%d", d.activity)
		if s.State == "ready" || s.State == "new" || s.State == "before" && number == 0 {
			path = "/drop"
		}
		d.sleep(max(s.PollAfter, 50))
	}
}

// lineStatus is what operators are told of a line.
type lineStatus struct {
	Queue struct {
		Issued   int64 `json:"queue_seq"`
		Released int64 `json:"release_seq"`
		Length   int64 `json:"queue_length"`
		Active   int64 `json:"active_users"`
	} `json:"queue_metrics"`
}

func (d *day) stands(t *testing.T) (s lineStatus) {
	t.Helper()
	d.admin.must(t, &s, "GET", fmt.Sprintf("/api/v1/admin/activities/%d/status", d.activity), "")
	return s
}

// TestDay_InTheLife is a whole sale on two gateways, Redis and PostgreSQL: made
// by the API, started by its schedule, with 2,000 visitors by the queue API and
// 200 by cookies in one line; paused, made faster, and sold out. What the record
// says afterwards is what the crowd saw, to the visitor.
func TestDay_InTheLife(t *testing.T) {
	const apps, browsers, capacity = 2000, 200, 60
	redis, database := redistest.Single(t), postgrestest.Single(t)
	shop := openShop(t)
	yaml := fmt.Sprintf(`poll: {min: 200ms, max: 2s}
drain: {delay: 0s, grace: 10s}
log: {access: false}
trusted_proxies: [127.0.0.0/8]
store: {type: redis, redis: {addresses: [%q]}}
database: {url: %q}
%s
api: {enabled: true, prefix: "", enter_limit: ""}
upstreams: {shop: {servers: [{url: %q}]}}
routes:
  - {path: /drop, activity: {tenant: acme, sku: SPRING-1}, upstream: shop}
  - {upstream: shop}
`, redis.Addr, database.URL(database.Database(t)), operators, shop.URL)
	first, second := start(t, yaml), start(t, yaml)
	d := &day{
		gates: []*gateway{first, second}, api: []caller{{base: first.Public}, {base: second.Public}},
		admin: caller{base: first.Admin, token: operatorToken(t, first, "admin")},
		over:  t.Context(), asking: make(chan struct{}, 48), numbers: map[int64]string{},
	}
	person := newVisitor(t, first)
	if a := person.Open(t, "/drop"); a.Code != http.StatusServiceUnavailable {
		t.Fatalf("before there is such an activity its path got %d, want to be held", a.Code)
	}

	// Marketing makes it, on one gateway, without touching a file.
	begins := time.Now().Add(6 * time.Second)
	var made struct {
		ID int64 `json:"id"`
	}
	d.admin.must(t, &made, "POST", "/api/v1/admin/activities", fmt.Sprintf(`{"tenant_id":"acme","name":"Spring drop","sku":"SPRING-1",
		"initial_stock":5000,"start_at":%q,"status":"active",
		"config":{"release_rate":100,"poll_interval":300,"capacity":%d,"session":{"idle":60,"max":600}}}`, begins.UTC().Format(time.RFC3339Nano), capacity))
	d.activity = made.ID
	for _, g := range d.gates {
		eventually(t, "every gateway has the activity", func() bool {
			s, err := caller{base: g.Public}.ask(t.Context(), "POST", "/api/v1/queue/enter", enterBody(made.ID, "early"))
			return err == nil && s.Error == "ACTIVITY_NOT_ACTIVE" && strings.Contains(string(s.Details), `"before"`)
		})
	}

	var crowd sync.WaitGroup
	transport := &http.Transport{MaxIdleConnsPerHost: 64}
	defer transport.CloseIdleConnections()
	for i := range apps + browsers {
		v := newVisitor(t, d.gates[i%2])
		v.client.Transport = transport
		crowd.Go(func() {
			d.sleep(rand.Int64N(9000)) // some before the start, and all the time until after it
			if i < apps {
				v.client.Jar = nil
				d.app(i, v)
			} else {
				d.browser(i, v)
			}
		})
	}
	eventually(t, "many are in", func() bool { return d.entered.Load() > 200 })

	// The shop is slow: pause, then go on faster.
	control := fmt.Sprintf("/api/v1/admin/activities/%d/", made.ID)
	d.admin.must(t, nil, "POST", control+"pause", "")
	other := caller{base: second.Admin, token: d.admin.token}
	eventually(t, "the other gateway is paused", func() bool {
		var o struct {
			Overrides struct {
				Mode *string `json:"mode"`
			} `json:"overrides"`
		}
		other.must(t, &o, "GET", control+"overrides", "")
		return o.Overrides.Mode != nil && *o.Overrides.Mode == "hold"
	})
	eventually(t, "who was let in before has entered, or may not", func() bool { return d.stands(t).Queue.Active == 0 })
	released := d.stands(t).Queue.Released
	eventually(t, "more stand in line", func() bool { return d.joined.Load() > 1500 })
	if got := d.stands(t).Queue.Released; got != released {
		t.Errorf("%d had a turn when the line was paused, and %d a while later", released, got)
	}
	other.must(t, nil, "PUT", control+"overrides", `{"rate_per_hour":720000}`)
	other.must(t, nil, "POST", control+"resume", "")

	eventually(t, "most were in", func() bool { return d.entered.Load() > 1200 })
	d.admin.must(t, nil, "POST", control+"stock", `{"left":0}`)
	crowd.Wait()

	joined, entered := d.joined.Load(), d.entered.Load()
	t.Logf("%d joined, %d entered, %d bought, %d were told that all is sold", joined, entered, d.bought.Load(), d.told.Load())
	d.mu.Lock()
	for _, wrong := range d.wrongs[:min(len(d.wrongs), 20)] {
		t.Error(wrong)
	}
	d.mu.Unlock()
	if entered+d.told.Load() != joined || d.told.Load() == 0 {
		t.Errorf("%d joined; %d entered and %d were told that all is sold", joined, entered, d.told.Load())
	}
	if got := d.stands(t).Queue.Issued; got != joined {
		t.Errorf("%d numbers were given, and %d people hold one", got, joined)
	}

	// What the record says is what the crowd saw.
	type record struct {
		Entries    int64 `json:"entries"`
		Visitors   int64 `json:"unique_visitors"`
		Admissions int64 `json:"admissions"`
		Releases   int64 `json:"releases"`
		Left       int64 `json:"left"`
		Converted  int64 `json:"converted"`
		Wait       struct {
			Median  float64 `json:"median_s"`
			Longest float64 `json:"longest_s"`
		} `json:"wait"`
		Timeline []struct {
			Entries int64 `json:"entries"`
		} `json:"timeline"`
	}
	var got record
	want := record{Entries: joined, Visitors: joined, Admissions: entered, Left: d.left.Load(), Converted: d.bought.Load()}
	eventually(t, "the record is complete", func() bool {
		got = record{}
		d.admin.must(t, &got, "GET", control+"analytics?period=1h", "")
		return got.Entries == want.Entries && got.Visitors == want.Visitors && got.Admissions == want.Admissions &&
			got.Left == want.Left && got.Converted == want.Converted && got.Releases >= entered
	})
	if got.Wait.Longest <= 0 || got.Wait.Median > got.Wait.Longest {
		t.Errorf("waits: %+v", got.Wait)
	}
	sum := int64(0)
	for _, m := range got.Timeline {
		sum += m.Entries
	}
	if sum != joined {
		t.Errorf("the timeline has %d entries, want %d", sum, joined)
	}
	var audit struct {
		Changes []struct {
			Action string `json:"action"`
			Actor  string `json:"actor"`
		} `json:"changes"`
	}
	d.admin.must(t, &audit, "GET", fmt.Sprintf("/api/v1/admin/audit?activity_id=%d", made.ID), "")
	var actions []string
	for _, c := range audit.Changes {
		actions = append(actions, c.Action)
		if c.Actor != "admin@shop" {
			t.Errorf("%s was done by %q, want admin@shop", c.Action, c.Actor)
		}
	}
	if got, want := strings.Join(actions, " "), "activity.stock activity.resume activity.override activity.pause activity.create"; got != want {
		t.Errorf("the audit has %q, want %q", got, want)
	}
}
