package kube_test

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/kube"
)

// replace: a node is drained while it pulls, and ends; one with another name and an
// empty disk comes in its place. No pull fails, and the new node has from its
// neighbours what they have. before is what nodes had below certs.d before p2pd
// came; it is the new node's then, which has no label of a rack.
func (x *cluster) replace(ctx context.Context, t *testing.T, before, racks map[string]string) {
	img := x.push(ctx, t, "five", 200<<20)
	from := x.mark(ctx, t)
	x.launch(ctx, t, "five", img)
	for deadline := time.Now().Add(time.Minute); x.since(ctx, t, from).BlobBytes < img.Bytes/4; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody pulls\n%s", x.describe(ctx))
		}
	}
	old := x.Nodes[nodes-1]
	began := time.Now()
	if _, err := x.Kubectl(ctx, "drain", old.Name, "--ignore-daemonsets", "--delete-emptydir-data", "--force", "--timeout="+rollout); err != nil {
		t.Fatalf("%v\n%s", err, x.describe(ctx))
	}
	drained := time.Since(began)
	if err := x.Terminate(ctx, old); err != nil {
		t.Fatal(err)
	}
	fresh, err := x.Replace(ctx, old)
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range before {
		if rest, below := strings.CutPrefix(name, old.Path("/")); below {
			delete(before, name)
			before[filepath.Join(fresh.Path("/"), rest)] = text
		}
	}
	x.rolledOut(ctx, t, "deployment/five")
	all := time.Since(began)
	if _, err := x.Kubectl(ctx, "-n", kube.Namespace, "rollout", "status", "daemonset/p2pd", "--timeout="+rollout); err != nil {
		t.Fatalf("%v\n%s", err, x.describe(ctx))
	}
	x.noneFailed(ctx, t)
	x.members(ctx, t, racks)
	tally := x.since(ctx, t, from)
	copies := float64(tally.BlobBytes) / float64(img.Bytes)
	t.Logf("a node is drained in %.1fs and replaced; all %d pods run %.1fs after the drain began; %.3f origin copies, %d bytes past p2pd",
		drained.Seconds(), nodes, all.Seconds(), copies, tally.DirectBytes())
	// What a node that goes was reading from the registry is read again by another,
	// and the new node may pull a little before its p2pd is there.
	if copies > 1.5 {
		t.Errorf("%.3f copies from the origin, want at most 1.5", copies)
	}
}

// dryRun: the API server takes what the chart makes of each example of values.
func (x *cluster) dryRun(ctx context.Context, t *testing.T) {
	examples, err := filepath.Glob(chart + "/ci/*.yaml")
	if err != nil || len(examples) == 0 {
		t.Fatalf("examples of values: %v, %v", examples, err)
	}
	for _, values := range append(examples, "") {
		args := []string{"template", "dry", chart, "--namespace", kube.Namespace, "--set", "image.repository=registry.example/p2pd"}
		if values != "" {
			args = append(args, "--values", values)
		}
		objects, err := x.Helm(ctx, args...)
		if err != nil {
			t.Fatal(err)
		}
		if err := x.Apply(ctx, objects, "--dry-run=server"); err != nil {
			t.Errorf("%s: %v", filepath.Base(values), err)
		}
		if err := x.Apply(ctx, strings.Replace(objects, "updateStrategy:", "updateStrategie:", 1), "--dry-run=server"); err == nil || !strings.Contains(fmt.Sprint(err), "updateStrategie") {
			t.Errorf("%s: the API server does not refuse a field that does not exist: %v", filepath.Base(values), err)
		}
	}
}
