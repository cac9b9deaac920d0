package main

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
	"go.uber.org/zap"

	"github.com/ropeline/ropeline/config"
)

// tracesEnd is how long the last spans may take to be sent.
const tracesEnd = 2 * time.Second

// openTraces returns what makes spans, and what sends the last of them; a nil
// tracer: the file names no collector. Spans that cannot be sent are dropped:
// nobody waits for them.
func openTraces(ctx context.Context, c config.Traces, gateway string, log *zap.Logger) (trace.Tracer, func(), error) {
	if c.Endpoint == "" {
		return nil, func() {}, nil
	}
	exporter, err := otlptracehttp.New(ctx, otlptracehttp.WithEndpointURL(c.Endpoint))
	if err != nil {
		return nil, nil, fmt.Errorf("traces.endpoint: %w", err)
	}
	// The library has one place for errors, for the whole process.
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("traces not sent", zap.Error(err)) }))
	provider := sdktrace.NewTracerProvider(
		sdktrace.WithBatcher(exporter),
		sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(c.Sample))),
		sdktrace.WithResource(resource.NewSchemaless(
			attribute.String("service.name", "ropeline"), attribute.String("service.version", version()),
			attribute.String("service.instance.id", gateway),
		)),
	)
	return provider.Tracer("github.com/ropeline/ropeline"), func() {
		ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), tracesEnd)
		defer cancel()
		if err := provider.Shutdown(ending); err != nil {
			log.Warn("last traces not sent", zap.Error(err))
		}
	}, nil
}
