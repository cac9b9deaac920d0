package crowd

import (
	"bytes"
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"
)

func TestHistory_ReadsWhatWasWritten(t *testing.T) {
	index := int64(4)
	head := Head{Began: time.Date(2026, 11, 22, 10, 0, 0, 0, time.UTC), Target: "http://127.0.0.1:8080/drop", Activity: 7,
		Limits: Limits{500, 7200, 1, 180_000, 900_000}, ShopEnds: true}
	events := []Event{
		{Sent: 12, Took: 900, Late: 3, Visitor: 1, Kind: Join, Code: 200, State: Waiting, Number: 41, Epoch: 1, Index: &index, Position: 40, Paused: true, Line: 1795652465},
		{Kind: Told, Sent: 5_000_000, Limits: &Limits{400, 0, 1, 180_000, 0}},
		{Sent: 6_000_000, Took: 1, Visitor: 1, Kind: Enter, Code: 200, State: Passed, Number: 41, Session: &Session{"abc", 41, 1, 1000, 1600, 4600}},
		{Sent: 7_000_000, Took: 1, Visitor: 2, Kind: Poll, Fault: "timeout"},
		{Sent: 8_000_000, Took: 1, Visitor: 2, Kind: Poll, Code: 200, State: Ready, Number: 42, Epoch: 1, Line: 1795652473, Claim: 88},
	}
	for _, name := range []string{"history.jsonl", "history.jsonl.gz"} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), name)
			w, err := Create(path, head)
			if err != nil {
				t.Fatal(err)
			}
			for _, e := range events {
				if err := w.Write(e); err != nil {
					t.Fatal(err)
				}
			}
			if err := w.Close(); err != nil {
				t.Fatal(err)
			}
			h, err := Open(path)
			if err != nil {
				t.Fatal(err)
			}
			defer h.Close()
			want := head
			want.Format = format
			if !reflect.DeepEqual(h.Head, want) {
				t.Errorf("the head is %+v, want %+v", h.Head, want)
			}
			var got []Event
			for e, err := range h.Events() {
				if err != nil {
					t.Fatal(err)
				}
				got = append(got, e)
			}
			if !reflect.DeepEqual(got, events) {
				t.Errorf("the events are\n%+v, want\n%+v", got, events)
			}
			if text, _ := os.ReadFile(path); strings.HasSuffix(name, ".gz") == bytes.HasPrefix(text, []byte("{")) {
				t.Errorf("%s begins with %q", name, text[:2])
			}
		})
	}
}

func TestHistory_TellsOfTheLineThatIsWrong(t *testing.T) {
	const head = `{"ropeline_history":1,"began":"2026-11-22T10:00:00Z","target":"","activity":7,"limits":{}}` + "\n"
	for _, c := range []struct{ text, want string }{
		{"", "line 1"},
		{"hello\n", "not the history"},
		{`{"a":1}` + "\n", "not the history"},
		{`{"ropeline_history":3}` + "\n", "format 3, and this program reads 1 to 2"},
		{`{"ropeline_history":1,"extra":1}` + "\n", `line 1: json: unknown field "extra"`},
		{head + "hello\n", "line 2"},
		{head + `{"t":1,"d":1,"v":1,"k":"dance"}` + "\n", `line 2: k: there is no kind "dance"`},
		{head + `{"t":1,"d":1,"k":"poll"}` + "\n", "line 2: v:"},
		{head + `{"t":-1,"d":1,"v":1,"k":"poll"}` + "\n", "line 2: t, d, l:"},
		{head + `{"t":1,"k":"told"}` + "\n", "line 2: limits:"},
		{head + `{"t":1,"d":1,"v":1,"k":"poll","q":1}` + "\n", "line 2: json: unknown field"},
		{head + `{"events":3}` + "\n", "ends after 0 events, and says 3"},
		{head + `{"t":1,"d":1,"v":1,"k":"poll"}` + "\n", ErrCut.Error()},
		{head + `{"t":1,"d":1,"v":1,"k":"po`, ErrCut.Error()},
	} {
		h, err := Read(strings.NewReader(c.text))
		if err == nil {
			for _, e := range h.Events() {
				err = errors.Join(err, e)
			}
		}
		if err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%q: the error is %v, want %q", c.text, err, c.want)
		}
	}
}

func TestHistory_ALimitLeftOutIsNotKnown(t *testing.T) {
	h, err := Read(strings.NewReader(`{"ropeline_history":1,"limits":{"capacity":0}}` + "\n"))
	if err != nil {
		t.Fatal(err)
	}
	if want := (Limits{0, Unknown, Unknown, Unknown, Unknown}); h.Limits != want {
		t.Errorf("the limits are %+v, want %+v", h.Limits, want)
	}
}
