package scheduler

import (
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// How leases go on and end.

// release ends a lease; what was not read is free again.
func (s *Scheduler) release(l *lease) {
	st := l.stock
	s.attribute(l)
	if i := slices.Index(st.leases, l); i >= 0 {
		st.leases = slices.Delete(st.leases, i, i+1)
	}
	st.uncover(l.pieces)
	s.fed = false
	l.holder.leases--
	l.holder.node.leases--
	l.host.leases--
}

// revoke tells a holder that its lease, which is released, is no more.
func (s *Scheduler) revoke(l *lease, why string) {
	s.decide(Revoke{To: l.holder.node.peer.ID, Digest: l.stock.swarm.digest, Lease: l.id, Reason: why})
}

// lease is m's lease of that ID; nil if it has none.
func (m *member) lease(id LeaseID) *lease {
	for _, l := range m.stock.leases {
		if l.id == id && l.holder == m {
			return l
		}
	}
	return nil
}

// renew moves a lease's deadline when its bytes have grown.
func (m *member) renew(b LeaseBytes, now time.Time) {
	if l := m.lease(b.ID); l != nil && b.Bytes > l.bytes {
		l.read(b.Bytes - l.bytes)
		l.bytes, l.moved = b.Bytes, now
		l.stock.brings(now)
	}
}

// leaseEnd takes a holder's word that it is through with a lease.
func (s *Scheduler) leaseEnd(e LeaseEnd) {
	m := s.member(e.Peer, e.Digest)
	if m == nil {
		return
	}
	sw := m.swarm
	l := m.lease(e.Lease)
	if l == nil {
		return
	}
	switch e.Outcome {
	case Done:
		s.stats.LeasesDone++
		m.failed = 0
		l.stock.brings(s.now)
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
	if e.Outcome == Failed || e.Outcome == OriginBusy {
		s.failedToRead(l.stock, e.Outcome == OriginBusy)
	}
	s.release(l)
	s.grant(l.stock)
	if e.Outcome == Done && l.held {
		s.relieved(m, l)
	}
}

// credit counts pieces as held by a member that says it has read them; its
// next summary shows the same.
func (s *Scheduler) credit(m *member, r piece.Range) {
	if n := len(m.stock.holders); m.have.Len() != n {
		m.have = piece.NewBitfield(n)
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
	if len(m.stock.members()) == 1 {
		wait = min(wait, time.Duration(m.failed)*retryAlone)
	}
	m.skip = s.now.Add(wait)
}

// turnRangeless takes all leases of a blob back: it can only be read whole.
func (s *Scheduler) turnRangeless(sw *swarm, by *lease) {
	sw.rangeless = true
	for _, st := range sw.stocks {
		for _, l := range slices.Clone(st.leases) {
			if l == by || l.whole {
				continue
			}
			s.release(l)
			s.revoke(l, "the origin serves no ranges of this blob")
		}
		s.watch(st)
	}
}
