package scheduler

import (
	"fmt"
	"slices"
	"time"
)

// How a mesh is kept: by whom a member knows whom, and until when.

const (
	// idleSummaries is how many summaries in a row a neighbour may deliver
	// nothing before it can be replaced; rewireMost is how many are
	// replaced at once, rewireEvery how often.
	idleSummaries = 5
	rewireMost    = 2
	rewireEvery   = 2 * time.Second
	// missedMost is how many members may fail to reach a seed before its
	// membership is doubted; a seed that lives announces itself again.
	missedMost = 3
	// maxShunned bounds the pairs that a member remembers.
	maxShunned = 64
)

// connect gives a new member its neighbours.
func (s *Scheduler) connect(m *member) {
	sw := m.swarm
	if !m.complete { // most come to have that many, or nearly: as many will choose it as it chooses
		m.edges = slices.Grow(m.edges, s.cfg.MaxNeighbours)
	}
	s.known = m.acquainted(s.known[:0], s.cfg.Neighbours)
	l := Loom[*member]{
		Known: s.known, Near: s.near[:0], All: m.pool(), Picks: s.picks[:0],
		IsSeed:     func(o *member) bool { return o.complete },
		Fit:        func(o *member) bool { return s.linkable(m, o) },
		Neighbours: s.cfg.Neighbours - len(m.edges), Topology: s.cfg.TopologyShare,
	}
	for p := range m.places() {
		l.Near = append(l.Near, sw.near[p])
	}
	if !m.complete {
		l.Seeds = slices.DeleteFunc(sample(s.rng, sw.seeds, s.cfg.Neighbours), m.far)
	}
	why := found{of: len(sw.order) - 1}
	s.near, s.picks = l.Near, Weave(s.rng, l)
	for _, p := range s.picks {
		s.edge(m, p.Who, p.Why.String())
		why.by[p.Why]++
	}
	s.gate(m)
	if !m.complete {
		s.introduce(m, nil, s.joined(why))
	}
}

// found is for how many reasons a new member has which neighbours, of how many.
type found struct {
	by [numWhys]int
	of int
}

// joined is found in words. It is mostly what it was for the layer before.
func (s *Scheduler) joined(f found) string {
	if f != s.lastFound || s.inWords == "" {
		s.lastFound = f
		s.inWords = fmt.Sprintf("joined: %d known, %d near it, %d seed, %d at random of %d members",
			f.by[Known], f.by[Near], f.by[Seed], f.by[Random], f.of)
	}
	return s.inWords
}

// acquainted puts into out up to n members of m's swarm that are neighbours of the
// same peer in another one, in no other zone.
func (m *member) acquainted(out []*member, n int) []*member {
	for _, elsewhere := range slices.Backward(m.node.members) {
		for _, o := range elsewhere.edges {
			if len(out) >= n {
				return out
			}
			here := o.after
			if here == nil || here.swarm != m.swarm {
				here = m.swarm.members[o.node]
			}
			if here != nil && !m.far(here) && !slices.Contains(out, here) {
				out = append(out, here)
			}
		}
	}
	return out
}

// link makes up to n edges between m and candidates, drawn at random, and
// returns how many it made.
func (s *Scheduler) link(m *member, candidates []*member, n int, why string) int {
	drawn := draw(s.rng, candidates, n, func(c *member) bool { return s.linkable(m, c) })
	for _, c := range drawn {
		s.edge(m, c, why)
	}
	return len(drawn)
}

// edge makes m and c neighbours. One of them is told, and makes itself known to
// the other: m, unless it has all.
func (s *Scheduler) edge(m, c *member, why string) {
	m.edges = append(m.edges, c)
	c.edges = append(c.edges, m)
	if m.complete {
		s.introduce(c, m, "a member that has all was given it as neighbour")
	} else {
		s.introduce(m, c, why)
	}
}

func (s *Scheduler) linkable(a, b *member) bool {
	return a != b && !(a.complete && b.complete) && !a.odd() && !b.odd() &&
		len(a.edges) < s.cfg.MaxNeighbours && len(b.edges) < s.cfg.MaxNeighbours &&
		!slices.Contains(a.edges, b) && !s.shuns(a, b) && !s.shuns(b, a)
}

func (s *Scheduler) shuns(a, b *member) bool {
	if len(a.shunned) == 0 { // as mostly: b's node need not be fetched from memory for it
		return false
	}
	x, ok := a.shunned[b.node.peer.ID]
	return ok && s.now.Before(x.until)
}

