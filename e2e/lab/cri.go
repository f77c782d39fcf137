package lab

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// PullMode is a containerd and one of the ways in which it pulls over CRI.
type PullMode struct {
	Name    string // short: names a folder and a process
	Runtime Runtime
	// Ranges says that it fetches a layer in several ranges at once.
	Ranges bool
	// config is its configuration; DIR stands for its folder.
	config string
}

// CRI is a containerd with its CRI service, for pulls as a kubelet makes them.
// Several may run on one node.
type CRI struct {
	*Containerd
	Mode PullMode

	client string // the program that speaks CRI
}

// StartCRI starts one on node i, which pulls from the origin alone until it is
// told otherwise.
func (l *Lab) StartCRI(ctx context.Context, i int, m PullMode) (*CRI, error) {
	client, err := Tool(ctx, "cripull")
	if err != nil {
		return nil, err
	}
	p := l.Net.Nodes[i]
	dir, err := l.mkdir(filepath.Join(p.Name, "containerd-"+m.Name))
	if err != nil {
		return nil, err
	}
	c := &CRI{
		Containerd: &Containerd{runtime: m.Runtime, place: p, dir: dir, hosts: filepath.Join(dir, "certs.d")},
		Mode:       m, client: filepath.Join(client, "cripull"),
	}
	if err := c.PullFrom(l.Registry.Endpoint, l.Registry.Endpoint); err != nil {
		return nil, err
	}
	return c, l.run(ctx, c, strings.ReplaceAll(m.config, "DIR", dir))
}

// Reconfigure starts containerd again with its configuration changed from what it
// was at first.
func (l *Lab) Reconfigure(ctx context.Context, c *CRI, change func(config string) string) error {
	if err := c.Stop(); err != nil {
		return err
	}
	return l.run(ctx, c, change(strings.ReplaceAll(c.Mode.config, "DIR", c.dir)))
}

// run starts containerd with a configuration.
func (l *Lab) run(ctx context.Context, c *CRI, config string) (err error) {
	if err := os.WriteFile(c.Config(), []byte(config), 0o644); err != nil {
		return fmt.Errorf("write configuration: %w", err)
	}
	c.Process, err = l.Start(c.place, Spec{
		Name: c.place.Name + "-containerd-" + c.Mode.Name, Args: []string{c.runtime.Daemon, "--config", c.Config()}, Env: []string{"PATH=" + c.runtime.Path},
	})
	if err != nil {
		return err
	}
	return c.WaitReady(ctx, func(ctx context.Context) error {
		_, err := c.cri(ctx, "version")
		return err
	})
}

// Socket is where it answers, over CRI.
func (c *CRI) Socket() string { return filepath.Join(c.dir, "c.sock") }

// Config is its configuration file.
func (c *CRI) Config() string { return filepath.Join(c.dir, "config.toml") }

// PullFrom makes the next pull ask first, and the origin if that fails.
// containerd reads hosts.toml anew on each pull.
func (c *CRI) PullFrom(first, origin string) error { return writeHosts(c.hosts, first, origin) }

// Pull pulls and unpacks an image.
func (c *CRI) Pull(ctx context.Context, img Image) error {
	_, err := c.cri(ctx, "pull", img.Reference())
	return err
}

// Remove removes an image. That it isn't there is no error.
func (c *CRI) Remove(ctx context.Context, img Image) error {
	_, err := c.cri(ctx, "remove", img.Reference())
	return err
}

func (c *CRI) cri(ctx context.Context, args ...string) (string, error) {
	return output(c.place.Command(ctx, c.client, append([]string{"-socket", c.Socket()}, args...)...))
}

// Arriving is how much of a layer containerd has that it is still pulling: the
// most, if there are several.
func (c *CRI) Arriving() (most int64, err error) {
	ingests, err := filepath.Glob(filepath.Join(c.dir, "root", "io.containerd.content.v1.content", "ingest", "*", "data"))
	for _, file := range ingests {
		if info, err := os.Stat(file); err == nil { // else it has just ended
			most = max(most, info.Size())
		}
	}
	return most, err
}
