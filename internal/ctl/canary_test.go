package ctl

import (
	"bytes"
	"context"
	"errors"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	fake "github.com/google/go-containerregistry/pkg/registry"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/metrics"
)

// stage is a registry with an image, and a sound node whose mirror gives what
// the registry has.
type stage struct {
	*sound
	host string // of the registry
	mu   sync.Mutex
	// pushed and removed are what the registry was asked for.
	pushed, removed []string
}

func newStage(t *testing.T) *stage {
	t.Helper()
	s := &stage{}
	has := fake.New(fake.Logger(log.New(io.Discard, "", 0)))
	origin := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.note(r)
		has.ServeHTTP(w, r)
	}))
	t.Cleanup(origin.Close)
	s.host = origin.Listener.Addr().String()
	mirror := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Server", mirrorName)
		has.ServeHTTP(w, r)
	}))
	t.Cleanup(mirror.Close)
	s.sound = newSound(t)
	s.status.Mirror = mirror.Listener.Addr().String()
	s.hosts = "[host.\"" + mirror.URL + "\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	s.status.Usage = api.Usage{CPUSeconds: 1, MemoryBytes: 64 << 20}
	img, err := random.Image(4<<10, 2)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(s.host+"/base:1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return s
}

func (s *stage) note(r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	at, manifest := strings.CutPrefix(r.URL.Path, "/v2/canary/manifests/")
	switch {
	case manifest && r.Method == http.MethodPut:
		s.pushed = append(s.pushed, at)
	case manifest && r.Method == http.MethodDelete:
		s.removed = append(s.removed, at)
	}
}

// args are those that a fresh image is checked with.
func (s *stage) args() []string {
	return []string{"--image", s.host + "/base:1", "--fresh", s.host + "/canary", "--insecure"}
}

// Each check of a fresh image pulls one that nobody can have, and removes it.
func TestAFreshImage(t *testing.T) {
	s := newStage(t)
	for range 2 {
		code, all := s.check(t, s.args()...)
		if code != 0 {
			t.Fatalf("ended with %d: %+v", code, all)
		}
		if got := all["a layer comes through p2pd, and is what it should be"].Detail; !strings.Contains(got, "1.0 MiB in ") || !strings.Contains(got, "64 MiB of memory") {
			t.Errorf("the layer that was pulled: %q", got)
		}
	}
	if len(s.pushed) != 2 || s.pushed[0] == s.pushed[1] {
		t.Errorf("pushed %q", s.pushed)
	}
	if diff := cmp.Diff(s.pushed, s.removed); diff != "" {
		t.Errorf("pushed and removed (-/+):\n%s", diff)
	}
}

// A registry that takes nothing is told of, and nothing is removed there.
func TestAFreshImageThatIsNotTaken(t *testing.T) {
	s := newStage(t)
	refusing := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/v2/" {
			w.WriteHeader(http.StatusForbidden)
		}
	}))
	t.Cleanup(refusing.Close)
	code, all := s.check(t, "--image", s.host+"/base:1", "--insecure", "--fresh", refusing.Listener.Addr().String()+"/canary")
	if c := all["a fresh image is pushed"]; code != 1 || c.Result != resultError || !strings.Contains(c.Error, "may these credentials push") || !strings.HasSuffix(c.Hint, "#fresh-image") {
		t.Errorf("ended with %d: %+v", code, c)
	}
	if c := all["the fresh image is gone"]; c.Result != resultSkipped {
		t.Errorf("%+v", c)
	}
}

// With --every, Prometheus can ask how the last run went while the next ones
// are made.
func TestACanary(t *testing.T) {
	s := newStage(t)
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	address := l.Addr().String()
	_ = l.Close()
	root := t.TempDir()
	for file, text := range map[string]string{"etc/containerd/config.toml": s.containerd, "certs.d/_default/hosts.toml": s.hosts} {
		path := filepath.Join(root, file)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700), os.WriteFile(path, []byte(text), 0o600)); err != nil {
			t.Fatal(err)
		}
	}
	ctx, cancel := context.WithCancel(t.Context())
	args := append([]string{"p2pctl", "check", "-o", "json", "--root", root, "--node", s.node.serve(t), "--server", s.scheduler.serve(t), "--every", "1h", "--metrics", address}, s.args()...)
	ended := make(chan int, 1)
	var out, failed bytes.Buffer
	go func() { ended <- Main(ctx, args, &out, &failed) }()
	page := ""
	for deadline := time.Now().Add(30 * time.Second); !strings.Contains(page, `p2pd_canary_runs_total{outcome="success"} 1`); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("page:\n%s\nerrors: %s", page, failed.String())
		}
		if res, err := http.Get("http://" + address + "/metrics"); err == nil { //nolint:noctx // the loop is bounded
			b, _ := io.ReadAll(res.Body)
			_ = res.Body.Close()
			page = string(b)
		}
	}
	cancel()
	if code := <-ended; code != exitOK || failed.Len() > 0 {
		t.Errorf("ended with %d: %s", code, failed.String())
	}
	if !strings.Contains(out.String(), `"success": true`) {
		t.Errorf("said %s", out.String())
	}
	for _, want := range []string{`p2pd_canary_failures_total{category="pull"} 0`, `p2pd_canary_build_info{`, "p2pd_canary_success_timestamp_seconds 1"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page has no %s:\n%s", want, page)
		}
	}
}

