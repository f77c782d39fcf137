package peer

import (
	"errors"
	"fmt"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// maxRepairs is how often a blob whose pieces do not add up is read again
// from the origin before its client is told so.
const maxRepairs = 1

// commit checks the whole blob and makes it durable, beside the loop. Readers
// get the last piece once the digest is right; they do not wait for the disk.
func (d *download) commit() {
	if d.committing {
		return
	}
	d.committing = true
	d.spawn(func() {
		err := d.ingest.Verify(d.ctx)
		if err == nil {
			d.board.update(func() { d.board.verified = true })
			err = d.ingest.Commit(d.ctx)
		}
		d.post(func() { d.committed(err) })
	})
}

// committed takes the end of commit.
func (d *download) committed(err error) {
	var mismatch *piece.MismatchError
	switch {
	case err == nil:
		d.finish()
	case errors.As(err, &mismatch):
		d.distrust(err)
	default:
		d.fail(fmt.Errorf("commit blob: %w", err))
	}
}

// finish ends the download well: from now on this peer is a seed.
func (d *download) finish() {
	d.flushLast()
	d.report(false)
	d.p.stats.completed.Add(1)
	if d.ahead.on.Load() {
		d.p.stats.aheadWhole.Add(1)
	}
	d.noteEnd(journal.Complete, fmt.Sprintf("%d bytes in %v", d.layout.Size(), time.Since(d.started).Round(time.Millisecond)))
	d.log.Info("blob complete", "bytes", d.layout.Size(), "took", time.Since(d.started).Round(time.Millisecond))
	d.board.update(func() { d.board.ending = true })
	d.ended = true
}

// flushLast announces what is fresh without waiting for more.
func (d *download) flushLast() {
	d.lastHave = time.Time{}
	d.flushHave(time.Now())
}

// distrust begins again after every piece was what somebody claimed and the
// whole is still false. What neighbours gave is read again from the origin;
// whoever gave other bytes than the origin is shunned.
func (d *download) distrust(err error) {
	d.p.stats.falseBlobs.Add(1)
	d.note(journal.False, "the pieces do not add up to the blob: %d of neighbours are read again from the origin", len(d.suppliers))
	d.log.Warn("the pieces do not add up to the blob", "err", err, "fromPeers", len(d.suppliers))
	if d.repairs >= maxRepairs || d.ref.Source == nil {
		d.fail(fmt.Errorf("blob is false at its origin: %w", err))
		return
	}
	d.repairs++
	now := time.Now()
	for i, id := range d.suppliers {
		d.suspect(i, id, now)
	}
	d.suppliers = make(map[int]scheduler.PeerID)
	if d.have.Full() { // nobody to suspect: the origin or the disk was wrong
		for i := range d.layout.Count() {
			d.unmark(i)
		}
	}
	for id := range d.neighbours {
		d.part(id)
	}
	d.committing, d.alone = false, true
	d.board.update(func() { d.board.generation++ })
}

// suspect forgets a piece that a neighbour gave. Which of several lied shows
// only against the origin; until then all lose their place in this swarm.
func (d *download) suspect(i int, id scheduler.PeerID, now time.Time) {
	d.unmark(i)
	if !d.p.bans.banned(id, now) {
		d.p.bans.add(id, now)
		d.blame(id, scheduler.False)
	}
}

func (d *download) unmark(i int) {
	if err := d.ingest.Forget(i); err != nil {
		d.log.Warn("forget piece", "piece", i, "err", err)
	}
	d.have.Clear(i)
	d.miss(i)
	d.readersChanged() // they miss it again
	d.board.update(func() { d.board.have.Clear(i) })
}
