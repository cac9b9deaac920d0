package api_test

import (
	"encoding/json"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/web/api"
)

func TestPasses_AreMadeAndRevoked(t *testing.T) {
	t.Parallel()
	a := openAdmin(t)
	make, revoke := activities+"/123/passes", activities+"/123/passes/revoke"
	tomorrow := time.Now().Add(24 * time.Hour).UTC().Format(time.RFC3339)
	staff := a.as(pass(t, api.Operator, ""))
	got := staff.ask("POST", make, `{"count":2,"uses":3,"until":"`+tomorrow+`","before_start":true}`)
	var told struct {
		Data struct {
			Passes []struct{ ID, Token string }
		}
	}
	if err := json.Unmarshal([]byte(got.text), &told); err != nil {
		t.Fatal(err)
	}
	passes := told.Data.Passes
	if got.status != http.StatusOK || len(passes) != 2 || passes[0].ID == passes[1].ID {
		t.Fatalf("two passes: %d %s", got.status, got.text)
	}
	if c := a.record.last(t); c.Action != "activity.passes" || !strings.Contains(string(c.After), passes[1].ID) ||
		!strings.Contains(string(c.After), `"uses":3`) || strings.Contains(string(c.After), passes[1].Token) {
		t.Errorf("recorded %+v", c)
	}
	room := a.activities.room(t, 123)
	enter := func(token string) admission.Verdict {
		taken := room.TakePass(admission.Visit{}, token)
		return room.Arrive(t.Context(), admission.Visit{PassTokens: []string{taken.HeldPass.Token}, Looking: true})
	}
	if got := staff.ask("POST", revoke, `{"id":"`+passes[0].ID+`"}`); got.status != http.StatusOK {
		t.Fatalf("revoked: %d %s", got.status, got.text)
	}
	if c := a.record.last(t); c.Action != "activity.revoke" || !strings.Contains(string(c.After), passes[0].ID) {
		t.Errorf("recorded %+v", c)
	}
	if v := enter(passes[0].Token); v.Pass || v.Status.Pass != admission.PassIsSpent {
		t.Errorf("who shows a revoked pass: %+v", v)
	}
	if v := enter(passes[1].Token); !v.Pass {
		t.Errorf("who shows the other: %+v", v)
	}

	one := staff.ask("POST", make, `{"until":"`+tomorrow+`"}`)
	if one.status != http.StatusOK || strings.Count(one.text, `"token"`) != 1 {
		t.Errorf("by default: %d %s", one.status, one.text)
	}
	late := time.Now().Add(367 * 24 * time.Hour).UTC().Format(time.RFC3339)
	for _, wrong := range []string{
		`{}`, `{"until":"tomorrow"}`, `{"until":"2020-01-01T00:00:00Z"}`, `{"until":"` + late + `"}`,
		`{"until":"` + tomorrow + `","uses":0}`, `{"until":"` + tomorrow + `","uses":1000001}`, `{"until":"` + tomorrow + `","count":1001}`,
		`{"until":"` + tomorrow + `","count":0}`, `{"until":"` + tomorrow + `","before_start":1}`, `{"until":"` + tomorrow + `","use":1}`,
	} {
		if got := staff.ask("POST", make, wrong); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, got.status, got.text)
		}
	}
	for _, wrong := range []string{`{}`, `{"id":""}`, `{"id":5}`, `{"id":"a\nb"}`, fmt.Sprintf(`{"id":%q}`, passes[0].ID[:25]), fmt.Sprintf(`{"id":%q}`, passes[0].ID+"A"), fmt.Sprintf(`{"id":%q}`, strings.ToLower(passes[0].ID))} {
		if got := staff.ask("POST", revoke, wrong); got.status != http.StatusBadRequest {
			t.Errorf("%s: %d %s", wrong, got.status, got.text)
		}
	}
	for _, path := range []string{make, revoke} {
		if got := a.as(pass(t, api.Viewer, "")).ask("POST", path, `{}`); got.status != http.StatusForbidden {
			t.Errorf("a viewer at %s: %d %s", path, got.status, got.text)
		}
	}
}
