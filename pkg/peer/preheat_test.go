package peer_test

import (
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

// fetchAll brings a blob to all nodes at once, as a preheat does.
func fetchAll(t *testing.T, nodes []*peertest.Node, d piece.Digest, size int64) {
	t.Helper()
	ended := make(chan error, len(nodes))
	for _, n := range nodes {
		go func() { ended <- n.Peer.Fetch(t.Context(), n.Ref(d, size)) }()
	}
	for range nodes {
		if err := <-ended; err != nil {
			t.Error(err)
		}
	}
}

// What all nodes fetch for nobody is read once, and served from the store then.
func TestFetchTakesEachByteOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 16, nil)
		const size = 20 * mib
		d := c.Origin.Add(content(1, size))
		fetchAll(t, c.Nodes, d, size)
		atMost(t, "origin copies", copies(c, size), 1.05)
		before := c.Origin.Bytes()
		pullAll(t, c.Nodes, d, size)
		equal(t, "bytes from the origin afterwards", c.Origin.Bytes()-before, 0)
		for _, n := range c.Nodes {
			equal(t, "bytes served from the store", n.Peer.Stats().ServedStore, size)
			equal(t, "bytes here", n.Peer.Fetched(n.Ref(d, size)), size)
			if err := n.Peer.Fetch(t.Context(), n.Ref(d, size)); err != nil {
				t.Errorf("once more: %v", err)
			}
		}
	})
}

// While a reader pulls one blob, another one that is fetched for nobody waits;
// once the reader is through, it goes on.
func TestFetchGivesWayToReaders(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 2, nil)
		const size = 40 * mib
		ds := layers(t, c, 2, size, c.Nodes[0])
		n := c.Nodes[1]
		n.SetRate(100*mbit, 100*mbit)
		alone := pull(t, c.Nodes[1:], c.Origin.Add(content(7, 8*mib)), 8*mib) * (size / (8 * mib))
		fetched := make(chan error, 1)
		go func() { fetched <- n.Peer.Fetch(t.Context(), n.Ref(ds[1], size)) }()
		time.Sleep(100 * time.Millisecond)
		beside := pull(t, c.Nodes[1:], ds[0], size)
		share := n.Peer.Fetched(n.Ref(ds[1], size))
		atMost(t, "time of the reader, as a multiple of its time alone", float64(beside)/float64(alone), 1.2)
		atMost(t, "bytes that were fetched for nobody meanwhile", share, size/4)
		if err := <-fetched; err != nil {
			t.Error(err)
		}
	})
}

// A reader of what is fetched for nobody makes it a download like any other, and
// who fetches gives up alone.
func TestAReaderOfWhatIsFetched(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		const size = 20 * mib
		d := c.Origin.Add(content(1, size))
		n := c.Nodes[0]
		ctx, cancel := context.WithCancel(t.Context())
		fetched := make(chan error, 1)
		go func() { fetched <- n.Peer.Fetch(ctx, n.Ref(d, size)) }()
		time.Sleep(100 * time.Millisecond)
		pulled := make(chan error, 1)
		go func() {
			got, err := n.Pull(t.Context(), n.Ref(d, size))
			if err == nil && got != d {
				err = errors.New("other bytes")
			}
			pulled <- err
		}()
		time.Sleep(100 * time.Millisecond)
		cancel()
		if err := <-fetched; !errors.Is(err, context.Canceled) {
			t.Errorf("given up: %v", err)
		}
		if err := <-pulled; err != nil {
			t.Error(err)
		}
		synctest.Wait() // a reader has all before the download counts itself
		equal(t, "completed", n.Peer.Stats().Completed, 1)
	})
}

// What cannot be had fails, and says why.
func TestFetchFails(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, func(cfg *peertest.Config) { cfg.NewStore = func() peer.Store { return storetest.NewMemory(mib) } })
		const size = 20 * mib
		n := c.Nodes[0]
		if err := n.Peer.Fetch(t.Context(), n.Ref(c.Origin.Add(content(1, size)), size)); !errors.Is(err, peer.ErrNoSpace) {
			t.Errorf("without room: %v", err)
		}
		refused, ok := errors.AsType[*peer.OriginError](n.Peer.Fetch(t.Context(), n.Ref(piece.Sum([]byte("nobody has it")), 1000)))
		if !ok || refused.Status != 404 {
			t.Errorf("of what is not there: %v", refused)
		}
	})
}

// The scheduler hears that nobody waits, and that somebody does.
func TestTheSchedulerHearsWhoWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := lab(t, 1, nil)
		const size = 20 * mib
		d := c.Origin.Add(content(1, size))
		n := c.Nodes[0]
		said := &listener{}
		n.Peer.Attached(said)
		fetched := make(chan error, 1)
		go func() { fetched <- n.Peer.Fetch(t.Context(), n.Ref(d, size)) }()
		time.Sleep(50 * time.Millisecond)
		if last, ok := said.last(d); !ok || !last.Patient {
			t.Errorf("while nobody waits: %v %+v", ok, last)
		}
		pulled := make(chan error, 1)
		go func() {
			_, err := n.Pull(t.Context(), n.Ref(d, size))
			pulled <- err
		}()
		time.Sleep(50 * time.Millisecond)
		if last, ok := said.last(d); !ok || last.Patient {
			t.Errorf("while somebody does: %v %+v", ok, last)
		}
		if err := errors.Join(<-pulled, <-fetched); err != nil {
			t.Error(err)
		}
	})
}

// listener is a scheduler that grants nothing and remembers who joined.
type listener struct {
	mu    sync.Mutex
	joins []scheduler.Membership
}

func (l *listener) Send(e scheduler.Event) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if j, ok := e.(scheduler.Join); ok {
		l.joins = append(l.joins, j.Blobs...)
	}
}

// last is the last join for a blob.
func (l *listener) last(d piece.Digest) (m scheduler.Membership, ok bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, j := range l.joins {
		if j.Digest == d {
			m, ok = j, true
		}
	}
	return m, ok
}
