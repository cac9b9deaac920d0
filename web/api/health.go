// Package api serves operators and machines: health now, and what they may ask
// of a running gateway.
package api

import (
	"context"
	"encoding/json"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/ropeline/ropeline/visitor"
)

// patience is how long a dependency may take to say how it is.
const patience = 2 * time.Second

// Dependency is something the gateway leans on. Check returns which version of
// it is there, "" where it has none, or what is wrong; it must honour the
// context.
type Dependency struct {
	Name  string
	Check func(context.Context) (version string, err error)
}

// Health answers /health, /livez and /readyz. It is safe for concurrent use.
type Health struct {
	version      string
	dependencies func() []Dependency
	ready        atomic.Bool
}

// NewHealth returns a Health that is alive and not ready yet. dependencies is
// asked anew for each answer, so that a reload may change them.
func NewHealth(version string, dependencies func() []Dependency) *Health {
	return &Health{version: version, dependencies: dependencies}
}

// Ready says whether balancers should send visitors here: true once the
// gateway serves, false from the moment it drains. A dependency that is down
// does not change it, because another gateway would not fare better.
func (h *Health) Ready(ready bool) { h.ready.Store(ready) }

type report struct {
	Status       string       `json:"status"` // ok, degraded or draining
	Version      string       `json:"version"`
	Dependencies []dependency `json:"dependencies"`
}

type dependency struct {
	Name      string  `json:"name"`
	State     string  `json:"state"` // up or down
	LatencyMS float64 `json:"latency_ms"`
	Version   string  `json:"version,omitempty"`
	Error     string  `json:"error,omitempty"`
}

// ServeHealth tells how the gateway and each dependency are. It answers 200
// while visitors are served, degraded or not.
func (h *Health) ServeHealth(w http.ResponseWriter, r *http.Request) {
	ctx, cancel := context.WithTimeout(r.Context(), patience)
	defer cancel()
	asked := h.dependencies()
	answer := report{Status: "ok", Version: h.version, Dependencies: make([]dependency, len(asked))}
	var all sync.WaitGroup
	for i, d := range asked {
		all.Go(func() { answer.Dependencies[i] = ask(ctx, d) })
	}
	all.Wait()
	for _, d := range answer.Dependencies {
		if d.State != "up" {
			answer.Status = "degraded"
		}
	}
	status := http.StatusOK
	if !h.ready.Load() {
		answer.Status, status = "draining", http.StatusServiceUnavailable
	}
	write(w, status, answer)
}

func ask(ctx context.Context, d Dependency) dependency {
	asked := time.Now()
	version, err := d.Check(ctx)
	answer := dependency{Name: d.Name, State: "up", Version: version, LatencyMS: float64(time.Since(asked).Microseconds()) / 1000}
	if err != nil {
		answer.State, answer.Error = "down", err.Error()
	}
	return answer
}

// ServeLive answers 200 for as long as the process can answer at all.
func (h *Health) ServeLive(w http.ResponseWriter, _ *http.Request) {
	write(w, http.StatusOK, map[string]string{"status": "ok"})
}

// ServeReady answers 200 while balancers should send visitors here.
func (h *Health) ServeReady(w http.ResponseWriter, _ *http.Request) {
	if !h.ready.Load() {
		write(w, http.StatusServiceUnavailable, map[string]string{"status": "draining"})
		return
	}
	write(w, http.StatusOK, map[string]string{"status": "ok"})
}

func write(w http.ResponseWriter, status int, body any) {
	w.Header().Set("Content-Type", "application/json")
	visitor.NoStore(w.Header())
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.WriteHeader(status)
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	_ = encoder.Encode(body) // an error here is a client that left
}