// shunning is why a member is not introduced to another one again.
type shunning struct {
	until time.Time
	false bool // it sent false bytes, and was not just slow or away
}

// reconcile is for a member that has nobody left: those of others that were only
// slow or away may be tried again before their time. A node whose link was down
// for a moment has been blamed by all.
func (s *Scheduler) reconcile(m *member, others []*member) {
	forgive := func(a, b *member) {
		x, ok := a.shunned[b.node.peer.ID]
		if ok && !x.false && x.until.Sub(s.now) <= shunPair-reconcileAfter {
			delete(a.shunned, b.node.peer.ID)
		}
	}
	for _, o := range others {
		forgive(m, o)
		forgive(o, m)
	}
	s.link(m, others, 2, "it has nobody else, and they were only slow or away")
}

// cut ends the edge between a and b and tells those of them who mind.
func (s *Scheduler) cut(a, b *member, why string) {
	a.unlink(b)
	b.unlink(a)
	for _, x := range [][2]*member{{a, b}, {b, a}} {
		if !x[0].complete {
			s.decide(Part{To: x[0].node.peer.ID, Digest: a.swarm.digest, Peers: []PeerID{x[1].node.peer.ID}, Reason: why})
		}
	}
}

// unlink takes o off m's edges. Who has all needs none by itself: most members are
// seeds that nobody asks, and keep no room for any.
func (m *member) unlink(o *member) {
	m.edges = without(m.edges, o)
	if m.complete && len(m.edges) == 0 {
		m.edges = nil
	}
}

// topUp gives a member that lost neighbours others in their place.
func (s *Scheduler) topUp(m *member) {
	if m.gate && !m.complete {
		s.bridge(m)
	}
	want := min(s.cfg.Neighbours, len(m.pool())-1)
	if m.complete || len(m.edges) > want/2 {
		return
	}
	s.link(m, m.pool(), want-len(m.edges), "in place of neighbours that are gone")
}

// rewire replaces neighbours that have given a member nothing for long.
func (s *Scheduler) rewire(m *member, rates []NeighbourBytes) {
	if m.complete || len(m.swarm.order) <= s.cfg.Neighbours+1 {
		return
	}
	for _, r := range rates {
		switch {
		case r.Bytes > 0:
			delete(m.idle, r.Peer)
		case s.memberOf(m.swarm, r.Peer) == nil:
		case m.idle == nil:
			m.idle = map[PeerID]int{r.Peer: 1}
		default:
			m.idle[r.Peer]++
		}
	}
	if s.now.Sub(m.rewired) < rewireEvery || len(m.edges) <= s.cfg.Neighbours/2 {
		return
	}
	replaced := 0
	for _, o := range slices.Clone(m.edges) {
		if replaced < rewireMost && !m.far(o) && m.idle[o.node.peer.ID] >= idleSummaries && len(o.edges) > s.cfg.Neighbours/2 {
			s.cut(m, o, "nothing came from it for long")
			delete(m.idle, o.node.peer.ID)
			s.shun(m, o, false)
			replaced++
		}
	}
	if replaced > 0 {
		m.rewired = s.now
		s.link(m, m.pool(), replaced, "in place of neighbours that gave nothing")
	}
}

// blame ends the edge to a neighbour that does not deliver.
func (s *Scheduler) blame(e Blame) {
	m, o := s.member(e.Peer, e.Digest), s.member(e.Neighbour, e.Digest)
	s.stats.Blames[e.Fault]++
	if m == nil || o == nil || m == o {
		return
	}
	s.shun(m, o, e.Fault == False)
	why := map[Fault]string{Slow: "it was too slow", Unreachable: "it could not be reached", False: "it sent false bytes"}[e.Fault]
	if slices.Contains(m.edges, o) {
		s.cut(m, o, why)
	}
	if e.Fault == False {
		s.accuse(o.node, e.Peer)
	}
	if e.Fault == Unreachable && o.complete && o.swarm.members[o.node] == o {
		if o.missed++; o.missed >= missedMost {
			s.turnOut(o, "several members could not reach it")
		}
	}
	s.topUp(m)
}

// shun keeps two members apart for a while; for false bytes whatever happens.
func (s *Scheduler) shun(m, o *member, forFalse bool) {
	if m.shunned == nil {
		m.shunned = make(map[PeerID]shunning)
	}
	if len(m.shunned) >= maxShunned {
		clear(m.shunned)
	}
	m.shunned[o.node.peer.ID] = shunning{s.now.Add(shunPair), forFalse}
}
