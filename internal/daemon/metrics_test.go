package daemon_test

import (
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/internal/daemon"
)

// metricsPage is that of a node with a scheduler in it, which has given a blob
// to a client.
func metricsPage(t *testing.T) string {
	t.Helper()
	u := newUpstream(t, 1)
	u.release()
	cfg := nodeConfig(t, u)
	cfg.EmbeddedScheduler = daemon.EmbeddedConfig{Enabled: true, Membership: "token", Listen: "127.0.0.1:0"}
	n, _ := startNode(t, cfg)
	if status, _ := get(t, blobURL(n, u)); status != 200 {
		t.Fatalf("the blob: %d", status)
	}
	_, page := get(t, "http://"+n.HTTPAddr().String()+"/metrics")
	return page
}

// ours are the names of the page's metrics by their types.
func ours(page string) map[string]string {
	all := make(map[string]string)
	for line := range strings.Lines(page) {
		if fields := strings.Fields(line); strings.HasPrefix(line, "# TYPE p2p") {
			all[fields[2]] = fields[3]
		}
	}
	return all
}

// docs/metrics.md tells of every metric of p2pd and the scheduler.
func TestTheDocumentHasEveryMetric(t *testing.T) {
	text, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	found := ours(metricsPage(t))
	for name := range found {
		if !strings.Contains(string(text), "`"+name+"`") && !strings.Contains(string(text), "`"+name+"{") {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
	if len(found) < 40 {
		t.Errorf("only %d metrics on the page", len(found))
	}
}

// What libp2p and its resource manager count is on the page, and names no peer and no
// address: how many series there are does not depend on who comes.
func TestMetricsOfLibp2p(t *testing.T) {
	page := metricsPage(t)
	known := []string{
		"dir", "scope", "protocol", "resource", "transport", "security", "muxer", "early_muxer", "ip_version", "error", "key_type", "outcome", "num_dials",
		"name", "trigger", "support", "event", "subscriber_name", "le", "quantile",
	}
	label := regexp.MustCompile(`([a-z_]+)="([^"]*)"`)
	series := make(map[string]int)
	for line := range strings.Lines(page) {
		family, _, _ := strings.Cut(line, "_")
		if strings.HasPrefix(line, "#") || family != "libp2p" {
			continue
		}
		part := "libp2p"
		if strings.HasPrefix(line, "libp2p_rcmgr_") {
			part = "its resource manager"
		}
		series[part]++
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			if !slices.Contains(known, m[1]) || strings.Contains(m[2], "12D3") || strings.Contains(m[2], "127.0.0.1") {
				t.Errorf("label %s=%q of %s", m[1], m[2], line)
			}
		}
	}
	if series["libp2p"] < 10 || series["its resource manager"] < 5 {
		t.Errorf("series: %v", series)
	}
}

// Names have units as Prometheus wants them, and labels are of a fixed set of
// names whose values nobody outside can make up.
func TestNamesAndLabelsOfMetrics(t *testing.T) {
	page := metricsPage(t)
	for name, kind := range ours(page) {
		if total := strings.HasSuffix(name, "_total"); total != (kind == "counter") {
			t.Errorf("%s is a %s", name, kind)
		}
		if kind == "histogram" && !strings.HasSuffix(name, "_seconds") {
			t.Errorf("%s has no unit", name)
		}
		for _, odd := range []string{"_ms", "millis", "_mib", "_kb", "seconds_", "percent"} {
			if strings.Contains(strings.ToLower(name), odd) {
				t.Errorf("%s is in no base unit, or has it in the middle", name)
			}
		}
	}
	known := []string{
		"registry", "kind", "outcome", "code", "source", "scope", "direction", "reason", "result", "state", "what", "of", "fault", "le", "version", "go",
	}
	label, seen := regexp.MustCompile(`([a-z_]+)="([^"]*)"`), 0
	for line := range strings.Lines(page) {
		if !strings.HasPrefix(line, "p2p") {
			continue
		}
		for _, m := range label.FindAllStringSubmatch(line, -1) {
			seen++
			if !slices.Contains(known, m[1]) || strings.Contains(m[2], "sha256") || strings.HasPrefix(m[2], "12D3") || strings.Contains(m[2], "/") {
				t.Errorf("label %s=%q of %s", m[1], m[2], line)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d labels on the page", seen)
	}
}
