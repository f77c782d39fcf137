// Package e2e proves p2pd with real parts: containerd of two generations, the
// registry that most others derive from, and network namespaces with shaped
// links. What builds them is e2e/lab; what is right is said here.
//
// The tests take minutes and need root, so they run only with P2PD_E2E=1
// (make e2e). Then nothing is skipped: a part that does not start is a failure.
// SIZE sets the image's size, P2PD_E2E_DIR where the work folders are.
package e2e

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
)

const (
	nodes      = 8
	nodeRate   = lab.Rate(100e6)
	originRate = lab.Rate(200e6)
	// pullTimeout is for all pulls of a test: ten times what they need on an
	// idle machine, so that it ends a hang and nothing else.
	pullTimeout = 3 * time.Minute
)

func TestMain(m *testing.M) {
	lab.RunClient()
	code := m.Run()
	if err := os.RemoveAll(programsDir()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		code = 1
	}
	os.Exit(code)
}

// programsDir is where the programs under test are built. Its name lets a
// later run remove it if this one is killed.
func programsDir() string {
	return filepath.Join(lab.BaseDir(), fmt.Sprintf("p2pd-lab-%d-programs", os.Getpid()))
}

// gate skips the test unless this is an end-to-end run. Its context ends on ^C,
// so that everything is torn down then too.
func gate(t *testing.T) context.Context {
	t.Helper()
	if os.Getenv("P2PD_E2E") != "1" {
		t.Skip("end-to-end tests take minutes: set P2PD_E2E=1 as root, or run 'sudo make e2e'")
	}
	if os.Geteuid() != 0 {
		t.Skip("end-to-end tests make network namespaces and run containers: run 'sudo make e2e'")
	}
	ctx, stop := signal.NotifyContext(t.Context(), os.Interrupt, syscall.SIGTERM)
	t.Cleanup(stop)
	return ctx
}

// imageSize is small enough for every push, and many pieces on each node.
func imageSize(t *testing.T) lab.Size {
	t.Helper()
	size := lab.Size(120 << 20)
	if v := os.Getenv("SIZE"); v != "" {
		if err := size.UnmarshalText([]byte(v)); err != nil {
			t.Fatalf("SIZE: %v", err)
		}
	}
	return size
}

// builds are the programs under test by build tags, built once each.
var builds sync.Map

func programs(t *testing.T, tags ...string) lab.Programs {
	t.Helper()
	build, _ := builds.LoadOrStore(fmt.Sprint(tags), sync.OnceValues(func() (lab.Programs, error) {
		dir := filepath.Join(programsDir(), "with-"+strings.Join(tags, "-"))
		return lab.Build(context.Background(), dir, tags...)
	}))
	p, err := build.(func() (lab.Programs, error))()
	if err != nil {
		t.Fatalf("build the programs under test: %v", err)
	}
	return p
}

// runtimes are the containerds that are tried: a distribution's old one and
// the newest.
func runtimes(ctx context.Context, t *testing.T) []lab.Runtime {
	t.Helper()
	system, err := lab.SystemRuntime(ctx)
	if err != nil {
		t.Fatalf("the distribution's containerd (apt-get install containerd runc): %v", err)
	}
	return []lab.Runtime{system, newest(ctx, t)}
}

// everyVersion is containerd 1.6, 1.7 and 2.4.
func everyVersion(ctx context.Context, t *testing.T) []lab.Runtime {
	t.Helper()
	modes, err := programs(t).PullModes(ctx)
	if err != nil {
		t.Fatal(err)
	}
	var all []lab.Runtime
	for _, m := range modes {
		if !slices.ContainsFunc(all, func(r lab.Runtime) bool { return r.Version == m.Runtime.Version }) {
			all = append(all, m.Runtime)
		}
	}
	return all
}

func newest(ctx context.Context, t *testing.T) lab.Runtime {
	t.Helper()
	built, err := programs(t).BuiltRuntime(ctx)
	if err != nil {
		t.Fatalf("the built containerd: %v", err)
	}
	return built
}

