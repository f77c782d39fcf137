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
			if m.lacks(c) && (!m.far(c) || m.gate || s.now.Sub(m.stalled) > patience) {
				useful = append(useful, c)
			}
		}
		found = len(useful)
		if s.link(m, useful, 2, "it stalled and these have what it misses") == 0 && len(m.edges) == 0 {
			s.reconcile(m, useful)
		}
		if s.now.Sub(m.stalled) > patience && s.grantHeld(m) {
			return
		}
	}
	s.wait(m, found)
}

// wait asks a member for patience, if there is a reason for it.
func (s *Scheduler) wait(m *member, found int) {
	reading := 0
	for _, l := range m.swarm.leases {
		if l.holder != m && s.now.Sub(l.moved) < s.cfg.LeaseTimeout {
			reading++
		}
	}
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
	for i := range sw.layout.Count() {
		if !m.have.Has(i) && !sw.leased.Has(i) {
			s.lend(m, piece.Range{First: i, End: i + 1}, false, "others have it, but it does not come")
			return true
		}
	}
	return false
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
