package daemon_test

import (
	"bytes"
	"encoding/hex"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/validate"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/p2pd/p2pd/internal/daemon"
)

// planted is in headers and URLs, and nowhere to be in spans.
const planted = "planted-secret"

// spans is who collects them, as OTLP over HTTP has it.
type spans struct {
	*httptest.Server
	mu  sync.Mutex // guards what follows
	raw bytes.Buffer
	all []*tracepb.Span
}

// collect has all nodes that are started later send their spans here.
func collect(t *testing.T) *spans {
	t.Helper()
	s := &spans{}
	s.Server = httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		b, err := io.ReadAll(r.Body)
		var m collector.ExportTraceServiceRequest
		if err == nil {
			err = proto.Unmarshal(b, &m)
		}
		if err != nil || r.URL.Path != "/v1/traces" {
			t.Errorf("%s: %v", r.URL.Path, err)
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		s.raw.Write(b)
		for _, of := range m.GetResourceSpans() {
			for _, in := range of.GetScopeSpans() {
				s.all = append(s.all, in.GetSpans()...)
			}
		}
	}))
	t.Cleanup(s.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", s.URL)
	t.Setenv("OTEL_EXPORTER_OTLP_COMPRESSION", "none")
	return s
}

// names are the spans of each trace.
func (s *spans) names() map[string][]string {
	s.mu.Lock()
	defer s.mu.Unlock()
	by := make(map[string][]string)
	for _, span := range s.all {
		id := hex.EncodeToString(span.GetTraceId())
		by[id] = append(by[id], span.GetName())
	}
	return by
}

// A pull is one trace, with what the other node did for it, and what was secret
// in it is not there.
func TestATraceOfAPull(t *testing.T) {
	has := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && r.URL.RawQuery == "" {
			http.Redirect(w, r, r.URL.Path+"?sig="+planted, http.StatusTemporaryRedirect)
			return
		}
		has.ServeHTTP(w, r)
	}))
	t.Cleanup(origin.Close)
	pushed, err := random.Image(1<<20, 2)
	if err != nil {
		t.Fatal(err)
	}
	transport := client.Transport
	if err := remote.Write(tag(t, origin.Listener.Addr().String()), pushed, remote.WithTransport(transport)); err != nil {
		t.Fatal(err)
	}
	s, hub := collect(t), startHub(t)
	var running []interface{ wait(*testing.T) }
	var examples []string
	for range 2 {
		cfg := nodeConfig(t, &upstream{Server: origin})
		hub.lets(&cfg)
		cfg.Mirror.DefaultRegistry = upstreamHost
		cfg.Tracing.Enabled = true
		cfg.Access.Modes = daemon.AccessModes{upstreamHost: "open"}
		n, r := startNode(t, cfg)
		running = append(running, r)
		until(t, "the scheduler is attached", func() bool {
			_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
			return sample(t, page, "p2pd_scheduler_connected") == "1"
		})
		with := remote.WithTransport(authorized{transport})
		pulled, err := remote.Image(tag(t, n.MirrorAddr().String()), with)
		if err == nil {
			err = validate.Image(pulled)
		}
		if err != nil {
			t.Fatal(err)
		}
		until(t, "all is whole in the store", func() bool {
			_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
			return sample(t, page, "p2pd_cache_blobs") == "4" && sample(t, page, "p2pd_downloads_active") == "0"
		})
		examples = append(examples, exampleOf(t, n, "p2pd_blob_duration_seconds"), exampleOf(t, n, "p2pd_image_pull_duration_seconds"))
	}
	for _, r := range running { // the last spans are sent at the end
		r.wait(t)
	}
	for _, id := range examples {
		if s.names()[id] == nil {
			t.Errorf("metrics have an example of trace %q, which there is not", id)
		}
	}

	var first, second []string // the pull that read from the registry, and the one that did not
	for id, names := range s.names() {
		slices.Sort(names)
		t.Logf("trace %s: %q", id, names)
		if slices.Contains(names, "fetch from peer") {
			second = names
		} else if slices.Contains(names, "pull") {
			first = names
		}
	}
	for _, want := range []string{"pull", "serve tag", "resolve", "serve blob", "access", "download", "read from registry"} {
		if !slices.Contains(first, want) {
			t.Errorf("the first pull's trace has no %q", want)
		}
	}
	for _, want := range []string{"pull", "serve tag", "serve blob", "download", "fetch from peer", "give to peer"} {
		if !slices.Contains(second, want) {
			t.Errorf("the second pull's trace has no %q", want)
		}
	}
	if len(s.names()) != 2 {
		t.Errorf("%d traces of two pulls", len(s.names()))
	}
	if s.raw.Len() == 0 || bytes.Contains(s.raw.Bytes(), []byte(planted)) {
		t.Errorf("spans of %d bytes say what is secret", s.raw.Len())
	}
}

// exampleOf is the trace that a histogram of a node's metrics page has an example of;
// empty if it has none.
func exampleOf(t *testing.T, n *daemon.Node, histogram string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+n.HTTPAddr().String()+"/metrics", http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Accept", "application/openmetrics-text; version=1.0.0")
	res, err := client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	page, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile(histogram + `_bucket\{.*# \{trace_id="([0-9a-f]+)"\}`).FindSubmatch(page)
	if m == nil {
		return ""
	}
	return string(m[1])
}

// authorized shows a credential with each request.
type authorized struct{ http.RoundTripper }

func (a authorized) RoundTrip(r *http.Request) (*http.Response, error) {
	r = r.Clone(r.Context())
	r.Header.Set("Authorization", "Bearer "+planted)
	return a.RoundTripper.RoundTrip(r)
}

// What the environment says and cannot be done, is said at the start.
func TestTracingThatCannotBe(t *testing.T) {
	cfg := nodeConfig(t, newUpstream(t, 1))
	cfg.Tracing.Enabled = true
	t.Setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "smoke")
	if _, err := daemon.NewNode(cfg, "", logger(t)); err == nil || !strings.Contains(err.Error(), `tracing: OTEL_EXPORTER_OTLP_PROTOCOL="smoke": use http/protobuf or grpc`) {
		t.Errorf("error %v", err)
	}
	t.Setenv("OTEL_TRACES_EXPORTER", "zipkin")
	if _, err := daemon.NewNode(cfg, "", logger(t)); err == nil || !strings.Contains(err.Error(), `OTEL_TRACES_EXPORTER="zipkin"`) {
		t.Errorf("error %v", err)
	}
}
