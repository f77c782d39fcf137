package scheduler

import (
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/p2pd/p2pd/pkg/piece"
)

// ledger is what somebody outside believes who sees events and decisions only:
// which leases live, who is a member, who was introduced to whom. It shares no
// code with the scheduler, so that it can catch it lying to the peers.
type ledger struct {
	cfg     Config
	up      map[PeerID]Peer
	members map[piece.Digest]map[PeerID]string // the origin that each can read from
	leases  map[LeaseID]Grant
	host    map[LeaseID]string
	busy    map[string]time.Time
	// known are the neighbours of each peer by what it was told.
	known map[piece.Digest]map[[2]PeerID]bool
}

func newLedger(cfg Config) *ledger {
	return &ledger{
		cfg: cfg.withDefaults(), up: make(map[PeerID]Peer), members: make(map[piece.Digest]map[PeerID]string),
		leases: make(map[LeaseID]Grant), host: make(map[LeaseID]string), busy: make(map[string]time.Time),
		known: make(map[piece.Digest]map[[2]PeerID]bool),
	}
}

// before notes what an event does by itself, whatever the answer is.
func (l *ledger) before(now time.Time, e Event) {
	switch e := e.(type) {
	case PeerUp:
		l.up[e.Peer.ID] = e.Peer
	case PeerDown:
		delete(l.up, e.Peer)
		for d := range l.members {
			l.leave(e.Peer, d)
		}
	case Leave:
		l.leave(e.Peer, e.Digest)
	case Join:
		for _, b := range e.Blobs {
			if l.isUp(e.Peer) {
				l.enter(e.Peer, b)
			}
		}
	case LeaseEnd:
		g, ok := l.leases[e.Lease]
		if !ok || g.To != e.Peer || g.Digest != e.Digest {
			return // not his: it must go on
		}
		if e.Outcome == OriginBusy {
			wait := e.RetryAfter
			if wait <= 0 {
				wait = defaultBackoff
			}
			l.busy[l.host[e.Lease]] = now.Add(min(wait, maxBackoff))
		}
		delete(l.leases, e.Lease)
	}
}

func (l *ledger) enter(p PeerID, b Membership) {
	if l.members[b.Digest] == nil {
		l.members[b.Digest] = make(map[PeerID]string)
	}
	l.members[b.Digest][p] = b.Origin
}

// leave ends a peer's standing by its own will: its leases end with it.
func (l *ledger) leave(p PeerID, d piece.Digest) {
	delete(l.members[d], p)
	maps.DeleteFunc(l.leases, func(_ LeaseID, g Grant) bool { return g.To == p && g.Digest == d })
	maps.DeleteFunc(l.known[d], func(k [2]PeerID, _ bool) bool { return k[0] == p || k[1] == p })
}

// decided books one decision, and says what is wrong with it.
func (l *ledger) decided(now time.Time, d Decision) error {
	_, about := d.(Expel) // it is told to whoever drives the scheduler, also of one that is gone
	if !about && !l.isUp(d.Recipient()) || d.Why() == "" {
		return fmt.Errorf("%#v: to somebody who is not there, or without a reason", d)
	}
	switch d := d.(type) {
	case Grant:
		return l.granted(now, d)
	case Revoke:
		if g, ok := l.leases[d.Lease]; !ok || g.To != d.To || g.Digest != d.Digest {
			return fmt.Errorf("%#v: it has no such lease", d)
		}
		delete(l.leases, d.Lease)
	case Introduce:
		return l.introduced(d)
	case Part:
		for _, p := range d.Peers {
			delete(l.known[d.Digest], [2]PeerID{d.To, p})
			delete(l.known[d.Digest], [2]PeerID{p, d.To})
		}
	}
	return nil
}

