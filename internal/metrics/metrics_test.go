package metrics_test

import (
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/histogram"
	"github.com/p2pd/p2pd/internal/metrics"
)

// scrape is a page without the runtime's and the process's own metrics.
func scrape(t *testing.T, read func() []metrics.Metric) []string {
	t.Helper()
	w := httptest.NewRecorder()
	metrics.Handler("demo_build_info", "v1", read).ServeHTTP(w, httptest.NewRequest("GET", "/metrics", nil))
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

// Two handlers in one process do not know of each other.
func TestNoGlobalRegistry(t *testing.T) {
	one := scrape(t, func() []metrics.Metric { return []metrics.Metric{metrics.Gauge("demo_one", "One.", 1)} })
	two := scrape(t, func() []metrics.Metric { return []metrics.Metric{metrics.Gauge("demo_two", "Two.", 2)} })
	if len(one) != 3 || len(two) != 3 || strings.Contains(strings.Join(two, ""), "demo_one") {
		t.Errorf("pages:\n%q\n%q", one, two)
	}
}
