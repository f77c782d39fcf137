package e2e

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/internal/api"
)

const (
	contentNodes = 3
	contentSize  = lab.Size(60 << 20)
	// contentLayers makes the image's blobs; base layer, configuration and
	// manifest come on top.
	contentLayers = 3
	// contentStore is where containerd keeps blobs, below its root.
	contentStore = "io.containerd.content.v1.content/blobs/sha256"

	containerdBlobs = "p2pd_containerd_blobs"
	storeWhole      = `p2pd_cache_bytes{of="whole"}`
)

// contentLab is an image at the origin and a node whose p2pd reads what its
// containerd holds, in the folder root; the other nodes' p2pds read nothing.
type contentLab struct {
	*lab.Lab
	swarm *lab.Swarm
	image lab.Image
	root  string // of the first node's containerd
	admin string // where the scheduler answers operators
}

// openContent starts p2pd on all nodes. containerd, whose folder on the first
// node is called name, is not there yet: that is how a node starts.
func openContent(ctx context.Context, t *testing.T, name string) *contentLab {
	t.Helper()
	l, err := lab.Open(ctx, lab.Config{
		Shape: lab.Shape{Nodes: contentNodes, NodeRate: stageRate, OriginRate: stageRate}, Programs: programs(t),
	})
	if err != nil {
		t.Fatalf("open lab: %v", err)
	}
	c := &contentLab{Lab: l, swarm: &lab.Swarm{}}
	t.Cleanup(func() {
		if t.Failed() {
			for _, d := range c.swarm.Nodes {
				t.Logf("log of %s:\n%s", d.Name, d.LogTail())
			}
		}
		if err := l.Close(); err != nil {
			t.Errorf("close lab: %v", err)
		}
	})
	if c.image, err = l.Registry.Push(ctx, lab.ImageSpec{
		Repository: "lab/held", Tag: "v1", Size: contentSize, Layers: contentLayers, Synthetic: true, Seed: 7,
	}); err != nil {
		t.Fatal(err)
	}
	c.admin = "unix://" + filepath.Join(l.Dir, "scheduler.sock")
	if c.swarm.Scheduler, err = l.StartSchedulerWith(ctx, 0, 1, map[string]any{"admin": map[string]any{"listen": c.admin}}); err != nil {
		t.Fatal(err)
	}
	dir := filepath.Join(l.Dir, l.Net.Nodes[0].Name, name)
	c.root = filepath.Join(dir, "root")
	for i := range contentNodes {
		env := []string{"P2PD_CONTAINERD_SOCKET="}
		if i == 0 {
			env = []string{"P2PD_CONTAINERD_SOCKET=" + filepath.Join(dir, "c.sock"), "P2PD_CONTAINERD_ROOT=" + c.root}
		}
		d, err := l.StartNode(ctx, i, env...)
		if err != nil {
			t.Fatal(err)
		}
		c.swarm.Nodes = append(c.swarm.Nodes, d)
	}
	if err := c.swarm.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	return c
}

// An image that was pulled past p2pd reaches the other nodes without the
// origin and without a copy in the store of the node that has it, also after
// containerd was restarted.
func TestContentOfContainerdIsServed(t *testing.T) {
	ctx := gate(t)
	c := openContent(ctx, t, "containerd")
	holder, err := c.StartContainerd(ctx, 0, newest(ctx, t), lab.Direct)
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.Pull(ctx, c.image); err != nil {
		t.Fatal(err)
	}
	all := float64(len(c.image.Blobs) + 1) // and the manifest
	c.await(ctx, t, "all of the image is offered", func(m lab.Metrics) (bool, error) {
		v, err := m.Of(containerdBlobs)
		return v == all, err
	})
	c.pullsFromPeers(ctx, t, 1)

	// Another life of containerd's: what it has is still offered.
	if err := holder.Stop(); err != nil {
		t.Fatal(err)
	}
	c.await(ctx, t, "containerd is seen to be gone", func(m lab.Metrics) (bool, error) {
		v, err := m.Of("p2pd_containerd_connected")
		return v == 0, err
	})
	if holder, err = c.StartContainerd(ctx, 0, newest(ctx, t), lab.Direct); err != nil {
		t.Fatal(err)
	}
	c.await(ctx, t, "containerd is followed again", func(m lab.Metrics) (bool, error) {
		v, err := m.Of("p2pd_containerd_connected")
		blobs, berr := m.Of(containerdBlobs)
		return v == 1 && blobs == all, errors.Join(err, berr)
	})
	c.pullsFromPeers(ctx, t, 2)

	m, err := c.swarm.Nodes[0].Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	kept, err := m.Of(storeWhole)
	onDisk := treeBytes(t, filepath.Join(c.Dir, c.Net.Nodes[0].Name, "store"))
	t.Logf("the node that served an image of %d bytes has %.0f bytes of blobs, %d bytes in all, in its own store", c.image.Bytes, kept, onDisk)
	if err != nil || kept != 0 || onDisk > 1<<20 {
		t.Errorf("store of the node: %.0f bytes of blobs, %d bytes on the disk, %v", kept, onDisk, err)
	}
	c.damaged(ctx, t, holder)
}

