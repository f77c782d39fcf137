package peer_test

import (
	"context"
	"crypto/sha256"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// insist pulls on all nodes at once, and again where that fails, as clients do. It
// returns how long the last one took, and how many pulls failed.
func insist(t *testing.T, nodes []*peertest.Node, d piece.Digest, size int64, bad map[*peertest.Node]bool) (took time.Duration, failed int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Minute)
	defer cancel()
	began := time.Now()
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, n := range nodes {
		ref := n.Ref(d, size)
		if bad[n] {
			ref.Source = liar{ref.Source}
		}
		wg.Go(func() {
			for {
				got, err := n.Pull(ctx, ref)
				mu.Lock()
				if err == nil && got != d {
					t.Errorf("%s: got %s for %s", n.ID, got.Short(), d.Short())
				}
				if err == nil || bad[n] {
					mu.Unlock()
					return
				}
				failed++
				mu.Unlock()
				if ctx.Err() != nil {
					t.Errorf("%s: never succeeded: %v", n.ID, err)
					return
				}
				time.Sleep(time.Second)
			}
		})
	}
	wg.Wait()
	took = time.Since(began)
	synctest.Wait()
	return took, failed
}

// One node reads false bytes from the origin, and the others pass them on in good
// faith. It costs a second reading, not one for each; nobody but that node is
// banned, and nothing of it is left when the next image comes.
func TestAFalseReadCostsNeitherNeighboursNorTheNextImage(t *testing.T) {
	const size = 64 * mib
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 12, nil)
		wrong := map[*peertest.Node]bool{c.Nodes[0]: true}
		d := c.Origin.Add(content(10, size))
		took, failed := insist(t, c.Nodes, d, size, wrong)
		t.Logf("took %v, %.2f copies, %d pulls failed", took, copies(c, size), failed)
		atMost(t, "copies from the origin", copies(c, size), 4)
		if failed > len(c.Nodes) {
			t.Errorf("%d pulls failed, want at most one a node", failed)
		}
		for _, n := range c.Nodes {
			if st := n.Peer.Stats(); st.Bans > 0 {
				t.Errorf("%s shuns %d peers", n.ID, st.Bans)
			}
		}
		time.Sleep(time.Minute) // the one that reads falsely gives it up in that
		synctest.Wait()
		if diff := cmp.Diff([]scheduler.PeerID{c.Nodes[0].ID}, c.Expelled()); diff != "" {
			t.Errorf("put out (-want +got):\n%s", diff)
		}

		before := c.Origin.Bytes()
		next := c.Origin.Add(content(11, size))
		took, failed = insist(t, c.Nodes[1:], next, size, nil)
		if failed > 0 {
			t.Errorf("%d pulls of the next image failed", failed)
		}
		again := float64(c.Origin.Bytes()-before) / size
		t.Logf("the next took %v, %.2f copies", took, again)
		atMost(t, "copies of the next image", again, 1.05)
	})
}

// Without a scheduler nobody knows who has the blob right: each reads what it had
// of others itself. Nothing is false for long, and nobody is told that its origin is.
func TestAFalseReadWithoutAScheduler(t *testing.T) {
	const size = 8 * mib
	synctest.Test(t, func(t *testing.T) {
		// Of six, one gives false pieces on to all others in one run of fifty. They shun
		// it then, and it rightly reads the next image alone.
		c := lab(t, 9, nil)
		pullAll(t, c.Nodes, c.Origin.Add(content(9, mib)), mib) // they meet
		c.StopScheduler()
		d := c.Origin.Add(content(10, size))
		took, failed := insist(t, c.Nodes, d, size, map[*peertest.Node]bool{c.Nodes[0]: true})
		t.Logf("took %v, %.2f copies, %d pulls failed", took, copies(c, size), failed)
		if failed > len(c.Nodes) {
			t.Errorf("%d pulls failed, want at most one a node", failed)
		}
		found := int64(0)
		for _, n := range c.Nodes[1:] {
			st := n.Peer.Stats()
			found += st.FalseBlobs
			if st.FalseBlobs > 1 {
				t.Errorf("%s found %d blobs false, want one at most: it reads the rest itself", n.ID, st.FalseBlobs)
			}
		}
		if found == 0 {
			t.Error("nobody had a false blob: the test shows nothing")
		}
		c.StartScheduler() // those who gave false pieces are shunned: enough others are left
		before := c.Origin.Bytes()
		next := c.Origin.Add(content(11, size))
		insist(t, c.Nodes[1:], next, size, nil)
		atMost(t, "copies of the next image, with a scheduler", float64(c.Origin.Bytes()-before)/size, 1.05)
	})
}

// A client of the node that reads falsely comes again at once, while the node still
// shows what it read itself: its transfer must not end well when others have the
// blob right, as it has been given false bytes. It gets the blob in the end, or is
// told before the first byte that it should go to the origin.
func TestWhoReadFalselyGivesNobodyAFalseEnd(t *testing.T) {
	const size = 16 * mib
	for seed := range uint64(6) {
		synctest.Test(t, func(t *testing.T) {
			c := lab(t, 5, func(cfg *peertest.Config) { cfg.Seed = seed })
			d, bad := c.Origin.Add(content(10, size)), c.Nodes[0]
			ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
			defer cancel()
			var wg sync.WaitGroup
			wg.Go(func() { insist(t, c.Nodes[1:], d, size, nil) })
			ref := bad.Ref(d, size)
			ref.Source = liar{ref.Source}
			for tries := 1; ; tries++ {
				content, err := bad.Peer.Open(ctx, ref)
				if err != nil && ctx.Err() == nil {
					t.Logf("told at try %d: %v", tries, err)
					break
				}
				if err != nil {
					t.Errorf("after %d tries: %v", tries, err)
					break
				}
				sum := sha256.New()
				_, err = content.WriteRange(ctx, sum, 0, size)
				_ = content.Close()
				if err != nil {
					continue
				}
				if got := piece.Digest(sum.Sum(nil)); got != d {
					t.Errorf("try %d ended well with %s", tries, got.Short())
				}
				t.Logf("right at try %d", tries)
				break
			}
			wg.Wait()
		})
	}
}

// The swarm moves to another scheduler while the false pieces spread. Nodes tell that
// one what they have read themselves, so that whose they were is found there.
func TestAFalseReadIsFoundByTheNextScheduler(t *testing.T) {
	const size = 32 * mib
	for seed := range uint64(3) {
		synctest.Test(t, func(t *testing.T) {
			c := lab(t, 8, func(cfg *peertest.Config) { cfg.Seed = seed })
			d := c.Origin.Add(content(10, size))
			time.AfterFunc(2500*time.Millisecond, func() {
				c.StopScheduler()
				c.StartScheduler()
			})
			took, failed := insist(t, c.Nodes, d, size, map[*peertest.Node]bool{c.Nodes[0]: true})
			t.Logf("took %v, %.2f copies, %d pulls failed", took, copies(c, size), failed)
			atMost(t, "copies from the origin", copies(c, size), 4)
			time.Sleep(time.Minute)
			synctest.Wait()
			if diff := cmp.Diff([]scheduler.PeerID{c.Nodes[0].ID}, c.Expelled()); diff != "" {
				t.Errorf("put out (-want +got):\n%s", diff)
			}
		})
	}
}
