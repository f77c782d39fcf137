package peer_test

import (
	"context"
	"io"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
)

// equal checks a counter.
func equal[T int | int64](t *testing.T, what string, got, want T) {
	t.Helper()
	if got != want {
		t.Errorf("%s: %v, want %v", what, got, want)
	}
}

// layers puts blobs of one size into the origin and warms some nodes with them.
func layers(t *testing.T, c *peertest.Cluster, n, size int, warm ...*peertest.Node) []piece.Digest {
	t.Helper()
	ds := make([]piece.Digest, n)
	for i := range ds {
		ds[i] = c.Origin.Add(content(byte(100+i), size))
		if len(warm) > 0 {
			pullAll(t, warm, ds[i], int64(size))
		}
	}
	return ds
}

// refs names blobs for a node.
func refs(n *peertest.Node, ds []piece.Digest, size int64) []peer.Ref {
	var all []peer.Ref
	for _, d := range ds {
		all = append(all, n.Ref(d, size))
	}
	return all
}

// What neighbours have is fetched before anybody asks, and is then served from
// the store; it is shared, too. The origin has no part in it.
func TestAheadFromNeighbours(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 2, nil)
		const size = 5*mib + 3
		ds := layers(t, c, 3, size, c.Nodes[0])
		before := c.Origin.Bytes()
		n := c.Nodes[1]
		n.Peer.Prefetch(ds[0], refs(n, ds[1:], size))
		time.Sleep(5 * time.Second)
		s := n.Peer.Stats()
		equal(t, "whole before a reader came", s.AheadWhole, 2)
		equal(t, "bytes ahead", s.AheadBytes, 2*size)
		equal(t, "downloads", s.Downloads, 0)
		pullAll(t, c.Nodes[1:], ds[1], size)
		equal(t, "bytes served from the store", n.Peer.Stats().ServedStore, size)
		equal(t, "bytes from the origin", c.Origin.Bytes()-before, 0)
	})
}

// A guess alone does not make anybody read from the origin, however many guess
// alike. The first reader does, and those ahead have it from there.
func TestAheadLeavesTheOriginAlone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 6, nil)
		const size = 6 * mib
		ds := layers(t, c, 1, size)
		for _, n := range c.Nodes {
			n.Peer.Prefetch(piece.Sum(nil), refs(n, ds, size))
		}
		time.Sleep(10 * time.Second)
		equal(t, "requests to the origin", c.Origin.Requests(), 0)
		pullAll(t, c.Nodes[:1], ds[0], size)
		equal(t, "taken over", c.Nodes[0].Peer.Stats().AheadTaken, 1)
		time.Sleep(5 * time.Second)
		for _, n := range c.Nodes[1:] {
			equal(t, "whole before a reader came", n.Peer.Stats().AheadWhole, 1)
		}
		atMost(t, "origin copies", copies(c, size), 1.05)
	})
}

// A reader takes over what runs, and loses nothing of what has come.
func TestAReaderTakesOverWhatRunsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 2, nil)
		const size = 20 * mib
		ds := layers(t, c, 1, size, c.Nodes[0])
		c.Nodes[0].SetRate(20*mbit, 100*mbit) // 8 s for the whole
		n := c.Nodes[1]
		n.Peer.Prefetch(piece.Sum(nil), refs(n, ds, size))
		time.Sleep(4 * time.Second)
		pullAll(t, c.Nodes[1:], ds[0], size)
		s := n.Peer.Stats()
		equal(t, "taken over", s.AheadTaken, 1)
		equal(t, "completed", s.Completed, 1)
		equal(t, "bytes", s.ReceivedPeer+s.ReceivedOrigin, size)
		if s.AheadBytes < 5*mib || s.AheadBytes == size {
			t.Errorf("%d bytes came before the reader", s.AheadBytes)
		}
	})
}

