package e2e

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"syscall"
	"testing"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	spans "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
)

// TestTrace_TheShopsSpansBelongToTheGateways has a gateway tell a collector: of a
// trusted proxy it goes on with the trace that came, of a visitor it begins its
// own, and the shop is told which.
func TestTrace_TheShopsSpansBelongToTheGateways(t *testing.T) {
	t.Parallel()
	var mu sync.Mutex
	var told []*spans.Span
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, err := io.ReadAll(r.Body)
		var request collector.ExportTraceServiceRequest
		if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &request) != nil {
			w.WriteHeader(http.StatusBadRequest)
			return
		}
		mu.Lock()
		defer mu.Unlock()
		for _, resource := range request.ResourceSpans {
			for _, scope := range resource.ScopeSpans {
				told = append(told, scope.Spans...)
			}
		}
	}))
	defer server.Close()
	const parent = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
	for _, c := range []struct {
		name, trusted string
		same          bool
	}{{"a visitor's trace is not gone on with", "[]", false}, {"a trusted proxy's is", "[127.0.0.1]", true}} {
		mu.Lock()
		told = nil
		mu.Unlock()
		shop := openShop(t)
		g := start(t, settings(shop, "capacity: 5, session: {idle: 1m, max: 5m}",
			"trusted_proxies: "+c.trusted, fmt.Sprintf("traces: {endpoint: %q, sample: 1}", server.URL+"/v1/traces")))
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, g.Public+"/drop", nil)
		if err != nil {
			t.Fatal(err)
		}
		r.Header.Set("Accept", "text/html")
		r.Header.Set("Traceparent", parent)
		answer, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		answer.Body.Close()
		g.Signal(syscall.SIGTERM)
		g.Ended() // and has sent the last
		mu.Lock()
		byKind := map[spans.Span_SpanKind]*spans.Span{}
		for _, s := range told {
			byKind[s.Kind] = s
		}
		mu.Unlock()
		request, asked := byKind[spans.Span_SPAN_KIND_SERVER], byKind[spans.Span_SPAN_KIND_CLIENT]
		if request == nil || asked == nil {
			t.Fatalf("%s: the collector was told of %v", c.name, told)
		}
		id := fmt.Sprintf("%x", request.TraceId)
		if same := id == strings.Split(parent, "-")[1]; same != c.same {
			t.Errorf("%s: the trace is %s", c.name, id)
		}
		hits := shop.Hits()
		if got, want := hits[len(hits)-1].Header.Get("Traceparent"), fmt.Sprintf("00-%s-%x-01", id, request.SpanId); got != want {
			t.Errorf("%s: the shop is told %q, want %q", c.name, got, want)
		}
		if string(asked.ParentSpanId) != string(request.SpanId) || asked.Name != "upstream shop" || request.Name != "GET /drop" {
			t.Errorf("%s: the spans are %q and, below it, %q", c.name, request.Name, asked.Name)
		}
		facts := map[string]string{}
		for _, a := range request.Attributes {
			facts[a.Key] = a.Value.GetStringValue()
		}
		if facts["ropeline.decision"] != "admitted" || facts["ropeline.request_id"] == "" {
			t.Errorf("%s: the request's span says %v", c.name, facts)
		}
	}
}
