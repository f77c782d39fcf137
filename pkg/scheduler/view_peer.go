package scheduler

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// PeerView is one peer, attached or banned or both. Its key is its ID.
type PeerView struct {
	// Peer has no more than an ID unless Attached.
	Peer     Peer
	Attached bool
	Since    time.Time // when it attached
	// Swarms are those it is a member of, Missing those of them in which it
	// still misses something.
	Swarms, Missing int
	Leases          int
	// Accusers is how many blame it for false bytes; DoubtedUntil is how
	// long what it claims to have does not count.
	Accusers     int
	DoubtedUntil time.Time
	Ban          *Ban // nil: not banned
	Traffic      Traffic
}

// ViewPeers is a page of the peers, by ID: those attached, and those banned.
func (s *Scheduler) ViewPeers(now time.Time, p Page) (page []PeerView, more bool) {
	all := func(yield func(PeerID) bool) {
		for id := range s.peers {
			if !yield(id) {
				return
			}
		}
		for id, b := range s.banned {
			if s.peers[id] == nil && now.Before(b.Until) && !yield(id) {
				return
			}
		}
	}
	ids, more := take(p, all, func(id PeerID) bool { return id > PeerID(p.After) }, cmp.Compare[PeerID])
	page = make([]PeerView, 0, len(ids))
	for _, id := range ids {
		v, _ := s.viewPeer(now, id)
		page = append(page, v)
	}
	return page, more
}

// viewPeer shows a peer; false if nothing is known of it.
func (s *Scheduler) viewPeer(now time.Time, id PeerID) (PeerView, bool) {
	n, ban := s.peers[id], s.ViewBan(now, id)
	v := PeerView{Peer: Peer{ID: id}, Ban: ban}
	if n == nil {
		return v, ban != nil
	}
	v.Peer, v.Attached, v.Since = n.peer, true, n.since
	v.Peer.Addrs = slices.Clone(n.peer.Addrs)
	v.Swarms, v.Leases, v.Traffic = len(n.members), n.leases, n.traffic
	for _, m := range n.members {
		if !m.complete {
			v.Missing++
		}
	}
	if now.Before(n.doubted) {
		v.Accusers, v.DoubtedUntil = len(n.accusers), n.doubted
	}
	return v, true
}

// PeerDetail is one peer with the swarms that it is a member of.
type PeerDetail struct {
	PeerView
	AccusedBy []PeerID // sorted
	// Memberships are by digest, as many as are shown of one peer at most;
	// More says that there are others.
	Memberships []MembershipView
	More        bool
}

// MembershipView is a peer's standing in one swarm.
type MembershipView struct {
	Digest     piece.Digest
	Size       int64
	Pieces     int
	Have       int
	Leases     int
	Neighbours int
	Traffic    Traffic
}

// ViewPeer shows one peer; false if nothing is known of it.
func (s *Scheduler) ViewPeer(now time.Time, id PeerID) (PeerDetail, bool) {
	v, ok := s.viewPeer(now, id)
	d := PeerDetail{PeerView: v}
	n := s.peers[id]
	if n == nil {
		return d, ok
	}
	if v.Accusers > 0 {
		d.AccusedBy = slices.Sorted(maps.Keys(n.accusers))
	}
	d.More = len(n.members) > swarmsMost
	for _, m := range n.members[:min(len(n.members), swarmsMost)] {
		d.Memberships = append(d.Memberships, MembershipView{
			Digest: m.swarm.digest, Size: m.swarm.size, Pieces: len(m.stock.holders), Have: m.have.Count(),
			Leases: m.leases, Neighbours: len(m.edges), Traffic: m.traffic,
		})
	}
	slices.SortFunc(d.Memberships, func(a, b MembershipView) int { return slices.Compare(a.Digest[:], b.Digest[:]) })
	return d, true
}
