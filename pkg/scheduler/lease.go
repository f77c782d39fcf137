package scheduler

import (
	"fmt"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// holderLook bounds the search for a lease's holder in a large swarm: one of
// so many will do.
const holderLook = 64

// lease is the right of one member to read some pieces from the origin.
type lease struct {
	id     LeaseID
	swarm  *swarm
	holder *member
	host   *host
	pieces piece.Range
	whole  bool
	held   bool // others had it when it was given
	bytes  int64
	moved  time.Time // when bytes last grew
	// granted is when it was given.
	granted time.Time
}

// grant leases what nobody has, as far as blob and host budgets allow.
func (s *Scheduler) grant(sw *swarm) {
	s.feed()
	for (len(sw.leases) == 0 || len(s.hungry) == 0) && s.grantOne(sw) {
		continue
	}
	if sw.wanting() && len(sw.leases) == 0 && s.budgetSpent(sw) && !slices.Contains(s.hungry, sw) {
		s.hungry = append(s.hungry, sw)
	}
	if len(sw.leases) > 0 || sw.wanting() {
		s.work(sw)
	} else {
		s.rest(sw)
	}
}

// feed gives swarms that have no lease at all theirs before others get more:
// with several layers of one image under way the first ones would else take
// all that a host bears, and the clients of the rest would wait for nothing.
// Once they have been fed, nothing can be had until a lease ends or time passes.
func (s *Scheduler) feed() {
	if s.fed {
		return
	}
	s.fed = true
	s.hungry = slices.DeleteFunc(s.hungry, func(sw *swarm) bool {
		return s.swarms[sw.digest] != sw || !sw.wanting() || len(sw.leases) > 0 || s.grantOne(sw)
	})
}

// budgetSpent reports whether somebody could read for the swarm but for the
// leases that he, or the origin's host, has already.
func (s *Scheduler) budgetSpent(sw *swarm) bool {
	for _, m := range sw.order[:min(len(sw.order), holderLook)] {
		h := s.hostOf(m)
		if m.origin == "" || m.complete || h == nil || s.now.Before(h.until) || s.now.Before(m.skip) {
			continue
		}
		if h.leases >= s.cfg.LeasesPerHost || m.node.leases >= s.cfg.LeasesPerPeer {
			return true
		}
	}
	return false
}

// wanting reports whether there is anything to read from the origin.
func (sw *swarm) wanting() bool { return sw.size == SizeUnknown || sw.free > 0 }

// width is how many leases a swarm may have.
func (s *Scheduler) width(sw *swarm) int {
	if len(sw.leases) == 0 {
		return s.cfg.LeasesPerBlob
	}
	return s.perBlob(sw.leases[0].host)
}

func (s *Scheduler) grantOne(sw *swarm) bool {
	if !sw.wanting() || len(sw.leases) >= s.width(sw) || s.now.Before(sw.until) {
		return false
	}
	whole := sw.size == SizeUnknown || sw.rangeless
	if whole && len(sw.leases) > 0 {
		return false
	}
	m := s.holder(sw)
	if m == nil {
		return false
	}
	s.give(m, whole, s.cfg.LeaseBytes)
	return true
}

// grantExtra leases one piece beyond the blob's budget to a stalled member.
func (s *Scheduler) grantExtra(m *member) bool {
	sw := m.swarm
	if sw.free == 0 || sw.rangeless || !s.mayHold(m) {
		return false
	}
	s.give(m, false, sw.layout.PieceSize())
	return true
}

// holder chooses who gets the next lease of a swarm: who has the fewest here,
// then who has the fewest over all; nil if nobody may.
func (s *Scheduler) holder(sw *swarm) *member {
	var best *member
	n := len(sw.order)
	settled := s.now.Sub(sw.born) >= settleTime
	for k := range min(n, holderLook) {
		m := sw.order[(sw.cursor+k)%n]
		if !s.mayHold(m) || m.leases > 0 && !settled {
			continue
		}
		if best == nil || m.leases < best.leases || m.leases == best.leases && m.node.leases < best.node.leases {
			best = m
		}
	}
	if best != nil {
		sw.cursor = (best.at + 1) % n
	}
	return best
}

// hostOf is the registry host that m can read from, nil before the first lease
// on it.
func (s *Scheduler) hostOf(m *member) *host {
	if m.host == nil || m.host.forgotten {
		m.host = s.hosts[m.origin]
	}
	return m.host
}

func (s *Scheduler) mayHold(m *member) bool {
	if m.origin == "" || m.complete || m.node.leases >= s.cfg.LeasesPerPeer {
		return false
	}
	h := s.hostOf(m)
	if h != nil && (h.leases >= s.hostBears(m) || s.now.Before(h.until)) {
		return false
	}
	return !m.odd() && !m.node.gone && !s.now.Before(m.skip) && (h != nil || s.roomForHost())
}

// hostBears is how many leases a host may have for one more to go to m: those where
// nobody waits leave a quarter to others, at least one.
func (s *Scheduler) hostBears(m *member) int {
	if !m.patient {
		return s.cfg.LeasesPerHost
	}
	return max(1, s.cfg.LeasesPerHost-max(1, s.cfg.LeasesPerHost/4))
}

// give makes the lease: the first pieces that nobody has, up to most bytes.
// Towards the end leases become smaller, so that no holder is left with a
// long run while the others wait.
func (s *Scheduler) give(m *member, whole bool, most int64) {
	sw, run := m.swarm, piece.Range{}
	why := "the size of the blob is not known"
	switch {
	case whole && sw.size != SizeUnknown:
		run = piece.Range{First: 0, End: sw.layout.Count()}
		why = "the origin serves no ranges"
	case !whole:
		run = sw.nextRun(s.leasePieces(sw, most))
		why = fmt.Sprintf("nobody has pieces %v", run)
	}
	s.lend(m, run, whole, why)
}

// lend makes a lease and tells its holder.
func (s *Scheduler) lend(m *member, run piece.Range, whole bool, why string) {
	s.next++
	l := Lease{ID: s.next, Pieces: run, Whole: whole}
	s.book(m, l)
	s.decide(Grant{To: m.node.peer.ID, Digest: m.swarm.digest, Lease: l, Reason: why})
}

// book keeps account of a lease that m has.
func (s *Scheduler) book(m *member, given Lease) {
	sw := m.swarm
	l := &lease{
		id: given.ID, swarm: sw, holder: m, pieces: given.Pieces, whole: given.Whole,
		moved: s.now, granted: s.now, host: s.hosts[m.origin],
	}
	if l.host == nil {
		l.host = &host{}
		s.hosts[m.origin] = l.host
	}
	l.held = !l.whole && sw.holders[l.pieces.First] > 0
	sw.cover(l.pieces)
	sw.leases = append(sw.leases, l)
	s.work(sw) // even a lease on what others have must run out
	m.leases++
	m.node.leases++
	l.host.leases++
	s.stats.LeasesGranted++
}

func (s *Scheduler) leasePieces(sw *swarm, most int64) int {
	share := sw.free / (3 * s.width(sw))
	return max(1, min(share, int(most/sw.layout.PieceSize())))
}

// nextRun is the first run of at most n free pieces.
func (sw *swarm) nextRun(n int) piece.Range {
	r := piece.Range{}
	for i := range sw.holders {
		free := sw.holders[i] == 0 && !sw.leased.Has(i)
		switch {
		case free && r.Len() == 0:
			r = piece.Range{First: i, End: i + 1}
		case free:
			r.End++
		case r.Len() > 0:
			return r
		}
		if r.Len() == n {
			return r
		}
	}
	return r
}

// release ends a lease; what was not read is free again.
func (s *Scheduler) release(l *lease) {
	sw := l.swarm
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
		_, span := sw.layout.Span(l.pieces)
		s.tried(m, l, span)
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
