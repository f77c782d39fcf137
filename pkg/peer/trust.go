package peer

import (
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// What a peer believes after a false blob: every piece was what somebody claimed,
// and the whole is not what its digest says. Whoever read a piece from its origin
// may have read it wrong, and all others have passed that on in good faith. So
// nobody is accused before it is known which pieces were false, which only a whole
// blob shows: where another peer has it whole, what it claims is compared, and
// only what differs is fetched anew; else it is read from the origin again
// (docs/adr/0017).

// confidence is whom a download takes pieces of.
type confidence int

const (
	inAll    confidence = iota // in every neighbour
	inProven                   // in those that are known to have the whole blob
	inOrigin                   // in none
)

// maxRepairs is how often a blob that turned out false is tried again before its
// client is told so: with less confidence each time.
const maxRepairs = int(inOrigin)

// trust is a download's confidence, and what it has come to doubt.
type trust struct {
	in confidence
	// era grows when pieces are forgotten: what was under way before is void.
	era int
	// doubted are the pieces of the false blob. Until one is fetched or read
	// again its bytes stay in the store, out of sight.
	doubted map[int]doubt
	// compared is the neighbour that has the whole blob and was compared with.
	compared scheduler.PeerID
}

// doubt is what was claimed of a piece, and by whom; none: it was on the disk
// before, or read from the origin here.
type doubt struct {
	claim piece.Digest
	by    scheduler.PeerID
	own   bool // read from the origin here, in this life
}

// alone reports whether the download has to read all that it misses by itself.
func (d *download) alone() bool {
	return d.trust.in == inOrigin || d.trust.in == inProven && !d.schedulerUp
}

// trusts reports whether pieces may be had of a neighbour.
func (d *download) trusts(n *neighbour) bool {
	switch d.trust.in {
	case inAll:
		return true
	case inProven:
		return n.proven && n.has.Len() > 0 && n.has.Full()
	default:
		return false
	}
}

// distrust begins again with less confidence after a false blob.
func (d *download) distrust(err error) {
	d.p.stats.falseBlobs.Add(1)
	d.note(journal.False, "the pieces do not add up to the blob: %d are of neighbours, %d were on the disk", len(d.suppliers), d.resumed.Count())
	d.log.Warn("the pieces do not add up to the blob", "err", err, "fromPeers", len(d.suppliers))
	if d.ref.Source == nil { // others were wrong, and there is nobody else to ask
		d.fail(fmt.Errorf("%w: %w", errFalse, err))
		return
	}
	readAlone := d.trust.in == inProven && len(d.suppliers) == 0 // a third time would be the same
	if int(d.trust.in) >= maxRepairs || readAlone {
		d.giveUpFalse(err)
		return
	}
	d.committing = false
	d.stopAll()
	if d.trust.in++; len(d.suppliers) == 0 {
		d.trust.in = inOrigin // nobody else to ask: the origin, or this node, was wrong
	}
	d.trust.doubted = make(map[int]doubt)
	for i := range d.layout.Count() {
		by, given := d.suppliers[i]
		d.trust.doubted[i] = doubt{claim: d.ingest.Claim(i), by: by, own: !given && !d.resumed.Has(i)}
		if given || d.resumed.Has(i) || d.trust.in == inOrigin {
			d.hide(i)
		}
	}
	d.board.update(func() { d.board.generation++ })
	d.retract()
}

// errFalse is for a blob that is false as this node reads it.
var errFalse = errors.New("blob is false at its origin")

// giveUpFalse ends the download: the origin is wrong, or what this node reads of it.
// Nothing of it is kept, or the next client would be given it; and who asks soon is
// told so before its first byte, and gets the origin's own.
func (d *download) giveUpFalse(err error) {
	for i := range d.have.All() {
		if err := d.ingest.Forget(i); err != nil {
			d.log.Warn("forget piece", "piece", i, "err", err)
		}
	}
	d.p.broken.add(d.ref.Digest, errFalse, time.Now())
	d.p.tell(scheduler.Dispute{Peer: d.p.cfg.Self.ID, Digest: d.ref.Digest, Misread: true})
	d.fail(fmt.Errorf("%w: %w", errFalse, err))
}

// stopAll voids what is under way.
func (d *download) stopAll() {
	d.trust.era++
	for _, fs := range d.fetches {
		for _, f := range fs {
			f.stop()
		}
	}
	for l := range d.leases {
		l.stopped = true
		l.cancel()
		d.endLease(l.id, scheduler.Failed, 0)
	}
}

// hide takes piece i out of what this peer has. Readers miss it again.
func (d *download) hide(i int) {
	d.have.Clear(i)
	d.miss(i)
	d.readersChanged()
	d.board.update(func() { d.board.have.Clear(i) })
}

// retract tells the swarm what is left.
func (d *download) retract() {
	d.fresh = nil
	d.p.tell(scheduler.Dispute{Peer: d.p.cfg.Self.ID, Digest: d.ref.Digest})
	d.report(true)
	for _, n := range d.neighbours {
		d.offer(n, true)
		d.compare(n)
	}
}

// readHere notes that piece i is from the origin.
func (d *download) readHere(i int) {
	delete(d.suppliers, i)
	d.resumed.Clear(i)
}

// clearPiece makes room for piece i, if it is doubted, before it is fetched or read
// again; clearAll for all.
func (d *download) clearPiece(i int) {
	if _, doubted := d.trust.doubted[i]; !doubted || d.have.Has(i) {
		return
	}
	if err := d.ingest.Forget(i); err != nil {
		d.log.Warn("forget piece", "piece", i, "err", err)
	}
}

func (d *download) clearAll() {
	for i := range d.trust.doubted {
		d.clearPiece(i)
	}
}

// compare brings back what a neighbour that has the whole blob claims the same of,
// and hides what it claims otherwise.
func (d *download) compare(n *neighbour) {
	if d.trust.in != inProven || !n.open || !d.trusts(n) || d.neighbours[d.trust.compared] != nil {
		return
	}
	d.trust.compared = n.peer.ID
	now, same, wrong := time.Now(), int64(0), false
	for i := range d.layout.Count() {
		claim := d.ingest.Claim(i)
		switch {
		case claim == n.claims[i]:
			d.got(i, claim, &same, now)
		case d.have.Has(i):
			d.hide(i)
			wrong = true
		}
	}
	if wrong { // readers may have been given it since the blob was found false
		d.board.update(func() { d.board.generation++ })
	}
	d.note(journal.Repaired, "%s has the whole blob: %d bytes here are the same", n.peer.ID, same)
}

// settleDoubts is for when the blob is right at last: what was false shows now, also
// of what this peer read itself, and then it says so. Of the rest the scheduler knows who
// read it from the origin first, unless the swarm has come to it only since.
func (d *download) settleDoubts() {
	if d.trust.in == inAll {
		return
	}
	var wrong []int
	misread := false
	by := make(map[scheduler.PeerID]bool)
	for _, i := range slices.Sorted(maps.Keys(d.trust.doubted)) {
		old := d.trust.doubted[i]
		if old.claim == (piece.Digest{}) || old.claim == d.ingest.Claim(i) {
			continue
		}
		wrong = append(wrong, i)
		misread = misread || old.own
		if old.by != "" {
			by[old.by] = true
		}
	}
	d.note(journal.Repaired, "pieces %v were false; they came of %d neighbours", wrong, len(by))
	d.log.Warn("pieces were false", "pieces", len(wrong), "neighbours", len(by))
	if d.p.tell(scheduler.Dispute{Peer: d.p.cfg.Self.ID, Digest: d.ref.Digest, Settled: true, Pieces: wrong, Misread: misread}) {
		return
	}
	now := time.Now()
	for id := range by { // nobody knows whose fault it is: any of them is avoided
		d.p.bans.add(id, now)
	}
}
