package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/admission/admissiontest"
	"github.com/ropeline/ropeline/admission/catalog"
	"github.com/ropeline/ropeline/web/api"
)

const adminSecret = "a secret of at least thirty-two bytes"

const withSecret = shopOnly + "admin: {jwt: {secret: \"" + adminSecret + "\", issuer: ops}}\n"

// ofTheFile are activities of the file, which no one makes.
type ofTheFile struct {
	api.Activities
	all []api.Offered
}

func (s ofTheFile) All() []api.Offered { return s.all }

// openAdmin runs the admin API over the line of activity 123, and returns its
// address. broken is what is wrong with the file at a reload.
func openAdmin(t *testing.T, broken *error) string {
	t.Helper()
	return openAdminOf(t, broken, admission.Settings{Limits: admission.Limits{Mode: admission.ModeAuto, Burst: 1, Claim: 1e9, Absence: 1e9, Idle: 1e9, Max: 1e9}})
}

func openAdminOf(t *testing.T, broken *error, settings admission.Settings) string {
	t.Helper()
	room, _ := admissiontest.RunRoom(t, admission.NewMemory(nil), admission.LineID{Tenant: "demo", Activity: 123}, "g1", admissiontest.NewRing(t), settings)
	verifier, err := api.NewVerifier(api.VerifierOptions{Alg: "HS256", Secret: []byte(adminSecret), Issuer: "ops", Audience: "ropeline-admin"})
	if err != nil {
		t.Fatal(err)
	}
	health := api.NewHealth("v1", func() []api.Dependency {
		return []api.Dependency{{Name: "memory", Check: func(context.Context) (string, error) { return "", nil }}}
	})
	health.Ready(true)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", health.ServeHealth)
	mux.Handle("/api/", api.NewAdmin(api.AdminOptions{
		Activities: ofTheFile{all: []api.Offered{{
			Activity: catalog.Activity{ID: 123, TenantID: "demo", Name: "Spring drop", Status: catalog.Active},
			Source:   api.FromFile, Room: room,
		}}},
		Bearer: func() *api.Verifier { return verifier },
		Reload: func(context.Context) ([]string, error) { return []string{"listen.http", "store.path"}, *broken },
		Log:    zap.NewNop(),
	}))
	server := httptest.NewServer(mux)
	t.Cleanup(server.Close)
	return server.URL
}

func token(t *testing.T, role string) string {
	t.Helper()
	status, out, errs := command(t, nil, "token", "--config", write(t, withSecret), "--role", role, "--subject", "me")
	if status != exitOK || errs != "" || strings.Count(out, "\n") != 1 {
		t.Fatalf("exit %d, prints %q and %q; want a token alone", status, out, errs)
	}
	return strings.TrimSpace(out)
}

func TestToken_SaysWhatIsMissing(t *testing.T) {
	good := write(t, withSecret)
	for _, c := range []struct {
		args []string
		want int
		says string
	}{
		{[]string{"--config", good}, exitUsage, "--subject"},
		{[]string{"--config", good, "--subject", "me", "--role", "root"}, exitUsage, "--role"},
		{[]string{"--config", good, "--subject", "me", "--tenant", "A B"}, exitUsage, "--tenant"},
		{[]string{"--config", good, "--subject", "me", "--ttl", "0s"}, exitUsage, "--ttl"},
		{[]string{"--config", good, "--subject", "me", "--ttl", "soon"}, exitUsage, "--ttl"},
		{[]string{"--config", write(t, shopOnly), "--subject", "me"}, exitRefused, "admin.jwt.secret"},
		{[]string{"--config", good + ".gone", "--subject", "me"}, exitRefused, "no such file"},
	} {
		got, out, errs := command(t, nil, append([]string{"token"}, c.args...)...)
		if got != c.want || !strings.Contains(errs, c.says) || out != "" {
			t.Errorf("ropeline token %v: exit %d, prints %q; want exit %d and %q", c.args, got, out+errs, c.want, c.says)
		}
	}
}

