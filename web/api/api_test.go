package api_test

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/ropeline/ropeline/web/api"
)

func serve(t *testing.T, health *api.Health) *httptest.Server {
	t.Helper()
	mux := http.NewServeMux()
	mux.HandleFunc("GET /health", health.ServeHealth)
	mux.HandleFunc("GET /livez", health.ServeLive)
	mux.HandleFunc("GET /readyz", health.ServeReady)
	server := httptest.NewServer(api.Guard(func() []string { return []string{"ops.example", "10.0.0.2"} }, mux))
	t.Cleanup(server.Close)
	return server
}

func get(t *testing.T, url, host string) (int, map[string]any) {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
	if err != nil {
		t.Fatal(err)
	}
	if host != "" {
		r.Host = host
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	var body map[string]any
	if err := json.NewDecoder(answer.Body).Decode(&body); err != nil {
		t.Fatalf("%s: %v", url, err)
	}
	return answer.StatusCode, body
}

func TestHealth_NamesTheDependencyThatIsDown(t *testing.T) {
	health := api.NewHealth("v1", func() []api.Dependency {
		return []api.Dependency{
			{Name: "store", Check: func(context.Context) (string, error) { return "7.0.15", nil }},
			{Name: "disk", Check: func(context.Context) (string, error) { return "", errors.New("no space left") }},
		}
	})
	health.Ready(true)
	status, body := get(t, serve(t, health).URL+"/health", "")
	if status != http.StatusOK || body["status"] != "degraded" || body["version"] != "v1" {
		t.Fatalf("got %d %v, want 200 and degraded", status, body)
	}
	if store := body["dependencies"].([]any)[0].(map[string]any); store["state"] != "up" || store["version"] != "7.0.15" {
		t.Errorf("got %v, want the store to be up, with its version", store)
	}
	disk := body["dependencies"].([]any)[1].(map[string]any)
	if disk["name"] != "disk" || disk["state"] != "down" || disk["error"] != "no space left" {
		t.Errorf("got %v, want the disk to be down for lack of space", disk)
	}
}

func TestHealth_ReadyTurnsWithDrainAndLiveStays(t *testing.T) {
	health := api.NewHealth("v1", func() []api.Dependency { return nil })
	server := serve(t, health)
	for _, step := range []struct {
		ready bool
		want  int
	}{{false, 503}, {true, 200}, {false, 503}} {
		health.Ready(step.ready)
		if got, _ := get(t, server.URL+"/readyz", ""); got != step.want {
			t.Errorf("ready %v: /readyz answers %d, want %d", step.ready, got, step.want)
		}
		if got, _ := get(t, server.URL+"/livez", ""); got != http.StatusOK {
			t.Errorf("ready %v: /livez answers %d, want 200", step.ready, got)
		}
	}
}

func TestGuard_RefusesHostsItDoesNotKnow(t *testing.T) {
	health := api.NewHealth("v1", func() []api.Dependency { return nil })
	server := serve(t, health)
	for host, want := range map[string]int{
		"": 200, "localhost": 200, "localhost:8081": 200, "127.0.0.1": 200, "[::1]:8081": 200, "OPS.example:80": 200,
		"evil.example": 403, "localhost.evil.example": 403, "10.0.0.1": 403, "ops.example.evil": 403,
		"10.0.0.2:8081": 200, "10.0.0.3": 403,
	} {
		if got, _ := get(t, server.URL+"/livez", host); got != want {
			t.Errorf("host %q: got %d, want %d", host, got, want)
		}
	}
}