// A run is counted by what failed first, and what was measured of it stays when
// the next one does not come so far.
func TestWhatACanaryCounts(t *testing.T) {
	t.Parallel()
	group := func(name, result string, ms int64) checkGroup {
		return checkGroup{Name: name, Checks: []checkResult{{Result: resultWarning, Millis: 1}, {Result: result, Millis: ms}}}
	}
	var c canary
	now := time.Unix(1_800_000_000, 0)
	c.observe(&checkResults{
		Success: true, Categories: []checkGroup{group("registry", resultOK, 9), group("container", resultOK, 99)},
		Pull: &pullMeasured{Millis: 1}, Start: &startMeasured{PullMillis: 2500, StartMillis: 700, Bytes: api.Bytes{Peers: 5, Origin: 7}},
	}, now)
	c.observe(&checkResults{Categories: []checkGroup{group("registry", resultError, 4), group("pull", resultError, 2)}}, now.Add(time.Hour))
	w := httptest.NewRecorder()
	metrics.Handler("x_build_info", "v1", c.metrics).ServeHTTP(w, httptest.NewRequest(http.MethodGet, "/metrics", http.NoBody))
	for _, want := range []string{
		`p2pd_canary_failures_total{category="registry"} 1`, `p2pd_canary_failures_total{category="pull"} 0`,
		`p2pd_canary_runs_total{outcome="failure"} 1`, `p2pd_canary_runs_total{outcome="success"} 1`,
		`p2pd_canary_phase_seconds{category="registry"} 0.005`, `p2pd_canary_phase_seconds{category="container"} 0`,
		"p2pd_canary_pull_seconds 2.5", "p2pd_canary_start_seconds 0.7", "p2pd_canary_success_timestamp_seconds 1.8e+09",
		`p2pd_canary_received_bytes{source="peer"} 5`, `p2pd_canary_received_bytes{source="origin"} 7`,
	} {
		if !strings.Contains(w.Body.String(), want+"\n") {
			t.Errorf("the page has no %s:\n%s", want, w.Body)
		}
	}
}

// Flags that do not go together are bad usage, each with its reason.
func TestFlagsOfCheck(t *testing.T) {
	t.Parallel()
	for args, says := range map[string]string{
		"--start":                         "--image",
		"--fresh r.test/canary":           "--image",
		"--metrics :0":                    "--every",
		"--every 1s":                      "5s is the least",
		"--image r.test/a --fresh-size 0": "1 to",
		"--image r.test/a --fresh-size 99999999999": "1 to",
	} {
		code, _, err := run(t, append([]string{"check"}, strings.Fields(args)...)...)
		if code != exitUsage || !strings.Contains(err, says) {
			t.Errorf("%s: ended with %d: %s", args, code, err)
		}
	}
}

// What is measured of p2pd is what it took between two looks.
func TestUsage(t *testing.T) {
	t.Parallel()
	before := api.NodeStatus{Usage: api.Usage{CPUSeconds: 1, MemoryBytes: 5 << 20, DiskRead: 10, DiskWritten: 100}}
	after := api.NodeStatus{Usage: api.Usage{CPUSeconds: 1.5, MemoryBytes: 6 << 20, DiskRead: 1034, DiskWritten: 2148}}
	got := usageText(used(before, after))
	if want := "; it took 0.50 s of CPU, has 6.0 MiB of memory, read 1.0 KiB of its disk and wrote 2.0 KiB"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if got := usageText(api.Usage{}); got != "" {
		t.Errorf("of nothing: %q", got)
	}
}
