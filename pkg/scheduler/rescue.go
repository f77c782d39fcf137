package scheduler

import (
	"fmt"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// What becomes of members that receive nothing. A thousand of them stall at
// once when the origin is slow, or when the first pieces of a large swarm are
// on their way: they must not all turn to the origin, which would then be too
// slow for anybody. So who stalls is given a lease as far as the origin bears
// it, neighbours that have what it misses, and else is asked to wait.
const (
	// waitFor is how long it is asked to: until it has asked again.
	waitFor = 3 * time.Second
	// patience is how long pieces that others have may fail to reach a member
	// before it may read one from the origin, in its turn.
	patience = 4 * time.Second
	// cutOffAfter is how long a node may tell of no byte from any peer, while
	// others have all that it misses and nobody reads any of it, until it is
	// taken to be cut off from them. It is a little less than three of its
	// calls for help take.
	cutOffAfter = 1400 * time.Millisecond
	// cutOffAnyway is the same where others read what others have, who are cut
	// off as well: the first of them may feed the rest.
	cutOffAnyway = 3 * time.Second
)

// rescue helps a member that receives nothing.
func (s *Scheduler) rescue(m *member) {
	sw := m.swarm
	s.stats.Stalls++
	if m.odd() {
		return // nobody has anything for it
	}
	if m.stalled.IsZero() || m.have.Count() > m.stalledAt {
		m.stalled, m.stalledAt = s.now, m.have.Count()
	}
	if sw.size != SizeUnknown && s.grantExtra(m) {
		return
	}
	found := 0
	if sw.size != SizeUnknown {
		var useful []*member
		for _, c := range sample(s.rng, sw.order, sampleFactor*s.cfg.Neighbours) {
			if !m.lacks(c) || m.far(c) && !m.gate && s.now.Sub(m.stalled) <= patience {
				continue
			}
			useful = append(useful, c)
			if !s.shuns(m, c) {
				found++
			}
		}
		if s.link(m, useful, 2, "it stalled and these have what it misses") == 0 && len(m.edges) == 0 {
			s.reconcile(m, useful)
		}
		if (s.noticeCutOff(m) || s.forsaken(m)) && s.lendHeld(m) || s.now.Sub(m.stalled) > patience && s.grantHeld(m) {
			return
		}
	}
	s.wait(m, found)
}

// noticeCutOff reports whether m's node is cut off from all peers. Then it is
// better off without them: it reads from the origin what others have, until one
// of them reaches it again.
func (s *Scheduler) noticeCutOff(m *member) bool {
	n := m.node
	last := m.since
	if n.fed.After(last) {
		last = n.fed
	}
	all, held := s.reading(m)
	long := s.now.Sub(last)
	if m.swarm.free == 0 && (long >= cutOffAfter && all == 0 || long >= cutOffAnyway && all == held) && !s.othersFed(n) {
		n.cutOff = true
	}
	return n.cutOff
}

// forsaken reports whether nobody may be introduced to m, all of whom have what
// it misses, and nobody reads any of it: those who have it are shunned, or it is.
func (s *Scheduler) forsaken(m *member) bool {
	all, _ := s.reading(m)
	return len(m.edges) == 0 && !m.complete && m.swarm.size != SizeUnknown && m.swarm.free == 0 && all == 0
}

// lendHeld leases what a member misses although others have it, as much as it
// may read at once, and reports whether that is anything.
func (s *Scheduler) lendHeld(m *member) bool {
	sw := m.swarm
	if sw.size == SizeUnknown || sw.rangeless || m.complete {
		return false
	}
	missing := sw.layout.Count() - m.have.Count()
	most := max(1, min(missing/(2*s.cfg.LeasesPerBlob), int(s.cfg.LeaseBytes/sw.layout.PieceSize())))
	for m.leases < s.cfg.LeasesPerBlob && s.mayHold(m) {
		run := m.missingRun(most)
		if run.Len() == 0 {
			break
		}
		why := "others have it, but it has had nothing from anybody"
		if m.relieved {
			why = "others have it, but the registry is far faster than they are"
		}
		s.lend(m, run, false, why)
	}
	return m.leases > 0
}

// missingRun is the first run of at most n pieces that m misses and nobody reads.
func (m *member) missingRun(n int) (r piece.Range) {
	for i := range m.swarm.layout.Count() {
		wanted := !m.have.Has(i) && !m.swarm.leased.Has(i)
		switch {
		case wanted && r.Len() == 0:
			r = piece.Range{First: i, End: i + 1}
		case wanted:
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

// reading counts the leases of others that bring something, and of these those
// on what others have.
func (s *Scheduler) reading(m *member) (all, held int) {
	for _, l := range m.swarm.leases {
		if l.holder == m || s.now.Sub(l.moved) >= s.cfg.LeaseTimeout {
			continue
		}
		if all++; l.held {
			held++
		}
	}
	return all, held
}

// wait asks a member for patience, if there is a reason for it.
func (s *Scheduler) wait(m *member, found int) {
	reading, _ := s.reading(m)
	if reading == 0 && found == 0 {
		return
	}
	s.decide(Wait{
		To: m.node.peer.ID, Digest: m.swarm.digest, For: waitFor,
		Reason: fmt.Sprintf("%d others are reading from the origin, at least %d have what it misses", reading, found),
	})
}

// grantHeld leases the first piece that a member misses, although others have
// it.
func (s *Scheduler) grantHeld(m *member) bool {
	sw := m.swarm
	if sw.rangeless || !s.mayHold(m) {
		return false
	}
	run := m.missingRun(1)
	if run.Len() > 0 {
		s.lend(m, run, false, "others have it, but it does not come")
	}
	return run.Len() > 0
}

// lacks reports whether o has a piece that m misses.
func (m *member) lacks(o *member) bool {
	for i := range o.have.All() {
		if !m.have.Has(i) {
			return true
		}
	}
	return false
}
