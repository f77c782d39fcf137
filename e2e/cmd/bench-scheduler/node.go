package main

import (
	"context"
	"fmt"
	"math"
	"math/rand/v2"
	"sync"
	"time"

	"github.com/p2pd/p2pd/e2e/lab"
	"github.com/p2pd/p2pd/internal/rpc"
	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/peer"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

const (
	// atATime is how many layers a client takes at a time.
	atATime = 3
	// perSecond is how many pieces of each come in a second.
	perSecond = 4
	// neighbourBytes is what each neighbour gives in one.
	neighbourBytes = 1 << 20
)

// layer is one of the image's.
type layer struct {
	digest piece.Digest
	layout piece.Layout
}

// node is a peer as the scheduler sees one: it speaks the protocol by the very
// client that p2pd has, and only pretends to move pieces.
type node struct {
	self     scheduler.Peer
	member   *rpc.Membership
	image    []layer
	attached chan struct{}
	answered chan struct{}

	mu     sync.Mutex // guards what follows
	out    peer.Scheduler
	have   []piece.Bitfield
	met    map[piece.Digest][]scheduler.PeerID
	leases []scheduler.Grant
	asked  time.Time
	waited time.Duration
	again  int           // streams after the first
	every  time.Duration // between reports, as the scheduler asked
}

func newNode(in *lab.Lab, i int, image []layer) (*node, error) {
	id, member, err := newMember(in)
	if err != nil {
		return nil, err
	}
	host := fmt.Sprintf("10.%d.%d.%d", i>>16&255, i>>8&255, i&255)
	n := &node{
		self: scheduler.Peer{
			ID:    id,
			Addrs: []string{"/ip4/" + host + "/tcp/7301"}, Bulk: host + ":7302",
			Zone: fmt.Sprint("z", i%3), Rack: fmt.Sprint("r", i/20),
		},
		member: member,
		image:  image, attached: make(chan struct{}), answered: make(chan struct{}),
		met: make(map[piece.Digest][]scheduler.PeerID),
	}
	for _, l := range image {
		n.have = append(n.have, piece.NewBitfield(l.layout.Count()))
	}
	return n, nil
}

// stream keeps the stream up until ctx ends.
func (n *node) stream(ctx context.Context, address string) error {
	return rpc.NewClient(rpc.ClientConfig{Address: address, Self: n.self, Handler: n, Membership: n.member}).Run(ctx)
}

// Attached implements rpc.Handler.
func (n *node) Attached(s peer.Scheduler) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.out == nil {
		close(n.attached)
	} else {
		n.again++
	}
	n.out = s
	if !n.asked.IsZero() { // the scheduler has forgotten it
		n.out.Send(n.standing())
	}
}

// Detached implements rpc.Handler.
func (n *node) Detached() {}

// Decide implements rpc.Handler.
func (n *node) Decide(d scheduler.Decision) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if n.waited == 0 && !n.asked.IsZero() {
		n.waited = time.Since(n.asked)
		close(n.answered)
	}
	switch d := d.(type) {
	case scheduler.Introduce:
		for _, p := range d.Peers {
			n.met[d.Digest] = append(n.met[d.Digest], p.ID)
		}
	case scheduler.Grant:
		n.leases = append(n.leases, d)
	case scheduler.SummaryInterval:
		n.every = d.Every
	}
}

// await waits for one of the node's channels to be closed.
func (n *node) await(ctx context.Context, c <-chan struct{}, what string) error {
	select {
	case <-c:
		return nil
	case <-time.After(answerWait):
		return fmt.Errorf("%s waited %v for %s", n.self.ID, answerWait, what)
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// join asks for the whole image in one message.
func (n *node) join() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.asked = time.Now()
	n.out.Send(n.standing())
}

// standing is the join that tells all that the node has. The caller holds mu.
func (n *node) standing() scheduler.Join {
	j := scheduler.Join{Peer: n.self.ID}
	for k, l := range n.image {
		j.Blobs = append(j.Blobs, scheduler.Membership{
			Digest: l.digest, Size: l.layout.Size(), Have: n.have[k].Clone(), Origin: "registry.example",
		})
	}
	return j
}

// reattached is how often the stream was lost.
func (n *node) reattached() int {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.again
}

// report says again and again what has come since, as often as the scheduler asks,
// until all has.
func (n *node) report(ctx context.Context) error {
	began, reports := time.Now(), choice.Interval{Least: scheduler.SummaryEvery}
	reports.Begin(began, rand.Float64())
	wait := scheduler.SummaryEvery - rand.N(scheduler.SummaryEvery/4)
	for pause(ctx, wait) == nil {
		wait = scheduler.SummaryEvery
		now := time.Now()
		if !n.due(&reports, now) {
			continue
		}
		if !n.advance(now.Sub(began)) {
			return nil
		}
		began = now
	}
	return nil
}

// due reports whether to report now: as p2pd does, not before the scheduler has
// answered, and in any case if there are leases to tell of.
func (n *node) due(reports *choice.Interval, now time.Time) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.waited > 0 && (reports.Over(now, n.every) || len(n.leases) > 0)
}

// advance pretends that pieces have come for so long, and tells; false once all is
// there.
func (n *node) advance(since time.Duration) bool {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, g := range n.leases {
		n.out.Send(scheduler.LeaseEnd{Peer: n.self.ID, Digest: g.Digest, Lease: g.Lease.ID, Outcome: scheduler.Done})
	}
	s := scheduler.Summary{Peer: n.self.ID}
	for k := 0; k < len(n.image) && len(s.Blobs) < atATime; k++ {
		if n.have[k].Full() {
			continue
		}
		n.fill(k, int(math.Ceil(perSecond*since.Seconds())))
		p := scheduler.Progress{Digest: n.image[k].digest, Size: n.image[k].layout.Size(), Have: n.have[k].Clone()}
		for _, id := range n.met[p.Digest] {
			p.Rates = append(p.Rates, scheduler.NeighbourBytes{Peer: id, Bytes: int64(neighbourBytes * since.Seconds())})
		}
		s.Blobs = append(s.Blobs, p)
	}
	n.leases = nil
	if len(s.Blobs) == 0 {
		return false
	}
	n.out.Send(s)
	return true
}

// fill adds some pieces to layer k, at random, and those of its leases.
func (n *node) fill(k, pieces int) {
	have := &n.have[k]
	for _, g := range n.leases {
		if g.Digest == n.image[k].digest && !g.Lease.Whole {
			for i := g.Lease.Pieces.First; i < g.Lease.Pieces.End; i++ {
				have.Set(i)
			}
		}
	}
	for left := pieces; left > 0 && !have.Full(); {
		if have.Set(rand.IntN(have.Len())) {
			left--
		}
	}
}
