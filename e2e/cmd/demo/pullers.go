package main

import (
	"context"
	"fmt"
	"os"
	"strings"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
)

// pullers is what pulls on the nodes, through their p2pd.
type pullers interface {
	start(ctx context.Context) error
	pull(ctx context.Context, node int, img lab.Image) error
	// finish shows what the pulled image is good for.
	finish(ctx context.Context, img lab.Image) error
}

// choose takes containerd if nodes are namespaces and there is one.
func choose(ctx context.Context, l *lab.Lab) (pullers, string, error) {
	if l.Rootless {
		return clients{l}, "a small OCI client", nil
	}
	r, err := l.Programs.BuiltRuntime(ctx)
	if err != nil {
		if r, err = lab.SystemRuntime(ctx); err != nil {
			fmt.Fprintln(os.Stderr, "no containerd, so no container will run:", err)
			return clients{l}, "a small OCI client", nil
		}
	}
	return &containerds{l: l, runtime: r}, "containerd " + r.Version, nil
}

// clients are OCI clients that write nothing.
type clients struct{ l *lab.Lab }

func (c clients) start(context.Context) error { return nil }

func (c clients) pull(ctx context.Context, node int, img lab.Image) error {
	report, err := lab.PullAt(ctx, c.l.Net.Nodes[node], lab.PullSpec{
		Base: c.l.MirrorURL(node), Host: lab.RegistryHost, Repository: img.Repository, Tag: img.Tag,
	})
	if err == nil && report.Digest != img.Digest {
		err = fmt.Errorf("pulled %s instead of %s", report.Digest, img.Digest)
	}
	return err
}

func (c clients) finish(context.Context, lab.Image) error {
	fmt.Println("\nevery digest was verified (as root, containerd pulls and a container runs)")
	return nil
}

// containerds are real ones.
type containerds struct {
	l       *lab.Lab
	runtime lab.Runtime
	nodes   []*lab.Containerd
}

func (c *containerds) start(ctx context.Context) error {
	c.nodes = make([]*lab.Containerd, len(c.l.Net.Nodes))
	var g errgroup.Group
	for i := range c.nodes {
		g.Go(func() (err error) {
			c.nodes[i], err = c.l.StartContainerd(ctx, i, c.runtime, lab.ThroughP2PD)
			return err
		})
	}
	return g.Wait()
}

func (c *containerds) pull(ctx context.Context, node int, img lab.Image) error {
	if err := c.nodes[node].Pull(ctx, img); err != nil {
		return err
	}
	return c.nodes[node].Check(ctx, img)
}

// finish runs a container on the last node.
func (c *containerds) finish(ctx context.Context, img lab.Image) error {
	last := c.nodes[len(c.nodes)-1]
	out, err := last.RunContainer(ctx, img, "demo", "/bin/sh", "-c", "echo hello from a container on $(uname -s), with $(ls /go | wc -l) entries in /go")
	if err != nil {
		return fmt.Errorf("run a container: %w", err)
	}
	fmt.Printf("\na container of the image on %s says: %s\n", c.l.Net.Nodes[len(c.nodes)-1].Name, strings.TrimSpace(out))
	return nil
}
