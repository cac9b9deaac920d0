package simulate

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// rush is an event of 6,000 visitors within ten minutes.
func rush() Event {
	return Event{
		Demand: []Stretch{{2 * time.Minute, 4000, Falling}, {8 * time.Minute, 2000, Even}}, For: 12 * time.Hour,
		Crowd: Crowd{Stay: 2 * time.Minute, Spread: Heavy, Ends: 1, Comes: 2 * time.Second},
	}
}

func TestRun_EveryoneIsCountedOnce(t *testing.T) {
	t.Parallel()
	event := rush()
	event.Crowd.NoShow, event.Crowd.Patience, event.End = .1, 30*time.Minute, 40*time.Minute
	l := limits(100, 0)
	l.MaxQueue = 3000
	r := one(t, event, l, 2)
	all := r.Entered + r.Full + r.SoldOut + r.Ended + r.GaveUp + r.NoShow + r.Waiting
	if math.Abs(all-r.Visitors) > 1e-6 {
		t.Errorf("%.0f visitors came, and %.0f are told of: %+v", r.Visitors, all, r)
	}
	for what, n := range map[string]float64{"entered": r.Entered, "full": r.Full, "ended": r.Ended, "gave up": r.GaveUp, "no show": r.NoShow} {
		if n == 0 {
			t.Errorf("nobody is told of as %s", what)
		}
	}
	if r.TurnedAwayRuns != 2 || math.Abs(r.TurnedAway-(r.Full+r.Ended)/r.Visitors) > 1e-9 {
		t.Errorf("turned away %.3f in %d runs, want full and over in both", r.TurnedAway, r.TurnedAwayRuns)
	}
}

func TestRun_KeepsCapacityAndRate(t *testing.T) {
	t.Parallel()
	r := one(t, rush(), limits(100, 60*60), 1)
	for i, p := range r.Points {
		if p.Inside > 100 {
			t.Errorf("%.1f inside at step %d, want 100 at most", p.Inside, i)
		}
		if p.Entered > 1.5 { // claims that were late may come together
			t.Errorf("%.2f a second let in at step %d, want 1 a second", p.Entered, i)
		}
	}
	if r.Entered/r.Over > 1.01 {
		t.Errorf("%.3f a second let in, want 1 at most", r.Entered/r.Over)
	}
}

func TestRun_SellsOutAndTurnsTheRestAway(t *testing.T) {
	t.Parallel()
	event := rush()
	event.Crowd.Buys = .5
	l := limits(100, 0)
	l.Stock = admission.Stock{Counted: true, Left: 1000}
	r := one(t, event, l, 2)
	if r.SoldOutRuns != 2 || r.SoldOut == 0 {
		t.Fatalf("sold out in %d of 2 runs, %.0f turned away by it", r.SoldOutRuns, r.SoldOut)
	}
	// A thousand are sold to two thousand, a hundred at a time for two minutes
	// each: forty minutes, and the first of them.
	near(t, "sold out after, seconds", r.SoldOutAfter, 40*60, .15)
	if last := r.Points[len(r.Points)-1].Left; last > 50 {
		t.Errorf("%.0f are left at the end", last)
	}
}

