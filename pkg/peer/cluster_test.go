package peer_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
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

const (
	mib = 1 << 20
	// mbit is 1 Mbit/s in bytes a second.
	mbit = 1e6 / 8
)

// lab is a cluster as most tests want it; edit changes that.
func lab(t *testing.T, nodes int, edit func(*peertest.Config)) *peertest.Cluster {
	cfg := peertest.Config{
		Nodes: nodes, Up: 100 * mbit, Down: 100 * mbit, Latency: 500 * time.Microsecond, Seed: 1,
		NewStore: func() peer.Store { return storetest.NewMemory(0) },
	}
	if edit != nil {
		edit(&cfg)
	}
	c := peertest.New(cfg)
	c.Origin.Rate = 200 * mbit
	t.Cleanup(c.Close)
	return c
}

// content is n bytes that compress to nothing, the same for the same seed.
func content(seed byte, n int) []byte {
	b := make([]byte, n)
	_, _ = rand.NewChaCha8([32]byte{seed}).Read(b)
	return b
}

// pullAll is pull, and waits until the nodes have settled: counters and the
// commit lag behind the last byte that a reader gets.
func pullAll(t *testing.T, nodes []*peertest.Node, d piece.Digest, size int64) time.Duration {
	t.Helper()
	took := pull(t, nodes, d, size)
	synctest.Wait()
	return took
}

// pull pulls on all nodes at once and checks what each got. It returns how
// long the last one took.
func pull(t *testing.T, nodes []*peertest.Node, d piece.Digest, size int64) time.Duration {
	t.Helper()
	began := time.Now()
	var wg sync.WaitGroup
	for _, n := range nodes {
		wg.Go(func() {
			ctx, cancel := context.WithTimeout(context.Background(), 5*time.Minute)
			defer cancel()
			got, err := n.Pull(ctx, n.Ref(d, size))
			if err != nil || got != d {
				t.Errorf("%s: pulled %s, %v; want %s", n.ID, got.Short(), err, d.Short())
			}
		})
	}
	wg.Wait()
	return time.Since(began)
}

// copies is how often the origin gave each byte, on average.
func copies(c *peertest.Cluster, size int64) float64 {
	return float64(c.Origin.Bytes()) / float64(size)
}

func atMost[T ~int | ~int64 | ~float64](t *testing.T, what string, got, limit T) {
	t.Helper()
	if got > limit {
		t.Errorf("%s: %v, want at most %v", what, got, limit)
	}
}

// G3: fifty peers that pull at once, over links that break now and then,
// take each byte from the origin once.
func TestFiftyPeersTakeEachByteOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 50, func(cfg *peertest.Config) { cfg.Loss = 0.0005 })
		blob := content(1, 24*mib)
		d := c.Origin.Add(blob)
		took := pullAll(t, c.Nodes, d, int64(len(blob)))
		bound := time.Duration(float64(len(blob)) / (100 * mbit) * float64(time.Second))
		t.Logf("makespan %v, %.2f of the bound; origin %.3f copies in %d requests",
			took, took.Seconds()/bound.Seconds(), copies(c, int64(len(blob))), c.Origin.Requests())
		for _, n := range c.Nodes[:3] {
			t.Logf("%s %+v", n.ID, n.Peer.Stats())
		}
		atMost(t, "origin copies", copies(c, int64(len(blob))), 1.05)
	})
}

// A lone seed sends each piece about once, however many ask: they have the
// rest from each other.
func TestALoneSeedSendsEachPieceAboutOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 16, nil)
		blob := content(12, 60*mib)
		d := c.Origin.Add(blob)
		size := int64(len(blob))
		pullAll(t, c.Nodes[:1], d, size)
		before := c.Origin.Bytes()
		took := pullAll(t, c.Nodes[1:], d, size)
		sent := float64(c.Nodes[0].Peer.Stats().Uploaded) / float64(size)
		t.Logf("took %v, %.2f of the line's time; the seed sent %.2f copies", took, took.Seconds()*100*mbit/float64(size), sent)
		atMost(t, "copies that the seed sent", sent, 1.5)
		atMost(t, "bytes from the origin", c.Origin.Bytes()-before, 0)
	})
}

// Small blobs and manifests, whose size nobody knows, cost the origin one
// request, not one a node.
func TestSmallBlobOfUnknownSizeOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 20, nil)
		blob := content(2, 5000)
		d := c.Origin.Add(blob)
		pullAll(t, c.Nodes, d, scheduler.SizeUnknown)
		atMost(t, "origin requests", c.Origin.Requests(), 1)
	})
}

// G2: alone and without a scheduler a node reads in parallel, each byte once.
func TestAloneWithoutScheduler(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, func(cfg *peertest.Config) { cfg.NoScheduler = true })
		c.Origin.PerConn = 20 * mbit
		blob := content(3, 20*mib+17)
		d := c.Origin.Add(blob)
		took := pullAll(t, c.Nodes, d, int64(len(blob)))
		direct := time.Duration(float64(len(blob)) / (20 * mbit) * float64(time.Second))
		if took > direct {
			t.Errorf("took %v, a direct pull takes %v", took, direct)
		}
		atMost(t, "origin copies", copies(c, int64(len(blob))), 1)
	})
}

