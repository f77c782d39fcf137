package e2e

import (
	"context"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/p2pd/p2pd/e2e/lab"
)

// suiteTimeout bounds one run of the suite, which takes seconds.
const suiteTimeout = 3 * time.Minute

// pullAPIs are what the suite calls the parts of the pull category.
var pullAPIs = []string{
	"Ping",
	"Manifest head by tag", "Manifest get by tag", "Manifest head by digest", "Manifest get by digest",
	"Blob head", "Blob get", "Blob get range",
}

// The suite of the OCI distribution specification finds nothing wrong with how
// the mirror answers pulls, in each of the ways in which clients say which
// registry they mean. What the suite pulls it has pushed before: that goes to
// the origin, past the mirror, and is not judged here.
func TestConformance(t *testing.T) {
	ctx := gate(t)
	suite := buildSuite(ctx, t)
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: 1}, Rootless: true, Programs: programs(t)})
	if err != nil {
		t.Fatalf("open lab: %v", err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	if _, err := l.StartScheduler(ctx); err != nil {
		t.Fatal(err)
	}
	node, err := l.StartNode(ctx, 0, "P2PD_MIRROR_DEFAULT_REGISTRY="+lab.RegistryHost)
	if err != nil {
		t.Fatal(err)
	}
	for name, pull := range map[string]func(*url.URL){
		"as containerd": func(u *url.URL) { u.RawQuery = url.Values{"ns": {lab.RegistryHost}}.Encode() },
		"as Podman": func(u *url.URL) {
			if rest, ok := strings.CutPrefix(u.Path, "/v2/"); ok && rest != "" {
				u.Path = "/v2/" + lab.RegistryHost + "/" + rest
			}
		},
		"as Docker": func(*url.URL) {},
	} {
		t.Run(name, func(t *testing.T) {
			front := httptest.NewServer(split(t, l.Registry.Endpoint, l.MirrorURL(0), pull))
			t.Cleanup(front.Close)
			repo := "conformance/" + strings.ReplaceAll(strings.ToLower(name), " ", "-")
			judge(t, runSuite(ctx, t, suite, strings.TrimPrefix(front.URL, "http://"), repo))
			if t.Failed() {
				t.Logf("p2pd's log ends:\n%s", node.LogTail())
			}
		})
	}
}

// buildSuite builds the suite from its own module.
func buildSuite(ctx context.Context, t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, "go", "build", "-o", dir+string(filepath.Separator), "tool")
	cmd.Dir = "conformance"
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("build the suite: %v\n%s", err, out)
	}
	return filepath.Join(dir, "conformance")
}

// split sends what the mirror serves to the mirror, changed by pull, and all
// else to the registry.
func split(t *testing.T, registry, mirror string, pull func(*url.URL)) http.Handler {
	t.Helper()
	proxy := func(to string, change func(*url.URL)) http.Handler {
		u, err := url.Parse(to)
		if err != nil {
			t.Fatal(err)
		}
		return &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
			change(r.Out.URL)
			r.SetURL(u)
		}}
	}
	origin, face := proxy(registry, func(*url.URL) {}), proxy(mirror, pull)
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		served := r.URL.Path == "/v2/" || strings.Contains(r.URL.Path, "/manifests/") ||
			strings.Contains(r.URL.Path, "/blobs/") && !strings.Contains(r.URL.Path, "/blobs/uploads/")
		if served && (r.Method == http.MethodGet || r.Method == http.MethodHead) {
			face.ServeHTTP(w, r)
		} else {
			origin.ServeHTTP(w, r)
		}
	})
}

// report is what the suite writes about a run.
type report struct {
	APIs map[string]string `json:"apis"`
	text string            // for people
}

// runSuite runs the suite and returns its report.
func runSuite(ctx context.Context, t *testing.T, suite, registry, repo string) report {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, suiteTimeout)
	defer cancel()
	dir := t.TempDir()
	cmd := exec.CommandContext(ctx, suite)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(),
		"OCI_REGISTRY="+registry, "OCI_TLS=disabled", "OCI_REPO1="+repo+"1", "OCI_REPO2="+repo+"2",
		"OCI_RESULTS_DIR="+dir, "OCI_VERSION=1.1",
		// A cache serves by digest what was deleted at the origin, and should.
		"OCI_API_BLOBS_DELETE=false", "OCI_API_MANIFESTS_DELETE=false", "OCI_API_TAGS_DELETE=false",
		// Headers that later versions ask for; the mirror sends them.
		"OCI_API_BLOBS_DIGEST_HEADER=true", "OCI_API_MANIFESTS_DIGEST_HEADER=true",
		// The mirror knows SHA-256 only, and sends clients to the origin.
		"OCI_DATA_SHA512=false",
		// What the registry does not take cannot be pulled.
		"OCI_DATA_NONDISTRIBUTABLE=false", "OCI_API_REFERRER=false",
	)
	// Its exit status judges the registry's pushes, too; the report tells them
	// apart. A suite that did not get so far left none.
	out, failed := cmd.CombinedOutput()
	b, err := os.ReadFile(filepath.Join(dir, "results.yaml"))
	if err != nil {
		t.Fatalf("the suite (%v) left no results: %v\n%s", failed, err, out)
	}
	r := report{text: string(out)}
	if err := yaml.Unmarshal(b, &r); err != nil {
		t.Fatalf("read the suite's results: %v", err)
	}
	return r
}

// judge fails the test unless the whole pull category was run and passed.
func judge(t *testing.T, r report) {
	t.Helper()
	for _, api := range pullAPIs {
		if got := r.APIs[api]; got != "Pass" {
			t.Errorf("%s: %q", api, got)
		}
	}
	if t.Failed() {
		t.Log(r.text)
	}
}
