package scheduler

import (
	"fmt"
	"time"
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
	if m.disputes {
		s.repair(m)
		return
	}
	if sw.size != SizeUnknown && s.grantExtra(m) {
		return
	}
	found := 0
	if sw.size != SizeUnknown {
		found = s.findFor(m)
		if (s.noticeCutOff(m) || s.forsaken(m)) && s.lendHeld(m, nothingCame) ||
			s.now.Sub(m.stalled) > patience && s.lendRun(m, 1, notComing) != nil {
			return
		}
	}
	s.wait(m, found)
}

// findFor gives m neighbours that have what it misses, and counts those that it
// has no reason to shun. Where zones keep apart, and nobody in its own has or reads
// any of it, they keep apart no more.
func (s *Scheduler) findFor(m *member) (found int) {
	useful, beyond := s.useful(m)
	for _, c := range useful {
		if !s.shuns(m, c) {
			found++
		}
	}
	if m.swarm.split && found == 0 && beyond > 0 {
		found = beyond
		// A zone that only waits for its turn at the registry's budget is not bridged.
		if reading, _ := s.reading(m); reading == 0 && s.now.Sub(m.stalled) >= s.cfg.LeaseTimeout {
			s.bridgeZones(m.swarm)
		}
	}
	if s.link(m, useful, 2, "it stalled and these have what it misses") == 0 && len(m.edges) == 0 {
		s.reconcile(m, useful)
	}
	return found
}

// useful are some members that have what m misses and that it may turn to. Beyond
// are those that would do but are in another zone: gateways see to those for a while.
func (s *Scheduler) useful(m *member) (useful []*member, beyond int) {
	nearOnly := !m.gate && (m.keepsApart() || s.now.Sub(m.stalled) <= patience)
	for _, c := range sample(s.rng, m.swarm.order, sampleFactor*s.cfg.Neighbours) {
		switch {
		case !m.lacks(c):
		case nearOnly && m.far(c):
			beyond++
		default:
			useful = append(useful, c)
		}
	}
	return useful, beyond
}

// reading counts the leases of others that bring something, and of these those
// on what others have.
func (s *Scheduler) reading(m *member) (all, held int) {
	for _, l := range m.stock.leases {
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

// lacks reports whether o has a piece that m misses.
func (m *member) lacks(o *member) bool {
	for i := range o.have.All() {
		if !m.have.Has(i) {
			return true
		}
	}
	return false
}
