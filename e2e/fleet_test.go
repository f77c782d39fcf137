package e2e

import (
	"context"
	"fmt"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

const schedulers = 3

// fleet is a cluster with three schedulers, of which nodes are told the first.
func fleet(ctx context.Context, t *testing.T) (*cluster, []*lab.Daemon) {
	t.Helper()
	var all []*lab.Daemon
	c := start(ctx, t, programs(t), newest(ctx, t), func(l *lab.Lab) (s *lab.Swarm, err error) {
		s, all, err = l.StartSwarmOf(ctx, schedulers)
		return s, err
	})
	t.Cleanup(func() {
		if t.Failed() {
			for _, d := range all {
				t.Logf("log of %s:\n%s", d.Name, d.LogTail())
			}
		}
	})
	return c, all
}

// has waits until the first node has that share of the image.
func (c *cluster) has(ctx context.Context, share float64) error {
	return c.swarm.Nodes[0].WaitReady(ctx, func(ctx context.Context) error {
		m, err := c.swarm.Nodes[0].Metrics(ctx)
		if err != nil {
			return err
		}
		if got := m[lab.ReceivedFromPeers] + m[lab.ReceivedFromOrigin]; got < share*float64(c.image.Bytes) {
			return fmt.Errorf("it has %.0f bytes", got)
		}
		return nil
	})
}

// unharmed checks that a pull of all nodes was shared and went by p2pd, though
// schedulers came and went, and that all nodes know how many are left.
func (c *cluster) unharmed(ctx context.Context, t *testing.T, left int) {
	t.Helper()
	tally := c.tally(ctx, t)
	if got, most := tally.BlobBytes, c.image.Bytes*150/100; got > most {
		t.Errorf("the origin sent %d bytes of blobs, want at most %d: 1.50 copies", got, most)
	}
	if most := c.image.Bytes / 20; tally.DirectBytes() > most {
		t.Errorf("containerd read bytes past p2pd, by node: %v; want at most %d", tally.Direct, most)
	}
	if err := c.swarm.WaitSchedulers(ctx, left); err != nil {
		t.Error(err)
	}
}

// One of three schedulers is killed while all nodes pull, and with it a third of
// the swarms. They go on with the other two.
func TestOneOfThreeSchedulersIsKilled(t *testing.T) {
	ctx := gate(t)
	c, all := fleet(ctx, t)
	killer := make(chan error, 1)
	go func() {
		err := c.has(ctx, 1.0/3)
		all[1].Kill()
		killer <- err
	}()
	c.pull(ctx, t, c.containerd)
	if err := <-killer; err != nil {
		t.Fatal(err)
	}
	c.unharmed(ctx, t, schedulers-1)
}

// Every scheduler is stopped and started again, one after the other, while all
// nodes pull. Nobody notices.
func TestSchedulersAreRestartedOneByOne(t *testing.T) {
	ctx := gate(t)
	c, all := fleet(ctx, t)
	roller := make(chan error, 1)
	go func() {
		err := c.has(ctx, 0.1)
		for i := range all {
			if err != nil {
				break
			}
			if err = all[i].Stop(); err == nil {
				all[i], err = c.StartSchedulerOf(ctx, i, schedulers)
			}
		}
		roller <- err
	}()
	c.pull(ctx, t, c.containerd)
	if err := <-roller; err != nil {
		t.Fatal(err)
	}
	c.unharmed(ctx, t, schedulers)
}

// All schedulers are killed and come back: what nodes hold they are told again,
// and a cold node gets its bytes from those.
func TestAllSchedulersForget(t *testing.T) {
	ctx := gate(t)
	c, all := fleet(ctx, t)
	c.pull(ctx, t, c.containerd[1:])
	for _, d := range all {
		d.Kill()
	}
	for i := range all {
		var err error
		if all[i], err = c.StartSchedulerOf(ctx, i, schedulers); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.swarm.WaitSchedulers(ctx, schedulers); err != nil {
		t.Fatal(err)
	}
	c.mark(ctx, t)
	c.pull(ctx, t, c.containerd[:1])
	if got := c.tally(ctx, t).BlobBytes; got > 0 {
		t.Errorf("the origin sent %d bytes of blobs that seven nodes hold", got)
	}
}
