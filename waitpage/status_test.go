package waitpage

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
)

// document is the status document as encoding/json would write it: the contract
// that appendStatus is held to.
type document struct {
	Activity    int64           `json:"activity"`
	State       admission.State `json:"state"`
	Number      *int64          `json:"number"`
	Position    *int64          `json:"position"`
	QueueLength int64           `json:"queue_length"`
	Wait        documentWait    `json:"wait"`
	PollAfter   int64           `json:"poll_after_ms"`
	Paused      bool            `json:"paused"`
	Message     string          `json:"message"`
	StartsAt    *time.Time      `json:"starts_at"`
	EndsAt      *time.Time      `json:"ends_at"`
	UpdatedAt   *time.Time      `json:"updated_at"`
	Unavailable bool            `json:"unavailable,omitempty"`
	Lapsed      bool            `json:"lapsed,omitempty"`
	Behind      int64           `json:"behind,omitempty"`
	Stock       *documentStock  `json:"stock,omitempty"`
	Pass        string          `json:"pass,omitempty"`
	Draw        *documentDraw   `json:"draw,omitempty"`
	Work        *documentWork   `json:"work,omitempty"`
	PollMax     int64           `json:"poll_max_ms,omitempty"`
	Claim       *int64          `json:"claim_s,omitempty"`
	Session     *int64          `json:"session_s,omitempty"`
	Code        Code            `json:"code,omitempty"`
	Words       *documentWords  `json:"words,omitempty"`
}

type documentWait struct {
	Known bool   `json:"known"`
	Low   *int64 `json:"low_s"`
	High  *int64 `json:"high_s"`
}

type documentStock struct {
	Left int64 `json:"left"`
}

type documentDraw struct {
	Commitment string          `json:"commitment"`
	Index      *int64          `json:"index"`
	Seed       *string         `json:"seed"`
	N          *int64          `json:"n"`
	Beacon     *documentBeacon `json:"beacon"`
}

type documentWork struct {
	Challenge string `json:"challenge"`
	Bits      int    `json:"bits"`
}

type documentBeacon struct {
	Source string  `json:"source"`
	Value  *string `json:"value"`
}

type documentWords struct {
	Title   string    `json:"title"`
	Heading [3]string `json:"heading"`
	Detail  string    `json:"detail"`
	Label   string    `json:"label"`
	Wait    string    `json:"wait"`
	Reason  string    `json:"reason"`
	Note    string    `json:"note"`
	Band    *[2]int64 `json:"band"`
}

// english are the words of the first language there is.
var english = builtIn().offered[0]

func documentOf(s admission.Status, code Code, w *words) document {
	count := func(n int64) *int64 {
		if n == 0 {
			return nil
		}
		return &n
	}
	seconds := func(d time.Duration) *int64 { n := int64(d / time.Second); return &n }
	instant := func(t time.Time) *time.Time {
		if t.IsZero() {
			return nil
		}
		t = t.UTC().Truncate(time.Second)
		return &t
	}
	d := document{
		Activity: s.Activity, State: s.State, Number: count(s.Number), Position: count(s.Position),
		QueueLength: s.QueueLength, PollAfter: s.PollAfter.Milliseconds(), Paused: s.Paused, Message: s.Message,
		StartsAt: instant(s.StartsAt), EndsAt: instant(s.EndsAt), UpdatedAt: instant(s.UpdatedAt),
		Unavailable: s.Unavailable, Lapsed: s.Lapsed, Pass: string(s.Pass), Behind: max(s.Behind, 0), PollMax: max(s.PollMax.Milliseconds(), 0), Code: code,
	}
	if s.Wait.Known {
		d.Wait = documentWait{true, seconds(s.Wait.Low), seconds(s.Wait.High)}
	}
	if s.Claim > 0 {
		d.Claim = seconds(s.Claim)
	}
	if s.Stock.Counted {
		d.Stock = &documentStock{s.Stock.Left}
	}
	if p := s.Draw; p.Commitment != "" {
		known := func(text string) *string {
			if text == "" {
				return nil
			}
			return &text
		}
		d.Draw = &documentDraw{Commitment: p.Commitment, Seed: known(p.Seed), N: count(p.N)}
		if p.Indexed {
			d.Draw.Index = &p.Index
		}
		if p.Source != "" {
			d.Draw.Beacon = &documentBeacon{p.Source, known(p.Beacon)}
		}
	}
	if s.Work.Bits > 0 {
		d.Work = &documentWork{s.Work.Text, s.Work.Bits}
	}
	if s.Session > 0 {
		d.Session = seconds(s.Session)
	}
	if w != nil {
		d.Words = &documentWords{w.Title, w.Heading, w.Detail, w.Label, w.Wait, w.Reason, w.Note, nil}
		if w.Band.Known {
			d.Words.Band = &[2]int64{*seconds(w.Band.Low), *seconds(w.Band.High)}
		}
	}
	return d
}

