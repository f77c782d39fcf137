package monitoring_test

import (
	"context"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/internal/ctl"
	"github.com/p2pd/p2pd/internal/daemon"
)

// page is what a running program's /metrics says.
type page struct {
	types   map[string]string // by name
	samples []string          // their lines
}

// scrape reads the pages of programs that run.
func scrape(t *testing.T, addresses ...string) page {
	t.Helper()
	all := page{types: make(map[string]string)}
	for _, a := range addresses {
		for line := range strings.Lines(get(t, "http://"+a+"/metrics")) {
			fields := strings.Fields(line)
			switch {
			case strings.HasPrefix(line, "# TYPE "):
				all.types[fields[2]] = fields[3]
			case !strings.HasPrefix(line, "#"):
				all.samples = append(all.samples, strings.TrimSpace(line))
			}
		}
	}
	return all
}

// start runs a scheduler of several and a node that has another one in itself,
// as they come, until the test ends.
func start(t *testing.T) (addresses []string) {
	t.Helper()
	dir, silent := t.TempDir(), slog.New(slog.DiscardHandler)
	hc := daemon.HubConfig{Listen: "127.0.0.1:0"}
	hc.HTTP.Listen = "127.0.0.1:0"
	hc.Membership = daemon.HubMembership{Mode: "token", KeyFile: filepath.Join(dir, "cluster.key"), CredentialLife: daemon.Duration(time.Hour)}
	hc.Fleet = daemon.FleetConfig{Listen: "127.0.0.1:0", Advertise: "scheduler.test:7310"}
	hub, err := daemon.NewHub(hc, "test", silent)
	if err != nil {
		t.Fatal(err)
	}
	var nc daemon.NodeConfig
	nc.Store.Path = filepath.Join(dir, "store")
	nc.Mirror.Listen, nc.HTTP.Listen, nc.Mirror.RangeFetch = "127.0.0.1:0", "127.0.0.1:0", "pieces"
	nc.Peer.Listen, nc.Peer.BulkListen, nc.Peer.BulkTLS = "127.0.0.1:0", "127.0.0.1:0", true
	nc.AllowAllRegistries, nc.Discovery.Enabled = true, true
	nc.Containerd.Socket, nc.Containerd.Root = filepath.Join(dir, "nobody.sock"), dir
	nc.EmbeddedScheduler = daemon.EmbeddedConfig{Enabled: true, Membership: "token", Listen: "127.0.0.1:0"}
	node, err := daemon.NewNode(nc, "test", silent)
	if err != nil {
		t.Fatal(err)
	}
	for _, run := range []func(context.Context) error{hub.Run, node.Run} {
		ctx, cancel := context.WithCancel(context.Background())
		done := make(chan error, 1)
		go func() { done <- run(ctx) }()
		t.Cleanup(func() {
			cancel()
			if err := <-done; err != nil {
				t.Error(err)
			}
		})
	}
	get(t, "http://"+node.MirrorAddr().String()+"/v2/")
	return []string{hub.HTTPAddr().String(), node.HTTPAddr().String(), startCanary(t, filepath.Join(nc.Store.Path, "p2pd.sock"))}
}

// startCanary has a node checked until the test ends. It serves before its
// first run.
func startCanary(t *testing.T, node string) (address string) {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address = l.Addr().String()
	_ = l.Close()
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan int, 1)
	go func() {
		done <- ctl.Main(ctx, []string{"p2pctl", "check", "--every", "1h", "--metrics", address, "--root", filepath.Dir(node), "--node", "unix://" + node}, io.Discard, io.Discard)
	}()
	t.Cleanup(func() {
		cancel()
		if code := <-done; code != 0 {
			t.Errorf("the canary ended with %d", code)
		}
	})
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); time.Sleep(10 * time.Millisecond) {
		if conn, err := net.Dial("tcp", address); err == nil { //nolint:noctx // to this machine
			_ = conn.Close()
			return address
		}
	}
	t.Fatal("the canary does not listen")
	return ""
}

// get is what an address answers.
func get(t *testing.T, url string) string {
	t.Helper()
	r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, http.NoBody)
	if err != nil {
		t.Fatal(err)
	}
	res, err := http.DefaultClient.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

var (
	ourMetric = regexp.MustCompile(`\bp2p(?:d|sched)_[a-z0-9_]+(\{[^}]*\})?`)
	recordedN = regexp.MustCompile(`\bp2pd:[a-z0-9_:]+`)
	matcher   = regexp.MustCompile(`([a-z_]+)(=~|!=|!~|=)"([^"]*)"`)
	grouping  = regexp.MustCompile(`\bby \(([^)]*)\)`)
)

