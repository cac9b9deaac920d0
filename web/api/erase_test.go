package api_test

import (
	"net/http"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/web/api"
)

func TestErase_ReachesTheTenantAndTellsTheAuditNotWho(t *testing.T) {
	a := openAdmin(t)
	hash := admission.Secret("0123456789abcdef").Identity(admission.LineID{Tenant: "demo", Activity: 123}, "mei")
	for tenant, want := range map[string]string{"": " " + hash, "demo": "demo " + hash} {
		got := a.as(pass(t, api.Admin, tenant)).ask("POST", "/api/v1/admin/erase", `{"identity":"mei"}`)
		if got.status != http.StatusOK || got.number("data.entries") != 2 {
			t.Fatalf("tenant %q: got %d %s", tenant, got.status, got.text)
		}
		if last := a.record.erased[len(a.record.erased)-1]; last != want {
			t.Errorf("tenant %q: erased %q, want %q", tenant, last, want)
		}
		if c := a.record.last(t); c.Action != "identity.erase" || c.Tenant != tenant || strings.Contains(string(c.After), "mei") || strings.Contains(string(c.After), hash) {
			t.Errorf("tenant %q: the audit has %+v", tenant, c)
		}
	}
	for _, body := range []string{`{}`, `{"identity":""}`, `{"identity":7}`, `{"identity":"a\u0000b"}`, `{"identity":"a","tenant_id":"b"}`} {
		if got := a.ask("POST", "/api/v1/admin/erase", body); got.status != http.StatusBadRequest {
			t.Errorf("%s: got %d %s, want 400", body, got.status, got.text)
		}
	}
	a.record.away = true
	if got := a.ask("POST", "/api/v1/admin/erase", `{"identity":"mei"}`); got.status != http.StatusServiceUnavailable || strings.Contains(got.text, "db.internal") {
		t.Errorf("without the database: got %d %s", got.status, got.text)
	}
}
