package tracing

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/codes"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// kept is an exporter that keeps spans, or fails.
type kept struct {
	mu    sync.Mutex // guards what follows
	spans []sdktrace.ReadOnlySpan
	err   error
}

func (k *kept) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.spans = append(k.spans, spans...)
	return k.err
}

func (*kept) Shutdown(context.Context) error { return nil }

// bench is a tracer, and the spans that it has made once it is ended.
type bench struct {
	*Tracer
	kept kept
	end  func() []sdktrace.ReadOnlySpan
}

func newBench(t *testing.T) *bench {
	t.Helper()
	b := &bench{}
	var err error
	if b.Tracer, err = New(t.Context(), Config{Service: "test", Exporter: &b.kept}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- b.Run(ctx) }()
	b.end = sync.OnceValue(func() []sdktrace.ReadOnlySpan {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
		return b.kept.spans
	})
	t.Cleanup(func() { b.end() })
	return b
}

// tree is the spans as lines: each below its parent's, in the order of names, and
// those with more children first.
func tree(spans []sdktrace.ReadOnlySpan) (lines []string) {
	var under func(parent, indent string)
	under = func(parent, indent string) {
		var here []sdktrace.ReadOnlySpan
		for _, s := range spans {
			if id := s.Parent().SpanID(); id.String() == parent {
				here = append(here, s)
			}
		}
		slices.SortStableFunc(here, func(a, b sdktrace.ReadOnlySpan) int {
			return cmp.Or(strings.Compare(a.Name(), b.Name()), cmp.Compare(b.ChildSpanCount(), a.ChildSpanCount()))
		})
		for _, s := range here {
			lines = append(lines, indent+s.Name())
			under(s.SpanContext().SpanID().String(), indent+"  ")
		}
	}
	under("0000000000000000", "")
	return lines
}

func what(kind string, of string) What {
	w := What{Kind: kind, Host: "r.test", Repo: "team/app"}
	if kind == "tag" {
		w.Tag = of
	} else {
		w.Digest = piece.Sum([]byte(of))
	}
	return w
}

// The requests of a pull are found by what named them, and a download belongs to
// the request that it began for.
func TestAPullIsATree(t *testing.T) {
	t.Parallel()
	b, now := newBench(t), time.Unix(1000, 0)
	layer := piece.Sum([]byte("layer"))
	tag := b.Request(now, what("tag", "v1"), nil)
	tag.Step("resolve")()
	tag.Names(piece.Sum([]byte("manifest")))
	tag.End(now.Add(time.Second), Result{Outcome: "served", Status: 200})
	manifest := b.Request(now.Add(time.Second), what("manifest", "manifest"), nil)
	manifest.Names(layer)
	manifest.End(now.Add(2*time.Second), Result{Outcome: "served", Status: 200})
	blob := b.Request(now.Add(2*time.Second), what("blob", "layer"), nil)
	b.Noted(layer.String(), now, journal.Asked, "of r.test")
	b.Noted(layer.String(), now, journal.Joined, "the scheduler is told")
	b.OriginRead(layer, "r.test", 0, 10)(10, nil)
	headers := make(http.Header)
	b.Fetch(layer, "peer", 10, 5, headers)(errors.New("no route to https://r.test?sig=planted"))
	b.Noted(layer.String(), now, journal.Failed, "https://r.test?sig=planted")
	b.Settled(layer.String(), []journal.Given{{From: "peer", Bytes: 5}, {From: journal.FromOrigin, Bytes: 10}})
	blob.End(now.Add(9*time.Second), Result{Outcome: "cut", Failed: true, Status: 200, Bytes: 15, Size: 20, Source: "peer"})
	other := b.Request(now, what("tag", "other"), nil)
	other.End(now, Result{Outcome: "missing", Status: 404})

	spans := b.end()
	want := []string{
		"pull", "  serve blob", "    download", "      fetch from peer", "      read from registry", "  serve manifest", "  serve tag", "    resolve",
		"pull", "  serve tag",
	}
	if diff := gocmp.Diff(want, tree(spans)); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	for _, s := range spans {
		if failed := s.Status().Code == codes.Error; failed != slices.Contains([]string{"serve blob", "download", "fetch from peer"}, s.Name()) {
			t.Errorf("%s: status %v", s.Name(), s.Status())
		}
		if s.Name() == "pull" && s.ChildSpanCount() > 1 && s.EndTime().Sub(s.StartTime()) != 9*time.Second {
			t.Errorf("the pull lasted %v", s.EndTime().Sub(s.StartTime()))
		}
		if text := fmt.Sprint(s.Attributes(), s.Events(), s.Status()); strings.Contains(text, "planted") {
			t.Errorf("%s says what is secret: %s", s.Name(), text)
		}
	}
	if headers.Get("traceparent") == "" {
		t.Error("the peer was not told of the trace")
	}
}

