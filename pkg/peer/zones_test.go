package peer_test

import (
	"errors"
	"testing"
	"testing/synctest"

	"github.com/p2pd/p2pd/pkg/peer/peertest"
)

// A blob crosses into each zone about once, whoever reads it from the origin,
// and spreads inside.
func TestABlobCrossesIntoAZoneAboutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const zones = 3
		c := lab(t, 24, func(cfg *peertest.Config) { cfg.Zones = zones })
		blob := content(31, 48*mib)
		d := c.Origin.Add(blob)
		size := int64(len(blob))
		took := pullAll(t, c.Nodes, d, size)
		crossed, received := crossing(c)
		perZone := float64(crossed) / float64(size) / zones
		t.Logf("took %v, %.2f of the line's time; %.2f copies into a zone, %.2f from the origin",
			took, took.Seconds()*100*mbit/float64(size), perZone, copies(c, size))
		atMost(t, "copies that crossed into a zone", perZone, 1.2)
		atMost(t, "origin copies", copies(c, size), 1.05)
		if crossed == 0 || crossed >= received {
			t.Errorf("%d of %d bytes are said to have crossed", crossed, received)
		}
	})
}

// crossing is how many bytes came from peers of other zones, of all from peers.
func crossing(c *peertest.Cluster) (crossed, received int64) {
	for _, n := range c.Nodes {
		s := n.Peer.Stats()
		crossed, received = crossed+s.ReceivedFar, received+s.ReceivedPeer
	}
	return crossed, received
}

// Where the origin is nearer than another zone, each zone reads a blob there once,
// and nothing crosses, though others have had it for long.
func TestZonesKeepToThemselves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const zones = 3
		c := lab(t, 24, func(cfg *peertest.Config) { cfg.Zones, cfg.OriginNearer = zones, true })
		blob := content(33, 48*mib)
		d := c.Origin.Add(blob)
		size := int64(len(blob))
		pullAll(t, c.Nodes[:1], d, size)
		took := pullAll(t, c.Nodes[1:], d, size)
		crossed, _ := crossing(c)
		t.Logf("took %v, %.2f of the line's time; %.2f copies from the origin", took, took.Seconds()*100*mbit/float64(size), copies(c, size))
		atMost(t, "bytes across zones", crossed, 0)
		atMost(t, "origin copies", copies(c, size), zones*1.05)
	})
}

// While the origin is down a zone has from another what it lacks, about once.
func TestZonesHelpWhileTheOriginIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const zones = 3
		c := lab(t, 24, func(cfg *peertest.Config) { cfg.Zones, cfg.OriginNearer = zones, true })
		blob := content(34, 24*mib)
		d := c.Origin.Add(blob)
		size := int64(len(blob))
		pullAll(t, c.Nodes[:1], d, size)
		c.Origin.Fail(errors.New("connection refused"))
		took := pullAll(t, c.Nodes[1:], d, size)
		crossed, _ := crossing(c)
		perZone := float64(crossed) / float64(size) / (zones - 1)
		t.Logf("took %v, %.2f of the line's time; %.2f copies into each other zone", took, took.Seconds()*100*mbit/float64(size), perZone)
		atMost(t, "copies that crossed into a zone", perZone, 1.6)
	})
}

// Where no zone is known, nothing counts as crossing one.
func TestNothingCrossesWhereNoZoneIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 4, nil)
		blob := content(32, 4*mib)
		d := c.Origin.Add(blob)
		pullAll(t, c.Nodes, d, int64(len(blob)))
		for _, n := range c.Nodes {
			atMost(t, "bytes across zones", n.Peer.Stats().ReceivedFar, 0)
		}
	})
}
