//go:build linux

package postgres_test

import (
	"cmp"
	"fmt"
	"maps"
	"math/rand/v2"
	"reflect"
	"slices"
	"testing"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/postgres/postgrestest"
)

// history is what happened, by the name of each event: of one told twice the
// first that is told counts.
type history map[admission.Event]bool

// events are what the tables hold, as it was told.
func events(t testing.TB, name string) history {
	t.Helper()
	got := history{}
	for _, e := range postgrestest.Query(t, server, name, func(row pgx.CollectableRow) (e admission.Event, err error) {
		var at time.Time
		var wait int64
		err = row.Scan(&e.Kind, &at, &e.Line.Tenant, &e.Line.Activity, &e.Epoch, &e.Number, &e.Visitor, &e.UserHash, &wait)
		e.At, e.Wait = admission.InstantOf(at), time.Duration(wait)*time.Microsecond
		return e, err
	}, `SELECT 'joined', created_at, tenant_id, activity_id, epoch, seq_number, visitor, user_hash, 0::bigint FROM queue_entries
		UNION ALL SELECT kind, created_at, tenant_id, activity_id, epoch, seq_number, visitor, user_hash, wait_us FROM queue_events`) {
		if got[e] {
			t.Errorf("kept twice: %+v", e)
		}
		got[e] = true
	}
	return got
}

func TestJournal_ARandomHistoryIsKeptThroughInterruptions(t *testing.T) {
	t.Parallel()
	for seed := range uint64(4) {
		t.Run(fmt.Sprint("seed ", seed), func(t *testing.T) {
			t.Parallel()
			random := rand.New(rand.NewPCG(seed, 1))
			name := server.Database(t)
			o := options(t, server.URL(name))
			gateways := []opened{run(t, o), run(t, o)}
			gateways[0].ready(t) // one that is cut off while it migrates holds up the others for long
			gateways[1].ready(t)
			kinds := []admission.EventKind{admission.EventJoined, admission.EventAdmitted, admission.EventLeft, admission.EventConverted}
			want := history{}
			samples := map[time.Time]admission.Sample{}
			changes := 0
			for range 150 {
				switch g := random.IntN(len(gateways)); random.IntN(10) {
				case 0:
					server.Disconnect(t, name)
				case 1: // restart a gateway
					gateways[g].stop()
					gateways[g] = run(t, o)
				case 2:
					gateways[g].Audit(admission.Change{At: noon(), Action: "activity.pause", Activity: int64(changes)})
					changes++
				case 3:
					at := noon().Add(time.Duration(random.IntN(300)) * time.Second)
					s := admission.Sample{At: admission.InstantOf(at), Line: line, Epoch: 1, Waiting: at.Unix(), Turned: at.Unix()}
					gateways[g].Sample(s)
					if minute := at.Truncate(time.Minute); samples[minute].At < s.At {
						samples[minute] = s
					}
				default:
					var batch []admission.Event
					for range 1 + random.IntN(300) {
						e := joined(random.Int64N(1<<40), noon().Add(time.Duration(random.IntN(1e9))))
						e.At = admission.InstantOf(e.At.Time()) // whole microseconds
						e.Kind, e.Line.Activity = kinds[random.IntN(len(kinds))], random.Int64N(3)
						if e.Kind == admission.EventAdmitted {
							e.Wait = time.Duration(random.IntN(1e6)) * time.Microsecond
						}
						want[e] = true
						batch = append(batch, e)
					}
					gateways[g].Note(batch...)
					if random.IntN(3) == 0 {
						gateways[1-g].Note(batch...)
					}
				}
			}
			for _, g := range gateways {
				g.settled(t)
				if g.Dropped() != 0 {
					t.Errorf("got %d dropped, want none", g.Dropped())
				}
			}
			if got := events(t, name); !reflect.DeepEqual(got, want) {
				t.Errorf("got %d events, want the %d that were told", len(got), len(want))
			}
			if got := postgrestest.Value[int](t, server, name, `SELECT count(*)::int FROM audit_events`); got != changes {
				t.Errorf("got %d changes, want %d", got, changes)
			}
			kept := postgrestest.Query(t, server, name, func(row pgx.CollectableRow) (s admission.Sample, err error) {
				var at time.Time
				err = row.Scan(&at, &s.Line.Tenant, &s.Line.Activity, &s.Epoch, &s.Waiting, &s.Turned)
				s.At = admission.InstantOf(at)
				return s, err
			}, `SELECT at, tenant_id, activity_id, epoch, waiting, turned FROM line_samples`)
			if len(kept) != len(samples) {
				t.Errorf("got %d samples, want one for each of %d minutes", len(kept), len(samples))
			}
			for _, s := range kept {
				if want := samples[s.At.Time().Truncate(time.Minute)]; s != want {
					t.Errorf("sample: got %+v, want the last of its minute, %+v", s, want)
				}
			}
		})
	}
}

