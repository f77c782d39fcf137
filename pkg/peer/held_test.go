package peer_test

import (
	"bytes"
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/p2pd/p2pd/internal/store/storetest"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/peer/peertest"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// told is a scheduler that remembers what it was told of blobs.
type told struct {
	joined map[piece.Digest]bool // whole or not, as it was said last
	left   []piece.Digest
}

func (s *told) Send(e scheduler.Event) {
	switch e := e.(type) {
	case scheduler.Join:
		for _, m := range e.Blobs {
			s.joined[m.Digest] = m.Have.Full()
		}
	case scheduler.Leave:
		s.left = append(s.left, e.Digest)
	}
}

// keep puts a blob of one piece into a store.
func keep(t *testing.T, s peer.Store, p []byte) piece.Digest {
	t.Helper()
	d := piece.Sum(p)
	l, err := piece.NewLayout(int64(len(p)))
	if err != nil {
		t.Fatal(err)
	}
	in, err := s.Ingest(t.Context(), d, l)
	if err != nil {
		t.Fatal(err)
	}
	defer in.Close()
	if _, err := in.Receive(t.Context(), 0, bytes.NewReader(p), d); err != nil {
		t.Fatal(err)
	}
	if err := in.Commit(t.Context()); err != nil {
		t.Fatal(err)
	}
	return d
}

// What the store came to hold by other ways is announced at once, and taken
// back only when no way is left. Without a scheduler there is nobody to tell.
func TestOfferAndWithdraw(t *testing.T) {
	store := storetest.NewMemory(0)
	p := peer.New(peer.Config{Self: scheduler.Peer{ID: "me"}, Store: store})
	s := &told{joined: make(map[piece.Digest]bool)}
	gone := piece.Sum([]byte("gone"))
	p.Offer(gone, 4) // nobody is there
	p.Attached(s)
	kept := keep(t, store, []byte("kept"))
	p.Offer(kept, 4)
	p.Offer(gone, -1) // no size that a blob can have
	p.Withdraw(kept)
	p.Withdraw(gone)
	if diff := cmp.Diff(map[piece.Digest]bool{kept: true}, s.joined); diff != "" {
		t.Errorf("announced as whole (-want +got):\n%s", diff)
	}
	if diff := cmp.Diff([]piece.Digest{gone}, s.left); diff != "" {
		t.Errorf("taken back (-want +got):\n%s", diff)
	}
}

// A full store is announced little by little, what was used last first, and
// without what has gone meanwhile. Swarms that move are announced where they
// went, and no others.
func TestAFullStoreIsAnnouncedSlowly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const blobs = 200
		store := storetest.NewMemory(0)
		var all []piece.Digest
		for i := range blobs {
			all = append(all, keep(t, store, []byte{byte(i), byte(i >> 8)}))
		}
		p := peer.New(peer.Config{Self: scheduler.Peer{ID: "me"}, Store: store})
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error, 1)
		go func() { done <- p.Run(ctx) }()
		s := &told{joined: make(map[piece.Digest]bool)}
		p.Attached(s)
		first := len(s.joined)
		if first == 0 || first == blobs || !s.joined[all[blobs-1]] || s.joined[all[0]] {
			t.Errorf("%d of %d are announced at once; the last one used: %v, the first: %v", first, blobs, s.joined[all[blobs-1]], s.joined[all[0]])
		}
		if err := store.Evict(all[0]); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Minute)
		synctest.Wait()
		if len(s.joined) != blobs-1 || s.joined[all[0]] {
			t.Errorf("%d are announced after a minute, want the %d that are held", len(s.joined), blobs-1)
		}

		clear(s.joined)
		p.Moved(func(d piece.Digest) bool { return d == all[7] })
		if diff := cmp.Diff(map[piece.Digest]bool{all[7]: true}, s.joined); diff != "" {
			t.Errorf("announced when one swarm moved (-want +got):\n%s", diff)
		}
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
}

// What a full store has given up for other blobs is as it was before anybody
// had it: who asks for it then waits no longer than the first who asked.
func TestWhatAgedOutIsAsGoodAsNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var stores []*storetest.Memory
		c := lab(t, 4, func(cfg *peertest.Config) {
			cfg.NewStore = func() peer.Store {
				stores = append(stores, storetest.NewMemory(20*mib))
				return stores[len(stores)-1]
			}
		})
		for i, s := range stores {
			s.Gone = c.Nodes[i].Peer.Withdraw
		}
		first, other := content(1, 16*mib), content(2, 16*mib)
		d, o := c.Origin.Add(first), c.Origin.Add(other)
		cold := pullAll(t, c.Nodes[3:], d, int64(len(first)))
		pullAll(t, c.Nodes[:3], d, int64(len(first)))
		pullAll(t, c.Nodes, o, int64(len(other)))
		for i, s := range stores {
			if s.Has(d) {
				t.Fatalf("node %d has not evicted the first blob", i)
			}
		}
		time.Sleep(time.Second) // the schedulers' streams are idle
		again := pullAll(t, c.Nodes[:1], d, int64(len(first)))
		atMost(t, "time", again, cold+cold/50)
	})
}
