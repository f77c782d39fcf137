package kube_test

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/p2pd/p2pd/e2e/kube"
	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	nodes      = 4
	schedulers = 3 // the chart's default
	rollout    = "180s"
	chart      = "../../deploy/helm/p2pd"
	newTag     = "0.1.1" // of the images that are the upgrade
	// privateHost is a registry that wants tokens.
	privateHost = "private.lab.test"
)

// TestKubernetes walks through docs/kubernetes.md on a real cluster: it installs the
// chart, starts a Deployment on all nodes at once, changes values, upgrades, and
// uninstalls.
func TestKubernetes(t *testing.T) {
	if os.Getenv("P2PD_E2E_K8S") != "1" || os.Geteuid() != 0 {
		t.Skip("a Kubernetes cluster takes minutes, and many to build: run 'sudo make e2e-k8s'")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	x := start(ctx, t)
	before := x.hosts(t)
	racks := x.label(ctx, t)
	x.install(ctx, t)
	t.Run("dry run", func(t *testing.T) { x.dryRun(ctx, t) })
	t.Run("members", func(t *testing.T) { x.members(ctx, t, nil) })
	t.Run("pull", func(t *testing.T) { x.pull(ctx, t) })
	t.Run("secret", func(t *testing.T) { x.secret(ctx, t) })
	t.Run("page", func(t *testing.T) { x.page(ctx, t) })
	t.Run("ingress", func(t *testing.T) { x.ingress(ctx, t) })
	t.Run("preheat", func(t *testing.T) { x.heat(ctx, t) })
	t.Run("racks", func(t *testing.T) { x.members(ctx, t, racks) })
	t.Run("preheat into containerd", func(t *testing.T) { x.heatContainerd(ctx, t) })
	t.Run("preheat by node labels", func(t *testing.T) { x.heatLabelled(ctx, t) })
	t.Run("network policies", func(t *testing.T) { x.policies(ctx, t) })
	t.Run("upgrade", func(t *testing.T) { x.upgrade(ctx, t) })
	t.Run("replace a node", func(t *testing.T) { x.replace(ctx, t, before, racks) })
	t.Run("schedulers restart", func(t *testing.T) { x.restartSchedulers(ctx, t) })
	t.Run("canary", func(t *testing.T) { x.canary(ctx, t) })
	t.Run("uninstall", func(t *testing.T) { x.uninstall(ctx, t, before) })
	t.Run("uninstall without a node", func(t *testing.T) { x.uninstallWithout(ctx, t, before) })
}

// cluster is what the parts of the test share.
type cluster struct {
	*kube.Cluster
	private *lab.SecureRegistry
	tokens  *lab.TokenServer
	guide   *guide
	pushed  int // images
}

func start(ctx context.Context, t *testing.T) *cluster {
	t.Helper()
	programs, err := lab.Build(ctx, filepath.Join(t.TempDir(), "bin"))
	if err != nil {
		t.Fatal(err)
	}
	l, err := lab.Open(ctx, lab.Config{Shape: lab.Shape{Nodes: nodes, NodeRate: 100e6, OriginRate: 200e6}, Programs: programs})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := l.Close(); err != nil {
			t.Error(err)
		}
	})
	t.Cleanup(func() {
		if t.Failed() {
			keep(t, l.Dir)
		}
	})
	if _, err := l.Registry.Push(ctx, lab.ImageSpec{Repository: "pause", Tag: "1", Size: 8 << 20, Layers: 2, Command: []string{"sleep", "1000000"}}); err != nil {
		t.Fatal(err)
	}
	x := &cluster{guide: openGuide(ctx, t)}
	if x.tokens, err = l.StartTokenServer(ctx, lab.Alice()); err != nil {
		t.Fatal(err)
	}
	if x.private, err = l.StartTokenRegistry(ctx, x.tokens); err != nil {
		t.Fatal(err)
	}
	if x.Cluster, err = kube.Start(ctx, l, map[string]string{
		privateHost: x.private.Endpoint, strings.TrimPrefix(l.Registry.Endpoint, "http://"): l.Registry.Endpoint,
	}); err != nil {
		t.Fatal(err)
	}
	return x
}

