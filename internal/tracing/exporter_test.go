package tracing

import (
	"context"
	"net"
	"strings"
	"testing"
	"time"

	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	"google.golang.org/grpc"
)

// grpcCollector takes spans over gRPC.
type grpcCollector struct {
	collector.UnimplementedTraceServiceServer
	names chan string
}

func (c *grpcCollector) Export(_ context.Context, r *collector.ExportTraceServiceRequest) (*collector.ExportTraceServiceResponse, error) {
	for _, of := range r.GetResourceSpans() {
		for _, in := range of.GetScopeSpans() {
			for _, s := range in.GetSpans() {
				c.names <- s.GetName()
			}
		}
	}
	return &collector.ExportTraceServiceResponse{}, nil
}

// Spans go over gRPC, too, where the environment says so.
func TestOverGRPC(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	c, srv := &grpcCollector{names: make(chan string, 10)}, grpc.NewServer()
	collector.RegisterTraceServiceServer(srv, c)
	done := make(chan error, 1)
	go func() { done <- srv.Serve(l) }()
	t.Cleanup(func() { srv.Stop(); <-done })
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://"+l.Addr().String())
	t.Setenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "grpc")
	tr, err := New(t.Context(), Config{Service: "test"})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- tr.Run(ctx) }()
	tr.Request(time.Now(), what("tag", "v1"), nil).End(time.Now(), Result{})
	cancel()
	if err := <-ended; err != nil {
		t.Error(err)
	}
	if got := <-c.names + " " + <-c.names; !strings.Contains(got, "pull") || !strings.Contains(got, "serve tag") {
		t.Errorf("spans %q", got)
	}
}
