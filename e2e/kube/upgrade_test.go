package kube_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/kube"
)

// upgrade: every p2pd is replaced while an image is pulled, and no pull fails. On one
// node p2pd is broken then, and hosts.toml leads to nobody: the kubelet has the new image
// of p2pd nevertheless.
func (x *cluster) upgrade(ctx context.Context, t *testing.T) {
	x.follow(ctx, t, strings.ReplaceAll(x.guide.blocks["Install"][0], "0.1.0", newTag))
	img := x.push(ctx, t, "two", 120<<20)
	broken := x.Nodes[1]
	mend := x.wreck(ctx, t, broken)
	upgraded, mended := make(chan error, 1), make(chan error, 1)
	go func() {
		_, err := x.Shell(ctx, x.guide.clone, x.words().Replace(x.guide.upgrade))
		upgraded <- err
	}()
	go func() {
		err := x.willHave(ctx, broken, "/p2pd:"+newTag)
		mended <- errors.Join(err, mend())
	}()
	x.deploy(ctx, t, "two", img)
	if err := errors.Join(<-mended, <-upgraded); err != nil {
		t.Fatalf("%v\n%s", err, x.describe(ctx))
	}
	x.change(t, "tag: 0.1.0", "tag: "+newTag)
	x.noneFailed(ctx, t)
	for _, n := range x.Nodes {
		told(t, n)
	}
}

// willHave waits until a node's containerd has an image whose name ends so.
func (x *cluster) willHave(ctx context.Context, n *kube.Node, name string) error {
	for deadline := time.Now().Add(3 * time.Minute); ; time.Sleep(100 * time.Millisecond) {
		images, err := n.Ctr(ctx, x.Cluster, "images", "ls", "-q")
		if err == nil && strings.Contains(images, name+"\n") {
			return nil
		}
		if err == nil {
			err = errors.New(images)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("%s has no %s: %w", n.Name, name, err)
		}
	}
}

// noneFailed fails if the kubelet could not pull an application's image.
func (x *cluster) noneFailed(ctx context.Context, t *testing.T) {
	t.Helper()
	events, err := x.Kubectl(ctx, "-n", "default", "get", "events", "--field-selector", "reason=Failed", "-o", "jsonpath={range .items[*]}{.message}{\"\\n\"}{end}")
	if err != nil {
		t.Fatal(err)
	}
	if strings.TrimSpace(events) != "" {
		t.Errorf("pulls failed:\n%s", events)
	}
}
