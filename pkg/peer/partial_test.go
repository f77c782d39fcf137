package peer_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
)

// Many ranges at once, some of them the same, cost each piece once.
func TestManyRangesAtOnce(t *testing.T) {
	schedulers(t, func(t *testing.T, edit func(*peertest.Config)) {
		c := lab(t, 1, edit)
		blob := content(21, 100*mib)
		size := int64(len(blob))
		d, n := c.Origin.Add(blob), c.Nodes[0]
		var wg sync.WaitGroup
		for i := range int64(40) { // over pieces 0 to 9
			wg.Go(func() { readPart(t, n, n.Ref(d, size), blob, i*mib/4, 1000) })
		}
		wg.Wait()
		atMost(t, "origin bytes", c.Origin.Bytes(), 10*mib)
		atMost(t, "downloads", n.Peer.Stats().Downloads, 1)
	})
}

// Who asks for the same range at the same moment reads it in turn: as many copies
// as turns begin while a piece is on its way from the origin (84 ms here), in
// each neighbourhood. Of forty peers each knows sixteen, and how their
// neighbourhoods overlap is chance: two to seven copies were seen in one run, so
// it is the mean of some runs that is bounded.
func TestSameRangeOnManyPeers(t *testing.T) {
	for _, c := range []struct{ nodes, runs, copies int64 }{{8, 1, 2}, {16, 1, 2}, {40, 12, 5}} {
		total := int64(0)
		for range c.runs {
			synctest.Test(t, func(t *testing.T) { total += sameRange(t, int(c.nodes)) })
		}
		t.Logf("%d peers: %.2f copies of the piece from the origin", c.nodes, float64(total)/float64(c.runs*mib))
		atMost(t, "origin bytes of all runs", total, c.runs*c.copies*mib)
	}
}

// sameRange has all nodes of a new cluster read the last piece of a blob at
// once, and returns what the origin sent.
func sameRange(t *testing.T, nodes int) int64 {
	c := lab(t, nodes, nil)
	blob := content(22, 16*mib)
	size := int64(len(blob))
	d := c.Origin.Add(blob)
	synctest.Wait()
	off := size - 300_000 // in the last piece
	var wg sync.WaitGroup
	for _, n := range c.Nodes {
		wg.Go(func() { readPart(t, n, n.Ref(d, size), blob, off, 300_000) })
	}
	wg.Wait()
	return c.Origin.Bytes()
}

// Who comes later gets the pieces from whoever read them before.
func TestRangeFromANeighbour(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 2, nil)
		blob := content(23, 32*mib)
		size := int64(len(blob))
		d := c.Origin.Add(blob)
		readPart(t, c.Nodes[0], c.Nodes[0].Ref(d, size), blob, 7*mib, 10)
		before := c.Origin.Bytes()
		time.Sleep(time.Minute) // the first one's download lingers
		readPart(t, c.Nodes[1], c.Nodes[1].Ref(d, size), blob, 7*mib+500, 10)
		atMost(t, "origin bytes of the second", c.Origin.Bytes()-before, 0)
		// A whole pull beside them uses it, too, and a seed serves ranges.
		third := c.Nodes[0]
		pullAll(t, c.Nodes[:1], d, size)
		atMost(t, "origin bytes of all", c.Origin.Bytes(), size)
		before = c.Origin.Bytes()
		readPart(t, c.Nodes[1], c.Nodes[1].Ref(d, size), blob, size-10, 10)
		readPart(t, third, third.Ref(d, size), blob, 5, 10)
		atMost(t, "origin bytes with a seed", c.Origin.Bytes()-before, 0)
	})
}

// Who wants the whole and who wants parts share: what either reads the others have
// beside it, each byte once.
func TestWholePullsBesidePartialOnes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 10, nil)
		blob := content(24, 24*mib)
		size := int64(len(blob))
		d := c.Origin.Add(blob)
		for i, n := range c.Nodes[:5] {
			readPart(t, n, n.Ref(d, size), blob, int64(i)*3*mib, 100)
		}
		time.Sleep(100 * time.Millisecond) // the scheduler has heard what they have
		pullAll(t, c.Nodes[5:], d, size)
		atMost(t, "origin copies", copies(c, size), 1.1)
		for _, n := range c.Nodes[:5] {
			if s := n.Peer.Stats(); s.ReceivedOrigin > mib || s.Completed > 0 {
				t.Errorf("%s read %d bytes from the origin, completed %d", n.ID, s.ReceivedOrigin, s.Completed)
			}
		}
	})
}

