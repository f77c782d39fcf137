package peer

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync/atomic"
	"time"

	"github.com/p2pd/p2pd/internal/journal"
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// leaseStall is how long a read from the origin may show no byte before the
// lease is given back, so that somebody else reads these pieces.
const leaseStall = 2 * time.Second

// leaseRun is one read from the origin, under a lease of the scheduler or,
// with id 0, on the peer's own account.
type leaseRun struct {
	id      scheduler.LeaseID
	pieces  piece.Range
	whole   bool
	cancel  context.CancelFunc
	era     int  // of the download's trust
	stopped bool // the loop ended it: say nothing to the scheduler
	stalled bool // the loop ended it for showing no byte
	// enough says that nobody waits for the rest of it.
	enough atomic.Bool

	bytes atomic.Int64
	seen  int64
	moved time.Time
}

func (l *leaseRun) noticed(now time.Time) bool {
	b := l.bytes.Load()
	if b == l.seen {
		return false
	}
	l.seen, l.moved = b, now
	return true
}

// underLease are the leases that this peer reads under.
func (d *download) underLease() (held []scheduler.Lease) {
	for l := range d.leases {
		if l.id != 0 && !l.stopped {
			held = append(held, scheduler.Lease{ID: l.id, Pieces: l.pieces, Whole: l.whole})
		}
	}
	return held
}

// granted begins to read what the scheduler leased to this peer.
func (d *download) granted(g scheduler.Grant) {
	d.schedulerUp = true
	d.spokenOf()
	d.noteLease(g)
	if d.ref.Source == nil || d.ended || d.partial.on || d.ahead.on.Load() { // or it was given to an earlier download
		d.endLease(g.Lease.ID, scheduler.Failed, 0)
		return
	}
	if d.givesWay() {
		d.note(journal.LeaseEnd, "%d is given back: %v", g.Lease.ID, errGivesWay)
		d.endLease(g.Lease.ID, scheduler.Failed, 0)
		return
	}
	if d.sizing && d.ingest == nil {
		d.held = append(d.held, g)
		return
	}
	if g.Lease.Whole {
		d.startLease(g.Lease.ID, piece.Range{}, true)
		return
	}
	if d.ingest == nil || g.Lease.Pieces.First < 0 || g.Lease.Pieces.End > d.layout.Count() || g.Lease.Pieces.Len() == 0 {
		d.log.Warn("lease does not fit the blob", "pieces", g.Lease.Pieces)
		d.endLease(g.Lease.ID, scheduler.Failed, 0)
		return
	}
	d.startLease(g.Lease.ID, g.Lease.Pieces, false)
}

func (d *download) revoked(dec scheduler.Revoke) {
	for l := range d.leases {
		if l.id == dec.Lease && l.id != 0 {
			d.note(journal.LeaseEnd, "%d is taken back: %s", l.id, dec.Reason)
			l.stopped = true
			l.cancel()
		}
	}
}

// startLease reads a run of pieces beside the loop.
func (d *download) startLease(id scheduler.LeaseID, run piece.Range, whole bool) {
	ctx, cancel := context.WithCancel(d.ctx)
	l := &leaseRun{id: id, pieces: run, whole: whole, era: d.trust.era, cancel: cancel, moved: time.Now()}
	d.leases[l] = struct{}{}
	d.p.stats.leases.Add(1)
	patient := d.board.patient.Load()
	if patient {
		d.p.patientLeases.Add(1)
	}
	if whole {
		d.clearAll()
	}
	for i := run.First; i < run.End; i++ {
		d.picker.Need.Clear(i)
		d.clearPiece(i)
		for _, f := range d.fetches[i] { // a neighbour has it, but does not send it
			f.stop()
		}
	}
	if id == 0 {
		d.p.stats.selfLeases.Add(1)
		d.noteOwnRead(run, whole)
	}
	d.spawn(func() {
		defer cancel()
		var err error
		if whole {
			err = d.readWhole(ctx, l)
		} else {
			err = d.readRun(ctx, l)
		}
		d.post(func() { d.leaseEnded(l, err) })
		d.p.stats.leases.Add(-1)
		if patient {
			d.p.patientLeases.Add(-1)
		}
	})
}

// readRun reads the pieces of a lease in one request.
func (d *download) readRun(ctx context.Context, l *leaseRun) error {
	off, n := d.layout.Span(l.pieces)
	body, size, err := d.ref.Source.Read(ctx, off, n)
	if err != nil {
		return err
	}
	defer body.Close()
	if size != scheduler.SizeUnknown && size != d.layout.Size() {
		return &sizeError{size, d.layout.Size()}
	}
	return d.readPieces(ctx, l, body, l.pieces, d.layout, d.ingest)
}

// readWhole reads the blob from its first byte to its last and learns its
// size on the way.
func (d *download) readWhole(ctx context.Context, l *leaseRun) error {
	body, size, err := d.ref.Source.Read(ctx, 0, -1)
	if err != nil {
		return err
	}
	defer body.Close()
	if size == scheduler.SizeUnknown {
		if size, err = d.ref.Source.Stat(ctx); err != nil {
			return err
		}
	}
	d.post(func() {
		fresh := !d.sizing && d.ingest == nil
		d.sized(size)
		if fresh {
			d.p.tell(scheduler.Summary{Peer: d.p.cfg.Self.ID, Blobs: []scheduler.Progress{{Digest: d.ref.Digest, Size: size}}})
		}
	})
	layout, ingest, err := d.board.awaitIngest(ctx)
	if err != nil {
		return err
	}
	if size != layout.Size() {
		return &sizeError{size, layout.Size()}
	}
	return d.readPieces(ctx, l, body, piece.Range{First: 0, End: layout.Count()}, layout, ingest)
}