// analysed computes from a history what Analytics reads.
func analysed(told []admission.Event, samples []admission.Sample, from, to time.Time) admission.Analytics {
	a := admission.Analytics{From: from, To: to}
	span := to.Sub(from)
	step := 6 * time.Hour
	switch {
	case span <= time.Hour:
		step = time.Minute
	case span <= 24*time.Hour:
		step = 10 * time.Minute
	case span <= 7*24*time.Hour:
		step = time.Hour
	}
	for at := from.Truncate(step); at.Before(to); at = at.Add(step) {
		a.Timeline = append(a.Timeline, admission.Moment{At: at})
	}
	in := func(at time.Time) bool { return !at.Before(from) && at.Before(to) }
	moment := func(at time.Time) *admission.Moment { return &a.Timeline[at.Sub(a.Timeline[0].At)/step] }
	people, buyers := map[string]bool{}, map[string]bool{}
	var waits []time.Duration
	for _, e := range told {
		at := e.At.Time()
		if !in(at) {
			continue
		}
		switch e.Kind {
		case admission.EventJoined:
			a.Entries++
			moment(at).Entries++
			people[cmp.Or(e.UserHash, e.Visitor)] = true
		case admission.EventAdmitted:
			a.Admissions++
			moment(at).Admissions++
			waits = append(waits, e.Wait)
		case admission.EventLeft:
			a.Left++
		case admission.EventConverted:
			buyers[e.Visitor] = true
		}
	}
	byTime := slices.SortedFunc(slices.Values(told), func(a, b admission.Event) int {
		return cmp.Or(cmp.Compare(a.At, b.At), cmp.Compare(a.Number, b.Number))
	})
	highest := map[int64]int64{} // by epoch
	for _, e := range byTime {
		if e.Kind == admission.EventAdmitted && in(e.At.Time()) && e.Number > 0 {
			if e.Number < highest[e.Epoch] {
				a.OutOfOrder++
			}
			highest[e.Epoch] = max(highest[e.Epoch], e.Number)
		}
	}
	a.Visitors, a.Converted = int64(len(people)), int64(len(buyers))
	if n := len(waits); n > 0 {
		slices.Sort(waits)
		var sum time.Duration
		for _, w := range waits {
			sum += w
		}
		a.WaitAverage = (sum + time.Duration(n)*time.Microsecond/2) / time.Duration(n) / time.Microsecond * time.Microsecond
		rank := func(percent int) time.Duration { return waits[(n*percent+99)/100-1] }
		a.WaitMedian, a.WaitP95, a.WaitLongest = rank(50), rank(95), waits[n-1]
	}
	var last *admission.Sample
	entered, open := int64(0), int64(0)
	for _, s := range samples {
		if at := s.At.Time(); in(at) {
			if last != nil {
				grew := max(0, s.Turned-last.Turned)
				a.Releases += grew
				moment(at).Releases += grew
				entered += max(0, s.Admitted-last.Admitted)
			}
		} else if at.Before(from) {
			open = s.Turns
		} else {
			break
		}
		last = &s
	}
	if last != nil {
		a.NoShows = max(0, a.Releases-entered-(last.Turns-open))
	}
	for i := range a.Timeline {
		end := min(admission.InstantOf(a.Timeline[i].At.Add(step)), admission.InstantOf(to))
		for _, s := range samples {
			if s.At < end {
				a.Timeline[i].Waiting, a.Timeline[i].Sessions = s.Waiting, s.Sessions
			}
		}
	}
	return a
}

// known is a random history of a line, and a span to ask about.
type known struct {
	line     admission.LineID
	from, to time.Time
	told     []admission.Event
	samples  []admission.Sample // ascending
}