// keep saves the logs of a run that failed.
func keep(t *testing.T, dir string) {
	to := filepath.Join(os.TempDir(), "p2pd-e2e-k8s-logs")
	logs, _ := filepath.Glob(filepath.Join(dir, "*.log"))
	if err := os.MkdirAll(to, 0o755); err == nil && len(logs) > 0 {
		_ = exec.Command("cp", append(logs, to)...).Run()
		t.Logf("logs are in %s", to)
	}
}

// install is the guide's: images, the chart, and a look at what there is then.
func (x *cluster) install(ctx context.Context, t *testing.T) {
	t.Helper()
	steps := x.guide.blocks["Install"]
	x.follow(ctx, t, steps[0])
	began := time.Now()
	x.follow(ctx, t, steps[1])
	t.Logf("helm install --wait: %.1fs", time.Since(began).Seconds())
	if out := x.follow(ctx, t, steps[2]); !strings.Contains(out, "PEER") {
		t.Errorf("nobody has joined: %s", out)
	}
	for _, n := range x.Nodes {
		told(t, n)
	}
}

func (x *cluster) describe(ctx context.Context) string {
	pods, _ := x.Kubectl(ctx, "get", "pods", "-A", "-o", "wide")
	events, _ := x.Kubectl(ctx, "get", "events", "-A", "--sort-by=.lastTimestamp")
	setup, _ := x.Kubectl(ctx, "-n", kube.Namespace, "logs", "daemonset/p2pd", "--all-containers", "--tail=20")
	scheduler, _ := x.Kubectl(ctx, "-n", kube.Namespace, "logs", "statefulset/p2pd-scheduler", "--tail=20")
	before, _ := x.Kubectl(ctx, "-n", kube.Namespace, "logs", "p2pd-scheduler-0", "--previous", "--tail=20")
	return strings.Join([]string{pods, events, setup, scheduler, before}, "\n")
}

