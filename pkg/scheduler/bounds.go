package scheduler

import "slices"

// What one peer can have the scheduler remember is bounded, whatever it says.
const (
	// DefaultMaxMemberships is how many swarms one peer may be in: what a node
	// announces of its store (4,096 blobs), what it downloads, and room.
	DefaultMaxMemberships = 6144
	// maxHosts is how many registries are remembered at once. Peers name them,
	// so there may be no end of them; a large cluster has dozens.
	maxHosts = 1024
)

// crowded makes room for one more membership of a peer: the blob that it has
// told of first, of those that it has whole, goes. It reports false if there is
// none.
func (s *Scheduler) crowded(n *node) bool {
	if len(n.members) < s.cfg.MaxMemberships {
		return true
	}
	s.stats.Crowded++
	i := slices.IndexFunc(n.members, func(m *member) bool { return m.complete && m.leases == 0 })
	if i < 0 {
		return false
	}
	s.turnOut(n.members[i], "it is in too many swarms; the blob that it has longest makes room")
	return true
}

// roomForHost forgets registries that nobody reads from if there are too many,
// and reports whether one more can be remembered.
func (s *Scheduler) roomForHost() bool {
	if len(s.hosts) < maxHosts {
		return true
	}
	for name, h := range s.hosts {
		if h.leases == 0 && !s.now.Before(h.until) {
			h.forgotten = true
			s.stats.FromOrigin += h.bytes
			delete(s.hosts, name)
		}
	}
	return len(s.hosts) < maxHosts
}
