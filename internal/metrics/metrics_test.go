package metrics_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus"
	dto "github.com/prometheus/client_model/go"
	"github.com/prometheus/common/expfmt"

	"github.com/p2pd/p2pd/internal/histogram"
	"github.com/p2pd/p2pd/internal/metrics"
)

// scrape is a page without the runtime's and the process's own metrics.
func scrape(t *testing.T, read func() []metrics.Metric) []string {
	t.Helper()
	return scrapeAs(t, "", read)
}

// scrapeAs is scrape of who accepts a kind of page.
func scrapeAs(t *testing.T, accept string, read func() []metrics.Metric, others ...prometheus.Gatherer) []string {
	t.Helper()
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
	r.Header.Set("Accept", accept)
	metrics.Handler("demo_build_info", "v1", read, others...).ServeHTTP(w, r)
	if w.Code != 200 {
		t.Fatalf("status %d: %s", w.Code, w.Body)
	}
	own := slices.DeleteFunc(strings.Split(w.Body.String(), "\n"), func(line string) bool {
		return !strings.Contains(line, "demo_") || strings.Contains(line, "demo_build_info")
	})
	if !strings.Contains(w.Body.String(), `version="v1"`) {
		t.Error("the page does not tell the version")
	}
	return own
}

// The page is read anew for each scrape, and has kinds, helps and labels.
func TestPage(t *testing.T) {
	n := 0
	read := func() []metrics.Metric {
		n++
		return []metrics.Metric{
			metrics.Counter("demo_a_total", "Counts a.", n),
			metrics.Gauge("demo_b", "Now b.", -2),
			{Name: "demo_c_total", Help: "Counts c.", Samples: []metrics.Sample{
				metrics.By("kind", "one", 1), metrics.By("kind", "two", 2),
			}},
		}
	}
	for _, a := range []string{"1", "2"} {
		want := []string{
			"# HELP demo_a_total Counts a.", "# TYPE demo_a_total counter", "demo_a_total " + a,
			"# HELP demo_b Now b.", "# TYPE demo_b gauge", "demo_b -2",
			"# HELP demo_c_total Counts c.", "# TYPE demo_c_total counter", `demo_c_total{kind="one"} 1`, `demo_c_total{kind="two"} 2`,
		}

		if diff := cmp.Diff(want, scrape(t, read)); diff != "" {
			t.Errorf("page (-want +got):\n%s", diff)
		}
	}
}

// A histogram's buckets are cumulative, and in seconds.
func TestHistogram(t *testing.T) {
	t.Parallel()
	d := histogram.New(250*time.Millisecond, 300*time.Second)
	for _, took := range []time.Duration{time.Millisecond, 299 * time.Second, time.Hour} {
		d.Observe(took)
	}
	got := scrape(t, func() []metrics.Metric {
		return []metrics.Metric{
			metrics.Histogram("demo_plain_seconds", "How long.", histogram.New(time.Second).Snapshot()),
			{Name: "demo_took_seconds", Help: "How long.", Spread: []metrics.Spread{{Labels: metrics.Labels("how", "well"), Snapshot: d.Snapshot()}}},
		}
	})
	want := []string{
		"# HELP demo_plain_seconds How long.", "# TYPE demo_plain_seconds histogram",
		`demo_plain_seconds_bucket{le="1"} 0`, `demo_plain_seconds_bucket{le="+Inf"} 0`, "demo_plain_seconds_sum 0", "demo_plain_seconds_count 0",
		"# HELP demo_took_seconds How long.", "# TYPE demo_took_seconds histogram",
		`demo_took_seconds_bucket{how="well",le="0.25"} 1`, `demo_took_seconds_bucket{how="well",le="300"} 2`, `demo_took_seconds_bucket{how="well",le="+Inf"} 3`,
		`demo_took_seconds_sum{how="well"} 3899.001`, `demo_took_seconds_count{how="well"} 3`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("page (-want +got):\n%s", diff)
	}
}

