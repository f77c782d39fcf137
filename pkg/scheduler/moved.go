package scheduler

import "time"

// movedHold is how long a swarm that comes from another scheduler leases
// nothing new: its members come one after the other, and what the first lacks
// the next may have. What they read already under leases of the other they go
// on reading.
const movedHold = 750 * time.Millisecond

// adopt goes on with a lease of another scheduler, unless somebody else reads
// the same: who comes later stops.
func (s *Scheduler) adopt(sw *swarm, m *member, l Lease) {
	if m.lease(l.ID) != nil || m.origin == "" || m.complete {
		return
	}
	if l.Whole {
		l.Pieces.First, l.Pieces.End = 0, 0
		if sw.size != SizeUnknown {
			l.Pieces.End = sw.layout.Count()
		}
	}
	if !s.adoptable(sw, m, l) {
		s.decide(Revoke{To: m.node.peer.ID, Digest: sw.digest, Lease: l.ID, Reason: "the swarm is with this scheduler now, and others read that"})
		return
	}
	s.book(m, l)
}

func (s *Scheduler) adoptable(sw *swarm, m *member, l Lease) bool {
	if m.node.leases >= s.cfg.LeasesPerPeer || l.Whole != (sw.size == SizeUnknown || sw.rangeless) {
		return false
	}
	if l.Whole {
		return len(m.stock.leases) == 0
	}
	if l.Pieces.First < 0 || l.Pieces.End > sw.layout.Count() || l.Pieces.First >= l.Pieces.End {
		return false
	}
	if _, bytes := sw.layout.Span(l.Pieces); bytes > max(s.cfg.LeaseBytes, sw.layout.PieceSize()) {
		return false
	}
	for i := l.Pieces.First; i < l.Pieces.End; i++ {
		if m.stock.leased.Has(i) {
			return false
		}
	}
	return true
}
