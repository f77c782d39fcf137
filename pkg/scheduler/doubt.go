package scheduler

import (
	"maps"
	"time"
)

// What a member says that it has is believed until somebody blames it for
// false bytes. Then it is in doubt: it keeps its neighbours, for one that
// blames may be the liar, but its pieces no longer count as held, or whoever
// has shunned it would wait for them for ever. When several blame it, it leaves.
const (
	// doubtFor is how long what a blamed peer claims does not count, and how
	// long the blame is remembered. It costs the cluster at most a second
	// reading of what nobody else has.
	doubtFor = 5 * time.Minute
	// accusersNeeded is how many must blame a peer for false bytes before
	// all swarms are closed to it for banFor.
	accusersNeeded = 2
	// blamesMost is how many peers one may blame for false bytes within doubtFor
	// and be believed. Two that lie about others can so have no more than this
	// many banned at a time. Who meets more liars shuns them, but others must
	// say so, too.
	blamesMost = 3
	// maxBlamers bounds whose blames are remembered. Past it nobody else is
	// believed until some are over.
	maxBlamers = 4096
)

// blamer is whom a peer has blamed, and when last. It outlives its stream.
type blamer struct {
	at   time.Time
	whom map[PeerID]bool
}

// believed reports whether a peer that blames another has not blamed too many.
func (s *Scheduler) believed(by, whom PeerID) bool {
	b := s.blamers[by]
	if b == nil || s.now.Sub(b.at) >= doubtFor {
		if b == nil && len(s.blamers) >= maxBlamers {
			maps.DeleteFunc(s.blamers, func(_ PeerID, b *blamer) bool { return s.now.Sub(b.at) >= doubtFor })
		}
		if b == nil && len(s.blamers) >= maxBlamers {
			return false
		}
		b = &blamer{whom: make(map[PeerID]bool)}
		s.blamers[by] = b
	}
	b.at = s.now
	if !b.whom[whom] && len(b.whom) >= blamesMost {
		return false
	}
	b.whom[whom] = true
	return true
}

// accuse counts who blames a peer for false bytes. What only it claims to have
// is read again; when enough blame it, it leaves all swarms for a while.
func (s *Scheduler) accuse(n *node, by PeerID) {
	if s.now.Before(s.banned[n.peer.ID].Until) {
		return
	}
	if !s.believed(by, n.peer.ID) {
		s.stats.DoubtfulBlames++
		return
	}
	if !s.now.Before(n.doubted) {
		n.accusers = make(map[PeerID]bool)
	}
	n.accusers[by] = true
	n.doubted = s.now.Add(doubtFor)
	if len(n.accusers) < accusersNeeded {
		for _, m := range n.members {
			s.doubt(m)
		}
		return
	}
	n.accusers, n.doubted = nil, time.Time{}
	s.banLiar(n.peer.ID, "several members blame it for false bytes")
}

// doubt stops counting a member's pieces.
func (s *Scheduler) doubt(m *member) {
	if m.doubted {
		return
	}
	m.doubted = true
	for i := range m.have.All() {
		m.stock.drop(i)
	}
	s.grant(m.stock)
}

// trust counts them again once the blame is old.
func (s *Scheduler) trust(m *member) {
	if !m.doubted || s.now.Before(m.node.doubted) {
		return
	}
	m.doubted = false
	for i := range m.have.All() {
		m.stock.hold(i)
	}
}

// holds and lost are hold and drop for a piece of m, unless m is in doubt.
func (m *member) holds(i int) {
	if !m.doubted {
		m.stock.hold(i)
	}
}

func (m *member) lost(i int) {
	if !m.doubted {
		m.stock.drop(i)
	}
}
