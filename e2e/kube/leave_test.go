package kube_test

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/kube"
)

// uninstall leaves each node as it was, though p2pd is broken on one and cannot tidy up
// as it ends, and pulls go straight to the registry.
func (x *cluster) uninstall(ctx context.Context, t *testing.T, before map[string]string) {
	mend := x.wreck(ctx, t, x.Nodes[0])
	began := time.Now()
	x.follow(ctx, t, x.guide.blocks["Leave"][0])
	if err := mend(); err != nil {
		t.Fatal(err)
	}
	t.Logf("helm uninstall --wait: %.1fs", time.Since(began).Seconds())
	x.left(ctx, t, before)
	img := x.push(ctx, t, "four", 32<<20)
	from := x.mark(ctx, t)
	x.deploy(ctx, t, "four", img)
	// All images begin with the same small layer, which is there.
	want := nodes * (img.Bytes - img.Blobs[1].Bytes)
	if tally := x.since(ctx, t, from); tally.DirectBytes() < want || tally.DirectBytes() != tally.BlobBytes {
		t.Errorf("%d of %d bytes went straight to %d nodes, want all of them, and %d", tally.DirectBytes(), tally.BlobBytes, nodes, want)
	}
}

// left fails unless nothing of p2pd's is in the cluster or on its nodes.
func (x *cluster) left(ctx context.Context, t *testing.T, before map[string]string) {
	t.Helper()
	if _, err := x.Kubectl(ctx, "-n", kube.Namespace, "wait", "--for=delete", "pod", "-l", "app.kubernetes.io/name=p2pd", "--timeout="+rollout); err != nil {
		t.Fatal(err)
	}
	after := x.hosts(t)
	for name, text := range before {
		if after[name] != text {
			t.Errorf("%s was %q and is %q", name, text, after[name])
		}
	}
	for name := range after {
		if _, ok := before[name]; !ok {
			t.Errorf("%s was left behind", name)
		}
	}
	objects, err := x.Kubectl(ctx, "get", "daemonsets,statefulsets,deployments,jobs,services,configmaps,secrets,serviceaccounts,roles,rolebindings,clusterroles,clusterrolebindings,networkpolicies,ingresses,poddisruptionbudgets",
		"-A", "-l", "app.kubernetes.io/instance=p2pd", "-o", "name")
	if err != nil || objects != "" {
		t.Errorf("the cluster still has %s, %v", objects, err)
	}
}

// container is p2pd's on a node, with its pod.
func (x *cluster) container(ctx context.Context, t *testing.T, n *kube.Node) (pod, id string) {
	t.Helper()
	out, err := x.Kubectl(ctx, "-n", kube.Namespace, "get", "pods", "-l", "app.kubernetes.io/component=node", "--field-selector", "spec.nodeName="+n.Name,
		"-o", "jsonpath={.items[0].metadata.name} {.items[0].status.containerStatuses[0].containerID}")
	pod, id, ok := strings.Cut(strings.TrimSpace(out), " containerd://")
	if err != nil || !ok {
		t.Fatalf("p2pd on %s: %q, %v", n.Name, out, err)
	}
	return pod, id
}

// kill kills p2pd on a node, as the kernel does that is short of memory, or a reboot.
func (x *cluster) kill(ctx context.Context, t *testing.T, n *kube.Node) (pod string) {
	t.Helper()
	pod, id := x.container(ctx, t, n)
	if _, err := n.Ctr(ctx, x.Cluster, "tasks", "kill", "--signal", "SIGKILL", id); err != nil {
		t.Fatal(err)
	}
	return pod
}

// wreck has p2pd on a node end, and not start again before it is mended: its key is no
// key.
func (x *cluster) wreck(ctx context.Context, t *testing.T, n *kube.Node) (mend func() error) {
	t.Helper()
	key := n.Path("/var/lib/p2pd/key")
	if err := os.WriteFile(key, []byte("none\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	pod := x.kill(ctx, t, n)
	if _, err := x.Kubectl(ctx, "-n", kube.Namespace, "wait", "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=CrashLoopBackOff",
		"pod/"+pod, "--timeout=60s"); err != nil {
		t.Fatalf("%v\n%s", err, x.describe(ctx))
	}
	told(t, n)
	return func() error { return os.Remove(key) } // the next p2pd makes one
}

// uninstallWithout: a node is down while p2pd is uninstalled, which is said, and is as
// it was once it is back.
func (x *cluster) uninstallWithout(ctx context.Context, t *testing.T, before map[string]string) {
	n := x.Nodes[0]
	x.follow(ctx, t, x.guide.blocks["Install"][1])
	for _, n := range x.Nodes {
		told(t, n)
	}
	n.StopKubelet()
	x.kill(ctx, t, n)
	began := time.Now()
	out, err := x.Helm(ctx, "uninstall", "p2pd", "--namespace", kube.Namespace)
	t.Logf("helm uninstall without a node: after %.1fs: %s%v", time.Since(began).Seconds(), out, err)
	if err == nil || !strings.Contains(err.Error(), "restored on 3 of 4 nodes") {
		t.Errorf("helm does not say that a node was left as it is: %s%v", out, err)
	}
	said, err := x.Kubectl(ctx, "-n", kube.Namespace, "logs", "job/p2pd-restore")
	if err != nil || !strings.Contains(said, "restored on 3 of 4 nodes, and on no other for 1m0s; DaemonSet p2pd/p2pd-restore stays") {
		t.Errorf("the Job says %q, %v", said, err)
	}
	told(t, n)
	if err := n.StartKubelet(x.Cluster); err != nil {
		t.Fatal(err)
	}
	for _, command := range x.guide.blocks["Leave"][1:] {
		x.follow(ctx, t, command)
	}
	x.left(ctx, t, before)
}
