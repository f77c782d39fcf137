package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/types"
	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/internal/api"
	"github.com/p2pd/p2pd/internal/ctl"
	"github.com/p2pd/p2pd/internal/daemon"
)

// asProgram is set where this test's own program is to be another one.
const asProgram = "P2PCTL_TEST_PROGRAM"

// TestMain lets the test start real processes of the scheduler and of p2pd: they
// are this program under another name.
func TestMain(m *testing.M) {
	switch os.Getenv(asProgram) {
	case "scheduler":
		os.Exit(daemon.HubMain(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	case "p2pctl":
		os.Exit(ctl.Main(context.Background(), append([]string{"p2pctl"}, os.Args[1:]...), os.Stdout, os.Stderr))
	case "p2pd":
		os.Exit(daemon.NodeMain(context.Background(), os.Args[1:], os.Stdout, os.Stderr))
	}
	os.Exit(m.Run())
}

// patience bounds what should take moments.
const patience = 60 * time.Second

// cluster is a registry, a scheduler and some p2pd, each in a process.
type cluster struct {
	registry string // host:port
	// server is where the scheduler is asked, with the token in tokenFile if it
	// is no socket.
	server, tokenFile string
	nodes             []node
}

type node struct{ mirror, socket string }

// startProcess runs a program until the test ends.
func startProcess(t *testing.T, program string, args ...string) {
	t.Helper()
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(self, args...) //nolint:gosec // ourselves
	cmd.Env = append(os.Environ(), asProgram+"="+program)
	cmd.Stdout, cmd.Stderr = t.Output(), t.Output()
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil {
			t.Errorf("%s: %v", program, err)
		}
	})
}

// freePort is an address on loopback where nobody listens.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return l.Addr().String()
}

// newCluster starts one. With tcp the scheduler is asked on a port. more are flags of
// p2pd.
func newCluster(t *testing.T, nodes int, tcp bool, more ...string) *cluster {
	t.Helper()
	origin := httptest.NewServer(refusing(ranged(registry.New(registry.Logger(log.New(io.Discard, "", 0))))))
	t.Cleanup(origin.Close)
	dir := t.TempDir()
	c := &cluster{registry: origin.Listener.Addr().String(), server: "unix://" + filepath.Join(dir, "scheduler.sock"), tokenFile: filepath.Join(dir, "token")}
	if tcp {
		c.server = freePort(t)
	}
	at := freePort(t)
	startProcess(t, "scheduler", "--listen", at, "--http-listen", "127.0.0.1:0", "--admin-listen", c.server, "--admin-token-file", c.tokenFile, "--membership-mode", "open",
		"--preheat-registries", c.registry+"=http://"+c.registry)
	for i := range nodes {
		n := node{socket: filepath.Join(dir, fmt.Sprint("n", i), "p2pd.sock")}
		startProcess(t, "p2pd", append([]string{
			"--mirror-listen", "127.0.0.1:0", "--peer-listen", "127.0.0.1:0", "--peer-bulk-listen", "127.0.0.1:0",
			"--peer-advertise", "127.0.0.1", "--http-listen", "127.0.0.1:0", "--store-path", filepath.Dir(n.socket), "--scheduler", at,
			"--topology-zone", fmt.Sprint("zone-", i%2), "--registries", c.registry + "=http://" + c.registry, "--containerd-socket", "",
		}, more...)...)
		c.nodes = append(c.nodes, n)
	}
	c.until(t, "all peers are connected", func() bool {
		var list api.PeerList
		code, out, _ := c.try(0, "peer", "ls", "-o", "json")
		return code == 0 && json.Unmarshal([]byte(out), &list) == nil && len(list.Items) == nodes
	})
	for i := range c.nodes {
		c.until(t, "a node says where its mirror is", func() bool {
			c.nodes[i].mirror = c.nodes[i].status().Mirror
			return c.nodes[i].mirror != ""
		})
	}
	return c
}