func (l *ledger) granted(now time.Time, g Grant) error {
	origin, member := l.members[g.Digest][g.To]
	if !member || origin == "" {
		return fmt.Errorf("%#v: to who cannot read", g)
	}
	if now.Before(l.busy[origin]) {
		return fmt.Errorf("%#v: %s asked to be left alone until %v, it is %v", g, origin, l.busy[origin], now)
	}
	if !g.Lease.Whole && g.Lease.Pieces.Len() <= 0 {
		return fmt.Errorf("%#v: of nothing", g)
	}
	perPeer, perHost := 1, 1
	for id, o := range l.leases {
		if id >= g.Lease.ID {
			return fmt.Errorf("%#v: after lease %d", g, id)
		}
		if o.Digest == g.Digest && l.shares(o.To, g.To) && (o.Lease.Whole || g.Lease.Whole || overlap(o.Lease.Pieces, g.Lease.Pieces)) {
			return fmt.Errorf("%#v: while %#v lives", g, o)
		}
		if o.To == g.To {
			perPeer++
		}
		if l.host[id] == origin {
			perHost++
		}
	}
	if perPeer > l.cfg.LeasesPerPeer || perHost > l.cfg.LeasesPerHost {
		return fmt.Errorf("%#v: the peer has %d leases then, the host %d", g, perPeer, perHost)
	}
	l.leases[g.Lease.ID], l.host[g.Lease.ID] = g, origin
	return nil
}

func (l *ledger) isUp(p PeerID) bool {
	_, up := l.up[p]
	return up
}

// shares reports whether what a reads is read for b, too.
func (l *ledger) shares(a, b PeerID) bool {
	return !l.cfg.OriginNearer || l.up[a].Zone == l.up[b].Zone
}

func overlap(a, b piece.Range) bool { return a.First < b.End && b.First < a.End }

func (l *ledger) introduced(d Introduce) error {
	if _, ok := l.members[d.Digest][d.To]; !ok {
		return fmt.Errorf("%#v: to who is no member", d)
	}
	if l.known[d.Digest] == nil {
		l.known[d.Digest] = make(map[[2]PeerID]bool)
	}
	for i, p := range d.Peers {
		if _, ok := l.members[d.Digest][p.ID]; !ok || p.ID == d.To {
			return fmt.Errorf("%#v: of %s, who is no other member", d, p.ID)
		}
		if slices.ContainsFunc(d.Peers[:i], func(o Peer) bool { return o.ID == p.ID }) {
			return fmt.Errorf("%#v: of %s twice", d, p.ID)
		}
		l.known[d.Digest][[2]PeerID{d.To, p.ID}] = true
	}
	return nil
}

// compare holds the ledger against what the scheduler believes.
func (l *ledger) compare(s *Scheduler) error {
	if len(s.peers) != len(l.up) {
		return fmt.Errorf("%d peers are there, the scheduler knows %d", len(l.up), len(s.peers))
	}
	live := 0
	for d, sw := range s.swarms {
		var leases []*lease
		for _, st := range sw.stocks {
			leases = append(leases, st.leases...)
		}
		live += len(leases)
		for _, le := range leases {
			g, ok := l.leases[le.id]
			if !ok || g.To != le.holder.node.peer.ID || g.Digest != d {
				return fmt.Errorf("lease %d of %s lives in the scheduler alone", le.id, d.Short())
			}
		}
		if err := l.compareSwarm(sw); err != nil {
			return fmt.Errorf("%s: %w", d.Short(), err)
		}
	}
	if live != len(l.leases) {
		return fmt.Errorf("%d leases were given and not taken back, the scheduler counts on %d: %v", len(l.leases), live, l.leases)
	}
	return nil
}

// compareSwarm checks that every edge is known to one of its ends, which makes
// itself known to the other.
func (l *ledger) compareSwarm(sw *swarm) error {
	for _, m := range sw.order {
		id := m.node.peer.ID
		if _, ok := l.members[sw.digest][id]; !ok {
			return fmt.Errorf("%s is a member and never joined", id)
		}
		for _, o := range m.edges {
			other := o.node.peer.ID
			if !l.known[sw.digest][[2]PeerID{id, other}] && !l.known[sw.digest][[2]PeerID{other, id}] {
				return fmt.Errorf("%s and %s are neighbours and neither knows", id, other)
			}
		}
	}
	return nil
}

// freed checks that nothing is remembered of swarms that are over.
func (s *Scheduler) freed() error {
	if len(s.swarms)+len(s.working)+len(s.hungry)+len(s.peers)+s.stats.Members != 0 {
		return fmt.Errorf("with nobody there: %d swarms, %d working, %d hungry, %d peers, %d members",
			len(s.swarms), len(s.working), len(s.hungry), len(s.peers), s.stats.Members)
	}
	if st := s.Stats(); st.LeasesActive != 0 {
		return fmt.Errorf("with nobody there %d leases are counted", st.LeasesActive)
	}
	return nil
}