// awaitIngest waits until the size is known and the store is ready.
func (b *board) awaitIngest(ctx context.Context) (piece.Layout, Ingest, error) {
	for {
		b.mu.Lock()
		layout, ingest, changed, err := b.layout, b.ingest, b.changed, b.err
		b.mu.Unlock()
		if ingest != nil || err != nil {
			return layout, ingest, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return layout, nil, ctx.Err()
		}
	}
}

// readPieces takes the pieces of run out of body, one after the other. What
// is here already is read over.
func (d *download) readPieces(ctx context.Context, l *leaseRun, body io.Reader, run piece.Range, layout piece.Layout, ingest Ingest) error {
	counted := d.counting(body, &l.bytes)
	for i := run.First; i < run.End && !l.enough.Load(); i++ {
		_, length := layout.Bounds(i)
		began, r := time.Now(), &io.LimitedReader{R: counted, N: length}
		claim, err := ingest.Receive(ctx, i, r, piece.Digest{})
		if err != nil {
			return err
		}
		fromOrigin := r.N == 0
		if _, err := io.Copy(io.Discard, r); err != nil {
			return err
		}
		took := time.Since(began)
		d.post(func() {
			if l.era == d.trust.era && d.got(i, claim, &d.board.fromOrigin, time.Now()) && fromOrigin {
				d.readHere(i)
				d.p.stats.piecesOrigin.Add(1)
				d.p.pace.observe(length, took)
			}
		})
		d.p.stats.receivedOrigin.Add(length)
	}
	return nil
}

// leaseEnded takes the end of a read.
func (d *download) leaseEnded(l *leaseRun, err error) {
	delete(d.leases, l)
	d.noticeNeeds(l)
	if d.ctx.Err() != nil {
		return
	}
	now := time.Now()
	if err == nil {
		d.originErr, d.originFails = nil, 0
		d.p.stats.leasesDone.Add(1)
		d.note(journal.LeaseEnd, "%d is done", l.id)
		d.endLease(l.id, scheduler.Done, 0)
		if l.id == 0 && !d.schedulerUp {
			d.tickStall(now) // no need to wait for the tick to read the next
		}
		return
	}
	if l.stopped {
		return
	}
	d.p.stats.leasesFailed.Add(1)
	d.note(journal.LeaseEnd, "%d failed: %v", l.id, err)
	d.log.Debug("read from origin failed", "pieces", l.pieces, "whole", l.whole, "err", err)
	if notKept(err) {
		d.fail(err)
		return
	}
	if other, ok := errors.AsType[*sizeError](err); ok {
		d.p.sizes.add(d.ref.Digest, other.says, now)
	}
	if errors.Is(err, ErrNoRange) && !l.whole {
		d.noRange = true
		d.endLease(l.id, scheduler.NoRange, 0)
		if d.partial.on { // there is no other way to any part
			d.upgrade(now)
		}
		return
	}
	if l.stalled {
		err = fmt.Errorf("origin sent nothing for %s", leaseStall)
	}
	if refusal := d.originFailed(err, now); refusal != nil && refusal.busy() {
		d.endLease(l.id, scheduler.OriginBusy, refusal.RetryAfter)
	} else {
		d.endLease(l.id, scheduler.Failed, 0)
	}
	d.despair()
}

// originFailed notes a failure of the origin. It returns its refusal, if it
// was one.
func (d *download) originFailed(err error, now time.Time) *OriginError {
	d.originErr = err
	d.originFails++
	d.retryOrigin = now.Add(min(time.Duration(d.originFails)*250*time.Millisecond, 2*time.Second))
	var refusal *OriginError
	if errors.As(err, &refusal) && refusal.busy() {
		d.retryOrigin = now.Add(max(refusal.RetryAfter, time.Second))
	}
	return refusal
}

// noticeNeeds puts what a lease did not bring back on the picker's list.
func (d *download) noticeNeeds(l *leaseRun) {
	if d.ingest == nil {
		return
	}
	run := l.pieces
	if l.whole {
		run = piece.Range{First: 0, End: d.layout.Count()}
	}
	for i := run.First; i < run.End; i++ {
		d.miss(i)
	}
}

// leased reports whether piece i is being read from the origin here.
func (d *download) leased(i int) bool {
	for l := range d.leases {
		if !l.whole && l.pieces.Contains(i) {
			return true
		}
	}
	return false
}

func (d *download) endLease(id scheduler.LeaseID, o scheduler.Outcome, retryAfter time.Duration) {
	if id != 0 {
		d.p.tell(scheduler.LeaseEnd{
			Peer: d.p.cfg.Self.ID, Digest: d.ref.Digest, Lease: id, Outcome: o, RetryAfter: retryAfter,
		})
	}
}

// tickLeases gives back leases that show no byte.
func (d *download) tickLeases(now time.Time) {
	for l := range d.leases {
		if !l.stopped && !l.stalled && now.Sub(l.moved) > leaseStall && (d.ingest != nil || !d.sizing) {
			l.stalled = true
			l.cancel()
		}
	}
}
