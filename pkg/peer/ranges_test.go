package peer_test

import (
	"bytes"
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// rangePatience bounds a read of a part; the mirror's clients wait for 2 s.
const rangePatience = 2 * time.Second

// readPart reads [off, off+n) of a blob as a snapshotter would, checks it, and
// returns how long that took.
func readPart(t *testing.T, n *peertest.Node, ref peer.Ref, blob []byte, off, length int64) time.Duration {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), rangePatience)
	defer cancel()
	began := time.Now()
	c, err := n.Peer.OpenRanges(ctx, ref, []peer.Span{{Off: off, N: length}})
	if err != nil {
		t.Errorf("%s: open [%d, +%d): %v", n.ID, off, length, err)
		return 0
	}
	defer c.Close()
	var got bytes.Buffer
	if _, err := c.WriteRange(ctx, &got, off, length); err != nil {
		t.Errorf("%s: read [%d, +%d): %v", n.ID, off, length, err)
	} else if !bytes.Equal(got.Bytes(), blob[off:off+length]) {
		t.Errorf("%s: [%d, +%d) differs from the blob", n.ID, off, length)
	}
	return time.Since(began)
}

// cover is how many bytes the pieces have that [off, off+n) touches.
func cover(t *testing.T, size, off, n int64) int64 {
	t.Helper()
	l, err := piece.NewLayout(size)
	if err != nil {
		t.Fatal(err)
	}
	_, length := l.Span(l.Covering(off, n))
	return length
}

// schedulers runs a test with and without a scheduler.
func schedulers(t *testing.T, f func(t *testing.T, edit func(*peertest.Config))) {
	for name, without := range map[string]bool{"scheduler": false, "alone": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f(t, func(cfg *peertest.Config) { cfg.NoScheduler = without })
			})
		})
	}
}

// The footer of a large blob that nobody has costs the origin the pieces that
// it touches, at once, and is not held back for the rest of the blob.
func TestColdFooterCostsItsPieces(t *testing.T) {
	schedulers(t, func(t *testing.T, edit func(*peertest.Config)) {
		c := lab(t, 1, edit)
		blob := content(20, 200*mib+12345)
		size := int64(len(blob))
		d, n := c.Origin.Add(blob), c.Nodes[0]
		synctest.Wait()
		off := size - 50_000
		took := readPart(t, n, n.Ref(d, size), blob, off, 50_000)
		t.Logf("took %v", took)
		atMost(t, "origin bytes", c.Origin.Bytes(), cover(t, size, off, 50_000))
		// 1.05 MiB at 100 Mbit/s are 88 ms.
		atMost(t, "seconds", took.Seconds(), 0.12)
		// Nothing else is fetched, however long the client stays away; what
		// was is reused.
		time.Sleep(10 * time.Second)
		readPart(t, n, n.Ref(d, size), blob, size-100, 100)
		time.Sleep(10 * time.Minute)
		readPart(t, n, n.Ref(d, size), blob, size-100, 100)
		atMost(t, "origin bytes later", c.Origin.Bytes(), cover(t, size, off, 50_000))
		if resumed := n.Peer.Stats().Resumed; resumed != cover(t, size, off, 50_000) {
			t.Errorf("%d bytes resumed after the download ended", resumed)
		}
	})
}

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

// Peers that read the same cold range at the same moment take turns: about one
// copy comes from the origin, though nobody leases anything. In a swarm where
// everybody knows everybody it is at most one for each turn (100 ms) that a
// piece takes from the origin (84 ms here), and one more.
func TestSameRangeOnManyPeers(t *testing.T) {
	for nodes, copies := range map[int]int64{8: 2, 16: 2, 40: 5} {
		synctest.Test(t, func(t *testing.T) {
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
			t.Logf("%d peers: %.2f copies of the piece from the origin", nodes, float64(c.Origin.Bytes())/mib)
			atMost(t, "origin bytes", c.Origin.Bytes(), copies*mib)
		})
	}
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

// A partial member is no seed and holds no lease: others pull the whole blob
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
		pullAll(t, c.Nodes[5:], d, size)
		atMost(t, "origin copies", copies(c, size), 1.1)
		for _, n := range c.Nodes[:5] {
			if s := n.Peer.Stats(); s.ReceivedOrigin > mib || s.Completed > 0 {
				t.Errorf("%s read %d bytes from the origin, completed %d", n.ID, s.ReceivedOrigin, s.Completed)
			}
		}
	})
}

// Somebody who wants everything turns the download into an ordinary one, at
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

// When a reader leaves, what it waited for is not fetched any more, but for the
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

// After a restart the parts are still here.
func TestRangesSurviveARestart(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(0)
		same := func(cfg *peertest.Config) { cfg.NewStore = func() peer.Store { return store } }
		c := lab(t, 1, same)
		blob := content(27, 64*mib)
		size := int64(len(blob))
		d := c.Origin.Add(blob)
		readPart(t, c.Nodes[0], c.Nodes[0].Ref(d, size), blob, 9*mib, 2*mib)
		c.Close()
		again := lab(t, 1, same)
		again.Origin.Add(blob)
		readPart(t, again.Nodes[0], again.Nodes[0].Ref(d, size), blob, 9*mib+77, mib)
		atMost(t, "origin bytes after the restart", again.Origin.Bytes(), 0)
	})
}

