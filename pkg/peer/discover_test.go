package peer_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// strangers is a cluster without a scheduler whose peers have never met.
func strangers(t *testing.T, nodes int) *peertest.Cluster {
	return lab(t, nodes, func(cfg *peertest.Config) {
		cfg.NoScheduler, cfg.Directory = true, &peertest.Directory{Latency: 20 * time.Millisecond}
	})
}

// G3 without any scheduler: peers that have never met and pull the same at once
// share the origin.
func TestStrangersShareTheOrigin(t *testing.T) {
	for _, nodes := range []int{2, 8, 64} {
		t.Run(fmt.Sprint(nodes), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := strangers(t, nodes)
				blob := content(30, 16*mib)
				took := pullAll(t, c.Nodes, c.Origin.Add(blob), int64(len(blob)))
				t.Logf("took %v, %.2f of the line's time; origin %.2f copies in %d requests", took,
					took.Seconds()*100*mbit/float64(len(blob)), copies(c, int64(len(blob))), c.Origin.Requests())
				atMost(t, "origin copies", copies(c, int64(len(blob))), 1.5)
			})
		})
	}
}

// Layers of an image that others pulled long ago come from them, found by the
// image: nothing is read from the origin.
func TestImageIsFound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := strangers(t, 6)
		manifest, layer := content(31, 3000), content(32, 16*mib)
		m, l := c.Origin.Add(manifest), c.Origin.Add(layer)
		pullImage := func(nodes []*peertest.Node) {
			pullAll(t, nodes, m, int64(len(manifest)))
			for _, n := range nodes {
				n.Peer.LearnImage(m, []piece.Digest{l})
			}
			pullAll(t, nodes, l, int64(len(layer)))
		}
		pullImage(c.Nodes[:2])
		time.Sleep(time.Hour) // what was announced for the downloads is long forgotten
		before := c.Origin.Bytes()
		pullImage(c.Nodes[2:])
		atMost(t, "origin bytes", c.Origin.Bytes()-before, 0)
		if n := c.Nodes[0].Peer.Stats().Images; n != 1 {
			t.Errorf("%d images are announced, want 1", n)
		}
	})
}

// G2: those who are found and are gone cost a bounded time.
func TestFoundButGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		directory := &peertest.Directory{Latency: 20 * time.Millisecond}
		c := lab(t, 1, func(cfg *peertest.Config) { cfg.NoScheduler, cfg.Directory = true, directory })
		blob := content(33, 16*mib)
		d := c.Origin.Add(blob)
		for i := range 20 {
			gone := directory.Desk(scheduler.Peer{ID: scheduler.PeerID(fmt.Sprint("gone", i)), Addrs: []string{"mem"}})
			if err := gone.Announce(t.Context(), peer.Key{Digest: d}); err != nil {
				t.Fatal(err)
			}
		}
		took := pullAll(t, c.Nodes, d, int64(len(blob)))
		direct := time.Duration(float64(len(blob)) / (100 * mbit) * float64(time.Second))
		t.Logf("took %v, the line alone %v", took, direct)
		atMost(t, "time beyond a direct pull", took-direct, 2*time.Second)
		atMost(t, "origin copies", copies(c, int64(len(blob))), 1)
	})
}

// A scheduler that dies in mid-pull leaves peers to the directory, those too
// that come afterwards and have met nobody.
func TestStrangersAfterTheSchedulersDeath(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 24, func(cfg *peertest.Config) { cfg.Directory = &peertest.Directory{Latency: 20 * time.Millisecond} })
		time.Sleep(time.Second)
		blob := content(34, 32*mib)
		d := c.Origin.Add(blob)
		time.AfterFunc(400*time.Millisecond, c.StopScheduler)
		late := make(chan struct{})
		time.AfterFunc(time.Second, func() {
			defer close(late)
			pull(t, c.Nodes[12:], d, int64(len(blob)))
		})
		pullAll(t, c.Nodes[:12], d, int64(len(blob)))
		<-late
		t.Logf("origin %.2f copies", copies(c, int64(len(blob))))
		atMost(t, "origin copies", copies(c, int64(len(blob))), 1.5)
	})
}

