package peer

import (
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/pkg/choice"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// A download that runs ahead has no reader yet: its client reads a layer of an
// image and will likely ask for this one next. It is in the swarm, takes what
// neighbours have while the line is idle, and passes it on. It names no origin
// to the scheduler, holds no lease and never reads from the origin, so that a
// guess that was wrong costs no registry anything. The first reader makes it
// what it would be without: an ordinary download, or a partial one.

const (
	// aheadDownloads is how many run ahead on a node: two rounds of the three
	// layers that containerd asks for at once.
	aheadDownloads = 6
	// aheadBytes bounds them together, by the sizes of their blobs, for the
	// store keeps room for all of each: a tenth of its usual capacity.
	aheadBytes = 2 << 30
	// headStart is how long it only joins its swarm: by then what the client
	// reads has been introduced to neighbours and fills the line, if it can.
	headStart = 300 * time.Millisecond
	// aheadLinger is how long one goes on while its client reads nothing of the
	// image: between two layers it may unpack one.
	aheadLinger = 30 * time.Second
)

// ahead is what a download knows of its running ahead.
type ahead struct {
	on    atomic.Bool  // nobody has asked for the blob so far
	while piece.Digest // what the client reads that is expected to ask for it
}

// Prefetch begins to fetch ahead what a client that reads a blob of an image
// will likely ask for next, the first of next first. What is held or under way
// is left alone, and so is what does not fit the limits. It grants nothing: who
// asks for any of it must have a right of their own.
func (p *Peer) Prefetch(reading piece.Digest, next []Ref) {
	for _, ref := range next {
		if ref.Size == scheduler.SizeUnknown || p.expect(ref.Digest, reading) || p.cfg.Store.Has(ref.Digest) {
			continue
		}
		if !p.startAhead(ref, reading) {
			return
		}
	}
}

// expect reports whether a download of dg runs. One ahead is told that its
// client is still there.
func (p *Peer) expect(dg, reading piece.Digest) bool {
	d := p.running(dg)
	return d != nil && d.post(func() { d.ahead.while, d.idleSince = reading, time.Now() })
}

// startAhead starts a download without a reader, unless there are too many.
func (p *Peer) startAhead(ref Ref, reading piece.Digest) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed || p.sched == nil {
		return false // nobody would say who has it
	}
	running, bytes := 0, ref.Size
	for _, d := range p.downloads {
		if d.ahead.on.Load() {
			running, bytes = running+1, bytes+d.ref.Size
		}
	}
	if running >= aheadDownloads || bytes > aheadBytes {
		return false
	}
	if p.downloads[ref.Digest] == nil {
		d := newDownload(p, ref)
		d.ahead.while = reading
		d.ahead.on.Store(true)
		p.start(d)
	}
	return true
}

// expected reports whether the client that is to ask for this reads a blob of
// the image now.
func (d *download) expected() bool {
	if !d.ahead.on.Load() {
		return false
	}
	other := d.p.running(d.ahead.while)
	if other == nil {
		return false
	}
	_, readers := other.board.slowest()
	return readers > 0
}

// undemanding reports whether nobody waits for what it misses.
func (d *download) undemanding() bool { return d.resting() || d.ahead.on.Load() }

// mayFetchAhead reports whether one more piece may be asked for now, ahead.
func (d *download) mayFetchAhead() bool {
	if time.Since(d.started) < headStart {
		return false // the next tick looks again
	}
	readers := d.p.fetching.Load() + d.p.stats.leases.Load() // only readers have leases
	return choice.MayFetchAhead(int(d.p.fetchingAhead.Load()), int(readers))
}

// takeOver makes a download that runs ahead what its first readers need: all of
// the blob, or parts.
func (d *download) takeOver(all bool, now time.Time) {
	d.log.Debug("a reader came for what was fetched ahead", "pieces", d.have.Count())
	d.ahead.on.Store(false)
	d.p.stats.aheadTaken.Add(1)
	d.partial.on, d.moved = !all, now
	if all && (!d.sizing || d.ingest != nil) { // else opened joins
		d.join()
	}
}