// A registry that ignores ranges is read once, from front to end.
func TestOriginWithoutRange(t *testing.T) {
	for _, schedulerless := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			nodes := 8
			if schedulerless {
				nodes = 1
			}
			c := lab(t, nodes, func(cfg *peertest.Config) { cfg.NoScheduler = schedulerless })
			c.Origin.NoRange = true
			blob := content(4, 12*mib)
			d := c.Origin.Add(blob)
			pullAll(t, c.Nodes, d, int64(len(blob)))
			atMost(t, "origin copies", copies(c, int64(len(blob))), 1.2)
		})
	}
}

// A warm node feeds the rest; the origin gives nothing more.
func TestWarmNodeFeedsTheRest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 10, nil)
		blob := content(5, 10*mib)
		d := c.Origin.Add(blob)
		pullAll(t, c.Nodes[:1], d, int64(len(blob)))
		before := c.Origin.Bytes()
		pullAll(t, c.Nodes[1:], d, int64(len(blob)))
		atMost(t, "origin bytes after the first", c.Origin.Bytes()-before, 0)
	})
}

// A busy node that alone has what the others want is waited for, if the origin
// is down: being slow is no reason to be left.
func TestBusySeedAndNoOrigin(t *testing.T) {
	for seed := range uint64(2) {
		synctest.Test(t, func(t *testing.T) {
			c := lab(t, 12, func(cfg *peertest.Config) { cfg.Seed = seed })
			sizes := []int{12 * mib, 1 * mib, 12 * mib, 300_000, 12 * mib, 5000}
			layers := make([]piece.Digest, len(sizes))
			for i, size := range sizes {
				layers[i] = c.Origin.Add(content(byte(40+i), size))
				pullAll(t, c.Nodes[:1], layers[i], int64(size))
			}
			c.Nodes[0].SetRate(20*mbit, 100*mbit)
			c.Origin.Fail(errors.New("connection refused"))
			var wg sync.WaitGroup
			for i, n := range c.Nodes[1:] {
				for j := range layers { // each begins with another
					k := (i + j) % len(layers)
					wg.Go(func() { pull(t, []*peertest.Node{n}, layers[k], int64(sizes[k])) })
				}
			}
			wg.Wait()
		})
	}
}

// G7: a scheduler that dies in mid-pull, for good, stops nobody.
func TestSchedulerDies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 12, nil)
		blob := content(6, 16*mib)
		d := c.Origin.Add(blob)
		time.AfterFunc(300*time.Millisecond, c.StopScheduler)
		pullAll(t, c.Nodes, d, int64(len(blob)))
		t.Logf("origin %.2f copies", copies(c, int64(len(blob))))
		atMost(t, "origin copies", copies(c, int64(len(blob))), 2)
	})
}

// G7: with no scheduler, peers that have met in one swarm find each other in
// the next, and share the origin.
func TestAcquaintancesShareTheOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 12, nil)
		first := content(20, 2*mib)
		pullAll(t, c.Nodes, c.Origin.Add(first), int64(len(first)))
		c.StopScheduler()
		time.Sleep(time.Second)
		before := c.Origin.Bytes()
		blob := content(21, 32*mib)
		took := pullAll(t, c.Nodes, c.Origin.Add(blob), int64(len(blob)))
		t.Logf("took %v, %.2f of the bound; origin %.2f copies", took, took.Seconds()*100*mbit/float64(len(blob)), float64(c.Origin.Bytes()-before)/float64(len(blob)))
		atMost(t, "origin bytes", c.Origin.Bytes()-before, int64(len(blob))*3/2)

		requests := c.Origin.Requests()
		pullAll(t, c.Nodes, c.Origin.Add(content(22, 5000)), scheduler.SizeUnknown)
		atMost(t, "requests for a manifest", c.Origin.Requests()-requests, 3)
	})
}

// A scheduler that restarts is told everything again.
func TestSchedulerRestarts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 12, nil)
		blob := content(7, 16*mib)
		d := c.Origin.Add(blob)
		pullAll(t, c.Nodes[:4], d, int64(len(blob)))
		before := c.Origin.Bytes()
		c.StopScheduler()
		c.StartScheduler()
		time.Sleep(time.Second) // everybody has announced what it holds
		pullAll(t, c.Nodes[4:], d, int64(len(blob)))
		atMost(t, "origin bytes after the restart", c.Origin.Bytes()-before, 0)
	})
}

// Peers that die in mid-pull, lease holders among them, stop nobody else.
func TestPeersDie(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 12, nil)
		blob := content(8, 16*mib)
		d := c.Origin.Add(blob)
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		var wg sync.WaitGroup
		for _, n := range c.Nodes[:4] {
			wg.Go(func() { _, _ = n.Pull(ctx, n.Ref(d, int64(len(blob)))) })
		}
		for i, n := range c.Nodes[:4] {
			time.AfterFunc(time.Duration(200+100*i)*time.Millisecond, n.Kill)
		}
		pullAll(t, c.Nodes[4:], d, int64(len(blob)))
		cancel()
		wg.Wait()
		atMost(t, "origin copies", copies(c, int64(len(blob))), 1.8)
	})
}

