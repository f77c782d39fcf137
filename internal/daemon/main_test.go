package daemon_test

import (
	"bytes"
	"context"
	"io"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/p2pd/p2pd/internal/daemon"
	"github.com/p2pd/p2pd/pkg/piece"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience bounds what should take moments.
const patience = 30 * time.Second

// upstreamHost is the registry that clients name; it has a number of its own
// as endpoint.
const upstreamHost = "registry.test"

// upstream is a registry in this process that holds one blob.
type upstream struct {
	*httptest.Server
	content []byte
	digest  piece.Digest
	// release lets the second half of the blob be read.
	release func()
}

func newUpstream(t *testing.T, size int) *upstream {
	t.Helper()
	released, release := context.WithCancel(context.Background())
	u := &upstream{content: make([]byte, size), release: release}
	_, _ = rand.NewChaCha8([32]byte{}).Read(u.content)
	u.digest = piece.Sum(u.content)
	mux := http.NewServeMux()
	mux.HandleFunc("GET /v2/", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("GET /v2/some/image/blobs/"+u.digest.String(), func(w http.ResponseWriter, r *http.Request) {
		body := &held{Reader: bytes.NewReader(u.content), released: released.Done(), gone: r.Context().Done()}
		http.ServeContent(w, r, "", time.Time{}, body)
	})
	u.Server = httptest.NewServer(mux)
	t.Cleanup(func() { release(); u.Close() })
	return u
}

// held yields its first half, and the second once it is released.
type held struct {
	*bytes.Reader
	released, gone <-chan struct{}
}

func (h *held) Read(p []byte) (int, error) {
	half := int(h.Size() / 2)
	at := int(h.Size()) - h.Len()
	if at < half {
		return h.Reader.Read(p[:min(len(p), half-at)])
	}
	select {
	case <-h.released:
		return h.Reader.Read(p)
	case <-h.gone:
		return 0, io.ErrClosedPipe
	}
}

// nodeConfig is of a node on loopback whose one registry is u.
func nodeConfig(t *testing.T, u *upstream) daemon.NodeConfig {
	t.Helper()
	cfg := daemon.DefaultNodeConfig()
	cfg.Mirror.Listen, cfg.HTTP.Listen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Peer.Listen, cfg.Peer.BulkListen = "127.0.0.1:0", "127.0.0.1:0"
	cfg.Store = daemon.StoreConfig{Path: t.TempDir(), Capacity: 1 << 30}
	cfg.Registries = daemon.Registries{{Host: upstreamHost, Endpoint: u.URL}}
	cfg.AllowAllRegistries = false
	if err := cfg.Validate(); err != nil {
		t.Fatal(err)
	}
	return cfg
}

// running is something whose Run has been called.
type running struct {
	stop  context.CancelFunc
	ended chan error
}

// start runs until the test or stop ends it.
func start(t *testing.T, run func(context.Context) error) *running {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r := &running{stop: cancel, ended: make(chan error, 1)}
	go func() { r.ended <- run(ctx); close(r.ended) }()
	t.Cleanup(func() { r.wait(t) })
	return r
}

// wait ends it and says how it ended. A second wait does nothing.
func (r *running) wait(t *testing.T) {
	t.Helper()
	r.stop()
	select {
	case err := <-r.ended:
		if err != nil {
			t.Error(err)
		}
	case <-time.After(patience):
		t.Fatal("did not end")
	}
}

func startNode(t *testing.T, cfg daemon.NodeConfig) (*daemon.Node, *running) {
	t.Helper()
	n, err := daemon.NewNode(cfg, "v0.0.0-test", logger(t))
	if err != nil {
		t.Fatal(err)
	}
	return n, start(t, n.Run)
}

func logger(t *testing.T) *slog.Logger {
	return slog.New(slog.NewTextHandler(t.Output(), &slog.HandlerOptions{Level: slog.LevelDebug}))
}

// client opens a connection a request, so that none outlives its test.
var client = &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}

// get asks for a path and returns status and body.
func get(t *testing.T, url string) (int, string) {
	t.Helper()
	res, err := client.Get(url)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	body, err := io.ReadAll(res.Body)
	if err != nil {
		t.Fatalf("GET %s: %v", url, err)
	}
	return res.StatusCode, string(body)
}

// blobURL is where n's mirror has the upstream's blob.
func blobURL(n *daemon.Node, u *upstream) string {
	return "http://" + n.MirrorAddr().String() + "/v2/some/image/blobs/" + u.digest.String() + "?ns=" + upstreamHost
}

// until asks again and again for what comes in its own time.
func until(t *testing.T, what string, is func() bool) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for !is() {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// sample is the value of a line of /metrics, given with its labels.
func sample(t *testing.T, page, name string) string {
	t.Helper()
	for line := range strings.Lines(page) {
		if v, ok := strings.CutPrefix(line, name+" "); ok {
			return strings.TrimSpace(v)
		}
	}
	t.Errorf("no %s in /metrics", name)
	return ""
}

// hub is a scheduler of a closed cluster, with a token that lets nodes join.
type hub struct {
	*daemon.Hub
	tokenFile string
}

func startHub(t *testing.T) hub {
	t.Helper()
	return startHubWith(t, func(*daemon.HubConfig) {})
}

func startHubWith(t *testing.T, change func(*daemon.HubConfig)) hub {
	t.Helper()
	cfg := daemon.DefaultHubConfig()
	cfg.Listen, cfg.HTTP.Listen, cfg.Admin.Listen = "127.0.0.1:0", "127.0.0.1:0", ""
	cfg.Membership.KeyFile = filepath.Join(t.TempDir(), "cluster.key")
	change(&cfg)
	h, err := daemon.NewHub(cfg, "v0.0.0-test", logger(t))
	if err != nil {
		t.Fatal(err)
	}
	start(t, h.Run)
	var token, notes strings.Builder
	if code := daemon.HubMain(t.Context(), []string{"token", "--membership-key-file", cfg.Membership.KeyFile}, &token, &notes); code != 0 {
		t.Fatalf("scheduler token: exit code %d, %s", code, notes.String())
	}
	file := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(file, []byte(token.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	return hub{h, file}
}

// lets has a node join.
func (h hub) lets(c *daemon.NodeConfig) {
	c.Scheduler.Address, c.Membership.TokenFile = h.Addr().String(), h.tokenFile
}