func TestStatus_IsTheContract(t *testing.T) {
	s := admission.Status{
		Activity: 123, State: admission.StateWaiting, Number: 4211, Position: 812, QueueLength: 5310,
		Wait:      admission.Wait{Known: true, Low: 240 * time.Second, High: 330 * time.Second},
		PollAfter: 8 * time.Second,
		UpdatedAt: time.Date(2026, 11, 22, 11, 0, 0, 0, time.FixedZone("", 3600)),
	}
	want := `{"activity":123,"state":"waiting","number":4211,"position":812,"queue_length":5310,` +
		`"wait":{"known":true,"low_s":240,"high_s":330},"poll_after_ms":8000,"paused":false,` +
		`"message":"","starts_at":null,"ends_at":null,"updated_at":"2026-11-22T10:00:00Z"}` + "\n"
	if got := string(appendStatus(nil, s, "", nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestStatus_OfAStrangerHasNulls(t *testing.T) {
	want := `{"activity":123,"state":"new","number":null,"position":null,"queue_length":0,` +
		`"wait":{"known":false,"low_s":null,"high_s":null},"poll_after_ms":0,"paused":false,` +
		`"message":"","starts_at":null,"ends_at":null,"updated_at":null}` + "\n"
	if got := string(appendStatus(nil, admission.Status{Activity: 123, State: admission.StateNew}, "", nil)); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestCodeOf_EachStatus(t *testing.T) {
	tests := []struct {
		status admission.Status
		want   Code
	}{
		{admission.Status{}, Waiting},
		{admission.Status{State: admission.StateNew}, Waiting},
		{admission.Status{State: admission.StateNew, Unavailable: true}, Unavailable},
		{admission.Status{State: admission.StateNew, Work: admission.Challenge{Bits: 18}, Paused: true}, Work},
		{admission.Status{State: admission.StateBefore}, Before},
		{admission.Status{State: admission.StateBefore, Paused: true}, Before},
		{admission.Status{State: admission.StateDrawing}, Drawing},
		{admission.Status{State: admission.StateWaiting}, Waiting},
		{admission.Status{State: admission.StateWaiting, Paused: true}, Paused},
		{admission.Status{State: admission.StateWaiting, Paused: true, Unavailable: true}, Unavailable},
		{admission.Status{State: admission.StateReady}, Waiting},
		{admission.Status{State: admission.StateEnded, Unavailable: true}, Ended},
		{admission.Status{State: admission.StateFull}, Full},
		{admission.Status{State: admission.StateClosed, Paused: true}, Closed},
	}
	for _, tt := range tests {
		if got := CodeOf(tt.status); got != tt.want {
			t.Errorf("CodeOf(%+v) = %s, want %s", tt.status, got, tt.want)
		}
	}
}

// FuzzStatusJSON holds the hand-written document to encoding/json, in every
// byte.
func FuzzStatusJSON(f *testing.F) {
	f.Add(int64(123), int64(4211), int64(812), int64(5310), int64(240), int64(330), int64(8000), "waiting", "", "Spring drop", uint8(0))
	f.Add(int64(1), int64(0), int64(0), int64(0), int64(0), int64(0), int64(0), "ready", "</script>\u2028\"\\\x00\xff", "a<b>&\u202e", uint8(255))
	f.Add(int64(-1), int64(-1), int64(-1), int64(-5), int64(-9), int64(1<<40), int64(1), "before", "日本\x7f", "", uint8(9))
	f.Fuzz(func(t *testing.T, activity, number, position, length, low, high, millis int64, state, message, name string, flags uint8) {
		// The ranges of time.Duration and of a four-digit year.
		low, high, millis = low%1e9, high%1e9, millis%1e12
		s := admission.Status{
			Activity: activity, State: admission.State(state), Number: number, Position: position,
			QueueLength: length, Behind: length / 2, PollAfter: time.Duration(millis) * time.Millisecond,
			PollMax: time.Duration(high) * time.Millisecond, Message: message,
			Paused: flags&1 > 0, Unavailable: flags&2 > 0, Lapsed: flags&4 > 0,
			Claim: time.Duration(low) * time.Second, Session: time.Duration(high) * time.Second,
		}
		if flags&8 > 0 {
			s.Wait = admission.Wait{Known: true, Low: time.Duration(low) * time.Second, High: time.Duration(high) * time.Second}
		}
		if flags&32 > 0 {
			s.Pass = admission.PassIsHeld
			s.Work = admission.Challenge{Text: name, Bits: int(number % 27)}
		}
		if flags&2 > 0 {
			s.Stock = admission.Stock{Counted: true, Left: length}
		}
		if flags&4 > 0 {
			s.Draw = admission.Proof{Commitment: name, Source: message, Indexed: flags&8 > 0, Index: max(0, number)}
			if flags&16 > 0 {
				s.Draw.Seed, s.Draw.N, s.Draw.Beacon = state, length, name
			}
		}
		if flags&16 > 0 {
			s.StartsAt, s.UpdatedAt = time.Unix(high, 5e8), time.Unix(low, 0)
		}
		var code Code
		if flags&32 > 0 {
			code = CodeOf(s)
		}
		var w *words
		if flags&64 > 0 {
			made := english.words(s, name, seen{high: time.Duration(low) * time.Second, position: position})
			w = &made
		}
		want, err := json.Marshal(documentOf(s, code, w))
		if err != nil {
			t.Fatal(err)
		}
		got := bytes.TrimSuffix(appendStatus(nil, s, code, w), []byte("\n"))
		if !bytes.Equal(got, want) {
			t.Errorf("got  %s\nwant %s", got, want)
		}
		if bytes.ContainsAny(got, "<>&") {
			t.Errorf("%s could end the script element it stands in", got)
		}
	})
}

func TestWait_IsABandThatOnlyWidens(t *testing.T) {
	tests := []struct {
		low, high time.Duration
		want      string
	}{
		{0, 0, "less than a minute"},
		{10 * time.Second, 50 * time.Second, "less than a minute"},
		{30 * time.Second, 130 * time.Second, "up to 3 minutes"},
		{240 * time.Second, 330 * time.Second, "about 4–6 minutes"},
		{300 * time.Second, 300 * time.Second, "about 5 minutes"},
		{60 * time.Second, 60 * time.Second, "about 1 minute"},
		{9 * time.Minute, 10 * time.Minute, "about 9–10 minutes"},
		{12 * time.Minute, 18 * time.Minute, "about 10–20 minutes"},
		{2 * time.Minute, 11 * time.Minute, "up to 15 minutes"},
		{70 * time.Minute, 88 * time.Minute, "about 70–90 minutes"},
		{80 * time.Minute, 100 * time.Minute, "about 1–2 hours"},
		{50 * time.Minute, 100 * time.Minute, "about ½–2 hours"},
		{95 * time.Minute, 150 * time.Minute, "about 1½–2½ hours"},
		{5 * time.Hour, 6 * time.Hour, "about 5–6 hours"},
		{30 * time.Hour, 40 * time.Hour, "more than a day"},
		{10 * time.Minute, 3 * time.Minute, "about 10 minutes"}, // no estimate is like this; no nonsense either
	}
	for _, tt := range tests {
		if got := english.wait(admission.Wait{Known: true, Low: tt.low, High: tt.high}); got != tt.want {
			t.Errorf("wait of %s to %s = %q, want %q", tt.low, tt.high, got, tt.want)
		}
	}
	if got, want := english.wait(admission.Wait{}), "we will know soon"; got != want {
		t.Errorf("unknown wait = %q, want %q", got, want)
	}
}

func TestNumber_GroupsThousands(t *testing.T) {
	for n, want := range map[int64]string{0: "0", 7: "7", 999: "999", 1000: "1,000", 12345: "12,345", 1234567: "1,234,567"} {
		if got := english.number(n); got != want {
			t.Errorf("number(%d) = %q, want %q", n, got, want)
		}
	}
}

func TestCountdown_ReadsAsTheClockOfThePage(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Hour:                    "00:00:00",
		time.Millisecond:              "00:00:01",
		3*time.Hour + 754*time.Second: "03:12:34",
		24*time.Hour - time.Second:    "23:59:59",
		51*time.Hour + time.Minute:    "2d 3h",
	} {
		if got := english.countdown(d); got != want {
			t.Errorf("countdown(%s) = %q, want %q", d, got, want)
		}
	}
}

// Every state has a heading and a title, and no sentence goes out with its
// placeholder in it.
func TestWords_EveryStateIsWorded(t *testing.T) {
	states := []admission.State{
		admission.StateNew, admission.StateBefore, admission.StateDrawing, admission.StateWaiting, admission.StateReady,
		admission.StateAdmitted, admission.StateEnded, admission.StateFull, admission.StateClosed, "of a later release",
	}
	start := time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC)
	for _, state := range states {
		for flags := range 128 {
			s := admission.Status{State: state, Paused: flags&1 > 0, Unavailable: flags&2 > 0, Lapsed: flags&4 > 0, UpdatedAt: start}
			if flags&8 > 0 {
				s.Number = 12
			}
			if flags&16 > 0 {
				s.Position, s.Behind, s.Claim = 2, 1, time.Second
			}
			if flags&32 > 0 {
				s.StartsAt = start.Add(time.Hour)
			}
			if flags&64 > 0 {
				s.Stock = admission.Stock{Counted: true, Left: int64(flags & 2)}
			}
			for _, c := range builtIn().offered {
				for _, name := range []string{"", "Spring drop"} {
					w := c.words(s, name, seen{})
					all := strings.Join([]string{w.Title, w.Heading[0], w.Heading[1], w.Heading[2], w.Detail, w.Label, w.Wait, w.Note}, "|")
					if w.Title == "" || w.Heading[0] == "" || strings.ContainsAny(all, "{}") {
						t.Errorf("%s: %+v reads %q", c.lang, s, all)
					}
				}
			}
		}
	}
}

func TestWords_TellWhatIsLeftWhereItIsTold(t *testing.T) {
	s := admission.Status{State: admission.StateWaiting, Number: 12, Position: 8, QueueLength: 20}
	for _, c := range []struct {
		stock      admission.Stock
		has, hasnt string
	}{
		{admission.Stock{}, "7 people are ahead of you.", "left"},
		{admission.Stock{Counted: true, Left: 1200}, "1,200 are left.", "none left"},
		{admission.Stock{Counted: true, Left: 8}, "8 are left.", "none left"},
		{admission.Stock{Counted: true, Left: 7}, "7 are left. There may be none left when your turn comes.", "|"},
		{admission.Stock{Counted: true, Left: 1}, "1 is left. There may be none left when your turn comes.", "|"},
	} {
		s.Stock = c.stock
		if got := english.words(s, "", seen{}).Detail; !strings.Contains(got, c.has) || strings.Contains(got, c.hasnt) {
			t.Errorf("%+v reads %q, want %q in it and not %q", c.stock, got, c.has, c.hasnt)
		}
	}
	s.State, s.Stock = admission.StateEnded, admission.Stock{Counted: true}
	if got := english.words(s, "Spring drop", seen{}); got.Heading[0] != "Spring drop is sold out" {
		t.Errorf("sold out reads %+v", got)
	}
}
