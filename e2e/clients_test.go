package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/pkg/piece"
)

// clientTimeout bounds one pull of a few MiB, with Docker's or Podman's start.
const clientTimeout = 2 * time.Minute

// clients is two nodes with p2pd, set up for skopeo, Podman and Docker by
// `p2pd setup`, each in a folder of its own that stands for the system's.
type clients struct {
	*lab.Lab
	swarm  *lab.Swarm
	image  lab.Image
	origin string // host:port of the registry, which is its name here
	system string // what is /etc/containers to the tools lies in it
}

// Other clients than containerd pull through p2pd, each set up by `p2pd setup`:
// the origin gives each byte once to all of them, and where p2pd is gone those
// that can go to the origin themselves.
func TestClients(t *testing.T) {
	if os.Getenv("P2PD_E2E_CLIENTS") != "1" {
		t.Skip("needs skopeo, Podman and Docker, which are much to install: run 'sudo make e2e-clients'")
	}
	ctx := gate(t)
	c := startClients(ctx, t)
	mark, err := c.Registry.Mark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c.skopeo(ctx, t, 0)
	c.podman(ctx, t, 0)
	c.skopeo(ctx, t, 1)
	c.podman(ctx, t, 1)
	c.docker(ctx, t, 1)
	tally, err := c.Registry.Since(ctx, mark)
	if err != nil {
		t.Fatal(err)
	}
	if most := c.image.Bytes * 105 / 100; tally.BlobBytes > most || tally.DirectBytes() > 0 {
		t.Errorf("the origin sent %d bytes of blobs, want at most %d; %d of them past p2pd", tally.BlobBytes, most, tally.DirectBytes())
	}

	c.swarm.Nodes[0].Kill()
	if mark, err = c.Registry.Mark(ctx); err != nil {
		t.Fatal(err)
	}
	c.skopeo(ctx, t, 0)
	if tally, err = c.Registry.Since(ctx, mark); err != nil {
		t.Fatal(err)
	}
	if got := tally.DirectBytes(); got != c.image.Bytes {
		t.Errorf("without p2pd skopeo read %d bytes at the origin, want %d", got, c.image.Bytes)
	}
}

func startClients(ctx context.Context, t *testing.T) *clients {
	t.Helper()
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: 2, NodeRate: nodeRate, OriginRate: originRate}, Programs: programs(t)})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	c := &clients{Lab: l, swarm: &lab.Swarm{}, system: filepath.Join(l.Dir, "system")}
	if c.image, err = l.Registry.Push(ctx, lab.ImageSpec{Repository: "lab/clients", Tag: "v1", Size: 12 << 20, Layers: 3}); err != nil {
		t.Fatal(err)
	}
	endpoint, err := url.Parse(l.Registry.Endpoint)
	if err != nil {
		t.Fatal(err)
	}
	c.origin = endpoint.Host
	if c.swarm.Scheduler, err = l.StartScheduler(ctx); err != nil {
		t.Fatal(err)
	}
	for i := range l.Nodes {
		d, err := l.StartNode(ctx, i,
			fmt.Sprintf("P2PD_REGISTRIES=%s=%s,docker.io=%s", c.origin, endpoint, endpoint), "P2PD_MIRROR_DEFAULT_REGISTRY=docker.io")
		if err != nil {
			t.Fatal(err)
		}
		c.swarm.Nodes = append(c.swarm.Nodes, d)
	}
	if err := c.swarm.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	c.output(t, exec.CommandContext(ctx, "mkdir", "-p", filepath.Join(c.system, "etc")))
	c.output(t, exec.CommandContext(ctx, "cp", "-a", "/etc/containers", filepath.Join(c.system, "etc", "containers")))
	// Loopback has one address on all nodes.
	for _, args := range [][]string{{"--runtime", "podman", "--registry", c.origin}, {"--runtime", "docker"}} {
		c.output(t, l.Net.Nodes[0].Command(ctx, l.Programs.P2PD, append([]string{"setup", "--root", c.system, "--mirror", l.MirrorURL(0)}, args...)...))
	}
	return c
}

func (c *clients) output(t *testing.T, cmd *exec.Cmd) string {
	t.Helper()
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%v: %v: %s", cmd.Args, err, out)
	}
	return string(out)
}

// tool runs a program on a node that sees our /etc/containers as the system's.
func (c *clients) tool(ctx context.Context, t *testing.T, node int, args ...string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	const enter = `mount --bind "$0" /etc/containers && exec "$@"`
	args = append([]string{"--mount", "sh", "-c", enter, filepath.Join(c.system, "etc", "containers")}, args...)
	return c.output(t, c.Net.Nodes[node].Command(ctx, "unshare", args...))
}

