package sim

import (
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// As in pkg/peer: how often a download looks at its deadlines, when it says
// that it gets nothing, and when it takes a piece from the origin.
const (
	tickEvery  = 50 * time.Millisecond
	askAfter   = 500 * time.Millisecond
	takeAfter  = 1500 * time.Millisecond
	takeJitter = 150 * time.Millisecond
	takeAnyway = 5 * time.Second
	maxWait    = 30 * time.Second
)

// What happens to a download.
const (
	downloadTick uint8 = iota
	downloadFlush
)

// download is one layer's arrival at one node: pkg/peer's download with a
// virtual clock.
type download struct {
	n       *node
	layer   int
	layout  piece.Layout
	read    bool // the client has asked for it
	done    bool
	have    piece.Bitfield
	picker  *choice.Picker
	fetches []*fetch
	leases  []*lease
	edges   []*edge

	fresh    []int32 // not announced yet
	lastHave int64
	flushing bool

	moved    int64 // when a byte last came
	heardOf  int64 // when a neighbour last had something new, or was busy
	asked    int64
	patience time.Duration
	// waitUntil is when the origin may be turned to; the scheduler said so.
	waitUntil int64
}

func newDownload(n *node, k int) *download {
	layout := n.w.layers[k].layout
	d := &download{
		n: n, layer: k, layout: layout,
		have:   piece.NewBitfield(layout.Count()),
		picker: choice.NewPicker(n.w.rng, layout.Count()),
		moved:  n.w.now, heardOf: n.w.now, lastHave: -int64(time.Hour),
	}
	d.drawPatience()
	n.w.after(tickEvery, d, downloadTick)
	return d
}

func (d *download) fire(kind uint8) {
	switch {
	case d.done || !d.n.alive:
	case kind == downloadTick:
		d.tick()
	case kind == downloadFlush:
		d.flushing = false
		d.flush()
	}
}

func (d *download) digest() piece.Digest { return d.n.w.layers[d.layer].digest }

func (d *download) drawPatience() {
	span := time.Duration(len(d.edges)) * takeJitter
	d.patience = takeAfter + time.Duration(d.n.w.rng.Int64N(int64(span)+1))
}

func (d *download) membership() scheduler.Membership {
	return scheduler.Membership{Digest: d.digest(), Size: d.layout.Size(), Have: d.have.Clone(), Origin: "origin"}
}

func (d *download) progress() scheduler.Progress {
	p := scheduler.Progress{Digest: d.digest(), Size: d.layout.Size(), Have: d.have.Clone()}
	for _, l := range d.leases {
		if l.id != 0 {
			p.Leases = append(p.Leases, scheduler.LeaseBytes{ID: l.id, Bytes: l.bytes})
		}
	}
	for _, e := range d.edges {
		p.Rates = append(p.Rates, scheduler.NeighbourBytes{Peer: e.other.peer.ID, Bytes: e.delivered})
		e.delivered = 0
	}
	return p
}

// pressing reports whether the scheduler waits for news of a download, if there is one.
func (d *download) pressing() bool {
	if d == nil || d.done {
		return false
	}
	return d.asked > 0 && d.since(d.asked) <= 2*askAfter || slices.ContainsFunc(d.leases, func(l *lease) bool { return l.id != 0 })
}

// tick looks at everything that time alone changes.
func (d *download) tick() {
	d.n.w.after(tickEvery, d, downloadTick)
	d.tickFetches()
	d.tickStall()
	d.startFetches()
}

// tickStall looks whether this download needs the origin on its own account.
func (d *download) tickStall() {
	now := d.n.w.now
	if len(d.leases) > 0 {
		return
	}
	still := time.Duration(now - d.moved)
	if still > askAfter && time.Duration(now-d.asked) > askAfter {
		d.asked = now
		p := d.progress()
		p.Stalled = true
		d.n.w.brain.tell(scheduler.Summary{Peer: d.n.peer.ID, Blobs: []scheduler.Progress{p}})
	}
	patience := d.patience
	if time.Duration(now-d.heardOf) < takeAfter {
		patience += takeAnyway - takeAfter
	}
	if still > patience && (now > d.waitUntil || still > maxWait) {
		d.selfRead()
		d.drawPatience()
	}
}

// front is the first piece that is missing: the client has all before it.
func (d *download) front() int {
	for i := range d.picker.Rarity {
		if !d.have.Has(i) {
			return i
		}
	}
	return 0
}

// got marks a piece and announces it.
func (d *download) got(i int) bool {
	if !d.have.Set(i) {
		return false
	}
	d.picker.Need.Clear(i)
	d.moved = d.n.w.now
	d.fresh = append(d.fresh, int32(i))
	d.flush()
	return true
}

// finish ends the download once all is there.
func (d *download) finish() {
	if d.done || !d.have.Full() {
		return
	}
	d.lastHave = -int64(time.Hour)
	d.flush()
	d.done = true
	for _, f := range slices.Clone(d.fetches) {
		f.end()
	}
	for _, l := range slices.Clone(d.leases) {
		l.end(scheduler.Done)
	}
	d.n.completed(d)
	d.edges, d.picker, d.fresh = nil, nil, nil
}

// died ends all that the node's death ends here.
func (d *download) died() {
	for _, f := range slices.Clone(d.fetches) {
		f.end()
	}
	for _, l := range d.leases {
		l.flow.stopped = true
	}
	d.done = true
}

// miss puts piece i on the picker's list, unless it is here or on its way.
func (d *download) miss(i int) {
	if d.have.Has(i) ||
		slices.ContainsFunc(d.fetches, func(f *fetch) bool { return f.piece == i }) ||
		slices.ContainsFunc(d.leases, func(l *lease) bool { return l.pieces.Contains(i) }) {
		return
	}
	d.picker.Need.Set(i)
}

// since is how long ago a time was.
func (d *download) since(at int64) time.Duration { return time.Duration(d.n.w.now - at) }
