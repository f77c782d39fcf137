package peer

import (
	"github.com/p2pd/p2pd/pkg/piece"
	"github.com/p2pd/p2pd/pkg/scheduler"
)

// Offer says that the store came to hold a whole blob by other ways than a
// download. The swarm is told at once if there is a scheduler, otherwise with
// all that is held once there is one. It is false while a download of the blob
// runs, which tells the swarm itself: how it ends is not known yet, and a
// download that is given up leaves the swarm.
func (p *Peer) Offer(dg piece.Digest, size int64) bool {
	l, err := piece.NewLayout(size)
	if err != nil {
		return true
	}
	if p.running(dg) != nil {
		return false
	}
	p.tell(scheduler.Join{Peer: p.cfg.Self.ID, Blobs: []scheduler.Membership{
		{Digest: dg, Size: size, Have: piece.FullBitfield(l.Count())},
	}})
	return true
}

// Withdraw says that one of the ways in which the store held a blob is gone.
// If it was the last one, the swarm is told.
func (p *Peer) Withdraw(dg piece.Digest) {
	if p.running(dg) != nil || p.cfg.Store.Has(dg) {
		return
	}
	p.tell(scheduler.Leave{Peer: p.cfg.Self.ID, Digest: dg})
}