// skopeo copies the image into a folder and checks its manifest and sizes.
func (c *clients) skopeo(ctx context.Context, t *testing.T, node int) {
	t.Helper()
	dir := t.TempDir()
	c.tool(ctx, t, node, "skopeo", "copy", "--src-tls-verify=false",
		"docker://"+c.origin+"/"+c.image.Repository+":"+c.image.Tag, "dir:"+dir)
	manifest, err := os.ReadFile(filepath.Join(dir, "manifest.json"))
	if err != nil || piece.Sum(manifest).String() != c.image.Digest {
		t.Errorf("skopeo on node %d: manifest %s, want %s, %v", node, piece.Sum(manifest), c.image.Digest, err)
	}
	for _, b := range c.image.Blobs {
		_, hex, _ := strings.Cut(b.Digest, ":")
		if info, err := os.Stat(filepath.Join(dir, hex)); err != nil || info.Size() != b.Bytes {
			t.Errorf("skopeo on node %d: blob %s: %v, %v", node, b.Digest, info, err)
		}
	}
}

// podman pulls and unpacks the image.
func (c *clients) podman(ctx context.Context, t *testing.T, node int) {
	t.Helper()
	dir := filepath.Join(c.Dir, fmt.Sprintf("podman%d", node))
	podman := []string{"podman", "--root", filepath.Join(dir, "root"), "--runroot", filepath.Join(dir, "run"),
		"--storage-driver", "vfs", "--cgroup-manager", "cgroupfs", "--events-backend", "none"}
	ref := c.origin + "/" + c.image.Repository + ":" + c.image.Tag
	c.tool(ctx, t, node, append(podman, "pull", "--quiet", "--tls-verify=false", ref)...)
	if got := strings.TrimSpace(c.tool(ctx, t, node, append(podman, "image", "inspect", "--format", "{{.Digest}}", ref)...)); got != c.image.Digest {
		t.Errorf("Podman on node %d holds %s, want %s", node, got, c.image.Digest)
	}
}

// docker has a daemon of its own pull the image, as one of Docker Hub's.
func (c *clients) docker(ctx context.Context, t *testing.T, node int) {
	t.Helper()
	dir := filepath.Join(c.Dir, "docker")
	socket := filepath.Join(dir, "docker.sock")
	daemon, err := c.Start(c.Net.Nodes[node], lab.Spec{Name: "dockerd", Args: []string{
		"dockerd", "--config-file", filepath.Join(c.system, "etc", "docker", "daemon.json"),
		"--data-root", filepath.Join(dir, "data"), "--exec-root", filepath.Join(dir, "exec"), "--pidfile", filepath.Join(dir, "pid"),
		"--host", "unix://" + socket, "--bridge", "none", "--iptables=false", "--ip6tables=false", "--storage-driver", "vfs",
	}})
	if err != nil {
		t.Fatal(err)
	}
	api := &http.Client{Transport: &http.Transport{
		DisableKeepAlives: true,
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, "unix", socket)
		},
	}}
	ask := func(ctx context.Context, method, path string) (string, error) {
		req, err := http.NewRequestWithContext(ctx, method, "http://docker"+path, nil)
		if err != nil {
			return "", err
		}
		res, err := api.Do(req)
		if err != nil {
			return "", err
		}
		defer res.Body.Close()
		said, err := io.ReadAll(res.Body)
		if err == nil && res.StatusCode != http.StatusOK {
			err = fmt.Errorf("%s %s: %s: %s", method, path, res.Status, said)
		}
		return string(said), err
	}
	if err := daemon.WaitReady(ctx, func(ctx context.Context) error {
		_, err := ask(ctx, http.MethodGet, "/_ping")
		return err
	}); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, clientTimeout)
	defer cancel()
	progress, err := ask(ctx, http.MethodPost, "/images/create?fromImage="+url.QueryEscape(c.image.Repository)+"&tag="+c.image.Tag)
	if err != nil || strings.Contains(progress, `"error"`) {
		t.Fatalf("docker pull: %v: %s\n%s", err, progress, daemon.LogTail())
	}
	said, err := ask(ctx, http.MethodGet, "/images/"+c.image.Repository+":"+c.image.Tag+"/json")
	if err != nil {
		t.Fatal(err)
	}
	var held struct{ RepoDigests []string }
	if err := json.Unmarshal([]byte(said), &held); err != nil {
		t.Fatal(err)
	}
	if want := c.image.Repository + "@" + c.image.Digest; len(held.RepoDigests) != 1 || held.RepoDigests[0] != want {
		t.Errorf("Docker holds %q, want %s", held.RepoDigests, want)
	}
	if err := daemon.Stop(); err != nil {
		t.Error(err)
	}
}