// status is what a node says of itself; empty before it answers.
func (n node) status() (s api.NodeStatus) {
	cl := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true, DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, "unix", n.socket)
	}}}
	res, err := cl.Get("http://p2pd" + api.Prefix + "/status")
	if err != nil {
		return s
	}
	defer res.Body.Close()
	var all api.Status
	if err := json.NewDecoder(res.Body).Decode(&all); err == nil && all.Node != nil {
		s = *all.Node
	}
	return s
}

// refusing is a registry that has a repository which is nobody's business.
func refusing(h http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.Path, "/v2/team/denied/") {
			h.ServeHTTP(w, r)
			return
		}
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(http.StatusForbidden)
		fmt.Fprint(w, `{"errors":[{"code":"DENIED","message":"3 critical vulnerabilities, says the scanner"}]}`)
	})
}

// fetch asks a node for something, as containerd would.
func (c *cluster) fetch(i int, path string) (status int, err error) {
	cl := &http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	res, err := cl.Get("http://" + c.nodes[i].mirror + "/v2/" + path + "?ns=" + c.registry)
	if err != nil {
		return 0, err
	}
	defer res.Body.Close()
	_, err = io.Copy(io.Discard, res.Body)
	return res.StatusCode, err
}

// pullImage pulls all of an image through a node: by its tag, then its
// configuration, and then its layers at once.
func (c *cluster) pullImage(i int, tag string, m *v1.Manifest) error {
	all, err := c.fetch(i, "team/app/manifests/"+tag)
	if _, cerr := c.fetch(i, "team/app/blobs/"+m.Config.Digest.String()); cerr != nil || err != nil || all != http.StatusOK {
		return fmt.Errorf("manifest: status %d, %w", all, errors.Join(err, cerr))
	}
	var g errgroup.Group
	for _, l := range m.Layers {
		g.Go(func() error {
			status, err := c.fetch(i, "team/app/blobs/"+l.Digest.String())
			// Where no byte comes for seconds p2pd sends its client to the registry. On a
			// machine that is that busy this one, which knows no other host, asks again.
			for deadline := time.Now().Add(patience); (status == http.StatusServiceUnavailable || errors.Is(err, io.ErrUnexpectedEOF)) && time.Now().Before(deadline); {
				status, err = c.fetch(i, "team/app/blobs/"+l.Digest.String())
			}
			if err == nil && status != http.StatusOK {
				err = fmt.Errorf("layer: status %d", status)
			}
			return err
		})
	}
	return g.Wait()
}

// try runs p2pctl beside node i.
func (c *cluster) try(i int, args ...string) (code int, stdout, stderr string) {
	var out, err bytes.Buffer
	args = append([]string{"p2pctl"}, args...)
	code = ctl.Main(context.Background(), append(args, "--server", c.server, "--token-file", c.tokenFile, "--node", "unix://"+c.nodes[i].socket), &out, &err)
	return code, out.String(), err.String()
}

// run runs p2pctl, which must succeed, and shows what it said.
func (c *cluster) run(t *testing.T, i int, args ...string) string {
	t.Helper()
	code, out, err := c.try(i, args...)
	t.Logf("$ p2pctl %s\n%s%s", strings.Join(args, " "), out, err)
	if code != 0 {
		t.Errorf("p2pctl %v ended with %d", args, code)
	}
	return out
}

func (c *cluster) until(t *testing.T, what string, is func() bool) {
	t.Helper()
	for deadline := time.Now().Add(patience); !is(); time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain until %s", what)
		}
	}
}

// pull reads a blob through a node, as containerd would.
func (c *cluster) pull(t *testing.T, i int, path string) {
	t.Helper()
	if status, err := c.fetch(i, path); err != nil || status != http.StatusOK {
		t.Fatalf("%s: %d, %v", path, status, err)
	}
}

// push makes an image of random layers and puts it in the registry.
func (c *cluster) push(t *testing.T, tag string, img v1.Image) v1.Image {
	t.Helper()
	ref, err := name.ParseReference(c.registry + "/team/app:" + tag)
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(ref, img, remote.WithTransport(&http.Transport{DisableKeepAlives: true})); err != nil {
		t.Fatal(err)
	}
	return img
}