// Who asks for OpenMetrics, as Prometheus does, gets a trace for each bucket that has
// one; others get the page without.
func TestExemplars(t *testing.T) {
	t.Parallel()
	d := histogram.New(time.Second)
	d.ObserveTraced(histogram.Exemplar{Trace: "4bf92f3577b34da6a3ce929d0e0e4736", Took: 250 * time.Millisecond, At: time.Unix(12, 0)})
	d.ObserveTraced(histogram.Exemplar{Trace: "00f067aa0ba902b700f067aa0ba902b7", Took: time.Minute, At: time.Unix(13, 0)})
	read := func() []metrics.Metric {
		return []metrics.Metric{metrics.Histogram("demo_took_seconds", "How long.", d.Snapshot())}
	}
	buckets := func(page []string) []string {
		return slices.DeleteFunc(page, func(line string) bool { return !strings.Contains(line, "_bucket") })
	}
	want := []string{
		`demo_took_seconds_bucket{le="1.0"} 1 # {trace_id="4bf92f3577b34da6a3ce929d0e0e4736"} 0.25 12.0`,
		`demo_took_seconds_bucket{le="+Inf"} 2 # {trace_id="00f067aa0ba902b700f067aa0ba902b7"} 60.0 13.0`,
	}
	if diff := cmp.Diff(want, buckets(scrapeAs(t, "application/openmetrics-text; version=1.0.0", read))); diff != "" {
		t.Errorf("OpenMetrics (-want +got):\n%s", diff)
	}
	want = []string{`demo_took_seconds_bucket{le="1"} 1`, `demo_took_seconds_bucket{le="+Inf"} 2`}
	if diff := cmp.Diff(want, buckets(scrape(t, read))); diff != "" {
		t.Errorf("plain text (-want +got):\n%s", diff)
	}
}

// Who scrapes protobuf gets the same histogram in both forms: as a native one whose
// buckets count each duration where its bounds say, and with the buckets that have
// names, each with its exemplar.
func TestNativeHistogram(t *testing.T) {
	t.Parallel()
	d := histogram.New(time.Second)
	for _, took := range []time.Duration{0, 250 * time.Millisecond, 260 * time.Millisecond, time.Second} {
		d.Observe(took)
	}
	d.ObserveTraced(histogram.Exemplar{Trace: "00f067aa0ba902b700f067aa0ba902b7", Took: time.Minute, At: time.Unix(13, 0)})
	w, r := httptest.NewRecorder(), httptest.NewRequest("GET", "/metrics", nil)
	format := expfmt.NewFormat(expfmt.TypeProtoDelim)
	r.Header.Set("Accept", string(format))
	metrics.Handler("demo_build_info", "v1", func() []metrics.Metric {
		return []metrics.Metric{metrics.Histogram("demo_took_seconds", "How long.", d.Snapshot())}
	}).ServeHTTP(w, r)
	var got *dto.Histogram
	for pages := expfmt.NewDecoder(w.Body, format); got == nil; {
		var family dto.MetricFamily
		if err := pages.Decode(&family); err != nil {
			t.Fatal(err)
		}
		if family.GetName() == "demo_took_seconds" {
			got = family.Metric[0].Histogram
		}
	}
	if got.GetSampleCount() != 5 || got.GetZeroCount() != 1 || got.GetSchema() != 3 || len(got.Bucket) != 2 || got.Bucket[1].Exemplar == nil {
		t.Errorf("histogram: %v", got)
	}
	counts, at, n := make(map[int32]int64), int32(0), int64(0)
	deltas := got.PositiveDelta
	for _, span := range got.PositiveSpan {
		at += span.GetOffset()
		for range span.GetLength() {
			n, deltas = n+deltas[0], deltas[1:]
			if n > 0 {
				counts[at] = n
			}
			at++
		}
	}
	// 2^(-16/8) is 0.25, 2^(-15/8) 0.27, 2^0 1 and 2^(48/8) 64.
	if diff := cmp.Diff(map[int32]int64{-16: 1, -15: 1, 0: 1, 48: 1}, counts); diff != "" {
		t.Errorf("buckets (-want +got):\n%s", diff)
	}
}

// What others count is on the page, too.
func TestOthers(t *testing.T) {
	t.Parallel()
	reg := prometheus.NewRegistry()
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: "demo_other_total", Help: "Another's."})
	reg.MustRegister(c)
	c.Inc()
	got := scrapeAs(t, "", func() []metrics.Metric { return nil }, reg)
	if !slices.Contains(got, "demo_other_total 1") {
		t.Errorf("page: %q", got)
	}
}

// Two handlers in one process do not know of each other.
func TestNoGlobalRegistry(t *testing.T) {
	one := scrape(t, func() []metrics.Metric { return []metrics.Metric{metrics.Gauge("demo_one", "One.", 1)} })
	two := scrape(t, func() []metrics.Metric { return []metrics.Metric{metrics.Gauge("demo_two", "Two.", 2)} })
	if len(one) != 3 || len(two) != 3 || strings.Contains(strings.Join(two, ""), "demo_one") {
		t.Errorf("pages:\n%q\n%q", one, two)
	}
}
