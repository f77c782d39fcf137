package peer

import (
	"errors"
	"fmt"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
)

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
	d.settleDoubts()
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
