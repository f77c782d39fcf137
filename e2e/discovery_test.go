package e2e

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// Every scheduler is down from the start, and no node has ever met another: all
// pull one image at the same instant and share the origin all the same.
func TestNoSchedulerAtAll(t *testing.T) {
	ctx := gate(t)
	for _, runtime := range runtimes(ctx, t) {
		t.Run("containerd "+runtime.Version, func(t *testing.T) {
			c := start(ctx, t, programs(t), runtime, strangersOf(ctx))
			c.pull(ctx, t, c.containerd)
			tally := c.tally(ctx, t)
			if got, most := tally.BlobBytes, 2*c.image.Bytes; got > most {
				t.Errorf("the origin sent %d bytes of blobs, want at most %d: 2 copies", got, most)
			}
			if most := c.image.Bytes / 20; tally.DirectBytes() > most {
				t.Errorf("containerd read bytes past p2pd, by node: %v; want at most %d", tally.Direct, most)
			}
		})
	}
}

// The scheduler dies for good while half of the nodes pull. The others, which
// have never pulled anything, come afterwards, to a swarm that nobody introduces
// them to. All that they know of others is what it said when they attached.
func TestSchedulerDiesInBetween(t *testing.T) {
	ctx := gate(t)
	c := start(ctx, t, programs(t), newest(ctx, t), func(l *lab.Lab) (*lab.Swarm, error) {
		return l.StartSwarm(ctx)
	})
	killer := make(chan error, 1)
	go func() { killer <- c.killScheduler(ctx) }()
	c.pull(ctx, t, c.containerd[:nodes/2])
	if err := <-killer; err != nil {
		t.Fatal(err)
	}
	c.pull(ctx, t, c.containerd[nodes/2:])
	if got, most := c.tally(ctx, t).BlobBytes, 2*c.image.Bytes; got > most {
		t.Errorf("the origin sent %d bytes of blobs, want at most %d: 2 copies", got, most)
	}
}

// killScheduler kills it once the first node has a third of the image.
func (c *cluster) killScheduler(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, pullTimeout)
	defer cancel()
	err := c.swarm.Nodes[0].WaitReady(ctx, func(ctx context.Context) error {
		m, err := c.swarm.Nodes[0].Metrics(ctx)
		if err != nil {
			return err
		}
		if got := m[lab.ReceivedFromPeers] + m[lab.ReceivedFromOrigin]; got < float64(c.image.Bytes)/3 {
			return fmt.Errorf("it has %.0f bytes", got)
		}
		return nil
	})
	c.swarm.Scheduler.Kill()
	return err
}

// bootstrap tells a node where to find the first.
func bootstrap(l *lab.Lab) string { return "P2PD_DISCOVERY_BOOTSTRAP=" + l.PeerAddress(0) }

// strangersOf is a p2pd on every node whose scheduler does not run.
func strangersOf(ctx context.Context) func(*lab.Lab) (*lab.Swarm, error) {
	return func(l *lab.Lab) (*lab.Swarm, error) {
		s := &lab.Swarm{}
		for i := range nodes {
			if err := l.Enrol(i); err != nil { // long ago
				return nil, err
			}
			d, err := l.StartNode(ctx, i, bootstrap(l))
			if err != nil {
				return nil, err
			}
			s.Nodes = append(s.Nodes, d)
		}
		for _, d := range s.Nodes {
			if err := d.WaitReady(ctx, func(ctx context.Context) error {
				m, err := d.Metrics(ctx)
				if err != nil {
					return err
				}
				if known, err := m.Of(lab.DiscoveryPeers); err != nil || known < nodes-1 {
					return errors.Join(fmt.Errorf("it knows %.0f others", known), err)
				}
				return nil
			}); err != nil {
				return nil, err
			}
		}
		return s, nil
	}
}