// has says what is missing of a selector such as p2pd_x_total{kind="y"}; empty:
// nothing is. instance is Prometheus' own label.
func (p page) has(selector string) string {
	name, _, _ := strings.Cut(selector, "{")
	base := name
	for _, suffix := range []string{"_bucket", "_sum", "_count"} {
		if short := strings.TrimSuffix(name, suffix); p.types[short] == "histogram" {
			base = short
		}
	}
	if p.types[base] == "" {
		return "no metric " + name
	}
	for _, m := range matcher.FindAllStringSubmatch(selector, -1) {
		label := m[1] + `="`
		if m[2] == "=" {
			label += m[3] + `"`
		}
		there := slices.ContainsFunc(p.samples, func(s string) bool { return strings.HasPrefix(s, name+"{") && strings.Contains(s, label) })
		if m[1] != "instance" && !there {
			return name + " has no " + m[0]
		}
	}
	return ""
}

// What alerts and dashboards ask for is what running programs say, down to the
// values of labels: what is misspelt is silent for ever. Documents and examples
// name no others.
func TestEveryMetricIsThere(t *testing.T) {
	t.Parallel()
	exprs, recorded := []string{}, []string{}
	for _, r := range rules(t) {
		exprs = append(exprs, r.Expr)
		if r.Record != "" {
			recorded = append(recorded, r.Record)
		}
	}
	for _, b := range boards(t) {
		exprs = append(exprs, b.exprs()...)
	}
	addresses, seen := start(t), 0
	p := scrape(t, addresses...)
	for deadline := time.Now().Add(30 * time.Second); p.has(`p2psched_events_total{kind="hello"}`) != "" && time.Now().Before(deadline); p = scrape(t, addresses...) {
		time.Sleep(10 * time.Millisecond) // the node is on its way to its scheduler
	}
	for _, e := range exprs {
		for _, selector := range ourMetric.FindAllString(e, -1) {
			seen++
			if missing := p.has(selector); missing != "" {
				t.Errorf("%s\n\tin %s", missing, e)
			}
		}
		for _, name := range recordedN.FindAllString(e, -1) {
			if !slices.Contains(recorded, name) {
				t.Errorf("nothing records %s\n\tin %s", name, e)
			}
		}
		for _, by := range grouping.FindAllStringSubmatch(e, -1) {
			checkGrouping(t, p, e, by[1])
		}
	}
	for file, names := range inDocuments(t) {
		for _, name := range names {
			seen++
			if missing := p.has(name); missing != "" {
				t.Errorf("%s: %s", file, missing)
			}
		}
	}
	if seen < 100 {
		t.Errorf("only %d metrics were looked at", seen)
	}
}

// inDocuments are the metrics that documents and examples name, by file.
func inDocuments(t *testing.T) map[string][]string {
	t.Helper()
	all := make(map[string][]string)
	for _, pattern := range []string{"../../README.md", "../../docs/*.md", "../../examples/*", "../../examples/*/*"} {
		files, err := filepath.Glob(pattern)
		if err != nil {
			t.Fatal(err)
		}
		for _, file := range files {
			text, err := os.ReadFile(file)
			if err != nil {
				continue // a folder
			}
			for _, name := range ourMetric.FindAllString(string(text), -1) {
				name, _, _ = strings.Cut(name, "{")
				if name != "p2pd_faults" && !strings.HasSuffix(name, "_") { // a build tag; several at once
					all[file] = append(all[file], name)
				}
			}
		}
	}
	return all
}

// checkGrouping looks whether some metric of an expression has the labels that
// it is grouped by.
func checkGrouping(t *testing.T, p page, expr, labels string) {
	t.Helper()
	for label := range strings.SplitSeq(labels, ",") {
		label = strings.TrimSpace(label)
		names := ourMetric.FindAllString(expr, -1)
		if label == "instance" || len(names) == 0 {
			continue
		}
		there := slices.ContainsFunc(names, func(n string) bool {
			name, _, _ := strings.Cut(n, "{")
			return slices.ContainsFunc(p.samples, func(s string) bool { return strings.HasPrefix(s, name+"{") && strings.Contains(s, label+`="`) })
		})
		if !there {
			t.Errorf("no metric has the label %s\n\tin %s", label, expr)
		}
	}
}