// damaged spoils a layer in the folder of containerd on the first node, and looks
// whether operators hear of it.
func (c *contentLab) damaged(ctx context.Context, t *testing.T, holder *lab.Containerd) {
	t.Helper()
	layer := c.image.Blobs[len(c.image.Blobs)-1]
	f, err := os.OpenFile(filepath.Join(c.root, contentStore, strings.TrimPrefix(layer.Digest, "sha256:")), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	one := make([]byte, 1)
	_, rerr := f.ReadAt(one, 1<<10)
	one[0] ^= 1
	_, werr := f.WriteAt(one, 1<<10)
	if err := errors.Join(rerr, werr, f.Close()); err != nil {
		t.Fatal(err)
	}
	// What containerd has is looked at when it says that something is new.
	other, err := c.Registry.Push(ctx, lab.ImageSpec{Repository: "lab/small", Tag: "v1", Size: 1 << 20, Layers: 1, Synthetic: true, Seed: 8})
	if err == nil {
		err = holder.Pull(ctx, other)
	}
	if err != nil {
		t.Fatal(err)
	}
	c.await(ctx, t, "the damage is found", func(m lab.Metrics) (bool, error) {
		v, err := m.Of("p2pd_containerd_refused_blobs")
		return v == 1, err
	})
	found := toldBy(ctx, t, c.admin, func(l *api.IncidentList) bool { return len(l.Items) > 0 }, "incident", "ls")
	if one := found.Items[0]; one.Kind != api.IncidentVerify || one.About != layer.Digest || !strings.Contains(one.Reason, "containerd's own copy is damaged") || len(one.Nodes) != 1 {
		t.Errorf("the scheduler was told %+v of damage to %s", found.Items, layer.Digest)
	}
}

// With discard_unpacked_layers containerd keeps no layer, and the node serves
// what its own store has.
func TestContentThatContainerdDiscards(t *testing.T) {
	ctx := gate(t)
	mode, err := programs(t).DiscardingMode(ctx)
	if err != nil {
		t.Fatal(err)
	}
	c := openContent(ctx, t, "containerd-"+mode.Name)
	holder, err := c.StartCRI(ctx, 0, mode)
	if err != nil {
		t.Fatal(err)
	}
	if err := holder.PullFrom(c.MirrorURL(0), c.Registry.Endpoint); err != nil {
		t.Fatal(err)
	}
	if err := holder.Pull(ctx, c.image); err != nil {
		t.Fatal(err)
	}
	c.await(ctx, t, "containerd has discarded the layers", func(lab.Metrics) (bool, error) {
		return treeBytes(t, filepath.Join(c.root, contentStore)) < int64(contentSize)/100, nil
	})
	c.pullsFromPeers(ctx, t, 1)
	c.pullsFromPeers(ctx, t, 2)
	m, err := c.swarm.Nodes[0].Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if kept, err := m.Of(storeWhole); err != nil || kept < float64(c.image.Bytes) {
		t.Errorf("the store has %.0f of %d bytes, %v", kept, c.image.Bytes, err)
	}
}

// pullsFromPeers makes node i pull and checks that the origin gave no blob.
func (c *contentLab) pullsFromPeers(ctx context.Context, t *testing.T, i int) {
	t.Helper()
	puller, err := c.StartContainerd(ctx, i, newest(ctx, t), lab.ThroughP2PD)
	if err != nil {
		t.Fatal(err)
	}
	begin, err := c.Registry.Mark(ctx)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	if err := puller.Pull(ctx, c.image); err != nil {
		t.Fatal(err)
	}
	if err := puller.Check(ctx, c.image); err != nil {
		t.Fatal(err)
	}
	tally, err := c.Registry.Since(ctx, begin)
	if err != nil {
		t.Fatal(err)
	}
	m, err := c.swarm.Nodes[0].Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	served, err := m.Of(lab.ServedToPeers)
	t.Logf("%s pulled %d bytes: %d from the origin; the first node has served %.0f to peers so far", puller.Name, c.image.Bytes, tally.BlobBytes, served)
	if err != nil || tally.BlobBytes > c.image.Bytes/100 {
		t.Errorf("the origin gave %d bytes of blobs of %d, want hardly any; %v", tally.BlobBytes, c.image.Bytes, err)
	}
}

// await polls the first node's metrics until they are as they should be.
func (c *contentLab) await(ctx context.Context, t *testing.T, what string, is func(lab.Metrics) (bool, error)) {
	t.Helper()
	node := c.swarm.Nodes[0]
	err := node.WaitReady(ctx, func(ctx context.Context) error {
		m, err := node.Metrics(ctx)
		if err != nil {
			return err
		}
		ok, err := is(m)
		if err == nil && !ok {
			err = fmt.Errorf("not yet: %s; blobs of containerd's offered: %s", what, strconv.FormatFloat(m[containerdBlobs], 'f', 0, 64))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

// treeBytes is the size of all files below a folder; 0 if there is none.
func treeBytes(t *testing.T, dir string) (sum int64) {
	t.Helper()
	err := filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil || !d.Type().IsRegular() {
			return err
		}
		info, err := d.Info()
		if err == nil {
			sum += info.Size()
		}
		return err
	})
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	return sum
}
