package monitoring_test

import (
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"
)

const runbooks = "https://github.com/p2pd/p2pd/blob/main/docs/runbooks.md#"

// rule is one of rules.yaml, an alert or something recorded.
type rule struct {
	Alert, Record, Expr, For string
	Labels, Annotations      map[string]string
}

func rules(t *testing.T) (all []rule) {
	t.Helper()
	b, err := os.ReadFile("rules.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		Groups []struct {
			Name  string
			Rules []rule
		}
	}
	if err := yaml.UnmarshalStrict(b, &file); err != nil {
		t.Fatal(err)
	}
	for _, g := range file.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// anchors are the headings of docs/runbooks.md, as GitHub links to them.
func anchors(t *testing.T) (all []string) {
	t.Helper()
	b, err := os.ReadFile("../../docs/runbooks.md")
	if err != nil {
		t.Fatal(err)
	}
	for line := range strings.Lines(string(b)) {
		if title, ok := strings.CutPrefix(line, "## "); ok {
			all = append(all, strings.ToLower(strings.TrimSpace(title)))
		}
	}
	return all
}

// The chart replaces an alert's threshold where the expression ends.
var threshold = regexp.MustCompile(`[<>] [0-9.e]+\s*$`)

// Who is woken by an alert must find what it means and what to do, and who
// installs it must be able to change it.
func TestAlerts(t *testing.T) {
	t.Parallel()
	tests, err := os.ReadFile("rules.test.yaml")
	if err != nil {
		t.Fatal(err)
	}
	explained, seen := anchors(t), []string{}
	for _, r := range rules(t) {
		if r.Alert == "" {
			continue
		}
		anchor, ok := strings.CutPrefix(r.Annotations["runbook_url"], runbooks)
		if !ok || anchor != strings.ToLower(r.Alert) || !slices.Contains(explained, anchor) {
			t.Errorf("%s: runbook_url %q leads nowhere", r.Alert, r.Annotations["runbook_url"])
		}
		if s := r.Labels["severity"]; s != "warning" && s != "critical" {
			t.Errorf("%s: severity %q", r.Alert, s)
		}
		if r.For == "" || r.Annotations["summary"] == "" {
			t.Errorf("%s: for %q, summary %q", r.Alert, r.For, r.Annotations["summary"])
		}
		if !threshold.MatchString(r.Expr) {
			t.Errorf("%s: its expression does not end with its threshold: %s", r.Alert, r.Expr)
		}
		if !strings.Contains(string(tests), "alertname: "+r.Alert+"\n") {
			t.Errorf("%s: rules.test.yaml does not show that it fires", r.Alert)
		}
		seen = append(seen, anchor)
	}
	for _, a := range explained {
		if !slices.Contains(seen, a) {
			t.Errorf("docs/runbooks.md explains %s, which is no alert", a)
		}
	}
}

// promtool is where the program is; the test is skipped without one.
func promtool(t *testing.T) string {
	t.Helper()
	program := os.Getenv("P2PD_PROMTOOL")
	if program == "" {
		t.Skip("P2PD_PROMTOOL names no promtool; 'make check-monitoring' builds one")
	}
	return program
}

func run(t *testing.T, program string, args ...string) {
	t.Helper()
	if out, err := exec.CommandContext(t.Context(), program, args...).CombinedOutput(); err != nil {
		t.Errorf("%s: %v\n%s", strings.Join(args, " "), err, out)
	}
}

// Prometheus takes the rules, and they fire where they should.
func TestPromtool(t *testing.T) {
	t.Parallel()
	program := promtool(t)
	run(t, program, "check", "rules", "--lint-fatal", "rules.yaml")
	run(t, program, "test", "rules", "rules.test.yaml")
}

// Prometheus takes the expressions of the dashboards, once Grafana has filled
// in its variables.
func TestPromtoolDashboards(t *testing.T) {
	t.Parallel()
	program := promtool(t)
	fill := strings.NewReplacer("$__rate_interval", "5m", "$__range", "3h", "$node", "a|b")
	type recorded struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var all []recorded
	for _, b := range boards(t) {
		for i, expr := range b.exprs() {
			all = append(all, recorded{"expression:" + strings.ReplaceAll(b.UID, "-", "_") + ":" + strings.Repeat("i", i+1), fill.Replace(expr)})
		}
	}
	text, err := json.Marshal(map[string]any{"groups": []any{map[string]any{"name": "dashboards", "rules": all}}})
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("$")) {
		t.Error("there are variables that this test does not know")
	}
	file := filepath.Join(t.TempDir(), "dashboards.json") // JSON is YAML
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	run(t, program, "check", "rules", file)
}
