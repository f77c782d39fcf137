package tracing

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracegrpc"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"
)

const (
	// scope names what makes the spans.
	scope = "github.com/p2pd/p2pd"
	// endWithin bounds what is sent when the program ends.
	endWithin = 3 * time.Second
)

// Config is what a Tracer is made of.
type Config struct {
	// Service is what spans say they are of, unless OTEL_SERVICE_NAME does.
	Service, Version string
	// Attributes are said of all spans, besides OTEL_RESOURCE_ATTRIBUTES: pairs
	// of names and values.
	Attributes map[string]string
	// Exporter takes the spans; nil: what the environment says.
	Exporter sdktrace.SpanExporter
	Logger   *slog.Logger // nil discards
}

// Tracer makes spans. Make one with New, and run it. A nil one does nothing.
// Methods may be called concurrently.
type Tracer struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer

	mu        sync.Mutex // guards what follows
	pulls     map[string]*pull
	asked     map[string]asker     // who last asked for a blob, by its digest
	downloads map[string]*download // by digest
}

// asker is a request, and when it came.
type asker struct {
	by trace.SpanContext
	at time.Time
}

// New makes a tracer. It connects to nobody yet.
func New(ctx context.Context, cfg Config) (*Tracer, error) {
	if cfg.Logger == nil {
		cfg.Logger = slog.New(slog.DiscardHandler)
	}
	exporter := cfg.Exporter
	if exporter == nil {
		var err error
		if exporter, err = exporterOf(ctx, os.Getenv); err != nil {
			return nil, err
		}
	}
	about := []attribute.KeyValue{attribute.String("service.name", cfg.Service), attribute.String("service.version", cfg.Version)}
	for k, v := range cfg.Attributes {
		about = append(about, attribute.String(k, v))
	}
	who, err := resource.New(ctx, resource.WithAttributes(about...), resource.WithFromEnv())
	if err != nil {
		return nil, fmt.Errorf("OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	// The sampler is the environment's: OTEL_TRACES_SAMPLER.
	provider := sdktrace.NewTracerProvider(sdktrace.WithResource(who), sdktrace.WithBatcher(&patient{SpanExporter: exporter, log: cfg.Logger}))
	return &Tracer{
		provider: provider, tracer: provider.Tracer(scope, trace.WithInstrumentationVersion(cfg.Version)),
		pulls: make(map[string]*pull), asked: make(map[string]asker), downloads: make(map[string]*download),
	}, nil
}

// exporterOf is what the environment says: OTLP over HTTP or gRPC, to
// OTEL_EXPORTER_OTLP_ENDPOINT and its kin.
func exporterOf(ctx context.Context, env func(string) string) (sdktrace.SpanExporter, error) {
	if kind := cmp.Or(env("OTEL_TRACES_EXPORTER"), "otlp"); kind != "otlp" {
		return nil, fmt.Errorf("OTEL_TRACES_EXPORTER=%q: spans can be sent by otlp only; to send none, turn tracing off", kind)
	}
	switch protocol := cmp.Or(env("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), env("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf"); protocol {
	case "http/protobuf":
		return otlptracehttp.New(ctx)
	case "grpc":
		return otlptracegrpc.New(ctx)
	default:
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL=%q: use http/protobuf or grpc", protocol)
	}
}

// Run sends spans until ctx ends, and then the last ones.
func (t *Tracer) Run(ctx context.Context) error {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for ctx.Err() == nil {
		select {
		case now := <-tick.C:
			t.mu.Lock()
			t.sweep(now)
			t.mu.Unlock()
		case <-ctx.Done():
		}
	}
	t.endAll()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), endWithin)
	defer cancel()
	return t.provider.Shutdown(ctx)
}

// endAll ends the spans that would have ended later.
func (t *Tracer) endAll() {
	t.mu.Lock()
	defer t.mu.Unlock()
	for _, p := range t.pulls {
		p.end()
	}
	clear(t.pulls)
	for _, d := range t.downloads {
		d.span.End()
	}
	clear(t.downloads)
}

// patient is an exporter whose failures are told once until it works again: who
// collects spans is not needed for a pull.
type patient struct {
	sdktrace.SpanExporter
	log *slog.Logger

	mu     sync.Mutex
	failed bool
}

// ExportSpans implements sdktrace.SpanExporter.
func (p *patient) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := p.SpanExporter.ExportSpans(ctx, spans)
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil && !p.failed {
		p.log.Warn("spans are lost: they cannot be sent", "err", err)
	}
	p.failed = err != nil
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (p *patient) Shutdown(ctx context.Context) error {
	if err := p.SpanExporter.Shutdown(ctx); err != nil {
		p.log.Debug("end the sending of spans", "err", err)
	}
	return nil
}