// G1: bytes that are not what was claimed reach neither client nor peer.
func TestCorruptPeerIsShunned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 10, nil)
		blob := content(9, 16*mib)
		d := c.Origin.Add(blob)
		c.Nodes[0].Corrupt = true
		pullAll(t, c.Nodes, d, int64(len(blob)))
		var found int64
		for _, n := range c.Nodes {
			found += n.Peer.Stats().FalsePieces
		}
		if found == 0 {
			t.Error("nobody noticed the false pieces")
		}
		// One for all others, one for the corrupt peer, which nobody talks to.
		atMost(t, "origin copies", copies(c, int64(len(blob))), 2)
	})
}

// liar reads false bytes from its origin, and so makes false claims.
type liar struct{ peer.Source }

func (l liar) Read(ctx context.Context, off, n int64) (io.ReadCloser, int64, error) {
	_, size, err := l.Source.Read(ctx, 0, 0)
	if err != nil {
		return nil, 0, err
	}
	return io.NopCloser(io.LimitReader(zeros{}, n)), size, nil
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// G1: a peer whose claims are false costs time, never bytes: nobody ever sees
// the end of a blob that is not what it asked for, and no pull fails twice.
func TestLiarCostsTimeNotBytes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 6, nil)
		const size = 8 * mib
		_, failed := insist(t, c.Nodes, c.Origin.Add(content(10, size)), size, map[*peertest.Node]bool{c.Nodes[0]: true})
		if failed > len(c.Nodes) {
			t.Errorf("%d pulls failed, want at most one a node", failed)
		}
		atMost(t, "copies from the origin", copies(c, size), 4)
	})
}

// A refusal by the origin comes through, soon, with its status.
func TestOriginRefuses(t *testing.T) {
	for _, nodes := range []int{1, 5} {
		synctest.Test(t, func(t *testing.T) {
			c := lab(t, nodes, nil)
			d := piece.Sum([]byte("nobody has this"))
			for _, n := range c.Nodes {
				began := time.Now()
				_, err := n.Pull(t.Context(), n.Ref(d, scheduler.SizeUnknown))
				var refusal *peer.OriginError
				if !errors.As(err, &refusal) || refusal.Status != 404 {
					t.Errorf("%s: %v, want the origin's 404", n.ID, err)
				}
				atMost(t, "seconds until the refusal", time.Since(began).Seconds(), 2)
			}
		})
	}
}

// An origin that hangs ends in an error, not in a hang.
func TestOriginHangs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 2, nil)
		c.Origin.Hang(true)
		d := c.Origin.Add(content(11, 3*mib))
		_, err := c.Nodes[0].Pull(t.Context(), c.Nodes[0].Ref(d, 3*mib))
		if err == nil {
			t.Error("pull from an origin that hangs succeeded")
		}
	})
}

// What had arrived when a node died is not fetched again.
func TestResume(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := storetest.NewMemory(0)
		c := lab(t, 1, func(cfg *peertest.Config) { cfg.NewStore = func() peer.Store { return store } })
		blob := content(12, 16*mib)
		d := c.Origin.Add(blob)
		time.AfterFunc(700*time.Millisecond, c.Nodes[0].Kill)
		if _, err := c.Nodes[0].Pull(t.Context(), c.Nodes[0].Ref(d, int64(len(blob)))); err == nil {
			t.Fatal("the pull ended before the kill")
		}
		again := lab(t, 1, func(cfg *peertest.Config) { cfg.NewStore = func() peer.Store { return store } })
		again.Origin.Add(blob)
		pullAll(t, again.Nodes, d, int64(len(blob)))
		resumed := again.Nodes[0].Peer.Stats().Resumed
		if resumed == 0 || again.Origin.Bytes() != int64(len(blob))-resumed {
			t.Errorf("resumed %d bytes and read %d of %d", resumed, again.Origin.Bytes(), len(blob))
		}
	})
}

// Ranges are served from the right place, while the blob still arrives.
func TestWriteRange(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		blob := content(13, 5*mib+123)
		d := c.Origin.Add(blob)
		n := c.Nodes[0]
		ct, err := n.Peer.Open(t.Context(), n.Ref(d, int64(len(blob))))
		if err != nil {
			t.Fatal(err)
		}
		defer ct.Close()
		for _, r := range []struct{ off, n int }{{4*mib - 5, 20}, {0, 1}, {len(blob) - 3, 3}, {len(blob) - 3, 99}, {0, len(blob)}} {
			var got bytes.Buffer
			if _, err := ct.WriteRange(t.Context(), &got, int64(r.off), int64(r.n)); err != nil {
				t.Fatal(err)
			}
			if want := blob[r.off:min(r.off+r.n, len(blob))]; !bytes.Equal(got.Bytes(), want) {
				t.Errorf("range %+v: %d bytes differ from the blob", r, got.Len())
			}
		}
	})
}
