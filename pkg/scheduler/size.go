package scheduler

import (
	"slices"

	"github.com/p2pd/p2pd/pkg/piece"
)

// A blob's size is what a member says. The first word stands until more members
// say something else: each has one vote, and none for repeating what it was told
// here. Who says something else than the swarm believes is left to itself, as
// pieces of two layouts have nothing to do with each other.

// vote counts what a member says of the size by itself.
func (m *member) vote(size int64) {
	sw := m.swarm
	if m.voted && m.size == size || !m.voted && m.knows && size == sw.size {
		return // nothing new, or what it was told
	}
	m.unvote()
	if sw.votes == nil {
		sw.votes = make(map[int64]int)
	}
	m.voted, m.size = true, size
	sw.votes[size]++
}

// unvote takes a member's vote back.
func (m *member) unvote() {
	if !m.voted {
		return
	}
	m.voted = false
	if m.swarm.votes[m.size]--; m.swarm.votes[m.size] == 0 {
		delete(m.swarm.votes, m.size)
	}
}

// odd reports whether a member says another size than the swarm believes.
func (m *member) odd() bool {
	return m.voted && m.swarm.size != SizeUnknown && m.size != m.swarm.size
}

// outvoted makes the swarm one of another size if more members say so. All that
// was known of its pieces is about other pieces then.
func (s *Scheduler) outvoted(sw *swarm, size int64) bool {
	if sw.votes[size] <= sw.votes[sw.size] {
		return false
	}
	if _, err := piece.NewLayout(size); err != nil {
		return false
	}
	for _, st := range sw.stocks {
		for _, l := range slices.Clone(st.leases) {
			s.release(l)
			s.revoke(l, "the blob has another size, most members say")
		}
	}
	for _, m := range sw.order {
		if m.complete {
			s.misses(m.node)
		}
		m.have, m.complete, m.knows = piece.Bitfield{}, false, m.voted && m.size == size
	}
	sw.seeds = nil
	return s.resize(sw, size)
}
