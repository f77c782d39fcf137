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
	stock  *stock
	holder *member
	host   *host
	pieces piece.Range
	whole  bool
	held   bool // others had it when it was given
	trial  bool // it is to show whether the registry is faster than they are
	bytes  int64
	moved  time.Time // when bytes last grew
	// granted is when it was given.
	granted time.Time
}

// grant leases what nobody has, as far as blob and host budgets allow.
func (s *Scheduler) grant(st *stock) {
	s.feed()
	for (len(st.leases) == 0 || len(s.hungry) == 0) && s.grantOne(st) {
		continue
	}
	if st.wanting() && len(st.leases) == 0 && s.budgetSpent(st) && !slices.Contains(s.hungry, st) {
		s.hungry = append(s.hungry, st)
	}
	s.watch(st)
}

// feed gives stocks that have no lease at all theirs before others get more:
// with several layers of one image under way the first ones would else take
// all that a host bears, and the clients of the rest would wait for nothing.
// Once they have been fed, nothing can be had until a lease ends or time passes.
func (s *Scheduler) feed() {
	if s.fed {
		return
	}
	s.fed = true
	s.hungry = slices.DeleteFunc(s.hungry, func(st *stock) bool {
		return !st.wanting() || len(st.leases) > 0 || s.grantOne(st)
	})
}

// budgetSpent reports whether somebody could read for a stock but for the
// leases that he, or the origin's host, has already.
func (s *Scheduler) budgetSpent(st *stock) bool {
	all := st.members()
	for _, m := range all[:min(len(all), holderLook)] {
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

// width is how many leases a stock may have.
func (s *Scheduler) width(st *stock) int {
	if len(st.leases) == 0 {
		return s.cfg.LeasesPerBlob
	}
	return s.perBlob(st.leases[0].host)
}

func (s *Scheduler) grantOne(st *stock) bool {
	sw := st.swarm
	if !st.wanting() || len(st.leases) >= s.width(st) || s.now.Before(sw.until) {
		return false
	}
	whole := sw.size == SizeUnknown || sw.rangeless
	if whole && len(st.leases) > 0 {
		return false
	}
	m := s.holder(st)
	if m == nil {
		return false
	}
	s.give(m, whole, s.cfg.LeaseBytes)
	return true
}

// grantExtra leases one piece beyond the blob's budget to a stalled member.
func (s *Scheduler) grantExtra(m *member) bool {
	sw := m.swarm
	if m.stock.free == 0 || sw.rangeless || !s.mayHold(m) {
		return false
	}
	s.give(m, false, sw.layout.PieceSize())
	return true
}

// holder chooses who gets the next lease of a stock: who has the fewest here,
// then who has the fewest over all; nil if nobody may.
func (s *Scheduler) holder(st *stock) *member {
	var best *member
	all, next := st.members(), 0
	settled := s.now.Sub(st.born) >= settleTime
	for k := range min(len(all), holderLook) {
		at := (st.cursor + k) % len(all)
		m := all[at]
		if !s.mayHold(m) || m.leases > 0 && !settled {
			continue
		}
		if best == nil || m.leases < best.leases || m.leases == best.leases && m.node.leases < best.node.leases {
			best, next = m, at+1
		}
	}
	if best != nil {
		st.cursor = next % len(all)
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
	sw, st, run := m.swarm, m.stock, piece.Range{}
	why := "the size of the blob is not known"
	switch {
	case whole && sw.size != SizeUnknown:
		run = piece.Range{First: 0, End: sw.layout.Count()}
		why = "the origin serves no ranges"
	case !whole:
		run = st.nextRun(s.leasePieces(st, most))
		why = fmt.Sprintf("nobody %shas pieces %v", st.where(), run)
	}
	s.lend(m, run, whole, why)
}

// lend makes a lease and tells its holder.
func (s *Scheduler) lend(m *member, run piece.Range, whole bool, why string) *lease {
	s.next++
	l := Lease{ID: s.next, Pieces: run, Whole: whole}
	booked := s.book(m, l)
	s.decide(Grant{To: m.node.peer.ID, Digest: m.swarm.digest, Lease: l, Reason: why})
	return booked
}

// book keeps account of a lease that m has.
func (s *Scheduler) book(m *member, given Lease) *lease {
	st := m.stock
	l := &lease{
		id: given.ID, stock: st, holder: m, pieces: given.Pieces, whole: given.Whole,
		moved: s.now, granted: s.now, host: s.hosts[m.origin],
	}
	if l.host == nil {
		l.host = &host{}
		s.hosts[m.origin] = l.host
	}
	l.held = !l.whole && st.holders[l.pieces.First] > 0
	st.cover(l.pieces)
	st.leases = append(st.leases, l)
	s.work(st) // even a lease on what others have must run out
	m.leases++
	m.node.leases++
	l.host.leases++
	s.stats.LeasesGranted++
	return l
}

func (s *Scheduler) leasePieces(st *stock, most int64) int {
	share := st.free / (3 * s.width(st))
	return max(1, min(share, int(most/st.swarm.layout.PieceSize())))
}

// nextRun is the first run of at most n free pieces.
func (st *stock) nextRun(n int) piece.Range {
	return firstRun(len(st.holders), n, func(i int) bool { return st.holders[i] == 0 && !st.leased.Has(i) })
}

// firstRun is the first run of at most most of count pieces that are wanted.
func firstRun(count, most int, wanted func(i int) bool) piece.Range {
	r := piece.Range{}
	for i := range count {
		switch want := wanted(i); {
		case want && r.Len() == 0:
			r = piece.Range{First: i, End: i + 1}
		case want:
			r.End++
		case r.Len() > 0:
			return r
		}
		if r.Len() == most {
			return r
		}
	}
	return r
}