// A partial download becomes an ordinary one when somebody wants the whole, at
// any moment, and nothing is read twice.
func TestUpgrade(t *testing.T) {
	for _, after := range []time.Duration{0, time.Millisecond, 30 * time.Millisecond, 3 * time.Second} {
		schedulers(t, func(t *testing.T, edit func(*peertest.Config)) {
			c := lab(t, 1, edit)
			blob := content(25, 20*mib+5)
			size := int64(len(blob))
			d, n := c.Origin.Add(blob), c.Nodes[0]
			var wg sync.WaitGroup
			for _, off := range []int64{size - 100, 3 * mib, 11*mib - 50} {
				wg.Go(func() { readPart(t, n, n.Ref(d, size), blob, off, 100) })
			}
			time.Sleep(after)
			pullAll(t, c.Nodes, d, size)
			wg.Wait()
			// What the ranges had under way may be leased as well.
			atMost(t, "origin bytes", c.Origin.Bytes(), size+4*mib)
			if after >= time.Second {
				atMost(t, "origin bytes", c.Origin.Bytes(), size)
			}
			synctest.Wait()
			if s := n.Peer.Stats(); s.Completed != 1 {
				t.Errorf("after %v: completed %d", after, s.Completed)
			}
		})
	}
}

// A reader of parts that goes away ends its download, but for the
// pieces that are under way.
func TestRangeReaderLeaves(t *testing.T) {
	schedulers(t, func(t *testing.T, edit func(*peertest.Config)) {
		c := lab(t, 1, edit)
		c.Origin.Rate = 10 * mbit
		blob := content(26, 64*mib)
		size := int64(len(blob))
		d, n := c.Origin.Add(blob), c.Nodes[0]
		ct, err := n.Peer.OpenRanges(t.Context(), n.Ref(d, size), []peer.Span{{Off: mib, N: 20 * mib}})
		if err != nil {
			t.Fatal(err)
		}
		time.Sleep(200 * time.Millisecond)
		if err := ct.Close(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		t.Logf("%d bytes from the origin", c.Origin.Bytes())
		atMost(t, "origin bytes", c.Origin.Bytes(), 5*mib) // four reads, a piece each, and what was on the wire
		time.Sleep(5 * time.Minute)
		atMost(t, "downloads", n.Peer.Stats().Downloads, 0)
	})
}

// The end of a blob that is being downloaded from the front does not wait for the
// rest of it.
func TestFooterOfARunningDownload(t *testing.T) {
	schedulers(t, func(t *testing.T, edit func(*peertest.Config)) {
		c := lab(t, 1, edit)
		c.Origin.Rate = 20 * mbit
		blob := content(33, 40*mib)
		size := int64(len(blob))
		d, n := c.Origin.Add(blob), c.Nodes[0]
		whole, err := n.Peer.Open(t.Context(), n.Ref(d, size))
		if err != nil {
			t.Fatal(err)
		}
		defer whole.Close()
		time.Sleep(time.Second)
		// Half a second for a lease to bring it; then its MiB shares 20 Mbit/s
		// with four reads.
		ctx, cancel := context.WithTimeout(t.Context(), 4*time.Second)
		defer cancel()
		ct, err := n.Peer.OpenRanges(ctx, n.Ref(d, size), []peer.Span{{Off: size - 100, N: 100}})
		if err != nil {
			t.Fatal(err)
		}
		defer ct.Close()
		began := time.Now()
		if err := ct.Await(ctx, size-100); err != nil {
			t.Error(err)
		}
		t.Logf("after %v; the whole takes 17 s", time.Since(began))
		if err := whole.Await(t.Context(), size-1); err != nil {
			t.Error(err)
		}
		atMost(t, "origin bytes", c.Origin.Bytes(), size+2*mib)
	})
}

// A neighbour that sends false bytes costs the reader of a part time, but
// not the read.
func TestRangeFromABadNeighbour(t *testing.T) {
	for name, spoil := range map[string]func(*peertest.Node){
		"false": func(n *peertest.Node) { n.Corrupt = true },
		"dead":  func(n *peertest.Node) { n.Kill() },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := lab(t, 2, nil)
				blob := content(34, 8*mib)
				size := int64(len(blob))
				d := c.Origin.Add(blob)
				good, bad := c.Nodes[0], c.Nodes[1]
				readPart(t, bad, bad.Ref(d, size), blob, 3*mib, 100)
				readPart(t, good, good.Ref(d, size), blob, 0, 100) // makes them neighbours
				spoil(bad)
				readPart(t, good, good.Ref(d, size), blob, 3*mib, 100)
			})
		})
	}
}

// Parts that make up the whole are a whole blob: it is verified, kept, and
// offered as any other.
func TestPartsAddUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 2, nil)
		blob := content(35, 5*mib+1)
		size := int64(len(blob))
		d := c.Origin.Add(blob)
		n := c.Nodes[0]
		for off := int64(0); off < size; off += mib {
			readPart(t, n, n.Ref(d, size), blob, off, 1)
		}
		time.Sleep(time.Second)
		if s := n.Peer.Stats(); s.Completed != 1 || s.Downloads != 0 {
			t.Errorf("completed %d, %d running", s.Completed, s.Downloads)
		}
		pullAll(t, c.Nodes[1:], d, size)
		atMost(t, "origin bytes", c.Origin.Bytes(), size)
	})
}