func TestToken_CarriesTenantAndLifetime(t *testing.T) {
	_, out, _ := command(t, nil, "token", "--config", write(t, withSecret), "--role", "operator", "--subject", "me", "--tenant", "demo", "--ttl", "1h")
	verifier, err := api.NewVerifier(api.VerifierOptions{Alg: "HS256", Secret: []byte(adminSecret), Issuer: "ops", Audience: "ropeline-admin"})
	if err != nil {
		t.Fatal(err)
	}
	c, err := verifier.Verify(strings.TrimSpace(out))
	if left := time.Until(c.Expires); err != nil || left <= 0 || left > time.Hour || c != (api.Claims{Subject: "me", Role: api.Operator, TenantID: "demo", Expires: c.Expires}) {
		t.Errorf("got %+v, %v", c, err)
	}
}

func TestControl_DoesAsToldAndTheExitStatusTellsHowItWent(t *testing.T) {
	var broken error
	address := openAdmin(t, &broken)
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	other := httptest.NewServer(http.NotFoundHandler())
	defer other.Close()
	environ := []string{"ROPELINE_ADMIN_URL=" + address, "ROPELINE_ADMIN_TOKEN=" + token(t, "admin")}
	viewer := token(t, "viewer")
	for _, c := range []struct {
		args []string
		want int
		says string
	}{
		{[]string{"status"}, exitOK, "Spring drop"},
		{[]string{"status", "123", "--token", viewer}, exitOK, "Spring drop"},
		{[]string{"status", "124"}, exitRefused, "ACTIVITY_NOT_FOUND"},
		{[]string{"status", "1", "2"}, exitUsage, "at most 1"},
		{[]string{"pause", "123"}, exitOK, "activity 123 is paused"},
		{[]string{"pause", "123", "--token", viewer}, exitRefused, "operator"},
		{[]string{"pause", "123", "--token", "x"}, exitRefused, "UNAUTHORIZED"},
		{[]string{"pause"}, exitUsage, "accepts 1"},
		{[]string{"pause", "drop"}, exitUsage, `"drop"`},
		{[]string{"pause", "-1"}, exitUsage, "-1"},
		{[]string{"resume", "123"}, exitOK, "activity 123 is resumed"},
		{[]string{"reset", "123"}, exitOK, "activity 123 is reset"},
		{[]string{"reload"}, exitOK, "loaded; these keys need a restart, their old values stay: listen.http, store.path"},
		{[]string{"reload", "--admin", closed.URL}, exitUnreachable, "refused"},
		{[]string{"reload", "--admin", other.URL}, exitRefused, "404"},
		{[]string{"reload", "--admin", "here"}, exitUsage, "--admin"},
	} {
		got, out, errs := command(t, environ, c.args...)
		if got != c.want || !strings.Contains(out+errs, c.says) {
			t.Errorf("ropeline %s: exit %d, prints %q; want exit %d and %q", strings.Join(c.args, " "), got, out+errs, c.want, c.says)
		}
		if strings.Contains(out+errs, viewer) {
			t.Errorf("ropeline %s prints the token", c.args[0])
		}
	}
	broken = errors.New("ropeline.yaml:3:1: lisen: unknown key")
	if got, _, errs := command(t, environ, "reload"); got != exitRefused || !strings.Contains(errs, broken.Error()) {
		t.Errorf("a broken file: exit %d, prints %q", got, errs)
	}
	if got, _, errs := command(t, environ[:1], "status"); got != exitUsage || !strings.Contains(errs, "ROPELINE_ADMIN_TOKEN") {
		t.Errorf("without a token: exit %d, prints %q", got, errs)
	}
}

func TestStatus_IsATableForPeopleAndJSONForMachines(t *testing.T) {
	var broken error
	environ := []string{"ROPELINE_ADMIN_URL=" + openAdmin(t, &broken), "ROPELINE_ADMIN_TOKEN=" + token(t, "viewer")}
	_, out, _ := command(t, environ, "status")
	rows := strings.Split(strings.TrimSpace(out), "\n")
	if len(rows) != 2 || !strings.HasPrefix(rows[0], "ID   TENANT  MODE") || !strings.HasPrefix(rows[1], "123  demo    auto") {
		t.Errorf("prints\n%s", out)
	}
	_, out, _ = command(t, environ, "status", "--json")
	var all []struct {
		Activity struct{ ID int64 }
	}
	if err := json.Unmarshal([]byte(out), &all); err != nil || len(all) != 1 || all[0].Activity.ID != 123 {
		t.Errorf("prints %s: %v", out, err)
	}
}
