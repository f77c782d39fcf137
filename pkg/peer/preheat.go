package peer

import (
	"context"
	"errors"
	"fmt"

	"github.com/p2pd/p2pd/pkg/piece"
)

// What is fetched for nobody in particular, because an operator wants it here
// (internal/preheat), is an ordinary download in its swarm, with leases: only so
// does a preheat of many nodes read each byte once. But it gives way: while readers
// on this node fetch anything, it asks neighbours for nothing and gives back
// leases, and the scheduler keeps some of what the origin bears for those who wait
// elsewhere. The first reader that comes makes it a download like any other.

// errGivesWay is why a lease is given back.
var errGivesWay = errors.New("readers on this node come first")

// Fetch brings a blob into the store and returns once it is there whole, or
// cannot be: with ErrNoSpace where there is no room. If ctx ends first, what has
// arrived stays.
func (p *Peer) Fetch(ctx context.Context, ref Ref) error {
	for {
		if p.use(ref.Digest) {
			return nil
		}
		d, err := p.download(ref, false)
		if err != nil {
			return err
		}
		pos := &position{patient: true}
		if d.board.attach(pos) {
			d.post(d.readersChanged)
			err = d.await(ctx)
			d.board.detach(pos)
			d.post(d.readersChanged)
			if err != nil {
				return fmt.Errorf("fetch blob %s: %w", ref.Digest.Short(), err)
			}
			continue // it is whole, unless it was evicted at once
		}
		select { // it is ending: look again afterwards
		case <-d.done:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// use reports whether a blob is here whole, as a use of it: what somebody wants
// here is not to be the next that goes.
func (p *Peer) use(dg piece.Digest) bool {
	blob, err := p.cfg.Store.Open(dg)
	if err != nil {
		return false
	}
	_ = blob.Close() // was not read
	return true
}

// await waits for the end of a download.
func (d *download) await(ctx context.Context) error {
	select {
	case <-d.done:
		d.board.mu.Lock()
		defer d.board.mu.Unlock()
		return d.board.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Fetched is how many bytes of a blob are here.
func (p *Peer) Fetched(ref Ref) int64 {
	d := p.running(ref.Digest)
	if d == nil {
		if p.cfg.Store.Has(ref.Digest) {
			return ref.Size
		}
		return 0
	}
	return d.board.bytes()
}

// bytes is how many have been verified, piece by piece.
func (b *board) bytes() (n int64) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.ingest == nil {
		return 0
	}
	for i := range b.have.All() {
		_, length := b.layout.Bounds(i)
		n += length
	}
	return n
}

// givesWay reports whether readers on this node fetch something, and this
// download has time.
func (d *download) givesWay() bool { return d.board.patient.Load() && d.p.Busy() }

// Busy reports whether readers on this node fetch something, that is whether what
// has time gives way.
func (p *Peer) Busy() bool { return p.fetching.Load()+p.stats.leases.Load()-p.patientLeases.Load() > 0 }

// sayPatience tells the scheduler when somebody waits now, or nobody any more.
func (d *download) sayPatience() {
	if d.ingest != nil && d.saidPatient != d.board.patient.Load() {
		d.join()
	}
}
