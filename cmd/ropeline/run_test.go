package main

import (
	"bytes"
	"context"
	"crypto/ed25519"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/ropeline/ropeline/admission"
	"github.com/ropeline/ropeline/config"
)

const shopOnly = "upstreams: {shop: {servers: [{url: \"http://127.0.0.1:9\"}]}}\nroutes: [{upstream: shop}]\n"

// command runs the program as main does.
func command(t *testing.T, environ []string, args ...string) (status int, out, errs string) {
	t.Helper()
	var stdout, stderr bytes.Buffer
	status = run(t.Context(), args, environ, &stdout, &stderr)
	return status, stdout.String(), stderr.String()
}

func write(t *testing.T, text string) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "ropeline.yaml")
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestRun_ExitStatusTellsWhatWentWrong(t *testing.T) {
	good, bad := write(t, shopOnly), write(t, shopOnly+"lisen: {}\n")
	closed := httptest.NewServer(http.NotFoundHandler())
	closed.Close()
	for _, c := range []struct {
		args []string
		want int
		says string // somewhere in what is printed
	}{
		{[]string{}, exitUsage, "--help"},
		{[]string{"--help"}, exitOK, "healthcheck"},
		{[]string{"opne"}, exitUsage, `"opne"; ropeline --help`},
		{[]string{"stauts"}, exitUsage, `"stauts"; did you mean status?`},
		{[]string{"pause"}, exitUsage, "usage: ropeline pause ACTIVITY [flags]; ropeline pause --help"},
		{[]string{"pause", "1", "--loud"}, exitUsage, "usage: ropeline pause ACTIVITY"},
		{[]string{"draw", "beacon", "1", "2", "3"}, exitUsage, "usage: ropeline draw beacon ACTIVITY VALUE"},
		{[]string{"version"}, exitOK, "ropeline "},
		{[]string{"version", "--loud"}, exitUsage, "--loud"},
		{[]string{"version", "now"}, exitUsage, `"now"`},
		{[]string{"validate", "--config", good}, exitOK, "is valid: 0 activities, 1 route, 1 upstream"},
		{[]string{"validate", "--config", bad}, exitRefused, bad + ":3:1: lisen: unknown key; did you mean listen?"},
		{[]string{"validate", "--config", good + ".gone"}, exitRefused, "no such file"},
		{[]string{"run", "--config", bad}, exitRefused, "did you mean listen?"},
		{[]string{"healthcheck", "--admin", closed.URL}, exitUnreachable, "refused"},
		{[]string{"healthcheck", "--admin", "::"}, exitUsage, "--admin"},
	} {
		got, out, errs := command(t, nil, c.args...)
		if got != c.want || !strings.Contains(out+errs, c.says) {
			t.Errorf("ropeline %s: exit %d, prints %q; want exit %d and %q", strings.Join(c.args, " "), got, out+errs, c.want, c.says)
		}
	}
}

func TestRun_ConfigCanBeNamedByTheEnvironment(t *testing.T) {
	path := write(t, shopOnly)
	if status, out, errs := command(t, []string{"ROPELINE_CONFIG=" + path}, "validate"); status != exitOK || !strings.HasPrefix(out, path) {
		t.Errorf("exit %d, prints %q", status, out+errs)
	}
}

func TestHealthcheck_FollowsReadiness(t *testing.T) {
	answer := http.StatusOK
	admin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/readyz" {
			t.Errorf("asks for %s", r.URL.Path)
		}
		w.WriteHeader(answer)
	}))
	defer admin.Close()
	environ := []string{"ROPELINE_ADMIN_URL=" + admin.URL}
	if status, _, errs := command(t, environ, "healthcheck"); status != exitOK {
		t.Errorf("ready: exit %d: %s", status, errs)
	}
	answer = http.StatusServiceUnavailable
	if status, _, errs := command(t, environ, "healthcheck"); status != exitRefused || !strings.Contains(errs, "503") {
		t.Errorf("not ready: exit %d: %s", status, errs)
	}
}

func TestKeyring_FromTheFileOrMadeOnce(t *testing.T) {
	ctx := context.Background()
	store := admission.NewMemory(nil)
	if _, _, err := keyring(ctx, store, nil, nil); err != nil {
		t.Fatal(err)
	}
	kept, err := store.Keys(ctx, admission.NewKey())
	if err != nil || len(kept) != 1 {
		t.Fatalf("the store keeps %v, %v; want the one key that was made", kept, err)
	}
	_, private, err := ed25519.GenerateKey(nil)
	if err != nil {
		t.Fatal(err)
	}
	der, err := x509.MarshalPKCS8PrivateKey(private)
	if err != nil {
		t.Fatal(err)
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	ring, _, err := keyring(ctx, store, []config.Key{
		{KID: "a", Alg: "EdDSA", Secret: config.NewSecret(string(text))},
		{KID: "b", Alg: "HS256", Secret: config.NewSecret(strings.Repeat("s", 32))},
	}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if jwks := string(ring.JWKS()); !strings.Contains(jwks, `"kid":"a"`) || strings.Contains(jwks, `"kid":"b"`) {
		t.Errorf("the public keys are %s, want a alone", jwks)
	}
}

func TestKeyring_StoreThatLostItsKeysGetsThemBack(t *testing.T) {
	ctx := context.Background()
	_, known, err := keyring(ctx, admission.NewMemory(nil), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	lost := admission.NewMemory(nil)
	_, others, err := keyring(ctx, lost, nil, nil) // a gateway that started meanwhile
	if err != nil {
		t.Fatal(err)
	}
	_, kept, err := keyring(ctx, lost, nil, known)
	if err != nil || len(kept) != 2 || kept[0].ID != others[0].ID || kept[1].ID != known[0].ID {
		t.Errorf("the store keeps %v, %v; want the new gateway's key, which signs, and the old one's", kept, err)
	}
}

func TestValidate_SaysWhatIsWrongWithTheWords(t *testing.T) {
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "de.json"), []byte(`{"left": {"one": "1"}, "ready": ""}`), 0o600); err != nil {
		t.Fatal(err)
	}
	const activity = "activities: [{id: 1, name: A, capacity: 1, page: {languages: [de, sv]}}]\n"
	for text, want := range map[string]string{
		shopOnly + "words: " + dir + "\n": ":3:8: words: de.json: ready: is missing",
		shopOnly + activity:               ":3:62: activities[0].page.languages: there is no language \"sv\"; there are en, ar,",
	} {
		path := write(t, text)
		status, out, _ := command(t, nil, "validate", "--config", path)
		if status != exitRefused || !strings.Contains(out, path+want) {
			t.Errorf("validate: got %d %q, want %q", status, out, want)
		}
		if status, _, errs := command(t, nil, "run", "--config", path); status != exitRefused || !strings.Contains(errs, want) {
			t.Errorf("run: got %d %q, want %q", status, errs, want)
		}
	}
}