// hosts is every file below certs.d of all nodes.
func (x *cluster) hosts(t *testing.T) map[string]string {
	t.Helper()
	files := make(map[string]string)
	for _, n := range x.Nodes {
		root := n.Path("/etc/containerd")
		err := filepath.WalkDir(root, func(name string, d os.DirEntry, err error) error {
			if err != nil || d.IsDir() {
				files[name] = "folder"
				return err
			}
			b, err := os.ReadFile(name)
			files[name] = string(b)
			return err
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	return files
}

// deploy starts an image on all nodes at once and waits until it runs.
func (x *cluster) deploy(ctx context.Context, t *testing.T, name string, img lab.Image) time.Duration {
	t.Helper()
	began := time.Now()
	x.launch(ctx, t, name, img)
	x.rolledOut(ctx, t, "deployment/"+name)
	return time.Since(began)
}

// launch makes a Deployment with a pod on each node.
func (x *cluster) launch(ctx context.Context, t *testing.T, name string, img lab.Image) {
	t.Helper()
	if err := x.Apply(ctx, fmt.Sprintf(`apiVersion: apps/v1
kind: Deployment
metadata: {name: %[1]s}
spec:
  replicas: %[2]d
  selector: {matchLabels: {app: %[1]s}}
  template:
    metadata: {labels: {app: %[1]s}}
    spec:
      terminationGracePeriodSeconds: 0
      topologySpreadConstraints:
        - {maxSkew: 1, topologyKey: kubernetes.io/hostname, whenUnsatisfiable: DoNotSchedule, labelSelector: {matchLabels: {app: %[1]s}}}
      containers: [{name: app, image: %[3]q, command: [sleep, "1000000"]}]
`, name, nodes, img.Reference())); err != nil {
		t.Fatal(err)
	}
}

// rolledOut waits until all pods of a workload run.
func (x *cluster) rolledOut(ctx context.Context, t *testing.T, workload string) {
	t.Helper()
	if _, err := x.Kubectl(ctx, "rollout", "status", workload, "--timeout="+rollout); err != nil {
		t.Fatalf("%v\n%s", err, x.describe(ctx))
	}
}

// push makes an image that no node has.
func (x *cluster) push(ctx context.Context, t *testing.T, name string, size lab.Size) lab.Image {
	t.Helper()
	const layers = 6
	x.pushed++ // a KiB more in each layer than in the image before: layers of one size are the same
	size += lab.Size(x.pushed * layers << 10)
	img, err := x.Lab.Registry.Push(ctx, lab.ImageSpec{Repository: "app/" + name, Tag: "v1", Size: size, Layers: layers})
	if err != nil {
		t.Fatal(err)
	}
	return img
}

// since is what the origin gave since from.
func (x *cluster) since(ctx context.Context, t *testing.T, from lab.Mark) lab.Tally {
	t.Helper()
	tally, err := x.Lab.Registry.Since(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	return tally
}

func (x *cluster) mark(ctx context.Context, t *testing.T) lab.Mark {
	t.Helper()
	m, err := x.Lab.Registry.Mark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	return m
}

// pull: all nodes start one image at once, and the origin gives it once.
func (x *cluster) pull(ctx context.Context, t *testing.T) {
	img := x.push(ctx, t, "one", 100<<20)
	from := x.mark(ctx, t)
	took := x.deploy(ctx, t, "one", img)
	tally := x.since(ctx, t, from)
	copies := float64(tally.BlobBytes) / float64(img.Bytes)
	t.Logf("%d MiB on %d nodes: %.1fs, %.3f origin copies, %d bytes past p2pd", img.Bytes>>20, nodes, took.Seconds(), copies, tally.DirectBytes())
	if copies > 1.1 {
		t.Errorf("%.3f copies from the origin, want at most 1.1", copies)
	}
	if tally.DirectBytes() > 0 {
		t.Errorf("read past p2pd: %v", tally.Direct)
	}
	x.clients(ctx, t, img)
}

// secret: a private image starts on all nodes with an imagePullSecret, and on
// none without, though each node holds it.
func (x *cluster) secret(ctx context.Context, t *testing.T) {
	alice := lab.Alice()
	img, err := x.Lab.Registry.Push(ctx, lab.ImageSpec{Repository: alice.Owns + "app", Tag: "v1", Size: 300 << 20, Layers: 8})
	if err != nil {
		t.Fatal(err)
	}
	reference := privateHost + "/" + img.Repository + ":" + img.Tag
	if err := x.Apply(ctx, "{apiVersion: v1, kind: Namespace, metadata: {name: tenants}}"); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Kubectl(ctx, "-n", "tenants", "create", "secret", "docker-registry", "alice", "--docker-server="+privateHost,
		"--docker-username="+alice.Name, "--docker-password="+alice.Password); err != nil {
		t.Fatal(err)
	}
	pod := func(name, node, secret string) string {
		return fmt.Sprintf(`---
apiVersion: v1
kind: Pod
metadata: {name: %s, namespace: tenants, labels: {app: private}}
spec:
  nodeName: %s
  terminationGracePeriodSeconds: 0
  imagePullSecrets: [%s]
  containers: [{name: app, image: %q, imagePullPolicy: Always, command: [sleep, "1000000"]}]
`, name, node, secret, reference)
	}
	from, err := x.private.Mark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var with, without string
	for _, n := range x.Nodes {
		with += pod("with-"+n.Name, n.Name, "{name: alice}")
		without += pod("without-"+n.Name, n.Name, "")
	}
	began := time.Now()
	if err := x.Apply(ctx, with); err != nil {
		t.Fatal(err)
	}
	if _, err := x.Kubectl(ctx, "-n", "tenants", "wait", "--for=condition=Ready", "pod", "--all", "--timeout="+rollout); err != nil {
		t.Fatalf("%v\n%s", err, x.describe(ctx))
	}
	tally, err := x.private.Since(ctx, from)
	if err != nil {
		t.Fatal(err)
	}
	copies := float64(tally.BlobBytes) / float64(img.Bytes)
	t.Logf("a private image of %d MiB on %d nodes: %.1fs, %.3f origin copies", img.Bytes>>20, nodes, time.Since(began).Seconds(), copies)
	if copies > 1.1 {
		t.Errorf("%.3f copies from the origin, want at most 1.1", copies)
	}
	if err := x.Apply(ctx, without); err != nil {
		t.Fatal(err)
	}
	for _, n := range x.Nodes {
		if _, err := x.Kubectl(ctx, "-n", "tenants", "wait", "--for=jsonpath={.status.containerStatuses[0].state.waiting.reason}=ImagePullBackOff",
			"pod/without-"+n.Name, "--timeout=60s"); err != nil {
			t.Errorf("%v\n%s", err, x.describe(ctx))
		}
	}
	if _, err := x.Kubectl(ctx, "delete", "namespace", "tenants", "--timeout=60s"); err != nil {
		t.Error(err)
	}
}