// A scheduler that takes what it is told and never answers is as good as none.
func TestSilentScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := strangers(t, 12)
		c.StartSilence()
		blob := content(35, 24*mib)
		took := pullAll(t, c.Nodes, c.Origin.Add(blob), int64(len(blob)))
		line := time.Duration(float64(len(blob)) / (100 * mbit) * float64(time.Second))
		t.Logf("took %v, the line alone %v; origin %.2f copies", took, line, copies(c, int64(len(blob))))
		atMost(t, "origin copies", copies(c, int64(len(blob))), 1.5)
		atMost(t, "time beyond the line's", took-line, 3*time.Second)
	})
}

// G2: what it costs to find out that a scheduler does not answer is paid once an
// image, which is several blobs in turn.
func TestSilentSchedulerCostsAnImageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := strangers(t, 1)
		c.StartSilence()
		atMost(t, "time beyond the line's", pullImage(t, c.Nodes[0], imageOf(c, 36)), 2*time.Second)
	})
}

// G2: the same where the scheduler works, and those that hold the image do not
// answer: it lets the node read what they have.
func TestMuteSeedsCostAnImageOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 4, nil)
		c.StartScheduler()
		image := imageOf(c, 37)
		for _, blob := range image {
			pullAll(t, c.Nodes[:3], piece.Sum(blob), int64(len(blob)))
		}
		time.Sleep(5 * time.Second) // nobody is busy with others any more
		for _, n := range c.Nodes[:3] {
			n.SetRate(1, 1)
		}
		atMost(t, "time beyond the line's", pullImage(t, c.Nodes[3], image), 2*time.Second)
	})
}

// imageOf is three blobs: a manifest, a configuration and a layer.
func imageOf(c *peertest.Cluster, seed byte) (blobs [][]byte) {
	for i, n := range []int{500, 2000, 24 * mib} {
		blob := content(seed+byte(i)*50, n)
		c.Origin.Add(blob)
		blobs = append(blobs, blob)
	}
	return blobs
}

// pullImage pulls blobs one after the other on n and returns how much longer
// that took than the line alone.
func pullImage(t *testing.T, n *peertest.Node, blobs [][]byte) (beyond time.Duration) {
	t.Helper()
	for _, blob := range blobs {
		beyond += pull(t, []*peertest.Node{n}, piece.Sum(blob), int64(len(blob)))
		beyond -= time.Duration(float64(len(blob)) / (100 * mbit) * float64(time.Second))
	}
	return beyond
}

// G2: those that hold the image answer, but their lines are at a fiftieth.
func TestSlowSeedsCostLittle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 4, nil)
		c.StartScheduler()
		image := imageOf(c, 38)
		for _, blob := range image {
			pullAll(t, c.Nodes[:3], piece.Sum(blob), int64(len(blob)))
		}
		time.Sleep(5 * time.Second) // nobody is busy with others any more
		for _, n := range c.Nodes[:3] {
			n.SetRate(2*mbit, 2*mbit)
		}
		beyond := pullImage(t, c.Nodes[3], image)
		t.Logf("%v beyond the line", beyond)
		atMost(t, "time beyond the line's", beyond, 3*time.Second)
	})
}

// A node whose own line is slow must not read what others have: it would cost the
// registry bytes, and bring nothing.
func TestASlowNodeLeavesTheOriginAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 4, nil)
		c.StartScheduler()
		blob := content(39, 24*mib)
		d := c.Origin.Add(blob)
		pullAll(t, c.Nodes[:3], d, int64(len(blob)))
		c.Nodes[3].SetRate(10*mbit, 10*mbit)
		before := copies(c, int64(len(blob)))
		pullAll(t, c.Nodes[3:], d, int64(len(blob)))
		atMost(t, "origin copies", copies(c, int64(len(blob)))-before, 0.1)
	})
}
