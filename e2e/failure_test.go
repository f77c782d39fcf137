package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/p2pd/p2pd/e2e/lab"
)

// While all nodes pull, one p2pd and the scheduler are killed. Every pull ends
// well: the others among themselves and with the origin, the victim's by
// containerd's own way to the origin. Then p2pd comes back and goes on from
// what it had on disk.
func TestKillPeerAndScheduler(t *testing.T) {
	ctx := gate(t)
	for _, runtime := range runtimes(ctx, t) {
		t.Run("containerd "+runtime.Version, func(t *testing.T) {
			c := start(ctx, t, programs(t), runtime, swarmOf(ctx))
			const victim = 3
			var killed error
			killer := make(chan struct{})
			go func() {
				defer close(killer)
				killed = c.killMidway(ctx, victim)
			}()
			c.pull(ctx, t, c.containerd)
			<-killer
			if killed != nil {
				t.Fatal(killed)
			}
			tally := c.tally(ctx, t)
			if tally.DirectBytes() == 0 {
				t.Error("nothing went past p2pd: the victim's pull had ended before the kill")
			}
			// Layers that begin without a scheduler are shared all the same.
			if got, most := tally.BlobBytes-tally.DirectBytes(), 2*c.image.Bytes; got > most {
				t.Errorf("the origin sent p2pd %d bytes of blobs, want at most %d", got, most)
			}
			c.resumes(ctx, t, victim)
		})
	}
}

// killMidway kills the victim's p2pd and the scheduler once the victim has
// between a quarter and the whole of the image.
func (c *cluster) killMidway(ctx context.Context, victim int) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	node := c.swarm.Nodes[victim]
	for {
		m, err := node.Metrics(ctx)
		if err != nil {
			return err
		}
		got := m[lab.ReceivedFromPeers] + m[lab.ReceivedFromOrigin]
		switch size := float64(c.image.Bytes); {
		case got > 0.9*size:
			return fmt.Errorf("the victim had %.0f of %.0f bytes before it could be killed: use a larger SIZE", got, size)
		case got > size/4:
			node.Kill()
			c.swarm.Scheduler.Kill()
			return nil
		}
		select {
		case <-ctx.Done():
			return errors.New("the victim never got as far as a quarter of the image")
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// resumes starts the victim and the scheduler again and pulls through the
// victim: part of the image must come from its disk.
func (c *cluster) resumes(ctx context.Context, t *testing.T, victim int) {
	t.Helper()
	var err error
	if c.swarm.Scheduler, err = c.StartScheduler(ctx); err != nil {
		t.Fatal(err)
	}
	if c.swarm.Nodes[victim], err = c.StartNode(ctx, victim); err != nil {
		t.Fatal(err)
	}
	if err := c.swarm.WaitConnected(ctx); err != nil {
		t.Fatal(err)
	}
	report, err := lab.PullAt(ctx, c.Net.Nodes[victim], c.pullSpec(victim))
	if err != nil {
		t.Fatal(err)
	}
	if report.Digest != c.image.Digest || report.Bytes != c.image.Bytes {
		t.Errorf("pulled %s of %d bytes, want %s of %d", report.Digest, report.Bytes, c.image.Digest, c.image.Bytes)
	}
	m, err := c.swarm.Nodes[victim].Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	resumed, err := m.Of(lab.ResumedBytes)
	if err != nil {
		t.Fatal(err)
	}
	t.Logf("after its restart the victim went on from %.0f bytes and received %.0f", resumed, m[lab.ReceivedFromPeers]+m[lab.ReceivedFromOrigin])
	if resumed == 0 {
		t.Error("p2pd kept nothing of the downloads that the kill cut off")
	}
}

// pullSpec pulls the image through node i's p2pd.
func (c *cluster) pullSpec(i int) lab.PullSpec {
	return lab.PullSpec{Base: c.MirrorURL(i), Host: lab.RegistryHost, Repository: c.image.Repository, Tag: c.image.Tag}
}

// A node that has the image sends false bytes for it. The others notice, and
// get right bytes from elsewhere.
func TestCorruptPeer(t *testing.T) {
	ctx := gate(t)
	c := start(ctx, t, programs(t, "p2pd_faults"), newest(ctx, t), swarmWithLiar(ctx))
	c.pull(ctx, t, c.containerd[:1])
	c.mark(ctx, t)
	c.pull(ctx, t, c.containerd[1:])
	c.tally(ctx, t)
	if c.sum(ctx, t, lab.FalsePieces)+c.sum(ctx, t, lab.FalseBlobs) == 0 {
		t.Error("no p2pd noticed a false byte: did the liar send any?")
	}
}

// swarmWithLiar is a swarm whose first node spoils what it uploads.
func swarmWithLiar(ctx context.Context) func(*lab.Lab) (*lab.Swarm, error) {
	return func(l *lab.Lab) (*lab.Swarm, error) {
		s := &lab.Swarm{Nodes: make([]*lab.Daemon, nodes)}
		var err error
		if s.Scheduler, err = l.StartScheduler(ctx); err != nil {
			return nil, err
		}
		var g errgroup.Group
		for i := range nodes {
			g.Go(func() (err error) {
				if i == 0 {
					s.Nodes[i], err = l.StartNode(ctx, i, "P2PD_FAULT_CORRUPT_UPLOADS=1")
				} else {
					s.Nodes[i], err = l.StartNode(ctx, i)
				}
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		return s, s.WaitConnected(ctx)
	}
}
