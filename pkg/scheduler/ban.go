package scheduler

import (
	"maps"
	"slices"
	"time"
)

const (
	// banFor is how long a peer is banned that several others blame for
	// false bytes.
	banFor = 5 * time.Minute
	// maxBanned bounds the bans that are remembered at once. Past it a liar
	// still leaves all swarms, but may join again; an operator's ban takes
	// the place of one that ends soonest.
	maxBanned = 4096
	// BanMost is the longest ban that can be asked for.
	BanMost = 30 * 24 * time.Hour
)

// Ban is why and until when all swarms are closed to a peer: no peer is
// introduced to it any more and its neighbours part from it. Where an operator
// gave it, all peers are told to have nothing to do with that one, whatever they
// find without a scheduler.
type Ban struct {
	Until   time.Time
	Reason  string
	Ordered bool // by an operator
}

// Shun tells To that a peer is banned by an operator for so long from now on;
// 0: it is banned no more.
type Shun struct {
	To     PeerID
	Peer   PeerID
	For    time.Duration
	Reason string
}

// Recipient implements Decision.
func (d Shun) Recipient() PeerID { return d.To }

// Why implements Decision.
func (d Shun) Why() string { return d.Reason }

// BanPeer closes all swarms to a peer, attached or not; Reason is for people.
// A second one replaces the first. For is at most BanMost.
type BanPeer struct {
	Peer   PeerID
	For    time.Duration
	Reason string
}

// UnbanPeer ends a ban. The peer is a member again once it joins.
type UnbanPeer struct{ Peer PeerID }

func (BanPeer) event()   {}
func (UnbanPeer) event() {}

// banPeer bans in an operator's name.
func (s *Scheduler) banPeer(e BanPeer) {
	s.lapse()
	if _, again := s.banned[e.Peer]; !again && len(s.banned) >= maxBanned {
		soonest := slices.MinFunc(slices.Sorted(maps.Keys(s.banned)), func(a, b PeerID) int {
			return s.banned[a].Until.Compare(s.banned[b].Until)
		})
		delete(s.banned, soonest)
	}
	long := min(e.For, BanMost)
	s.banned[e.Peer] = Ban{Until: s.now.Add(long), Reason: e.Reason, Ordered: true}
	s.expel(e.Peer, "it is banned: "+e.Reason)
	s.tellBan(e.Peer, long, e.Reason)
}

// unbanPeer lifts a ban. Peers are told even if none is known here: they may
// remember it from before a restart.
func (s *Scheduler) unbanPeer(e UnbanPeer) {
	delete(s.banned, e.Peer)
	s.tellBan(e.Peer, 0, "an operator lifted the ban")
}

// tellBan tells every peer.
func (s *Scheduler) tellBan(p PeerID, long time.Duration, why string) {
	for _, to := range slices.Sorted(maps.Keys(s.peers)) {
		if to == p {
			continue
		}
		s.decide(Shun{To: to, Peer: p, For: long, Reason: why})
	}
}

// tellBans tells a peer that comes whom operators have banned.
func (s *Scheduler) tellBans(to PeerID) {
	for _, p := range slices.Sorted(maps.Keys(s.banned)) {
		if b := s.banned[p]; p != to && b.Ordered && s.now.Before(b.Until) {
			s.decide(Shun{To: to, Peer: p, For: b.Until.Sub(s.now), Reason: b.Reason})
		}
	}
}

// Bans are those that operators gave and that last, by peer.
func (s *Scheduler) Bans(now time.Time) map[PeerID]Ban {
	all := make(map[PeerID]Ban)
	for p, b := range s.banned {
		if b.Ordered && now.Before(b.Until) {
			all[p] = b
		}
	}
	return all
}

// banLiar bans a peer that several others blame.
func (s *Scheduler) banLiar(p PeerID) {
	const why = "several members blame it for false bytes"
	s.lapse()
	// A ban that an operator gave for longer stands.
	if old, again := s.banned[p]; len(s.banned) < maxBanned && (!again || old.Until.Before(s.now.Add(banFor))) {
		s.banned[p] = Ban{Until: s.now.Add(banFor), Reason: why}
	}
	s.stats.Banned++
	s.expel(p, why)
}

// lapse forgets bans that are over.
func (s *Scheduler) lapse() {
	maps.DeleteFunc(s.banned, func(_ PeerID, b Ban) bool { return !s.now.Before(b.Until) })
}

// expel removes a peer from all swarms.
func (s *Scheduler) expel(p PeerID, why string) {
	n := s.peers[p]
	if n == nil {
		return
	}
	// What it frees in one swarm must not be leased to it in another.
	gone := n.gone
	n.gone = true
	for len(n.members) > 0 {
		s.turnOut(n.members[len(n.members)-1], why)
	}
	n.gone = gone
}

// ViewBan is the ban on a peer, nil if there is none.
func (s *Scheduler) ViewBan(now time.Time, p PeerID) *Ban {
	if b, ok := s.banned[p]; ok && now.Before(b.Until) {
		return &b
	}
	return nil
}
