package scheduler

import (
	"slices"
	"strings"
)

// How members are told of each other: what one Step has for a member is gathered, and
// told at its end.

// sparesMost bounds the pendingIntros that are kept for later Steps: more than an
// image has layers.
const sparesMost = 256

// pendingIntro gathers one member's new neighbours within a Step.
type pendingIntro struct {
	to      *member
	nodes   []*node
	reasons []string
}

// introduce tells m of a new neighbour, or with nil only of the size.
func (s *Scheduler) introduce(m, other *member, why string) {
	if m.intro == nil {
		m.intro = s.newIntro(m)
		s.intros = append(s.intros, m.intro)
	}
	if other != nil {
		m.intro.nodes = append(m.intro.nodes, other.node)
	}
	if !slices.Contains(m.intro.reasons, why) {
		m.intro.reasons = append(m.intro.reasons, why)
	}
}

// newIntro is an empty one, which an earlier Step has done with if there is any.
func (s *Scheduler) newIntro(to *member) *pendingIntro {
	n := len(s.spares)
	if n == 0 {
		return &pendingIntro{to: to, nodes: make([]*node, 0, s.cfg.Neighbours)}
	}
	in := s.spares[n-1]
	s.spares = s.spares[:n-1]
	in.to = to
	return in
}

// spare ends the Step's pendingIntros, and keeps some for later ones.
func (s *Scheduler) spare() {
	for _, in := range s.intros {
		if len(s.spares) < sparesMost {
			clear(in.nodes)
			in.to, in.nodes, in.reasons = nil, in.nodes[:0], in.reasons[:0]
			s.spares = append(s.spares, in)
		}
	}
	clear(s.intros)
	s.intros = s.intros[:0]
}

// flushIntros makes decisions of what was gathered. A peer that joins many swarms
// at once has the same neighbours in most, for the same reasons: those are made once.
func (s *Scheduler) flushIntros() {
	defer s.spare()
	var last *pendingIntro
	var peers []Peer
	var why string
	for _, in := range s.intros {
		m := in.to
		m.intro = nil
		if m.swarm.members[m.node] != m {
			continue // it left in the same Step
		}
		if last == nil || !slices.Equal(in.nodes, last.nodes) {
			peers = addresses(in.nodes)
		}
		if last == nil || !slices.Equal(in.reasons, last.reasons) {
			why = strings.Join(in.reasons, "; ")
		}
		last = in
		s.decide(Introduce{
			To: m.node.peer.ID, Digest: m.swarm.digest, Size: m.swarm.size,
			Peers: peers, Share: m.share(), Reason: why,
		})
		m.knows = m.knows || m.swarm.size != SizeUnknown
	}
}

// addresses are what others are told of nodes; nil of none.
func addresses(nodes []*node) []Peer {
	if len(nodes) == 0 {
		return nil
	}
	peers := make([]Peer, 0, len(nodes))
	for _, n := range nodes {
		peers = append(peers, n.peer)
	}
	return peers
}
