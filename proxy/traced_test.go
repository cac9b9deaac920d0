package proxy

import (
	"slices"
	"testing"

	"go.opentelemetry.io/otel/attribute"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"golang.org/x/net/http2"
)

// What a visitor sends as a method is neither a name of spans, of which there
// must be few, nor text that an exporter cannot write.
func TestTraced_MethodsAreOfAClosedSet(t *testing.T) {
	spans := tracetest.NewInMemoryExporter()
	tracer := sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans)).Tracer("test")
	https, roots := secured(t)
	g := open(t, openShop(t, nil).URL, https, func(s *setup) {
		s.options.Tracer = tracer
	})
	c := g.http2(roots)
	for i, method := range []string{"GET", "PROPFIND", "\xff"} {
		id := uint32(2*i + 1)
		if err := c.ask(id, method, "/about", true); err != nil {
			t.Fatal(err)
		}
		if err := c.await(func(f http2.Frame) bool { return f.Header().StreamID == id }); err != nil {
			t.Fatal(err)
		}
	}
	if err := g.stop(); err != nil { // the spans have ended
		t.Fatal(err)
	}
	var names, methods []string
	for _, s := range spans.GetSpans() {
		for _, a := range s.Attributes {
			if a.Key == attribute.Key("http.request.method") {
				names, methods = append(names, s.Name), append(methods, a.Value.AsString())
			}
		}
	}
	if want := []string{"GET /", "HTTP /", "request"}; !slices.Equal(names, want) {
		t.Errorf("the spans are named %q, want %q", names, want)
	}
	if want := []string{"GET", "_OTHER", "_OTHER"}; !slices.Equal(methods, want) {
		t.Errorf("they tell of the methods %q, want %q", methods, want)
	}
}
