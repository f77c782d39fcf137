package scheduler

// Traffic is how many bytes of content moved, as those tell who received them.
// Nothing is decided by it: it is what operators are shown.
type Traffic struct {
	FromPeers, FromOrigin, ToPeers int64
	// FromFar is the part of FromPeers that came from other zones.
	FromFar int64
}

// add adds what another has received and sent.
func (t *Traffic) add(o Traffic) {
	t.FromPeers, t.FromOrigin, t.ToPeers, t.FromFar = t.FromPeers+o.FromPeers, t.FromOrigin+o.FromOrigin, t.ToPeers+o.ToPeers, t.FromFar+o.FromFar
}

// credits counts what a summary tells of neighbours. A number that the blob
// could not have is not believed.
func (s *Scheduler) credits(m *member, rates []NeighbourBytes) {
	fed := false
	for _, r := range rates {
		if r.Bytes <= 0 || r.Bytes > m.swarm.size {
			continue
		}
		fed = true
		m.traffic.FromPeers += r.Bytes
		m.swarm.traffic.FromPeers += r.Bytes
		m.node.traffic.FromPeers += r.Bytes
		s.stats.FromPeers += r.Bytes
		n := s.peers[r.Peer]
		if n == nil {
			continue
		}
		if n.peer.Zone != m.node.peer.Zone {
			m.traffic.FromFar += r.Bytes
			m.swarm.traffic.FromFar += r.Bytes
			m.node.traffic.FromFar += r.Bytes
		}
		n.traffic.ToPeers += r.Bytes
		if o := m.swarm.members[n]; o != nil {
			o.traffic.ToPeers += r.Bytes
		}
	}
	if fed {
		s.noteFed(m.node)
	}
}

// read counts n more bytes that a lease brought.
func (l *lease) read(n int64) {
	if n <= 0 || n > l.stock.swarm.size {
		return
	}
	m := l.holder
	m.traffic.FromOrigin += n
	m.swarm.traffic.FromOrigin += n
	m.node.traffic.FromOrigin += n
	l.host.bytes += n
}