// Who reads a part of what runs ahead gets its pieces, and the origin gives no
// others.
func TestAReaderOfAPartTakesOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		const size = 20 * mib
		ds := layers(t, c, 1, size)
		n := c.Nodes[0]
		n.Peer.Prefetch(piece.Sum(nil), refs(n, ds, size))
		time.Sleep(time.Second)
		part, err := n.Peer.OpenRanges(t.Context(), n.Ref(ds[0], size), []peer.Span{{Off: 7 * mib, N: 100}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := part.WriteRange(t.Context(), io.Discard, 7*mib, 100); err != nil {
			t.Error(err)
		}
		time.Sleep(5 * time.Second)
		equal(t, "bytes from the origin", c.Origin.Bytes(), mib)
		if err := part.Close(); err != nil {
			t.Error(err)
		}
	})
}

// It goes on while its client reads another layer of the image, and for a while
// longer; then it is given up.
func TestAheadIsGivenUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		c.Origin.Rate = 4 * mbit // 42 s for what the client reads
		const size = 20 * mib
		ds := layers(t, c, 2, size)
		n := c.Nodes[0]
		read := make(chan struct{})
		go func() {
			defer close(read)
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			if _, err := n.Pull(ctx, n.Ref(ds[0], size)); err != nil {
				t.Error(err)
			}
		}()
		synctest.Wait()
		n.Peer.Prefetch(ds[0], refs(n, ds[1:], size))
		time.Sleep(35 * time.Second)
		equal(t, "given up while the client reads", n.Peer.Stats().AheadGivenUp, 0)
		<-read
		time.Sleep(25 * time.Second)
		equal(t, "given up soon after", n.Peer.Stats().AheadGivenUp, 0)
		time.Sleep(10 * time.Second)
		equal(t, "given up", n.Peer.Stats().AheadGivenUp, 1)
		equal(t, "downloads", n.Peer.Stats().Downloads, 0)
		equal(t, "bytes from the origin", c.Origin.Bytes(), size)
	})
}

// What is held is left alone; of the rest there are so many, and so much, at
// most. Without a scheduler nobody is known to have anything, so there is none.
func TestAheadIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(0)
		c := lab(t, 1, func(cfg *peertest.Config) { cfg.NewStore = func() peer.Store { return store } })
		n := c.Nodes[0]
		held := keep(t, store, []byte("held"))
		n.Peer.Prefetch(piece.Sum(nil), []peer.Ref{n.Ref(held, 4)})
		equal(t, "downloads of what is held", n.Peer.Stats().Downloads, 0)
		ds := layers(t, c, 10, mib)
		n.Peer.Prefetch(piece.Sum(nil), []peer.Ref{n.Ref(ds[0], 3<<30)})
		equal(t, "downloads of what is too long", n.Peer.Stats().Downloads, 0)
		for range 2 {
			n.Peer.Prefetch(piece.Sum(nil), refs(n, ds, mib))
		}
		equal(t, "downloads", n.Peer.Stats().Downloads, 6)
		time.Sleep(time.Minute)
		c.StopScheduler()
		n.Peer.Prefetch(piece.Sum(nil), refs(n, ds, mib))
		equal(t, "downloads without a scheduler", n.Peer.Stats().Downloads, 0)
	})
}

// What a reader waits for comes as fast as if nothing were fetched ahead; and a
// client that pauses between layers, as it does to unpack them, has the next
// ones sooner.
func TestReadersComeBeforeWhatRunsAhead(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const size = 24 * mib
		pull := func(ahead bool) (first, all time.Duration) {
			c := lab(t, 4, nil)
			defer c.Close()
			ds := layers(t, c, 4, size, c.Nodes[:3]...)
			n := c.Nodes[3]
			began := time.Now()
			for i, d := range ds {
				if ahead {
					n.Peer.Prefetch(d, refs(n, ds[i+1:], size))
				}
				pullAll(t, c.Nodes[3:], d, size)
				if i == 0 {
					first = time.Since(began)
				}
				time.Sleep(time.Second)
			}
			return first, time.Since(began)
		}
		first, all := pull(false)
		firstAhead, allAhead := pull(true)
		t.Logf("first layer %v, ahead %v; all %v, ahead %v", first, firstAhead, all, allAhead)
		atMost(t, "time for the first layer, of that without", firstAhead.Seconds()/first.Seconds(), 1.1)
		atMost(t, "time for all, of that without", allAhead.Seconds()/all.Seconds(), 0.9)
	})
}
