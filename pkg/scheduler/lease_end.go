package scheduler

import (
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// How leases go on and end.

// release ends a lease; what was not read is free again.
func (s *Scheduler) release(l *lease) {
	sw := l.swarm
	s.attribute(l)
	if i := slices.Index(sw.leases, l); i >= 0 {
		sw.leases = slices.Delete(sw.leases, i, i+1)
	}
	sw.uncover(l.pieces)
	s.fed = false
	l.holder.leases--
	l.holder.node.leases--
	l.host.leases--
}

// revoke tells a holder that its lease, which is released, is no more.
func (s *Scheduler) revoke(l *lease, why string) {
	s.decide(Revoke{To: l.holder.node.peer.ID, Digest: l.swarm.digest, Lease: l.id, Reason: why})
}

func (sw *swarm) lease(id LeaseID, m *member) *lease {
	for _, l := range sw.leases {
		if l.id == id && l.holder == m {
			return l
		}
	}
	return nil
}

// renew moves a lease's deadline when its bytes have grown.
func (sw *swarm) renew(m *member, b LeaseBytes, now time.Time) {
	if l := sw.lease(b.ID, m); l != nil && b.Bytes > l.bytes {
		l.read(b.Bytes - l.bytes)
		l.bytes, l.moved = b.Bytes, now
	}
}

// leaseEnd takes a holder's word that it is through with a lease.
func (s *Scheduler) leaseEnd(e LeaseEnd) {
	m := s.member(e.Peer, e.Digest)
	if m == nil {
		return
	}
	sw := m.swarm
	l := sw.lease(e.Lease, m)
	if l == nil {
		return
	}
	switch e.Outcome {
	case Done:
		s.stats.LeasesDone++
		m.failed = 0
		_, span := sw.layout.Span(l.pieces)
		l.read(span - l.bytes)
		if !l.held {
			l.host.observe(span, s.now.Sub(l.granted))
		}
		s.credit(m, l.pieces)
	case NoRange:
		s.stats.LeasesFailed++
		s.turnRangeless(sw, l)
	case OriginBusy:
		s.stats.LeasesFailed++
		wait := e.RetryAfter
		if wait <= 0 {
			wait = defaultBackoff
		}
		l.host.until = s.now.Add(min(wait, maxBackoff))
	default:
		s.stats.LeasesFailed++
		s.skip(m)
	}
	s.release(l)
	s.grant(sw)
	if e.Outcome == Done && l.held {
		s.relieved(m, l)
	}
}

// credit counts pieces as held by a member that says it has read them; its
// next summary shows the same.
func (s *Scheduler) credit(m *member, r piece.Range) {
	if m.have.Len() != len(m.swarm.holders) {
		m.have = piece.NewBitfield(len(m.swarm.holders))
	}
	for i := r.First; i < r.End; i++ {
		if m.have.Set(i) {
			m.holds(i)
		}
	}
	s.complete(m, m.have.Full())
}

// skip passes a member over for a while.
func (s *Scheduler) skip(m *member) {
	m.failed++
	wait := passOver
	if len(m.swarm.order) == 1 {
		wait = min(wait, time.Duration(m.failed)*retryAlone)
	}
	m.skip = s.now.Add(wait)
}

// turnRangeless takes all leases of a blob back: it can only be read whole.
func (s *Scheduler) turnRangeless(sw *swarm, by *lease) {
	sw.rangeless = true
	for _, l := range slices.Clone(sw.leases) {
		if l == by || l.whole {
			continue
		}
		s.release(l)
		s.revoke(l, "the origin serves no ranges of this blob")
	}
}
