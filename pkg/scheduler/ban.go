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
	// maxTold bounds how many bans, and how many that were lifted, a peer is told of
	// when it comes: it must find room for them beside what else it is told. Of the
	// rest the schedulers see to it.
	maxTold = 256
	// BanMost is the longest ban that can be asked for.
	BanMost = 30 * 24 * time.Hour
)

// Ban is why and until when all swarms are closed to a peer: no peer is
// introduced to it any more and its neighbours part from it. Where an operator
// gave it, all peers are told to have nothing to do with that one, whatever they
// find without a scheduler.
type Ban struct {
	At      time.Time // when it was given
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
	At     time.Time // when the operator said so: the later word holds
	Reason string
}

// Expel tells whoever drives the Scheduler that a peer is put out for false bytes,
// because several members blame it or it says so itself: it is to be kept out of the
// cluster for so long. No peer is told.
type Expel struct {
	Peer   PeerID
	For    time.Duration
	Reason string
}

// Recipient implements Decision. It is the one who is to go.
func (d Expel) Recipient() PeerID { return d.Peer }

// Why implements Decision.
func (d Expel) Why() string { return d.Reason }

// Recipient implements Decision.
func (d Shun) Recipient() PeerID { return d.To }

// Why implements Decision.
func (d Shun) Why() string { return d.Reason }

// BanPeer closes all swarms to a peer, attached or not; Reason is for people.
// A second one replaces the first. For is at most BanMost.
type BanPeer struct {
	Peer   PeerID
	For    time.Duration
	At     time.Time // when it was given; zero: now
	Reason string
	Blamed bool // not by an operator, but by members of another scheduler's swarms
}

// UnbanPeer ends a ban. The peer is a member again once it joins.
type UnbanPeer struct {
	Peer PeerID
	At   time.Time // when that was said; zero: now
}

func (BanPeer) event()   {}
func (UnbanPeer) event() {}

// banPeer bans in an operator's name, or another scheduler's.
func (s *Scheduler) banPeer(e BanPeer) {
	s.lapse()
	if e.At.IsZero() {
		e.At = s.now
	}
	if _, again := s.banned[e.Peer]; !again && len(s.banned) >= maxBanned {
		soonest := slices.MinFunc(slices.Sorted(maps.Keys(s.banned)), func(a, b PeerID) int {
			return s.banned[a].Until.Compare(s.banned[b].Until)
		})
		delete(s.banned, soonest)
	}
	b := Ban{At: e.At, Until: s.now.Add(min(e.For, BanMost)), Reason: e.Reason, Ordered: !e.Blamed}
	s.banned[e.Peer] = b
	delete(s.lifted, e.Peer)
	s.expel(e.Peer, "it is banned: "+e.Reason)
	if b.Ordered {
		s.tellBan(s.shunning(e.Peer, b))
	}
}

// unbanPeer lifts a ban. Peers are told even if none is known here, and those that come,
// too: they may remember it from before a restart.
func (s *Scheduler) unbanPeer(e UnbanPeer) {
	if e.At.IsZero() {
		e.At = s.now
	}
	delete(s.banned, e.Peer)
	maps.DeleteFunc(s.lifted, func(_ PeerID, at time.Time) bool { return s.now.Sub(at) >= BanMost })
	if len(s.lifted) >= maxBanned {
		oldest := slices.MinFunc(slices.Sorted(maps.Keys(s.lifted)), func(a, b PeerID) int { return s.lifted[a].Compare(s.lifted[b]) })
		delete(s.lifted, oldest)
	}
	s.lifted[e.Peer] = e.At
	s.tellBan(forgiving(e.Peer, e.At))
}

// shunning and forgiving are what peers are told of a ban, and of its end.
func (s *Scheduler) shunning(p PeerID, b Ban) Shun {
	return Shun{Peer: p, For: b.Until.Sub(s.now), At: b.At, Reason: b.Reason}
}

func forgiving(p PeerID, at time.Time) Shun {
	return Shun{Peer: p, At: at, Reason: "an operator lifted the ban"}
}

// tellBan tells every peer but the one that it is about.
func (s *Scheduler) tellBan(d Shun) {
	for _, to := range slices.Sorted(maps.Keys(s.peers)) {
		if to == d.Peer {
			continue
		}
		d.To = to
		s.decide(d)
	}
}

// tellBans tells a peer that comes whom operators have banned, and whom no more.
func (s *Scheduler) tellBans(to PeerID) {
	tell := func(d Shun) {
		d.To = to
		s.decide(d)
	}
	told := 0
	for _, p := range slices.Sorted(maps.Keys(s.banned)) {
		if b := s.banned[p]; p != to && b.Ordered && s.now.Before(b.Until) && told < maxTold {
			tell(s.shunning(p, b))
			told++
		}
	}
	told = 0
	for _, p := range slices.Sorted(maps.Keys(s.lifted)) {
		if at := s.lifted[p]; p != to && s.now.Sub(at) < BanMost && told < maxTold {
			tell(forgiving(p, at))
			told++
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

// banLiar bans a peer for false bytes.
func (s *Scheduler) banLiar(p PeerID, why string) {
	s.lapse()
	// A ban that an operator gave for longer stands.
	if old, again := s.banned[p]; len(s.banned) < maxBanned && (!again || old.Until.Before(s.now.Add(banFor))) {
		s.banned[p] = Ban{At: s.now, Until: s.now.Add(banFor), Reason: why}
	}
	s.stats.Banned++
	s.expel(p, why)
	s.decide(Expel{Peer: p, For: banFor, Reason: why})
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
