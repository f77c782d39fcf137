package peer_test

import (
	"bytes"
	"context"
	"errors"
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

// Peers that read the same cold range at the same moment take turns: about one
// copy comes from the origin, though nobody leases anything. In a swarm where
// everybody knows everybody it is at most one for each turn (100 ms) that a
// A partial member is no seed and holds no lease: others pull the whole blob
// Somebody who wants everything turns the download into an ordinary one, at
// When a reader leaves, what it waited for is not fetched any more, but for the
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
// A neighbour that has the piece but sends false bytes, or none, costs time and
// When parts have brought the last piece, the blob is whole, checked, and
