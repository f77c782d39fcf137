package tracing

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
)

// fetchesMost bounds the spans of one download for pieces: a large layer has
// thousands of them, and the first tell whom they came from and how fast.
const fetchesMost = 128

// download is the arrival of a blob, for the request that asked for it.
type download struct {
	span    trace.Span
	ctx     context.Context // with the span
	fetches int
}

var _ journal.Listener = (*Tracer)(nil)

// Noted implements journal.Listener: what happens to a download are the events
// of its span. Whom a client is and what a registry says is left out.
func (t *Tracer) Noted(name string, at time.Time, k journal.Kind, text string) {
	switch k {
	case journal.Asked, journal.Refused: // these are of requests
		return
	case journal.Failed, journal.LeaseEnd, journal.False: // these quote errors
		text = ""
	case journal.Joined, journal.Introduced, journal.Parted, journal.Blamed, journal.Lease, journal.Waiting, journal.Repaired, journal.Complete, journal.Left:
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.downloads[name]
	if d == nil {
		d = &download{}
		d.ctx, d.span = t.tracer.Start(t.forWhom(name, at), "download", trace.WithTimestamp(at), trace.WithAttributes(attribute.String("p2pd.digest", name)))
		t.downloads[name] = d
	}
	event := []trace.EventOption{trace.WithTimestamp(at)}
	if text != "" {
		event = append(event, trace.WithAttributes(attribute.String("p2pd.text", text)))
	}
	d.span.AddEvent(string(k), event...)
	if k == journal.Failed {
		d.span.SetStatus(codes.Error, "")
	}
}

// Settled implements journal.Listener: the download has ended.
func (t *Tracer) Settled(name string, given []journal.Given) {
	t.mu.Lock()
	defer t.mu.Unlock()
	d := t.downloads[name]
	if d == nil {
		return
	}
	delete(t.downloads, name)
	by := map[string]int64{"peers": 0, journal.FromOrigin: 0, journal.FromDisk: 0}
	for _, g := range given {
		from := g.From
		if _, known := by[from]; !known {
			from = "peers"
			d.span.AddEvent("given", trace.WithAttributes(attribute.String("p2pd.peer", g.From), attribute.Int64("p2pd.bytes", g.Bytes)))
		}
		by[from] += g.Bytes
	}
	for from, n := range by {
		d.span.SetAttributes(attribute.Int64("p2pd.bytes."+from, n))
	}
	d.span.End()
}

// child begins a span of a blob's download, or one of nothing if none runs. It
// is nil past the limit of spans for pieces, if it is one of those.
func (t *Tracer) child(digest, name string, ofPiece bool, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	t.mu.Lock()
	parent := t.forWhom(digest, time.Now())
	if d := t.downloads[digest]; d != nil {
		parent = d.ctx
		if ofPiece {
			d.fetches++
			if d.fetches > fetchesMost {
				t.mu.Unlock()
				return nil, nil
			}
		}
	}
	t.mu.Unlock()
	return t.tracer.Start(parent, name, options...)
}

// OriginRead begins the span of a read from a registry, which is n bytes from
// off on; negative: all. The returned function ends it.
func (t *Tracer) OriginRead(d piece.Digest, host string, off, n int64) (end func(bytes int64, err error)) {
	_, span := t.child(d.String(), "read from registry", false, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("p2pd.digest", d.String()), attribute.String("p2pd.registry", host), attribute.Int64("p2pd.offset", off), attribute.Int64("p2pd.size", n),
	))
	return func(bytes int64, err error) {
		span.SetAttributes(attribute.Int64("p2pd.bytes", bytes))
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Fetch begins the span of a piece that is fetched from a peer, and tells that
// peer of it in the headers of the request. The returned function ends it.
func (t *Tracer) Fetch(d piece.Digest, peer string, off, n int64, headers http.Header) (end func(err error)) {
	if t == nil {
		return func(error) {}
	}
	ctx, span := t.child(d.String(), "fetch from peer", true, trace.WithSpanKind(trace.SpanKindClient), trace.WithAttributes(
		attribute.String("p2pd.peer", peer), attribute.Int64("p2pd.offset", off), attribute.Int64("p2pd.size", n),
	))
	if span == nil {
		return func(error) {}
	}
	propagation.TraceContext{}.Inject(ctx, propagation.HeaderCarrier(headers))
	return func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}

// Upload begins the span of a piece that is given to a peer, which is part of
// that peer's trace if it has said so in the headers, and of none otherwise. The
// returned function ends it.
func (t *Tracer) Upload(d piece.Digest, peer string, off, n int64, headers http.Header) (end func(err error)) {
	if t == nil || headers.Get("traceparent") == "" {
		return func(error) {}
	}
	parent := propagation.TraceContext{}.Extract(context.Background(), propagation.HeaderCarrier(headers))
	if !trace.SpanContextFromContext(parent).IsValid() {
		return func(error) {}
	}
	_, span := t.tracer.Start(parent, "give to peer", trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("p2pd.digest", d.String()), attribute.String("p2pd.peer", peer), attribute.Int64("p2pd.offset", off), attribute.Int64("p2pd.size", n),
	))
	return func(err error) {
		if err != nil {
			span.SetStatus(codes.Error, "")
		}
		span.End()
	}
}