func TestRun_ADrawMakesTheTimeOfComingWorthNothing(t *testing.T) {
	t.Parallel()
	event := Event{
		Demand: []Stretch{{10 * time.Minute, 5000, Even}}, Start: 10 * time.Minute, For: 12 * time.Hour,
		Crowd: Crowd{Stay: time.Minute, Spread: Fixed, Ends: 1, Comes: 2 * time.Second},
	}
	drawn := limits(0, 5*3600)
	drawn.Draw = true
	results, err := Run(t.Context(), event, []Setting{{"draw", drawn}, {"arrival", limits(0, 5*3600)}}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	r := results[0]
	early, late := 0., 0.
	step := int(r.Step)
	for i := range 300 / step {
		early, late = early+r.Points[i].Wait, late+r.Points[300/step+i].Wait
	}
	near(t, "wait of who came early, to that of who came late", early, late, .1)
	near(t, "wait, mean, of five a second", r.Waits.Mean, 500, .05)
	if arrival := results[1]; arrival.Entered != arrival.Visitors || r.Entered != r.Visitors {
		t.Errorf("%.0f of %.0f entered by draw, %.0f of %.0f by arrival, want all", r.Entered, r.Visitors, arrival.Entered, arrival.Visitors)
	}
}

// Seats that nobody comes for stand empty for the claim.
func TestRun_WhoDoesNotEnterCostsTheClaim(t *testing.T) {
	t.Parallel()
	event := Event{
		Demand: []Stretch{{time.Minute, 3000, Even}}, For: 12 * time.Hour,
		Crowd: Crowd{Stay: time.Minute, Spread: Exponential, Ends: 1, NoShow: .5},
	}
	l := limits(50, 0)
	l.Claim = time.Minute
	r := one(t, event, l, 1)
	// Of two turns one lasts the claim, a minute, and one a stay, a minute.
	near(t, "time for all, minutes", r.Over/60, 2*3000/2/50, .1)
	near(t, "seats that were used", r.SeatsUsed, .5, .1)
}

func TestRun_TheSameSeedGivesTheSame(t *testing.T) {
	t.Parallel()
	settings := []Setting{{"a", limits(100, 0)}, {"b", limits(0, 7200)}}
	first, err := Run(t.Context(), rush(), settings, 2, 7)
	if err != nil {
		t.Fatal(err)
	}
	again, err := Run(t.Context(), rush(), settings, 2, 7)
	if err != nil {
		t.Fatal(err)
	}
	if !reflect.DeepEqual(first, again) {
		t.Error("the same seed gave other results")
	}
	other, err := Run(t.Context(), rush(), settings, 2, 8)
	if err != nil {
		t.Fatal(err)
	}
	if reflect.DeepEqual(first, other) {
		t.Error("another seed gave the same results")
	}
	if first[0].Visitors != first[1].Visitors {
		t.Errorf("to %.1f visitors of one setting came %.1f of the other: they differ by more than themselves", first[0].Visitors, first[1].Visitors)
	}
}

func TestRun_ReplaysWhatWasRecorded(t *testing.T) {
	t.Parallel()
	event := rush()
	for i := range 600 {
		event.Recorded = append(event.Recorded, time.Duration(i)*time.Second/10)
	}
	r := one(t, event, limits(0, 5*3600), 1)
	if r.Visitors != 600 || r.Entered != 600 {
		t.Errorf("%.0f came and %.0f entered, want the 600 that were recorded", r.Visitors, r.Entered)
	}
	near(t, "all in after, seconds", r.Over, 120, .05) // ten a second come, five are let in
}

func TestRun_StopsWhereItIsToldTo(t *testing.T) {
	t.Parallel()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := Run(ctx, rush(), []Setting{{"a", limits(1, 0)}}, 1, 1); !errors.Is(err, context.Canceled) {
		t.Errorf("got the error %v", err)
	}
}

func TestReport_HasEachSettingInEachForm(t *testing.T) {
	t.Parallel()
	event := rush()
	event.Crowd.Buys = .1
	stock := limits(200, 0)
	stock.Stock = admission.Stock{Counted: true, Left: 500}
	results, err := Run(t.Context(), event, []Setting{{"200 <inside>", stock}, {"by rate & none", limits(0, 7200)}}, 1, 1)
	if err != nil {
		t.Fatal(err)
	}
	report := Report{Name: "A <plan>", Results: results}
	for form, write := range map[string]func(io.Writer) error{"text": report.Text, "json": report.JSON, "html": report.HTML, "svg": report.SVG} {
		var b strings.Builder
		if err := write(&b); err != nil {
			t.Fatalf("%s: %v", form, err)
		}
		text := b.String()
		switch form {
		case "json":
			var back Report
			if err := json.Unmarshal([]byte(text), &back); err != nil || !reflect.DeepEqual(back, report) {
				t.Errorf("json does not bring back the report: %v", err)
			}
		case "html":
			if strings.Contains(text, "<inside>") || strings.Contains(text, "<plan>") || !strings.Contains(text, "&lt;inside&gt;") {
				t.Error("html: a name is not escaped")
			}
			if n := strings.Count(text, "<svg "); n != 5 {
				t.Errorf("html has %d charts, want 5", n)
			}
		case "svg":
			d := xml.NewDecoder(strings.NewReader(text))
			for {
				if _, err := d.Token(); err == io.EOF {
					break
				} else if err != nil {
					t.Fatalf("svg: %v", err)
				}
			}
			if strings.Contains(text, "NaN") || strings.Contains(text, "Inf") {
				t.Error("svg has what is no number")
			}
		case "text":
			for _, want := range []string{"200 <inside>", "by rate & none", "sold out, after the start", "wait, 90 % at most"} {
				if !strings.Contains(text, want) {
					t.Errorf("the table lacks %q:\n%s", want, text)
				}
			}
		}
	}
}