// What a peer gives is part of the trace that asked for it, and of none where
// none is said, or nonsense is.
func TestUploads(t *testing.T) {
	t.Parallel()
	child, parent := newBench(t), newBench(t)
	d, headers := piece.Sum([]byte("layer")), make(http.Header)
	ended := child.Fetch(d, "parent", 0, 5, headers)
	for _, h := range []http.Header{headers, {}, {"Traceparent": {"nonsense"}}} {
		parent.Upload(d, "child", 0, 5, h)(nil)
	}
	ended(nil)
	asked, gave := child.end(), parent.end()
	if len(asked) != 1 || len(gave) != 1 || gave[0].Parent().SpanID() != asked[0].SpanContext().SpanID() {
		t.Errorf("asked %d, gave %d", len(asked), len(gave))
	}
}

// A client that has a trace itself finds its requests there.
func TestTheClientsTrace(t *testing.T) {
	t.Parallel()
	b := newBench(t)
	h := http.Header{"Traceparent": {"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}}
	b.Request(time.Now(), what("blob", "x"), h).End(time.Now(), Result{})
	for _, s := range b.end() {
		if s.Name() == "serve blob" && s.SpanContext().TraceID().String() != "0af7651916cd43dd8448eb211c80319c" {
			t.Errorf("it is in %s", s.SpanContext().TraceID())
		}
	}
}

// A pull ends when nothing has been asked for in a while; what is asked for then
// is another one.
func TestAPullEnds(t *testing.T) {
	t.Parallel()
	b, now := newBench(t), time.Unix(1000, 0)
	for _, at := range []time.Time{now, now.Add(quietFor), now.Add(3 * quietFor)} {
		b.mu.Lock()
		b.sweep(at)
		b.mu.Unlock()
		b.Request(at, what("tag", "v1"), nil).End(at, Result{})
	}
	pulls := 0
	for _, s := range b.end() {
		if s.Name() == "pull" {
			pulls++
		}
	}
	if pulls != 2 {
		t.Errorf("%d pulls, want 2", pulls)
	}
}

// What begins long after somebody has asked is not for them.
func TestADownloadForNobody(t *testing.T) {
	t.Parallel()
	b, now, d := newBench(t), time.Unix(1000, 0), piece.Sum([]byte("layer"))
	b.Request(now, what("blob", "layer"), nil).End(now, Result{})
	b.Noted(d.String(), now.Add(quietFor+1), journal.Joined, "")
	b.Settled(d.String(), nil)
	if diff := gocmp.Diff([]string{"download", "pull", "  serve blob"}, tree(b.end())); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
}

// A layer of thousands of pieces has some spans of them, and what is remembered
// is bounded.
func TestBounds(t *testing.T) {
	t.Parallel()
	b, d := newBench(t), piece.Sum([]byte("layer"))
	b.Noted(d.String(), time.Now(), journal.Joined, "")
	for range 3 * fetchesMost {
		b.Fetch(d, "peer", 0, 1, make(http.Header))(nil)
	}
	for i := range 2 * namesMost {
		r := b.Request(time.Now(), What{Kind: "blob", Digest: piece.Digest{byte(i), byte(i >> 8), 1}}, nil)
		r.End(time.Now(), Result{})
	}
	if len(b.pulls) > namesMost || len(b.asked) > namesMost {
		t.Errorf("%d names, %d askers", len(b.pulls), len(b.asked))
	}
	fetches := 0
	for _, s := range b.end() {
		if s.Name() == "fetch from peer" {
			fetches++
		}
	}
	if fetches != fetchesMost {
		t.Errorf("%d spans of pieces", fetches)
	}
}

// Without a tracer nothing happens, nothing breaks, and nothing is allocated.
func TestNobody(t *testing.T) { // not parallel: it counts allocations
	var nobody *Tracer
	h, now := make(http.Header), time.Now()
	if n := testing.AllocsPerRun(100, func() {
		r := nobody.Request(now, What{}, h)
		r.Step("access")()
		r.End(now, Result{})
		nobody.Fetch(piece.Digest{}, "peer", 0, 1, h)(nil)
		nobody.Upload(piece.Digest{}, "peer", 0, 1, h)(nil)
	}); n != 0 {
		t.Errorf("%v allocations", n)
	}
	r := nobody.Request(time.Now(), What{}, h)
	r.Names(piece.Digest{})
	r.Step("access")()
	r.End(time.Now(), Result{})
	nobody.Fetch(piece.Digest{}, "", 0, 1, h)(nil)
	nobody.Upload(piece.Digest{}, "", 0, 1, h)(nil)
	if len(h) != 0 {
		t.Errorf("headers %v", h)
	}
}

// Spans that cannot be sent are told of once, and are no failure.
func TestSpansThatAreLost(t *testing.T) {
	t.Parallel()
	k := &kept{err: errors.New("nobody collects")}
	p := &patient{SpanExporter: k, log: newCounter()}
	for range 3 {
		if err := p.ExportSpans(t.Context(), nil); err != nil {
			t.Error(err)
		}
	}
	k.err = nil
	_ = p.ExportSpans(t.Context(), nil)
	k.err = errors.New("again")
	_ = p.ExportSpans(t.Context(), nil)
	if n := counted(p.log); n != 2 {
		t.Errorf("told %d times, want 2", n)
	}
}
