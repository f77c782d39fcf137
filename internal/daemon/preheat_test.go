package daemon_test

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/daemon"
)

// shop is a registry that counts the bytes of blobs that it gives, and wants a
// password, or that as a token, if it has one.
type shop struct {
	*httptest.Server
	blobs    atomic.Int64
	password atomic.Pointer[string]
	hangs    atomic.Pointer[chan struct{}] // answers nothing until it is closed
}

const shopUser = "robot"

func newShop(t *testing.T) *shop {
	t.Helper()
	s := &shop{}
	inner := registry.New(registry.Logger(log.New(io.Discard, "", 0)))
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if wait := s.hangs.Load(); wait != nil {
			select {
			case <-*wait:
			case <-r.Context().Done():
			}
		}
		if want := s.password.Load(); want != nil {
			user, got, _ := r.BasicAuth()
			if (user != shopUser || got != *want) && r.Header.Get("Authorization") != "Bearer "+*want {
				w.Header().Set("WWW-Authenticate", `Basic realm="shop"`)
				http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"who are you"}]}`, http.StatusUnauthorized)
				return
			}
		}
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") {
			w = &tally{w, &s.blobs}
		}
		inner.ServeHTTP(w, r)
	}))
	t.Cleanup(s.Close)
	return s
}

type tally struct {
	http.ResponseWriter
	n *atomic.Int64
}

func (c *tally) Write(p []byte) (int, error) {
	n, err := c.ResponseWriter.Write(p)
	c.n.Add(int64(n))
	return n, err
}

// push puts an image of some layers there, and returns it.
func (s *shop) push(t *testing.T, repo string) v1.Image {
	t.Helper()
	const layer, layers = 3 << 20, 3
	img, err := random.Image(layer, layers)
	if err != nil {
		t.Fatal(err)
	}
	ref, err := name.ParseReference(strings.TrimPrefix(s.URL, "http://")+"/"+repo+":v1", name.Insecure)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img); err != nil {
		t.Fatal(err)
	}
	return img
}

// bytesOf is how many bytes the config and the layers have.
func bytesOf(t *testing.T, img v1.Image) (n int64) {
	t.Helper()
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	n = m.Config.Size
	for _, l := range m.Layers {
		n += l.Size
	}
	return n
}

// oven is a scheduler that may preheat from a shop, and nodes.
type oven struct {
	hub    *daemon.Hub
	socket string
	nodes  []*daemon.Node
}

const shopHost = "shop.test"

func newOven(t *testing.T, s *shop, nodes int, change ...func(*daemon.HubConfig)) *oven {
	t.Helper()
	o := &oven{socket: filepath.Join(t.TempDir(), "scheduler.sock")}
	h := startHubWith(t, func(cfg *daemon.HubConfig) {
		for _, f := range change {
			f(cfg)
		}
		cfg.Admin.Listen = "unix://" + o.socket
		cfg.Preheat.Registries = daemon.Registries{{Host: shopHost, Endpoint: s.URL}, {Host: "other.test", Endpoint: s.URL}}
	})
	o.hub = h.Hub
	for range nodes {
		cfg := daemon.DefaultNodeConfig()
		cfg.Mirror.Listen, cfg.HTTP.Listen = "127.0.0.1:0", "127.0.0.1:0"
		cfg.Peer.Listen, cfg.Peer.BulkListen = "127.0.0.1:0", "127.0.0.1:0"
		cfg.Store = daemon.StoreConfig{Path: t.TempDir(), Capacity: 1 << 30}
		cfg.Registries = daemon.Registries{{Host: shopHost, Endpoint: s.URL}}
		cfg.AllowAllRegistries = false
		h.lets(&cfg)
		n, _ := startNode(t, cfg)
		o.nodes = append(o.nodes, n)
	}
	until(t, "all nodes are attached", func() bool {
		var st api.Status
		o.ask(t, http.MethodGet, "/status", nil, &st)
		return st.Scheduler != nil && st.Scheduler.Peers == nodes
	})
	return o
}

// ask makes a request at the scheduler's socket.
func (o *oven) ask(t *testing.T, method, path string, body, into any) int {
	t.Helper()
	b, err := json.Marshal(body)
	if err != nil {
		t.Fatal(err)
	}
	c := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", o.socket)
	}}}
	r, err := http.NewRequestWithContext(t.Context(), method, "http://p2pd"+api.Prefix+path, bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	res, err := c.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer res.Body.Close()
	if err := json.NewDecoder(res.Body).Decode(into); err != nil {
		t.Fatalf("%s %s: %v", method, path, err)
	}
	return res.StatusCode
}

// preheat makes a job and waits for its end.
func (o *oven) preheat(t *testing.T, r api.PreheatRequest) (j api.Preheat) {
	t.Helper()
	if code := o.ask(t, http.MethodPost, "/preheats", r, &j); code != http.StatusOK {
		t.Fatalf("POST %+v: %d", r, code)
	}
	path := fmt.Sprintf("/preheats/%d", j.ID)
	until(t, "the job has ended", func() bool {
		j = api.Preheat{}
		o.ask(t, http.MethodGet, path, nil, &j)
		return j.Ended != nil
	})
	return j
}

// An image is brought to all nodes, read once from its registry; and all nodes then
// serve it without asking that for a blob.
func TestPreheat(t *testing.T) {
	s := newShop(t)
	img := s.push(t, "a/app")
	o := newOven(t, s, 4)
	j := o.preheat(t, api.PreheatRequest{Image: shopHost + "/a/app:v1", Scope: api.PreheatAll})
	if j.State != api.PreheatSucceeded || j.Done != 4 || j.Bytes != j.OfAll || j.Bytes < 4*bytesOf(t, img) {
		t.Fatalf("job: %+v", j)
	}
	if got, most := s.blobs.Load(), bytesOf(t, img)*105/100; got > most {
		t.Errorf("the registry sent %d bytes of blobs, want at most %d: 1.05 copies", got, most)
	}
	before := s.blobs.Load()
	for _, n := range o.nodes {
		pullFrom(t, n, "a/app", img)
	}
	if got := s.blobs.Load() - before; got > 0 {
		t.Errorf("the registry sent %d bytes of blobs that were there", got)
	}
	again := o.preheat(t, api.PreheatRequest{Image: shopHost + "/a/app:v1", Percentage: 50})
	if again.State != api.PreheatSucceeded || again.Nodes != 2 || again.ID == j.ID {
		t.Errorf("again: %+v", again)
	}
}

// pullFrom reads an image through a node's mirror, as containerd would.
func pullFrom(t *testing.T, n *daemon.Node, repo string, img v1.Image) {
	t.Helper()
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	base := "http://" + n.MirrorAddr().String() + "/v2/" + repo
	paths := []string{"/manifests/" + digest.String(), "/blobs/" + m.Config.Digest.String()}
	for _, l := range m.Layers {
		paths = append(paths, "/blobs/"+l.Digest.String())
	}
	for _, p := range paths {
		if code, body := get(t, base+p+"?ns="+shopHost); code != http.StatusOK {
			t.Errorf("%s: %d %.200s", p, code, body)
		}
	}
}

// A private image is brought by the credential of the job, and grants nobody
// anything; without one, or with a wrong one, the job says what is wrong.
func TestPreheatOfAPrivateImage(t *testing.T) {
	s := newShop(t)
	img := s.push(t, "a/secret")
	password := "hunter2"
	s.password.Store(&password)
	o := newOven(t, s, 2)
	image := shopHost + "/a/secret:v1"
	if j := o.preheat(t, api.PreheatRequest{Image: image}); j.State != api.PreheatFailed || !strings.Contains(j.Error, "wants a credential") {
		t.Errorf("without a credential: %+v", j)
	}
	wrong := &api.PreheatCredential{Username: shopUser, Password: "wrong-one"}
	if j := o.preheat(t, api.PreheatRequest{Image: image, Credential: wrong}); j.State != api.PreheatFailed || !strings.Contains(j.Error, "credential") || strings.Contains(j.Error, "wrong-one") {
		t.Errorf("with a wrong one: %+v", j)
	}
	right := &api.PreheatCredential{Username: shopUser, Password: password}
	j := o.preheat(t, api.PreheatRequest{Image: image, Scope: api.PreheatAll, Credential: right})
	if j.State != api.PreheatSucceeded || j.Done != 2 {
		t.Errorf("with the right one: %+v", j)
	}
	digest, err := img.Digest()
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range o.nodes {
		if code, _ := get(t, "http://"+n.MirrorAddr().String()+"/v2/a/secret/manifests/"+digest.String()+"?ns="+shopHost); code == http.StatusOK {
			t.Error("whoever has no right reads what was preheated")
		}
	}
}

// Nodes read only from registries of their own, and schedulers look only at theirs.
func TestPreheatOfAnotherRegistry(t *testing.T) {
	s := newShop(t)
	s.push(t, "a/app")
	o := newOven(t, s, 2)
	if j := o.preheat(t, api.PreheatRequest{Image: "other.test/a/app:v1", Scope: api.PreheatAll}); j.State != api.PreheatFailed || j.Failed != 2 || !strings.Contains(j.Error, "not allowed here") {
		t.Errorf("that nodes do not know: %+v", j)
	}
	var e api.Error
	if code := o.ask(t, http.MethodPost, "/preheats", api.PreheatRequest{Image: "third.test/a/app:v1"}, &e); code != http.StatusForbidden || !strings.Contains(e.Error(), "preheat.registries") {
		t.Errorf("that the scheduler does not know: %d %v", code, &e)
	}
	for image, want := range map[string]string{
		shopHost + "/a/app:v2":                                "404",
		shopHost + "/a/nowhere:v1":                            "404",
		shopHost + "/a/app@sha256:" + strings.Repeat("1", 64): "404",
	} {
		if j := o.preheat(t, api.PreheatRequest{Image: image}); j.State != api.PreheatFailed || !strings.Contains(j.Error, want) {
			t.Errorf("%s: %+v", image, j)
		}
	}
}
