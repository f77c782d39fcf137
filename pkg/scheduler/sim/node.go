package sim

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// summaryEvery is how often a node tells the scheduler of its downloads, unless it
// was asked for less. As with the real peer, the first time comes within that of
// their beginning.
const summaryEvery = scheduler.SummaryEvery

// What happens to a node.
const (
	nodeArrives uint8 = iota
	nodeDies
	nodeSummary
)

// node is one p2pd with its client.
type node struct {
	w          *world
	at         int32
	peer       scheduler.Peer
	zone, rack int
	wave       int
	arrives    int64
	ends       int64
	dies       time.Duration // 0: not at all
	alive      bool
	down       link
	out        sender
	slots      *choice.Slots[int32, wanted]
	queued     map[*choice.Waiter[int32, wanted]]*fetch
	pace       choice.Pace
	downloads  []*download // by layer; nil: not begun
	open       int         // layers that the client is reading
	through    int         // layers
	fetching   int
	summaries  choice.Interval
	every      time.Duration // between summaries, as the scheduler asked
}

// wanted names a piece of a layer.
type wanted struct{ layer, piece int32 }

func newNode(w *world, i int) *node {
	up, down := w.cfg.Up, w.cfg.Down
	if w.rng.Float64() < w.cfg.Stragglers {
		up, down = up*w.cfg.StragglerRate, down*w.cfg.StragglerRate
	}
	n := &node{
		w: w, at: int32(i), zone: i % len(w.zones), rack: i / len(w.zones) / w.cfg.RackSize,
		down:      link{rate: down / 1e9},
		out:       sender{w: w, up: link{rate: up / 1e9}},
		slots:     choice.NewSlots[int32, wanted](choice.DefaultSlots),
		queued:    make(map[*choice.Waiter[int32, wanted]]*fetch),
		downloads: make([]*download, len(w.layers)),
		summaries: choice.Interval{Least: summaryEvery},
	}
	n.peer.ID = scheduler.PeerID(fmt.Sprintf("n%05d", i))
	if w.cfg.Zones > 1 {
		n.peer.Zone = fmt.Sprintf("zone-%d", n.zone)
		n.peer.Rack = fmt.Sprintf("rack-%d", n.rack)
	}
	return n
}

func (n *node) fire(kind uint8) {
	switch {
	case kind == nodeArrives:
		n.arrive()
	case !n.alive:
	case kind == nodeDies:
		n.die()
	case kind == nodeSummary && n.through < len(n.downloads):
		n.summarise()
	}
}

// arrive starts p2pd and the client at once.
func (n *node) arrive() {
	n.alive = true
	n.summaries.Begin(n.w.clock(), n.w.rng.Float64())
	n.w.brain.tell(scheduler.PeerUp{Peer: n.peer})
	if n.w.cfg.Prefetch {
		join := scheduler.Join{Peer: n.peer.ID}
		for k := range n.downloads {
			join.Blobs = append(join.Blobs, n.begin(k).membership())
		}
		n.w.brain.tell(join)
	}
	n.read()
	n.w.after(summaryEvery-time.Duration(n.w.rng.Int64N(int64(summaryEvery/4))), n, nodeSummary)
}

// read has the client ask for as many layers as it takes at a time.
func (n *node) read() {
	for k, d := range n.downloads {
		if n.open >= n.w.cfg.Concurrency {
			return
		}
		switch {
		case d == nil:
			d = n.begin(k)
			n.w.brain.tell(scheduler.Join{Peer: n.peer.ID, Blobs: []scheduler.Membership{d.membership()}})
		case d.read:
			continue
		}
		d.read = true
		if !d.done {
			n.open++
		}
	}
}

func (n *node) begin(k int) *download {
	d := newDownload(n, k)
	n.downloads[k] = d
	return d
}

// completed takes a layer that is whole.
func (n *node) completed(d *download) {
	n.through++
	if d.read {
		n.open--
	}
	n.w.brain.tell(scheduler.Summary{Peer: n.peer.ID, Blobs: []scheduler.Progress{d.progress()}})
	if n.through == len(n.downloads) {
		n.ends = n.w.now
		n.w.gone(n)
		return
	}
	n.read()
	for _, o := range n.downloads {
		if o != nil {
			o.startFetches() // there is room for more now
		}
	}
}

// die ends everything at once; the neighbours see broken connections.
func (n *node) die() {
	through := n.through == len(n.downloads)
	n.alive = false
	n.w.brain.tell(scheduler.PeerDown{Peer: n.peer.ID})
	for _, d := range n.downloads {
		if d != nil {
			d.died()
		}
	}
	for _, o := range n.w.nodes {
		if o != n && o.alive {
			o.lost(n)
		}
	}
	if !through {
		n.w.gone(n)
	}
}

// lost ends what was under way from a peer that died.
func (n *node) lost(dead *node) {
	for _, d := range n.downloads {
		if d != nil && !d.done {
			d.part(dead)
		}
	}
}

func (n *node) summarise() {
	var blobs []scheduler.Progress
	if n.summaries.Over(n.w.clock(), n.every) || slices.ContainsFunc(n.downloads, (*download).pressing) {
		for _, d := range n.downloads {
			if d != nil && !d.done {
				blobs = append(blobs, d.progress())
			}
		}
	}
	if len(blobs) > 0 {
		n.w.brain.tell(scheduler.Summary{Peer: n.peer.ID, Blobs: blobs})
	}
	n.w.after(summaryEvery, n, nodeSummary)
}

// decided takes one decision of the scheduler.
func (n *node) decided(dec scheduler.Decision) {
	switch dec := dec.(type) {
	case scheduler.Introduce:
		if d := n.download(dec.Digest); d != nil {
			d.picker.Share = choice.Share(dec.Share)
			d.introduced(dec.Peers)
		}
	case scheduler.Part:
		if d := n.download(dec.Digest); d != nil {
			for _, id := range dec.Peers {
				d.part(n.w.byID[id])
			}
		}
	case scheduler.Grant:
		if d := n.download(dec.Digest); d != nil {
			d.granted(dec.Lease)
		} else {
			n.w.brain.tell(scheduler.LeaseEnd{Peer: n.peer.ID, Digest: dec.Digest, Lease: dec.Lease.ID, Outcome: scheduler.Failed})
		}
	case scheduler.Revoke:
		if d := n.download(dec.Digest); d != nil {
			d.revoked(dec.Lease)
		}
	case scheduler.SummaryInterval:
		n.every = dec.Every
	case scheduler.Wait:
		if d := n.download(dec.Digest); d != nil {
			d.waitUntil = n.w.now + int64(dec.For)
		}
	}
}

// download is the running one of a digest, or nil.
func (n *node) download(dg piece.Digest) *download {
	k := slices.IndexFunc(n.w.layers, func(l layer) bool { return l.digest == dg })
	if k < 0 || n.downloads[k] == nil || n.downloads[k].done {
		return nil
	}
	return n.downloads[k]
}