// A size that nobody told is asked of the origin, or the swarm tells it.
func TestRangeOfUnknownSize(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 3, nil)
		blob := content(28, 40*mib)
		d := c.Origin.Add(blob)
		readPart(t, c.Nodes[0], c.Nodes[0].Ref(d, scheduler.SizeUnknown), blob, 4*mib, 100)
		atMost(t, "origin bytes", c.Origin.Bytes(), mib)
		down := errors.New("the origin is down")
		c.Origin.Fail(down)
		readPart(t, c.Nodes[1], c.Nodes[1].Ref(d, scheduler.SizeUnknown), blob, 4*mib, 100)
		ct, err := c.Nodes[2].Peer.OpenRanges(t.Context(), c.Nodes[2].Ref(d, scheduler.SizeUnknown), nil)
		if err != nil {
			t.Fatal(err)
		}
		defer ct.Close()
		if ct.Size() != int64(len(blob)) {
			t.Errorf("size %d of %d", ct.Size(), len(blob))
		}
	})
}

// Asking for the size alone fetches nothing and starts nothing.
func TestSizeAlone(t *testing.T) {
	schedulers(t, func(t *testing.T, edit func(*peertest.Config)) {
		c := lab(t, 1, edit)
		blob := content(29, 10*mib)
		d, n := c.Origin.Add(blob), c.Nodes[0]
		for _, size := range []int64{scheduler.SizeUnknown, int64(len(blob))} {
			ct, err := n.Peer.OpenRanges(t.Context(), n.Ref(d, size), nil)
			if err != nil {
				t.Fatal(err)
			}
			if ct.Size() != int64(len(blob)) {
				t.Errorf("size %d of %d", ct.Size(), len(blob))
			}
			if err := ct.Await(t.Context(), 0); err == nil {
				t.Error("bytes can be read that nobody opened")
			}
			if err := ct.Close(); err != nil {
				t.Error(err)
			}
		}
		atMost(t, "origin requests", c.Origin.Requests(), 0)
		atMost(t, "downloads", n.Peer.Stats().Downloads, 0)
		_, err := n.Peer.OpenRanges(t.Context(), n.Ref(piece.Sum([]byte("nothing")), scheduler.SizeUnknown), nil)
		if refusal, ok := errors.AsType[*peer.OriginError](err); !ok || refusal.Status != 404 {
			t.Errorf("%v, want the origin's 404", err)
		}
	})
}

// The origin's refusal comes through, and soon; an origin without ranges is
// read whole, as there is no other way.
func TestRangeWhereTheOriginDiffers(t *testing.T) {
	schedulers(t, func(t *testing.T, edit func(*peertest.Config)) {
		c := lab(t, 3, edit)
		n := c.Nodes[0]
		blob := content(30, 6*mib)
		size := int64(len(blob))
		d := c.Origin.Add(blob)
		c.Origin.Fail(&peer.OriginError{Status: 403, Message: "not yours"})
		for _, size := range []int64{size, scheduler.SizeUnknown} {
			ct, err := n.Peer.OpenRanges(t.Context(), n.Ref(d, size), []peer.Span{{Off: 5, N: 5}})
			if err == nil {
				err = ct.Await(t.Context(), 5)
				_ = ct.Close()
			}
			if refusal, ok := errors.AsType[*peer.OriginError](err); !ok || refusal.Status != 403 {
				t.Errorf("%v, want the origin's 403", err)
			}
		}
		c.Origin.Fail(nil)
		c.Origin.NoRange = true
		readPart(t, n, n.Ref(d, size), blob, size-100, 100)
		atMost(t, "origin bytes", c.Origin.Bytes(), size)
	})
}

// Parts that are all of the blob are held to its digest, as a whole read is:
// of a blob that is false at its origin nobody sees the end.
func TestAllPartsAreAWholeRead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		blob := content(31, 4*mib)
		size := int64(len(blob))
		d, n := c.Origin.Add(blob), c.Nodes[0]
		ref := n.Ref(d, size)
		ref.Source = liar{ref.Source}
		ct, err := n.Peer.OpenRanges(t.Context(), ref, []peer.Span{{Off: 0, N: 2 * mib}, {Off: 2*mib - 1, N: size}})
		if err != nil {
			t.Fatal(err)
		}
		defer ct.Close()
		if err := ct.Await(t.Context(), size-1); err == nil {
			t.Error("the end of a false blob can be read")
		}
	})
}

// A range reader gets the bytes of its parts and no others.
func TestNothingOutsideTheParts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		blob := content(32, 8*mib)
		d, n := c.Origin.Add(blob), c.Nodes[0]
		ct, err := n.Peer.OpenRanges(t.Context(), n.Ref(d, int64(len(blob))), []peer.Span{{Off: 10, N: 10}, {Off: 5 * mib, N: mib}})
		if err != nil {
			t.Fatal(err)
		}
		defer ct.Close()
		for off, want := range map[int64]bool{0: false, 10: true, 19: true, 20: false, 5 * mib: true, 6*mib - 1: true, 6 * mib: false} {
			if err := ct.Await(t.Context(), off); (err == nil) != want {
				t.Errorf("byte %d: %v", off, err)
			}
		}
	})
}

// Who reads a part of a blob that is being fetched whole does not wait for the
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

// A neighbour that has the piece but sends false bytes, or none, costs time and
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

// When parts have brought the last piece, the blob is whole, checked, and
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
