package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// Every other node runs the version before this one, and so does the scheduler
// later: nodes of either pull with the origin's bytes once, by a scheduler of
// either.
func TestTwoVersionsWorkTogether(t *testing.T) {
	ctx := gate(t)
	now := programs(t)
	before, err := now.Previous(ctx)
	if errors.Is(err, lab.ErrNoHistory) {
		t.Skip(err) // make e2e says it, too
	}
	if err != nil {
		t.Fatal(err)
	}
	c := start(ctx, t, now, newest(ctx, t), func(l *lab.Lab) (*lab.Swarm, error) {
		scheduler, err := l.StartScheduler(ctx)
		if err != nil {
			return nil, err
		}
		s := &lab.Swarm{Scheduler: scheduler}
		for i := range nodes {
			l.Programs = now
			if i%2 == 0 {
				l.Programs = before
			}
			node, err := l.StartNode(ctx, i)
			if err != nil {
				return nil, err
			}
			s.Nodes = append(s.Nodes, node)
		}
		return s, nil
	})
	c.pullTogether(ctx, t, "this version's scheduler")
	if err := c.swarm.Scheduler.Stop(); err != nil {
		t.Fatal(err)
	}
	c.Programs = before
	if c.swarm.Scheduler, err = c.StartScheduler(ctx); err != nil {
		t.Fatal(err)
	}
	if c.image, err = c.Registry.Push(ctx, lab.ImageSpec{Repository: "lab/second", Tag: "v1", Size: imageSize(t) / 2, Layers: 6}); err != nil {
		t.Fatal(err)
	}
	c.mark(ctx, t)
	c.pullTogether(ctx, t, "the scheduler of the version before")
}

// pullTogether pulls on all nodes, once all have found the scheduler.
func (c *cluster) pullTogether(ctx context.Context, t *testing.T, by string) {
	t.Helper()
	if err := c.swarm.Scheduler.WaitReady(ctx, func(ctx context.Context) error {
		m, err := c.swarm.Scheduler.Metrics(ctx)
		if err == nil && m[lab.SchedulerPeers] != nodes {
			err = fmt.Errorf("%.0f peers are there, want %d", m[lab.SchedulerPeers], nodes)
		}
		return err
	}); err != nil {
		t.Fatalf("%s: %v", by, err)
	}
	c.pull(ctx, t, c.containerd)
	tally := c.tally(ctx, t)
	if most := c.image.Bytes * 110 / 100; tally.BlobBytes > most {
		t.Errorf("%s: the origin sent %d bytes of blobs, want at most %d: 1.10 copies", by, tally.BlobBytes, most)
	}
	if most := c.image.Bytes / 20; tally.DirectBytes() > most {
		t.Errorf("%s: containerd read bytes past p2pd, by node: %v; want at most %d", by, tally.Direct, most)
	}
}
