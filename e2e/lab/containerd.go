package lab

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Containerd is one running containerd on one node, with content, sockets and
// state of its own.
type Containerd struct {
	*Process

	runtime Runtime
	place   Place
	dir     string
	hosts   string // certs.d
}

// Mirrors says where a containerd looks for images.
type Mirrors int

// With ThroughP2PD it asks the node's p2pd first and the origin if that fails;
// with Direct the origin alone.
const (
	ThroughP2PD Mirrors = iota
	Direct
)

// StartContainerd starts one on node i.
func (l *Lab) StartContainerd(ctx context.Context, i int, r Runtime, m Mirrors) (*Containerd, error) {
	p := l.Net.Nodes[i]
	dir, err := l.mkdir(filepath.Join(p.Name, "containerd"))
	if err != nil {
		return nil, err
	}
	c := &Containerd{runtime: r, place: p, dir: dir, hosts: filepath.Join(dir, "certs.d")}
	first := l.Registry.Endpoint
	if m == ThroughP2PD {
		first = l.MirrorURL(i)
	}
	if err := writeHosts(c.hosts, first, l.Registry.Endpoint); err != nil {
		return nil, err
	}
	config := filepath.Join(dir, "config.toml")
	if err := os.WriteFile(config, []byte(r.config(dir)), 0o644); err != nil {
		return nil, fmt.Errorf("write configuration: %w", err)
	}
	c.Process, err = l.Start(p, Spec{
		Name: p.Name + "-containerd", Args: []string{r.Daemon, "--config", config}, Env: []string{"PATH=" + r.Path},
	})
	if err != nil {
		return nil, err
	}
	return c, c.WaitReady(ctx, func(ctx context.Context) error {
		_, err := c.ctr(ctx, "version")
		return err
	})
}

// HostsDir is its certs.d.
func (c *Containerd) HostsDir() string { return c.hosts }

// writeHosts writes certs.d for the lab's registry. containerd 1.6 ignores a
// file without a [host] block, so there is one even if it repeats the server.
func writeHosts(dir, first, origin string) error {
	dir = filepath.Join(dir, RegistryHost)
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("make certs.d: %w", err)
	}
	text := fmt.Sprintf("server = %q\n\n[host.%q]\n  capabilities = [\"pull\", \"resolve\"]\n", origin, first)
	if err := os.WriteFile(filepath.Join(dir, "hosts.toml"), []byte(text), 0o644); err != nil {
		return fmt.Errorf("write hosts.toml: %w", err)
	}
	return nil
}

// ctr runs the version's own ctr on the node: 1.6's pulls by itself, so it
// must be in the node's network.
func (c *Containerd) ctr(ctx context.Context, args ...string) (string, error) {
	cmd := c.place.Command(ctx, c.runtime.Ctr, append([]string{"--address", filepath.Join(c.dir, "c.sock"), "--namespace", "k8s.io"}, args...)...)
	cmd.Env = append(os.Environ(), "PATH="+c.runtime.Path)
	return output(cmd)
}

// Pull pulls and unpacks an image.
func (c *Containerd) Pull(ctx context.Context, img Image) error {
	_, err := c.ctr(ctx, "images", "pull", "--hosts-dir", c.hosts, img.Reference())
	return err
}

// Digest is what the image's name points to in containerd.
func (c *Containerd) Digest(ctx context.Context, img Image) (string, error) {
	out, err := c.ctr(ctx, "images", "ls", "name=="+img.Reference())
	if err != nil {
		return "", err
	}
	for line := range strings.Lines(out) {
		if f := strings.Fields(line); len(f) > 2 && f[0] == img.Reference() {
			return f[2], nil
		}
	}
	return "", fmt.Errorf("%s has no image %s", c.Name, img.Reference())
}

// Check fails unless containerd holds every byte of the image, unpacked, under
// the digest that was pushed.
func (c *Containerd) Check(ctx context.Context, img Image) error {
	digest, err := c.Digest(ctx, img)
	if err != nil {
		return err
	}
	if digest != img.Digest {
		return fmt.Errorf("%s holds %s as %s", c.Name, img.Reference(), digest)
	}
	out, err := c.ctr(ctx, "images", "check", "name=="+img.Reference())
	if err != nil {
		return err
	}
	if !strings.Contains(out, "complete (") {
		return fmt.Errorf("%s: image is not complete: %s", c.Name, tail(out, 400))
	}
	return nil
}

// RunContainer runs a command in a container of the image and returns what it
// printed.
func (c *Containerd) RunContainer(ctx context.Context, img Image, id string, command ...string) (string, error) {
	// A cgroup of the lab's own name is removed with the container; ctr's
	// default would leave its parent.
	args := []string{"run", "--rm", "--cgroup", "/" + filepath.Base(filepath.Dir(filepath.Dir(c.dir))) + "-" + c.place.Name + "-" + id, img.Reference(), id}
	out, err := c.ctr(ctx, append(args, command...)...)
	if err == nil && out == "" {
		err = errors.New("container printed nothing")
	}
	return out, err
}