func random3(t *testing.T) v1.Image {
	t.Helper()
	img, err := random.Image(3<<20, 2)
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// wants checks that a text has all parts.
func wants(t *testing.T, text string, parts ...string) {
	t.Helper()
	for _, p := range parts {
		if !strings.Contains(text, p) {
			t.Errorf("there is no %q", p)
		}
	}
}

// p2pctl shows of a real cluster what became of a real pull.
func TestARealCluster(t *testing.T) {
	c := newCluster(t, 3, false)
	img := c.push(t, "1", random3(t))
	m, err := img.Manifest()
	if err != nil {
		t.Fatal(err)
	}
	blob := m.Layers[0].Digest.String()
	short := m.Layers[0].Digest.Hex[:12]
	for i := range c.nodes {
		c.pull(t, i, "team/app/manifests/1")
		c.pull(t, i, "team/app/blobs/"+blob)
	}
	var swarms api.SwarmList
	c.until(t, "the swarm of the layer is whole", func() bool {
		_, out, _ := c.try(0, "swarm", "ls", "-o", "json")
		swarms = api.SwarmList{}
		if json.Unmarshal([]byte(out), &swarms) != nil {
			return false
		}
		for _, sw := range swarms.Items {
			if sw.Digest == blob && sw.Seeds == 3 && sw.Bytes.Peers >= 2*sw.Size {
				return true
			}
		}
		return false
	})
	wants(t, c.run(t, 0, "swarm", "ls", "-o", "wide"), short, "3.0 MiB", "100%")
	wants(t, c.run(t, 0, "swarm", "show", short, "-o", "wide"), blob, "1.00 copies", "zone-0", "zone-1", "4/4", "seed", "0-3")
	wants(t, c.run(t, 0, "peer", "ls"), "ok", "zone-1", "127.0.0.1:")
	wants(t, c.run(t, 0, "status"), "3 connected", "of which 0 still miss something", "connected to 127.0.0.1", "saved")
	wants(t, c.run(t, 1, "cache", "ls"), short, "store", "yes")
	wants(t, c.run(t, 1, "cache", "verify", short), "ok", "0 damaged")
	wants(t, c.run(t, 1, "explain", short), "a download begins", "the scheduler is told", "complete", "peer …", "100%")
	wants(t, c.run(t, 0, "explain", short), "origin", "100%", "lease")
	wants(t, c.run(t, 1, "explain", c.registry+"/team/app:1"), "WATERFALL", "complete     3.0 MiB          0 B  ", "/team/app:1", "says that it is sha256:", "a manifest of", "peer …")
	wants(t, c.run(t, 1, "swarm", "top", short, "-n", "1"), short, "3 members, 3 seeds")
	wants(t, c.run(t, 0, "downloads"), "nothing is arriving")
	c.check(t, 2)

	list := strings.Fields(c.run(t, 0, "peer", "ls", "-o", "name"))
	if len(list) != 3 {
		t.Fatalf("%d peers", len(list))
	}
	id := strings.TrimPrefix(list[0], "peer/")
	wants(t, c.run(t, 0, "peer", "ban", id, "--for", "10m", "--reason", "a test"), "banned", "a test")
	wants(t, c.run(t, 0, "swarm", "show", short), "members   2, of which 2 have all")
	wants(t, c.run(t, 0, "swarm", "show", c.registry+"/team/app:1"), "manifest", "config", "layer", short[:8], "1.00")
	c.run(t, 0, "peer", "unban", id)
	c.until(t, "the peer is a member again", func() bool {
		_, out, _ := c.try(0, "swarm", "show", short)
		return strings.Contains(out, "members   3, of which 3 have all")
	})
	wants(t, c.run(t, 2, "cache", "rm", short), "removed")
	c.until(t, "the swarm has one less", func() bool {
		_, out, _ := c.try(0, "swarm", "show", short)
		return strings.Contains(out, "members   2, of which 2 have all")
	})
	if code, _, err := c.try(0, "explain", c.registry+"/team/other:1"); code != 1 || !strings.Contains(err, "p2pd remembers nothing") {
		t.Errorf("what was never pulled: %d %q", code, err)
	}
}

// check looks at the chain on a node, before and after p2pd setup.
func (c *cluster) check(t *testing.T, i int) {
	t.Helper()
	root := t.TempDir()
	config := filepath.Join(root, "etc/containerd/config.toml")
	text := "version = 2\n[plugins.\"io.containerd.grpc.v1.cri\".registry]\nconfig_path = \"/certs.d\"\n"
	if err := errors.Join(os.MkdirAll(filepath.Dir(config), 0o700), os.WriteFile(config, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	args := []string{"check", "--root", root, "--image", c.registry + "/team/app:1"}
	if code, out, _ := c.try(i, args...); code != 1 || !strings.Contains(out, "× containerd asks p2pd") || !strings.Contains(out, "√ p2pd answers") {
		t.Errorf("before p2pd setup: %d\n%s", code, out)
	}
	hosts := filepath.Join(root, "certs.d/_default/hosts.toml")
	text = "[host.\"http://" + c.nodes[i].mirror + "\"]\ncapabilities = [\"pull\", \"resolve\"]\n"
	if err := errors.Join(os.MkdirAll(filepath.Dir(hosts), 0o700), os.WriteFile(hosts, []byte(text), 0o600)); err != nil {
		t.Fatal(err)
	}
	wants(t, c.run(t, i, args...), "√ a layer comes through p2pd, and is what it should be: 3.0 MiB", "Status: all is well", "√ containerd asks p2pd: for ", "/_default/hosts.toml")
}

// What the next image shares is seen, and what broke it.
func TestImageAnalyze(t *testing.T) {
	origin := httptest.NewServer(registry.New(registry.Logger(log.New(io.Discard, "", 0))))
	t.Cleanup(origin.Close)
	c := &cluster{registry: origin.Listener.Addr().String(), nodes: []node{{}}}
	base := random3(t)
	one := c.push(t, "1", with(t, base, "COPY app /app", "RUN setup"))
	c.push(t, "2", with(t, base, "COPY app /app", "RUN setup"))
	d, err := one.Digest()
	if err != nil {
		t.Fatal(err)
	}
	app := c.registry + "/team/app"
	out := c.run(t, 0, "image", "analyze", app+":1", app+":2")
	wants(t, out, "in 4 layers", "runs as 65532", "the second shares 2 layers with the first: 6.0 MiB of", "from layer 3 on they differ: the same step (COPY app /app) gave other files",
		"in layers above it are new as well", "not", "deploy "+app+"@"+d.String())
	if code, _, _ := c.try(0, "image", "analyze", app+"@"+d.String(), "--strict"); code != 0 {
		t.Errorf("an image that is pinned and not root's has findings: %d", code)
	}
	if code, _, _ := c.try(0, "image", "analyze", app+":1", "--strict"); code != 1 {
		t.Errorf("an image by tag has no finding with --strict: %d", code)
	}
	if code, _, err := c.try(0, "image", "analyze", app+":none"); code != 1 || !strings.Contains(err, "ask the registry for") {
		t.Errorf("an image that is not there: %d %q", code, err)
	}
}

// with puts a layer on an image for each step, and a user.
func with(t *testing.T, img v1.Image, steps ...string) v1.Image {
	t.Helper()
	for _, s := range steps {
		l, err := random.Layer(1<<20, types.DockerLayer)
		if err != nil {
			t.Fatal(err)
		}
		if img, err = mutate.Append(img, mutate.Addendum{Layer: l, History: v1.History{CreatedBy: s}}); err != nil {
			t.Fatal(err)
		}
	}
	cfg, err := img.ConfigFile()
	if err != nil {
		t.Fatal(err)
	}
	cfg = cfg.DeepCopy()
	cfg.Config.User = "65532:65532"
	if img, err = mutate.ConfigFile(img, cfg); err != nil {
		t.Fatal(err)
	}
	return img
}
