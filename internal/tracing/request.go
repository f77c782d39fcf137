package tracing

import (
	"context"
	"net/http"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/p2pd/p2pd/pkg/piece"
)

const (
	// quietFor is how long after its last request a pull has ended.
	quietFor = 2 * time.Minute
	// namesMost bounds the names, of tags, manifests and blobs, that are known
	// to belong to pulls.
	namesMost = 8 << 10
	// sweepEvery is how often it is looked for pulls that have ended.
	sweepEvery = time.Second
)

// What is content that a client asks for: a tag, or a digest.
type What struct {
	Kind       string // "tag", "manifest" or "blob"
	Host, Repo string
	Tag        string
	Digest     piece.Digest
}

// name is what a pull knows it by.
func (w What) name() string {
	if w.Tag != "" {
		return w.Host + "/" + w.Repo + ":" + w.Tag
	}
	return w.Host + "/" + w.Repo + "@" + w.Digest.String()
}

// pull is the root of a trace. Its span stays open until nothing has been asked
// for it for a while, and says when that was.
type pull struct {
	span    trace.Span
	ctx     context.Context // with the span
	running int
	last    time.Time
	ended   bool
}

func (p *pull) end() {
	if !p.ended {
		p.ended = true
		p.span.End(trace.WithTimestamp(p.last))
	}
}

// Request is a client's request as a span of its pull. A nil one does nothing.
type Request struct {
	t    *Tracer
	what What
	pull *pull
	span trace.Span
	ctx  context.Context
	at   time.Time // when it came
}

// Request begins the span of a request that came at a time. It belongs to the
// pull whose earlier requests named what it asks for; a client that has a trace
// itself, and says so in the headers, has it there instead. End must be called.
func (t *Tracer) Request(at time.Time, w What, headers http.Header) *Request {
	if t == nil {
		return nil
	}
	p := t.pullOf(at, w)
	parent := propagation.TraceContext{}.Extract(p.ctx, propagation.HeaderCarrier(headers))
	ctx, span := t.tracer.Start(parent, "serve "+w.Kind, trace.WithTimestamp(at), trace.WithSpanKind(trace.SpanKindServer), trace.WithAttributes(
		attribute.String("p2pd.registry", w.Host), attribute.String("p2pd.repository", w.Repo),
	))
	if w.Tag != "" {
		span.SetAttributes(attribute.String("p2pd.tag", w.Tag))
	} else {
		span.SetAttributes(attribute.String("p2pd.digest", w.Digest.String()))
		t.mu.Lock()
		t.remember(w.Digest, asker{span.SpanContext(), at})
		t.mu.Unlock()
	}
	return &Request{t: t, what: w, pull: p, span: span, ctx: ctx, at: at}
}

// remember keeps in mind who asks for a blob. mu is held.
func (t *Tracer) remember(d piece.Digest, by asker) {
	if len(t.asked) >= namesMost {
		clear(t.asked) // their downloads begin within moments, if ever
	}
	t.asked[d.String()] = by
}

// forWhom is the context of who asked for a blob not long before a time; of
// nobody, if it is for nobody in particular. mu is held.
func (t *Tracer) forWhom(digest string, now time.Time) context.Context {
	if a, known := t.asked[digest]; known && now.Sub(a.at) <= quietFor {
		return trace.ContextWithSpanContext(context.Background(), a.by)
	}
	return context.Background()
}

// pullOf is the pull that something belongs to, which may begin with it.
func (t *Tracer) pullOf(at time.Time, w What) *pull {
	t.mu.Lock()
	defer t.mu.Unlock()
	p := t.pulls[w.name()]
	if p == nil {
		ctx, span := t.tracer.Start(context.Background(), "pull", trace.WithTimestamp(at), trace.WithNewRoot(), trace.WithAttributes(
			attribute.String("p2pd.registry", w.Host), attribute.String("p2pd.repository", w.Repo),
		))
		p = &pull{span: span, ctx: ctx, last: at}
		t.know(p, w.name())
	}
	p.running++
	return p
}

// know makes something part of a pull, unless it is of another one that has not
// ended. mu is held.
func (t *Tracer) know(p *pull, name string) {
	if other := t.pulls[name]; other != nil && !other.ended {
		return
	}
	if len(t.pulls) >= namesMost {
		for _, p := range t.pulls {
			p.end()
		}
		clear(t.pulls)
	}
	t.pulls[name] = p
}

// sweep ends the pulls that nothing was asked for in a while. mu is held.
func (t *Tracer) sweep(now time.Time) {
	for name, p := range t.pulls {
		if p.running == 0 && now.Sub(p.last) > quietFor {
			p.end()
			delete(t.pulls, name)
		}
	}
}

// Names says that what was asked for leads to these: a tag to its manifest, an
// index to manifests, a manifest to its blobs. They are of the same pull.
func (r *Request) Names(digests ...piece.Digest) {
	if r == nil {
		return
	}
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	for _, d := range digests {
		r.t.know(r.pull, What{Host: r.what.Host, Repo: r.what.Repo, Digest: d}.name())
		if r.what.Tag != "" { // its manifest is opened for this very request
			r.t.remember(d, asker{r.span.SpanContext(), r.at})
		}
	}
}

// Step begins a span for a part of the answer; the returned function ends it.
func (r *Request) Step(name string) (end func()) {
	if r == nil {
		return func() {}
	}
	_, span := r.t.tracer.Start(r.ctx, name)
	return func() { span.End() }
}

// TraceID is the ID of the trace that the request is part of, in hexadecimal
// digits; empty if it is not sent anywhere.
func (r *Request) TraceID() string {
	if r == nil || !r.span.SpanContext().IsSampled() {
		return ""
	}
	return r.span.SpanContext().TraceID().String()
}

// Result is how a request ended.
type Result struct {
	Outcome     string // "served", ...
	Failed      bool   // the client did not get it, for no fault of its own
	Status      int    // of HTTP; 0 if none was sent
	Offset      int64
	Bytes, Size int64 // sent, of the whole blob; a negative size is not known
	Source      string
}

// End ends the span.
func (r *Request) End(now time.Time, how Result) {
	if r == nil {
		return
	}
	r.span.SetAttributes(attribute.String("p2pd.outcome", how.Outcome), attribute.Int64("p2pd.bytes", how.Bytes))
	if how.Status != 0 {
		r.span.SetAttributes(attribute.Int("http.response.status_code", how.Status))
	}
	if how.Source != "" {
		r.span.SetAttributes(attribute.Int64("p2pd.offset", how.Offset), attribute.Int64("p2pd.size", how.Size), attribute.String("p2pd.source", how.Source))
	}
	if how.Failed {
		r.span.SetStatus(codes.Error, how.Outcome)
	}
	r.span.End(trace.WithTimestamp(now))
	r.t.mu.Lock()
	defer r.t.mu.Unlock()
	r.pull.running--
	if now.After(r.pull.last) {
		r.pull.last = now
	}
}