func knownHistory(seed uint64) known {
	random := rand.New(rand.NewPCG(seed, 2))
	pick := func(texts ...string) string { return texts[random.IntN(len(texts))] }
	const day = 24 * time.Hour
	span := []time.Duration{90 * time.Second, time.Hour, day, 7 * day, 30 * day}[random.IntN(5)]
	k := known{line: admission.LineID{Tenant: "demo", Activity: int64(seed)}}
	k.to = noon().Add(time.Duration(random.IntN(7200)) * time.Second)
	k.from = k.to.Add(-span)
	// Some of it is before the span, and some after it.
	instant := func() admission.Instant {
		return admission.InstantOf(k.from.Add(time.Duration(random.Int64N(int64(span)*3/2)) - span/4))
	}
	for i := range random.Int64N(60) {
		e := admission.Event{
			Kind: admission.EventKind(pick("joined", "admitted", "left", "converted")), At: instant(), Line: k.line, Epoch: i, Number: i,
			Visitor: fmt.Sprint("visitor-", random.IntN(20)), UserHash: pick("", "", "u1", "u2", "u3"),
		}
		if e.Kind == admission.EventAdmitted {
			e.Wait = time.Duration(random.IntN(1e9)) * time.Microsecond
		}
		k.told = append(k.told, e)
	}
	// A minute has one sample, on its last microsecond: what is kept is then
	// all that there was.
	minutes := map[admission.Instant]bool{}
	for range random.IntN(30) {
		minutes[admission.InstantOf(instant().Time().Truncate(time.Minute).Add(time.Minute-time.Microsecond))] = true
	}
	var turned, admitted int64
	for _, at := range slices.Sorted(maps.Keys(minutes)) {
		turned, admitted = turned+random.Int64N(50), admitted+random.Int64N(40)
		if random.IntN(8) == 0 {
			turned, admitted = random.Int64N(50), random.Int64N(50) // the line lost its data
		}
		k.samples = append(k.samples, admission.Sample{At: at, Line: k.line, Epoch: 1, Waiting: random.Int64N(50),
			Turns: random.Int64N(5), Sessions: random.Int64N(50), Turned: turned, Admitted: admitted})
	}
	return k
}

func TestAnalytics_AgreesWithThePlainCount(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	var all []known
	for seed := range uint64(100) {
		k := knownHistory(seed)
		all = append(all, k)
		d.Note(k.told...)
		for _, s := range k.samples {
			d.Sample(s)
		}
	}
	d.settled(t)
	for _, k := range all {
		got, err := d.Analytics(t.Context(), k.line, k.from, k.to)
		if err != nil {
			t.Fatal(err)
		}
		if want := analysed(k.told, k.samples, k.from, k.to); !reflect.DeepEqual(got, want) {
			t.Errorf("seed %d, %s: got\n%+v\nwant\n%+v", k.line.Activity, k.to.Sub(k.from), got, want)
		}
	}
}

func TestAnalytics_CountsWhatGrewWithinTheFirstMinute(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	at := noon()
	for i, turned := range []int64{5, 9, 12} { // attached to a line that had given five turns
		d.Sample(admission.Sample{At: admission.InstantOf(at.Add(time.Duration(i) * 10 * time.Second)), Line: line,
			Turned: turned, Admitted: turned - 2, Turns: 1})
	}
	d.settled(t)
	a, err := d.Analytics(t.Context(), line, at.Add(-time.Hour), at.Add(time.Minute))
	if err != nil || a.Releases != 7 {
		t.Errorf("got %d releases, %v; want 7", a.Releases, err)
	}
	// A span may begin and end within a minute.
	a, err = d.Analytics(t.Context(), line, at.Add(5*time.Second), at.Add(time.Minute))
	if err != nil || a.Releases != 7 {
		t.Errorf("from within the minute: got %d releases, %v; want 7", a.Releases, err)
	}
	if len(a.Timeline) != 1 || a.Timeline[0].Releases != 7 {
		t.Errorf("timeline: got %+v", a.Timeline)
	}
}

func TestAnalytics_OfAnEmptySpanIsEmpty(t *testing.T) {
	t.Parallel()
	d, _ := open(t)
	now := noon()
	a, err := d.Analytics(t.Context(), line, now, now)
	if want := (admission.Analytics{From: now, To: now}); err != nil || !reflect.DeepEqual(a, want) {
		t.Errorf("got %+v, %v; want %+v", a, err, want)
	}
}
