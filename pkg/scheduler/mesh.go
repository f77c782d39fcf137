package scheduler

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

// How a mesh is woven: a few near ones, a seed, the rest at random.

const (
	// sampleFactor is how many members are looked at for each neighbour
	// wanted. Sampling keeps a join cheap in a swarm of ten thousand.
	sampleFactor = 4
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

// pendingIntro gathers one member's new neighbours within a Step.
type pendingIntro struct {
	m       *member
	peers   []Peer
	reasons []string
}

// introduce tells m of a new neighbour, or with nil only of the size.
func (s *Scheduler) introduce(m, other *member, why string) {
	if other != nil && m.complete {
		return // seeds learn of children when those speak to them
	}
	var in *pendingIntro
	for _, p := range slices.Backward(s.intros) {
		if p.m == m {
			in = p
			break
		}
	}
	if in == nil {
		in = &pendingIntro{m: m}
		s.intros = append(s.intros, in)
	}
	if other != nil {
		in.peers = append(in.peers, other.node.peer)
	}
	if !slices.Contains(in.reasons, why) {
		in.reasons = append(in.reasons, why)
	}
}

func (s *Scheduler) flushIntros() {
	for _, in := range s.intros {
		if in.m.swarm.members[in.m.node.peer.ID] != in.m {
			continue // it left in the same Step
		}
		s.decide(Introduce{
			To: in.m.node.peer.ID, Digest: in.m.swarm.digest, Size: in.m.swarm.size,
			Peers: in.peers, Share: in.m.share(), Reason: strings.Join(in.reasons, "; "),
		})
	}
}

// connect gives a new member its neighbours.
func (s *Scheduler) connect(m *member) {
	sw := m.swarm
	near := 0
	for _, p := range m.places() {
		near += s.link(m, sw.near[p], s.cfg.TopologyShare-near, "near it")
	}
	seeds := 0
	if !m.complete && !slices.ContainsFunc(m.edges, func(o *member) bool { return o.complete }) {
		near := slices.DeleteFunc(s.sample(sw.seeds, s.cfg.Neighbours), m.far)
		seeds = s.link(m, near, 1, "a seed")
	}
	random := s.link(m, m.pool(), s.cfg.Neighbours-len(m.edges), "at random")
	s.gate(m)
	if !m.complete {
		s.introduce(m, nil, fmt.Sprintf("joined: %d near it, %d seed, %d at random of %d members", near, seeds, random, len(sw.order)-1))
	}
}

// link makes up to n edges between m and candidates, drawn at random. (Were
// those preferred that have few edges, everybody would be linked to those who
// came just before: a mesh as long as the queue at the door.) It returns how
// many it made.
func (s *Scheduler) link(m *member, candidates []*member, n int, why string) int {
	if n <= 0 {
		return 0
	}
	var fit []*member
	for _, c := range s.sample(candidates, n*sampleFactor) {
		if s.linkable(m, c) {
			fit = append(fit, c)
		}
	}
	fit = fit[:min(n, len(fit))]
	for _, c := range fit {
		m.edges = append(m.edges, c)
		c.edges = append(c.edges, m)
		s.introduce(m, c, why)
		s.introduce(c, m, "a new member was given it as neighbour")
	}
	return len(fit)
}

// sample returns up to n of ms in random order, all of them if there are few.
func (s *Scheduler) sample(ms []*member, n int) []*member {
	if len(ms) <= 2*n {
		out := slices.Clone(ms)
		s.rng.Shuffle(len(out), func(i, j int) { out[i], out[j] = out[j], out[i] })
		return out
	}
	out := make([]*member, 0, n)
	seen := make(map[int]bool, n)
	for len(out) < n {
		if i := s.rng.IntN(len(ms)); !seen[i] {
			seen[i] = true
			out = append(out, ms[i])
		}
	}
	return out
}

func (s *Scheduler) linkable(a, b *member) bool {
	return a != b && !(a.complete && b.complete) &&
		len(a.edges) < s.cfg.MaxNeighbours && len(b.edges) < s.cfg.MaxNeighbours &&
		!slices.Contains(a.edges, b) && !s.shuns(a, b) && !s.shuns(b, a)
}

func (s *Scheduler) shuns(a, b *member) bool {
	until, ok := a.shunned[b.node.peer.ID]
	return ok && s.now.Before(until)
}

// cut ends the edge between a and b and tells those of them who mind.
func (s *Scheduler) cut(a, b *member, why string) {
	a.edges, b.edges = without(a.edges, b), without(b.edges, a)
	for _, x := range [][2]*member{{a, b}, {b, a}} {
		if !x[0].complete {
			s.decide(Part{To: x[0].node.peer.ID, Digest: a.swarm.digest, Peers: []PeerID{x[1].node.peer.ID}, Reason: why})
		}
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
	if m.idle == nil {
		m.idle = make(map[PeerID]int)
	}
	for _, r := range rates {
		if r.Bytes > 0 {
			delete(m.idle, r.Peer)
		} else if _, ok := m.swarm.members[r.Peer]; ok {
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
			s.shun(m, o)
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
	s.shun(m, o)
	why := map[Fault]string{Slow: "it was too slow", Unreachable: "it could not be reached", False: "it sent false bytes"}[e.Fault]
	if slices.Contains(m.edges, o) {
		s.cut(m, o, why)
	}
	if e.Fault == False {
		s.accuse(o.node, e.Peer)
	}
	if e.Fault == Unreachable && o.complete && o.swarm.members[e.Neighbour] == o {
		if o.missed++; o.missed >= missedMost {
			s.remove(o, "several members could not reach it")
		}
	}
	s.topUp(m)
}

// shun keeps two members apart for a while.
func (s *Scheduler) shun(m, o *member) {
	if m.shunned == nil {
		m.shunned = make(map[PeerID]time.Time)
	}
	if len(m.shunned) >= maxShunned {
		clear(m.shunned)
	}
	m.shunned[o.node.peer.ID] = s.now.Add(shunPair)
}
