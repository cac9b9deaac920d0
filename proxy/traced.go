package proxy

import (
	"net/http"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"
)

// trace begins the span of a request, if there is a tracer. A proxy that is
// trusted says which trace it belongs to; a visitor's word would let anyone have
// everything sampled.
func (x *exchange) trace(r *http.Request) {
	tracer := x.gateway.tracer
	if tracer == nil {
		return
	}
	ctx := x.Context
	if x.who.Trusted {
		ctx = propagation.TraceContext{}.Extract(ctx, propagation.HeaderCarrier(r.Header))
	}
	x.Context, x.span = tracer.Start(ctx, "request", trace.WithSpanKind(trace.SpanKindServer), trace.WithTimestamp(x.began))
}

// hand has the shop's spans belong to the request's. Without a tracer what came
// with the request goes on as it is.
func (x *exchange) hand(h http.Header) {
	if x.span == nil {
		return
	}
	delete(h, "Traceparent")
	delete(h, "Tracestate")
	propagation.TraceContext{}.Inject(x.Context, propagation.HeaderCarrier(h))
}

// traced ends the span, with what the access log tells. Its name is that of
// the route, where there is one: a closed set.
func (x *exchange) traced(r *http.Request) {
	if x.span == nil {
		return
	}
	defer x.span.End()
	if !x.span.IsRecording() {
		return
	}
	name, method := spanMethod(r.Method)
	x.span.SetAttributes(
		attribute.String("http.request.method", method),
		attribute.String("url.path", clip(r.URL.EscapedPath(), 1024)),
		attribute.Int("http.response.status_code", x.answer.status),
		attribute.String("ropeline.decision", x.outcome.String()),
		attribute.String("ropeline.request_id", x.who.RequestID),
	)
	if x.reason != "" {
		x.span.SetAttributes(attribute.String("ropeline.reason", x.reason))
	}
	if x.route != nil {
		x.span.SetName(name + " " + x.route.Path)
		if a := x.route.Activity; a != nil {
			x.span.SetAttributes(attribute.Int64("ropeline.activity", a.ID))
		}
	}
	if n := max(x.verdict.Session.Number, x.verdict.Status.Number); n > 0 {
		x.span.SetAttributes(attribute.Int64("ropeline.number", n))
	}
	if x.failed() {
		x.span.SetStatus(codes.Error, x.reason)
	}
	if x.upstream > 0 { // from asking the shop to the headers of its answer
		_, asked := x.gateway.tracer.Start(x.Context, "upstream "+x.route.Upstream.settings.Name,
			trace.WithSpanKind(trace.SpanKindClient), trace.WithTimestamp(x.sent))
		asked.End(trace.WithTimestamp(x.sent.Add(x.upstream)))
	}
}

// spanMethod is what a span is named by and told of a method, as OpenTelemetry
// has it. Others than the web's own come in any number, and over HTTP/2 of any
// bytes: one that is not UTF-8 would have the exporter drop all that goes with it.
func spanMethod(m string) (name, attribute string) {
	switch m {
	case http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions:
		return m, m
	}
	return "HTTP", "_OTHER"
}