// cluster is a lab with an image at the origin, and p2pd and containerd on
// every node.
type cluster struct {
	*lab.Lab
	swarm      *lab.Swarm
	containerd []*lab.Containerd
	image      lab.Image
	begin      lab.Mark // in the origin's log, after the push
}

// start makes a cluster with the node daemons that startSwarm starts.
func start(ctx context.Context, t *testing.T, p lab.Programs, r lab.Runtime, startSwarm func(*lab.Lab) (*lab.Swarm, error)) *cluster {
	t.Helper()
	l, err := lab.Open(ctx, lab.Config{
		Shape: lab.Shape{Nodes: nodes, NodeRate: nodeRate, OriginRate: originRate}, Programs: p,
	})
	if err != nil {
		t.Fatalf("open lab: %v", err)
	}
	c := &cluster{Lab: l}
	t.Cleanup(func() {
		if t.Failed() {
			c.logs(t)
		}
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	if c.image, err = l.Registry.Push(ctx, lab.ImageSpec{Repository: "lab/app", Tag: "v1", Size: imageSize(t), Layers: 6}); err != nil {
		t.Fatal(err)
	}
	if c.swarm, err = startSwarm(l); err != nil {
		t.Fatal(err)
	}
	c.containerd = make([]*lab.Containerd, nodes)
	var g errgroup.Group
	for i := range nodes {
		g.Go(func() (err error) {
			c.containerd[i], err = l.StartContainerd(ctx, i, r, lab.ThroughP2PD)
			return err
		})
	}
	if err := g.Wait(); err != nil {
		t.Fatal(err)
	}
	c.mark(ctx, t)
	return c
}

// mark makes tally count from now.
func (c *cluster) mark(ctx context.Context, t *testing.T) {
	t.Helper()
	var err error
	if c.begin, err = c.Registry.Mark(ctx); err != nil {
		t.Fatal(err)
	}
}

func (c *cluster) tally(ctx context.Context, t *testing.T) lab.Tally {
	t.Helper()
	tally, err := c.Registry.Since(ctx, c.begin)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("origin: %.3f copies in %d blob requests, %.3f copies read by others than p2pd, %d manifests, %d tags",
		float64(tally.BlobBytes)/float64(c.image.Bytes), tally.Requests[lab.BlobGet],
		float64(tally.DirectBytes())/float64(c.image.Bytes), tally.Requests[lab.ManifestGet], tally.Requests[lab.TagHead])
	if len(tally.Direct) > 0 {
		t.Logf("bytes read by others than p2pd, by node: %v", tally.Direct)
	}
	return tally
}

// pull makes containerd pull on some nodes at the same instant, and checks
// what each one holds then.
func (c *cluster) pull(ctx context.Context, t *testing.T, which []*lab.Containerd) {
	t.Helper()
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	began := time.Now()
	var all sync.WaitGroup
	for _, node := range which {
		all.Go(func() {
			if err := node.Pull(ctx, c.image); err != nil {
				t.Errorf("%s after %v: %v", node.Name, time.Since(began), err)
			} else if err := node.Check(ctx, c.image); err != nil {
				t.Error(err)
			}
		})
	}
	all.Wait()
	t.Logf("%d nodes pulled in %.1f s (bound of an origin that sends once: %.1f s)", len(which), time.Since(began).Seconds(),
		lab.Bound(len(which), lab.Size(c.image.Bytes), originRate, nodeRate, nodeRate).Seconds())
	if t.Failed() {
		t.FailNow()
	}
}

// sum adds up a metric over the nodes' p2pds.
func (c *cluster) sum(ctx context.Context, t *testing.T, metric string) int64 {
	t.Helper()
	v, err := c.swarm.Sum(ctx, metric)
	if err != nil {
		t.Fatal(err)
	}
	return int64(v)
}

// logs shows how the logs end. (What containerd has to say is in ctr's errors.)
func (c *cluster) logs(t *testing.T) {
	t.Helper()
	if c.swarm == nil {
		return
	}
	for _, d := range append(c.swarm.Nodes, c.swarm.Scheduler) {
		if d == nil {
			continue // none was started
		}
		t.Logf("log of %s:\n%s", d.Name, d.LogTail())
	}
}
