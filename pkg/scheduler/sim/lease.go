package sim

import (
	"slices"

	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// lease is one read from the origin; with id 0 on the peer's own account.
type lease struct {
	d      *download
	id     scheduler.LeaseID
	pieces piece.Range
	next   int   // the piece that is arriving
	have   int64 // of its bytes
	bytes  int64
	began  int64 // when that piece began
	flow   flow
	ended  bool
}

func (d *download) granted(g scheduler.Lease) {
	run := g.Pieces
	if g.Whole {
		run = piece.Range{First: 0, End: d.layout.Count()}
	}
	d.startLease(g.ID, run)
}

func (d *download) startLease(id scheduler.LeaseID, run piece.Range) {
	w := d.n.w
	l := &lease{d: d, id: id, pieces: run, next: run.First, began: w.now}
	d.leases = append(d.leases, l)
	for i := run.First; i < run.End; i++ {
		d.picker.Need.Clear(i)
	}
	_, n := d.layout.Span(run)
	l.flow = flow{
		from: &w.origin, down: &d.n.down, left: n, sink: l, cap: w.cfg.PerConnection / 1e9,
		chunk: max(d.layout.PieceSize()/chunksPerPiece, minChunk),
	}
	w.after(2*w.cfg.ToOrigin, l, 0)
}

// fire: the first byte is on its way.
func (l *lease) fire(uint8) {
	if !l.ended && l.d.n.alive {
		l.flow.start()
	}
}

// arrived implements sink.
func (l *lease) arrived(n, left int64) {
	d, w := l.d, l.d.n.w
	l.bytes += n
	l.have += n
	d.moved = w.now
	w.stats.originBytes += n
	for l.next < l.pieces.End {
		_, length := d.layout.Bounds(l.next)
		if l.have < length {
			break
		}
		l.have -= length
		if d.got(l.next) {
			d.n.pace.Observe(length, d.since(l.began))
		} else {
			w.stats.wasted += length
		}
		l.began = w.now
		l.next++
	}
	if left == 0 {
		l.end(scheduler.Done)
	}
	if d.have.Full() {
		d.finish()
	}
}

// end takes the lease off and says so.
func (l *lease) end(o scheduler.Outcome) {
	if l.ended {
		return
	}
	l.ended, l.flow.stopped = true, true
	d := l.d
	d.leases = slices.DeleteFunc(d.leases, func(x *lease) bool { return x == l })
	for i := l.pieces.First; i < l.pieces.End; i++ {
		d.miss(i)
	}
	if l.id != 0 {
		d.n.w.brain.tell(scheduler.LeaseEnd{Peer: d.n.peer.ID, Digest: d.digest(), Lease: l.id, Outcome: o})
	}
}

func (d *download) revoked(id scheduler.LeaseID) {
	for _, l := range d.leases {
		if l.id == id && id != 0 {
			l.id = 0 // the scheduler knows
			l.end(scheduler.Failed)
			d.startFetches()
			return
		}
	}
}

// selfRead takes the first missing piece from the origin.
func (d *download) selfRead() {
	for i := range d.picker.Need.All() {
		d.n.w.stats.selfReads++
		d.startLease(0, piece.Range{First: i, End: i + 1})
		return
	}
}
