package peer_test

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A manifest that lies about a blob's size spoils pulls by it, and no others of
// the same blob on the same node: neither those that come while a download of
// the false size runs, nor the one that runs when it comes. The origin, which is asked,
// contradicts the first: a download of the right size takes its place, which is shared.
func TestAFalseSizeHurtsWhoBelievesIt(t *testing.T) {
	for name, liarFirst := range map[string]bool{"the liar comes first": true, "the liar comes later": false} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := lab(t, 2, nil)
				c.Origin.Rate = 20 * mbit
				blob := content(40, 16*mib)
				d, n, size := c.Origin.Add(blob), c.Nodes[0], int64(len(blob))
				ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
				defer cancel()
				lie := func() {
					got, err := n.Pull(ctx, n.Ref(d, size+5*mib))
					if err == nil || !strings.Contains(err.Error(), "22020096") {
						t.Errorf("pulled %s with a false size: %v", got.Short(), err)
					}
				}
				honest := func() {
					if got, err := n.Pull(ctx, n.Ref(d, size)); err != nil || got != d {
						t.Errorf("pulled %s with the right size: %v", got.Short(), err)
					}
				}
				first, then := lie, honest
				if !liarFirst {
					first, then = honest, lie
				}
				var wg sync.WaitGroup
				wg.Go(first)
				time.Sleep(time.Millisecond) // it has begun
				for range 4 {
					wg.Go(then)
				}
				wg.Wait()
				pull(t, c.Nodes[1:], d, size)
				atMost(t, "copies from the origin", copies(c, size), 1.1)
			})
		})
	}
}

// Who has no other way to the blob is told that sizes differ, at once.
func TestAnotherSizeWithoutAnOrigin(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		c.Origin.Hang(true)
		blob := content(41, 2*mib)
		d, n, size := c.Origin.Add(blob), c.Nodes[0], int64(len(blob))
		for _, known := range []int64{size, scheduler.SizeUnknown} {
			first, err := n.Peer.Open(t.Context(), n.Ref(d, known))
			if err != nil {
				t.Fatal(err)
			}
			defer first.Close()
			_, err = n.Peer.Open(t.Context(), peer.Ref{Digest: d, Size: size + 1})
			if err == nil || !strings.Contains(err.Error(), "another size: 2097152 bytes, not 2097153") {
				t.Errorf("%v", err)
			}
		}
	})
}

// A peer of the swarm claims a false size first, and the next ones know none. Their
// origin contradicts it: the second try goes by the origin's word, and once two say
// so the swarm does, too.
func TestAFalseSizeOfAPeer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 5, nil)
		blob := content(42, 4*mib)
		d, size := c.Origin.Add(blob), int64(len(blob))
		liar, err := c.Nodes[0].Peer.Open(t.Context(), peer.Ref{Digest: d, Size: size + 5*mib})
		if err != nil {
			t.Fatal(err)
		}
		defer liar.Close()
		time.Sleep(time.Second)
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		for i, n := range c.Nodes[1:] {
			most := 0 // failures
			if i < 2 {
				most = 1
			}
			for fails := 0; ; fails++ {
				got, err := n.Pull(ctx, n.Ref(d, scheduler.SizeUnknown))
				if err == nil && got == d {
					break
				}
				if err == nil || fails >= most {
					t.Fatalf("%s, try %d: got %s, %v", n.ID, fails+1, got.Short(), err)
				}
				t.Logf("%s: %v", n.ID, err)
			}
			synctest.Wait()
		}
	})
}
