package e2e

import (
	"context"
	"strings"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// pieceSize is how p2pd cuts blobs of up to 256 MiB.
const pieceSize = 1 << 20

// All nodes pull one image at the same instant: the origin sends it once, and
// is asked as often as one node alone might ask it.
func TestClusterPullsOnce(t *testing.T) {
	ctx := gate(t)
	for _, runtime := range runtimes(ctx, t) {
		t.Run("containerd "+runtime.Version, func(t *testing.T) {
			c := start(ctx, t, programs(t), runtime, swarmOf(ctx))
			c.pull(ctx, t, c.containerd)
			c.pulledOnce(ctx, t)
			for _, node := range c.containerd {
				out, err := node.RunContainer(ctx, c.image, "hello", "/bin/echo", "out of the swarm")
				if err != nil {
					t.Fatal(err)
				}
				if strings.TrimSpace(out) != "out of the swarm" {
					t.Errorf("%s: the container printed %q", node.Name, out)
				}
			}
		})
	}
}

func swarmOf(ctx context.Context) func(*lab.Lab) (*lab.Swarm, error) {
	return func(l *lab.Lab) (*lab.Swarm, error) { return l.StartSwarm(ctx) }
}

// pulledOnce checks what the origin and the swarm gave since the mark, when
// every node has pulled.
func (c *cluster) pulledOnce(ctx context.Context, t *testing.T) {
	t.Helper()
	tally := c.tally(ctx, t)
	if most := c.image.Bytes * 110 / 100; tally.BlobBytes > most {
		t.Errorf("the origin sent %d bytes of blobs, want at most %d: 1.10 copies", tally.BlobBytes, most)
	}
	if most := c.image.Bytes / 20; tally.DirectBytes() > most {
		t.Errorf("containerd read bytes past p2pd, by node: %v; want at most %d", tally.Direct, most)
	}
	// However many nodes there are, a piece is asked for once, give or take a
	// quarter that is asked for again.
	pieces := 0
	for _, b := range c.image.Blobs {
		pieces += int((b.Bytes + pieceSize - 1) / pieceSize)
	}
	if got, most := tally.Requests[lab.BlobGet], pieces+pieces/4; got > most {
		t.Errorf("the origin was asked %d times for blobs, want at most %d, whatever the number of nodes", got, most)
	}
	if got := tally.Requests[lab.ManifestGet]; got > 2 {
		t.Errorf("the origin was asked %d times for the manifest, want once, or twice if the first was slow", got)
	}
	if got, most := tally.Requests[lab.TagHead]+tally.Requests[lab.TagGet], nodes; got > most {
		t.Errorf("the origin resolved the tag %d times, want at most %d, once a node", got, most)
	}
	if got := c.sum(ctx, t, lab.PullsCompleted); got != nodes {
		t.Errorf("%d pulls of the image were seen to end with all of it, want %d", got, nodes)
	}
	wanted := nodes*c.image.Bytes - tally.BlobBytes
	if got := c.sum(ctx, t, lab.ReceivedFromPeers); got < wanted {
		t.Errorf("nodes received %d bytes from each other, want at least the %d that the origin did not send", got, wanted)
	}
	if got := c.sum(ctx, t, lab.FalsePieces) + c.sum(ctx, t, lab.FalseBlobs); got > 0 {
		t.Errorf("%d pieces or blobs failed verification among honest peers", got)
	}
}

// One node has the image: no other needs the origin for a blob.
func TestImageOnOneNode(t *testing.T) {
	ctx := gate(t)
	c := start(ctx, t, programs(t), newest(ctx, t), swarmOf(ctx))
	c.pull(ctx, t, c.containerd[:1])
	c.mark(ctx, t)
	c.pull(ctx, t, c.containerd[1:])
	tally := c.tally(ctx, t)
	if most := c.image.Bytes / 100; tally.BlobBytes > most {
		t.Errorf("the origin sent %d bytes of blobs that a node had, want at most %d: 0.01 copies", tally.BlobBytes, most)
	}
	if got := tally.Requests[lab.ManifestGet]; got > 1 {
		t.Errorf("the origin was asked %d times for a manifest that a node had", got)
	}
}

// One node has the image, and then the origin is gone: the others, which never
// asked it, pull by digest from that node.
func TestOriginIsGone(t *testing.T) {
	ctx := gate(t)
	c := start(ctx, t, programs(t), newest(ctx, t), swarmOf(ctx))
	c.pull(ctx, t, c.containerd[:1])
	c.Registry.Kill()
	c.image.Tag = "" // by digest: who resolves a tag must ask the origin
	c.pull(ctx, t, c.containerd[1:])
	wanted := (nodes - 1) * c.image.Bytes
	if got := c.sum(ctx, t, lab.ReceivedFromPeers); got < wanted {
		t.Errorf("nodes received %d bytes from each other, want at least %d", got, wanted)
	}
}
