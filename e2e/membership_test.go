package e2e

import (
	"context"
	"testing"

	"github.com/p2pd/p2pd/e2e/lab"
)

// Two p2pds that are no members, and one that is but shows no tickets, stand in the
// middle of a strict cluster, know where its scheduler and its peers are, and want an
// image that all others hold. They get nothing of it but from the origin, as if they
// were alone; and nothing of theirs gets into the cluster. The others share as ever.
func TestStrangersAreKeptOut(t *testing.T) {
	ctx := gate(t)
	const members = nodes - 3
	c := start(ctx, t, programs(t), newest(ctx, t), func(l *lab.Lab) (*lab.Swarm, error) {
		return withStrangers(ctx, l, members)
	})
	c.pull(ctx, t, c.containerd[:members])
	if got, most := c.tally(ctx, t).BlobBytes, c.image.Bytes*110/100; got > most {
		t.Errorf("the origin sent members %d bytes of blobs, want at most %d: 1.10 copies", got, most)
	}

	c.mark(ctx, t)
	c.pull(ctx, t, c.containerd[members:])
	tally := c.tally(ctx, t)
	if least := 3 * c.image.Bytes; tally.BlobBytes < least {
		t.Errorf("the origin sent strangers %d bytes of blobs, want at least %d: one copy each", tally.BlobBytes, least)
	}
	if most := c.image.Bytes / 20; tally.DirectBytes() > most {
		t.Errorf("containerd read bytes past p2pd, by node: %v; a stranger's p2pd serves its own node", tally.Direct)
	}
	for _, d := range c.swarm.Nodes[members:] {
		m, err := d.Metrics(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if got := m[lab.ReceivedFromPeers]; got > 0 {
			t.Errorf("%s is no member, or has no tickets, and received %.0f bytes from peers", d.Name, got)
		}
		if d != c.swarm.Nodes[members] && m[lab.SchedulerConnected] != 0 {
			t.Errorf("%s is no member and has a stream to the scheduler", d.Name)
		}
	}
	m, err := c.swarm.Scheduler.Metrics(ctx)
	if err != nil {
		t.Fatal(err)
	}
	if got := m[lab.SchedulerPeers]; got != members+1 {
		t.Errorf("the scheduler has %.0f peers, want the %d members", got, members+1)
	}
}

// withStrangers starts members on the first nodes, one that shows no tickets on the
// next, a p2pd without a token on the one after, and one with another cluster's token on
// the last.
func withStrangers(ctx context.Context, l *lab.Lab, members int) (*lab.Swarm, error) {
	s := &lab.Swarm{}
	var err error
	if s.Scheduler, err = l.StartStrictScheduler(ctx); err != nil {
		return nil, err
	}
	foreign, err := l.ForeignToken()
	if err != nil {
		return nil, err
	}
	for i := range nodes {
		env := []string{bootstrap(l)}
		switch i {
		default:
			env = append(env, "P2PD_MEMBERSHIP_STRICT=true")
		case members: // shows none
		case members + 1:
			env = append(env, "P2PD_MEMBERSHIP_TOKEN_FILE=")
		case members + 2:
			env = append(env, "P2PD_MEMBERSHIP_TOKEN_FILE="+foreign)
		}
		d, err := l.StartNode(ctx, i, env...)
		if err != nil {
			return nil, err
		}
		s.Nodes = append(s.Nodes, d)
	}
	return s, (&lab.Swarm{Nodes: s.Nodes[:members+1]}).WaitConnected(ctx)
}
