package kube_test

import (
	"context"
	"strings"
	"testing"
)

// heatContainerd: a preheat has each node's containerd unpack an image, once it is in
// p2pd's store; then pods of it start without any request at the registry.
func (x *cluster) heatContainerd(ctx context.Context, t *testing.T) {
	img := x.push(ctx, t, "unpacked", 80<<20)
	from := x.mark(ctx, t)
	said := x.follow(ctx, t, strings.ReplaceAll(x.guide.blocks["Preheats into containerd"][0], "registry.example/prod/app:v7", img.Reference()))
	copies := float64(x.since(ctx, t, from).BlobBytes) / float64(img.Bytes)
	for _, n := range x.Nodes {
		names, err := n.Ctr(ctx, x.Cluster, "images", "ls", "-q")
		if err != nil || !strings.Contains(names, img.Reference()+"\n") {
			t.Errorf("%s has %s, %v; want %s among it, after\n%s", n.Name, names, err, img.Reference(), said)
		}
	}
	from = x.mark(ctx, t)
	took := x.deploy(ctx, t, "unpacked", img)
	if tally := x.since(ctx, t, from); len(tally.Requests) > 0 {
		t.Errorf("the registry was asked for %v by pods whose image was there", tally.Requests)
	}
	pulls, err := x.Kubectl(ctx, "-n", "default", "get", "events", "--field-selector", "reason=Pulling", "-o", `jsonpath={range .items[*]}{.message}{"\n"}{end}`)
	if err != nil || strings.Contains(pulls, img.Reference()) {
		t.Errorf("kubelets have pulled: %v\n%s", err, pulls)
	}
	t.Logf("%d MiB unpacked on %d nodes: %.3f origin copies; then %d pods ran after %.1fs without a request", img.Bytes>>20, nodes, copies, nodes, took.Seconds())
}
